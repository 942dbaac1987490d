//! How things are measured: bare readers, CPU time, what Redis says of itself, medians.

use std::{
    collections::BTreeMap,
    time::{Duration, Instant},
};

use futures::FutureExt;
use rdkafka::{
    Offset, TopicPartitionList,
    consumer::{BaseConsumer, Consumer as _},
};
use redis::{InfoDict, cmd};
use serde_json::json;

use super::{per_second, ratio};
use crate::{
    cli::Failure,
    config::Config,
    ingest::{
        batch::Batch,
        consumer::Consumer,
        source::{Lane, Rebalance, Source},
    },
    ledger::{keys::Keys, redis::Connection},
    notify::reader::partitions_of,
};

/// Messages per batch of the bare batch reader.
const BATCH: usize = 10_000;

/// The CPU time that this process has used.
pub fn cpu_time() -> Duration {
    let mut time = libc::timespec { tv_sec: 0, tv_nsec: 0 };
    // SAFETY: the clock exists, and the time is ours to write to.
    #[allow(unsafe_code, reason = "the standard library has no process CPU time")]
    let failed = unsafe { libc::clock_gettime(libc::CLOCK_PROCESS_CPUTIME_ID, &mut time) };
    assert_eq!(failed, 0, "the process has a CPU clock");
    Duration::new(u64::try_from(time.tv_sec).unwrap_or(0), u32::try_from(time.tv_nsec).unwrap_or(0))
}

/// How a bare reader reads.
#[derive(Clone, Copy)]
pub enum Way {
    /// One message at a time.
    Poll,
    /// In batches, as Bursar does.
    Batch,
}

/// Reads the usage topic and does nothing with it.
pub enum BareReader {
    /// One message at a time.
    Poll(BaseConsumer),
    /// In batches.
    Batch(Consumer),
}

impl BareReader {
    /// A reader that begins at the first event.
    pub fn open(config: &Config, way: Way) -> Result<Self, Failure> {
        let mut client = config.consumer()?;
        client.set("group.id", format!("{}-bare-{:08x}", config.kafka.group_id, rand::random::<u32>()));
        client.set("auto.offset.reset", "earliest");
        let topic = &config.topics.usage[0];
        match way {
            Way::Poll => {
                client.set("enable.partition.eof", "false");
                let consumer: BaseConsumer = client.create()?;
                let mut list = TopicPartitionList::new();
                for partition in partitions_of(consumer.client(), topic, Duration::from_secs(10))? {
                    list.add_partition_offset(topic, partition, Offset::Beginning)?;
                }
                consumer.assign(&list)?;
                Ok(Self::Poll(consumer))
            }
            Way::Batch => {
                let mut consumer = Consumer::join(&client, &config.topics.control, &[topic])?;
                let until = Instant::now() + Duration::from_secs(30);
                while Instant::now() < until {
                    if let Some(Rebalance::Assigned(partitions)) = consumer.poll_membership() {
                        let begin: Vec<_> = partitions.into_iter().map(|input| (input, 0)).collect();
                        consumer.assign(&begin)?;
                        return Ok(Self::Batch(consumer));
                    }
                    std::thread::sleep(Duration::from_millis(5));
                }
                Err("the group gave no partitions".into())
            }
        }
    }

    /// Reads on and returns how many messages there were.
    fn read(&mut self) -> u64 {
        match self {
            Self::Poll(consumer) => u64::from(matches!(consumer.poll(Duration::from_millis(10)), Some(Ok(_)))),
            Self::Batch(consumer) => {
                let mut batch = Batch::new(BATCH);
                let _ = consumer.take(Lane::Usage, Duration::from_millis(10), &mut batch).now_or_never();
                batch.iter().filter(|message| message.error().is_none()).count() as u64
            }
        }
    }
}

/// Reads all events with a bare reader.
pub fn bare(case: &'static str, reader: &mut BareReader, events: u64, measures: &mut Measures) -> Result<(), Failure> {
    let mut read = 0;
    while read == 0 {
        read = reader.read();
    }
    let (already, cpu_before, began) = (read, cpu_time(), Instant::now());
    while read < events {
        read += reader.read();
        if began.elapsed() > super::CASE_WAIT {
            return Err(format!("{case} read {read} of {events} events").into());
        }
    }
    let (wall, cpu) = (began.elapsed(), cpu_time() - cpu_before);
    measures.add(case, "wall_events_per_s", per_second(events - already, wall), "1/s");
    measures.add(case, "cpu_ns_per_event", ratio(cpu.as_nanos(), events - already), "ns");
    Ok(())
}

/// What Redis says of itself.
pub struct RedisProbe {
    connection: Connection,
}

/// What is stored under a prefix.
pub struct Stored {
    /// Bytes of all accounts' rows.
    pub account_bytes: u64,
    /// Agents that have a row.
    pub agents: u64,
    /// Bytes of all ids.
    pub id_bytes: u64,
    /// Ids.
    pub ids: u64,
}

/// Accounts that are looked at for the sizes; the sum is scaled up. Every account is looked at if there are fewer.
const SAMPLE: usize = 20_000;

impl RedisProbe {
    /// A probe of the configured Redis.
    pub async fn open(config: &Config) -> Result<Self, Failure> {
        Ok(Self { connection: Connection::open(&config.redis()?).await? })
    }

