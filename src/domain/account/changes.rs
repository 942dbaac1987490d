//! What goes between an account in memory and its ledger: what it needs, what it got, what it changed.

use serde::{Deserialize, Serialize};

use super::{earlier, layout, row::OlderWindow, seen::SeenChanges};
use crate::domain::{
    meter::Counters, retired::Retired, scope::Scope, signal::Signal, time::Timestamp, window::WindowKind,
};

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

/// The score of a scope that has to be looked at when rules change, and at no time by itself. Scores are doubles in
/// Redis, so this is below 2^53.
pub const NO_TIME: Timestamp = Timestamp::from_ms(1 << 52);

/// Asks for scopes that have to be looked at, the earliest first.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct EndingPage {
    /// Only those to be looked at by this time.
    pub until: Timestamp,
    /// How many to pass over.
    pub offset: usize,
    /// How many to return.
    pub limit: usize,
}

/// Scopes with the time at which they have to be looked at, and the first time after the page.
pub type EndingFound = (Vec<(Box<str>, Timestamp)>, Option<Timestamp>);

/// A place in a walk through all rows of an account. Good only on the server process that gave it: on another, the
/// walk begins anew.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct WalkCursor {
    /// The server process.
    pub run: Box<str>,
    /// Its place.
    pub place: u64,
}

/// Asks for a page of all rows; a row may come twice.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct WalkPage {
    /// Where the last page ended; `None` is the beginning.
    pub cursor: Option<WalkCursor>,
    /// About how many rows.
    pub limit: usize,
}

/// A page of rows: fields with their values, and where the next page begins.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Walked {
    /// Field and row.
    pub rows: Vec<(Box<str>, Vec<u8>)>,
    /// `None` after the last page.
    pub next: Option<WalkCursor>,
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
    /// Scopes to be looked at.
    pub ending: Option<EndingPage>,
    /// A page of all rows.
    pub walk: Option<WalkPage>,
}

impl Needs {
    /// Whether nothing is missing.
    pub fn is_empty(&self) -> bool {
        !self.base
            && self.scopes.is_empty()
            && self.segments.is_empty()
            && self.older.is_empty()
            && self.ending.is_none()
            && self.walk.is_none()
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
    /// The page of scopes to be looked at, and the first time after the page's `until`.
    pub ending: Option<EndingFound>,
    /// The page of all rows.
    pub walk: Option<Walked>,
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
    pub fields: Fields,
    /// Counters of older windows to set.
    pub older: Vec<(OlderKey, Vec<u8>)>,
    /// What happens to the ids.
    pub seen: SeenChanges,
    /// Signals to add to the outbox.
    pub signals: Vec<(u64, Vec<u8>)>,
    /// Signals to remove from the outbox: exactly those that this worker saw acknowledged.
    pub forget: Vec<u64>,
    /// Scopes whose pauses changed, or when they have to be looked at.
    pub paused: Vec<PausedScope>,
    /// The next instant at which something is due, if that changed.
    pub due: Option<Timestamp>,
}

/// Fields with their values, all in one piece of memory: a commit has dozens of them, and another thread drops them.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Fields {
    bytes: Vec<u8>,
    /// Where the name and where the value of each ends.
    ends: Vec<(usize, usize)>,
}

/// Room for a field: its name, and a row with three windows.
const FIELD_BYTES: usize = 144;

impl Fields {
    /// Makes room for so many.
    pub fn reserve(&mut self, count: usize) {
        self.bytes.reserve(count * FIELD_BYTES);
        self.ends.reserve(count);
    }

    /// Adds a field, whose name is put together of pieces, with the value that `write` writes.
    pub fn add<T: AsRef<str>>(&mut self, name: &[T], write: impl FnOnce(&mut Vec<u8>)) {
        name.iter().for_each(|piece| self.bytes.extend_from_slice(piece.as_ref().as_bytes()));
        let name_end = self.bytes.len();
        write(&mut self.bytes);
        self.ends.push((name_end, self.bytes.len()));
    }

    /// Adds a field.
    pub fn push(&mut self, name: &str, value: &[u8]) {
        self.add(&[name], |bytes| bytes.extend_from_slice(value));
    }

