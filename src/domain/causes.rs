//! Why a scope is paused: the one place that says it (rows A18, B1, B4–B8, B14, C5).
//!
//! [`causes`] is a function of the account and of the clock alone. Whatever happens, each scope that it may concern is
//! evaluated by this function, and the difference to what is stored is announced ([`super::usage::follow`]). Nothing else
//! adds or clears a cause. Two causes are state, and only kept here: an admin's pause, and that of an agent of the free
//! phase, which is found once (docs/specification.md, "Pauses").

use super::{
    account::{
        row::ScopeRow,
        scopes::{ChargedScopes, ORGANIZATION, ScopeIndex},
    },
    funding::{Occasion, Payer, SpendLimit, View},
    limit::Limit,
    pause::{Cause, CauseKind},
    payment::Source,
    scope::{Name, Scope, ScopeKind},
    time::Timestamp,
    window::{Window, WindowKind},
};

/// Why a scope is paused, and when that may change by itself.
#[derive(Debug, Default, PartialEq, Eq)]
pub struct Causes {
    /// All that hold.
    pub all: Vec<Cause>,
    /// The earliest instant at which they may be others without anything happening.
    pub look_at: Option<Timestamp>,
}

impl Causes {
    fn look_at(&mut self, at: Timestamp) {
        self.look_at = Some(self.look_at.map_or(at, |known| known.min(at)));
    }
}

/// Why a scope is paused at `now`. Its own row has to be here, that of the organization, and those of the workspaces in
/// which it may have to pay: of an agent its own, of a user those of this and the last period.
pub fn causes(view: View<'_>, index: ScopeIndex, now: Timestamp) -> Causes {
    let mut causes = Causes::default();
    let row = view.book.row(index);
    let is_state = |cause: &&Cause| matches!(cause.kind, CauseKind::Admin | CauseKind::FreePhase);
    causes.all.extend(row.pauses.causes.iter().filter(is_state).cloned());
    add_limits(view, index, now, &mut causes);
    add_wants(view, index, now, &mut causes);
    causes
}

/// Limits whose cap is reached in the window that runs.
fn add_limits(view: View<'_>, index: ScopeIndex, now: Timestamp, causes: &mut Causes) {
    let row = view.book.row(index);
    for (many, limit) in view.limits_of(index).into_iter().filter(|(_, limit)| limit.pauses_by_count()) {
        if limit.window == WindowKind::Session && !view.rules.payment().mode.has_seats() {
            continue;
        }
        let cause = |window: Option<Window>| Cause {
            limit_id: limit.id.clone(),
            window_start: window.map(|window| window.start),
            ends_at: window.map(|window| window.end),
            selector: Some(view.selector(index, many)),
            ..Cause::of(CauseKind::Limit)
        };
        if limit.cap == Some(0) {
            causes.all.push(cause(None));
            continue;
        }
        for window in reached_windows(view, row, limit) {
            if window.contains(now) {
                causes.all.push(cause(Some(window)));
                causes.look_at(window.end);
            } else if window.start > now {
                causes.look_at(window.start);
            }
        }
    }
}

/// The windows of a row in which a limit's cap is reached.
fn reached_windows(view: View<'_>, row: &ScopeRow, limit: &Limit) -> Vec<Window> {
    let is_reached = |start: &Timestamp| {
        let used = row.windows.count_of(limit.window, *start, limit.meter);
        used.zip(limit.cap).is_some_and(|(used, cap)| used >= cap)
    };
    let reached = row.windows.starts(limit.window).filter(is_reached);
    reached.map(|start| view.rules.window_from(limit.window, start)).collect()
}

