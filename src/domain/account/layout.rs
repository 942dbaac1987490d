//! How state is packed: MessagePack lists, each opened by the number of its layout.
//!
//! A value tells its own layout, so an account may hold values of two layouts while it is brought up to date: what a
//! commit touches is written in the current layout, what it does not touch stays. A release reads layouts n and n+1
//! before any release writes n+1 (design section 3, "Upgrades"). Fields are only added, at the end, with a default.

use serde::{Serialize, de::DeserializeOwned};
use thiserror::Error;

/// The layout that this release writes.
pub const LAYOUT: u8 = 4;

/// The oldest layout that this release reads. Layout 1 was never released.
const OLDEST: u8 = 2;

/// Stored state that this release cannot read. The account is left as it is and the process stops: reading it wrongly
/// would bill somebody wrongly.
#[derive(Clone, Debug, PartialEq, Eq, Error)]
pub enum LayoutError {
    /// Written by another release, usually a later one.
    #[error(
        "the state has layout {found}, and this release reads {OLDEST} to {LAYOUT}: run the release that wrote it, or rebuild"
    )]
    Unknown {
        /// The layout of the value.
        found: u8,
    },
    /// Not what any release writes.
    #[error("the state of {what} cannot be read: {why}")]
    Corrupt {
        /// Which value.
        what: &'static str,
        /// What was wrong with it.
        why: String,
    },
}

/// Packs a value in the current layout.
pub fn pack<T: Serialize>(value: &T) -> Vec<u8> {
    pack_as(LAYOUT, value)
}

/// Packs a value as release `layout` does.
pub fn pack_as<T: Serialize>(layout: u8, value: &T) -> Vec<u8> {
    // Room for the row of a scope, by far the most frequent value.
    let mut packed = Vec::with_capacity(160);
    rmp_serde::encode::write(&mut packed, &(layout, value))
        .expect("state is made of numbers, texts and lists, which always pack");
    packed
}

/// Reads a value of any layout up to the current one.
///
/// # Errors
/// [`LayoutError`] if a later release wrote it, or nobody did.
pub fn unpack<T: DeserializeOwned>(what: &'static str, bytes: &[u8]) -> Result<T, LayoutError> {
    unpack_up_to(LAYOUT, what, bytes)
}

/// Reads a value as a release does whose newest layout is `newest`.
///
/// # Errors
/// As [`unpack`].
pub fn unpack_up_to<T: DeserializeOwned>(newest: u8, what: &'static str, bytes: &[u8]) -> Result<T, LayoutError> {
    // A list of two, then the layout as a small number: the two bytes that open every value.
    match bytes {
        [0x92, layout, ..] if !(OLDEST..=newest).contains(layout) && *layout < 0x80 => {
            Err(LayoutError::Unknown { found: *layout })
        }
        _ => rmp_serde::from_slice::<(u8, T)>(bytes)
            .map(|(_, value)| value)
            .map_err(|error| LayoutError::Corrupt { what, why: error.to_string() }),
    }
}

/// The layout in which a value was written; `None` if nobody wrote it.
pub fn layout_of(bytes: &[u8]) -> Option<u8> {
    match bytes {
        [0x92, layout, ..] => Some(*layout),
        _ => None,
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde::Deserialize;

    #[derive(Debug, PartialEq, Serialize, Deserialize)]
    struct RowN {
        used: i64,
    }

    /// The row as a next release might have it.
    #[derive(Debug, PartialEq, Serialize, Deserialize)]
    struct RowN1 {
        used: i64,
        #[serde(default)]
        held: i64,
    }

    #[test]
    fn m9_the_next_release_reads_this_layout_and_this_one_refuses_the_next() {
        let now = pack_as(LAYOUT, &RowN { used: 7 });
        assert_eq!(unpack_up_to::<RowN1>(LAYOUT + 1, "row", &now), Ok(RowN1 { used: 7, held: 0 }));
        let next = pack_as(LAYOUT + 1, &RowN1 { used: 7, held: 1 });
        assert_eq!(unpack_up_to::<RowN1>(LAYOUT + 1, "row", &next), Ok(RowN1 { used: 7, held: 1 }));
        assert_eq!(unpack_up_to::<RowN>(LAYOUT, "row", &next), Err(LayoutError::Unknown { found: LAYOUT + 1 }));
        assert_eq!(unpack::<RowN>("row", &pack_as(1, &RowN { used: 7 })), Err(LayoutError::Unknown { found: 1 }));
    }

    #[test]
    fn bytes_that_nobody_wrote_are_corrupt() {
        let error = unpack::<RowN>("row", b"\x93\x01").expect_err("no such row");
        assert!(error.to_string().contains("the state of row"), "{error}");
    }
}
