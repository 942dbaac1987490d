//! A member of the consumer group: two private queues, one for control records and one for usage, filled from the
//! queues of its partitions and drained in batches.
//!
//! The rebalance is ours to answer: an assignment is only recorded when it comes in, and is answered by
//! [`Consumer::assign`] once the worker knows from the ledger where to begin. Partition queues are forwarded before the
//! assignment is answered, so no message can come by another way.
//!
//! All `unsafe` of the project is here: the batch call of librdkafka has no safe wrapper, and costs less than half of
//! polling one message at a time.

#![allow(unsafe_code, reason = "librdkafka's batch queue has no safe wrapper")]

use std::{
    collections::VecDeque,
    ffi::{CStr, CString},
    slice,
    sync::{
        Mutex, PoisonError,
        atomic::{AtomicBool, Ordering},
    },
    time::Duration,
};

use rdkafka::{
    ClientConfig, ClientContext, Offset, TopicPartitionList, bindings as native,
    config::FromClientConfigAndContext,
    consumer::{BaseConsumer, Consumer as _, ConsumerContext},
    error::KafkaError,
    types::RDKafkaRespErr,
};
use tracing::{debug, info, warn};

use crate::{
    domain::{event::EVENT_TIMES_MS, time::Timestamp},
    ledger::InputPartition,
};

/// How long the client may take to move its positions.
const SEEK_WAIT: Duration = Duration::from_secs(10);

/// A change of the member's partitions, still to be answered.
#[derive(Debug)]
pub enum Rebalance {
    /// These partitions are ours; fetching begins when [`Consumer::assign`] says where.
    Assigned(Vec<InputPartition>),
    /// All partitions are taken away.
    Revoked,
}

/// Records rebalances instead of answering them.
pub struct Recorder {
    pending: Mutex<VecDeque<Rebalance>>,
    closing: AtomicBool,
}

impl ClientContext for Recorder {
    fn error(&self, error: KafkaError, reason: &str) {
        warn!(%error, reason, "Kafka");
    }
}

impl ConsumerContext for Recorder {
    fn rebalance(&self, consumer: &BaseConsumer<Self>, event: RDKafkaRespErr, partitions: &mut TopicPartitionList) {
        let assigned = event == RDKafkaRespErr::RD_KAFKA_RESP_ERR__ASSIGN_PARTITIONS;
        if self.closing.load(Ordering::SeqCst) {
            // Nobody will answer any more.
            let answer = if assigned { consumer.assign(&TopicPartitionList::new()) } else { consumer.unassign() };
            if let Err(error) = answer {
                warn!(%error, "a rebalance could not be answered while closing");
            }
            return;
        }
        let rebalance = if assigned { Rebalance::Assigned(input_partitions(partitions)) } else { Rebalance::Revoked };
        self.pending.lock().unwrap_or_else(PoisonError::into_inner).push_back(rebalance);
    }
}

fn input_partitions(list: &TopicPartitionList) -> Vec<InputPartition> {
    let elements = list.elements();
    elements.iter().map(|entry| InputPartition { topic: entry.topic().into(), partition: entry.partition() }).collect()
}

/// Which private queue.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Lane {
    /// Control records, served first.
    Control,
    /// Usage events.
    Usage,
}

/// A member of the consumer group.
pub struct Consumer {
    // Dropped before the client: queues must not outlive it.
    control: Queue,
    usage: Queue,
    partition_queues: Vec<Queue>,
    control_topic: Box<str>,
    client: BaseConsumer<Recorder>,
}

// SAFETY: librdkafka's queues may be used from any thread; they are only raw pointers to Rust.
unsafe impl Send for Consumer {}

impl Consumer {
    /// Joins the group.
    ///
    /// # Errors
    /// [`KafkaError`] if the configuration is refused.
    pub fn join(config: &ClientConfig, control_topic: &str, usage_topics: &[&str]) -> Result<Self, KafkaError> {
        let recorder = Recorder { pending: Mutex::new(VecDeque::new()), closing: AtomicBool::new(false) };
        let client = BaseConsumer::from_config_and_context(config, recorder)?;
        let topics: Vec<&str> = std::iter::once(control_topic).chain(usage_topics.iter().copied()).collect();
        client.subscribe(&topics)?;
        let (control, usage) = (Queue::new(&client), Queue::new(&client));
        Ok(Self { control, usage, partition_queues: Vec::new(), control_topic: control_topic.into(), client })
    }

    /// Keeps the membership and returns a rebalance that has to be answered. Of several only the last counts: an
    /// assignment that was taken back before it was answered never was.
    pub fn poll_membership(&self) -> Option<Rebalance> {
        while let Some(polled) = self.client.poll(Duration::ZERO) {
            match polled {
                Err(error) => debug!(%error, "Kafka"),
                Ok(message) => {
                    use rdkafka::Message;
                    let (topic, partition, offset) = (message.topic(), message.partition(), message.offset());
                    panic!("{topic}/{partition} at {offset} came by the main queue, past the order of its partition");
                }
            }
        }
        let mut pending = self.client.context().pending.lock().unwrap_or_else(PoisonError::into_inner);
        std::mem::take(&mut *pending).pop_back()
    }

