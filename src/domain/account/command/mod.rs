//! Does what a control record says. A record is applied, a duplicate, or refused with a sentence. Applied or refused, it
//! is in the journal, and its id is remembered; one that is too early or reuses an id is a dead letter only.

mod checks;
mod rules;

use self::checks::{check_amount, check_id, check_limit, check_pool_owner, check_thresholds};
use super::{
    Account, Moment, Outcome, Policy, Sweep,
    ceiling::{Cause, Ceiling, Effects, Step},
    changes::{EndingPage, Needs},
    scopes::ScopeIndex,
    seen::Sighting,
    settings::{Recorded, SETTINGS_MAX},
};
use crate::domain::{
    control::{Command, ControlRecord, SetLimit},
    limit::Selector,
    pause::{Cause as PauseCause, CauseKind},
    pool::{GRANTS_MAX, Grant, Pool},
    rate_card::{MICRO_MAX, RateCard},
    reason::Reason,
    scope::Scope,
    signal::{JournalEntry, Refusal, Signal},
    time::Timestamp,
    window::{WindowKind, Zone},
};

/// Scopes that one commit resumes; a record that concerns more goes on in the next.
const SWEEP_PAGE: usize = 500;

/// Where a record stands in the log: topic, partition, offset.
pub type Position<'a> = (&'a str, i32, i64);

impl Account {
    /// Asks for what is missing to decide `record`. To be called again after a load, until nothing is missing.
    pub fn needs_for_control(&mut self, record: &ControlRecord, needs: &mut Needs) {
        self.need_base(needs);
        if self.is_loaded() {
            self.need_segment(record.time, needs);
        }
        if let Some(scope) = scope_of(&record.command) {
            let index = self.scopes.index(scope);
            self.need_row(index, needs);
        }
        if let Some(until) = sweeps_until(&record.command) {
            let first = EndingPage { until, offset: 0, limit: SWEEP_PAGE };
            let sweep = self.sweep.get_or_insert(Sweep { page: first, found: None });
            match &sweep.found {
                None => needs.ending = Some(sweep.page),
                Some((scopes, _)) => {
                    for index in scopes.clone() {
                        self.need_row(index, needs);
                    }
                }
            }
        }
    }

    /// Decides one control record, all of whose needs are loaded.
    pub fn decide_control(
        &mut self,
        record: &ControlRecord,
        position: Position<'_>,
        moment: Moment,
        policy: &Policy,
    ) -> Outcome {
        let outcome = self.decide_control_once(record, position, self.not_before_served(moment), policy);
        if matches!((&outcome, &record.command), (Outcome::DeadLetter(Reason::TooEarly { .. }), Command::Due { .. })) {
            // Its entry in the index is gone, and what is due still is.
            self.due_changed = true;
        }
        if outcome != Outcome::Continue {
            // Whatever became of the record: its way through the scopes is not the next one's.
            self.sweep = None;
        }
        outcome
    }

    fn decide_control_once(
        &mut self,
        record: &ControlRecord,
        position: Position<'_>,
        moment: Moment,
        policy: &Policy,
    ) -> Outcome {
        let (fingerprint, check) = (record.fingerprint(), record.content_check());
        match self.seen.look_up(record.time, fingerprint, check) {
            Sighting::Fresh => {}
            Sighting::Duplicate => return Outcome::Duplicate,
            Sighting::Reused => return Outcome::DeadLetter(Reason::IdReused),
        }
        if record.time > moment.record_time.plus_ms(policy.early_ms) {
            // Its id could not be remembered at the right place, so it is refused before anything is written.
            let (event_time, record_time) = (record.time, moment.record_time);
            return Outcome::DeadLetter(Reason::TooEarly { event_time, record_time });
        }
        let outcome = match self.obey(record, moment, policy) {
            Ok(Progress::More) => return Outcome::Continue,
            Ok(Progress::Done) => Outcome::Applied,
            Err(why) => Outcome::DeadLetter(Reason::ControlRefused(why)),
        };
        self.journal(record, position, moment, &outcome);
        self.seen.insert(record.time, fingerprint, check, self.head.newest_event_time, policy.horizon_ms);
        self.head.newest_event_time = self.head.newest_event_time.max(record.time);
        outcome
    }

