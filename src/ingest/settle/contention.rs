//! Accounts that several workers write to: correct by their heads, but done twice. Who was refused three times in a row
//! takes a short lease; who finds it taken leaves the account to its holder, and goes on with the others.
//!
//! It happens where usage lies in other partitions than its organization's control records, and around rebalances.

use tokio::time::Instant;

use super::{Group, Settler};

/// Refusals in a row after which a lease is asked for.
const REFUSALS_PATIENT: u32 = 3;

impl Settler {
    /// Asks for the leases of accounts that were refused too often. No lease is no matter: heads still tell.
    pub(super) async fn share_contested(&self, groups: &mut [Group]) {
        let contested: Vec<&mut Group> = groups.iter_mut().filter(|group| group.refusals >= REFUSALS_PATIENT).collect();
        if contested.is_empty() {
            return;
        }
        let names: Vec<Box<str>> = contested.iter().map(|group| group.organization_id.clone()).collect();
        let Ok(held) = self.ledger.lease(&names, self.holder).await else { return };
        for (group, held_for) in contested.into_iter().zip(held) {
            group.refusals = 0;
            group.rests_until = (!held_for.is_zero()).then(|| Instant::now() + held_for);
            if held_for.is_zero() {
                self.metrics.leases.inc();
            }
        }
    }
}

/// Those of the open groups that may be decided now; waits if none may.
pub(super) async fn those_not_at_rest(groups: &[Group], open: Vec<usize>) -> Vec<usize> {
    let rests = |number: &usize, now: Instant| groups[*number].rests_until.is_some_and(|until| until > now);
    let now = Instant::now();
    let ready: Vec<usize> = open.iter().copied().filter(|number| !rests(number, now)).collect();
    if !ready.is_empty() {
        return ready;
    }
    if let Some(first) = open.iter().filter_map(|number| groups[*number].rests_until).min() {
        tokio::time::sleep_until(first).await;
    }
    open
}
