//! The daily digest of pending requests (row B10).

use crate::domain::{
    account::{rulebook::Rulebook, scopes::ORGANIZATION},
    decision::Decision,
    organization::OpenRequest,
    signal::{Pending, RequestKind},
    time::Timestamp,
    window::{WindowKind, local_hour, window_at},
};

/// So many requests go into one record of a digest, so that each fits one however long the names are.
const DIGEST_PART: usize = 200;

/// Sends the digest, if its time has come.
pub fn send(decision: &mut Decision<'_>, at: Timestamp) {
    let Some(due) = decision.rules.requests.next_digest.filter(|due| *due <= at) else { return };
    let pending: Vec<Pending> = decision.rules.requests.open.iter().map(pending).collect();
    let next = (!pending.is_empty()).then(|| next_digest(decision.rules, at));
    decision.rules.edit().requests.next_digest = next;
    for (part, pending) in pending.chunks(DIGEST_PART).enumerate() {
        let identity = decision.out.identity(&["digest", &due.ms().to_string(), &part.to_string()]);
        decision.tell_as(identity, ORGANIZATION, RequestKind::Digest { pending: pending.to_vec() });
    }
}

/// When the next digest goes out: at the set hour of the local day.
pub fn next_digest(rules: &Rulebook, after: Timestamp) -> Timestamp {
    let mut day = window_at(&rules.zones, WindowKind::Day, after);
    loop {
        let at = local_hour(&rules.zones, day, rules.requests.digest_hour);
        if at > after {
            return at;
        }
        day = window_at(&rules.zones, WindowKind::Day, day.end);
    }
}

/// Sees to it that the next digest goes out.
pub fn plan_digest(decision: &mut Decision<'_>) {
    let after = decision.at.clock.max(decision.at.record_time).max(decision.agenda.served_due());
    let next = next_digest(decision.rules, after);
    decision.rules.edit().requests.next_digest = Some(next);
    decision.agenda.be_due(next);
}

/// The same where another hour or zone was said. One whose time has come is still to be sent.
pub fn plan_digest_anew(decision: &mut Decision<'_>) {
    let now = decision.at.clock.max(decision.at.record_time);
    let is_owed = decision.rules.requests.next_digest.is_some_and(|due| due <= now);
    if !decision.rules.requests.open.is_empty() && !is_owed {
        plan_digest(decision);
    }
}

/// A request as an admin sees it.
pub fn pending(request: &OpenRequest) -> Pending {
    Pending {
        request_id: request.id.clone(),
        user_id: request.user_id.clone(),
        seat_type: request.seat_type.clone(),
        since: request.since,
        wants: request.wants.describe().into(),
    }
}
