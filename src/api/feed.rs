//! What Bursar published lately: read back from its topics, kept in a ring, and passed on to those who listen. Answers to
//! control records are found here, and display names.

use std::{
    collections::{HashMap, VecDeque},
    sync::{
        Arc, Mutex, MutexGuard, PoisonError, RwLock,
        atomic::{AtomicBool, Ordering},
    },
    time::Duration,
};

use rdkafka::{
    ClientConfig, Message, Offset, TopicPartitionList,
    consumer::{BaseConsumer, Consumer},
    error::KafkaError,
};
use serde_json::Value as Json;
use tokio::sync::broadcast;

use crate::{
    config::TopicsConfig,
    domain::time::Timestamp,
    notify::reader::{data_of, outside_of_groups, partitions_of},
};

/// Signals that are kept, over all organizations, and their bytes.
const KEPT: usize = 100_000;
const KEPT_BYTES: usize = 256 << 20;

/// Of each partition so many are read at the start.
const READ_BACK: i64 = 5_000;

/// Signals that a listener may be behind; who is further behind is told that there is a gap.
const BEHIND_MAX: usize = 1_024;

/// Display names that are kept.
const NAMES_MAX: usize = 1_000_000;

/// How long a display name may be, in characters.
const NAME_CHARACTERS_MAX: usize = 200;

const LOOK: Duration = Duration::from_millis(100);

/// How long a broker may take to say which partitions there are, and where one of them begins and ends.
const BROKER_WAIT: Duration = Duration::from_secs(5);
const ASK_WAIT: Duration = Duration::from_secs(1);

/// What was published.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub enum SignalKind {
    /// A share of a cap was reached.
    Threshold,
    /// A scope pauses or resumes.
    Pause,
    /// Something to be answered or known.
    Request,
    /// What a scope used in a closed period.
    Statement,
    /// When credits are expected to run out.
    Forecast,
    /// What became of a control record.
    Journal,
}

impl SignalKind {
    /// Every kind.
    pub const ALL: [Self; 6] =
        [Self::Threshold, Self::Pause, Self::Request, Self::Statement, Self::Forecast, Self::Journal];

    /// The name used in the API.
    pub const fn name(self) -> &'static str {
        match self {
            Self::Threshold => "threshold",
            Self::Pause => "pause",
            Self::Request => "request",
            Self::Statement => "statement",
            Self::Forecast => "forecast",
            Self::Journal => "journal",
        }
    }

    fn topic(self, topics: &TopicsConfig) -> &str {
        match self {
            Self::Threshold => &topics.thresholds,
            Self::Pause => &topics.pauses,
            Self::Request => &topics.requests,
            Self::Statement => &topics.statements,
            Self::Forecast => &topics.forecasts,
            Self::Journal => &topics.journal,
        }
    }
}

/// A signal with its place.
#[derive(Debug)]
pub struct Entry {
    /// Whose.
    pub organization_id: String,
    /// What it is.
    pub kind: SignalKind,
    /// Its partition.
    pub partition: i32,
    /// Its offset.
    pub offset: i64,
    /// When Kafka got it.
    pub recorded_at: Timestamp,
    /// What it says.
    pub data: Json,
    /// About how much it is.
    pub bytes: usize,
}

/// The ring, and who listens.
pub struct Feed {
    ring: Mutex<Ring>,
    names: RwLock<HashMap<String, String>>,
    listeners: broadcast::Sender<Arc<Entry>>,
}

#[derive(Default)]
struct Ring {
    entries: VecDeque<Arc<Entry>>,
    bytes: usize,
    floors: Floors,
}

/// By topic and partition: the first offset that would still be found here.
type Floors = HashMap<(SignalKind, i32), i64>;

impl Default for Feed {
    fn default() -> Self {
        let (ring, names) = (Mutex::default(), RwLock::default());
        Self { ring, names, listeners: broadcast::channel(BEHIND_MAX).0 }
    }
}

