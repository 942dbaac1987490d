//! Sends records and waits until the broker has acknowledged every one of them.

use std::{sync::Arc, time::Duration};

use futures::future::{BoxFuture, FutureExt, join_all};
use rdkafka::{
    ClientConfig,
    error::{KafkaError, RDKafkaErrorCode},
    producer::{FutureProducer, FutureRecord, Producer as _},
};
use thiserror::Error;

use super::{
    encode::{self, DeadLetter, Format, Outgoing},
    reader::partitions_of,
};
use crate::{contract::Kind, domain::signal::Signal};

/// Records under way at the same time.
const IN_FLIGHT_MAX: usize = 1_000;

/// The topics that we write to.
#[derive(Clone, Debug)]
pub struct OutputTopics {
    /// Shares of caps that were reached.
    pub thresholds: String,
    /// Pauses and resumes; compacted.
    pub pauses: String,
    /// Control records and what became of them.
    pub journal: String,
    /// Records that will never be applied.
    pub dead_letters: String,
    /// Records of accounts that cannot be decided now.
    pub parking: String,
    /// What scopes used in closed periods, and corrections.
    pub statements: String,
    /// Requests, reloads, digests and refusals.
    pub requests: String,
    /// When credits are expected to run out.
    pub forecasts: String,
    /// Control records; due records are written to it.
    pub control: String,
}

/// Not every record was acknowledged. Those that were may come again: their identity tells.
#[derive(Debug, Error)]
#[error("Kafka did not take a record for {topic}: {why}")]
pub struct NotPublished {
    /// The topic.
    pub topic: String,
    /// Why not.
    pub why: String,
    /// Whether sending again cannot help.
    pub is_fatal: bool,
}

impl NotPublished {
    fn by(topic: &str, error: &KafkaError) -> Self {
        // The producer has lost its place in a partition and must be made anew, or the topic takes only smaller records.
        let fatal = [RDKafkaErrorCode::Fatal, RDKafkaErrorCode::MessageSizeTooLarge];
        let is_fatal = error.rdkafka_error_code().is_some_and(|code| fatal.contains(&code));
        Self { topic: topic.to_owned(), why: error.to_string(), is_fatal }
    }
}

/// Where records go. `KafkaSink` is the real one; the simulation has one in memory.
pub trait Sink: Send + Sync {
    /// Sends records and waits until all of them are acknowledged.
    fn send_all<'a>(&'a self, records: &'a [Outgoing]) -> BoxFuture<'a, Result<(), NotPublished>>;

    /// Whether the brokers answer. Blocks up to `wait`.
    fn brokers_answer(&self, wait: Duration) -> bool;

    /// Waits until nothing is under way. Blocks up to `wait`.
    fn flush(&self, wait: Duration);
}

/// What sends for the process, shared by its workers.
#[derive(Clone)]
pub struct Publisher {
    sink: Arc<dyn Sink>,
    format: Format,
}

/// Whether what a client says may pass: all but that its configuration cannot be used.
pub fn may_pass(error: &KafkaError) -> bool {
    !matches!(error, KafkaError::ClientCreation(_))
}

impl Publisher {
    /// A publisher to Kafka. The producer is idempotent and waits for all replicas, whatever `config` says. Blocks until
    /// the broker has told how many partitions the pauses topic has, up to `wait`.
    ///
    /// # Errors
    /// [`KafkaError`] if the configuration is refused, or the broker does not answer.
    pub fn new(
        config: &ClientConfig,
        topics: OutputTopics,
        format: Format,
        wait: Duration,
    ) -> Result<Self, KafkaError> {
        Ok(Self::to(Arc::new(KafkaSink::new(config, topics, wait)?), format))
    }

    /// A publisher to any sink.
    pub fn to(sink: Arc<dyn Sink>, format: Format) -> Self {
        Self { sink, format }
    }

    /// Sends signals of organizations, in their order.
    ///
    /// # Errors
    /// [`NotPublished`]; send all of them again.
    pub async fn signals(&self, signals: &[(&str, &Signal)]) -> Result<(), NotPublished> {
        let encoded =
            signals.iter().map(|(organization_id, signal)| encode::signal(organization_id, signal, self.format));
        self.sink.send_all(&encoded.collect::<Vec<_>>()).await
    }

    /// Sends dead letters.
    ///
    /// # Errors
    /// [`NotPublished`]; send all of them again.
    pub async fn dead_letters(&self, letters: &[DeadLetter]) -> Result<(), NotPublished> {
        for piece in letters.chunks(IN_FLIGHT_MAX) {
            let encoded: Vec<_> = piece.iter().map(|letter| encode::dead_letter(letter, self.format)).collect();
            self.sink.send_all(&encoded).await?;
        }
        Ok(())
    }

    /// Sends any records.
    ///
    /// # Errors
    /// [`NotPublished`]; send all of them again.
    pub async fn records(&self, records: &[Outgoing]) -> Result<(), NotPublished> {
        self.sink.send_all(records).await
    }

    /// Whether the brokers answer. Blocks up to `wait`.
    pub fn brokers_answer(&self, wait: Duration) -> bool {
        self.sink.brokers_answer(wait)
    }

