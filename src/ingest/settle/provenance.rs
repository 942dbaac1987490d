//! Whether accounts come from the servers, with the content, that positions were read from.
//!
//! An account that a failover or an emptying took back lacks what it was told before, prices above all. It must not be used
//! until that is told again: an event that is counted in it now would be found as a duplicate then. So whenever accounts
//! were loaded, the fence is asked for once more: if it still holds, nothing was taken back before the load.
//!
//! To mark accounts with the content that they were first written to was not enough: a first commit that is done late, after
//! an emptying, makes an account that bears the old mark (seeds 3866, 7648 and 15494 of the simulation).

use crate::{
    faults::{Defence, holds, once},
    ingest::{Interrupt, patience::Patience, source::Source},
    ledger::{Fence, Ledger},
};

/// The fence of a tenure.
#[derive(Default)]
pub(super) struct Provenance {
    fence: Fence,
}

impl Provenance {
    /// Of a tenure in which positions hold under this fence.
    pub const fn of(fence: Fence) -> Self {
        Self { fence }
    }

    /// The fence that positions were read with.
    pub const fn fence(&self) -> &Fence {
        &self.fence
    }

    /// Makes sure of accounts that were just loaded.
    ///
    /// # Errors
    /// [`Interrupt::FenceMoved`], if positions no longer hold.
    pub async fn check(&self, ledger: &dyn Ledger, source: &dyn Source, patience: &Patience) -> Result<(), Interrupt> {
        if !holds(Defence::LoadFenced) || !once() {
            return Ok(());
        }
        let begun = patience.ledger(source, || ledger.begin(&[])).await?;
        if self.fence.is_still(&begun.fence) { Ok(()) } else { Err(Interrupt::FenceMoved) }
    }
}
