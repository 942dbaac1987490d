//! Charges a usage event to its scopes: every counter or none (invariant U-2), limits after every event.

use super::{
    Account, Moment, Outcome, Policy,
    ceiling::{Cause, Ceiling, Effects, Step},
    changes::{Needs, OlderKey},
    row::{Place, ScopeRow},
    scopes::{ChargedScopes, ORGANIZATION, ScopeIndex, SlotState},
    seen::Sighting,
};
use crate::domain::{
    event::{RunPhase, Usage, UsageEvent},
    meter::{Counters, Meter},
    pause::CauseKind,
    reason::Reason,
    scope::ScopeKind,
    time::{MINUTE_MS, Timestamp},
    window::{Window, WindowKind},
};

/// A minute counts events recorded up to this long after its end (design section 5, "Three times").
const MINUTE_COUNTS_MS: i64 = 10 * MINUTE_MS;

/// The windows that every event is counted in.
const COUNTED: [WindowKind; 3] = [WindowKind::Hour, WindowKind::Day, WindowKind::Period];

/// An event on its way through its scopes.
struct Charging<'a> {
    event_time: Timestamp,
    charge: Counters,
    /// The scope whose pool pays, and what its period had drawn before (`None`: nothing yet).
    pool: Option<(ScopeIndex, Option<i64>)>,
    moment: Moment,
    windows: &'a [(WindowKind, Window)],
}

impl Account {
    /// Asks for what is missing to decide `event`, and returns the scopes that it is charged to. To be called again
    /// after a load, until nothing is missing: what the base says decides what else is needed.
    pub fn needs_for_usage(&mut self, event: &UsageEvent<'_>, needs: &mut Needs) -> ChargedScopes {
        self.need_base(needs);
        let charged = self.scopes.charged(event);
        for index in charged.as_slice() {
            self.need_row(*index, needs);
        }
        if self.is_loaded() {
            self.need_segment(event.event_time, needs);
            self.need_older_windows(event.event_time, charged, needs);
        }
        charged
    }

    pub(super) fn need_segment(&self, time: Timestamp, needs: &mut Needs) {
        if let Some(start) = self.seen.missing(time).filter(|start| !needs.segments.contains(start)) {
            needs.segments.push(start);
        }
    }

    fn need_older_windows(&mut self, event_time: Timestamp, charged: ChargedScopes, needs: &mut Needs) {
        for kind in WindowKind::ALL {
            if !self.calendar.may_be_older(kind, event_time) {
                continue;
            }
            let start = self.calendar.window(&self.settings.zones, kind, event_time).start;
            for index in charged.as_slice() {
                let slot = self.scopes.slot(*index);
                let SlotState::Loaded(row) = &slot.state else { continue };
                if row.place(kind, start) == Place::Older {
                    let key = OlderKey { kind, start, scope: slot.field.clone() };
                    if !self.older.contains_key(&key) {
                        self.older.insert(key.clone(), None);
                        needs.older.push(key);
                    }
                }
            }
        }
    }

    /// Decides one event, all of whose needs are loaded.
    pub fn decide_usage(
        &mut self,
        event: &UsageEvent<'_>,
        charged: ChargedScopes,
        moment: Moment,
        policy: &Policy,
    ) -> Outcome {
        let moment = self.not_before_served(moment);
        let (event_time, record_time) = (event.event_time, moment.record_time);
        if event_time > record_time.plus_ms(policy.early_ms) {
            return Outcome::DeadLetter(Reason::TooEarly { event_time, record_time });
        }
        if event_time < record_time.plus_ms(-policy.horizon_ms) {
            return Outcome::DeadLetter(Reason::TooLate { event_time, record_time });
        }
        let (fingerprint, check) = (event.fingerprint(), event.content_check());
        match self.seen.look_up(event_time, fingerprint, check) {
            Sighting::Fresh => {}
            Sighting::Duplicate => return Outcome::Duplicate,
            Sighting::Reused => return Outcome::DeadLetter(Reason::IdReused),
        }
        if let Err(reason) = self.charge(event, charged, moment, policy) {
            return Outcome::DeadLetter(reason);
        }
        self.seen.insert(event_time, fingerprint, check, self.head.newest_event_time, policy.horizon_ms);
        self.head.newest_event_time = self.head.newest_event_time.max(event_time);
        Outcome::Applied
    }

    fn charge(
        &mut self,
        event: &UsageEvent<'_>,
        charged: ChargedScopes,
        moment: Moment,
        policy: &Policy,
    ) -> Result<(), Reason> {
        let card = self.settings.rate_card(event.event_time, moment.record_time, policy.rules_delay_ms);
        let credits_micro = card.map_or(Ok(0), |card| card.charge_micro(&event.usage))?;
        let mut charge = counted(&event.usage);
        charge.set(Meter::CreditsMicro, credits_micro);
        let windows = COUNTED.map(|kind| (kind, self.open_window(kind, event.event_time)));
        self.check_overflow(&windows, &charge)?;

        let pool = self.draw_from_pool(charged, windows[2].1, &mut charge);
        let charging = Charging { event_time: event.event_time, charge, pool, moment, windows: &windows };
        for index in charged.as_slice() {
            self.charge_scope(*index, &charging);
        }
        Ok(())
    }

