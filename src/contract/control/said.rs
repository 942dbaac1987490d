//! The commands of a control record as they are written, and what each becomes.
//!
//! What is said of the organization and of payment is in [`organization`], of limits and pauses in [`rules`], of pools and
//! grants in [`credits`], of members and agents in [`people`], of corrections in [`adjust`].

mod adjust;
mod credits;
mod organization;
mod people;
mod rules;

use serde::Deserialize;

use self::{
    adjust::Adjust,
    credits::{Grant, OfPool, RefuseReload, SetAutoReload, SetPool, VoidGrant},
    organization::{
        Consent, SetConsent, SetExtraUsage, SetFreePhase, SetMode, SetOrganization, SetPlan, SetRateCard, SetSource,
        SetUnit,
    },
    people::{
        Approve, Decline, RegisterAgent, RegisterWorkspace, Request, SetAgentCreation, SetMember, SetRequests,
        SetReserved, SetSeatType,
    },
    rules::{OfScope, RemoveLimit, SetLimit},
};
use super::super::texts::{instant, scope};
use crate::domain::{
    control::{self, Command},
    time::Timestamp,
};

/// One variant per command, named and with fields as in `schemas/control.avsc`, where each is documented.
#[derive(Debug, Deserialize)]
#[serde(rename_all = "snake_case")]
pub(super) enum Said {
    SetOrganization(SetOrganization),
    SetUnit(SetUnit),
    SetPlan(SetPlan),
    SetRateCard(SetRateCard),
    SetMode(SetMode),
    SetSource(SetSource),
    SetExtraUsage(SetExtraUsage),
    SetConsent(SetConsent),
    Consent(Consent),
    SetFreePhase(SetFreePhase),
    SetLimit(SetLimit),
    RemoveLimit(RemoveLimit),
    SetPool(SetPool),
    RemovePool(OfPool),
    Grant(Grant),
    VoidGrant(VoidGrant),
    SetAutoReload(SetAutoReload),
    RemoveAutoReload(OfPool),
    RefuseReload(RefuseReload),
    SetSeatType(SetSeatType),
    SetMember(SetMember),
    SetAgentCreation(SetAgentCreation),
    SetReserved(SetReserved),
    RegisterWorkspace(RegisterWorkspace),
    RegisterAgent(RegisterAgent),
    SetRequests(SetRequests),
    Request(Request),
    Approve(Approve),
    Decline(Decline),
    Adjust(Box<Adjust>),
    Pause(OfScope),
    Resume(OfScope),
    Due(Due),
}

/// Written by Bursar itself.
#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct Due {
    at: String,
}

impl Said {
    /// The command; `time` is the record's.
    pub(super) fn into_command(self, time: Timestamp) -> Result<Command, String> {
        match self {
            Self::SetOrganization(said) => said.into_command(),
            Self::SetUnit(said) => Ok(said.into_command()),
            Self::SetPlan(said) => Ok(said.into_command()),
            Self::SetRateCard(said) => said.into_command(time),
            Self::SetMode(said) => Ok(said.into_command()),
            Self::SetSource(said) => Ok(said.into_command()),
            Self::SetExtraUsage(said) => Ok(said.into_command()),
            Self::SetConsent(said) => Ok(said.into_command()),
            Self::Consent(said) => Ok(said.into_command()),
            Self::SetFreePhase(said) => said.into_command(),
            Self::SetLimit(said) => said.into_command(),
            Self::RemoveLimit(said) => said.into_command(),
            Self::SetPool(said) => said.into_command(),
            Self::RemovePool(of) => Ok(Command::RemovePool(control::RemovePool { scope: scope(&of.scope)? })),
            Self::Grant(said) => said.into_command(),
            Self::VoidGrant(said) => said.into_command(),
            Self::SetAutoReload(said) => said.into_command(),
            Self::RemoveAutoReload(of) => {
                Ok(Command::RemoveAutoReload(control::RemoveAutoReload { scope: scope(&of.scope)? }))
            }
            Self::RefuseReload(said) => said.into_command(),
            Self::SetSeatType(said) => Ok(said.into_command()),
            Self::SetMember(said) => Ok(said.into_command()),
            Self::SetAgentCreation(said) => said.into_command(),
            Self::SetReserved(said) => Ok(said.into_command()),
            Self::RegisterWorkspace(said) => Ok(said.into_command()),
            Self::RegisterAgent(said) => said.into_command(),
            Self::SetRequests(said) => Ok(said.into_command()),
            Self::Request(said) => said.into_command(),
            Self::Approve(said) => Ok(said.into_command()),
            Self::Decline(said) => Ok(said.into_command()),
            Self::Adjust(said) => said.into_command(),
            Self::Pause(of) => Ok(Command::Pause(control::Pause { scope: scope(&of.scope)? })),
            Self::Resume(of) => Ok(Command::Resume(control::Resume { scope: scope(&of.scope)? })),
            Self::Due(said) => said.into_command(time),
        }
    }
}

impl Due {
    fn into_command(self, time: Timestamp) -> Result<Command, String> {
        let at = instant(&self.at)?;
        if at > time {
            return Err(format!("due at {at} lies after the record's own time {time}"));
        }
        Ok(Command::Due(at))
    }
}
