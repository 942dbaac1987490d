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
    pub last: Option<Box<str>>,
    /// Whether any may be asked for now; what was asked before is remembered either way.
    pub enabled: bool,
    /// When to look again, after one could not be asked for today.
    pub again_at: Option<Timestamp>,
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
    /// When the open one lapses, or another may be asked for.
    pub fn next_look(&self) -> Option<Timestamp> {
        self.open.map(|open| open.lapses_at).into_iter().chain(self.again_at).min()
    }

    /// Closes the open one if it has lapsed by `at`.
    pub fn lapse(&mut self, at: Timestamp) {
        if let Some(open) = self.open.filter(|open| open.lapses_at <= at) {
            (self.open, self.last) = (None, Some(open.identity.to_string().into()));
        }
        self.again_at = self.again_at.filter(|again| *again > at);
    }

    /// Notes an answer. Returns whether it is that to the open one; what else is answered was asked before a rebuild, or
    /// has lapsed, and the next one derives from it all the same.
    pub fn answer(&mut self, answers: &str) -> bool {
        let is_open = self.open.is_some_and(|open| open.identity.to_string() == answers);
        if is_open || self.open.is_none() {
            (self.open, self.last) = (None, Some(answers.into()));
        }
        is_open
    }

    /// Whether one more may be asked for in the local day that begins at `day`.
    pub fn may_ask(&self, day: Timestamp) -> bool {
        self.enabled && self.open.is_none() && (self.asked.0 != day || self.asked.1 < self.per_day_max)
    }

    /// Notes that one was asked for.
    pub fn ask(&mut self, identity: Identity, now: Timestamp, day: Timestamp) {
        let before = if self.asked.0 == day { self.asked.1 } else { 0 };
        self.asked = (day, before + 1);
        self.again_at = None;
        self.open = Some(OpenReload { identity, lapses_at: now.plus_ms(self.lapse_ms) });
    }
}
