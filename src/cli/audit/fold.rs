//! What the topics say, folded with plain maps: each event once, priced, and added to its scopes.

use std::collections::{BTreeMap, BTreeSet, HashSet};

use serde_json::Value as Json;
use xxhash_rust::xxh3::xxh3_128;

use super::{
    BROKER_WAIT,
    inputs::{self, Record},
    state::{Account, State, crossing_name},
};
use crate::{
    cli::Failure,
    config::Config,
    domain::{
        account::{Policy, settings::SETTINGS_MAX},
        reason::QUARANTINED,
        time::{DAY_MS, HOUR_MS, parse_rfc3339},
    },
    ledger::InputPartition,
    notify::reader::{WholeTopic, data_of},
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

/// Where the credits are among [`METERS`].
const CREDITS: usize = 4;

/// The windows that are recounted. The others are counted only from when a limit uses them, and sessions begin where their
/// first event does, so they depend on the order in which partitions were read.
pub const KINDS: [&str; 3] = ["hour", "day", "period"];

/// Organization, scope, kind and start of a window.
type Key = (String, String, &'static str, i64);
type Counts = [i64; METERS.len()];

/// The sums.
#[derive(Default)]
pub struct Fold {
    /// Sums of what was applied for certain, and of what may have been: the least and the most.
    pub sums: BTreeMap<Key, (Counts, Counts)>,
    /// Crossings that were announced.
    pub crossings: BTreeSet<String>,
    /// When each limit was last set: by organization and id.
    pub limits_set: BTreeMap<(String, String), i64>,
    /// Ids that must be kept, by organization and start of their segment.
    pub ids: BTreeMap<(String, i64), u64>,
    /// Dead letters and parked records.
    pub dead: u64,
    /// What is wrong beside the counts: of which kind, and what.
    pub wrong: Vec<(&'static str, String)>,
    said: Said,
    seen: HashSet<u128>,
}

/// What was said of prices, and what became of records.
#[derive(Default)]
struct Said {
    /// By organization: recorded at, effective from, the card.
    cards: BTreeMap<String, Vec<(i64, i64, Json)>>,
    /// Commands that were refused: organization, source, id.
    refused: BTreeSet<(String, String, String)>,
    /// Topic, partition and offset of dead letters and parked records, with the reason.
    dead: BTreeMap<(String, i64, i64), String>,
}

impl Fold {
    /// Reads the topics up to their end. `before` tells how far they were applied before the accounts were read.
    pub fn read(config: &Config, state: &State, before: &BTreeMap<InputPartition, i64>) -> Result<Self, Failure> {
        let mut fold = Self::default();
        fold.read_our_own(config)?;
        let policy = config.rules.policy();
        let control = std::slice::from_ref(&config.topics.control);
        let mut beyond = inputs::read(config, control, before, |record| fold.obey(record, state))?;
        beyond.extend(inputs::read(config, &config.topics.usage, before, |record| fold.count(record, &policy, state))?);
        fold.wrong.extend(beyond.into_iter().map(|what| ("progress", what)));
        Ok(fold)
    }

    /// What we have said ourselves.
    fn read_our_own(&mut self, config: &Config) -> Result<(), Failure> {
        for entry in all_of(config, &config.topics.journal)? {
            if !entry["refused_because"].is_null() {
                let text = |field: &str| text_of(&entry, field);
                self.said.refused.insert((text("organization_id"), text("record_source"), text("record_id")));
            }
        }
        for crossing in all_of(config, &config.topics.thresholds)? {
            self.crossings.extend(crossing_of(&crossing));
        }
        for topic in [&config.topics.dead_letters, &config.topics.parking] {
            for letter in all_of(config, topic)? {
                let number = |field: &str| letter[field].as_i64().unwrap_or(-1);
                let place = (text_of(&letter, "topic"), number("partition"), number("offset"));
                self.said.dead.insert(place, text_of(&letter, "reason_code"));
            }
        }
        self.dead = self.said.dead.len() as u64;
        Ok(())
    }

    /// Why a record is a dead letter. One that was parked may have been applied all the same, by the next owner of its
    /// partition: then nothing is certain of it.
    fn verdict_on(&self, record: &mut Record) -> Option<String> {
        let InputPartition { topic, partition } = &record.partition;
        let verdict = self.said.dead.get(&(topic.to_string(), i64::from(*partition), record.offset));
        if verdict.is_some_and(|reason| reason == QUARANTINED) {
            record.is_certain = false;
            return None;
        }
        verdict.cloned()
    }

    fn obey(&mut self, mut record: Record, state: &State) {
        if self.verdict_on(&mut record).is_some() {
            return;
        }
        let record = &record;
        let Some((event, data)) = &record.event else { return };
        let organization = text_of(data, "organization_id");
        let id = (organization.clone(), text_of(event, "source"), text_of(event, "id"));
        let time = instant(&event["time"]);
        let is_new = self.seen.insert(fingerprint(&[&id.0, &id.1, &id.2, &time.to_string(), "control"]));
        if self.said.refused.contains(&id) || !is_new {
            return;
        }
        self.expect_id(&organization, time, record, state);
        if data["set_rate_card"].is_object() {
            let card = data["set_rate_card"].clone();
            let from = &card["effective_from"];
            let effective_from = if from.is_null() { time } else { instant(from) };
            // Of many, those that others have replaced are dropped.
            let is_kept = |account: &Account| {
                account.cards.contains(&effective_from)
                    || account.cards.len() >= SETTINGS_MAX && account.cards.first() > Some(&effective_from)
            };
            if record.is_certain && !state.accounts.get(&organization).is_some_and(is_kept) {
                let what = format!("{organization} has no rate card that is effective from {effective_from}");
                self.wrong.push(("prices", what));
            }
            self.said.cards.entry(organization.clone()).or_default().push((record.record_time, effective_from, card));
        }
        if data["set_limit"].is_object() {
            let limit = (organization.clone(), text_of(&data["set_limit"], "limit_id"));
            self.limits_set.insert(limit, record.record_time);
        }
        if data["adjust"].is_object() {
            let adjust = &data["adjust"];
            let counts = METERS.map(|meter| adjust[meter].as_i64().unwrap_or(0));
            // A refund concerns the period: nobody knows which of its days and hours it gives back.
            let kinds: &[_] = if counts[CREDITS] < 0 { &["period"] } else { &KINDS };
            self.add(&organization, &scopes_of(adjust), instant(&adjust["event_time"]), counts, record, state, kinds);
        }
    }

    fn count(&mut self, mut record: Record, policy: &Policy, state: &State) {
        let place = format!("{}/{} at {}", record.partition.topic, record.partition.partition, record.offset);
        let verdict = self.verdict_on(&mut record);
        let record = &record;
        let Some((event, data)) = &record.event else {
            if verdict.is_none() && record.is_certain {
                self.wrong.push(("dead letters", format!("{place} cannot be read and is no dead letter")));
            }
            return;
        };
        let time = instant(&event["time"]);
        let is_off = time < record.record_time - policy.horizon_ms || time > record.record_time + policy.early_ms;
        if let Some(reason) = verdict {
            if matches!(reason.as_str(), "too_late" | "too_early") && !is_off {
                self.wrong.push(("dead letters", format!("{place} is a dead letter ({reason}) and should count")));
            }
            return;
        }
        if is_off {
            if record.is_certain {
                self.wrong.push(("dead letters", format!("{place} is late or early and no dead letter")));
            }
            return;
        }
        let named = text_of(data, "organization_id");
        let organization = if named.is_empty() { text_of(data, "workspace_id") } else { named };
        let (source, id, at) = (text_of(event, "source"), text_of(event, "id"), time.to_string());
        if !self.seen.insert(fingerprint(&[&organization, &source, &id, &at, "usage"])) {
            return;
        }
        self.expect_id(&organization, time, record, state);
        let mut counts = METERS.map(|meter| data[meter].as_i64().unwrap_or(0));
        if let Some(phase) = data["phase"].as_str() {
            let meter = format!("runs_{phase}");
            if let Some(position) = METERS.iter().position(|name| **name == meter) {
                counts[position] = 1;
            }
        }
        let delay_ms = policy.rules_delay_ms;
        counts[CREDITS] = price(&self.said, &organization, data, time, record.record_time, delay_ms);
        self.add(&organization, &scopes_of(data), time, counts, record, state, &KINDS);
    }

    /// Notes that the id of a record has to be kept, if that is so recent.
    fn expect_id(&mut self, organization: &str, time: i64, record: &Record, state: &State) {
        if time < state.ids_kept_from.ms() || !record.is_certain {
            return;
        }
        // An id lies in the last segment that begins before it; what is older than all lies in the first.
        let ids = state.accounts.get(organization).map(|account| &account.ids);
        let segment = ids.and_then(|ids| ids.range(..=time).next_back().or_else(|| ids.first_key_value()));
        let segment = segment.map_or(i64::MIN, |(start, _)| *start);
        *self.ids.entry((organization.to_owned(), segment)).or_insert(0) += 1;
    }

    #[allow(clippy::too_many_arguments, reason = "what is added, to whom, and whether it is certain")]
    fn add(
        &mut self,
        organization: &str,
        scopes: &[String],
        time: i64,
        counts: Counts,
        record: &Record,
        state: &State,
        kinds: &[&'static str],
    ) {
        let Some(account) = state.accounts.get(organization) else {
            if record.is_certain {
                self.wrong.push(("organizations", format!("{organization} has usage and no account")));
            }
            return;
        };
        for kind in kinds {
            let starts = || account.starts(kind);
            let Some(start) = starts().filter(|start| *start <= time).max() else { continue };
            let lasts_ms = match *kind {
                "hour" => HOUR_MS,
                // A day after which the time zone changes may be longer than 25 hours.
                "day" => 2 * DAY_MS,
                _ => i64::MAX,
            };
            if time - start >= lasts_ms {
                if record.is_certain {
                    self.wrong.push(("organizations", format!("{organization}: the {kind} of {time} is missing")));
                }
                continue;
            }
            for scope in scopes {
                let (low, high) = self.sums.entry((organization.to_owned(), scope.clone(), kind, start)).or_default();
                for (position, count) in counts.iter().enumerate() {
                    // What may be applied and may not makes the range wider, on the side of its sign.
                    low[position] += if record.is_certain { *count } else { (*count).min(0) };
                    high[position] += if record.is_certain { *count } else { (*count).max(0) };
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

fn text_of(data: &Json, field: &str) -> String {
    data[field].as_str().unwrap_or_default().to_owned()
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
fn all_of(config: &Config, name: &str) -> Result<Vec<Json>, Failure> {
    let mut topic = WholeTopic::open(&config.client()?, name, BROKER_WAIT)?;
    if let Some(partition) = topic.cut() {
        let why = "without what retention removed it cannot be told what should have counted; set retention.ms to -1";
        return Err(format!("{name}/{partition}: {why}").into());
    }
    let mut all = Vec::new();
    while let Some(record) = topic.next_record()? {
        all.extend(record.payload.as_deref().and_then(data_of));
    }
    Ok(all)
}
