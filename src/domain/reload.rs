//! Auto-reload: when the prepaid balance falls to a mark, more is asked for (row B2).

use serde::{Deserialize, Serialize};

use super::{signal::Identity, time::Timestamp};

/// Why a reload that would be asked for is not.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Blocked {
    /// The organization's limits on extra credits have no room for more.
    OrganizationLimit,
    /// As many were asked for in the local day as may be.
    PerDayMax,
}

impl Blocked {
    /// The name used in records.
    pub const fn name(self) -> &'static str {
        match self {
            Self::OrganizationLimit => "organization_limit",
            Self::PerDayMax => "per_day_max",
        }
    }
}

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
    /// The last one that was asked for: the next derives its identity from it.
    pub last: Option<Box<str>>,
    /// Whether any may be asked for now; what was asked before is remembered either way.
    pub enabled: bool,
    /// When to look again, after one could not be asked for.
    pub again_at: Option<Timestamp>,
    /// The local day in which the last one was asked for, and how many were then.
    pub asked: (Timestamp, u16),
    /// The bounds that were told since the last one was asked for, or the balance was above the mark.
    #[serde(default)]
    pub told_blocked: Vec<Blocked>,
    /// The next charge asks again, after a refusal.
    #[serde(default)]
    pub refused: bool,
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
        self.open = self.open.filter(|open| open.lapses_at > at);
        self.again_at = self.again_at.filter(|again| *again > at);
    }

    /// Whether this is the identity of the one that is open at `now`.
    pub fn is_open(&self, identity: &str, now: Timestamp) -> bool {
        self.open.is_some_and(|open| open.lapses_at > now && open.identity.to_string() == identity)
    }

    /// Whether the local day that begins at `day` has room for one more.
    pub fn day_has_room(&self, day: Timestamp) -> bool {
        self.asked.0 != day || self.asked.1 < self.per_day_max
    }

    /// Notes that one was asked for.
    pub fn ask(&mut self, identity: Identity, now: Timestamp, day: Timestamp) {
        let before = if self.asked.0 == day { self.asked.1 } else { 0 };
        self.asked = (day, before + 1);
        (self.again_at, self.refused) = (None, false);
        self.told_blocked.clear();
        self.last = Some(identity.to_string().into());
        self.open = Some(OpenReload { identity, lapses_at: now.plus_ms(self.lapse_ms) });
    }
}