    /// Waits until nothing is under way. Blocks up to `wait`.
    pub fn flush(&self, wait: Duration) {
        self.sink.flush(wait)
    }
}

/// Kafka's producer.
struct KafkaSink {
    producer: FutureProducer,
    topics: OutputTopics,
    pause_partitions: i32,
}

impl KafkaSink {
    fn new(config: &ClientConfig, topics: OutputTopics, wait: Duration) -> Result<Self, KafkaError> {
        let mut config = config.clone();
        config.set("enable.idempotence", "true").set("acks", "all").set("partitioner", "murmur2_random");
        // It has two names.
        if ["linger.ms", "queue.buffering.max.ms"].iter().all(|property| config.get(property).is_none()) {
            // What there is is sent together anyway, and a pause that waits for company comes later.
            config.set("linger.ms", "0");
        }
        let producer: FutureProducer = config.create()?;
        let partitions = partitions_of(producer.client(), &topics.pauses, wait)?;
        let pause_partitions = i32::try_from(partitions.len()).unwrap_or(i32::MAX);
        Ok(Self { producer, topics, pause_partitions })
    }

    async fn send(&self, outgoing: &Outgoing) -> Result<(), NotPublished> {
        let topic = self.topic(outgoing.kind);
        let mut record = FutureRecord::to(topic).key(&outgoing.key).payload(&outgoing.payload);
        if let Some(partition_by) = &outgoing.partition_by {
            record = record.partition(partition_of(partition_by, self.pause_partitions));
        }
        if let Some(timestamp) = outgoing.timestamp {
            record = record.timestamp(timestamp.ms());
        }
        let sent = self.producer.send(record, Duration::from_secs(5)).await;
        sent.map(|_| ()).map_err(|(error, _)| NotPublished::by(topic, &error))
    }

    fn topic(&self, kind: Kind) -> &str {
        match kind {
            Kind::Threshold => &self.topics.thresholds,
            Kind::Pause => &self.topics.pauses,
            Kind::Journal => &self.topics.journal,
            Kind::Statement => &self.topics.statements,
            Kind::Request => &self.topics.requests,
            Kind::DeadLetter => &self.topics.dead_letters,
            Kind::Parked => &self.topics.parking,
            Kind::Forecast => &self.topics.forecasts,
            Kind::Control | Kind::Run | Kind::Token | Kind::Name => &self.topics.control,
        }
    }
}

impl Sink for KafkaSink {
    fn send_all<'a>(&'a self, records: &'a [Outgoing]) -> BoxFuture<'a, Result<(), NotPublished>> {
        async move {
            for piece in records.chunks(IN_FLIGHT_MAX) {
                let sent: Vec<_> = piece.iter().map(|record| self.send(record)).collect();
                for result in join_all(sent).await {
                    result?;
                }
            }
            Ok(())
        }
        .boxed()
    }

    fn brokers_answer(&self, wait: Duration) -> bool {
        self.producer.client().fetch_metadata(Some(&self.topics.control), wait).is_ok()
    }

    fn flush(&self, wait: Duration) {
        if let Err(error) = self.producer.flush(wait) {
            tracing::warn!(%error, "records were still under way when the time to stop was over; they come again");
        }
    }
}

/// The partition that Kafka's own clients choose for a key: murmur2, as in `org.apache.kafka.common.utils.Utils`.
pub fn partition_of(key: &str, partitions: i32) -> i32 {
    (murmur2(key.as_bytes()) & i32::MAX as u32) as i32 % partitions.max(1)
}

fn murmur2(bytes: &[u8]) -> u32 {
    const MULTIPLIER: u32 = 0x5bd1_e995;
    let mut hash = 0x9747_b28c ^ (bytes.len() as u32);
    let mut words = bytes.chunks_exact(4);
    for word in &mut words {
        let mut word = u32::from_le_bytes([word[0], word[1], word[2], word[3]]).wrapping_mul(MULTIPLIER);
        word ^= word >> 24;
        hash = hash.wrapping_mul(MULTIPLIER) ^ word.wrapping_mul(MULTIPLIER);
    }
    let rest = words.remainder();
    if !rest.is_empty() {
        for (position, byte) in rest.iter().enumerate() {
            hash ^= u32::from(*byte) << (8 * position);
        }
        hash = hash.wrapping_mul(MULTIPLIER);
    }
    hash ^= hash >> 13;
    hash = hash.wrapping_mul(MULTIPLIER);
    hash ^ (hash >> 15)
}

#[cfg(test)]
mod tests {
    use super::*;

    /// The vectors of Kafka's own `UtilsTest.testMurmur2`.
    #[test]
    fn murmur2_is_kafkas() {
        for (text, expected) in [
            ("21", -973_932_308),
            ("foobar", -790_332_482),
            ("a-little-bit-long-string", -985_981_536),
            ("a-little-bit-longer-string", -1_486_304_829),
            ("lkjh234lh9fiuh90y23oiuhsafujhadof229phr9h19h89h8", -58_897_971),
            ("abc", 479_470_107),
        ] {
            assert_eq!(murmur2(text.as_bytes()) as i32, expected, "{text}");
        }
    }
}
