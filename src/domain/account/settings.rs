//! What holds for the whole organization: zones, rate cards, and the rules for every scope of a kind.

use serde::{Deserialize, Serialize};

use crate::domain::{
    answer::NamedLimit,
    bits,
    limit::{Limit, Selector},
    organization::{AgentCreation, Plan, Requests, Reserved, SeatType, Unit},
    payment::{Payment, Source},
    rate_card::RateCard,
    scope::{Name, ScopeKind},
    time::{HOUR_MS, MINUTE_MS, Timestamp},
    window::{Window, WindowKind, Zone, nested, window_at},
};
use crate::mutation::is_broken;

/// At most this many rate cards, zones, seat types, or rules for many scopes.
pub const SETTINGS_MAX: usize = 64;

/// How many opened windows of each kind the calendar remembers.
const OPENED_KEPT: usize = 4;

/// How many billing periods: those that wait for their statement must not be forgotten.
const PERIODS_OPEN_MAX: usize = 25;

/// At most this many names of products and triggers, and of models; what comes after them is counted under one more,
/// `other`.
const LABELS_MAX: usize = 64;

/// The name under which products, triggers and models are counted for which there is no room.
const OTHER: &str = "other";

/// Stored in the field `settings`; changed by control records, and by the first use of a label or model.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Settings {
    /// Time zones and anchors, by the instant from which they cut windows.
    pub zones: Vec<Zone>,
    /// Rate cards in the order in which they were recorded.
    pub rate_cards: Vec<Recorded<RateCard>>,
    /// Rules for every scope of a kind, or for every member with a seat of a type.
    pub every: Vec<(Selector, Limit)>,
    /// Grows with each change of rules for many: it numbers their revisions, and a row remembers up to which it was held
    /// against them.
    pub rules_revision: u64,
    /// How the organization pays, oldest first.
    pub payments: Vec<Recorded<Payment>>,
    /// What seats include.
    pub seat_types: Vec<SeatType>,
    /// What the organization has bought; without it nothing is refused for want of a plan.
    pub plan: Option<Plan>,
    /// How credits are named.
    pub unit: Unit,
    /// Who may create agents.
    pub agent_creation: AgentCreation,
    /// What members ask for.
    pub requests: Requests,
    /// Until when, by event time, usage is not charged.
    pub free_until: Option<Timestamp>,
    /// Whether the first period start after the free phase is still to come, or to be worked off.
    pub free_phase_ends: bool,
    /// How many workspaces have a pool.
    pub workspace_pools: u32,
    /// Names of products and triggers, by number.
    pub labels: Vec<Name>,
    /// Names of models, by number.
    #[serde(default)]
    pub models: Vec<Name>,
    /// For each source of payment, how many members have it switched on for themselves.
    #[serde(default)]
    pub own_switches_on: [u32; Source::ALL.len()],
    /// Extra usage is switched off for everybody, whatever any switch says.
    #[serde(default)]
    pub extra_usage_off: bool,
    /// Who may create agents in a workspace that has a rule of its own.
    #[serde(default)]
    pub agent_creation_in: Vec<(Name, AgentCreation)>,
    /// Controls of workspaces that the owners keep for themselves.
    #[serde(default)]
    pub reserved: Vec<Reserved>,
    /// When the agents of the free phase were looked at.
    #[serde(default)]
    pub free_phase_looked_at: Option<Timestamp>,
    /// Numbers the revisions of limits on single scopes.
    #[serde(default)]
    pub limit_revision: u64,
    /// The last revision of a pool.
    #[serde(default)]
    pub pool_revision: u64,
    /// Workspaces that have a pool, the first of them by name.
    #[serde(default)]
    pub pool_owners: Vec<Name>,
    /// How many limits on extra credits stand on single workspaces and agents.
    #[serde(default)]
    pub inner_spend_limits: u32,
    /// The first of them.
    #[serde(default)]
    pub inner_spend_limits_named: Vec<NamedLimit>,
    /// Workspaces whose rule for creating agents no owner set; every other rule is an owner's.
    #[serde(default)]
    pub agent_creation_by_others: Vec<Name>,
}

/// So many pools and limits that stand in the way of a mode with seats are known by name.
const NAMED_KEPT: usize = 64;

/// Places of rules among [`Settings::every`], a bit for each: to look at them, nothing else has to be fetched.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct RulePlaces(u64);

const _: () = assert!(SETTINGS_MAX <= u64::BITS as usize, "a bit for each rule");

impl RulePlaces {
    /// The places, ascending.
    pub fn iter(self) -> impl Iterator<Item = usize> {
        bits::places(self.0)
    }
}

/// Something with the record time that brought it.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Recorded<T> {
    /// When it was recorded.
    pub recorded: Timestamp,
    /// What was recorded.
    pub value: T,
}

