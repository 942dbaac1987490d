//! What counts against a seat of what was charged before it began (rows B1, B6).

use crate::domain::{
    account::scopes::ScopeIndex,
    decision::Decision,
    meter::Meter,
    organization::BeforeSeat,
    scope::Scope,
    time::Timestamp,
    window::{Window, WindowKind},
};

/// So many windows are remembered; of each kind one is open.
const KEPT: usize = 6;

/// Counts what a member was charged in the windows of a seat that begins now: whoever paid, but for prepaid and postpaid,
/// and but for what was free.
pub fn begin_seat(decision: &mut Decision<'_>, member: ScopeIndex) {
    let windows = windows_of_seat(decision, member, |_| true);
    if let Some(member) = &mut decision.book.row_mut(member).member {
        member.before_seat.clear();
    }
    windows.into_iter().for_each(|(kind, window)| note(decision, member, kind, window, decision.at.record_time));
}

/// The same for what a seat type began to include in the midst of a window.
pub fn begin_allowances(decision: &mut Decision<'_>, member: ScopeIndex) {
    for (kind, window) in windows_of_seat(decision, member, |since| since > Timestamp::MIN) {
        let seat = decision.book.row(member).seat_type().and_then(|name| decision.rules.seat_type(name));
        let allowance = seat.and_then(|seat| seat.allowances.iter().find(|allowance| allowance.window == kind));
        let began = allowance.map_or(Timestamp::MIN, |allowance| allowance.since);
        let known = decision.book.row(member).member.as_deref().is_some_and(|member| {
            member.before_seat.iter().any(|before| (before.window, before.start) == (kind, window.start))
        });
        if window.contains(began) && !known {
            note(decision, member, kind, window, began);
        }
    }
}

/// The windows that run now and bound a member's seat.
fn windows_of_seat(
    decision: &Decision<'_>,
    member: ScopeIndex,
    is_meant: impl Fn(Timestamp) -> bool,
) -> Vec<(WindowKind, Window)> {
    let row = decision.book.row(member);
    let Some(seat) = row.seat_type().and_then(|name| decision.rules.seat_type(name)) else { return Vec::new() };
    let now = decision.at.record_time;
    let allowances = seat.allowances.iter().filter(|allowance| is_meant(allowance.since));
    allowances.map(|allowance| (allowance.window, decision.view().window_of(row, allowance.window, now).0)).collect()
}

fn note(decision: &mut Decision<'_>, member: ScopeIndex, kind: WindowKind, window: Window, began: Timestamp) {
    debug_assert!(matches!(decision.book.slot(member).scope, Scope::User(_)), "only users have seats");
    let count = |meter| decision.book.count_of(member, kind, window, meter);
    let amount_micro = count(Meter::PoolCreditsMicro).saturating_add(count(Meter::UncoveredCreditsMicro));
    let before = BeforeSeat { window: kind, start: window.start, amount_micro, began };
    let known = &mut decision.book.row_mut(member).member.get_or_insert_default().before_seat;
    known.push(before);
    let surplus = known.len().saturating_sub(KEPT);
    known.drain(..surplus);
}
