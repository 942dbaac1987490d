//! Who pauses when nobody can pay, and for what: the first thing that would have to change, on the narrowest scope whose
//! means they were.

use super::{
    Account, Moment, Policy,
    funding::{LimitPlace, Payer, Tightest},
    scopes::{ChargedScopes, ORGANIZATION, ScopeIndex},
};
use crate::domain::{
    pause::{Cause as PauseCause, CauseKind},
    payment::{Means, Source, Split, Switches},
    scope::ScopeKind,
    time::Timestamp,
    window::WindowKind,
};

/// What stands in the way of paying: who pauses for what.
pub(super) struct Want {
    pub(super) scope: ScopeIndex,
    pub(super) cause: PauseCause,
    pub(super) revision: u64,
}

impl Account {
    /// What a scope wants for money now.
    pub(super) fn money_wanted(&mut self, index: ScopeIndex, moment: Moment, policy: &Policy) -> Option<PauseCause> {
        let payer = self.payer_now(index, moment, policy).filter(|payer| payer.means.is_spent())?;
        let want = self.want(&payer, &payer.means, &Split::default())?;
        (want.scope == index).then_some(want.cause)
    }

    /// Who would pay for a charge to a scope now; `None` if nobody has to.
    pub(super) fn payer_now(&mut self, index: ScopeIndex, moment: Moment, policy: &Policy) -> Option<Payer> {
        let within = self.workspace_of(index).filter(|workspace| self.scopes.is_loaded(*workspace));
        let charged = match self.scopes.slot(index).scope.kind() {
            ScopeKind::Organization => ChargedScopes::of(None, None, None),
            ScopeKind::Workspace => ChargedScopes::of(Some(index), None, None),
            ScopeKind::Agent => ChargedScopes::of(within, Some(index), None),
            ScopeKind::User => ChargedScopes::of(within, None, Some(index)),
        };
        for index in charged.as_slice() {
            self.follow(*index);
        }
        // Pauses are of the present; but what the present is, usage must have been read up to.
        let now = moment.clock.min(moment.read_until).max(moment.record_time);
        let period = self.calendar.window(&self.settings.zones, WindowKind::Period, now);
        // Whatever it may be.
        self.payer(charged, i64::MAX, now, period, Moment { record_time: now, ..moment }, policy)
    }

    /// The workspace whose means a scope has to be held to, if it was named since the account came into memory.
    pub(super) fn workspace_of(&self, index: ScopeIndex) -> Option<ScopeIndex> {
        self.workspace_named_by(index).and_then(|workspace| self.scopes.known_workspace(&workspace))
    }

    /// What stands in the way: the first thing that would have to change, and whom it pauses; `None` if nobody does.
    pub(super) fn want(&self, payer: &Payer, left: &Means, split: &Split) -> Option<Want> {
        let own = payer.user.and_then(|user| self.scopes.row(user).member.as_ref());
        let switches = own.map(|member| &member.switches);
        let is_on = |source| payer.payment.is_on(source, switches);
        let is_off_for_user =
            |source| switches.is_some_and(|own| own.get(source) == Some(false)) && payer.payment.is_on(source, None);
        let extra_on = is_on(Source::Prepaid) || is_on(Source::Postpaid);
        let limit = payer.tightest.as_ref().filter(|_| left.extra_room_micro <= 0);
        let kind = if Source::ALL.into_iter().any(is_off_for_user) || (!extra_on && own_switch_is_off(switches)) {
            CauseKind::ExtraUsageOff
        } else if !extra_on {
            if payer.member.is_some() { CauseKind::SeatAllowance } else { CauseKind::Pool }
        } else if payer.consent_missing {
            CauseKind::Consent
        } else if limit.is_some() && (left.postpaid || left.prepaid_micro > 0) {
            CauseKind::SpendLimit
        } else {
            CauseKind::Pool
        };
        let limit = limit.filter(|_| kind == CauseKind::SpendLimit);
        // The pool has credits, but not for this user.
        let bounded = payer.user.is_some() && payer.pool_total_micro > split.pool_micro;
        let of_user = bounded || kind == CauseKind::ExtraUsageOff;
        let scope = self.who_wants(payer, of_user, limit)?;
        let seat_back = payer.seat.iter().flatten().filter(|(_, left_micro)| *left_micro <= split.seat_micro);
        let seat_end = seat_back.clone().map(|(window, _)| window.end).max();
        let ends = [seat_end, self.pool_returns(payer), limit.map(|limit| limit.window.end)];
        let seat_start = seat_back.map(|(window, _)| window.start).max();
        let window_start = limit.map(|limit| limit.window.start).or(seat_start).unwrap_or(payer.period.start);
        // Whatever is granted, allowed or given back makes one of them grow, and so another signal of the next want.
        let revision = payer.owner.map_or(0, |owner| self.pool(owner).revision) + self.settings.rules_revision;
        let cause = PauseCause {
            kind,
            limit_id: limit.map_or_else(Box::default, |limit| self.id_of(limit)),
            window_start: Some(window_start),
            ends_at: ends.into_iter().flatten().min(),
        };
        Some(Want { scope, cause, revision })
    }

    /// Whom a want of money pauses: the narrowest scope whose means they were.
    fn who_wants(&self, payer: &Payer, of_user: bool, limit: Option<&Tightest>) -> Option<ScopeIndex> {
        if payer.member.is_some() {
            return payer.member;
        }
        if payer.payment.mode.has_seats() {
            // Usage of nobody in an organization of members: its agent pauses, the others go on.
            let is_agent = self.scopes.slot(payer.narrowest).scope.kind() == ScopeKind::Agent;
            return Some(payer.narrowest).filter(|_| is_agent);
        }
        if of_user {
            return payer.user;
        }
        // Where workspaces have pools of their own, one without does not pause the others.
        let apart = payer.workspace.filter(|_| self.settings.workspace_pools > 0);
        let owner = payer.owner.filter(|owner| *owner != ORGANIZATION || apart.is_none());
        let pool = owner.or(apart).unwrap_or(ORGANIZATION);
        Some(limit.map_or(pool, |limit| self.narrower(limit.scope, pool)))
    }

    /// When the payer's pool has something again by itself: at the next period, if that includes anything.
    pub(super) fn pool_returns(&self, payer: &Payer) -> Option<Timestamp> {
        let owner = payer.owner?;
        (self.pool(owner).included_micro(payer.period.end) > 0).then_some(payer.period.end)
    }

    fn id_of(&self, tightest: &Tightest) -> Box<str> {
        match tightest.place {
            LimitPlace::Own(place) => self.scopes.row(tightest.scope).limits[place].id.clone(),
            LimitPlace::Rule(place) => self.settings.every[place].1.id.clone(),
        }
    }

    /// Of two scopes of one charge, the one that lies within the other.
    fn narrower(&self, a: ScopeIndex, b: ScopeIndex) -> ScopeIndex {
        let breadth = |index: ScopeIndex| match self.scopes.slot(index).scope.kind() {
            ScopeKind::Organization => 3,
            ScopeKind::Workspace => 2,
            ScopeKind::Agent => 1,
            ScopeKind::User => 0,
        };
        if breadth(a) <= breadth(b) { a } else { b }
    }
}

/// Whether a source that the organization has not switched on either is switched off for this very member.
fn own_switch_is_off(switches: Option<&Switches>) -> bool {
    let is_off = |source| switches.is_some_and(|own| own.get(source) == Some(false));
    is_off(Source::Prepaid) || is_off(Source::Postpaid)
}
