//! Where a partition begins.

use super::Fatal;
use crate::{
    faults::{Defence, holds},
    ledger::{InputPartition, Progress},
};

/// Where a partition begins that has no progress at all.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, serde::Deserialize, serde::Serialize)]
#[serde(rename_all = "snake_case")]
pub enum Start {
    /// With the first record that is kept.
    #[default]
    Earliest,
    /// With the next record that comes.
    Latest,
}

/// Where a partition begins whose log holds what lies from `low` to `high`, and of which some tag is at `furthest`, if tags
/// disagree. Progress outside of the log stops the process: usage would be lost in silence.
///
/// # Errors
/// [`Fatal::Log`] with what to do.
pub fn first_offset(
    input: &InputPartition,
    progress: Option<Progress>,
    furthest: Option<i64>,
    start: Start,
    (low, high): (i64, i64),
) -> Result<i64, Fatal> {
    let InputPartition { topic, partition } = input;
    let next = progress.map(|progress| progress.next_offset);
    match next.max(furthest.filter(|furthest| *furthest > high)) {
        None if start == Start::Earliest => Ok(low),
        // Where some tag has progress, it was begun before: nobody has read what came since.
        None => Ok(furthest.map_or(high, |furthest| furthest.max(low))),
        Some(next) if !holds(Defence::LogBounds) => Ok(next.clamp(low, high)),
        Some(next) if next > high => Err(Fatal::Log(format!(
            "{topic}/{partition} ends at {high}, but it has been applied up to {next}: the topic was deleted and made anew, \
             or its log was cut. Restore the topic, or move its name and start a new one under another name"
        ))),
        Some(next) if next < low => Err(Fatal::Log(format!(
            "{topic}/{partition} begins at {low}, but it has only been applied up to {next}: retention has removed {} records \
             that were never counted. Restore them, or set the progress by hand once the loss is accepted",
            low - next
        ))),
        Some(next) => Ok(next),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::domain::time::Timestamp;

    fn check(progress: Option<i64>, furthest: Option<i64>, start: Start, bounds: (i64, i64), expected: &str) {
        let input = InputPartition { topic: "usage.events".into(), partition: 3 };
        let time = Timestamp::from_ms(0);
        let progress = progress.map(|next_offset| Progress { next_offset, record_time: time, low_water: time });
        let seen = match first_offset(&input, progress, furthest, start, bounds) {
            Ok(offset) => offset.to_string(),
            Err(fatal) => fatal.to_string(),
        };
        assert!(seen.contains(expected), "{seen}");
    }

    #[test]
    fn progress_outside_of_the_log_stops_loudly() {
        check(None, None, Start::Earliest, (5, 9), "5");
        check(None, None, Start::Latest, (5, 9), "9");
        check(None, Some(7), Start::Latest, (5, 9), "7");
        check(None, Some(2), Start::Latest, (5, 9), "5");
        check(None, Some(7), Start::Earliest, (5, 9), "5");
        check(Some(7), None, Start::Earliest, (5, 9), "7");
        check(Some(9), None, Start::Latest, (5, 9), "9");
        check(Some(10), None, Start::Earliest, (5, 9), "made anew");
        // Some tag is further.
        check(Some(7), Some(9), Start::Earliest, (5, 9), "7");
        check(Some(7), Some(10), Start::Earliest, (5, 9), "made anew");
        check(Some(2), None, Start::Earliest, (5, 9), "retention has removed 3 records");
    }
}
