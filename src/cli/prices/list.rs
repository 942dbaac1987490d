//! The two price lists that the field uses, read without a float: numbers are taken as they are written.

use std::{collections::BTreeMap, fmt};

use rust_decimal::Decimal;
use serde::Deserialize;
use serde_json::value::RawValue;

use crate::domain::time::{Timestamp, parse_rfc3339};

/// A model of a list, with prices in dollars per million tokens as decimal texts.
#[derive(Debug)]
pub struct Listed {
    /// As the list names it.
    pub provider: String,
    /// The name that events bear as `request_model`.
    pub model: String,
    /// Tokens sent.
    pub input: Option<String>,
    /// Tokens produced.
    pub output: Option<String>,
    /// Tokens read from a cache.
    pub cache_read: Option<String>,
    /// Tokens written to a cache.
    pub cache_creation: Option<String>,
    /// Prices that a rate card has no place for.
    pub left_out: Vec<String>,
}

/// Why a model is not in the card.
#[derive(Debug)]
pub enum Why {
    /// Priced by something else than tokens.
    NoTokenPrice,
    /// No number, below zero, or too large.
    NotANumber(String),
    /// Not a whole number of micro-credits per million tokens.
    TooFine(String),
    /// Another provider's model of that name comes first.
    Twice,
}

impl fmt::Display for Why {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::NoTokenPrice => f.write_str("it has no price per input token"),
            Self::NotANumber(_) => f.write_str("its price is not one that can be charged"),
            Self::TooFine(_) => f.write_str("its price is finer than a micro-credit per million tokens"),
            Self::Twice => f.write_str("another provider's model of that name comes first (choose with --provider)"),
        }
    }
}

/// A decimal number as JSON writes it, with or without an exponent; exact.
pub fn decimal(text: &str) -> Option<Decimal> {
    Decimal::from_scientific(text).or_else(|_| Decimal::from_str_exact(text)).ok()
}

/// Reads LiteLLM's list: dollars per token, by model.
pub fn litellm(text: &str) -> Result<Vec<Listed>, String> {
    let models: BTreeMap<String, BTreeMap<String, &RawValue>> =
        serde_json::from_str(text).map_err(|error| format!("this is not LiteLLM's list: {error}"))?;
    let read = |(model, fields): (String, BTreeMap<String, &RawValue>)| {
        // A number, or null.
        let number = |name: &str| fields.get(name).map(|raw| raw.get()).filter(|raw| *raw != "null");
        let per_million = |name: &str| {
            let price = number(name)?;
            let million = decimal(price).and_then(|price| price.checked_mul(1_000_000.into()));
            Some(million.map_or_else(|| price.to_owned(), |price| price.normalize().to_string()))
        };
        let known = [
            "input_cost_per_token",
            "output_cost_per_token",
            "cache_read_input_token_cost",
            "cache_creation_input_token_cost",
        ];
        let is_price = |name: &&String| name.contains("cost") && !known.contains(&name.as_str());
        Listed {
            provider: fields.get("litellm_provider").map_or("", |raw| raw.get()).trim_matches('"').to_owned(),
            model,
            input: per_million(known[0]),
            output: per_million(known[1]),
            cache_read: per_million(known[2]),
            cache_creation: per_million(known[3]),
            left_out: fields.keys().filter(is_price).cloned().collect(),
        }
    };
    // The first entry only documents the format.
    Ok(models.into_iter().filter(|(model, _)| model != "sample_spec").map(read).collect())
}

#[derive(Deserialize)]
struct Provider<'a> {
    id: String,
    #[serde(borrow)]
    models: Vec<Model<'a>>,
}

#[derive(Deserialize)]
struct Model<'a> {
    id: String,
    #[serde(borrow)]
    prices: &'a RawValue,
}

#[derive(Deserialize)]
struct Conditional<'a> {
    constraint: Option<Constraint>,
    #[serde(borrow)]
    prices: BTreeMap<String, &'a RawValue>,
}

#[derive(Deserialize)]
struct Constraint {
    start_date: Option<String>,
}

#[derive(Deserialize)]
struct Tiered<'a> {
    #[serde(borrow)]
    base: &'a RawValue,
}

/// Reads pydantic's genai-prices: dollars per million tokens, by provider and model; of several prices those in force.
pub fn genai_prices(text: &str, at: Timestamp) -> Result<Vec<Listed>, String> {
    let wrong = |error: serde_json::Error| format!("this is not the list of genai-prices: {error}");
    let providers: Vec<Provider<'_>> = serde_json::from_str(text).map_err(wrong)?;
    let mut listed = Vec::new();
    for provider in providers {
        for model in provider.models {
            let prices = in_force(model.prices.get(), at).map_err(wrong)?;
            listed.push(of_model(&provider.id, model.id, &prices));
        }
    }
    Ok(listed)
}

/// The prices in force: the last of those without a condition, or with a date that has come. Prices for hours of the
/// day are passed over.
fn in_force(prices: &str, at: Timestamp) -> Result<BTreeMap<String, &RawValue>, serde_json::Error> {
    if !prices.trim_start().starts_with('[') {
        return serde_json::from_str(prices);
    }
    let conditional: Vec<Conditional<'_>> = serde_json::from_str(prices)?;
    let holds = |prices: &Conditional<'_>| match &prices.constraint {
        None => true,
        Some(Constraint { start_date: None }) => false,
        Some(Constraint { start_date: Some(date) }) => {
            parse_rfc3339(&format!("{date}T00:00:00Z")).is_ok_and(|start| start <= at)
        }
    };
    Ok(conditional.into_iter().filter(holds).map(|conditional| conditional.prices).next_back().unwrap_or_default())
}

fn of_model(provider: &str, model: String, prices: &BTreeMap<String, &RawValue>) -> Listed {
    let mut left_out = Vec::new();
    let mut price = |name: &str| {
        let raw = prices.get(name)?.get();
        if raw.starts_with('{') {
            left_out.push(format!("{name} beyond its base tier"));
            return Some(serde_json::from_str::<Tiered<'_>>(raw).map_or(raw, |tiered| tiered.base.get()));
        }
        (raw != "null").then_some(raw)
    };
    let known = ["input_mtok", "output_mtok", "cache_read_mtok", "cache_write_mtok"];
    // Decimals may be written as texts.
    let [input, output, cache_read, cache_creation] =
        known.map(|name| price(name).map(|raw| raw.trim_matches('"').to_owned()));
    left_out.extend(prices.keys().filter(|name| !known.contains(&name.as_str())).cloned());
    Listed { provider: provider.to_owned(), model, input, output, cache_read, cache_creation, left_out }
}
