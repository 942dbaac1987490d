//! Limits: rules that an admin sets on a meter of a scope within a window.

use serde::{Deserialize, Serialize};

use super::{
    meter::Meter,
    scope::{Scope, ScopeKind},
    time::Timestamp,
    window::WindowKind,
};

/// The shares of a cap that are announced unless the rule says otherwise (row A19).
pub const THRESHOLDS_PERCENT_DEFAULT: [u16; 2] = [80, 100];

/// At most this many thresholds on one limit.
pub const THRESHOLDS_MAX: usize = 16;

/// What a limit is set on.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Selector {
    /// One scope.
    One(Scope),
    /// Every scope of a kind, each for itself.
    Every(ScopeKind),
    /// Every member with a seat of this type, each for itself (row B6).
    Seat(Box<str>),
}

impl Selector {
    /// Whether a rule for many concerns a scope of `kind`; for a user, with a seat of `seat_type`.
    pub fn applies(&self, kind: ScopeKind, seat_type: Option<&str>) -> bool {
        match self {
            Self::Every(of) => *of == kind,
            Self::Seat(of) => kind == ScopeKind::User && seat_type == Some(&**of),
            Self::One(_) => false,
        }
    }

    /// A short name, fit for programs: the scope, `every:KIND` or `seat:TYPE`.
    pub fn name(&self) -> String {
        match self {
            Self::One(scope) => scope.to_string(),
            Self::Every(kind) => format!("every:{}", kind.name()),
            Self::Seat(seat_type) => format!("seat:{seat_type}"),
        }
    }

    /// The scopes that a rule for many concerns, in words.
    pub fn describe(&self) -> String {
        match self {
            Self::One(scope) => scope.to_string(),
            Self::Every(kind) => format!("every {}", kind.name()),
            Self::Seat(seat_type) => format!("every member with a {seat_type:?} seat"),
        }
    }
}

/// What happens when usage reaches the cap.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Action {
    /// Nothing is sent; the utilisation can be read.
    Observe,
    /// Thresholds are announced.
    Notify,
    /// Thresholds are announced, and at the cap the scope pauses to the end of the window.
    Pause,
}

/// A rule. All rules that apply are enforced; the tightest decides.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Limit {
    /// Chosen by the admin; unique for what the limit is set on.
    pub id: Box<str>,
    /// Which count it bounds.
    pub meter: Meter,
    /// Within which window.
    pub window: WindowKind,
    /// The ceiling in units of the meter; `None` is unlimited and lifts only this very rule.
    pub cap: Option<i64>,
    /// Shares of the cap to announce, ascending.
    pub thresholds_percent: Vec<u16>,
    /// What happens at the cap.
    pub action: Action,
    /// Grows with each change of the cap: thresholds are announced once per revision (row C6).
    pub revision: u64,
    /// The revision of the rules with which anything of it changed last: a scope that was held against the rules of then
    /// is held against it again.
    #[serde(default)]
    pub changed: u64,
    /// The shares that this revision announced before they were set otherwise: what they passed counts as told.
    #[serde(default)]
    pub told_percent: Vec<u16>,
    /// When the cap was set: windows that ended before tell nothing.
    #[serde(default = "long_ago")]
    pub set_at: Timestamp,
    /// Whether a rule for many gives way where a scope has a limit of its own on the same meter and kind of window.
    #[serde(default)]
    pub yields_to_own: bool,
    /// Whether an owner set it: then nobody else changes or removes it.
    #[serde(default = "by_owner")]
    pub set_by_owner: bool,
}

/// What was stored before it was known who set it.
const fn by_owner() -> bool {
    true
}

const fn long_ago() -> Timestamp {
    Timestamp::MIN
}

impl Limit {
    /// Whether this bounds what prepaid and postpaid pay.
    pub fn is_spend_limit(&self) -> bool {
        self.meter == Meter::ExtraCreditsMicro && self.action == Action::Pause && self.cap.is_some()
    }

    /// Whether this pauses a scope by its count: all but limits on extra credits, which bound a source of payment.
    pub fn pauses_by_count(&self) -> bool {
        self.meter != Meter::ExtraCreditsMicro && self.action == Action::Pause && self.cap.is_some()
    }

    /// Whether a rule for many gives way to one of these limits of a scope's own.
    pub fn yields_to(&self, own: &[Self]) -> bool {
        self.yields_to_own && own.iter().any(|own| (own.meter, own.window) == (self.meter, self.window))
    }

    /// What the cap leaves, at least nothing: a cap below what is used has no room, and not a negative one.
    pub fn room(&self, used: i64) -> i64 {
        self.cap.map_or(i64::MAX, |cap| cap.saturating_sub(used).max(0))
    }

    /// Whether a count has come to where anything may be announced or paused: most never do, and are passed over.
    pub fn matters_at(&self, used: i64) -> bool {
        let first = self.thresholds_percent.first().copied().unwrap_or(100).min(100);
        self.cap.is_some_and(|cap| reached(used, cap, first))
    }
}

/// Whether `used` is at least `percent` of `cap`, in whole numbers.
pub fn reached(used: i64, cap: i64, percent: u16) -> bool {
    i128::from(used) * 100 >= i128::from(cap) * i128::from(percent)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn shares_are_compared_in_whole_numbers() {
        assert!(reached(80, 100, 80) && !reached(79, 100, 80));
        assert!(reached(3, 3, 100) && !reached(2, 3, 67) && reached(2, 3, 66));
        assert!(reached(0, 0, 100));
        assert!(reached(i64::MAX, i64::MAX, 100) && !reached(i64::MAX - 1, i64::MAX, 100));
    }
}
