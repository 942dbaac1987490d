//! Does what a control record says. A record is applied, a duplicate, or refused with a sentence. Applied or refused, it
//! is in the journal, and its id is remembered; one that is too early or reuses an id is a dead letter only.
//!
//! - `organization`: calendar, prices, plan, who pays, the free phase.
//! - `rules`: limits, of one scope and for many.
//! - `credits`: pools, grants, reloads. `adjust`: corrections of usage.
//! - `people`: seats, members, agents. `requests`: what members ask for.

mod adjust;
mod checks;
mod credits;
mod organization;
mod people;
mod requests;
mod rules;

use super::{
    Account, Moment, Outcome, Policy,
    ceiling::Cause,
    changes::Needs,
    row::ScopeRow,
    scopes::{ORGANIZATION, ScopeIndex},
    seen::Sighting,
    sweep::{Progress, Sweep},
};
use crate::{
    domain::{
        control::{Adjustment, Command, ControlRecord, GrantCredits, SetLimit},
        limit::Selector,
        pause::{Cause as PauseCause, CauseKind},
        reason::Reason,
        scope::{Scope, ScopeKind},
        signal::{JournalEntry, Refusal, RequestKind, RequestSignal, Signal},
    },
    faults::{Defence, holds},
};

/// Where a record stands in the log: topic, partition, offset.
pub type Position<'a> = (&'a str, i32, i64);

/// A record on its way through its account.
struct Said<'a> {
    record: &'a ControlRecord,
    caused_by: Cause<'a>,
    moment: Moment,
    policy: &'a Policy,
}

/// What there is to say of a record that was applied, or why it was refused.
type Answer = Result<String, String>;

impl Account {
    /// Asks for what is missing to decide `record`. To be called again after a load, until nothing is missing.
    pub fn needs_for_control(&mut self, record: &ControlRecord, needs: &mut Needs) {
        self.need_base(needs);
        if !self.is_loaded() {
            return;
        }
        self.need_segment(record.time, needs);
        for scope in self.scopes_of(record) {
            let index = self.scopes.index(&scope);
            self.need_row_and_workspace(index, needs);
        }
        if let Command::Adjust(adjustment) = &record.command {
            self.needs_for_adjustment(adjustment, needs);
        }
        let is_sweeping = self.head.sweeping.contains(&record.fingerprint().0);
        if self.sweep.is_none() && (is_sweeping || self.follows_many(&record.command)) {
            self.sweep = Some(Sweep::through_all());
        }
        self.needs_for_sweep(needs);
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
        let id = record.event_id();
        let is_sweeping = self.head.sweeping.contains(&id.fingerprint.0);
        match self.seen.look_up(record.time, id) {
            Sighting::Fresh => {}
            // Its change is made, and it is still on its way through the scopes that follow it.
            Sighting::Duplicate if is_sweeping => {}
            Sighting::Duplicate => {
                self.be_due_after_all(record);
                return Outcome::Duplicate;
            }
            Sighting::Reused => return Outcome::DeadLetter(Reason::IdReused),
        }
        if record.time > moment.record_time.plus_ms(policy.early_ms) {
            // Its id could not be remembered at the right place, so it is refused before anything is written.
            let (event_time, record_time) = (record.time, moment.record_time);
            return Outcome::DeadLetter(Reason::TooEarly { event_time, record_time });
        }
        let is_due = matches!(record.command, Command::Due { .. });
        if !is_due && record.time < moment.record_time.plus_ms(-policy.horizon_ms) {
            // Older than ids are remembered: it cannot be told from a resend, and would be done twice.
            let (event_time, record_time) = (record.time, moment.record_time);
            return Outcome::DeadLetter(Reason::TooLate { event_time, record_time });
        }
        if !is_due && self.seen.has_forgotten(record.time) && holds(Defence::Overtaken) {
            return Outcome::Overtaken;
        }
        let caused_by = Cause::Control { source: &record.source, id: &record.id, time: record.time };
        let said = Said { record, caused_by, moment, policy };
        let (outcome, answer) = match self.obey(&said) {
            Ok(Progress::More) if is_due => return Outcome::Continue,
            Ok(Progress::More) => {
                // The id goes with the change, in the first commit.
                if !is_sweeping {
                    self.remember(record, policy);
                    self.head.sweeping.push(id.fingerprint.0);
                }
                return Outcome::Continue;
            }
            Ok(Progress::Done(answer)) => (Outcome::Applied, answer),
            Err(why) => (Outcome::DeadLetter(Reason::ControlRefused(why)), String::new()),
        };
        self.journal(record, position, moment, &outcome, answer);
        if is_sweeping {
            self.head.sweeping.retain(|known| *known != id.fingerprint.0);
        } else {
            self.remember(record, policy);
        }
        outcome
    }