    fn obey(&mut self, record: &ControlRecord, moment: Moment, policy: &Policy) -> Result<Progress, String> {
        let caused_by = Cause::Control { source: &record.source, id: &record.id, time: record.time };
        match &record.command {
            Command::SetOrganization { time_zone, anchor } => self.set_zone(*time_zone, *anchor, moment, policy)?,
            Command::SetRateCard(card) => self.set_rate_card(card, moment, policy)?,
            Command::SetLimit(set) => {
                check_limit(set)?;
                let rules = match &set.selector {
                    Selector::One(scope) => {
                        return self.set_limit_on(scope, set, &caused_by, moment).map(|()| Progress::Done);
                    }
                    Selector::Every(kind) => self.once_per_sweep(record, |account| account.set_rule(*kind, set)),
                };
                rules?;
                return Ok(self.sweep_rules(record, moment));
            }
            Command::RemoveLimit { limit_id, selector: Selector::One(scope) } => {
                self.remove_limit_on(scope, limit_id, &caused_by, moment)?;
            }
            Command::RemoveLimit { limit_id, selector: Selector::Every(kind) } => {
                self.once_per_sweep(record, |account| account.remove_rule(*kind, limit_id))?;
                return Ok(self.sweep_rules(record, moment));
            }
            Command::SetPool { scope, included_micro, thresholds_percent } => {
                check_amount("included_micro", *included_micro, 0)?;
                check_thresholds(thresholds_percent)?;
                self.set_pool(scope, *included_micro, thresholds_percent, &caused_by, moment)?;
            }
            Command::Grant { scope, grant_id, amount_micro } => {
                check_id("grant_id", grant_id)?;
                check_amount("amount_micro", *amount_micro, 1)?;
                self.grant(scope, grant_id, *amount_micro, &caused_by, moment)?;
            }
            Command::Pause { scope } => {
                let cause =
                    PauseCause { kind: CauseKind::Admin, limit_id: "".into(), window_start: None, ends_at: None };
                let index = self.scopes.index(scope);
                if self.scopes.row_mut(index).pauses.add(cause) {
                    self.announce_pauses(index, &caused_by, moment);
                }
            }
            Command::Resume { scope } => {
                let index = self.scopes.index(scope);
                if self.scopes.row_mut(index).pauses.clear(|cause| cause.kind == CauseKind::Admin) {
                    self.announce_pauses(index, &caused_by, moment);
                }
            }
            Command::Due { at } => return Ok(self.end_pauses(*at, &caused_by, moment)),
        }
        Ok(Progress::Done)
    }

    /// The first zone of an organization without usage, limit or pool holds from the beginning; every other one a while after its
    /// record, and what is running then ends as planned.
    fn set_zone(
        &mut self,
        time_zone: chrono_tz::Tz,
        anchor: chrono::NaiveDate,
        moment: Moment,
        policy: &Policy,
    ) -> Result<(), String> {
        if self.settings.zones.len() >= SETTINGS_MAX {
            return Err(format!("time zone or anchor were changed {SETTINGS_MAX} times already"));
        }
        let first = self.settings.zones.is_empty() && self.calendar.is_empty();
        let from = if first { Timestamp::MIN } else { moment.record_time.plus_ms(policy.rules_delay_ms) };
        self.settings.zones.push(Zone { from, time_zone, anchor });
        self.settings_changed = true;
        Ok(())
    }

