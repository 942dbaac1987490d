//! What a worker does beside its batches: forget what was published, let the low water rise, show the lag.

use tokio::time::Instant;

use super::{FORGET_AFTER, FORGET_MAX, TICK, Tenure, Worker};
use crate::{
    faults::{Step, once, reach},
    ingest::Interrupt,
};

impl Worker {
    /// What has to be done now and then, busy or not.
    pub(super) async fn tick(&mut self, tenure: &mut Tenure) -> Result<(), Interrupt> {
        if tenure.low_water.is_to_be_read() && once() {
            let ledger = &self.around.ledger;
            let all = self.around.patience.ledger(&*self.source, || ledger.progress_of_all()).await?;
            let ours = |topic: &str| self.options.topics.iter().any(|of_ours| of_ours == topic);
            let of_ours = all.iter().filter(|(input, _)| ours(&input.topic)).map(|(_, progress)| progress.low_water);
            tenure.low_water.note(&of_ours.collect::<Vec<_>>());
        }
        if tenure.last_tick.elapsed() >= TICK {
            tenure.last_tick = Instant::now();
            self.commit_offsets(tenure);
            self.show_lag(tenure);
        }
        Ok(())
    }

    /// Nothing to read: forget what was published, see whether the fence holds, let the low water rise.
    pub(super) async fn idle(&mut self, tenure: &mut Tenure) -> Result<(), Interrupt> {
        if !self.to_forget.is_empty() && tenure.last_batch.elapsed() >= FORGET_AFTER {
            self.forget_some().await?;
        }
        if tenure.last_tick.elapsed() >= TICK {
            self.advance(tenure).await?;
        }
        self.tick(tenure).await
    }

    /// Forgets signals that were published, of up to [`FORGET_MAX`] accounts.
    pub(super) async fn forget_some(&mut self) -> Result<(), Interrupt> {
        reach(Step::BeforeForgetting);
        let organizations: Vec<Box<str>> = self.to_forget.iter().take(FORGET_MAX).cloned().collect();
        for organization_id in &organizations {
            self.to_forget.remove(organization_id);
        }
        let (settler, patience) = (&mut self.settler, &self.around.patience);
        settler.forget_published(&mut self.accounts, &organizations, &*self.source, patience).await?;
        reach(Step::Forgotten);
        Ok(())
    }

    /// Before partitions are given up, so that whoever comes next does not publish again. What cannot be forgotten is published again,
    /// under its identity.
    ///
    /// # Errors
    /// An [`Interrupt`], which may be a newer rebalance.
    pub(super) async fn forget_all(&mut self) -> Result<(), Interrupt> {
        while !self.to_forget.is_empty() {
            self.forget_some().await?;
        }
        Ok(())
    }

    pub(super) fn commit_offsets(&self, tenure: &Tenure) {
        let progress = tenure.positions.progress(|number| tenure.control.waiting_at(number));
        let offsets: Vec<_> = progress.into_iter().map(|(input, progress)| (input, progress.next_offset)).collect();
        self.source.commit(&offsets);
        reach(Step::OffsetsCommitted);
    }

    pub(super) fn show_lag(&self, tenure: &Tenure) {
        for position in tenure.positions.all() {
            let end = self.source.known_end(&position.input).unwrap_or(position.next_offset);
            let lag = if position.caught_up_at.is_some() { 0 } else { (end - position.next_offset).max(0) };
            let labels = [&*position.input.topic, &position.input.partition.to_string()];
            self.around.metrics.lag.with_label_values(&labels).set(lag);
        }
    }
}
