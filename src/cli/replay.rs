//! `bursar replay`: a trace as usage events on Kafka, at its own pace or a faster one.

use std::{
    fs::File,
    path::PathBuf,
    time::{Duration, Instant},
};

use clap::Args;
use rdkafka::{
    error::{KafkaError, RDKafkaErrorCode},
    producer::{BaseRecord, DefaultProducerContext, Producer, ThreadedProducer},
};

use super::{
    Failure,
    trace::{self, Columns, Row, Spread},
};
use crate::{
    clock::Clock,
    config::Config,
    domain::time::{Timestamp, parse_rfc3339},
};

/// How long records that are under way at the end may take.
const FLUSH_WAIT: Duration = Duration::from_secs(60);

#[derive(Debug, Args)]
pub struct ReplayArguments {
    /// A CSV file with the columns of the Azure LLM inference traces, or with those named below.
    file: PathBuf,
    /// The event time of the first row (RFC 3339). Without it: so that the last row is now; it is printed, so that
    /// the replay can be repeated exactly.
    #[arg(long)]
    start: Option<String>,
    /// How much faster than in the trace rows are sent: 1 is its own pace, 0 as fast as possible.
    #[arg(long, default_value_t = 0)]
    speed: u32,
    /// Decides over whom rows are spread.
    #[arg(long, default_value_t = 1)]
    seed: u64,
    /// Organizations.
    #[arg(long, default_value_t = 10, value_parser = clap::value_parser!(u32).range(1..=10_000_000))]
    organizations: u32,
    /// Workspaces of each organization.
    #[arg(long, default_value_t = 3, value_parser = clap::value_parser!(u32).range(1..=10_000))]
    workspaces: u32,
    /// Agents of each workspace.
    #[arg(long, default_value_t = 5, value_parser = clap::value_parser!(u32).range(1..=100_000))]
    agents: u32,
    /// Users of each organization.
    #[arg(long, default_value_t = 20, value_parser = clap::value_parser!(u32).range(1..=1_000_000))]
    users: u32,
    /// The column of the time.
    #[arg(long, default_value_t = Columns::default().time)]
    time_column: String,
    /// The column of the input tokens.
    #[arg(long, default_value_t = Columns::default().input)]
    input_column: String,
    /// The column of the output tokens.
    #[arg(long, default_value_t = Columns::default().output)]
    output_column: String,
    /// No progress on standard error.
    #[arg(long)]
    quiet: bool,
}

/// Sends the rows and says what was sent.
pub async fn replay(config: &Config, arguments: &ReplayArguments) -> Result<(), Failure> {
    let columns = Columns {
        time: arguments.time_column.clone(),
        input: arguments.input_column.clone(),
        output: arguments.output_column.clone(),
    };
    let name = arguments.file.file_stem().unwrap_or_default().to_string_lossy().into_owned();
    let file = File::open(&arguments.file).map_err(|error| format!("{}: {error}", arguments.file.display()))?;
    let rows = trace::read(file, &columns)?;
    let start = match &arguments.start {
        Some(text) => parse_rfc3339(text)?,
        None if arguments.speed == 1 => Clock::System.now(),
        None => Clock::System.now().plus_ms(-rows.last().map_or(0, |row| row.after_ms)),
    };
    println!("replay of {} rows, --seed {} --start {start}", rows.len(), arguments.seed);
    let spread = Spread {
        seed: arguments.seed,
        organizations: arguments.organizations,
        workspaces: arguments.workspaces,
        agents: arguments.agents,
        users: arguments.users,
    };
    let sender = Sender::new(config, format!("replay:{name}:{}", arguments.seed), start, spread)?;
    let (speed, quiet) = (arguments.speed, arguments.quiet);
    let sent = tokio::task::spawn_blocking(move || sender.send_all(&rows, speed, quiet)).await??;
    println!("sent {sent} events");
    Ok(())
}

/// Sends rows as events.
pub struct Sender {
    producer: ThreadedProducer<DefaultProducerContext>,
    topic: String,
    source: String,
    start: Timestamp,
    spread: Spread,
}

impl Sender {
    /// A sender to the first usage topic.
    pub fn new(config: &Config, source: String, start: Timestamp, spread: Spread) -> Result<Self, Failure> {
        let mut client = config.client()?;
        client.set("enable.idempotence", "true").set("partitioner", "murmur2_random").set("linger.ms", "5");
        Ok(Self { producer: client.create()?, topic: config.topics.usage[0].clone(), source, start, spread })
    }

    /// Sends every row at its time and waits until the broker has them all.
    pub fn send_all(&self, rows: &[Row], speed: u32, quiet: bool) -> Result<usize, Failure> {
        let began = Instant::now();
        let mut shown = began;
        let mut sent = 0;
        for (number, row) in rows.iter().enumerate() {
            if speed > 0 {
                let at = Duration::from_millis(row.after_ms.unsigned_abs() / u64::from(speed));
                std::thread::sleep(at.saturating_sub(began.elapsed()));
            }
            let events = self.spread.events(number, row, &self.source, self.start);
            for payload in &events.payloads {
                self.send(&events.organization_id, payload)?;
                sent += 1;
            }
            if !quiet && shown.elapsed() >= Duration::from_secs(1) {
                shown = Instant::now();
                eprintln!("{} of {} rows", number + 1, rows.len());
            }
        }
        self.producer.flush(FLUSH_WAIT)?;
        Ok(sent)
    }

    fn send(&self, key: &str, payload: &[u8]) -> Result<(), Failure> {
        let mut record = BaseRecord::to(&self.topic).key(key).payload(payload);
        loop {
            match self.producer.send(record) {
                Ok(()) => return Ok(()),
                Err((KafkaError::MessageProduction(RDKafkaErrorCode::QueueFull), back)) => {
                    record = back;
                    std::thread::sleep(Duration::from_millis(5));
                }
                Err((error, _)) => return Err(error.into()),
            }
        }
    }
}
