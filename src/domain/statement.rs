//! Statements: a line for every scope that used something in a period, and a correction for what comes later (row C7).

use super::{
    account::{
        outbox::Outbox,
        scopes::{ChargedScopes, ScopeIndex},
    },
    decision::Decision,
    meter::{Counters, Meter},
    scope::{Scope, ScopeKind},
    signal::{Correction, Signal, StatementLine},
    time::Timestamp,
    usage::count::Charging,
    window::{Window, WindowKind},
};

/// Sends the line of one scope.
pub fn line(out: &mut Outbox, scope: &Scope, period: Window, totals: Counters, unit: &str, record_time: Timestamp) {
    let identity = out.identity(&["statement", &scope.to_string(), &period.start.ms().to_string()]);
    let (scope, unit) = (scope.clone(), unit.into());
    let line = StatementLine { identity, scope, period, totals, correction: None, unit, record_time };
    out.emit(Signal::Statement(Box::new(line)));
}

/// Corrects the lines of a closed period by a charge that was just counted in it. `because` tells the charge apart from
/// every other, and says what it is.
pub fn correct(
    decision: &mut Decision<'_>,
    charged: ChargedScopes,
    charging: &Charging,
    because: &dyn Fn() -> (String, String),
) {
    let (cause, why) = because();
    for index in charged.as_slice() {
        let holds_agents =
            matches!(decision.book.slot(*index).scope.kind(), ScopeKind::Organization | ScopeKind::Workspace);
        let mut delta = charging.charge;
        if holds_agents && charging.first_runs[2] {
            delta.set(Meter::ActiveAgents, 1);
        }
        correct_line(decision, *index, charging.windows.period, delta, (&cause, &why));
    }
}

/// Corrects the line of one scope, if anything was added: its totals are as they are now, `delta` is what was.
pub fn correct_line(
    decision: &mut Decision<'_>,
    index: ScopeIndex,
    period: Window,
    delta: Counters,
    (cause, why): (&str, &str),
) {
    if delta == Counters::ZERO {
        return;
    }
    let slot = decision.book.slot(index);
    let identity = decision.out.identity(&["correction", &slot.field(), &period.start.ms().to_string(), cause]);
    let line = StatementLine {
        identity,
        scope: slot.scope.clone(),
        period,
        totals: decision.book.counted(index, WindowKind::Period, period),
        correction: Some(Correction { delta, why: why.into() }),
        unit: decision.rules.unit.name.clone(),
        record_time: decision.at.record_time,
    };
    decision.out.emit(Signal::Statement(Box::new(line)));
}
