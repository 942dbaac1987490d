//! What goes between an account in memory and its ledger: what it needs, what it got, what it changed.

use serde::{Deserialize, Serialize};

use super::{layout, seen::SeenChanges};
use crate::domain::{scope::Scope, signal::Signal, time::Timestamp, window::WindowKind};

/// At most this many rows in one commit; Lua's `unpack` fails at some thousand values.
pub const COMMIT_ROWS_MAX: usize = 1_000;

/// The name of a window that is older than those a row keeps.
#[derive(Clone, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct OlderKey {
    /// The kind of window.
    pub kind: WindowKind,
    /// Its first instant.
    pub start: Timestamp,
    /// The field of the scope.
    pub scope: Box<str>,
}

/// Asks for scopes with a pause that ends by itself, the earliest end first.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct EndingPage {
    /// Only those that end at or before this.
    pub until: Timestamp,
    /// How many to pass over.
    pub offset: usize,
    /// How many to return.
    pub limit: usize,
}

/// What an account has to load before it can decide.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Needs {
    /// Head, settings, calendar, segments and outbox.
    pub base: bool,
    /// Fields of scopes.
    pub scopes: Vec<Box<str>>,
    /// Segments of ids, by their start.
    pub segments: Vec<Timestamp>,
    /// Older windows.
    pub older: Vec<OlderKey>,
    /// Scopes whose pauses end.
    pub ending: Option<EndingPage>,
}

impl Needs {
    /// Whether nothing is missing.
    pub fn is_empty(&self) -> bool {
        !self.base
            && self.scopes.is_empty()
            && self.segments.is_empty()
            && self.older.is_empty()
            && self.ending.is_none()
    }
}

/// The answer to [`Needs`], value by value in the same order, all read at one moment. `None` is what does not exist.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Loaded {
    /// The head at that moment; every load returns it.
    pub head: Option<Vec<u8>>,
    /// The rest of the base, if it was asked for.
    pub base: Option<LoadedBase>,
    /// Rows.
    pub scopes: Vec<Option<Vec<u8>>>,
    /// Segments of ids.
    pub segments: Vec<Option<Vec<u8>>>,
    /// Counters of older windows.
    pub older: Vec<Option<Vec<u8>>>,
    /// The page of scopes whose pauses end, and the first end after the page's `until`.
    pub ending: Option<(Vec<Box<str>>, Option<Timestamp>)>,
}

/// The parts of an account that are always held.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct LoadedBase {
    /// Field `settings`.
    pub settings: Option<Vec<u8>>,
    /// Field `calendar`.
    pub calendar: Option<Vec<u8>>,
    /// Field `segments`.
    pub segments: Option<Vec<u8>>,
    /// Signals not yet forgotten, by number.
    pub outbox: Vec<(u64, Vec<u8>)>,
}

/// One atomic step of an account: all of it, if the head is still `expected`, or nothing.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Changes {
    /// The head that the account was decided on; `None` if there was none.
    pub expected: Option<Vec<u8>>,
    /// The new head.
    pub head: Vec<u8>,
    /// Fields of the account to set.
    pub fields: Vec<(Box<str>, Vec<u8>)>,
    /// Counters of older windows to set.
    pub older: Vec<(OlderKey, Vec<u8>)>,
    /// What happens to the ids.
    pub seen: SeenChanges,
    /// Signals to add to the outbox.
    pub signals: Vec<(u64, Vec<u8>)>,
    /// Signals to remove from the outbox: exactly those that this worker saw acknowledged.
    pub forget: Vec<u64>,
    /// Scopes whose pauses changed.
    pub paused: Vec<PausedScope>,
    /// The next instant at which something is due, if that changed.
    pub due: Option<Timestamp>,
}

/// One entry of the public `paused` hash.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct PausedScope {
    /// The field of the scope.
    pub scope: Box<str>,
    /// Causes and generation as JSON; `None` if the scope runs.
    pub causes_json: Option<String>,
    /// When its next cause ends by itself.
    pub next_end: Option<Timestamp>,
}

/// What is stored in the field `head`.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Head {
    /// Unique per commit, never a counter: a counter could match again after a failover.
    pub token: u128,
    /// The next instant at which something must happen here.
    pub due: Option<Timestamp>,
    /// The number of the next signal.
    pub next_signal: u64,
    /// The latest event time of all events applied.
    pub newest_event_time: Timestamp,
    /// The latest instant whose due record was served: nothing that ends by then can begin any more.
    pub served_due: Timestamp,
    /// The fingerprint of the control record that is on its way through the paused scopes, between two commits.
    pub sweeping: Option<u64>,
}

impl Default for Head {
    fn default() -> Self {
        Self {
            token: 0,
            due: None,
            next_signal: 0,
            newest_event_time: Timestamp::MIN,
            served_due: Timestamp::MIN,
            sweeping: None,
        }
    }
}

/// Reads a stored signal.
///
/// # Errors
/// As [`layout::unpack`].
pub fn unpack_signal(bytes: &[u8]) -> Result<Signal, layout::LayoutError> {
    layout::unpack("signal", bytes)
}

/// Reads the field of a scope as a [`Scope`].
///
/// # Errors
/// [`layout::LayoutError::Corrupt`] if it is none.
pub fn parse_scope(field: &str) -> Result<Scope, layout::LayoutError> {
    Scope::parse(field).map_err(|why| layout::LayoutError::Corrupt { what: "scope", why })
}
