//! The account store: where accounts, progress and the index of due times are kept.
//!
//! [`Ledger`] is the whole of it. [`redis`] is the real one, [`memory`] the one for `bursar demo` and for tests; one
//! test suite holds for both (`tests/ledger.rs`).

mod fence;
pub mod keys;
pub mod memory;
pub mod redis;

use std::{collections::BTreeMap, time::Duration};

use futures::future::{BoxFuture, FutureExt};
use thiserror::Error;

pub use self::fence::Fence;
use crate::{
    domain::{
        account::changes::{Changes, Loaded, Needs},
        time::Timestamp,
    },
    faults::{Defence, holds},
};

/// Between one reading of tags that do not fit together and the next; after the last, it is believed. A cluster is emptied node
/// by node.
const READ_AGAIN_AFTER_MS: [u64; 7] = [50, 100, 200, 400, 800, 1_600, 3_200];

/// How long a lease lasts.
pub const LEASE: Duration = Duration::from_millis(100);

/// A store of accounts. All calls are bounded in time.
pub trait Ledger: Send + Sync {
    /// Reads what accounts need; each answer is read at one moment of its account.
    fn load<'a>(&'a self, requests: &'a [(Box<str>, Needs)]) -> BoxFuture<'a, Result<Vec<Loaded>, LedgerError>>;

    /// Writes the changes of accounts, each whole or not at all.
    fn commit<'a>(&'a self, commits: &'a [(Box<str>, Changes)]) -> BoxFuture<'a, Result<Vec<Committed>, LedgerError>>;

    /// Reads the fence, and how far partitions have been applied, at every tag; each at its own moment.
    fn at_tags<'a>(&'a self, partitions: &'a [InputPartition]) -> BoxFuture<'a, Result<Vec<AtTag>, LedgerError>>;

    /// Reads the fence, and how far partitions have been applied: the smallest of all tags counts. Tags that do not fit
    /// together are read again: something may have happened between the first and the last.
    fn begin<'a>(&'a self, partitions: &'a [InputPartition]) -> BoxFuture<'a, Result<Begun, LedgerError>> {
        async move {
            for pause_ms in READ_AGAIN_AFTER_MS {
                match Begun::of(self.at_tags(partitions).await?, partitions.len()) {
                    Err(_) if holds(Defence::ReadAgain) => tokio::time::sleep(Duration::from_millis(pause_ms)).await,
                    begun => return begun,
                }
            }
            Begun::of(self.at_tags(partitions).await?, partitions.len())
        }
        .boxed()
    }

    /// Writes how far partitions have been applied, at each tag where the fence is exactly this. `false` if it is not
    /// everywhere: then [`Fence::is_still`] tells of a fence read anew whether positions hold. Progress that is further stays.
    /// `kept_from` is the low water that ids are forgotten by from now on.
    fn advance<'a>(
        &'a self,
        fence: &'a Fence,
        progress: &'a [(InputPartition, Progress)],
        kept_from: Timestamp,
    ) -> BoxFuture<'a, Result<bool, LedgerError>>;

    /// The smallest progress of each partition that every tag has, whoever wrote it.
    fn progress_of_all(&self) -> BoxFuture<'_, Result<Vec<(InputPartition, Progress)>, LedgerError>>;

    /// Organizations in which something is due at or before `until`, with the instant.
    fn due(&self, until: Timestamp) -> BoxFuture<'_, Result<Vec<(Box<str>, Timestamp)>, LedgerError>>;

    /// Takes the leases of accounts for a moment ([`LEASE`]). For each: how long another holder keeps it; zero if it is
    /// `holder`'s now. Who commits meanwhile is told of it ([`Committed::Contested`]); what is right is told by heads.
    fn lease<'a>(
        &'a self,
        organizations: &'a [Box<str>],
        holder: u128,
    ) -> BoxFuture<'a, Result<Vec<Duration>, LedgerError>>;

    /// Removes entries of the index of due times that have been served.
    fn forget_due<'a>(&'a self, served: &'a [(Box<str>, Timestamp)]) -> BoxFuture<'a, Result<(), LedgerError>>;
}

/// What became of a commit.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Committed {
    /// All of it is written.
    Written,
    /// All of it is written, and for so long somebody has a lease of the account: others leave it alone.
    Contested(Duration),
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
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Progress {
    /// The offset of the first record that is not covered.
    pub next_offset: i64,
    /// The running maximum of Kafka's timestamps over all records covered; if a record is read and waits, up to that.
    pub record_time: Timestamp,
    /// What this partition allows to forget: its record time, or the clock if it was caught up and idle.
    pub low_water: Timestamp,
}

