//! What is said of the organization as a whole: its calendar, its prices, and how it pays.

use std::collections::BTreeMap;

use serde::Deserialize;

use super::super::super::texts::instant;
use crate::domain::{
    control::{self, Command},
    organization::Plan,
    payment::{Mode, Source},
    rate_card::{Prices, RateCard, UnknownModel},
    scope::Name,
    time::Timestamp,
};

#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct SetOrganization {
    time_zone: String,
    anchor: String,
}

impl SetOrganization {
    pub fn into_command(self) -> Result<Command, String> {
        let Self { time_zone, anchor } = self;
        let time_zone = time_zone.parse().map_err(|_| format!("time_zone {time_zone:?} is no IANA time zone"))?;
        let anchor = anchor.parse().map_err(|_| format!("anchor {anchor:?} is no date (YYYY-MM-DD)"))?;
        Ok(Command::SetOrganization(control::SetOrganization { time_zone, anchor }))
    }
}

#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct SetUnit {
    name: Box<str>,
    #[serde(default = "two")]
    scale: i64,
}

const fn two() -> i64 {
    2
}

impl SetUnit {
    pub fn into_command(self) -> Command {
        Command::SetUnit(control::SetUnit { name: self.name, scale: self.scale })
    }
}

#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct SetPlan {
    plan: Plan,
}

impl SetPlan {
    pub fn into_command(self) -> Command {
        Command::SetPlan(control::SetPlan { plan: self.plan })
    }
}

#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct SetRateCard {
    effective_from: Option<String>,
    #[serde(default)]
    models: BTreeMap<Name, Prices>,
    default_prices: Option<Prices>,
    #[serde(default)]
    completed_run_micro: i64,
    unknown_model: Option<UnknownModel>,
}

impl SetRateCard {
    pub fn into_command(self, time: Timestamp) -> Result<Command, String> {
        let Self { effective_from, models, default_prices, completed_run_micro, unknown_model } = self;
        if unknown_model == Some(UnknownModel::Default) && default_prices.is_none() {
            return Err(
                "unknown_model is default, and there are no default_prices: write them, or count or reject".to_owned()
            );
        }
        let effective_from = effective_from.as_deref().map_or(Ok(time), instant)?;
        Ok(Command::SetRateCard(RateCard {
            effective_from,
            models,
            default_prices,
            completed_run_micro,
            unknown_model,
        }))
    }
}

#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct SetMode {
    mode: Mode,
}

impl SetMode {
    pub fn into_command(self) -> Command {
        Command::SetMode(control::SetMode { mode: self.mode })
    }
}

#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct SetSource {
    source: Source,
    user_id: Option<Box<str>>,
    on: Option<bool>,
}

impl SetSource {
    pub fn into_command(self) -> Command {
        let Self { source, user_id, on } = self;
        Command::SetSource(control::SetSource { source, user_id, on })
    }
}

#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct SetExtraUsage {
    on: bool,
}

impl SetExtraUsage {
    pub fn into_command(self) -> Command {
        Command::SetExtraUsage(control::SetExtraUsage { on: self.on })
    }
}

#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct SetConsent {
    required: bool,
}

impl SetConsent {
    pub fn into_command(self) -> Command {
        Command::SetConsent(control::SetConsent { required: self.required })
    }
}

#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Consent {
    user_id: Box<str>,
    given: bool,
}

impl Consent {
    pub fn into_command(self) -> Command {
        Command::Consent(control::Consent { user_id: self.user_id, given: self.given })
    }
}

#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct SetFreePhase {
    until: String,
}

impl SetFreePhase {
    pub fn into_command(self) -> Result<Command, String> {
        Ok(Command::SetFreePhase(control::SetFreePhase { until: instant(&self.until)? }))
    }
}
