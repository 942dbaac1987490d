//! Who pays for a charge, and who pauses when nobody can (rows A18, B1–B8, B13, B14, C9).
//!
//! A charge has a *payer*: the seat of its user, then the nearest pool and its prepaid balance, then billing
//! afterwards. When all of that is spent, the narrowest scope pauses whose means they were: the member, where members
//! have sources of their own; else the scope of the limit that leaves no room, or the owner of the pool, whichever lies
//! within the other.

use super::{
    Account, Moment, Policy,
    ceiling::{Ceiling, Effects, Step},
    scopes::{ChargedScopes, ORGANIZATION, ScopeIndex},
    want::Want,
};
use crate::domain::{
    limit::Limit,
    meter::{Counters, Meter},
    payment::{Means, Mode, Payment, Source, Split},
    pool::Pool,
    scope::{Scope, ScopeKind},
    signal::{RequestKind, RequestSignal, Signal},
    time::Timestamp,
    window::{Window, WindowKind},
};

/// A seat has at most one allowance per kind of window: session, week, period.
const ALLOWANCES_MAX: usize = 3;

/// Who pays for a charge, and with what.
pub(super) struct Payer {
    pub(super) payment: Payment,
    /// The user, where members have sources of their own.
    pub(super) member: Option<ScopeIndex>,
    /// The user, whatever the mode.
    pub(super) user: Option<ScopeIndex>,
    /// The agent, else the workspace, else the organization.
    pub(super) narrowest: ScopeIndex,
    pub(super) workspace: Option<ScopeIndex>,
    /// The owner of the nearest pool.
    pub(super) owner: Option<ScopeIndex>,
    /// What the pool had drawn before (`None`: nothing yet).
    pub(super) pool_before: Option<i64>,
    pub(super) period: Window,
    pub(super) event_time: Timestamp,
    /// The period was over for good when the charge was recorded.
    pub(super) late: bool,
    /// What each source can pay.
    pub(super) means: Means,
    /// What is left of the seat's allowance, by window.
    pub(super) seat: [Option<(Window, i64)>; ALLOWANCES_MAX],
    /// Not looked up where seat and pool pay it all and have something left.
    pub(super) tightest: Option<Tightest>,
    pub(super) consent_missing: bool,
    /// What the pool has, whoever it may pay for.
    pub(super) pool_total_micro: i64,
}

/// The limit on extra credits with the least room.
pub(super) struct Tightest {
    pub(super) scope: ScopeIndex,
    pub(super) place: LimitPlace,
    pub(super) window: Window,
    pub(super) room_micro: i64,
}

/// Where a limit stands.
#[derive(Clone, Copy)]
pub(super) enum LimitPlace {
    /// Among those of the scope.
    Own(usize),
    /// Among the rules for many.
    Rule(usize),
}

impl Account {
    /// Who pays for `charge_micro` that is charged to scopes at `event_time`; `None` if nobody has to.
    pub(super) fn payer(
        &self,
        charged: ChargedScopes,
        charge_micro: i64,
        event_time: Timestamp,
        period: Window,
        moment: Moment,
        policy: &Policy,
    ) -> Option<Payer> {
        if self.settings.free_until.is_some_and(|until| event_time < until) {
            return None;
        }
        let late = moment.record_time >= period.end.plus_ms(policy.grace_ms);
        let payment = if late { self.settings.payment_at(period.end.plus_ms(-1)) } else { self.settings.payment() };
        let owner = self.owner_of_nearest_pool(charged.as_slice());
        if owner.is_none() && payment.mode == Mode::Credits {
            return None;
        }
        let ChargedScopes { workspace, agent, user, .. } = charged;
        let own = user.and_then(|user| self.scopes.row(user).member.as_deref());
        let is_on = |source| payment.is_on(source, own.map(|member| &member.switches));
        let member = user.filter(|_| payment.mode.has_seats());
        let seat = member.filter(|_| is_on(Source::Seat));
        let seat = seat.map_or([None; ALLOWANCES_MAX], |member| self.seat_left(member, event_time, late));
        let mut means = Means { postpaid: is_on(Source::Postpaid), ..Means::default() };
        means.seat_micro = seat.iter().flatten().map(|(_, left_micro)| *left_micro).min().unwrap_or(0).max(0);
        let pool = owner.map(|owner| self.pool(owner));
        let pool_total_micro = pool.map_or(0, |pool| pool.left_micro(period, event_time));
        if let Some(pool) = pool.filter(|_| is_on(Source::Pool)) {
            means.pool_micro = pool_total_micro.min(self.pool_left_for(user, pool, period)).max(0);
        }
        if let Some(pool) = pool.filter(|_| is_on(Source::Prepaid) && !late) {
            means.prepaid_micro = pool.prepaid_left_micro(event_time);
        }
        // Where seat and pool pay it all and something is left of them, limits on what comes after them say nothing.
        let is_covered = means.seat_micro.saturating_add(means.pool_micro) > charge_micro;
        let tightest = (!is_covered).then(|| self.tightest(charged.as_slice(), period, event_time)).flatten();
        means.extra_room_micro = tightest.as_ref().map_or(i64::MAX, |tightest| tightest.room_micro.max(0));
        let consent_missing =
            member.is_some() && payment.consent_required && !own.is_some_and(|member| member.consented);
        if consent_missing {
            (means.prepaid_micro, means.postpaid) = (0, false);
        }
        Some(Payer {
            payment,
            member,
            user,
            narrowest: agent.or(workspace).unwrap_or(ORGANIZATION),
            workspace,
            owner,
            pool_before: pool.and_then(|pool| pool.drawn_micro(period.start)),
            period,
            event_time,
            late,
            means,
            seat,
            tightest,
            consent_missing,
            pool_total_micro,
        })
    }

