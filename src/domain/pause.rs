//! Pauses: a scope is paused while its set of causes is not empty (row C5).

use serde::{Deserialize, Serialize};

use super::time::Timestamp;

/// Why a scope is paused.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum CauseKind {
    /// A limit's cap is reached.
    Limit,
    /// The credits are used up: of the pool, and of the prepaid balance where there is one.
    Pool,
    /// An admin said so; only an admin ends it (row A14).
    Admin,
    /// A limit on extra credits leaves no room, and nothing else pays (row B8).
    SpendLimit,
    /// The seat's included usage is used up, and extra usage is not on (row B1).
    SeatAllowance,
    /// Nothing else pays, and extra usage is switched off for this very member (row B4).
    ExtraUsageOff,
    /// Nothing else pays, and the member has not agreed to go on into extra usage (row B14).
    Consent,
    /// An agent of the free phase whose pool has no credits (row A7).
    FreePhase,
}

impl CauseKind {
    /// Every kind; a metric has one series for each.
    pub const ALL: [Self; 8] = [
        Self::Limit,
        Self::Pool,
        Self::Admin,
        Self::SpendLimit,
        Self::SeatAllowance,
        Self::ExtraUsageOff,
        Self::Consent,
        Self::FreePhase,
    ];

    /// The name used in signals and metrics.
    pub const fn name(self) -> &'static str {
        match self {
            Self::Limit => "limit",
            Self::Pool => "pool",
            Self::Admin => "admin",
            Self::SpendLimit => "spend_limit",
            Self::SeatAllowance => "seat_allowance",
            Self::ExtraUsageOff => "extra_usage_off",
            Self::Consent => "consent",
            Self::FreePhase => "free_phase",
        }
    }

    /// Whether a change of what others are granted or allowed may clear it.
    pub const fn follows_rules(self) -> bool {
        self.is_want_of_money() || matches!(self, Self::FreePhase | Self::Limit)
    }

    /// Whether this is a want of money: a scope has at most one such cause, the first thing that stands in the way.
    pub const fn is_want_of_money(self) -> bool {
        matches!(self, Self::Pool | Self::SpendLimit | Self::SeatAllowance | Self::ExtraUsageOff | Self::Consent)
    }
}

/// One cause. Kind, limit and window together name it, so that one limit clearing does not clear another.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Cause {
    /// Why.
    pub kind: CauseKind,
    /// Which limit; empty for a pool or an admin.
    pub limit_id: Box<str>,
    /// The window in which the cap was reached; `None` for an admin.
    pub window_start: Option<Timestamp>,
    /// When it clears by itself; `None` if only somebody can clear it.
    pub ends_at: Option<Timestamp>,
}

impl Cause {
    fn same(&self, other: &Self) -> bool {
        (self.kind, &self.limit_id, self.window_start) == (other.kind, &other.limit_id, other.window_start)
    }
}

/// The causes for which a scope is paused now, and the number of its last change.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Pauses {
    /// Paused while this is not empty.
    pub causes: Vec<Cause>,
    /// Grows with each pause and each resume: a reader ignores what is older than what it knows.
    pub generation: i64,
    /// How often causes were cleared.
    pub cleared: u32,
}

impl Pauses {
    /// Adds a cause. Returns whether it is new.
    pub fn add(&mut self, cause: Cause) -> bool {
        let new = !self.causes.iter().any(|known| known.same(&cause));
        if new {
            self.causes.push(cause);
        }
        new
    }

    /// Removes the causes that `cleared` names. Returns whether there was one.
    pub fn clear(&mut self, cleared: impl Fn(&Cause) -> bool) -> bool {
        let before = self.causes.len();
        self.causes.retain(|cause| !cleared(cause));
        let any = self.causes.len() < before;
        self.cleared = self.cleared.wrapping_add(u32::from(any));
        any
    }

    /// The want of money for which the scope is paused, if it is for one.
    pub fn want_of_money(&self) -> Option<&Cause> {
        self.causes.iter().find(|cause| cause.kind.is_want_of_money())
    }

    /// Makes `wanted` the only want of money. Returns whether that changed anything.
    pub fn set_want_of_money(&mut self, wanted: Option<Cause>) -> bool {
        if self.want_of_money() == wanted.as_ref() {
            return false;
        }
        self.clear(|cause| cause.kind.is_want_of_money());
        self.causes.extend(wanted);
        true
    }

    /// When the next cause clears by itself.
    pub fn next_end(&self) -> Option<Timestamp> {
        self.causes.iter().filter_map(|cause| cause.ends_at).min()
    }

    /// Takes the number for a change: above the last one and not below `at_least`, so that it grows even if a
    /// failover took the last one back.
    pub fn next_generation(&mut self, at_least: i64) -> i64 {
        self.generation = self.generation.saturating_add(1).max(at_least);
        self.generation
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn c5_a_scope_resumes_when_the_last_cause_clears() {
        let cause = |kind, limit: &str, end| Cause { kind, limit_id: limit.into(), window_start: end, ends_at: end };
        let mut pauses = Pauses::default();
        let hour_end = Some(Timestamp::from_ms(100));
        assert!(pauses.add(cause(CauseKind::Limit, "hourly", hour_end)));
        assert!(!pauses.add(cause(CauseKind::Limit, "hourly", hour_end)));
        assert!(pauses.add(cause(CauseKind::Limit, "daily", Some(Timestamp::from_ms(900)))));
        assert!(pauses.add(cause(CauseKind::Admin, "", None)));
        assert_eq!(pauses.next_end(), hour_end);
        assert!(pauses.clear(|cause| cause.kind == CauseKind::Limit && &*cause.limit_id == "hourly"));
        assert_eq!(pauses.causes.len(), 2);
        assert!(pauses.clear(|cause| cause.ends_at.is_some()));
        assert_eq!((pauses.causes.len(), pauses.next_end()), (1, None));
        assert!(pauses.clear(|cause| cause.kind == CauseKind::Admin) && pauses.causes.is_empty());
    }

    #[test]
    fn c5_generations_grow_even_over_a_failover() {
        let mut pauses = Pauses { causes: Vec::new(), generation: 7, cleared: 0 };
        assert_eq!(
            [pauses.next_generation(0), pauses.next_generation(1_000), pauses.next_generation(1_000)],
            [8, 1_000, 1_001]
        );
    }
}
