//! Signals as bytes. Each is built once, as a value of its Avro schema; JSON is derived from that value.
//!
//! - `ceilings`: thresholds and pauses. `records`: what became of control records, and of those that never count.
//! - `lines`: statements. `requests`: what somebody outside has to answer or to know.

mod ceilings;
mod lines;
mod records;
mod requests;

use std::str::FromStr;

use apache_avro::{to_avro_datum, types::Value};

use crate::{
    contract::{Kind, json, newest},
    domain::{
        limit::Selector,
        outlook::Outlook,
        reason::Reason,
        signal::{Identity, Signal},
        time::{HOUR_MS, Timestamp},
    },
};

/// Of a dead letter's original, this many bytes are kept.
pub const DEAD_LETTER_BYTES_MAX: usize = 256 * 1024;

/// Of a record that is parked, at most so many bytes of key and of payload are kept: in base64 it still fits into a
/// record of 1 MB.
pub const PARKED_BYTES_MAX: usize = 512 * 1024;

/// Of a dead letter's key, this many bytes are kept.
pub const DEAD_LETTER_KEY_BYTES_MAX: usize = 1_024;

/// The format of what goes out.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, serde::Deserialize, serde::Serialize)]
#[serde(rename_all = "snake_case")]
pub enum Format {
    /// Avro single-object encoding with the newest published schema.
    #[default]
    Avro,
    /// CloudEvents 1.0 in structured JSON.
    Json,
}

impl FromStr for Format {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        match text {
            "avro" => Ok(Self::Avro),
            "json" => Ok(Self::Json),
            _ => Err(format!("{text:?} is neither avro nor json")),
        }
    }
}

/// A record that will never be applied, with its position.
#[derive(Clone, Debug)]
pub struct DeadLetter {
    /// Why.
    pub reason: Reason,
    /// Where it stands.
    pub topic: Box<str>,
    /// Its partition.
    pub partition: i32,
    /// Its offset.
    pub offset: i64,
    /// When the broker got it.
    pub record_time: Timestamp,
    /// Its key.
    pub key: Vec<u8>,
    /// Its bytes, up to [`DEAD_LETTER_BYTES_MAX`].
    pub payload: Vec<u8>,
    /// How many bytes it has.
    pub payload_bytes: usize,
}

impl DeadLetter {
    /// Whether it waits to be released.
    pub const fn is_parked(&self) -> bool {
        matches!(self.reason, Reason::Quarantined(_))
    }
}

/// What is sent: to which kind of topic, under which key.
#[derive(Clone, Debug)]
pub struct Outgoing {
    /// Decides the topic.
    pub kind: Kind,
    /// The key.
    pub key: String,
    /// Whose records go to one partition in their order, where that is not the key.
    pub partition_by: Option<String>,
    /// The record's timestamp, where it is not the present.
    pub timestamp: Option<Timestamp>,
    /// The bytes.
    pub payload: Vec<u8>,
}

/// Encodes a signal of an organization.
pub fn signal(organization_id: &str, signal: &Signal, format: Format) -> Outgoing {
    let identity = signal.identity().to_string();
    let (kind, record_time, value) = match signal {
        Signal::Threshold(crossed) => {
            (Kind::Threshold, crossed.record_time, ceilings::threshold(organization_id, crossed))
        }
        Signal::Pause(changed) => (Kind::Pause, changed.record_time, ceilings::pause(organization_id, changed)),
        Signal::Journal(entry) => (Kind::Journal, entry.record_time, records::journal(organization_id, entry)),
        Signal::Refusal(refusal) => (Kind::DeadLetter, refusal.record_time, records::refusal(refusal)),
        Signal::Statement(line) => (Kind::Statement, line.record_time, lines::statement(organization_id, line)),
        Signal::Request(asked) => (Kind::Request, asked.record_time, requests::request(organization_id, asked)),
    };
    let key = match signal {
        Signal::Pause(changed) => format!("{organization_id}/{}", changed.scope),
        _ => organization_id.to_owned(),
    };
    // The key of a pause names the scope, but all pauses of an organization go to one partition.
    let partition_by = (kind == Kind::Pause).then(|| organization_id.to_owned());
    let payload = encode(kind, &identity, record_time, value, format);
    Outgoing { kind, key, partition_by, timestamp: None, payload }
}