impl Feed {
    /// What will be published from now on.
    pub fn listen(&self) -> broadcast::Receiver<Arc<Entry>> {
        self.listeners.subscribe()
    }

    /// What is kept of an organization, oldest first.
    pub fn of(&self, organization_id: &str) -> Vec<Arc<Entry>> {
        let ring = self.lock();
        ring.entries.iter().filter(|entry| entry.organization_id == organization_id).cloned().collect()
    }

    /// The answer to a control record, if it came lately.
    pub fn answer(&self, organization_id: &str, record_id: &str) -> Option<Arc<Entry>> {
        let ring = self.lock();
        ring.entries.iter().rev().find(|entry| entry.answers(organization_id, record_id)).cloned()
    }

    /// Whether everything that came to a partition after an offset is still here, or will be once it is read back. Before the
    /// first look at the topics nobody knows.
    pub fn has_all_after(&self, kind: SignalKind, partition: i32, offset: i64) -> bool {
        self.lock().floors.get(&(kind, partition)).is_some_and(|floor| offset.saturating_add(1) >= *floor)
    }

    /// The display name of `ORGANIZATION/SCOPE`, or of the organization itself.
    pub fn name(&self, organization_id: &str, scope: &str) -> Option<String> {
        let names = self.names.read().unwrap_or_else(PoisonError::into_inner);
        names.get(&format!("{organization_id}/{scope}")).cloned()
    }

    fn put(&self, entry: Entry) {
        let entry = Arc::new(entry);
        let mut ring = self.lock();
        ring.floors.entry((entry.kind, entry.partition)).or_insert(entry.offset);
        ring.bytes += entry.bytes;
        while (ring.entries.len() >= KEPT || ring.bytes > KEPT_BYTES)
            && let Some(gone) = ring.entries.pop_front()
        {
            ring.bytes -= gone.bytes;
            ring.floors.insert((gone.kind, gone.partition), gone.offset + 1);
        }
        ring.entries.push_back(Arc::clone(&entry));
        drop(ring);
        // Nobody may listen.
        let _ = self.listeners.send(entry);
    }

    /// A name was said, or taken back by a tombstone.
    fn put_name(&self, key: &[u8], payload: Option<&[u8]>) {
        let Ok(key) = std::str::from_utf8(key) else { return };
        let name = payload.and_then(data_of).and_then(|data| data["name"].as_str().map(str::to_owned));
        let mut names = self.names.write().unwrap_or_else(PoisonError::into_inner);
        match name {
            Some(name) if names.len() < NAMES_MAX || names.contains_key(key) => {
                names.insert(key.to_owned(), name.chars().take(NAME_CHARACTERS_MAX).collect());
            }
            Some(_) => tracing::warn!(NAMES_MAX, "there is no room for more display names"),
            None => drop(names.remove(key)),
        }
    }

    fn lock(&self) -> MutexGuard<'_, Ring> {
        self.ring.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Reads the topics until the process stops. Blocks; runs on a thread of its own.
    pub fn follow(&self, client: &ClientConfig, topics: &TopicsConfig, stop: &AtomicBool) {
        let consumer = loop {
            if stop.load(Ordering::Relaxed) {
                return;
            }
            match open(client, topics) {
                Ok((consumer, floors)) => {
                    self.lock().floors = floors;
                    break consumer;
                }
                Err(error) => tracing::debug!(%error, "what was published cannot be read back yet"),
            }
            std::thread::sleep(LOOK);
        };
        let kind_of = |topic: &str| SignalKind::ALL.into_iter().find(|kind| kind.topic(topics) == topic);
        while !stop.load(Ordering::Relaxed) {
            let message = match consumer.poll(LOOK) {
                Some(Ok(message)) => message,
                Some(Err(error)) => {
                    tracing::debug!(%error, "what was published cannot be read back now");
                    continue;
                }
                None => continue,
            };
            let Some(kind) = kind_of(message.topic()) else {
                self.put_name(message.key().unwrap_or_default(), message.payload());
                continue;
            };
            let Some(data) = message.payload().and_then(data_of) else { continue };
            // A line of a statement has the words of FOCUS.
            let of = data["organization_id"].as_str().or_else(|| data["billing_account_id"].as_str());
            let Some(organization_id) = of.map(str::to_owned) else { continue };
            let bytes = message.payload().map_or(0, <[u8]>::len);
            let recorded_at = Timestamp::from_ms(message.timestamp().to_millis().unwrap_or(0));
            let (partition, offset) = (message.partition(), message.offset());
            self.put(Entry { organization_id, kind, partition, offset, recorded_at, data, bytes });
        }
    }
}