impl Settings {
    /// The rate card for an event: the last that is effective at its event time, among those recorded at least
    /// `delay_ms` before it. So an event is priced alike however far control was read ahead of it.
    pub fn rate_card(&self, event_time: Timestamp, record_time: Timestamp, delay_ms: i64) -> Option<&RateCard> {
        let known = |card: &&Recorded<RateCard>| {
            card.recorded.plus_ms(delay_ms) <= record_time && card.value.effective_from <= event_time
        };
        self.rate_cards
            .iter()
            .filter(known)
            .max_by_key(|card| (card.value.effective_from, card.recorded))
            .map(|card| &card.value)
    }

    /// The rules that apply to a scope of `kind`; for a user, with a seat of `seat_type`.
    pub fn rules_for<'a>(&'a self, kind: ScopeKind, seat_type: Option<&'a str>) -> impl Iterator<Item = &'a Limit> {
        self.rules_with_selectors(kind, seat_type).map(|(_, limit)| limit)
    }

    /// The same, each with what it is set on.
    pub fn rules_with_selectors<'a>(
        &'a self,
        kind: ScopeKind,
        seat_type: Option<&'a str>,
    ) -> impl Iterator<Item = &'a (Selector, Limit)> {
        self.every.iter().filter(move |(selector, _)| selector.applies(kind, seat_type))
    }

    /// The places of the rules that bind a scope with these limits of its own.
    pub fn rule_places(&self, kind: ScopeKind, seat_type: Option<&str>, own: &[Limit]) -> RulePlaces {
        let binds = |(_, (selector, limit)): &(usize, &(Selector, Limit))| {
            selector.applies(kind, seat_type) && !limit.yields_to(own)
        };
        let rules = self.every.iter().enumerate().filter(binds);
        RulePlaces(rules.fold(0, |places, (place, _)| places | 1 << place))
    }

    /// The rules at these places.
    pub fn rules_at(&self, places: RulePlaces) -> impl Iterator<Item = &Limit> {
        places.iter().map(|place| &self.every[place].1)
    }

    /// How the organization pays now.
    pub fn payment(&self) -> Payment {
        let payment = self.payments.last().map(|payment| payment.value).unwrap_or_default();
        Payment { extra_usage_off: self.extra_usage_off, ..payment }
    }

    /// Sets how the organization pays from a record time on.
    pub fn set_payment(&mut self, recorded: Timestamp, value: Payment) {
        self.payments.push(Recorded { recorded, value });
        let surplus = self.payments.len().saturating_sub(SETTINGS_MAX);
        self.payments.drain(..surplus);
    }

    /// Notes that a workspace has a pool now, or no more.
    pub fn note_pool(&mut self, workspace: &Name, is_there: bool) {
        self.pool_owners.retain(|known| known != workspace);
        if is_there {
            self.workspace_pools += 1;
            if self.pool_owners.len() < NAMED_KEPT {
                self.pool_owners.push(workspace.clone());
            }
        } else {
            self.workspace_pools = self.workspace_pools.saturating_sub(1);
        }
    }

    /// Notes that a limit on extra credits stands on a workspace or an agent now, or no more.
    pub fn note_inner_spend_limit(&mut self, named: NamedLimit, is_there: bool) {
        self.inner_spend_limits_named.retain(|known| *known != named);
        if is_there {
            self.inner_spend_limits += 1;
            if self.inner_spend_limits_named.len() < NAMED_KEPT {
                self.inner_spend_limits_named.push(named);
            }
        } else {
            self.inner_spend_limits = self.inner_spend_limits.saturating_sub(1);
        }
    }

    /// What a seat of that type includes.
    pub fn seat_type(&self, name: &str) -> Option<&SeatType> {
        self.seat_types.iter().find(|seat_type| &*seat_type.name == name)
    }

    /// The number of a product or trigger, and whether it is new.
    pub fn label(&mut self, name: &str) -> (u8, bool) {
        number_among(&mut self.labels, name)
    }

    /// The number of a model, and whether it is new.
    pub fn model(&mut self, name: &str) -> (u8, bool) {
        number_among(&mut self.models, name)
    }
}

/// The number of a name, added if there is room, else that of [`OTHER`]; and whether it is new.
fn number_among(names: &mut Vec<Name>, name: &str) -> (u8, bool) {
    let find = |names: &[Name], name: &str| names.iter().position(|known| *known == name);
    let known = find(names, name);
    let has_room = names.len() < LABELS_MAX || is_broken("bound", "names");
    let name = if known.is_some() || has_room { name } else { OTHER };
    let known = known.or_else(|| find(names, name));
    let number = known.unwrap_or(names.len());
    if known.is_none() {
        names.push(name.into());
    }
    (u8::try_from(number).expect("there are at most 65 names"), known.is_none())
}

/// The windows that were opened, with their boundaries as instants, so that a new time-zone table cannot move them.
/// Stored in the field `calendar`.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Calendar {
    /// By kind, in the order of [`WindowKind::CALENDAR`]; newest first.
    opened: [Vec<Window>; WindowKind::CALENDAR.len()],
}

