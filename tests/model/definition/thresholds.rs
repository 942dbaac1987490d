//! *Thresholds*: shares of a cap that are told, once per scope, window, share and revision.

use std::collections::BTreeSet;

use super::{
    Model,
    grants::Moment,
    history::{Action, Counted, History, Limit, Starts, ToldShare},
    terms::{Kind, Scope, Selector, Source},
    time::{DAY_MS, MINUTE_MS, SESSION_MS, Span},
};
use crate::life::HORIZON_MS;

/// How long minutes, and hours and days, are kept after their end.
const MINUTES_KEPT_MS: i64 = 10 * MINUTE_MS;
const DAYS_KEPT_MS: i64 = 35 * DAY_MS;

/// A ceiling of a scope in one window, and how much of it is used.
struct Reached<'a> {
    scope: &'a Scope,
    /// `None` for the pool.
    limit: Option<&'a Limit>,
    window: i64,
    shares: &'a [i64],
    used: i64,
    cap: i64,
    revision: String,
}

impl Reached<'_> {
    /// The shares that are passed, ascending. A cap of 0 passes every share.
    fn passed(&self) -> Vec<i64> {
        let used = i128::from(self.used) * 100;
        self.shares.iter().copied().filter(|share| used >= i128::from(self.cap) * i128::from(*share)).collect()
    }

    fn share(&self, percent: i64) -> ToldShare {
        let limit = self.limit.map(|limit| (limit.selector.clone(), limit.id.clone()));
        ToldShare { scope: self.scope.clone(), limit, window: self.window, percent, revision: self.revision.clone() }
    }
}

impl History {
    /// What a pool's revision consists of: the record that set what it includes, and each purchase of the period that has
    /// begun, has ended within it with something left, or was voided.
    fn pool_revision(&self, owner: &Scope, now_ms: i64, moment: Moment) -> String {
        let mut revision = self.pool_of(owner, moment).map_or_else(String::new, |pool| pool.revision.clone());
        for (_, grant) in self.purchases_of(owner, moment.period).filter(|(_, grant)| grant.has_begun(now_ms)) {
            let state = if grant.voided_ms.is_some() {
                " void"
            } else if grant.has_lost {
                " ended"
            } else {
                ""
            };
            revision += &format!(" +{}{state}", grant.record);
        }
        revision
    }

    /// The window of a limit that contains usage; `None` for a session of its own.
    pub fn window_of(&self, kind: Kind, starts: &Starts) -> Option<Span> {
        let start = starts.of(kind)?;
        Some(match kind {
            Kind::Session => Span { start, end: start + SESSION_MS },
            _ => self.calendar.window(kind, start),
        })
    }

    /// Whether a window that ends at an instant is still kept. Of sessions only those that are kept have a window.
    pub fn is_kept(&self, kind: Kind, end: i64, at_ms: i64) -> bool {
        match kind {
            Kind::Minute => at_ms < end + MINUTES_KEPT_MS,
            Kind::Hour | Kind::Day => at_ms < end + DAYS_KEPT_MS,
            Kind::Week => self.calendar.window(kind, at_ms).start <= end,
            Kind::Period | Kind::Session => true,
        }
    }

    /// Windows of a limit that have not ended: that of an instant, and those in which the scope used something.
    fn open_windows(&self, limit: &Limit, scope: &Scope, at_ms: i64) -> Vec<i64> {
        let mut starts = BTreeSet::new();
        if limit.window == Kind::Session {
            let Scope::User(user) = scope else { return Vec::new() };
            if !self.has_seats() {
                return Vec::new();
            }
            let running = self.sessions(user).into_iter().filter(|start| at_ms < start + SESSION_MS);
            starts.extend(running);
            if starts.is_empty() {
                starts.insert(at_ms);
            }
            return starts.into_iter().collect();
        }
        starts.insert(self.calendar.window(limit.window, at_ms).start);
        let counted = self.counted.iter().filter(|one| one.concerns(scope) && one.time_ms > at_ms);
        starts.extend(counted.filter_map(|one| one.starts.of(limit.window)));
        starts.into_iter().collect()
    }
}

impl Model {
    /// What usage tells: each share that it passes, of each limit and of the pools that paid.
    pub fn tell_of_usage(&mut self, one: &Counted) {
        for scope in one.named.scopes() {
            if !one.concerns(&scope) {
                continue;
            }
            let limits: Vec<Limit> = self.history.limits_of(&scope).into_iter().cloned().collect();
            for limit in limits.iter().filter(|limit| limit.action != Action::Observe) {
                self.tell_of_limit(one, &scope, limit);
            }
        }
        let mut owners: Vec<&Scope> = Vec::new();
        for draw in one.draws.iter().filter(|draw| draw.source == Source::Pool) {
            if !owners.contains(&&draw.owner) {
                owners.push(&draw.owner);
                self.tell_of_pool(one, &draw.owner);
            }
        }
    }

    fn tell_of_limit(&mut self, one: &Counted, scope: &Scope, limit: &Limit) {
        let Some(window) = self.history.window_of(limit.window, &one.starts) else { return };
        let Some(cap) = limit.cap.filter(|cap| *cap > 0) else { return };
        let was_over = window.end <= limit.revised_ms || window.end + HORIZON_MS <= self.at_ms;
        if was_over
            || !self.history.is_kept(limit.window, window.end, self.at_ms)
            || (limit.window == Kind::Session && !self.history.has_seats())
        {
            return;
        }
        let used = self.history.used(limit, scope, &one.starts);
        let revision = limit.revision.clone();
        self.tell_each(&Reached {
            scope,
            limit: Some(limit),
            window: window.start,
            shares: &limit.shares,
            used,
            cap,
            revision,
        });
    }

