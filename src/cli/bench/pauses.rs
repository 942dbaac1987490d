//! How long it takes from the event that reaches a cap to the pause on the topic.
//!
//! Every organization here has a limit that its only event reaches. When that event is to be sent is fixed beforehand, and
//! the wait begins then: where the load or its sender is late, the waits show it (no coordinated omission).

use std::{
    collections::HashMap,
    sync::{
        Arc,
        atomic::{AtomicBool, Ordering},
    },
    time::{Duration, Instant},
};

use hdrhistogram::Histogram;
use rand::{Rng, SeedableRng, rngs::StdRng};
use rdkafka::{Offset, producer::Producer};
use serde_json::json;
use tokio::runtime::Handle;

use super::{
    backlog::wait_for,
    figures::Figures,
    fill::{self, Format, GATHERED_MS, Names, Organizations, Shape, producer, send},
    probe::RedisProbe,
};
use crate::{
    cli::Failure,
    clock::Clock,
    config::Config,
    contract::{Kind, json::cloud_event, usage::write},
    domain::event::Tokens,
    notify::reader::{TopicReader, data_of},
    service::Service,
};

/// Pauses in a second.
const PAUSES_PER_S: u32 = 50;

/// How often the load is sent.
const TICK: Duration = Duration::from_millis(1);

/// How long the last pauses may take.
const LAST_WAIT: Duration = Duration::from_secs(20);

/// What is measured.
pub struct Steady {
    /// What the case is called.
    pub case: &'static str,
    /// How other events fall upon organizations.
    pub shape: Shape,
    /// How many events come before, so that accounts are in memory, and over how many organizations.
    pub warm_up: fill::Load,
    /// Other events in a second.
    pub events_per_s: u64,
    /// Pauses.
    pub pauses: u32,
    /// Whether a second member comes after a third of the time, and goes after two thirds.
    pub rebalances: bool,
}

/// Starts a service, waits until it has counted what warms it up, sends the load and measures each pause.
pub async fn measure(config: &Config, steady: &Steady, figures: &mut Figures) -> Result<(), Failure> {
    let said = tokio::task::block_in_place(|| {
        say_limits(config, steady)?;
        fill::say_to_all(config, steady.warm_up, &fill::prices())
    })?;
    let service = Service::start(config, Arc::new(AtomicBool::new(false))).await?;
    let said = said + u64::from(steady.pauses);
    wait_for(&service, said, Duration::from_millis(10)).await?;
    tokio::task::block_in_place(|| fill::fill(config, steady.warm_up, steady.shape, Format::Avro))?;
    wait_for(&service, said + steady.warm_up.events, Duration::from_millis(10)).await?;
    let redis = RedisProbe::open(config).await?;
    redis.rewrite_logs().await?;
    let (waits, sent) = tokio::task::block_in_place(|| send_and_wait(config, steady))?;
    let case = steady.case;
    figures.add(case, "events_per_s", sent, "1/s");
    figures.add(case, "pauses", waits.len(), "");
    for (measure, percentile) in [
        ("pause_latency_ms_p50", 50.0),
        ("pause_latency_ms_p99", 99.0),
        ("pause_latency_ms_p99_9", 99.9),
        ("pause_latency_ms_max", 100.0),
    ] {
        figures.add_thousandths(case, measure, waits.value_at_percentile(percentile), "ms");
    }
    service.stop().await?;
    redis.remove_all(config).await
}

fn organization(number: u32) -> String {
    format!("capped-{number}")
}

/// A cap of one token on the agent of each organization.
fn say_limits(config: &Config, steady: &Steady) -> Result<(), Failure> {
    let producer = producer(config, GATHERED_MS)?;
    for number in 0..steady.pauses {
        let organization = organization(number);
        let data = json!({ "organization_id": organization, "actor": "bench", "set_limit": { "limit_id": "l",
            "scope": "agent:ws/agent", "meter": "input_tokens", "window": "day", "cap": 1, "action": "pause" } });
        let record = cloud_event(Kind::Control, "bench", "limit", Clock::System.now(), data).to_string();
        send(&producer, &config.topics.control, &organization, record.as_bytes())?;
    }
    Ok(producer.flush(Duration::from_secs(30))?)
}

