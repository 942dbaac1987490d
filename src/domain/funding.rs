//! Who pays for a charge, and with what (rows A4, B1–B7, B13, B14, C9). It only reads: the charge itself is made by
//! [`crate::domain::usage`], and who pauses when nothing pays is said by [`crate::domain::causes`].
//!
//! A charge has a *payer*: the seat of its user, then the nearest pool and its prepaid balance, then billing afterwards.

use crate::domain::{
    account::{
        book::Book,
        row::{PaidBy, ScopeRow},
        rulebook::Rulebook,
        scopes::{ChargedScopes, ORGANIZATION, ScopeIndex},
    },
    limit::{Limit, Selector},
    meter::Meter,
    organization::Member,
    payment::{Means, Mode, Payment, Source},
    pool::Pool,
    scope::{Scope, ScopeKind},
    time::Timestamp,
    window::{Window, WindowKind},
};

/// A seat has at most one allowance per kind of window: session, week, period.
const ALLOWANCES_MAX: usize = 3;

/// An account as decisions read it.
#[derive(Clone, Copy)]
pub struct View<'a> {
    /// What holds for the whole organization.
    pub rules: &'a Rulebook,
    /// What is counted and set for each scope.
    pub book: &'a Book,
}

/// When something is paid for.
#[derive(Clone, Copy, Debug)]
pub struct Occasion {
    /// When it was used.
    pub event_time: Timestamp,
    /// The billing period of that.
    pub period: Window,
    /// When that was recorded.
    pub record_time: Timestamp,
    /// Whether the period was over for good by then.
    pub is_late: bool,
    /// Whether it is asked who would pay by the clock, for nothing that was used.
    pub is_asked: bool,
}

impl Occasion {
    /// What would be used and recorded now.
    pub fn now(rules: &Rulebook, now: Timestamp) -> Self {
        Self { event_time: now, period: rules.period(now), record_time: now, is_late: false, is_asked: true }
    }
}

/// Who pays for a charge, and with what.
pub struct Payer {
    /// How the organization pays.
    pub payment: Payment,
    /// The user, where members have sources of their own.
    pub member: Option<ScopeIndex>,
    /// The owner of the nearest pool.
    pub owner: Option<ScopeIndex>,
    /// When it is paid.
    pub occasion: Occasion,
    /// What each source can pay.
    pub means: Means,
    /// What the pool has, whomever it may pay for.
    pub pool_total_micro: i64,
    /// What the balance has, whomever it may pay for.
    pub prepaid_total_micro: i64,
    /// What prepaid and postpaid could pay for this charge if the user had agreed.
    pub extra: Extra,
    /// The user has not agreed to extra usage, and has to.
    pub consent_missing: bool,
    /// What is left of the seat's allowance, by window.
    pub seat: [Option<(Window, i64)>; ALLOWANCES_MAX],
}

/// What prepaid and postpaid could pay.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Extra {
    /// The balance, where prepaid is on.
    pub prepaid_micro: i64,
    /// Whether postpaid is on.
    pub postpaid: bool,
}

impl Extra {
    /// Whether one of them could pay.
    pub const fn is_there(self) -> bool {
        self.postpaid || self.prepaid_micro > 0
    }
}

/// A limit on extra credits that binds a charge.
pub struct SpendLimit<'a> {
    /// Whose it is.
    pub scope: ScopeIndex,
    /// How broad: user, seat type, agent, workspace, organization.
    pub breadth: u8,
    /// What it is set on; `None` is `scope` itself.
    pub many: Option<&'a Selector>,
    /// The limit.
    pub limit: &'a Limit,
    /// The window that bounds the charge.
    pub window: Window,
    /// What it leaves.
    pub room_micro: i64,
}

