//! `bursar bench`: speed and memory on real Kafka and Redis, in one run, in turn, with medians and ranges.
//!
//! The cases: `bare_poll` and `bare_batch` read the topic without decoding it; `full` is Bursar as it is, with prices in
//! every organization. `once_off` is the same without ids, provenance, progress and outbox; only a build with the feature
//! `faults` has it. `unpriced` is `full` without prices, which counts tokens and no credits. `full_limits` is `full` with
//! seats, a pool, and limits on every kind of scope in every organization.
//! Latency is measured at light load. CPU is that of this process; Redis's is its own account of itself (`INFO cpu`).

pub mod fill;
mod measure;

use std::{
    sync::{Arc, atomic::AtomicBool},
    time::{Duration, Instant},
};

use clap::Args;
use comfy_table::{Table, presets::UTF8_BORDERS_ONLY};

use self::{
    fill::Load,
    measure::{Measures, cpu_time},
};
use super::Failure;
use crate::{
    config::{Config, TopicsConfig},
    service::Service,
};

/// How long a case may take before the bench gives up.
const CASE_WAIT: Duration = Duration::from_secs(900);

/// The first of so many parts of the events warms up: until most accounts are in memory, the kernel's clearing of that
/// memory costs as much as the counting, once.
const WARM_UP_SHARE: u64 = 2;

/// What `bursar bench` is told.
#[derive(Debug, Args)]
pub struct BenchArguments {
    /// Events to fill the topic with.
    #[arg(long, default_value_t = 5_000_000)]
    events: u64,
    /// Organizations, Zipf 1.0; each has 5 workspaces, 20 agents and 10 users.
    #[arg(long, default_value_t = 10_000)]
    organizations: u32,
    /// Partitions of the topic.
    #[arg(long, default_value_t = 16)]
    partitions: i32,
    /// Repetitions of each case.
    #[arg(long, default_value_t = 3)]
    repeat: u32,
    /// Pauses measured at light load.
    #[arg(long, default_value_t = 200)]
    pauses: u32,
    /// One line of JSON per figure instead of a table.
    #[arg(long)]
    json: bool,
}

/// Fills a topic of its own, runs the cases in turn and prints the figures.
pub async fn bench(config: &Config, arguments: &BenchArguments) -> Result<(), Failure> {
    let config = of_its_own(config, arguments);
    crate::topics::ensure(&config).await?;
    let load = Load { events: arguments.events, organizations: arguments.organizations };
    let (priced, limited) = (apart(&config, "priced"), apart(&config, "limits"));
    let mut said = Vec::new();
    for (apart, commands) in [(&priced, fill::prices()), (&limited, fill::prices_and_limits())] {
        crate::topics::ensure(apart).await?;
        eprintln!("telling {} organizations {} things each", load.organizations, commands.len());
        said.push(fill::say_to_all(apart, load, &commands)?);
    }
    eprintln!("filling {} with {} events", config.topics.usage[0], load.events);
    let bytes_per_event = fill::fill(&config, load)?;
    let mut measures = Measures::default();
    measures.add("topic", "bytes_per_event", bytes_per_event, "B");
    for round in 1..=arguments.repeat {
        eprintln!("round {round} of {}", arguments.repeat);
        bare_poll(&config, load.events, &mut measures)?;
        bare_batch(&config, load.events, &mut measures)?;
        full("unpriced", &of_round(&config, round), load.events, &mut measures).await?;
        full("full", &after_obeying(&priced, round, said[0], &config).await?, load.events, &mut measures).await?;
        #[cfg(feature = "faults")]
        once_off(
            &after_obeying(&under_another_group(&priced), round, said[0], &config).await?,
            load.events,
            &mut measures,
        )
        .await?;
        let limited = after_obeying(&limited, round, said[1], &config).await?;
        full("full_limits", &limited, load.events, &mut measures).await?;
    }
    pause_latency(&config, arguments.pauses, &mut measures).await?;
    if arguments.json {
        measures.print_json()
    } else {
        print_table(&measures)
    }
    Ok(())
}

/// The configuration with topics, group and keys that nobody else uses, and one worker.
fn of_its_own(config: &Config, arguments: &BenchArguments) -> Config {
    let mut config = config.clone();
    let name = format!("bench-{:08x}", rand::random::<u32>());
    config.topics = config.topics.under(&name);
    config.topics.usage.truncate(1);
    config.kafka.group_id = name.clone();
    config.kafka.create_topics = true;
    config.kafka.replication_factor = 1;
    config.kafka.partitions = arguments.partitions;
    config.redis.prefix = name;
    config.work.workers = Some(1);
    config.rules.delay_ms = 100;
    config.observe.listen = ([127, 0, 0, 1], 0).into();
    config
}

fn bare_poll(config: &Config, events: u64, measures: &mut Measures) -> Result<(), Failure> {
    let mut reader = measure::BareReader::open(config, measure::Way::Poll)?;
    measure::bare("bare_poll", &mut reader, events, measures)
}

fn bare_batch(config: &Config, events: u64, measures: &mut Measures) -> Result<(), Failure> {
    let mut reader = measure::BareReader::open(config, measure::Way::Batch)?;
    measure::bare("bare_batch", &mut reader, events, measures)
}

/// The configuration of one round: a group and keys of its own.
fn of_round(config: &Config, round: u32) -> Config {
    let mut config = config.clone();
    config.redis.prefix = format!("{}-{round}", config.redis.prefix);
    config.kafka.group_id = format!("{}-{round}", config.kafka.group_id);
    config
}

