//! Progress: how far everything before is applied, for good.

use tracing::debug;

use super::{Tenure, Worker};
use crate::{
    faults::{Defence, Step, holds, once, reach},
    ingest::Interrupt,
};

/// So many slots may move while progress is written, before that counts as another Redis.
const MOVES_MAX: u32 = 8;

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
        let progress = tenure.positions.without_held(applied, self.options.replica_behind);
        let kept_from = tenure.low_water.to_write();
        let (ledger, patience) = (&self.around.ledger, &self.around.patience);
        if !holds(Defence::Fence) {
            tenure.positions.follow(patience.ledger(&*self.source, || ledger.begin(&[])).await?.fence);
        }
        reach(Step::BeforeProgress);
        for moves in 0.. {
            let fence = tenure.positions.fence_now();
            if patience.ledger(&*self.source, || ledger.advance(fence, &progress, kept_from)).await? {
                break;
            }
            let now = patience.ledger(&*self.source, || ledger.begin(&[])).await?.fence;
            if moves == MOVES_MAX || !tenure.positions.fence().is_still(&now) {
                return Err(Interrupt::FenceMoved);
            }
            debug!("slots with progress have moved: going on where they are now");
            tenure.positions.follow(now);
        }
        reach(Step::ProgressWritten);
        tenure.low_water.wrote();
        tenure.positions.wrote(&progress);
        Ok(())
    }
}
