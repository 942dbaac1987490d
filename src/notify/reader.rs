//! Reads the topics that we write: the pauses topic for [`super::readback`], and the journal for those who wait for an
//! answer.

use std::{
    collections::BTreeMap,
    sync::atomic::{AtomicBool, Ordering},
    time::{Duration, Instant},
};

use apache_avro::from_avro_datum;
use rdkafka::{
    ClientConfig, ClientContext, Message, Offset, TopicPartitionList,
    client::Client,
    consumer::{BaseConsumer, Consumer},
    error::{KafkaError, RDKafkaErrorCode},
};
use serde_json::Value as Json;

use super::readback::Readback;
use crate::{
    contract::{PUBLISHED, json},
    observe::metrics::Metrics,
};

/// How long one look for the next record takes.
const LOOK: Duration = Duration::from_millis(100);

/// The data of one of our records, whichever of the two formats it has; `None` if it has neither.
pub fn data_of(payload: &[u8]) -> Option<Json> {
    match payload {
        [0xc3, 0x01, rest @ ..] => {
            let (fingerprint, mut body) = rest.split_first_chunk()?;
            let fingerprint = u64::from_le_bytes(*fingerprint);
            let published = PUBLISHED.iter().find(|published| published.fingerprint == fingerprint)?;
            from_avro_datum(&published.schema, &mut body, None).ok().map(json::to_json)
        }
        _ => match serde_json::from_slice(payload).ok()? {
            Json::Object(mut event) => event.remove("data"),
            _ => None,
        },
    }
}

/// How a topic is read outside of any group.
pub fn outside_of_groups(client: &ClientConfig) -> ClientConfig {
    let mut config = client.clone();
    config.set("group.id", "bursar-reader").set("enable.auto.commit", "false").set("auto.offset.reset", "earliest");
    config
}

/// A reader of a whole topic, outside of any group.
pub struct TopicReader {
    consumer: BaseConsumer,
}

impl TopicReader {
    /// Reads every partition of `topic`, from its first record or from its end.
    ///
    /// # Errors
    /// [`KafkaError`], also if the broker does not answer within `wait`.
    pub fn open(client: &ClientConfig, topic: &str, from: Offset, wait: Duration) -> Result<Self, KafkaError> {
        let mut config = outside_of_groups(client);
        config.set("fetch.wait.max.ms", "50");
        let consumer: BaseConsumer = config.create()?;
        let mut list = TopicPartitionList::new();
        for partition in partitions_of(consumer.client(), topic, wait)? {
            let at = match from {
                // An end that is told now: what comes after the call is seen, however long the first fetch takes.
                Offset::End => Offset::Offset(end_of(&consumer, topic, partition, wait)?),
                other => other,
            };
            list.add_partition_offset(topic, partition, at)?;
        }
        consumer.assign(&list)?;
        Ok(Self { consumer })
    }

    /// The next record: partition, key and payload (`None` for a tombstone).
    pub fn next(&self, wait: Duration) -> Option<(i32, Vec<u8>, Option<Vec<u8>>)> {
        let message = self.consumer.poll(wait)?.ok()?;
        Some((message.partition(), message.key().unwrap_or_default().to_vec(), message.payload().map(<[u8]>::to_vec)))
    }
}

/// A record of a topic.
pub struct Whole {
    /// Its partition.
    pub partition: i32,
    /// Its offset.
    pub offset: i64,
    /// Kafka's timestamp, in ms.
    pub timestamp_ms: i64,
    /// The payload; `None` for a tombstone.
    pub payload: Option<Vec<u8>>,
}

/// A topic from its beginning to where it ended when it was opened.
pub struct WholeTopic {
    consumer: BaseConsumer,
    /// By partition that is not read to its end: where that is.
    ends: BTreeMap<i32, i64>,
    /// By partition: where it ended when this was opened.
    highs: BTreeMap<i32, i64>,
    /// The first partition whose beginning is not kept any more.
    cut: Option<i32>,
    wait: Duration,
}

impl WholeTopic {
    /// Opens a topic.
    ///
    /// # Errors
    /// [`KafkaError`], also if the broker does not answer within `wait`.
    pub fn open(client: &ClientConfig, topic: &str, wait: Duration) -> Result<Self, KafkaError> {
        let mut config = outside_of_groups(client);
        // The end of a partition may be a mark of a transaction, which no reader ever gets.
        config.set("enable.partition.eof", "true");
        let consumer: BaseConsumer = config.create()?;
        let (mut ends, mut highs, mut cut) = (BTreeMap::new(), BTreeMap::new(), None);
        let mut list = TopicPartitionList::new();
        for partition in partitions_of(consumer.client(), topic, wait)? {
            let (low, high) = consumer.fetch_watermarks(topic, partition, wait)?;
            highs.insert(partition, high);
            if low > 0 {
                cut = cut.or(Some(partition));
            }
            if low < high {
                ends.insert(partition, high);
                list.add_partition_offset(topic, partition, Offset::Offset(low))?;
            }
        }
        consumer.assign(&list)?;
        Ok(Self { consumer, ends, highs, cut, wait })
    }

