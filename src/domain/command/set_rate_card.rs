//! Adds a rate card. It holds for events recorded a while after it, and used from its instant on.

use super::{Handle, checks::check_range};
use crate::domain::{
    account::{
        rulebook::Rulebook,
        settings::{Recorded, SETTINGS_MAX},
        sweep::Concern,
    },
    answer::{Answer, Refused},
    decision::Decision,
    rate_card::{MICRO_MAX, RateCard},
    time::Timestamp,
};
use crate::mutation::is_broken;

impl Handle for RateCard {
    fn concerns(&self, _: &Rulebook) -> Concern {
        Concern::Touched
    }

    fn apply(&self, decision: &mut Decision<'_>) -> Answer {
        if let Some((field, value)) = self.price_out_of_range() {
            check_range(&field, value, 0, MICRO_MAX)?;
        }
        let record_time = decision.at.record_time;
        // Room is made only by what no event within the horizon can look at any more.
        let settled = record_time.plus_ms(-decision.policy.horizon_ms - decision.policy.rules_delay_ms);
        let kept = kept(&decision.rules.rate_cards, settled);
        if kept.len() >= SETTINGS_MAX && !is_broken("bound", "rate cards") {
            return Err(Refused::TooManyRateCards { most: SETTINGS_MAX as u64 });
        }
        let cards = &mut decision.rules.edit().rate_cards;
        *cards = kept;
        cards.push(Recorded { recorded: record_time, value: self.clone() });
        Ok(Vec::new())
    }
}

/// The cards that may still price an event; all of them, as long as there is room.
fn kept(cards: &[Recorded<RateCard>], settled: Timestamp) -> Vec<Recorded<RateCard>> {
    let order = |card: &Recorded<RateCard>| (card.value.effective_from, card.recorded);
    let is_settled = |card: &&Recorded<RateCard>| card.value.effective_from <= settled && card.recorded <= settled;
    let is_full = cards.len() >= SETTINGS_MAX;
    let newest_settled = cards.iter().filter(|_| is_full).filter(is_settled).map(order).max();
    cards.iter().filter(|card| newest_settled.is_none_or(|newest| order(card) >= newest)).cloned().collect()
}
