//! Charges a usage event to its scopes: every counter or none (invariant U-2), limits after every event.

use super::{
    Account, Moment, Outcome, Policy,
    ceiling::{Cause as CausedBy, Ceiling, Effects, Step},
    changes::{Needs, OlderKey},
    counting::{Charging, Labels},
    row::ScopeRow,
    scopes::{ChargedScopes, ORGANIZATION, ScopeIndex, SlotState},
    seen::Sighting,
    settings::Settings,
    windows::Place,
};
use crate::{
    domain::{
        event::{RunPhase, Usage, UsageEvent},
        ids::EventId,
        limit::Limit,
        meter::{Counters, Meter},
        pause::{Cause, CauseKind},
        reason::Reason,
        scope::Scope,
        signal::Signal,
        time::Timestamp,
        window::{Window, WindowKind},
    },
    faults::{Defence, holds},
};

/// How many contributors a crossing names.
const CONTRIBUTORS: usize = 5;

impl Account {
    /// The scopes that `event` is charged to.
    pub fn name_scopes(&mut self, event: &UsageEvent<'_>, id: Option<EventId>) -> ChargedScopes {
        let charged = self.scopes.charged(event);
        charged.as_slice().iter().for_each(|index| self.scopes.prefetch(*index));
        if let Some(id) = id {
            self.seen.prefetch(event.event_time, id);
        }
        charged
    }

    /// Asks for what is missing to decide an event of `event_time` that is charged to these scopes. To be called again
    /// after a load, until nothing is missing: what the base says decides what else is needed.
    pub fn needs_for_usage(&mut self, event_time: Timestamp, charged: ChargedScopes, needs: &mut Needs) {
        self.need_base(needs);
        for index in charged.as_slice() {
            self.need_row(*index, needs);
            self.scopes.prefetch_row(*index);
        }
        if self.is_loaded() {
            self.need_segment(event_time, needs);
            self.need_older_windows(event_time, charged, needs);
        }
    }

    pub(super) fn need_segment(&self, time: Timestamp, needs: &mut Needs) {
        if let Some(start) = self.seen.missing(time).filter(|start| !needs.segments.contains(start)) {
            needs.segments.push(start);
        }
    }

    pub(super) fn need_older_windows(&mut self, event_time: Timestamp, charged: ChargedScopes, needs: &mut Needs) {
        for kind in WindowKind::CALENDAR {
            if !self.calendar.may_be_older(kind, event_time) {
                continue;
            }
            let start = self.calendar.window(&self.settings.zones, kind, event_time).start;
            for index in charged.as_slice() {
                let slot = self.scopes.slot(*index);
                let SlotState::Loaded(row) = &slot.state else { continue };
                if row.windows.place(kind, start) == Place::Older {
                    let key = OlderKey { kind, start, scope: slot.field() };
                    if !self.older.contains_key(&key) {
                        self.older.insert(key.clone(), None);
                        needs.older.push(key);
                    }
                }
            }
        }
    }

    /// Decides one event, all of whose needs are loaded. `id` is what [`UsageEvent::event_id`] says: worked out by who
    /// decodes, while the texts of the event are at hand.
    pub fn decide_usage(
        &mut self,
        event: &UsageEvent<'_>,
        id: Option<EventId>,
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
        if let Some(known) = id.and_then(|id| self.look_for_id(event_time, id)) {
            return known;
        }
        if let Err(reason) = self.charge(event, charged, moment, policy) {
            return Outcome::DeadLetter(reason);
        }
        if let Some(id) = id {
            self.seen.insert(event_time, id, self.head.newest_event_time, policy.horizon_ms);
        }
        self.head.newest_event_time = self.head.newest_event_time.max(event_time);
        Outcome::Applied
    }

    /// What the ids that are kept say of an event; `None` if it was never seen.
    fn look_for_id(&self, event_time: Timestamp, id: EventId) -> Option<Outcome> {
        if self.seen.has_forgotten(event_time) && holds(Defence::Overtaken) {
            return Some(Outcome::Overtaken);
        }
        match self.seen.look_up(event_time, id) {
            Sighting::Fresh => None,
            Sighting::Duplicate => holds(Defence::Ids).then_some(Outcome::Duplicate),
            Sighting::Reused => Some(Outcome::DeadLetter(Reason::IdReused)),
        }
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
        let windows = self.open_counted(event.event_time, policy);
        self.check_overflow(&[ORGANIZATION], &windows, &charge)?;

        for index in charged.as_slice() {
            self.follow(*index);
        }
        let payer = self.payer(charged, credits_micro, event.event_time, windows[2].1, moment, policy);
        let paid = payer.as_ref().map(|payer| (payer, self.pay(payer, &mut charge)));
        let charging = Charging {
            event_time: event.event_time,
            mask: charge.mask(),
            charge,
            late: paid.is_some_and(|(payer, _)| payer.late),
            is_refund: false,
            paid,
            moment,
            windows: &windows,
            first_runs: self.first_runs(event, charged, &windows),
            labels: self.labels(event),
            because: &|| (format!("{:016x}", event.fingerprint().0), late_event(event, moment)),
        };
        self.charge_scopes(charged, &charging);
        Ok(())
    }

