//! The contract with everyone around us: what events, control records and signals look like in bytes.
//!
//! The schemas in `schemas/` are the truth; `schemas/history/` keeps every version ever published, and every one of
//! them is compiled in, so that bytes written years ago still read.
//!
//! - [`avro`] reads and writes Avro's primitives; [`usage`] does so for whole usage events, without a detour.
//! - [`json`] reads CloudEvents and turns Avro values into JSON.
//! - [`control`] checks what a control record says; [`texts`] its texts.

pub mod answer;
pub mod avro;
pub mod control;
pub mod json;
pub mod texts;
pub mod usage;

use std::sync::LazyLock;

use apache_avro::Schema;

/// What a schema describes.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Kind {
    /// A run changed its state.
    Run,
    /// A model was called.
    Token,
    /// An admin or billing says something.
    Control,
    /// A share of a cap was reached.
    Threshold,
    /// A scope pauses or resumes.
    Pause,
    /// What became of a control record.
    Journal,
    /// What a scope used in a closed period.
    Statement,
    /// Something to be answered or known.
    Request,
    /// When credits are expected to run out.
    Forecast,
    /// What people call a scope.
    Name,
    /// A record that will never be applied.
    DeadLetter,
    /// A record of an account that cannot be decided now; it has the schema of a dead letter.
    Parked,
}

impl Kind {
    /// The `type` of a CloudEvent of this kind.
    pub const fn cloud_event_type(self) -> &'static str {
        match self {
            Self::Run => "bursar.run.v1",
            Self::Token => "bursar.token.v1",
            Self::Control => "bursar.control.v1",
            Self::Threshold => "bursar.threshold.v1",
            Self::Pause => "bursar.pause.v1",
            Self::Journal => "bursar.journal.v1",
            Self::Statement => "bursar.statement.v1",
            Self::Request => "bursar.request.v1",
            Self::Forecast => "bursar.forecast.v1",
            Self::Name => "bursar.name.v1",
            Self::DeadLetter => "bursar.dead_letter.v1",
            Self::Parked => "bursar.parked.v1",
        }
    }
}

/// A schema that was published, with its fingerprint (CRC-64-AVRO over the canonical form).
pub struct Published {
    /// What it describes.
    pub kind: Kind,
    /// Its version, from 1.
    pub version: u16,
    /// The parsed schema.
    pub schema: Schema,
    /// What opens a payload in single-object encoding.
    pub fingerprint: u64,
}

/// Every version ever published, newest last within a kind.
pub static PUBLISHED: LazyLock<Vec<Published>> = LazyLock::new(|| {
    let texts = [
        (Kind::Run, 1, include_str!("../../schemas/history/run_event.1.avsc")),
        (Kind::Token, 1, include_str!("../../schemas/history/token_event.1.avsc")),
        (Kind::Control, 1, include_str!("../../schemas/history/control.1.avsc")),
        (Kind::Threshold, 1, include_str!("../../schemas/history/threshold.1.avsc")),
        (Kind::Pause, 1, include_str!("../../schemas/history/pause.1.avsc")),
        (Kind::Journal, 1, include_str!("../../schemas/history/journal.1.avsc")),
        (Kind::DeadLetter, 1, include_str!("../../schemas/history/dead_letter.1.avsc")),
        (Kind::Statement, 1, include_str!("../../schemas/history/statement.1.avsc")),
        (Kind::Request, 1, include_str!("../../schemas/history/request.1.avsc")),
        (Kind::Forecast, 1, include_str!("../../schemas/history/forecast.1.avsc")),
        (Kind::Name, 1, include_str!("../../schemas/history/name.1.avsc")),
        (Kind::Token, 2, include_str!("../../schemas/history/token_event.2.avsc")),
        (Kind::Control, 2, include_str!("../../schemas/history/control.2.avsc")),
        (Kind::Control, 3, include_str!("../../schemas/history/control.3.avsc")),
        (Kind::Threshold, 2, include_str!("../../schemas/history/threshold.2.avsc")),
        (Kind::Journal, 2, include_str!("../../schemas/history/journal.2.avsc")),
        (Kind::Threshold, 3, include_str!("../../schemas/history/threshold.3.avsc")),
        (Kind::Pause, 2, include_str!("../../schemas/history/pause.2.avsc")),
        (Kind::Journal, 3, include_str!("../../schemas/history/journal.3.avsc")),
        (Kind::DeadLetter, 2, include_str!("../../schemas/history/dead_letter.2.avsc")),
        (Kind::Request, 2, include_str!("../../schemas/history/request.2.avsc")),
    ];
    let publish = |(kind, version, text)| {
        let schema = Schema::parse_str(text).expect("published schemas parse");
        let fingerprint = fingerprint(&schema);
        Published { kind, version, schema, fingerprint }
    };
    texts.into_iter().map(publish).collect()
});

