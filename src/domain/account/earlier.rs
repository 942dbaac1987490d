//! Signals that a release of layout 2 or 3 left in an outbox: after an upgrade they go out once, with their identity.
//!
//! Those releases answered in words, without codes. The shapes here are what they packed, in the order of their fields,
//! read into the signals of today; what is not named here was packed as it is now.

use serde::{Deserialize, Deserializer};

use super::layout::{self, LayoutError};
use crate::domain::{
    answer::{Applied, NamedLimit, Refused},
    scope::Scope,
    signal::{self, Identity, PauseChanged, Pending, StatementLine, ThresholdCrossed},
    time::Timestamp,
};

/// Reads a signal of layout 2 or 3.
///
/// # Errors
/// As [`layout::unpack`].
pub fn unpack_signal(bytes: &[u8]) -> Result<signal::Signal, LayoutError> {
    layout::unpack("signal", bytes).map(|Packed(signal)| signal)
}

#[derive(Deserialize)]
struct Packed(#[serde(with = "Signal")] signal::Signal);

#[derive(Deserialize)]
#[serde(remote = "signal::Signal")]
enum Signal {
    Threshold(ThresholdCrossed),
    Pause(PauseChanged),
    Journal(#[serde(with = "JournalEntry")] signal::JournalEntry),
    Refusal(#[serde(with = "Refusal")] signal::Refusal),
    Statement(Box<StatementLine>),
    Request(#[serde(with = "RequestSignal")] signal::RequestSignal),
}

#[derive(Deserialize)]
#[serde(remote = "signal::JournalEntry")]
struct JournalEntry {
    identity: Identity,
    record_id: Box<str>,
    record_source: Box<str>,
    time: Timestamp,
    actor: Box<str>,
    reason: Box<str>,
    command_json: Box<str>,
    #[serde(deserialize_with = "refused_or_not")]
    refused: Option<Refused>,
    #[serde(deserialize_with = "applied")]
    applied: Vec<Applied>,
    record_time: Timestamp,
}

#[derive(Deserialize)]
#[serde(remote = "signal::Refusal")]
struct Refusal {
    identity: Identity,
    #[serde(deserialize_with = "refused")]
    why: Refused,
    position: (Box<str>, i32, i64),
    command_json: Box<str>,
    record_time: Timestamp,
}

#[derive(Deserialize)]
#[serde(remote = "signal::RequestSignal")]
struct RequestSignal {
    identity: Identity,
    scope: Scope,
    #[serde(with = "RequestKind")]
    kind: signal::RequestKind,
    record_time: Timestamp,
}

#[derive(Deserialize)]
#[serde(remote = "signal::RequestKind")]
enum RequestKind {
    ReloadRequested {
        amount_micro: i64,
        balance_micro: i64,
    },
    Opened(Pending),
    Approved {
        request_id: Box<str>,
        actor: Box<str>,
        #[serde(skip)]
        still_binding: Vec<NamedLimit>,
        still_binding_words: Vec<Box<str>>,
    },
    Declined {
        request_id: Box<str>,
        actor: Box<str>,
        reason: Box<str>,
    },
    Digest {
        pending: Vec<Pending>,
    },
    CreationRefused {
        actor: Box<str>,
        #[serde(deserialize_with = "refused")]
        why: Refused,
    },
}

fn refused<'de, D: Deserializer<'de>>(deserializer: D) -> Result<Refused, D::Error> {
    Box::deserialize(deserializer).map(|words| Refused::RefusedByEarlierRelease { words })
}

fn refused_or_not<'de, D: Deserializer<'de>>(deserializer: D) -> Result<Option<Refused>, D::Error> {
    let words = Option::deserialize(deserializer)?;
    Ok(words.map(|words| Refused::RefusedByEarlierRelease { words }))
}

/// No words are nothing to say.
fn applied<'de, D: Deserializer<'de>>(deserializer: D) -> Result<Vec<Applied>, D::Error> {
    let words = Some(Box::<str>::deserialize(deserializer)?).filter(|words| !words.is_empty());
    Ok(words.map(|words| Applied::AppliedByEarlierRelease { words }).into_iter().collect())
}
