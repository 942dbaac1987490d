//! The end of the free phase: each of its agents is looked at once, by itself (row A7).

use crate::domain::{
    account::scopes::ScopeIndex,
    decision::Decision,
    due::look::look,
    meter::Meter,
    pause::{Cause, CauseKind},
    scope::Scope,
    time::Timestamp,
    usage::follow::set_state,
    window::{Window, WindowKind},
};

/// The first period start on or after the end of the phase, while its agents are still to be looked at.
pub fn end(decision: &Decision<'_>) -> Option<Timestamp> {
    let until = decision.rules.free_until.filter(|_| decision.rules.free_phase_ends)?;
    let period = decision.rules.period(until);
    Some(if period.start == until { until } else { period.end })
}

/// Looks at the agents of a page.
pub fn look_at_agents(decision: &mut Decision<'_>, agents: &[(ScopeIndex, bool)]) {
    let Some(end) = end(decision) else { return };
    let ended = decision.rules.period(end.plus_ms(-1));
    for (agent, is_new) in agents {
        if is_of_phase(decision, *agent) {
            if lacks_credits(decision, *agent, ended) && !were_given_since(decision, *agent, end) {
                set_state(decision, *agent, |causes| {
                    causes.retain(|cause| cause.kind != CauseKind::FreePhase);
                    causes.push(Cause::of(CauseKind::FreePhase));
                });
            } else if decision.view().is_held(*agent, decision.now()) {
                look(decision, *agent);
            }
        }
        if *is_new {
            decision.book.unload(*agent);
        }
    }
}

/// Whether the clock has come to that look at an agent, and the look is still to come: what else changes for the agent is
/// told by it, so that the agent does not run in between.
pub fn is_to_be_looked_at(decision: &Decision<'_>, index: ScopeIndex) -> bool {
    end(decision).is_some_and(|end| end <= decision.at.clock)
        && matches!(decision.book.slot(index).scope, Scope::Agent { .. })
        && is_of_phase(decision, index)
}

/// Notes of an agent that it was used in the phase: what was used before the record that set its end was.
pub fn note_use(decision: &mut Decision<'_>, index: ScopeIndex) {
    let row = decision.book.row(index);
    let is_agent = matches!(decision.book.slot(index).scope, Scope::Agent { .. });
    let was_used = row.windows.starts(WindowKind::Period).next().is_some();
    if is_agent && was_used && !row.in_free_phase {
        decision.book.row_mut(index).in_free_phase = true;
    }
}

/// Whether an agent was registered or first used in the phase.
fn is_of_phase(decision: &Decision<'_>, agent: ScopeIndex) -> bool {
    let until = decision.rules.free_until.unwrap_or(Timestamp::MIN);
    let row = decision.book.row(agent);
    row.in_free_phase || row.registered.as_ref().is_some_and(|registered| registered.created_at < until)
}

/// Whether a grant to pool or balance has begun after the look was due: it would end the cause.
fn were_given_since(decision: &Decision<'_>, agent: ScopeIndex, end: Timestamp) -> bool {
    let now = decision.now();
    let charged = decision.book.charged_alone(agent);
    let owner = decision.view().owner_of_nearest_pool(charged, decision.rules.period(now));
    let has_begun = |from: Timestamp| end < from && from <= now;
    owner.and_then(|owner| decision.book.pool(owner)).is_some_and(|pool| {
        pool.grants.iter().any(|grant| grant.left_micro() > 0 && grant.effective_from.is_some_and(has_begun))
    })
}

/// Whether pool and balance together have less left than the agent used in the period that ended; without a pool they have
/// nothing.
fn lacks_credits(decision: &Decision<'_>, agent: ScopeIndex, ended: Window) -> bool {
    let now = decision.now();
    let charged = decision.book.charged_alone(agent);
    let period = decision.rules.period(now);
    let pool = decision.view().owner_of_nearest_pool(charged, period).and_then(|owner| decision.book.pool(owner));
    let left_micro = pool.map_or(0, |pool| pool.left_micro(period, now).saturating_add(pool.prepaid_left_micro(now)));
    left_micro < decision.book.count_of(agent, WindowKind::Period, ended, Meter::CreditsMicro)
}