    /// For each window, whether this event is the first run of its agent in it (row A12).
    fn first_runs(
        &self,
        event: &UsageEvent<'_>,
        charged: ChargedScopes,
        windows: &[(WindowKind, Window); 3],
    ) -> [bool; 3] {
        let Usage::Run { .. } = event.usage else { return [false; 3] };
        let Some(agent) = charged.agent else { return [false; 3] };
        windows.map(|(kind, window)| {
            let counters = self.counted(agent, kind, window);
            let runs = [Meter::RunsStarted, Meter::RunsCompleted, Meter::RunsFailed, Meter::RunsCancelled];
            runs.iter().all(|meter| counters.get(*meter) == 0)
        })
    }

    /// The numbers of product, trigger and model.
    fn labels(&mut self, event: &UsageEvent<'_>) -> Labels {
        let model = match event.usage {
            Usage::Tokens { request_model, .. } => Some(request_model),
            Usage::Run { .. } => None,
        };
        let mut number_of = |name: Option<&str>, among: fn(&mut Settings, &str) -> (u8, bool)| {
            let (number, is_new) = among(&mut self.settings, name.filter(|name| !name.is_empty())?);
            self.settings_changed |= is_new;
            Some(number)
        };
        Labels {
            product: number_of(event.product, Settings::label),
            trigger: number_of(event.trigger, Settings::label),
            model: number_of(model, Settings::model),
        }
    }

    /// The moment, with a clock that is not behind what was served already: another process's clock may be ahead, and
    /// a pause that ends at an instant whose due record is gone would never end.
    pub(super) fn not_before_served(&self, moment: Moment) -> Moment {
        Moment { clock: moment.clock.max(self.head.served_due), ..moment }
    }

    /// The window around `event_time`, remembered as opened.
    pub(super) fn open_window(&mut self, kind: WindowKind, event_time: Timestamp) -> Window {
        let (window, is_new) = self.calendar.open_around(&self.settings.zones, kind, event_time);
        self.calendar_changed |= is_new;
        window
    }

    /// No scope holds more than its organization, and no meter of credits more than the charge: what fits there fits
    /// everywhere. Only adjustments, which may be negative, have to look at each scope.
    pub(super) fn check_overflow(
        &self,
        scopes: &[ScopeIndex],
        windows: &[(WindowKind, Window)],
        charge: &Counters,
    ) -> Result<(), Reason> {
        let fits = |index: &ScopeIndex| {
            let kept = &self.scopes.row(*index).windows;
            windows.iter().all(|(kind, window)| match kept.place(*kind, window.start) {
                Place::Row(position) => kept.fits(position, charge),
                Place::New => true,
                Place::Older => self
                    .older_counters(*index, *kind, window.start)
                    .is_none_or(|counters| counters.checked_add(charge).is_some()),
            })
        };
        if scopes.iter().all(fits) {
            return Ok(());
        }
        Err(Reason::CounterOverflow(format!("organization {}", self.organization_id)))
    }

    /// Publishes what a step led to, and pauses the scope for every new cause. Most steps lead to nothing.
    #[inline]
    pub(super) fn take_effects(&mut self, index: ScopeIndex, effects: Effects, moment: Moment) {
        if !effects.signals.is_empty() || !effects.causes.is_empty() {
            self.announce_effects(index, effects, moment);
        }
    }

    fn announce_effects(&mut self, index: ScopeIndex, effects: Effects, moment: Moment) {
        self.announce_crossings(effects.signals);
        if effects.causes.is_empty() {
            return;
        }
        let pauses = &mut self.scopes.row_mut(index).pauses;
        let new: Vec<_> = effects.causes.into_iter().filter(|(cause, _)| pauses.add(cause.clone())).collect();
        if !new.is_empty() {
            let cleared = self.scopes.row(index).pauses.cleared;
            self.announce_pauses(index, &CausedBy::Reached { causes: &new, cleared }, moment);
        }
    }

    /// Holds a row against the rules for every scope of its kind that changed since it was last looked at: causes of
    /// changed or removed rules clear, and what is used already is announced and pauses. So a rule for 100,000 scopes
    /// is one write, and each scope follows when it is next touched.
    #[inline]
    pub(super) fn bring_up_to_date(&mut self, index: ScopeIndex, moment: Moment) {
        let revision = self.settings.rules_revision;
        if self.scopes.row(index).rules_revision != revision {
            self.hold_against_rules(index, revision, moment);
        }
    }

