//! A worker: one member of the consumer group, on a thread of its own.
//!
//! ```text
//! join ─► begin ─► take a batch ─► decode ─► settle ─► publish ─► advance ─► offsets ─┐
//!           ▲            ▲                                                           │
//!           │            └───────────────────────────────────────────────────────────┘
//!           └── partitions came or went, the fence moved, a partition is stuck, a dependency was away too long
//! ```
//!
//! Nothing is believed across a begin: accounts, ids and positions are dropped, and reading starts again at the
//! smallest progress of all tags (design section 4).

use std::{collections::BTreeSet, sync::Arc, time::Duration};

use rand::rngs::StdRng;
use tokio::time::Instant;
use tracing::{debug, error, info, warn};

mod intake;
mod join;
mod progress;
mod publish;
mod tenure;
mod upkeep;

use self::{intake::dead_letters, tenure::Tenure};
use super::{
    Fatal, Interrupt,
    accounts::Accounts,
    batch::Batch,
    decode::{Decoder, Registry, RegistryOptions},
    holdings::Holdings,
    patience::Patience,
    settle::{Groups, Item, Settled, Settler, Work, emptied},
    source::{Lane, Rebalance, Source},
    start::Start,
};
use crate::{
    clock::Clock,
    domain::{
        account::{Policy, Present},
        reason::{QUARANTINED, Reason},
    },
    faults::{Defence, Step, holds, reach},
    ledger::{InputPartition, Ledger},
    notify::{encode::DeadLetter, publisher::Publisher, readback::Readback},
    observe::{metrics::Metrics, share::Share},
};

/// How long an empty lane is waited on.
const IDLE_WAIT: Duration = Duration::from_millis(5);

/// How often an idle worker looks whether its fence still holds, and how often offsets go to Kafka.
const TICK: Duration = Duration::from_secs(1);

/// A partition that was stuck longer ago is mended.
const STUCK_LATELY: Duration = Duration::from_secs(1_800);

/// Signals that are written and acknowledged are forgotten this long after, if nothing else is written before.
const FORGET_AFTER: Duration = Duration::from_millis(200);

/// Accounts whose signals are forgotten in one go.
const FORGET_MAX: usize = 1_000;

/// What a worker is told.
#[derive(Clone)]
pub struct WorkerOptions {
    /// The topic of control records.
    pub control_topic: String,
    /// All topics that are read.
    pub topics: Vec<String>,
    /// A replica that takes over has not seen at most the writes of this time.
    pub replica_behind: Duration,
    /// Usage waits if it is longer ago that control was known to be read to its end than the delay after which rules take
    /// effect.
    pub control_read_within: Duration,
    /// Where partitions without progress begin.
    pub start: Start,
    /// Records per batch at most.
    pub batch_records_max: usize,
    /// Memory for accounts at most, in bytes.
    pub accounts_bytes_max: usize,
    /// What decisions depend on.
    pub policy: Policy,
    /// The schema registry, where there is one.
    pub registry: Option<RegistryOptions>,
}

/// What a worker works with; shared by all workers of the process.
#[derive(Clone)]
pub struct Surroundings {
    /// Where accounts are.
    pub ledger: Arc<dyn Ledger>,
    /// What sends.
    pub publisher: Publisher,
    /// What reads the pauses topic back.
    pub readback: Arc<Readback>,
    /// Which control partitions this process has.
    pub holdings: Arc<Holdings>,
    /// The present.
    pub clock: Clock,
    /// The figures.
    pub metrics: Metrics,
    /// How to wait, and when to stop.
    pub patience: Patience,
}

/// One member of the consumer group.
pub struct Worker {
    options: WorkerOptions,
    around: Surroundings,
    source: Box<dyn Source>,
    decoder: Decoder,
    registry: Option<Registry>,
    settler: Settler,
    accounts: Accounts,
    /// What the gauge knows of them.
    accounts_bytes: Share,
    /// The memory of the last batch's items.
    spare: Vec<Item<'static>>,
    /// Organizations with signals that are acknowledged and still stored.
    to_forget: BTreeSet<Box<str>>,
    /// How often a partition was stuck lately.
    times_stuck: u32,
}

