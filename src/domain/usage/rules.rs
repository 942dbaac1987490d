//! The rules that a scope follows: looked up once for each edit of them; and what is new in them, held against what the
//! scope used before.

use super::{
    check::{passed_of, revise_limit},
    seat::begin_allowances,
};
use crate::domain::{
    account::{
        row::ScopeRow,
        scopes::{Followed, ScopeIndex},
        windows::Place,
    },
    decision::Decision,
    limit::{Limit, Selector},
    meter::{Counters, Meter},
    scope::ScopeKind,
    time::Timestamp,
    window::{Window, WindowKind},
};

/// Looks up the rules that a scope follows, unless that was done since they last changed.
#[inline]
pub fn look_up_rules(decision: &mut Decision<'_>, index: ScopeIndex) {
    if decision.book.slot(index).followed.generation != decision.rules.generation() {
        look_up(decision, index);
    }
}

fn look_up(decision: &mut Decision<'_>, index: ScopeIndex) {
    let followed = followed(decision, index);
    let where_used = followed.where_used;
    decision.book.slot_mut(index).followed = followed;
    // What is not counted any more would be wrong if it were counted again.
    for (kind, used) in WindowKind::WHERE_USED.into_iter().zip(where_used) {
        // Sessions of before are kept: they are where they were if the mode has seats again.
        let is_stale = !used && kind != WindowKind::Session;
        if is_stale && decision.book.row(index).windows.starts(kind).next().is_some() {
            decision.book.row_mut(index).windows.drop_kind(kind);
        }
    }
    if decision.book.row(index).seat_type().is_some() {
        open_weeks(decision, index);
        begin_allowances(decision, index);
    }
}

fn followed(decision: &Decision<'_>, index: ScopeIndex) -> Followed {
    let (slot, row) = (decision.book.slot(index), decision.book.row(index));
    let (kind, seat_type) = (slot.scope.kind(), row.seat_type());
    let places = decision.rules.rule_places(kind, seat_type, &row.limits);
    let limits = || row.limits.iter().chain(decision.rules.rules_at(places));
    let mut limited = [false; WindowKind::ALL.len()];
    limits().for_each(|limit| limited[limit.window as usize] = true);
    let mode = decision.rules.payment().mode;
    // Sessions are kept for every user while the mode has seats.
    let has_sessions = kind == ScopeKind::User && mode.has_seats();
    limited[WindowKind::Session as usize] &= has_sessions;
    let seat = seat_type.and_then(|name| decision.rules.seat_type(name));
    let mut used = limited;
    seat.into_iter().flat_map(|seat| &seat.allowances).for_each(|allowance| used[allowance.window as usize] = true);
    used[WindowKind::Session as usize] = has_sessions;
    Followed {
        generation: decision.rules.generation(),
        places,
        where_used: WindowKind::WHERE_USED.map(|kind| used[kind as usize]),
        limited,
        has_spend_limit: limits().any(Limit::is_spend_limit),
    }
}

/// Holds a scope against the rules for many that changed since it was last held against them, so that a rule for 100,000
/// scopes is one write. What is used already is announced. Returns whether anything was new.
#[inline]
pub fn bring_up_to_date(decision: &mut Decision<'_>, index: ScopeIndex) -> bool {
    look_up_rules(decision, index);
    open_weeks(decision, index);
    let is_new = decision.book.row(index).rules_revision != decision.rules.rules_revision;
    if is_new {
        hold_against_rules(decision, index);
    }
    is_new
}

fn hold_against_rules(decision: &mut Decision<'_>, index: ScopeIndex) {
    let revision = decision.rules.rules_revision;
    // A workspace without a row was not known.
    let was_known = decision.book.slot(index).scope.kind() != ScopeKind::Workspace
        || *decision.book.row(index) != ScopeRow::default();
    let was_held = was_known && decision.view().is_held(index, decision.now());
    let since = std::mem::replace(&mut decision.book.row_mut(index).rules_revision, revision);
    if !was_held {
        // It used nothing that a rule could tell of.
        return;
    }
    let (kind, row) = (decision.book.slot(index).scope.kind(), decision.book.row(index));
    let rules = decision.rules.rules_with_selectors(kind, row.seat_type());
    let is_new = |(_, limit): &&(Selector, Limit)| limit.changed > since && !limit.yields_to(&row.limits);
    let new: Vec<(Selector, Limit)> = rules.filter(is_new).cloned().collect();
    for (selector, limit) in new {
        revise(decision, index, Some(&selector), &limit, since);
    }
}

/// Holds a limit against what its scope used before. What was announced of the same revision before counts as told.
pub fn revise(decision: &mut Decision<'_>, index: ScopeIndex, many: Option<&Selector>, limit: &Limit, since: u64) {
    let told = if limit.revision > since { 0 } else { passed_of(decision, index, limit, &limit.told_percent) };
    revise_limit(decision, index, many, limit, told);
}

/// Opens this week and the last of a scope, where weeks are counted and were not: as the sum of their days, which were
/// loaded.
#[inline]
pub fn open_weeks(decision: &mut Decision<'_>, index: ScopeIndex) {
    if decision.book.slot(index).followed.counts(WindowKind::Week) {
        let this = decision.rules.window(WindowKind::Week, decision.at.record_time);
        open_week(decision, index, this);
        let last = decision.rules.window(WindowKind::Week, this.start.plus_ms(-1));
        open_week(decision, index, last);
    }
}

fn open_week(decision: &mut Decision<'_>, index: ScopeIndex, week: Window) {
    if decision.book.row(index).windows.place(WindowKind::Week, week.start) != Place::New {
        return;
    }
    let mut sum = Counters::ZERO;
    for day in days_of(decision, week) {
        sum.add(&decision.book.counted(index, WindowKind::Day, day));
    }
    // These are counted once in an hour, a day and a period, and not in other windows.
    sum.set(Meter::ActiveAgents, 0);
    sum.set(Meter::Builders, 0);
    if sum != Counters::ZERO {
        decision.rules.open(WindowKind::Week, week);
        let windows = &mut decision.book.row_mut(index).windows;
        let (position, _) = windows.open(WindowKind::Week, week.start);
        windows.set(position, &sum);
    }
}

/// The local days that begin in a week.
pub fn days_of(decision: &Decision<'_>, week: Window) -> Vec<Window> {
    days_within(week, |time: Timestamp| decision.rules.window(WindowKind::Day, time))
}

/// The local days that begin within a window.
pub fn days_within(within: Window, day_at: impl Fn(Timestamp) -> Window) -> Vec<Window> {
    let mut days = Vec::new();
    let mut day = day_at(within.start);
    while day.start < within.end {
        if day.start >= within.start {
            days.push(day);
        }
        day = day_at(day.end);
    }
    days
}