    fn hold_against_rules(&mut self, index: ScopeIndex, revision: u64, moment: Moment) {
        let row = self.scopes.row(index);
        let (since, scope) = (row.rules_revision, self.scopes.slot(index).scope.clone());
        let rules: Vec<_> = self.settings.rules_for(scope.kind(), row.seat_type()).cloned().collect();
        let row = self.scopes.row_mut(index);
        row.rules_revision = revision;
        let own: Vec<Box<str>> = row.limits.iter().map(|limit| limit.id.clone()).collect();
        let cleared = row.pauses.clear(|cause| {
            let holds = rules.iter().any(|rule| rule.id == cause.limit_id && rule.revision <= since);
            cause.kind == CauseKind::Limit && !holds && !own.contains(&cause.limit_id)
        });
        let mut effects = Effects::default();
        for rule in rules.iter().filter(|rule| rule.revision > since) {
            let window = self.window_of(self.scopes.row(index), rule.window, moment.record_time);
            let used = self.scopes.row(index).windows.count_of(rule.window, window.start, rule.meter);
            if let (Some(ceiling), Some(used)) = (Ceiling::of_limit(rule, window), used) {
                ceiling.hold(Step::Revision { used }, &self.organization_id, &scope, moment, &mut effects);
            }
        }
        self.announce_crossings(std::mem::take(&mut effects.signals));
        let pauses = &mut self.scopes.row_mut(index).pauses;
        let added = effects.causes.into_iter().filter(|(cause, _)| pauses.add(cause.clone())).count();
        if cleared || added > 0 {
            self.announce_pauses(index, &CausedBy::Rules { revision }, moment);
        }
    }

    /// Clears causes of limits that are no longer reached in the window that they are of, after a refund. Returns whether
    /// there was one.
    pub(super) fn clear_what_is_below(&mut self, index: ScopeIndex) -> bool {
        let row = self.scopes.row(index);
        if !row.pauses.causes.iter().any(|cause| cause.kind == CauseKind::Limit) {
            return false;
        }
        let kind = self.scopes.slot(index).scope.kind();
        let is_reached = |limit: &Limit, start: Timestamp| {
            let window = Window { start, end: start };
            let count = self.count_of(index, limit.window, window, limit.meter);
            limit.cap.is_some_and(|cap| count >= cap)
        };
        // A cause whose limit is gone is cleared by who removes it.
        let below = |cause: &Cause| {
            let mut limits = row.limits.iter().chain(self.settings.rules_for(kind, row.seat_type()));
            let mut of_cause = limits.by_ref().filter(|limit| limit.id == cause.limit_id).peekable();
            let start = cause.window_start.unwrap_or(Timestamp::MIN);
            cause.kind == CauseKind::Limit
                && of_cause.peek().is_some()
                && of_cause.all(|limit| !is_reached(limit, start))
        };
        let below: Vec<Cause> = row.pauses.causes.iter().filter(|cause| below(cause)).cloned().collect();
        !below.is_empty() && self.scopes.row_mut(index).pauses.clear(|cause| below.contains(cause))
    }

    /// Publishes crossings, each with those who contributed most.
    pub(super) fn announce_crossings(&mut self, crossings: Vec<Signal>) {
        for mut signal in crossings {
            // Nothing lies within an agent or a user; and they may be many.
            if let Signal::Threshold(crossed) = &mut signal
                && matches!(crossed.scope, Scope::Organization | Scope::Workspace(_))
            {
                let contributors = |scope: &Scope| match (&crossed.scope, scope) {
                    (Scope::Organization, Scope::Agent { .. }) => true,
                    (Scope::Workspace(of), Scope::Agent { workspace, .. }) => of == workspace,
                    _ => false,
                };
                let of_window = |row: &ScopeRow| {
                    let (kind, start) = (crossed.window_kind, crossed.window.start);
                    row.windows.count_of(kind, start, crossed.meter).filter(|count| *count > 0)
                };
                let loaded = self.scopes.loaded().filter(|(scope, _)| contributors(scope));
                let mut top: Vec<(i64, &Scope)> =
                    loaded.filter_map(|(scope, row)| Some((of_window(row)?, scope))).collect();
                top.sort_unstable_by(|(a, a_scope), (b, b_scope)| b.cmp(a).then_with(|| a_scope.cmp(b_scope)));
                top.truncate(CONTRIBUTORS);
                crossed.top_contributors = top.into_iter().map(|(count, scope)| (scope.clone(), count)).collect();
            }
            self.decided.push(signal);
        }
    }
}

/// What a late event is, for who reads a correction.
fn late_event(event: &UsageEvent<'_>, moment: Moment) -> String {
    let UsageEvent { id, source, event_time, .. } = event;
    format!("event {id} of {source}, used at {event_time} and recorded at {}", moment.record_time)
}

/// What an event counts, before it is priced.
fn counted(usage: &Usage<'_>) -> Counters {
    let mut charge = Counters::ZERO;
    match usage {
        Usage::Run { phase: RunPhase::Started } => charge.set(Meter::RunsStarted, 1),
        Usage::Run { phase: RunPhase::Completed } => charge.set(Meter::RunsCompleted, 1),
        Usage::Run { phase: RunPhase::Failed } => charge.set(Meter::RunsFailed, 1),
        Usage::Run { phase: RunPhase::Cancelled } => charge.set(Meter::RunsCancelled, 1),
        Usage::Tokens { tokens, .. } => {
            charge.set(Meter::InputTokens, tokens.input);
            charge.set(Meter::OutputTokens, tokens.output);
            charge.set(Meter::CacheReadInputTokens, tokens.cache_read);
            charge.set(Meter::CacheCreationInputTokens, tokens.cache_creation);
        }
    }
    charge
}