/// The configuration of a case before any usage: a control topic of its own, and a usage topic that stays empty.
fn apart(config: &Config, name: &str) -> Config {
    let mut config = config.clone();
    config.topics.control = format!("{}.{name}", config.topics.control);
    config.topics.usage = vec![format!("{}.none", config.topics.usage[0])];
    config.redis.prefix = format!("{}-{name}", config.redis.prefix);
    config.kafka.group_id = format!("{}-{name}", config.kafka.group_id);
    config
}

/// The same topics, read by another group into other keys.
#[cfg(feature = "faults")]
fn under_another_group(config: &Config) -> Config {
    let mut config = config.clone();
    config.redis.prefix.push_str("-once");
    config.kafka.group_id.push_str("-once");
    config
}

/// Has the control records of a case applied, before there is any usage. Returns its configuration with that usage.
async fn after_obeying(case: &Config, round: u32, records: u64, usage: &Config) -> Result<Config, Failure> {
    let config = of_round(case, round);
    let service = Service::start(&config, Arc::new(AtomicBool::new(false))).await?;
    let began = Instant::now();
    while service.metrics.consumed.get() < records {
        tokio::time::sleep(Duration::from_millis(20)).await;
        if began.elapsed() > CASE_WAIT {
            return Err("the control records were not applied in time".into());
        }
    }
    service.stop().await?;
    Ok(Config { topics: TopicsConfig { usage: usage.topics.usage.clone(), ..config.topics.clone() }, ..config })
}

/// Everything on, until the backlog is worked off. Accounts come into memory while the first events are counted, so what
/// an event costs is measured after those.
async fn full(case: &'static str, config: &Config, events: u64, measures: &mut Measures) -> Result<(), Failure> {
    let redis = measure::RedisProbe::open(config).await?;
    let (memory_before, redis_cpu_before) = (redis.memory_bytes().await?, redis.cpu_us().await?);
    let service = Service::start(config, Arc::new(AtomicBool::new(false))).await?;
    while service.metrics.consumed.get() <= events / WARM_UP_SHARE {
        tokio::time::sleep(Duration::from_millis(1)).await;
    }
    let (already, cpu_before, began) = (service.metrics.consumed.get(), cpu_time(), Instant::now());
    while service.metrics.consumed.get() < events {
        tokio::time::sleep(Duration::from_millis(5)).await;
        if began.elapsed() > CASE_WAIT {
            return Err("the backlog was not worked off in time".into());
        }
    }
    let (wall, cpu) = (began.elapsed(), cpu_time() - cpu_before);
    let counted = events - already;
    measures.add(case, "wall_events_per_s", per_second(counted, wall), "1/s");
    measures.add(case, "cpu_ns_per_event", ratio(cpu.as_nanos(), counted), "ns");
    let redis_cpu = redis.cpu_us().await? - redis_cpu_before;
    measures.add_thousandths(case, "redis_cpu_us_per_event", redis_cpu * 1_000 / events.max(1), "us");
    measures.add(case, "commits", service.metrics.commits.get(), "");
    service.stop().await?;
    let memory = redis.memory_bytes().await?.saturating_sub(memory_before);
    let stored = redis.stored(config).await?;
    measures.add(case, "redis_bytes_per_event", memory / events.max(1), "B");
    measures.add(case, "redis_bytes_per_agent", stored.account_bytes / stored.agents.max(1), "B");
    measures.add(case, "redis_bytes_per_id", stored.id_bytes / stored.ids.max(1), "B");
    redis.remove_all(config).await
}

/// The same without what only serves to count exactly once.
#[cfg(feature = "faults")]
async fn once_off(config: &Config, events: u64, measures: &mut Measures) -> Result<(), Failure> {
    crate::faults::switch_once_off(true);
    let measured = full("once_off", config, events, measures).await;
    crate::faults::switch_once_off(false);
    measured
}

/// At light load: from the production of an event that reaches a cap to the pause on the topic.
async fn pause_latency(config: &Config, pauses: u32, measures: &mut Measures) -> Result<(), Failure> {
    let mut config = config.clone();
    config.kafka.group_id = format!("{}-latency", config.kafka.group_id);
    config.redis.prefix = format!("{}-latency", config.redis.prefix);
    config.kafka.start = crate::ingest::positions::Start::Latest;
    let service = Service::start(&config, Arc::new(AtomicBool::new(false))).await?;
    while service.metrics.partitions.get() == 0 {
        tokio::time::sleep(Duration::from_millis(10)).await;
    }
    let redis = measure::RedisProbe::open(&config).await?;
    let latencies = fill::measure_pauses(&config, pauses).await?;
    for (measure, percentile) in [("pause_latency_ms_p50", 50.0), ("pause_latency_ms_p99", 99.0)] {
        measures.add("full", measure, latencies.value_at_percentile(percentile), "ms");
    }
    service.stop().await?;
    redis.remove_all(&config).await
}

fn per_second(count: u64, wall: Duration) -> u64 {
    ratio(u128::from(count) * 1_000_000_000, u64::try_from(wall.as_nanos()).unwrap_or(u64::MAX))
}

fn ratio(of: u128, by: u64) -> u64 {
    u64::try_from(of / u128::from(by.max(1))).unwrap_or(u64::MAX)
}

fn print_table(measures: &Measures) {
    let mut table = Table::new();
    table.load_preset(UTF8_BORDERS_ONLY).set_header(["case", "measure", "median", "min", "max", "unit"]);
    for figure in measures.figures() {
        table.add_row([figure.case, figure.measure, &figure.median, &figure.min, &figure.max, figure.unit]);
    }
    println!("{table}");
}
