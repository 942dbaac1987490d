//! `bursar demo`: everything in one process, on a real trace.
//!
//! The broker is librdkafka's mock and the accounts are in memory, so nothing here proves exactly-once: that is shown
//! on real servers (see the README).

use std::{
    collections::BTreeMap,
    sync::{Arc, atomic::AtomicBool},
    time::{Duration, Instant},
};

use clap::Args;
use comfy_table::{Table, presets::UTF8_BORDERS_ONLY};
use rdkafka::{Offset, mocking::MockCluster, producer::DefaultProducerContext};
use serde_json::{Value as Json, json};

use super::{
    Failure,
    replay::Sender,
    trace::{self, Columns, Spread},
};
use crate::{
    clock::Clock,
    config::Config,
    contract::{Kind, json::cloud_event},
    domain::{
        account::{layout::unpack, row::ScopeRow},
        meter::Meter,
        scope::{Scope, ScopeKind},
        time::Timestamp,
        window::WindowKind,
    },
    ledger::{Ledger, memory::MemoryLedger},
    notify::{
        encode::Outgoing,
        publisher::Publisher,
        reader::{TopicReader, data_of},
    },
    service::Service,
};

/// A real trace; see data/README.md.
const TRACE: &str = include_str!("../../data/azure-llm-2023-conv-3000.csv");

/// How much faster than in the trace rows are sent: some 600 s of trace in 10 s.
const SPEED: u32 = 60;

/// What the pool of the demonstrated workspace holds, chosen so that it is used up in the middle.
const POOL_MICRO: i64 = 2_000_000;

/// What is granted once it is paused.
const GRANT_MICRO: i64 = 10_000_000;

const ORGANIZATION: &str = "org-1";
const WORKSPACE: &str = "ws:ws-1";
const BROKER_WAIT: Duration = Duration::from_secs(10);

#[derive(Debug, Args)]
pub struct DemoArguments {
    /// Stay up when the trace has ended, so that /metrics can be looked at; Ctrl-C ends it.
    #[arg(long)]
    keep: bool,
}

/// Plays the trace and shows what Bursar makes of it.
pub async fn demo(arguments: &DemoArguments) -> Result<(), Failure> {
    println!(
        "An embedded broker and accounts in memory, for this process only (no exactly-once is claimed for them).\n"
    );
    let broker = Broker::start()?;
    let config = broker.config();
    let ledger = Arc::new(MemoryLedger::new());
    let stage = Stage::open(&config, Arc::clone(&ledger)).await?;
    let service =
        Service::start_on(&config, Arc::clone(&ledger) as Arc<dyn Ledger>, Arc::new(AtomicBool::new(false))).await?;
    println!("metrics: http://{}/metrics\n", service.address);
    stage.set_up().await?;
    let played = stage.play(&config).await?;
    let balanced = stage.close(&service, played).await;
    if arguments.keep {
        println!("\nstaying up; Ctrl-C ends it");
        tokio::signal::ctrl_c().await?;
    }
    service.stop().await?;
    if balanced { Ok(()) } else { Err("the balance does not hold".into()) }
}

/// The mock broker on a thread of its own, which is the only one that may touch it. It lives as long as the process: clients
/// that end after it would complain that it is gone.
struct Broker {
    address: String,
}

impl Broker {
    fn start() -> Result<Self, Failure> {
        let (started, address) = std::sync::mpsc::channel();
        std::thread::spawn(move || {
            let topics = Config::default().topics;
            let cluster = MockCluster::<DefaultProducerContext>::new(1).and_then(|cluster| {
                for topic in topics.usage.iter().chain([&topics.control]).chain(topics.written()) {
                    cluster.create_topic(topic, 4, 1)?;
                }
                Ok(cluster)
            });
            let address = cluster.as_ref().map(|cluster| cluster.bootstrap_servers()).map_err(ToString::to_string);
            let _ = started.send(address);
            loop {
                std::thread::park();
            }
        });
        Ok(Self { address: address.recv()?? })
    }

