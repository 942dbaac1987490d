//! Counts a charge in the windows of its scopes, and holds every limit against the new counts: the inner loop.

use super::{
    Account, OlderKey, Policy,
    ceiling::{Ceiling, Effects, Step},
    columns::{Amounts, Columns},
    funding::Payer,
    row::ScopeRow,
    scopes::{ChargedScopes, Followed, ScopeIndex},
    settings::Settings,
    windows::Place,
};
use crate::domain::{
    account::Moment,
    limit::Limit,
    meter::{Counters, Meter},
    payment::Split,
    scope::{Scope, ScopeKind},
    time::{MINUTE_MS, Timestamp},
    window::{Window, WindowKind},
};

/// A minute counts events recorded up to this long after its end (design section 5, "Three times").
const MINUTE_COUNTS_MS: i64 = 10 * MINUTE_MS;

/// The windows that every event is counted in.
pub(super) const COUNTED: [WindowKind; 3] = [WindowKind::Hour, WindowKind::Day, WindowKind::Period];

/// The windows that are counted only where a limit or a seat uses them.
const COUNTED_WHERE_USED: [WindowKind; 3] = [WindowKind::Minute, WindowKind::Session, WindowKind::Week];

/// A charge on its way through its scopes.
pub(super) struct Charging<'a> {
    pub(super) event_time: Timestamp,
    pub(super) charge: Counters,
    /// What [`Counters::mask`] says of it.
    pub(super) mask: u32,
    /// Who pays, and how it was split.
    pub(super) paid: Option<(&'a Payer, Split)>,
    pub(super) moment: Moment,
    /// The period was over for good when this was recorded.
    pub(super) late: bool,
    /// It gives back what was charged before.
    pub(super) is_refund: bool,
    pub(super) windows: &'a [(WindowKind, Window); COUNTED.len()],
    /// For each of those windows, whether the agent runs for the first time in it.
    pub(super) first_runs: [bool; COUNTED.len()],
    /// The numbers by which use is broken down.
    pub(super) labels: Labels,
    /// Tells the charge apart from every other, and says what it is; for corrections of closed periods.
    pub(super) because: &'a dyn Fn() -> (String, String),
}

/// The numbers of names by which use is broken down, where an event has them.
#[derive(Clone, Copy, Default)]
pub(super) struct Labels {
    pub(super) product: Option<u8>,
    pub(super) trigger: Option<u8>,
    pub(super) model: Option<u8>,
}

/// Where a window is kept that was counted in.
#[derive(Clone, Copy)]
struct Kept {
    /// Its position in the row; `None` if it is stored apart.
    position: Option<usize>,
    /// Whether anything was counted in it before.
    was_there: bool,
}

/// The parts of an account that counting in one scope needs beside its row.
struct Counting<'a> {
    settings: &'a Settings,
    followed: &'a Followed,
    organization_id: &'a str,
    older: &'a mut hashbrown::HashMap<OlderKey, Option<Counters>>,
    older_changed: &'a mut Vec<OlderKey>,
    scope: &'a Scope,
    moment: Moment,
    effects: Effects,
}

impl Account {
    /// The windows that every charge at `event_time` is counted in, remembered as opened.
    pub(super) fn open_counted(&mut self, event_time: Timestamp, policy: &Policy) -> [(WindowKind, Window); 3] {
        let windows = COUNTED.map(|kind| (kind, self.open_window(kind, event_time)));
        self.close_in_time(windows[2].1, policy);
        windows
    }

    /// Counts a charge in all of its scopes, whose rules are followed, and draws the consequences.
    pub(super) fn charge_scopes(&mut self, charged: ChargedScopes, charging: &Charging<'_>) {
        let mut amounts = Amounts::new(&charging.charge, Columns::default());
        for index in charged.as_slice() {
            self.charge_scope(*index, charging, &mut amounts);
        }
        if let Some((payer, split)) = charging.paid {
            self.after_payment(payer, &split, charging.moment);
        }
    }

