//! Credits of a workspace or an organization: what is included in every period, what was purchased for one, and the
//! prepaid balance that carries over (rows A4, A8, A18, B2).

use serde::{Deserialize, Serialize};

use super::{reload::Reload, time::Timestamp, window::Window};

/// At most this many grants are kept in one pool.
pub const GRANTS_MAX: usize = 1_000;

/// Periods for which a pool remembers what it held and what was drawn: as many as are kept of scopes, and the running one.
const PERIODS_KEPT: usize = 25;

pub use super::grant::{Grant, GrantKind};

/// What the passing of time changed in a pool.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Turn {
    /// A grant began.
    pub begun: bool,
    /// A grant ended of which something was left.
    pub ended: bool,
    /// The pool holds something else in the running period than before.
    pub other_size: bool,
}

/// What a period includes, from a period on.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Included {
    /// The start of the first period that it holds for.
    pub from: Timestamp,
    /// Micro-credits in every period.
    pub amount_micro: i64,
}

/// What was drawn of the included credits in one period.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Drawn {
    /// The start of the period.
    pub period_start: Timestamp,
    /// How much, in micro-credits.
    pub included_micro: i64,
}

/// The pool of one scope. The nearest pool pays: a workspace's before its organization's.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Pool {
    /// Fresh in every period, by definition of the period: no record has to arrive. Oldest first.
    pub included: Vec<Included>,
    /// Shares of the pool to announce, ascending; the prepaid balance is no part of it.
    pub thresholds_percent: Vec<u16>,
    /// How much the pool pays for one user in a period at most.
    pub user_cap_micro: Option<i64>,
    /// Grows with each change of what is granted.
    pub revision: u64,
    /// In the order in which they are drawn.
    pub grants: Vec<Grant>,
    /// Use of the included credits by period, oldest first.
    pub drawn: Vec<Drawn>,
    /// When the prepaid balance is filled up by itself.
    pub reload: Option<Box<Reload>>,
    /// When credits came last: a grant began, or more was included.
    #[serde(default)]
    pub credited_at: Option<Timestamp>,
    /// The start of the first period that it holds for.
    #[serde(default = "long_ago")]
    pub since: Timestamp,
}

const fn long_ago() -> Timestamp {
    Timestamp::MIN
}

impl Default for Pool {
    fn default() -> Self {
        Self {
            included: Vec::new(),
            thresholds_percent: Vec::new(),
            user_cap_micro: None,
            revision: 0,
            grants: Vec::new(),
            drawn: Vec::new(),
            reload: None,
            credited_at: None,
            since: Timestamp::MIN,
        }
    }
}

/// A pool that was removed, as it stands for the periods that ended before.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct FormerPool {
    /// The start of the period in which it was removed.
    pub until: Timestamp,
    /// The pool.
    pub pool: Pool,
}

impl Pool {
    /// What a period includes.
    pub fn included_micro(&self, period_start: Timestamp) -> i64 {
        let holds = self.included.iter().rev().find(|included| included.from <= period_start);
        holds.or(self.included.first()).map_or(0, |included| included.amount_micro)
    }

    /// Sets what the period that begins at `from` includes, and those after it.
    pub fn include(&mut self, from: Timestamp, amount_micro: i64) {
        self.included.retain(|included| included.from < from);
        self.included.push(Included { from, amount_micro });
        let surplus = self.included.len().saturating_sub(PERIODS_KEPT + 1);
        self.included.drain(..surplus);
    }

    /// All that the pool holds in a period, by `now`: what it includes, and each purchase that has begun; of one that has
    /// ended, and of one that was voided, what was spent.
    pub fn size_micro(&self, period_start: Timestamp, now: Timestamp) -> i64 {
        let has_begun = |grant: &&Grant| grant.effective_from.is_none_or(|from| from <= now);
        let held = |grant: &Grant| {
            if grant.has_ended(now) { grant.spent_micro } else { grant.amount_micro - grant.voided_micro }
        };
        let purchased = self.purchased(period_start).filter(has_begun);
        purchased.fold(self.included_micro(period_start), |sum, grant| sum.saturating_add(held(grant)))
    }

    /// What was drawn of that in a period, or `None` before its first charge.
    pub fn drawn_micro(&self, period_start: Timestamp) -> Option<i64> {
        let drawn = self.drawn.iter().find(|drawn| drawn.period_start == period_start)?;
        Some(
            self.purchased(period_start).fold(drawn.included_micro, |sum, grant| sum.saturating_add(grant.spent_micro)),
        )
    }

