//! What answers look like. Amounts are whole millionths (`_micro`) of the organization's unit, left out for who does not read
//! figures of credits ([`super::credits`]); times are RFC 3339 in UTC.

mod lists;
mod rules;
mod usage;

use std::collections::BTreeMap;

use serde::{Deserialize, Serialize};
use utoipa::ToSchema;

pub use self::{lists::*, rules::*, usage::*};
use super::access::Caller;

/// How an organization names its credits.
#[derive(Clone, Debug, Serialize, ToSchema)]
pub struct UnitShown {
    /// For example `credits` or `USD`.
    pub name: String,
    /// Decimal places to show.
    pub scale: u8,
    /// So many millionths are one unit.
    #[schema(example = 1_000_000)]
    pub micro_per_unit: i64,
}

/// Who asks, and what they may.
#[derive(Debug, Serialize, ToSchema)]
pub struct WhoAmI {
    /// The caller.
    #[serde(flatten)]
    pub caller: Caller,
}

/// A half-open stretch of event time.
#[derive(Clone, Debug, Serialize, ToSchema)]
pub struct Span {
    /// The first instant within.
    #[schema(format = DateTime)]
    pub start: String,
    /// The first instant after.
    #[schema(format = DateTime)]
    pub end: String,
}

/// A billing period.
#[derive(Clone, Debug, Serialize, ToSchema)]
pub struct PeriodShown {
    /// From when to when; it ends with the reset.
    #[serde(flatten)]
    pub span: Span,
    /// Whether the present lies in it.
    pub is_current: bool,
    /// Whether its statement is written: what comes later is a correction.
    pub is_closed: bool,
}

/// The billing periods of an organization, newest first.
#[derive(Debug, Serialize, ToSchema)]
pub struct Periods {
    /// Whose.
    pub organization_id: String,
    /// The running period and those before it that are kept.
    pub periods: Vec<PeriodShown>,
}

/// An organization in a list.
#[derive(Debug, Serialize, ToSchema)]
pub struct OrganizationInList {
    /// Its id.
    pub organization_id: String,
    /// Its display name, where one was said.
    pub name: Option<String>,
}

/// Organizations that the caller has a role in.
#[derive(Debug, Serialize, ToSchema)]
pub struct Organizations {
    /// A page of them.
    pub organizations: Vec<OrganizationInList>,
    /// Where the next page begins.
    pub next_cursor: Option<String>,
}

/// What holds for a whole organization.
#[derive(Debug, Serialize, ToSchema)]
pub struct OrganizationShown {
    /// Its id.
    pub organization_id: String,
    /// Its display name, where one was said.
    pub name: Option<String>,
    /// How its credits are named.
    pub unit: UnitShown,
    /// IANA time zone in which its days begin.
    pub time_zone: String,
    /// The date that billing periods are counted from.
    pub anchor: String,
    /// What was bought; without a plan nothing is refused.
    pub plan: Option<String>,
    /// `credits`, `team`, `seat_enterprise` or `usage_enterprise`.
    pub mode: String,
    /// Sources of payment that were switched.
    #[schema(value_type = BTreeMap<String, bool>)]
    pub sources: serde_json::Value,
    /// Whether extra usage is switched off entirely, whatever the switches say.
    pub extra_usage_off: bool,
    /// Whether each member has to agree to extra usage.
    pub consent_required: bool,
    /// Whether no rate card holds: usage counts and has no price, and no credits.
    pub is_unpriced: bool,
    /// Until when usage is not charged.
    #[schema(format = DateTime)]
    pub free_until: Option<String>,
    /// What seats include.
    #[schema(value_type = Vec<Object>)]
    pub seat_types: Vec<serde_json::Value>,
    /// The running period.
    pub period: PeriodShown,
}

/// Why a scope does not run.
#[derive(Clone, Debug, Serialize, ToSchema)]
pub struct CauseShown {
    /// Whose cause it is: the scope's own, or that of its workspace or organization.
    pub scope: String,
    /// The kind of cause.
    pub kind: String,
    /// Which limit, where it is one.
    pub limit_id: Option<String>,
    /// What the limit is set on: a scope, `every:KIND` or `seat:TYPE`.
    pub selector: Option<String>,
    /// The workspace in which a user does not run; none: in all.
    pub workspace_id: Option<String>,
    /// When it clears by itself; none if somebody has to clear it.
    #[schema(format = DateTime)]
    pub ends_at: Option<String>,
}

/// Something that was published: a threshold, a pause or resume, a request, a statement, a journal entry.
#[derive(Clone, Debug, Serialize, ToSchema)]
pub struct SignalShown {
    /// Where it stands; `Last-Event-ID` of the live stream.
    pub id: String,
    /// `threshold`, `pause`, `request`, `statement` or `journal`.
    pub kind: String,
    /// When Kafka got it.
    #[schema(format = DateTime)]
    pub recorded_at: String,
    /// The data of the signal, as in schemas/.
    #[schema(value_type = Object)]
    pub data: serde_json::Value,
}

/// The latest of what was published, newest first.
#[derive(Debug, Serialize, ToSchema)]
pub struct Signals {
    /// Those that the caller sees.
    pub events: Vec<SignalShown>,
}

/// What became of a control record.
#[derive(Debug, Serialize, ToSchema)]
pub struct Answer {
    /// The id of the record.
    pub record_id: String,
    /// `applied`, or `sent`: then ask `/records/{record_id}` later.
    pub result: String,
    /// What the command did beyond being done, for a person.
    pub answer: Option<String>,
    /// The same for programs.
    pub applied: Vec<AppliedShown>,
}

/// Something that a command did beyond being done.
#[derive(Debug, Deserialize, Serialize, ToSchema)]
pub struct AppliedShown {
    /// A code of docs/answers.md.
    pub code: String,
    /// Its fields, as texts; what is not there is empty.
    pub fields: BTreeMap<String, String>,
}
