//! A Redis of two primaries that may lose their newest writes, or be emptied: the ledger in memory, and beside it the
//! log of what was written, of which a failover keeps a prefix. Progress lies at some tags, which move between the two.

use std::{
    collections::{BTreeMap, BTreeSet},
    time::Duration,
};

use bursar::{
    domain::{
        account::changes::{Changes, Loaded, Needs},
        time::Timestamp,
    },
    ledger::{
        AtTag, Committed, InputPartition, Ledger, LedgerError, Progress, memory::MemoryLedger, raise, smallest_of_all,
    },
};
use futures::FutureExt;
use tokio::time::Instant;

/// How many there are.
pub const PRIMARIES: usize = 2;

/// At so many tags lies progress; at first, each primary has every second one.
pub const TAGS: usize = 4;

/// A replica is behind by no more than this (`redis.replica_behind_seconds`).
pub const REPLICA_BEHIND: Duration = Duration::from_secs(2);

/// Something that was written.
#[derive(Clone)]
enum Write {
    Commit(Box<(Box<str>, Changes)>),
    Progress(usize, Vec<(InputPartition, Progress)>, Timestamp),
    Token(usize, u64),
    ForgetDue(Box<str>, Timestamp),
    Arrive(usize, Tag),
    Leave(usize),
}

/// The progress at a tag.
#[derive(Clone, Default)]
struct Tag {
    token: Option<u64>,
    progress: BTreeMap<InputPartition, Progress>,
    kept_from: Option<Timestamp>,
}

/// One primary.
#[derive(Default)]
pub struct Primary {
    ledger: MemoryLedger,
    tags: BTreeMap<usize, Tag>,
    writes: Vec<(Instant, Write)>,
    /// The tags that it had, empty, before all writes.
    tags_before: BTreeSet<usize>,
    number: usize,
    lineage: u64,
}

/// The primary of an organization.
fn primary_of(organization_id: &str) -> usize {
    organization_id.bytes().map(usize::from).sum::<usize>() % PRIMARIES
}

impl Primary {
    /// The one of that number.
    pub fn new(number: usize) -> Self {
        Self::empty(number, 0, (0..TAGS).filter(|tag| tag % PRIMARIES == number).collect())
    }

    fn empty(number: usize, lineage: u64, tags: BTreeSet<usize>) -> Self {
        let empty = tags.iter().map(|tag| (*tag, Tag::default())).collect();
        Self { tags: empty, tags_before: tags, number, lineage, ..Self::default() }
    }

    /// What it holds now.
    pub fn ledger(&self) -> &MemoryLedger {
        &self.ledger
    }

    /// Whether it has tags. One without is not written to: nobody would notice what it loses.
    pub fn has_tags(&self) -> bool {
        !self.tags.is_empty()
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
            Write::Progress(tag, progress, kept_from) => {
                let tag = self.tag(*tag);
                tag.kept_from = tag.kept_from.max(Some(*kept_from));
                raise(&mut tag.progress, progress);
            }
            Write::Token(tag, token) => self.tag(*tag).token = Some(*token),
            Write::ForgetDue(organization_id, at) => {
                let _ = self.ledger.forget_due(&[(organization_id.clone(), *at)]).now_or_never();
            }
            Write::Arrive(tag, content) => drop(self.tags.insert(*tag, content.clone())),
            Write::Leave(tag) => drop(self.tags.remove(tag)),
        }
        Committed::Written
    }

    fn tag(&mut self, tag: usize) -> &mut Tag {
        self.tags.get_mut(&tag).expect("who asks has looked where it is")
    }

    /// Commits one step.
    pub fn commit(&mut self, organization_id: &str, changes: &Changes) -> Committed {
        self.write(Write::Commit(Box::new((organization_id.into(), changes.clone()))))
    }

    /// Removes an entry of the index of due times.
    pub fn forget_due(&mut self, organization_id: &str, at: Timestamp) {
        self.write(Write::ForgetDue(organization_id.into(), at));
    }

    /// A replica takes over that has not seen the last `lost` writes. Of tags that moved it has heard, and of all before that:
    /// against more nothing guards (docs/exactly_once.md).
    pub fn fail_over(&mut self, lost: usize) {
        let old = self.writes.partition_point(|(at, _)| at.elapsed() >= REPLICA_BEHIND);
        let is_move = |(_, write): &(Instant, Write)| matches!(write, Write::Arrive(..) | Write::Leave(_));
        let moved = self.writes.iter().rposition(is_move).map_or(0, |last| last + 1);
        let kept = self.writes.len().saturating_sub(lost).max(old).max(moved);
        let mut writes = std::mem::take(&mut self.writes);
        writes.truncate(kept);
        *self = Self::empty(self.number, self.lineage + 1, std::mem::take(&mut self.tags_before));
        for (_, write) in &writes {
            self.replay(write);
        }
        self.writes = writes;
    }

    /// Somebody empties it and its replicas; it stays the same server.
    pub fn flush(&mut self) {
        *self = Self::empty(self.number, self.lineage, self.tags.keys().copied().collect());
    }

    fn lineage_name(&self) -> String {
        format!("{}-{}", self.number, self.lineage)
    }

    /// Loads what an account needs.
    pub fn load(&self, request: &(Box<str>, Needs)) -> Loaded {
        let loaded = self.ledger.load(std::slice::from_ref(request)).now_or_never().expect("memory answers at once");
        loaded.expect("memory answers").remove(0)
    }
}

