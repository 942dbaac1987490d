//! Refunds: who gets it back, and what goes down (row C7). A refund gives back in reverse order of sources, to the very pool,
//! balance and seat that paid; and it lowers each window that contains it by at most what that window has.

use super::{
    account::{
        row::ScopeRow,
        scopes::{ChargedScopes, ORGANIZATION, ScopeIndex},
        windows::Place,
    },
    answer::{RefundOwner, Refused},
    decision::Decision,
    meter::{Counters, Meter},
    scope::{Name, Scope},
    time::Timestamp,
    usage::check::remember_told,
    window::{Window, WindowKind},
};

/// The sources of payment in the order in which a refund gives back.
const GIVE_BACK: [Meter; 6] = [
    Meter::FreeCreditsMicro,
    Meter::UncoveredCreditsMicro,
    Meter::PostpaidCreditsMicro,
    Meter::PrepaidCreditsMicro,
    Meter::PoolCreditsMicro,
    Meter::SeatCreditsMicro,
];

/// What a refund gives back, to whom.
#[derive(Debug, Default)]
pub struct Refund {
    amount_micro: i64,
    uncovered_micro: i64,
    postpaid_micro: i64,
    seat_micro: i64,
    /// To pools and balances, by owner: what the pool gets, what the balance gets.
    owners: Vec<(ScopeIndex, i64, i64)>,
}

impl Refund {
    /// Writes it into what is counted, below zero.
    pub fn write_to(&self, counts: &mut Counters) {
        let sum = |of: fn(&(ScopeIndex, i64, i64)) -> i64| self.owners.iter().map(of).sum::<i64>();
        counts.set(Meter::CreditsMicro, -self.amount_micro);
        counts.set(Meter::AdjustedCreditsMicro, -self.amount_micro);
        counts.set(Meter::UncoveredCreditsMicro, -self.uncovered_micro);
        counts.set(Meter::PostpaidCreditsMicro, -self.postpaid_micro);
        counts.set(Meter::SeatCreditsMicro, -self.seat_micro);
        counts.set(Meter::PoolCreditsMicro, -sum(|owner| owner.1));
        counts.set(Meter::PrepaidCreditsMicro, -sum(|owner| owner.2));
    }
}

/// Who gets a refund back: from each source at most what it paid in the period for every scope named.
///
/// # Errors
/// [`Refused::RefundExceedsPaid`]; [`Refused::RefundOwnerUnclear`] where no workspace is named and more than one owner could
/// get it back.
pub fn plan(
    decision: &mut Decision<'_>,
    charged: ChargedScopes,
    period: Window,
    amount_micro: i64,
) -> Result<Refund, Refused> {
    let mut owners = owners(decision, charged, period);
    let paid = |meter: Meter| {
        let of = |index: &ScopeIndex| decision.book.count_of(*index, WindowKind::Period, period, meter);
        charged.as_slice().iter().map(of).min().unwrap_or(0).max(0)
    };
    let mut refund = Refund { amount_micro, ..Refund::default() };
    let (mut rest, mut is_unclear) = (amount_micro, false);
    for meter in GIVE_BACK {
        let most = rest.min(paid(meter));
        let part = match meter {
            Meter::PrepaidCreditsMicro | Meter::PoolCreditsMicro => {
                is_unclear |= most > 0 && charged.workspace.is_none() && owners.len() > 1;
                give_to(&mut owners, &mut refund, meter, most)
            }
            _ => most,
        };
        match meter {
            Meter::UncoveredCreditsMicro => refund.uncovered_micro = part,
            Meter::PostpaidCreditsMicro => refund.postpaid_micro = part,
            Meter::SeatCreditsMicro => refund.seat_micro = part,
            // What nobody was charged for is given back to nobody.
            _ => {}
        }
        rest -= part;
    }
    if rest > 0 {
        return Err(Refused::RefundExceedsPaid { asked_micro: amount_micro, paid_micro: amount_micro - rest });
    }
    if is_unclear {
        return Err(unclear(decision, charged, &owners));
    }
    Ok(refund)
}

/// An owner of a pool and a balance, with what they paid for every scope named.
struct Owner {
    index: ScopeIndex,
    pool_micro: i64,
    prepaid_micro: i64,
}

