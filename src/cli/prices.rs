//! `bursar import-prices`: makes a rate card of a price list that the field uses, and reports what could not be mapped.

mod list;

use std::{collections::BTreeMap, path::PathBuf};

use clap::{Args, ValueEnum};
use serde_json::json;

use self::list::{Listed, Why};
use super::{Failure, control};
use crate::{
    config::Config,
    domain::{
        rate_card::{MICRO_MAX, Prices},
        time::{Timestamp, parse_rfc3339},
    },
};

/// A rate card of more models does not fit one control record.
const MODELS_MAX: usize = 1_500;

#[derive(Debug, Args)]
pub struct PricesArguments {
    /// The price list, a JSON file.
    file: PathBuf,
    /// Whose list it is.
    #[arg(long)]
    format: Format,
    /// Only models of these providers, as the list names them.
    #[arg(long, value_delimiter = ',')]
    provider: Vec<String>,
    /// From which event time on (RFC 3339); of several prices of a model, those in force then. Without it, now.
    #[arg(long)]
    effective_from: Option<String>,
    /// Micro-credits per US dollar: 1000000 where a credit is a dollar.
    #[arg(long, default_value_t = 1_000_000, value_parser = clap::value_parser!(u32).range(1..))]
    micro_per_dollar: u32,
    /// What happens with a model that is not in the list: it counts and has no price, or its events are dead letters. Without
    /// it, count.
    #[arg(long, value_parser = ["count", "reject"])]
    unknown_model: Option<String>,
    /// Send it as a control record to this organization; without it, the command is printed.
    #[arg(long, short)]
    organization: Option<String>,
    /// Who says it.
    #[arg(long, default_value = "cli")]
    actor: String,
}

/// The lists that are known.
#[derive(Clone, Copy, Debug, ValueEnum)]
enum Format {
    /// LiteLLM's model_prices_and_context_window.json.
    Litellm,
    /// pydantic's genai-prices, data.json.
    GenaiPrices,
}

/// Reads the list, reports on standard error, and sends or prints the command.
pub async fn import(config: &Config, arguments: &PricesArguments) -> Result<(), Failure> {
    let text =
        std::fs::read_to_string(&arguments.file).map_err(|error| format!("{}: {error}", arguments.file.display()))?;
    let at = match &arguments.effective_from {
        Some(text) => parse_rfc3339(text)?,
        None => crate::clock::Clock::System.now(),
    };
    let listed = match arguments.format {
        Format::Litellm => list::litellm(&text)?,
        Format::GenaiPrices => list::genai_prices(&text, at)?,
    };
    let wanted = |listed: &Listed| arguments.provider.is_empty() || arguments.provider.contains(&listed.provider);
    let card = Card::of(listed.into_iter().filter(wanted), arguments.micro_per_dollar);
    eprint!("{}", card.report());
    if card.models.is_empty() || card.models.len() > MODELS_MAX {
        let count = card.models.len();
        return Err(
            format!("{count} models are mapped; a rate card has 1 to {MODELS_MAX}: choose with --provider").into()
        );
    }
    let command = card.command(at, arguments.unknown_model.as_deref());
    match &arguments.organization {
        None => println!("{command:#}"),
        Some(organization) => control::say(config, organization, &arguments.actor, command).await?,
    }
    Ok(())
}

/// What became of a list.
#[derive(Default)]
struct Card {
    models: BTreeMap<String, Prices>,
    /// Models that are not in the card, by why.
    skipped: BTreeMap<String, Vec<String>>,
    /// Prices of mapped models that the card has no place for, by name.
    left_out: BTreeMap<String, usize>,
    /// Models for which a cache price was taken from the input price.
    without_cache_price: usize,
}

impl Card {
    fn of(listed: impl Iterator<Item = Listed>, micro_per_dollar: u32) -> Self {
        let mut card = Self::default();
        for listed in listed {
            match listed.prices(micro_per_dollar) {
                Err(why) => card.skip(&why, listed.model),
                Ok(_) if card.models.contains_key(&listed.model) => card.skip(&Why::Twice, listed.model),
                Ok(prices) => {
                    card.without_cache_price += usize::from(listed.cache_read.is_none());
                    for name in listed.left_out {
                        *card.left_out.entry(name).or_default() += 1;
                    }
                    card.models.insert(listed.model, prices);
                }
            }
        }
        card
    }

    fn skip(&mut self, why: &Why, model: String) {
        let model = match why {
            Why::NotANumber(price) | Why::TooFine(price) => format!("{model} ({price})"),
            Why::NoTokenPrice | Why::Twice => model,
        };
        self.skipped.entry(why.to_string()).or_default().push(model);
    }

    fn report(&self) -> String {
        let mut lines = vec![format!("mapped: {} models", self.models.len())];
        if self.without_cache_price > 0 {
            let count = self.without_cache_price;
            lines.push(format!("no price of cached input for {count} of them: cached tokens cost as much as input"));
        }
        for (name, count) in &self.left_out {
            lines.push(format!("left out: {name} ({count} models); a rate card has one price per token class"));
        }
        for (why, models) in &self.skipped {
            let some = models.iter().take(5).cloned().collect::<Vec<_>>().join(", ");
            let more = if models.len() > 5 { ", ..." } else { "" };
            lines.push(format!("skipped: {} models, {why}: {some}{more}", models.len()));
        }
        lines.iter().map(|line| format!("{line}\n")).collect()
    }

