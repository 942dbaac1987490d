//! The third step: a charge is added to every window of its scopes, each limit on them is held against the new count, and
//! what is broken down is added to its part. The inner loop.

use super::check::{Check, Found, take};
use crate::domain::{
    account::{
        book::OlderWindows,
        columns::{Amounts, Columns},
        row::ScopeRow,
        scopes::{ChargedScopes, ScopeIndex},
        windows::Place,
    },
    decision::Decision,
    meter::{Counters, Meter},
    scope::{Name, ScopeKind},
    time::{MINUTE_MS, Timestamp},
    usage::{fund::Paid, rules::bring_up_to_date},
    window::{Counted, Window, WindowKind},
};

/// A minute counts events recorded up to this long after its end (docs/specification.md, "Time").
const MINUTE_COUNTS_MS: i64 = 10 * MINUTE_MS;

/// A charge on its way through its scopes.
pub struct Charging {
    /// When it was used.
    pub event_time: Timestamp,
    /// What is counted.
    pub charge: Counters,
    /// What [`Counters::mask`] says of it.
    pub mask: u32,
    /// Who pays, and how it was split; `None` if nobody has to.
    pub paid: Option<Paid>,
    /// The windows that every scope counts it in.
    pub windows: Counted,
    /// For the hour, the day and the period, whether the agent runs for the first time in it.
    pub first_runs: [bool; Counted::KINDS.len()],
    /// The numbers by which use is broken down.
    pub labels: Labels,
    /// The workspace by name; empty where it names none.
    pub workspace: Name,
    /// Whether it names no user.
    pub is_unnamed: bool,
    /// The owner of the pool by name, where a workspace's paid.
    pub owner: Option<Name>,
    /// It is part of a refund, which tells nothing and books nothing.
    pub is_quiet: bool,
}

/// The numbers of names by which use is broken down, where an event has them.
#[derive(Clone, Copy, Default)]
pub struct Labels {
    /// Of the product.
    pub product: Option<u8>,
    /// Of the trigger.
    pub trigger: Option<u8>,
    /// Of the model.
    pub model: Option<u8>,
}

/// Counts a charge in all of its scopes. Returns for each, in the order of [`ChargedScopes::as_slice`], whether its causes
/// may be others now.
#[inline]
pub fn count(decision: &mut Decision<'_>, charged: ChargedScopes, charging: &Charging) -> [bool; 4] {
    let mut amounts = Amounts::new(&charging.charge, Columns::default());
    let mut to_follow = [false; 4];
    for (index, to_follow) in charged.as_slice().iter().zip(&mut to_follow) {
        *to_follow = count_in(decision, *index, charging, &mut amounts);
    }
    to_follow
}

fn count_in(decision: &mut Decision<'_>, index: ScopeIndex, charging: &Charging, amounts: &mut Amounts<'_>) -> bool {
    let revised = bring_up_to_date(decision, index);
    let more = windows_where_used(decision, index, charging.event_time);
    let mut page = decision.book.page(index);
    let check = Check {
        rules: decision.rules,
        followed: page.followed,
        scope: page.scope,
        out: decision.out,
        at: decision.at,
        horizon_ms: decision.policy.horizon_ms,
    };
    let mut counting = Counting { check, row: page.row, older: &mut page.older, found: Found::default() };
    counting.row.windows.lay_out(amounts, charging.mask);
    for window in charging.windows.each().into_iter().chain(more.into_iter().flatten()) {
        counting.count(window, amounts);
    }
    let kind = counting.check.scope.kind();
    if matches!(kind, ScopeKind::Organization | ScopeKind::Workspace) && charging.first_runs.contains(&true) {
        counting.count_active_agent(charging);
    }
    counting.break_down(kind, charging);
    counting.note_places(kind, charging);
    counting.check_pool(index, charging);
    let is_paused = !counting.row.pauses.causes.is_empty();
    let found = counting.found;
    let to_follow = found.to_follow || revised || is_paused;
    if charging.is_quiet {
        return to_follow;
    }
    if !found.crossings.is_empty() || !found.overshoots.is_empty() {
        take(decision, index, found);
    }
    to_follow
}