    /// Answers an assignment: fetching begins at the given offsets.
    ///
    /// # Errors
    /// [`KafkaError`] if the client refuses it.
    pub fn assign(&mut self, begin_at: &[(InputPartition, Offset)]) -> Result<(), KafkaError> {
        let mut list = TopicPartitionList::with_capacity(begin_at.len());
        self.partition_queues.clear();
        for (input, offset) in begin_at {
            let queue = Queue::of_partition(&self.client, &input.topic, input.partition);
            queue.forward_to(if input.topic == self.control_topic { &self.control } else { &self.usage });
            self.partition_queues.push(queue);
            list.add_partition_offset(&input.topic, input.partition, *offset)?;
        }
        self.client.assign(&list)
    }

    /// Moves partitions that are being fetched to other offsets; what was fetched for the old ones is dropped.
    ///
    /// # Errors
    /// [`KafkaError`] if the client refuses it.
    pub fn seek(&self, begin_at: &[(InputPartition, Offset)]) -> Result<(), KafkaError> {
        let mut list = TopicPartitionList::with_capacity(begin_at.len());
        for (input, offset) in begin_at {
            list.add_partition_offset(&input.topic, input.partition, *offset)?;
        }
        let sought = self.client.seek_partitions(list, SEEK_WAIT)?;
        for entry in sought.elements() {
            entry.error()?;
        }
        Ok(())
    }

    /// Gives all partitions up: the answer to [`Rebalance::Revoked`], and the way to begin anew.
    ///
    /// # Errors
    /// [`KafkaError`] if the client refuses it.
    pub fn unassign(&mut self) -> Result<(), KafkaError> {
        self.partition_queues.clear();
        self.client.unassign()
    }

    /// Takes what a lane holds, up to `batch.capacity()` messages. An empty lane is waited on for one message.
    pub fn take(&self, lane: Lane, wait: Duration, batch: &mut Batch) {
        let queue = match lane {
            Lane::Control => &self.control,
            Lane::Usage => &self.usage,
        };
        // A batch call with a timeout waits for a full batch; so only for a single message is waited.
        if !queue.take_into(batch, Duration::ZERO, batch.capacity) && !wait.is_zero() {
            queue.take_into(batch, wait, 1);
        }
    }

    /// The first offset and the end of a partition, asked from the broker.
    ///
    /// # Errors
    /// [`KafkaError`] if the broker does not answer within `wait`.
    pub fn watermarks(&self, input: &InputPartition, wait: Duration) -> Result<(i64, i64), KafkaError> {
        self.client.fetch_watermarks(&input.topic, input.partition, wait)
    }

    /// The end of a partition as the last fetch saw it, without asking.
    pub fn known_end(&self, input: &InputPartition) -> Option<i64> {
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

    /// Writes Kafka's own offsets, for tools that show lag. Nothing starts from them while there is progress.
    pub fn commit(&self, offsets: &[(InputPartition, i64)]) {
        let mut list = TopicPartitionList::with_capacity(offsets.len());
        for (input, offset) in offsets {
            if let Err(error) = list.add_partition_offset(&input.topic, input.partition, Offset::Offset(*offset)) {
                debug!(%error, "offset not committed");
            }
        }
        if let Err(error) = self.client.commit(&list, rdkafka::consumer::CommitMode::Async) {
            debug!(%error, "offsets not committed");
        }
    }
}

impl Drop for Consumer {
    /// Leaves the group in good order: what closing asks is answered at once.
    fn drop(&mut self) {
        self.client.context().closing.store(true, Ordering::SeqCst);
        if let Err(error) = self.client.unassign() {
            debug!(%error, "nothing to give up");
        }
        info!("leaving the consumer group");
    }
}

/// One of librdkafka's queues.
struct Queue(*mut native::rd_kafka_queue_t);

impl Queue {
    fn new(client: &BaseConsumer<Recorder>) -> Self {
        // SAFETY: the client lives.
        Self(unsafe { native::rd_kafka_queue_new(client.client().native_ptr()) })
    }

    fn of_partition(client: &BaseConsumer<Recorder>, topic: &str, partition: i32) -> Self {
        let topic = CString::new(topic).expect("Kafka's topic names have no zero byte");
        // SAFETY: the client lives, and the name is a C string.
        let queue =
            unsafe { native::rd_kafka_queue_get_partition(client.client().native_ptr(), topic.as_ptr(), partition) };
        assert!(!queue.is_null(), "a consumer has a queue for each partition");
        Self(queue)
    }

    fn forward_to(&self, target: &Self) {
        // SAFETY: both queues live.
        unsafe { native::rd_kafka_queue_forward(self.0, target.0) }
    }

