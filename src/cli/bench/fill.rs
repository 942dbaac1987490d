//! The load: what the topic is filled with, and the single events whose pauses are waited for.

use std::{
    collections::HashMap,
    time::{Duration, Instant},
};

use hdrhistogram::Histogram;
use rand::{Rng, SeedableRng, rngs::StdRng};
use rdkafka::{
    Offset,
    error::{KafkaError, RDKafkaErrorCode},
    producer::{BaseRecord, DefaultProducerContext, Producer, ThreadedProducer},
};
use serde_json::{Value as Json, json};

use crate::{
    cli::Failure,
    clock::Clock,
    config::Config,
    contract::{Kind, json::cloud_event, usage::write},
    domain::{
        event::{Tokens, Usage, UsageEvent},
        time::Timestamp,
    },
    notify::reader::{TopicReader, data_of},
};

/// Workspaces of each organization.
pub const WORKSPACES: u32 = 5;
/// Agents of each organization.
pub const AGENTS: u32 = 20;
/// Users of each organization.
pub const USERS: u32 = 10;
/// Event times lie within this.
const SPAN_MS: i64 = 3_600_000;
/// Events are up to this much out of order.
const DISORDER_MS: i64 = 2_000;
/// Events that one organization's limit allows.
const CAP: i64 = 3;

/// How much, over how many.
#[derive(Clone, Copy)]
pub struct Load {
    /// Events.
    pub events: u64,
    /// Organizations, the n-th with a share of 1/n.
    pub organizations: u32,
}

/// Fills the usage topic and returns the mean size of an event.
pub fn fill(config: &Config, load: Load) -> Result<u64, Failure> {
    let producer = producer(config)?;
    let mut random = StdRng::seed_from_u64(7);
    let organizations = Zipf::new(load.organizations);
    let start = Clock::System.now().plus_ms(-SPAN_MS);
    let (mut payload, mut bytes) = (Vec::with_capacity(160), 0);
    for number in 0..load.events {
        let organization = organizations.draw(&mut random);
        let agent = random.random_range(0..AGENTS);
        let in_order = start.plus_ms((i128::from(number) * i128::from(SPAN_MS) / i128::from(load.events)) as i64);
        let names = Names {
            id: format!("{number:012}"),
            organization: format!("org-{organization:05}"),
            workspace: format!("ws-{}", agent % WORKSPACES),
            agent: format!("agent-{agent:02}"),
            user: format!("user-{}", random.random_range(0..USERS)),
        };
        payload.clear();
        let tokens = Tokens {
            input: random.random_range(10..5_000),
            output: random.random_range(10..1_000),
            ..Tokens::default()
        };
        write(&names.event(in_order.plus_ms(-random.random_range(0..DISORDER_MS)), tokens), &mut payload);
        bytes += payload.len() as u64;
        send(&producer, &config.topics.usage[0], &names.organization, &payload)?;
    }
    producer.flush(Duration::from_secs(120))?;
    Ok(bytes / load.events.max(1))
}

/// Prices of what is used.
pub fn prices() -> Vec<Json> {
    vec![json!({ "set_rate_card": { "effective_from": "2020-01-01T00:00:00Z",
        "default_prices": { "input_micro": 3_000_000, "output_micro": 15_000_000 } } })]
}

/// Prices, seats for all users, a pool, and limits on every kind of scope, none of which is reached.
pub fn prices_and_limits() -> Vec<Json> {
    let limit = |id: &str, on: &str, kind: &str, meter: &str, window: &str| json!({ "set_limit": { "limit_id": id, on: kind, "meter": meter, "window": window, "cap": 1_i64 << 50 } });
    let mut commands = prices();
    commands.extend([
        json!({ "set_mode": { "mode": "seat_enterprise" } }),
        json!({ "set_source": { "source": "postpaid", "on": true } }),
        json!({ "set_seat_type": { "seat_type": "standard", "session_micro": 1_000_000, "week_micro": 5_000_000 } }),
        json!({ "set_pool": { "scope": "org", "included_micro": 1_i64 << 50 } }),
        limit("month", "every", "organization", "extra_credits_micro", "period"),
        limit("daily", "every", "workspace", "credits_micro", "day"),
        limit("burst", "every", "agent", "input_tokens", "minute"),
        limit("hourly", "every", "agent", "input_tokens", "hour"),
        limit("spend", "seat_type", "standard", "extra_credits_micro", "period"),
    ]);
    let member = |user| json!({ "set_member": { "user_id": format!("user-{user}"), "seat_type": "standard" } });
    commands.extend((0..USERS).map(member));
    commands
}