    /// What the pool can still pay for an event at `event_time` in `period`.
    pub fn left_micro(&self, period: Window, event_time: Timestamp) -> i64 {
        let payable = self.purchased(period.start).filter(|grant| grant.pays_at(event_time));
        payable.fold(self.included_left_micro(period.start), |sum, grant| sum.saturating_add(grant.left_micro()))
    }

    /// What the prepaid balance can still pay for an event at `event_time`.
    pub fn prepaid_left_micro(&self, event_time: Timestamp) -> i64 {
        let payable = self.prepaid().filter(|grant| grant.pays_at(event_time));
        payable.fold(0, |sum, grant| sum.saturating_add(grant.left_micro()))
    }

    /// Draws what [`Pool::left_micro`] said is there, included first.
    pub fn draw(&mut self, period: Window, event_time: Timestamp, amount_micro: i64) {
        let included_micro = amount_micro.min(self.included_left_micro(period.start)).max(0);
        self.drawn_in(period.start).included_micro += included_micro;
        let mut rest = amount_micro - included_micro;
        let pays = |grant: &&mut Grant| {
            grant.kind == GrantKind::Purchased && grant.period_start == period.start && grant.pays_at(event_time)
        };
        spend(self.grants.iter_mut().filter(pays), &mut rest);
        assert_eq!(rest, 0, "no more is drawn from a pool than it has");
    }

    /// Draws what [`Pool::prepaid_left_micro`] said is there.
    pub fn draw_prepaid(&mut self, event_time: Timestamp, amount_micro: i64) {
        let mut rest = amount_micro;
        let pays = |grant: &&mut Grant| grant.kind == GrantKind::Prepaid && grant.pays_at(event_time);
        spend(self.grants.iter_mut().filter(pays), &mut rest);
        assert_eq!(rest, 0, "no more is drawn from a balance than it has");
    }

    /// Gives back what was drawn in a period, in reverse order. Returns what nobody has then: it came from a grant that has
    /// ended by `now`, or that is forgotten.
    pub fn give_back(&mut self, period: Window, amount_micro: i64, now: Timestamp) -> i64 {
        let mut rest = amount_micro;
        let of_period = |grant: &&mut Grant| grant.kind == GrantKind::Purchased && grant.period_start == period.start;
        // One of a period that is over still pays late charges of that.
        let is_over = |grant: &Grant| grant.has_ended(now) || grant.voided_micro > 0;
        let lost = unspend(self.grants.iter_mut().rev().filter(of_period), &mut rest, is_over);
        let Some(drawn) = self.drawn.iter_mut().find(|drawn| drawn.period_start == period.start) else {
            return lost + rest;
        };
        let included_micro = rest.min(drawn.included_micro);
        drawn.included_micro -= included_micro;
        lost + rest - included_micro
    }

    /// Gives back what was drawn from the prepaid balance, in reverse order. Returns what nobody has then.
    pub fn give_back_prepaid(&mut self, amount_micro: i64, now: Timestamp) -> i64 {
        let mut rest = amount_micro;
        let prepaid = self.grants.iter_mut().rev().filter(|grant| grant.kind == GrantKind::Prepaid);
        let lost = unspend(prepaid, &mut rest, |grant| grant.has_ended(now) || grant.voided_micro > 0);
        lost + rest
    }

    /// Adds a grant at its place in the order of drawing.
    pub fn add(&mut self, grant: Grant) {
        let expiry = |grant: &Grant| grant.expires_at.filter(|_| !grant.outlives_period).unwrap_or(Timestamp::MAX);
        let order = |grant: &Grant| (grant.priority, expiry(grant), grant.id.clone());
        let place = self.grants.partition_point(|known| order(known) < order(&grant));
        self.grants.insert(place, grant);
    }

    /// Notes what has begun and ended by `now`, in the period that begins at `period_start`.
    pub fn turn(&mut self, period_start: Timestamp, now: Timestamp) -> Turn {
        let mut turn = Turn::default();
        for grant in &mut self.grants {
            let counts = grant.kind == GrantKind::Purchased && grant.period_start == period_start;
            let begins = !grant.begun && grant.effective_from.is_none_or(|from| from <= now);
            let is_over =
                grant.has_ended(now) || (grant.kind == GrantKind::Purchased && grant.period_start < period_start);
            let ends = !grant.ended && is_over;
            grant.begun |= begins;
            grant.ended |= ends;
            // One that was voided before brings and takes nothing.
            let has_left = grant.left_micro() > 0;
            turn.begun |= begins && has_left;
            turn.ended |= ends && has_left;
            turn.other_size |= counts && (begins || ends) && has_left;
        }
        turn
    }

