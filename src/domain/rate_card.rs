//! What usage costs: exact whole micro-credits, never a float (row C12).

use std::collections::BTreeMap;

use serde::{Deserialize, Serialize};

use super::{
    event::{RunPhase, Tokens, Usage},
    reason::Reason,
    scope::Name,
    time::Timestamp,
};
use crate::mutation::is_broken;

/// The highest price per million tokens and the highest charge of one event, in micro-credits: 2^53 − 1.
pub const MICRO_MAX: i64 = (1 << 53) - 1;

/// Prices of one model, in micro-credits per million tokens of each class.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Prices {
    /// Tokens sent, without the cached.
    pub input_micro: i64,
    /// Tokens produced.
    pub output_micro: i64,
    /// Tokens read from a cache.
    #[serde(default)]
    pub cache_read_micro: i64,
    /// Tokens written to a cache.
    #[serde(default)]
    pub cache_creation_micro: i64,
}

/// A list of prices that holds from an instant of event time on.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct RateCard {
    /// From when on, by event time.
    pub effective_from: Timestamp,
    /// Prices by the name of the model.
    pub models: BTreeMap<Name, Prices>,
    /// The prices of every other model, where those hold.
    pub default_prices: Option<Prices>,
    /// Charged when a run completes, in micro-credits.
    pub completed_run_micro: i64,
    /// What happens with a model that is not among them; `None` means `default` where there are default prices, else
    /// `count`.
    #[serde(default)]
    pub unknown_model: Option<UnknownModel>,
}

/// What happens with a model that a rate card does not know.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum UnknownModel {
    /// It counts, and has no price.
    Count,
    /// The default prices hold.
    Default,
    /// The event is a dead letter.
    Reject,
}

impl RateCard {
    /// The charge for `usage` in micro-credits; `None` where it has no price. Rounded once per event, half up, so that
    /// totals do not depend on how events were batched: (Σ tokens × price + 500,000) / 1,000,000.
    ///
    /// # Errors
    /// [`Reason::UnknownModel`], or [`Reason::CounterOverflow`] above [`MICRO_MAX`].
    pub fn charge_micro(&self, usage: &Usage<'_>) -> Result<Option<i64>, Reason> {
        match *usage {
            Usage::Run { phase: RunPhase::Completed } => Ok(Some(self.completed_run_micro)),
            Usage::Run { .. } => Ok(Some(0)),
            Usage::Tokens { request_model, tokens } => {
                let prices = match self.models.get(request_model) {
                    Some(prices) => Some(prices),
                    None => self.unknown_prices(request_model)?,
                };
                prices.map(|prices| price(prices, &tokens)).transpose()
            }
        }
    }

    fn unknown_prices(&self, model: &str) -> Result<Option<&Prices>, Reason> {
        let unset = if self.default_prices.is_some() { UnknownModel::Default } else { UnknownModel::Count };
        match self.unknown_model.unwrap_or(unset) {
            UnknownModel::Count => Ok(None),
            UnknownModel::Default => Ok(self.default_prices.as_ref()),
            UnknownModel::Reject => Err(Reason::UnknownModel(model.to_owned())),
        }
    }

    /// The first price that does not lie between 0 and [`MICRO_MAX`], by the name of its field.
    pub fn price_out_of_range(&self) -> Option<(String, i64)> {
        let of = |name: &str, prices: &Prices| {
            let Prices { input_micro, output_micro, cache_read_micro, cache_creation_micro } = *prices;
            [
                (format!("{name}.input_micro"), input_micro),
                (format!("{name}.output_micro"), output_micro),
                (format!("{name}.cache_read_micro"), cache_read_micro),
                (format!("{name}.cache_creation_micro"), cache_creation_micro),
            ]
        };
        let models = self.models.iter().flat_map(|(model, prices)| of(&format!("models.{model}"), prices));
        let default = self.default_prices.iter().flat_map(|prices| of("default_prices", prices));
        let run = [("completed_run_micro".to_owned(), self.completed_run_micro)];
        models.chain(default).chain(run).find(|(_, micro)| !(0..=MICRO_MAX).contains(micro))
    }
}

/// Four products below 2^106 fit an `i128` with room to spare.
fn price(prices: &Prices, tokens: &Tokens) -> Result<i64, Reason> {
    let part = |tokens: i64, micro: i64| i128::from(tokens) * i128::from(micro);
    let per_million = part(tokens.input, prices.input_micro)
        + part(tokens.output, prices.output_micro)
        + part(tokens.cache_read, prices.cache_read_micro)
        + part(tokens.cache_creation, prices.cache_creation_micro);
    let charge = (per_million + 500_000) / 1_000_000;
    match i64::try_from(charge) {
        Ok(charge) if charge <= MICRO_MAX || is_broken("bound", "price of an event") => Ok(charge),
        _ => Err(Reason::CounterOverflow("a single event".to_owned())),
    }
}

/// The card in force at `event_time`: the last one that is effective by then.
pub fn card_at(cards: &[RateCard], event_time: Timestamp) -> Option<&RateCard> {
    cards.iter().rev().find(|card| card.effective_from <= event_time)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn check(prices: [i64; 4], tokens: [i64; 4], expected: Option<i64>) {
        let [input_micro, output_micro, cache_read_micro, cache_creation_micro] = prices;
        let [input, output, cache_read, cache_creation] = tokens;
        let prices = Prices { input_micro, output_micro, cache_read_micro, cache_creation_micro };
        let tokens = Tokens { input, output, cache_read, cache_creation };
        assert_eq!(price(&prices, &tokens).ok(), expected, "{prices:?} {tokens:?}");
    }

    #[test]
    fn c12_a_charge_is_rounded_once_half_up() {
        check([3_000_000, 15_000_000, 300_000, 3_750_000], [374, 44, 0, 0], Some(374 * 3 + 44 * 15));
        check([1, 0, 0, 0], [499_999, 0, 0, 0], Some(0));
        check([1, 0, 0, 0], [500_000, 0, 0, 0], Some(1));
        check([1, 1, 0, 0], [250_000, 250_000, 0, 0], Some(1));
        check([0, 0, 7, 9], [0, 0, 1_000_000, 2_000_000], Some(25));
    }

    #[test]
    fn c12_a_charge_too_large_for_the_counters_is_refused() {
        check([MICRO_MAX, 0, 0, 0], [1_000_000, 0, 0, 0], Some(MICRO_MAX));
        check([MICRO_MAX, 0, 0, 0], [1_000_001, 0, 0, 0], None);
        check([MICRO_MAX; 4], [MICRO_MAX; 4], None);
    }

    #[test]
    fn the_last_card_in_force_decides_and_may_reject_unknown_models() {
        let card = |from, completed_run_micro| RateCard {
            effective_from: Timestamp::from_ms(from),
            models: BTreeMap::new(),
            default_prices: None,
            completed_run_micro,
            unknown_model: Some(UnknownModel::Reject),
        };
        let cards = [card(10, 1), card(20, 2)];
        let fee = |time| card_at(&cards, Timestamp::from_ms(time)).map(|card| card.completed_run_micro);
        assert_eq!([fee(9), fee(10), fee(19), fee(20)], [None, Some(1), Some(1), Some(2)]);
        let usage = Usage::Tokens { request_model: "m", tokens: Tokens::default() };
        assert_eq!(cards[0].charge_micro(&usage), Err(Reason::UnknownModel("m".to_owned())));
    }
}
