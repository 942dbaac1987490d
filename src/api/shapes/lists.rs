//! Scopes in lists over a period.

use std::collections::BTreeMap;

use serde::Serialize;
use utoipa::ToSchema;

use super::{CauseShown, PeriodShown, PoolShown, UnitShown};

/// A workspace in a list (rows A5, A17).
#[derive(Debug, Serialize, ToSchema)]
pub struct WorkspaceInList {
    /// Its id.
    pub workspace_id: String,
    /// Its display name, where one was said.
    pub name: Option<String>,
    /// Credits used in the period.
    #[schema(required = false)]
    pub credits_micro: i64,
    /// Completed runs in the period.
    pub runs_completed: i64,
    /// Agents that were in action in the period.
    pub agents_in_action: i64,
    /// Its own pool, where it has one.
    pub pool: Option<PoolShown>,
    /// `running` or `paused`, by the workspace itself, or the organization.
    pub status: String,
    /// Why, and whose cause that is.
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
    #[schema(required = false)]
    pub credits_micro: i64,
    /// Completed runs in the period.
    pub runs_completed: i64,
    /// Credits per completed run, rounded down; none without runs.
    pub credits_per_run_micro: Option<i64>,
    /// `running` or `paused`, by the agent itself, its workspace, or the organization.
    pub status: String,
    /// Why, and whose cause that is.
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
    #[schema(required = false)]
    pub credits_micro: i64,
    /// Paid by the seat.
    #[schema(required = false)]
    pub seat_credits_micro: i64,
    /// Extra usage: paid by prepaid and postpaid.
    #[schema(required = false)]
    pub extra_credits_micro: i64,
    /// `running` or `paused`, by the member, or the organization.
    pub status: String,
    /// Why, and whose cause that is.
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
