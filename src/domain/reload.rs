//! Auto-reload: when the prepaid balance falls to a mark, more is asked for (row B2).

use serde::{Deserialize, Serialize};

use super::{signal::Identity, time::Timestamp};

/// When a prepaid balance is filled up by itself. One reload is open at a time; nothing further is asked for until it
/// is answered or has lapsed.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Reload {
    /// Asked for when the balance is at or below this.
    pub below_micro: i64,
    /// How much is asked for; less if the organization's spend limit has room for less.
    pub amount_micro: i64,
    /// How many may be asked for in one local day.
    pub per_day_max: u16,
    /// How long an answer may take.
    pub lapse_ms: i64,
    /// The one that is asked for and not answered.
    pub open: Option<OpenReload>,
    /// The last one that was answered or lapsed: the next derives its identity from it.
    pub last: Option<Identity>,
    /// The local day in which the last one was asked for, and how many were then.
    pub asked: (Timestamp, u16),
}

/// A reload that was asked for.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct OpenReload {
    /// What the answer has to bear.
    pub identity: Identity,
    /// When it counts as not answered.
    pub lapses_at: Timestamp,
}

impl Reload {
    /// When the open one lapses.
    pub fn lapses_at(&self) -> Option<Timestamp> {
        self.open.map(|open| open.lapses_at)
    }

    /// Closes the open one if it has lapsed by `at`.
    pub fn lapse(&mut self, at: Timestamp) {
        if let Some(open) = self.open.filter(|open| open.lapses_at <= at) {
            (self.open, self.last) = (None, Some(open.identity));
        }
    }

    /// Closes the open one, if it is the one that `answers` names. Returns whether it was.
    pub fn answer(&mut self, answers: &str) -> bool {
        let answered = self.open.filter(|open| open.identity.to_string() == answers);
        if let Some(open) = answered {
            (self.open, self.last) = (None, Some(open.identity));
        }
        answered.is_some()
    }

    /// Whether one more may be asked for in the local day that begins at `day`.
    pub fn may_ask(&self, day: Timestamp) -> bool {
        self.open.is_none() && (self.asked.0 != day || self.asked.1 < self.per_day_max)
    }

    /// Notes that one was asked for.
    pub fn ask(&mut self, identity: Identity, now: Timestamp, day: Timestamp) {
        let before = if self.asked.0 == day { self.asked.1 } else { 0 };
        self.asked = (day, before + 1);
        self.open = Some(OpenReload { identity, lapses_at: now.plus_ms(self.lapse_ms) });
    }
}
