//! The row of one scope: its open windows, the rules set on it, and its pauses.

use serde::{Deserialize, Serialize};

use crate::domain::{
    limit::Limit,
    meter::{Counters, Meter},
    organization::{Member, Registered},
    pause::{CauseKind, Pauses},
    pool::Pool,
    time::Timestamp,
    window::{SESSION_MS, Window, WindowKind, session_from},
};

/// At most this many entries of overshoot are kept; those of the oldest windows go first.
const OVERSHOOTS_KEPT: usize = 16;

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

/// The use of one product, or by one trigger, within a period (rows A21, B12).
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Part {
    /// The number of its name among the organization's labels.
    pub label: u8,
    /// The start of the period.
    #[serde(with = "seconds")]
    pub start: Timestamp,
    /// Credits used.
    pub credits_micro: i64,
    /// The part of them that prepaid and postpaid paid.
    pub extra_micro: i64,
    /// Runs that ended well.
    pub runs_completed: i64,
}

/// What nothing covered, booked where there was least room (row C4).
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Overshoot {
    /// What stood in the way.
    pub kind: CauseKind,
    /// Which limit; empty where it was none.
    pub limit_id: Box<str>,
    /// The window.
    pub window_start: Timestamp,
    /// How much.
    pub amount_micro: i64,
}

/// All that is stored of one scope in one field of the account. `packing` packs it.
#[derive(Clone, Debug, Default, PartialEq, Eq, Deserialize)]
#[serde(default)]
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
    /// What is known of a user as a member.
    pub member: Option<Box<Member>>,
    /// What is known of an agent or a workspace that was registered.
    pub registered: Option<Box<Registered>>,
    /// Use by product (organization and users) or by trigger (workspaces and agents), of the two newest periods.
    pub parts: Vec<Part>,
    /// What nothing covered.
    pub overshoots: Vec<Overshoot>,
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
                // Rows are many, and have few windows: no room is kept for more.
                self.windows.reserve_exact(1);
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

    /// The session that an event at `time` falls into: one that is open then; else the one that follows it, for an
    /// older event; else a new one.
    pub fn session(&self, time: Timestamp) -> Window {
        let kept = self.windows.iter().filter(|window| window.kind.0 == WindowKind::Session);
        let next = kept.map(|window| window.start).filter(|start| time < start.plus_ms(SESSION_MS)).min();
        next.map_or_else(|| session_from(time), |start| Window { start, end: start.plus_ms(SESSION_MS) })
    }

    /// The seat, if this is a member with one.
    pub fn seat_type(&self) -> Option<&str> {
        self.member.as_ref()?.seat_type.as_deref()
    }

    /// Adds to the use of a product or by a trigger.
    pub fn add_part(&mut self, label: u8, start: Timestamp, charge: &Counters) {
        let known = self.parts.iter_mut().find(|part| part.label == label && part.start == start);
        let part = match known {
            Some(part) => part,
            None => {
                let newer = self.parts.iter().map(|part| part.start).filter(|known| *known > start);
                let newer = newer.collect::<std::collections::BTreeSet<_>>();
                if newer.len() >= 2 {
                    return;
                }
                self.parts.push(Part { label, start, credits_micro: 0, extra_micro: 0, runs_completed: 0 });
                let starts: std::collections::BTreeSet<_> = self.parts.iter().map(|part| part.start).collect();
                if let Some(oldest) = starts.first().filter(|_| starts.len() > 2) {
                    self.parts.retain(|part| part.start != *oldest);
                }
                self.parts.last_mut().expect("the newest parts are kept")
            }
        };
        part.credits_micro = part.credits_micro.saturating_add(charge.get(Meter::CreditsMicro));
        part.extra_micro = part.extra_micro.saturating_add(charge.get(Meter::ExtraCreditsMicro));
        part.runs_completed = part.runs_completed.saturating_add(charge.get(Meter::RunsCompleted));
    }

    /// Books what nothing covered.
    pub fn book_overshoot(&mut self, kind: CauseKind, limit_id: &str, window_start: Timestamp, amount_micro: i64) {
        let same = |known: &&mut Overshoot| {
            (known.kind, &*known.limit_id, known.window_start) == (kind, limit_id, window_start)
        };
        if let Some(known) = self.overshoots.iter_mut().find(same) {
            known.amount_micro = known.amount_micro.saturating_add(amount_micro);
            return;
        }
        self.overshoots.push(Overshoot { kind, limit_id: limit_id.into(), window_start, amount_micro });
        self.overshoots.sort_by_key(|overshoot| overshoot.window_start);
        if self.overshoots.len() > OVERSHOOTS_KEPT {
            self.overshoots.remove(0);
        }
    }
}

