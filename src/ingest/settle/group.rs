//! The work of one batch, grouped by account: what an account needs, and how far one commit takes it.

use hashbrown::HashMap;
use tracing::info;

use super::{COMMIT_SIGNALS_MAX, EVENT_ROWS_MAX, Item, Settled, Work};
use crate::{
    domain::account::{
        Account, Moment, Outcome, Policy, Present,
        changes::{COMMIT_ROWS_MAX, Changes, Needs, Stamp},
    },
    domain::reason::Reason,
    faults::taste,
    ledger::InputPartition,
    prefetch::prefetch,
};

/// So many items are looked at together, so that the processor fetches what one needs while it works on others.
const AHEAD: usize = 8;

/// The work of a batch, grouped by account.
#[derive(Default)]
pub struct Groups {
    numbers: HashMap<Box<str>, usize>,
    pub(super) all: Vec<Group>,
}

pub(super) struct Group {
    pub(super) organization_id: Box<str>,
    pub(super) account: Option<Box<Account>>,
    /// Items in their order.
    pub(super) items: Vec<u32>,
    /// How many of them are settled.
    pub(super) settled: usize,
    /// How often in a row somebody else was faster.
    pub(super) refusals: u32,
    /// An item whose ids are forgotten, and of which it is not known why.
    pub(super) overtaken: Option<usize>,
    /// Whether it was parked just now, and what its account has committed may wait to be published.
    pub(super) leaves_signals: bool,
}

impl Groups {
    /// Adds an item of an organization.
    pub fn add(&mut self, organization_id: &str, item: usize) {
        let number = match self.numbers.get(organization_id) {
            Some(number) => *number,
            None => {
                self.numbers.insert(organization_id.into(), self.all.len());
                self.all.push(Group {
                    organization_id: organization_id.into(),
                    account: None,
                    items: Vec::new(),
                    settled: 0,
                    refusals: 0,
                    overtaken: None,
                    leaves_signals: false,
                });
                self.all.len() - 1
            }
        };
        self.all[number].items.push(u32::try_from(item).expect("a batch is bounded far below 2^32"));
    }

    /// The accounts that are being worked on.
    pub fn accounts_mut(&mut self) -> impl Iterator<Item = &mut Account> {
        self.all.iter_mut().filter_map(|group| group.account.as_deref_mut())
    }

    /// Gives the accounts back.
    pub fn into_accounts(self) -> impl Iterator<Item = Box<Account>> {
        self.all.into_iter().filter_map(|group| group.account)
    }

    /// How many signals are written and not yet published.
    pub(super) fn signals_waiting(&self) -> usize {
        self.all.iter().filter_map(|group| group.account.as_ref()).map(|account| account.outbox().len()).sum()
    }