/// All primaries.
pub struct Primaries {
    all: Vec<Primary>,
    /// Those that somebody is about to empty.
    to_flush: Vec<usize>,
}

impl Default for Primaries {
    fn default() -> Self {
        Self { all: (0..PRIMARIES).map(Primary::new).collect(), to_flush: Vec::new() }
    }
}

impl Primaries {
    /// The one of an organization; none as long as it has no tags.
    pub fn of(&mut self, organization_id: &str) -> Result<&mut Primary, LedgerError> {
        let primary = &mut self.all[primary_of(organization_id)];
        if primary.has_tags() { Ok(primary) } else { Err(LedgerError::Unavailable("it has no progress".to_owned())) }
    }

    /// Where an organization is.
    pub fn ledger_of(&self, organization_id: &str) -> &MemoryLedger {
        self.all[primary_of(organization_id)].ledger()
    }

    /// Each of them.
    pub fn all(&self) -> &[Primary] {
        &self.all
    }

    /// One of them.
    pub fn get(&mut self, number: usize) -> &mut Primary {
        &mut self.all[number]
    }

    /// Begins to empty all, one after the other.
    pub fn flush(&mut self, first: usize) {
        self.flush_others();
        self.to_flush = (0..PRIMARIES).filter(|number| *number != first).collect();
        self.all[first].flush();
    }

    /// Empties all that are still to be emptied.
    pub fn flush_others(&mut self) {
        for number in std::mem::take(&mut self.to_flush) {
            self.all[number].flush();
        }
    }

    fn holder(&mut self, tag: usize) -> &mut Primary {
        self.all.iter_mut().find(|primary| primary.tags.contains_key(&tag)).expect("every tag is somewhere")
    }

    /// A tag moves to another primary. Nobody moves slots while he empties the cluster.
    pub fn move_tag(&mut self, tag: usize, to: usize) {
        self.flush_others();
        let from = self.holder(tag);
        if from.number != to {
            let content = from.tags[&tag].clone();
            from.write(Write::Leave(tag));
            self.all[to].write(Write::Arrive(tag, content));
        }
    }

    /// All tags of a primary move to another one.
    pub fn drain(&mut self, number: usize) {
        let tags: Vec<usize> = self.all[number].tags.keys().copied().collect();
        tags.into_iter().for_each(|tag| self.move_tag(tag, (number + 1) % PRIMARIES));
    }

    /// All tags are where they were at first.
    pub fn bring_back(&mut self) {
        (0..TAGS).for_each(|tag| self.move_tag(tag, tag % PRIMARIES));
    }

    fn fence(&mut self, tag: usize) -> (String, Vec<u8>) {
        let primary = self.holder(tag);
        (primary.lineage_name(), primary.tags[&tag].token.unwrap_or(0).to_le_bytes().to_vec())
    }

    /// What a tag says of these partitions; a token is made where there is none.
    pub fn at_tag(&mut self, tag: usize, partitions: &[InputPartition], token: u64) -> AtTag {
        let primary = self.holder(tag);
        if primary.tags[&tag].token.is_none() {
            primary.write(Write::Token(tag, token));
        }
        let fence = self.fence(tag);
        let tag = self.tag(tag);
        let progress = partitions.iter().map(|partition| tag.progress.get(partition).copied()).collect();
        AtTag { fence, progress, kept_from: tag.kept_from.unwrap_or(Timestamp::MIN) }
    }

    fn tag(&self, tag: usize) -> &Tag {
        self.all.iter().find_map(|primary| primary.tags.get(&tag)).expect("every tag is somewhere")
    }

    /// Writes progress at a tag if the fence holds there.
    pub fn advance(
        &mut self,
        tag: usize,
        fence: &(String, Vec<u8>),
        progress: &[(InputPartition, Progress)],
        kept_from: Timestamp,
    ) -> bool {
        let holds = *fence == self.fence(tag) && self.tag(tag).token.is_some();
        holds && self.holder(tag).write(Write::Progress(tag, progress.to_vec(), kept_from)) == Committed::Written
    }

    /// The smallest progress that every tag has.
    pub fn progress(&self) -> Vec<(InputPartition, Progress)> {
        let of_tag = |tag: usize| self.tag(tag).progress.iter().map(|(input, progress)| (input.clone(), *progress));
        smallest_of_all(&(0..TAGS).map(|tag| of_tag(tag).collect()).collect::<Vec<_>>())
    }
}
