//! What a worker has of its partitions, from one assignment to the next.

use std::{collections::BTreeSet, time::Duration};

use tokio::time::Instant;
use tracing::warn;

use super::Worker;
use crate::{
    faults::{Defence, holds},
    ingest::{
        Fatal, Interrupt,
        holdings::Holding,
        lanes::ControlLane,
        low_water::LowWater,
        positions::Positions,
        silence::Silence,
        source::{Lane, Rebalance},
    },
    ledger::InputPartition,
    observe::health::Dependency,
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
        let partitions_of_all = self.count_partitions().await?;
        self.settler.begin(positions.fence().clone());
        let offsets = positions.offsets();
        // The partitions may have gone while this waited.
        self.keep_membership()?;
        let moved = if *fetching { self.source.seek(&offsets) } else { self.source.assign(&offsets) };
        moved.map_err(|error| Fatal::Kafka(format!("partitions could not be begun: {error}")))?;
        *fetching = true;
        self.around.metrics.partitions.set(i64::try_from(partitions.len()).unwrap_or(i64::MAX));
        let now = Instant::now();
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
        })
    }

    /// Makes sure that the control records of what is held are held too, for usage waits for them. Range sees to it, but after
    /// topics grew one after the other the brokers' own range may have them apart until members come or go.
    async fn check_pairs(&self, partitions: &[InputPartition]) -> Result<(), Interrupt> {
        let control_topic = &self.options.control_topic;
        let is_control = |input: &&InputPartition| *input.topic == **control_topic;
        let held: BTreeSet<i32> = partitions.iter().filter(is_control).map(|input| input.partition).collect();
        let lone = partitions.iter().filter(|input| !held.contains(&input.partition));
        let Some(first) = lone.map(|input| input.partition).min() else { return Ok(()) };
        if first as usize >= self.count_partitions_of(control_topic).await? {
            return Ok(());
        }
        let why = format!(
            "partition {first} of usage is assigned here and that of {control_topic} is not: nothing is read until they are together"
        );
        warn!("{why}");
        self.around.patience.health.lose(Dependency::Kafka, &why);
        Err(Interrupt::Rebalanced(Rebalance::Revoked))
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