/// Returns the waits in microseconds, and how many other events were sent in a second.
fn send_and_wait(config: &Config, steady: &Steady) -> Result<(Histogram<u64>, u64), Failure> {
    let reader = TopicReader::open(&config.client()?, &config.topics.pauses, Offset::End, Duration::from_secs(10))?;
    let begin = Instant::now() + Duration::from_millis(200);
    let all_sent = AtomicBool::new(false);
    let (runtime, third) = (Handle::current(), to_be_sent(steady.pauses) / 3);
    std::thread::scope(|scope| {
        let heard = scope.spawn(|| hear(&reader, steady.pauses, &all_sent));
        let other = steady
            .rebalances
            .then(|| scope.spawn(|| runtime.block_on(come_and_go(config, third)).map_err(|error| error.to_string())));
        let sent = send_load(config, steady, begin);
        all_sent.store(true, Ordering::Relaxed);
        let heard = heard.join().map_err(|_| "the reader of pauses panicked")?;
        let sent = sent?;
        if let Some(other) = other {
            other.join().map_err(|_| "the second member panicked")??;
        }
        let mut waits = Histogram::new(3)?;
        for number in 0..steady.pauses {
            let at =
                heard.get(&organization(number)).ok_or_else(|| format!("{} did not pause", organization(number)))?;
            waits.record(u64::try_from(at.saturating_duration_since(begin + to_be_sent(number)).as_micros())?)?;
        }
        Ok((waits, sent))
    })
}

/// A second member, that comes after `third` and goes after as much again.
async fn come_and_go(config: &Config, third: Duration) -> Result<(), Failure> {
    tokio::time::sleep(third).await;
    let service = Service::start(config, Arc::new(AtomicBool::new(false))).await?;
    tokio::time::sleep(third).await;
    Ok(service.stop().await?)
}

/// When the event of an organization is to be sent, after the begin.
fn to_be_sent(number: u32) -> Duration {
    Duration::from_secs(1) * number / PAUSES_PER_S
}

/// When each pause was seen.
fn hear(reader: &TopicReader, pauses: u32, all_sent: &AtomicBool) -> HashMap<String, Instant> {
    let mut heard = HashMap::new();
    let mut until = None;
    while heard.len() < pauses as usize && until.is_none_or(|until| Instant::now() < until) {
        if all_sent.load(Ordering::Relaxed) {
            until.get_or_insert(Instant::now() + LAST_WAIT);
        }
        let Some((_, _, Some(payload))) = reader.next(Duration::from_millis(20)) else { continue };
        let now = Instant::now();
        let Some(pause) = data_of(&payload) else { continue };
        if let Some(organization_id) = pause["organization_id"].as_str() {
            heard.entry(organization_id.to_owned()).or_insert(now);
        }
    }
    heard
}

/// Sends what was to be sent by now, again and again, until the last event that reaches a cap.
fn send_load(config: &Config, steady: &Steady, begin: Instant) -> Result<u64, Failure> {
    let topic = &config.topics.usage[0];
    // What may pause somebody is worth a request of its own.
    let (gathers, hurries) = (producer(config, GATHERED_MS)?, producer(config, 0)?);
    let organizations = Organizations::new(steady.shape, steady.warm_up.organizations);
    let mut random = StdRng::seed_from_u64(7);
    let (mut payload, mut sent, mut capped) = (Vec::with_capacity(160), 0, 0);
    while capped < steady.pauses {
        std::thread::sleep(TICK);
        let since = begin.elapsed();
        while capped < steady.pauses && to_be_sent(capped) <= since {
            let names = Names {
                id: "capped".to_owned(),
                organization: organization(capped),
                workspace: "ws".to_owned(),
                agent: "agent".to_owned(),
                user: "user".to_owned(),
            };
            payload.clear();
            write(&names.event(Clock::System.now(), Tokens { input: 1, ..Tokens::default() }), &mut payload);
            send(&hurries, topic, &names.organization, &payload)?;
            capped += 1;
        }
        let wanted = since.as_millis() * u128::from(steady.events_per_s) / 1_000;
        while u128::from(sent) < wanted {
            let names = Names::drawn(organizations.draw(&mut random), sent.to_string(), &mut random);
            payload.clear();
            let tokens = Tokens { input: random.random_range(10..5_000), ..Tokens::default() };
            write(&names.event(Clock::System.now(), tokens), &mut payload);
            send(&gathers, topic, &names.organization, &payload)?;
            sent += 1;
        }
    }
    let took = begin.elapsed();
    hurries.flush(Duration::from_secs(30))?;
    gathers.flush(Duration::from_secs(30))?;
    Ok(super::figures::per_second(sent, took))
}
