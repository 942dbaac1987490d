//! What is said of pools, grants and reloads.

use serde::Deserialize;

use super::super::super::texts::{instant, scope, thresholds};
use crate::domain::{
    control::{self, Command, GrantCredits},
    pool::GrantKind,
    time::MINUTE_MS,
};

#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct SetPool {
    scope: String,
    included_micro: i64,
    user_cap_micro: Option<i64>,
    #[serde(default)]
    thresholds_percent: Vec<u16>,
}

impl SetPool {
    pub fn into_command(self) -> Result<Command, String> {
        Ok(Command::SetPool(control::SetPool {
            scope: scope(&self.scope)?,
            included_micro: self.included_micro,
            user_cap_micro: self.user_cap_micro,
            thresholds_percent: thresholds(self.thresholds_percent),
        }))
    }
}

/// The end of a pool, or of its auto-reload.
#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct OfPool {
    pub scope: String,
}

#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Grant {
    scope: String,
    grant_id: Box<str>,
    amount_micro: i64,
    #[serde(default = "purchased")]
    kind: GrantKind,
    #[serde(default)]
    priority: u8,
    effective_from: Option<String>,
    expires_at: Option<String>,
    reload_id: Option<Box<str>>,
}

const fn purchased() -> GrantKind {
    GrantKind::Purchased
}

impl Grant {
    pub fn into_command(self) -> Result<Command, String> {
        Ok(Command::Grant(GrantCredits {
            scope: scope(&self.scope)?,
            grant_id: self.grant_id,
            amount_micro: self.amount_micro,
            kind: self.kind,
            priority: self.priority,
            effective_from: self.effective_from.as_deref().map(instant).transpose()?,
            expires_at: self.expires_at.as_deref().map(instant).transpose()?,
            reload_id: self.reload_id,
        }))
    }
}

#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct VoidGrant {
    scope: String,
    grant_id: Box<str>,
}

impl VoidGrant {
    pub fn into_command(self) -> Result<Command, String> {
        Ok(Command::VoidGrant(control::VoidGrant { scope: scope(&self.scope)?, grant_id: self.grant_id }))
    }
}

#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct SetAutoReload {
    scope: String,
    below_micro: i64,
    amount_micro: i64,
    #[serde(default = "three")]
    per_day_max: i64,
    #[serde(default = "a_day_of_minutes")]
    lapse_minutes: i64,
}

const fn three() -> i64 {
    3
}
const fn a_day_of_minutes() -> i64 {
    24 * 60
}

impl SetAutoReload {
    pub fn into_command(self) -> Result<Command, String> {
        Ok(Command::SetAutoReload(control::SetAutoReload {
            scope: scope(&self.scope)?,
            below_micro: self.below_micro,
            amount_micro: self.amount_micro,
            per_day_max: self.per_day_max,
            lapse_ms: self.lapse_minutes.saturating_mul(MINUTE_MS),
        }))
    }
}

#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct RefuseReload {
    scope: String,
    reload_id: Box<str>,
}

impl RefuseReload {
    pub fn into_command(self) -> Result<Command, String> {
        Ok(Command::RefuseReload(control::RefuseReload { scope: scope(&self.scope)?, reload_id: self.reload_id }))
    }
}