    /// What a pool still pays for a user in a period, where it bounds that.
    fn pool_left_for(&self, user: Option<ScopeIndex>, pool: &Pool, period: Window) -> i64 {
        let (Some(cap_micro), Some(user)) = (pool.user_cap_micro, user) else { return i64::MAX };
        let drawn = self.count_of(user, WindowKind::Period, period, Meter::PoolCreditsMicro);
        cap_micro.saturating_sub(drawn)
    }

    /// The workspace, if it has a pool; else the organization, if that has one. `scopes` begin with the organization, and
    /// where there is a workspace, that is next; what lies behind them has no pool and need not be looked at.
    pub(super) fn owner_of_nearest_pool(&self, scopes: &[ScopeIndex]) -> Option<ScopeIndex> {
        let owners = if self.settings.workspace_pools > 0 { scopes.len().min(2) } else { 1 };
        scopes[..owners].iter().rev().copied().find(|index| self.scopes.row(*index).pool.is_some())
    }

    pub(super) fn pool(&self, owner: ScopeIndex) -> &Pool {
        self.scopes.row(owner).pool.as_ref().expect("the owner was found by its pool")
    }

    /// What is left of a member's seat, by window.
    fn seat_left(
        &self,
        member: ScopeIndex,
        event_time: Timestamp,
        late: bool,
    ) -> [Option<(Window, i64)>; ALLOWANCES_MAX] {
        let mut left = [None; ALLOWANCES_MAX];
        let row = self.scopes.row(member);
        let Some(seat) = self.scopes.slot(member).followed.seat else { return left };
        let seat_type = &self.settings.seat_types[usize::from(seat)];
        for (slot, allowance) in left.iter_mut().zip(&seat_type.allowances) {
            // The past does not use up the session of the present.
            if late && allowance.window == WindowKind::Session {
                continue;
            }
            let window = self.window_of(row, allowance.window, event_time);
            let used = self.count_of(member, allowance.window, window, Meter::SeatCreditsMicro);
            *slot = Some((window, allowance.amount_micro.saturating_sub(used)));
        }
        left
    }

    /// The limit on extra credits with the least room; of several with the same, that of the narrowest scope.
    /// `period` is the billing period of `event_time`, in which most of these limits count.
    fn tightest(&self, scopes: &[ScopeIndex], period: Window, event_time: Timestamp) -> Option<Tightest> {
        let mut tightest: Option<Tightest> = None;
        let has_seats = self.settings.payment().mode.has_seats();
        for index in scopes.iter().rev() {
            let row = self.scopes.row(*index);
            let followed = &self.scopes.slot(*index).followed;
            debug_assert_eq!(
                followed.revision,
                self.settings.rules_revision + 1,
                "rules are followed before they bind"
            );
            // Where members pause one by one, extra usage is bounded for members, their seat types and the organization.
            let kind = self.scopes.slot(*index).scope.kind();
            let bounds = !has_seats || matches!(kind, ScopeKind::User | ScopeKind::Organization);
            if !followed.has_spend_limit || !bounds {
                continue;
            }
            let own = row.limits.iter().enumerate().map(|(place, limit)| (LimitPlace::Own(place), limit));
            let rules = followed.places.iter().map(|place| (LimitPlace::Rule(place), &self.settings.every[place].1));
            for (place, limit) in own.chain(rules).filter(|(_, limit)| limit.is_spend_limit()) {
                let window = match limit.window {
                    WindowKind::Period => period,
                    shorter => self.window_of(row, shorter, event_time),
                };
                let used = self.count_of(*index, limit.window, window, Meter::ExtraCreditsMicro);
                let room_micro = limit.cap.unwrap_or(i64::MAX).saturating_sub(used);
                if tightest.as_ref().is_none_or(|known| room_micro < known.room_micro) {
                    tightest = Some(Tightest { scope: *index, place, window, room_micro });
                }
            }
        }
        tightest
    }

