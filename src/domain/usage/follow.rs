//! The last step: scopes whose causes may be others are evaluated, and the difference to what is stored is announced.

use crate::domain::{
    account::{
        changes::NO_TIME,
        scopes::{LookAt, ScopeIndex},
    },
    causes::causes,
    command::concerns_everyone,
    decision::{Decision, Trigger},
    pause::Cause,
    signal::{PauseChanged, Signal},
    time::Timestamp,
};

/// Evaluates a scope, and announces if it is paused for other causes than before: at most one signal for each record.
pub fn follow(decision: &mut Decision<'_>, index: ScopeIndex) {
    let found = causes(decision.view(), index, decision.now());
    let pauses = &decision.book.row(index).pauses;
    if pauses.causes != found.all {
        let had_want = pauses.want_of_money().is_some();
        let changed = decision.book.row_mut(index).pauses.replace(found.all);
        if changed {
            announce(decision, index);
            let goes_on = had_want && decision.book.row(index).pauses.want_of_money().is_none();
            if goes_on && !decision.book.slot(index).scope.is_agent_or_user() && !concerns_everyone(decision) {
                // What stands in the way of users themselves shows once the owner goes on.
                decision.look_at_all_now();
            }
        } else {
            // Only when a cause ends has changed: the public hash says so.
            decision.book.slot_mut(index).look_at = None;
        }
    }
    attend(decision, index, found.look_at);
}

/// Replaces the causes that are state and not found by evaluation, and evaluates the scope.
pub fn set_state(decision: &mut Decision<'_>, index: ScopeIndex, change: impl FnOnce(&mut Vec<Cause>)) {
    let before = decision.book.row(index).pauses.causes.clone();
    let mut with_state = before.clone();
    change(&mut with_state);
    // Evaluation takes state from the row; what is announced is the difference to before.
    decision.book.row_mut(index).pauses.causes = with_state;
    let found = causes(decision.view(), index, decision.now());
    let pauses = &mut decision.book.row_mut(index).pauses;
    pauses.causes = before;
    if pauses.replace(found.all) {
        announce(decision, index);
    }
    attend(decision, index, found.look_at);
}

/// Publishes the causes for which a scope is paused now.
pub fn announce(decision: &mut Decision<'_>, index: ScopeIndex) {
    let floor = match decision.trigger {
        Trigger::Correction(generation) => generation.max(decision.at.clock.ms()),
        _ => decision.at.clock.ms(),
    };
    let before = decision.book.row(index).pauses.changes.to_string();
    let identity = decision.identity("pause", index, &[&before]);
    let pauses = &mut decision.book.row_mut(index).pauses;
    let generation = pauses.next_generation(floor);
    let causes = pauses.causes.clone();
    let (scope, record_time) = (decision.book.slot(index).scope.clone(), decision.at.record_time);
    decision.book.slot_mut(index).look_at = None;
    decision.out.emit(Signal::Pause(PauseChanged { identity, scope, causes, generation, record_time }));
}

/// Writes down when a scope has to be looked at: when its causes may change by themselves, when its pool does, or, while
/// it is paused, when rules change.
pub fn attend(decision: &mut Decision<'_>, index: ScopeIndex, by_causes: Option<Timestamp>) {
    let row = decision.book.row(index);
    let period = decision.rules.period(decision.at.clock);
    let by_pool = row.pool.as_ref().and_then(|pool| pool.next_change(period, decision.policy.grace_ms));
    let by_rules = row.pauses.causes.iter().any(|cause| cause.kind.follows_rules()).then_some(NO_TIME);
    let look_at: LookAt = by_causes.into_iter().chain(by_pool).min().or(by_rules);
    let slot = decision.book.slot(index);
    let is_known =
        slot.look_at == Some(look_at) || (slot.look_at.is_none() && look_at.is_none() && row.pauses.changes == 0);
    if !is_known {
        decision.book.attend(index, look_at);
        if let Some(at) = look_at.filter(|at| *at < NO_TIME) {
            decision.agenda.be_due(at);
        }
    }
}
