//! What answers look like. Amounts are whole millionths (`_micro`) of the organization's unit; times are RFC 3339 in UTC.

use std::collections::BTreeMap;

use serde::Serialize;
use utoipa::ToSchema;

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
    /// Whether each member has to agree to extra usage.
    pub consent_required: bool,
    /// Until when usage is not charged.
    #[schema(format = DateTime)]
    pub free_until: Option<String>,
    /// What seats include.
    #[schema(value_type = Vec<Object>)]
    pub seat_types: Vec<serde_json::Value>,
    /// The running period.
    pub period: PeriodShown,
}

/// What a pool holds and has left in a period.
#[derive(Clone, Debug, Serialize, ToSchema)]
pub struct PoolShown {
    /// Whose it is: `org` or `ws:WORKSPACE`.
    pub scope: String,
    /// Included in every period.
    pub included_micro: i64,
    /// Included and purchased, without what was taken back.
    pub size_micro: i64,
    /// Drawn of that.
    pub drawn_micro: i64,
    /// Left of that.
    pub remaining_micro: i64,
    /// Left of the prepaid balance, which carries over.
    pub prepaid_remaining_micro: i64,
}

/// What the end of the period will be, if it goes on like this.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, ToSchema)]
pub struct EstimateShown {
    /// Credits used at the end of the period.
    pub at_end_micro: i64,
    /// Meant to be at least this in nine of ten cases; docs/forecast.md has how often it was.
    pub low_micro: i64,
    /// Meant to be at most this in nine of ten cases.
    pub high_micro: i64,
    /// When the pool will be used up, if that is before the reset.
    #[schema(format = DateTime)]
    pub exhausted_at: Option<String>,
    /// What it is made of: `run_rate`, `daily_pattern` or `weekly_pattern`.
    pub method: String,
}

/// What a scope used in a period (rows A1, A2, A9).
#[derive(Debug, Serialize, ToSchema)]
pub struct Usage {
    /// Whose.
    pub organization_id: String,
    /// Which scope.
    pub scope: String,
    /// Its display name, where one was said.
    pub name: Option<String>,
    /// When.
    pub period: PeriodShown,
    /// How credits are named.
    pub unit: UnitShown,
    /// Credits used.
    pub credits_micro: i64,
    /// Completed runs.
    pub runs_completed: i64,
    /// Credits per completed run, rounded down; none without runs.
    pub credits_per_run_micro: Option<i64>,
    /// Who paid: the parts sum to the credits.
    pub by_source: BTreeMap<String, i64>,
    /// Every meter by its name.
    pub meters: BTreeMap<String, i64>,
    /// The pool that pays here, if there is one.
    pub pool: Option<PoolShown>,
    /// For the running period.
    pub estimate: Option<EstimateShown>,
    /// Why it is paused; empty while it runs.
    pub paused_for: Vec<CauseShown>,
}

/// Why a scope is paused.
#[derive(Clone, Debug, Serialize, ToSchema)]
pub struct CauseShown {
    /// The kind of cause.
    pub kind: String,
    /// Which limit, where it is one.
    pub limit_id: Option<String>,
    /// When it clears by itself; none if somebody has to clear it.
    #[schema(format = DateTime)]
    pub ends_at: Option<String>,
}

/// One window of a series.
#[derive(Debug, Serialize, ToSchema)]
pub struct Point {
    /// From when to when.
    #[serde(flatten)]
    pub span: Span,
    /// What was counted in it, or is expected to be.
    pub value: i64,
    /// The sum from the first point on.
    pub total: i64,
}

/// Usage over time, actual and estimated (row A11).
#[derive(Debug, Serialize, ToSchema)]
pub struct Series {
    /// Whose.
    pub organization_id: String,
    /// Which scope.
    pub scope: String,
    /// What is counted.
    pub meter: String,
    /// `hour` or `day`.
    pub window: String,
    /// How credits are named.
    pub unit: UnitShown,
    /// Up to the present; the last window is not over yet.
    pub actual: Vec<Point>,
    /// From the present to the end of the period.
    pub estimated: Vec<Point>,
}

/// Row A12.
#[derive(Debug, Serialize, ToSchema)]
pub struct Cards {
    /// Members who created an agent.
    pub agent_builders: i64,
    /// Agents that ran.
    pub agents_in_action: i64,
    /// Runs that ended well.
    pub runs_completed: i64,
    /// When.
    pub period: PeriodShown,
}

/// Use by one product or trigger.
#[derive(Debug, Serialize, ToSchema)]
pub struct Part {
    /// Its name; what there was no room for is `other`.
    pub name: String,
    /// Credits used.
    pub credits_micro: i64,
    /// The part of them that prepaid and postpaid paid.
    pub extra_credits_micro: i64,
    /// Completed runs.
    pub runs_completed: i64,
    /// Credits per completed run, rounded down; none without runs.
    pub credits_per_run_micro: Option<i64>,
}

