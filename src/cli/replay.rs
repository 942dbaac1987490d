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
    domain::time::{DAY_MS, Timestamp, parse_rfc3339},
};

/// How long records that are under way at the end may take.
const FLUSH_WAIT: Duration = Duration::from_secs(60);

#[derive(Debug, Args)]
pub struct ReplayArguments {
    /// CSV files with the columns of the Azure LLM inference traces, or with those named below; several are played side
    /// by side.
    #[arg(required = true)]
    files: Vec<PathBuf>,
    /// The event time of the first row (RFC 3339). Without it: so that the last row is now; it is printed, so that
    /// the replay can be repeated exactly.
    #[arg(long)]
    start: Option<String>,
    /// How much faster than in the trace rows are sent: 1 is its own pace, 0 as fast as possible.
    #[arg(long, default_value_t = 0)]
    speed: u32,
    /// Stretch each trace so that its last row comes this many days after its first.
    #[arg(long, value_parser = clap::value_parser!(i64).range(1..=3_660))]
    stretch_days: Option<i64>,
    /// Give records their event time as Kafka's timestamp, for topics with CreateTime (clock = "records").
    #[arg(long)]
    record_time_is_event_time: bool,
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
    let mut names = Vec::new();
    let mut rows = Vec::new();
    for path in &arguments.files {
        names.push(path.file_stem().unwrap_or_default().to_string_lossy().into_owned());
        let file = File::open(path).map_err(|error| format!("{}: {error}", path.display()))?;
        let mut trace = trace::read(file, &columns)?;
        if let Some(days) = arguments.stretch_days {
            trace::stretch(&mut trace, days * DAY_MS);
        }
        rows.append(&mut trace);
    }
    rows.sort_by_key(|row| row.after_ms);
    let name = names.join("+");
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
    let mut sender = Sender::new(config, format!("replay:{name}:{}", arguments.seed), start, spread)?;
    sender.record_time_is_event_time = arguments.record_time_is_event_time;
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
    record_time_is_event_time: bool,
}

impl Sender {
    /// A sender to the first usage topic.
    pub fn new(config: &Config, source: String, start: Timestamp, spread: Spread) -> Result<Self, Failure> {
        let mut client = config.client()?;
        client.set("enable.idempotence", "true").set("partitioner", "murmur2_random").set("linger.ms", "5");
        Ok(Self {
            producer: client.create()?,
            topic: config.topics.usage[0].clone(),
            source,
            start,
            spread,
            record_time_is_event_time: false,
        })
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
                self.send(&events.organization_id, payload, self.start.plus_ms(row.after_ms))?;
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

    fn send(&self, key: &str, payload: &[u8], event_time: Timestamp) -> Result<(), Failure> {
        let mut record = BaseRecord::to(&self.topic).key(key).payload(payload);
        if self.record_time_is_event_time {
            record = record.timestamp(event_time.ms());
        }
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