    /// Voids what is left of grants that ended by `until`: what came in time was paid by then.
    pub fn settle(&mut self, until: Timestamp) {
        for grant in self.grants.iter_mut().filter(|grant| grant.has_ended(until)) {
            grant.voided_micro += grant.left_micro();
        }
    }

    /// When something changes here by itself: a grant begins or ends, or what is left of it is lost a grace later; a
    /// purchase ends with its period, that of `period` with that; a reload lapses, or one may be asked for again.
    pub fn next_change(&self, period: Window, grace_ms: i64) -> Option<Timestamp> {
        let changes = self.grants.iter().filter(|grant| grant.left_micro() > 0).flat_map(|grant| {
            let begins = grant.effective_from.filter(|_| !grant.begun);
            let period_end = if grant.period_start < period.start { period.start } else { period.end };
            let with_period = (grant.kind == GrantKind::Purchased).then_some(period_end);
            let ends = grant.expires_at.into_iter().chain(with_period).min().filter(|_| !grant.ended);
            let is_lost = grant.expires_at.filter(|_| !grant.outlives_period).map(|expiry| expiry.plus_ms(grace_ms));
            [begins, ends, is_lost]
        });
        changes.flatten().chain(self.reload.as_ref().and_then(|reload| reload.next_look())).min()
    }

    /// Makes room for another grant by dropping what is done. Returns whether there is room.
    pub fn make_room(&mut self, period_start: Timestamp, record_time: Timestamp, horizon_ms: i64) -> bool {
        if self.grants.len() >= GRANTS_MAX {
            self.grants.retain(|grant| !grant.is_done(period_start, record_time, horizon_ms));
        }
        self.grants.len() < GRANTS_MAX
    }

    fn purchased(&self, period_start: Timestamp) -> impl Iterator<Item = &Grant> {
        let of_period = move |grant: &&Grant| grant.kind == GrantKind::Purchased && grant.period_start == period_start;
        self.grants.iter().filter(of_period)
    }

    fn prepaid(&self) -> impl Iterator<Item = &Grant> {
        self.grants.iter().filter(|grant| grant.kind == GrantKind::Prepaid)
    }

    fn included_left_micro(&self, period_start: Timestamp) -> i64 {
        let drawn = self.drawn.iter().find(|drawn| drawn.period_start == period_start);
        let is_forgotten = self.drawn.len() >= PERIODS_KEPT && self.drawn[0].period_start > period_start;
        if drawn.is_none() && is_forgotten {
            // What was drawn of it then is no longer known, so nothing is left of it.
            return 0;
        }
        (self.included_micro(period_start) - drawn.map_or(0, |drawn| drawn.included_micro)).max(0)
    }

    /// The use of a period, begun if it is new. What belongs to periods before those that are kept is dropped then.
    pub fn drawn_in(&mut self, period_start: Timestamp) -> &mut Drawn {
        if !self.drawn.iter().any(|drawn| drawn.period_start == period_start) {
            self.drawn.push(Drawn { period_start, included_micro: 0 });
            self.drawn.sort_by_key(|drawn| drawn.period_start);
            // What was just begun is kept, however old, until the next one is begun.
            while self.drawn.len() > PERIODS_KEPT && self.drawn[0].period_start != period_start {
                self.drawn.remove(0);
            }
        }
        self.drawn.iter_mut().find(|drawn| drawn.period_start == period_start).expect("it was begun above")
    }
}

fn spend<'a>(grants: impl Iterator<Item = &'a mut Grant>, rest: &mut i64) {
    for grant in grants {
        let part = (*rest).min(grant.left_micro()).max(0);
        grant.spent_micro += part;
        *rest -= part;
    }
}

/// Gives back to grants; what comes back to one that has ended is nobody's, and counted.
fn unspend<'a>(grants: impl Iterator<Item = &'a mut Grant>, rest: &mut i64, is_over: impl Fn(&Grant) -> bool) -> i64 {
    let mut lost = 0;
    for grant in grants {
        let part = (*rest).min(grant.spent_micro);
        grant.spent_micro -= part;
        *rest -= part;
        if is_over(grant) {
            grant.voided_micro += part;
            lost += part;
        }
    }
    lost
}

