//! What may be forgotten: the smallest record time over all input partitions, as every primary has it, once it is so old
//! that no failover goes back behind it.
//!
//! What is read now may be taken back by a failover a moment later, and ids that were forgotten by it would be missed in
//! the replay. So it only counts once it is older than any replica may be behind; it is written beside the progress,
//! and then used. A primary that comes back further behind is told by that (see [`crate::ledger::Begun::of`]).

use std::{collections::VecDeque, time::Duration};

use tokio::time::Instant;

use crate::domain::time::Timestamp;

/// How often it is read, at least.
const READ_EVERY_MAX: Duration = Duration::from_secs(10);

/// The low water of one tenure.
#[derive(Debug)]
pub struct LowWater {
    replica_behind: Duration,
    partitions: usize,
    /// What was read, and not yet old enough.
    read: VecDeque<(Instant, Timestamp)>,
    /// What is old enough.
    old_enough: Timestamp,
    /// What the fence has held for since it was read: no failover took it back meanwhile.
    confirmed: Timestamp,
    /// What is written, and so may be used.
    written: Timestamp,
}

impl LowWater {
    /// Nothing is known, where a replica may be behind by `replica_behind`, and there are so many `partitions`.
    pub const fn new(replica_behind: Duration, partitions: usize) -> Self {
        let unknown = Timestamp::MIN;
        let (old_enough, confirmed, written) = (unknown, unknown, unknown);
        Self { replica_behind, partitions, read: VecDeque::new(), old_enough, confirmed, written }
    }

    /// Whether it is time to read it again.
    pub fn is_to_be_read(&self) -> bool {
        let every = READ_EVERY_MAX.min(self.replica_behind);
        self.read.back().is_none_or(|(read, _)| read.elapsed() >= every)
    }

    /// Notes what was read of all partitions. One without progress may need everything.
    pub fn note(&mut self, of_partitions: &[Timestamp]) {
        let all_known = of_partitions.len() >= self.partitions;
        let low_water = of_partitions.iter().min().filter(|_| all_known).copied().unwrap_or(Timestamp::MIN);
        while let Some((_, old_enough)) = self.read.pop_front_if(|(read, _)| read.elapsed() >= self.replica_behind) {
            self.old_enough = self.old_enough.max(old_enough);
        }
        self.read.push_back((Instant::now(), low_water));
    }

    /// What is to be written beside the progress.
    pub const fn to_write(&self) -> Timestamp {
        self.confirmed
    }

    /// Notes that progress is written everywhere, so that the fence still holds.
    pub const fn wrote(&mut self) {
        (self.written, self.confirmed) = (self.confirmed, self.old_enough);
    }

    /// What may be used.
    pub const fn get(&self) -> Timestamp {
        self.written
    }
}
