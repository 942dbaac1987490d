//! Consumers that read the usage topic and do nothing with it.

use std::time::{Duration, Instant};

use futures::FutureExt;
use rdkafka::{
    Offset, TopicPartitionList,
    consumer::{BaseConsumer, Consumer as _},
};

use super::figures::{Figures, cpu_time, per_second, ratio};
use crate::{
    cli::Failure,
    config::Config,
    ingest::{
        batch::Batch,
        consumer::Consumer,
        source::{Lane, Rebalance, Source},
    },
    notify::reader::partitions_of,
};

/// Messages per batch of the bare batch reader.
const BATCH: usize = 10_000;

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

    /// Reads on and returns the payloads of a batch.
    ///
    /// # Panics
    /// If this reader has no batches.
    pub fn payloads(&mut self) -> Vec<Vec<u8>> {
        let Self::Batch(consumer) = self else { panic!("payloads are read in batches") };
        let batch = take_batch(consumer);
        let whole = batch.iter().filter(|message| message.error().is_none());
        whole.map(|message| message.payload().to_vec()).collect()
    }

    /// Reads on and returns how many messages there were.
    fn read(&mut self) -> u64 {
        match self {
            Self::Poll(consumer) => u64::from(matches!(consumer.poll(Duration::from_millis(10)), Some(Ok(_)))),
            Self::Batch(consumer) => {
                let batch = take_batch(consumer);
                batch.iter().filter(|message| message.error().is_none()).count() as u64
            }
        }
    }
}

fn take_batch(consumer: &mut Consumer) -> Batch {
    let mut batch = Batch::new(BATCH);
    let _ = consumer.take(Lane::Usage, Duration::from_millis(10), &mut batch).now_or_never();
    batch
}

/// Reads all events with a bare reader.
pub fn measure(
    case: &'static str,
    config: &Config,
    way: Way,
    events: u64,
    figures: &mut Figures,
) -> Result<(), Failure> {
    let (mut reader, mut read) = (BareReader::open(config, way)?, 0);
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
    figures.add(case, "wall_events_per_s", per_second(events - already, wall), "1/s");
    figures.add(case, "cpu_ns_per_event", ratio(cpu.as_nanos(), events - already), "ns");
    Ok(())
}
