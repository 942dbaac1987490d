//! Which events and records an account has applied, and up to when by event time.

use super::{
    changes::{Head, Needs, Stamp},
    layout::LayoutError,
    seen::{SeenChanges, SeenIds, Sighting},
};
use crate::{
    domain::{ids::EventId, reason::Reason, time::Timestamp},
    faults::{Defence, holds},
};

/// What became of an event or a control record.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Outcome {
    /// Counted, or done.
    Applied,
    /// Applied before; nothing changed.
    Duplicate,
    /// It will never be applied.
    DeadLetter(Reason),
    /// A control record that concerns more scopes than one commit may hold: commit, then decide it again.
    Continue,
    /// The ids of its time are forgotten, which they are only once all inputs were applied beyond it. So either somebody
    /// else has applied it long ago, and whoever decides here has lost its partition without knowing, or it is of a
    /// partition that nobody has read so far.
    Overtaken,
}

/// The ids of one account.
#[derive(Debug)]
pub struct Ids {
    seen: SeenIds,
    /// The latest event time of all that was applied.
    newest_event_time: Timestamp,
    /// The same, when the batch began.
    newest_before: Timestamp,
}

impl Default for Ids {
    fn default() -> Self {
        Self { seen: SeenIds::default(), newest_event_time: Timestamp::MIN, newest_before: Timestamp::MIN }
    }
}

impl Ids {
    /// Takes in the directory of what is stored, and the head.
    ///
    /// # Errors
    /// [`LayoutError`] if it cannot be read.
    pub fn fill(&mut self, directory: Option<&[u8]>, head: &Head) -> Result<(), LayoutError> {
        let seen = SeenIds::from_directory(directory)?;
        if holds(Defence::DropRefused) || self.seen.is_empty() {
            self.seen = seen;
        }
        self.newest_event_time = head.newest_event_time;
        self.end_batch();
        Ok(())
    }

    /// Takes in segments that were asked for.
    ///
    /// # Errors
    /// [`LayoutError`] if one cannot be read.
    pub fn fill_segments(&mut self, starts: &[Timestamp], stored: Vec<Option<Vec<u8>>>) -> Result<(), LayoutError> {
        starts.iter().zip(stored).try_for_each(|(start, stored)| self.seen.fill(*start, stored.as_deref()))
    }

    /// Asks for the segment around `time`, if it is missing.
    pub fn need_segment(&self, time: Timestamp, needs: &mut Needs) {
        if let Some(start) = self.seen.missing(time).filter(|start| !needs.segments.contains(start)) {
            needs.segments.push(start);
        }
    }

    /// What is known of an event; `None` if it was never seen.
    pub fn look_for(&self, event_time: Timestamp, id: EventId) -> Option<Outcome> {
        if self.has_forgotten(event_time) {
            return Some(Outcome::Overtaken);
        }
        match self.look_up(event_time, id) {
            Sighting::Fresh => None,
            Sighting::Duplicate => holds(Defence::Ids).then_some(Outcome::Duplicate),
            Sighting::Reused => Some(Outcome::DeadLetter(Reason::IdReused)),
        }
    }

    /// What the ids that are kept say.
    pub fn look_up(&self, time: Timestamp, id: EventId) -> Sighting {
        self.seen.look_up(time, id)
    }

    /// Whether the ids of that time are forgotten.
    pub fn has_forgotten(&self, time: Timestamp) -> bool {
        self.seen.has_forgotten(time) && holds(Defence::Overtaken)
    }

    /// Notes that something was applied.
    pub fn remember(&mut self, time: Timestamp, id: Option<EventId>, horizon_ms: i64) {
        if let Some(id) = id {
            self.seen.insert(time, id, self.newest_event_time, horizon_ms);
        }
        self.newest_event_time = self.newest_event_time.max(time);
    }

    /// The latest event time of all that was applied.
    pub const fn newest_event_time(&self) -> Timestamp {
        self.newest_event_time
    }

    /// Notes that a batch has ended.
    pub fn end_batch(&mut self) {
        self.newest_before = self.newest_event_time;
    }

    /// What is to be written. Ids are forgotten not beyond what this account had seen when the batch began: if Redis was
    /// emptied meanwhile, somebody may begin anew there.
    pub fn take_changes(&mut self, stamp: Stamp) -> SeenChanges {
        self.seen.expire(stamp.low_water.min(self.newest_before).plus_ms(-stamp.horizon_ms));
        self.seen.take_changes(self.newest_event_time)
    }

    /// About how much memory they take, in bytes.
    pub fn bytes(&self) -> usize {
        self.seen.bytes()
    }

    /// Asks the processor for what an event is looked up in.
    pub fn prefetch(&self, event_time: Timestamp, id: EventId) {
        self.seen.prefetch(event_time, id);
    }
}

#[cfg(all(test, feature = "faults"))]
mod tests {
    use super::*;
    use crate::{
        domain::{
            ids::{ContentCheck, Fingerprint},
            time::{DAY_MS, HOUR_MS},
        },
        faults::switch_off,
    };

    /// A worker that has lost its partition without knowing brings what somebody else has applied long ago.
    #[test]
    fn u_1_what_is_older_than_the_ids_that_are_kept_is_overtaken_and_not_new() {
        let day = |day: i64| Timestamp::from_ms(day * DAY_MS);
        let event = |of_day: u64| EventId { fingerprint: Fingerprint(of_day + 1), check: ContentCheck(9) };
        let mut ids = Ids::default();
        for at in [0, 10, 50] {
            ids.remember(day(at), Some(event(at.unsigned_abs())), HOUR_MS);
            ids.end_batch();
            ids.take_changes(Stamp { token: 1, low_water: day(at), horizon_ms: HOUR_MS });
        }
        assert_eq!(ids.look_for(day(50), event(50)), Some(Outcome::Duplicate));
        assert_eq!(ids.look_for(day(0), event(0)), Some(Outcome::Overtaken));
        switch_off(Some(Defence::Overtaken));
        assert_eq!(ids.look_for(day(0), event(0)), None, "without the defence it would be counted again");
        switch_off(None);
    }
}