/// The owners that paid in the period for the user and the workspace named, the one that paid last first.
fn owners(decision: &mut Decision<'_>, charged: ChargedScopes, period: Window) -> Vec<Owner> {
    let rows: Vec<ScopeIndex> = [Some(ORGANIZATION), charged.workspace, charged.user].into_iter().flatten().collect();
    let narrowest = charged.workspace.or(charged.user).unwrap_or(ORGANIZATION);
    let paid_by = decision.view().paid_by_workspaces(narrowest, period);
    let names: Vec<Name> =
        paid_by.iter().filter(|paid| paid.start == period.start).map(|paid| paid.owner.clone()).collect();
    let mut all = vec![ORGANIZATION];
    all.extend(names.into_iter().map(|name| decision.book.index(&Scope::Workspace(name))));
    // Who pays now, and paid then, was the last to pay.
    let last = decision.view().owner_of_nearest_pool(charged, period);
    all.sort_by_key(|owner| Some(*owner) != last);
    let view = decision.view();
    let owner = |index: ScopeIndex| {
        let paid = |row: &ScopeIndex| view.paid(*row, index, period);
        let least =
            |of: fn(&super::account::row::PaidBy) -> i64| rows.iter().map(|row| of(&paid(row))).min().unwrap_or(0);
        let (pool_micro, prepaid_micro) =
            (least(|paid| paid.pool_micro).max(0), least(|paid| paid.prepaid_micro).max(0));
        Owner { index, pool_micro, prepaid_micro }
    };
    all.into_iter().map(owner).filter(|owner| owner.pool_micro > 0 || owner.prepaid_micro > 0).collect()
}

/// Gives pools or balances back what they paid, in the order of owners.
fn give_to(owners: &mut [Owner], refund: &mut Refund, meter: Meter, most: i64) -> i64 {
    let mut rest = most;
    for owner in owners {
        let is_pool = meter == Meter::PoolCreditsMicro;
        let part = rest.min(if is_pool { owner.pool_micro } else { owner.prepaid_micro });
        rest -= part;
        if part == 0 {
            continue;
        }
        let known = refund.owners.iter().position(|(index, ..)| *index == owner.index).unwrap_or_else(|| {
            refund.owners.push((owner.index, 0, 0));
            refund.owners.len() - 1
        });
        let (_, pool_micro, prepaid_micro) = &mut refund.owners[known];
        *(if is_pool { pool_micro } else { prepaid_micro }) += part;
    }
    most - rest
}

/// Each owner with a workspace to name: its own; for the organization one in which the user was seen, that has no pool.
fn unclear(decision: &Decision<'_>, charged: ChargedScopes, owners: &[Owner]) -> Refused {
    let has_pool = |name: &Name| {
        let known = decision.book.known_workspace(name).filter(|index| decision.book.is_loaded(*index));
        known.is_some_and(|index| decision.book.pool(index).is_some())
    };
    let used_in = charged.user.map(|user| &decision.book.row(user).used_in[..]).unwrap_or_default();
    let of_organization = || used_in.iter().rev().map(|used| &used.workspace).find(|name| !has_pool(name));
    let owners = owners.iter().map(|owner| {
        let scope = decision.book.slot(owner.index).scope.clone();
        let workspace_id = match &scope {
            Scope::Workspace(name) => Some(name.clone()),
            _ => of_organization().filter(|name| !name.is_empty()).cloned(),
        };
        RefundOwner { owner: scope, workspace_id }
    });
    Refused::RefundOwnerUnclear { owners: owners.collect() }
}

/// Gives back to pools and balances. Returns how much of it nobody has.
pub fn give_back(decision: &mut Decision<'_>, refund: &Refund, period: Window) -> i64 {
    let now = decision.at.clock;
    let mut lost = 0;
    for (owner, pool_micro, prepaid_micro) in &refund.owners {
        let is_removed =
            !decision.book.is_loaded(*owner) || decision.book.pool(*owner).is_none_or(|pool| pool.since > period.start);
        if is_removed {
            lost += pool_micro + prepaid_micro;
            continue;
        }
        let pool = decision.book.pool_mut(*owner);
        lost += pool.give_back(period, *pool_micro, now);
        lost += pool.give_back_prepaid(*prepaid_micro, now);
    }
    lost
}

/// Lowers what was counted at `event_time` in every scope named. `taken` is below zero. In the period the parts go to whom
/// they were given back; in the other windows in the order of refunds, within what the window has of each.
pub fn lower(
    decision: &mut Decision<'_>,
    charged: ChargedScopes,
    event_time: Timestamp,
    taken: &Counters,
    refund: Option<&Refund>,
) {
    for index in charged.as_slice() {
        remember_told(decision, *index, |_, window| window.contains(event_time));
        for (kind, window) in windows_of(decision, *index, event_time) {
            let had = decision.book.counted(*index, kind, window);
            let left = if kind == WindowKind::Period { exactly(&had, taken) } else { at_most(&had, taken) };
            set(decision, *index, kind, window, left);
            note_ran(decision, *index, kind, window, &had, &left);
        }
        if let Some(refund) = refund {
            lower_paid_by(decision, *index, event_time, refund);
            lower_before_seat(decision, *index, event_time, taken);
        }
    }
}

