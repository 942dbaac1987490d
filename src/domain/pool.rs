//! Credits of a workspace or an organization: what is included in every period, what was purchased for one, and the
//! prepaid balance that carries over (rows A4, A8, A18, B2).

use serde::{Deserialize, Serialize};

use super::{reload::Reload, time::Timestamp, window::Window};

/// At most this many grants are kept in one pool.
pub const GRANTS_MAX: usize = 1_000;

/// Periods for which a pool remembers what was drawn: the running one, the one before, and two for late events.
const PERIODS_KEPT: usize = 4;

/// What becomes of a grant at the end of a period.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum GrantKind {
    /// Belongs to one billing period and ends with it (row A8).
    Purchased,
    /// Carries over until it is spent or expires (row B2).
    Prepaid,
}

impl GrantKind {
    /// The name used in records and in `bursar show`.
    pub const fn name(self) -> &'static str {
        match self {
            Self::Purchased => "purchased",
            Self::Prepaid => "prepaid",
        }
    }
}

/// Credits added to a pool.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Grant {
    /// Chosen by who grants; the same id twice is one grant.
    pub id: Box<str>,
    /// What becomes of it at the end of the period.
    pub kind: GrantKind,
    /// How much, in micro-credits; at least 1.
    pub amount_micro: i64,
    /// What was drawn of it.
    pub spent_micro: i64,
    /// What was taken back, or expired unspent.
    pub voided_micro: i64,
    /// Grants are drawn by priority (lowest first), then by expiry, then by id.
    pub priority: u8,
    /// Pays for events from this event time on.
    pub effective_from: Option<Timestamp>,
    /// Pays for events before this event time; what is left by then expires.
    pub expires_at: Option<Timestamp>,
    /// The start of the period in which it was granted.
    pub period_start: Timestamp,
    /// Whether its first instant has come, and was announced.
    pub begun: bool,
}

impl Grant {
    /// What is left of it.
    pub const fn left_micro(&self) -> i64 {
        self.amount_micro - self.voided_micro - self.spent_micro
    }

    fn pays_at(&self, event_time: Timestamp) -> bool {
        self.effective_from.is_none_or(|from| from <= event_time)
            && self.expires_at.is_none_or(|expiry| event_time < expiry)
    }
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
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
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

    /// All that the pool holds in a period: included and purchased, without what was taken back.
    pub fn size_micro(&self, period_start: Timestamp) -> i64 {
        self.purchased(period_start).fold(self.included_micro(period_start), |sum, grant| {
            sum.saturating_add(grant.amount_micro - grant.voided_micro)
        })
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

    /// Gives back what was drawn in a period, in reverse order. Returns what could not be.
    pub fn give_back(&mut self, period_start: Timestamp, amount_micro: i64) -> i64 {
        let mut rest = amount_micro;
        let of_period = |grant: &&mut Grant| grant.kind == GrantKind::Purchased && grant.period_start == period_start;
        unspend(self.grants.iter_mut().rev().filter(of_period), &mut rest);
        let drawn = self.drawn_in(period_start);
        let included_micro = rest.min(drawn.included_micro);
        drawn.included_micro -= included_micro;
        rest - included_micro
    }

    /// Gives back what was drawn from the prepaid balance, in reverse order. Returns what could not be.
    pub fn give_back_prepaid(&mut self, amount_micro: i64) -> i64 {
        let mut rest = amount_micro;
        unspend(self.grants.iter_mut().rev().filter(|grant| grant.kind == GrantKind::Prepaid), &mut rest);
        rest
    }

    /// Adds a grant at its place in the order of drawing.
    pub fn add(&mut self, grant: Grant) {
        let order = |grant: &Grant| (grant.priority, grant.expires_at.unwrap_or(Timestamp::MAX), grant.id.clone());
        let place = self.grants.partition_point(|known| order(known) < order(&grant));
        self.grants.insert(place, grant);
        self.revision += 1;
    }

    /// Begins grants whose first instant has come by `at`, and voids what is left of those that expire by then. Returns
    /// whether that changed what the pool holds in a period.
    pub fn begin_and_expire(&mut self, at: Timestamp) -> bool {
        let (mut changed, mut changed_pool) = (false, false);
        for grant in &mut self.grants {
            let begins = !grant.begun && grant.effective_from.is_none_or(|from| from <= at);
            let ends = grant.left_micro() > 0 && grant.expires_at.is_some_and(|expiry| expiry <= at);
            grant.begun |= begins;
            if ends {
                grant.voided_micro += grant.left_micro();
            }
            changed |= begins || ends;
            changed_pool |= ends && grant.kind == GrantKind::Purchased;
        }
        self.revision += u64::from(changed);
        changed_pool
    }

    /// When something changes here by itself: a grant expires or begins, or a reload that was asked for lapses.
    pub fn next_change(&self) -> Option<Timestamp> {
        let open = self.grants.iter().filter(|grant| grant.left_micro() > 0);
        let changes =
            open.flat_map(|grant| [grant.effective_from.filter(|_| !grant.begun), grant.expires_at]).flatten();
        changes.chain(self.reload.as_ref().and_then(|reload| reload.next_look())).min()
    }

    /// Makes room for another grant by dropping what is spent. Returns whether there is room.
    pub fn has_room(&mut self, period_start: Timestamp) -> bool {
        if self.grants.len() >= GRANTS_MAX {
            let matters = |grant: &Grant| {
                grant.left_micro() > 0 || (grant.kind == GrantKind::Purchased && grant.period_start >= period_start)
            };
            self.grants.retain(matters);
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
            let oldest = self.drawn[0].period_start;
            let done = |grant: &Grant| grant.kind == GrantKind::Purchased || grant.left_micro() == 0;
            self.grants.retain(|grant| grant.period_start >= oldest || !done(grant));
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

fn unspend<'a>(grants: impl Iterator<Item = &'a mut Grant>, rest: &mut i64) {
    for grant in grants {
        let part = (*rest).min(grant.spent_micro);
        grant.spent_micro -= part;
        *rest -= part;
    }
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
        assert_eq!(pool.give_back(Timestamp::from_ms(0), 30), 0);
        assert_eq!(spent(&pool), "a 0, b 0, c 0, d 0");
        assert_eq!((pool.drawn[0].included_micro, pool.give_back(Timestamp::from_ms(0), 9)), (5, 4));
        // Those that expired by the event's time pay nothing.
        assert_eq!(pool.left_micro(period(0), Timestamp::from_ms(9)), 10 + 20);
        assert!(pool.begin_and_expire(Timestamp::from_ms(9)) && !pool.begin_and_expire(Timestamp::from_ms(9)));
        assert_eq!(pool.size_micro(Timestamp::from_ms(0)), 10 + 20);
    }

    #[test]
    fn b2_a_prepaid_balance_carries_over() {
        let mut pool = Pool::default();
        pool.add(grant("g", GrantKind::Prepaid, 10, 0, None));
        pool.draw_prepaid(Timestamp::from_ms(5), 4);
        assert_eq!(pool.prepaid_left_micro(Timestamp::from_ms(1_000)), 6);
        assert_eq!(pool.give_back_prepaid(5), 1);
        for start in 1..9 {
            pool.drawn_in(Timestamp::from_ms(start * 10));
        }
        assert_eq!(pool.prepaid_left_micro(Timestamp::from_ms(1_000)), 10);
    }
}
