//! Signals as bytes. Each is built once, as a value of its Avro schema; JSON is derived from that value.

mod lines;

use std::str::FromStr;

use apache_avro::{to_avro_datum, types::Value};

use crate::{
    contract::{Kind, json, newest},
    domain::{
        outlook::Outlook,
        pause::{Cause, CauseKind},
        reason::Reason,
        scope::Scope,
        signal::{Identity, JournalEntry, PauseChanged, Refusal, Signal, ThresholdCrossed},
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

/// A reason may quote what was wrong; it is cut at this many characters.
const REASON_CHARACTERS_MAX: usize = 1_000;

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
    let (kind, key, time, value) = match signal {
        Signal::Threshold(crossed) => {
            (Kind::Threshold, organization_id.to_owned(), crossed.record_time, threshold(organization_id, crossed))
        }
        Signal::Pause(changed) => (
            Kind::Pause,
            format!("{organization_id}/{}", changed.scope),
            changed.record_time,
            pause(organization_id, changed),
        ),
        Signal::Journal(entry) => {
            (Kind::Journal, organization_id.to_owned(), entry.record_time, journal(organization_id, entry))
        }
        Signal::Refusal(refusal) => {
            (Kind::DeadLetter, organization_id.to_owned(), refusal.record_time, refused(refusal))
        }
        Signal::Statement(line) => {
            (Kind::Statement, organization_id.to_owned(), line.record_time, lines::statement(organization_id, line))
        }
        Signal::Request(signal) => {
            (Kind::Request, organization_id.to_owned(), signal.record_time, lines::request(organization_id, signal))
        }
    };
    // The key of a pause names the scope, but all pauses of an organization go to one partition.
    let partition_by = (kind == Kind::Pause).then(|| organization_id.to_owned());
    Outgoing { kind, key, partition_by, timestamp: None, payload: encode(kind, &identity, time, value, format) }
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
    let value = record([
        ("reason_code", text(letter.reason.code())),
        ("reason", text(letter.reason.to_string().chars().take(REASON_CHARACTERS_MAX).collect::<String>())),
        ("topic", text(&*letter.topic)),
        ("partition", Value::Int(letter.partition)),
        ("offset", Value::Long(letter.offset)),
        ("record_time", instant(letter.record_time)),
        ("key", optional((!letter.key.is_empty()).then(|| Value::Bytes(letter.key.clone())))),
        ("payload", Value::Bytes(letter.payload.clone())),
        ("payload_bytes", Value::Long(letter.payload_bytes as i64)),
    ]);
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

fn threshold(organization_id: &str, crossed: &ThresholdCrossed) -> Value {
    record([
        ("identity", text(crossed.identity.to_string())),
        ("organization_id", text(organization_id)),
        ("scope", text(crossed.scope.to_string())),
        ("ceiling", text(crossed.ceiling.name())),
        ("limit_id", limit_id(crossed.ceiling, &crossed.limit_id)),
        ("meter", text(crossed.meter.name())),
        ("window", text(crossed.window_kind.name())),
        ("window_start", instant(crossed.window.start)),
        ("window_end", instant(crossed.window.end)),
        ("threshold_percent", Value::Int(i32::from(crossed.threshold_percent))),
        ("cap", Value::Long(crossed.cap)),
        ("used", Value::Long(crossed.used)),
        ("revision", Value::Long(i64::try_from(crossed.revision).unwrap_or(i64::MAX))),
        ("top_contributors", Value::Array(crossed.top_contributors.iter().map(contributor).collect())),
        ("record_time", instant(crossed.record_time)),
    ])
}

fn contributor((scope, used): &(Scope, i64)) -> Value {
    record([("scope", text(scope.to_string())), ("used", Value::Long(*used))])
}

fn pause(organization_id: &str, changed: &PauseChanged) -> Value {
    let state =
        if changed.causes.is_empty() { Value::Enum(1, "running".into()) } else { Value::Enum(0, "paused".into()) };
    record([
        ("identity", text(changed.identity.to_string())),
        ("organization_id", text(organization_id)),
        ("scope", text(changed.scope.to_string())),
        ("state", state),
        ("causes", Value::Array(changed.causes.iter().map(cause).collect())),
        ("generation", Value::Long(changed.generation)),
        ("record_time", instant(changed.record_time)),
    ])
}

fn cause(cause: &Cause) -> Value {
    record([
        ("kind", text(cause.kind.name())),
        ("limit_id", limit_id(cause.kind, &cause.limit_id)),
        ("window_start", optional(cause.window_start.map(instant))),
        ("ends_at", optional(cause.ends_at.map(instant))),
    ])
}

fn journal(organization_id: &str, entry: &JournalEntry) -> Value {
    let result =
        if entry.refused.is_some() { Value::Enum(1, "refused".into()) } else { Value::Enum(0, "applied".into()) };
    record([
        ("identity", text(entry.identity.to_string())),
        ("organization_id", text(organization_id)),
        ("record_id", text(&*entry.record_id)),
        ("record_source", text(&*entry.record_source)),
        ("time", instant(entry.time)),
        ("actor", text(&*entry.actor)),
        ("reason", text(&*entry.reason)),
        ("command", text(&*entry.command_json)),
        ("result", result),
        ("refused_because", optional(entry.refused.as_deref().map(text))),
        ("answer", text(&*entry.answer)),
        ("record_time", instant(entry.record_time)),
    ])
}

fn refused(refusal: &Refusal) -> Value {
    let (topic, partition, offset) = &refusal.position;
    let reason = Reason::ControlRefused(refusal.message.to_string());
    record([
        ("reason_code", text(reason.code())),
        ("reason", text(reason.to_string())),
        ("topic", text(&**topic)),
        ("partition", Value::Int(*partition)),
        ("offset", Value::Long(*offset)),
        ("record_time", instant(refusal.record_time)),
        ("key", optional(None)),
        ("payload", Value::Bytes(refusal.command_json.as_bytes().to_vec())),
        ("payload_bytes", Value::Long(refusal.command_json.len() as i64)),
    ])
}

fn limit_id(kind: CauseKind, id: &str) -> Value {
    optional(matches!(kind, CauseKind::Limit | CauseKind::SpendLimit).then(|| text(id)))
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

fn optional(value: Option<Value>) -> Value {
    match value {
        None => Value::Union(0, Box::new(Value::Null)),
        Some(value) => Value::Union(1, Box::new(value)),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::domain::{
        meter::{Counters, Meter},
        signal::{Correction, Identity, RequestKind, RequestSignal, StatementLine},
        window::{Window, WindowKind},
    };

    fn signals() -> Vec<(Signal, &'static str)> {
        let at = |ms| Timestamp::from_ms(ms);
        let identity = Identity::derive(&["x"]);
        let (record_time, scope) = (at(1_768_471_200_000), Scope::Workspace("sales".into()));
        let day = Window { start: at(1_768_435_200_000), end: at(1_768_521_600_000) };
        let crossed = ThresholdCrossed {
            identity,
            scope: scope.clone(),
            ceiling: CauseKind::Limit,
            limit_id: "daily".into(),
            meter: Meter::CreditsMicro,
            window_kind: WindowKind::Day,
            window: day,
            threshold_percent: 80,
            cap: 5_000_000,
            used: 4_000_123,
            revision: 1,
            top_contributors: vec![(Scope::Agent { workspace: "sales".into(), agent: "triage".into() }, 3_100_000)],
            record_time,
        };
        let cause = Cause {
            kind: CauseKind::Limit,
            limit_id: "daily".into(),
            window_start: Some(day.start),
            ends_at: Some(day.end),
        };
        let changed = PauseChanged { identity, scope, causes: vec![cause], generation: 1_768_471_200_000, record_time };
        let entry = JournalEntry {
            identity,
            record_id: "limit-1".into(),
            record_source: "console".into(),
            time: record_time,
            actor: "admin-1".into(),
            reason: "pilot".into(),
            command_json: "{\"pause\":{\"scope\":\"ws:sales\"}}".into(),
            refused: None,
            answer: "".into(),
            record_time,
        };
        let kind = RequestKind::ReloadRequested { amount_micro: 50_000_000, balance_micro: 4_000_000 };
        let reload = RequestSignal { identity, scope: Scope::Organization, kind, record_time };
        vec![
            (Signal::Threshold(crossed), include_str!("../../schemas/examples/threshold.json")),
            (Signal::Pause(changed), include_str!("../../schemas/examples/pause.json")),
            (Signal::Journal(entry), include_str!("../../schemas/examples/journal.json")),
            (Signal::Statement(Box::new(correction(identity))), include_str!("../../schemas/examples/statement.json")),
            (Signal::Request(reload), include_str!("../../schemas/examples/request.json")),
        ]
    }

    fn correction(identity: Identity) -> StatementLine {
        let at = |text: &str| crate::domain::time::parse_rfc3339(text).expect("a time of this test");
        let counted = |tokens, credits_micro| {
            let mut counters = Counters::ZERO;
            counters.set(Meter::InputTokens, tokens);
            counters.set(Meter::CreditsMicro, credits_micro);
            counters.set(Meter::PoolCreditsMicro, credits_micro);
            counters
        };
        let why = "event e-1 of gateway, used at 2026-01-14T23:00:00.000Z and recorded at 2026-01-15T10:00:00.000Z";
        StatementLine {
            identity,
            scope: Scope::Agent { workspace: "sales".into(), agent: "triage".into() },
            period: Window { start: at("2025-12-15T00:00:00Z"), end: at("2026-01-15T00:00:00Z") },
            totals: counted(70, 500),
            correction: Some(Correction { delta: counted(10, 100), why: why.into() }),
            unit: "credits".into(),
            record_time: at("2026-01-15T10:00:00Z"),
        }
    }

    /// What is sent as JSON has the very fields of the documented examples, and as Avro it follows the schema.
    #[test]
    fn signals_look_like_the_examples() {
        for (signal_value, example) in signals() {
            let sent = signal("acme", &signal_value, Format::Json);
            let mut sent: serde_json::Value = serde_json::from_slice(&sent.payload).expect("JSON");
            let example: serde_json::Value = serde_json::from_str(example).expect("JSON");
            sent["id"] = example["id"].clone();
            sent["data"]["identity"] = example["data"]["identity"].clone();
            assert_eq!(sent, example);
            assert_eq!(signal("acme", &signal_value, Format::Avro).payload[..2], [0xc3, 0x01]);
        }
    }

    #[test]
    fn a_dead_letter_looks_like_the_example() {
        let letter = DeadLetter {
            reason: Reason::UnknownFormat,
            topic: "usage.events".into(),
            partition: 3,
            offset: 42,
            record_time: Timestamp::from_ms(1_768_471_200_000),
            key: Vec::new(),
            payload: b"hello".to_vec(),
            payload_bytes: 5,
        };
        let sent: serde_json::Value =
            serde_json::from_slice(&dead_letter(&letter, Format::Json).payload).expect("JSON");
        let example = include_str!("../../schemas/examples/dead_letter.json");
        assert_eq!(sent, serde_json::from_str::<serde_json::Value>(example).expect("JSON"));
        assert_eq!(dead_letter(&letter, Format::Avro).key, "usage.events/3/42");
    }
}