/// Says commands to every organization. Returns how many records that are.
pub fn say_to_all(config: &Config, load: Load, commands: &[Json]) -> Result<u64, Failure> {
    let producer = producer(config)?;
    let mut said = 0;
    for organization in 0..load.organizations {
        let organization = format!("org-{organization:05}");
        for (number, command) in commands.iter().enumerate() {
            let mut data = command.clone();
            data["organization_id"] = organization.as_str().into();
            data["actor"] = "bench".into();
            let id = number.to_string();
            let record = cloud_event(Kind::Control, "bench", &id, Clock::System.now(), data).to_string();
            send(&producer, &config.topics.control, &organization, record.as_bytes())?;
            said += 1;
        }
    }
    producer.flush(Duration::from_secs(120))?;
    Ok(said)
}

/// Each organization has a limit; its last event reaches the cap. Measures until the pause is on the topic, one
/// organization at a time.
pub async fn measure_pauses(config: &Config, pauses: u32) -> Result<Histogram<u64>, Failure> {
    let client = config.client()?;
    let reader = TopicReader::open(&client, &config.topics.pauses, Offset::End, Duration::from_secs(10))?;
    let producer = producer(config)?;
    for number in 0..pauses {
        let organization = format!("light-{number}");
        let data = json!({ "organization_id": organization, "actor": "bench", "set_limit": { "limit_id": "l",
            "scope": "agent:ws/agent", "meter": "input_tokens", "window": "day", "cap": CAP, "action": "pause" } });
        let record = cloud_event(Kind::Control, "bench", "limit", Clock::System.now(), data).to_string();
        send(&producer, &config.topics.control, &organization, record.as_bytes())?;
    }
    producer.flush(Duration::from_secs(30))?;
    tokio::time::sleep(Duration::from_secs(3)).await;
    let mut latencies = Histogram::new(3)?;
    let mut produced = HashMap::new();
    for number in 0..pauses {
        let organization = format!("light-{number}");
        for nth in 0..CAP {
            let names = Names {
                id: format!("{nth}"),
                organization: organization.clone(),
                workspace: "ws".to_owned(),
                agent: "agent".to_owned(),
                user: "user".to_owned(),
            };
            let mut payload = Vec::new();
            write(&names.event(Clock::System.now(), Tokens { input: 1, ..Tokens::default() }), &mut payload);
            // The last of them reaches the cap.
            produced.insert(organization.clone(), Instant::now());
            send(&producer, &config.topics.usage[0], &organization, &payload)?;
            std::thread::sleep(Duration::from_millis(3));
        }
        let until = Instant::now() + Duration::from_secs(5);
        while Instant::now() < until {
            let Some((_, _, Some(payload))) = reader.next(Duration::from_millis(20)) else { continue };
            let Some(pause) = data_of(&payload) else { continue };
            if let Some(at) = pause["organization_id"].as_str().and_then(|paused| produced.remove(paused)) {
                latencies.record(u64::try_from(at.elapsed().as_millis())?)?;
                break;
            }
        }
    }
    if latencies.len() < u64::from(pauses) {
        return Err(format!("{} of {pauses} pauses came", latencies.len()).into());
    }
    Ok(latencies)
}

fn producer(config: &Config) -> Result<ThreadedProducer<DefaultProducerContext>, Failure> {
    let mut client = config.client()?;
    client.set("partitioner", "murmur2_random").set("linger.ms", "1").set("compression.type", "lz4");
    client.set("queue.buffering.max.messages", "500000");
    Ok(client.create()?)
}

fn send(
    producer: &ThreadedProducer<DefaultProducerContext>,
    topic: &str,
    key: &str,
    payload: &[u8],
) -> Result<(), Failure> {
    loop {
        match producer.send(BaseRecord::to(topic).key(key).payload(payload)) {
            Ok(()) => return Ok(()),
            Err((KafkaError::MessageProduction(RDKafkaErrorCode::QueueFull), _)) => {
                std::thread::sleep(Duration::from_millis(2))
            }
            Err((error, _)) => return Err(error.into()),
        }
    }
}

struct Names {
    id: String,
    organization: String,
    workspace: String,
    agent: String,
    user: String,
}

impl Names {
    fn event(&self, event_time: Timestamp, tokens: Tokens) -> UsageEvent<'_> {
        let usage = Usage::Tokens { request_model: "large-2026-01", tokens };
        UsageEvent {
            workspace_id: Some(&self.workspace),
            agent_id: Some(&self.agent),
            user_id: Some(&self.user),
            product: Some("coding"),
            ..UsageEvent::new(&self.id, "gateway-1", event_time, &self.organization, usage)
        }
    }
}

/// Draws ranks with a share of 1/rank, in whole numbers.
struct Zipf {
    upto: Vec<u64>,
}

impl Zipf {
    fn new(ranks: u32) -> Self {
        let mut sum = 0;
        let shares = (1..=u64::from(ranks.max(1))).map(|rank| {
            sum += 1_000_000_000_000 / rank;
            sum
        });
        Self { upto: shares.collect() }
    }

    fn draw(&self, random: &mut StdRng) -> usize {
        let total = *self.upto.last().expect("there is at least one rank");
        let at = random.random_range(0..total);
        self.upto.partition_point(|upto| *upto <= at)
    }
}
