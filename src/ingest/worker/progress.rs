//! Progress: how far everything before is applied, for good.

use tracing::debug;

use super::{Tenure, Worker};
use crate::{
    faults::{Defence, Step, holds, once, reach},
    ingest::Interrupt,
    ledger::{Fence, InputPartition, Progress},
};

/// How often the fence is read anew, because slots have moved, while progress is written once.
const LOOKS_MAX: u32 = 8;

impl Worker {
    /// Writes progress, under the fence that positions were read with. Where slots of a cluster move, it follows them: what
    /// was lost would be seen by the fence that it reads there.
    ///
    /// # Errors
    /// [`Interrupt::FenceMoved`] if positions no longer hold.
    pub(super) async fn advance(&self, tenure: &mut Tenure) -> Result<(), Interrupt> {
        if !once() {
            return Ok(());
        }
        let applied = tenure.positions.progress(|number| tenure.control.waiting_at(number));
        let progress = tenure.positions.to_write(applied, self.options.replica_behind);
        let kept_from = tenure.low_water.to_write();
        let (ledger, patience) = (&self.around.ledger, &self.around.patience);
        if !holds(Defence::Fence) {
            tenure.positions.follow(patience.ledger(&*self.source, || ledger.begin(&[])).await?.fence);
        }
        reach(Step::BeforeProgress);
        for looks in 0.. {
            let fence = tenure.positions.fence_now();
            if patience.ledger(&*self.source, || ledger.advance(fence, &progress, kept_from)).await? {
                break;
            }
            if looks == LOOKS_MAX {
                return Err(Interrupt::FenceMoved);
            }
            let now = self.look_where_tags_are(tenure, &progress).await?;
            tenure.positions.follow(now);
        }
        reach(Step::ProgressWritten);
        tenure.low_water.wrote();
        tenure.positions.wrote(&progress);
        tenure.deferred.set(tenure.positions.deferred());
        Ok(())
    }

    /// The fence as it is now, if nothing was lost. Where tags disagree, none may be further than what is to be written: else
    /// progress has to be deferred.
    async fn look_where_tags_are(
        &self,
        tenure: &Tenure,
        progress: &[(InputPartition, Progress)],
    ) -> Result<Fence, Interrupt> {
        let (ledger, patience) = (&self.around.ledger, &self.around.patience);
        let inputs: Vec<InputPartition> = progress.iter().map(|(input, _)| input.clone()).collect();
        let now = patience.ledger(&*self.source, || ledger.begin(&inputs)).await?;
        let is_behind = |(furthest, (_, ours)): (&Option<i64>, &(_, Progress))| {
            furthest.is_some_and(|furthest| furthest > ours.next_offset)
        };
        if !tenure.positions.fence().is_still(&now.fence) || now.furthest.iter().zip(progress).any(is_behind) {
            return Err(Interrupt::FenceMoved);
        }
        debug!("slots with progress have moved: going on where they are now");
        Ok(now.fence)
    }
}
