//! The row of one scope: its open windows, the rules set on it, and its pauses.

use std::collections::BTreeSet;

use serde::{Deserialize, Serialize};

use super::windows::Windows;
use crate::domain::{
    event::Tokens,
    limit::Limit,
    meter::{Counters, Meter},
    organization::{Member, Registered},
    pause::{CauseKind, Pauses},
    pool::Pool,
    time::Timestamp,
};

/// At most this many entries of overshoot are kept; those of the oldest windows go first.
const OVERSHOOTS_KEPT: usize = 16;

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

/// The use of one model within a period (row A21).
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct ModelPart {
    /// The number of its name among the organization's models.
    pub model: u8,
    /// The start of the period.
    #[serde(with = "seconds")]
    pub start: Timestamp,
    /// Credits used.
    pub credits_micro: i64,
    /// Tokens, by class.
    pub tokens: Tokens,
}

/// What is kept of a period, of the two newest.
trait OfPeriod {
    fn start(&self) -> Timestamp;
}

impl OfPeriod for Part {
    fn start(&self) -> Timestamp {
        self.start
    }
}

impl OfPeriod for ModelPart {
    fn start(&self) -> Timestamp {
        self.start
    }
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
    pub windows: Windows,
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
    /// Use by model (organization and workspaces), of the two newest periods.
    pub models: Vec<ModelPart>,
}

impl ScopeRow {
    /// The seat, if this is a member with one.
    pub fn seat_type(&self) -> Option<&str> {
        self.member.as_ref()?.seat_type.as_deref()
    }

    /// Adds to the use of a product or by a trigger.
    pub fn add_part(&mut self, label: u8, start: Timestamp, charge: &Counters) {
        let new = Part { label, start, credits_micro: 0, extra_micro: 0, runs_completed: 0 };
        let Some(part) = find_or_begin(&mut self.parts, |part| part.label == label, new) else { return };
        part.credits_micro = part.credits_micro.saturating_add(charge.get(Meter::CreditsMicro));
        part.extra_micro = part.extra_micro.saturating_add(charge.get(Meter::ExtraCreditsMicro));
        part.runs_completed = part.runs_completed.saturating_add(charge.get(Meter::RunsCompleted));
    }

    /// Adds to the use of a model.
    pub fn add_model(&mut self, model: u8, start: Timestamp, charge: &Counters) {
        let new = ModelPart { model, start, credits_micro: 0, tokens: Tokens::default() };
        let Some(part) = find_or_begin(&mut self.models, |part| part.model == model, new) else { return };
        let Tokens { input, output, cache_read, cache_creation } = &mut part.tokens;
        for (count, meter) in [
            (&mut part.credits_micro, Meter::CreditsMicro),
            (input, Meter::InputTokens),
            (output, Meter::OutputTokens),
            (cache_read, Meter::CacheReadInputTokens),
            (cache_creation, Meter::CacheCreationInputTokens),
        ] {
            *count = count.saturating_add(charge.get(meter));
        }
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

/// Finds what is meant in the period of `new`, or begins it with that; `None` if the period is older than the two newest,
/// which are all that is kept.
fn find_or_begin<T: OfPeriod>(kept: &mut Vec<T>, is_meant: impl Fn(&T) -> bool, new: T) -> Option<&mut T> {
    let start = new.start();
    let known = kept.iter().position(|part| part.start() == start && is_meant(part));
    if let Some(known) = known {
        return Some(&mut kept[known]);
    }
    let starts: BTreeSet<Timestamp> = kept.iter().map(OfPeriod::start).chain([start]).collect();
    let oldest = *starts.iter().rev().nth(1).unwrap_or(&start);
    if start < oldest {
        return None;
    }
    kept.retain(|part| part.start() >= oldest);
    if kept.len() == kept.capacity() {
        // Most scopes have one, and scopes are many.
        kept.reserve_exact(1);
    }
    kept.push(new);
    kept.last_mut()
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
    use crate::domain::{account::windows::WindowCounters, window::WindowKind};

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
                let (position, _) = row.windows.open(kind, Timestamp::from_ms(start));
                let mut counters = Counters::ZERO;
                counters.set(Meter::InputTokens, 1_000_000);
                counters.set(Meter::OutputTokens, 200_000);
                counters.set(Meter::CreditsMicro, 20_000_000);
                let amounts = row.windows.amounts(&counters, counters.mask());
                row.windows.add(position, &amounts);
            }
        }
        let mut open = row.clone();
        let is_open = |window: &WindowCounters| window.start > Timestamp::from_ms(1_705_000_000_000);
        open.windows = row.windows.iter().filter(is_open).collect();
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
        with_part.add_part(1, Timestamp::from_ms(1_710_000_000_000), &row.windows.counters(0));
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