#[cfg(test)]
mod tests {
    use super::*;

    fn period(start: i64) -> Window {
        Window { start: Timestamp::from_ms(start), end: Timestamp::from_ms(start + 10) }
    }

    fn grant(id: &str, kind: GrantKind, amount_micro: i64, priority: u8, expires_at: Option<i64>) -> Grant {
        Grant {
            id: id.into(),
            kind,
            amount_micro,
            spent_micro: 0,
            voided_micro: 0,
            priority,
            effective_from: None,
            expires_at: expires_at.map(Timestamp::from_ms),
            period_start: Timestamp::from_ms(0),
            begun: true,
            ended: false,
            recorded: Timestamp::from_ms(0),
            reload_id: None,
            outlives_period: false,
        }
    }

    fn spent(pool: &Pool) -> String {
        let grants = pool.grants.iter().map(|grant| format!("{} {}", grant.id, grant.spent_micro));
        grants.collect::<Vec<_>>().join(", ")
    }

    #[test]
    fn a4_what_is_included_is_fresh_in_every_period_and_does_not_roll_over() {
        let mut pool = Pool::default();
        pool.include(Timestamp::from_ms(0), 100);
        let at = Timestamp::from_ms(5);
        pool.draw(period(0), at, 60);
        assert_eq!([pool.left_micro(period(0), at), pool.left_micro(period(10), at)], [40, 100]);
        pool.include(Timestamp::from_ms(10), 70);
        assert_eq!([pool.left_micro(period(0), at), pool.left_micro(period(10), at)], [40, 70]);
        assert_eq!(
            (pool.drawn_micro(Timestamp::from_ms(0)), pool.drawn_micro(Timestamp::from_ms(10))),
            (Some(60), None)
        );
    }

    #[test]
    fn a8_grants_are_drawn_by_priority_then_expiry_then_id_and_given_back_in_reverse() {
        let mut pool = Pool::default();
        pool.include(Timestamp::from_ms(0), 10);
        for (id, priority, expiry) in [("d", 1, None), ("c", 0, None), ("b", 0, Some(9)), ("a", 0, Some(9))] {
            pool.add(grant(id, GrantKind::Purchased, 10, priority, expiry));
        }
        let at = Timestamp::from_ms(5);
        pool.draw(period(0), at, 35);
        assert_eq!(spent(&pool), "a 10, b 10, c 5, d 0");
        let (start, end) = (Timestamp::from_ms(0), Timestamp::from_ms(9));
        // What comes back to a grant that has ended is nobody's.
        assert_eq!((pool.give_back(period(0), 10, end), spent(&pool)), (5, "a 10, b 5, c 0, d 0".to_owned()));
        // Nor what comes back to one of which something was taken away before.
        assert_eq!((pool.give_back(period(0), 20, at), spent(&pool)), (5, "a 0, b 0, c 0, d 0".to_owned()));
        assert_eq!((pool.drawn[0].included_micro, pool.give_back(period(0), 9, at)), (5, 4));
        // Those that expired by the event's time pay nothing, and count with what was spent of them.
        assert_eq!((pool.left_micro(period(0), end), pool.size_micro(start, at)), (10 + 20, 10 + 30));
        assert_eq!(pool.size_micro(start, end), 10 + 20);
        let turn = Turn { ended: true, other_size: true, begun: false };
        assert_eq!(
            [pool.turn(start, at), pool.turn(start, end), pool.turn(start, end)],
            [Turn::default(), turn, Turn::default()]
        );
    }

    #[test]
    fn b2_a_prepaid_balance_carries_over() {
        let mut pool = Pool::default();
        pool.add(grant("g", GrantKind::Prepaid, 10, 0, None));
        pool.draw_prepaid(Timestamp::from_ms(5), 4);
        assert_eq!(pool.prepaid_left_micro(Timestamp::from_ms(1_000)), 6);
        assert_eq!(pool.give_back_prepaid(5, Timestamp::from_ms(7)), 1);
        for start in 1..9 {
            pool.drawn_in(Timestamp::from_ms(start * 10));
        }
        assert_eq!(pool.prepaid_left_micro(Timestamp::from_ms(1_000)), 10);
    }
}
