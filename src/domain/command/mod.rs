//! Does what a control record says. A record is applied, a duplicate, or refused with a code. Applied or refused, it
//! is in the journal, and its id is remembered; one that is too early or reuses an id is a dead letter only.
//!
//! Each command has a file: what it touches, whom it concerns, what it refuses, what it does. It checks everything before
//! it changes anything, so that a refused record leaves nothing behind. Scopes that it touches are evaluated after it, and
//! then those that it concerns, page by page.

mod adjust;
mod approve;
mod checks;
mod consent;
mod decline;
mod grant;
mod pause;
mod refuse_reload;
mod register_agent;
mod register_workspace;
mod remove_auto_reload;
mod remove_limit;
mod remove_pool;
mod request;
mod resume;
mod set_agent_creation;
mod set_auto_reload;
mod set_consent;
mod set_extra_usage;
mod set_free_phase;
mod set_limit;
mod set_member;
mod set_mode;
mod set_organization;
mod set_plan;
mod set_pool;
mod set_rate_card;
mod set_requests;
mod set_reserved;
mod set_seat_type;
mod set_source;
mod set_unit;
mod void_grant;

use super::{
    account::{
        Account, Moment, Outcome, Policy,
        changes::Needs,
        row::ScopeRow,
        rulebook::Rulebook,
        scopes::ScopeIndex,
        seen::Sighting,
        sweep::{Concern, Found, Stage, Sweep},
    },
    answer::{Answer, Applied, Refused},
    control::{Command, ControlRecord},
    decision::{Decision, Trigger},
    due::{self, Progress, look},
    organization::Reserved,
    reason::Reason,
    scope::Scope,
    signal::{JournalEntry, Refusal, Signal},
    time::Timestamp,
};
use crate::mutation::is_broken;

/// Where a record stands in the log: topic, partition, offset.
pub type Position<'a> = (&'a str, i32, i64);

/// One command.
pub trait Handle {
    /// The scopes that it changes: their rows are loaded before, and they are evaluated after it.
    fn touches(&self, _rules: &Rulebook) -> Vec<Scope> {
        Vec::new()
    }

    /// Further scopes whose rows it reads or counts in.
    fn reads(&self, _record: &ControlRecord) -> Vec<Scope> {
        Vec::new()
    }

    /// The event time whose windows it reads or changes, if they may be older than those that rows keep.
    fn event_time(&self) -> Option<Timestamp> {
        None
    }

    /// Whom it concerns beyond the scopes that it touches.
    fn concerns(&self, rules: &Rulebook) -> Concern;

