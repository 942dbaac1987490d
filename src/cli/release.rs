//! `bursar release`: sends what was parked for an account to the topics that it came from.

use std::time::Duration;

use clap::Args;
use futures::future::try_join_all;
use rdkafka::{
    Offset, TopicPartitionList,
    consumer::{BaseConsumer, Consumer},
    message::Message,
    producer::{FutureProducer, FutureRecord},
};
use serde_json::Value as Json;

use super::Failure;
use crate::{
    clock::Clock,
    config::Config,
    domain::time::{Timestamp, parse_rfc3339},
    ingest::decode::{Decoder, Registry, Undecoded},
    notify::reader::{WholeTopic, data_of},
};

/// How long the broker may take.
const BROKER_WAIT: Duration = Duration::from_secs(30);

/// Records that are on their way at the same time.
const SENT_AT_ONCE: usize = 1_000;

#[derive(Debug, Args)]
pub struct ReleaseArguments {
    /// The organization whose records are sent again.
    organization: String,
    /// Only say how many there are.
    #[arg(long)]
    dry_run: bool,
}

/// A record that waits, with its place in the log that it came from.
struct Parked {
    is_control: bool,
    topic: String,
    partition: i32,
    offset: i64,
    record_time: Timestamp,
    key: Vec<u8>,
    payload: Vec<u8>,
}

/// Sends the parked records of an organization again, in the order in which they were. Those that were counted meanwhile
/// are found by their ids, so it can be done twice.
pub async fn release(config: &Config, arguments: &ReleaseArguments) -> Result<(), Failure> {
    let parked = parked_of(config, &arguments.organization)?;
    let oldest = Clock::System.now().plus_ms(-config.rules.policy().horizon_ms);
    let late = parked.iter().filter(|record| record.record_time < oldest).count();
    if late > 0 {
        println!("{late} of them are older than the horizon: they will be dead letters (too_late)");
    }
    if !arguments.dry_run {
        let mut client = config.client()?;
        client.set("partitioner", "murmur2_random").set("enable.idempotence", "true");
        let producer: FutureProducer = client.create()?;
        for piece in parked.chunks(SENT_AT_ONCE) {
            let send = |record: &Parked| {
                let sent = FutureRecord::to(&record.topic).key(&record.key).payload(&record.payload);
                producer.send_result(sent).map_err(|(error, _)| error)
            };
            let on_their_way = piece.iter().map(send).collect::<Result<Vec<_>, _>>()?;
            for acknowledged in try_join_all(on_their_way).await? {
                acknowledged.map_err(|(error, _)| error)?;
            }
        }
    }
    let what = if arguments.dry_run { "are parked" } else { "sent again" };
    println!("{}: {} records {what}", arguments.organization, parked.len());
    Ok(())
}

/// What is parked of an organization: commands first, each partition in its order.
fn parked_of(config: &Config, organization: &str) -> Result<Vec<Parked>, Failure> {
    let registry = config.registry()?.map(Registry::new);
    let mut decoder = Decoder::new(registry.is_some());
    let mut topic = WholeTopic::open(&config.client()?, &config.topics.parking, BROKER_WAIT)?;
    let mut all = Vec::new();
    while let Some(record) = topic.next_record()? {
        let Some(letter) = record.payload.as_deref().and_then(data_of) else { continue };
        let Some(mut parked) = read_letter(config, &letter) else { continue };
        if letter["payload_bytes"].as_u64() > Some(parked.payload.len() as u64) {
            let Some(whole) = fetch(config, &parked)? else {
                println!("{}/{} at {}: the record is lost", parked.topic, parked.partition, parked.offset);
                continue;
            };
            parked.payload = whole;
        }
        if organization_of(&mut decoder, registry.as_ref(), &parked)?.as_deref() == Some(organization) {
            all.push(parked);
        }
    }
    all.sort_by(|a, b| {
        let place = |record: &Parked| (!record.is_control, record.topic.clone(), record.partition, record.offset);
        place(a).cmp(&place(b))
    });
    // Parked by two workers, if one did not know yet that the other had its partition.
    all.dedup_by(|a, b| (&a.topic, a.partition, a.offset) == (&b.topic, b.partition, b.offset));
    Ok(all)
}

fn read_letter(config: &Config, letter: &Json) -> Option<Parked> {
    let topic = letter["topic"].as_str()?.to_owned();
    let time = &letter["record_time"];
    let record_time = time.as_i64().map(Timestamp::from_ms).or_else(|| parse_rfc3339(time.as_str()?).ok())?;
    Some(Parked {
        is_control: topic == config.topics.control,
        partition: i32::try_from(letter["partition"].as_i64()?).ok()?,
        offset: letter["offset"].as_i64()?,
        record_time,
        key: bytes(&letter["key"]).unwrap_or_default(),
        payload: bytes(&letter["payload"])?,
        topic,
    })
}

/// The whole of a record that was too large to be parked; `None` if its topic does not have it any more.
fn fetch(config: &Config, parked: &Parked) -> Result<Option<Vec<u8>>, Failure> {
    let mut client = config.client()?;
    client.set("group.id", "bursar-release").set("enable.auto.commit", "false").set("auto.offset.reset", "error");
    let consumer: BaseConsumer = client.create()?;
    let mut place = TopicPartitionList::new();
    place.add_partition_offset(&parked.topic, parked.partition, Offset::Offset(parked.offset))?;
    consumer.assign(&place)?;
    let (low, high) = consumer.fetch_watermarks(&parked.topic, parked.partition, BROKER_WAIT)?;
    if !(low..high).contains(&parked.offset) {
        return Ok(None);
    }
    let message = consumer.poll(BROKER_WAIT).ok_or("Kafka does not hand out the record")??;
    Ok((message.offset() == parked.offset).then(|| message.payload().unwrap_or_default().to_vec()))
}

/// Bytes as our JSON has them.
fn bytes(value: &Json) -> Option<Vec<u8>> {
    match value {
        Json::String(text) => base64::Engine::decode(&base64::engine::general_purpose::STANDARD, text).ok(),
        _ => None,
    }
}

fn organization_of(
    decoder: &mut Decoder,
    registry: Option<&Registry>,
    record: &Parked,
) -> Result<Option<String>, Failure> {
    loop {
        let decoded = if record.is_control {
            decoder.control(&record.payload).map(|record| record.organization_id.to_string())
        } else {
            decoder.usage(&record.payload).map(|decoded| decoded.event().organization_id.to_owned())
        };
        match (decoded, registry) {
            (Ok(organization), _) => return Ok(Some(organization)),
            (Err(Undecoded::NeedsSchema(id)), Some(registry)) => decoder.learn(id, registry.schema(id)?.as_deref()),
            (Err(_), _) => return Ok(None),
        }
    }
}
