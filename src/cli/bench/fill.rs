//! The load: what topics are filled with, and what organizations are told before.

use std::time::Duration;

use rand::{Rng, SeedableRng, rngs::StdRng};
use rdkafka::{
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

/// How much, over how many.
#[derive(Clone, Copy)]
pub struct Load {
    /// Events.
    pub events: u64,
    /// Organizations.
    pub organizations: u32,
}

/// How events fall upon organizations.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Shape {
    /// The n-th has a share of 1/n.
    Zipf,
    /// All alike.
    Uniform,
    /// Nine of ten events are of the first, the others fall upon all alike.
    Hot,
}

/// How events are written.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Format {
    /// Avro in single-object encoding.
    Avro,
    /// Avro with the id of a registry.
    Registry,
    /// CloudEvents in JSON.
    Json,
}

/// The id under which the registry of the bench knows the schema of token events.
pub const SCHEMA_ID: u32 = 1;

/// Fills the usage topic and returns the mean size of an event.
pub fn fill(config: &Config, load: Load, shape: Shape, format: Format) -> Result<u64, Failure> {
    let producer = producer(config, GATHERED_MS)?;
    let mut random = StdRng::seed_from_u64(7);
    let organizations = Organizations::new(shape, load.organizations);
    let start = Clock::System.now().plus_ms(-SPAN_MS);
    let (mut payload, mut bytes) = (Vec::with_capacity(160), 0);
    for number in 0..load.events {
        let organization = organizations.draw(&mut random);
        let names = Names::drawn(organization, format!("{number:012}"), &mut random);
        let in_order = start.plus_ms((i128::from(number) * i128::from(SPAN_MS) / i128::from(load.events)) as i64);
        payload.clear();
        let tokens = Tokens {
            input: random.random_range(10..5_000),
            output: random.random_range(10..1_000),
            ..Tokens::default()
        };
        let event = names.event(in_order.plus_ms(-random.random_range(0..DISORDER_MS)), tokens);
        encode(&event, format, &mut payload);
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
    let producer = producer(config, GATHERED_MS)?;
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

/// How long senders gather for whom a wait does not matter.
pub const GATHERED_MS: u32 = 5;

/// A producer that keeps the events of an organization together, as gateways do. It gathers for up to `linger_ms`.
pub fn producer(config: &Config, linger_ms: u32) -> Result<ThreadedProducer<DefaultProducerContext>, Failure> {
    let mut client = config.client()?;
    client.set("partitioner", "murmur2_random").set("linger.ms", linger_ms.to_string());
    client.set("compression.type", "lz4");
    client.set("queue.buffering.max.messages", "500000");
    Ok(client.create()?)
}

/// Hands a record to the producer, and waits while that has no room.
pub fn send(
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

/// Who an event is of.
pub struct Names {
    /// Its id.
    pub id: String,
    /// The organization.
    pub organization: String,
    /// The workspace.
    pub workspace: String,
    /// The agent.
    pub agent: String,
    /// The user.
    pub user: String,
}

impl Names {
    /// Any agent and any user of an organization.
    pub fn drawn(organization: usize, id: String, random: &mut StdRng) -> Self {
        let agent = random.random_range(0..AGENTS);
        Self {
            id,
            organization: format!("org-{organization:05}"),
            workspace: format!("ws-{}", agent % WORKSPACES),
            agent: format!("agent-{agent:02}"),
            user: format!("user-{}", random.random_range(0..USERS)),
        }
    }

    /// A token event of theirs.
    pub fn event(&self, event_time: Timestamp, tokens: Tokens) -> UsageEvent<'_> {
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

/// Appends an event in a format.
fn encode(event: &UsageEvent<'_>, format: Format, to: &mut Vec<u8>) {
    match format {
        Format::Avro => write(event, to),
        Format::Registry => {
            let mut single_object = Vec::with_capacity(160);
            write(event, &mut single_object);
            to.push(0);
            to.extend_from_slice(&SCHEMA_ID.to_be_bytes());
            // Behind the two marks and the fingerprint of single-object encoding.
            to.extend_from_slice(&single_object[10..]);
        }
        Format::Json => {
            let Usage::Tokens { request_model, tokens } = event.usage else { unreachable!("the load is token events") };
            let data = json!({ "organization_id": event.organization_id, "workspace_id": event.workspace_id,
                "agent_id": event.agent_id, "user_id": event.user_id, "product": event.product,
                "request_model": request_model, "input_tokens": tokens.input, "output_tokens": tokens.output });
            let cloud_event = cloud_event(Kind::Token, event.source, event.id, event.event_time, data);
            to.extend_from_slice(cloud_event.to_string().as_bytes());
        }
    }
}

/// Draws organizations, in whole numbers.
pub struct Organizations {
    shape: Shape,
    /// Up to where the share of each reaches.
    upto: Vec<u64>,
}

impl Organizations {
    /// So many, upon which events fall in a shape.
    pub fn new(shape: Shape, organizations: u32) -> Self {
        let mut sum = 0;
        let shares = (1..=u64::from(organizations.max(1))).map(|rank| {
            sum += if shape == Shape::Zipf { 1_000_000_000_000 / rank } else { 1_000_000 };
            sum
        });
        Self { shape, upto: shares.collect() }
    }

    /// The number of one.
    pub fn draw(&self, random: &mut StdRng) -> usize {
        if self.shape == Shape::Hot && random.random_range(0..10) < 9 {
            return 0;
        }
        let total = *self.upto.last().expect("there is at least one organization");
        let at = random.random_range(0..total);
        self.upto.partition_point(|upto| *upto <= at)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::{contract::newest, ingest::decode::Decoder};

    #[test]
    fn events_fall_upon_organizations_as_they_are_told() {
        for (shape, of_the_first, of_the_last) in [
            (Shape::Zipf, 3_300..3_500, 300..400),
            (Shape::Uniform, 900..1_100, 900..1_100),
            (Shape::Hot, 9_000..9_200, 50..150),
        ] {
            let (organizations, mut random) = (Organizations::new(shape, 10), StdRng::seed_from_u64(7));
            let mut drawn = [0; 10];
            (0..10_000).for_each(|_| drawn[organizations.draw(&mut random)] += 1);
            assert!(of_the_first.contains(&drawn[0]) && of_the_last.contains(&drawn[9]), "{shape:?} {drawn:?}");
        }
    }

    #[test]
    fn an_event_is_the_same_in_every_format() {
        let names = Names {
            id: "1".to_owned(),
            organization: "acme".to_owned(),
            workspace: "ws".to_owned(),
            agent: "a".to_owned(),
            user: "u".to_owned(),
        };
        let event =
            names.event(Timestamp::from_ms(1_769_000_000_123), Tokens { input: 3, output: 4, ..Tokens::default() });
        let mut decoder = Decoder::new(true);
        decoder.learn(SCHEMA_ID, Some(&newest(Kind::Token).schema.canonical_form()));
        for format in [Format::Avro, Format::Registry, Format::Json] {
            let mut payload = Vec::new();
            encode(&event, format, &mut payload);
            assert_eq!(*decoder.usage(&payload).expect("an event").event(), event, "{format:?}");
        }
    }
}