    fn remember(&mut self, record: &ControlRecord, policy: &Policy) {
        self.seen.insert(record.time, record.event_id(), self.head.newest_event_time, policy.horizon_ms);
        self.head.newest_event_time = self.head.newest_event_time.max(record.time);
    }

    /// A due record that was served before came again: if something is due still, it needs a record of its own.
    fn be_due_after_all(&mut self, record: &ControlRecord) {
        if matches!(record.command, Command::Due { .. }) && self.head.due.is_some() {
            self.head.due = self.head.due.map(|due| due.max(self.head.served_due.plus_ms(1)));
            self.due_changed = true;
        }
    }

    fn obey(&mut self, said: &Said<'_>) -> Result<Progress, String> {
        if let Command::Due { at } = said.record.command {
            if self.sweep.is_none() {
                self.begin_due(at, said.moment, said.policy);
                return Ok(Progress::More);
            }
            return Ok(self.serve_due(at, &said.caused_by, said.moment, said.policy));
        }
        // The change is made with the first page of a record, and not again with the pages that follow, nor when the
        // record is taken up again after a crash between two of them.
        if !self.head.sweeping.contains(&said.record.fingerprint().0) {
            let answer = self.change(said)?;
            if let Some(sweep) = &mut self.sweep {
                sweep.answer = answer;
            } else {
                return Ok(Progress::Done(answer));
            }
        }
        Ok(self.sweep_all(&said.caused_by, said.moment, said.policy))
    }

    fn change(&mut self, said: &Said<'_>) -> Answer {
        match &said.record.command {
            Command::SetOrganization { time_zone, anchor } => self.set_zone(*time_zone, *anchor, said),
            Command::SetUnit(unit) => self.set_unit(unit),
            Command::SetPlan { plan } => self.set_plan(*plan),
            Command::SetRateCard(card) => self.set_rate_card(card, said),
            Command::SetMode { mode } => self.set_mode(*mode, said),
            Command::SetSource { source, user_id, on } => self.set_source(*source, user_id.as_deref(), *on, said),
            Command::SetConsent { required } => self.set_consent(*required, said),
            Command::Consent { user_id, given } => self.consent(user_id, *given, said),
            Command::SetFreePhase { until } => self.set_free_phase(*until, said),
            Command::SetLimit(set) => self.set_limit(set, said),
            Command::RemoveLimit { limit_id, selector } => self.remove_limit(limit_id, selector, said),
            Command::SetPool { scope, included_micro, user_cap_micro, thresholds_percent } => {
                self.set_pool(scope, *included_micro, *user_cap_micro, thresholds_percent, said)
            }
            Command::Grant(grant) => self.grant(grant, said),
            Command::VoidGrant { scope, grant_id } => self.void_grant(scope, grant_id, said),
            Command::SetAutoReload { scope, rule } => self.set_auto_reload(scope, *rule, said),
            Command::RefuseReload { scope, reload_id } => self.refuse_reload(scope, reload_id),
            Command::SetSeatType(seat_type) => self.set_seat_type(seat_type),
            Command::SetMember { user_id, seat_type, role } => {
                self.set_member(user_id, seat_type.as_deref(), *role, said)
            }
            Command::SetAgentCreation(rule) => self.set_agent_creation(rule),
            Command::RegisterWorkspace { workspace_id } => self.register_workspace(workspace_id, said),
            Command::RegisterAgent { scope } => self.register_agent(scope, said),
            Command::SetRequests { enabled, digest_hour } => self.set_requests(*enabled, *digest_hour, said),
            Command::Request { request_id, user_id, wants } => self.request(request_id, user_id, wants, said),
            Command::Approve { request_id, cap } => self.approve(request_id, *cap, said),
            Command::Decline { request_id } => self.decline(request_id, said),
            Command::Adjust(adjustment) => self.adjust(adjustment, said),
            Command::Pause { scope } => self.pause(scope, said),
            Command::Resume { scope } => self.resume(scope, said),
            Command::Due { .. } => unreachable!("due records go their own way"),
        }
    }

    fn pause(&mut self, scope: &Scope, said: &Said<'_>) -> Answer {
        let known = self.scopes.index(scope);
        let is_one = matches!(scope, Scope::Agent { .. } | Scope::User(_));
        if is_one && *self.scopes.row(known) == ScopeRow::default() {
            return Err(format!("{scope} is not known: it was neither used nor registered"));
        }
        let cause = PauseCause { kind: CauseKind::Admin, limit_id: "".into(), window_start: None, ends_at: None };
        let index = self.scopes.index(scope);
        if self.scopes.row_mut(index).pauses.add(cause) {
            self.announce_pauses(index, &said.caused_by, said.moment);
        }
        Ok(String::new())
    }