    fn tell_of_pool(&mut self, one: &Counted, owner: &Scope) {
        let history = &self.history;
        let moment = history.moment(one.time_ms, self.at_ms, false);
        let period = moment.period;
        let now_ms = self.clock_ms;
        let Some(pool) = history.pool_of(owner, moment) else { return };
        let cap = history.pool_size(owner, now_ms, moment).expect("it has a pool");
        if cap == 0 || period.end + HORIZON_MS <= self.at_ms {
            return;
        }
        let used = history.drawn_of_pool(owner, period.start);
        let revision = history.pool_revision(owner, now_ms, moment);
        let shares = &pool.shares.clone();
        self.tell_each(&Reached { scope: owner, limit: None, window: period.start, shares, used, cap, revision });
    }

    /// What a limit tells when it is set: the highest share that is passed already, of each scope that it is for.
    pub fn tell_limit_set(&mut self, limit: &Limit, is_told: bool) {
        let Some(cap) = limit.cap else { return };
        let is_told = is_told && limit.action != Action::Observe;
        let scopes = match &limit.selector {
            Selector::One(scope) => BTreeSet::from([scope.clone()]),
            _ => self.history.concerned(self.clock_ms),
        };
        for scope in scopes {
            let applies = |one: &&Limit| one.selector == limit.selector && one.id == limit.id;
            if self.history.limits_of(&scope).iter().any(applies) {
                self.tell_limit_of(limit, &scope, cap, is_told);
            }
        }
    }

    fn tell_limit_of(&mut self, limit: &Limit, scope: &Scope, cap: i64, is_told: bool) {
        for window in self.history.open_windows(limit, scope, self.at_ms) {
            let used = self.history.used_until(limit, scope, window, self.history.counted.len());
            let revision = limit.revision.clone();
            let reached = Reached { scope, limit: Some(limit), window, shares: &limit.shares, used, cap, revision };
            self.tell_highest(&reached, is_told);
        }
    }

    /// What the limits of a seat tell of a member who has it from now on: the highest share that is passed already.
    pub fn tell_limits_of_seat(&mut self, user: &Scope) {
        let of_seat = |limit: &&&Limit| matches!(limit.selector, Selector::Seat(_));
        let limits: Vec<Limit> =
            self.history.limits_of(user).iter().filter(of_seat).map(|limit| (*limit).clone()).collect();
        for limit in limits {
            let is_told = limit.action != Action::Observe;
            limit.cap.into_iter().for_each(|cap| self.tell_limit_of(&limit, user, cap, is_told));
        }
    }

    /// What a pool tells when it is set, or when what was granted changes. A pool of nothing is told only when it is set.
    pub fn tell_pool_changed(&mut self, owner: &Scope, now_ms: i64, is_being_set: bool) {
        let history = &self.history;
        let moment = history.moment_of(now_ms);
        let period = moment.period;
        let Some(pool) = history.pool_of(owner, moment) else { return };
        let cap = history.pool_size(owner, now_ms, moment).expect("it has a pool");
        let used = history.drawn_of_pool(owner, period.start);
        let revision = history.pool_revision(owner, now_ms, moment);
        let shares = &pool.shares.clone();
        let reached = Reached { scope: owner, limit: None, window: period.start, shares, used, cap, revision };
        self.tell_highest(&reached, cap > 0 || is_being_set);
    }

    fn tell_each(&mut self, reached: &Reached<'_>) {
        for percent in reached.passed() {
            if !self.counts_as_told(reached, percent) {
                self.say_share(reached, percent);
            }
            self.history.shares.insert(reached.share(percent));
        }
    }

    fn tell_highest(&mut self, reached: &Reached<'_>, is_told: bool) {
        let passed = reached.passed();
        if let Some(highest) = passed.last()
            && is_told
            && !self.counts_as_told(reached, *highest)
        {
            self.say_share(reached, *highest);
        }
        self.history.shares.extend(passed.iter().map(|percent| reached.share(*percent)));
    }

    /// Whether a share or a higher one was told in this revision: in this window, or, of a cap of 0, in any.
    fn counts_as_told(&self, reached: &Reached<'_>, percent: i64) -> bool {
        let share = reached.share(percent);
        let is_same = |told: &&ToldShare| {
            let window = if reached.cap == 0 { share.window } else { told.window };
            told.percent >= percent && ToldShare { window, percent, ..(*told).clone() } == share
        };
        self.history.shares.iter().any(|told| is_same(&told))
    }

    fn say_share(&mut self, reached: &Reached<'_>, percent: i64) {
        let Reached { scope, window, used, cap, revision, .. } = reached;
        let rule = reached.limit.map_or_else(|| "pool".to_owned(), |limit| format!("limit {}", limit.name()));
        let kind = reached.limit.map_or(Kind::Period, |limit| limit.window).name();
        self.say(
            format!("threshold {scope} {rule} window={window} percent={percent} used={used} cap={cap}"),
            format!("threshold|{scope}|{rule}|{kind}|{window}|{percent}|{revision}"),
        );
    }
}
