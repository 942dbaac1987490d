//! Corrections of usage (row C7): what is added is charged to the sources of payment, a refund gives back to them. What goes
//! down goes down in every window that contains it, and nowhere below zero.

use super::{Handle, checks::check_id, checks::check_range};
use crate::domain::{
    account::{
        rulebook::Rulebook,
        scopes::{ChargedScopes, ScopeIndex},
        sweep::Concern,
    },
    answer::{Answer, Applied, Part, Refused},
    control::Adjustment,
    decision::{Decision, Trigger},
    event::{EVENT_TIMES_MS, QUANTITY_MAX},
    meter::{Counters, Meter},
    rate_card::MICRO_MAX,
    refund::{Refund, give_back, lower, plan},
    scope::{Name, Scope},
    statement::correct_line,
    time::Timestamp,
    usage::{Charge, charge_scopes, count::Labels, never_ran, open_counted},
    window::{Counted, Window, WindowKind},
};
use crate::mutation::is_broken;

impl Handle for Adjustment {
    fn touches(&self, _: &Rulebook) -> Vec<Scope> {
        let named = |id: &Option<Box<str>>| id.as_deref().filter(|id| check_id("", id).is_ok()).map(Name::from);
        let (workspace, agent, user) = (named(&self.workspace_id), named(&self.agent_id), named(&self.user_id));
        let agent = agent.map(|agent| Scope::Agent { workspace: workspace.clone().unwrap_or_default(), agent });
        let all = [Some(Scope::Organization), workspace.map(Scope::Workspace), agent, user.map(Scope::User)];
        all.into_iter().flatten().collect()
    }

    fn event_time(&self) -> Option<Timestamp> {
        Some(self.event_time)
    }

    fn concerns(&self, rules: &Rulebook) -> Concern {
        // Where the owner pauses for all, a user may pause as soon as the owner runs again.
        if rules.payment().mode.has_seats() { Concern::Paused } else { Concern::Everyone }
    }

    fn apply(&self, decision: &mut Decision<'_>) -> Answer {
        self.check(decision)?;
        let charged = self.charged(decision);
        let (more, less) = self.parts();
        let period = decision.rules.period(self.event_time);
        self.check_less(decision, charged, &less)?;
        let each = decision.rules.peek_counted(self.event_time);
        for index in charged.as_slice() {
            if !decision.book.fits(*index, &each.each(), &more) && !is_broken("bound", "counter of a correction") {
                return Err(Refused::CountersFull { scope: decision.book.slot(*index).scope.clone() });
            }
        }
        let refund =
            if self.credits_micro < 0 { Some(plan(decision, charged, period, -self.credits_micro)?) } else { None };
        let windows = open_counted(decision, self.event_time);
        let mut applied = Vec::new();
        let (mut taken, mut added, mut adds_agent) = (Counters::ZERO, Counters::ZERO, false);
        if less != Counters::ZERO || refund.is_some() {
            let not_returned_micro = self.take_back(decision, charged, &windows, less, refund.as_ref(), &mut taken);
            let back = refund.map(|_| Applied::Refunded { parts: parts(&taken), not_returned_micro });
            applied.extend(back);
        }
        if more != Counters::ZERO {
            (added, adds_agent) = self.add(decision, charged, windows, more);
            let parts = parts(&added);
            applied.extend((!parts.is_empty()).then_some(Applied::Charged { parts }));
        }
        self.note_seen(decision, charged, windows.period.start);
        if decision.agenda.is_closed(windows.period) {
            taken.add(&added);
            self.correct(decision, charged, windows.period, taken, adds_agent);
        }
        Ok(applied)
    }
}

impl Adjustment {
    fn check(&self, decision: &Decision<'_>) -> Result<(), Refused> {
        check_id("reference", &self.reference)?;
        let ids = [("workspace_id", &self.workspace_id), ("agent_id", &self.agent_id), ("user_id", &self.user_id)];
        for (field, id) in ids {
            id.iter().try_for_each(|id| check_id(field, id))?;
        }
        let (event_time, record_time) = (self.event_time, decision.at.record_time);
        if !EVENT_TIMES_MS.contains(&event_time.ms()) {
            return Err(Refused::EventTimeOutOfRange { event_time });
        }
        if event_time > record_time {
            return Err(Refused::EventTimeNotPast { event_time, record_time });
        }
        check_range("credits_micro", self.credits_micro, -MICRO_MAX, MICRO_MAX)?;
        for meter in &Meter::ALL[..Meter::STORED] {
            check_range(meter.name(), self.counts.get(*meter), -QUANTITY_MAX, QUANTITY_MAX)?;
        }
        if self.credits_micro == 0 && self.counts == Counters::ZERO {
            return Err(Refused::AdjustmentChangesNothing);
        }
        Ok(())
    }

