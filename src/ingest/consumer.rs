//! A member of the consumer group: two private queues, one for control records and one for usage, filled from the
//! queues of its partitions and drained in batches.
//!
//! The rebalance is ours to answer: an assignment is only recorded when it comes in, and is answered by
//! [`Consumer::assign`] once the worker knows from the ledger where to begin. Partition queues are forwarded before the
//! assignment is answered, so no message can come by another way.
//!
//! With `group.protocol=consumer` the group says only what changes. Each change stops all fetching and is answered at
//! once; the worker is told all that is held after it, and begins anew. No partition may be fetched further over a
//! change: the client pauses it and goes on one message too far if its end had been read (librdkafka #4844).
//!
//! All `unsafe` of the hot path is in `queue`, [`super::batch`] and [`crate::prefetch`].

#![allow(unsafe_code, reason = "what librdkafka knows of ends has no safe wrapper")]

use std::{
    collections::BTreeSet,
    ffi::CString,
    sync::{
        Mutex, MutexGuard, OnceLock, PoisonError,
        atomic::{AtomicBool, Ordering},
    },
    time::Duration,
};

use futures::future::{FutureExt, LocalBoxFuture};
use rdkafka::{
    ClientConfig, ClientContext, Offset, TopicPartitionList, bindings as native,
    config::FromClientConfigAndContext,
    consumer::{BaseConsumer, Consumer as _, ConsumerContext},
    error::{KafkaError, RDKafkaErrorCode},
    types::RDKafkaRespErr,
};
use serde::Deserialize;
use tracing::{debug, error, info, warn};

use super::{
    batch::Batch,
    queue::Queue,
    source::{Lane, Rebalance, Source, SourceError},
};
use crate::{faults::sticks, ledger::InputPartition};

/// How long the client may take to move its positions.
const SEEK_WAIT: Duration = Duration::from_secs(10);

/// How long brokers may take to answer whether they are there.
const BROKER_WAIT: Duration = Duration::from_secs(3);

/// How often the client says how it is.
const STATISTICS_EVERY_MS: &str = "5000";

/// What the group has said.
#[derive(Default)]
struct Membership {
    /// All partitions that are held; kept only if the group says what changes.
    held: BTreeSet<InputPartition>,
    /// The last of what the worker does not know yet.
    news: Option<Rebalance>,
}

/// Records rebalances; what is to be answered before the worker knows of it, it answers.
pub struct Recorder {
    /// Whether the group says what changes, not all that is held (`group.protocol=consumer`).
    is_incremental: bool,
    membership: Mutex<Membership>,
    closing: AtomicBool,
    /// Whether the client knows the coordinator of its group, once it has said.
    knows_group: Mutex<Option<bool>>,
    /// Why the client has left the group for good.
    fatal: OnceLock<RDKafkaErrorCode>,
}

impl Recorder {
    fn new(config: &ClientConfig) -> Self {
        Self {
            is_incremental: config.get("group.protocol") == Some("consumer"),
            membership: Mutex::default(),
            closing: AtomicBool::new(false),
            knows_group: Mutex::default(),
            fatal: OnceLock::new(),
        }
    }

    fn membership(&self) -> MutexGuard<'_, Membership> {
        self.membership.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl ClientContext for Recorder {
    fn error(&self, error: KafkaError, reason: &str) {
        warn!(%error, reason, "Kafka");
    }

    fn stats_raw(&self, statistics: &[u8]) {
        match serde_json::from_slice(statistics) {
            Ok(Statistics { cgrp: Some(Group { state }) }) => {
                *self.knows_group.lock().unwrap_or_else(PoisonError::into_inner) = Some(state == "up");
            }
            Ok(Statistics { cgrp: None }) => {}
            Err(error) => debug!(%error, "statistics of the client cannot be read"),
        }
    }
}

/// What is looked at of the client's statistics.
#[derive(Deserialize)]
struct Statistics<'a> {
    #[serde(borrow)]
    cgrp: Option<Group<'a>>,
}

