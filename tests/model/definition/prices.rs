//! *Prices*: rate cards.

use std::collections::BTreeMap;

use serde_json::{Map, Value as Json};

use super::{
    Model,
    codes::{Code, No, code},
    fields::Fields,
    history::History,
    terms::MOST,
};
use crate::life::DELAY_MS;

const CARDS_MOST: usize = 64;
const PER_MICRO: i128 = 1_000_000;

/// What happens with a model that a card does not know.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum UnknownModel {
    Count,
    Default,
    Reject,
}

/// A rate card.
#[derive(Clone, Debug)]
pub struct Card {
    /// It holds for what is recorded from then on, a minute after its record;
    pub recorded_from_ms: i64,
    /// and used from then on.
    pub used_from_ms: i64,
    /// Input tokens by model: lives use no others.
    pub models: BTreeMap<String, i64>,
    pub default_price: Option<i64>,
    pub completed_run: i64,
    pub unknown_model: UnknownModel,
}

/// What some usage costs.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Price {
    Credits(i64),
    /// Counted without a price.
    Unpriced,
    /// More than can be counted.
    TooMuch,
    Rejected,
}

impl History {
    /// The card for usage: of those that are recorded a minute before, the one that holds from the latest instant.
    fn card(&self, time_ms: i64, at_ms: i64) -> Option<&Card> {
        let holds = |card: &&Card| card.recorded_from_ms <= at_ms && card.used_from_ms <= time_ms;
        // The last of those that hold from one instant.
        self.cards.iter().filter(holds).max_by_key(|card| card.used_from_ms)
    }

    /// What tokens of a model cost: rounded once, half up.
    pub fn price_of_tokens(&self, model: &str, tokens: i64, time_ms: i64, at_ms: i64) -> Price {
        let Some(card) = self.card(time_ms, at_ms) else { return Price::Unpriced };
        let price = match (card.models.get(model), card.unknown_model) {
            (Some(price), _) => *price,
            (None, UnknownModel::Default) => card.default_price.expect("a card that says default has them"),
            (None, UnknownModel::Count) => return Price::Unpriced,
            (None, UnknownModel::Reject) => return Price::Rejected,
        };
        let exact = i128::from(tokens) * i128::from(price);
        i64::try_from((exact + PER_MICRO / 2) / PER_MICRO).map_or(Price::TooMuch, Price::Credits)
    }

    /// The fee of a completed run.
    pub fn fee_of_run(&self, time_ms: i64, at_ms: i64) -> i64 {
        self.card(time_ms, at_ms).map_or(0, |card| card.completed_run)
    }
}

/// The price of input tokens; all prices have to be in range.
fn input_price(prices: &Map<String, Json>) -> Result<i64, No> {
    let prices = Fields(prices);
    let input = prices.between("input_micro", None, 0, MOST)?;
    prices.between("output_micro", None, 0, MOST)?;
    prices.between("cache_read_micro", Some(0), 0, MOST)?;
    prices.between("cache_creation_micro", Some(0), 0, MOST)?;
    Ok(input)
}

impl Model {
    /// `set_rate_card`
    pub fn set_rate_card(&mut self, fields: &Fields) -> Result<Vec<Code>, No> {
        let used_from_ms = fields.instant("effective_from")?.unwrap_or(self.said_ms);
        if fields.text("unknown_model")?.as_deref() == Some("default") && fields.object("default_prices")?.is_none() {
            return Err(No::Unreadable);
        }
        let mut models = BTreeMap::new();
        for (model, prices) in fields.object("models")?.into_iter().flatten() {
            models.insert(model.clone(), input_price(prices.as_object().ok_or(No::Unreadable)?)?);
        }
        let default_price = fields.object("default_prices")?.map(input_price).transpose()?;
        let completed_run = fields.between("completed_run_micro", Some(0), 0, MOST)?;
        let unknown_model = match (fields.text("unknown_model")?.as_deref(), default_price) {
            (None, Some(_)) | (Some("default"), Some(_)) => UnknownModel::Default,
            (None, None) | (Some("count"), _) => UnknownModel::Count,
            (Some("reject"), _) => UnknownModel::Reject,
            (Some(_), _) => return Err(No::Unreadable),
        };
        if self.history.cards.len() >= CARDS_MOST {
            return Err(code("too_many_rate_cards").with("most", CARDS_MOST).refused());
        }
        let recorded_from_ms = self.at_ms + DELAY_MS;
        let card = Card { recorded_from_ms, used_from_ms, models, default_price, completed_run, unknown_model };
        self.history.cards.push(card);
        Ok(Vec::new())
    }

    /// `set_unit`: the name of credits changes nothing of them.
    pub fn set_unit(&mut self, fields: &Fields) -> Result<Vec<Code>, No> {
        const CHARACTERS_MOST: usize = 32;
        let name = fields.must("name")?;
        fields.between("scale", Some(2), 0, 6)?;
        let characters = name.chars().count();
        if characters == 0 || characters > CHARACTERS_MOST {
            let no = code("unit_name_length").with("characters", characters);
            return Err(no.with("characters_max", CHARACTERS_MOST).refused());
        }
        Ok(Vec::new())
    }
}
