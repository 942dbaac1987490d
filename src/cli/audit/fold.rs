//! What the topics say, folded with plain maps: each event once, priced, and added to its scopes.

use std::{
    collections::{BTreeMap, BTreeSet, HashSet},
    time::Duration,
};

use rdkafka::{
    Message, Offset, TopicPartitionList,
    consumer::{BaseConsumer, Consumer},
};
use serde_json::Value as Json;
use xxhash_rust::xxh3::xxh3_128;

use super::state::{State, crossing_name};
use crate::{
    cli::Failure,
    config::Config,
    domain::time::parse_rfc3339,
    ledger::InputPartition,
    notify::reader::{TopicReader, data_of},
};

/// What is recounted.
pub const METERS: [&str; 9] = [
    "input_tokens",
    "output_tokens",
    "cache_read_input_tokens",
    "cache_creation_input_tokens",
    "credits_micro",
    "runs_started",
    "runs_completed",
    "runs_failed",
    "runs_cancelled",
];

/// How long a topic is silent at its end.
const QUIET: Duration = Duration::from_secs(3);

/// How long the broker may take.
const BROKER_WAIT: Duration = Duration::from_secs(10);

/// For each partition, how far it was applied before and after the accounts were read.
pub type Between = BTreeMap<InputPartition, (i64, i64)>;

