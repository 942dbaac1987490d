//! What earlier releases stored and this one does not need: it keeps its place in the list of fields, and holds nothing.

use serde::{Deserialize, Deserializer, Serialize, Serializer, de::IgnoredAny};

/// A field of an earlier layout. Reads as whatever was stored, writes as nothing.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Retired;

impl Serialize for Retired {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.serialize_unit()
    }
}

impl<'de> Deserialize<'de> for Retired {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        IgnoredAny::deserialize(deserializer).map(|_| Self)
    }
}
