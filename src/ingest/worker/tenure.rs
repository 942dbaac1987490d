//! What a worker has of its partitions, from one assignment to the next.

use std::{collections::BTreeSet, time::Duration};

use tokio::time::Instant;
use tracing::{info, warn};

use super::Worker;
use crate::{
    faults::{Defence, holds},
    ingest::{
        Fatal, Interrupt, holdings::Holding, lanes::ControlLane, low_water::LowWater, positions::Positions,
        silence::Silence, source::Lane,
    },
    ledger::InputPartition,
    observe::{health::Dependency, share::Share},
};

/// How long the broker may take to tell how many partitions a topic has.
const METADATA_WAIT: Duration = Duration::from_secs(2);

/// What lasts from one assignment to the next.
pub(super) struct Tenure {
    pub(super) positions: Positions,
    pub(super) control: ControlLane,
    pub(super) silence: Silence,
    pub(super) low_water: LowWater,
    pub(super) last_tick: Instant,
    pub(super) last_batch: Instant,
    /// Others show the organizations of these partitions once this is dropped.
    _holding: Holding,
    /// What the gauge knows of the partitions.
    _partitions: Share,
    /// What the gauge knows of those whose progress is deferred.
    pub(super) deferred: Share,
}

impl Worker {
    /// Reads where partitions begin, and has them fetched from there. Nothing that was held before is believed.
    ///
    /// # Errors
    /// An [`Interrupt`].
    pub(super) async fn begin(
        &mut self,
        partitions: &[InputPartition],
        fetching: &mut bool,
    ) -> Result<Tenure, Interrupt> {
        if holds(Defence::DropAll) {
            self.accounts.clear();
            self.accounts_bytes.set(self.accounts.bytes());
        }
        self.to_forget.clear();
        self.check_pairs(partitions).await?;
        let begun = Positions::begin(
            partitions,
            &self.options.control_topic,
            self.options.start,
            self.around.clock.now(),
            &*self.around.ledger,
            &*self.source,
            &self.around.patience,
        );
        let positions = begun.await?;
        if positions.deferred() > 0 {
            info!(
                partitions = positions.deferred(),
                "progress differs from slot to slot, by a failover or because it was not written to all: that of some partitions \
                 is deferred until every replica has what was applied"
            );
        }
        let partitions_of_all = self.count_partitions().await?;
        self.settler.begin(positions.fence().clone());
        let offsets = positions.offsets();
        // The partitions may have gone while this waited.
        self.keep_membership()?;
        let moved = if *fetching { self.source.seek(&offsets) } else { self.source.assign(&offsets) };
        moved.map_err(|error| Fatal::Kafka(format!("partitions could not be begun: {error}")))?;
        *fetching = true;
        let now = Instant::now();
        let deferred = Share::of(&self.around.metrics.deferred).with(positions.deferred());
        let held = |partition| {
            positions.all().iter().any(|position| position.is_control && position.input.partition == partition)
        };
        self.around.readback.check_all(held);
        let control = partitions.iter().filter(|input| *input.topic == *self.options.control_topic);
        let holding = self.around.holdings.take(control.map(|input| input.partition).collect());
        let lane = |is_control| if is_control { Lane::Control } else { Lane::Usage };
        let silence = Silence::new(positions.all().iter().map(|position| lane(position.is_control)), self.times_stuck);
        Ok(Tenure {
            positions,
            control: ControlLane::default(),
            silence,
            // After a rewind the inputs may be far behind what was known of them.
            low_water: LowWater::new(self.options.replica_behind, partitions_of_all),
            last_tick: now,
            last_batch: now,
            _holding: holding,
            _partitions: Share::of(&self.around.metrics.partitions).with(partitions.len()),
            deferred,
        })
    }

    /// Waits while a partition of control is held without that of usage with the same number, or the other way round: usage
    /// of a partition whose control records are read elsewhere would be decided without them. Range keeps the two together;
    /// but where topics grew one after the other, the brokers' own range may have them apart until members come or go.
    async fn check_pairs(&mut self, partitions: &[InputPartition]) -> Result<(), Interrupt> {
        let Some(number) = lone(partitions, &self.options.topics) else { return Ok(()) };
        let mut counts = BTreeSet::new();
        for topic in &self.options.topics {
            counts.insert(self.count_partitions_of(topic).await?);
        }
        if counts.len() > 1 {
            // Topics of different sizes cannot go together; who has set them up so knows it (docs/operations.md).
            return Ok(());
        }
        let nothing = self.source.assign(&[]);
        nothing.map_err(|error| Fatal::Kafka(format!("partitions could not be left alone: {error}")))?;
        let why =
            format!("of partition {number} not all topics are assigned to the same member: it waits for the others");
        warn!("{why}");
        let mut waiting = None;
        loop {
            self.around.patience.wait_for(&*self.source, &mut waiting, Dependency::Kafka, &why).await?;
        }
    }

    /// How many partitions all topics have together, whoever reads them.
    async fn count_partitions(&self) -> Result<usize, Interrupt> {
        let mut count = 0;
        for topic in &self.options.topics {
            count += self.count_partitions_of(topic).await?;
        }
        Ok(count)
    }

    async fn count_partitions_of(&self, topic: &str) -> Result<usize, Interrupt> {
        let mut waiting = None;
        loop {
            let why = match self.source.partitions(topic, METADATA_WAIT) {
                Ok(0) => format!("{topic} has no partitions"),
                Ok(partitions) => return Ok(partitions),
                Err(error) => error.to_string(),
            };
            self.around.patience.wait_for(&*self.source, &mut waiting, Dependency::Kafka, &why).await?;
        }
    }
}

/// The smallest number of a partition that is held of some topics and not of all.
fn lone(partitions: &[InputPartition], topics: &[String]) -> Option<i32> {
    let numbers: BTreeSet<i32> = partitions.iter().map(|input| input.partition).collect();
    let is_held =
        |topic: &String, number| partitions.iter().any(|input| *input.topic == **topic && input.partition == number);
    numbers.into_iter().find(|number| !topics.iter().all(|topic| is_held(topic, *number)))
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Partitions that are held, as `TOPIC/NUMBER`.
    fn check(held: &str, expected: Option<i32>) {
        let input = |text: &str| {
            let (topic, number) = text.split_once('/').expect("TOPIC/NUMBER");
            InputPartition { topic: topic.into(), partition: number.parse().expect("a number") }
        };
        let held: Vec<InputPartition> = held.split_whitespace().map(input).collect();
        assert_eq!(lone(&held, &["c".to_owned(), "u".to_owned()]), expected, "{held:?}");
    }

    #[test]
    fn control_and_usage_of_a_partition_go_together() {
        check("", None);
        check("c/0 u/0 u/7 c/7", None);
        check("c/0 u/0 u/7", Some(7));
        check("c/3 u/0 c/0", Some(3));
    }
}