    /// Does it.
    ///
    /// # Errors
    /// [`Refused`], with nothing changed.
    fn apply(&self, decision: &mut Decision<'_>) -> Answer;
}

/// The command of a record; `None` for a due record, which goes its own way.
fn handler(command: &Command) -> Option<&dyn Handle> {
    Some(match command {
        Command::SetOrganization(command) => command,
        Command::SetUnit(command) => command,
        Command::SetPlan(command) => command,
        Command::SetRateCard(command) => command,
        Command::SetMode(command) => command,
        Command::SetSource(command) => command,
        Command::SetExtraUsage(command) => command,
        Command::SetConsent(command) => command,
        Command::Consent(command) => command,
        Command::SetFreePhase(command) => command,
        Command::SetLimit(command) => command,
        Command::RemoveLimit(command) => command,
        Command::SetPool(command) => command,
        Command::RemovePool(command) => command,
        Command::Grant(command) => command,
        Command::VoidGrant(command) => command,
        Command::SetAutoReload(command) => command,
        Command::RemoveAutoReload(command) => command,
        Command::RefuseReload(command) => command,
        Command::SetSeatType(command) => command,
        Command::SetMember(command) => command,
        Command::SetAgentCreation(command) => command,
        Command::SetReserved(command) => command,
        Command::RegisterWorkspace(command) => command,
        Command::RegisterAgent(command) => command,
        Command::SetRequests(command) => command,
        Command::Request(command) => command,
        Command::Approve(command) => command,
        Command::Decline(command) => command,
        Command::Adjust(command) => command,
        Command::Pause(command) => command,
        Command::Resume(command) => command,
        Command::Due(_) => return None,
    })
}

/// Whether what is decided is a record that everyone is held to on its way.
pub fn concerns_everyone(decision: &Decision<'_>) -> bool {
    let Trigger::Control(record) = decision.trigger else { return false };
    handler(&record.command).is_some_and(|handler| handler.concerns(decision.rules) == Concern::Everyone)
}

impl Account {
    /// Asks for what is missing to decide `record`. To be called again after a load, until nothing is missing.
    pub fn needs_for_control(&mut self, record: &ControlRecord, needs: &mut Needs) {
        self.need_base(needs);
        if !self.is_loaded() {
            return;
        }
        self.ids().need_segment(record.time, needs);
        let is_sweeping = self.agenda().is_sweeping(record.fingerprint().0);
        if let Some(handler) = handler(&record.command) {
            let touched = handler.touches(self.parts().rules);
            for scope in touched.iter().chain(&handler.reads(record)) {
                let index = self.parts().book.index(scope);
                self.need_scope(index, needs);
                self.need_recent_days(index, needs);
            }
            if let Some(event_time) = handler.event_time() {
                let charged = charged_to(self, &touched);
                self.need_older_windows(event_time, charged, needs);
                self.need_owners_who_paid(event_time, charged, needs);
            }
            if is_sweeping && self.agenda().sweep.is_none() {
                // A crash between two pages: the change is made, and its way through the scopes begins anew.
                let concern = handler.concerns(self.parts().rules);
                self.agenda_mut().sweep = Sweep::through(concern);
            }
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
        let outcome = self.decide_control_once(record, position, moment, policy);
        let is_due = matches!(record.command, Command::Due(_));
        if is_due && matches!(outcome, Outcome::DeadLetter(Reason::TooEarly { .. })) {
            // Its entry in the index is gone, and what is due still is.
            let due = self.due();
            self.agenda_mut().due_next(due);
        }
        if outcome != Outcome::Continue {
            // Drop the sweep on every outcome, so that the next record does not inherit it.
            self.agenda_mut().sweep = None;
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
        let fingerprint = id.fingerprint.0;
        let is_sweeping = self.agenda().is_sweeping(fingerprint);
        let is_due = matches!(record.command, Command::Due(_));
        match self.ids().look_up(record.time, id) {
            Sighting::Fresh => {}
            // Its change is made, and it is still on its way through the scopes that it concerns.
            Sighting::Duplicate if is_sweeping => {}
            Sighting::Duplicate => {
                if is_due {
                    // What is due still needs a record of its own.
                    self.agenda_mut().renew_due();
                }
                return Outcome::Duplicate;
            }
            Sighting::Reused => return Outcome::DeadLetter(Reason::IdReused),
        }
        let (event_time, record_time) = (record.time, moment.record_time);
        if event_time > record_time.plus_ms(policy.early_ms) {
            // Its id could not be remembered at the right place, so it is refused before anything is written.
            return Outcome::DeadLetter(Reason::TooEarly { event_time, record_time });
        }
        if !is_due && event_time < record_time.plus_ms(-policy.horizon_ms) {
            // Older than ids are remembered: it cannot be told from a resend, and would be done twice.
            return Outcome::DeadLetter(Reason::TooLate { event_time, record_time });
        }
        if !is_due && self.ids().has_forgotten(event_time) {
            return Outcome::Overtaken;
        }
        let trigger = match record.command {
            Command::Due(at) => Trigger::Due(at),
            _ => Trigger::Control(record),
        };
        let mut decision = self.decision(trigger, moment, policy);
        let answer = match obey(&mut decision, record, is_sweeping) {
            Ok((Progress::More, _)) => {
                // The id goes with the change, in the first commit.
                if !is_due && !is_sweeping {
                    decision.agenda.begin_sweeping(fingerprint);
                    self.ids_mut().remember(event_time, Some(id), policy.horizon_ms);
                }
                return Outcome::Continue;
            }
            Ok((Progress::Done, applied)) => Ok(applied),
            Err(refused) => Err(refused),
        };
        journal(&mut decision, record, position, &answer);
        if is_sweeping {
            decision.agenda.end_sweeping(fingerprint);
        } else {
            self.ids_mut().remember(event_time, Some(id), policy.horizon_ms);
        }
        match answer {
            Ok(_) => Outcome::Applied,
            Err(refused) => Outcome::DeadLetter(Reason::Refused(Box::new(refused))),
        }
    }
}

/// What an adjustment of these scopes is charged to.
fn charged_to(account: &mut Account, touched: &[Scope]) -> super::account::scopes::ChargedScopes {
    let book = account.parts().book;
    let mut of =
        |is_meant: fn(&Scope) -> bool| touched.iter().find(|scope| is_meant(scope)).map(|scope| book.index(scope));
    super::account::scopes::ChargedScopes::of(
        of(|scope| matches!(scope, Scope::Workspace(_))),
        of(|scope| matches!(scope, Scope::Agent { .. })),
        of(|scope| matches!(scope, Scope::User(_))),
    )
}

/// Does a record, or the next page of it.
fn obey(
    decision: &mut Decision<'_>,
    record: &ControlRecord,
    is_sweeping: bool,
) -> Result<(Progress, Vec<Applied>), Refused> {
    let Some(handler) = handler(&record.command) else {
        let Command::Due(at) = record.command else { unreachable!("every other command has a handler") };
        if decision.agenda.sweep.is_none() {
            due::begin(decision, at);
            return Ok((Progress::More, Vec::new()));
        }
        return Ok((due::serve(decision, at), Vec::new()));
    };
    if is_sweeping {
        return Ok(sweep(decision));
    }
    let touched = handler.touches(decision.rules);
    check_reserved(decision, record)?;
    let applied = handler.apply(decision)?;
    for scope in touched {
        let index = decision.book.index(&scope);
        // Whom an adjustment names is known by the time of the usage.
        let is_adjusted = matches!(record.command, Command::Adjust(_));
        let is_looked_at = !is_adjusted || decision.view().is_held(index, decision.now());
        if is_looked_at && !is_broken("look after", record.command.name()) {
            look::look(decision, index);
        }
        if !is_adjusted {
            note_named(decision, index);
        }
    }
    // Its way through the scopes begins when what they follow is as it is now: the next page is loaded by that.
    match Sweep::through(handler.concerns(decision.rules)) {
        Some(sweep) if !is_broken("sweep after", record.command.name()) => {
            decision.agenda.sweep = Some(Sweep { answer: applied, ..sweep });
            Ok((Progress::More, Vec::new()))
        }
        _ => Ok((Progress::Done, applied)),
    }
}

/// Refuses others than owners what the owners keep for themselves: the API asks before it sends, and a `set_reserved` may
/// have come meanwhile.
fn check_reserved(decision: &Decision<'_>, record: &ControlRecord) -> Result<(), Refused> {
    let control = match record.command {
        Command::SetPool(_) | Command::RemovePool(_) => Reserved::Pool,
        Command::Grant(_)
        | Command::VoidGrant(_)
        | Command::SetAutoReload(_)
        | Command::RemoveAutoReload(_)
        | Command::RefuseReload(_) => Reserved::Buying,
        Command::SetAgentCreation(_) => Reserved::AgentCreation,
        _ => return Ok(()),
    };
    if record.by_owner || !decision.rules.reserved.contains(&control) {
        return Ok(());
    }
    Err(Refused::Reserved { control: control.name().into() })
}

/// Looks at a page of those that a change concerns.
fn sweep(decision: &mut Decision<'_>) -> (Progress, Vec<Applied>) {
    let sweep = decision.agenda.sweep.take().expect("the page was loaded before the record is decided");
    match (sweep.stage, sweep.found) {
        (Stage::Looking(page), Some(Found::Scopes(scopes, _))) => {
            look::look_at_page(decision, page, &scopes);
        }
        (Stage::Everyone(_), Some(Found::Walked(scopes, next))) => {
            look::look_at_walked(decision, &scopes);
            let next = next.map(|next| Sweep::new(Stage::Everyone(look::page_after(Some(next)))));
            decision.agenda.sweep = next;
        }
        (stage, found) => unreachable!("a page of {stage:?} is not {found:?}"),
    }
    match &mut decision.agenda.sweep {
        None => (Progress::Done, sweep.answer),
        Some(next) => {
            next.answer = sweep.answer;
            (Progress::More, Vec::new())
        }
    }
}

/// Notes that a command named an agent or a user: it is known in this period and the next. The workspace of an agent is
/// named with it, and known from then on.
fn note_named(decision: &mut Decision<'_>, index: ScopeIndex) {
    let start = decision.rules.period(decision.at.record_time).start;
    let is_one = decision.book.slot(index).scope.is_agent_or_user();
    if is_one && decision.book.row(index).named < Some(start) {
        decision.book.row_mut(index).named = Some(start);
    }
    let workspace = decision.book.workspace_of(index);
    if let Some(workspace) = workspace.filter(|workspace| *decision.book.row(*workspace) == ScopeRow::default()) {
        decision.book.row_mut(workspace).named = Some(start);
        look::look(decision, workspace);
    }
}

/// Writes the audit trail.
fn journal(decision: &mut Decision<'_>, record: &ControlRecord, position: Position<'_>, answer: &Answer) {
    let time = record.time.ms().to_string();
    let identity = |kind| decision.out.identity(&[kind, &record.source, &record.id, &time]);
    let (journal, refusal) = (identity("journal"), identity("refusal"));
    let record_time = decision.at.record_time;
    decision.out.emit(Signal::Journal(JournalEntry {
        identity: journal,
        record_id: record.id.clone(),
        record_source: record.source.clone(),
        time: record.time,
        actor: record.actor.clone(),
        reason: record.reason.clone(),
        command_json: record.command_json.clone(),
        refused: answer.as_ref().err().cloned(),
        applied: answer.as_ref().ok().cloned().unwrap_or_default(),
        record_time,
    }));
    if let Err(why) = answer {
        let (topic, partition, offset) = position;
        decision.out.emit(Signal::Refusal(Refusal {
            identity: refusal,
            why: why.clone(),
            position: (topic.into(), partition, offset),
            command_json: record.command_json.clone(),
            record_time,
        }));
    }
}