pub(super) mod seconds {
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

    /// An older event falls into the session that follows it; no session moves.
    #[test]
    fn b1_sessions_open_with_an_event_outside_of_one_and_never_move() {
        let at = |hours: i64| Timestamp::from_ms(hours * 3_600_000);
        let mut row = ScopeRow::default();
        assert_eq!(row.session(at(10)).start, at(10));
        row.open(WindowKind::Session, at(10));
        for (time, start) in [(10, 10), (14, 10), (9, 10), (15, 15)] {
            assert_eq!(row.session(at(time)).start, at(start), "{time}");
        }
        row.open(WindowKind::Session, at(20));
        for (time, start) in [(16, 20), (14, 10), (25, 25)] {
            assert_eq!(row.session(at(time)).start, at(start), "{time}");
        }
    }

    #[test]
    fn b12_parts_are_kept_for_the_two_newest_periods() {
        let mut row = ScopeRow::default();
        let mut charge = Counters::ZERO;
        charge.set(Meter::CreditsMicro, 5);
        for start in [1_000, 2_000, 2_000, 1_000, 3_000, 1_000] {
            row.add_part(1, Timestamp::from_ms(start), &charge);
        }
        let kept: Vec<_> = row.parts.iter().map(|part| (part.start.ms(), part.credits_micro)).collect();
        assert_eq!(kept, [(2_000, 10), (3_000, 5)]);
    }

    /// What a scope costs in Redis by part, without the field's name and Redis's own (docs/specification.md states it).
    #[test]
    fn a_row_is_small() {
        let size = |row: &ScopeRow| super::super::packing::pack_row(row).len();
        let mut row = ScopeRow::default();
        for kind in [WindowKind::Hour, WindowKind::Day, WindowKind::Period] {
            for start in [1_700_000_000_000, 1_710_000_000_000] {
                let (position, _) = row.open(kind, Timestamp::from_ms(start));
                let counters = &mut row.windows[position].counters;
                counters.set(Meter::InputTokens, 1_000_000);
                counters.set(Meter::OutputTokens, 200_000);
                counters.set(Meter::CreditsMicro, 20_000_000);
            }
        }
        let mut open = row.clone();
        open.windows.retain(|window| window.start > Timestamp::from_ms(1_705_000_000_000));
        let mut with_limit = row.clone();
        with_limit.limits.push(Limit {
            id: "daily".into(),
            meter: Meter::CreditsMicro,
            window: WindowKind::Day,
            cap: Some(5_000_000),
            thresholds_percent: vec![80, 100],
            action: crate::domain::limit::Action::Pause,
            revision: 7,
        });
        let mut with_seat = row.clone();
        with_seat.member = Some(Box::new(Member { seat_type: Some("standard".into()), ..Member::default() }));
        let mut with_part = row.clone();
        with_part.add_part(1, Timestamp::from_ms(1_710_000_000_000), &row.windows[0].counters);
        let parts = [
            ("open windows", size(&open), 80),
            ("closed windows", size(&row) - size(&open), 78),
            ("a limit", size(&with_limit) - size(&row), 60),
            ("a seat", size(&with_seat) - size(&row), 40),
            ("a product or trigger", size(&with_part) - size(&row), 30),
        ];
        for (part, bytes, most) in parts {
            assert!(bytes <= most, "{part}: {bytes} bytes");
        }
        assert_eq!(
            super::super::layout::unpack::<ScopeRow>("row", &super::super::packing::pack_row(&with_seat)),
            Ok(with_seat)
        );
    }
}