    /// Names and values, in the order in which they were added.
    pub fn iter(&self) -> impl Iterator<Item = (&[u8], &[u8])> {
        let starts = std::iter::once(0).chain(self.ends.iter().map(|(_, end)| *end));
        let places = starts.zip(&self.ends);
        places.map(|(start, (name_end, end))| (&self.bytes[start..*name_end], &self.bytes[*name_end..*end]))
    }

    /// How many there are.
    pub const fn len(&self) -> usize {
        self.ends.len()
    }

    /// Whether there are none.
    pub const fn is_empty(&self) -> bool {
        self.ends.is_empty()
    }

    /// All bytes of names and values.
    pub const fn bytes(&self) -> usize {
        self.bytes.len()
    }
}

impl<N: AsRef<str>, V: AsRef<[u8]>> FromIterator<(N, V)> for Fields {
    fn from_iter<T: IntoIterator<Item = (N, V)>>(fields: T) -> Self {
        let mut all = Self::default();
        fields.into_iter().for_each(|(name, value)| all.push(name.as_ref(), value.as_ref()));
        all
    }
}

/// One entry of the public `paused` hash.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct PausedScope {
    /// The field of the scope.
    pub scope: Box<str>,
    /// Causes and generation as JSON; `None` if the scope runs.
    pub causes_json: Option<String>,
    /// When it has to be looked at; [`NO_TIME`] if only when rules change.
    pub look_at: Option<Timestamp>,
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
    /// The fingerprints of control records that are on their way through the scopes that follow them, between two commits.
    pub sweeping: Vec<u64>,
    /// Periods that end by this instant are closed: what is charged to them is a correction.
    pub closed_until: Timestamp,
    /// Of an earlier layout.
    pub retired: Retired,
    /// The end of the period that is being closed.
    #[serde(default)]
    pub closing: Option<Timestamp>,
    /// When everyone who lives on what all share has to be looked at.
    #[serde(default)]
    pub look_at_all: Vec<Timestamp>,
}

/// What a commit needs to know beside the account.
#[derive(Clone, Copy, Debug)]
pub struct Stamp {
    /// Unique for each commit.
    pub token: u128,
    /// The smallest record time over all inputs: ids of events before it, less the horizon, are forgotten.
    pub low_water: Timestamp,
    /// How long ids are remembered.
    pub horizon_ms: i64,
}

impl Default for Head {
    fn default() -> Self {
        Self {
            token: 0,
            due: None,
            next_signal: 0,
            newest_event_time: Timestamp::MIN,
            served_due: Timestamp::MIN,
            sweeping: Vec::new(),
            closed_until: Timestamp::MIN,
            retired: Retired,
            closing: None,
            look_at_all: Vec::new(),
        }
    }
}

/// Reads a stored signal. Layouts 2 and 3 had answers in words.
///
/// # Errors
/// As [`layout::unpack`].
pub fn unpack_signal(bytes: &[u8]) -> Result<Signal, layout::LayoutError> {
    if layout::layout_of(bytes).is_some_and(|layout| layout <= 3) {
        return earlier::unpack_signal(bytes);
    }
    layout::unpack("signal", bytes)
}

/// Reads a window that was stored apart. Layout 3 had its counts alone.
///
/// # Errors
/// As [`layout::unpack`].
pub fn unpack_older(bytes: &[u8]) -> Result<OlderWindow, layout::LayoutError> {
    const WHAT: &str = "older window";
    if layout::layout_of(bytes).is_some_and(|layout| layout <= 3) {
        let counters: Counters = layout::unpack(WHAT, bytes)?;
        return Ok(OlderWindow { counters, detail: None });
    }
    layout::unpack(WHAT, bytes)
}

/// Reads the field of a scope as a [`Scope`].
///
/// # Errors
/// [`layout::LayoutError::Corrupt`] if it is none.
pub fn parse_scope(field: &str) -> Result<Scope, layout::LayoutError> {
    Scope::parse(field).map_err(|why| layout::LayoutError::Corrupt { what: "scope", why })
}
