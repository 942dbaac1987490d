//! Accounts that several workers write to: correct by their heads, but done twice, and a slow worker would never get its
//! turn beside a fast one: its commits are refused, or what it loads in two steps is of two heads. Who came too late three
//! times in a row takes a short lease; the others learn of it with their next commit, leave the account to its holder, and
//! go on with other accounts.
//!
//! It happens where usage lies in other partitions than its organization's control records, and around rebalances.

use hashbrown::HashMap;
use tokio::time::{Duration, Instant};

use super::{Group, Settler};
use crate::{
    faults::{Defence, holds},
    ledger::LEASE,
};

/// How often in a row another may be faster before a lease is asked for.
const REFUSALS_PATIENT: u32 = 3;

/// Leases that are known of: whose they are, and until when.
#[derive(Default)]
pub(super) struct Turns(HashMap<Box<str>, Turn>);

struct Turn {
    is_ours: bool,
    until: Instant,
}

impl Turns {
    /// Drops what is over.
    pub(super) fn end_batch(&mut self) {
        let now = Instant::now();
        self.0.retain(|_, turn| turn.until > now);
    }

    /// Notes that somebody holds a lease of an account for so long; if it is this worker, it knows already.
    pub(super) fn leave(&mut self, organization_id: &str, held_for: Duration) {
        let now = Instant::now();
        let is_ours = self.0.get(organization_id).is_some_and(|turn| turn.is_ours && turn.until > now);
        if !is_ours {
            // No longer than any lease lasts, whatever a server's clock says.
            self.0.insert(organization_id.into(), Turn { is_ours: false, until: now + held_for.min(LEASE) });
        }
    }

    fn take(&mut self, organization_id: &str, held_for: Duration) {
        self.0.insert(organization_id.into(), Turn { is_ours: true, until: Instant::now() + held_for });
    }

    /// Until when an account is another's.
    fn rests_until(&self, organization_id: &str) -> Option<Instant> {
        self.0.get(organization_id).filter(|turn| !turn.is_ours && turn.until > Instant::now()).map(|turn| turn.until)
    }

    /// Those of the open groups that may be decided now; waits if none may.
    pub(super) async fn those_not_at_rest(&self, groups: &[Group], open: Vec<usize>) -> Vec<usize> {
        if self.0.is_empty() {
            return open;
        }
        let rests_until = |number: &usize| self.rests_until(&groups[*number].organization_id);
        let ready: Vec<usize> = open.iter().copied().filter(|number| rests_until(number).is_none()).collect();
        if !ready.is_empty() {
            return ready;
        }
        if let Some(first) = open.iter().filter_map(rests_until).min() {
            tokio::time::sleep_until(first).await;
        }
        open
    }
}

impl Settler {
    /// Asks for the leases of accounts that were refused too often. No lease is no matter: heads still tell.
    pub(super) async fn share_contested(&mut self, groups: &mut [Group]) {
        let contested: Vec<&mut Group> = groups.iter_mut().filter(|group| group.refusals >= REFUSALS_PATIENT).collect();
        if contested.is_empty() || !holds(Defence::Leases) {
            return;
        }
        let names: Vec<Box<str>> = contested.iter().map(|group| group.organization_id.clone()).collect();
        let Ok(held) = self.ledger.lease(&names, self.holder).await else { return };
        for (group, held_for) in contested.into_iter().zip(held) {
            group.refusals = 0;
            if held_for.is_zero() {
                self.metrics.leases.inc();
                self.turns.take(&group.organization_id, LEASE);
            } else {
                self.turns.leave(&group.organization_id, held_for);
            }
        }
    }
}
