//! What each command says: its fields, and nothing of what comes of it.

use serde::{Deserialize, Serialize};

use crate::domain::{
    limit::{Action, Selector},
    meter::{Counters, Meter},
    organization::{AgentCreation, Plan, Reserved, Role, Wants},
    payment::{Mode, Source},
    pool::GrantKind,
    scope::Scope,
    time::Timestamp,
    window::WindowKind,
};

/// Sets time zone and anchor of the organization.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct SetOrganization {
    /// IANA name of the time zone.
    pub time_zone: chrono_tz::Tz,
    /// The local date that billing periods are counted from.
    pub anchor: chrono::NaiveDate,
}

/// Names the credits.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct SetUnit {
    /// For example `credits` or `USD`.
    pub name: Box<str>,
    /// Decimal places to show.
    pub scale: i64,
}

/// Sets what the organization has bought (row A20).
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct SetPlan {
    /// Which plan.
    pub plan: Plan,
}

/// Sets how the organization pays (row B13).
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct SetMode {
    /// Which way.
    pub mode: Mode,
}

/// Switches a source of payment for the organization or for one member (row B4).
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct SetSource {
    /// Which source.
    pub source: Source,
    /// `None`: the organization.
    pub user_id: Option<Box<str>>,
    /// `None` leaves it to what holds above.
    pub on: Option<bool>,
}

/// Switches extra usage off for everybody, whatever members' own switches say, or on again (row B4).
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct SetExtraUsage {
    /// Whether prepaid and postpaid may pay at all.
    pub on: bool,
}

/// Says whether each member has to agree to extra usage (row B14).
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct SetConsent {
    /// Whether they have to.
    pub required: bool,
}

/// A member agrees to go on into extra usage, or no longer does.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Consent {
    /// Who.
    pub user_id: Box<str>,
    /// Whether they agree.
    pub given: bool,
}

/// Until when usage is measured but not charged (row A7).
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct SetFreePhase {
    /// By event time.
    pub until: Timestamp,
}

/// Removes a limit.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct RemoveLimit {
    /// Which.
    pub limit_id: Box<str>,
    /// What it was set on.
    pub selector: Selector,
}

/// Gives a workspace or the organization a pool, or changes what it includes.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct SetPool {
    /// The owner of the pool.
    pub scope: Scope,
    /// Fresh in every period, in micro-credits.
    pub included_micro: i64,
    /// How much it pays for one user in a period at most.
    pub user_cap_micro: Option<i64>,
    /// Shares to announce, ascending.
    pub thresholds_percent: Vec<u16>,
}

/// Takes a pool away; the next one pays from then on.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct RemovePool {
    /// The owner of the pool.
    pub scope: Scope,
}

/// Takes back what is left of a grant.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct VoidGrant {
    /// The owner of the pool.
    pub scope: Scope,
    /// Which grant.
    pub grant_id: Box<str>,
}

/// Has a prepaid balance filled up by itself (row B2).
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct SetAutoReload {
    /// The owner of the balance.
    pub scope: Scope,
    /// Asked for when the balance is at or below this.
    pub below_micro: i64,
    /// How much.
    pub amount_micro: i64,
    /// How many in one local day.
    pub per_day_max: i64,
    /// How long an answer may take.
    pub lapse_ms: i64,
}

/// Ends auto-reload.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct RemoveAutoReload {
    /// The owner of the balance.
    pub scope: Scope,
}

/// Answers a reload that was asked for with no.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct RefuseReload {
    /// The owner of the balance.
    pub scope: Scope,
    /// The identity of what was asked.
    pub reload_id: Box<str>,
}

/// Sets seat and role of a member.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct SetMember {
    /// Who.
    pub user_id: Box<str>,
    /// The seat; `None` is none.
    pub seat_type: Option<Box<str>>,
    /// What the member may do.
    pub role: Role,
}

/// Says who may create agents (row A15).
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct SetAgentCreation {
    /// Where the rule holds; `None`: in every workspace that has none of its own.
    pub workspace_id: Option<Box<str>>,
    /// The rule; `None` takes that of the workspace away.
    pub rule: Option<AgentCreation>,
}

/// Says which controls of workspaces the owners keep for themselves.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct SetReserved {
    /// Which; all others are open to a workspace's admins.
    pub controls: Vec<Reserved>,
}

/// Makes a workspace known.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct RegisterWorkspace {
    /// Which.
    pub workspace_id: Box<str>,
}

/// Makes an agent known (row A13).
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct RegisterAgent {
    /// Which; of kind agent.
    pub scope: Scope,
    /// Who created it; `None`: who says this.
    pub created_by: Option<Box<str>>,
}

/// Says whether members may ask for more, and when the digest is sent (row B10).
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct SetRequests {
    /// Whether they may.
    pub enabled: bool,
    /// The local hour of the digest.
    pub digest_hour: i64,
}

/// A member asks for more.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Request {
    /// Chosen by who asks.
    pub request_id: Box<str>,
    /// Who.
    pub user_id: Box<str>,
    /// What for.
    pub wants: Wants,
}

/// Grants what a member asked for.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Approve {
    /// Which request.
    pub request_id: Box<str>,
    /// The new cap on the member's extra credits in a period; for a request of a higher limit.
    pub cap: Option<i64>,
}

/// Refuses what a member asked for.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Decline {
    /// Which request.
    pub request_id: Box<str>,
}

/// An admin pauses a scope (row A14).
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Pause {
    /// Which.
    pub scope: Scope,
}

/// An admin ends an admin's pause.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Resume {
    /// Which.
    pub scope: Scope,
}

/// Sets a limit, or replaces the one of the same id and selector.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct SetLimit {
    /// Unique for its selector.
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
    /// Whether a limit for many gives way where a scope has one of its own on the same meter and kind of window.
    pub yields_to_own: bool,
}

/// Adds credits to a pool.
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
