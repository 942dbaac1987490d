//! Takes a batch through load, decide and commit.
//!
//! Records are grouped by account, in their order. In a round each account decides as much as one commit may hold, at once
//! if it lacks nothing, else when what it lacks is loaded; rounds go on until nothing is left. While the ledger writes
//! the commits of some accounts, the next ones decide. A refused commit costs its account everything that was held of
//! it, rows and ids, and the same records are decided again.
//!
//! - `contention` leaves accounts to one worker for a moment that several write to.
//! - `flight` is commits on their way; `overtaken` tells a worker that lost its partition without knowing.
//! - `group` is the work of one account; `quarantine` parks accounts that panic.
//! - `provenance` makes sure that accounts come from where positions were read.

mod contention;
mod flight;
mod group;
mod overtaken;
mod provenance;
mod quarantine;

use std::sync::Arc;

use rand::{Rng, rngs::StdRng};

pub use self::group::Groups;
use self::{
    contention::Turns,
    flight::{Decided, Round},
    group::Group,
    provenance::Provenance,
    quarantine::Quarantine,
};
use super::{
    Fatal, Interrupt, accounts::Accounts, decode::Decoded, lanes::ControlItem, patience::Patience, source::Source,
};
use crate::{
    domain::{
        account::{
            Policy, Present,
            changes::{Needs, Stamp},
            scopes::ChargedScopes,
        },
        event::Usage,
        ids::EventId,
        reason::Reason,
        scope::Scope,
        time::Timestamp,
    },
    faults::{Defence, Step, holds, reach},
    ledger::{Committed, Fence, InputPartition, Ledger, LedgerError},
    observe::metrics::Metrics,
    prefetch::prefetch,
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

/// Something to decide.
pub enum Work<'m> {
    /// A usage event, and what its account knows it by.
    Usage(Decoded<'m>, Option<EventId>),
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
    /// The ids of its time are forgotten, and nobody has applied it.
    is_left_over: bool,
}

/// An empty list in the same memory. That of a large batch is some 30 MB, and to get and return it each time costs more than
/// to keep it.
pub fn emptied<'m>(mut items: Vec<Item<'_>>) -> Vec<Item<'m>> {
    items.clear();
    items.into_iter().map(|_| unreachable!("the list was cleared")).collect()
}

impl<'m> Item<'m> {
    /// Something still to be decided.
    pub fn new(work: Work<'m>, position: Option<usize>, offset: i64, record_time: Timestamp) -> Self {
        Self { work, position, offset, record_time, charged: ChargedScopes::default(), is_left_over: false }
    }