    /// The first partition whose beginning retention has removed.
    pub const fn cut(&self) -> Option<i32> {
        self.cut
    }

    /// Where each partition ended when this was opened.
    pub const fn highs(&self) -> &BTreeMap<i32, i64> {
        &self.highs
    }

    /// The next record; `None` at the end.
    ///
    /// # Errors
    /// [`KafkaError`], also if nothing comes for as long as the broker may take.
    pub fn next_record(&mut self) -> Result<Option<Whole>, KafkaError> {
        let began = Instant::now();
        while !self.ends.is_empty() {
            let message = match self.consumer.poll(self.wait) {
                None => return Err(KafkaError::MessageConsumption(RDKafkaErrorCode::OperationTimedOut)),
                Some(Err(KafkaError::PartitionEOF(partition))) => {
                    self.ends.remove(&partition);
                    continue;
                }
                // The client recovers from what is not fatal; if it does not, nothing comes any more.
                Some(Err(KafkaError::MessageConsumption(code)))
                    if code != RDKafkaErrorCode::Fatal && began.elapsed() < self.wait =>
                {
                    continue;
                }
                Some(message) => message?,
            };
            let (partition, offset) = (message.partition(), message.offset());
            let Some(end) = self.ends.get(&partition).copied() else { continue };
            if offset + 1 >= end {
                self.ends.remove(&partition);
            }
            if offset < end {
                let timestamp_ms = message.timestamp().to_millis().unwrap_or(0);
                let payload = message.payload().map(<[u8]>::to_vec);
                return Ok(Some(Whole { partition, offset, timestamp_ms, payload }));
            }
        }
        Ok(None)
    }
}

/// The partitions of a topic. One that was just created has none for a moment.
///
/// # Errors
/// [`KafkaError`] if it still has none, or the broker does not answer, when `wait` is over.
pub fn partitions_of<C: ClientContext>(
    client: &Client<C>,
    topic: &str,
    wait: Duration,
) -> Result<Vec<i32>, KafkaError> {
    let until = Instant::now() + wait;
    loop {
        let metadata = client.fetch_metadata(Some(topic), wait);
        let partitions: Result<Vec<i32>, KafkaError> = metadata.map(|metadata| {
            metadata.topics().iter().flat_map(|topic| topic.partitions()).map(|partition| partition.id()).collect()
        });
        match partitions {
            Ok(partitions) if !partitions.is_empty() => return Ok(partitions),
            Err(error) if Instant::now() >= until => return Err(error),
            Ok(_) if Instant::now() >= until => {
                return Err(KafkaError::MetadataFetch(RDKafkaErrorCode::UnknownTopicOrPartition));
            }
            _ => std::thread::sleep(LOOK),
        }
    }
}

/// The end of a partition. One that was just created has no leader for a moment.
fn end_of(consumer: &BaseConsumer, topic: &str, partition: i32, wait: Duration) -> Result<i64, KafkaError> {
    let until = Instant::now() + wait;
    loop {
        match consumer.fetch_watermarks(topic, partition, wait) {
            Ok((_, end)) => return Ok(end),
            Err(error) if Instant::now() >= until => return Err(error),
            Err(_) => std::thread::sleep(LOOK),
        }
    }
}

/// Keeps the readback up to date until the process stops. Blocks; runs on a thread of its own.
pub fn follow_pauses(client: &ClientConfig, topic: &str, readback: &Readback, metrics: &Metrics, stop: &AtomicBool) {
    let reader = loop {
        if stop.load(Ordering::Relaxed) {
            return;
        }
        match TopicReader::open(client, topic, Offset::Beginning, Duration::from_secs(5)) {
            Ok(reader) => break reader,
            Err(error) => tracing::debug!(%error, "the pauses topic cannot be read back yet"),
        }
    };
    while !stop.load(Ordering::Relaxed) {
        let Some((partition, _, payload)) = reader.next(LOOK) else {
            show_paused(readback, metrics);
            continue;
        };
        let Some(data) = payload.as_deref().and_then(data_of) else { continue };
        let (Some(organization_id), Some(scope)) = (data["organization_id"].as_str(), data["scope"].as_str()) else {
            continue;
        };
        let causes =
            data["causes"].as_array().into_iter().flatten().filter_map(|cause| cause["kind"].as_str()).map(Into::into);
        readback.note(partition, organization_id, scope, data["generation"].as_i64().unwrap_or(0), causes.collect());
    }
}

fn show_paused(readback: &Readback, metrics: &Metrics) {
    for cause in crate::domain::pause::CauseKind::ALL {
        let paused = i64::try_from(readback.paused_by(cause.name())).unwrap_or(i64::MAX);
        metrics.paused_scopes.with_label_values(&[cause.name()]).set(paused);
    }
}