/// Encodes an outlook of an organization. Its identity is that of what it says, and when: that in this hour of that period a
/// pool or limit will be used up.
pub fn forecast(organization_id: &str, outlook: &Outlook, now: Timestamp, format: Format) -> Outgoing {
    let hour = outlook.exhausted_at.map_or(-1, |at| at.ms().div_euclid(HOUR_MS));
    let limit_id = outlook.limit_id.as_deref();
    let (scope, start) = (outlook.scope.to_string(), outlook.period.start.ms().to_string());
    let (hour, at) = (hour.to_string(), outlook.at.ms().to_string());
    let parts = ["forecast", organization_id, &scope, limit_id.unwrap_or_default(), &start, &hour, &at];
    let identity = Identity::derive(&parts).to_string();
    let value = record([
        ("identity", text(&identity)),
        ("organization_id", text(organization_id)),
        ("scope", text(scope.as_str())),
        ("ceiling", text(if limit_id.is_some() { "limit" } else { "pool" })),
        ("limit_id", optional(limit_id.map(text))),
        ("period_start", instant(outlook.period.start)),
        ("period_end", instant(outlook.period.end)),
        ("used_micro", Value::Long(outlook.used_micro)),
        ("cap_micro", Value::Long(outlook.cap_micro)),
        ("at_end_micro", Value::Long(outlook.expected.sum)),
        ("low_micro", Value::Long(outlook.expected.low)),
        ("high_micro", Value::Long(outlook.expected.high)),
        ("exhausted_at", optional(outlook.exhausted_at.map(instant))),
        ("method", text(outlook.method)),
        ("time", instant(outlook.at)),
    ]);
    let payload = encode(Kind::Forecast, &identity, now, value, format);
    Outgoing { kind: Kind::Forecast, key: organization_id.to_owned(), partition_by: None, timestamp: None, payload }
}

/// Encodes a dead letter.
pub fn dead_letter(letter: &DeadLetter, format: Format) -> Outgoing {
    let position = format!("{}/{}/{}", letter.topic, letter.partition, letter.offset);
    let value = records::dead_letter(letter);
    let kind = if letter.is_parked() { Kind::Parked } else { Kind::DeadLetter };
    let payload = encode(kind, &position, letter.record_time, value, format);
    Outgoing { kind, key: position, partition_by: None, timestamp: None, payload }
}

fn encode(kind: Kind, id: &str, time: Timestamp, value: Value, format: Format) -> Vec<u8> {
    match format {
        Format::Json => json::cloud_event(kind, "bursar", id, time, json::to_json(value)).to_string().into_bytes(),
        Format::Avro => {
            let published = newest(kind);
            let mut payload = vec![0xc3, 0x01];
            payload.extend_from_slice(&published.fingerprint.to_le_bytes());
            payload.extend(to_avro_datum(&published.schema, value).expect("signals follow their own schema"));
            payload
        }
    }
}

fn record<const N: usize>(fields: [(&str, Value); N]) -> Value {
    Value::Record(fields.into_iter().map(|(name, value)| (name.to_owned(), value)).collect())
}

fn text(text: impl Into<String>) -> Value {
    Value::String(text.into())
}

fn instant(time: Timestamp) -> Value {
    Value::TimestampMillis(time.ms())
}

/// What a limit is set on, where it is one.
fn selector(selector: Option<&Selector>) -> Value {
    optional(selector.map(|selector| text(selector.name())))
}

fn optional(value: Option<Value>) -> Value {
    match value {
        None => Value::Union(0, Box::new(Value::Null)),
        Some(value) => Value::Union(1, Box::new(value)),
    }
}

#[cfg(test)]
mod tests;