/// Organization, scope, kind and start of a window.
type Key = (String, String, &'static str, i64);
type Counts = [i64; METERS.len()];

/// The sums.
#[derive(Default)]
pub struct Fold {
    /// Sums of what was applied for certain, and of what may have been.
    pub sums: BTreeMap<Key, (Counts, Counts)>,
    /// Crossings that were announced.
    pub crossings: BTreeSet<String>,
    /// Ids that must be kept, by organization.
    pub ids: BTreeMap<String, u64>,
    /// Dead letters and parked records.
    pub dead: u64,
    /// Records that are dead letters and should not be, or the other way.
    pub wrong: Vec<String>,
}

/// What was said of prices, and of usage.
#[derive(Default)]
struct Said {
    /// By organization: recorded at, effective from, the card.
    cards: BTreeMap<String, Vec<(i64, i64, Json)>>,
    refused: BTreeSet<(String, String, String)>,
}

struct Record {
    partition: InputPartition,
    offset: i64,
    /// The running maximum of the partition.
    record_time: i64,
    payload: Vec<u8>,
}

impl Fold {
    /// Reads the topics up to where they may have been applied.
    pub fn read(config: &Config, state: &State, between: Between) -> Result<Self, Failure> {
        let mut fold = Self::default();
        let mut said = Said::default();
        for entry in all_of(config, &config.topics.journal)? {
            if !entry["refused_because"].is_null() {
                let text = |field: &str| entry[field].as_str().unwrap_or_default().to_owned();
                said.refused.insert((text("organization_id"), text("record_source"), text("record_id")));
            }
        }
        for crossing in all_of(config, &config.topics.thresholds)? {
            fold.crossings.extend(crossing_of(&crossing));
        }
        let mut dead = BTreeMap::new();
        for topic in [&config.topics.dead_letters, &config.topics.parking] {
            for letter in all_of(config, topic)? {
                let number = |field: &str| letter[field].as_i64().unwrap_or(-1);
                let place =
                    (letter["topic"].as_str().unwrap_or_default().to_owned(), number("partition"), number("offset"));
                dead.insert(place, letter["reason_code"].as_str().unwrap_or_default().to_owned());
            }
        }
        fold.dead = dead.len() as u64;
        let mut seen = HashSet::new();
        let mut commands = Vec::new();
        read_inputs(config, &between, true, |record| commands.push(record))?;
        for record in &commands {
            fold.obey(&record.payload, record, state, &between, &mut said, &mut seen);
        }
        read_inputs(config, &between, false, |record| {
            fold.count(&record, config, state, &between, &said, &mut seen, &dead)
        })?;
        Ok(fold)
    }

    fn obey(
        &mut self,
        payload: &[u8],
        record: &Record,
        state: &State,
        between: &Between,
        said: &mut Said,
        seen: &mut HashSet<u128>,
    ) {
        let Some((event, data)) = event_and_data(payload) else { return };
        let text = |of: &Json, field: &str| of[field].as_str().unwrap_or_default().to_owned();
        let organization = text(&data, "organization_id");
        let id = (organization.clone(), text(&event, "source"), text(&event, "id"));
        let time = instant(&event["time"]);
        if said.refused.contains(&id) || !seen.insert(fingerprint(&[&id.0, &id.1, &id.2, &time.to_string(), "control"]))
        {
            return;
        }
        if time >= state.ids_kept_from.ms() && record.offset < between[&record.partition].0 {
            *self.ids.entry(organization.clone()).or_insert(0) += 1;
        }
        if data["set_rate_card"].is_object() {
            let card = data["set_rate_card"].clone();
            let effective_from =
                if card["effective_from"].is_null() { i64::MIN } else { instant(&card["effective_from"]) };
            said.cards.entry(organization.clone()).or_default().push((record.record_time, effective_from, card));
        }
        if data["adjust"].is_object() {
            let adjust = &data["adjust"];
            let counts = METERS.map(|meter| adjust[meter].as_i64().unwrap_or(0));
            let scopes = scopes_of(adjust);
            self.add(&organization, &scopes, instant(&adjust["event_time"]), counts, record, between, state, true);
        }
    }

    #[allow(clippy::too_many_arguments, reason = "one record, and all that decides what becomes of it")]
    fn count(
        &mut self,
        record: &Record,
        config: &Config,
        state: &State,
        between: &Between,
        said: &Said,
        seen: &mut HashSet<u128>,
        dead: &BTreeMap<(String, i64, i64), String>,
    ) {
        let policy = config.rules.policy();
        let InputPartition { topic, partition } = &record.partition;
        let verdict = dead.get(&(topic.to_string(), i64::from(*partition), record.offset));
        let Some((event, data)) = event_and_data(&record.payload) else {
            if verdict.is_none() && record.offset < between[&record.partition].0 {
                self.wrong
                    .push(format!("{topic}/{partition} at {} cannot be read and is no dead letter", record.offset));
            }
            return;
        };
        let time = instant(&event["time"]);
        let is_late = time < record.record_time - policy.horizon_ms;
        let is_early = time > record.record_time + policy.early_ms;
        if let Some(reason) = verdict {
            if matches!(reason.as_str(), "too_late" | "too_early") && !(is_late || is_early) {
                self.wrong.push(format!(
                    "{topic}/{partition} at {} is a dead letter ({reason}) and should count",
                    record.offset
                ));
            }
            return;
        }
        if is_late || is_early {
            if record.offset < between[&record.partition].0 {
                self.wrong
                    .push(format!("{topic}/{partition} at {} is late or early and no dead letter", record.offset));
            }
            return;
        }
        let text = |of: &Json, field: &str| of[field].as_str().unwrap_or_default().to_owned();
        let named = text(&data, "organization_id");
        let organization = if named.is_empty() { text(&data, "workspace_id") } else { named };
        let (source, id, at) = (text(&event, "source"), text(&event, "id"), time.to_string());
        if !seen.insert(fingerprint(&[&organization, &source, &id, &at, "usage"])) {
            return;
        }
        if time >= state.ids_kept_from.ms() && record.offset < between[&record.partition].0 {
            *self.ids.entry(organization.clone()).or_insert(0) += 1;
        }
        let mut counts = METERS.map(|meter| data[meter].as_i64().unwrap_or(0));
        if let Some(phase) = data["phase"].as_str() {
            let meter = format!("runs_{phase}");
            if let Some(position) = METERS.iter().position(|name| **name == meter) {
                counts[position] = 1;
            }
        }
        counts[4] = price(said, &organization, &data, time, record.record_time, policy.rules_delay_ms);
        self.add(&organization, &scopes_of(&data), time, counts, record, between, state, false);
    }

    #[allow(clippy::too_many_arguments, reason = "what is added, to whom, and whether it is certain")]
    fn add(
        &mut self,
        organization: &str,
        scopes: &[String],
        time: i64,
        counts: Counts,
        record: &Record,
        between: &Between,
        state: &State,
        only_periods: bool,
    ) {
        let (certain, possible) = between[&record.partition];
        if record.offset >= possible {
            return;
        }
        let Some(account) = state.accounts.get(organization) else { return };
        for kind in ["hour", "period"] {
            let starts = account.windows.keys().filter(|(scope, of_kind, _)| scope == "org" && *of_kind == kind);
            let Some(start) = starts.map(|(_, _, start)| *start).filter(|start| *start <= time).max() else { continue };
            if kind == "hour" && (only_periods || time >= start + 3_600_000) {
                continue;
            }
            for scope in scopes {
                let (low, high) = self.sums.entry((organization.to_owned(), scope.clone(), kind, start)).or_default();
                for (position, count) in counts.iter().enumerate() {
                    high[position] += count;
                    if record.offset < certain {
                        low[position] += count;
                    }
                }
            }
        }
    }
}

/// The price of an event in micro-credits: rounded once, half up.
fn price(said: &Said, organization: &str, data: &Json, time: i64, record_time: i64, delay_ms: i64) -> i64 {
    let cards = said.cards.get(organization).into_iter().flatten();
    let in_force = cards.filter(|(recorded, from, _)| recorded + delay_ms <= record_time && *from <= time);
    let Some((_, _, card)) = in_force.max_by_key(|(recorded, from, _)| (*from, *recorded)) else { return 0 };
    let Some(model) = data["request_model"].as_str() else {
        let completed = data["phase"] == "completed";
        return if completed { card["completed_run_micro"].as_i64().unwrap_or(0) } else { 0 };
    };
    let prices = if card["models"][model].is_object() { &card["models"][model] } else { &card["default_prices"] };
    let names = ["input_micro", "output_micro", "cache_read_micro", "cache_creation_micro"];
    let parts = METERS.iter().zip(names).map(|(tokens, name)| {
        i128::from(data[*tokens].as_i64().unwrap_or(0)) * i128::from(prices[name].as_i64().unwrap_or(0))
    });
    i64::try_from((parts.sum::<i128>() + 500_000) / 1_000_000).unwrap_or(i64::MAX)
}

fn scopes_of(data: &Json) -> Vec<String> {
    let text = |field: &str| data[field].as_str().filter(|text| !text.is_empty());
    let mut scopes = vec!["org".to_owned()];
    scopes.extend(text("workspace_id").map(|workspace| format!("ws:{workspace}")));
    let workspace = text("workspace_id").unwrap_or_default();
    scopes.extend(text("agent_id").map(|agent| format!("agent:{workspace}/{agent}")));
    scopes.extend(text("user_id").map(|user| format!("user:{user}")));
    scopes
}

/// What names the event (id, source, time), and its data.
fn event_and_data(payload: &[u8]) -> Option<(Json, Json)> {
    let data = data_of(payload).filter(Json::is_object)?;
    let event = if payload.first() == Some(&b'{') { serde_json::from_slice(payload).ok()? } else { data.clone() };
    Some((event, data))
}

fn instant(value: &Json) -> i64 {
    value.as_i64().or_else(|| parse_rfc3339(value.as_str()?).ok().map(|time| time.ms())).unwrap_or(0)
}

fn fingerprint(parts: &[&str]) -> u128 {
    xxh3_128(parts.join("\u{1f}").as_bytes())
}

fn crossing_of(crossing: &Json) -> Option<String> {
    let text = |field: &str| crossing[field].as_str();
    let number = |field: &str| crossing[field].as_u64();
    let start = instant(&crossing["window_start"]);
    let (limit, percent) = (text("limit_id")?, number("threshold_percent")?);
    Some(crossing_name(text("organization_id")?, text("scope")?, limit, number("revision")?, start, percent))
}

/// Everything that one of our own topics holds.
fn all_of(config: &Config, topic: &str) -> Result<Vec<Json>, Failure> {
    let reader = TopicReader::open(&config.client()?, topic, Offset::Beginning, BROKER_WAIT)?;
    let mut all = Vec::new();
    while let Some((_, _, payload)) = reader.next(QUIET) {
        all.extend(payload.as_deref().and_then(data_of));
    }
    Ok(all)
}

/// Reads the control topic, or the usage topics, from their beginning to where they may have been applied.
fn read_inputs(config: &Config, between: &Between, control: bool, mut take: impl FnMut(Record)) -> Result<(), Failure> {
    let mut client = config.client()?;
    client.set("group.id", format!("audit-{:08x}", rand::random::<u32>())).set("enable.partition.eof", "false");
    let consumer: BaseConsumer = client.create()?;
    let inputs: Vec<(&InputPartition, i64)> = between
        .iter()
        .filter(|(input, _)| (*input.topic == *config.topics.control) == control)
        .map(|(input, (_, upto))| (input, *upto))
        .collect();
    let mut list = TopicPartitionList::new();
    for (input, _) in &inputs {
        let (low, _) = consumer.fetch_watermarks(&input.topic, input.partition, BROKER_WAIT)?;
        if low > 0 {
            let InputPartition { topic, partition } = input;
            return Err(format!("{topic}/{partition} begins at {low}: what retention removed cannot be audited").into());
        }
        list.add_partition_offset(&input.topic, input.partition, Offset::Offset(0))?;
    }
    consumer.assign(&list)?;
    let mut read = vec![(0, 0); inputs.len()];
    while let Some(open) = (0..inputs.len()).find(|number| read[*number].0 < inputs[*number].1) {
        let Some(message) = consumer.poll(BROKER_WAIT) else {
            let (InputPartition { topic, partition }, upto) = &inputs[open];
            return Err(format!("{topic}/{partition} ends at {} instead of {upto}", read[open].0).into());
        };
        let message = message?;
        let is_of = |(input, _): &(&InputPartition, i64)| {
            &*input.topic == message.topic() && input.partition == message.partition()
        };
        let Some(number) = inputs.iter().position(is_of) else { continue };
        let (next, record_time) = &mut read[number];
        *next = message.offset() + 1;
        *record_time = (*record_time).max(message.timestamp().to_millis().unwrap_or(0));
        if *next <= inputs[number].1 {
            let payload = message.payload().unwrap_or_default().to_vec();
            let partition = inputs[number].0.clone();
            take(Record { partition, offset: message.offset(), record_time: *record_time, payload });
        }
    }
    Ok(())
}
