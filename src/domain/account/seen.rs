//! Which events an account has applied: ids decide (design section 4, rule 1).
//!
//! Event time is cut into *segments*, each with the ids of the events that fall into it. A resend carries the time of
//! the original, so exactly one segment has to be searched. A new segment begins, in front of all others, when the
//! newest one is full or long; older ones only grow by late events. The list of segments is small (8 bytes for some
//! thousand ids), is stored in the field `segments`, and is all that has to be known to say which segments exist.

use serde::{Deserialize, Serialize};

use super::id_table::{ID_BYTES, IdTable, packed};
use crate::domain::{
    ids::EventId,
    time::{MINUTE_MS, Timestamp},
};

/// A segment with this many ids is followed by a new one: its load stays small (some 30 KB), and no event falls to a
/// chance collision with one of millions. So many fill a table of 4,096 places, with 13.3 bytes for each.
const SEGMENT_IDS: usize = 3_072;

/// A segment is written to its exact size when events are this far past its end; until then Redis may keep room.
const SEAL_AFTER_MS: i64 = MINUTE_MS;

/// Loaded segments that an account keeps in memory beside the newest; older ones are loaded again when needed.
const LOADED_KEPT: usize = 16;

/// What the ids say of an event.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Sighting {
    /// Never seen.
    Fresh,
    /// Applied before.
    Duplicate,
    /// Its id was applied with other content.
    Reused,
}

/// What is stored in the field `segments`.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
struct Directory {
    /// The first event time of each segment, ascending; the first segment also covers all that is before it.
    starts: Vec<Timestamp>,
    /// How many segments, from the first, are written to their exact size.
    sealed: usize,
    /// Ids of events before this are forgotten.
    #[serde(default)]
    forgotten_before: Option<Timestamp>,
}

#[derive(Debug, Default)]
struct Segment {
    ids: IdTable,
    /// Ids not yet committed, as they will be appended.
    appended: Vec<u8>,
}

impl Segment {
    fn is_full(&self) -> bool {
        self.ids.len() >= SEGMENT_IDS
    }
}

/// The ids of one account, as far as they are in memory.
#[derive(Debug, Default)]
pub struct SeenIds {
    directory: Directory,
    directory_changed: bool,
    /// One for each start; `None` is not loaded.
    segments: Vec<Option<Segment>>,
    dropped: Vec<Timestamp>,
}

/// What a commit does to the stored ids. Segments are named by their start.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct SeenChanges {
    /// The packed directory, if it changed.
    pub directory: Option<Vec<u8>>,
    /// Ids to append.
    pub append: Vec<(Timestamp, Vec<u8>)>,
    /// Segments to rewrite to their exact size.
    pub seal: Vec<Timestamp>,
    /// Segments beyond the horizon.
    pub remove: Vec<Timestamp>,
}

impl SeenIds {
    /// The ids of an account whose stored directory is `packed` (`None`: it has none yet).
    ///
    /// # Errors
    /// As [`super::layout::unpack`].
    pub fn from_directory(packed: Option<&[u8]>) -> Result<Self, super::layout::LayoutError> {
        let directory: Directory =
            packed.map_or(Ok(Directory::default()), |bytes| super::layout::unpack("segments", bytes))?;
        let segments = directory.starts.iter().map(|_| None).collect();
        Ok(Self { directory, segments, ..Self::default() })
    }

    /// About how much memory the ids take, in bytes.
    pub fn bytes(&self) -> usize {
        let of_segment = |segment: &Segment| segment.ids.bytes() + segment.appended.capacity();
        let loaded: usize = self.segments.iter().flatten().map(of_segment).sum();
        loaded + self.segments.capacity() * size_of::<Option<Segment>>()
    }

    /// Whether no segment is known.
    pub fn is_empty(&self) -> bool {
        self.segments.is_empty()
    }

    /// The segment that has to be loaded before an event of this time can be looked up.
    pub fn missing(&self, event_time: Timestamp) -> Option<Timestamp> {
        let position = self.covering(event_time)?;
        self.segments[position].is_none().then(|| self.directory.starts[position])
    }