    fn command(&self, at: Timestamp, unknown_model: Option<&str>) -> serde_json::Value {
        let mut card = json!({ "effective_from": at.to_string(), "models": self.models });
        if let Some(unknown_model) = unknown_model {
            card["unknown_model"] = unknown_model.into();
        }
        json!({ "set_rate_card": card })
    }
}

impl Listed {
    fn prices(&self, micro_per_dollar: u32) -> Result<Prices, Why> {
        let micro = |price: &Option<String>| price.as_deref().map(|price| micro(price, micro_per_dollar)).transpose();
        let input_micro = micro(&self.input)?.ok_or(Why::NoTokenPrice)?;
        let output_micro = micro(&self.output)?.unwrap_or(0);
        let cache_read_micro = micro(&self.cache_read)?.unwrap_or(input_micro);
        let cache_creation_micro = micro(&self.cache_creation)?.unwrap_or(input_micro);
        Ok(Prices { input_micro, output_micro, cache_read_micro, cache_creation_micro })
    }
}

/// Dollars per million tokens, as a decimal text, in micro-credits per million tokens: exact, or not at all.
fn micro(price: &str, micro_per_dollar: u32) -> Result<i64, Why> {
    let micro = list::decimal(price).and_then(|price| price.checked_mul(micro_per_dollar.into()));
    let micro = micro.ok_or_else(|| Why::NotANumber(price.to_owned()))?.normalize();
    if micro.is_sign_negative() && !micro.is_zero() {
        return Err(Why::NotANumber(price.to_owned()));
    }
    if !micro.fract().is_zero() {
        return Err(Why::TooFine(price.to_owned()));
    }
    let micro = i64::try_from(micro.mantissa()).ok().filter(|micro| *micro <= MICRO_MAX);
    micro.ok_or_else(|| Why::NotANumber(price.to_owned()))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn check(listed: Vec<Listed>, expected: &[&str]) {
        let card = Card::of(listed.into_iter(), 1_000_000);
        let models = card.models.iter().map(|(model, prices)| {
            let Prices { input_micro, output_micro, cache_read_micro, cache_creation_micro } = prices;
            format!("{model} {input_micro} {output_micro} {cache_read_micro} {cache_creation_micro}")
        });
        let seen: Vec<String> = models.chain(card.report().lines().skip(1).map(str::to_owned)).collect();
        assert_eq!(seen, expected);
    }

    #[test]
    fn c12_litellm_prices_are_exact_micro_credits() {
        let text = r#"{
            "sample_spec": { "input_cost_per_token": 0.0, "litellm_provider": "one of ..." },
            "gpt": { "litellm_provider": "openai", "mode": "chat", "input_cost_per_token": 2.5e-06,
                "output_cost_per_token": 1e-05, "cache_read_input_token_cost": 1.25e-06,
                "output_cost_per_token_batches": 5e-06 },
            "mini": { "litellm_provider": "openai", "input_cost_per_token": 0.00000015, "output_cost_per_token": 6e-07 },
            "painter": { "litellm_provider": "openai", "output_cost_per_image": 0.04 },
            "fine": { "litellm_provider": "openai", "input_cost_per_token": 1.5e-13, "output_cost_per_token": 0 }
        }"#;
        check(
            list::litellm(text).expect("a list"),
            &[
                "gpt 2500000 10000000 1250000 2500000",
                "mini 150000 600000 150000 150000",
                "no price of cached input for 1 of them: cached tokens cost as much as input",
                "left out: output_cost_per_token_batches (1 models); a rate card has one price per token class",
                "skipped: 1 models, it has no price per input token: painter",
                "skipped: 1 models, its price is finer than a micro-credit per million tokens: fine (0.00000015)",
            ],
        );
    }

    #[test]
    fn c12_genai_prices_are_those_in_force() {
        let text = r#"[{ "id": "anthropic", "models": [
            { "id": "opus", "prices": { "input_mtok": 5, "output_mtok": 25.5, "cache_read_mtok": 0.5, "cache_write_mtok": 6.25 } },
            { "id": "haiku", "prices": [
                { "prices": { "input_mtok": 1, "output_mtok": 5 } },
                { "constraint": { "start_date": "2026-06-01" }, "prices": { "input_mtok": 2, "output_mtok": 6 } },
                { "constraint": { "start_date": "2027-01-01" }, "prices": { "input_mtok": 9, "output_mtok": 9 } } ] },
            { "id": "tiered", "prices": { "input_mtok": { "base": 3, "tiers": [{ "start": 200000, "price": 6 }] }, "output_mtok": 15 } },
            { "id": "embed", "prices": { "requests_kcount": 5 } } ] }]"#;
        let at = parse_rfc3339("2026-11-01T00:00:00Z").expect("a time");
        check(
            list::genai_prices(text, at).expect("a list"),
            &[
                "haiku 2000000 6000000 2000000 2000000",
                "opus 5000000 25500000 500000 6250000",
                "tiered 3000000 15000000 3000000 3000000",
                "no price of cached input for 2 of them: cached tokens cost as much as input",
                "left out: input_mtok beyond its base tier (1 models); a rate card has one price per token class",
                "skipped: 1 models, it has no price per input token: embed",
            ],
        );
    }
}