    /// The limits on extra credits that leave a member no room, for who approves a request.
    pub(super) fn binding_limits(&self, member: ScopeIndex, now: Timestamp) -> Vec<Box<str>> {
        let mut binding = Vec::new();
        for index in [member, ORGANIZATION] {
            let (row, slot) = (self.scopes.row(index), self.scopes.slot(index));
            let leaves_no_room = |limit: &Limit| {
                let window = self.window_of(row, limit.window, now);
                let used = self.count_of(index, limit.window, window, Meter::ExtraCreditsMicro);
                limit.is_spend_limit() && limit.cap.is_some_and(|cap| used >= cap)
            };
            let own = row.limits.iter().filter(|limit| leaves_no_room(limit));
            binding.extend(own.map(|limit| format!("{} on {}", limit.id, slot.scope).into()));
            let rules = self.settings.rules_with_selectors(slot.scope.kind(), row.seat_type());
            let rules = rules.filter(|(_, limit)| leaves_no_room(limit));
            binding.extend(rules.map(|(selector, limit)| format!("{} on {}", limit.id, selector.describe()).into()));
        }
        binding
    }

    /// Splits a charge over its sources and draws what they pay.
    pub(super) fn pay(&mut self, payer: &Payer, charge: &mut Counters) -> Split {
        let split = payer.means.split(charge.get(Meter::CreditsMicro));
        split.write_to(charge);
        if let Some(owner) = payer.owner {
            let pool = self.scopes.row_mut(owner).pool.as_mut().expect("the owner was found by its pool");
            pool.drawn_in(payer.period.start);
            if split.pool_micro > 0 {
                pool.draw(payer.period, payer.event_time, split.pool_micro);
            }
            if split.prepaid_micro > 0 {
                pool.draw_prepaid(payer.event_time, split.prepaid_micro);
            }
        }
        split
    }

    /// What follows from a charge that was paid: who has nothing left pauses, and more may be asked for.
    pub(super) fn after_payment(&mut self, payer: &Payer, split: &Split, moment: Moment) {
        let left = payer.means.after(split);
        if split.uncovered_micro > 0
            && let Some(Want { scope, cause, .. }) = self.want(payer, &left, split)
        {
            let start = cause.window_start.unwrap_or(payer.period.start);
            self.scopes.row_mut(scope).book_overshoot(cause.kind, &cause.limit_id, start, split.uncovered_micro);
        }
        if let Some(owner) = payer.owner.filter(|_| !payer.late) {
            self.ask_for_reload(owner, moment);
        }
        if payer.period.end <= moment.clock || payer.late {
            return;
        }
        self.note_spent_seat(payer, split, moment);
        if left.is_spent()
            && let Some(Want { scope, cause, revision }) = self.want(payer, &left, split)
        {
            // What stands in the way of an old window is no matter now.
            let matters = cause.ends_at.is_none_or(|end| end > moment.clock);
            if matters && self.scopes.row(scope).pauses.want_of_money().is_none() {
                self.note_where_it_wants(scope, payer);
                let mut effects = Effects::default();
                effects.causes.push((cause, revision));
                self.take_effects(scope, effects, moment);
            }
        }
        self.note_shared_exhaustion(payer, &left, moment);
    }

    /// A user who wants for money is held to the means of the workspace in which that was.
    fn note_where_it_wants(&mut self, scope: ScopeIndex, payer: &Payer) {
        if payer.user == Some(scope) {
            let workspace = payer.workspace.map(|workspace| self.scopes.slot(workspace).scope.clone());
            let name = match workspace {
                Some(Scope::Workspace(name)) => Some((&*name).into()),
                _ => None,
            };
            self.scopes.row_mut(scope).member.get_or_insert_default().wanting_in = name;
        }
    }

