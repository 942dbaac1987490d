//! The program: `bursar run | api | api-key | demo | replay | control | import-prices | release | audit | rebuild | show | bench | check-config`.

mod api;
mod audit;
pub mod bench;
mod control;
mod demo;
mod prices;
mod rebuild;
mod release;
mod replay;
mod run;
mod serving;
mod show;
mod trace;

use std::{path::PathBuf, process::ExitCode};

use clap::{Parser, Subcommand};
use tracing_subscriber::EnvFilter;

use crate::config::{Config, EXAMPLE, LogFormat};

/// Live usage metering and limits for AI-agent platforms.
#[derive(Debug, Parser)]
#[command(name = "bursar", version, about, max_term_width = 100)]
struct Arguments {
    /// The configuration, a TOML file; environment variables (BURSAR__KAFKA__BROKERS=...) go over it.
    #[arg(long, short, global = true, env = "BURSAR_CONFIG")]
    config: Option<PathBuf>,
    #[command(subcommand)]
    command: Command,
}

#[derive(Debug, Subcommand)]
enum Command {
    /// Run the service: read usage, count, enforce limits, publish.
    Run,
    /// Serve the HTTP API alone: reads Redis and Kafka, counts nothing. As many as wanted.
    Api,
    /// Make a key for the HTTP API.
    ApiKey(api::KeyArguments),
    /// Show the whole thing on a real trace, with a broker in this process and accounts in memory. No server needed.
    Demo(demo::DemoArguments),
    /// Send the rows of a trace as usage events, repeatably.
    Replay(replay::ReplayArguments),
    /// Say something to an account: a limit, a pool, a grant, a pause.
    Control(control::ControlArguments),
    /// Make a rate card of a price list that the field uses, and report what could not be mapped.
    ImportPrices(prices::PricesArguments),
    /// Send what was parked for an account to the topics that it came from.
    Release(release::ReleaseArguments),
    /// Recount the topics by simple means and hold what Redis has against that.
    Audit(audit::AuditArguments),
    /// Empty what Redis holds, and watch how it is counted anew from the topics.
    Rebuild(rebuild::RebuildArguments),
    /// Show an account as it stands in Redis.
    Show(show::ShowArguments),
    /// Measure speed and memory on real Kafka and Redis.
    Bench(bench::BenchArguments),
    /// Check the configuration and print what is in force.
    CheckConfig {
        /// Print the documented configuration with every default instead.
        #[arg(long)]
        example: bool,
    },
}

/// What a command ends with, if not well: a sentence for the person at the terminal.
type Failure = Box<dyn std::error::Error + Send + Sync>;

/// Runs the program with the arguments of the process.
pub fn main() -> ExitCode {
    let arguments = Arguments::parse();
    match execute(arguments) {
        Ok(()) => ExitCode::SUCCESS,
        Err(failure) => {
            eprintln!("bursar: {failure}");
            ExitCode::FAILURE
        }
    }
}

fn execute(arguments: Arguments) -> Result<(), Failure> {
    if let Command::CheckConfig { example: true } = arguments.command {
        print!("{EXAMPLE}");
        return Ok(());
    }
    if let Command::ApiKey(arguments) = &arguments.command {
        api::make_key(arguments);
        return Ok(());
    }
    let config = Config::load(arguments.config.as_deref())?;
    let runtime = tokio::runtime::Builder::new_multi_thread().enable_all().worker_threads(2).build()?;
    match arguments.command {
        Command::Run => {
            start_logging(&config.observe.log, config.observe.log_format);
            runtime.block_on(run::run(&config))
        }
        Command::Api => {
            start_logging(&config.observe.log, config.observe.log_format);
            runtime.block_on(api::serve(&config))
        }
        Command::Demo(arguments) => {
            // When the demo ends its broker goes first, and the clients would complain.
            start_logging("error,rdkafka=off", LogFormat::Text);
            runtime.block_on(demo::demo(&arguments))
        }
        Command::Replay(arguments) => {
            start_logging("warn", LogFormat::Text);
            runtime.block_on(replay::replay(&config, &arguments))
        }
        Command::Control(arguments) => {
            start_logging("warn", LogFormat::Text);
            runtime.block_on(control::control(&config, &arguments))
        }
        Command::ImportPrices(arguments) => {
            start_logging("warn", LogFormat::Text);
            runtime.block_on(prices::import(&config, &arguments))
        }
        Command::Release(arguments) => {
            start_logging("warn", LogFormat::Text);
            runtime.block_on(release::release(&config, &arguments))
        }
        Command::Audit(arguments) => {
            start_logging("warn", LogFormat::Text);
            runtime.block_on(audit::audit(&config, &arguments))
        }
        Command::Rebuild(arguments) => {
            start_logging("warn", LogFormat::Text);
            runtime.block_on(rebuild::rebuild(&config, &arguments))
        }
        Command::Show(arguments) => {
            start_logging("warn", LogFormat::Text);
            runtime.block_on(show::show(&config, &arguments))
        }
        Command::Bench(arguments) => {
            start_logging("warn", LogFormat::Text);
            runtime.block_on(bench::bench(&config, &arguments))
        }
        Command::ApiKey(_) | Command::CheckConfig { .. } => {
            // What cannot be read is an error here and not at the start.
            config.consumer()?;
            config.redis()?;
            config.registry()?;
            print!("{}", config.shown());
            Ok(())
        }
    }
}

fn start_logging(filter: &str, format: LogFormat) {
    let filter = EnvFilter::try_new(filter).unwrap_or_else(|_| EnvFilter::new("info"));
    let builder = tracing_subscriber::fmt().with_env_filter(filter).with_writer(std::io::stderr);
    match format {
        LogFormat::Text => builder.init(),
        LogFormat::Json => builder.json().init(),
    }
}