    /// CPU that the server has used, in microseconds.
    pub async fn cpu_us(&self) -> Result<u64, Failure> {
        let info: InfoDict = self.connection.query(cmd("INFO").arg("cpu")).await?;
        let seconds = |field: &str| info.get::<String>(field).and_then(|text| text.parse::<f64>().ok()).unwrap_or(0.0);
        // A figure for people: nothing is decided by it.
        Ok(((seconds("used_cpu_user") + seconds("used_cpu_sys")) * 1e6) as u64)
    }

    /// Memory that the server uses, in bytes.
    pub async fn memory_bytes(&self) -> Result<u64, Failure> {
        let info: InfoDict = self.connection.query(cmd("INFO").arg("memory")).await?;
        Ok(info.get("used_memory").unwrap_or(0))
    }

    /// Sizes of what is stored, by Redis's own MEMORY USAGE.
    pub async fn stored(&self, config: &Config) -> Result<Stored, Failure> {
        let keys = Keys::new(&config.redis.prefix);
        let accounts = self.connection.scan(&keys.all_accounts()).await?;
        let mut stored = Stored { account_bytes: 0, agents: 0, id_bytes: 0, ids: 0 };
        let pattern = format!("{}:{{*}}:ids:*", config.redis.prefix);
        let segments = self.connection.scan(&pattern).await?;
        for piece in accounts.iter().take(SAMPLE).collect::<Vec<_>>().chunks(1_000) {
            let sizes = piece.iter().map(|key| memory_usage(key));
            stored.account_bytes += self.sum(sizes.collect()).await?;
            for key in piece {
                let fields: Vec<String> = self.connection.query(cmd("HKEYS").arg(key)).await?;
                stored.agents += fields.iter().filter(|field| field.starts_with("agent:")).count() as u64;
            }
        }
        for piece in segments.iter().take(SAMPLE).collect::<Vec<_>>().chunks(1_000) {
            stored.id_bytes += self.sum(piece.iter().map(|key| memory_usage(key)).collect()).await?;
            let lengths = piece.iter().map(|key| cmd("STRLEN").arg(key).to_owned()).collect();
            stored.ids += self.sum(lengths).await? / 10;
        }
        Ok(stored)
    }

    async fn sum(&self, calls: Vec<redis::Cmd>) -> Result<u64, Failure> {
        let mut sum = 0;
        for reply in self.connection.send(calls).await? {
            sum += redis::from_redis_value::<u64>(reply?)?;
        }
        Ok(sum)
    }

    /// Removes everything under the prefix.
    pub async fn remove_all(&self, config: &Config) -> Result<(), Failure> {
        let keys = self.connection.scan(&format!("{}:*", config.redis.prefix)).await?;
        for piece in keys.chunks(1_000) {
            self.connection.send(piece.iter().map(|key| cmd("UNLINK").arg(key).to_owned()).collect()).await?;
        }
        Ok(())
    }
}

fn memory_usage(key: &str) -> redis::Cmd {
    let mut call = cmd("MEMORY");
    call.arg("USAGE").arg(key).arg("SAMPLES").arg(0);
    call
}

/// Figures by case and measure, in thousandths of their unit.
#[derive(Default)]
pub struct Measures {
    all: BTreeMap<(&'static str, &'static str, &'static str), Vec<u64>>,
}

/// A figure, as it is printed.
pub struct Figure {
    /// Which case.
    pub case: &'static str,
    /// What was measured.
    pub measure: &'static str,
    /// The unit.
    pub unit: &'static str,
    /// The one in the middle.
    pub median: String,
    /// The smallest.
    pub min: String,
    /// The largest.
    pub max: String,
}

impl Measures {
    /// Adds a figure in whole units.
    pub fn add(&mut self, case: &'static str, measure: &'static str, value: u64, unit: &'static str) {
        self.add_thousandths(case, measure, value * 1_000, unit);
    }

    /// Adds a figure in thousandths of its unit.
    pub fn add_thousandths(&mut self, case: &'static str, measure: &'static str, thousandths: u64, unit: &'static str) {
        self.all.entry((case, measure, unit)).or_default().push(thousandths);
    }

    /// Medians and ranges.
    pub fn figures(&self) -> Vec<Figure> {
        let figure = |((case, measure, unit), values): (&(&'static str, &'static str, &'static str), &Vec<u64>)| {
            let mut values = values.clone();
            values.sort_unstable();
            let show = |position: usize| in_units(values[position]);
            Figure { case, measure, unit, median: show(values.len() / 2), min: show(0), max: show(values.len() - 1) }
        };
        self.all.iter().map(figure).collect()
    }

    /// One line of JSON per figure.
    pub fn print_json(&self) {
        for Figure { case, measure, unit, median, min, max } in self.figures() {
            let number = |text: &str| text.parse::<serde_json::Number>().expect("figures are numbers");
            let line = json!({ "case": case, "measure": measure, "median": number(&median), "min": number(&min), "max": number(&max), "unit": unit });
            println!("{line}");
        }
    }
}

fn in_units(thousandths: u64) -> String {
    if thousandths.is_multiple_of(1_000) {
        return (thousandths / 1_000).to_string();
    }
    format!("{}.{:03}", thousandths / 1_000, thousandths % 1_000)
}
