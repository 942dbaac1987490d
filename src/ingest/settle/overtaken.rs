//! Items whose ids are forgotten: another worker may have applied them.

use std::collections::BTreeMap;

use super::{Group, Item, Settler};
use crate::{
    ingest::{Interrupt, patience::Patience, source::Source},
    ledger::InputPartition,
};

impl Settler {
    /// Finds out why the ids of some items are forgotten: whether another worker has applied them, so that this one has
    /// lost its partition without knowing; or whether they are of a partition that nobody has read so far.
    pub(super) async fn look_who_overtook(
        &self,
        items: &mut [Item<'_>],
        groups: &mut [Group],
        position_of: &dyn Fn(usize) -> InputPartition,
        source: &dyn Source,
        patience: &Patience,
    ) -> Result<(), Interrupt> {
        let mut looked: BTreeMap<usize, i64> = BTreeMap::new();
        for number in groups.iter_mut().filter_map(|group| group.overtaken.take()) {
            let position = items[number].position.expect("corrections have no ids");
            let first: &mut i64 = looked.entry(position).or_insert(i64::MAX);
            *first = (*first).min(items[number].offset);
        }
        for (position, first) in looked {
            let partition = [position_of(position)];
            let begun = patience.ledger(source, || self.ledger.begin(&partition)).await?;
            // An emptied store knows of no progress, and of nothing else either.
            if !self.provenance.fence().is_still(&begun.fence) {
                return Err(Interrupt::FenceMoved);
            }
            let applied_upto = begun.progress[0].map_or(0, |progress| progress.next_offset);
            if applied_upto > first {
                return Err(Interrupt::Overtaken);
            }
            // All that comes after it in its partition is the same: one look is enough.
            let after = |item: &&mut Item<'_>| item.position == Some(position) && item.offset >= applied_upto;
            items.iter_mut().filter(after).for_each(|item| item.is_left_over = true);
        }
        Ok(())
    }
}
