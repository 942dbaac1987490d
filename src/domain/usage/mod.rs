//! Charges a usage event to its scopes: every counter or none (invariant U-2), limits after every event.
//!
//! [`price`] → [`fund`] → [`mod@count`] (with [`check`]) → [`mod@follow`], downwards only:
//!
//! 1. *price*: what the event counts, and what it costs.
//! 2. *fund*: who pays, in one split.
//! 3. *count*: every window of every scope; each limit is *checked* against the new count.
//! 4. *follow*: scopes whose causes may be others are evaluated by [`super::causes`], and the difference is announced.

pub mod check;
pub mod count;
pub mod follow;
pub mod fund;
pub mod overshoot;
pub mod price;
pub mod reload;
pub mod rules;
pub mod seat;
pub mod turn;

use self::{
    count::{Charging, Labels, count},
    follow::follow,
    fund::{Paid, pay},
    rules::look_up_rules,
};
use super::{
    account::{
        Account, Moment, Outcome, Policy,
        scopes::{ChargedScopes, ORGANIZATION, ScopeIndex},
    },
    decision::{Decision, Trigger},
    event::{Usage, UsageEvent},
    ids::EventId,
    meter::{Counters, Meter},
    reason::Reason,
    scope::Name,
    statement::correct,
    window::{Counted, Window},
};
use crate::mutation::is_broken;

/// An event, priced: what is charged, to whom, and because of what.
pub struct Charge<'a> {
    /// When it was used.
    pub event_time: super::time::Timestamp,
    /// The scopes.
    pub charged: ChargedScopes,
    /// What is counted, with its price.
    pub counts: Counters,
    /// For the hour, the day and the period, whether the agent runs for the first time in it.
    pub first_runs: [bool; Counted::KINDS.len()],
    /// The numbers by which use is broken down.
    pub labels: Labels,
    /// Tells the charge apart from every other, and says what it is; for corrections of closed periods. `None`: they are
    /// corrected elsewhere.
    pub because: Option<&'a dyn Fn() -> (String, String)>,
    /// It is part of a refund, which tells nothing and books nothing.
    pub is_quiet: bool,
}

impl Account {
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
        let (event_time, record_time) = (event.event_time, moment.record_time);
        if event_time > record_time.plus_ms(policy.early_ms) && !is_broken("bound", "early") {
            return Outcome::DeadLetter(Reason::TooEarly { event_time, record_time });
        }
        if event_time < record_time.plus_ms(-policy.horizon_ms) && !is_broken("bound", "late") {
            return Outcome::DeadLetter(Reason::TooLate { event_time, record_time });
        }
        if let Some(known) = id.and_then(|id| self.ids().look_for(event_time, id)) {
            return known;
        }
        let mut decision = self.decision(Trigger::Event(event.fingerprint()), moment, policy);
        if let Err(reason) = charge_event(&mut decision, event, charged) {
            return Outcome::DeadLetter(reason);
        }
        self.ids_mut().remember(event_time, id, policy.horizon_ms);
        Outcome::Applied
    }
}

fn charge_event(decision: &mut Decision<'_>, event: &UsageEvent<'_>, charged: ChargedScopes) -> Result<(), Reason> {
    let counts = price::price(decision.rules, event, decision.at.record_time, decision.policy)?;
    let windows = open_counted(decision, event.event_time);
    check_overflow(decision, charged, &windows, &counts)?;
    let moment = decision.at;
    let charge = Charge {
        event_time: event.event_time,
        charged,
        counts,
        first_runs: first_runs(decision, &event.usage, charged, &windows),
        labels: labels(decision, event),
        because: Some(&|| (format!("{:016x}", event.fingerprint().0), late_event(event, moment))),
        is_quiet: false,
    };
    charge_scopes(decision, windows, charge);
    Ok(())
}

