//! Answers a reload that was asked for with no. The next charge may ask again.

use super::{
    Handle,
    checks::{check_id, check_pool_owner},
    grant::pool,
};
use crate::domain::{
    account::{rulebook::Rulebook, sweep::Concern},
    answer::{Answer, Refused},
    control::RefuseReload,
    decision::Decision,
    scope::Scope,
};

impl Handle for RefuseReload {
    fn touches(&self, _: &Rulebook) -> Vec<Scope> {
        vec![self.scope.clone()]
    }

    fn concerns(&self, _: &Rulebook) -> Concern {
        Concern::Touched
    }

    fn apply(&self, decision: &mut Decision<'_>) -> Answer {
        let Self { scope, reload_id } = self;
        check_id("reload_id", reload_id)?;
        check_pool_owner(scope)?;
        let owner = decision.book.index(scope);
        let reload = pool(decision, owner, scope)?.reload.as_deref();
        if !reload.is_some_and(|reload| reload.is_open(reload_id, decision.now())) {
            return Err(Refused::ReloadClosed { reload_id: reload_id.clone() });
        }
        let reload = decision.book.pool_mut(owner).reload.as_mut().expect("it was looked at above");
        (reload.open, reload.refused) = (None, true);
        Ok(Vec::new())
    }
}