    fn set_rate_card(&mut self, card: &RateCard, moment: Moment, policy: &Policy) -> Result<(), String> {
        if !card.prices_are_in_range() {
            return Err(format!("a price is below 0 or above {MICRO_MAX} micro-credits"));
        }
        let cards = &mut self.settings.rate_cards;
        if cards.len() >= SETTINGS_MAX {
            // Room is made only by what no event within the horizon can look at any more.
            let settled = moment.record_time.plus_ms(-policy.horizon_ms - policy.rules_delay_ms);
            let is_settled =
                |card: &&Recorded<RateCard>| card.value.effective_from <= settled && card.recorded <= settled;
            let order = |card: &Recorded<RateCard>| (card.value.effective_from, card.recorded);
            let newest_settled = cards.iter().filter(is_settled).map(order).max();
            cards.retain(|card| newest_settled.is_none_or(|newest| order(card) >= newest));
        }
        if cards.len() >= SETTINGS_MAX {
            return Err(format!(
                "{SETTINGS_MAX} rate cards are in force or to come; wait until older ones are settled"
            ));
        }
        cards.push(Recorded { recorded: moment.record_time, value: card.clone() });
        self.settings_changed = true;
        Ok(())
    }

    fn set_pool(
        &mut self,
        scope: &Scope,
        included_micro: i64,
        thresholds_percent: &[u16],
        caused_by: &Cause<'_>,
        moment: Moment,
    ) -> Result<(), String> {
        check_pool_owner(scope)?;
        let index = self.scopes.index(scope);
        let fresh =
            Pool { included_micro, thresholds_percent: Vec::new(), revision: 0, grants: Vec::new(), drawn: Vec::new() };
        let pool = self.scopes.row_mut(index).pool.get_or_insert_with(|| Box::new(fresh));
        pool.included_micro = included_micro;
        pool.thresholds_percent = thresholds_percent.to_vec();
        pool.revision += 1;
        self.look_at_pool(index, scope, caused_by, moment);
        Ok(())
    }

    fn grant(
        &mut self,
        scope: &Scope,
        grant_id: &str,
        amount_micro: i64,
        caused_by: &Cause<'_>,
        moment: Moment,
    ) -> Result<(), String> {
        check_pool_owner(scope)?;
        let index = self.scopes.index(scope);
        if self.scopes.row(index).pool.is_none() {
            return Err(format!("{scope} has no pool to grant to; set one first"));
        }
        let period_start = self.open_window(WindowKind::Period, moment.record_time).start;
        let pool = self.scopes.row_mut(index).pool.as_mut().expect("it was looked for above");
        if pool.grants.iter().any(|grant| &*grant.id == grant_id) {
            return Ok(());
        }
        if pool.grants.iter().filter(|grant| grant.period_start == period_start).count() >= GRANTS_MAX {
            return Err(format!("{scope} got {GRANTS_MAX} grants in this period already"));
        }
        pool.grants.push(Grant { id: grant_id.into(), amount_micro, period_start });
        pool.revision += 1;
        self.look_at_pool(index, scope, caused_by, moment);
        Ok(())
    }

    /// Holds the present period of a pool against what it now contains: a new revision.
    fn look_at_pool(&mut self, index: ScopeIndex, scope: &Scope, caused_by: &Cause<'_>, moment: Moment) {
        let period = self.open_window(WindowKind::Period, moment.record_time);
        let row = self.scopes.row_mut(index);
        let cleared = row.pauses.clear(|cause| cause.kind == CauseKind::Pool);
        let pool = row.pool.as_mut().expect("the pool was set or found before");
        let used = pool.drawn_micro(period.start).unwrap_or(0);
        if used == 0 {
            pool.draw(period, 0);
        }
        let mut effects = Effects::default();
        Ceiling::of_pool(pool, period).hold(
            Step::Revision { used },
            &self.organization_id,
            scope,
            moment,
            &mut effects,
        );
        self.change_pauses(index, cleared, effects, caused_by, moment);
    }