/// The client's view of its group.
#[derive(Deserialize)]
struct Group<'a> {
    /// Of its search for the coordinator; `up` once that is found.
    state: &'a str,
}

impl ConsumerContext for Recorder {
    fn rebalance(&self, consumer: &BaseConsumer<Self>, event: RDKafkaRespErr, partitions: &mut TopicPartitionList) {
        let is_assigned = event == RDKafkaRespErr::RD_KAFKA_RESP_ERR__ASSIGN_PARTITIONS;
        let answer = match (self.closing.load(Ordering::SeqCst), self.is_incremental, is_assigned) {
            // Nobody will answer any more. While the client closes, both protocols take this for an answer.
            (true, _, true) => consumer.assign(&TopicPartitionList::new()),
            (true, _, false) => consumer.unassign(),
            (false, false, _) => Ok(()),
            (false, true, false) => stop_fetching(consumer, true),
            (false, true, true) => {
                stop_fetching(consumer, true).and_then(|()| consumer.incremental_assign(&TopicPartitionList::new()))
            }
        };
        if let Err(error) = answer {
            warn!(%error, is_assigned, "a rebalance could not be answered");
        }
        let partitions = input_partitions(partitions);
        let mut membership = self.membership();
        membership.news = Some(match (self.is_incremental, is_assigned) {
            (false, true) => Rebalance::Assigned(partitions),
            (false, false) => Rebalance::Revoked,
            (true, _) => membership.change(is_assigned, partitions),
        });
    }
}

impl Membership {
    /// Adds or removes partitions, and returns all that is held then.
    fn change(&mut self, is_assigned: bool, partitions: Vec<InputPartition>) -> Rebalance {
        if is_assigned {
            self.held.extend(partitions);
        } else {
            for partition in &partitions {
                self.held.remove(partition);
            }
        }
        if self.held.is_empty() { Rebalance::Revoked } else { Rebalance::Assigned(self.held.iter().cloned().collect()) }
    }
}

/// Takes all partitions out of the client's assignment. If it waits for a revocation to be answered, this is the answer,
/// also if there was nothing to take out.
fn stop_fetching(client: &BaseConsumer<Recorder>, is_incremental: bool) -> Result<(), KafkaError> {
    if is_incremental { client.incremental_unassign(&client.assignment()?) } else { client.unassign() }
}

fn input_partitions(list: &TopicPartitionList) -> Vec<InputPartition> {
    let elements = list.elements();
    elements.iter().map(|entry| InputPartition { topic: entry.topic().into(), partition: entry.partition() }).collect()
}

/// A member of the consumer group.
pub struct Consumer {
    // Dropped before the client: queues must not outlive it.
    control: Queue,
    usage: Queue,
    partition_queues: Vec<Queue>,
    config: ClientConfig,
    /// That of control first.
    topics: Vec<Box<str>>,
    client: BaseConsumer<Recorder>,
    /// Asks for the ends of partitions. On the connections of `client` a question would wait behind the fetches.
    asking: BaseConsumer,
}

// SAFETY: librdkafka's queues may be used from any thread; they are only raw pointers to Rust.
unsafe impl Send for Consumer {}

impl Consumer {
    /// Joins the group.
    ///
    /// # Errors
    /// [`KafkaError`] if the configuration is refused.
    pub fn join(config: &ClientConfig, control_topic: &str, usage_topics: &[&str]) -> Result<Self, KafkaError> {
        let topics = std::iter::once(control_topic).chain(usage_topics.iter().copied()).map(Box::from).collect();
        Self::subscribe(config.clone(), topics)
    }

