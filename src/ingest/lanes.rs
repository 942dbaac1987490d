//! Control records beside usage: served at once when they are new, and merged by record time when they are history,
//! so that a rebuild sees them where they were.
//!
//! *History* is what a control partition held when the tenure began. Such a record waits until the usage partition of
//! the same number has been read up to its record time, or to its own history's end. And usage waits until control has
//! been read up to its record time less the delay after which rules take effect (design section 5, "Order"); of an idle
//! control partition its broker is asked.

use std::collections::VecDeque;

use tokio::time::Instant;

use super::positions::{Position, Positions};
use crate::{
    domain::{control::ControlRecord, time::Timestamp},
    faults::{Defence, holds},
};

/// Control records that wait at most; beyond that no more are read until some are released.
const WAITING_MAX: usize = 10_000;

/// A decoded control record with its place.
#[derive(Debug)]
pub struct ControlItem {
    /// What it says.
    pub record: Box<ControlRecord>,
    /// Its key.
    pub key: Box<[u8]>,
    /// Its bytes.
    pub payload: Box<[u8]>,
    /// The number of its partition.
    pub position: usize,
    /// Its offset.
    pub offset: i64,
    /// Its record time.
    pub record_time: Timestamp,
}

/// Control records that were read and not yet released.
#[derive(Debug, Default)]
pub struct ControlLane {
    waiting: VecDeque<ControlItem>,
}

impl ControlLane {
    /// Whether more may be read.
    pub fn has_room(&self) -> bool {
        self.waiting.len() < WAITING_MAX
    }

    /// Adds a record that was read.
    pub fn push(&mut self, item: ControlItem) {
        self.waiting.push_back(item);
    }

    /// Takes the records whose time has come, in the order in which they were read.
    pub fn release(&mut self, positions: &Positions) -> Vec<ControlItem> {
        let mut held_back = Vec::new();
        let mut released = Vec::new();
        for item in std::mem::take(&mut self.waiting) {
            // Within a partition nothing overtakes.
            if !held_back.contains(&item.position) && may_go(&item, positions) {
                released.push(item);
            } else {
                held_back.push(item.position);
                self.waiting.push_back(item);
            }
        }
        released
    }

    /// Offset and record time of the first record of a partition that is read and still waits.
    pub fn waiting_at(&self, position: usize) -> Option<(i64, Timestamp)> {
        self.waiting.iter().find(|item| item.position == position).map(|item| (item.offset, item.record_time))
    }

    /// Whether nothing waits.
    pub fn is_empty(&self) -> bool {
        self.waiting.is_empty()
    }
}

fn may_go(item: &ControlItem, positions: &Positions) -> bool {
    let control = positions.get(item.position);
    if item.offset >= control.history_end {
        return true;
    }
    let usage =
        positions.all().iter().filter(|other| !other.is_control && other.input.partition == control.input.partition);
    usage.into_iter().all(|usage| usage.is_past_history() || usage.record_time >= item.record_time)
}

/// The control partitions that have to be read further before usage up to the record times now read may be applied:
/// neither have they given a record of `rules_delay_ms` before that time, nor is it known that they hold none. It is known
/// if all that their logs held at `since` has been read: that delay before the usage was taken, which was after it was
/// recorded. The clocks of the brokers of both topics have to agree within the delay.
pub fn control_behind_usage(positions: &Positions, rules_delay_ms: i64, since: Instant) -> Vec<usize> {
    let all = || positions.all().iter();
    let newest_usage = all().filter(|position| !position.is_control).map(|position| position.record_time).max();
    let Some(newest_usage) = newest_usage else { return Vec::new() };
    let needed = newest_usage.plus_ms(-rules_delay_ms);
    let is_read = |position: &Position| match position.read_until {
        _ if !holds(Defence::ControlFirst) => position.is_past_history(),
        until => until.is_some_and(|until| until >= since),
    };
    let is_behind = |position: &Position| position.is_control && position.record_time < needed && !is_read(position);
    all().enumerate().filter(|(_, position)| is_behind(position)).map(|(number, _)| number).collect()
}
