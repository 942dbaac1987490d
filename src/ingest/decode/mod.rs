//! From bytes to an event, or to a reason: total, told by the first byte (design section 6).
//!
//! `00` Confluent wire format, `C3 01` Avro single-object encoding, `{` CloudEvents JSON.

mod registry;

use std::{borrow::Cow, collections::HashMap};

use apache_avro::{Schema, from_avro_datum, types::Value};

pub use self::registry::{Registry, RegistryAway, RegistryOptions};
use crate::{
    contract::{
        Kind, PUBLISHED, fingerprint, json, newest,
        usage::{ReadUsageEvent, read_published},
    },
    domain::{control::ControlRecord, event::UsageEvent, reason::Reason},
};

/// The largest payload that is read, in bytes.
pub const PAYLOAD_BYTES_MAX: usize = 1024 * 1024;

/// A usage event as its format allows: borrowed from the payload, or with texts of its own.
#[derive(Debug)]
pub enum Decoded<'a> {
    /// Its texts stand in the payload as they are.
    Borrowed(UsageEvent<'a>),
    /// Not all of them do.
    Owned(Box<ReadUsageEvent<'a>>),
}

impl<'a> From<ReadUsageEvent<'a>> for Decoded<'a> {
    fn from(event: ReadUsageEvent<'a>) -> Self {
        match event.as_it_stands() {
            Some(event) => Self::Borrowed(event),
            None => Self::Owned(Box::new(event)),
        }
    }
}

impl Decoded<'_> {
    /// The event.
    pub fn event(&self) -> Cow<'_, UsageEvent<'_>> {
        match self {
            Self::Borrowed(event) => Cow::Borrowed(event),
            Self::Owned(event) => Cow::Owned(event.borrow().expect("an event was checked when it was decoded")),
        }
    }
}

/// Why a payload is not decoded.
#[derive(Debug, PartialEq, Eq)]
pub enum Undecoded {
    /// It never will be.
    Dead(Reason),
    /// The schema registry has to be asked for this id first.
    NeedsSchema(u32),
}

impl From<Reason> for Undecoded {
    fn from(reason: Reason) -> Self {
        Self::Dead(reason)
    }
}

/// How the body of a payload is read.
#[derive(Debug)]
enum Body {
    /// With a published version of the schema of a usage event, field by field.
    Usage(Kind, u16),
    /// With any schema, by way of a value.
    General(Schema),
    /// Not at all: the registry says so, or the schema is not for us.
    Refused(Reason),
}

/// Decodes payloads. Each worker has its own.
pub struct Decoder {
    by_fingerprint: HashMap<u64, Body>,
    by_id: HashMap<u32, Body>,
    has_registry: bool,
}

impl Decoder {
    /// Knows every schema ever published, and asks for others if there is a registry.
    pub fn new(has_registry: bool) -> Self {
        let by_fingerprint = PUBLISHED.iter().map(|published| (published.fingerprint, body_for(&published.schema)));
        Self { by_fingerprint: by_fingerprint.collect(), by_id: HashMap::new(), has_registry }
    }

    /// Takes in what the registry said of an id: a schema, or that there is none.
    pub fn learn(&mut self, id: u32, schema: Option<&str>) {
        let body = match schema.map(Schema::parse_str) {
            None => Body::Refused(Reason::UnknownSchemaId(id)),
            Some(Err(error)) => Body::Refused(Reason::IncompatibleSchema(format!("{id} of the registry ({error})"))),
            Some(Ok(schema)) => body_for(&schema),
        };
        self.by_id.insert(id, body);
    }

    /// Forgets which ids the registry did not know: a schema may have been registered since.
    pub fn end_batch(&mut self) {
        self.by_id.retain(|_, body| !matches!(body, Body::Refused(Reason::UnknownSchemaId(_))));
    }