    /// The moment, with a clock that is not behind what was served already: another process's clock may be ahead, and
    /// a pause that ends at an instant whose due record is gone would never end.
    pub(super) fn not_before_served(&self, moment: Moment) -> Moment {
        Moment { clock: moment.clock.max(self.head.served_due), ..moment }
    }

    /// The window around `event_time`, remembered as opened.
    pub(super) fn open_window(&mut self, kind: WindowKind, event_time: Timestamp) -> Window {
        let window = self.calendar.window(&self.settings.zones, kind, event_time);
        self.calendar_changed |= self.calendar.open(kind, window);
        window
    }

    /// No scope holds more than its organization, and no meter of credits more than the charge: what fits there fits
    /// everywhere.
    fn check_overflow(&self, windows: &[(WindowKind, Window)], charge: &Counters) -> Result<(), Reason> {
        let row = self.scopes.row(ORGANIZATION);
        let scope = &self.scopes.slot(ORGANIZATION).field;
        let fits = |(kind, window): &(WindowKind, Window)| {
            let key = || OlderKey { kind: *kind, start: window.start, scope: scope.clone() };
            let counters = match row.place(*kind, window.start) {
                Place::Row(position) => Some(&row.windows[position].counters),
                Place::Older => self.older.get(&key()).and_then(Option::as_ref),
                Place::New => None,
            };
            counters.is_none_or(|counters| counters.checked_add(charge).is_some())
        };
        if windows.iter().all(fits) {
            return Ok(());
        }
        Err(Reason::CounterOverflow(format!("organization {}", self.organization_id)))
    }

    /// The nearest pool pays what it has; the rest is uncovered. Without any pool nothing has to be covered.
    fn draw_from_pool(
        &mut self,
        charged: ChargedScopes,
        period: Window,
        charge: &mut Counters,
    ) -> Option<(ScopeIndex, Option<i64>)> {
        let owns_pool = |index: &&ScopeIndex| {
            let may_own =
                matches!(self.scopes.slot(**index).scope.kind(), ScopeKind::Workspace | ScopeKind::Organization);
            may_own && self.scopes.row(**index).pool.is_some()
        };
        let owner = *charged.as_slice().iter().rev().find(owns_pool)?;
        let pool = self.scopes.row_mut(owner).pool.as_mut().expect("the owner was found by its pool");
        let before = pool.drawn_micro(period.start);
        let credits_micro = charge.get(Meter::CreditsMicro);
        let paid_micro = pool.draw(period, credits_micro);
        charge.set(Meter::PoolCreditsMicro, paid_micro);
        charge.set(Meter::UncoveredCreditsMicro, credits_micro - paid_micro);
        Some((owner, before))
    }

    fn charge_scope(&mut self, index: ScopeIndex, charging: &Charging<'_>) {
        self.bring_up_to_date(index, charging.moment);
        let mut row = std::mem::take(self.scopes.row_mut(index));
        let mut effects = Effects::default();
        for (kind, window) in charging.windows {
            self.count(index, &mut row, *kind, *window, charging, &mut effects);
        }
        let kind = self.scopes.slot(index).scope.kind();
        if row.needs_minutes() || self.settings.rules_for(kind).any(|limit| limit.window == WindowKind::Minute) {
            let minute = self.open_window(WindowKind::Minute, charging.event_time);
            if charging.moment.record_time < minute.end.plus_ms(MINUTE_COUNTS_MS) {
                self.count(index, &mut row, WindowKind::Minute, minute, charging, &mut effects);
            }
        }
        if let (Some((owner, before)), Some(pool)) = (charging.pool, &row.pool)
            && owner == index
        {
            let period = charging.windows[2].1;
            let step = Step::Event { before, after: pool.drawn_micro(period.start).unwrap_or(0) };
            let scope = &self.scopes.slot(index).scope;
            Ceiling::of_pool(pool, period).hold(step, &self.organization_id, scope, charging.moment, &mut effects);
        }
        *self.scopes.row_mut(index) = row;
        self.take_effects(index, effects, charging.moment);
    }

