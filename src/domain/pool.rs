//! The credit pool of a workspace or an organization (row A4): what is included in every period, and what was granted.

use serde::{Deserialize, Serialize};

use super::{time::Timestamp, window::Window};

/// At most this many grants are kept for one period of a pool.
pub const GRANTS_MAX: usize = 1_000;

/// Periods for which a pool remembers what was drawn: the running one, the one before, and two for late events.
const PERIODS_KEPT: usize = 4;

/// Credits added to the pool for one billing period (row A8). What is unused does not roll over.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Grant {
    /// Chosen by who grants; the same id twice is one grant.
    pub id: Box<str>,
    /// How much, in micro-credits; at least 1.
    pub amount_micro: i64,
    /// The start of the period that it belongs to.
    pub period_start: Timestamp,
}

/// What was drawn from the pool in one period.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Drawn {
    /// The start of the period.
    pub period_start: Timestamp,
    /// How much, in micro-credits.
    pub drawn_micro: i64,
}

/// The pool of one scope. The nearest pool pays: a workspace's before its organization's.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Pool {
    /// Fresh in every period, by definition of the period: no record has to arrive.
    pub included_micro: i64,
    /// Shares of the pool to announce, ascending.
    pub thresholds_percent: Vec<u16>,
    /// Grows with each change of what is granted.
    pub revision: u64,
    /// Grants of the periods that are kept.
    pub grants: Vec<Grant>,
    /// Use by period, oldest first.
    pub drawn: Vec<Drawn>,
}

impl Pool {
    /// All that the pool holds in a period: included and granted.
    pub fn size_micro(&self, period_start: Timestamp) -> i64 {
        let granted = self.grants.iter().filter(|grant| grant.period_start == period_start);
        granted.fold(self.included_micro, |sum, grant| sum.saturating_add(grant.amount_micro))
    }

    /// What was drawn in a period, or `None` before its first charge.
    pub fn drawn_micro(&self, period_start: Timestamp) -> Option<i64> {
        self.drawn.iter().find(|drawn| drawn.period_start == period_start).map(|drawn| drawn.drawn_micro)
    }

    /// Takes as much of `charge_micro` as the period has left and returns that part; never more than there is.
    pub fn draw(&mut self, period: Window, charge_micro: i64) -> i64 {
        let left = self.size_micro(period.start).saturating_sub(self.drawn_micro(period.start).unwrap_or(0));
        let paid = charge_micro.min(left).max(0);
        match self.drawn.iter_mut().find(|drawn| drawn.period_start == period.start) {
            Some(drawn) => drawn.drawn_micro += paid,
            None => self.drawn.push(Drawn { period_start: period.start, drawn_micro: paid }),
        }
        self.drawn.sort_by_key(|drawn| drawn.period_start);
        self.forget_old_periods();
        paid
    }

    /// Drops what belongs to periods before those that are kept.
    fn forget_old_periods(&mut self) {
        if self.drawn.len() > PERIODS_KEPT {
            self.drawn.drain(..self.drawn.len() - PERIODS_KEPT);
            let oldest = self.drawn[0].period_start;
            self.grants.retain(|grant| grant.period_start >= oldest);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a4_a_pool_pays_what_it_has_and_does_not_roll_over() {
        let period = |start| Window { start: Timestamp::from_ms(start), end: Timestamp::from_ms(start + 10) };
        let mut pool =
            Pool { included_micro: 100, thresholds_percent: vec![], revision: 1, grants: vec![], drawn: vec![] };
        assert_eq!([pool.draw(period(0), 60), pool.draw(period(0), 60), pool.draw(period(0), 60)], [60, 40, 0]);
        assert_eq!(pool.draw(period(10), 70), 70);
        pool.grants.push(Grant { id: "g".into(), amount_micro: 50, period_start: Timestamp::from_ms(10) });
        assert_eq!([pool.draw(period(10), 70), pool.draw(period(10), 70)], [70, 10]);
        assert_eq!(pool.size_micro(Timestamp::from_ms(20)), 100);
    }
}