    fn charged(&self, decision: &mut Decision<'_>) -> ChargedScopes {
        let Self { workspace_id, agent_id, user_id, .. } = self;
        decision.book.charged_to(workspace_id.as_deref(), agent_id.as_deref(), user_id.as_deref())
    }

    /// What is added, and what is taken away, but for refunded credits.
    fn parts(&self) -> (Counters, Counters) {
        let (mut more, mut less) = (Counters::ZERO, Counters::ZERO);
        for meter in &Meter::ALL[..Meter::STORED] {
            let count = self.counts.get(*meter);
            more.set(*meter, count.max(0));
            less.set(*meter, count.min(0));
        }
        if self.credits_micro > 0 {
            more.set(Meter::CreditsMicro, self.credits_micro);
            more.set(Meter::AdjustedCreditsMicro, self.credits_micro);
        }
        (more, less)
    }

    /// No count of the period goes below zero.
    fn check_less(&self, decision: &Decision<'_>, charged: ChargedScopes, less: &Counters) -> Result<(), Refused> {
        let period = decision.rules.period(self.event_time);
        for index in charged.as_slice() {
            let counted = decision.book.counted(*index, WindowKind::Period, period);
            let is_below = |meter: &&Meter| counted.get(**meter).saturating_add(less.get(**meter)) < 0;
            let taken = Meter::ALL[..Meter::STORED].iter().filter(|meter| less.get(**meter) < 0);
            if let Some(meter) = taken.into_iter().find(is_below) {
                let scope = decision.book.slot(*index).scope.clone();
                return Err(Refused::CountBelowZero { scope, meter: *meter, counted: counted.get(*meter) });
            }
        }
        Ok(())
    }

    /// Charges what is added, as an event is. Returns what was counted, and whether the agent ran for the first time in the
    /// period.
    fn add(
        &self,
        decision: &mut Decision<'_>,
        charged: ChargedScopes,
        windows: Counted,
        more: Counters,
    ) -> (Counters, bool) {
        let runs = [Meter::RunsStarted, Meter::RunsCompleted, Meter::RunsFailed, Meter::RunsCancelled];
        let adds_run = runs.iter().any(|meter| more.get(*meter) > 0);
        let agent = charged.agent.filter(|_| adds_run);
        let first_runs = agent.map_or([false; 3], |agent| never_ran(decision, agent, &windows));
        let (event_time, labels, is_quiet) = (self.event_time, Labels::default(), self.credits_micro < 0);
        let charge = Charge { event_time, charged, counts: more, first_runs, labels, because: None, is_quiet };
        (charge_scopes(decision, windows, charge), first_runs[2])
    }

    /// Takes away what was counted too much, and gives back what was paid for it. Returns what of that nobody has.
    fn take_back(
        &self,
        decision: &mut Decision<'_>,
        charged: ChargedScopes,
        windows: &Counted,
        less: Counters,
        refund: Option<&Refund>,
        taken: &mut Counters,
    ) -> i64 {
        *taken = less;
        let mut not_returned_micro = 0;
        if let Some(refund) = refund {
            refund.write_to(taken);
            not_returned_micro = give_back(decision, refund, windows.period);
        }
        lower(decision, charged, self.event_time, taken, refund);
        not_returned_micro
    }

    /// Corrects the lines of a closed period.
    fn correct(
        &self,
        decision: &mut Decision<'_>,
        charged: ChargedScopes,
        period: Window,
        changed: Counters,
        adds_agent: bool,
    ) {
        let (cause, why) = because(decision, self);
        for index in charged.as_slice() {
            let mut delta = changed;
            if adds_agent && !decision.book.slot(*index).scope.is_agent_or_user() {
                delta.set(Meter::ActiveAgents, 1);
            }
            correct_line(decision, *index, period, delta, (&cause, &why));
        }
    }

    /// An agent or a user that an adjustment names is known in its period.
    fn note_seen(&self, decision: &mut Decision<'_>, charged: ChargedScopes, start: Timestamp) {
        let note = |decision: &mut Decision<'_>, index: ScopeIndex| {
            if decision.book.row(index).named < Some(start) {
                decision.book.row_mut(index).named = Some(start);
            }
        };
        [charged.agent, charged.user].into_iter().flatten().for_each(|index| note(decision, index));
    }
}

/// Tells the adjustment apart from every other, and says what it is.
fn because(decision: &Decision<'_>, adjustment: &Adjustment) -> (String, String) {
    let Trigger::Control(record) = decision.trigger else { return Default::default() };
    let cause = format!("{}/{}/{}", record.source, record.id, record.time.ms());
    (cause, format!("adjustment {}: {}", adjustment.reference, record.reason))
}

/// Who paid, or got back, how much.
fn parts(charge: &Counters) -> Vec<Part> {
    let sources = Meter::SOURCES.iter().filter(|meter| charge.get(**meter) != 0);
    sources.map(|meter| Part { source: *meter, micro: charge.get(*meter) }).collect()
}
