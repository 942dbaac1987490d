//! What happens in the world that is simulated: the topics' records, and by plain sums what must come of them.

use std::{
    collections::{BTreeMap, BTreeSet},
    sync::Arc,
};

use bursar::{
    contract::{Kind, json::cloud_event, usage::write},
    domain::{
        event::{RunPhase, Tokens, Usage, UsageEvent},
        time::{DAY_MS, HOUR_MS, Timestamp},
    },
    ingest::batch::Made,
    ledger::InputPartition,
    notify::publisher::partition_of,
};
use rand::{Rng, rngs::StdRng};
use serde_json::{Value as Json, json};

/// Partitions of each topic.
pub const PARTITIONS: i32 = 3;
/// Ids are kept this long.
pub const HORIZON_MS: i64 = HOUR_MS;
/// An event may be this much ahead of its record.
pub const EARLY_MS: i64 = 5 * 60_000;
/// The topic of usage.
pub const USAGE: &str = "usage";
/// The topic of control records.
pub const CONTROL: &str = "control";

/// When usage begins: two hours before a billing period ends.
pub const BEGIN_MS: i64 = 1_769_896_800_000;
/// The billing period that then begins.
const NEXT_PERIOD_MS: i64 = 1_769_904_000_000;
const LASTS_MS: i64 = 5 * HOUR_MS;
const ORGANIZATIONS: u32 = 6;
const EVENTS_PER_PARTITION: i64 = 90;
const CAP: i64 = 60_000;
const THRESHOLDS: [i64; 3] = [50, 80, 100];

/// The records of all topics, by partition.
pub type Logs = BTreeMap<InputPartition, Vec<Made>>;