    /// Puts the items of accounts that have control records into the order of record time; at the same time, control
    /// comes first.
    pub fn merge(&mut self, items: &[Item<'_>]) {
        let is_control = |item: &u32| matches!(items[*item as usize].work, Work::Control(_));
        for group in self.all.iter_mut().filter(|group| group.items.iter().any(is_control)) {
            group.items.sort_by_key(|item| (items[*item as usize].record_time, !is_control(item)));
        }
    }
}

impl Group {
    /// What the account lacks to decide the next items: all usage up to a control record, or that record alone.
    pub(super) fn needs(&mut self, items: &mut [Item<'_>]) -> Needs {
        let mut needs = Needs::default();
        let account = self.account.as_mut().expect("an open group has its account");
        let rest = &self.items[self.settled..];
        if let Some(Work::Control(control)) = rest.first().map(|number| &items[*number as usize].work) {
            account.needs_for_control(&control.record, &mut needs);
            return needs;
        }
        let mut pieces = rest.chunks(AHEAD).peekable();
        while let Some(piece) = pieces.next() {
            let next = pieces.peek().copied().unwrap_or_default();
            next.iter().for_each(|number| prefetch(&items[*number as usize]));
            let is_control = |number: &u32| matches!(items[*number as usize].work, Work::Control(_));
            let upto = piece.iter().position(is_control);
            let piece = &piece[..upto.unwrap_or(piece.len())];
            for number in piece {
                let item = &mut items[*number as usize];
                if let Work::Usage(decoded, id) = &item.work {
                    item.charged = account.name_scopes(&decoded.event(), *id);
                }
            }
            for number in piece {
                match &items[*number as usize] {
                    Item { work: Work::Usage(decoded, _), charged, .. } => {
                        account.needs_for_usage(decoded.event().event_time, *charged, &mut needs);
                    }
                    Item { work: Work::Correction { scope, .. }, .. } => {
                        account.needs_for_correction(scope, &mut needs);
                    }
                    Item { work: Work::Control(_), .. } => {}
                }
            }
            if upto.is_some() {
                break;
            }
            next.iter().for_each(|number| items[*number as usize].prefetch_texts());
        }
        needs
    }

    /// Asks the processor for what [`Group::needs`] looks at first.
    pub(super) fn prefetch(&self, items: &[Item<'_>]) {
        self.account.iter().for_each(|account| prefetch(&**account));
        self.first_items(items).for_each(prefetch);
    }

    /// Asks the processor for what lies behind that.
    pub(super) fn prefetch_further(&self, items: &[Item<'_>]) {
        self.account.iter().for_each(|account| account.prefetch());
        self.first_items(items).for_each(Item::prefetch_texts);
    }

    fn first_items<'i, 'm>(&self, items: &'i [Item<'m>]) -> impl Iterator<Item = &'i Item<'m>> {
        self.items[self.settled..].iter().take(AHEAD).map(|number| &items[*number as usize])
    }

    /// Decides as many items as one commit may hold, and returns up to which.
    pub(super) fn decide(
        &mut self,
        items: &[Item<'_>],
        present: Present,
        policy: &Policy,
        position_of: &dyn Fn(usize) -> InputPartition,
    ) -> (usize, Settled) {
        let account = self.account.as_mut().expect("an open group has its account");
        let mut tally = Settled::default();
        let mut upto = self.settled;
        let rest = &self.items[self.settled..];
        for (nth, number) in rest.iter().enumerate() {
            // The items of a large group have left the cache since they were looked at.
            if let Some(soon) = rest.get(nth + AHEAD) {
                prefetch(&items[*soon as usize]);
            }
            let item = &items[*number as usize];
            let first = upto == self.settled;
            let moment = Moment::of(item.record_time, present);
            let outcome = match &item.work {
                Work::Usage(decoded, id) => account.decide_usage(&decoded.event(), *id, item.charged, moment, policy),
                Work::Control(_) if !first => break,
                Work::Control(control) => {
                    let InputPartition { topic, partition } = position_of(control.position);
                    account.decide_control(&control.record, (&topic, partition, control.offset), moment, policy)
                }
                Work::Correction { scope, generation, paused } => {
                    let index = account.needs_for_correction(scope, &mut Needs::default());
                    if account.correct_pauses(index, *generation, *paused, moment, policy) {
                        let organization = &*self.organization_id;
                        info!(organization, %scope, "the pauses topic ends with a wrong record; it is corrected");
                        tally.corrections += 1;
                    }
                    upto += 1;
                    continue;
                }
            };
            match outcome {
                Outcome::Applied => tally.applied += 1,
                Outcome::Duplicate => tally.duplicate += 1,
                Outcome::DeadLetter(reason) => tally.dead.push((*number as usize, reason)),
                Outcome::Overtaken if item.is_left_over => {
                    let event_time = match &item.work {
                        Work::Usage(decoded, _) => decoded.event().event_time,
                        Work::Control(control) => control.record.time,
                        Work::Correction { .. } => item.record_time,
                    };
                    let reason = Reason::TooLate { event_time, record_time: item.record_time };
                    tally.dead.push((*number as usize, reason));
                }
                Outcome::Overtaken => {
                    self.overtaken = Some(*number as usize);
                    break;
                }
                Outcome::Continue => break,
            }
            upto += 1;
            let is_full = account.rows_changed() + EVENT_ROWS_MAX > COMMIT_ROWS_MAX
                || account.signals_decided() >= COMMIT_SIGNALS_MAX;
            if is_full || matches!(item.work, Work::Control(_)) {
                break;
            }
        }
        (upto, tally)
    }

    /// Decides as much as one commit may hold, and what that commit has to write.
    pub(super) fn step(
        &mut self,
        items: &[Item<'_>],
        present: Present,
        policy: &Policy,
        position_of: &dyn Fn(usize) -> InputPartition,
        stamp: Stamp,
    ) -> (usize, Settled, Option<Changes>) {
        taste(&self.organization_id);
        let (upto, tally) = self.decide(items, present, policy, position_of);
        let account = self.account.as_mut().expect("an open group has its account");
        let changes = account.has_changes().then(|| account.take_changes(stamp));
        (upto, tally, changes)
    }

    /// Gives up on what is not settled: it is parked.
    pub(super) fn park(&mut self, items: &[Item<'_>], why: &str) -> Settled {
        let parked = self.items[self.settled..].iter().map(|number| *number as usize);
        let records = parked.filter(|number| items[*number].position.is_some());
        let dead = records.map(|number| (number, Reason::Quarantined(why.to_owned()))).collect();
        self.forget_account();
        self.settle(self.items.len());
        Settled { dead, ..Settled::default() }
    }

    pub(super) fn settle(&mut self, upto: usize) {
        self.settled = upto;
        self.refusals = 0;
    }

    /// What must not be done when a commit is refused: to drop the rows and believe the ids.
    pub(super) fn forget_rows(&mut self) {
        if let Some(account) = &mut self.account {
            account.forget_rows();
        }
    }

    /// Drops everything that is held of the account: rows and ids.
    pub(super) fn forget_account(&mut self) {
        self.account = Some(Box::new(Account::new(&self.organization_id)));
    }
}
