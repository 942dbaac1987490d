//! What an admin or billing says: one record, one command (design section 5, "Control").

mod commands;

pub use self::commands::*;

use super::{
    ids::{self, EventId, Fingerprint},
    organization::SeatType,
    rate_card::RateCard,
    time::Timestamp,
};

/// A record of the control topic.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ControlRecord {
    /// Chosen by the sender; unique for `source`. A resend carries the same id, source and time.
    pub id: Box<str>,
    /// The system that sends.
    pub source: Box<str>,
    /// When it was said.
    pub time: Timestamp,
    /// Whose account it concerns.
    pub organization_id: Box<str>,
    /// Who said it, by a pseudonym.
    pub actor: Box<str>,
    /// Why, in the actor's words; may be empty.
    pub reason: Box<str>,
    /// Whether an owner or a service speaks: what they set is lifted by owners only.
    pub by_owner: bool,
    /// What to do.
    pub command: Command,
    /// The command as JSON, as it stands in the journal.
    pub command_json: Box<str>,
}

impl ControlRecord {
    /// What makes this record itself.
    pub fn fingerprint(&self) -> Fingerprint {
        ids::fingerprint(&self.organization_id, &self.source, &self.id, self.time)
    }

    /// What the ids of its account know it by; the check is over the command.
    pub fn event_id(&self) -> EventId {
        EventId { fingerprint: self.fingerprint(), check: ids::content_check(self.command_json.as_bytes()) }
    }
}

/// Everything that can be said. A closed set: what is not here is refused when it is decoded. What each does is in
/// [`crate::domain::command`], a file for each.
#[derive(Clone, Debug, PartialEq, Eq)]
#[allow(missing_docs, reason = "each is what it holds")]
pub enum Command {
    SetOrganization(SetOrganization),
    SetUnit(SetUnit),
    SetPlan(SetPlan),
    SetRateCard(RateCard),
    SetMode(SetMode),
    SetSource(SetSource),
    SetExtraUsage(SetExtraUsage),
    SetConsent(SetConsent),
    Consent(Consent),
    SetFreePhase(SetFreePhase),
    SetLimit(SetLimit),
    RemoveLimit(RemoveLimit),
    SetPool(SetPool),
    RemovePool(RemovePool),
    Grant(GrantCredits),
    VoidGrant(VoidGrant),
    SetAutoReload(SetAutoReload),
    RemoveAutoReload(RemoveAutoReload),
    RefuseReload(RefuseReload),
    SetSeatType(SeatType),
    SetMember(SetMember),
    SetAgentCreation(SetAgentCreation),
    SetReserved(SetReserved),
    RegisterWorkspace(RegisterWorkspace),
    RegisterAgent(RegisterAgent),
    SetRequests(SetRequests),
    Request(Request),
    Approve(Approve),
    Decline(Decline),
    Adjust(Adjustment),
    Pause(Pause),
    Resume(Resume),
    /// Time has come for what ends by itself: all that ends at or before this instant. Written by Bursar, so that a replay
    /// does it at the same place.
    Due(Timestamp),
}

impl Command {
    /// The name used in records.
    pub const fn name(&self) -> &'static str {
        match self {
            Self::SetOrganization(_) => "set_organization",
            Self::SetUnit(_) => "set_unit",
            Self::SetPlan(_) => "set_plan",
            Self::SetRateCard(_) => "set_rate_card",
            Self::SetMode(_) => "set_mode",
            Self::SetSource(_) => "set_source",
            Self::SetExtraUsage(_) => "set_extra_usage",
            Self::SetConsent(_) => "set_consent",
            Self::Consent(_) => "consent",
            Self::SetFreePhase(_) => "set_free_phase",
            Self::SetLimit(_) => "set_limit",
            Self::RemoveLimit(_) => "remove_limit",
            Self::SetPool(_) => "set_pool",
            Self::RemovePool(_) => "remove_pool",
            Self::Grant(_) => "grant",
            Self::VoidGrant(_) => "void_grant",
            Self::SetAutoReload(_) => "set_auto_reload",
            Self::RemoveAutoReload(_) => "remove_auto_reload",
            Self::RefuseReload(_) => "refuse_reload",
            Self::SetSeatType(_) => "set_seat_type",
            Self::SetMember(_) => "set_member",
            Self::SetAgentCreation(_) => "set_agent_creation",
            Self::SetReserved(_) => "set_reserved",
            Self::RegisterWorkspace(_) => "register_workspace",
            Self::RegisterAgent(_) => "register_agent",
            Self::SetRequests(_) => "set_requests",
            Self::Request(_) => "request",
            Self::Approve(_) => "approve",
            Self::Decline(_) => "decline",
            Self::Adjust(_) => "adjust",
            Self::Pause(_) => "pause",
            Self::Resume(_) => "resume",
            Self::Due(_) => "due",
        }
    }
}