impl Progress {
    /// As it is stored: whole numbers, for people and for `bursar.lua`, which compares the first two.
    pub fn to_text(self) -> String {
        format!("{} {} {}", self.next_offset, self.low_water.ms(), self.record_time.ms())
    }

    /// Reads what [`Progress::to_text`] wrote; more numbers may follow in a later release.
    ///
    /// # Errors
    /// [`LedgerError::Misconfigured`] for everything else.
    pub fn from_text(text: &[u8]) -> Result<Self, LedgerError> {
        let numbers = std::str::from_utf8(text).unwrap_or_default().split(' ').map(str::parse);
        match numbers.collect::<Result<Vec<i64>, _>>().unwrap_or_default()[..] {
            [next_offset, low_water, record_time, ..] => {
                let (record_time, low_water) = (Timestamp::from_ms(record_time), Timestamp::from_ms(low_water));
                Ok(Self { next_offset, record_time, low_water })
            }
            _ => Err(LedgerError::Misconfigured(format!("{:?} is no progress", String::from_utf8_lossy(text)))),
        }
    }

    /// Whether this may take the place of what is stored: progress never goes back, or a worker that lost its partition
    /// without knowing would take it back.
    pub fn may_follow(self, stored: Self) -> bool {
        (self.next_offset, self.low_water) >= (stored.next_offset, stored.low_water) || !holds(Defence::Monotone)
    }
}

/// The answer of [`Ledger::begin`].
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Begun {
    /// The fence that the positions were read with.
    pub fence: Fence,
    /// For each partition that was asked for; `None` if some tag has no progress of it.
    pub progress: Vec<Option<Progress>>,
    /// For each of them the furthest offset that some tag is at, if tags disagree.
    pub furthest: Vec<Option<i64>>,
    /// The low water that ids were forgotten by, as any tag knows it.
    pub kept_from: Timestamp,
}

/// Writes progress over what is stored of it; what is further stays.
pub fn raise(stored: &mut BTreeMap<InputPartition, Progress>, progress: &[(InputPartition, Progress)]) {
    for (partition, progress) in progress {
        if stored.get(partition).is_none_or(|stored| progress.may_follow(*stored)) {
            stored.insert(partition.clone(), *progress);
        }
    }
}

/// What one tag says when a worker begins.
#[derive(Clone, Debug)]
pub struct AtTag {
    /// The lineage of the primary that it is on, and its token.
    pub fence: (String, Vec<u8>),
    /// For each partition that was asked for.
    pub progress: Vec<Option<Progress>>,
    /// The low water that it knows ids to be forgotten by.
    pub kept_from: Timestamp,
}