/// The windows that every charge at `event_time` is counted in, remembered as opened.
pub fn open_counted(decision: &mut Decision<'_>, event_time: super::time::Timestamp) -> Counted {
    let opened_before = decision.rules.calendar().opened_periods();
    let windows = decision.rules.open_counted(event_time);
    if decision.rules.calendar().opened_periods() > opened_before {
        close_unused(decision, windows.period);
    }
    decision.agenda.close_in_time(windows.period, decision.policy.grace_ms);
    windows
}

/// A period that is over with its grace, and in which nothing was used until now, is closed too: what comes later corrects
/// it. Unless another one before it is still to be closed.
#[cold]
fn close_unused(decision: &mut Decision<'_>, period: Window) {
    let closes_at = period.end.plus_ms(decision.policy.grace_ms);
    let is_over = closes_at <= decision.at.clock.min(decision.at.settled());
    let mut open = decision.rules.calendar().periods_ending_after(decision.agenda.closed_until());
    if is_over && !open.any(|open| open.end < period.end) {
        decision.agenda.closed_all(period.end);
    }
}

/// Whether every counter takes the charge: those of the organization, of which mostly no scope holds more, and of each
/// scope that has come far.
fn check_overflow(
    decision: &Decision<'_>,
    charged: ChargedScopes,
    windows: &Counted,
    charge: &Counters,
) -> Result<(), Reason> {
    let each = windows.each();
    for index in charged.as_slice() {
        let may_overflow = *index == ORGANIZATION || decision.book.row(*index).windows.is_nearly_full();
        if may_overflow && !is_broken("bound", "counter") && !decision.book.fits(*index, &each, charge) {
            return Err(Reason::CounterOverflow(decision.book.slot(*index).scope.to_string()));
        }
    }
    Ok(())
}

/// Funds a charge, counts it, and draws the consequences. Returns what was counted, with who paid.
pub fn charge_scopes(decision: &mut Decision<'_>, windows: Counted, charge: Charge<'_>) -> Counters {
    let Charge { event_time, charged, mut counts, first_runs, labels, because, is_quiet } = charge;
    for index in charged.as_slice() {
        look_up_rules(decision, *index);
    }
    let nearest = decision.view().owner_of_nearest_pool(charged, windows.period);
    let turned = nearest.filter(|owner| turn::turn_if_due(decision, *owner));
    let occasion = decision.occasion(event_time, windows.period);
    let payer = decision.view().payer(charged, counts.get(Meter::CreditsMicro), occasion);
    let paid = payer.map(|payer| pay(decision.book, payer, &mut counts));
    let owner = paid.as_ref().and_then(|paid| paid.payer.owner).filter(|owner| *owner != ORGANIZATION);
    let charging = Charging {
        event_time,
        mask: counts.mask(),
        charge: counts,
        paid,
        windows,
        first_runs,
        labels,
        workspace: charged.workspace.map_or_else(Name::default, |index| decision.book.workspace_name(index)),
        is_unnamed: charged.user.is_none(),
        owner: owner.map(|owner| decision.book.workspace_name(owner)),
        is_quiet,
    };
    let to_follow = count(decision, charged, &charging);
    if let Some(because) = because.filter(|_| decision.agenda.is_closed(windows.period)) {
        correct(decision, charged, &charging, because);
    }
    draw_consequences(decision, charged, &charging, to_follow);
    if let Some(owner) = turned {
        // A reload that lapsed is asked for again, also where nobody had to pay.
        reload::ask(decision, owner, false);
    }
    charging.charge
}