/// Use of one model.
#[derive(Debug, Serialize, ToSchema)]
pub struct ModelPart {
    /// Its name as requested; what there was no room for is `other`.
    pub name: String,
    /// Credits used.
    pub credits_micro: i64,
    /// Tokens sent, without those read from or written to a cache.
    pub input_tokens: i64,
    /// Tokens produced.
    pub output_tokens: i64,
    /// Input tokens read from a provider's cache.
    pub cache_read_input_tokens: i64,
    /// Input tokens written to a provider's cache.
    pub cache_creation_input_tokens: i64,
}

/// What drives usage (rows A21, B12).
#[derive(Debug, Serialize, ToSchema)]
pub struct Breakdown {
    /// Which scope.
    pub scope: String,
    /// When.
    pub period: PeriodShown,
    /// How credits are named.
    pub unit: UnitShown,
    /// By product: of organization and members.
    pub by_product: Vec<Part>,
    /// By trigger: of workspaces and agents.
    pub by_trigger: Vec<Part>,
    /// By model: of organization and workspaces. Fees of runs and adjustments are of none.
    pub by_model: Vec<ModelPart>,
}

/// A workspace in a list (rows A5, A17).
#[derive(Debug, Serialize, ToSchema)]
pub struct WorkspaceInList {
    /// Its id.
    pub workspace_id: String,
    /// Its display name, where one was said.
    pub name: Option<String>,
    /// Credits used in the period.
    pub credits_micro: i64,
    /// Completed runs in the period.
    pub runs_completed: i64,
    /// Agents that ran in the period.
    pub agents_in_action: i64,
    /// Its own pool, where it has one.
    pub pool: Option<PoolShown>,
    /// `running` or `paused`.
    pub status: String,
    /// Why it is paused.
    pub paused_for: Vec<CauseShown>,
}

/// Workspaces of an organization that the caller sees, by credits.
#[derive(Debug, Serialize, ToSchema)]
pub struct Workspaces {
    /// When.
    pub period: PeriodShown,
    /// How credits are named.
    pub unit: UnitShown,
    /// A page of them.
    pub workspaces: Vec<WorkspaceInList>,
    /// Where the next page begins.
    pub next_cursor: Option<String>,
}

/// An agent in a list (rows A3, A13).
#[derive(Debug, Serialize, ToSchema)]
pub struct AgentInList {
    /// Its workspace.
    pub workspace_id: String,
    /// Its id.
    pub agent_id: String,
    /// Its display name, where one was said.
    pub name: Option<String>,
    /// Credits used in the period.
    pub credits_micro: i64,
    /// Completed runs in the period.
    pub runs_completed: i64,
    /// Credits per completed run, rounded down; none without runs.
    pub credits_per_run_micro: Option<i64>,
    /// `running` or `paused`.
    pub status: String,
    /// Why it is paused.
    pub paused_for: Vec<CauseShown>,
    /// Who created it; none if nobody registered it.
    pub created_by: Option<String>,
    /// When it was registered.
    #[schema(format = DateTime)]
    pub created_at: Option<String>,
}

/// Agents, those with most credits first.
#[derive(Debug, Serialize, ToSchema)]
pub struct Agents {
    /// When.
    pub period: PeriodShown,
    /// How credits are named.
    pub unit: UnitShown,
    /// A page of them.
    pub agents: Vec<AgentInList>,
    /// Where the next page begins.
    pub next_cursor: Option<String>,
}

/// A member in a list (row B9).
#[derive(Debug, Serialize, ToSchema)]
pub struct MemberInList {
    /// A pseudonym.
    pub user_id: String,
    /// The display name, where one was said.
    pub name: Option<String>,
    /// The seat, if there is one.
    pub seat_type: Option<String>,
    /// `member`, `admin` or `owner`.
    pub role: Option<String>,
    /// Credits used in the period, whoever paid.
    pub credits_micro: i64,
    /// Paid by the seat.
    pub seat_credits_micro: i64,
    /// Extra usage: paid by prepaid and postpaid.
    pub extra_credits_micro: i64,
    /// `running` or `paused`.
    pub status: String,
    /// Why the member is paused.
    pub paused_for: Vec<CauseShown>,
}

/// Members, those with most extra usage first.
#[derive(Debug, Serialize, ToSchema)]
pub struct Members {
    /// When.
    pub period: PeriodShown,
    /// How credits are named.
    pub unit: UnitShown,
    /// A page of them.
    pub members: Vec<MemberInList>,
    /// Where the next page begins.
    pub next_cursor: Option<String>,
}

