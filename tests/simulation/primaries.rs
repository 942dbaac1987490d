//! A Redis of two primaries that may lose their newest writes, or be emptied: the ledger in memory, and beside it the
//! log of what was written, of which a failover keeps a prefix.

use std::time::Duration;

use bursar::{
    domain::{
        account::changes::{Changes, Loaded, Needs},
        time::Timestamp,
    },
    ledger::{
        Begun, Committed, Fence, InputPartition, Ledger, LedgerError, Progress, memory::MemoryLedger, smallest_of,
    },
};
use futures::FutureExt;
use tokio::time::Instant;

/// How many there are.
pub const PRIMARIES: usize = 2;

/// A replica is behind by no more than this (`redis.replica_behind_seconds`).
pub const REPLICA_BEHIND: Duration = Duration::from_secs(2);

/// Something that was written.
#[derive(Clone)]
enum Write {
    Commit(Box<(Box<str>, Changes)>),
    Progress(Vec<(InputPartition, Progress)>, Timestamp),
    Token(u64),
    ForgetDue(Box<str>, Timestamp),
    Nothing,
}

/// One primary.
#[derive(Default)]
pub struct Primary {
    ledger: MemoryLedger,
    writes: Vec<(Instant, Write)>,
    number: usize,
    lineage: u64,
    token: Option<u64>,
}

/// The primary of an organization.
pub fn primary_of(organization_id: &str) -> usize {
    organization_id.bytes().map(usize::from).sum::<usize>() % PRIMARIES
}

impl Primary {
    /// The one of that number.
    pub fn new(number: usize) -> Self {
        Self { number, ..Self::default() }
    }

    /// What it holds now.
    pub fn ledger(&self) -> &MemoryLedger {
        &self.ledger
    }

    fn write(&mut self, write: Write) -> Committed {
        let written = self.replay(&write);
        self.writes.push((Instant::now(), write));
        written
    }

    fn replay(&mut self, write: &Write) -> Committed {
        match write {
            Write::Commit(commit) => {
                let result = self.ledger.commit(std::slice::from_ref(commit)).now_or_never();
                return result.expect("memory answers at once").expect("memory answers")[0];
            }
            Write::Progress(progress, kept_from) => {
                let begun = self.ledger.begin(&[]).now_or_never().expect("memory answers at once");
                let fence = begun.expect("memory answers").fence;
                let _ = self.ledger.advance(&fence, progress, *kept_from).now_or_never();
            }
            Write::Token(token) => self.token = Some(*token),
            Write::ForgetDue(organization_id, at) => {
                let _ = self.ledger.forget_due(&[(organization_id.clone(), *at)]).now_or_never();
            }
            Write::Nothing => (self.ledger, self.token) = (MemoryLedger::new(), None),
        }
        Committed::Written
    }

    /// Commits one step.
    pub fn commit(&mut self, organization_id: &str, changes: &Changes) -> Committed {
        self.write(Write::Commit(Box::new((organization_id.into(), changes.clone()))))
    }

    /// Removes an entry of the index of due times.
    pub fn forget_due(&mut self, organization_id: &str, at: Timestamp) {
        self.write(Write::ForgetDue(organization_id.into(), at));
    }

    /// A replica takes over that has not seen the last `lost` writes.
    pub fn fail_over(&mut self, lost: usize) {
        let old = self.writes.partition_point(|(at, _)| at.elapsed() >= REPLICA_BEHIND);
        let kept = self.writes.len().saturating_sub(lost).max(old);
        let mut writes = std::mem::take(&mut self.writes);
        writes.truncate(kept);
        *self = Self { number: self.number, lineage: self.lineage + 1, ..Self::default() };
        for (_, write) in &writes {
            self.replay(write);
        }
        self.writes = writes;
    }

    /// Somebody empties it and its replicas; it stays the same server.
    pub fn flush(&mut self) {
        self.writes.clear();
        self.replay(&Write::Nothing);
    }

    fn lineage_name(&self) -> String {
        format!("{}-{}", self.number, self.lineage)
    }

    /// Loads what an account needs.
    pub fn load(&self, request: &(Box<str>, Needs)) -> Loaded {
        let loaded = self.ledger.load(std::slice::from_ref(request)).now_or_never().expect("memory answers at once");
        loaded.expect("memory answers").remove(0)
    }

    fn fence(&self) -> (String, Vec<u8>) {
        (self.lineage_name(), self.token.unwrap_or(0).to_le_bytes().to_vec())
    }

    /// Writes progress if the fence holds.
    pub fn advance(
        &mut self,
        fence: &(String, Vec<u8>),
        progress: &[(InputPartition, Progress)],
        kept_from: Timestamp,
    ) -> bool {
        let holds = *fence == self.fence() && self.token.is_some();
        holds && self.write(Write::Progress(progress.to_vec(), kept_from)) == Committed::Written
    }

    fn progress(&self, partitions: &[InputPartition]) -> Vec<Option<Progress>> {
        let begun = self.ledger.begin(partitions).now_or_never().expect("memory answers at once");
        begun.expect("memory answers").progress
    }
}

/// Fence and smallest progress of all; a token is made where there is none.
pub fn begin(primaries: &mut [Primary], partitions: &[InputPartition], token: u64) -> Result<Begun, LedgerError> {
    for primary in primaries.iter_mut().filter(|primary| primary.token.is_none()) {
        primary.write(Write::Token(token));
    }
    let all: Vec<Vec<Option<Progress>>> = primaries.iter().map(|primary| primary.progress(partitions)).collect();
    let know: Vec<Timestamp> = primaries.iter().map(|primary| primary.ledger.kept_from()).collect();
    let of_partition = |number: usize| {
        let of_primaries = all.iter().zip(&know).map(|(progress, knows)| (progress[number], *knows));
        smallest_of(&of_primaries.collect::<Vec<_>>())
    };
    let progress = (0..partitions.len()).map(of_partition).collect::<Result<_, _>>()?;
    let kept_from = know.into_iter().max().unwrap_or(Timestamp::MIN);
    Ok(Begun { fence: Fence(primaries.iter().map(Primary::fence).collect()), progress, kept_from })
}