/// What must come of them.
#[derive(Default)]
pub struct Expected {
    /// By organization, scope, window kind and start: input, output, runs started, runs completed, credits.
    pub counters: BTreeMap<(String, String, &'static str, i64), [i64; 5]>,
    /// Positions that end as dead letters.
    pub dead: BTreeSet<(String, i32, i64)>,
    /// Organization, start of the day, share.
    pub crossings: BTreeSet<(String, i64, i64)>,
    /// Ids of control records.
    pub said: BTreeSet<(String, String)>,
    /// By organization, the grants of its workspace `w0`.
    pub grants: BTreeMap<String, BTreeSet<String>>,
}

/// One event, as it is sent once or more often.
#[derive(Clone)]
struct Event {
    id: String,
    organization: u32,
    workspace: u32,
    agent: u32,
    user: u32,
    event_time: i64,
    tokens: Option<(i64, i64)>,
}

/// The partition of a topic.
pub fn input(topic: &str, partition: i32) -> InputPartition {
    InputPartition { topic: topic.into(), partition }
}

/// The name of an organization.
pub fn organization(number: u32) -> String {
    format!("o{number}")
}

/// Tells a story.
pub fn tell(random: &mut StdRng) -> (Logs, Expected) {
    let (mut logs, mut expected) = (Logs::new(), Expected::default());
    write_control(random, &mut logs, &mut expected);
    let events = write_usage(random, &mut logs, &mut expected);
    for event in events.values() {
        count(event, &mut expected);
    }
    find_crossings(&mut expected);
    for ((organization, ..), counts) in &mut expected.counters {
        crate::check::forget_price(organization, counts);
    }
    (logs, expected)
}

fn write_control(random: &mut StdRng, logs: &mut Logs, expected: &mut Expected) {
    let topic: Arc<str> = CONTROL.into();
    let mut said: Vec<(i64, u32, String, Json)> = Vec::new();
    for number in 0..ORGANIZATIONS {
        let at = BEGIN_MS - 600_000;
        for (id, command) in [
            (
                "card",
                json!({ "set_rate_card": { "effective_from": "2020-01-01T00:00:00Z",
                "default_prices": { "input_micro": 3_000_000, "output_micro": 15_000_000 } } }),
            ),
            (
                "notify",
                json!({ "set_limit": { "limit_id": "day", "scope": "org", "meter": "input_tokens",
                "window": "day", "cap": CAP, "thresholds_percent": THRESHOLDS, "action": "notify" } }),
            ),
            (
                "pause",
                json!({ "set_limit": { "limit_id": "hour", "every": "agent", "meter": "input_tokens",
                "window": "hour", "cap": CAP / 20, "action": "pause" } }),
            ),
            ("pool", json!({ "set_pool": { "scope": "ws:w0", "included_micro": 100_000 } })),
        ] {
            said.push((at, number, id.to_owned(), command));
        }
        for nth in 0..random.random_range(0..4) {
            let at = BEGIN_MS + random.random_range(0..LASTS_MS);
            let grant = format!("g{nth}");
            expected.grants.entry(organization(number)).or_default().insert(grant.clone());
            let command = json!({ "grant": { "scope": "ws:w0", "grant_id": grant, "kind": "prepaid",
                "amount_micro": random.random_range(1..60_000) } });
            said.push((at, number, format!("grant-{nth}"), command));
        }
    }
    for partition in 0..PARTITIONS {
        logs.insert(input(CONTROL, partition), Vec::new());
    }
    said.sort_by_key(|(at, ..)| *at);
    for (at, number, id, mut command) in said {
        let organization = organization(number);
        command["organization_id"] = organization.as_str().into();
        command["actor"] = "admin".into();
        let record = cloud_event(Kind::Control, "simulation", &id, Timestamp::from_ms(at), command).to_string();
        expected.said.insert((organization.clone(), id));
        let partition = partition_of(&organization, PARTITIONS);
        append(logs, &topic, partition, at, organization, record.into_bytes());
    }
}

fn append(logs: &mut Logs, topic: &Arc<str>, partition: i32, at: i64, key: String, payload: Vec<u8>) -> i64 {
    let log = logs.entry(input(topic, partition)).or_default();
    let offset = log.len() as i64;
    log.push(Made {
        topic: Arc::clone(topic),
        partition,
        offset,
        timestamp: Timestamp::from_ms(at),
        key: key.into_bytes(),
        payload: Some(payload),
    });
    offset
}

/// Writes usage and returns the events that count.
fn write_usage(random: &mut StdRng, logs: &mut Logs, expected: &mut Expected) -> BTreeMap<String, Event> {
    let topic: Arc<str> = USAGE.into();
    let (mut sent, mut counted): (Vec<Event>, BTreeMap<String, Event>) = (Vec::new(), BTreeMap::new());
    let mut newest = [0; PARTITIONS as usize];
    for partition in 0..PARTITIONS {
        logs.insert(input(USAGE, partition), Vec::new());
    }
    for nth in 0..EVENTS_PER_PARTITION * i64::from(PARTITIONS) {
        let at = BEGIN_MS + nth * LASTS_MS / (EVENTS_PER_PARTITION * i64::from(PARTITIONS));
        let at = at - random.random_range(0..2_000);
        // A resend comes at another offset, and may come by another partition.
        let resent = (random.random_bool(0.15) && !sent.is_empty())
            .then(|| sent[sent.len() - 1 - random.random_range(0..sent.len().min(60))].clone());
        let event = resent.unwrap_or_else(|| new_event(random, nth, at));
        let organization = organization(event.organization);
        let anywhere = event.organization < 2;
        let partition =
            if anywhere { random.random_range(0..PARTITIONS) } else { partition_of(&organization, PARTITIONS) };
        let record_time = &mut newest[partition as usize];
        *record_time = at.max(*record_time);
        let is_garbage = random.random_bool(0.01);
        let payload = if is_garbage { vec![0xff, nth as u8] } else { payload_of(&event, &organization) };
        let offset = append(logs, &topic, partition, at, organization, payload);
        let in_time = event.event_time <= *record_time + EARLY_MS && event.event_time >= *record_time - HORIZON_MS;
        if is_garbage || !in_time {
            expected.dead.insert((USAGE.to_owned(), partition, offset));
        } else {
            counted.insert(event.id.clone(), event.clone());
        }
        if !is_garbage {
            sent.push(event);
        }
    }
    counted
}

fn new_event(random: &mut StdRng, nth: i64, at: i64) -> Event {
    let behind = match random.random_range(0..100) {
        0..90 => random.random_range(0..60_000),
        90..95 => random.random_range(0..50 * 60_000),
        95..98 => random.random_range(70 * 60_000..120 * 60_000),
        _ => -random.random_range(10 * 60_000..20 * 60_000),
    };
    Event {
        id: format!("e{nth}"),
        organization: if random.random_bool(0.4) {
            random.random_range(0..2)
        } else {
            random.random_range(2..ORGANIZATIONS)
        },
        workspace: random.random_range(0..2),
        agent: random.random_range(0..2),
        user: random.random_range(0..2),
        event_time: at - behind,
        tokens: random.random_bool(0.8).then(|| (random.random_range(1..3_000), random.random_range(1..500))),
    }
}

fn payload_of(event: &Event, organization: &str) -> Vec<u8> {
    let usage = match event.tokens {
        Some((input, output)) => {
            Usage::Tokens { request_model: "any", tokens: Tokens { input, output, ..Tokens::default() } }
        }
        None => Usage::Run { phase: RunPhase::Completed },
    };
    let (workspace, agent, user) = names(event);
    let event = UsageEvent {
        workspace_id: Some(&workspace),
        agent_id: Some(&agent),
        user_id: Some(&user),
        ..UsageEvent::new(&event.id, "simulation", Timestamp::from_ms(event.event_time), organization, usage)
    };
    let mut payload = Vec::new();
    write(&event, &mut payload);
    payload
}

fn names(event: &Event) -> (String, String, String) {
    (format!("w{}", event.workspace), format!("a{}", event.agent), format!("u{}", event.user))
}

/// Adds an event to the plain sums. Days and periods are those of UTC.
fn count(event: &Event, expected: &mut Expected) {
    let (workspace, agent, user) = names(event);
    let scopes =
        ["org".to_owned(), format!("ws:{workspace}"), format!("agent:{workspace}/{agent}"), format!("user:{user}")];
    let period = if event.event_time < NEXT_PERIOD_MS { "period before" } else { "period" };
    let starts = [
        ("hour", event.event_time / HOUR_MS * HOUR_MS),
        ("day", event.event_time / DAY_MS * DAY_MS),
        // January has 31 days.
        ("period", if period == "period" { NEXT_PERIOD_MS } else { NEXT_PERIOD_MS - 31 * DAY_MS }),
    ];
    let (input, output) = event.tokens.unwrap_or_default();
    let credits = (input * 3_000_000 + output * 15_000_000 + 500_000) / 1_000_000;
    let runs_completed = i64::from(event.tokens.is_none());
    for scope in scopes {
        for (kind, start) in starts {
            let key = (organization(event.organization), scope.clone(), kind, start);
            let sums = expected.counters.entry(key).or_default();
            for (sum, added) in sums.iter_mut().zip([input, output, 0, runs_completed, credits]) {
                *sum += added;
            }
        }
    }
}

/// Usage only grows, so every share that the sum reaches was crossed.
fn find_crossings(expected: &mut Expected) {
    for ((organization, scope, kind, start), sums) in &expected.counters {
        for percent in THRESHOLDS.into_iter().filter(|percent| sums[0] * 100 >= CAP * percent) {
            if scope == "org" && *kind == "day" {
                expected.crossings.insert((organization.clone(), *start, percent));
            }
        }
    }
}