/// The windows of a scope that are kept and contain `event_time`.
fn windows_of(decision: &Decision<'_>, index: ScopeIndex, event_time: Timestamp) -> Vec<(WindowKind, Window)> {
    let row = decision.book.row(index);
    let calendar = [WindowKind::Hour, WindowKind::Day, WindowKind::Week, WindowKind::Period];
    let calendar = calendar.into_iter().map(|kind| (kind, decision.rules.window(kind, event_time)));
    let session = row.windows.starts(WindowKind::Session);
    let session = session.map(|start| (WindowKind::Session, decision.rules.window_from(WindowKind::Session, start)));
    let is_kept = |(kind, window): &(WindowKind, Window)| {
        window.contains(event_time)
            && match row.windows.place(*kind, window.start) {
                Place::Row(_) => true,
                Place::Older => *kind != WindowKind::Week,
                Place::New => false,
            }
    };
    calendar.chain(session).filter(is_kept).collect()
}

fn exactly(had: &Counters, taken: &Counters) -> Counters {
    let mut left = *had;
    left.add(taken);
    left
}

/// What a window has left: each count goes down by at most what there is, and the parts sum to the credits.
fn at_most(had: &Counters, taken: &Counters) -> Counters {
    let mut left = *had;
    for meter in &Meter::ALL[..Meter::STORED] {
        let is_credits =
            Meter::SOURCES.contains(meter) || matches!(meter, Meter::CreditsMicro | Meter::AdjustedCreditsMicro);
        if !is_credits && taken.get(*meter) < 0 {
            left.set(*meter, (had.get(*meter) + taken.get(*meter)).max(had.get(*meter).min(0)));
        }
    }
    let credits_micro = (-taken.get(Meter::CreditsMicro)).min(had.get(Meter::CreditsMicro)).max(0);
    let mut rest = credits_micro;
    for meter in GIVE_BACK {
        let part = rest.min(had.get(meter)).max(0);
        rest -= part;
        if meter != Meter::FreeCreditsMicro {
            left.set(meter, had.get(meter) - part);
        }
    }
    left.set(Meter::CreditsMicro, had.get(Meter::CreditsMicro) - credits_micro);
    left.set(Meter::AdjustedCreditsMicro, had.get(Meter::AdjustedCreditsMicro) - credits_micro);
    left
}

fn set(decision: &mut Decision<'_>, index: ScopeIndex, kind: WindowKind, window: Window, left: Counters) {
    let mut page = decision.book.page(index);
    match page.row.windows.place(kind, window.start) {
        Place::Row(position) => page.row.windows.set(position, &left),
        Place::Older => page.older.get_mut(kind, window.start).counters = left,
        Place::New => unreachable!("only windows that are kept are lowered"),
    }
}

/// An agent of which a correction has taken every run was in action all the same (row A12).
fn note_ran(
    decision: &mut Decision<'_>,
    index: ScopeIndex,
    kind: WindowKind,
    window: Window,
    had: &Counters,
    left: &Counters,
) {
    let runs = [Meter::RunsStarted, Meter::RunsCompleted, Meter::RunsFailed, Meter::RunsCancelled];
    let has_run = |counts: &Counters| runs.iter().any(|meter| counts.get(*meter) != 0);
    let is_agent = matches!(decision.book.slot(index).scope, Scope::Agent { .. });
    if is_agent && has_run(had) && !has_run(left) {
        decision.book.row_mut(index).note_ran(kind, window.start);
    }
}

/// Lowers what pools and balances of workspaces paid for a scope.
fn lower_paid_by(decision: &mut Decision<'_>, index: ScopeIndex, event_time: Timestamp, refund: &Refund) {
    if matches!(decision.book.slot(index).scope, Scope::Agent { .. }) {
        return;
    }
    let start = decision.rules.period(event_time).start;
    for (owner, pool_micro, prepaid_micro) in refund.owners.iter().filter(|(owner, ..)| *owner != ORGANIZATION) {
        let name = decision.book.workspace_name(*owner);
        let mut page = decision.book.page(index);
        let is_older = page.row.windows.place(WindowKind::Period, start) == Place::Older;
        let mut breakdown = match is_older {
            true => page.older.get_mut(WindowKind::Period, start).detail.get_or_insert_default().breakdown(),
            false => page.row.breakdown(),
        };
        breakdown.add_paid_by(&name, start, -pool_micro, -prepaid_micro);
    }
}

/// For usage of before a seat began, what pool and uncovered got back no longer counts against it.
fn lower_before_seat(decision: &mut Decision<'_>, index: ScopeIndex, event_time: Timestamp, taken: &Counters) {
    let back = -(taken.get(Meter::PoolCreditsMicro) + taken.get(Meter::UncoveredCreditsMicro));
    let has_any = |row: &ScopeRow| row.member.as_ref().is_some_and(|member| !member.before_seat.is_empty());
    if back == 0 || !has_any(decision.book.row(index)) {
        return;
    }
    let rules = &decision.rules;
    let member = decision.book.row_mut(index).member.as_mut().expect("it was looked at above");
    for before in &mut member.before_seat {
        let window = rules.window_from(before.window, before.start);
        if event_time < before.began && window.contains(event_time) {
            before.amount_micro -= back.min(before.amount_micro);
        }
    }
}
