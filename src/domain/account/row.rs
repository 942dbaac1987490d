//! The row of one scope: its open windows, the rules set on it, and its pauses.

use serde::{Deserialize, Serialize};

pub use super::breakdown::{Breakdown, ModelPart, PaidBy, Part, PeriodDetail};
use super::windows::{WindowCode, Windows};
use crate::domain::{
    limit::{Limit, Selector},
    meter::Counters,
    organization::{Member, Registered},
    pause::{CauseKind, Pauses},
    pool::{FormerPool, Pool},
    scope::Name,
    time::Timestamp,
    window::WindowKind,
};

/// At most this many entries of overshoot are kept; those of the oldest windows go first.
const OVERSHOOTS_KEPT: usize = 32;

/// At most this many workspaces of a user are looked at; the newest.
const USED_IN_KEPT: usize = 64;

/// At most this many windows in which an agent ran, and of which nothing else tells it, are remembered; the newest.
const RAN_KEPT: usize = 64;

/// At most this many shares that were announced before a refund are remembered; those of the oldest windows go first.
const TOLD_KEPT: usize = 32;

/// What went beyond a limit, or nobody covered, in one window (row C4). It stays as it was booked, whatever is refunded
/// later: it measures what happened.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Overshoot {
    /// What stood in the way: [`CauseKind::Limit`], [`CauseKind::SpendLimit`] or [`CauseKind::Pool`].
    pub kind: CauseKind,
    /// Which limit; empty where it was none.
    pub limit_id: Box<str>,
    /// The window.
    pub window_start: Timestamp,
    /// How much, in units of the limit's meter.
    pub amount_micro: i64,
    /// What the limit is set on.
    #[serde(default)]
    pub selector: Option<Selector>,
}

/// Where a user was last seen: each place is looked at when the user wants for money.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct UsedIn {
    /// The workspace; empty for usage that names none.
    pub workspace: Name,
    /// The start of the last period in which the user used something there.
    #[serde(with = "super::breakdown::seconds")]
    pub start: Timestamp,
}

/// A share that was announced, of a count that a refund has lowered since: it is not announced again.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Told {
    /// The revision of the limit or pool.
    pub revision: u64,
    /// The start of the window.
    pub start: Timestamp,
    /// The highest share that was passed.
    pub percent: u16,
    /// Whether it is the pool's.
    pub of_pool: bool,
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
    /// Where a user was seen, of this and the last period.
    pub used_in: Vec<UsedIn>,
    /// What pools and balances of workspaces paid (organization, workspaces and users), of the two newest periods.
    pub paid_by: Vec<PaidBy>,
    /// The start of the last period in which usage of an agent named no user.
    pub unnamed: Option<Timestamp>,
    /// The start of the last period in which a command named an agent or a user, or of the one in which it made a workspace
    /// known.
    pub named: Option<Timestamp>,
    /// What was announced before a refund.
    pub told: Vec<Told>,
    /// Windows in which an agent ran, of which a correction has taken every run: it was in action all the same (row A12).
    pub ran: Vec<(WindowCode, Timestamp)>,
    /// Whether an agent was used in the free phase: then it was created in it (row A7).
    pub in_free_phase: bool,
    /// Pools that were removed, oldest first: they hold for the periods that ended before.
    pub former_pools: Vec<FormerPool>,
}

impl ScopeRow {
    /// The seat, if this is a member with one.
    pub fn seat_type(&self) -> Option<&str> {
        self.member.as_ref()?.seat_type.as_deref()
    }

    /// Whether this is the identity of the reload that was asked for last, by the pool or by one that was removed.
    pub fn asked_last(&self, reload_id: &str) -> bool {
        let pools = self.pool.as_deref().into_iter().chain(self.former_pools.iter().rev().map(|former| &former.pool));
        let last = pools.filter_map(|pool| pool.reload.as_ref()?.last.as_deref()).next();
        last == Some(reload_id)
    }

    /// The pool that holds for a period: today's, or one that was removed later.
    pub fn pool_of(&self, period_start: Timestamp) -> Option<&Pool> {
        let former = self.former_pools.iter().find(|former| period_start < former.until);
        let pool = former.map(|former| &former.pool).or(self.pool.as_deref());
        pool.filter(|pool| pool.since <= period_start)
    }

    /// The same, to change it.
    pub fn pool_of_mut(&mut self, period_start: Timestamp) -> Option<&mut Pool> {
        let former = self.former_pools.iter_mut().find(|former| period_start < former.until);
        let pool = former.map(|former| &mut former.pool).or(self.pool.as_deref_mut());
        pool.filter(|pool| pool.since <= period_start)
    }