impl<'v> View<'v> {
    /// Who pays for `charge_micro` that is charged to these scopes; `None` if nobody has to.
    #[inline]
    pub fn payer(&self, charged: ChargedScopes, charge_micro: i64, occasion: Occasion) -> Option<Payer> {
        let Occasion { event_time, period, is_late, .. } = occasion;
        if self.rules.free_until.is_some_and(|until| event_time < until) {
            return None;
        }
        let payment = self.rules.payment();
        let owner = self.owner_of_nearest_pool(charged, period);
        if owner.is_none() && payment.mode == Mode::Credits {
            return None;
        }
        let user = charged.user;
        let own = user.and_then(|user| self.book.row(user).member.as_deref());
        let is_on = |source| payment.is_on(source, own.map(|member| &member.switches));
        let member = user.filter(|_| payment.mode.has_seats());
        let seat = member.filter(|_| is_on(Source::Seat)).map_or([None; 3], |member| self.seat_left(member, occasion));
        let seat_micro = seat.iter().flatten().map(|(_, left_micro)| *left_micro).min().unwrap_or(0).max(0);
        let mut means = Means { seat_micro, ..Means::default() };
        let pool = owner.and_then(|owner| self.book.row(owner).pool_of(period.start));
        let pool_total_micro = pool.map_or(0, |pool| pool.left_micro(period, event_time));
        let prepaid_total_micro = pool.filter(|_| !is_late).map_or(0, |pool| pool.prepaid_left_micro(event_time));
        if let Some((owner, pool)) = owner.zip(pool).filter(|_| is_on(Source::Pool)) {
            means.pool_micro = pool_total_micro.min(self.left_under_cap(user, owner, pool, period)).max(0);
        }
        let extra = Extra {
            prepaid_micro: if is_on(Source::Prepaid) { prepaid_total_micro } else { 0 },
            postpaid: is_on(Source::Postpaid),
        };
        let consent_missing = user.is_some() && payment.consent_required && !own.is_some_and(|member| member.consented);
        if !consent_missing {
            (means.prepaid_micro, means.postpaid) = (extra.prepaid_micro, extra.postpaid);
        }
        // Where seat and pool pay it all and something is left of them, limits on what comes after them say nothing.
        let is_covered = means.seat_micro.saturating_add(means.pool_micro) > charge_micro;
        means.extra_room_micro = if is_covered { i64::MAX } else { self.room_for_extra(charged, occasion) };
        Some(Payer {
            payment,
            member,
            owner,
            occasion,
            means,
            pool_total_micro,
            prepaid_total_micro,
            extra,
            consent_missing,
            seat,
        })
    }

    /// Who would pay for whatever is charged to these scopes now; `None` if nobody has to.
    pub fn payer_now(&self, charged: ChargedScopes, now: Timestamp) -> Option<Payer> {
        self.payer(charged, i64::MAX, Occasion::now(self.rules, now))
    }

    /// Who would pay in a place for a user without usage, switches or limits of their own who has agreed.
    pub fn payer_for_anybody(&self, charged: ChargedScopes, occasion: Occasion) -> Option<Payer> {
        let mut payer = self.payer(charged, i64::MAX, occasion)?;
        let pool = payer.owner.and_then(|owner| self.book.pool(owner));
        if let Some(cap_micro) = pool.and_then(|pool| pool.user_cap_micro) {
            payer.means.pool_micro = payer.means.pool_micro.min(cap_micro);
        }
        Some(payer)
    }

    /// The workspace, if it has a pool that holds for the period; else the organization, if that has one.
    #[inline]
    pub fn owner_of_nearest_pool(&self, charged: ChargedScopes, period: Window) -> Option<ScopeIndex> {
        let has_pool = |index: &ScopeIndex| self.book.row(*index).pool_of(period.start).is_some();
        charged.workspace.into_iter().chain([ORGANIZATION]).find(has_pool)
    }

    /// What a pool still pays for a user in a period, where it bounds that.
    fn left_under_cap(&self, user: Option<ScopeIndex>, owner: ScopeIndex, pool: &Pool, period: Window) -> i64 {
        let (Some(cap_micro), Some(user)) = (pool.user_cap_micro, user) else { return i64::MAX };
        cap_micro.saturating_sub(self.paid(user, owner, period).pool_micro)
    }

    /// What pool and balance of one owner paid for a scope in a period.
    pub fn paid(&self, index: ScopeIndex, owner: ScopeIndex, period: Window) -> PaidBy {
        let mut paid =
            PaidBy { owner: self.book.workspace_name(owner), start: period.start, pool_micro: 0, prepaid_micro: 0 };
        let all = self.paid_by_workspaces(index, period);
        if owner != ORGANIZATION {
            return all.iter().find(|of| of.start == period.start && of.owner == paid.owner).cloned().unwrap_or(paid);
        }
        let count = |meter| self.book.count_of(index, WindowKind::Period, period, meter);
        let others = all.iter().filter(|of| of.start == period.start);
        let (pool_micro, prepaid_micro) =
            others.fold((0, 0), |(pool, prepaid), of| (pool + of.pool_micro, prepaid + of.prepaid_micro));
        paid.pool_micro = count(Meter::PoolCreditsMicro) - pool_micro;
        paid.prepaid_micro = count(Meter::PrepaidCreditsMicro) - prepaid_micro;
        paid
    }