/// What a scope wants for money.
fn add_wants(view: View<'_>, index: ScopeIndex, now: Timestamp, causes: &mut Causes) {
    let wants = Wants { view, index, now };
    let before = causes.all.len();
    let has_seats = view.rules.payment().mode.has_seats();
    match (view.book.slot(index).scope.kind(), has_seats) {
        (ScopeKind::Organization | ScopeKind::Workspace, true) => {}
        (ScopeKind::User, true) => wants.of_member(causes),
        (ScopeKind::User, false) => wants.of_user(causes),
        (ScopeKind::Agent, _) => wants.of_agent(has_seats, causes),
        (ScopeKind::Organization, false) => wants.of_owner(None, causes),
        (ScopeKind::Workspace, false) => wants.of_owner(Some(index), causes),
    }
    if causes.all.len() > before {
        // At its end somebody may no longer be known in a place, or have been told apart from others by it.
        causes.look_at(view.rules.period(now).end);
    }
}

struct Wants<'a> {
    view: View<'a>,
    index: ScopeIndex,
    now: Timestamp,
}

impl Wants<'_> {
    /// A member pauses when nothing pays (modes with seats).
    fn of_member(&self, causes: &mut Causes) {
        let charged = ChargedScopes::of(None, None, Some(self.index));
        let sessions = self.view.book.row(self.index).windows.starts(WindowKind::Session);
        sessions.filter(|start| *start > self.now).for_each(|start| causes.look_at(start));
        if let Some(payer) = self.spent(charged) {
            let limits = self.without_room(charged, &payer);
            self.add(causes, &payer, self.kind(&payer, !limits.is_empty()), limits.first(), None);
        }
    }

    /// The owner of what pays pauses, unless a member's own switch helps: a workspace with a pool of its own; else the
    /// organization, if no workspace has one; else each workspace that has none.
    fn of_owner(&self, workspace: Option<ScopeIndex>, causes: &mut Causes) {
        let charged = ChargedScopes::of(workspace, None, None);
        let spent = self.spent_for_anybody(charged);
        let Some(payer) = spent.filter(|payer| !self.view.own_switch_helps(workspace, payer)) else { return };
        let shares_apart = self.view.rules.workspace_pools > 0;
        let owner = if shares_apart { workspace } else { Some(ORGANIZATION) };
        let limits = self.without_room(charged, &payer);
        // Each limit pauses the narrower of its own scope and the owner.
        let own =
            limits.iter().find(|limit| owner.is_some_and(|owner| self.narrower(limit.scope, owner) == self.index));
        let kind = self.kind(&payer, !limits.is_empty());
        if own.is_some() || (kind != CauseKind::SpendLimit && owner == Some(self.index)) {
            self.add(causes, &payer, kind, own, None);
        }
    }

    /// An agent pauses for its own limit on extra credits; and for want of money where users pause one by one, if some of
    /// its usage named none.
    fn of_agent(&self, has_seats: bool, causes: &mut Causes) {
        let workspace = self.view.book.workspace_of(self.index);
        let charged = ChargedScopes::of(workspace, Some(self.index), None);
        let Some(payer) = self.spent(charged) else { return };
        let limits = if has_seats { Vec::new() } else { self.without_room(charged, &payer) };
        if let Some(own) = limits.iter().find(|limit| limit.scope == self.index) {
            self.add(causes, &payer, CauseKind::SpendLimit, Some(own), None);
            return;
        }
        let apart = self.view.rules.workspace_pools > 0 && workspace.is_none();
        let shared = ChargedScopes::of(workspace, None, None);
        let one_by_one = has_seats
            || apart
            || self.spent_for_anybody(shared).is_some_and(|payer| self.view.own_switch_helps(workspace, &payer));
        if one_by_one && self.is_recent(self.view.book.row(self.index).unnamed) {
            // Which limit stands in the way is not told; it does until its window is over.
            self.without_room(charged, &payer).iter().for_each(|limit| causes.look_at(limit.window.end));
            self.add(causes, &payer, CauseKind::Pool, None, None);
        }
    }

    /// A user pauses where the owner goes on and something of the user's stands in the way (modes without seats).
    fn of_user(&self, causes: &mut Causes) {
        let apart = self.view.rules.workspace_pools > 0;
        let mut places = self.places();
        if !apart {
            if places.is_empty() {
                // Who was seen nowhere is held to what the organization has.
                places.push(Place::default());
            }
            // Which place it was is not told: it stops the user everywhere.
            let mut wants = places.iter().filter_map(|place| self.want_in(place.workspace));
            if let Some(want) = wants.next() {
                self.add(causes, &want.payer, want.kind, want.limit.as_ref(), None);
            }
            return;
        }
        let (named, none): (Vec<Place>, Vec<Place>) = places.into_iter().partition(|place| place.workspace.is_some());
        for place in &named {
            if let Some(want) = self.want_in(place.workspace) {
                self.add(causes, &want.payer, want.kind, want.limit.as_ref(), Some(&place.name));
            }
        }
        // Usage that names no workspace lives on the organization's pool.
        let charged = |workspace| ChargedScopes::of(workspace, None, Some(self.index));
        let is_paid = |place: &Place| self.spent(charged(place.workspace)).is_none();
        if let Some(payer) = none.first().and_then(|_| self.spent(charged(None))) {
            if named.iter().any(is_paid) {
                // Where something pays may no longer be one of the user's places then.
                causes.look_at(self.view.rules.period(self.now).end);
                return;
            }
            let limits = self.without_room(charged(None), &payer);
            self.add(causes, &payer, self.kind(&payer, !limits.is_empty()), limits.first(), None);
        }
    }

    /// Where the user was seen in this or the last period, the last place first.
    fn places(&self) -> Vec<Place> {
        let used_in =
            self.view.book.row(self.index).used_in.iter().rev().filter(|used| self.is_recent(Some(used.start)));
        let place = |name: &Name| Place { workspace: self.view.book.known_workspace(name), name: name.clone() };
        used_in.map(|used| place(&used.workspace)).collect()
    }

    /// What the user wants in one place, where others would go on there or members' own switches help.
    fn want_in(&self, workspace: Option<ScopeIndex>) -> Option<Want<'_>> {
        let charged = ChargedScopes::of(workspace, None, Some(self.index));
        let payer = self.spent(charged)?;
        let owner_pauses = self
            .spent_for_anybody(ChargedScopes::of(workspace, None, None))
            .is_some_and(|payer| !self.view.own_switch_helps(workspace, &payer));
        let mut limits = self.without_room(charged, &payer);
        let own_limit = limits.iter().position(|limit| limit.scope == self.index);
        if owner_pauses {
            // Each limit without room pauses its own scope, whatever else does.
            let own = limits.swap_remove(own_limit?);
            let kind = self.kind(&payer, true);
            return (kind == CauseKind::SpendLimit).then_some(Want { payer, kind, limit: Some(own) });
        }
        let kind = self.kind(&payer, !limits.is_empty());
        let limit = (!limits.is_empty()).then(|| limits.swap_remove(0));
        Some(Want { payer, kind, limit })
    }

    /// Who would pay, if that has nothing left.
    fn spent(&self, charged: ChargedScopes) -> Option<Payer> {
        self.view.payer_now(charged, self.now).filter(|payer| payer.means.is_spent())
    }

    /// Who would pay for anybody, if that has nothing left.
    fn spent_for_anybody(&self, charged: ChargedScopes) -> Option<Payer> {
        let now = Occasion::now(self.view.rules, self.now);
        self.view.payer_for_anybody(charged, now).filter(|payer| payer.means.is_spent())
    }

    /// The limits on extra credits without room that stand in the way of a source that has something, the narrowest first.
    fn without_room(&self, charged: ChargedScopes, payer: &Payer) -> Vec<SpendLimit<'_>> {
        if !payer.extra.is_there() {
            return Vec::new();
        }
        let mut limits = self.view.spend_limits(charged, payer.occasion);
        limits.retain(|limit| limit.room_micro == 0);
        limits
    }

    /// The one want: the least that would have to change.
    fn kind(&self, payer: &Payer, is_limited: bool) -> CauseKind {
        if payer.extra.is_there() && payer.consent_missing {
            return CauseKind::Consent;
        }
        if payer.extra.is_there() && is_limited {
            return CauseKind::SpendLimit;
        }
        if self.is_off_for_user(payer) {
            return CauseKind::ExtraUsageOff;
        }
        let own = self.view.book.row(self.index).member.as_deref().map(|member| &member.switches);
        let is_on = |source| payer.payment.is_on(source, own);
        if payer.member.is_none() || is_on(Source::Prepaid) || is_on(Source::Postpaid) {
            CauseKind::Pool
        } else {
            CauseKind::SeatAllowance
        }
    }

    /// Whether a source that could pay now is switched off for this user, and not for all.
    fn is_off_for_user(&self, payer: &Payer) -> bool {
        let Some(member) = self.view.book.row(self.index).member.as_deref() else { return false };
        let could_pay = |source: Source| match source {
            Source::Seat => self.view.has_seat_left(self.index, payer),
            Source::Pool => self.view.left_of_pool_for(self.index, payer) > 0,
            Source::Prepaid => payer.prepaid_total_micro > 0,
            Source::Postpaid => true,
        };
        let is_off = |source: &Source| {
            member.switches.get(*source) == Some(false) && payer.payment.is_on(*source, None) && could_pay(*source)
        };
        Source::ALL.iter().any(is_off)
    }

    fn add(
        &self,
        causes: &mut Causes,
        payer: &Payer,
        kind: CauseKind,
        limit: Option<&SpendLimit<'_>>,
        workspace: Option<&Name>,
    ) {
        let limit = limit.filter(|_| kind == CauseKind::SpendLimit);
        let window = limit.filter(|limit| limit.limit.cap != Some(0)).map(|limit| limit.window);
        let ends_at = self.ends_at(payer, window);
        causes.all.push(Cause {
            limit_id: limit.map_or_else(Box::default, |limit| limit.limit.id.clone()),
            window_start: window.map(|window| window.start),
            ends_at,
            selector: limit.map(|limit| self.view.selector(limit.scope, limit.many)),
            workspace_id: workspace.cloned(),
            ..Cause::of(kind)
        });
        ends_at.into_iter().for_each(|end| causes.look_at(end));
    }

    /// When something can pay again by itself: the seat comes back, the next period includes something, a limit's window
    /// is over.
    fn ends_at(&self, payer: &Payer, window: Option<Window>) -> Option<Timestamp> {
        let spent = payer.seat.iter().flatten().filter(|(_, left_micro)| *left_micro <= 0);
        let seat_end = spent.map(|(window, _)| window.end).max();
        let period_end = payer.occasion.period.end;
        let pool = payer.owner.and_then(|owner| self.view.book.pool(owner));
        let pool_end = pool.is_some_and(|pool| pool.included_micro(period_end) > 0).then_some(period_end);
        [seat_end, pool_end, window.map(|window| window.end)].into_iter().flatten().min()
    }

    /// Whether a period that begins at `start` is this or the last one.
    fn is_recent(&self, start: Option<Timestamp>) -> bool {
        start.is_some_and(|start| self.view.is_recent(start, self.now))
    }

    /// Of two scopes of one charge, the one that lies within the other.
    fn narrower(&self, a: ScopeIndex, b: ScopeIndex) -> ScopeIndex {
        let breadth = |index: ScopeIndex| match self.view.book.slot(index).scope {
            Scope::Organization => 3,
            Scope::Workspace(_) => 2,
            Scope::Agent { .. } => 1,
            Scope::User(_) => 0,
        };
        if breadth(a) <= breadth(b) { a } else { b }
    }
}

/// A place in which a user uses something: a workspace, or none.
#[derive(Default)]
struct Place {
    workspace: Option<ScopeIndex>,
    name: Name,
}

struct Want<'a> {
    payer: Payer,
    kind: CauseKind,
    limit: Option<SpendLimit<'a>>,
}
