//! Signals that a release of layout 3 left in an outbox. Its answers were sentences and had no code. What has one of them is
//! published as that release would have published it; everything else is as today.

use serde::Deserialize;

use super::layout::{self, LayoutError};
use crate::domain::{
    scope::Scope,
    signal::{self, Identity, PauseChanged, Pending, Signal, StatementLine, ThresholdCrossed},
    time::Timestamp,
};

/// A signal whose answer is a sentence.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Earlier {
    /// A control record was refused, or applied with something to say.
    Journal(JournalEntry),
    /// A control record was refused.
    Refusal(Refusal),
    /// A request was approved, and limits still bind.
    Approved(Told<Approved>),
    /// An agent was to be created against the rule.
    CreationRefused(Told<CreationRefused>),
}

/// What became of a control record.
#[derive(Clone, Debug, PartialEq, Eq, Deserialize)]
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
    /// What there is to say of how it was applied; may be empty.
    pub answer: Box<str>,
    /// Record time.
    pub record_time: Timestamp,
}

/// A control record that ends as a dead letter.
#[derive(Clone, Debug, PartialEq, Eq, Deserialize)]
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

/// Something that was told on the topic of requests.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Told<What> {
    /// Same for every copy.
    pub identity: Identity,
    /// Whom it concerns.
    pub scope: Scope,
    /// What.
    pub what: What,
    /// Record time.
    pub record_time: Timestamp,
}

/// A request that was granted.
#[derive(Clone, Debug, PartialEq, Eq, Deserialize)]
pub struct Approved {
    /// Which.
    pub request_id: Box<str>,
    /// By whom.
    pub actor: Box<str>,
    /// The limits that still leave the member no room, in words.
    pub still_binding: Vec<Box<str>>,
}

/// An agent that was not created.
#[derive(Clone, Debug, PartialEq, Eq, Deserialize)]
pub struct CreationRefused {
    /// By whom.
    pub actor: Box<str>,
    /// Why, for a person.
    pub message: Box<str>,
}

impl Earlier {
    /// What makes this signal itself.
    pub const fn identity(&self) -> Identity {
        match self {
            Self::Journal(signal) => signal.identity,
            Self::Refusal(signal) => signal.identity,
            Self::Approved(told) => told.identity,
            Self::CreationRefused(told) => told.identity,
        }
    }

    /// Record time of the cause.
    pub const fn record_time(&self) -> Timestamp {
        match self {
            Self::Journal(signal) => signal.record_time,
            Self::Refusal(signal) => signal.record_time,
            Self::Approved(told) => told.record_time,
            Self::CreationRefused(told) => told.record_time,
        }
    }
}

/// Reads a signal of layout 2 or 3.
///
/// # Errors
/// As [`layout::unpack`].
pub fn unpack_signal(bytes: &[u8]) -> Result<Signal, LayoutError> {
    layout::unpack::<Packed>("signal", bytes).map(Packed::into_signal)
}

/// A signal as it was packed.
#[derive(Deserialize)]
enum Packed {
    Threshold(ThresholdCrossed),
    Pause(PauseChanged),
    Journal(JournalEntry),
    Refusal(Refusal),
    Statement(Box<StatementLine>),
    Request(RequestSignal),
}

#[derive(Deserialize)]
struct RequestSignal {
    identity: Identity,
    scope: Scope,
    kind: RequestKind,
    record_time: Timestamp,
}

#[derive(Deserialize)]
enum RequestKind {
    ReloadRequested { amount_micro: i64, balance_micro: i64 },
    Opened(Pending),
    Approved(Approved),
    Declined { request_id: Box<str>, actor: Box<str>, reason: Box<str> },
    Digest { pending: Vec<Pending> },
    CreationRefused(CreationRefused),
}

impl Packed {
    fn into_signal(self) -> Signal {
        match self {
            Self::Threshold(crossed) => Signal::Threshold(crossed),
            Self::Pause(changed) => Signal::Pause(changed),
            Self::Journal(entry) => entry.into_signal(),
            Self::Refusal(refusal) => Signal::Earlier(Box::new(Earlier::Refusal(refusal))),
            Self::Statement(line) => Signal::Statement(line),
            Self::Request(request) => request.into_signal(),
        }
    }
}

impl JournalEntry {
    fn into_signal(self) -> Signal {
        if self.refused.is_some() || !self.answer.is_empty() {
            return Signal::Earlier(Box::new(Earlier::Journal(self)));
        }
        let Self { identity, record_id, record_source, time, actor, reason, command_json, record_time, .. } = self;
        Signal::Journal(signal::JournalEntry {
            identity,
            record_id,
            record_source,
            time,
            actor,
            reason,
            command_json,
            refused: None,
            applied: Vec::new(),
            record_time,
        })
    }
}

impl RequestSignal {
    fn into_signal(self) -> Signal {
        use signal::RequestKind as Now;
        let Self { identity, scope, kind, record_time } = self;
        let kind = match kind {
            RequestKind::ReloadRequested { amount_micro, balance_micro } => {
                Now::ReloadRequested { amount_micro, balance_micro }
            }
            RequestKind::Opened(pending) => Now::Opened(pending),
            RequestKind::Approved(Approved { request_id, actor, still_binding }) if still_binding.is_empty() => {
                Now::Approved { request_id, actor, still_binding: Vec::new() }
            }
            RequestKind::Approved(what) => {
                let told = Told { identity, scope, what, record_time };
                return Signal::Earlier(Box::new(Earlier::Approved(told)));
            }
            RequestKind::Declined { request_id, actor, reason } => Now::Declined { request_id, actor, reason },
            RequestKind::Digest { pending } => Now::Digest { pending },
            RequestKind::CreationRefused(what) => {
                let told = Told { identity, scope, what, record_time };
                return Signal::Earlier(Box::new(Earlier::CreationRefused(told)));
            }
        };
        Signal::Request(signal::RequestSignal { identity, scope, kind, record_time })
    }
}

#[cfg(test)]
mod tests;