    /// Takes in a stored segment; `None` is one that is empty or was swept up.
    ///
    /// # Errors
    /// [`super::layout::LayoutError::Corrupt`] if it is not made of whole ids.
    pub fn fill(&mut self, start: Timestamp, stored: Option<&[u8]>) -> Result<(), super::layout::LayoutError> {
        let stored = stored.unwrap_or_default();
        if !stored.len().is_multiple_of(ID_BYTES) {
            let why = format!("{} bytes are not whole ids", stored.len());
            return Err(super::layout::LayoutError::Corrupt { what: "segment of ids", why });
        }
        let (ids, _) = stored.as_chunks::<ID_BYTES>();
        let mut segment = Segment { ids: IdTable::with_capacity(ids.len()), appended: Vec::new() };
        // Each was fresh when it was appended.
        ids.iter().for_each(|id| segment.ids.insert(*id));
        if let Ok(position) = self.directory.starts.binary_search(&start) {
            self.segments[position] = Some(segment);
        }
        Ok(())
    }

    /// Asks the processor for where an event will be looked up.
    pub fn prefetch(&self, event_time: Timestamp, id: EventId) {
        if let Some(segment) = self.covering(event_time).and_then(|position| self.segments[position].as_ref()) {
            segment.ids.prefetch(&packed(id.fingerprint.0, id.check.0));
        }
    }

    /// Looks an event up. Its segment has to be loaded (see [`SeenIds::missing`]).
    pub fn look_up(&self, event_time: Timestamp, id: EventId) -> Sighting {
        let Some(position) = self.covering(event_time) else { return Sighting::Fresh };
        let segment = self.segments[position].as_ref().expect("the segment was loaded before the event is decided");
        let id = packed(id.fingerprint.0, id.check.0);
        match segment.ids.find(&id) {
            None => Sighting::Fresh,
            Some(known) if known == id => Sighting::Duplicate,
            Some(_) => Sighting::Reused,
        }
    }

    /// Remembers an event that [`SeenIds::look_up`] found fresh. `newest_event_time` is the latest event time of the
    /// account so far, this event's excluded.
    pub fn insert(&mut self, event_time: Timestamp, id: EventId, newest_event_time: Timestamp, horizon_ms: i64) {
        self.cut(event_time, newest_event_time, horizon_ms);
        let position = self.covering(event_time).expect("there is a segment after the cut");
        let segment = self.segments[position].as_mut().expect("the segment was loaded before the event is decided");
        let id = packed(id.fingerprint.0, id.check.0);
        segment.ids.insert(id);
        segment.appended.extend_from_slice(&id);
    }

    /// Begins a new segment where the newest one is full, or longer than a quarter of the horizon. The cut lies
    /// behind every event so far, so that no id is in another segment than its time says.
    fn cut(&mut self, event_time: Timestamp, newest_event_time: Timestamp, horizon_ms: i64) {
        let begins_at = match self.segments.last() {
            None => event_time,
            Some(newest) => {
                let start = *self.directory.starts.last().expect("starts and segments are as many");
                let cut = newest_event_time.plus_ms(1).max(start.plus_ms(1));
                let full = newest.as_ref().is_some_and(Segment::is_full);
                let long = event_time.since_ms(start) > horizon_ms / 4;
                if event_time < cut || !(full || long) {
                    return;
                }
                cut
            }
        };
        // What follows a full segment will be full.
        let follows_full = self.segments.last().and_then(Option::as_ref).is_some_and(Segment::is_full);
        let room = if follows_full { SEGMENT_IDS } else { 0 };
        self.directory.starts.push(begins_at);
        self.segments.push(Some(Segment { ids: IdTable::with_capacity(room), appended: Vec::new() }));
        self.directory_changed = true;
    }

    /// Whether the ids of that time are forgotten: then nobody can tell an event from its resend.
    pub fn has_forgotten(&self, event_time: Timestamp) -> bool {
        self.directory.forgotten_before.is_some_and(|before| event_time < before)
    }

    /// Forgets segments that end before `oldest`, the low water less the time that ids are kept.
    pub fn expire(&mut self, oldest: Timestamp) {
        let expired = self.directory.starts.iter().skip(1).take_while(|next_start| **next_start <= oldest).count();
        if expired > 0 {
            self.dropped.extend(self.directory.starts.drain(..expired));
            self.segments.drain(..expired);
            self.directory.sealed = self.directory.sealed.saturating_sub(expired);
            self.directory.forgotten_before = self.directory.starts.first().copied();
            self.directory_changed = true;
        }
    }

    /// What the next commit has to write; what is returned counts as written.
    pub fn take_changes(&mut self, newest_event_time: Timestamp) -> SeenChanges {
        let mut changes = SeenChanges { remove: std::mem::take(&mut self.dropped), ..SeenChanges::default() };
        for (start, segment) in self.directory.starts.iter().zip(&mut self.segments) {
            if let Some(segment) = segment.as_mut().filter(|segment| !segment.appended.is_empty()) {
                changes.append.push((*start, std::mem::take(&mut segment.appended)));
            }
        }
        let past = newest_event_time.plus_ms(-SEAL_AFTER_MS);
        let sealable = self.directory.starts.iter().skip(1).take_while(|end| **end <= past).count();
        if sealable > self.directory.sealed {
            changes.seal = self.directory.starts[self.directory.sealed..sealable].to_vec();
            self.directory.sealed = sealable;
            self.directory_changed = true;
        }
        if std::mem::take(&mut self.directory_changed) {
            changes.directory = Some(super::layout::pack(&self.directory));
        }
        self.unload_oldest();
        changes
    }