    fn subscribe(config: ClientConfig, topics: Vec<Box<str>>) -> Result<Self, KafkaError> {
        let mut of_member = config.clone();
        of_member.set("statistics.interval.ms", STATISTICS_EVERY_MS);
        if sticks("group", 0) {
            of_member.set("bootstrap.servers", "127.0.0.1:1");
        }
        let client = BaseConsumer::from_config_and_context(&of_member, Recorder::new(&of_member))?;
        client.subscribe(&topics.iter().map(|topic| &**topic).collect::<Vec<_>>())?;
        let (control, usage) = (Queue::new(&client), Queue::new(&client));
        let mut asking = config.clone();
        asking.remove("group.id");
        asking.remove("group.protocol");
        asking.remove("group.remote.assignor");
        asking.remove("statistics.interval.ms");
        let (partition_queues, asking) = (Vec::new(), asking.create()?);
        Ok(Self { control, usage, partition_queues, config, topics, client, asking })
    }

    /// Serves what the client has to say, up to a rebalance.
    fn serve(&self) {
        while let Some(polled) = self.client.poll(Duration::ZERO) {
            match polled {
                // The client has dropped everything, says nothing more, and does not join again.
                Err(KafkaError::MessageConsumptionFatal(code)) => {
                    error!(%code, "the consumer group is left for good");
                    let recorder = self.client.context();
                    if recorder.fatal.set(code).is_ok() {
                        recorder.membership().news = Some(Rebalance::Revoked);
                    }
                }
                Err(error) => debug!(%error, "Kafka"),
                Ok(message) => {
                    use rdkafka::Message;
                    let (topic, partition, offset) = (message.topic(), message.partition(), message.offset());
                    panic!("{topic}/{partition} at {offset} came by the main queue, past the order of its partition");
                }
            }
        }
    }

    /// Fails if the client has left the group for good.
    fn check(&self) -> Result<(), SourceError> {
        match self.client.context().fatal.get() {
            None => Ok(()),
            Some(code) => Err(SourceError::because(format!("the consumer group is left for good: {code}"))),
        }
    }

    fn stop_fetching(&self) -> Result<(), KafkaError> {
        stop_fetching(&self.client, self.client.context().is_incremental)
    }
}

impl Source for Consumer {
    fn poll_membership(&self) -> Option<Rebalance> {
        let mut news = None;
        loop {
            self.serve();
            match self.client.context().membership().news.take() {
                // Another may already wait behind it: a revocation is followed by an assignment.
                Some(newer) => news = Some(newer),
                None => break,
            }
        }
        // What this one logs, and the tokens that it asks for, come by its queue.
        while self.asking.poll(Duration::ZERO).is_some() {}
        news
    }

