//! Closing a period: a line for every scope that used something in it (row C7).

use crate::domain::{
    account::{sweep::StoredRow, windows::Place},
    decision::Decision,
    meter::Counters,
    statement::line,
    time::Timestamp,
    window::{Window, WindowKind},
};

/// The oldest period that is over by the grace and not closed; not before usage has been read that far.
pub fn period_to_close(decision: &Decision<'_>, now: Timestamp) -> Option<Window> {
    let over = |period: &Window| {
        let closes_at = period.end.plus_ms(decision.policy.grace_ms);
        closes_at <= now && closes_at <= decision.at.read_until
    };
    let open = decision.rules.calendar().periods_ending_after(decision.agenda.closed_until());
    open.filter(over).min_by_key(|period| period.end)
}

/// When the next period is to be closed.
pub fn next(decision: &Decision<'_>) -> Option<Timestamp> {
    let open = decision.rules.calendar().periods_ending_after(decision.agenda.closed_until());
    open.map(|period| period.end.plus_ms(decision.policy.grace_ms)).min()
}

/// Writes the lines of a page of rows.
pub fn close_rows(decision: &mut Decision<'_>, rows: &[StoredRow], period: Window) {
    // What is charged from now on is a correction, also while other pages are still to come: lines and corrections
    // both tell the totals, so the last one of a scope is right.
    decision.agenda.begin_closing(period);
    for stored in rows {
        if let Some(totals) = totals(decision, stored, period).filter(|totals| *totals != Counters::ZERO) {
            let unit = &decision.rules.unit.name;
            line(decision.out, &stored.scope, period, totals, unit, decision.at.record_time);
        }
    }
}

/// What a scope used in a period: by the row in memory, if there is one, for it is newer than the stored one.
fn totals(decision: &Decision<'_>, stored: &StoredRow, period: Window) -> Option<Counters> {
    let known = decision.book.known(&stored.scope).filter(|index| decision.book.is_loaded(*index));
    let row = known.map_or(&stored.row, |index| decision.book.row(index));
    match row.windows.place(WindowKind::Period, period.start) {
        Place::Row(position) => Some(row.windows.counters(position)),
        Place::Older => decision.book.older_of(&stored.field, WindowKind::Period, period.start),
        Place::New => None,
    }
}