    /// Decodes a usage event.
    ///
    /// # Errors
    /// [`Undecoded`].
    pub fn usage<'a>(&self, payload: &'a [u8]) -> Result<Decoded<'a>, Undecoded> {
        match self.split(payload)? {
            Split::Json => Ok(json::read_usage(payload)?.into()),
            Split::Avro(Body::Usage(kind, version), body) => {
                Ok(Decoded::Borrowed(read_published(*kind, *version, body)?))
            }
            Split::Avro(Body::General(schema), body) => {
                Ok(json::usage_of_avro(resolve_usage(read_value(schema, body)?)?)?.into())
            }
            Split::Avro(Body::Refused(reason), _) => Err(reason.clone().into()),
        }
    }

    /// Decodes a control record.
    ///
    /// # Errors
    /// [`Undecoded`].
    pub fn control(&self, payload: &[u8]) -> Result<ControlRecord, Undecoded> {
        match self.split(payload)? {
            Split::Json => Ok(json::read_control(payload)?),
            Split::Avro(Body::Usage(kind, _), _) => {
                let name = kind.cloud_event_type();
                Err(Reason::IncompatibleSchema(format!(
                    "{name} is not a control record, and this is the control topic"
                ))
                .into())
            }
            Split::Avro(Body::General(schema), body) => {
                Ok(json::control_of_avro(resolve(read_value(schema, body)?, Kind::Control)?)?)
            }
            Split::Avro(Body::Refused(reason), _) => Err(reason.clone().into()),
        }
    }

    fn split<'a>(&self, payload: &'a [u8]) -> Result<Split<'_, 'a>, Undecoded> {
        if payload.len() > PAYLOAD_BYTES_MAX {
            return Err(Reason::PayloadTooLarge { bytes: payload.len(), bytes_max: PAYLOAD_BYTES_MAX }.into());
        }
        match payload {
            [] => Err(Reason::EmptyPayload.into()),
            [b'{', ..] => Ok(Split::Json),
            [0xc3, 0x01, rest @ ..] => {
                let (fingerprint, body) =
                    rest.split_first_chunk().ok_or_else(|| ends_early("single-object encoding"))?;
                let fingerprint = u64::from_le_bytes(*fingerprint);
                let reader = self.by_fingerprint.get(&fingerprint);
                Ok(Split::Avro(reader.ok_or(Reason::UnknownSchemaFingerprint(fingerprint))?, body))
            }
            [0x00, rest @ ..] => {
                let (id, body) = rest.split_first_chunk().ok_or_else(|| ends_early("Confluent wire format"))?;
                let id = u32::from_be_bytes(*id);
                match self.by_id.get(&id) {
                    Some(reader) => Ok(Split::Avro(reader, body)),
                    None if self.has_registry => Err(Undecoded::NeedsSchema(id)),
                    None => Err(Reason::UnknownSchemaId(id).into()),
                }
            }
            _ => Err(Reason::UnknownFormat.into()),
        }
    }
}

enum Split<'r, 'a> {
    Json,
    Avro(&'r Body, &'a [u8]),
}

fn ends_early(format: &str) -> Reason {
    Reason::MalformedAvro(format!("the header of {format} ends early"))
}

/// A writer's schema that equals a published one is read as that, wherever it came from.
fn body_for(schema: &Schema) -> Body {
    let fingerprint = fingerprint(schema);
    let published = PUBLISHED.iter().find(|published| published.fingerprint == fingerprint);
    match published.map(|published| (published.kind, published.version)) {
        Some((kind @ (Kind::Run | Kind::Token), version)) => Body::Usage(kind, version),
        _ => Body::General(schema.clone()),
    }
}

fn read_value(schema: &Schema, body: &[u8]) -> Result<Value, Reason> {
    let mut rest = body;
    let value = from_avro_datum(schema, &mut rest, None).map_err(|error| Reason::MalformedAvro(error.to_string()))?;
    if !rest.is_empty() {
        return Err(Reason::MalformedAvro(format!("{} bytes follow the record", rest.len())));
    }
    Ok(value)
}

/// Resolves what a customer's own schema wrote against ours: a record with a phase is a run event.
fn resolve_usage(value: Value) -> Result<Value, Reason> {
    let is_run = matches!(&value, Value::Record(fields) if fields.iter().any(|(name, _)| name == "phase"));
    resolve(value, if is_run { Kind::Run } else { Kind::Token })
}

/// Schema resolution as Avro specifies it: fields that we do not have are passed over, those that the writer does not
/// have take their default.
fn resolve(value: Value, kind: Kind) -> Result<Value, Reason> {
    value.resolve(&newest(kind).schema).map_err(|error| Reason::IncompatibleSchema(format!("of the writer ({error})")))
}

#[cfg(test)]
mod tests;
