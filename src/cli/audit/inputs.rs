//! The input topics, record by record, in whatever format their producers chose.

use std::collections::{BTreeMap, HashMap, hash_map::Entry};

use apache_avro::{Schema, from_avro_datum};
use serde_json::Value as Json;

use super::BROKER_WAIT;
use crate::{
    cli::Failure,
    config::Config,
    contract::json,
    ingest::decode::Registry,
    ledger::InputPartition,
    notify::reader::{WholeTopic, data_of},
};

/// A record of an input topic.
pub struct Record {
    /// Where it is.
    pub partition: InputPartition,
    /// Its offset.
    pub offset: i64,
    /// The running maximum of the partition.
    pub record_time: i64,
    /// Whether Redis has it for certain: otherwise it may have.
    pub is_certain: bool,
    /// What names it (id, source, time), and its data; `None` if it cannot be read.
    pub event: Option<(Json, Json)>,
}

/// Reads the topics from their beginning to their end of now. `before` tells how far each partition was applied before
/// the accounts were read; returns which of them were applied beyond their end.
pub fn read(
    config: &Config,
    topics: &[String],
    before: &BTreeMap<InputPartition, i64>,
    mut take: impl FnMut(Record),
) -> Result<Vec<String>, Failure> {
    let mut beyond = Vec::new();
    let mut payloads = Payloads { registry: config.registry()?.map(Registry::new), schemas: HashMap::new() };
    for name in topics {
        let mut topic = WholeTopic::open(&config.client()?, name, BROKER_WAIT)?;
        if let Some(partition) = topic.cut() {
            return Err(format!("{name}/{partition}: what retention removed cannot be audited").into());
        }
        for (input, applied) in before.iter().filter(|(input, _)| *input.topic == **name) {
            let high = topic.highs().get(&input.partition).copied().unwrap_or(0);
            if *applied > high {
                beyond.push(format!("{name}/{} ends at {high}, and is applied up to {applied}", input.partition));
            }
        }
        let mut record_times: HashMap<i32, i64> = HashMap::new();
        while let Some(whole) = topic.next_record()? {
            let record_time = record_times.entry(whole.partition).or_insert(0);
            *record_time = (*record_time).max(whole.timestamp_ms);
            let partition = InputPartition { topic: name.as_str().into(), partition: whole.partition };
            let is_certain = before.get(&partition).is_some_and(|applied| whole.offset < *applied);
            let event = payloads.read(whole.payload.as_deref().unwrap_or_default())?;
            take(Record { partition, offset: whole.offset, record_time: *record_time, is_certain, event });
        }
    }
    Ok(beyond)
}

struct Payloads {
    registry: Option<Registry>,
    schemas: HashMap<u32, Option<Schema>>,
}

impl Payloads {
    /// What names the event, and its data.
    fn read(&mut self, payload: &[u8]) -> Result<Option<(Json, Json)>, Failure> {
        let data = match payload {
            [0x00, rest @ ..] => self.read_by_id(rest)?,
            _ => data_of(payload),
        };
        let Some(data) = data.filter(Json::is_object) else { return Ok(None) };
        let is_json = payload.first() == Some(&b'{');
        let event = if is_json { serde_json::from_slice(payload).unwrap_or(Json::Null) } else { data.clone() };
        Ok(Some((event, data)))
    }

    /// Confluent's wire format: the id of the writer's schema, and the record.
    fn read_by_id(&mut self, rest: &[u8]) -> Result<Option<Json>, Failure> {
        let (Some((id, mut body)), Some(registry)) = (rest.split_first_chunk(), &self.registry) else {
            return Ok(None);
        };
        let id = u32::from_be_bytes(*id);
        let schema = match self.schemas.entry(id) {
            Entry::Occupied(known) => known.into_mut(),
            Entry::Vacant(unknown) => {
                unknown.insert(registry.schema(id)?.and_then(|text| Schema::parse_str(&text).ok()))
            }
        };
        let Some(schema) = schema else { return Ok(None) };
        Ok(from_avro_datum(schema, &mut body, None).ok().map(json::to_json))
    }
}
