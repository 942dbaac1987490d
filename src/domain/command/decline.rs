//! Refuses what a member asked for (row B10).

use super::{Handle, approve::open_request, register_workspace::actor};
use crate::domain::{
    account::{rulebook::Rulebook, sweep::Concern},
    answer::Answer,
    control::Decline,
    decision::{Decision, Trigger},
    scope::Scope,
    signal::RequestKind,
};

impl Handle for Decline {
    fn touches(&self, rules: &Rulebook) -> Vec<Scope> {
        super::approve::touched(rules, &self.request_id)
    }

    fn concerns(&self, _: &Rulebook) -> Concern {
        Concern::Touched
    }

    fn apply(&self, decision: &mut Decision<'_>) -> Answer {
        let request = open_request(decision, &self.request_id)?;
        let index = decision.book.index(&Scope::User((&*request.user_id).into()));
        let reason = match decision.trigger {
            Trigger::Control(record) => record.reason.clone(),
            _ => Box::default(),
        };
        let kind = RequestKind::Declined { request_id: request.id, actor: actor(decision), reason };
        decision.tell(index, kind);
        super::approve::close_request(decision, &self.request_id);
        Ok(Vec::new())
    }
}
