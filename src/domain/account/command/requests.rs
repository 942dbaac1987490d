//! What members ask for: a higher limit, or another seat (row B10).

use super::{Answer, Said, checks::check_id};
use crate::domain::{
    account::{Account, statement::pending},
    control::SetLimit,
    limit::{Action, Selector, THRESHOLDS_PERCENT_DEFAULT},
    meter::Meter,
    organization::{OpenRequest, Wants},
    scope::Scope,
    signal::RequestKind,
    window::WindowKind,
};

/// At most this many requests are open in one organization.
const REQUESTS_MAX: usize = 1_000;

/// The limit that an approval sets on a member.
const SPEND_LIMIT: &str = "spend";

impl Account {
    pub(super) fn set_requests(&mut self, enabled: bool, digest_hour: u8, said: &Said<'_>) -> Answer {
        if digest_hour > 23 {
            return Err(format!("digest_hour is {digest_hour}; it must lie between 0 and 23"));
        }
        let requests = &mut self.settings.requests;
        (requests.enabled, requests.digest_hour) = (enabled, digest_hour);
        self.settings_changed = true;
        if !self.settings.requests.open.is_empty() {
            self.plan_digest(said);
        }
        Ok(String::new())
    }

    pub(super) fn request(&mut self, request_id: &str, user_id: &str, wants: &Wants, said: &Said<'_>) -> Answer {
        check_id("request_id", request_id)?;
        if !self.settings.requests.enabled {
            return Err("requests are switched off in this organization".to_owned());
        }
        if let Wants::Seat(name) = wants
            && self.settings.seat_type(name).is_none()
        {
            return Err(format!("there is no seat type {name:?}"));
        }
        let open = &self.settings.requests.open;
        if let Some(open) = open.iter().find(|open| &*open.user_id == user_id || &*open.id == request_id) {
            return Err(format!("request {} of {} is open since {}", open.id, open.user_id, open.since));
        }
        if open.len() >= REQUESTS_MAX {
            return Err(format!("{REQUESTS_MAX} requests are open already"));
        }
        let index = self.scopes.index(&Scope::User(user_id.into()));
        let seat_type = self.scopes.row(index).seat_type().map(Into::into);
        let (id, user_id, since) = (request_id.into(), user_id.into(), said.moment.record_time);
        let request = OpenRequest { id, user_id, seat_type, since, wants: wants.clone() };
        let kind = RequestKind::Opened(pending(&request));
        self.tell(Scope::User((&*request.user_id).into()), kind, said);
        self.settings.requests.open.push(request);
        self.settings_changed = true;
        if self.settings.requests.next_digest.is_none() {
            self.plan_digest(said);
        }
        Ok(String::new())
    }

    fn plan_digest(&mut self, said: &Said<'_>) {
        let next = self.next_digest(said.moment.clock.max(self.head.served_due));
        self.settings.requests.next_digest = Some(next);
        self.be_due(next);
    }

    /// Grants what was asked for in this very step, and says which limits still leave no room.
    pub(super) fn approve(&mut self, request_id: &str, cap: Option<i64>, said: &Said<'_>) -> Answer {
        let request = self.open_request(request_id)?;
        let scope = Scope::User((&*request.user_id).into());
        let index = self.scopes.index(&scope);
        match (&request.wants, cap) {
            (Wants::HigherLimit, Some(cap)) => {
                let own = self.scopes.row(index).limits.iter().find(|limit| &*limit.id == SPEND_LIMIT);
                if let Some(before) = own.and_then(|limit| limit.cap).filter(|before| cap <= *before) {
                    return Err(format!("cap {cap} does not raise the member's limit, which is {before}"));
                }
                let set = SetLimit {
                    limit_id: SPEND_LIMIT.into(),
                    selector: Selector::One(scope.clone()),
                    meter: Meter::ExtraCreditsMicro,
                    window: WindowKind::Period,
                    cap: Some(cap),
                    thresholds_percent: THRESHOLDS_PERCENT_DEFAULT.to_vec(),
                    action: Action::Pause,
                };
                self.set_limit(&set, said)?;
            }
            (Wants::HigherLimit, None) => return Err("a higher limit is approved with its cap".to_owned()),
            (Wants::Seat(_), Some(_)) => return Err("a seat is approved without a cap".to_owned()),
            (Wants::Seat(seat_type), None) => self.seat(index, Some(seat_type), said)?,
        }
        self.close_request(request_id);
        let still_binding = self.binding_limits(index, said.moment.record_time);
        let answer = match still_binding.len() {
            0 => "no limit binds the member now".to_owned(),
            _ => format!("still binding: {}", still_binding.join(", ")),
        };
        let (request_id, actor) = (request.id, said.record.actor.clone());
        self.tell(scope, RequestKind::Approved { request_id, actor, still_binding }, said);
        Ok(answer)
    }

    pub(super) fn decline(&mut self, request_id: &str, said: &Said<'_>) -> Answer {
        let request = self.open_request(request_id)?;
        self.close_request(request_id);
        let (actor, reason) = (said.record.actor.clone(), said.record.reason.clone());
        let kind = RequestKind::Declined { request_id: request.id, actor, reason };
        self.tell(Scope::User((&*request.user_id).into()), kind, said);
        Ok(String::new())
    }

    fn open_request(&self, request_id: &str) -> Result<OpenRequest, String> {
        let open = self.settings.requests.open.iter().find(|open| &*open.id == request_id);
        open.cloned().ok_or_else(|| format!("request {request_id:?} is not open"))
    }

    fn close_request(&mut self, request_id: &str) {
        self.settings.requests.open.retain(|open| &*open.id != request_id);
        self.settings_changed = true;
    }
}