    /// Asks the processor for the texts of an event that are looked at to decide it.
    fn prefetch_texts(&self) {
        if let Work::Usage(Decoded::Borrowed(event), _) = &self.work {
            let model = match event.usage {
                Usage::Tokens { request_model, .. } => Some(request_model),
                Usage::Run { .. } => None,
            };
            let texts = [event.workspace_id, event.agent_id, event.user_id, event.product, event.trigger, model];
            texts.into_iter().flatten().for_each(prefetch);
        }
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

/// Where the work of a batch is done.
pub struct Settler {
    ledger: Arc<dyn Ledger>,
    policy: Policy,
    metrics: Metrics,
    tokens: StdRng,
    provenance: Provenance,
    quarantine: Quarantine,
    /// As whom this worker takes leases.
    holder: u128,
    turns: Turns,
}

impl Settler {
    /// A settler that commits to `ledger`; `random` makes the tokens of heads.
    pub fn new(ledger: Arc<dyn Ledger>, policy: Policy, metrics: Metrics, mut random: StdRng) -> Self {
        let (provenance, quarantine) = (Provenance::default(), Quarantine::default());
        let (holder, turns) = (random.random(), Turns::default());
        Self { ledger, policy, metrics, tokens: random, provenance, quarantine, holder, turns }
    }

    /// Begins a tenure, in which positions hold under this fence.
    pub fn begin(&mut self, fence: Fence) {
        self.provenance = Provenance::of(fence);
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
        source: &dyn Source,
        patience: &Patience,
    ) -> Result<Settled, Interrupt> {
        for group in groups.all.iter_mut().filter(|group| group.account.is_none()) {
            group.account = Some(accounts.take(&group.organization_id));
        }
        let low_water = if holds(Defence::LowWater) { low_water } else { present.clock };
        let mut total = Settled::default();
        loop {
            let open: Vec<usize> = (0..groups.all.len())
                .filter(|number| groups.all[*number].settled < groups.all[*number].items.len())
                .collect();
            if open.is_empty() {
                self.turns.end_batch();
                self.load_what_parked_ones_left(&mut groups.all, source, patience).await?;
                return Ok(total);
            }
            let open = self.turns.those_not_at_rest(&groups.all, open).await;
            if groups.signals_waiting() >= SIGNALS_WAITING_MAX {
                total.has_more = true;
                return Ok(total);
            }
            let mut round = Round::after(total);
            let mut lacking = open;
            while !lacking.is_empty() {
                let asking = self.decide_what_is_here(
                    items,
                    &mut groups.all,
                    &lacking,
                    (present, low_water),
                    position_of,
                    &mut round,
                );
                lacking = self.load(&mut groups.all, &asking, source, patience).await?;
            }
            reach(Step::Decided);
            self.take_off(&mut round);
            total = self.land_all(&mut groups.all, round, source, patience).await?;
            reach(Step::Committed);
            self.share_contested(&mut groups.all).await;
            self.look_who_overtook(items, &mut groups.all, position_of, source, patience).await?;
        }
    }

    /// Lets those groups decide that lack nothing, while what they look at is still at hand, and sends their commits on
    /// their way. Returns the others, with what they lack.
    fn decide_what_is_here(
        &mut self,
        items: &mut [Item<'_>],
        groups: &mut [Group],
        numbers: &[usize],
        (present, low_water): (Present, Timestamp),
        position_of: &dyn Fn(usize) -> InputPartition,
        round: &mut Round,
    ) -> Vec<(usize, Needs)> {
        let mut asking = Vec::new();
        for (nth, number) in numbers.iter().enumerate() {
            if let Some(soon) = numbers.get(nth + 2) {
                groups[*soon].prefetch(items);
            }
            if let Some(next) = numbers.get(nth + 1) {
                groups[*next].prefetch_further(items);
            }
            let group = &mut groups[*number];
            if let Some(why) = self.quarantine.holds(&group.organization_id) {
                round.total.add(group.park(items, &why));
                continue;
            }
            let stamp = Stamp { token: self.tokens.random(), low_water, horizon_ms: self.policy.horizon_ms };
            let needs = match self.quarantine.guard(group, |group| group.needs(items)) {
                Ok(needs) => needs,
                Err(why) => {
                    round.total.add(group.park(items, &why));
                    continue;
                }
            };
            if !needs.is_empty() {
                asking.push((*number, needs));
                continue;
            }
            let policy = &self.policy;
            let decided = self.quarantine.guard(group, |group| group.step(items, present, policy, position_of, stamp));
            match decided {
                Ok((upto, tally, Some(changes))) => {
                    round.flight.commits.push((group.organization_id.clone(), changes));
                    round.flight.decided.push(Decided { group: *number, upto, tally });
                }
                Ok((upto, tally, None)) => {
                    group.settle(upto);
                    round.total.add(tally);
                }
                Err(why) => round.total.add(group.park(items, &why)),
            }
            if round.flight.commits.len() >= ACCOUNTS_PER_FLIGHT {
                self.take_off(round);
            }
        }
        asking
    }

    /// Loads what groups lack. Returns those that may decide; the others were moved between two loads, and their turn comes
    /// with the next round.
    async fn load(
        &mut self,
        groups: &mut [Group],
        asking: &[(usize, Needs)],
        source: &dyn Source,
        patience: &Patience,
    ) -> Result<Vec<usize>, Interrupt> {
        if asking.is_empty() {
            return Ok(Vec::new());
        }
        let request = |(number, needs): &(usize, Needs)| (groups[*number].organization_id.clone(), needs.clone());
        let requests: Vec<(Box<str>, Needs)> = asking.iter().map(request).collect();
        let ledger = &self.ledger;
        let loaded = patience.ledger(source, || ledger.load(&requests)).await?;
        reach(Step::Loaded);
        let mut current = Vec::with_capacity(asking.len());
        for ((number, needs), loaded) in asking.iter().zip(loaded) {
            let group = &mut groups[*number];
            let account = group.account.as_mut().expect("an open group has its account");
            let is_current = account
                .fill(needs, loaded)
                .map_err(|error| Fatal::Ledger(format!("{}: {error}", group.organization_id)))?;
            if is_current {
                current.push(*number);
            } else {
                group.forget_account();
                group.refusals += 1;
            }
        }
        // What is loaded later is of the same account: its head tells.
        if asking.iter().any(|(_, needs)| needs.base) {
            self.provenance.check(&*self.ledger, source, patience).await?;
        }
        Ok(current)
    }

    /// Writes what accounts have to forget, for those that nothing else will be written to soon.
    ///
    /// # Errors
    /// An [`Interrupt`].
    pub async fn forget_published(
        &mut self,
        accounts: &mut Accounts,
        organizations: &[Box<str>],
        source: &dyn Source,
        patience: &Patience,
    ) -> Result<(), Interrupt> {
        let mut commits = Vec::new();
        for organization_id in organizations {
            let mut account = accounts.take(organization_id);
            if account.has_published() {
                let stamp = Stamp { token: self.tokens.random(), low_water: Timestamp::MIN, horizon_ms: 0 };
                commits.push((organization_id.clone(), account.take_changes(stamp)));
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
                patience.lose_redis(source, &why).await
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
