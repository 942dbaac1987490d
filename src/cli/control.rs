//! `bursar control`: puts a control record, and waits for the answer in the journal.

use std::{
    io::Read,
    path::PathBuf,
    time::{Duration, Instant},
};

use clap::{Args, Subcommand};
use rdkafka::Offset;
use serde_json::{Value as Json, json};

use super::Failure;
use crate::{
    clock::Clock,
    config::Config,
    contract::{
        Kind,
        json::{cloud_event, read_control},
    },
    notify::{
        encode::Outgoing,
        publisher::Publisher,
        reader::{TopicReader, data_of},
    },
};

/// How long the brokers may take to answer.
const BROKER_WAIT: Duration = Duration::from_secs(10);

#[derive(Debug, Args)]
pub struct ControlArguments {
    /// Whose account.
    #[arg(long, short, required_unless_present = "file")]
    organization: Option<String>,
    /// Who says it.
    #[arg(long, default_value = "cli")]
    actor: String,
    /// Why.
    #[arg(long, default_value = "")]
    reason: String,
    /// The record's id, to repeat it without doing it twice; a random one without it.
    #[arg(long)]
    id: Option<String>,
    /// Seconds to wait for the answer; 0 does not wait.
    #[arg(long, default_value_t = 30)]
    wait: u64,
    /// A whole record as CloudEvents JSON, as in schemas/examples/control.json; - is standard input.
    #[arg(long, conflicts_with_all = ["organization", "id"])]
    file: Option<PathBuf>,
    #[command(subcommand)]
    command: Option<Said>,
}

/// The commands. Scopes are written org, ws:W, agent:W/A, user:U.
#[derive(Debug, Subcommand)]
enum Said {
    /// Set time zone and anchor of the billing periods.
    SetOrganization {
        /// IANA name, for example Europe/Berlin.
        #[arg(long, default_value = "UTC")]
        time_zone: String,
        /// The local date that periods are counted from.
        #[arg(long)]
        anchor: String,
    },
    /// Set one price for all models: micro-credits per million tokens.
    SetPrice {
        /// Tokens sent.
        #[arg(long)]
        input_micro: i64,
        /// Tokens produced.
        #[arg(long)]
        output_micro: i64,
        /// Tokens read from a cache.
        #[arg(long, default_value_t = 0)]
        cache_read_micro: i64,
        /// Tokens written to a cache.
        #[arg(long, default_value_t = 0)]
        cache_creation_micro: i64,
        /// From which event time on (RFC 3339); without it, from now.
        #[arg(long)]
        from: Option<String>,
    },
    /// Set a limit.
    SetLimit {
        /// Its id.
        limit_id: String,
        /// One scope.
        #[arg(long, required_unless_present = "every")]
        scope: Option<String>,
        /// Every organization, workspace, agent or user.
        #[arg(long, conflicts_with = "scope")]
        every: Option<String>,
        /// input_tokens, output_tokens, credits_micro, runs_started, ...
        #[arg(long)]
        meter: String,
        /// minute, hour, day or period.
        #[arg(long)]
        window: String,
        /// The ceiling; unlimited without it.
        #[arg(long)]
        cap: Option<i64>,
        /// Shares to announce, in percent.
        #[arg(long, value_delimiter = ',')]
        thresholds: Vec<u16>,
        /// observe, notify or pause.
        #[arg(long, default_value = "pause")]
        action: String,
    },
    /// Remove a limit.
    RemoveLimit {
        /// Its id.
        limit_id: String,
        /// The scope it was set on.
        #[arg(long)]
        scope: Option<String>,
        /// The kind of scope it was set on.
        #[arg(long, conflicts_with = "scope")]
        every: Option<String>,
    },
    /// Give an organization or a workspace a pool of credits.
    SetPool {
        /// org or ws:W.
        #[arg(long)]
        scope: String,
        /// Fresh in every billing period.
        #[arg(long)]
        included_micro: i64,
        /// Shares to announce, in percent.
        #[arg(long, value_delimiter = ',')]
        thresholds: Vec<u16>,
    },
    /// Add credits to a pool for the running period.
    Grant {
        /// org or ws:W.
        #[arg(long)]
        scope: String,
        /// The same id twice is one grant.
        #[arg(long)]
        grant_id: String,
        /// How much.
        #[arg(long)]
        amount_micro: i64,
    },
    /// Pause a scope.
    Pause {
        /// Which.
        scope: String,
    },
    /// End an admin's pause.
    Resume {
        /// Which.
        scope: String,
    },
}

