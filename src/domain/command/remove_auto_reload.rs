//! Ends auto-reload. What was asked for stays open until it is answered or lapses.

use super::{Handle, checks::check_pool_owner, grant::pool};
use crate::domain::{
    account::{rulebook::Rulebook, sweep::Concern},
    answer::Answer,
    control::RemoveAutoReload,
    decision::Decision,
    scope::Scope,
};

impl Handle for RemoveAutoReload {
    fn touches(&self, _: &Rulebook) -> Vec<Scope> {
        vec![self.scope.clone()]
    }

    fn concerns(&self, _: &Rulebook) -> Concern {
        Concern::Touched
    }

    fn apply(&self, decision: &mut Decision<'_>) -> Answer {
        check_pool_owner(&self.scope)?;
        let owner = decision.book.index(&self.scope);
        pool(decision, owner, &self.scope)?;
        if let Some(reload) = &mut decision.book.pool_mut(owner).reload {
            (reload.enabled, reload.again_at) = (false, None);
        }
        Ok(Vec::new())
    }
}
