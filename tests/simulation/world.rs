//! The world around the workers: topics, the consumer group, Redis, and what goes wrong with them. One thread, one
//! source of randomness, virtual time.

use std::{
    collections::BTreeMap,
    sync::{
        Arc, Mutex, MutexGuard,
        atomic::{AtomicI64, Ordering},
    },
    time::Duration,
};

use bursar::{
    clock::Clock,
    contract::Kind,
    domain::time::Timestamp,
    ingest::{batch::Made, source::Rebalance},
    ledger::InputPartition,
    notify::{
        encode::Outgoing,
        publisher::{NotPublished, Sink, partition_of},
        readback::Readback,
        reader::data_of,
    },
};
use futures::future::{BoxFuture, FutureExt};
use rand::{Rng, rngs::StdRng};
use xxhash_rust::xxh3::Xxh3;

use crate::{
    primaries::Primaries,
    story::{CONTROL, Logs, PARTITIONS, USAGE, input},
};

/// Which kinds of things go wrong with Redis. Not all in every world: where there are no failovers ids are forgotten sooner, so that
/// other things can be seen.
#[derive(Clone, Copy)]
pub struct Kinds {
    /// Primaries fail over.
    pub failovers: bool,
    /// Slots move.
    pub moves: bool,
}

/// A member of the group.
#[derive(Default)]
pub struct Member {
    /// Whether its process runs.
    pub alive: bool,
    /// Whether it hears of rebalances. One that does not is a zombie once somebody else has its partitions.
    pub deaf: bool,
    /// A rebalance that it has not answered yet.
    pub pending: Option<Rebalance>,
    readback: Arc<Readback>,
}

/// All that is not the code under test.
pub struct World {
    /// The one source of randomness.
    pub random: StdRng,
    /// The workers' clock, in ms.
    pub clock: Arc<AtomicI64>,
    /// The brokers' clock, in ms: records of later times are not there yet.
    pub broker_ms: i64,
    /// The input topics.
    pub logs: Logs,
    /// Redis.
    pub primaries: Primaries,
    /// What goes wrong with it.
    pub kinds: Kinds,
    /// The members of the group.
    pub members: Vec<Member>,
    /// Records that were sent, in the order of the broker.
    pub sent: Vec<Outgoing>,
    /// Whether nothing goes wrong any more.
    pub quiet: bool,
    /// Whether a partition may still stick once all is quiet.
    pub last_to_stick: bool,
    /// How often each kind of thing went wrong.
    pub wrong: BTreeMap<&'static str, u32>,
    trace: Xxh3,
}

/// The world, shared by all that live in it.
#[derive(Clone)]
pub struct Shared(Arc<Mutex<World>>);

/// What becomes of a call.
#[derive(Clone, Copy, PartialEq, Eq)]
pub enum Fate {
    /// It is done and answered.
    Well,
    /// It is never done.
    LostBefore,
    /// It is done, and nobody hears of it.
    LostAfter,
    /// It is done long after the caller gave up.
    Late,
}

impl World {
    /// A world with these topics, and nothing else yet.
    pub fn begin(mut random: StdRng, logs: Logs, begin_ms: i64) -> Shared {
        let kinds = Kinds { failovers: random.random_bool(0.75), moves: random.random_bool(0.5) };
        Shared(Arc::new(Mutex::new(Self {
            random,
            clock: Arc::new(AtomicI64::new(begin_ms)),
            broker_ms: begin_ms,
            logs,
            primaries: Primaries::default(),
            kinds,
            members: Vec::new(),
            sent: Vec::new(),
            quiet: false,
            last_to_stick: true,
            wrong: BTreeMap::new(),
            trace: Xxh3::new(),
        })))
    }

    /// Notes what happens, for the hash that tells two runs apart.
    pub fn note(&mut self, what: &str, bytes: &[u8]) {
        self.trace.update(what.as_bytes());
        self.trace.update(bytes);
    }

    /// The hash of all that happened.
    pub fn trace(&self) -> u64 {
        self.trace.digest()
    }

    /// Counts something that goes wrong.
    pub fn break_something(&mut self, what: &'static str) {
        *self.wrong.entry(what).or_insert(0) += 1;
        self.note(what, &[]);
    }

    /// A new member, which has not heard of anything yet.
    pub fn join(&mut self, readback: Arc<Readback>) -> usize {
        for outgoing in self.sent.iter().filter(|outgoing| outgoing.kind == Kind::Pause) {
            note_pause(&readback, outgoing);
        }
        self.members.push(Member { alive: true, readback, ..Member::default() });
        self.members.len() - 1
    }

    /// Gives the partitions out anew. Who is deaf does not hear of it and gets none.
    pub fn rebalance(&mut self) {
        let hearing: Vec<usize> = (0..self.members.len())
            .filter(|number| self.members[*number].alive && !self.members[*number].deaf)
            .collect();
        if hearing.is_empty() {
            return;
        }
        let shift = self.random.random_range(0..hearing.len());
        for (place, number) in hearing.iter().enumerate() {
            let ours = (0..PARTITIONS).filter(|partition| (*partition as usize + shift) % hearing.len() == place);
            let inputs = ours.flat_map(|partition| [input(CONTROL, partition), input(USAGE, partition)]).collect();
            self.members[*number].pending = Some(Rebalance::Assigned(inputs));
        }
    }

    /// How far a partition can be read now.
    pub fn end(&self, partition: &InputPartition) -> i64 {
        let there = |made: &&Made| made.timestamp.ms() <= self.broker_ms;
        self.logs[partition].iter().take_while(there).count() as i64
    }

