//! What an admin or billing says: one record, one command (design section 5, "Control").

use serde::{Deserialize, Serialize};

use super::{
    ids::{self, EventId, Fingerprint},
    limit::{Action, Selector},
    meter::{Counters, Meter},
    organization::{AgentCreation, Plan, Role, SeatType, Unit, Wants},
    payment::{Mode, Source},
    pool::GrantKind,
    rate_card::RateCard,
    scope::Scope,
    time::Timestamp,
    window::WindowKind,
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

/// Everything that can be said. A closed set: what is not here is refused when it is decoded.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Command {
    /// Sets time zone and anchor of the organization.
    SetOrganization {
        /// IANA name of the time zone.
        time_zone: chrono_tz::Tz,
        /// The local date that billing periods are counted from.
        anchor: chrono::NaiveDate,
    },
    /// Names the credits.
    SetUnit(Unit),
    /// Sets what the organization has bought (row A20).
    SetPlan {
        /// Which plan.
        plan: Plan,
    },
    /// Adds a rate card to those of the organization.
    SetRateCard(RateCard),
    /// Sets how the organization pays (row B13).
    SetMode {
        /// Which way.
        mode: Mode,
    },
    /// Switches a source of payment for the organization or for one member (row B4).
    SetSource {
        /// Which source.
        source: Source,
        /// `None`: the organization.
        user_id: Option<Box<str>>,
        /// `None` leaves it to what holds above.
        on: Option<bool>,
    },
    /// Says whether each member has to agree to extra usage (row B14).
    SetConsent {
        /// Whether they have to.
        required: bool,
    },
    /// A member agrees to go on into extra usage, or no longer does.
    Consent {
        /// Who.
        user_id: Box<str>,
        /// Whether they agree.
        given: bool,
    },
    /// Until when usage is measured but not charged (row A7).
    SetFreePhase {
        /// By event time.
        until: Timestamp,
    },
    /// Sets a limit, or replaces the one of the same id and selector.
    SetLimit(SetLimit),
    /// Removes a limit.
    RemoveLimit {
        /// Which.
        limit_id: Box<str>,
        /// What it was set on.
        selector: Selector,
    },
    /// Gives a workspace or the organization a pool, or changes what it includes.
    SetPool {
        /// The owner of the pool.
        scope: Scope,
        /// Fresh in every period, in micro-credits.
        included_micro: i64,
        /// How much it pays for one user in a period at most.
        user_cap_micro: Option<i64>,
        /// Shares to announce, ascending.
        thresholds_percent: Vec<u16>,
    },
    /// Adds credits to a pool.
    Grant(GrantCredits),
    /// Takes back what is left of a grant.
    VoidGrant {
        /// The owner of the pool.
        scope: Scope,
        /// Which grant.
        grant_id: Box<str>,
    },
    /// Has a prepaid balance filled up by itself (row B2).
    SetAutoReload {
        /// The owner of the balance.
        scope: Scope,
        /// At which balance, for how much; `None` ends it.
        rule: Option<ReloadRule>,
    },
    /// Answers a reload that was asked for with no.
    RefuseReload {
        /// The owner of the balance.
        scope: Scope,
        /// The identity of what was asked.
        reload_id: Box<str>,
    },
    /// Sets what a seat of a type includes (row B1).
    SetSeatType(SeatType),
    /// Sets seat and role of a member.
    SetMember {
        /// Who.
        user_id: Box<str>,
        /// The seat; `None` is none.
        seat_type: Option<Box<str>>,
        /// What the member may do.
        role: Role,
    },
    /// Says who may create agents (row A15).
    SetAgentCreation(AgentCreation),
    /// Makes a workspace known.
    RegisterWorkspace {
        /// Which.
        workspace_id: Box<str>,
    },
    /// Makes an agent known; who says it has created it (row A13).
    RegisterAgent {
        /// Which; of kind agent.
        scope: Scope,
    },
    /// Says whether members may ask for more, and when the digest is sent (row B10).
    SetRequests {
        /// Whether they may.
        enabled: bool,
        /// The local hour of the digest.
        digest_hour: u8,
    },
    /// A member asks for more.
    Request {
        /// Chosen by who asks.
        request_id: Box<str>,
        /// Who.
        user_id: Box<str>,
        /// What for.
        wants: Wants,
    },
    /// Grants what a member asked for.
    Approve {
        /// Which request.
        request_id: Box<str>,
        /// The new cap on the member's extra credits in a period; for a request of a higher limit.
        cap: Option<i64>,
    },
    /// Refuses what a member asked for.
    Decline {
        /// Which request.
        request_id: Box<str>,
    },
    /// Corrects usage.
    Adjust(Adjustment),
    /// An admin pauses a scope (row A14).
    Pause {
        /// Which.
        scope: Scope,
    },
    /// An admin ends an admin's pause.
    Resume {
        /// Which.
        scope: Scope,
    },
    /// Time has come for what ends by itself. Written by Bursar, so that a replay does it at the same place.
    Due {
        /// All that ends at or before this instant.
        at: Timestamp,
    },
}

/// The fields of [`Command::SetLimit`].
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct SetLimit {
    /// Unique within the organization.
    pub limit_id: Box<str>,
    /// What it is set on.
    pub selector: Selector,
    /// Which count it bounds.
    pub meter: Meter,
    /// Within which window.
    pub window: WindowKind,
    /// The ceiling; `None` is unlimited.
    pub cap: Option<i64>,
    /// Shares to announce, ascending.
    pub thresholds_percent: Vec<u16>,
    /// What happens at the cap.
    pub action: Action,
}

/// The fields of [`Command::Grant`].
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct GrantCredits {
    /// The owner of the pool.
    pub scope: Scope,
    /// Chosen by who grants; the same id twice is one grant.
    pub grant_id: Box<str>,
    /// How much, in micro-credits.
    pub amount_micro: i64,
    /// What becomes of it at the end of the period.
    pub kind: GrantKind,
    /// Lowest first.
    pub priority: u8,
    /// Pays from this event time on.
    pub effective_from: Option<Timestamp>,
    /// Pays before this event time.
    pub expires_at: Option<Timestamp>,
    /// The reload that it answers.
    pub reload_id: Option<Box<str>>,
}

/// The fields of [`Command::SetAutoReload`].
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct ReloadRule {
    /// Asked for when the balance is at or below this.
    pub below_micro: i64,
    /// How much.
    pub amount_micro: i64,
    /// How many in one local day.
    pub per_day_max: u16,
    /// How long an answer may take.
    pub lapse_ms: i64,
}

/// A correction of usage.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Adjustment {
    /// Names the ticket, invoice or dead letter that it answers.
    pub reference: Box<str>,
    /// When the usage that it corrects took place.
    pub event_time: Timestamp,
    /// The workspace, where there is one.
    pub workspace_id: Option<Box<str>>,
    /// The agent, where there is one.
    pub agent_id: Option<Box<str>>,
    /// The user, where there is one.
    pub user_id: Option<Box<str>>,
    /// Signed; negative is a refund.
    pub credits_micro: i64,
    /// Signed tokens and runs.
    pub counts: Counters,
}
