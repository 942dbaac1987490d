//! The membership of one process in the group, and what it fetches.

use std::{collections::BTreeMap, sync::Arc, time::Duration};

use bursar::{
    domain::time::Timestamp,
    ingest::{
        batch::{Batch, Made},
        source::{Lane, Rebalance, Source, SourceError},
    },
    ledger::InputPartition,
};
use futures::future::{FutureExt, LocalBoxFuture};
use rand::Rng;

use crate::{
    story::{CONTROL, USAGE},
    world::Shared,
};

/// How long an empty queue is waited on.
const EMPTY_WAIT: Duration = Duration::from_millis(40);

/// The membership of one process.
pub struct Membership {
    world: Shared,
    number: usize,
    /// Where each partition is read next, and up to which end that was said.
    fetching: BTreeMap<InputPartition, (i64, Option<i64>)>,
}

impl Membership {
    /// Of a member.
    pub fn new(world: Shared, number: usize) -> Self {
        Self { world, number, fetching: BTreeMap::new() }
    }

    fn fetch(&mut self, lane: Lane, batch: &mut Batch) -> bool {
        let mut world = self.world.lock();
        let mut any = false;
        let topic = if lane == Lane::Control { CONTROL } else { USAGE };
        for (partition, (next, said_end)) in
            self.fetching.iter_mut().filter(|(partition, _)| &*partition.topic == topic)
        {
            let end = world.end(partition);
            let most = world.random.random_range(1..12);
            while *next < end && batch.len() < most {
                batch.push(world.logs[partition][*next as usize].clone());
                *next += 1;
                any = true;
            }
            if *next == end && *said_end != Some(end) {
                let topic = Arc::from(&*partition.topic);
                let timestamp = Timestamp::from_ms(0);
                batch.push(Made {
                    topic,
                    partition: partition.partition,
                    offset: end,
                    timestamp,
                    key: Vec::new(),
                    payload: None,
                });
                *said_end = Some(end);
                any = true;
            }
        }
        any
    }
}

impl Source for Membership {
    fn poll_membership(&self) -> Option<Rebalance> {
        let mut world = self.world.lock();
        let member = &mut world.members[self.number];
        if member.deaf { None } else { member.pending.take() }
    }

    fn knows_group(&self) -> Option<bool> {
        Some(true)
    }

    fn brokers_answer(&self) -> bool {
        true
    }

    fn join_anew(&mut self) -> Result<(), SourceError> {
        unreachable!("no member is lost")
    }

    fn assign(&mut self, begin_at: &[(InputPartition, i64)]) -> Result<(), SourceError> {
        self.fetching = begin_at.iter().map(|(partition, offset)| (partition.clone(), (*offset, None))).collect();
        if let Some(number) = self.world.lock().stick(begin_at.len()) {
            self.fetching.remove(&begin_at[number].0);
        }
        Ok(())
    }

    fn seek(&mut self, begin_at: &[(InputPartition, i64)]) -> Result<(), SourceError> {
        self.assign(begin_at)
    }

    fn unassign(&mut self) -> Result<(), SourceError> {
        self.fetching.clear();
        Ok(())
    }

    fn take<'a>(&'a mut self, lane: Lane, wait: Duration, batch: &'a mut Batch) -> LocalBoxFuture<'a, ()> {
        async move {
            if !self.fetch(lane, batch) && !wait.is_zero() {
                tokio::time::sleep(EMPTY_WAIT).await;
            }
        }
        .boxed_local()
    }

    fn watermarks(&self, partition: &InputPartition, _: Duration) -> Result<(i64, i64), SourceError> {
        Ok((0, self.world.lock().end(partition)))
    }

    fn ends(&self, inputs: &[InputPartition], _: Duration) -> Result<Vec<i64>, SourceError> {
        let world = self.world.lock();
        Ok(inputs.iter().map(|input| world.end(input)).collect())
    }

    fn partitions(&self, topic: &str, _: Duration) -> Result<usize, SourceError> {
        Ok(self.world.lock().logs.keys().filter(|partition| &*partition.topic == topic).count())
    }

    fn known_end(&self, _: &InputPartition) -> Option<i64> {
        None
    }

    fn commit(&self, _: &[(InputPartition, i64)]) {}
}
