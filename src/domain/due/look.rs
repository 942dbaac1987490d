//! Looks at scopes: those whose instant has come, those that are paused, or everyone.

use crate::domain::{
    account::{
        changes::{EndingPage, WalkCursor, WalkPage},
        scopes::ScopeIndex,
        sweep::{PAGE, Stage, Sweep},
    },
    control::Command,
    decision::{Decision, Trigger},
    due::free_phase,
    pause::CauseKind,
    time::Timestamp,
    usage::{
        follow::{follow, set_state},
        reload,
        rules::bring_up_to_date,
        turn::turn,
    },
};
use crate::mutation::is_broken;

/// The page that begins where another ended.
pub const fn page_after(cursor: Option<WalkCursor>) -> WalkPage {
    WalkPage { cursor, limit: PAGE }
}

/// Looks at the scopes of a page, and lets the sweep stand at the next one if there may be one. Returns how many are
/// still to be looked at by the time of the page.
pub fn look_at_page(decision: &mut Decision<'_>, page: EndingPage, scopes: &[(ScopeIndex, Timestamp)]) -> usize {
    let place = |decision: &Decision<'_>, index: ScopeIndex, at: Timestamp| (at, decision.book.slot(index).field());
    let page_end = scopes.last().map(|(index, at)| place(decision, *index, *at));
    let mut still_within: usize = 0;
    for (index, _) in scopes {
        // The entry that led here goes, whatever becomes of it.
        decision.book.slot_mut(*index).look_at = None;
        if !free_phase::is_to_be_looked_at(decision, *index) && !is_broken("look when", "due") {
            look(decision, *index);
        }
        let next = decision.book.slot(*index).look_at.flatten().map(|at| place(decision, *index, at));
        still_within += usize::from(next.is_some() && next <= page_end);
    }
    if scopes.len() >= page.limit {
        let offset = page.offset + still_within;
        let answer = Vec::new();
        decision.agenda.sweep =
            Some(Sweep { stage: Stage::Looking(EndingPage { offset, ..page }), found: None, answer });
    }
    still_within
}

/// Looks at those of a page of all rows that are known or paused.
pub fn look_at_walked(decision: &mut Decision<'_>, scopes: &[(ScopeIndex, bool)]) {
    for (index, is_new) in scopes {
        if matches!(decision.trigger, Trigger::Control(record) if matches!(record.command, Command::SetFreePhase(_))) {
            free_phase::note_use(decision, *index);
        }
        let is_concerned =
            decision.view().is_held(*index, decision.now()) && !free_phase::is_to_be_looked_at(decision, *index);
        if is_concerned && !is_broken("look when", "all are looked at") {
            look(decision, *index);
        }
        if *is_new {
            decision.book.unload(*index);
        }
    }
}

/// Brings one scope up to date: with the rules, with the time, with who can pay. At most one change of its pauses is
/// announced.
pub fn look(decision: &mut Decision<'_>, index: ScopeIndex) {
    if !is_broken("look by", "rules") {
        bring_up_to_date(decision, index);
    }
    let has_pool = decision.book.pool(index).is_some();
    if has_pool && !is_broken("look by", "turn") {
        turn(decision, index);
    }
    if !is_broken("look by", "free phase") {
        end_free_phase_cause(decision, index);
    }
    follow(decision, index);
    if has_pool && !is_broken("look by", "reload") {
        reload::ask(decision, index, false);
    }
}

/// An agent of the free phase runs again when credits have come to its pool since (row A7).
fn end_free_phase_cause(decision: &mut Decision<'_>, index: ScopeIndex) {
    if !decision.book.row(index).pauses.has(CauseKind::FreePhase) {
        return;
    }
    let period = decision.rules.period(decision.at.clock);
    let owner = decision.view().owner_of_nearest_pool(decision.book.charged_alone(index), period);
    let credited_at = owner.and_then(|owner| decision.book.pool(owner)).and_then(|pool| pool.credited_at);
    if credited_at.is_some_and(|at| decision.rules.free_phase_looked_at.is_none_or(|looked_at| at > looked_at)) {
        set_state(decision, index, |causes| causes.retain(|cause| cause.kind != CauseKind::FreePhase));
    }
}
