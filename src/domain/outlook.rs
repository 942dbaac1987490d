//! Where usage leads: an estimate, and when a pool or a limit will be used up by it (row C10). Nothing is decided by it.

use super::{
    scope::Scope,
    time::{HOUR_MS, Timestamp},
    window::Window,
};

/// An exhaustion is news if it has moved by more than this share of the time that is left, in percent; and by an hour.
const MOVES_BY_PERCENT: i64 = 10;

/// A sum with the range in which it is meant to lie in four of five cases; docs/forecast.md has how often it did.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Expected {
    /// Expected.
    pub sum: i64,
    /// Meant to be at least this in nine of ten cases.
    pub low: i64,
    /// Meant to be at most this in nine of ten cases.
    pub high: i64,
}

/// When a pool or a limit of the period will be used up.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Outlook {
    /// Whose: the organization or a workspace.
    pub scope: Scope,
    /// Which limit; `None` is the pool.
    pub limit_id: Option<Box<str>>,
    /// The billing period.
    pub period: Window,
    /// Used so far.
    pub used_micro: i64,
    /// What may be used.
    pub cap_micro: i64,
    /// What the period is expected to end with.
    pub expected: Expected,
    /// When that is reached; `None` if not before the reset.
    pub exhausted_at: Option<Timestamp>,
    /// What it is made of.
    pub method: &'static str,
    /// When this was expected.
    pub at: Timestamp,
}

impl Outlook {
    /// Whether both are of one pool or limit in one period.
    pub fn is_of_the_same(&self, other: &Self) -> bool {
        (&self.scope, &self.limit_id, self.period.start) == (&other.scope, &other.limit_id, other.period.start)
    }

    /// Whether this has to be told after what was told before: an exhaustion before the reset that is new, is gone, or has
    /// moved by much.
    pub fn is_news_after(&self, before: Option<&Self>) -> bool {
        match (before.and_then(|before| before.exhausted_at), self.exhausted_at) {
            (None, now) => now.is_some(),
            (Some(_), None) => true,
            // It is used up, and was told to be.
            (Some(before), Some(now)) if before <= self.at && now <= self.at => false,
            (Some(before), Some(now)) => {
                let left_ms = now.since_ms(self.at).max(0);
                before.since_ms(now).abs() > HOUR_MS.max(left_ms / 100 * MOVES_BY_PERCENT)
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn at(hours: i64) -> Timestamp {
        Timestamp::from_ms(hours * HOUR_MS)
    }

    #[test]
    fn c10_an_exhaustion_is_news_if_it_comes_goes_or_moves_by_much() {
        let outlook = |exhausted: Option<i64>| Outlook {
            scope: Scope::Organization,
            limit_id: None,
            period: Window { start: at(0), end: at(720) },
            used_micro: 0,
            cap_micro: 1,
            expected: Expected { sum: 0, low: 0, high: 0 },
            exhausted_at: exhausted.map(at),
            method: "run_rate",
            at: at(100),
        };
        let check = |before: Option<Option<i64>>, now: Option<i64>, expected: bool| {
            let before = before.map(outlook);
            assert_eq!(outlook(now).is_news_after(before.as_ref()), expected, "{before:?} {now:?}");
        };
        check(None, None, false);
        check(None, Some(300), true);
        check(Some(None), Some(300), true);
        check(Some(Some(300)), None, true);
        check(Some(Some(300)), Some(310), false);
        check(Some(Some(300)), Some(340), true);
        check(Some(Some(101)), Some(102), false);
        check(Some(Some(101)), Some(103), true);
    }
}