impl Worker {
    /// A worker that reads from `source`; `random` makes the tokens of its commits.
    pub fn new(options: WorkerOptions, around: Surroundings, source: Box<dyn Source>, random: StdRng) -> Self {
        Self {
            source,
            decoder: Decoder::new(options.registry.is_some()),
            registry: options.registry.clone().map(Registry::new),
            settler: Settler::new(Arc::clone(&around.ledger), options.policy, around.metrics.clone(), random),
            accounts: Accounts::new(options.accounts_bytes_max),
            accounts_bytes: Share::of(&around.metrics.accounts_bytes),
            spare: Vec::new(),
            to_forget: BTreeSet::new(),
            times_stuck: 0,
            options,
            around,
        }
    }

    /// Works until the process is asked to stop.
    ///
    /// # Errors
    /// [`Fatal`], if it would be wrong to go on.
    pub async fn run(mut self) -> Result<(), Fatal> {
        let mut assigned: Option<Vec<InputPartition>> = None;
        // Whether the consumer still fetches for the last assignment, which then only has to be moved.
        let mut fetching = false;
        loop {
            let began = Instant::now();
            let interrupt = match &assigned {
                None => self.wait_for_partitions().await,
                Some(partitions) => self.hold(&partitions.clone(), &mut fetching).await,
            };
            match interrupt {
                Interrupt::Stopped => {
                    return match self.forget_all().await {
                        Err(Interrupt::Fatal(fatal)) => Err(stop(fatal)),
                        Err(interrupt) => {
                            debug!(?interrupt, "what was published is published again by whoever comes next");
                            Ok(())
                        }
                        Ok(()) => Ok(()),
                    };
                }
                Interrupt::Fatal(fatal) => return Err(stop(fatal)),
                Interrupt::FenceMoved => {
                    self.around.metrics.rewinds.inc();
                    warn!(
                        "Redis is not the one any more that positions were read from: beginning anew at its progress"
                    );
                }
                Interrupt::Stuck => {
                    self.around.metrics.stuck.inc();
                    let before = if began.elapsed() < STUCK_LATELY { self.times_stuck } else { 0 };
                    self.times_stuck = before.saturating_add(1);
                    fetching = false;
                }
                Interrupt::Overtaken => {
                    self.around.metrics.rewinds.inc();
                    warn!("another worker has applied what this one was about to: beginning anew at its progress");
                }
                Interrupt::Rebalanced(mut rebalance) => {
                    // Before it is answered, so that whoever comes next does not publish again.
                    match self.forget_all().await {
                        Err(Interrupt::Rebalanced(newer)) => rebalance = newer,
                        Err(Interrupt::Fatal(fatal)) => return Err(stop(fatal)),
                        _ => {}
                    }
                    match rebalance {
                        Rebalance::Assigned(partitions) => {
                            info!(count = partitions.len(), "partitions assigned");
                            assigned = Some(partitions);
                        }
                        Rebalance::Revoked => {
                            info!("partitions revoked");
                            self.source.unassign().map_err(|error| Fatal::Kafka(error.to_string()))?;
                            assigned = None;
                        }
                    }
                    fetching = false;
                }
            }
        }
    }

    /// Holds partitions from a begin to what ends it.
    async fn hold(&mut self, partitions: &[InputPartition], fetching: &mut bool) -> Interrupt {
        let mut tenure = match self.begin(partitions, fetching).await {
            Ok(tenure) => tenure,
            Err(interrupt) => return interrupt,
        };
        loop {
            if let Err(interrupt) = self.lap(&mut tenure).await {
                return interrupt;
            }
        }
    }