impl Calendar {
    /// Whether no window was ever opened.
    pub fn is_empty(&self) -> bool {
        self.opened.iter().all(Vec::is_empty)
    }

    /// The window of `kind` that contains `time`: one that was opened, else one cut by the zones into what those
    /// leave free.
    pub fn window(&self, zones: &[Zone], kind: WindowKind, time: Timestamp) -> Window {
        if let Some(window) = self.opened(kind).find(|window| window.contains(time)) {
            return *window;
        }
        let mut window = self.cut(zones, kind, time);
        for known in self.opened(kind) {
            if known.end <= time {
                window.start = window.start.max(known.end);
            } else {
                window.end = window.end.min(known.start);
            }
        }
        window
    }

    /// A window that was not opened: minutes and hours of a day that was, else as the zones have it.
    fn cut(&self, zones: &[Zone], kind: WindowKind, time: Timestamp) -> Window {
        let day = || self.opened(WindowKind::Day).find(|day| day.contains(time));
        match kind {
            WindowKind::Minute => day().map(|day| nested(*day, MINUTE_MS, time)),
            WindowKind::Hour => day().map(|day| nested(*day, HOUR_MS, time)),
            _ => None,
        }
        .unwrap_or_else(|| window_at(zones, kind, time))
    }

    /// The window of `kind` that contains `time`, remembered as opened; and whether it was not opened before.
    pub fn open_around(&mut self, zones: &[Zone], kind: WindowKind, time: Timestamp) -> (Window, bool) {
        if let Some(window) = self.opened(kind).find(|window| window.contains(time)) {
            return (*window, false);
        }
        let window = self.window(zones, kind, time);
        (window, self.open(kind, window))
    }

    /// Remembers a window as opened. Returns whether that changed anything.
    pub fn open(&mut self, kind: WindowKind, window: Window) -> bool {
        let opened = &mut self.opened[place_of(kind)];
        if opened.contains(&window) {
            return false;
        }
        let place = opened.partition_point(|known| known.start > window.start);
        opened.insert(place, window);
        // Periods are kept until they are closed, and a bound beyond that.
        let kept = if kind == WindowKind::Period { PERIODS_OPEN_MAX } else { OPENED_KEPT };
        opened.truncate(kept);
        true
    }

    /// Whether a window of `kind` around `time` may be older than the two that a row keeps.
    pub fn may_be_older(&self, kind: WindowKind, time: Timestamp) -> bool {
        self.opened[place_of(kind)].get(1).is_some_and(|second| second.start > time)
    }

    /// How many billing periods were opened, of those that are remembered.
    pub fn opened_periods(&self) -> usize {
        self.opened[place_of(WindowKind::Period)].len()
    }

    /// The billing periods that were opened, with an end after `after`.
    pub fn periods_ending_after(&self, after: Timestamp) -> impl Iterator<Item = Window> {
        self.opened(WindowKind::Period).copied().filter(move |period| period.end > after)
    }

    fn opened(&self, kind: WindowKind) -> impl Iterator<Item = &Window> {
        self.opened[place_of(kind)].iter()
    }
}

/// The place of a kind in [`WindowKind::CALENDAR`].
const fn place_of(kind: WindowKind) -> usize {
    match kind {
        WindowKind::Minute => 0,
        WindowKind::Hour => 1,
        WindowKind::Day => 2,
        WindowKind::Week => 3,
        WindowKind::Period | WindowKind::Session => 4,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn opened_windows_are_not_moved_by_a_new_zone_table() {
        let hour = |n: i64| Timestamp::from_ms(n * 3_600_000);
        let mut calendar = Calendar::default();
        // As an older table had it: a day that ends half an hour late.
        let odd = Window { start: hour(0), end: hour(24).plus_ms(1_800_000) };
        assert!(calendar.open(WindowKind::Day, odd));
        assert!(!calendar.open(WindowKind::Day, odd));
        assert_eq!(calendar.window(&[], WindowKind::Day, hour(24)), odd);
        assert_eq!(calendar.window(&[], WindowKind::Day, hour(25)), Window { start: odd.end, end: hour(48) });
        assert_eq!(calendar.window(&[], WindowKind::Day, hour(-1)), Window { start: hour(-24), end: hour(0) });
    }

    #[test]
    fn the_calendar_remembers_the_newest_windows_only() {
        let mut calendar = Calendar::default();
        for n in 0..10 {
            let start = Timestamp::from_ms(n * 10);
            calendar.open(WindowKind::Hour, Window { start, end: start.plus_ms(10) });
        }
        assert_eq!(calendar.opened(WindowKind::Hour).count(), OPENED_KEPT);
        for (place, kind) in WindowKind::CALENDAR.into_iter().enumerate() {
            assert_eq!(place_of(kind), place);
        }
        assert!(calendar.may_be_older(WindowKind::Hour, Timestamp::from_ms(70)));
        assert!(!calendar.may_be_older(WindowKind::Hour, Timestamp::from_ms(80)));
    }
}
