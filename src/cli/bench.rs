//! `bursar bench`: speed and memory on real Kafka and Redis, in one run, in turn, with medians and ranges.
//!
//! ```text
//! cases ─► fill the topic that a case reads ─► tell organizations what it needs ─► backlog or steady load ─► figures
//! ```
//!
//! - `cases` says what there is; [`fill`] makes the topics, `registry` knows their schema.
//! - `bare` only reads, `stages` works in memory on accounts that are [`alone`], `backlog` and `pauses` run Bursar.
//! - `probe` asks Redis; `figures` gathers, `compare` holds two runs side by side.
//!
//! CPU is that of this process; Redis's is its own account of itself (`INFO cpu`), the broker's is that of its process.

pub mod alone;
mod backlog;
mod bare;
mod cases;
mod compare;
mod figures;
pub mod fill;
mod pauses;
mod probe;
mod registry;
mod stages;

use std::time::Duration;

use clap::{Args, Subcommand};
use rdkafka::{
    admin::{AdminClient, AdminOptions},
    client::DefaultClientContext,
};

use self::{
    cases::{Case, Rate, Setting, Told, What},
    compare::CompareArguments,
    figures::{Figures, print_json, print_table},
    fill::{Format, Shape},
    pauses::Steady,
};
use super::Failure;
use crate::{
    config::{Config, GroupProtocol},
    faults::{LeftOut, leave_out},
    topics,
};

/// How long a case may take before the bench gives up.
const CASE_WAIT: Duration = Duration::from_secs(900);

/// How long the broker may take to tell its topics.
const BROKER_WAIT: Duration = Duration::from_secs(10);

/// The first of so many parts of the events warms up: until most accounts are in memory, the kernel's clearing of that
/// memory costs as much as the counting, once.
const WARM_UP_SHARE: u64 = 2;

/// What `bursar bench` is told.
#[derive(Debug, Args)]
#[command(args_conflicts_with_subcommands = true)]
pub struct BenchArguments {
    #[command(subcommand)]
    command: Option<BenchCommand>,
    /// Events to fill each topic with.
    #[arg(long, default_value_t = 3_000_000)]
    events: u64,
    /// Organizations; each has 5 workspaces, 20 agents and 10 users.
    #[arg(long, default_value_t = 10_000)]
    organizations: u32,
    /// Partitions of each topic.
    #[arg(long, default_value_t = 16)]
    partitions: i32,
    /// Repetitions of each case.
    #[arg(long, default_value_t = 3)]
    repeat: u32,
    /// Pauses that are measured at each steady load.
    #[arg(long, default_value_t = 1_000)]
    pauses: u32,
    /// Events per second of the steady cases. What sends them is on this machine too, and needs as much of it as Bursar.
    #[arg(long, default_value_t = 10_000)]
    rate: u64,
    /// Only these cases, separated by commas.
    #[arg(long, value_delimiter = ',')]
    cases: Vec<String>,
    /// The process of the broker, if it is on this machine and its CPU is to be measured too.
    #[arg(long)]
    broker_pid: Option<u32>,
    /// One line of JSON per figure instead of a table.
    #[arg(long)]
    json: bool,
}

#[derive(Debug, Subcommand)]
enum BenchCommand {
    /// Hold the figures of two runs side by side.
    Compare(CompareArguments),
}

/// Fills topics of its own, runs the cases in turn and prints the figures.
pub async fn bench(config: &Config, arguments: &BenchArguments) -> Result<(), Failure> {
    if let Some(BenchCommand::Compare(arguments)) = &arguments.command {
        return compare::compare(arguments);
    }
    let cases = cases::named(&arguments.cases)?;
    let mut bench = Bench::new(config, arguments).await?;
    for round in 1..=arguments.repeat {
        for case in &cases {
            eprintln!("round {round} of {}: {}", arguments.repeat, case.name);
            bench.run(case, round).await?;
        }
    }
    bench.remove_topics().await?;
    let figures = bench.figures.figures();
    if arguments.json {
        print_json(&figures)
    } else {
        print_table(&figures)
    }
    Ok(())
}

/// A run of the bench.
struct Bench<'a> {
    arguments: &'a BenchArguments,
    /// With topics, group and keys that nobody else uses.
    config: Config,
    load: fill::Load,
    /// Topics that are filled.
    filled: Vec<(Shape, Format)>,
    /// What organizations were told by a topic of its own, in how many records.
    told: Vec<(Told, u64)>,
    figures: Figures,
}

impl<'a> Bench<'a> {
    async fn new(config: &Config, arguments: &'a BenchArguments) -> Result<Self, Failure> {
        let mut config = of_its_own(config, arguments);
        config.registry.url = Some(registry::serve().await?);
        let load = fill::Load { events: arguments.events, organizations: arguments.organizations };
        let (filled, told, figures) = (Vec::new(), Vec::new(), Figures::default());
        Ok(Self { arguments, config, load, filled, told, figures })
    }