    /// A member whose seat is used up lives on what all share until the seat comes back.
    fn note_spent_seat(&mut self, payer: &Payer, split: &Split, moment: Moment) {
        let Some(member) = payer.member else { return };
        let spent = payer.seat.iter().flatten().filter(|(_, left_micro)| *left_micro <= split.seat_micro);
        // A member without an allowance lives on what all share always: to be looked at when the period turns.
        let without = payer.seat.iter().all(Option::is_none);
        let until = spent.map(|(window, _)| window.end).max().or(without.then_some(payer.period.end));
        let until = until.filter(|until| *until > moment.clock);
        let facts = self.scopes.row(member).member.as_ref().and_then(|member| member.seat_spent_until);
        if until.is_some() && facts != until {
            let row = self.scopes.row_mut(member);
            row.member.get_or_insert_default().seat_spent_until = until;
            self.attend(member);
        }
    }

    /// When what all share runs out, everyone who lives on it is looked at, a page at a time.
    fn note_shared_exhaustion(&mut self, payer: &Payer, left: &Means, moment: Moment) {
        let ran_out = |before: bool, after: bool| before && !after;
        let means = &payer.means;
        let shared_limit = payer.tightest.as_ref().is_some_and(|tightest| tightest.scope == ORGANIZATION);
        let shared = ran_out(means.pool_micro > 0, left.pool_micro > 0)
            || ran_out(means.prepaid_micro > 0, left.prepaid_micro > 0)
            || (shared_limit && ran_out(means.extra_room_micro > 0, left.extra_room_micro > 0));
        if shared && payer.payment.mode.has_seats() {
            self.head.look_at_all = true;
            self.be_due(moment.clock.max(self.head.served_due.plus_ms(1)));
        }
    }

    /// Holds a pool's thresholds against what it now contains: a new revision.
    pub(super) fn announce_pool(&mut self, index: ScopeIndex, moment: Moment) {
        let period = self.open_window(WindowKind::Period, moment.record_time);
        let Some(pool) = self.scopes.row_mut(index).pool.as_mut() else { return };
        // Begun, so that a pool of nothing is announced by its record and not once more by the first event.
        pool.drawn_in(period.start);
        let mut effects = Effects::default();
        let (pool, scope) = (self.pool(index), &self.scopes.slot(index).scope);
        let used = pool.drawn_micro(period.start).unwrap_or(0);
        if let Some(ceiling) = Ceiling::of_pool(pool, period) {
            ceiling.hold(Step::Revision { used }, &self.organization_id, scope, moment, &mut effects);
        }
        self.take_effects(index, effects, moment);
    }

    /// Asks for a reload, if the balance has fallen to its mark and one may be asked for (row B2).
    pub(super) fn ask_for_reload(&mut self, owner: ScopeIndex, moment: Moment) {
        if self.scopes.row(owner).pool.as_ref().is_none_or(|pool| pool.reload.is_none()) {
            return;
        }
        self.follow(ORGANIZATION);
        let day = self.calendar.window(&self.settings.zones, WindowKind::Day, moment.record_time);
        let row = self.scopes.row(owner);
        let Some(pool) = row.pool.as_ref() else { return };
        let Some(reload) = pool.reload.as_ref().filter(|reload| reload.enabled && reload.open.is_none()) else {
            return;
        };
        let balance_micro = pool.prepaid_left_micro(moment.record_time);
        if balance_micro > reload.below_micro || !self.settings.payment().is_on(Source::Prepaid, None) {
            return;
        }
        // Never above what the organization may spend in the month: what is spent, what is left, and what is bought.
        let period = self.calendar.window(&self.settings.zones, WindowKind::Period, moment.record_time);
        let tightest = self.tightest(&[ORGANIZATION], period, moment.record_time);
        let room_micro = tightest.map_or(i64::MAX, |limit| limit.room_micro);
        let amount_micro = reload.amount_micro.min(room_micro.saturating_sub(balance_micro));
        let may_ask = reload.may_ask(day.start) && amount_micro > 0;
        let slot = self.scopes.slot(owner);
        let last = reload.last.clone().unwrap_or_default();
        let identity = super::identity(&self.organization_id, &["reload", &slot.field(), &last]);
        let scope = slot.scope.clone();
        let pool = self.scopes.row_mut(owner).pool.as_mut().expect("it was looked at above");
        let reload = pool.reload.as_mut().expect("it was looked at above");
        if !may_ask {
            // Tomorrow there may be room again.
            if reload.again_at.replace(day.end) != Some(day.end) {
                self.attend(owner);
            }
            return;
        }
        reload.ask(identity, moment.record_time, day.start);
        self.attend(owner);
        let kind = RequestKind::ReloadRequested { amount_micro, balance_micro };
        self.decided.push(Signal::Request(RequestSignal { identity, scope, kind, record_time: moment.record_time }));
    }
}
