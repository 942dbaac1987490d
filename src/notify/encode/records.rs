//! What became of control records, and of records that will never count, as values of their Avro schemas. Answers are
//! values until here; the sentences for people are made of them now ([`answer`]).

use apache_avro::types::Value;

use super::{DeadLetter, instant, optional, record, text};
use crate::{
    contract::answer,
    domain::{
        answer::{Applied, Refused},
        reason::Reason,
        signal::{JournalEntry, Refusal},
    },
};

/// A reason may quote what was wrong; it is cut at this many characters.
const REASON_CHARACTERS_MAX: usize = 1_000;

/// An entry of the audit trail.
pub(super) fn journal(organization_id: &str, entry: &JournalEntry) -> Value {
    let because = entry.refused.as_ref().map(answer::refused);
    let result = if because.is_some() { Value::Enum(1, "refused".into()) } else { Value::Enum(0, "applied".into()) };
    let [code, fields] = refused(entry.refused.as_ref());
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
        ("refused_because", optional(because.map(text))),
        ("code", code),
        ("fields", fields),
        ("answer", text(answer::applied(&entry.applied))),
        ("applied", Value::Array(entry.applied.iter().map(applied).collect())),
        ("record_time", instant(entry.record_time)),
    ])
}

fn applied(applied: &Applied) -> Value {
    record([("code", text(applied.code())), ("fields", texts(applied.fields()))])
}

/// A control record that the account refused.
pub(super) fn refusal(refusal: &Refusal) -> Value {
    let Refusal { why, position: (topic, partition, offset), command_json, record_time, .. } = refusal;
    let [code, fields] = refused(Some(why));
    let reason = Reason::ControlRefused(answer::refused(why));
    record([
        ("reason_code", text(reason.code())),
        ("reason", text(reason.to_string())),
        ("refusal_code", code),
        ("refusal_fields", fields),
        ("topic", text(&**topic)),
        ("partition", Value::Int(*partition)),
        ("offset", Value::Long(*offset)),
        ("record_time", instant(*record_time)),
        ("key", optional(None)),
        ("payload", Value::Bytes(command_json.as_bytes().to_vec())),
        ("payload_bytes", Value::Long(command_json.len() as i64)),
    ])
}

/// A record that will never count.
pub(super) fn dead_letter(letter: &DeadLetter) -> Value {
    let why = match &letter.reason {
        Reason::Refused(why) => Some(&**why),
        _ => None,
    };
    let in_words = |why: &Refused| Reason::ControlRefused(answer::refused(why)).to_string();
    let sentence = why.map_or_else(|| letter.reason.to_string(), in_words);
    let [code, fields] = refused(why);
    record([
        ("reason_code", text(letter.reason.code())),
        ("reason", text(sentence.chars().take(REASON_CHARACTERS_MAX).collect::<String>())),
        ("refusal_code", code),
        ("refusal_fields", fields),
        ("topic", text(&*letter.topic)),
        ("partition", Value::Int(letter.partition)),
        ("offset", Value::Long(letter.offset)),
        ("record_time", instant(letter.record_time)),
        ("key", optional((!letter.key.is_empty()).then(|| Value::Bytes(letter.key.clone())))),
        ("payload", Value::Bytes(letter.payload.clone())),
        ("payload_bytes", Value::Long(letter.payload_bytes as i64)),
    ])
}

/// Code and fields of a refusal, where there is one.
pub(super) fn refused(why: Option<&Refused>) -> [Value; 2] {
    let fields = why.map(Refused::fields).unwrap_or_default();
    [optional(why.map(|why| text(why.code()))), texts(fields)]
}

fn texts(fields: Vec<(&'static str, String)>) -> Value {
    Value::Map(fields.into_iter().map(|(name, field)| (name.to_owned(), text(field))).collect())
}
