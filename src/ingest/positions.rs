//! How far each partition was read and applied, under the fence that its position was read with.

use std::time::Duration;

use tokio::time::Instant;

use super::{
    Interrupt,
    batch::Message,
    deferral::Deferral,
    patience::Patience,
    source::Source,
    start::{Start, first_offset},
};
use crate::{
    domain::time::{MINUTE_MS, Timestamp},
    faults::{Defence, holds},
    ledger::{Fence, InputPartition, Ledger, Progress},
    observe::health::Dependency,
};

/// The clocks of brokers and workers differ by no more than this.
const CLOCKS_DIFFER_MS: i64 = 5 * MINUTE_MS;

/// How long the broker may take to tell the bounds of a partition.
const WATERMARK_WAIT: Duration = Duration::from_secs(2);

/// One partition.
#[derive(Clone, Debug)]
pub struct Position {
    /// Which.
    pub input: InputPartition,
    /// Whether it is of the control topic.
    pub is_control: bool,
    /// The offset after the last record read.
    pub next_offset: i64,
    /// Why its progress is not written.
    pub deferral: Option<Deferral>,
    /// The running maximum of the timestamps of all records read.
    pub record_time: Timestamp,
    /// What this partition or all together have allowed to be forgotten before: it never goes back.
    pub low_water: Timestamp,
    /// Where the log ended when the tenure began: what lies before is *history*.
    pub history_end: i64,
    /// When it was last seen that nothing more is to be read, by the clock; `None` while something is.
    pub caught_up_at: Option<Timestamp>,
    /// When its broker last said so itself. A lane that holds nothing more may also be one whose broker is away.
    pub confirmed_at: Option<Timestamp>,
    /// All that its log held at this instant has been read.
    pub read_until: Option<Instant>,
    /// Its log ended here when its broker was asked last, and when that was; until all before that is read.
    pub asked: Option<(Instant, i64)>,
}

impl Position {
    /// Whether all that was there when the tenure began has been read.
    pub fn is_past_history(&self) -> bool {
        self.next_offset >= self.history_end || self.caught_up_at.is_some()
    }

    fn look_whether_read(&mut self) {
        if let Some((asked_on, end)) = self.asked
            && self.next_offset >= end
        {
            (self.read_until, self.asked) = (Some(asked_on), None);
        }
    }
}

/// All partitions of a worker.
pub struct Positions {
    fence: Fence,
    /// The same fence, at tags that have moved since.
    moved: Option<Fence>,
    all: Vec<Position>,
    /// When usage, then control, was asked last and held nothing more: what comes by them now was said after that.
    drained_at: [Timestamp; 2],
    /// Topic handle and partition → number, for the messages of the current batch.
    numbers: Vec<((usize, i32), usize)>,
}

impl Positions {
    /// Reads fence and progress in one call and finds out where each partition begins. Progress outside of the log
    /// stops the process: usage would be lost in silence.
    ///
    /// # Errors
    /// An [`Interrupt`].
    pub async fn begin(
        partitions: &[InputPartition],
        control_topic: &str,
        start: Start,
        now: Timestamp,
        ledger: &dyn Ledger,
        source: &dyn Source,
        patience: &Patience,
    ) -> Result<Self, Interrupt> {
        let begun = patience.ledger(source, || ledger.begin(partitions)).await?;
        let mut all = Vec::with_capacity(partitions.len());
        for ((input, progress), furthest) in partitions.iter().zip(begun.progress).zip(begun.furthest) {
            let (asked_on, (low, high)) = watermarks(input, source, patience).await?;
            let mut position = Position {
                input: input.clone(),
                is_control: &*input.topic == control_topic,
                next_offset: first_offset(input, progress, furthest, start, (low, high))?,
                deferral: furthest.map(Deferral::new),
                record_time: progress.map_or(Timestamp::from_ms(0), |progress| progress.record_time),
                low_water: progress.map_or(begun.kept_from, |progress| progress.low_water.max(begun.kept_from)),
                history_end: high,
                caught_up_at: None,
                confirmed_at: None,
                read_until: None,
                asked: Some((asked_on, high)),
            };
            position.look_whether_read();
            all.push(position);
        }
        Ok(Self { fence: begun.fence, moved: None, all, drained_at: [now; 2], numbers: Vec::new() })
    }

    /// Up to which record time all usage has been read; `clock`, if there is none.
    pub fn usage_read_until(&self, clock: Timestamp) -> Timestamp {
        let usage = self.all.iter().filter(|position| !position.is_control);
        usage.map(|position| position.caught_up_at.unwrap_or(position.record_time)).min().unwrap_or(clock)
    }

    /// Where each partition begins.
    pub fn offsets(&self) -> Vec<(InputPartition, i64)> {
        self.all.iter().map(|position| (position.input.clone(), position.next_offset)).collect()
    }

    /// The fence that the positions were read with.
    pub fn fence(&self) -> &Fence {
        &self.fence
    }

    /// The same fence as it is now, as far as is known: tags may have moved.
    pub fn fence_now(&self) -> &Fence {
        self.moved.as_ref().unwrap_or(&self.fence)
    }

