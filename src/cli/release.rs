//! `bursar release`: sends what was parked for an account to the topics that it came from.

use std::time::Duration;

use clap::Args;
use rdkafka::{
    Offset,
    producer::{BaseProducer, BaseRecord, Producer},
};
use serde_json::Value as Json;

use super::Failure;
use crate::{
    config::Config,
    ingest::decode::{Decoded, Decoder},
    notify::reader::{TopicReader, data_of},
};

/// How long the parking topic is silent at its end.
const QUIET: Duration = Duration::from_secs(2);

/// How long the broker may take.
const BROKER_WAIT: Duration = Duration::from_secs(30);

#[derive(Debug, Args)]
pub struct ReleaseArguments {
    /// The organization whose records are sent again.
    organization: String,
    /// Only say how many there are.
    #[arg(long)]
    dry_run: bool,
}

/// Sends the parked records of an organization again. Those that were counted meanwhile are found by their ids, so it can
/// be done twice.
pub fn release(config: &Config, arguments: &ReleaseArguments) -> Result<(), Failure> {
    let reader = TopicReader::open(&config.client()?, &config.topics.parking, Offset::Beginning, BROKER_WAIT)?;
    let mut client = config.client()?;
    client.set("partitioner", "murmur2_random").set("enable.idempotence", "true");
    let producer: BaseProducer = client.create()?;
    let decoder = Decoder::new(false);
    let mut count = 0;
    while let Some((_, _, payload)) = reader.next(QUIET) {
        let Some(letter) = payload.as_deref().and_then(data_of) else { continue };
        let (Some(topic), Some(record)) = (letter["topic"].as_str(), bytes(&letter["payload"])) else { continue };
        if organization_of(&decoder, topic == config.topics.control, &record).as_deref()
            != Some(&arguments.organization)
        {
            continue;
        }
        count += 1;
        if arguments.dry_run {
            continue;
        }
        let key = bytes(&letter["key"]).unwrap_or_default();
        let record = BaseRecord::to(topic).key(&key).payload(&record);
        producer.send(record).map_err(|(error, _)| error)?;
        producer.poll(Duration::ZERO);
    }
    producer.flush(BROKER_WAIT)?;
    let what = if arguments.dry_run { "are parked" } else { "sent again" };
    println!("{}: {count} records {what}", arguments.organization);
    Ok(())
}

/// Bytes as our JSON has them.
fn bytes(value: &Json) -> Option<Vec<u8>> {
    match value {
        Json::String(text) => base64::Engine::decode(&base64::engine::general_purpose::STANDARD, text).ok(),
        _ => None,
    }
}

fn organization_of(decoder: &Decoder, is_control: bool, record: &[u8]) -> Option<String> {
    if is_control {
        return decoder.control(record).ok().map(|record| record.organization_id.to_string());
    }
    match decoder.usage(record).ok()? {
        Decoded::Borrowed(event) => Some(event.organization_id.to_owned()),
        decoded => Some(decoded.event().organization_id.to_owned()),
    }
}