    /// Returns whether anything was taken.
    fn take_into(&self, batch: &mut Batch, wait: Duration, most: usize) -> bool {
        let before = batch.messages.len();
        batch.messages.reserve(most);
        let room = batch.messages.spare_capacity_mut().as_mut_ptr().cast();
        let wait_ms = i32::try_from(wait.as_millis()).unwrap_or(i32::MAX);
        // SAFETY: the queue lives, and there is room for `most` pointers.
        let taken = unsafe { native::rd_kafka_consume_batch_queue(self.0, wait_ms, room, most) };
        let taken = usize::try_from(taken).unwrap_or(0);
        // SAFETY: librdkafka has written `taken` pointers behind those that were there.
        unsafe { batch.messages.set_len(before + taken) };
        taken > 0
    }
}

impl Drop for Queue {
    fn drop(&mut self) {
        // SAFETY: the queue was made by us and is given back once.
        unsafe { native::rd_kafka_queue_destroy(self.0) }
    }
}

/// Messages taken from the queues, given back when dropped.
pub struct Batch {
    messages: Vec<*mut native::rd_kafka_message_t>,
    capacity: usize,
}

impl Batch {
    /// Room for up to `capacity` messages per take.
    pub fn new(capacity: usize) -> Self {
        Self { messages: Vec::new(), capacity }
    }

    /// How many messages it holds.
    pub fn len(&self) -> usize {
        self.messages.len()
    }

    /// Whether it holds none.
    pub fn is_empty(&self) -> bool {
        self.messages.is_empty()
    }

    /// The messages, in the order of their partitions.
    pub fn iter(&self) -> impl Iterator<Item = Message<'_>> {
        // SAFETY: librdkafka filled in the pointers, and they live until they are given back.
        self.messages.iter().map(|message| Message(unsafe { &**message }))
    }
}

impl Drop for Batch {
    fn drop(&mut self) {
        for message in &self.messages {
            // SAFETY: each was taken once and is given back once.
            unsafe { native::rd_kafka_message_destroy(*message) }
        }
    }
}

/// A message, or an error of its partition.
#[derive(Clone, Copy)]
pub struct Message<'a>(&'a native::rd_kafka_message_t);

impl<'a> Message<'a> {
    /// The error that stands here instead of a message.
    pub fn error(&self) -> Option<String> {
        if self.0.err == native::rd_kafka_resp_err_t::RD_KAFKA_RESP_ERR_NO_ERROR {
            return None;
        }
        // SAFETY: librdkafka returns a C string for every error.
        let text = unsafe { CStr::from_ptr(native::rd_kafka_message_errstr(self.0)) };
        Some(text.to_string_lossy().into_owned())
    }

    /// Whether this is no message, but the news that a partition was read up to its end.
    pub fn is_end_of_partition(&self) -> bool {
        self.0.err == native::rd_kafka_resp_err_t::RD_KAFKA_RESP_ERR__PARTITION_EOF
    }

    /// Whether the error says that the position is outside of the log.
    pub fn is_out_of_range(&self) -> bool {
        use native::rd_kafka_resp_err_t as code;
        matches!(self.0.err, code::RD_KAFKA_RESP_ERR__AUTO_OFFSET_RESET | code::RD_KAFKA_RESP_ERR_OFFSET_OUT_OF_RANGE)
    }

    /// Tells topics apart without comparing names; valid as long as the batch.
    pub fn topic_handle(&self) -> usize {
        self.0.rkt as usize
    }

    /// The topic's name.
    pub fn topic(&self) -> &'a str {
        if self.0.rkt.is_null() {
            return "";
        }
        // SAFETY: the topic lives as long as the message, and its name is a C string.
        unsafe { CStr::from_ptr(native::rd_kafka_topic_name(self.0.rkt)) }.to_str().unwrap_or("")
    }

    /// The partition.
    pub fn partition(&self) -> i32 {
        self.0.partition
    }

    /// The offset.
    pub fn offset(&self) -> i64 {
        self.0.offset
    }

    /// Kafka's timestamp; the epoch if the broker gave none.
    pub fn timestamp(&self) -> Timestamp {
        let mut kind = native::rd_kafka_timestamp_type_t::RD_KAFKA_TIMESTAMP_NOT_AVAILABLE;
        // SAFETY: the message lives, and the kind is ours to write to.
        let ms = unsafe { native::rd_kafka_message_timestamp(self.0, &mut kind) };
        // Senders may say any number; the calendar ends with the year 9999.
        Timestamp::from_ms(ms.clamp(EVENT_TIMES_MS.start, EVENT_TIMES_MS.end - 1))
    }

    /// The value; empty for a tombstone.
    pub fn payload(&self) -> &'a [u8] {
        bytes(self.0.payload, self.0.len)
    }

    /// The key; empty if there is none.
    pub fn key(&self) -> &'a [u8] {
        bytes(self.0.key, self.0.key_len)
    }
}

fn bytes<'a>(start: *mut std::ffi::c_void, length: usize) -> &'a [u8] {
    if start.is_null() {
        return &[];
    }
    // SAFETY: librdkafka says that there are `length` bytes, which live as long as the message.
    unsafe { slice::from_raw_parts(start.cast::<u8>(), length) }
}
