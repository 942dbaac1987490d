//! An admin ends an admin's pause (row A14). Other causes stay.

use super::Handle;
use crate::domain::{
    account::{rulebook::Rulebook, sweep::Concern},
    answer::{Answer, Applied, Refused},
    control::Resume,
    decision::Decision,
    limit::Selector,
    pause::{Cause, CauseKind},
    scope::Scope,
    usage::follow::set_state,
};

impl Handle for Resume {
    fn touches(&self, _: &Rulebook) -> Vec<Scope> {
        vec![self.scope.clone()]
    }

    fn concerns(&self, _: &Rulebook) -> Concern {
        Concern::Touched
    }

    fn apply(&self, decision: &mut Decision<'_>) -> Answer {
        let index = decision.book.index(&self.scope);
        let is_owners = |cause: &Cause| cause.kind == CauseKind::Admin && cause.set_by_owner;
        if !decision.is_by_owner() && decision.book.row(index).pauses.causes.iter().any(is_owners) {
            let selector = Selector::One(self.scope.clone());
            return Err(Refused::SetByOwner { what: "pause".into(), selector, limit_id: Box::default() });
        }
        // Also where no admin paused it: a cause whose end has just come does not remain.
        set_state(decision, index, |causes| causes.retain(|cause| cause.kind != CauseKind::Admin));
        let causes: Vec<CauseKind> = decision.book.row(index).pauses.causes.iter().map(|cause| cause.kind).collect();
        Ok(if causes.is_empty() { Vec::new() } else { vec![Applied::PauseRemains { causes }] })
    }
}