/// Evaluates the scopes whose causes may be others; and all that live on what the charge used up.
fn draw_consequences(
    decision: &mut Decision<'_>,
    charged: ChargedScopes,
    charging: &Charging,
    mut to_follow: [bool; 4],
) {
    let is_late = charging.paid.as_ref().is_some_and(|paid| paid.payer.occasion.is_late);
    if let Some(paid) = &charging.paid {
        let left = paid.payer.means.after(&paid.split);
        let ran_out = ran_out(decision, charged, paid);
        if left.is_spent() || ran_out {
            to_follow = [true; 4];
        }
        let starts_at = charging.windows.period.start;
        if starts_at > decision.at.clock && !is_broken("look at all after", "usage ahead") {
            // What this period leaves is asked when it has begun, by the clock.
            decision.agenda.be_looked_at_all(starts_at);
        } else if ran_out && !is_broken("look at all after", "usage") {
            decision.look_at_all_now();
        }
    }
    for (index, _) in charged.as_slice().iter().zip(to_follow).filter(|(_, to_follow)| *to_follow) {
        // Whom an adjustment names of a period long over is not known by it.
        let is_known = !is_late || decision.view().is_held(*index, decision.now());
        if is_known && !is_broken("look after", "usage") {
            follow(decision, *index);
        }
    }
    if let Some(paid) = &charging.paid {
        if paid.split.uncovered_micro > 0 && !paid.payer.occasion.is_late {
            overshoot::book(decision, charged, paid);
        }
        if let Some(owner) = paid.payer.owner.filter(|_| !is_broken("ask after", "usage")) {
            reload::ask(decision, owner, true);
        }
    }
}

/// Whether a charge used up something on which others live: the pool, the balance, or what a limit of the workspace or the
/// organization leaves.
fn ran_out(decision: &Decision<'_>, charged: ChargedScopes, paid: &Paid) -> bool {
    let Paid { payer, split, .. } = paid;
    let used_up = |before: i64, part: i64| part > 0 && before <= part;
    let extra_micro = split.prepaid_micro.saturating_add(split.postpaid_micro);
    used_up(payer.pool_total_micro, split.pool_micro)
        || used_up(payer.prepaid_total_micro, split.prepaid_micro)
        || (used_up(payer.means.extra_room_micro, extra_micro) && {
            let limits = decision.view().spend_limits(charged, payer.occasion);
            let is_shared = |scope: ScopeIndex| Some(scope) != charged.user && Some(scope) != charged.agent;
            limits.iter().any(|limit| limit.room_micro == 0 && is_shared(limit.scope))
        })
}

/// For each window, whether this event is the first run of its agent in it (row A12).
fn first_runs(decision: &Decision<'_>, usage: &Usage<'_>, charged: ChargedScopes, windows: &Counted) -> [bool; 3] {
    match (usage, charged.agent) {
        (Usage::Run { .. }, Some(agent)) => never_ran(decision, agent, windows),
        _ => [false; 3],
    }
}

/// For each window, whether an agent was not in action in it so far.
pub fn never_ran(decision: &Decision<'_>, agent: ScopeIndex, windows: &Counted) -> [bool; 3] {
    windows.each().map(|(kind, window)| {
        let counters = decision.book.counted(agent, kind, window);
        let runs = [Meter::RunsStarted, Meter::RunsCompleted, Meter::RunsFailed, Meter::RunsCancelled];
        let has_run = runs.iter().any(|meter| counters.get(*meter) != 0);
        let ran = &decision.book.row(agent).ran;
        !has_run && !ran.iter().any(|(of, start)| of.0 == kind && *start == window.start)
    })
}

/// The numbers of product, trigger and model.
fn labels(decision: &mut Decision<'_>, event: &UsageEvent<'_>) -> Labels {
    let model = match event.usage {
        Usage::Tokens { request_model, .. } => Some(request_model),
        Usage::Run { .. } => None,
    };
    let named = |name: Option<&str>| name.filter(|name| !name.is_empty()).is_some();
    Labels {
        product: event.product.filter(|_| named(event.product)).map(|name| decision.rules.label(name)),
        trigger: event.trigger.filter(|_| named(event.trigger)).map(|name| decision.rules.label(name)),
        model: model.filter(|_| named(model)).map(|name| decision.rules.model(name)),
    }
}

/// What a late event is, for who reads a correction.
fn late_event(event: &UsageEvent<'_>, moment: Moment) -> String {
    let UsageEvent { id, source, event_time, .. } = event;
    format!("event {id} of {source}, used at {event_time} and recorded at {}", moment.record_time)
}
