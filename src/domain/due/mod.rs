//! What time brings: causes end, grants begin and end, seats come back, periods close, digests go out. It comes as a due
//! record, so that a replay does it at the same place; and it goes page by page, a commit each, so that no step touches the
//! whole account.
//!
//! - [`look`]: scopes whose instant has come are evaluated; then, if what all share has changed, everyone.
//! - `close`: periods. `free_phase`: agents at the end of the free phase. `digest`: pending requests.

mod close;
mod correct;
mod digest;
pub mod free_phase;
pub mod look;

pub use self::digest::{next_digest, pending, plan_digest, plan_digest_anew};

use self::look::{look_at_page, look_at_walked};
use super::{
    account::{
        changes::EndingPage,
        sweep::{Found, PAGE, Stage, Sweep, first_page},
    },
    decision::Decision,
    time::{MINUTE_MS, SECOND_MS, Timestamp},
};
use crate::mutation::is_broken;

/// A period is not closed before usage has been read up to its end; until then it is tried again after this.
const TRY_AGAIN_MS: i64 = 5 * SECOND_MS;

/// And at most after this.
const TRY_AGAIN_MAX_MS: i64 = 10 * MINUTE_MS;

/// By a clock that follows records, and may stand, this long after: a hundred tries lie within what comes all the same.
const TRY_AGAIN_STANDING_MS: i64 = 10;

/// Whether a record is through.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Progress {
    /// It is.
    Done,
    /// Commit, and come again.
    More,
}

/// Up to when a due record serves: all that is over by its record time, so that a thousand ends that were missed are
/// one record and not a thousand.
fn served_by(decision: &Decision<'_>, at: Timestamp) -> Timestamp {
    let now = decision.at.record_time.min(decision.at.clock);
    at.max(decision.agenda.served_due()).max(now)
}

/// Begins the next thing that is due at `at`. Looking at scopes whose instant has come is last: it tells when the next
/// thing is due.
pub fn begin(decision: &mut Decision<'_>, at: Timestamp) {
    let now = served_by(decision, at);
    let stage = if decision.agenda.look_at_all().is_some_and(|at| at <= now) {
        Stage::Everyone(first_page())
    } else if let Some(period) = close::period_to_close(decision, now) {
        Stage::Closing(period, first_page())
    } else if free_phase::end(decision).is_some_and(|end| end <= now) {
        decision.rules.edit().free_phase_looked_at = Some(now);
        Stage::FreePhase(first_page())
    } else {
        Stage::Looking(EndingPage { until: now, offset: 0, limit: PAGE })
    };
    decision.agenda.sweep = Some(Sweep::new(stage));
}

/// Does a page of what is due, and says whether that was all.
///
/// # Panics
/// If the page was not loaded before.
pub fn serve(decision: &mut Decision<'_>, at: Timestamp) -> Progress {
    let sweep = decision.agenda.sweep.take().expect("the page was loaded before the record is decided");
    let found = sweep.found.expect("the page was loaded before the record is decided");
    match (sweep.stage, found) {
        (Stage::Looking(page), Found::Scopes(scopes, next)) => {
            let unfinished = look_at_page(decision, page, &scopes);
            if decision.agenda.sweep.is_some() {
                return Progress::More;
            }
            let now = served_by(decision, at);
            if decision.agenda.look_at_all().is_some_and(|at| at <= now) {
                // What was found here concerns everyone.
                return Progress::More;
            }
            finish(decision, at, next, page.offset + unfinished > 0);
            return Progress::Done;
        }
        (Stage::Everyone(_), Found::Walked(scopes, next)) => {
            look_at_walked(decision, &scopes);
            match next {
                None => decision.agenda.looked_at_all(served_by(decision, at)),
                next => decision.agenda.sweep = Some(Sweep::new(Stage::Everyone(look::page_after(next)))),
            }
        }
        (Stage::Closing(period, _), Found::Rows(rows, next)) => {
            if !is_broken("close", "period") {
                close::close_rows(decision, &rows, period);
            }
            match next {
                None => decision.agenda.close(period),
                next => decision.agenda.sweep = Some(Sweep::new(Stage::Closing(period, look::page_after(next)))),
            }
        }
        (Stage::FreePhase(_), Found::Walked(agents, next)) => {
            if !is_broken("look when", "free phase ends") {
                free_phase::look_at_agents(decision, &agents);
            }
            match next {
                None => decision.rules.edit().free_phase_ends = false,
                next => decision.agenda.sweep = Some(Sweep::new(Stage::FreePhase(look::page_after(next)))),
            }
        }
        (stage, found) => unreachable!("a page of {stage:?} is not {found:?}"),
    }
    Progress::More
}

/// Notes that all was served, and when something is due next.
fn finish(decision: &mut Decision<'_>, at: Timestamp, next_look: Option<Timestamp>, is_unfinished: bool) {
    let at = served_by(decision, at);
    decision.agenda.serve(at);
    let settled = at.min(decision.at.read_until);
    if settled > Timestamp::from_ms(0) && close::period_to_close(decision, settled).is_none() {
        // Whatever ended before the period that this instant lies in had nothing to close.
        let running = decision.rules.period(settled.plus_ms(-decision.policy.grace_ms));
        decision.agenda.closed_all(running.start);
    }
    if !is_broken("send", "digest") {
        digest::send(decision, at);
    }
    let looks = decision.book.looks().chain(next_look).filter(|look| *look > at).min();
    let closes = close::next(decision);
    // What is due and not done was not read up to; it is tried again.
    // The further usage is behind, the longer: a backlog does not flood the control topic.
    let again = if decision.at.clock_follows_records {
        // Such a clock may stand from now on. What lies a little ahead of it comes all the same (`notify::due`).
        at.plus_ms(TRY_AGAIN_STANDING_MS)
    } else {
        let behind_ms = decision.at.clock.since_ms(decision.at.read_until) / 4;
        decision.at.clock.max(at).plus_ms(behind_ms.clamp(TRY_AGAIN_MS, TRY_AGAIN_MAX_MS))
    };
    let closes = closes.map(|close| if close <= at { again } else { close });
    let looks = if is_unfinished { looks.into_iter().chain([again]).min() } else { looks };
    let all = decision.agenda.look_at_all();
    let next = [looks, closes, all, free_phase::end(decision), decision.rules.requests.next_digest];
    let next = next.into_iter().flatten().map(|next| next.max(at.plus_ms(1))).min();
    decision.agenda.due_next(next);
}
