//! `bursar control`: puts a control record, and waits for the answer in the journal.

use std::{
    io::Read,
    path::PathBuf,
    time::{Duration, Instant},
};

mod answer;
mod said;

use clap::Args;
use rdkafka::Offset;
use serde_json::{Value as Json, json};

use self::{answer::Answer, said::Said};
use super::Failure;
use crate::{
    clock::Clock,
    config::Config,
    contract::{
        Kind,
        json::{cloud_event, read_control},
    },
    domain::{
        control::ControlRecord,
        time::{Timestamp, parse_rfc3339},
    },
    notify::{
        encode::Outgoing,
        publisher::Publisher,
        reader::{TopicReader, data_of},
    },
};

/// How long the brokers may take to answer.
const BROKER_WAIT: Duration = Duration::from_secs(10);

/// How long an answer is waited for, where nobody says otherwise.
const ANSWER_WAIT: Duration = Duration::from_secs(30);

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
    /// When it is said (RFC 3339); now without it. On topics with CreateTime it is Kafka's timestamp as well, for replays
    /// with clock = "records".
    #[arg(long)]
    at: Option<String>,
    /// Seconds to wait for the answer; 0 does not wait.
    #[arg(long, default_value_t = 30)]
    wait: u64,
    /// A whole record as CloudEvents JSON, as in schemas/examples/control.json; - is standard input.
    #[arg(long, conflicts_with_all = ["organization", "id"])]
    file: Option<PathBuf>,
    /// Print the answer as JSON, with its codes and fields (docs/answers.md).
    #[arg(long)]
    json: bool,
    #[command(subcommand)]
    command: Option<Said>,
}

/// Puts the record, and shows what became of it.
pub async fn control(config: &Config, arguments: &ControlArguments) -> Result<(), Failure> {
    let at = arguments.at.as_deref().map(parse_rfc3339).transpose()?;
    let payload = record(arguments, at)?;
    let checked = match read_control(payload.as_bytes()) {
        Ok(checked) => checked,
        Err(reason) if arguments.json => {
            let why = reason.to_string();
            println!("{}", json!({ "result": "not_sent", "reason_code": reason.code(), "refused_because": why }));
            return Err(why.into());
        }
        Err(reason) => return Err(reason.to_string().into()),
    };
    let answer = send(config, &checked, payload, at, Duration::from_secs(arguments.wait)).await?;
    if arguments.json {
        println!("{}", answer.json(&checked.id));
        return answer.sentence(&checked.id).map(|_| ());
    }
    println!("{}", answer.sentence(&checked.id)?);
    Ok(())
}

/// Says one command, with an id of its own, and shows what became of it.
pub async fn say(config: &Config, organization: &str, actor: &str, command: Json) -> Result<(), Failure> {
    let id = format!("cli-{:016x}", rand::random::<u64>());
    let payload = record_of(&id, organization, actor, "", command, Clock::System.now());
    let checked = read_control(payload.as_bytes()).map_err(|reason| reason.to_string())?;
    let answer = send(config, &checked, payload, None, ANSWER_WAIT).await?;
    println!("{}", answer.sentence(&checked.id)?);
    Ok(())
}

fn record_of(id: &str, organization: &str, actor: &str, reason: &str, command: Json, at: Timestamp) -> String {
    let mut data = command;
    data["organization_id"] = organization.into();
    data["actor"] = actor.into();
    data["reason"] = reason.into();
    cloud_event(Kind::Control, "bursar-cli", id, at, data).to_string()
}

/// Sends a record that could be read: what can be told without the account is refused before.
async fn send(
    config: &Config,
    checked: &ControlRecord,
    payload: String,
    at: Option<Timestamp>,
    wait: Duration,
) -> Result<Answer, Failure> {
    let journal = config.topics.journal.clone();
    let client = config.client()?;
    let reader = (!wait.is_zero()).then(|| TopicReader::open(&client, &journal, Offset::End, BROKER_WAIT)).transpose();
    let reader = reader.map_err(|error| format!("Kafka at {}: {error}", config.kafka.brokers))?;
    let publisher = Publisher::new(&client, config.topics.outputs(), config.kafka.output_format, BROKER_WAIT)?;
    let outgoing = Outgoing {
        kind: Kind::Control,
        key: checked.organization_id.to_string(),
        partition_by: None,
        timestamp: at,
        payload: payload.into_bytes(),
    };
    publisher.records(&[outgoing]).await?;
    let Some(reader) = reader else { return Ok(Answer::Sent) };
    let answer = wait_for_answer(&reader, &checked.organization_id, &checked.id, wait);
    Ok(answer.map_or(Answer::None(wait), Answer::Journaled))
}

fn record(arguments: &ControlArguments, at: Option<Timestamp>) -> Result<String, Failure> {
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
    let id = arguments.id.clone().unwrap_or_else(|| format!("cli-{:016x}", rand::random::<u64>()));
    let organization = arguments.organization.as_deref().unwrap_or_default();
    let at = at.unwrap_or_else(|| Clock::System.now());
    Ok(record_of(&id, organization, &arguments.actor, &arguments.reason, said.0.clone(), at))
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
