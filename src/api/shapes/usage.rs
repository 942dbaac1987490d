//! What one scope used in a period, and what drives it.

use std::collections::BTreeMap;

use serde::Serialize;
use utoipa::ToSchema;

use super::{CauseShown, PeriodShown, Span, UnitShown};

/// What a pool holds and has left in a period; of one that is over, what held at its end.
#[derive(Clone, Debug, Serialize, ToSchema)]
pub struct PoolShown {
    /// Whose it is: `org` or `ws:WORKSPACE`.
    pub scope: String,
    /// Included in every period.
    #[schema(required = false)]
    pub included_micro: i64,
    /// Included and purchased, as far as it has begun; of what was taken back or has ended, what was spent.
    #[schema(required = false)]
    pub size_micro: i64,
    /// Drawn of that.
    #[schema(required = false)]
    pub drawn_micro: i64,
    /// Left of that.
    #[schema(required = false)]
    pub remaining_micro: i64,
    /// Left of the prepaid balance, which carries over; of the running period only.
    pub prepaid_remaining_micro: Option<i64>,
}

/// What the end of the period will be, if it goes on like this.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, ToSchema)]
pub struct EstimateShown {
    /// Credits used at the end of the period.
    #[schema(required = false)]
    pub at_end_micro: i64,
    /// Meant to be at least this in nine of ten cases; docs/forecast.md has how often it was.
    #[schema(required = false)]
    pub low_micro: i64,
    /// Meant to be at most this in nine of ten cases.
    #[schema(required = false)]
    pub high_micro: i64,
    /// What pool and balance of the scope will have paid by then; none where it has no pool of its own.
    pub drawn_at_end_micro: Option<i64>,
    /// When they will be used up, if that is before the reset, by what they pay alone; never in the free phase.
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
    #[schema(required = false)]
    pub credits_micro: i64,
    /// Completed runs.
    pub runs_completed: i64,
    /// Credits per completed run, rounded down; none without runs.
    pub credits_per_run_micro: Option<i64>,
    /// Who paid: the parts sum to the credits.
    pub by_source: BTreeMap<String, i64>,
    /// Every meter by its name.
    pub meters: BTreeMap<String, i64>,
    /// Tokens for which no price was known; they are counted among the others as well.
    pub unpriced_tokens: i64,
    /// Whether no rate card of the organization holds now: usage counts and has no price, and no credits.
    pub is_unpriced: bool,
    /// The pool that pays here, if there is one; of a period that is over, the one that held at its end.
    pub pool: Option<PoolShown>,
    /// For the running period.
    pub estimate: Option<EstimateShown>,
    /// `running` or `paused`: by the scope itself, its workspace and the organization.
    pub status: String,
    /// Why it does not run, and whose cause that is; empty while it runs.
    pub paused_for: Vec<CauseShown>,
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
    /// Agents that were in action: a run of theirs was started, completed, failed or cancelled.
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
    #[schema(required = false)]
    pub credits_micro: i64,
    /// The part of them that prepaid and postpaid paid.
    #[schema(required = false)]
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
    #[schema(required = false)]
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