/// A reader of the end of every topic, and of all names; and where it begins.
fn open(client: &ClientConfig, topics: &TopicsConfig) -> Result<(BaseConsumer, Floors), KafkaError> {
    let mut config = outside_of_groups(client);
    config.set("fetch.wait.max.ms", "50");
    let consumer: BaseConsumer = config.create()?;
    let (mut list, mut floors) = (TopicPartitionList::new(), Floors::new());
    for kind in SignalKind::ALL {
        let topic = kind.topic(topics);
        for partition in partitions_of(consumer.client(), topic, BROKER_WAIT)? {
            // One that has no leader now does not hold up the others: of that one nobody knows what is still there.
            let Ok((low, high)) = consumer.fetch_watermarks(topic, partition, ASK_WAIT) else {
                list.add_partition_offset(topic, partition, Offset::OffsetTail(READ_BACK))?;
                continue;
            };
            let floor = low.max(high - READ_BACK);
            list.add_partition_offset(topic, partition, Offset::Offset(floor))?;
            floors.insert((kind, partition), floor);
        }
    }
    for partition in partitions_of(consumer.client(), &topics.names, BROKER_WAIT)? {
        list.add_partition_offset(&topics.names, partition, Offset::Beginning)?;
    }
    consumer.assign(&list)?;
    Ok((consumer, floors))
}

impl Entry {
    /// Whether this is the answer to a control record.
    pub fn answers(&self, organization_id: &str, record_id: &str) -> bool {
        self.kind == SignalKind::Journal
            && self.organization_id == organization_id
            && self.data["record_id"].as_str() == Some(record_id)
    }

    /// Where it stands.
    pub fn id(&self) -> String {
        format!("{}.{}.{}", self.kind.name(), self.partition, self.offset)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::json;

    fn entry(offset: i64) -> Entry {
        Entry {
            organization_id: format!("org-{}", offset % 2),
            kind: SignalKind::Pause,
            partition: 3,
            offset,
            recorded_at: Timestamp::from_ms(offset),
            data: json!({}),
            bytes: 2,
        }
    }

    #[test]
    fn the_ring_is_bounded_and_knows_what_it_has_lost() {
        let feed = Feed::default();
        let first = 7;
        (first..first + KEPT as i64 + 10).for_each(|offset| feed.put(entry(offset)));
        assert_eq!(feed.of("org-0").len() + feed.of("org-1").len(), KEPT);
        assert!(
            feed.has_all_after(SignalKind::Pause, 3, first + 9) && !feed.has_all_after(SignalKind::Pause, 3, first + 8)
        );
        assert!(!feed.has_all_after(SignalKind::Pause, 4, 0), "nobody has looked there");
        feed.lock().floors.insert((SignalKind::Pause, 4), 1);
        assert!(feed.has_all_after(SignalKind::Pause, 4, 0), "nothing came there");
    }

    #[test]
    fn names_come_and_go() {
        let feed = Feed::default();
        feed.put_name(b"acme/ws:sales", Some(br#"{"data":{"name":"Sales"}}"#));
        assert_eq!(feed.name("acme", "ws:sales").as_deref(), Some("Sales"));
        feed.put_name(b"acme/ws:sales", None);
        assert_eq!(feed.name("acme", "ws:sales"), None);
    }
}
