//! Takes a batch through load, decide and commit.
//!
//! Records are grouped by account, in their order. A round loads what accounts lack, lets each decide as much as one
//! commit may hold, and commits; rounds go on until nothing is left. While the ledger writes the commits of some
//! accounts, the next ones decide. A refused commit costs its account everything that was held of it, rows and ids,
//! and the same records are decided again.

mod group;

use std::sync::Arc;

use rand::{Rng, SeedableRng, rngs::StdRng};
use tokio::task::JoinSet;

use self::group::Group;
pub use self::group::Groups;
use super::{
    Fatal, Interrupt, accounts::Accounts, consumer::Consumer, decode::Decoded, lanes::ControlItem, patience::Patience,
};
use crate::{
    domain::{
        account::{Account, Policy, Present, changes::Changes, scopes::ChargedScopes},
        reason::Reason,
        scope::Scope,
        time::Timestamp,
    },
    ledger::{Committed, InputPartition, Ledger, LedgerError},
    observe::metrics::Metrics,
};

/// Accounts whose commits travel together while the next ones decide.
const ACCOUNTS_PER_FLIGHT: usize = 128;

/// Signals that one commit may carry, before the event that brings the last of them.
const COMMIT_SIGNALS_MAX: usize = 1_000;

/// Signals of a batch that are written and not yet published, before they are: a record that concerns many thousands of
/// scopes is not held in memory as a whole.
const SIGNALS_WAITING_MAX: usize = 10_000;

/// Rows that one event may touch at most.
const EVENT_ROWS_MAX: usize = 4;

/// Refusals in a row after which an account is left alone for a moment, so that two workers do not chase each other.
const REFUSALS_PATIENT: u32 = 3;

/// Something to decide.
pub enum Work<'m> {
    /// A usage event.
    Usage(Decoded<'m>),
    /// A control record.
    Control(ControlItem),
    /// Something read back from the pauses topic that may be wrong.
    Correction {
        /// The scope it is of.
        scope: Scope,
        /// The generation that was read.
        generation: i64,
        /// Whether it says that the scope is paused.
        paused: bool,
    },
}

/// A piece of work with its place in the log.
pub struct Item<'m> {
    /// What is to be decided.
    pub work: Work<'m>,
    /// The number of its partition, or `None` for what is of no partition.
    pub position: Option<usize>,
    /// Its offset.
    pub offset: i64,
    /// Its record time.
    pub record_time: Timestamp,
    charged: ChargedScopes,
}

impl<'m> Item<'m> {
    /// Something still to be decided.
    pub fn new(work: Work<'m>, position: Option<usize>, offset: i64, record_time: Timestamp) -> Self {
        Self { work, position, offset, record_time, charged: ChargedScopes::default() }
    }
}

/// What a batch came to.
#[derive(Debug, Default)]
pub struct Settled {
    /// Records that changed an account.
    pub applied: u64,
    /// Records that had been applied before.
    pub duplicate: u64,
    /// Items that will never be applied, by their place in the batch.
    pub dead: Vec<(usize, Reason)>,
    /// Corrections that were needed.
    pub corrections: u64,
    /// Whether there is more to settle, once what waits has been published.
    pub has_more: bool,
}

/// What a group has decided and not yet committed.
struct Decided {
    group: usize,
    upto: usize,
    tally: Settled,
}

/// Where the work of a batch is done.
pub struct Settler {
    ledger: Arc<dyn Ledger>,
    policy: Policy,
    metrics: Metrics,
    tokens: StdRng,
}

impl Settler {
    /// A settler that commits to `ledger`.
    pub fn new(ledger: Arc<dyn Ledger>, policy: Policy, metrics: Metrics) -> Self {
        Self { ledger, policy, metrics, tokens: StdRng::from_os_rng() }
    }

