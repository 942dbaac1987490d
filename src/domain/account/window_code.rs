//! One window as it is stored: its kind as a byte, its start in seconds, its counts.

use serde::{Deserialize, Serialize};

use crate::domain::{meter::Counters, time::Timestamp, window::WindowKind};

/// What a scope used in one window. A window is told by its kind and its start; its end stands in the calendar.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct WindowCounters {
    /// The kind of window.
    pub kind: WindowCode,
    /// The first instant of the window.
    #[serde(with = "super::breakdown::seconds")]
    pub start: Timestamp,
    /// What was counted.
    pub counters: Counters,
}

/// A [`WindowKind`] packed as one byte.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(into = "u8", try_from = "u8")]
pub struct WindowCode(pub WindowKind);

/// The kinds in the order of their codes; new ones are added at the end.
const CODES: [WindowKind; 6] =
    [WindowKind::Minute, WindowKind::Hour, WindowKind::Day, WindowKind::Period, WindowKind::Week, WindowKind::Session];

impl From<WindowCode> for u8 {
    fn from(code: WindowCode) -> Self {
        match code.0 {
            WindowKind::Minute => 0,
            WindowKind::Hour => 1,
            WindowKind::Day => 2,
            WindowKind::Period => 3,
            WindowKind::Week => 4,
            WindowKind::Session => 5,
        }
    }
}

impl TryFrom<u8> for WindowCode {
    type Error = String;

    fn try_from(code: u8) -> Result<Self, String> {
        let kind = CODES.get(usize::from(code)).ok_or_else(|| format!("no kind of window has the number {code}"))?;
        Ok(Self(*kind))
    }
}