/// The windows of a scope that a rule or a seat uses, opened.
pub fn windows_where_used(
    decision: &mut Decision<'_>,
    index: ScopeIndex,
    event_time: Timestamp,
) -> [Option<(WindowKind, Window)>; WindowKind::WHERE_USED.len()] {
    let used = decision.book.slot(index).followed.where_used;
    let mut windows = [None; WindowKind::WHERE_USED.len()];
    if used == [false; WindowKind::WHERE_USED.len()] {
        return windows;
    }
    for (slot, kind) in
        windows.iter_mut().zip(WindowKind::WHERE_USED).zip(used).filter(|(_, used)| *used).map(|(kind, _)| kind)
    {
        let (window, is_over) = decision.view().window_of(decision.book.row(index), kind, event_time);
        let counts = match kind {
            WindowKind::Minute => decision.at.record_time < window.end.plus_ms(MINUTE_COUNTS_MS),
            // This week and the last are kept.
            WindowKind::Week => {
                let this = decision.rules.window(WindowKind::Week, decision.at.record_time);
                let is_kept = matches!(decision.book.row(index).windows.place(kind, window.start), Place::Row(_));
                window.end >= this.start || is_kept
            }
            _ => !is_over,
        };
        if counts && kind != WindowKind::Session {
            decision.rules.open(kind, window);
        }
        *slot = counts.then_some((kind, window));
    }
    windows
}

/// Adds counts of something that is no event to windows of one scope, which was brought up to date. Returns whether its
/// causes may be others now.
pub fn count_something(
    decision: &mut Decision<'_>,
    index: ScopeIndex,
    windows: &[(WindowKind, Window)],
    charge: &Counters,
) -> bool {
    let mut page = decision.book.page(index);
    let check = Check {
        rules: decision.rules,
        followed: page.followed,
        scope: page.scope,
        out: decision.out,
        at: decision.at,
        horizon_ms: decision.policy.horizon_ms,
    };
    let mut counting = Counting { check, row: page.row, older: &mut page.older, found: Found::default() };
    let amounts = counting.row.windows.amounts(charge, charge.mask());
    windows.iter().for_each(|window| counting.count(*window, &amounts));
    let is_paused = !counting.row.pauses.causes.is_empty();
    let found = counting.found;
    let to_follow = found.to_follow || is_paused;
    take(decision, index, found);
    to_follow
}

/// One scope in which a charge is counted.
struct Counting<'a, 'b> {
    check: Check<'a>,
    row: &'a mut ScopeRow,
    older: &'b mut OlderWindows<'a>,
    found: Found,
}

impl Counting<'_, '_> {
    /// Adds the charge to one window of the scope, and holds every limit on it against the new count.
    #[inline]
    fn count(&mut self, (kind, window): (WindowKind, Window), amounts: &Amounts<'_>) {
        let (position, was_there) = match self.row.windows.place(kind, window.start) {
            Place::Row(position) => {
                self.row.windows.add(position, amounts);
                (Some(position), true)
            }
            Place::New => (Some(self.count_in_new((kind, window), amounts)), false),
            Place::Older => (None, self.count_in_older((kind, window), amounts)),
        };
        if self.check.followed.limited[kind as usize] {
            let row = &*self.row;
            let older = position.is_none().then(|| self.older.get(kind, window.start)).flatten();
            let counts = |meter: Meter| match position {
                Some(position) => row.windows.count(position, meter),
                None => older.map_or(0, |older| older.counters.get(meter)),
            };
            self.check.hold_limits(row, (kind, window), &counts, amounts.charge, was_there, &mut self.found);
        }
    }

    fn count_in_new(&mut self, (kind, window): (WindowKind, Window), amounts: &Amounts<'_>) -> usize {
        let (position, left) = self.row.windows.open(kind, window.start);
        // Who is known by it is held to what is true now, whatever was true at the time of the usage.
        self.found.to_follow |= kind == WindowKind::Period;
        // Sessions that are over are of no use to anybody.
        if let Some(left) = left.filter(|_| kind != WindowKind::Session) {
            let detail = match kind {
                WindowKind::Period => Some(Box::new(self.row.take_detail(left.start))),
                _ => None,
            };
            let older = self.older.get_mut(kind, left.start);
            (older.counters, older.detail) = (left.counters, detail);
        }
        self.row.windows.add(position, amounts);
        position
    }

