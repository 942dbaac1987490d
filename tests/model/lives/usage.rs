//! Usage: mostly of the moment and of somebody known; late, early, resent, of nobody, of unknown agents at times.

use rand::{Rng, seq::IndexedRandom};

use super::{
    AGENTS, Drawer, USERS, Vocabulary, WORKSPACES,
    instants::{DAY_MS, HOUR_MS, MINUTE_MS, SECOND_MS},
};
use crate::life::{EARLY_MS, HORIZON_MS, Use, What};

/// What quantities and prices may be at most.
pub const HUGE: i64 = (1 << 53) - 1;

impl Drawer {
    /// A usage event, or one that comes again.
    pub fn draw_use(&mut self) {
        if self.one_in(30)
            && let Some(mut again) = self.remembered.uses.choose(&mut self.random).cloned()
        {
            if self.one_in(4) {
                again.tokens = Some(self.amount());
                again.phase.clear();
            }
            return self.push(What::Use(again));
        }
        self.used += 1;
        let (tokens, phase) = match self.random.random_range(0..100) {
            0..80 => (Some(self.tokens()), String::new()),
            _ => (None, self.weighted(&[("started", 3), ("completed", 4), ("failed", 1), ("cancelled", 1)]).to_owned()),
        };
        let event = Use {
            id: format!("e{}", self.used),
            time_ms: self.event_time(),
            workspace: self.rarely_none(12).map(|()| self.one(&WORKSPACES).to_owned()),
            agent: self.rarely_none(8).map(|()| self.agent_id()),
            user: self.rarely_none(8).map(|()| self.one(&USERS).to_owned()),
            product: self.sometimes(6).map(|()| self.one(&["chat", "code", "desktop"]).to_owned()),
            trigger: self.sometimes(6).map(|()| self.one(&["mail", "schedule"]).to_owned()),
            model: self.model().map(str::to_owned),
            tokens,
            phase,
        };
        self.remembered.uses.push(event.clone());
        self.push(What::Use(event));
    }

    /// Mostly named; an account of before knows only events that name one.
    fn model(&mut self) -> Option<&'static str> {
        match self.vocabulary {
            Vocabulary::Old => Some(self.weighted(&[("small", 8), ("large", 1), ("new", 1)])),
            Vocabulary::Whole => self.weighted(&[(Some("small"), 6), (Some("large"), 1), (Some("new"), 1), (None, 2)]),
        }
    }

    fn agent_id(&mut self) -> String {
        if self.one_in(25) { self.one(&["stray", "late"]).to_owned() } else { self.one(&AGENTS).to_owned() }
    }

    fn tokens(&mut self) -> i64 {
        self.weighted(&[(0, 2), (1, 10), (5, 40), (10, 25), (20, 15), (50, 10), (100, 5), (1_000, 1), (1_000_000, 1)])
    }

    /// An amount of a pool, a grant, a cap.
    pub fn amount(&mut self) -> i64 {
        self.weighted(&[(0, 8), (1, 4), (5, 8), (10, 20), (20, 20), (50, 20), (100, 15), (1_000, 5), (HUGE, 1)])
    }

    fn event_time(&mut self) -> i64 {
        let now = self.now_ms;
        match self.random.random_range(0..100) {
            0..80 => now,
            80..86 => now - self.random.random_range(0..=5 * MINUTE_MS) / SECOND_MS * SECOND_MS,
            86..91 => now - self.random.random_range(0..=10 * HOUR_MS) / SECOND_MS * SECOND_MS,
            91..95 => now - self.random.random_range(0..=2 * DAY_MS) / SECOND_MS * SECOND_MS,
            95 => now - HORIZON_MS + self.one(&[-1, 0, 1]) * SECOND_MS,
            96 => now + EARLY_MS + self.one(&[-1, 0, 1]) * SECOND_MS,
            97 => now + self.random.random_range(0..=EARLY_MS) / SECOND_MS * SECOND_MS,
            98 => self.earlier(),
            // Together with another event: in its windows, to the second.
            _ => self.remembered.uses.last().map_or(now, |used| used.time_ms),
        }
    }

    fn rarely_none(&mut self, one_in: u32) -> Option<()> {
        (!self.one_in(one_in)).then_some(())
    }

    /// `Some` once in so many times.
    pub fn sometimes(&mut self, one_in: u32) -> Option<()> {
        self.one_in(one_in).then_some(())
    }
}