/// A limit on one scope, and how far it is used.
#[derive(Debug, Serialize, ToSchema)]
pub struct LimitShown {
    /// The scope that it holds for here.
    pub scope: String,
    /// Whom it was set on: the scope, or a rule for many.
    pub set_on: String,
    /// Its id.
    pub limit_id: String,
    /// What it bounds.
    pub meter: String,
    /// Within which window.
    pub window: String,
    /// The ceiling; none is unlimited.
    pub cap: Option<i64>,
    /// Used in the running window.
    pub used: i64,
    /// Used, in thousandths of the cap, rounded down; none where it is unlimited or zero.
    pub used_permille: Option<i64>,
    /// `observe`, `notify` or `pause`.
    pub action: String,
    /// Shares that are announced.
    pub thresholds_percent: Vec<u16>,
    /// Grows with each change.
    pub revision: u64,
}

/// Limits with their utilisation, the fullest first.
#[derive(Debug, Serialize, ToSchema)]
pub struct Limits {
    /// A page of them.
    pub limits: Vec<LimitShown>,
    /// Where the next page begins.
    pub next_cursor: Option<String>,
}

/// A scope that is paused.
#[derive(Debug, Serialize, ToSchema)]
pub struct PausedScope {
    /// Which.
    pub scope: String,
    /// Its display name, where one was said.
    pub name: Option<String>,
    /// Why.
    pub causes: Vec<CauseShown>,
    /// The number of its last change.
    pub generation: i64,
}

/// What is paused now.
#[derive(Debug, Serialize, ToSchema)]
pub struct Pauses {
    /// A page of scopes.
    pub paused: Vec<PausedScope>,
    /// Where the next page begins.
    pub next_cursor: Option<String>,
}

/// A grant.
#[derive(Debug, Serialize, ToSchema)]
pub struct GrantShown {
    /// Whose pool.
    pub scope: String,
    /// Its id.
    pub grant_id: String,
    /// `purchased` or `prepaid`.
    pub kind: String,
    /// Granted.
    pub amount_micro: i64,
    /// Drawn.
    pub spent_micro: i64,
    /// Taken back, or expired.
    pub voided_micro: i64,
    /// Left.
    pub left_micro: i64,
    /// When it expires.
    #[schema(format = DateTime)]
    pub expires_at: Option<String>,
}

/// Pools and their grants.
#[derive(Debug, Serialize, ToSchema)]
pub struct Grants {
    /// How credits are named.
    pub unit: UnitShown,
    /// Every pool, for the running period.
    pub pools: Vec<PoolShown>,
    /// A page of grants.
    pub grants: Vec<GrantShown>,
    /// Where the next page begins.
    pub next_cursor: Option<String>,
}

/// What nothing covered (row C4).
#[derive(Debug, Serialize, ToSchema)]
pub struct OvershootShown {
    /// On which scope it is booked.
    pub scope: String,
    /// What stood in the way.
    pub kind: String,
    /// Which limit, where it was one.
    pub limit_id: Option<String>,
    /// The window.
    #[schema(format = DateTime)]
    pub window_start: String,
    /// How much.
    pub amount_micro: i64,
}

/// Overshoot per limit, most first.
#[derive(Debug, Serialize, ToSchema)]
pub struct Overshoots {
    /// How credits are named.
    pub unit: UnitShown,
    /// A page.
    pub overshoot: Vec<OvershootShown>,
    /// Where the next page begins.
    pub next_cursor: Option<String>,
}

/// What a member asks for (row B10).
#[derive(Debug, Serialize, ToSchema)]
pub struct RequestShown {
    /// Its id.
    pub request_id: String,
    /// Who asks.
    pub user_id: String,
    /// The display name, where one was said.
    pub name: Option<String>,
    /// The seat at that time.
    pub seat_type: Option<String>,
    /// Since when.
    #[schema(format = DateTime)]
    pub since: String,
    /// What for.
    pub wants: String,
}

/// Open requests, oldest first. A member sees the own one only.
#[derive(Debug, Serialize, ToSchema)]
pub struct Requests {
    /// Whether members may ask.
    pub enabled: bool,
    /// The local hour of the daily digest.
    pub digest_hour: u8,
    /// Those open.
    pub requests: Vec<RequestShown>,
}

/// A line of a statement.
#[derive(Debug, Serialize, ToSchema)]
pub struct StatementShown {
    /// Which scope.
    pub scope: String,
    /// Its display name, where one was said.
    pub name: Option<String>,
    /// Every meter by its name.
    pub meters: BTreeMap<String, i64>,
    /// Who paid: the parts sum to the credits.
    pub by_source: BTreeMap<String, i64>,
}

/// What every scope used in a period, by scope.
#[derive(Debug, Serialize, ToSchema)]
pub struct Statements {
    /// When; what comes after it is closed are corrections.
    pub period: PeriodShown,
    /// How credits are named.
    pub unit: UnitShown,
    /// A page of lines.
    pub lines: Vec<StatementShown>,
    /// Where the next page begins.
    pub next_cursor: Option<String>,
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
    /// What the account answers.
    pub answer: Option<String>,
}