    /// What counting in a scope needs, beside its row.
    fn counting(&mut self, index: ScopeIndex, moment: Moment) -> (Counting<'_>, &mut ScopeRow) {
        let (scope, followed, row) = self.scopes.parts_mut(index);
        let counting = Counting {
            settings: &self.settings,
            followed,
            organization_id: &self.organization_id,
            older: &mut self.older,
            older_changed: &mut self.older_changed,
            scope,
            moment,
            effects: Effects::default(),
        };
        (counting, row)
    }

    fn charge_scope(&mut self, index: ScopeIndex, charging: &Charging<'_>, amounts: &mut Amounts<'_>) {
        self.bring_up_to_date(index, charging.moment);
        let more = self.windows_where_used(index, charging);
        let (mut counting, row) = self.counting(index, charging.moment);
        row.windows.lay_out(amounts, charging.mask);
        for window in charging.windows {
            // A refund concerns the period: nobody knows which of its hours it gives back.
            if !charging.is_refund || window.0 == WindowKind::Period {
                counting.count(row, *window, amounts);
            }
        }
        for window in more.into_iter().flatten() {
            counting.count(row, window, amounts);
        }
        let holds_agents = matches!(counting.scope.kind(), ScopeKind::Organization | ScopeKind::Workspace);
        if holds_agents && charging.first_runs.contains(&true) {
            counting.count_active_agent(row, charging);
        }
        let period = charging.windows[2].1;
        add_part(row, counting.scope.kind(), charging, period);
        if let (Some((payer, _)), Some(pool)) = (charging.paid, &row.pool)
            && payer.owner == Some(index)
        {
            let (before, after) = (payer.pool_before, pool.drawn_micro(period.start).unwrap_or(0));
            let step = Step::Event { before, after };
            // Where the seat pays, nothing is drawn and nothing is passed.
            let drew = before != Some(after);
            if let Some(ceiling) = drew.then(|| Ceiling::of_pool(pool, period)).flatten() {
                ceiling.hold(step, counting.organization_id, counting.scope, charging.moment, &mut counting.effects);
            }
        }
        let effects = counting.effects;
        self.take_effects(index, effects, charging.moment);
        if self.is_closed(period) {
            let (cause, why) = (charging.because)();
            let mut delta = charging.charge;
            if holds_agents && charging.first_runs[2] {
                delta.set(Meter::ActiveAgents, 1);
            }
            let totals = self.counted(index, WindowKind::Period, period);
            self.correct_statement(index, period, (totals, delta), (&cause, &why), charging.moment);
        }
    }

    /// Looks up the rules that a scope follows, unless that was done since they last changed.
    #[inline]
    pub(super) fn follow(&mut self, index: ScopeIndex) {
        let revision = self.settings.rules_revision + 1;
        if self.scopes.slot(index).followed.revision != revision {
            self.look_up_rules(index, revision);
        }
    }

    fn look_up_rules(&mut self, index: ScopeIndex, revision: u64) {
        let (slot, row) = (self.scopes.slot(index), self.scopes.row(index));
        let (kind, seat_type) = (slot.scope.kind(), row.seat_type());
        let seat = self.settings.seat_types.iter().position(|seat| seat_type == Some(&*seat.name));
        let limits = || row.limits.iter().chain(self.settings.rules_for(kind, seat_type));
        let by_seat = seat.into_iter().flat_map(|seat| &self.settings.seat_types[seat].allowances);
        let mut limited = [false; WindowKind::ALL.len()];
        limits().for_each(|limit| limited[limit.window as usize] = true);
        let mut used = limited;
        by_seat.for_each(|allowance| used[allowance.window as usize] = true);
        let counts =
            |window: WindowKind| used[window as usize] && (window != WindowKind::Session || kind == ScopeKind::User);
        let followed = Followed {
            revision,
            places: self.settings.rule_places(kind, seat_type),
            seat: seat.map(|seat| u8::try_from(seat).expect("there are at most 64 seat types")),
            where_used: COUNTED_WHERE_USED.map(counts),
            limited,
            has_spend_limit: limits().any(Limit::is_spend_limit),
        };
        self.scopes.slot_mut(index).followed = followed;
    }

