//! What goes out: signals, written in the same commit as their cause and published from the outbox.

use std::fmt;

use serde::{Deserialize, Serialize};
use xxhash_rust::xxh3::Xxh3;

use super::{
    meter::Meter,
    pause::{Cause, CauseKind},
    scope::Scope,
    time::Timestamp,
    window::{Window, WindowKind},
};

/// What makes a signal itself: derived from its cause, so that every copy bears the same (invariant U-4). 128 bits,
/// written as 32 hexadecimal digits.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(transparent)]
pub struct Identity(u128);

impl Identity {
    /// Derives an identity from its parts; each counts, also where it ends.
    pub fn derive(parts: &[&str]) -> Self {
        let mut hasher = Xxh3::with_seed(3);
        for part in parts {
            hasher.update(&(part.len() as u64).to_le_bytes());
            hasher.update(part.as_bytes());
        }
        Self(hasher.digest128())
    }
}

impl fmt::Display for Identity {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{:032x}", self.0)
    }
}

/// A signal of one organization.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub enum Signal {
    /// A share of a cap was reached.
    Threshold(ThresholdCrossed),
    /// A scope pauses, resumes, or is paused for other causes than before.
    Pause(PauseChanged),
    /// A control record was applied or refused.
    Journal(JournalEntry),
    /// A control record was refused; its original bytes are kept by the log at the position.
    Refusal(Refusal),
}

impl Signal {
    /// What makes this signal itself.
    pub const fn identity(&self) -> Identity {
        match self {
            Self::Threshold(signal) => signal.identity,
            Self::Pause(signal) => signal.identity,
            Self::Journal(signal) => signal.identity,
            Self::Refusal(signal) => signal.identity,
        }
    }
}

/// Usage of a scope reached a share of a cap, once per scope, window, threshold and revision (row C6).
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct ThresholdCrossed {
    /// Same for every copy.
    pub identity: Identity,
    /// Whose usage.
    pub scope: Scope,
    /// [`CauseKind::Limit`] or [`CauseKind::Pool`].
    pub ceiling: CauseKind,
    /// The limit's id; empty for a pool.
    pub limit_id: Box<str>,
    /// What was counted.
    pub meter: Meter,
    /// The kind of window.
    pub window_kind: WindowKind,
    /// The window.
    pub window: Window,
    /// The share.
    pub threshold_percent: u16,
    /// The ceiling, in units of the meter.
    pub cap: i64,
    /// What was used, in units of the meter.
    pub used: i64,
    /// The revision of the limit or pool.
    pub revision: u64,
    /// Record time of the cause.
    pub record_time: Timestamp,
}

/// The causes for which a scope is paused have changed; without causes it runs.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct PauseChanged {
    /// Same for every copy.
    pub identity: Identity,
    /// Who pauses or resumes.
    pub scope: Scope,
    /// All causes that hold now; none means running.
    pub causes: Vec<Cause>,
    /// Grows with each change.
    pub generation: i64,
    /// Record time of what changed it.
    pub record_time: Timestamp,
}

/// The audit trail: who said what, and what became of it.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct JournalEntry {
    /// Same for every copy.
    pub identity: Identity,
    /// The record's id.
    pub record_id: Box<str>,
    /// The record's source.
    pub record_source: Box<str>,
    /// When it was said.
    pub time: Timestamp,
    /// Who said it.
    pub actor: Box<str>,
    /// Why, in the actor's words.
    pub reason: Box<str>,
    /// The command as JSON.
    pub command_json: Box<str>,
    /// Why it was refused; `None` if it was applied.
    pub refused: Option<Box<str>>,
    /// Record time.
    pub record_time: Timestamp,
}

/// A control record that ends as a dead letter.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Refusal {
    /// Same for every copy.
    pub identity: Identity,
    /// Why, for a person.
    pub message: Box<str>,
    /// The position in the log: topic, partition and offset.
    pub position: (Box<str>, i32, i64),
    /// The command as JSON.
    pub command_json: Box<str>,
    /// Record time.
    pub record_time: Timestamp,
}
