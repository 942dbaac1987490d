//! What a control record says, checked for what can be told without the account: exactly one command, whole and free
//! of contradiction.

use std::collections::BTreeMap;

use serde::{Deserialize, Serialize};

use crate::domain::{
    control::{Command, ControlRecord, SetLimit},
    event::EVENT_TIMES_MS,
    ids::ID_BYTES_MAX,
    limit::{Action, Selector, THRESHOLDS_PERCENT_DEFAULT},
    meter::Meter,
    rate_card::{Prices, RateCard},
    reason::Reason,
    scope::{Scope, ScopeKind},
    time::{Timestamp, parse_rfc3339},
    window::WindowKind,
};

/// The longest reason that an actor may give, in bytes.
const REASON_BYTES_MAX: usize = 4 * 1024;

/// The longest command, as JSON, in bytes.
const COMMAND_BYTES_MAX: usize = 256 * 1024;

/// The `data` of a control record, as `schemas/control.avsc` has it.
#[derive(Debug, Default, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct ControlData {
    /// Whose account it concerns.
    pub organization_id: String,
    /// Who said it.
    pub actor: String,
    /// Why, in the actor's words.
    #[serde(default)]
    pub reason: String,
    /// The command: exactly one of these is there.
    #[serde(flatten)]
    pub commands: Commands,
}

/// One field per command.
#[derive(Debug, Default, Serialize, Deserialize)]
#[allow(missing_docs, reason = "each field is documented in schemas/control.avsc, under the same name")]
pub struct Commands {
    #[serde(skip_serializing_if = "Option::is_none")]
    pub set_organization: Option<SetOrganizationData>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub set_rate_card: Option<SetRateCardData>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub set_limit: Option<SetLimitData>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub remove_limit: Option<RemoveLimitData>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub set_pool: Option<SetPoolData>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub grant: Option<GrantData>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub pause: Option<ScopeData>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub resume: Option<ScopeData>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub due: Option<DueData>,
}

#[derive(Debug, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
#[allow(missing_docs, reason = "each field is documented in schemas/control.avsc, under the same name")]
pub struct SetOrganizationData {
    pub time_zone: String,
    pub anchor: String,
}

#[derive(Debug, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
#[allow(missing_docs, reason = "each field is documented in schemas/control.avsc, under the same name")]
pub struct SetRateCardData {
    pub effective_from: Option<String>,
    #[serde(default)]
    pub models: BTreeMap<Box<str>, Prices>,
    pub default_prices: Option<Prices>,
    #[serde(default)]
    pub completed_run_micro: i64,
}

#[derive(Debug, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
#[allow(missing_docs, reason = "each field is documented in schemas/control.avsc, under the same name")]
pub struct SetLimitData {
    pub limit_id: Box<str>,
    pub scope: Option<String>,
    pub every: Option<ScopeKind>,
    pub meter: Meter,
    pub window: WindowKind,
    pub cap: Option<i64>,
    #[serde(default)]
    pub thresholds_percent: Vec<u16>,
    pub action: Action,
}

#[derive(Debug, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
#[allow(missing_docs, reason = "each field is documented in schemas/control.avsc, under the same name")]
pub struct RemoveLimitData {
    pub limit_id: Box<str>,
    pub scope: Option<String>,
    pub every: Option<ScopeKind>,
}

#[derive(Debug, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
#[allow(missing_docs, reason = "each field is documented in schemas/control.avsc, under the same name")]
pub struct SetPoolData {
    pub scope: String,
    pub included_micro: i64,
    #[serde(default)]
    pub thresholds_percent: Vec<u16>,
}

#[derive(Debug, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
#[allow(missing_docs, reason = "each field is documented in schemas/control.avsc, under the same name")]
pub struct GrantData {
    pub scope: String,
    pub grant_id: Box<str>,
    pub amount_micro: i64,
}

#[derive(Debug, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
#[allow(missing_docs, reason = "each field is documented in schemas/control.avsc, under the same name")]
pub struct ScopeData {
    pub scope: String,
}

#[derive(Debug, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
#[allow(missing_docs, reason = "each field is documented in schemas/control.avsc, under the same name")]
pub struct DueData {
    pub at: String,
}