    /// The windows of a scope that a rule or a seat uses, opened.
    fn windows_where_used(
        &mut self,
        index: ScopeIndex,
        charging: &Charging<'_>,
    ) -> [Option<(WindowKind, Window)>; COUNTED_WHERE_USED.len()] {
        let used = self.scopes.slot(index).followed.where_used;
        let mut windows = [None; COUNTED_WHERE_USED.len()];
        if used == [false; COUNTED_WHERE_USED.len()] {
            return windows;
        }
        for (position, kind) in COUNTED_WHERE_USED.into_iter().enumerate().filter(|(position, _)| used[*position]) {
            let window = self.window_of(self.scopes.row(index), kind, charging.event_time);
            let counts = match kind {
                WindowKind::Minute if charging.is_refund => false,
                WindowKind::Minute => charging.moment.record_time < window.end.plus_ms(MINUTE_COUNTS_MS),
                // The past does not use up the session of the present.
                WindowKind::Session => !charging.late,
                _ => true,
            };
            if counts && kind != WindowKind::Session {
                self.calendar_changed |= self.calendar.open(kind, window);
            }
            windows[position] = counts.then_some((kind, window));
        }
        windows
    }

    /// The window of a kind that an event of this scope falls into.
    pub(super) fn window_of(&self, row: &ScopeRow, kind: WindowKind, event_time: Timestamp) -> Window {
        match kind {
            WindowKind::Session => row.windows.session(event_time),
            _ => self.calendar.window(&self.settings.zones, kind, event_time),
        }
    }

    /// The counters of a window that the row does not keep any more.
    pub(super) fn older_counters(&self, index: ScopeIndex, kind: WindowKind, start: Timestamp) -> Option<&Counters> {
        let scope = self.scopes.slot(index).field();
        self.older.get(&super::OlderKey { kind, start, scope }).and_then(Option::as_ref)
    }

    /// What was counted in a window of a scope, wherever it is kept.
    pub(super) fn counted(&self, index: ScopeIndex, kind: WindowKind, window: Window) -> Counters {
        let windows = &self.scopes.row(index).windows;
        match windows.place(kind, window.start) {
            Place::Row(position) => windows.counters(position),
            Place::New => Counters::ZERO,
            Place::Older => self.older_counters(index, kind, window.start).copied().unwrap_or(Counters::ZERO),
        }
    }

    /// One count of a window of a scope, wherever it is kept.
    pub(super) fn count_of(&self, index: ScopeIndex, kind: WindowKind, window: Window, meter: Meter) -> i64 {
        let windows = &self.scopes.row(index).windows;
        match windows.place(kind, window.start) {
            Place::Row(position) => windows.count(position, meter),
            Place::New => 0,
            Place::Older => self.older_counters(index, kind, window.start).map_or(0, |counters| counters.get(meter)),
        }
    }

    /// Adds counts of something that is no event to windows of one scope.
    pub(super) fn count_something(
        &mut self,
        index: ScopeIndex,
        windows: &[(WindowKind, Window)],
        charge: &Counters,
        moment: Moment,
    ) {
        self.follow(index);
        let (mut counting, row) = self.counting(index, moment);
        let amounts = row.windows.amounts(charge, charge.mask());
        for window in windows {
            counting.count(row, *window, &amounts);
        }
        let effects = counting.effects;
        self.take_effects(index, effects, moment);
    }
}

