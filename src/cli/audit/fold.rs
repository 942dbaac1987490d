//! What the topics say, folded with plain maps: each event once, priced, and added to its scopes.

use std::collections::{BTreeMap, BTreeSet, HashSet};

use serde_json::Value as Json;
use xxhash_rust::xxh3::xxh3_128;

use super::{
    BROKER_WAIT,
    inputs::{self, Record},
    state::{State, crossing_name},
};
use crate::{
    cli::Failure,
    config::Config,
    domain::{
        account::{Policy, settings::SETTINGS_MAX},
        reason::QUARANTINED,
        scope::Scope,
        time::{DAY_MS, HOUR_MS, parse_rfc3339},
    },
    ledger::InputPartition,
    notify::reader::{WholeTopic, data_of},
};

/// What is recounted.
pub const METERS: [&str; 10] = [
    "input_tokens",
    "output_tokens",
    "cache_read_input_tokens",
    "cache_creation_input_tokens",
    "credits_micro",
    "runs_started",
    "runs_completed",
    "runs_failed",
    "runs_cancelled",
    "unpriced_tokens",
];

/// Where the credits are among [`METERS`].
const CREDITS: usize = 4;

/// Where the tokens without a price are; the first four are those of each class.
const UNPRICED: usize = 9;

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
    /// Crossings that were announced, with the highest share.
    pub crossings: BTreeMap<String, u64>,
    /// When each limit was last set: by organization, what it is set on, and id.
    pub limits_set: BTreeMap<(String, String, String), i64>,
    /// Organizations and scopes with adjustments of windows that tell nothing: they ended longer ago than the horizon.
    pub of_old: BTreeSet<(String, String)>,
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
    /// By organization.
    cards: BTreeMap<String, Vec<Card>>,
    /// Commands that were refused: organization, source, id.
    refused: BTreeSet<(String, String, String)>,
    /// Topic, partition and offset of dead letters and parked records, with the reason.
    dead: BTreeMap<(String, i64, i64), String>,
}

/// A rate card.
struct Card {
    recorded: i64,
    effective_from: i64,
    /// Whether it was applied for certain.
    is_certain: bool,
    card: Json,
}

impl Fold {
    /// Reads the topics up to their end. `before` tells how far they were applied before the accounts were read.
    pub fn read(config: &Config, state: &State, before: &BTreeMap<InputPartition, i64>) -> Result<Self, Failure> {
        let mut fold = Self::default();
        fold.read_our_own(config)?;
        let policy = config.rules.policy();
        let control = std::slice::from_ref(&config.topics.control);
        let mut beyond = inputs::read(config, control, before, |record| fold.obey(record, &policy, state))?;
        fold.check_cards(state);
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
            if let Some((name, percent)) = crossing_of(&crossing) {
                note_crossing(&mut self.crossings, name, percent);
            }
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

    fn obey(&mut self, mut record: Record, policy: &Policy, state: &State) {
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
            let card = Card { recorded: record.record_time, effective_from, is_certain: record.is_certain, card };
            self.said.cards.entry(organization.clone()).or_default().push(card);
        }
        if data["set_limit"].is_object() {
            let set = &data["set_limit"];
            let limit = (organization.clone(), selector_of(set), text_of(set, "limit_id"));
            self.limits_set.insert(limit, record.record_time);
        }
        if data["adjust"].is_object() {
            let adjust = &data["adjust"];
            let counts = METERS.map(|meter| adjust[meter].as_i64().unwrap_or(0));
            let (scopes, time) = (scopes_of(adjust), instant(&adjust["event_time"]));
            if record.record_time - time > policy.horizon_ms {
                self.of_old.extend(scopes.iter().map(|scope| (organization.clone(), scope.clone())));
            }
            self.add(&organization, &scopes, time, counts, record, state);
        }
    }

