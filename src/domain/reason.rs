//! Why an event or a control record will never be applied.

use thiserror::Error;

use super::{answer::Refused, time::Timestamp};

/// The code of records that are parked.
pub const QUARANTINED: &str = "quarantined";

/// The reason of a dead letter. [`Reason::code`] is a small closed set, fit for a metric's label; the message is for
/// a person and says what to do where there is something to do.
#[derive(Clone, Debug, PartialEq, Eq, Error)]
pub enum Reason {
    /// The first bytes are none of the three formats.
    #[error(
        "the payload is none of: Confluent wire format (00), Avro single-object encoding (C3 01), CloudEvents JSON ({{)"
    )]
    UnknownFormat,
    /// The payload is empty.
    #[error("the payload is empty")]
    EmptyPayload,
    /// More bytes than are read.
    #[error("the payload has {bytes} bytes; at most {bytes_max} are read")]
    PayloadTooLarge {
        /// How many it has.
        bytes: usize,
        /// How many are read.
        bytes_max: usize,
    },
    /// The Avro body ends early, goes on too long, or does not follow its schema.
    #[error("the Avro body does not follow its schema: {0}")]
    MalformedAvro(String),
    /// The fingerprint of a schema that was never published in schemas/.
    #[error("no schema of fingerprint {0:016x} was ever published; see schemas/history")]
    UnknownSchemaFingerprint(u64),
    /// The registry does not know the id.
    #[error("the schema registry has no schema of id {0}")]
    UnknownSchemaId(u32),
    /// The writer's schema cannot be read as ours.
    #[error("the schema {0} cannot be read as a usage event or a control record")]
    IncompatibleSchema(String),
    /// Not JSON, or JSON that is not an event.
    #[error("the JSON is not an event: {0}")]
    MalformedJson(String),
    /// Bytes that are not UTF-8 where a text should be.
    #[error("field {0} is not valid UTF-8")]
    InvalidUtf8(&'static str),
    /// Neither organization nor workspace is named.
    #[error("the event names neither organization_id nor workspace_id, so nobody can be charged")]
    NoOrganization,
    /// A field that must not be empty is.
    #[error("field {0} is empty")]
    EmptyField(&'static str),
    /// A name longer than is kept.
    #[error("field {field} is longer than {bytes_max} bytes")]
    FieldTooLong {
        /// Which field.
        field: &'static str,
        /// How long it may be.
        bytes_max: usize,
    },
    /// A quantity below zero or above 2^53 − 1.
    #[error("{field} is {quantity}; it must lie between 0 and 9007199254740991")]
    QuantityOutOfRange {
        /// Which quantity.
        field: &'static str,
        /// What it was.
        quantity: i128,
    },
    /// A time that no calendar has; usually another unit than milliseconds.
    #[error("the time is {time_ms} ms since 1970; it must lie in the years 1970 to 9999 (is it in another unit?)")]
    TimeOutOfRange {
        /// What it was.
        time_ms: i64,
    },
    /// The event claims to come from the future.
    #[error(
        "event time {event_time} is more than 5 minutes ahead of its record time {record_time}; check the sender's clock"
    )]
    TooEarly {
        /// What the sender said.
        event_time: Timestamp,
        /// When the broker got it.
        record_time: Timestamp,
    },
    /// The event is older than ids are remembered, so it cannot be told from a resend.
    #[error(
        "event time {event_time} is older than the horizon before its record time {record_time}; it can be re-admitted by an adjustment"
    )]
    TooLate {
        /// What the sender said.
        event_time: Timestamp,
        /// When the broker got it.
        record_time: Timestamp,
    },
    /// The rate card does not know the model, and says to reject it.
    #[error("the rate card has no price for model {0:?} and rejects unknown models")]
    UnknownModel(String),
    /// A known id with another content.
    #[error("an event of this source, id and time was applied with other content; a changed event needs a new id")]
    IdReused,
    /// The charge, or the sum of all charges, does not fit 63 bits.
    #[error("the charge does not fit the counters of {0}")]
    CounterOverflow(String),
    /// The control record cannot be read as a command.
    #[error("the control record was refused: {0}")]
    ControlRefused(String),
    /// The account refused the command.
    #[error("the control record was refused ({})", .0.code())]
    Refused(Box<Refused>),
    /// Deciding the account panicked.
    #[error("the account cannot be decided now ({0}): its records are parked until they are released")]
    Quarantined(String),
}

impl Reason {
    /// A short, stable word for metrics and for programs that read `usage.dead-letter`.
    pub const fn code(&self) -> &'static str {
        match self {
            Self::UnknownFormat => "unknown_format",
            Self::EmptyPayload => "empty_payload",
            Self::PayloadTooLarge { .. } => "payload_too_large",
            Self::MalformedAvro(_) => "malformed_avro",
            Self::UnknownSchemaFingerprint(_) => "unknown_schema_fingerprint",
            Self::UnknownSchemaId(_) => "unknown_schema_id",
            Self::IncompatibleSchema(_) => "incompatible_schema",
            Self::MalformedJson(_) => "malformed_json",
            Self::InvalidUtf8(_) => "invalid_utf8",
            Self::NoOrganization => "no_organization",
            Self::EmptyField(_) => "empty_field",
            Self::FieldTooLong { .. } => "field_too_long",
            Self::QuantityOutOfRange { .. } => "quantity_out_of_range",
            Self::TimeOutOfRange { .. } => "time_out_of_range",
            Self::TooEarly { .. } => "too_early",
            Self::TooLate { .. } => "too_late",
            Self::UnknownModel(_) => "unknown_model",
            Self::IdReused => "id_reused",
            Self::CounterOverflow(_) => "counter_overflow",
            Self::ControlRefused(_) | Self::Refused(_) => "control_refused",
            Self::Quarantined(_) => QUARANTINED,
        }
    }
}
