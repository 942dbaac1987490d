//! When a ceiling announces. A limit and a pool are both ceilings: a count, a cap, a window. Who pauses is said by
//! [`crate::domain::causes`].

use super::row::ScopeRow;
use crate::domain::{
    limit::{self, Action, Limit, Selector},
    meter::Meter,
    pause::CauseKind,
    pool::Pool,
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
    /// What a limit for many is set on.
    many: Option<&'a Selector>,
    meter: Meter,
    window_kind: WindowKind,
    window: Window,
    cap: i64,
    thresholds_percent: &'a [u16],
    action: Action,
    revision: u64,
    /// The highest share that counts as told.
    told_percent: u16,
}

/// Which step is held against a ceiling.
#[derive(Clone, Copy, Debug)]
pub enum Step {
    /// A charge took the count from `before` (`None`: the first of its window) to `after`.
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

impl<'a> Ceiling<'a> {
    /// A limit as a ceiling of the scope of `row`; `None` if it is unlimited.
    pub fn of_limit(limit: &'a Limit, many: Option<&'a Selector>, window: Window, row: &ScopeRow) -> Option<Self> {
        Some(Self {
            kind: if limit.meter == Meter::ExtraCreditsMicro { CauseKind::SpendLimit } else { CauseKind::Limit },
            limit_id: &limit.id,
            many,
            meter: limit.meter,
            window_kind: limit.window,
            window,
            cap: limit.cap?,
            thresholds_percent: &limit.thresholds_percent,
            action: limit.action,
            revision: limit.revision,
            told_percent: if row.told.is_empty() { 0 } else { row.told_percent(false, limit.revision, window.start) },
        })
    }

    /// A pool as a ceiling: what was drawn, against all that it holds in the period by `now`. It announces only: whether
    /// anybody pauses depends on every source of payment. So it is with limits on extra credits.
    pub fn of_pool(pool: &'a Pool, window: Window, now: Timestamp, row: &ScopeRow) -> Self {
        Self {
            kind: CauseKind::Pool,
            limit_id: "",
            many: None,
            meter: Meter::PoolCreditsMicro,
            window_kind: WindowKind::Period,
            window,
            cap: pool.size_micro(window.start, now.min(window.end.plus_ms(-1))),
            thresholds_percent: &pool.thresholds_percent,
            action: Action::Notify,
            revision: pool.revision,
            told_percent: if row.told.is_empty() { 0 } else { row.told_percent(true, pool.revision, window.start) },
        }
    }

    /// The ceiling of which shares up to this one count as told already.
    #[must_use]
    pub fn told_up_to(mut self, percent: u16) -> Self {
        self.told_percent = self.told_percent.max(percent);
        self
    }

    /// The highest share that a count has passed; 0 if none, or if none is announced.
    pub fn highest_passed(&self, used: i64) -> u16 {
        let passed = |percent: &&u16| limit::reached(used, self.cap, **percent);
        self.thresholds_percent.iter().rev().find(passed).copied().unwrap_or(0)
    }

    /// Its revision.
    pub const fn revision(&self) -> u64 {
        self.revision
    }

    /// The shares that a step announces, ascending. A cap of 0 passes every share, and announces when it is set only.
    pub fn passed(&self, step: Step) -> Vec<u16> {
        let before = match step {
            Step::Event { before, .. } => before,
            Step::Revision { .. } => None,
        };
        if self.action == Action::Observe || (self.cap == 0 && matches!(step, Step::Event { .. })) {
            return Vec::new();
        }
        let newly = |percent: &u16| {
            let was = before.is_some_and(|before| limit::reached(before, self.cap, *percent));
            limit::reached(step.used(), self.cap, *percent) && !was && *percent > self.told_percent
        };
        let mut passed = self.thresholds_percent.iter().copied().filter(newly);
        match step {
            Step::Event { .. } => passed.collect(),
            Step::Revision { .. } => passed.next_back().into_iter().collect(),
        }
    }

    /// Whether a step comes to the cap.
    pub fn reaches_cap(&self, step: Step) -> bool {
        step.used() >= self.cap && step.before().is_none_or(|before| before < self.cap)
    }

    /// What is announced of a share.
    pub fn threshold(
        &self,
        percent: u16,
        used: i64,
        scope: &Scope,
        record_time: Timestamp,
        identity: impl FnOnce(&[&str]) -> Identity,
    ) -> Signal {
        let selector = self.many.map(Selector::name).unwrap_or_default();
        let parts = [
            "threshold",
            &scope.to_string(),
            self.kind.name(),
            &selector,
            self.limit_id,
            self.window_kind.name(),
            &self.window.start.ms().to_string(),
            &percent.to_string(),
            &self.revision.to_string(),
        ];
        let one = || Selector::One(scope.clone());
        Signal::Threshold(ThresholdCrossed {
            identity: identity(&parts),
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
            record_time,
            selector: (self.kind != CauseKind::Pool).then(|| self.many.cloned().unwrap_or_else(one)),
        })
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
            changed: 1,
            told_percent: Vec::new(),
            set_at: Timestamp::MIN,
            yields_to_own: false,
            set_by_owner: true,
        };
        let row = ScopeRow::default();
        let ceiling = Ceiling::of_limit(&limit, None, window, &row).expect("the limit has a cap");
        let mut seen: Vec<String> = ceiling.passed(step).iter().map(u16::to_string).collect();
        seen.extend(ceiling.reaches_cap(step).then(|| "cap".to_owned()));
        assert_eq!(seen.join(", "), expected, "cap {cap} {step:?}");
    }

    #[test]
    fn a19_a_share_is_announced_once_and_a_jump_announces_each() {
        let event = |before, after| Step::Event { before, after };
        check(100, event(None, 49), "");
        check(100, event(Some(49), 50), "50");
        check(100, event(Some(50), 79), "");
        check(100, event(Some(79), 100), "80, 100, cap");
        check(100, event(Some(100), 150), "");
        check(3, event(Some(2), 3), "80, 100, cap");
        check(i64::MAX, event(Some(0), i64::MAX), "50, 80, 100, cap");
    }

    #[test]
    fn a_cap_of_nothing_is_announced_when_it_is_set_and_in_no_window() {
        check(0, Step::Revision { used: 0 }, "100, cap");
        check(0, Step::Event { before: None, after: 0 }, "cap");
        check(0, Step::Event { before: None, after: 5 }, "cap");
        check(0, Step::Event { before: Some(0), after: 5 }, "");
    }

    #[test]
    fn c6_a_new_revision_announces_only_the_highest_share_that_is_used() {
        check(100, Step::Revision { used: 49 }, "");
        check(100, Step::Revision { used: 85 }, "80");
        check(100, Step::Revision { used: 120 }, "100, cap");
    }
}
