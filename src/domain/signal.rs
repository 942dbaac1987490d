//! What goes out: signals, written in the same commit as their cause and published from the outbox.

use std::fmt;

use serde::{Deserialize, Serialize};
use xxhash_rust::xxh3::Xxh3;

use super::{
    answer::{Applied, NamedLimit, Refused},
    limit::Selector,
    meter::{Counters, Meter},
    pause::{Cause, CauseKind},
    reload::Blocked,
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
    /// What a scope used in a closed period, or a correction of that.
    Statement(Box<StatementLine>),
    /// Something that somebody outside has to answer or to know.
    Request(RequestSignal),
}

impl Signal {
    /// What makes this signal itself.
    pub const fn identity(&self) -> Identity {
        match self {
            Self::Threshold(signal) => signal.identity,
            Self::Pause(signal) => signal.identity,
            Self::Journal(signal) => signal.identity,
            Self::Refusal(signal) => signal.identity,
            Self::Statement(signal) => signal.identity,
            Self::Request(signal) => signal.identity,
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
    /// [`CauseKind::Limit`], [`CauseKind::SpendLimit`] or [`CauseKind::Pool`].
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
    /// The scopes within this one that used most of the meter in the window, with their counts, most first: of those
    /// that the deciding worker held in memory.
    pub top_contributors: Vec<(Scope, i64)>,
    /// Record time of the cause.
    pub record_time: Timestamp,
    /// What the limit is set on; `None` for a pool.
    #[serde(default)]
    pub selector: Option<Selector>,
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
    pub refused: Option<Refused>,
    /// What it did beyond being done; may be empty.
    pub applied: Vec<Applied>,
    /// Record time.
    pub record_time: Timestamp,
}

/// A control record that ends as a dead letter.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Refusal {
    /// Same for every copy.
    pub identity: Identity,
    /// Why.
    pub why: Refused,
    /// The position in the log: topic, partition and offset.
    pub position: (Box<str>, i32, i64),
    /// The command as JSON.
    pub command_json: Box<str>,
    /// Record time.
    pub record_time: Timestamp,
}

/// What one scope used in one closed period.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct StatementLine {
    /// Same for every copy.
    pub identity: Identity,
    /// Whose usage.
    pub scope: Scope,
    /// The period.
    pub period: Window,
    /// What was counted in all, corrections included.
    pub totals: Counters,
    /// Where this corrects a line that was sent: what changed, and why.
    pub correction: Option<Correction>,
    /// The unit of credits.
    pub unit: Box<str>,
    /// Record time.
    pub record_time: Timestamp,
}

/// What changed a period that was closed (row C7).
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Correction {
    /// What was added to each meter.
    pub delta: Counters,
    /// The late event or the adjustment, in words.
    pub why: Box<str>,
}

/// Something that somebody outside has to answer or to know.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct RequestSignal {
    /// Same for every copy; an answer to a reload bears it.
    pub identity: Identity,
    /// Whom it concerns.
    pub scope: Scope,
    /// What.
    pub kind: RequestKind,
    /// Record time.
    pub record_time: Timestamp,
}

/// What is asked or told.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub enum RequestKind {
    /// The prepaid balance has fallen to its mark: grant this much, or refuse, bearing the identity (row B2).
    ReloadRequested {
        /// How much.
        amount_micro: i64,
        /// What is left.
        balance_micro: i64,
    },
    /// A member asks for more (row B10).
    Opened(Pending),
    /// It was granted.
    Approved {
        /// Which.
        request_id: Box<str>,
        /// By whom.
        actor: Box<str>,
        /// The limits that still leave the member no room.
        still_binding: Vec<NamedLimit>,
        /// The same from a release that had them as words only; read from its outbox, and never decided.
        #[serde(default)]
        still_binding_words: Vec<Box<str>>,
    },
    /// It was refused.
    Declined {
        /// Which.
        request_id: Box<str>,
        /// By whom.
        actor: Box<str>,
        /// Why.
        reason: Box<str>,
    },
    /// What is pending, once a day.
    Digest {
        /// Oldest first.
        pending: Vec<Pending>,
    },
    /// An agent was to be created against the rule (row A15).
    CreationRefused {
        /// By whom.
        actor: Box<str>,
        /// Why.
        why: Refused,
    },
    /// A reload would be asked for, but for a bound (row B2).
    ReloadBlocked {
        /// Which bound.
        reason: Blocked,
    },
}

impl RequestKind {
    /// The name used in records and metrics.
    pub const fn name(&self) -> &'static str {
        match self {
            Self::ReloadRequested { .. } => "reload_requested",
            Self::Opened(_) => "opened",
            Self::Approved { .. } => "approved",
            Self::Declined { .. } => "declined",
            Self::Digest { .. } => "digest",
            Self::CreationRefused { .. } => "creation_refused",
            Self::ReloadBlocked { .. } => "reload_blocked",
        }
    }
}

/// A request as an admin sees it.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Pending {
    /// Which.
    pub request_id: Box<str>,
    /// Who.
    pub user_id: Box<str>,
    /// The member's seat.
    pub seat_type: Option<Box<str>>,
    /// Since when.
    pub since: Timestamp,
    /// What for.
    pub wants: Box<str>,
}