    /// Publishes what a control record led to for one scope: at most one change of its pauses.
    fn change_pauses(
        &mut self,
        index: ScopeIndex,
        cleared: bool,
        effects: Effects,
        caused_by: &Cause<'_>,
        moment: Moment,
    ) {
        self.decided.extend(effects.signals);
        let pauses = &mut self.scopes.row_mut(index).pauses;
        let added = effects.causes.into_iter().filter(|(cause, _)| pauses.add(cause.clone())).count();
        if cleared || added > 0 {
            self.announce_pauses(index, caused_by, moment);
        }
    }

    /// Ends what ends by itself at or before `at`, page by page, and says when the next end is.
    fn end_pauses(&mut self, at: Timestamp, caused_by: &Cause<'_>, moment: Moment) -> Progress {
        let sweep = self.sweep.take().expect("the page was loaded before the record is decided");
        let (scopes, next_end) = sweep.found.expect("the page was loaded before the record is decided");
        let mut ended = false;
        for index in &scopes {
            if self.scopes.row_mut(*index).pauses.clear(|cause| cause.ends_at.is_some_and(|end| end <= at)) {
                self.announce_pauses(*index, caused_by, moment);
                ended = true;
            }
        }
        // A page of which nothing ends would come again for ever.
        if ended && scopes.len() >= sweep.page.limit {
            self.sweep = Some(Sweep { page: sweep.page, found: None });
            return Progress::More;
        }
        self.head.served_due = self.head.served_due.max(at);
        // The next end is the one stored behind the page, or one decided since and not stored yet.
        let decided = self.pauses_changed.iter().filter_map(|index| self.scopes.row(*index).pauses.next_end());
        self.head.due = decided.chain(next_end).filter(|end| *end > at).min();
        self.due_changed = true;
        Progress::Done
    }

    fn journal(&mut self, record: &ControlRecord, position: Position<'_>, moment: Moment, outcome: &Outcome) {
        let refused = match outcome {
            Outcome::DeadLetter(Reason::ControlRefused(why)) => Some(why.as_str()),
            _ => None,
        };
        let identity = |kind| {
            super::identity(&self.organization_id, &[kind, &record.source, &record.id, &record.time.ms().to_string()])
        };
        let (journal, refusal) = (identity("journal"), identity("refusal"));
        let record_time = moment.record_time;
        self.decided.push(Signal::Journal(JournalEntry {
            identity: journal,
            record_id: record.id.clone(),
            record_source: record.source.clone(),
            time: record.time,
            actor: record.actor.clone(),
            reason: record.reason.clone(),
            command_json: record.command_json.clone(),
            refused: refused.map(Into::into),
            record_time,
        }));
        if let Some(why) = refused {
            let (topic, partition, offset) = position;
            self.decided.push(Signal::Refusal(Refusal {
                identity: refusal,
                message: why.into(),
                position: (topic.into(), partition, offset),
                command_json: record.command_json.clone(),
                record_time,
            }));
        }
    }
}

/// Whether a record is through.
enum Progress {
    Done,
    More,
}

/// The scope whose row a command changes.
fn scope_of(command: &Command) -> Option<&Scope> {
    match command {
        Command::SetLimit(SetLimit { selector: Selector::One(scope), .. })
        | Command::RemoveLimit { selector: Selector::One(scope), .. }
        | Command::SetPool { scope, .. }
        | Command::Grant { scope, .. }
        | Command::Pause { scope }
        | Command::Resume { scope } => Some(scope),
        _ => None,
    }
}

/// Up to which end a command looks at the scopes whose pauses end by themselves.
fn sweeps_until(command: &Command) -> Option<Timestamp> {
    match command {
        Command::SetLimit(SetLimit { selector: Selector::Every(_), .. })
        | Command::RemoveLimit { selector: Selector::Every(_), .. } => Some(Timestamp::MAX),
        Command::Due { at } => Some(*at),
        _ => None,
    }
}