impl Counting<'_> {
    /// Adds the charge to one window of the scope, and holds every limit on it against the new count.
    #[inline]
    fn count(&mut self, row: &mut ScopeRow, (kind, window): (WindowKind, Window), amounts: &Amounts<'_>) {
        let kept = match row.windows.place(kind, window.start) {
            Place::Row(position) => {
                row.windows.add(position, amounts);
                Kept { position: Some(position), was_there: true }
            }
            Place::New => self.count_in_new(row, (kind, window), amounts),
            Place::Older => self.count_in_older((kind, window), amounts),
        };
        if self.followed.limited[kind as usize] {
            self.hold_limits(row, (kind, window), amounts.charge, kept);
        }
    }

    fn count_in_new(
        &mut self,
        row: &mut ScopeRow,
        (kind, window): (WindowKind, Window),
        amounts: &Amounts<'_>,
    ) -> Kept {
        let (position, left) = row.windows.open(kind, window.start);
        // Sessions that are over are of no use to anybody.
        if let Some(left) = left.filter(|_| kind != WindowKind::Session) {
            let key = self.older_key(kind, left.start);
            self.older_changed.push(key.clone());
            self.older.insert(key, Some(left.counters));
        }
        row.windows.add(position, amounts);
        Kept { position: Some(position), was_there: false }
    }

    fn count_in_older(&mut self, (kind, window): (WindowKind, Window), amounts: &Amounts<'_>) -> Kept {
        let key = self.older_key(kind, window.start);
        self.older_changed.push(key.clone());
        // What was stored was loaded before; what left the row since is here; so what is missing never was.
        let counters = self.older.entry(key).or_insert(Some(Counters::ZERO));
        let counters = counters.as_mut().expect("older windows are loaded before the event is decided");
        let was_there = *counters != Counters::ZERO;
        counters.add(amounts.charge);
        Kept { position: None, was_there }
    }

    fn hold_limits(
        &mut self,
        row: &ScopeRow,
        (kind, window): (WindowKind, Window),
        charge: &Counters,
        Kept { position, was_there }: Kept,
    ) {
        let older = match position {
            Some(_) => None,
            None => self.older.get(&self.older_key(kind, window.start)).and_then(Option::as_ref),
        };
        let count = |meter| match position {
            Some(position) => row.windows.count(position, meter),
            None => older.map_or(0, |counters| counters.get(meter)),
        };
        let rules = self.settings.rules_at(self.followed.places);
        for limit in row.limits.iter().chain(rules).filter(|limit| limit.window == kind) {
            let after = count(limit.meter);
            if !limit.matters_at(after) {
                continue;
            }
            // Every meter, also one that is a sum of others, grows by what the charge has of it.
            let before = was_there.then(|| after - charge.get(limit.meter));
            if let Some(ceiling) = Ceiling::of_limit(limit, window) {
                let step = Step::Event { before, after };
                ceiling.hold(step, self.organization_id, self.scope, self.moment, &mut self.effects);
            }
        }
    }

    /// Counts the agent in the windows in which it runs for the first time (row A12).
    fn count_active_agent(&mut self, row: &mut ScopeRow, charging: &Charging<'_>) {
        let mut active = Counters::ZERO;
        active.set(Meter::ActiveAgents, 1);
        let amounts = row.windows.amounts(&active, active.mask());
        for (window, _) in charging.windows.iter().zip(charging.first_runs).filter(|(_, first_run)| *first_run) {
            self.count(row, *window, &amounts);
        }
    }

    fn older_key(&self, kind: WindowKind, start: Timestamp) -> OlderKey {
        OlderKey { kind, start, scope: self.scope.to_string().into() }
    }
}

/// Counts by product for organization and users, by trigger for workspaces and agents, and by model for organization and
/// workspaces (rows A21, B12).
fn add_part(row: &mut ScopeRow, kind_of_scope: ScopeKind, charging: &Charging<'_>, period: Window) {
    let Labels { product, trigger, model } = charging.labels;
    let label = match kind_of_scope {
        ScopeKind::Organization | ScopeKind::User => product,
        ScopeKind::Workspace | ScopeKind::Agent => trigger,
    };
    if let Some(label) = label {
        row.add_part(label, period.start, &charging.charge);
    }
    let has_models = matches!(kind_of_scope, ScopeKind::Organization | ScopeKind::Workspace);
    if let Some(model) = model.filter(|_| has_models) {
        row.add_model(model, period.start, &charging.charge);
    }
}