    /// Notes where tags are now.
    pub fn follow(&mut self, now: Fence) {
        self.moved = Some(now);
    }

    /// All partitions.
    pub fn all(&self) -> &[Position] {
        &self.all
    }

    /// One partition.
    pub fn get(&self, number: usize) -> &Position {
        &self.all[number]
    }

    /// The partition that a message is of; `None` if it is not ours any more.
    pub fn number_of(&mut self, message: &Message<'_>) -> Option<usize> {
        let key = (message.topic_handle(), message.partition());
        // Messages come in runs of one partition, so the last one is looked at first.
        if let Some((_, number)) = self.numbers.iter().rev().find(|(known, _)| *known == key) {
            return Some(*number);
        }
        let topic = message.topic();
        let number = self
            .all
            .iter()
            .position(|position| &*position.input.topic == topic && position.input.partition == message.partition())?;
        self.numbers.push((key, number));
        Some(number)
    }

    /// Forgets the topic handles of the last batch: they are valid only as long as its messages.
    pub fn end_batch(&mut self) {
        self.numbers.clear();
    }

    /// Notes a record as read and returns its record time; `None` if it was read before.
    pub fn read(&mut self, number: usize, offset: i64, timestamp: Timestamp) -> Option<Timestamp> {
        let position = &mut self.all[number];
        if offset < position.next_offset {
            return None;
        }
        position.next_offset = offset + 1;
        position.record_time = position.record_time.max(timestamp);
        position.caught_up_at = None;
        position.confirmed_at = None;
        position.look_whether_read();
        Some(position.record_time)
    }

    /// Notes that a partition has been read up to its end, which was asked for at `now`. That may have lain in the queue
    /// while the worker waited for something else, but no longer than since its lane held nothing more.
    pub fn reach_end(&mut self, number: usize, offset: i64, now: Timestamp) {
        let position = &mut self.all[number];
        position.next_offset = position.next_offset.max(offset);
        position.caught_up_at = Some(now);
        position.confirmed_at = Some(self.drained_at[usize::from(position.is_control)]);
        position.look_whether_read();
    }

    /// Notes that the log of a partition ended at `end` when its broker was asked at `asked_on`.
    pub fn answered(&mut self, number: usize, asked_on: Instant, end: i64) {
        self.all[number].asked = Some((asked_on, end));
        self.all[number].look_whether_read();
    }

    /// Notes that the broker, asked at `now`, says that a partition that was caught up ends where it did.
    pub fn confirm(&mut self, number: usize, now: Timestamp) {
        let position = &mut self.all[number];
        position.confirmed_at = position.confirmed_at.map(|before| before.max(now));
    }

    /// Notes that a lane held nothing more when it was asked at `now`.
    pub fn drain(&mut self, is_control: bool, now: Timestamp) {
        self.drained_at[usize::from(is_control)] = now;
        for position in self.all.iter_mut().filter(|position| position.is_control == is_control) {
            position.caught_up_at = position.caught_up_at.map(|before| before.max(now));
        }
    }

    /// Notes what is written everywhere, so that the fence holds, and deferrals that waited for that end.
    pub fn wrote(&mut self, progress: &[(InputPartition, Progress)]) {
        let mut written = progress.iter().peekable();
        for position in &mut self.all {
            if let Some((_, written)) = written.next_if(|(input, _)| *input == position.input) {
                position.low_water = position.low_water.max(written.low_water);
            }
            position.deferral = position.deferral.filter(|deferral| !deferral.is_over());
        }
    }

    /// Of how many progress is deferred.
    pub fn deferred(&self) -> usize {
        self.all.iter().filter(|position| position.deferral.is_some()).count()
    }

    /// How far all is applied, where `waiting_at` tells offset and record time of the first record of a partition that
    /// is read and not applied yet. Its record time goes along: what is read again must get the record time that it
    /// had. A partition that is caught up holds nothing back: its low water is when its broker last said so.
    pub fn progress(&self, waiting_at: impl Fn(usize) -> Option<(i64, Timestamp)>) -> Vec<(InputPartition, Progress)> {
        let progress = self.all.iter().enumerate().map(|(number, position)| {
            let waiting = waiting_at(number);
            let (next_offset, record_time) = waiting.unwrap_or((position.next_offset, position.record_time));
            let idle_until =
                position.confirmed_at.filter(|_| waiting.is_none()).map(|at| at.plus_ms(-CLOCKS_DIFFER_MS));
            let low_water = record_time.max(idle_until.unwrap_or(record_time)).max(position.low_water);
            (position.input.clone(), Progress { next_offset, record_time, low_water })
        });
        progress.collect()
    }