impl ControlData {
    /// Checks the data and makes a record of it.
    ///
    /// # Errors
    /// [`Reason::ControlRefused`] and others that say what contradicts what.
    pub fn into_record(self, id: String, source: String, time: Timestamp) -> Result<ControlRecord, Reason> {
        for (field, text) in
            [("id", &id), ("source", &source), ("organization_id", &self.organization_id), ("actor", &self.actor)]
        {
            if text.is_empty() {
                return Err(Reason::EmptyField(field));
            }
            if text.len() > ID_BYTES_MAX {
                return Err(Reason::FieldTooLong { field, bytes_max: ID_BYTES_MAX });
            }
        }
        if !EVENT_TIMES_MS.contains(&time.ms()) {
            return Err(Reason::TimeOutOfRange { time_ms: time.ms() });
        }
        if self.reason.len() > REASON_BYTES_MAX {
            return Err(Reason::FieldTooLong { field: "reason", bytes_max: REASON_BYTES_MAX });
        }
        let command_json =
            serde_json::to_string(&self.commands).map_err(|error| Reason::MalformedJson(error.to_string()))?;
        if command_json.len() > COMMAND_BYTES_MAX {
            return Err(Reason::FieldTooLong { field: "command", bytes_max: COMMAND_BYTES_MAX });
        }
        Ok(ControlRecord {
            id: id.into(),
            source: source.into(),
            time,
            organization_id: self.organization_id.into(),
            actor: self.actor.into(),
            reason: self.reason.into(),
            command: self.commands.into_command(time).map_err(Reason::ControlRefused)?,
            command_json: command_json.into(),
        })
    }
}

impl Commands {
    fn into_command(self, time: Timestamp) -> Result<Command, String> {
        let mut said = Vec::new();
        if let Some(data) = self.set_organization {
            said.push(set_organization(&data)?);
        }
        if let Some(data) = self.set_rate_card {
            said.push(set_rate_card(data, time)?);
        }
        if let Some(data) = self.set_limit {
            said.push(Command::SetLimit(SetLimit {
                selector: selector(data.scope.as_deref(), data.every)?,
                limit_id: data.limit_id,
                meter: data.meter,
                window: data.window,
                cap: data.cap,
                thresholds_percent: or_default(data.thresholds_percent),
                action: data.action,
            }));
        }
        if let Some(data) = self.remove_limit {
            let selector = selector(data.scope.as_deref(), data.every)?;
            said.push(Command::RemoveLimit { limit_id: data.limit_id, selector });
        }
        if let Some(data) = self.set_pool {
            let thresholds_percent = or_default(data.thresholds_percent);
            said.push(Command::SetPool {
                scope: scope(&data.scope)?,
                included_micro: data.included_micro,
                thresholds_percent,
            });
        }
        if let Some(data) = self.grant {
            let GrantData { grant_id, amount_micro, .. } = data;
            said.push(Command::Grant { scope: scope(&data.scope)?, grant_id, amount_micro });
        }
        if let Some(data) = self.pause {
            said.push(Command::Pause { scope: scope(&data.scope)? });
        }
        if let Some(data) = self.resume {
            said.push(Command::Resume { scope: scope(&data.scope)? });
        }
        if let Some(data) = self.due {
            let at = parse_rfc3339(&data.at)?;
            if at > time {
                return Err(format!("due at {at} lies after the record's own time {time}"));
            }
            said.push(Command::Due { at });
        }
        match <[Command; 1]>::try_from(said) {
            Ok([command]) => Ok(command),
            Err(said) => Err(format!("it has {} commands; a record says exactly one", said.len())),
        }
    }
}

fn set_organization(data: &SetOrganizationData) -> Result<Command, String> {
    let time_zone =
        data.time_zone.parse().map_err(|_| format!("time_zone {:?} is no IANA time zone", data.time_zone))?;
    let anchor = data.anchor.parse().map_err(|_| format!("anchor {:?} is no date (YYYY-MM-DD)", data.anchor))?;
    Ok(Command::SetOrganization { time_zone, anchor })
}

fn set_rate_card(data: SetRateCardData, time: Timestamp) -> Result<Command, String> {
    Ok(Command::SetRateCard(RateCard {
        effective_from: data.effective_from.as_deref().map_or(Ok(time), parse_rfc3339)?,
        models: data.models,
        default_prices: data.default_prices,
        completed_run_micro: data.completed_run_micro,
    }))
}

/// A scope with names of a length that is kept.
fn scope(text: &str) -> Result<Scope, String> {
    let scope = Scope::parse(text)?;
    let lengths = match &scope {
        Scope::Organization => [0, 0],
        Scope::Workspace(id) | Scope::User(id) => [id.len(), 0],
        Scope::Agent { workspace, agent } => [workspace.len(), agent.len()],
    };
    if lengths.into_iter().any(|length| length > ID_BYTES_MAX) {
        return Err(format!("a name in the scope is longer than {ID_BYTES_MAX} bytes"));
    }
    Ok(scope)
}

fn selector(one: Option<&str>, every: Option<ScopeKind>) -> Result<Selector, String> {
    match (one, every) {
        (Some(text), None) => scope(text).map(Selector::One),
        (None, Some(kind)) => Ok(Selector::Every(kind)),
        _ => Err("it needs either `scope` or `every`, and not both".to_owned()),
    }
}

fn or_default(thresholds_percent: Vec<u16>) -> Vec<u16> {
    if thresholds_percent.is_empty() { THRESHOLDS_PERCENT_DEFAULT.to_vec() } else { thresholds_percent }
}