    fn count_in_older(&mut self, (kind, window): (WindowKind, Window), amounts: &Amounts<'_>) -> bool {
        let older = self.older.get_mut(kind, window.start);
        let was_there = older.counters != Counters::ZERO;
        older.counters.add(amounts.charge);
        was_there
    }

    /// Counts the agent in the windows in which it runs for the first time (row A12).
    fn count_active_agent(&mut self, charging: &Charging) {
        let mut active = Counters::ZERO;
        active.set(Meter::ActiveAgents, 1);
        let amounts = self.row.windows.amounts(&active, active.mask());
        for (window, _) in charging.windows.each().iter().zip(charging.first_runs).filter(|(_, first_run)| *first_run) {
            self.count(*window, &amounts);
        }
    }

    /// Counts by product for organization and users, by trigger for workspaces and agents, and by model for organization
    /// and workspaces (rows A21, B12); and for all but agents by who paid.
    #[inline]
    fn break_down(&mut self, kind: ScopeKind, charging: &Charging) {
        let Labels { product, trigger, model } = charging.labels;
        let label = match kind {
            ScopeKind::Organization | ScopeKind::User => product,
            ScopeKind::Workspace | ScopeKind::Agent => trigger,
        };
        let has_models = matches!(kind, ScopeKind::Organization | ScopeKind::Workspace);
        let model = model.filter(|_| has_models);
        let owner = charging.owner.as_ref().filter(|_| kind != ScopeKind::Agent);
        if label.is_none() && model.is_none() && owner.is_none() {
            return;
        }
        let start = charging.windows.period.start;
        let mut breakdown = match self.row.windows.place(WindowKind::Period, start) {
            Place::Older => self.older.get_mut(WindowKind::Period, start).detail.get_or_insert_default().breakdown(),
            Place::Row(_) | Place::New => self.row.breakdown(),
        };
        if let Some(label) = label {
            breakdown.add_part(label, start, &charging.charge);
        }
        if let Some(model) = model {
            breakdown.add_model(model, start, &charging.charge);
        }
        if let Some((owner, paid)) = owner.zip(charging.paid.as_ref()) {
            breakdown.add_paid_by(owner, start, paid.split.pool_micro, paid.split.prepaid_micro);
        }
    }

    /// Notes where a user was seen, and that usage of an agent named no user.
    #[inline]
    fn note_places(&mut self, kind: ScopeKind, charging: &Charging) {
        let start = charging.windows.period.start;
        match kind {
            ScopeKind::User => self.found.to_follow |= self.row.note_used_in(&charging.workspace, start),
            ScopeKind::Agent => {
                if charging.is_unnamed && self.row.unnamed < Some(start) {
                    self.row.unnamed = Some(start);
                    self.found.to_follow = true;
                }
                self.row.in_free_phase |= self.check.rules.free_until.is_some_and(|until| charging.event_time < until);
            }
            ScopeKind::Organization | ScopeKind::Workspace => {}
        }
    }

    /// Holds the pool that paid against what it has drawn now.
    fn check_pool(&mut self, index: ScopeIndex, charging: &Charging) {
        use crate::domain::account::ceiling::{Ceiling, Step};
        let Some(paid) = charging.paid.as_ref().filter(|paid| paid.payer.owner == Some(index)) else { return };
        let period = paid.payer.occasion.period;
        let Some(pool) = self.row.pool_of(period.start) else { return };
        let (before, after) = (paid.drawn_before, pool.drawn_micro(period.start).unwrap_or(0));
        // Where the seat pays, nothing is drawn and nothing is passed; what ended beyond the horizon is told to nobody.
        if before == Some(after) || period.end.plus_ms(self.check.horizon_ms) <= self.check.at.record_time {
            return;
        }
        let ceiling = Ceiling::of_pool(pool, period, self.check.at.clock, self.row);
        for percent in ceiling.passed(Step::Event { before, after }) {
            let identity = |parts: &[&str]| self.check.out.identity(parts);
            let signal = ceiling.threshold(percent, after, self.check.scope, self.check.at.record_time, identity);
            self.found.crossings.push(signal);
        }
    }
}
