//! What is said of members, workspaces and agents, and what members ask for.

use serde::Deserialize;

use super::super::super::texts::{scope, within};
use crate::domain::{
    control::{self, Command},
    organization::{AgentCreation, Allowance, Reserved, Role, SeatType, Wants},
    time::Timestamp,
    window::WindowKind,
};

#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct SetSeatType {
    seat_type: Box<str>,
    session_micro: Option<i64>,
    week_micro: Option<i64>,
    period_micro: Option<i64>,
}

impl SetSeatType {
    pub fn into_command(self) -> Command {
        let amounts = [
            (WindowKind::Session, self.session_micro),
            (WindowKind::Week, self.week_micro),
            (WindowKind::Period, self.period_micro),
        ];
        // The account knows since when each is included.
        let since = Timestamp::MIN;
        let allowance = |(window, amount): (_, Option<i64>)| Some(Allowance { window, amount_micro: amount?, since });
        let allowances = amounts.into_iter().filter_map(allowance).collect();
        Command::SetSeatType(SeatType { name: self.seat_type, allowances })
    }
}

#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct SetMember {
    user_id: Box<str>,
    seat_type: Option<Box<str>>,
    #[serde(default)]
    role: Role,
}

impl SetMember {
    pub fn into_command(self) -> Command {
        let Self { user_id, seat_type, role } = self;
        Command::SetMember(control::SetMember { user_id, seat_type, role })
    }
}

#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct SetAgentCreation {
    who: Creators,
    #[serde(default)]
    members: Vec<Box<str>>,
    workspace_id: Option<Box<str>>,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, Deserialize)]
#[serde(rename_all = "snake_case")]
enum Creators {
    Everyone,
    Owners,
    Named,
    /// Takes the rule of a workspace away.
    Inherit,
}

impl SetAgentCreation {
    pub fn into_command(self) -> Result<Command, String> {
        let Self { who, members, workspace_id } = self;
        if who != Creators::Named && !members.is_empty() {
            return Err("members belong to `named`, and only to that".to_owned());
        }
        if who == Creators::Inherit && workspace_id.is_none() {
            return Err("`inherit` belongs to a workspace: write its workspace_id".to_owned());
        }
        let rule = match who {
            Creators::Everyone => Some(AgentCreation::Everyone),
            Creators::Owners => Some(AgentCreation::Owners),
            Creators::Named => Some(AgentCreation::Named(
                members.into_iter().map(|id| within("user_id", id)).collect::<Result<_, _>>()?,
            )),
            Creators::Inherit => None,
        };
        Ok(Command::SetAgentCreation(control::SetAgentCreation { workspace_id, rule }))
    }
}

#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct SetReserved {
    controls: Vec<Reserved>,
}

impl SetReserved {
    /// Each control once and in one order, however it was said.
    pub fn into_command(self) -> Command {
        let controls = Reserved::ALL.into_iter().filter(|control| self.controls.contains(control)).collect();
        Command::SetReserved(control::SetReserved { controls })
    }
}

#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct RegisterWorkspace {
    workspace_id: Box<str>,
}

impl RegisterWorkspace {
    pub fn into_command(self) -> Command {
        Command::RegisterWorkspace(control::RegisterWorkspace { workspace_id: self.workspace_id })
    }
}

#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct RegisterAgent {
    scope: String,
    created_by: Option<Box<str>>,
}

impl RegisterAgent {
    pub fn into_command(self) -> Result<Command, String> {
        let Self { scope: agent, created_by } = self;
        Ok(Command::RegisterAgent(control::RegisterAgent { scope: scope(&agent)?, created_by }))
    }
}

#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct SetRequests {
    enabled: bool,
    #[serde(default = "nine")]
    digest_hour: i64,
}

const fn nine() -> i64 {
    9
}

impl SetRequests {
    pub fn into_command(self) -> Command {
        Command::SetRequests(control::SetRequests { enabled: self.enabled, digest_hour: self.digest_hour })
    }
}

#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Request {
    request_id: Box<str>,
    user_id: Box<str>,
    wants: WhatIsWanted,
    seat_type: Option<Box<str>>,
}

#[derive(Debug, Deserialize)]
#[serde(rename_all = "snake_case")]
enum WhatIsWanted {
    HigherLimit,
    Seat,
}

impl Request {
    pub fn into_command(self) -> Result<Command, String> {
        let wants = match (self.wants, self.seat_type) {
            (WhatIsWanted::HigherLimit, None) => Wants::HigherLimit,
            (WhatIsWanted::Seat, Some(seat_type)) => Wants::Seat(seat_type),
            _ => return Err("seat_type belongs to a request of a seat, and only to that".to_owned()),
        };
        let (request_id, user_id) = (self.request_id, self.user_id);
        Ok(Command::Request(control::Request { request_id, user_id, wants }))
    }
}

#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Approve {
    request_id: Box<str>,
    cap: Option<i64>,
}

impl Approve {
    pub fn into_command(self) -> Command {
        Command::Approve(control::Approve { request_id: self.request_id, cap: self.cap })
    }
}

#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Decline {
    request_id: Box<str>,
}

impl Decline {
    pub fn into_command(self) -> Command {
        Command::Decline(control::Decline { request_id: self.request_id })
    }
}