    fn config(&self) -> Config {
        let mut config = Config::default();
        config.kafka.brokers = self.address.clone();
        config.observe.listen = ([127, 0, 0, 1], 0).into();
        config.work.workers = Some(1);
        config
    }
}

/// What the demo looks at and speaks through.
struct Stage {
    ledger: Arc<MemoryLedger>,
    publisher: Publisher,
    readers: Vec<TopicReader>,
    began: Instant,
}

/// What happened while the trace was played.
#[derive(Default)]
struct Played {
    events: usize,
    crossed: bool,
    paused: bool,
    resumed: bool,
}

impl Stage {
    async fn open(config: &Config, ledger: Arc<MemoryLedger>) -> Result<Self, Failure> {
        let client = config.client()?;
        let open = |topic: &str| TopicReader::open(&client, topic, Offset::Beginning, BROKER_WAIT);
        let readers = vec![open(&config.topics.thresholds)?, open(&config.topics.pauses)?];
        let publisher = Publisher::new(&client, config.topics.outputs(), config.kafka.output_format, BROKER_WAIT)?;
        Ok(Self { ledger, publisher, readers, began: Instant::now() })
    }

    /// Prices and a pool. They are recorded in the past, because a rate card takes effect a minute after its record.
    async fn set_up(&self) -> Result<(), Failure> {
        let prices = json!({ "small": { "input_micro": 250_000, "output_micro": 1_250_000 },
            "large": { "input_micro": 3_000_000, "output_micro": 15_000_000 } });
        let said_at = Clock::System.now().plus_ms(-300_000);
        for organization in ["org-1", "org-2"] {
            self.say(
                organization,
                "prices",
                said_at,
                json!({ "set_rate_card": { "models": prices, "effective_from": "2020-01-01T00:00:00Z" } }),
            )
            .await?;
            self.say(
                organization,
                "calendar",
                said_at,
                json!({ "set_organization": { "time_zone": "UTC", "anchor": "2026-01-01" } }),
            )
            .await?;
        }
        let pool = json!({ "set_pool": { "scope": WORKSPACE, "included_micro": POOL_MICRO } });
        self.say(ORGANIZATION, "pool", said_at, pool).await?;
        println!("{ORGANIZATION} {WORKSPACE} has a pool of {} credits for this period\n", credits(POOL_MICRO));
        Ok(())
    }

    async fn say(&self, organization_id: &str, id: &str, at: Timestamp, command: Json) -> Result<(), Failure> {
        let mut data = command;
        data["organization_id"] = organization_id.into();
        data["actor"] = "demo".into();
        let payload = cloud_event(Kind::Control, "demo", id, at, data).to_string().into_bytes();
        let key = organization_id.to_owned();
        self.publisher
            .records(&[Outgoing { kind: Kind::Control, key, partition_by: None, timestamp: Some(at), payload }])
            .await?;
        Ok(())
    }

    async fn play(&self, config: &Config) -> Result<Played, Failure> {
        let rows = trace::read(TRACE.as_bytes(), &Columns::default())?;
        let length_ms = rows.last().map_or(0, |row| row.after_ms);
        let start = Clock::System.now().plus_ms(-length_ms);
        let spread = Spread { seed: 1, organizations: 2, workspaces: 2, agents: 3, users: 5 };
        let sender = Sender::new(config, "demo".to_owned(), start, spread)?;
        println!("playing {} requests of {} minutes, {SPEED} times as fast", rows.len(), length_ms / 60_000);
        let sending = tokio::task::spawn_blocking(move || sender.send_all(&rows, SPEED, true));
        let mut played = Played::default();
        let mut shown = Instant::now();
        while !sending.is_finished() {
            self.watch(&mut played).await?;
            if shown.elapsed() >= Duration::from_secs(3) {
                shown = Instant::now();
                self.print_usage();
            }
        }
        played.events = sending.await??;
        Ok(played)
    }