    fn unload_oldest(&mut self) {
        let loaded = self.segments.iter().filter(|segment| segment.is_some()).count();
        let surplus = loaded.saturating_sub(LOADED_KEPT);
        for segment in self.segments.iter_mut().filter(|segment| segment.is_some()).take(surplus) {
            *segment = None;
        }
    }

    /// The position of the segment that covers `event_time`; `None` if there is none at all.
    fn covering(&self, event_time: Timestamp) -> Option<usize> {
        if self.directory.starts.last().is_some_and(|newest| *newest <= event_time) {
            return Some(self.directory.starts.len() - 1);
        }
        let later = self.directory.starts.partition_point(|start| *start <= event_time);
        (!self.segments.is_empty()).then(|| later.saturating_sub(1))
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::domain::ids::{ContentCheck, Fingerprint};

    const HORIZON_MS: i64 = 48 * 60 * MINUTE_MS;

    fn event_id(id: u64, check: u16) -> EventId {
        EventId { fingerprint: Fingerprint(id), check: ContentCheck(check) }
    }

    fn insert(seen: &mut SeenIds, id: u64, time: i64, newest: i64) {
        seen.insert(Timestamp::from_ms(time), event_id(id, 1), Timestamp::from_ms(newest), HORIZON_MS);
    }

    fn look_up(seen: &SeenIds, id: u64, time: i64, check: u16) -> Sighting {
        seen.look_up(Timestamp::from_ms(time), event_id(id, check))
    }

    #[test]
    fn u_1_an_id_is_found_again_wherever_segments_were_cut() {
        let mut seen = SeenIds::default();
        let (mut newest, mut ids) = (0, Vec::new());
        for id in 0..20_000_u64 {
            // Up to 2 s out of order.
            let time = 1_000_000 + (id as i64) * 10 - ((id * 7_919) % 2_000) as i64;
            assert_eq!(look_up(&seen, id, time, 1), Sighting::Fresh);
            insert(&mut seen, id, time, newest);
            newest = newest.max(time);
            ids.push((id, time));
        }
        assert_eq!(seen.directory.starts.len(), 20_000 / SEGMENT_IDS + 1);
        for (id, time) in ids {
            assert_eq!(look_up(&seen, id, time, 1), Sighting::Duplicate, "{id}");
            assert_eq!(look_up(&seen, id, time, 2), Sighting::Reused, "{id}");
        }
    }

    #[test]
    fn u_1_stored_segments_are_found_again_after_a_load() {
        let mut seen = SeenIds::default();
        for id in 0..10_000_u64 {
            insert(&mut seen, id, id as i64, id as i64 - 1);
        }
        let changes = seen.take_changes(Timestamp::from_ms(9_999));
        let mut again = SeenIds::from_directory(changes.directory.as_deref()).expect("the directory unpacks");
        for id in 0..10_000_u64 {
            let time = Timestamp::from_ms(id as i64);
            if let Some(start) = again.missing(time) {
                let stored = changes.append.iter().find(|(of, _)| *of == start).map(|(_, bytes)| &bytes[..]);
                again.fill(start, stored).expect("the segment is made of whole ids");
            }
            assert_eq!(look_up(&again, id, id as i64, 1), Sighting::Duplicate);
        }
        assert_eq!(again.take_changes(Timestamp::from_ms(9_999)).append, []);
    }

    #[test]
    fn segments_are_sealed_and_expire() {
        let mut seen = SeenIds::default();
        let quarter = HORIZON_MS / 4 + 1;
        for n in 0..4 {
            insert(&mut seen, n as u64, n * quarter, (n - 1) * quarter);
        }
        let changes = seen.take_changes(Timestamp::from_ms(3 * quarter));
        assert_eq!((seen.directory.starts.len(), changes.seal.len()), (4, 3));
        seen.expire(Timestamp::from_ms(quarter));
        assert_eq!(seen.take_changes(Timestamp::MIN).remove, [Timestamp::from_ms(0)]);
        assert_eq!(look_up(&seen, 1, quarter, 1), Sighting::Duplicate);
    }
}