impl Begun {
    /// What all tags say together, of so many partitions.
    ///
    /// # Errors
    /// [`LedgerError::Misconfigured`] if others have forgotten ids of what would have to be replayed.
    pub fn of(tags: Vec<AtTag>, partitions: usize) -> Result<Self, LedgerError> {
        let mut begun = Self { kept_from: Timestamp::MIN, ..Self::default() };
        for number in 0..partitions {
            let of_tags: Vec<_> = tags.iter().map(|tag| (tag.progress[number], tag.kept_from)).collect();
            begun.progress.push(smallest_of(&of_tags)?);
            begun.furthest.push(furthest_of(&of_tags));
        }
        begun.kept_from = tags.iter().map(|tag| tag.kept_from).max().unwrap_or(Timestamp::MIN);
        begun.fence = Fence(tags.into_iter().map(|tag| tag.fence).collect());
        Ok(begun)
    }
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

/// The smallest progress of all tags, each with the low water that it knows ids to be forgotten by; none if any of
/// them has none.
///
/// A primary that comes back further behind needs a replay, and the others need their ids for it. It is told by what it
/// knows of them: progress and that low water are written together.
///
/// # Errors
/// [`LedgerError::Misconfigured`] if the others have forgotten ids of what would have to be replayed.
fn smallest_of(of_tags: &[(Option<Progress>, Timestamp)]) -> Result<Option<Progress>, LedgerError> {
    let by_offset = |progress: &Progress| (progress.next_offset, progress.low_water);
    let there = || of_tags.iter().filter_map(|(progress, _)| *progress);
    let (smallest, furthest) = (there().min_by_key(by_offset), there().max_by_key(by_offset));
    let kept_from = of_tags.iter().map(|(_, kept_from)| *kept_from).max().unwrap_or(Timestamp::MIN);
    for (progress, knows) in of_tags.iter().filter(|(progress, _)| *progress != furthest) {
        let replayed_from = progress.map_or(Timestamp::MIN, |progress| progress.low_water);
        if replayed_from < kept_from && *knows < kept_from {
            return Err(LedgerError::Misconfigured(format!(
                "one primary of the cluster has lost more than the others can replay: it needs what was recorded since \
                 {replayed_from}, and others no longer have the ids of before {kept_from}. Restore the cluster as a whole, or \
                 empty it as a whole and rebuild"
            )));
        }
    }
    let is_everywhere = of_tags.iter().all(|(progress, _)| progress.is_some());
    let counts = if holds(Defence::SmallestProgress) { smallest } else { furthest };
    Ok(counts.filter(|_| is_everywhere))
}

/// The furthest offset that some tag is at, if tags disagree.
fn furthest_of(of_tags: &[(Option<Progress>, Timestamp)]) -> Option<i64> {
    let offsets = || of_tags.iter().map(|(progress, _)| progress.map(|progress| progress.next_offset));
    offsets().max().filter(|furthest| offsets().any(|offset| offset != *furthest)).flatten()
}

/// The smallest progress of each partition that every tag has.
pub fn smallest_of_all(tags: &[Vec<(InputPartition, Progress)>]) -> Vec<(InputPartition, Progress)> {
    let mut all: BTreeMap<&InputPartition, (usize, Progress)> = BTreeMap::new();
    for (partition, progress) in tags.iter().flatten() {
        let (count, smallest) = all.entry(partition).or_insert((0, *progress));
        *count += 1;
        *smallest = std::cmp::min_by_key(*smallest, *progress, |progress| (progress.next_offset, progress.low_water));
    }
    let everywhere = all.into_iter().filter(|(_, (count, _))| *count == tags.len());
    everywhere.map(|(partition, (_, smallest))| (partition.clone(), smallest)).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Each tag: offset and low water of its progress, and the low water that it knows ids to be forgotten by.
    fn check(of_tags: &[(Option<(i64, i64)>, i64)], expected: &str) {
        let progress = |(next_offset, low_water): (i64, i64)| {
            let (record_time, low_water) = (Timestamp::from_ms(0), Timestamp::from_ms(low_water));
            Progress { next_offset, record_time, low_water }
        };
        let of_tag = |(of_tag, knows): &(Option<(i64, i64)>, i64)| (of_tag.map(progress), Timestamp::from_ms(*knows));
        let seen = match smallest_of(&of_tags.iter().map(of_tag).collect::<Vec<_>>()) {
            Ok(None) => "none".to_owned(),
            Ok(Some(progress)) => progress.next_offset.to_string(),
            Err(error) => error.to_string(),
        };
        assert!(seen.contains(expected), "{of_tags:?}: {seen}");
    }

    #[test]
    fn u_5_the_smallest_progress_counts_unless_ids_are_forgotten_by_then() {
        check(&[(Some((7, 50)), 40), (Some((5, 40)), 40)], "5");
        check(&[(Some((7, 50)), 40), (Some((5, 40)), 30)], "5");
        check(&[(Some((7, 50)), 41), (Some((5, 40)), 30)], "as a whole");
        check(&[(None, 41), (None, 41)], "none");
        // Emptied, while the others go on.
        check(&[(Some((7, 50)), 41), (None, 0)], "as a whole");
        // The first progress of a partition is written to one after the other.
        check(&[(Some((7, 50)), 0), (None, 0)], "none");
        check(&[(Some((7, 50)), 41), (None, 41)], "none");
        // A partition that came later may hold older records than what all others allow to be forgotten.
        check(&[(Some((7, 10)), 41)], "7");
        check(&[(Some((7, 10)), 41), (Some((7, 10)), 41)], "7");
        check(&[(Some((7, 10)), 41), (Some((5, 10)), 41)], "5");
    }

    #[test]
    fn u_5_the_furthest_is_told_where_tags_disagree() {
        let at = |next_offset: Option<i64>| {
            let time = Timestamp::MIN;
            (next_offset.map(|next_offset| Progress { next_offset, record_time: time, low_water: time }), time)
        };
        let check = |of_tags: &[Option<i64>], expected: Option<i64>| {
            assert_eq!(furthest_of(&of_tags.iter().map(|tag| at(*tag)).collect::<Vec<_>>()), expected, "{of_tags:?}");
        };
        check(&[Some(7), Some(7)], None);
        check(&[Some(7), Some(9), Some(8)], Some(9));
        check(&[None, Some(0)], Some(0));
        check(&[None, None], None);
        check(&[], None);
    }

    #[test]
    fn progress_is_read_as_it_is_written() {
        let progress = Progress { next_offset: 7, record_time: Timestamp::from_ms(-1), low_water: Timestamp::MIN };
        assert_eq!(Progress::from_text(progress.to_text().as_bytes()).ok(), Some(progress));
        assert!(Progress::from_text(b"1 2 3 and").is_err());
        assert_eq!(Progress::from_text(b"1 2 3 4").map(|progress| progress.next_offset).ok(), Some(1));
    }
}
