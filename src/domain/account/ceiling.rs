//! When a ceiling announces and pauses. A limit and a pool are both ceilings: a count, a cap, a window.

use super::{Moment, identity};
use crate::domain::{
    limit::{self, Action, Limit},
    meter::Meter,
    pause::{Cause as PauseCause, CauseKind},
    pool::{GrantKind, Pool},
    scope::Scope,
    signal::{Identity, Signal, ThresholdCrossed},
    time::Timestamp,
    window::{Window, WindowKind},
};

/// A limit or a pool in one window.
pub struct Ceiling<'a> {
    /// How it is announced.
    kind: CauseKind,
    limit_id: &'a str,
    meter: Meter,
    window_kind: WindowKind,
    window: Window,
    cap: i64,
    thresholds_percent: &'a [u16],
    action: Action,
    revision: u64,
}

/// Which step is held against a ceiling.
#[derive(Clone, Copy)]
pub enum Step {
    /// An event took the count from `before` (`None`: the first of its window) to `after`.
    Event {
        /// The count before.
        before: Option<i64>,
        /// The count after.
        after: i64,
    },
    /// The ceiling itself is new: only the highest share that is already used is announced.
    Revision {
        /// The count as it stands.
        used: i64,
    },
}

impl Step {
    fn used(self) -> i64 {
        match self {
            Self::Event { after, .. } => after,
            Self::Revision { used } => used,
        }
    }

    /// The count before, where the ceiling was there before.
    fn before(self) -> Option<i64> {
        match self {
            Self::Event { before, .. } => before,
            Self::Revision { .. } => None,
        }
    }
}

/// What is published of a step, and the cause for a pause if it leads to one.
#[derive(Default)]
pub struct Effects {
    /// Signals, in the order of their thresholds.
    pub signals: Vec<Signal>,
    /// New causes, each with the revision that brought it.
    pub causes: Vec<(PauseCause, u64)>,
}

impl<'a> Ceiling<'a> {
    /// A limit as a ceiling; `None` if it is unlimited.
    pub fn of_limit(limit: &'a Limit, window: Window) -> Option<Self> {
        Some(Self {
            kind: if limit.meter == Meter::ExtraCreditsMicro { CauseKind::SpendLimit } else { CauseKind::Limit },
            limit_id: &limit.id,
            meter: limit.meter,
            window_kind: limit.window,
            window,
            cap: limit.cap?,
            thresholds_percent: &limit.thresholds_percent,
            action: limit.action,
            revision: limit.revision,
        })
    }

    /// A pool as a ceiling: what was drawn, against all that it holds in the period. It announces only: whether anybody
    /// pauses depends on every source of payment (see `funding`). So it is with limits on extra credits.
    /// `None` where there is nothing but a prepaid balance.
    pub fn of_pool(pool: &'a Pool, window: Window) -> Option<Self> {
        let cap = pool.size_micro(window.start);
        if cap == 0 && pool.grants.iter().any(|grant| grant.kind == GrantKind::Prepaid) {
            return None;
        }
        Some(Self {
            kind: CauseKind::Pool,
            limit_id: "",
            meter: Meter::PoolCreditsMicro,
            window_kind: WindowKind::Period,
            window,
            cap,
            thresholds_percent: &pool.thresholds_percent,
            action: Action::Notify,
            revision: pool.revision,
        })
    }

    /// Holds a step against the ceiling. A window that is over by the clock announces thresholds but pauses nobody.
    pub fn hold(&self, step: Step, organization_id: &str, scope: &Scope, moment: Moment, effects: &mut Effects) {
        let used = step.used();
        let first = self.thresholds_percent.first().copied().unwrap_or(100).min(100);
        if !limit::reached(used, self.cap, first) {
            return;
        }
        let passed: Vec<u16> = match self.action {
            Action::Observe => Vec::new(),
            Action::Notify | Action::Pause => self.passed(step),
        };
        for percent in passed {
            effects.signals.push(self.threshold(percent, used, organization_id, scope, moment));
        }
        let reaches_cap = used >= self.cap && step.before().is_none_or(|before| before < self.cap);
        let pauses = self.action == Action::Pause && self.kind == CauseKind::Limit;
        if reaches_cap && pauses && self.window.end > moment.clock {
            effects.causes.push((self.cause(), self.revision));
        }
    }

    /// The shares that the step announces, ascending.
    fn passed(&self, step: Step) -> Vec<u16> {
        let newly = |percent: &u16| {
            let before = step.before().is_some_and(|before| limit::reached(before, self.cap, *percent));
            limit::reached(step.used(), self.cap, *percent) && !before
        };
        let mut passed = self.thresholds_percent.iter().copied().filter(newly);
        match step {
            Step::Event { .. } => passed.by_ref().collect(),
            Step::Revision { .. } => passed.next_back().into_iter().collect(),
        }
    }