    /// One batch, or one look at what is due while there is none.
    async fn lap(&mut self, tenure: &mut Tenure) -> Result<(), Interrupt> {
        self.keep_membership()?;
        let mut dead = Vec::new();
        let control_read = self.read_control(tenure, Duration::ZERO, &mut dead).await?;
        let mut batch = Batch::new(self.options.batch_records_max);
        let wait = if control_read > 0 { Duration::ZERO } else { IDLE_WAIT };
        let asked_at = self.around.clock.now();
        self.source.take(Lane::Usage, wait, &mut batch).await;
        if !batch.is_empty() {
            reach(Step::Taken);
        }
        let mut items = emptied(std::mem::take(&mut self.spare));
        items.reserve(batch.len());
        let mut groups = Groups::default();
        self.decode_usage(&batch, asked_at, tenure, &mut items, &mut groups, &mut dead).await?;
        self.drain(Lane::Usage, &batch, asked_at, tenure)?;
        reach(Step::Decoded);
        if !batch.is_empty() {
            self.read_control_for_usage(tenure, &mut dead).await?;
        }
        for item in tenure.control.release(&tenure.positions) {
            let organization_id = item.record.organization_id.clone();
            let (position, offset, record_time) = (Some(item.position), item.offset, item.record_time);
            groups.add(&organization_id, items.len());
            items.push(Item::new(Work::Control(item), position, offset, record_time));
        }
        self.add_corrections(tenure, &mut items, &mut groups);
        if items.is_empty() && dead.is_empty() {
            self.spare = emptied(items);
            tenure.positions.end_batch();
            return self.idle(tenure).await;
        }
        groups.merge(&items);
        let decoded = items.iter().filter(|item| item.position.is_some()).count() as u64;
        let consumed = decoded + dead.len() as u64;
        self.around.metrics.batch_records.observe(consumed as f64);
        self.settle(tenure, &mut items, groups, dead, consumed, &batch).await?;
        self.spare = emptied(items);
        tenure.positions.end_batch();
        self.decoder.end_batch();
        tenure.last_batch = Instant::now();
        self.tick(tenure).await
    }

    fn keep_membership(&self) -> Result<(), Interrupt> {
        if self.around.patience.is_stopped() {
            return Err(Interrupt::Stopped);
        }
        self.source.poll_membership().map_or(Ok(()), |rebalance| Err(Interrupt::Rebalanced(rebalance)))
    }

    /// Settles a batch, publishes what came of it, and only then writes progress.
    async fn settle(
        &mut self,
        tenure: &mut Tenure,
        items: &mut [Item<'_>],
        mut groups: Groups,
        mut dead: Vec<DeadLetter>,
        consumed: u64,
        batch: &Batch,
    ) -> Result<(), Interrupt> {
        let clock = self.around.clock.now();
        let read_until = tenure.positions.usage_read_until(clock);
        let clock_follows_records = self.around.clock.follows_records();
        let present = Present { clock, read_until, clock_follows_records };
        let inputs: Vec<InputPartition> =
            tenure.positions.all().iter().map(|position| position.input.clone()).collect();
        let position_of = |number: usize| inputs[number].clone();
        if !holds(Defence::ProgressLast) {
            self.advance(tenure).await?;
        }
        let mut settled = Settled::default();
        loop {
            let part = self.settler.settle(
                items,
                &mut groups,
                &mut self.accounts,
                present,
                tenure.low_water.get(),
                &position_of,
                &*self.source,
                &self.around.patience,
            );
            let part = part.await?;
            let has_more = part.has_more;
            settled.add(part);
            if !has_more {
                break;
            }
            self.publish(&mut groups, &[]).await?;
        }
        let reasons: Vec<&'static str> = dead
            .iter()
            .map(|letter| &letter.reason)
            .chain(settled.dead.iter().map(|(_, reason)| reason))
            .map(Reason::code)
            .collect();
        dead.extend(dead_letters(&settled, items, &inputs, batch));
        let metrics = self.around.metrics.clone();
        let (applied, duplicate) = (settled.applied, settled.duplicate);
        metrics.corrections.inc_by(settled.corrections);
        if !holds(Defence::Acknowledged) {
            self.advance(tenure).await?;
        }
        self.publish(&mut groups, &dead).await?;
        for account in groups.into_accounts() {
            self.accounts.put(account);
        }
        self.advance(tenure).await?;
        // Counted once the batch can no longer come again within this process.
        metrics.consumed.inc_by(consumed);
        metrics.applied.inc_by(applied);
        metrics.duplicate.inc_by(duplicate);
        for reason in reasons {
            match reason {
                QUARANTINED => metrics.parked.inc(),
                _ => metrics.dead_letters.with_label_values(&[reason]).inc(),
            }
        }
        if let Some(newest) = items.iter().map(|item| item.record_time).max() {
            metrics.record_age_seconds.set(clock.since_ms(newest) as f64 / 1_000.0);
        }
        self.accounts.end_batch();
        self.accounts_bytes.set(self.accounts.bytes());
        Ok(())
    }
}

fn stop(fatal: Fatal) -> Fatal {
    error!(%fatal, "stopping, because it would be wrong to go on");
    fatal
}
