//! Pauses: a scope is paused while its set of causes is not empty (row C5).

use serde::{Deserialize, Serialize};

use super::{limit::Selector, scope::Name, time::Timestamp};

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

/// One cause. Kind, rule, window and workspace name it, so that one limit clearing does not clear another.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Cause {
    /// Why.
    pub kind: CauseKind,
    /// Which limit, by its id; empty where it is none.
    pub limit_id: Box<str>,
    /// The window in which the cap was reached; `None` where there is no limit, and for a cap of 0, which is reached in
    /// every window.
    pub window_start: Option<Timestamp>,
    /// When it clears by itself; `None` if only somebody can clear it.
    pub ends_at: Option<Timestamp>,
    /// What the limit is set on: ids are unique for that, and nowhere else.
    #[serde(default)]
    pub selector: Option<Selector>,
    /// The workspace in which a user wants for money; `None`: wherever.
    #[serde(default)]
    pub workspace_id: Option<Name>,
    /// Of an admin's pause, whether an owner said so: then only an owner ends it.
    #[serde(default = "by_owner")]
    pub set_by_owner: bool,
}

/// What was stored before it was known who set it.
const fn by_owner() -> bool {
    true
}

impl Cause {
    /// A cause of this kind that names nothing, and ends when somebody ends it.
    pub fn of(kind: CauseKind) -> Self {
        Self {
            kind,
            limit_id: Box::default(),
            window_start: None,
            ends_at: None,
            selector: None,
            workspace_id: None,
            set_by_owner: true,
        }
    }

    /// Whether it is the same cause; when it ends makes no other.
    pub fn is_same(&self, other: &Self) -> bool {
        let name = |cause: &Self| (cause.kind, cause.window_start);
        name(self) == name(other)
            && self.limit_id == other.limit_id
            && self.selector == other.selector
            && self.workspace_id == other.workspace_id
    }
}

/// The causes for which a scope is paused now, and the number of its last change.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Pauses {
    /// Paused while this is not empty.
    pub causes: Vec<Cause>,
    /// Grows with each pause and each resume: a reader ignores what is older than what it knows.
    pub generation: i64,
    /// How often the causes have changed: part of what makes each change itself.
    pub changes: u32,
}

impl Pauses {
    /// Whether there is a cause of this kind.
    pub fn has(&self, kind: CauseKind) -> bool {
        self.causes.iter().any(|cause| cause.kind == kind)
    }

    /// The want of money for which the scope is paused, if it is for one.
    pub fn want_of_money(&self) -> Option<&Cause> {
        self.causes.iter().find(|cause| cause.kind.is_want_of_money())
    }

    /// Takes over the causes that hold now. Returns whether they are others than before.
    pub fn replace(&mut self, causes: Vec<Cause>) -> bool {
        let known = |cause: &Cause| self.causes.iter().any(|before| before.is_same(cause));
        let changed = causes.len() != self.causes.len() || !causes.iter().all(known);
        self.causes = causes;
        changed
    }

    /// The number of a further change, which is above the last one and not below `at_least`.
    pub fn next_generation(&mut self, at_least: i64) -> i64 {
        self.changes = self.changes.wrapping_add(1);
        self.generation = self.generation.saturating_add(1).max(at_least);
        self.generation
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn c5_causes_are_told_apart_by_rule_window_and_workspace_and_not_by_their_end() {
        let cause = |id: &str, selector: Selector, start: i64, end: i64| Cause {
            limit_id: id.into(),
            selector: Some(selector),
            window_start: Some(Timestamp::from_ms(start)),
            ends_at: Some(Timestamp::from_ms(end)),
            ..Cause::of(CauseKind::Limit)
        };
        let seat = || Selector::Seat("standard".into());
        let every = Selector::Every(super::super::scope::ScopeKind::User);
        let mut pauses = Pauses::default();
        assert!(pauses.replace(vec![cause("daily", seat(), 0, 100)]));
        assert!(!pauses.replace(vec![cause("daily", seat(), 0, 200)]), "another end is no other cause");
        assert!(pauses.replace(vec![cause("daily", seat(), 0, 200), cause("daily", every.clone(), 0, 200)]));
        assert!(!pauses.replace(vec![cause("daily", every, 0, 200), cause("daily", seat(), 0, 200)]), "in any order");
        assert!(pauses.replace(vec![cause("daily", seat(), 100, 200)]));
        let in_workspace = |name: &str| Cause { workspace_id: Some(name.into()), ..Cause::of(CauseKind::Pool) };
        assert!(pauses.replace(vec![in_workspace("a")]) && pauses.replace(vec![in_workspace("b")]));
        assert!(pauses.replace(Vec::new()) && !pauses.replace(Vec::new()));
    }

    #[test]
    fn c5_generations_grow_even_over_a_failover() {
        let mut pauses = Pauses { causes: Vec::new(), generation: 7, changes: 0 };
        assert_eq!(
            [pauses.next_generation(0), pauses.next_generation(1_000), pauses.next_generation(1_000)],
            [8, 1_000, 1_001]
        );
    }
}
