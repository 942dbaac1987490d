//! A member asks for more (row B10).

use super::{
    Handle,
    checks::{check_id, user_of},
    set_member::check_seat,
};
use crate::domain::{
    account::{rulebook::Rulebook, sweep::Concern},
    answer::{Answer, Refused},
    control::Request,
    decision::Decision,
    due::{pending, plan_digest},
    organization::{OpenRequest, Wants},
    scope::Scope,
    signal::RequestKind,
};
use crate::mutation::is_broken;

/// So many requests may be open at once.
const REQUESTS_MAX: usize = 1_000;

impl Handle for Request {
    fn touches(&self, _: &Rulebook) -> Vec<Scope> {
        user_of(&self.user_id).into_iter().collect()
    }

    fn concerns(&self, _: &Rulebook) -> Concern {
        Concern::Touched
    }

    fn apply(&self, decision: &mut Decision<'_>) -> Answer {
        let Self { request_id, user_id, wants } = self;
        check_id("request_id", request_id)?;
        check_id("user_id", user_id)?;
        if !decision.rules.requests.enabled {
            return Err(Refused::RequestsSwitchedOff);
        }
        if let Wants::Seat(name) = wants {
            check_seat(decision, Some(name))?;
        }
        let open = &decision.rules.requests.open;
        if let Some(open) = open.iter().find(|open| open.user_id == *user_id || open.id == *request_id) {
            let OpenRequest { id, user_id, since, .. } = open.clone();
            return Err(Refused::RequestIsOpen { request_id: id, user_id, since });
        }
        if open.len() >= REQUESTS_MAX && !is_broken("bound", "requests") {
            return Err(Refused::TooManyRequests { most: REQUESTS_MAX as u64 });
        }
        let index = decision.book.index(&Scope::User((&**user_id).into()));
        let request = OpenRequest {
            id: request_id.clone(),
            user_id: user_id.clone(),
            seat_type: decision.book.row(index).seat_type().map(Into::into),
            since: decision.at.record_time,
            wants: wants.clone(),
        };
        decision.tell(index, RequestKind::Opened(pending(&request)));
        decision.rules.edit().requests.open.push(request);
        // One that was planned for what is no longer pending says nothing of this one.
        if decision.rules.requests.open.len() == 1 {
            plan_digest(decision);
        }
        Ok(Vec::new())
    }
}