    /// Every rate card is kept. Of many, those that others have replaced are dropped.
    fn check_cards(&mut self, state: &State) {
        for (organization, said) in &self.said.cards {
            let kept = state.accounts.get(organization).map(|account| &account.cards);
            for Card { effective_from, .. } in said.iter().filter(|card| card.is_certain) {
                let is_kept = kept.is_some_and(|kept| {
                    let is_replaced = said.len() > SETTINGS_MAX && kept.first() > Some(effective_from);
                    kept.contains(effective_from) || is_replaced
                });
                if !is_kept {
                    let what = format!("{organization} has no rate card that is effective from {effective_from}");
                    self.wrong.push(("prices", what));
                }
            }
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
        match price(&self.said, &organization, data, time, record.record_time, policy.rules_delay_ms) {
            Some(credits_micro) => counts[CREDITS] = credits_micro,
            // It counts all the same, and is seen to have no price.
            None => counts[UNPRICED] = counts[..CREDITS].iter().sum(),
        }
        self.add(&organization, &scopes_of(data), time, counts, record, state);
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

    fn add(
        &mut self,
        organization: &str,
        scopes: &[String],
        time: i64,
        counts: Counts,
        record: &Record,
        state: &State,
    ) {
        let Some(account) = state.accounts.get(organization) else {
            if record.is_certain {
                self.wrong.push(("organizations", format!("{organization} has usage and no account")));
            }
            return;
        };
        for kind in &KINDS {
            let starts = || account.starts(kind);
            let Some(start) = starts().filter(|start| *start <= time).max() else { continue };
            let lasts_ms = match *kind {
                "hour" => HOUR_MS,
                // A day after which the time zone changes may be longer than 25 hours.
                "day" => 2 * DAY_MS,
                _ => i64::MAX,
            };
            if time - start >= lasts_ms {
                // Where nothing is kept any more, nothing goes down.
                if record.is_certain && counts.iter().any(|count| *count > 0) {
                    self.wrong.push(("organizations", format!("{organization}: the {kind} of {time} is missing")));
                }
                continue;
            }
            for scope in scopes {
                let (low, high) = self.sums.entry((organization.to_owned(), scope.clone(), kind, start)).or_default();
                for (position, count) in counts.iter().enumerate() {
                    // What may be applied and may not makes the range wider, on the side of its sign. What goes down is known
                    // of the period; of an hour and a day it is at most what they had.
                    let is_whole = *kind == "period" || *count >= 0;
                    low[position] += if record.is_certain { *count } else { (*count).min(0) };
                    high[position] += if record.is_certain && is_whole { *count } else { (*count).max(0) };
                }
            }
        }
    }
}

/// The price of an event in micro-credits: rounded once, half up. Nothing where no price is known.
fn price(said: &Said, organization: &str, data: &Json, time: i64, record_time: i64, delay_ms: i64) -> Option<i64> {
    let cards = said.cards.get(organization).into_iter().flatten();
    let in_force = cards.filter(|card| card.recorded + delay_ms <= record_time && card.effective_from <= time);
    let Card { card, .. } = in_force.max_by_key(|card| (card.effective_from, card.recorded))?;
    if let Some(phase) = data["phase"].as_str() {
        return Some(if phase == "completed" { card["completed_run_micro"].as_i64().unwrap_or(0) } else { 0 });
    }
    let model = &card["models"][data["request_model"].as_str().unwrap_or_default()];
    let is_default = matches!(card["unknown_model"].as_str(), None | Some("default"));
    let of_unknown = Some(&card["default_prices"]).filter(|prices| is_default && prices.is_object());
    let prices = Some(model).filter(|prices| prices.is_object()).or(of_unknown)?;
    let names = ["input_micro", "output_micro", "cache_read_micro", "cache_creation_micro"];
    let parts = METERS.iter().zip(names).map(|(tokens, name)| {
        i128::from(data[*tokens].as_i64().unwrap_or(0)) * i128::from(prices[name].as_i64().unwrap_or(0))
    });
    Some(i64::try_from((parts.sum::<i128>() + 500_000) / 1_000_000).unwrap_or(i64::MAX))
}

/// What a limit is set on, as it is named in signals.
fn selector_of(set: &Json) -> String {
    let text = |field: &str| set[field].as_str();
    match (text("scope"), text("every"), text("seat_type")) {
        (Some(scope), _, _) => Scope::parse(scope).map_or_else(|_| scope.to_owned(), |scope| scope.to_string()),
        (_, Some(kind), _) => format!("every:{kind}"),
        (_, _, seat_type) => format!("seat:{}", seat_type.unwrap_or_default()),
    }
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

fn crossing_of(crossing: &Json) -> Option<(String, u64)> {
    let text = |field: &str| crossing[field].as_str();
    let number = |field: &str| crossing[field].as_u64();
    let (organization, scope, limit) = (text("organization_id")?, text("scope")?, text("limit_id")?);
    let start = instant(&crossing["window_start"]);
    let name =
        crossing_name(organization, scope, text("selector").unwrap_or_default(), limit, number("revision")?, start);
    Some((name, number("threshold_percent")?))
}

/// Notes that a share was announced; of one limit and window the highest counts.
pub fn note_crossing(crossings: &mut BTreeMap<String, u64>, name: String, percent: u64) {
    let highest = crossings.entry(name).or_insert(percent);
    *highest = percent.max(*highest);
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