    /// Settles everything, or as much as may wait to be published. `low_water` tells what ids may be forgotten.
    ///
    /// # Errors
    /// An [`Interrupt`]: what was committed stays, and is found as duplicate when the batch comes again.
    #[allow(clippy::too_many_arguments, reason = "the batch and the four things it is settled against")]
    pub async fn settle(
        &mut self,
        items: &mut [Item<'_>],
        groups: &mut Groups,
        accounts: &mut Accounts,
        present: Present,
        low_water: Timestamp,
        position_of: &dyn Fn(usize) -> InputPartition,
        consumer: &Consumer,
        patience: &Patience,
    ) -> Result<Settled, Interrupt> {
        for group in groups.all.iter_mut().filter(|group| group.account.is_none()) {
            group.account = Some(accounts.take(&group.organization_id));
        }
        let oldest = low_water.plus_ms(-self.policy.horizon_ms);
        let mut total = Settled::default();
        loop {
            let open: Vec<usize> = (0..groups.all.len())
                .filter(|number| groups.all[*number].settled < groups.all[*number].items.len())
                .collect();
            if open.is_empty() {
                return Ok(total);
            }
            if groups.signals_waiting() >= SIGNALS_WAITING_MAX {
                total.has_more = true;
                return Ok(total);
            }
            self.load(items, &mut groups.all, &open, consumer, patience).await?;
            self.decide_and_commit(
                items,
                &mut groups.all,
                &open,
                present,
                oldest,
                position_of,
                &mut total,
                consumer,
                patience,
            )
            .await?;
        }
    }

    /// Loads what the open groups lack, until they lack nothing.
    async fn load(
        &mut self,
        items: &mut [Item<'_>],
        groups: &mut [Group],
        open: &[usize],
        consumer: &Consumer,
        patience: &Patience,
    ) -> Result<(), Interrupt> {
        let mut lacking: Vec<usize> = open.to_vec();
        while !lacking.is_empty() {
            let mut requests = Vec::new();
            let mut asking = Vec::new();
            for number in lacking {
                let needs = groups[number].needs(items);
                if !needs.is_empty() {
                    requests.push((groups[number].organization_id.clone(), needs));
                    asking.push(number);
                }
            }
            let ledger = &self.ledger;
            let loaded = if requests.is_empty() {
                Vec::new()
            } else {
                patience.ledger(consumer, || ledger.load(&requests)).await?
            };
            for ((number, (organization_id, needs)), loaded) in asking.iter().zip(&requests).zip(loaded) {
                let account = groups[*number].account.as_mut().expect("an open group has its account");
                let current = account
                    .fill(needs, loaded)
                    .map_err(|error| Fatal::Ledger(format!("{organization_id}: {error}")))?;
                if !current {
                    *account = Account::new(organization_id);
                }
            }
            lacking = asking;
        }
        Ok(())
    }

    #[allow(clippy::too_many_arguments, reason = "one round of `settle`")]
    async fn decide_and_commit(
        &mut self,
        items: &mut [Item<'_>],
        groups: &mut [Group],
        open: &[usize],
        present: Present,
        oldest: Timestamp,
        position_of: &dyn Fn(usize) -> InputPartition,
        total: &mut Settled,
        consumer: &Consumer,
        patience: &Patience,
    ) -> Result<(), Interrupt> {
        let mut flights: JoinSet<(Vec<Decided>, Result<Vec<Committed>, LedgerError>)> = JoinSet::new();
        for piece in open.chunks(ACCOUNTS_PER_FLIGHT) {
            let mut flight = Vec::with_capacity(piece.len());
            let mut commits: Vec<(Box<str>, Changes)> = Vec::with_capacity(piece.len());
            for number in piece {
                let group = &mut groups[*number];
                let (upto, tally) = group.decide(items, present, &self.policy, position_of);
                let account = group.account.as_mut().expect("an open group has its account");
                if account.has_changes() {
                    let changes = account.take_changes(self.tokens.random(), oldest);
                    commits.push((group.organization_id.clone(), changes));
                    flight.push(Decided { group: *number, upto, tally });
                } else {
                    group.settle(upto);
                    total.add(tally);
                }
            }
            if !commits.is_empty() {
                let (ledger, seconds) = (Arc::clone(&self.ledger), self.metrics.commit_seconds.clone());
                flights.spawn(async move {
                    let timer = seconds.start_timer();
                    let results = ledger.commit(&commits).await;
                    timer.observe_duration();
                    (flight, results)
                });
            }
        }
        let mut away = None;
        while let Some(landed) = flights.join_next().await {
            let (flight, results) = landed.map_err(|error| Fatal::Ledger(format!("a commit panicked: {error}")))?;
            match results {
                Ok(results) => self.land(groups, flight, &results, total).await,
                Err(LedgerError::Unavailable(why)) => {
                    // Not known whether anything was written: the ids will tell.
                    for decided in flight {
                        groups[decided.group].forget_account();
                    }
                    away = Some(why);
                }
                Err(LedgerError::Misconfigured(why)) => return Err(Fatal::Ledger(why).into()),
            }
        }
        match away {
            Some(why) => patience.wait_for(consumer, crate::observe::health::Dependency::Redis, &why).await,
            None => Ok(()),
        }
    }

    async fn land(&mut self, groups: &mut [Group], flight: Vec<Decided>, results: &[Committed], total: &mut Settled) {
        let mut chased = false;
        for (decided, result) in flight.into_iter().zip(results) {
            let group = &mut groups[decided.group];
            match result {
                Committed::Written => {
                    self.metrics.commits.inc();
                    group.settle(decided.upto);
                    total.add(decided.tally);
                }
                Committed::Refused => {
                    self.metrics.refused_commits.inc();
                    tracing::debug!(organization = &*group.organization_id, "commit refused; the account is read anew");
                    group.forget_account();
                    group.refusals += 1;
                    chased |= group.refusals >= REFUSALS_PATIENT;
                }
            }
        }
        if chased {
            let wait_ms = self.tokens.random_range(1..=20);
            tokio::time::sleep(std::time::Duration::from_millis(wait_ms)).await;
        }
    }

    /// Writes what accounts have to forget, for those that nothing else will be written to soon.
    ///
    /// # Errors
    /// An [`Interrupt`].
    pub async fn forget_published(
        &mut self,
        accounts: &mut Accounts,
        organizations: &[Box<str>],
        consumer: &Consumer,
        patience: &Patience,
    ) -> Result<(), Interrupt> {
        let mut commits = Vec::new();
        for organization_id in organizations {
            let mut account = accounts.take(organization_id);
            if account.has_published() {
                commits.push((organization_id.clone(), account.take_changes(self.tokens.random(), Timestamp::MIN)));
            }
            if account.is_loaded() {
                accounts.put(account);
            }
        }
        if commits.is_empty() {
            return Ok(());
        }
        match self.ledger.commit(&commits).await {
            Ok(results) => {
                for ((organization_id, _), _) in
                    commits.iter().zip(results).filter(|(_, result)| *result == Committed::Refused)
                {
                    drop(accounts.take(organization_id));
                }
                Ok(())
            }
            Err(LedgerError::Unavailable(why)) => {
                for (organization_id, _) in &commits {
                    drop(accounts.take(organization_id));
                }
                patience.wait_for(consumer, crate::observe::health::Dependency::Redis, &why).await
            }
            Err(LedgerError::Misconfigured(why)) => Err(Fatal::Ledger(why).into()),
        }
    }
}

impl Settled {
    /// Adds what another piece of the batch came to.
    pub fn add(&mut self, other: Self) {
        self.applied += other.applied;
        self.duplicate += other.duplicate;
        self.dead.extend(other.dead);
        self.corrections += other.corrections;
    }
}
