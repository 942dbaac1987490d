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

/// So many windows are remembered: of each kind those that run, and those of before that usage may still come to.
const KEPT: usize = 9;

/// Counts what a member was charged in the windows of a seat that begins now: whoever paid, but for prepaid and postpaid,
/// and but for what was free.
pub fn begin_seat(decision: &mut Decision<'_>, member: ScopeIndex) {
    if let Some(member) = &mut decision.book.row_mut(member).member {
        member.before_seat.clear();
    }
    for kind in kinds_of_seat(decision, member, |_| true) {
        note(decision, member, kind, decision.at.record_time);
    }
}

/// The same for what a seat type began to include in the midst of a window.
pub fn begin_allowances(decision: &mut Decision<'_>, member: ScopeIndex) {
    for kind in kinds_of_seat(decision, member, |since| since > Timestamp::MIN) {
        let seat = decision.book.row(member).seat_type().and_then(|name| decision.rules.seat_type(name));
        let allowance = seat.and_then(|seat| seat.allowances.iter().find(|allowance| allowance.window == kind));
        let began = allowance.map_or(Timestamp::MIN, |allowance| allowance.since);
        let window = running(decision, member, kind);
        let known = decision.book.row(member).member.as_deref().is_some_and(|member| {
            member.before_seat.iter().any(|before| (before.window, before.start) == (kind, window.start))
        });
        if window.contains(began) && !known {
            note(decision, member, kind, began);
        }
    }
}

/// The kinds of window that bound a member's seat.
fn kinds_of_seat(decision: &Decision<'_>, member: ScopeIndex, is_meant: impl Fn(Timestamp) -> bool) -> Vec<WindowKind> {
    let row = decision.book.row(member);
    let Some(seat) = row.seat_type().and_then(|name| decision.rules.seat_type(name)) else { return Vec::new() };
    let allowances = seat.allowances.iter().filter(|allowance| is_meant(allowance.since));
    allowances.map(|allowance| allowance.window).collect()
}

/// The window of a kind that runs for a member by the record.
fn running(decision: &Decision<'_>, member: ScopeIndex, kind: WindowKind) -> Window {
    decision.view().window_of(decision.book.row(member), kind, decision.at.record_time).0
}

/// The windows of before to which usage may still come.
fn before(decision: &Decision<'_>, member: ScopeIndex, kind: WindowKind, running: Window) -> Vec<Window> {
    match kind {
        WindowKind::Session => {
            let sessions = decision.book.row(member).windows.starts(kind);
            let others = sessions.filter(|start| *start != running.start);
            others.map(|start| decision.rules.window_from(kind, start)).collect()
        }
        _ => vec![decision.rules.window(kind, running.start.plus_ms(-1))],
    }
}

/// Notes what was charged in the window that runs, and in those of before where that is something.
fn note(decision: &mut Decision<'_>, member: ScopeIndex, kind: WindowKind, began: Timestamp) {
    debug_assert!(matches!(decision.book.slot(member).scope, Scope::User(_)), "only users have seats");
    let running = running(decision, member, kind);
    let mut new = vec![of(decision, member, kind, running, began)];
    for window in before(decision, member, kind, running) {
        new.push(of(decision, member, kind, window, began));
    }
    new.retain(|of| of.start == running.start || of.amount_micro > 0);
    let known = &mut decision.book.row_mut(member).member.get_or_insert_default().before_seat;
    known.retain(|of| !new.iter().any(|new| (new.window, new.start) == (of.window, of.start)));
    known.extend(new);
    let surplus = known.len().saturating_sub(KEPT);
    known.drain(..surplus);
}

fn of(decision: &Decision<'_>, member: ScopeIndex, kind: WindowKind, window: Window, began: Timestamp) -> BeforeSeat {
    let count = |meter| decision.book.count_of(member, kind, window, meter);
    let amount_micro = count(Meter::PoolCreditsMicro).saturating_add(count(Meter::UncoveredCreditsMicro));
    BeforeSeat { window: kind, start: window.start, amount_micro, began }
}