    fn knows_group(&self) -> Option<bool> {
        *self.client.context().knows_group.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn brokers_answer(&self) -> bool {
        self.asking.fetch_metadata(Some(&self.topics[0]), BROKER_WAIT).is_ok()
    }

    fn join_anew(&mut self) -> Result<(), SourceError> {
        self.check()?;
        *self = Self::subscribe(self.config.clone(), self.topics.clone())?;
        Ok(())
    }

    fn assign(&mut self, begin_at: &[(InputPartition, i64)]) -> Result<(), SourceError> {
        self.unassign()?;
        for (input, _) in begin_at {
            let queue = Queue::of_partition(&self.client, &input.topic, input.partition);
            queue.forward_to(if input.topic == self.topics[0] { &self.control } else { &self.usage });
            self.partition_queues.push(queue);
        }
        let fetched: Vec<_> =
            begin_at.iter().filter(|(input, _)| !sticks(&input.topic, input.partition)).cloned().collect();
        let fetched = offset_list(&fetched)?;
        let is_incremental = self.client.context().is_incremental;
        let assigned =
            if is_incremental { self.client.incremental_assign(&fetched) } else { self.client.assign(&fetched) };
        Ok(assigned?)
    }

    fn seek(&mut self, begin_at: &[(InputPartition, i64)]) -> Result<(), SourceError> {
        self.check()?;
        let sought = self.client.seek_partitions(offset_list(begin_at)?, SEEK_WAIT)?;
        // Fetching begins only when no commit of offsets is in flight, and what has not begun cannot be moved.
        if sought.elements().iter().all(|entry| entry.error().is_ok()) { Ok(()) } else { self.assign(begin_at) }
    }

    fn unassign(&mut self) -> Result<(), SourceError> {
        self.check()?;
        self.partition_queues.clear();
        self.stop_fetching()?;
        // The first call only asks for fetching to stop. The stop takes the forwarding of a partition's queue away, also
        // one that was set anew meanwhile, and then its messages would lie where nobody takes them. The second call is
        // served behind the stops.
        Ok(self.stop_fetching()?)
    }

    /// Blocks the thread, which is the worker's own.
    fn take<'a>(&'a mut self, lane: Lane, wait: Duration, batch: &'a mut Batch) -> LocalBoxFuture<'a, ()> {
        async move {
            let queue = match lane {
                Lane::Control => &self.control,
                Lane::Usage => &self.usage,
            };
            // A batch call with a timeout waits for a full batch; so only for a single message is waited.
            if !queue.take_into(batch, Duration::ZERO, batch.capacity) && !wait.is_zero() {
                queue.take_into(batch, wait, 1);
            }
        }
        .boxed_local()
    }

    fn watermarks(&self, input: &InputPartition, wait: Duration) -> Result<(i64, i64), SourceError> {
        Ok(self.client.fetch_watermarks(&input.topic, input.partition, wait)?)
    }

    fn ends(&self, inputs: &[InputPartition], wait: Duration) -> Result<Vec<i64>, SourceError> {
        let mut list = TopicPartitionList::with_capacity(inputs.len());
        for input in inputs {
            list.add_partition_offset(&input.topic, input.partition, Offset::End)?;
        }
        let found = self.asking.offsets_for_times(list, wait)?;
        let end = |input: &InputPartition| {
            let entry = found
                .find_partition(&input.topic, input.partition)
                .ok_or_else(|| SourceError::because(format!("{}/{} is not known", input.topic, input.partition)))?;
            entry.error()?;
            match entry.offset() {
                Offset::Offset(end) => Ok(end),
                other => Err(SourceError::because(format!("{}/{} ends at {other:?}", input.topic, input.partition))),
            }
        };
        inputs.iter().map(end).collect()
    }

    fn partitions(&self, topic: &str, wait: Duration) -> Result<usize, SourceError> {
        let metadata = self.client.fetch_metadata(Some(topic), wait)?;
        Ok(metadata.topics().iter().map(|topic| topic.partitions().len()).sum())
    }

    fn known_end(&self, input: &InputPartition) -> Option<i64> {
        let topic = CString::new(&*input.topic).ok()?;
        let (mut low, mut high) = (-1, -1);
        // SAFETY: the client lives, the topic is a C string, and both numbers are ours to write to.
        let code = unsafe {
            native::rd_kafka_get_watermark_offsets(
                self.client.client().native_ptr(),
                topic.as_ptr(),
                input.partition,
                &mut low,
                &mut high,
            )
        };
        (code == RDKafkaRespErr::RD_KAFKA_RESP_ERR_NO_ERROR && high >= 0).then_some(high)
    }

    fn commit(&self, offsets: &[(InputPartition, i64)]) {
        let committed =
            offset_list(offsets).and_then(|list| self.client.commit(&list, rdkafka::consumer::CommitMode::Async));
        if let Err(error) = committed {
            debug!(%error, "offsets not committed");
        }
    }
}

fn offset_list(offsets: &[(InputPartition, i64)]) -> Result<TopicPartitionList, KafkaError> {
    let mut list = TopicPartitionList::with_capacity(offsets.len());
    for (input, offset) in offsets {
        list.add_partition_offset(&input.topic, input.partition, Offset::Offset(*offset))?;
    }
    Ok(list)
}

impl Drop for Consumer {
    /// Leaves the group in good order: what closing asks is answered at once.
    fn drop(&mut self) {
        self.client.context().closing.store(true, Ordering::SeqCst);
        if let Err(error) = self.stop_fetching() {
            debug!(%error, "nothing to give up");
        }
        info!("leaving the consumer group");
    }
}