    async fn run(&mut self, case: &Case, round: u32) -> Result<(), Failure> {
        match case.what {
            What::Bare(way) => {
                let config = self.filled(Shape::Zipf, Format::Avro).await?;
                bare::measure(case.name, &config, way, self.load.events, &mut self.figures)
            }
            What::Stages => {
                let config = self.filled(Shape::Zipf, Format::Avro).await?;
                stages::measure(&config, &Told::Prices.commands(), self.load.events, &mut self.figures)
            }
            What::Service(setting) => self.service(case.name, setting, round).await,
            What::Steady(shape, rate) => self.steady(case.name, shape, rate, None, round).await,
            What::Rebalance(protocol) => {
                self.steady(case.name, Shape::Uniform, Rate::Light, Some(protocol), round).await
            }
        }
    }

    async fn service(&mut self, case: &'static str, setting: Setting, round: u32) -> Result<(), Failure> {
        if !leave_out(setting.left_out) {
            eprintln!("{case} needs a build with the feature `faults`, and is passed over");
            return Ok(());
        }
        leave_out(LeftOut::Nothing);
        let usage = self.filled(setting.shape, setting.format).await?.topics.usage;
        let (mut config, said) = self.told(setting.told).await?;
        apart(&mut config, &format!("{case}-{round}"));
        config.work.workers = Some(setting.workers);
        backlog::obey(&config, said).await?;
        config.topics.usage = usage;
        leave_out(setting.left_out);
        let (events, broker_pid) = (self.load.events, self.arguments.broker_pid);
        let has_ids = setting.left_out == LeftOut::Nothing;
        let backlog = backlog::Backlog { case, events, has_ids, broker_pid };
        let measured = if setting.cold {
            backlog.cold(&config, &mut self.figures).await
        } else {
            backlog.warm(&config, &mut self.figures).await
        };
        leave_out(LeftOut::Nothing);
        measured
    }

    async fn steady(
        &mut self,
        case: &'static str,
        shape: Shape,
        rate: Rate,
        rebalanced_by: Option<GroupProtocol>,
        round: u32,
    ) -> Result<(), Failure> {
        let events_per_s = match rate {
            Rate::Light => 0,
            Rate::AsTold => self.arguments.rate,
        };
        let mut config = self.config.clone();
        apart(&mut config, &format!("{case}-{round}"));
        config.topics = config.topics.under(&format!("{case}-{round}"));
        config.topics.usage.truncate(1);
        config.kafka.group_protocol = rebalanced_by.unwrap_or(config.kafka.group_protocol);
        topics::ensure(&config).await?;
        let Self { load: warm_up, arguments, figures, .. } = self;
        let (warm_up, pauses) = (*warm_up, arguments.pauses);
        let rebalances = rebalanced_by.is_some();
        pauses::measure(&config, &Steady { case, shape, warm_up, events_per_s, pauses, rebalances }, figures).await
    }

    /// Removes every topic of this run from the broker.
    async fn remove_topics(&self) -> Result<(), Failure> {
        let (admin, name): (AdminClient<DefaultClientContext>, _) =
            (self.config.client()?.create()?, &self.config.redis.prefix);
        let all = tokio::task::block_in_place(|| admin.inner().fetch_metadata(None, BROKER_WAIT))?;
        let topics = all.topics().iter().map(|topic| topic.name());
        let ours: Vec<&str> = topics.filter(|topic| topic.contains(name.as_str())).collect();
        admin.delete_topics(&ours, &AdminOptions::new()).await?;
        Ok(())
    }

    /// The configuration that reads a usage topic, filled as it is wanted.
    async fn filled(&mut self, shape: Shape, format: Format) -> Result<Config, Failure> {
        let mut config = self.config.clone();
        let name = format!("{}.{shape:?}.{format:?}", config.topics.usage[0]).to_lowercase();
        config.topics.usage = vec![name];
        if !self.filled.contains(&(shape, format)) {
            topics::ensure(&config).await?;
            eprintln!("filling {} with {} events", config.topics.usage[0], self.load.events);
            let bytes = tokio::task::block_in_place(|| fill::fill(&config, self.load, shape, format))?;
            self.figures.add(&format!("topic {shape:?} {format:?}").to_lowercase(), "bytes_per_event", bytes, "B");
            self.filled.push((shape, format));
        }
        Ok(config)
    }

    /// The configuration that reads what organizations are told, and no usage; and how many records that are.
    async fn told(&mut self, told: Told) -> Result<(Config, u64), Failure> {
        let mut config = self.config.clone();
        config.topics.control = format!("{}.{told:?}", config.topics.control).to_lowercase();
        config.topics.usage = vec![format!("{}.none", config.topics.usage[0])];
        if let Some((_, records)) = self.told.iter().find(|(known, _)| *known == told) {
            return Ok((config, *records));
        }
        topics::ensure(&config).await?;
        let commands = told.commands();
        eprintln!("telling {} organizations {} things each", self.load.organizations, commands.len());
        let records = tokio::task::block_in_place(|| fill::say_to_all(&config, self.load, &commands))?;
        self.told.push((told, records));
        Ok((config, records))
    }
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

/// A group and keys of its own.
fn apart(config: &mut Config, name: &str) {
    config.redis.prefix = format!("{}-{name}", config.redis.prefix);
    config.kafka.group_id = format!("{}-{name}", config.kafka.group_id);
}
