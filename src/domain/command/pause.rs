//! An admin pauses a scope (row A14).

use super::Handle;
use crate::domain::{
    account::{row::ScopeRow, rulebook::Rulebook, sweep::Concern},
    answer::{Answer, Refused},
    control::Pause,
    decision::Decision,
    pause::{Cause, CauseKind},
    scope::Scope,
    usage::follow::set_state,
};

impl Handle for Pause {
    fn touches(&self, _: &Rulebook) -> Vec<Scope> {
        vec![self.scope.clone()]
    }

    fn concerns(&self, _: &Rulebook) -> Concern {
        Concern::Touched
    }

    fn apply(&self, decision: &mut Decision<'_>) -> Answer {
        let index = decision.book.index(&self.scope);
        if self.scope.is_agent_or_user() && *decision.book.row(index) == ScopeRow::default() {
            return Err(Refused::ScopeUnknown { scope: self.scope.clone() });
        }
        let set_by_owner = decision.is_by_owner();
        let is_known = |cause: &Cause| cause.kind == CauseKind::Admin && (cause.set_by_owner || !set_by_owner);
        if !decision.book.row(index).pauses.causes.iter().any(is_known) {
            set_state(decision, index, |causes| {
                causes.retain(|cause| cause.kind != CauseKind::Admin);
                causes.push(Cause { set_by_owner, ..Cause::of(CauseKind::Admin) });
            });
        }
        Ok(Vec::new())
    }
}