impl Said {
    fn to_json(&self) -> Json {
        match self {
            Self::SetOrganization { time_zone, anchor } => {
                json!({ "set_organization": { "time_zone": time_zone, "anchor": anchor } })
            }
            Self::SetPrice { input_micro, output_micro, cache_read_micro, cache_creation_micro, from } => json!({
                "set_rate_card": { "effective_from": from, "default_prices": {
                    "input_micro": input_micro, "output_micro": output_micro,
                    "cache_read_micro": cache_read_micro, "cache_creation_micro": cache_creation_micro } } }),
            Self::SetLimit { limit_id, scope, every, meter, window, cap, thresholds, action } => json!({
                "set_limit": { "limit_id": limit_id, "scope": scope, "every": every, "meter": meter, "window": window,
                    "cap": cap, "thresholds_percent": thresholds, "action": action } }),
            Self::RemoveLimit { limit_id, scope, every } => {
                json!({ "remove_limit": { "limit_id": limit_id, "scope": scope, "every": every } })
            }
            Self::SetPool { scope, included_micro, thresholds } => json!({
                "set_pool": { "scope": scope, "included_micro": included_micro, "thresholds_percent": thresholds } }),
            Self::Grant { scope, grant_id, amount_micro } => {
                json!({ "grant": { "scope": scope, "grant_id": grant_id, "amount_micro": amount_micro } })
            }
            Self::Pause { scope } => json!({ "pause": { "scope": scope } }),
            Self::Resume { scope } => json!({ "resume": { "scope": scope } }),
        }
    }
}

/// Puts the record, and shows what became of it.
pub async fn control(config: &Config, arguments: &ControlArguments) -> Result<(), Failure> {
    let payload = record(arguments)?;
    // Refused here and now if it can be told without the account.
    let checked = read_control(payload.as_bytes()).map_err(|reason| reason.to_string())?;
    let (config, wait) = (config.clone(), Duration::from_secs(arguments.wait));
    let journal = config.topics.journal.clone();
    let client = config.client()?;
    let reader = (!wait.is_zero()).then(|| TopicReader::open(&client, &journal, Offset::End, BROKER_WAIT)).transpose();
    let reader = reader.map_err(|error| format!("Kafka at {}: {error}", config.kafka.brokers))?;
    let publisher = Publisher::new(&client, config.topics.outputs(), config.kafka.output_format, BROKER_WAIT)?;
    let outgoing = Outgoing {
        kind: Kind::Control,
        key: checked.organization_id.to_string(),
        partition_by: None,
        timestamp: None,
        payload: payload.into_bytes(),
    };
    publisher.records(&[outgoing]).await?;
    let Some(reader) = reader else {
        println!("sent {}", checked.id);
        return Ok(());
    };
    match wait_for_answer(&reader, &checked.organization_id, &checked.id, wait) {
        Some(entry) if entry["result"] == "applied" => {
            println!("applied {}", checked.id);
            Ok(())
        }
        Some(entry) => {
            Err(format!("refused {}: {}", checked.id, entry["refused_because"].as_str().unwrap_or("no reason")).into())
        }
        None => {
            Err(format!("no answer within {} s; the record {} is sent and will be served", wait.as_secs(), checked.id)
                .into())
        }
    }
}

fn record(arguments: &ControlArguments) -> Result<String, Failure> {
    if let Some(file) = &arguments.file {
        let mut text = String::new();
        if file.as_os_str() == "-" {
            std::io::stdin().read_to_string(&mut text)?;
        } else {
            text = std::fs::read_to_string(file).map_err(|error| format!("{}: {error}", file.display()))?;
        }
        return Ok(text);
    }
    let said = arguments.command.as_ref().ok_or("what is to be said? See bursar control --help")?;
    let mut data = said.to_json();
    data["organization_id"] = arguments.organization.clone().into();
    data["actor"] = arguments.actor.clone().into();
    data["reason"] = arguments.reason.clone().into();
    let id = arguments.id.clone().unwrap_or_else(|| format!("cli-{:016x}", rand::random::<u64>()));
    Ok(cloud_event(Kind::Control, "bursar-cli", &id, Clock::System.now(), data).to_string())
}

fn wait_for_answer(reader: &TopicReader, organization_id: &str, record_id: &str, wait: Duration) -> Option<Json> {
    let until = Instant::now() + wait;
    while Instant::now() < until {
        let Some((_, _, Some(payload))) = reader.next(Duration::from_millis(100)) else { continue };
        let Some(entry) = data_of(&payload) else { continue };
        if entry["organization_id"] == organization_id && entry["record_id"] == record_id {
            return Some(entry);
        }
    }
    None
}