    /// What this row breaks down by period, to add to it.
    pub fn breakdown(&mut self) -> Breakdown<'_> {
        let Self { parts, models, paid_by, .. } = self;
        Breakdown { parts, models, paid_by }
    }

    /// Notes that a user used something in a workspace, or in none, in the period that begins at `start`. The place that was
    /// used last stands last. Returns whether the user did not use that place in the period so far.
    #[inline]
    pub fn note_used_in(&mut self, workspace: &str, start: Timestamp) -> bool {
        match self.used_in.last_mut() {
            Some(last) if last.workspace == workspace => {
                last.start = last.start.max(start);
                false
            }
            _ => self.note_other_place(workspace, start),
        }
    }

    fn note_other_place(&mut self, workspace: &str, mut start: Timestamp) -> bool {
        let mut is_news = true;
        if let Some(known) = self.used_in.iter().position(|known| known.workspace == workspace) {
            let before = self.used_in.remove(known).start;
            is_news = before < start;
            start = start.max(before);
        } else if self.used_in.len() == USED_IN_KEPT {
            self.used_in.remove(0);
        } else if self.used_in.len() == self.used_in.capacity() {
            self.used_in.reserve_exact(1);
        }
        self.used_in.push(UsedIn { workspace: workspace.into(), start });
        is_news
    }

    /// Books what went beyond a limit or was not covered.
    pub fn book_overshoot(&mut self, new: Overshoot) {
        if new.amount_micro == 0 {
            return;
        }
        let name = |overshoot: &Overshoot| (overshoot.kind, overshoot.window_start);
        let same = |known: &&mut Overshoot| {
            name(known) == name(&new) && known.limit_id == new.limit_id && known.selector == new.selector
        };
        if let Some(known) = self.overshoots.iter_mut().find(same) {
            known.amount_micro = known.amount_micro.saturating_add(new.amount_micro);
            return;
        }
        self.overshoots.push(new);
        self.overshoots.sort_by_key(|overshoot| overshoot.window_start);
        if self.overshoots.len() > OVERSHOOTS_KEPT {
            self.overshoots.remove(0);
        }
    }

    /// Notes that an agent ran in a window of which a correction has taken every run.
    pub fn note_ran(&mut self, kind: WindowKind, start: Timestamp) {
        let ran = (WindowCode(kind), start);
        if !self.ran.contains(&ran) {
            self.ran.push(ran);
            let surplus = self.ran.len().saturating_sub(RAN_KEPT);
            self.ran.drain(..surplus);
        }
    }

    /// The highest share of a ceiling that was announced before a refund lowered its count; 0 if none was.
    pub fn told_percent(&self, of_pool: bool, revision: u64, start: Timestamp) -> u16 {
        let same = |told: &&Told| (told.of_pool, told.revision, told.start) == (of_pool, revision, start);
        self.told.iter().filter(same).map(|told| told.percent).max().unwrap_or(0)
    }

    /// Remembers the highest share that was announced.
    pub fn note_told(&mut self, new: Told) {
        let same =
            |told: &&mut Told| (told.of_pool, told.revision, told.start) == (new.of_pool, new.revision, new.start);
        if let Some(known) = self.told.iter_mut().find(same) {
            known.percent = known.percent.max(new.percent);
            return;
        }
        self.told.push(new);
        self.told.sort_by_key(|told| told.start);
        if self.told.len() > TOLD_KEPT {
            self.told.remove(0);
        }
    }

    /// What is broken down by period and leaves the row with the period that begins at `start`.
    pub fn take_detail(&mut self, start: Timestamp) -> PeriodDetail {
        PeriodDetail {
            parts: self.parts.extract_if(.., |part| part.start == start).collect(),
            models: self.models.extract_if(.., |part| part.start == start).collect(),
            paid_by: self.paid_by.extract_if(.., |paid| paid.start == start).collect(),
        }
    }
}

/// A window that is older than the two that a row keeps: stored apart, and read for a late event or a page of the past.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct OlderWindow {
    /// What was counted.
    pub counters: Counters,
    /// What a billing period has beside that.
    pub detail: Option<Box<PeriodDetail>>,
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::domain::account::windows::WindowCounters;
    use crate::domain::meter::Meter;

    #[test]
    fn b12_a_period_leaves_the_row_with_all_that_it_breaks_down() {
        let mut row = ScopeRow::default();
        let mut charge = Counters::ZERO;
        charge.set(Meter::CreditsMicro, 5);
        for start in [1_000, 2_000, 2_000, 1_000, 3_000] {
            row.breakdown().add_part(1, Timestamp::from_ms(start), &charge);
        }
        let parts = |parts: &[Part]| -> Vec<(i64, i64)> {
            parts.iter().map(|part| (part.start.ms(), part.credits_micro)).collect()
        };
        assert_eq!(parts(&row.take_detail(Timestamp::from_ms(1_000)).parts), [(1_000, 10)]);
        assert_eq!(parts(&row.parts), [(2_000, 10), (3_000, 5)]);
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
            changed: 7,
            told_percent: Vec::new(),
            set_at: Timestamp::MIN,
            yields_to_own: false,
            set_by_owner: true,
        });
        let mut with_seat = row.clone();
        with_seat.member = Some(Box::new(Member { seat_type: Some("standard".into()), ..Member::default() }));
        let mut with_part = row.clone();
        with_part.breakdown().add_part(1, Timestamp::from_ms(1_710_000_000_000), &row.windows.counters(0));
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