    fn resume(&mut self, scope: &Scope, said: &Said<'_>) -> Answer {
        let index = self.scopes.index(scope);
        if self.scopes.row_mut(index).pauses.clear(|cause| cause.kind == CauseKind::Admin) {
            self.announce_pauses(index, &said.caused_by, said.moment);
        }
        let others = self.scopes.row(index).pauses.causes.iter().map(|cause| cause.kind.name());
        let others: Vec<&str> = others.collect();
        Ok(if others.is_empty() { String::new() } else { format!("still paused for: {}", others.join(", ")) })
    }

    /// Brings a scope up to date after a change that concerns it.
    fn look_for(&mut self, index: ScopeIndex, revised: bool, said: &Said<'_>) {
        self.look(index, revised, &said.caused_by, said.moment, said.policy);
        self.attend(index);
    }

    /// A change of who pays: rows are held against it when they are next touched, and signals of it are new ones.
    fn revise(&mut self) {
        self.settings.rules_revision += 1;
        self.settings_changed = true;
    }

    /// The scopes whose rows a command reads or changes.
    fn scopes_of(&self, record: &ControlRecord) -> Vec<Scope> {
        let user = |id: &str| Scope::User(id.into());
        match &record.command {
            Command::SetLimit(SetLimit { selector: Selector::One(scope), .. })
            | Command::RemoveLimit { selector: Selector::One(scope), .. }
            | Command::SetPool { scope, .. }
            | Command::Grant(GrantCredits { scope, .. })
            | Command::VoidGrant { scope, .. }
            | Command::SetAutoReload { scope, .. }
            | Command::RefuseReload { scope, .. }
            | Command::Pause { scope }
            | Command::Resume { scope } => vec![scope.clone()],
            Command::SetSource { user_id: Some(user_id), .. }
            | Command::Consent { user_id, .. }
            | Command::SetMember { user_id, .. }
            | Command::Request { user_id, .. } => vec![user(user_id)],
            Command::Approve { request_id, .. } | Command::Decline { request_id } => {
                let open = self.settings.requests.open.iter().find(|open| open.id == *request_id);
                open.map(|open| user(&open.user_id)).into_iter().collect()
            }
            Command::RegisterWorkspace { workspace_id } => vec![Scope::Workspace((&**workspace_id).into())],
            Command::RegisterAgent { scope } => {
                let workspace = match scope {
                    Scope::Agent { workspace, .. } if !workspace.is_empty() => {
                        Some(Scope::Workspace(workspace.clone()))
                    }
                    _ => None,
                };
                [Some(scope.clone()), workspace, Some(user(&record.actor))].into_iter().flatten().collect()
            }
            Command::Adjust(Adjustment { .. })
            | Command::SetOrganization { .. }
            | Command::SetUnit(_)
            | Command::SetPlan { .. }
            | Command::SetRateCard(_)
            | Command::SetMode { .. }
            | Command::SetSource { user_id: None, .. }
            | Command::SetConsent { .. }
            | Command::SetFreePhase { .. }
            | Command::SetLimit(_)
            | Command::RemoveLimit { .. }
            | Command::SetSeatType(_)
            | Command::SetAgentCreation(_)
            | Command::SetRequests { .. }
            | Command::Due { .. } => Vec::new(),
        }
    }

    /// Whether a command changes what many scopes follow: those that are paused, or live on what all share, are then
    /// looked at, page by page.
    fn follows_many(&self, command: &Command) -> bool {
        match command {
            Command::SetLimit(SetLimit { selector, .. }) | Command::RemoveLimit { selector, .. } => {
                !matches!(selector, Selector::One(scope) if scope.kind() != ScopeKind::Organization)
            }
            Command::SetMode { .. }
            | Command::SetSource { user_id: None, .. }
            | Command::SetConsent { .. }
            | Command::SetSeatType(_)
            | Command::SetFreePhase { .. } => true,
            Command::SetPool { .. } | Command::Grant(_) | Command::VoidGrant { .. } | Command::Adjust(_) => true,
            _ => false,
        }
    }

    /// Tells somebody outside.
    fn tell(&mut self, scope: Scope, kind: RequestKind, said: &Said<'_>) {
        let ControlRecord { id, source, time, .. } = said.record;
        let identity = super::identity(&self.organization_id, &["request", source, id, &time.ms().to_string()]);
        let record_time = said.moment.record_time;
        self.decided.push(Signal::Request(RequestSignal { identity, scope, kind, record_time }));
    }

    fn journal(
        &mut self,
        record: &ControlRecord,
        position: Position<'_>,
        moment: Moment,
        outcome: &Outcome,
        answer: String,
    ) {
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
            answer: answer.into(),
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

    /// The organization's own row has to be looked at too, where everything in it follows a change.
    fn look_at_organization(&mut self, said: &Said<'_>) {
        self.look_for(ORGANIZATION, false, said);
    }
}