    /// What becomes of the next call, and how long it takes on its way there and back.
    pub fn fate(&mut self) -> (Fate, [Duration; 2]) {
        let most = if self.quiet { 3 } else { 8 };
        let random = &mut self.random;
        let mut wait = |most: u64| Duration::from_millis(random.random_range(0..most));
        let waits = [wait(most), wait(most)];
        let long = [wait(4_000), wait(3_000)];
        if self.quiet {
            return (Fate::Well, waits);
        }
        let (fate, waits) = match self.random.random_range(0..200) {
            0..3 => (Fate::LostBefore, waits),
            3..8 => (Fate::LostAfter, waits),
            8..11 => (Fate::Late, [long[0], waits[1]]),
            11..14 => (Fate::Well, long),
            _ => (Fate::Well, waits),
        };
        if fate != Fate::Well {
            self.break_something(match fate {
                Fate::LostBefore => "a call is lost",
                Fate::LostAfter => "a reply is lost",
                _ => "a call is done late",
            });
        }
        (fate, waits)
    }

    /// Which of so many partitions the client will not fetch, until they are assigned anew.
    pub fn stick(&mut self, partitions: usize) -> Option<usize> {
        let sticks = if self.quiet {
            std::mem::take(&mut self.last_to_stick) && self.random.random_bool(0.5)
        } else {
            self.random.random_bool(0.05)
        };
        if !sticks || partitions == 0 {
            return None;
        }
        self.break_something("a partition is not fetched");
        Some(self.random.random_range(0..partitions))
    }

    fn append_control(&mut self, outgoing: &Outgoing) {
        let partition = partition_of(&outgoing.key, PARTITIONS);
        let timestamp = Timestamp::from_ms(self.broker_ms);
        let log = self.logs.get_mut(&input(CONTROL, partition)).expect("the topic is there");
        // Before what the story says later: a broker gives the next offset to what comes next.
        let place = log.iter().position(|made| made.timestamp > timestamp).unwrap_or(log.len());
        let topic = log.first().map_or_else(|| CONTROL.into(), |made| Arc::clone(&made.topic));
        let payload = Some(outgoing.payload.clone());
        log.insert(
            place,
            Made { topic, partition, offset: 0, timestamp, key: outgoing.key.clone().into_bytes(), payload },
        );
        for (offset, made) in log.iter_mut().enumerate() {
            made.offset = offset as i64;
        }
    }

    fn append(&mut self, outgoing: &Outgoing) {
        self.note("sent", &outgoing.payload);
        if outgoing.kind == Kind::Control {
            self.append_control(outgoing);
            return;
        }
        if outgoing.kind == Kind::Pause {
            for member in self.members.iter().filter(|member| member.alive) {
                note_pause(&member.readback, outgoing);
            }
        }
        self.sent.push(outgoing.clone());
    }
}

/// Tells a process's readback of a record of the pauses topic.
fn note_pause(readback: &Readback, outgoing: &Outgoing) {
    let data = data_of(&outgoing.payload).expect("what we send can be read");
    let (organization, scope) = (data["organization_id"].as_str(), data["scope"].as_str());
    let (organization, scope) = (organization.expect("a pause has one"), scope.expect("a pause has one"));
    let causes = data["causes"].as_array().into_iter().flatten();
    let causes = causes.filter_map(|cause| cause["kind"].as_str()).map(Into::into).collect();
    let generation = data["generation"].as_i64().expect("a pause has one");
    readback.note(partition_of(organization, PARTITIONS), organization, scope, generation, causes);
}

impl Shared {
    /// The world, for a moment in which nothing is awaited.
    pub fn lock(&self) -> MutexGuard<'_, World> {
        self.0.lock().expect("nobody panics with the world")
    }

    /// The clock that workers are told.
    pub fn clock(&self) -> Clock {
        Clock::Told(Arc::clone(&self.lock().clock))
    }
}

impl Sink for Shared {
    fn send_all<'a>(&'a self, records: &'a [Outgoing]) -> BoxFuture<'a, Result<(), NotPublished>> {
        async move {
            let (fate, [before, after]) = self.lock().fate();
            let refused = || NotPublished { topic: "any".to_owned(), why: "so it is told".to_owned(), is_fatal: false };
            let records = records.to_vec();
            if fate == Fate::Late {
                let world = self.clone();
                tokio::spawn(async move {
                    tokio::time::sleep(before).await;
                    records.iter().for_each(|record| world.lock().append(record));
                });
                return Err(refused());
            }
            tokio::time::sleep(before).await;
            {
                let mut world = self.lock();
                let taken = match fate {
                    Fate::LostBefore => world.random.random_range(0..=records.len()),
                    _ => records.len(),
                };
                records[..taken].iter().for_each(|record| world.append(record));
            }
            tokio::time::sleep(after).await;
            if fate == Fate::Well { Ok(()) } else { Err(refused()) }
        }
        .boxed()
    }

    fn brokers_answer(&self, _: Duration) -> bool {
        true
    }

    fn flush(&self, _: Duration) {}
}

impl World {
    /// Moves the brokers' clock on, and the workers' clock with it, which may be wrong by `off_ms`.
    pub fn pass(&mut self, ms: i64, off_ms: i64) {
        self.broker_ms += ms;
        self.clock.store(self.broker_ms + off_ms, Ordering::Relaxed);
    }
}