    /// Adds the charge to one window of one scope, and holds every limit on it against the new count.
    fn count(
        &mut self,
        index: ScopeIndex,
        row: &mut ScopeRow,
        kind: WindowKind,
        window: Window,
        charging: &Charging<'_>,
        effects: &mut Effects,
    ) {
        let slot = self.scopes.slot(index);
        let (before, after) = match row.place(kind, window.start) {
            Place::Row(position) => add(&mut row.windows[position].counters, charging, true),
            Place::New => {
                let (position, left) = row.open(kind, window.start);
                if let Some(left) = left {
                    let key = OlderKey { kind, start: left.start, scope: slot.field.clone() };
                    self.older_changed.push(key.clone());
                    self.older.insert(key, Some(left.counters));
                }
                add(&mut row.windows[position].counters, charging, false)
            }
            Place::Older => {
                let key = OlderKey { kind, start: window.start, scope: slot.field.clone() };
                // What was stored was loaded before; what left the row since is here; so what is missing never was.
                let counters = self.older.entry(key.clone()).or_insert(Some(Counters::ZERO));
                let counters = counters.as_mut().expect("older windows are loaded before the event is decided");
                let was_there = *counters != Counters::ZERO;
                self.older_changed.push(key);
                add(counters, charging, was_there)
            }
        };
        let rules = self.settings.rules_for(slot.scope.kind());
        for limit in row.limits.iter().chain(rules).filter(|limit| limit.window == kind) {
            if let Some(ceiling) = Ceiling::of_limit(limit, window) {
                let before = before.map(|before| before.get(limit.meter));
                let step = Step::Event { before, after: after.get(limit.meter) };
                ceiling.hold(step, &self.organization_id, &slot.scope, charging.moment, effects);
            }
        }
    }

    /// Publishes what a step led to, and pauses the scope for every new cause.
    pub(super) fn take_effects(&mut self, index: ScopeIndex, effects: Effects, moment: Moment) {
        self.decided.extend(effects.signals);
        if effects.causes.is_empty() {
            return;
        }
        let pauses = &mut self.scopes.row_mut(index).pauses;
        let new: Vec<_> = effects.causes.into_iter().filter(|(cause, _)| pauses.add(cause.clone())).collect();
        if !new.is_empty() {
            self.announce_pauses(index, &Cause::Reached { causes: &new }, moment);
        }
    }

    /// Holds a row against the rules for every scope of its kind that changed since it was last looked at: causes of
    /// changed or removed rules clear, and what is used already is announced and pauses. So a rule for 100,000 scopes
    /// is one write, and each scope follows when it is next touched.
    pub(super) fn bring_up_to_date(&mut self, index: ScopeIndex, moment: Moment) {
        let revision = self.settings.rules_revision;
        let row = self.scopes.row(index);
        if row.rules_revision == revision {
            return;
        }
        let (since, scope) = (row.rules_revision, self.scopes.slot(index).scope.clone());
        let rules: Vec<_> = self.settings.rules_for(scope.kind()).cloned().collect();
        let row = self.scopes.row_mut(index);
        row.rules_revision = revision;
        let own: Vec<Box<str>> = row.limits.iter().map(|limit| limit.id.clone()).collect();
        let cleared = row.pauses.clear(|cause| {
            let holds = rules.iter().any(|rule| rule.id == cause.limit_id && rule.revision <= since);
            cause.kind == CauseKind::Limit && !holds && !own.contains(&cause.limit_id)
        });
        let mut effects = Effects::default();
        for rule in rules.iter().filter(|rule| rule.revision > since) {
            let window = self.calendar.window(&self.settings.zones, rule.window, moment.record_time);
            let used =
                self.scopes.row(index).counters(rule.window, window.start).map(|counters| counters.get(rule.meter));
            if let (Some(ceiling), Some(used)) = (Ceiling::of_limit(rule, window), used) {
                ceiling.hold(Step::Revision { used }, &self.organization_id, &scope, moment, &mut effects);
            }
        }
        self.decided.append(&mut effects.signals);
        let pauses = &mut self.scopes.row_mut(index).pauses;
        let added = effects.causes.into_iter().filter(|(cause, _)| pauses.add(cause.clone())).count();
        if cleared || added > 0 {
            self.announce_pauses(index, &Cause::Rules { revision }, moment);
        }
    }
}

/// Adds the charge and returns the counts before (`None`: the window is new) and after.
fn add(counters: &mut Counters, charging: &Charging<'_>, was_there: bool) -> (Option<Counters>, Counters) {
    let before = was_there.then_some(*counters);
    *counters = counters.checked_add(&charging.charge).expect("what fits the organization fits each of its scopes");
    (before, *counters)
}

/// What an event counts, before it is priced.
fn counted(usage: &Usage<'_>) -> Counters {
    let mut charge = Counters::ZERO;
    match usage {
        Usage::Run { phase: RunPhase::Started, .. } => charge.set(Meter::RunsStarted, 1),
        Usage::Run { phase: RunPhase::Completed, .. } => charge.set(Meter::RunsCompleted, 1),
        Usage::Run { phase: RunPhase::Failed, .. } => charge.set(Meter::RunsFailed, 1),
        Usage::Run { phase: RunPhase::Cancelled, .. } => charge.set(Meter::RunsCancelled, 1),
        Usage::Tokens { tokens, .. } => {
            charge.set(Meter::InputTokens, tokens.input);
            charge.set(Meter::OutputTokens, tokens.output);
            charge.set(Meter::CacheReadInputTokens, tokens.cache_read);
            charge.set(Meter::CacheCreationInputTokens, tokens.cache_creation);
        }
    }
    charge
}