    /// What pools and balances of workspaces paid for a scope, wherever the period is kept.
    pub fn paid_by_workspaces(&self, index: ScopeIndex, period: Window) -> &'v [PaidBy] {
        let older = self.book.older(index, WindowKind::Period, period.start);
        match older.and_then(|older| older.detail.as_deref()) {
            Some(detail) => &detail.paid_by,
            None => &self.book.row(index).paid_by,
        }
    }

    /// What is left of a member's seat, by window.
    fn seat_left(&self, member: ScopeIndex, occasion: Occasion) -> [Option<(Window, i64)>; ALLOWANCES_MAX] {
        let mut left = [None; ALLOWANCES_MAX];
        let row = self.book.row(member);
        let Some(seat_type) = row.seat_type().and_then(|name| self.rules.seat_type(name)) else { return left };
        for (slot, allowance) in left.iter_mut().zip(&seat_type.allowances) {
            let (window, is_over) = self.window_of(row, allowance.window, occasion.event_time);
            // A late charge uses nothing of the present.
            if occasion.is_late && allowance.window != WindowKind::Period && window.end > occasion.record_time {
                return [None; ALLOWANCES_MAX];
            }
            // A session that has not begun by the clock holds usage of a little before it, and pauses nobody.
            let is_ahead = occasion.is_asked && window.start > occasion.event_time;
            let used = if is_over || is_ahead { 0 } else { self.used_of_seat(member, allowance.window, window) };
            *slot = Some((window, allowance.amount_micro.saturating_sub(used)));
        }
        left
    }

    /// What a pool has for a user, whatever is switched off.
    pub fn left_of_pool_for(&self, user: ScopeIndex, payer: &Payer) -> i64 {
        let pool = payer.owner.and_then(|owner| Some((owner, self.book.pool(owner)?)));
        pool.map_or(0, |(owner, pool)| {
            payer.pool_total_micro.min(self.left_under_cap(Some(user), owner, pool, payer.occasion.period))
        })
    }

    /// Whether something is left of a member's seat, whatever is switched off.
    pub fn has_seat_left(&self, member: ScopeIndex, payer: &Payer) -> bool {
        let left = self.seat_left(member, payer.occasion);
        left.iter().flatten().map(|(_, left_micro)| *left_micro).min().is_some_and(|left_micro| left_micro > 0)
    }

    /// Whether a scope is held to a change at once: it is paused or known. Any other is held to it at its next event.
    pub fn is_held(&self, index: ScopeIndex, now: Timestamp) -> bool {
        let (row, scope) = (self.book.row(index), &self.book.slot(index).scope);
        let used = match scope {
            // Who registered an agent is counted, and not known by it.
            Scope::User(_) => row.used_in.iter().map(|used| used.start).max(),
            _ => row.windows.starts(WindowKind::Period).max(),
        };
        let last_seen = used.into_iter().chain(row.named).max();
        !scope.is_agent_or_user()
            || !row.pauses.causes.is_empty()
            || last_seen.is_some_and(|start| self.is_recent(start, now))
    }

    /// Whether a period that begins at `start` is that of `now` or the one before, or comes later.
    pub fn is_recent(&self, start: Timestamp, now: Timestamp) -> bool {
        let this = self.rules.period(now);
        start >= self.rules.period(this.start.plus_ms(-1)).start
    }

    /// What counts against a seat in a window: what it paid, and what was charged before it began.
    pub fn used_of_seat(&self, member: ScopeIndex, kind: WindowKind, window: Window) -> i64 {
        let paid_micro = self.book.count_of(member, kind, window, Meter::SeatCreditsMicro);
        let before =
            self.book.row(member).member.as_deref().map_or(0, |member| before_seat(member, kind, window.start));
        paid_micro.saturating_add(before)
    }

    /// The window of a kind that usage of a scope at `time` falls into, and whether it is a session of its own that is over.
    pub fn window_of(&self, row: &ScopeRow, kind: WindowKind, time: Timestamp) -> (Window, bool) {
        match kind {
            WindowKind::Session => {
                let session = row.windows.session(time);
                (session.window, session.is_over)
            }
            _ => (self.rules.window(kind, time), false),
        }
    }

    /// What the limits on extra credits leave for a charge.
    fn room_for_extra(&self, charged: ChargedScopes, occasion: Occasion) -> i64 {
        let mut room_micro = i64::MAX;
        for index in self.bounded(charged) {
            let (slot, row) = (self.book.slot(index), self.book.row(index));
            let mut bound = |limit: &Limit| {
                if limit.is_spend_limit() {
                    let used = self.extra_used(index, limit, occasion).1;
                    room_micro = room_micro.min(limit.room(used));
                }
            };
            if slot.followed.generation != self.rules.generation() {
                self.limits_of(index).into_iter().for_each(|(_, limit)| bound(limit));
            } else if slot.followed.has_spend_limit {
                row.limits.iter().chain(self.rules.rules_at(slot.followed.places)).for_each(bound);
            }
        }
        room_micro
    }

    /// The scopes whose limits on extra credits bind a charge, the narrowest first. Where members pause one by one, extra
    /// usage is bounded for members, their seat types and the organization.
    fn bounded(&self, charged: ChargedScopes) -> impl Iterator<Item = ScopeIndex> + use<> {
        let ChargedScopes { user, agent, workspace, .. } = charged;
        let has_seats = self.rules.payment().mode.has_seats();
        let inner = [agent, workspace].map(|index| index.filter(|_| !has_seats));
        [user, inner[0], inner[1], Some(ORGANIZATION)].into_iter().flatten()
    }

    /// The window of a limit on extra credits that bounds a charge, and what was used in it.
    fn extra_used(&self, index: ScopeIndex, limit: &Limit, occasion: Occasion) -> (Window, i64) {
        let window = match limit.window {
            WindowKind::Period => occasion.period,
            kind => self.window_of(self.book.row(index), kind, occasion.event_time).0,
        };
        (window, self.book.count_of(index, limit.window, window, Meter::ExtraCreditsMicro))
    }

    /// The limits on extra credits that bind a charge, the narrowest first: user, seat type, agent, workspace,
    /// organization; of one breadth a scope's own before those for many, then by id.
    pub fn spend_limits(&self, charged: ChargedScopes, occasion: Occasion) -> Vec<SpendLimit<'v>> {
        let mut all = Vec::new();
        for scope in self.bounded(charged) {
            let kind = self.book.slot(scope).scope.kind();
            for (many, limit) in self.limits_of(scope).into_iter().filter(|(_, limit)| limit.is_spend_limit()) {
                let (window, used) = self.extra_used(scope, limit, occasion);
                let (breadth, room_micro) = (breadth(kind, many), limit.room(used));
                all.push(SpendLimit { scope, breadth, many, limit, window, room_micro });
            }
        }
        all.sort_by(|a, b| {
            let order = |of: &SpendLimit<'_>| (of.breadth, of.many.is_some());
            order(a).cmp(&order(b)).then_with(|| a.limit.id.cmp(&b.limit.id))
        });
        all
    }

    /// Every limit that binds a scope: its own, and those for many that do not give way.
    pub fn limits_of(&self, index: ScopeIndex) -> Vec<(Option<&'v Selector>, &'v Limit)> {
        let (row, kind) = (self.book.row(index), self.book.slot(index).scope.kind());
        let own = row.limits.iter().map(|limit| (None, limit));
        let many = self.rules.rules_with_selectors(kind, row.seat_type()).map(|(many, limit)| (Some(many), limit));
        own.chain(many.filter(|(_, limit)| !limit.yields_to(&row.limits))).collect()
    }

    /// What a limit is set on, as causes and answers name it.
    pub fn selector(&self, index: ScopeIndex, many: Option<&Selector>) -> Selector {
        many.cloned().unwrap_or_else(|| Selector::One(self.book.slot(index).scope.clone()))
    }

    /// Whether a switch of a member's own lets somebody go on where nothing else pays: it switches on what is off for all
    /// and has something, and the limits of workspace and organization leave room.
    pub fn own_switch_helps(&self, workspace: Option<ScopeIndex>, payer: &Payer) -> bool {
        let helps = |source: Source| {
            self.rules.own_switches_on[source as usize] > 0
                && payer.payment.mode.knows(source)
                && !payer.payment.is_on(source, None)
        };
        if helps(Source::Pool) && payer.pool_total_micro > 0 {
            return true;
        }
        let extra = (helps(Source::Prepaid) && payer.prepaid_total_micro > 0) || helps(Source::Postpaid);
        let shared = ChargedScopes::of(workspace, None, None);
        extra && !self.rules.extra_usage_off && self.room_for_extra(shared, payer.occasion) > 0
    }
}

/// What was charged before a seat began, in one window.
fn before_seat(member: &Member, kind: WindowKind, start: Timestamp) -> i64 {
    let same = |before: &&crate::domain::organization::BeforeSeat| (before.window, before.start) == (kind, start);
    member.before_seat.iter().filter(same).map(|before| before.amount_micro).sum()
}

/// How broad a limit is: of several that have no room, the narrowest is told.
const fn breadth(kind: ScopeKind, many: Option<&Selector>) -> u8 {
    match (kind, many) {
        (ScopeKind::User, Some(Selector::Seat(_))) => 1,
        (ScopeKind::User, _) => 0,
        (ScopeKind::Agent, _) => 2,
        (ScopeKind::Workspace, _) => 3,
        (ScopeKind::Organization, _) => 4,
    }
}