    /// Shows signals as they come, and grants credits when the pool is used up.
    async fn watch(&self, played: &mut Played) -> Result<(), Failure> {
        for reader in &self.readers {
            let Some((_, _, Some(payload))) = reader.next(Duration::from_millis(20)) else { continue };
            let Some(signal) = data_of(&payload) else { continue };
            let at = self.began.elapsed().as_secs();
            let text = |field: &str| signal[field].as_str().unwrap_or_default();
            let (organization, scope) = (text("organization_id"), text("scope"));
            if let Some(percent) = signal["threshold_percent"].as_i64() {
                played.crossed |= percent == 80;
                let ceiling = signal["ceiling"].as_str().unwrap_or_default();
                println!("[{at:>2} s] CROSSING: {organization} {scope} has used {percent} % of its {ceiling}");
            } else if signal["state"] == "paused" {
                played.paused = true;
                println!("[{at:>2} s] PAUSE: {organization} {scope}, because its pool is used up");
                let grant =
                    json!({ "grant": { "scope": WORKSPACE, "grant_id": "demo-grant", "amount_micro": GRANT_MICRO } });
                println!("[{at:>2} s] granting {} credits", credits(GRANT_MICRO));
                self.say(ORGANIZATION, "grant", Clock::System.now(), grant).await?;
            } else {
                played.resumed = true;
                println!("[{at:>2} s] RESUME: {organization} {scope}");
            }
        }
        Ok(())
    }

    fn print_usage(&self) {
        let mut table = Table::new();
        table.load_preset(UTF8_BORDERS_ONLY).set_header([
            "organization",
            "scope",
            "credits",
            "tokens in",
            "tokens out",
            "runs",
        ]);
        for organization in self.ledger.organizations() {
            for (scope, row) in self.rows(&organization) {
                let period = row
                    .windows
                    .iter()
                    .filter(|window| window.kind.0 == WindowKind::Period)
                    .max_by_key(|window| window.start);
                let Some(period) = period else { continue };
                let count = |meter| period.counters.get(meter).to_string();
                table.add_row([
                    organization.to_string(),
                    scope,
                    credits(period.counters.get(Meter::CreditsMicro)),
                    count(Meter::InputTokens),
                    count(Meter::OutputTokens),
                    count(Meter::RunsCompleted),
                ]);
            }
        }
        println!("\n[{:>2} s]\n{table}", self.began.elapsed().as_secs());
    }

    /// Workspaces and agents.
    fn rows(&self, organization_id: &str) -> BTreeMap<String, ScopeRow> {
        let fields = self.ledger.scope_fields(organization_id).into_iter();
        let shown = fields.filter(|(field, _)| {
            Scope::parse(field).is_ok_and(|scope| matches!(scope.kind(), ScopeKind::Workspace | ScopeKind::Agent))
        });
        shown.filter_map(|(field, packed)| Some((field.into_string(), unpack("scope row", &packed).ok()?))).collect()
    }

    /// Waits until everything sent is settled, and says whether the balance holds.
    async fn close(&self, service: &Service, mut played: Played) -> bool {
        let metrics = &service.metrics;
        let settled = |played: &Played| {
            metrics.consumed.get() >= played.events as u64 && played.crossed && played.paused && played.resumed
        };
        let until = Instant::now() + Duration::from_secs(10);
        while !settled(&played) && Instant::now() < until {
            if self.watch(&mut played).await.is_err() {
                break;
            }
        }
        self.print_usage();
        let dead: u64 = crate::observe::metrics::sum(&metrics.dead_letters);
        let (consumed, applied, duplicate) = (metrics.consumed.get(), metrics.applied.get(), metrics.duplicate.get());
        let balanced = consumed == applied + duplicate + dead && settled(&played);
        println!(
            "\nbalance: consumed {consumed} = applied {applied} + duplicate {duplicate} + dead letter {dead}{}",
            if balanced { "" } else { "   DOES NOT HOLD" }
        );
        balanced
    }
}

fn credits(micro: i64) -> String {
    format!("{}.{:06}", micro / 1_000_000, micro.rem_euclid(1_000_000))
}
