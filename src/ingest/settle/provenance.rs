//! Whether accounts come from the servers, with the content, that positions were read from.
//!
//! An account that a failover or an emptying took back lacks what it was told before, prices above all. It must not be used
//! until that is told again: an event that is counted in it now would be found as a duplicate then.

use std::collections::BTreeSet;

use crate::{
    faults::{Defence, holds, once},
    ingest::{Interrupt, patience::Patience, source::Source},
    ledger::{Fence, Ledger},
};

/// The fence of a tenure, and what is known to be behind it.
#[derive(Default)]
pub(super) struct Provenance {
    fence: Fence,
    /// Replication histories of servers.
    lineages: BTreeSet<String>,
    birth: u64,
    /// Contents that accounts were first written to.
    births: BTreeSet<u64>,
}

impl Provenance {
    /// What a fence itself tells.
    pub fn of(fence: Fence) -> Self {
        let lineages = fence.0.iter().map(|(lineage, _)| lineage.clone()).collect();
        let birth = fence.birth();
        Self { fence, lineages, birth, births: BTreeSet::from([birth]) }
    }

    /// The fence that positions were read with.
    pub const fn fence(&self) -> &Fence {
        &self.fence
    }

    /// What accounts are marked with that are first written to now.
    pub const fn birth(&self) -> u64 {
        self.birth
    }

    /// Makes sure of accounts that were just loaded from servers of these lineages, and were first written to under
    /// these births (`None`: never). What is not known yet is asked for.
    ///
    /// # Errors
    /// [`Interrupt::FenceMoved`], if positions no longer hold.
    pub async fn check(
        &mut self,
        lineages: &[String],
        births: &[Option<u64>],
        ledger: &dyn Ledger,
        source: &dyn Source,
        patience: &Patience,
    ) -> Result<(), Interrupt> {
        let is_known = lineages.iter().all(|lineage| self.lineages.contains(lineage))
            && births.iter().all(|birth| birth.is_some_and(|birth| self.births.contains(&birth)));
        if is_known || !holds(Defence::LoadFenced) || !once() {
            return Ok(());
        }
        let begun = patience.ledger(source, || ledger.begin(&[])).await?;
        if begun.fence != self.fence {
            return Err(Interrupt::FenceMoved);
        }
        self.lineages.extend(lineages.iter().cloned());
        self.births.extend(births.iter().flatten());
        Ok(())
    }
}
