//! Partitions that give nothing. One that is silent while the broker holds more is *stuck*: the client has lost its way,
//! as was once seen after an assignment that came on the heels of another, and the partition has to be assigned anew.
//!
//! A partition counts as silent only while its lane is asked again and again and holds nothing more, so that neither a
//! backlog before it nor a wait for a dependency looks like silence. It is looked at twice: what the broker held at the
//! first look must have come by the second.

use std::time::Duration;

use tokio::time::Instant;

use super::source::Lane;

/// A partition that is silent this long is looked at. A worker that had to begin anew for one looks half as often after,
/// so that a partition that cannot be mended leaves the others their time.
const SILENT_FOR: Duration = Duration::from_secs(5);

/// It looks at least this often.
const SILENT_FOR_MAX: Duration = Duration::from_secs(320);

/// Lanes that were not asked for this long have silenced their partitions themselves.
const ASKED_WITHIN: Duration = Duration::from_secs(5);

/// Looks are calls to the broker, so they keep this distance.
const LOOK_EVERY: Duration = Duration::from_secs(1);

/// One partition.
struct Silent {
    lane: Lane,
    since: Instant,
    /// Whether it gave something since its lane was asked last.
    is_heard: bool,
    /// Where the log ended at the last look, if nothing was heard after it.
    end: Option<i64>,
}

/// How long each partition has been silent, by the numbers that [`Positions`](super::positions::Positions) gives them.
pub struct Silence {
    partitions: Vec<Silent>,
    asked_at: [Instant; 2],
    looked_at: Instant,
    silent_for: Duration,
}

/// What is to be done about a silent partition.
#[derive(Debug, PartialEq, Eq)]
pub enum Look {
    /// The broker is to be asked where their logs end.
    Ask(Vec<usize>),
    /// It has not given what the broker held before this offset.
    Stuck(usize, i64),
}

impl Silence {
    /// Nothing is silent yet. Takes the lane of each partition, and how often one was stuck lately.
    pub fn new(lanes: impl Iterator<Item = Lane>, times_stuck: u32) -> Self {
        let now = Instant::now();
        let partitions = lanes.map(|lane| Silent { lane, since: now, is_heard: false, end: None }).collect();
        let silent_for = SILENT_FOR.saturating_mul(1 << times_stuck.min(16)).min(SILENT_FOR_MAX);
        Self { partitions, asked_at: [now; 2], looked_at: now, silent_for }
    }

    /// A partition gave something, be it that it has nothing more.
    pub fn heard(&mut self, number: usize) {
        self.partitions[number].is_heard = true;
    }

    /// A lane was asked; `is_drained`, if it held nothing more.
    pub fn asked(&mut self, lane: Lane, is_drained: bool) {
        let now = Instant::now();
        let asked_at = std::mem::replace(&mut self.asked_at[lane as usize], now);
        let is_excused = !is_drained || now - asked_at > ASKED_WITHIN;
        for silent in self.partitions.iter_mut().filter(|silent| silent.lane == lane) {
            if is_excused || silent.is_heard {
                *silent = Silent { lane, since: now, is_heard: false, end: None };
            }
        }
    }

    /// The partitions of a lane to look at now: those that have been silent for long.
    pub fn look(&mut self, lane: Lane) -> Option<Look> {
        let now = Instant::now();
        if now - self.looked_at < LOOK_EVERY {
            return None;
        }
        let is_silent = |silent: &Silent| silent.lane == lane && now - silent.since >= self.silent_for;
        let silent = || self.partitions.iter().enumerate().filter(|(_, silent)| is_silent(silent));
        let stuck = silent().find_map(|(number, silent)| Some(Look::Stuck(number, silent.end?)));
        let look = stuck.unwrap_or_else(|| Look::Ask(silent().map(|(number, _)| number).collect()));
        if look == Look::Ask(Vec::new()) {
            return None;
        }
        self.looked_at = now;
        Some(look)
    }

    /// What came of a look: where the log ends, if there is more than was read and the broker has said so.
    pub fn seen(&mut self, number: usize, end: Option<i64>) {
        let silent = &mut self.partitions[number];
        (silent.since, silent.end) = (Instant::now(), end);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Each word is something that happens to the partitions 0 and 1 of a lane; what has to be looked at follows the last.
    async fn check(story: &str, expected: Option<Look>) {
        check_after(0, story, expected).await;
    }

    async fn check_after(times_stuck: u32, story: &str, expected: Option<Look>) {
        let mut silence = Silence::new([Lane::Usage, Lane::Usage, Lane::Control].into_iter(), times_stuck);
        let mut look = None;
        for word in story.split_whitespace() {
            match word {
                "second" => tokio::time::advance(Duration::from_secs(1)).await,
                "drained" => silence.asked(Lane::Usage, true),
                "full" => silence.asked(Lane::Usage, false),
                "look" => look = silence.look(Lane::Usage),
                "heard-0" => silence.heard(0),
                "heard-1" => silence.heard(1),
                "more-in-0" => silence.seen(0, Some(7)),
                "nothing-in-0" => silence.seen(0, None),
                other => panic!("{other} is no word of the story"),
            }
        }
        assert_eq!(look, expected, "{story}");
    }

    #[tokio::test(start_paused = true)]
    async fn u_5_what_is_silent_while_the_broker_holds_more_is_stuck() {
        let of = |story: &str| {
            let quiet = "second drained second drained second drained second drained second drained ";
            story.replace("quiet", quiet)
        };
        let ask = |numbers: &[usize]| Some(Look::Ask(numbers.to_vec()));
        check(&of("drained look"), None).await;
        check(&of("quiet look"), ask(&[0, 1])).await;
        check(&of("quiet heard-0 drained look"), ask(&[1])).await;
        check(&of("quiet more-in-0 heard-1 drained quiet look"), Some(Look::Stuck(0, 7))).await;
        check(&of("quiet more-in-0 quiet heard-0 drained look"), ask(&[1])).await;
        check(&of("quiet nothing-in-0 heard-1 drained quiet look"), ask(&[0, 1])).await;
        check(&of("quiet heard-0 heard-1 drained look"), None).await;
        // A backlog before it, and a worker that waits for something else.
        check(&of("quiet more-in-0 full look"), None).await;
        check("second second second second second second drained look", None).await;
        check(&of("quiet look look"), None).await;
        // One that was stuck before is given twice the time.
        check_after(1, &of("quiet look"), None).await;
        check_after(1, &of("quiet quiet look"), ask(&[0, 1])).await;
    }
}
