//! A grant: permission to use so much for a time (rows A8, B2).

use serde::{Deserialize, Serialize};

use super::time::Timestamp;

/// What becomes of a grant at the end of a period.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum GrantKind {
    /// Belongs to one billing period and ends with it (row A8).
    Purchased,
    /// Carries over until it is spent or expires (row B2).
    Prepaid,
}

impl GrantKind {
    /// The name used in records and in `bursar show`.
    pub const fn name(self) -> &'static str {
        match self {
            Self::Purchased => "purchased",
            Self::Prepaid => "prepaid",
        }
    }
}

/// Credits added to a pool.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Grant {
    /// Chosen by who grants; the same id twice is one grant.
    pub id: Box<str>,
    /// What becomes of it at the end of the period.
    pub kind: GrantKind,
    /// How much, in micro-credits; at least 1.
    pub amount_micro: i64,
    /// What was drawn of it.
    pub spent_micro: i64,
    /// What was taken back, or expired unspent.
    pub voided_micro: i64,
    /// Grants are drawn by priority (lowest first), then by expiry, then by id.
    pub priority: u8,
    /// Pays for events from this event time on.
    pub effective_from: Option<Timestamp>,
    /// Pays for events before this event time; what is left by then expires.
    pub expires_at: Option<Timestamp>,
    /// The start of the period in which it was granted.
    pub period_start: Timestamp,
    /// Whether its first instant has come, and was announced.
    pub begun: bool,
    /// Whether its end has come, and whoever lived on it was looked at.
    #[serde(default)]
    pub ended: bool,
    /// Record time of the grant: for how long its id is remembered.
    #[serde(default = "long_ago")]
    pub recorded: Timestamp,
    /// The reload that it answered.
    #[serde(default)]
    pub reload_id: Option<Box<str>>,
    /// It would expire after its period, with which it ends anyway: then its expiry says nothing.
    #[serde(default)]
    pub outlives_period: bool,
}

const fn long_ago() -> Timestamp {
    Timestamp::MIN
}

impl Grant {
    /// What is left of it.
    pub const fn left_micro(&self) -> i64 {
        self.amount_micro - self.voided_micro - self.spent_micro
    }

    /// Whether it pays for usage of that time.
    pub fn pays_at(&self, event_time: Timestamp) -> bool {
        self.effective_from.is_none_or(|from| from <= event_time) && !self.has_ended(event_time)
    }

    /// Whether it is worth nothing from then on.
    pub fn has_ended(&self, time: Timestamp) -> bool {
        self.expires_at.is_some_and(|expiry| expiry <= time) && !self.outlives_period
    }

    /// Whether something is left that could be taken back: of a purchase only while its period runs.
    pub fn can_be_voided(&self, period_start: Timestamp, now: Timestamp) -> bool {
        let is_current = self.kind == GrantKind::Prepaid || self.period_start >= period_start;
        self.left_micro() > 0 && !self.has_ended(now) && is_current
    }

    /// Whether nothing can come of it any more: neither payments nor, once the horizon has passed, its own record again. A
    /// purchase is part of what its pool holds as long as its period runs.
    pub fn is_done(&self, period_start: Timestamp, record_time: Timestamp, horizon_ms: i64) -> bool {
        let is_over = self.kind == GrantKind::Purchased && self.period_start < period_start;
        let is_spent = self.left_micro() == 0 || self.has_ended(record_time);
        let is_done = if self.kind == GrantKind::Prepaid { is_spent } else { is_over };
        is_done && self.recorded.plus_ms(horizon_ms) <= record_time
    }
}
