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
        if !decision.book.row(index).pauses.has(CauseKind::Admin) {
            set_state(decision, index, |causes| causes.push(Cause::of(CauseKind::Admin)));
        }
        Ok(Vec::new())
    }
}