    fn threshold(&self, percent: u16, used: i64, organization_id: &str, scope: &Scope, moment: Moment) -> Signal {
        let parts = [
            "threshold",
            &scope.to_string(),
            self.kind.name(),
            self.limit_id,
            self.window_kind.name(),
            &self.window.start.ms().to_string(),
            &percent.to_string(),
            &self.revision.to_string(),
        ];
        Signal::Threshold(ThresholdCrossed {
            identity: identity(organization_id, &parts),
            scope: scope.clone(),
            ceiling: self.kind,
            limit_id: self.limit_id.into(),
            meter: self.meter,
            window_kind: self.window_kind,
            window: self.window,
            threshold_percent: percent,
            cap: self.cap,
            used,
            revision: self.revision,
            top_contributors: Vec::new(),
            record_time: moment.record_time,
        })
    }

    fn cause(&self) -> PauseCause {
        PauseCause {
            kind: self.kind,
            limit_id: self.limit_id.into(),
            window_start: Some(self.window.start),
            ends_at: Some(self.window.end),
        }
    }
}

/// What changed the pauses of a scope: the identity of the signal derives from it, so that a replay publishes the
/// same signal and not another one.
pub enum Cause<'a> {
    /// A ceiling was reached.
    Reached {
        /// The new causes with the revisions that brought them.
        causes: &'a [(PauseCause, u64)],
        /// How often a cause of this scope was cleared before: the same cause after that is another happening.
        cleared: u32,
    },
    /// The free phase is over.
    FreePhase,
    /// A control record said so, or brought a new ceiling.
    Control {
        /// The record's source.
        source: &'a str,
        /// The record's id.
        id: &'a str,
        /// The record's time: the same id at another time is another record.
        time: Timestamp,
    },
    /// Rules for every scope of a kind changed, and this scope was brought up to date.
    Rules {
        /// The revision of the rules.
        revision: u64,
    },
    /// The pauses topic was wrong.
    Correction {
        /// The generation that was read there, plus one.
        generation: i64,
    },
}

impl Cause<'_> {
    /// The identity of the signal for the scope in `field`.
    pub fn identity(&self, organization_id: &str, field: &str) -> Identity {
        let mut parts = vec!["pause".to_owned(), field.to_owned()];
        match self {
            Self::Reached { causes, cleared } => {
                parts.push(cleared.to_string());
                for (cause, revision) in *causes {
                    let start = cause.window_start.map_or(0, Timestamp::ms);
                    let end = cause.ends_at.map_or(0, Timestamp::ms);
                    parts.extend([
                        cause.kind.name().to_owned(),
                        cause.limit_id.to_string(),
                        start.to_string(),
                        end.to_string(),
                        revision.to_string(),
                    ]);
                }
            }
            Self::Control { source, id, time } => {
                parts.extend(["control".to_owned(), (*source).to_owned(), (*id).to_owned(), time.ms().to_string()])
            }
            Self::FreePhase => parts.push("free_phase".to_owned()),
            Self::Rules { revision } => parts.extend(["rules".to_owned(), revision.to_string()]),
            Self::Correction { generation } => parts.extend(["correction".to_owned(), generation.to_string()]),
        }
        let parts: Vec<&str> = parts.iter().map(String::as_str).collect();
        identity(organization_id, &parts)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn check(cap: i64, step: Step, expected: &str) {
        let window = Window { start: Timestamp::from_ms(0), end: Timestamp::from_ms(100) };
        let limit = Limit {
            id: "l".into(),
            meter: Meter::CreditsMicro,
            window: WindowKind::Day,
            cap: Some(cap),
            thresholds_percent: vec![50, 80, 100],
            action: Action::Pause,
            revision: 1,
        };
        let mut effects = Effects::default();
        let now = Timestamp::from_ms(5);
        let moment = Moment { record_time: now, clock: now, read_until: now, clock_follows_records: false };
        let ceiling = Ceiling::of_limit(&limit, window).expect("the limit has a cap");
        ceiling.hold(step, "acme", &Scope::Organization, moment, &mut effects);
        let mut seen = Vec::new();
        for signal in &effects.signals {
            let Signal::Threshold(crossed) = signal else { panic!("{signal:?} is no threshold") };
            seen.push(crossed.threshold_percent.to_string());
        }
        seen.extend(effects.causes.iter().map(|(cause, _)| format!("pause {}", cause.kind.name())));
        assert_eq!(seen.join(", "), expected, "cap {cap}");
    }

    #[test]
    fn a19_a_share_is_announced_once_and_a_jump_announces_each() {
        let event = |before, after| Step::Event { before, after };
        check(100, event(None, 49), "");
        check(100, event(Some(49), 50), "50");
        check(100, event(Some(50), 79), "");
        check(100, event(Some(79), 100), "80, 100, pause limit");
        check(100, event(Some(100), 150), "");
        check(3, event(Some(2), 3), "80, 100, pause limit");
        check(0, event(None, 0), "50, 80, 100, pause limit");
        check(0, event(Some(0), 5), "");
        check(i64::MAX, event(Some(0), i64::MAX), "50, 80, 100, pause limit");
    }

    #[test]
    fn c6_a_new_revision_announces_only_the_highest_share_that_is_used() {
        check(100, Step::Revision { used: 49 }, "");
        check(100, Step::Revision { used: 85 }, "80");
        check(100, Step::Revision { used: 120 }, "100, pause limit");
    }
}
