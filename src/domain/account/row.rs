//! The row of one scope: its open windows, the rules set on it, and its pauses.

use serde::{Deserialize, Serialize};

use crate::domain::{limit::Limit, meter::Counters, pause::Pauses, pool::Pool, time::Timestamp, window::WindowKind};

/// What a scope used in one window. A window is told by its kind and its start; its end stands in the calendar.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct WindowCounters {
    /// The kind of window.
    pub kind: WindowCode,
    /// The first instant of the window.
    #[serde(with = "seconds")]
    pub start: Timestamp,
    /// What was counted.
    pub counters: Counters,
}

/// A [`WindowKind`] packed as one byte.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(into = "u8", try_from = "u8")]
pub struct WindowCode(pub WindowKind);

impl From<WindowCode> for u8 {
    fn from(code: WindowCode) -> Self {
        match code.0 {
            WindowKind::Minute => 0,
            WindowKind::Hour => 1,
            WindowKind::Day => 2,
            WindowKind::Period => 3,
        }
    }
}

impl TryFrom<u8> for WindowCode {
    type Error = String;

    fn try_from(code: u8) -> Result<Self, String> {
        let kind =
            WindowKind::ALL.get(usize::from(code)).ok_or_else(|| format!("no kind of window has the number {code}"))?;
        Ok(Self(*kind))
    }
}

/// All that is stored of one scope in one field of the account.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct ScopeRow {
    /// The two newest windows of each kind that this scope was used in; what is older is stored apart.
    pub windows: Vec<WindowCounters>,
    /// The rules set on this very scope.
    pub limits: Vec<Limit>,
    /// The pool that this scope owns.
    pub pool: Option<Box<Pool>>,
    /// Why it is paused.
    pub pauses: Pauses,
    /// The revision of the rules for every scope of this kind that this row was last held against.
    pub rules_revision: u64,
}

/// Where the counters of a window are.
#[derive(Debug, PartialEq, Eq)]
pub enum Place {
    /// In the row, at this position.
    Row(usize),
    /// Older than both windows that the row keeps of its kind: stored apart.
    Older,
    /// Nowhere yet.
    New,
}

impl ScopeRow {
    /// Where the window of `kind` that begins at `start` is kept.
    pub fn place(&self, kind: WindowKind, start: Timestamp) -> Place {
        let mut newer = 0;
        for (position, window) in self.windows.iter().enumerate() {
            if window.kind.0 == kind {
                if window.start == start {
                    return Place::Row(position);
                }
                newer += usize::from(window.start > start);
            }
        }
        if newer >= 2 { Place::Older } else { Place::New }
    }

    /// Opens a window in the row and returns its position, and the window that had to leave the row for it.
    pub fn open(&mut self, kind: WindowKind, start: Timestamp) -> (usize, Option<WindowCounters>) {
        let kind = WindowCode(kind);
        let fresh = WindowCounters { kind, start, counters: Counters::ZERO };
        let of_kind = self.windows.iter().filter(|window| window.kind == kind).count();
        let oldest = (0..self.windows.len())
            .filter(|position| self.windows[*position].kind == kind)
            .min_by_key(|position| self.windows[*position].start);
        match oldest.filter(|_| of_kind >= 2) {
            Some(oldest) => (oldest, Some(std::mem::replace(&mut self.windows[oldest], fresh))),
            None => {
                self.windows.push(fresh);
                (self.windows.len() - 1, None)
            }
        }
    }

    /// What was counted in a window that the row keeps; zero if it keeps none.
    pub fn counters(&self, kind: WindowKind, start: Timestamp) -> Option<&Counters> {
        match self.place(kind, start) {
            Place::Row(position) => Some(&self.windows[position].counters),
            Place::Older | Place::New => None,
        }
    }

    /// Whether a rule of this row needs minutes.
    pub fn needs_minutes(&self) -> bool {
        self.limits.iter().any(|limit| limit.window == WindowKind::Minute)
    }
}

mod seconds {
    use super::Timestamp;
    use serde::{Deserialize, Deserializer, Serializer};

    pub fn serialize<S: Serializer>(time: &Timestamp, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.serialize_i64(time.ms().div_euclid(1_000))
    }

    pub fn deserialize<'de, D: Deserializer<'de>>(deserializer: D) -> Result<Timestamp, D::Error> {
        i64::deserialize(deserializer).map(|seconds| Timestamp::from_ms(seconds.saturating_mul(1_000)))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_row_keeps_the_two_newest_windows_of_a_kind() {
        let hour = |n: i64| Timestamp::from_ms(n * 3_600_000);
        let mut row = ScopeRow::default();
        assert_eq!(row.place(WindowKind::Hour, hour(5)), Place::New);
        assert_eq!(row.open(WindowKind::Hour, hour(5)), (0, None));
        assert_eq!(row.open(WindowKind::Day, hour(0)), (1, None));
        assert_eq!(row.place(WindowKind::Hour, hour(3)), Place::New);
        assert_eq!(row.open(WindowKind::Hour, hour(6)), (2, None));
        assert_eq!(row.place(WindowKind::Hour, hour(5)), Place::Row(0));
        assert_eq!(row.place(WindowKind::Hour, hour(4)), Place::Older);
        let (position, left) = row.open(WindowKind::Hour, hour(7));
        assert_eq!((position, left.map(|window| window.start)), (0, Some(hour(5))));
    }

    /// What a scope costs in Redis, without the field's name: three windows of a busy agent.
    #[test]
    fn a_row_is_small() {
        let mut row = ScopeRow::default();
        for kind in [WindowKind::Hour, WindowKind::Day, WindowKind::Period] {
            let (position, _) = row.open(kind, Timestamp::from_ms(1_700_000_000_000));
            let counters = &mut row.windows[position].counters;
            counters.set(crate::domain::meter::Meter::InputTokens, 1_000_000);
            counters.set(crate::domain::meter::Meter::OutputTokens, 200_000);
            counters.set(crate::domain::meter::Meter::CreditsMicro, 20_000_000);
        }
        let packed = super::super::layout::pack(&row);
        assert!(packed.len() <= 96, "{} bytes", packed.len());
    }
}
