//! *Time*: what ends by itself, in the order of its instants.

use std::collections::BTreeSet;

use super::{
    Model,
    terms::{Kind, Scope},
};

impl Model {
    /// Does everything that is due by the clock.
    pub fn serve_due(&mut self) {
        let mut turned = BTreeSet::new();
        while let Some(instant) = self.next_due() {
            self.cause = format!("instant {instant}");
            self.begin_and_end_grants(instant, &mut turned);
            for (end, period) in self.history.closings() {
                if end <= instant {
                    self.close(period);
                }
            }
            if self.free_phase_settles() == Some(instant) {
                self.settle_free_phase(instant);
            }
            if self.digest_after() == Some(instant) {
                self.tell_digest(instant);
            }
            self.history.served_ms = instant;
        }
        // Pools tell what they are now, whatever began and ended on the way.
        for owner in turned {
            self.tell_pool_changed(&owner, self.clock_ms, false);
        }
        // What is paused is what is true at the clock, whatever was due on the way to it.
        self.tell_pauses(&BTreeSet::new());
        self.history.served_ms = self.history.served_ms.max(self.clock_ms);
    }

    /// The next instant by the clock at which something is due.
    fn next_due(&self) -> Option<i64> {
        let (after, clock) = (self.history.served_ms, self.clock_ms);
        let mut instants = self.grants_due(after, clock);
        // A period that was used only when it was long over closes at once.
        instants.extend(self.history.closings().into_iter().map(|(end, _)| end.max(after.saturating_add(1))));
        instants.extend(self.free_phase_settles());
        instants.extend(self.digest_after());
        instants.into_iter().filter(|instant| after < *instant && *instant <= clock).min()
    }

    /// The first period start on or after the end of the free phase.
    fn free_phase_settles(&self) -> Option<i64> {
        let until = self.history.free_until.filter(|_| !self.history.is_free_phase_settled)?;
        let period = self.history.calendar.window(Kind::Period, until);
        Some(if period.start == until { until } else { period.end })
    }

    /// Agents of the free phase, while the look at its end is due: what else changes for them is told by it. Those that the
    /// record names are looked at after it as always: what was named and counted since `before` is of the record.
    pub fn agents_to_be_looked_at(&self, before: (usize, usize)) -> BTreeSet<Scope> {
        let is_due = |settles: i64| self.history.served_ms < settles && settles <= self.clock_ms;
        if !self.free_phase_settles().is_some_and(is_due) {
            return BTreeSet::new();
        }
        let mut agents = self.history.agents_of_the_free_phase();
        let by_command = self.history.named[before.0..].iter().map(|(_, scope)| scope.clone());
        let by_usage = self.history.counted[before.1..].iter().flat_map(|one| one.named.scopes());
        for scope in by_command.chain(by_usage) {
            agents.remove(&scope);
        }
        agents
    }

    /// The next digest, if something is pending.
    pub fn digest_after(&self) -> Option<i64> {
        let oldest = self.history.requests.iter().map(|request| request.since_ms).min()?;
        if let Some(owed) = self.history.digest_owed.filter(|owed| *owed >= oldest) {
            return Some(owed);
        }
        Some(self.history.next_digest(self.history.served_ms.max(self.history.digest_ms).max(oldest)))
    }
}
