//! What is said of limits and pauses.

use serde::Deserialize;

use super::super::super::texts::{selector, thresholds};
use crate::domain::{
    control::{self, Command},
    limit::{Action, Selector},
    meter::Meter,
    scope::ScopeKind,
    window::WindowKind,
};

#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct SetLimit {
    limit_id: Box<str>,
    scope: Option<String>,
    every: Option<ScopeKind>,
    seat_type: Option<String>,
    meter: Meter,
    window: WindowKind,
    cap: Option<i64>,
    #[serde(default)]
    thresholds_percent: Vec<u16>,
    #[serde(default = "pause")]
    action: Action,
    yields_to_own: Option<bool>,
}

const fn pause() -> Action {
    Action::Pause
}

impl SetLimit {
    pub fn into_command(self) -> Result<Command, String> {
        let selector = selector(self.scope.as_deref(), self.every, self.seat_type.as_deref())?;
        let yields_to_own = self.yields_to_own.unwrap_or(false);
        if yields_to_own && matches!(selector, Selector::One(_)) {
            return Err("yields_to_own belongs to a limit on `every` or a `seat_type`, and only to those".to_owned());
        }
        Ok(Command::SetLimit(control::SetLimit {
            limit_id: self.limit_id,
            selector,
            meter: self.meter,
            window: self.window,
            cap: self.cap,
            thresholds_percent: thresholds(self.thresholds_percent),
            action: self.action,
            yields_to_own,
        }))
    }
}

#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct RemoveLimit {
    limit_id: Box<str>,
    scope: Option<String>,
    every: Option<ScopeKind>,
    seat_type: Option<String>,
}

impl RemoveLimit {
    pub fn into_command(self) -> Result<Command, String> {
        let selector = selector(self.scope.as_deref(), self.every, self.seat_type.as_deref())?;
        Ok(Command::RemoveLimit(control::RemoveLimit { limit_id: self.limit_id, selector }))
    }
}

/// An admin's pause, or its end.
#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct OfScope {
    pub scope: String,
}