    /// Notes that all which this progress covers is applied, where a replica may be behind by `replica_behind`, and leaves what
    /// of it is to be written: not what is deferred.
    pub fn to_write(
        &mut self,
        applied: Vec<(InputPartition, Progress)>,
        replica_behind: Duration,
    ) -> Vec<(InputPartition, Progress)> {
        let mut positions = self.all.iter_mut();
        let is_free = |(_, applied): &(InputPartition, Progress)| {
            let deferral = &mut positions.next().expect("there is progress of every position").deferral;
            deferral.iter_mut().for_each(|deferral| deferral.note(applied.next_offset, replica_behind));
            deferral.is_none() || !holds(Defence::Deferral)
        };
        applied.into_iter().filter(is_free).collect()
    }
}

/// The bounds of a partition, and when they were asked for.
async fn watermarks(
    input: &InputPartition,
    source: &dyn Source,
    patience: &Patience,
) -> Result<(Instant, (i64, i64)), Interrupt> {
    let mut waiting = None;
    loop {
        let asked_on = Instant::now();
        match source.watermarks(input, WATERMARK_WAIT) {
            Ok(bounds) => return Ok((asked_on, bounds)),
            Err(error) => patience.wait_for(source, &mut waiting, Dependency::Kafka, &error.to_string()).await?,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn position(partition: i32, next_offset: i64, furthest: Option<i64>) -> Position {
        Position {
            input: InputPartition { topic: "usage.events".into(), partition },
            is_control: false,
            next_offset,
            deferral: furthest.map(Deferral::new),
            record_time: Timestamp::from_ms(0),
            low_water: Timestamp::MIN,
            history_end: 0,
            caught_up_at: None,
            confirmed_at: None,
            read_until: None,
            asked: None,
        }
    }

    /// Which partitions have progress to be written; and with the low waters that are known once it is.
    fn write(positions: &mut Positions) -> (Vec<i32>, Vec<bool>) {
        let applied = positions.progress(|_| None);
        let written = positions.to_write(applied, Duration::ZERO);
        positions.wrote(&written);
        let low_waters = positions.all().iter().map(|position| position.low_water > Timestamp::MIN);
        (written.iter().map(|(input, _)| input.partition).collect(), low_waters.collect())
    }

    #[test]
    fn u_5_progress_is_deferred_for_itself_and_until_it_was_written_elsewhere() {
        let all = vec![position(0, 5, None), position(1, 5, Some(6)), position(2, 5, None)];
        let drained_at = [Timestamp::from_ms(0); 2];
        let mut positions = Positions { fence: Fence::default(), moved: None, all, drained_at, numbers: Vec::new() };
        assert_eq!(write(&mut positions), (vec![0, 2], vec![true, false, true]));
        assert_eq!(positions.deferred(), 1);
        positions.read(1, 5, Timestamp::from_ms(0));
        // Reached and old enough; but that the fence holds is seen by this.
        assert_eq!(write(&mut positions).0, [0, 2]);
        assert_eq!(positions.deferred(), 0);
        assert_eq!(write(&mut positions), (vec![0, 1, 2], vec![true; 3]));
    }

    fn progress_of(positions: &Positions, waiting: Option<(i64, Timestamp)>) -> Progress {
        positions.progress(|_| waiting).remove(0).1
    }

    /// A control record that is read and still waits keeps its record time in the progress: when it is read again it
    /// must come before the same usage as the first time.
    #[test]
    fn u_5_progress_goes_back_to_the_record_that_waits_with_its_time() {
        let at = Timestamp::from_ms;
        let position = Position {
            input: InputPartition { topic: "usage.control".into(), partition: 0 },
            is_control: true,
            next_offset: 900,
            deferral: None,
            record_time: at(5_000),
            low_water: Timestamp::MIN,
            history_end: 900,
            caught_up_at: Some(at(309_000)),
            confirmed_at: Some(at(309_000)),
            read_until: None,
            asked: None,
        };
        let drained_at = [at(309_000); 2];
        let (fence, moved, numbers) = (Fence::default(), None, Vec::new());
        let mut positions = Positions { fence, moved, all: vec![position], drained_at, numbers };
        let waiting = Progress { next_offset: 17, record_time: at(40), low_water: at(40) };
        assert_eq!(progress_of(&positions, Some((17, at(40)))), waiting);
        let idle = Progress { next_offset: 900, record_time: at(5_000), low_water: at(9_000) };
        assert_eq!(progress_of(&positions, None), idle);
        // Nothing comes, but that may be because the broker is away: until it answers, ids are kept.
        positions.drain(true, at(909_000));
        assert_eq!(progress_of(&positions, None), idle);
        positions.confirm(0, at(909_000));
        let later = Progress { low_water: at(609_000), ..idle };
        assert_eq!(progress_of(&positions, None), later);
        // An older record after an idle time does not take back what was allowed to be forgotten.
        positions.wrote(&[(InputPartition { topic: "usage.control".into(), partition: 0 }, idle)]);
        positions.read(0, 900, at(6_000));
        let later = Progress { next_offset: 901, record_time: at(6_000), low_water: at(9_000) };
        assert_eq!(progress_of(&positions, None), later);
        // That it ends there lay in the queue since its lane held nothing more, at 909,000.
        positions.reach_end(0, 901, at(5_000_000));
        let later = Progress { low_water: at(609_000), ..later };
        assert_eq!(progress_of(&positions, None), later);
    }
}
