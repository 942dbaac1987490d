//! Grants what a member asked for in one step (row B10): a seat; or a higher limit, with the sources of extra usage that are off.

use super::{
    Handle,
    checks::check_id,
    register_workspace::actor,
    set_limit::{check, set},
    set_member::{check_seat, seat},
    set_source::switch_own,
};
use crate::domain::{
    account::{
        rulebook::Rulebook,
        scopes::{ChargedScopes, ScopeIndex},
        sweep::Concern,
    },
    answer::{Answer, Applied, NamedLimit, Refused},
    control::{Approve, SetLimit},
    decision::Decision,
    funding::Occasion,
    limit::{Action, Limit, Selector, THRESHOLDS_PERCENT_DEFAULT},
    meter::Meter,
    organization::{OpenRequest, Wants},
    payment::Source,
    rate_card::MICRO_MAX,
    scope::Scope,
    signal::RequestKind,
    window::WindowKind,
};

/// The id of the limit on extra credits that an approval sets for a member.
const SPEND_LIMIT: &str = "spend";

impl Handle for Approve {
    fn touches(&self, rules: &Rulebook) -> Vec<Scope> {
        touched(rules, &self.request_id).into_iter().chain([Scope::Organization]).collect()
    }

    fn concerns(&self, rules: &Rulebook) -> Concern {
        // Elsewhere a switch of one member may decide whether the owner of the pool pauses.
        if rules.payment().mode.has_seats() { Concern::Touched } else { Concern::Everyone }
    }

    fn apply(&self, decision: &mut Decision<'_>) -> Answer {
        let request = open_request(decision, &self.request_id)?;
        let scope = Scope::User((&*request.user_id).into());
        let index = decision.book.index(&scope);
        let switched_on = match (&request.wants, self.cap) {
            (Wants::HigherLimit, Some(cap)) => {
                raise(decision, index, &scope, cap)?;
                switch_on(decision, index, &request.user_id)
            }
            (Wants::HigherLimit, None) => {
                return Err(Refused::HigherLimitNeedsCap { request_id: request.id });
            }
            (Wants::Seat(_), Some(_)) => return Err(Refused::SeatTakesNoCap { request_id: request.id }),
            (Wants::Seat(seat_type), None) => {
                check_seat(decision, Some(seat_type))?;
                seat(decision, index, Some(seat_type));
                None
            }
        };
        close_request(decision, &self.request_id);
        let still_binding = binding_limits(decision, index);
        let mut applied = vec![match still_binding.is_empty() {
            true => Applied::NoLimitBinds,
            false => Applied::StillBinding { limits: still_binding.clone() },
        }];
        applied.extend(switched_on);
        let (request_id, actor) = (request.id, actor(decision));
        let kind = RequestKind::Approved { request_id, actor, still_binding, still_binding_words: Vec::new() };
        decision.tell(index, kind);
        Ok(applied)
    }
}

/// The member whose request it is.
pub fn touched(rules: &Rulebook, request_id: &str) -> Vec<Scope> {
    let open = rules.requests.open.iter().find(|open| &*open.id == request_id);
    open.map(|open| Scope::User((&*open.user_id).into())).into_iter().collect()
}

/// The request of that id.
pub fn open_request(decision: &Decision<'_>, request_id: &str) -> Result<OpenRequest, Refused> {
    check_id("request_id", request_id)?;
    let open = decision.rules.requests.open.iter().find(|open| &*open.id == request_id);
    open.cloned().ok_or_else(|| Refused::RequestNotOpen { request_id: request_id.into() })
}

/// Closes the request of that id.
pub fn close_request(decision: &mut Decision<'_>, request_id: &str) {
    decision.rules.edit().requests.open.retain(|open| &*open.id != request_id);
}

/// Sets the member's own limit.
fn raise(decision: &mut Decision<'_>, index: ScopeIndex, scope: &Scope, cap: i64) -> Result<(), Refused> {
    let is_own = |limit: &&Limit| {
        let what = (&*limit.id, limit.meter, limit.window);
        what == (SPEND_LIMIT, Meter::ExtraCreditsMicro, WindowKind::Period)
    };
    let own = decision.book.row(index).limits.iter().find(is_own);
    // An unlimited one cannot be raised either.
    if let Some(before_micro) = own.map(|limit| limit.cap.unwrap_or(MICRO_MAX)).filter(|before| cap <= *before) {
        return Err(Refused::CapDoesNotRaise { cap_micro: cap, before_micro });
    }
    let shares = own.map_or_else(|| THRESHOLDS_PERCENT_DEFAULT.to_vec(), |limit| limit.thresholds_percent.clone());
    let limit = SetLimit {
        limit_id: SPEND_LIMIT.into(),
        selector: Selector::One(scope.clone()),
        meter: Meter::ExtraCreditsMicro,
        window: WindowKind::Period,
        cap: Some(cap),
        thresholds_percent: shares,
        action: Action::Pause,
        yields_to_own: false,
    };
    check(decision, &limit)?;
    set(decision, &limit);
    Ok(())
}

/// Switches on for the member each source of extra usage that the mode has and that is off.
fn switch_on(decision: &mut Decision<'_>, index: ScopeIndex, user: &str) -> Option<Applied> {
    let payment = decision.rules.payment();
    let own = decision.book.row(index).member.as_deref().map(|member| member.switches);
    let is_off = |source: &Source| payment.mode.knows(*source) && !payment.is_on(*source, own.as_ref());
    let off: Vec<Source> = [Source::Prepaid, Source::Postpaid].into_iter().filter(is_off).collect();
    if off.is_empty() {
        return None;
    }
    if payment.extra_usage_off {
        return Some(Applied::ExtraUsageStaysOff);
    }
    off.iter().for_each(|source| switch_own(decision, user, *source, Some(true)));
    Some(Applied::SwitchedOn { sources: off })
}

/// The limits on extra credits that leave a member no room.
fn binding_limits(decision: &Decision<'_>, member: ScopeIndex) -> Vec<NamedLimit> {
    let view = decision.view();
    let occasion = Occasion::now(decision.rules, decision.at.record_time);
    let limits = view.spend_limits(ChargedScopes::of(None, None, Some(member)), occasion);
    let binding = limits.iter().filter(|limit| limit.room_micro == 0);
    let named = binding
        .map(|limit| NamedLimit { selector: view.selector(limit.scope, limit.many), limit_id: limit.limit.id.clone() });
    named.collect()
}