/// The newest published schema of a kind: the one that we write.
pub fn newest(kind: Kind) -> &'static Published {
    let kind = if kind == Kind::Parked { Kind::DeadLetter } else { kind };
    PUBLISHED.iter().rev().find(|published| published.kind == kind).expect("every kind is published")
}

/// CRC-64-AVRO over the canonical form of a schema (Avro 1.12, "Schema Fingerprints").
pub fn fingerprint(schema: &Schema) -> u64 {
    let mut canonical = schema.canonical_form();
    // The library leaves a primitive that lost its logical type as an object; the specification makes it simple.
    for primitive in ["null", "boolean", "int", "long", "float", "double", "bytes", "string"] {
        canonical = canonical.replace(&format!("{{\"type\":\"{primitive}\"}}"), &format!("\"{primitive}\""));
    }
    canonical.bytes().fold(CRC_64_AVRO_EMPTY, |crc, byte| crc_64_avro((crc ^ u64::from(byte)) & 0xff) ^ (crc >> 8))
}

/// The fingerprint of no bytes; also the polynomial.
const CRC_64_AVRO_EMPTY: u64 = 0xc15d_213a_a4d7_a795;

fn crc_64_avro(byte: u64) -> u64 {
    (0..8).fold(byte, |crc, _| (crc >> 1) ^ if crc & 1 == 1 { CRC_64_AVRO_EMPTY } else { 0 })
}

#[cfg(test)]
mod tests {
    use super::*;

    /// What stands in schemas/ is the newest of schemas/history: a change of the one is a new file in the other.
    #[test]
    fn current_schemas_are_the_newest_published() {
        for (kind, current) in [
            (Kind::Run, include_str!("../../schemas/run_event.avsc")),
            (Kind::Token, include_str!("../../schemas/token_event.avsc")),
            (Kind::Control, include_str!("../../schemas/control.avsc")),
            (Kind::Threshold, include_str!("../../schemas/threshold.avsc")),
            (Kind::Pause, include_str!("../../schemas/pause.avsc")),
            (Kind::Journal, include_str!("../../schemas/journal.avsc")),
            (Kind::DeadLetter, include_str!("../../schemas/dead_letter.avsc")),
            (Kind::Statement, include_str!("../../schemas/statement.avsc")),
            (Kind::Request, include_str!("../../schemas/request.avsc")),
            (Kind::Forecast, include_str!("../../schemas/forecast.avsc")),
            (Kind::Name, include_str!("../../schemas/name.avsc")),
        ] {
            assert_eq!(Schema::parse_str(current).expect("it parses"), newest(kind).schema, "{kind:?}");
        }
    }

    /// The fingerprints that a client in any language computes; here by another implementation.
    #[test]
    fn fingerprints_are_those_of_the_specification() {
        let fingerprints = [Kind::Run, Kind::Token].map(|kind| newest(kind).fingerprint);
        assert_eq!(fingerprints, [0xaad8_a302_a9cc_237f, 0x9ef6_0167_0b3e_64d5]);
    }

    /// Fields of usage events use the words of OpenTelemetry's GenAI conventions, and each says what it means.
    #[test]
    fn every_field_is_documented() {
        for published in PUBLISHED.iter() {
            let Schema::Record(record) = &published.schema else { panic!("{:?} is no record", published.kind) };
            for field in &record.fields {
                assert!(field.doc.as_ref().is_some_and(|doc| !doc.is_empty()), "{:?} {}", published.kind, field.name);
            }
        }
    }
}
