//! The account store: where accounts, progress and the index of due times are kept.
//!
//! [`Ledger`] is the whole of it. [`redis`] is the real one, [`memory`] the one for `bursar demo` and for tests; one
//! test suite holds for both (`tests/ledger.rs`).

pub mod keys;
pub mod memory;
pub mod redis;

use futures::future::BoxFuture;
use serde::{Deserialize, Serialize};
use thiserror::Error;

use crate::domain::{
    account::changes::{Changes, Loaded, Needs},
    time::Timestamp,
};

/// A store of accounts. All calls are bounded in time.
pub trait Ledger: Send + Sync {
    /// Reads what accounts need; each answer is read at one moment of its account.
    fn load<'a>(&'a self, requests: &'a [(Box<str>, Needs)]) -> BoxFuture<'a, Result<Vec<Loaded>, LedgerError>>;

    /// Writes the changes of accounts, each whole or not at all.
    fn commit<'a>(&'a self, commits: &'a [(Box<str>, Changes)]) -> BoxFuture<'a, Result<Vec<Committed>, LedgerError>>;

    /// Reads the fence, and how far partitions have been applied: on every primary, the smallest counts.
    fn begin<'a>(&'a self, partitions: &'a [InputPartition]) -> BoxFuture<'a, Result<Begun, LedgerError>>;

    /// Writes how far partitions have been applied, unless the fence has moved: then the answer is `false`, and what
    /// was believed about any position is worthless.
    fn advance<'a>(
        &'a self,
        fence: &'a Fence,
        progress: &'a [(InputPartition, Progress)],
    ) -> BoxFuture<'a, Result<bool, LedgerError>>;

    /// The progress of all partitions that any worker has ever written.
    fn progress_of_all(&self) -> BoxFuture<'_, Result<Vec<Progress>, LedgerError>>;

    /// Organizations in which something is due at or before `until`, with the instant.
    fn due(&self, until: Timestamp) -> BoxFuture<'_, Result<Vec<(Box<str>, Timestamp)>, LedgerError>>;

    /// Removes entries of the index of due times that have been served.
    fn forget_due<'a>(&'a self, served: &'a [(Box<str>, Timestamp)]) -> BoxFuture<'a, Result<(), LedgerError>>;
}

/// What became of a commit.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Committed {
    /// All of it is written.
    Written,
    /// Somebody moved the account: nothing is written, and everything held of the account is worthless.
    Refused,
}

/// A partition of an input topic.
#[derive(Clone, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct InputPartition {
    /// The topic.
    pub topic: Box<str>,
    /// The partition's number.
    pub partition: i32,
}

/// How far a partition has been applied.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Progress {
    /// The offset of the first record that is not covered.
    pub next_offset: i64,
    /// The running maximum of Kafka's timestamps over all records covered; if a record is read and waits, up to that.
    pub record_time: Timestamp,
    /// What this partition allows to forget: its record time, or the clock if it was caught up and idle.
    pub low_water: Timestamp,
}

/// What the server must still be for positions to hold: its lineage and the token beside the progress, of every
/// primary. Opaque; equal or not.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Fence(pub Vec<(String, Vec<u8>)>);

/// The answer of [`Ledger::begin`].
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Begun {
    /// The fence that the positions were read with.
    pub fence: Fence,
    /// For each partition that was asked for; `None` if some primary has no progress of it.
    pub progress: Vec<Option<Progress>>,
}

/// Why the ledger did not answer as it should.
#[derive(Debug, Error)]
pub enum LedgerError {
    /// The server is away, or does not serve now: try again. It is not known whether anything was written.
    #[error("{0}")]
    Unavailable(String),
    /// The server refuses what it will refuse again: stop and call a person.
    #[error("{0}")]
    Misconfigured(String),
}

impl LedgerError {
    /// Whether the same call may succeed later.
    pub const fn is_transient(&self) -> bool {
        matches!(self, Self::Unavailable(_))
    }
}

/// The smallest progress of all primaries; none if one of them has none. If the primaries differ by more than ids are
/// kept, a replay from the smallest would count twice on the others.
///
/// # Errors
/// [`LedgerError::Misconfigured`] in that case.
pub fn smallest_of(of_primaries: Vec<Option<Progress>>, horizon_ms: i64) -> Result<Option<Progress>, LedgerError> {
    let Some(all) = of_primaries.into_iter().collect::<Option<Vec<Progress>>>() else { return Ok(None) };
    let Some(smallest) = all.iter().min_by_key(|progress| (progress.next_offset, progress.low_water)).copied() else {
        return Ok(None);
    };
    // Idle partitions differ in their low water alone, by a second or so: that needs no replay.
    let replays = all.iter().any(|other| other.next_offset != smallest.next_offset);
    let forgotten_before = all.iter().map(|progress| progress.low_water.plus_ms(-horizon_ms)).max();
    if replays && Some(smallest.low_water) < forgotten_before {
        let why = "one primary of the cluster is behind the others by more than ids are kept (rules.horizon_hours), so a \
                   replay would count twice: restore the cluster as a whole";
        return Err(LedgerError::Misconfigured(why.to_owned()));
    }
    Ok(Some(smallest))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn check(of_primaries: &[Option<(i64, i64)>], expected: &str) {
        let progress = |(next_offset, low_water): (i64, i64)| {
            let (record_time, low_water) = (Timestamp::from_ms(0), Timestamp::from_ms(low_water));
            Progress { next_offset, record_time, low_water }
        };
        let smallest = smallest_of(of_primaries.iter().map(|of_primary| of_primary.map(progress)).collect(), 100);
        let seen = match smallest {
            Ok(None) => "none".to_owned(),
            Ok(Some(progress)) => progress.next_offset.to_string(),
            Err(error) => error.to_string(),
        };
        assert!(seen.contains(expected), "{of_primaries:?}: {seen}");
    }

    #[test]
    fn u_5_the_smallest_progress_counts_unless_ids_are_forgotten_by_then() {
        check(&[Some((7, 50)), Some((5, 40))], "5");
        check(&[Some((7, 50)), None], "none");
        check(&[Some((7, 500)), Some((5, 40))], "restore the cluster as a whole");
        // Idle for long, and written a second apart.
        check(&[Some((7, 9_000)), Some((7, 8_000))], "7");
    }
}
