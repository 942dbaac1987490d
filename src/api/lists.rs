//! Lists over the scopes of an organization in a period: workspaces, agents, members, statements; and of organizations. A
//! caller who does not see all of the organization gets what is the own.

use std::sync::Arc;

use axum::{Extension, Json, extract::State};
use utoipa::IntoParams;

use super::{
    Api,
    access::{Caller, Role},
    figures,
    guard::{Path, Query},
    page::PageQuery,
    problem::Problem,
    reads::{OfOrganization, OfWorkspace, PeriodQuery, ReadProblems},
    shapes::{
        AgentInList, Agents, MemberInList, Members, OrganizationInList, Organizations, PeriodShown, StatementShown,
        Statements, UnitShown, WorkspaceInList, Workspaces,
    },
    snapshot::{Counted, Snapshot, agent_sort_key},
};
use crate::domain::{
    account::row::ScopeRow,
    meter::{Counters, Meter},
    organization::Feature,
    scope::Scope,
    window::Window,
};

/// Which page of a list over a period.
#[derive(serde::Deserialize, IntoParams)]
#[into_params(parameter_in = Query)]
pub struct ListQuery {
    /// `current` (default), `previous`, or any instant (RFC 3339) within the period.
    pub period: Option<String>,
    /// Sorted by `credits` (default), `runs`, `credits_per_run` or `name`; counts from the largest.
    pub sort: Option<String>,
    /// Where the last page ended (`next_cursor`).
    pub cursor: Option<String>,
    /// Items per page.
    #[param(minimum = 1, maximum = 1000, default = 50)]
    pub limit: Option<usize>,
    /// Only items whose id or name contains this text, in any case.
    #[param(max_length = 200)]
    pub search: Option<String>,
}

impl ListQuery {
    fn page(&self) -> PageQuery {
        PageQuery { cursor: self.cursor.clone(), limit: self.limit, search: self.search.clone() }
    }

    fn is_by_credits(&self) -> bool {
        matches!(self.sort.as_deref(), None | Some("credits"))
    }

    /// What an item is sorted by, before its name.
    fn count(&self, credits_micro: i64, runs_completed: i64) -> Result<Option<i64>, Problem> {
        Ok(match self.sort.as_deref() {
            None | Some("credits") => Some(credits_micro),
            Some("runs") => Some(runs_completed),
            Some("credits_per_run") => Some(figures::per_run(credits_micro, runs_completed).unwrap_or(0)),
            Some("name") => None,
            Some(other) => {
                let why = format!("sort is {other:?}; it may be credits, runs, credits_per_run or name");
                return Err(Problem::invalid(why));
            }
        })
    }
}

/// An organization in a period, with what each scope counted in it.
struct Listed {
    snapshot: Arc<Snapshot>,
    counted: Arc<Counted>,
    shown: PeriodShown,
    unit: UnitShown,
    period: Window,
}

impl Listed {
    fn rows(&self) -> impl Iterator<Item = (&Scope, &ScopeRow, Counters)> {
        self.snapshot.rows.iter().zip(&self.counted.of_rows).map(|((scope, row), counters)| (scope, row, *counters))
    }
}

impl Api {
    async fn listed(&self, organization_id: &str, query: &PeriodQuery) -> Result<Listed, Problem> {
        let now = self.clock.now();
        let snapshot = self.snapshots.of(organization_id).await?;
        let period = figures::period_asked(&snapshot.base, query.period.as_deref(), now)?;
        let counted = self.snapshots.counted_in(organization_id, period).await?;
        let snapshot = Arc::clone(&counted.snapshot);
        let (shown, unit) =
            (figures::period_shown(&snapshot.base, period, now), figures::unit(&snapshot.base.settings));
        Ok(Listed { counted, snapshot, shown, unit, period })
    }

    fn agents_in(
        &self,
        organization_id: &str,
        listed: Listed,
        query: &ListQuery,
        within: Option<&str>,
    ) -> Result<Json<Agents>, Problem> {
        let page = query.page();
        let (agents, next_cursor) = page.choose(|chosen| {
            for place in listed.counted.agents_by_credits() {
                if query.is_by_credits() && chosen.has_more() {
                    break;
                }
                let (scope, row) = &listed.snapshot.rows[*place as usize];
                let Scope::Agent { workspace, agent } = scope else { continue };
                let counters = &listed.counted.of_rows[*place as usize];
                let (credits_micro, runs_completed) =
                    (counters.get(Meter::CreditsMicro), counters.get(Meter::RunsCompleted));
                let count = query.count(credits_micro, runs_completed)?;
                if within.is_some_and(|within| within != &**workspace) {
                    continue;
                }
                if !chosen.may_show(count, &page) {
                    continue;
                }
                let field = scope.to_string();
                let name = self.feed.name(organization_id, &field);
                if !page.matches(&[Some(agent), name.as_deref()]) {
                    continue;
                }
                let registered = row.registered.as_deref();
                chosen.offer((count, agent_sort_key(scope)), || AgentInList {
                    workspace_id: workspace.to_string(),
                    agent_id: agent.to_string(),
                    name,
                    credits_micro,
                    runs_completed,
                    credits_per_run_micro: figures::per_run(credits_micro, runs_completed),
                    status: figures::status(row),
                    paused_for: figures::causes(row),
                    created_by: registered.map(|registered| registered.created_by.to_string()),
                    created_at: registered.map(|registered| registered.created_at.to_string()),
                });
            }
            Ok(())
        })?;
        Ok(Json(Agents { period: listed.shown, unit: listed.unit, agents, next_cursor }))
    }

    /// Whether the caller sees what is kept of a scope.
    pub(super) fn sees(caller: &Caller, organization_id: &str, scope: &Scope) -> bool {
        match scope {
            Scope::Organization => caller.sees_all_of(organization_id),
            Scope::Workspace(workspace) | Scope::Agent { workspace, .. } => {
                caller.sees_workspace(organization_id, workspace)
            }
            Scope::User(user) => caller.sees_member(organization_id, user),
        }
    }

    /// Every scope that the caller sees, with its row; the organization first.
    pub(super) fn seen<'a>(
        caller: &'a Caller,
        organization_id: &'a str,
        snapshot: &'a Snapshot,
    ) -> impl Iterator<Item = (&'a Scope, &'a ScopeRow)> {
        snapshot.all().filter(move |(scope, _)| Self::sees(caller, organization_id, scope))
    }
}

/// Organizations in which the caller has a role.
#[utoipa::path(get, path = "/v1/organizations", params(PageQuery),
    responses((status = 200, body = Organizations), ReadProblems))]
pub async fn organizations(
    State(api): State<Arc<Api>>,
    Extension(caller): Extension<Caller>,
    Query(page): Query<PageQuery>,
) -> Result<Json<Organizations>, Problem> {
    let names = match caller.organizations() {
        Some(names) => names,
        None => api.reader.organizations().await?,
    };
    let (organizations, next_cursor) = page.choose(|chosen| {
        for organization_id in names {
            let name = api.feed.name(&organization_id, "org");
            if page.matches(&[Some(&organization_id), name.as_deref()]) {
                chosen.offer((None, organization_id.clone()), || OrganizationInList { organization_id, name });
            }
        }
        Ok(())
    })?;
    Ok(Json(Organizations { organizations, next_cursor }))
}

/// Workspaces that the caller sees (rows A5, A17).
#[utoipa::path(get, path = "/v1/organizations/{organization_id}/workspaces", params(OfOrganization, ListQuery),
    responses((status = 200, body = Workspaces), ReadProblems))]
pub async fn workspaces(
    State(api): State<Arc<Api>>,
    Extension(caller): Extension<Caller>,
    Path(of): Path<OfOrganization>,
    Query(query): Query<ListQuery>,
) -> Result<Json<Workspaces>, Problem> {
    let listed = api.listed(&of.organization_id, &PeriodQuery { period: query.period.clone() }).await?;
    let plan = listed.snapshot.base.settings.plan;
    // Programs of the platform are bound by no plan.
    let is_console = caller.sees_all_of(&of.organization_id) && !caller.roles.contains(&Role::Service);
    if is_console && plan.is_some_and(|plan| !plan.has(Feature::OrganizationConsole)) {
        let plan = plan.map_or("", |plan| plan.name());
        return Err(Problem::plan_lacks(format!("the plan {plan} has no organization console; ask for one workspace")));
    }
    let (page, now) = (query.page(), api.clock.now());
    let (workspaces, next_cursor) = page.choose(|chosen| {
        for (scope, row, counters) in listed.rows() {
            let Scope::Workspace(workspace) = scope else { continue };
            let name = api.feed.name(&of.organization_id, &scope.to_string());
            let is_seen = Api::sees(&caller, &of.organization_id, scope);
            if !is_seen || !page.matches(&[Some(workspace), name.as_deref()]) {
                continue;
            }
            let (credits_micro, runs_completed) =
                (counters.get(Meter::CreditsMicro), counters.get(Meter::RunsCompleted));
            let key = (query.count(credits_micro, runs_completed)?, workspace.to_string());
            chosen.offer(key, || WorkspaceInList {
                workspace_id: workspace.to_string(),
                name,
                credits_micro,
                runs_completed,
                agents_in_action: counters.get(Meter::ActiveAgents),
                pool: row.pool.as_deref().and_then(|pool| figures::pool(&scope.to_string(), pool, listed.period, now)),
                status: figures::status(row),
                paused_for: figures::causes(row),
            });
        }
        Ok(())
    })?;
    Ok(Json(Workspaces { period: listed.shown, unit: listed.unit, workspaces, next_cursor }))
}

/// Agents of all workspaces (row A3).
#[utoipa::path(get, path = "/v1/organizations/{organization_id}/agents", params(OfOrganization, ListQuery),
    responses((status = 200, body = Agents), ReadProblems))]
pub async fn agents(
    State(api): State<Arc<Api>>,
    Path(of): Path<OfOrganization>,
    Query(query): Query<ListQuery>,
) -> Result<Json<Agents>, Problem> {
    let listed = api.listed(&of.organization_id, &PeriodQuery { period: query.period.clone() }).await?;
    api.agents_in(&of.organization_id, listed, &query, None)
}

/// Agents of a workspace (row A13).
#[utoipa::path(get, path = "/v1/organizations/{organization_id}/workspaces/{workspace_id}/agents",
    params(OfWorkspace, ListQuery), responses((status = 200, body = Agents), ReadProblems))]
pub async fn workspace_agents(
    State(api): State<Arc<Api>>,
    Path(of): Path<OfWorkspace>,
    Query(query): Query<ListQuery>,
) -> Result<Json<Agents>, Problem> {
    let listed = api.listed(&of.organization_id, &PeriodQuery { period: query.period.clone() }).await?;
    api.agents_in(&of.organization_id, listed, &query, Some(&of.workspace_id))
}

/// Members with what they spent in the period, extra usage first (row B9).
#[utoipa::path(get, path = "/v1/organizations/{organization_id}/members", params(OfOrganization, ListQuery),
    responses((status = 200, body = Members), ReadProblems))]
pub async fn members(
    State(api): State<Arc<Api>>,
    Path(of): Path<OfOrganization>,
    Query(query): Query<ListQuery>,
) -> Result<Json<Members>, Problem> {
    let listed = api.listed(&of.organization_id, &PeriodQuery { period: query.period.clone() }).await?;
    let page = query.page();
    let (members, next_cursor) = page.choose(|chosen| {
        for (scope, row, counters) in listed.rows() {
            let Scope::User(user) = scope else { continue };
            let extra_credits_micro = counters.get(Meter::ExtraCreditsMicro);
            let count = match query.sort.as_deref() {
                None => Some(extra_credits_micro),
                Some(_) => query.count(counters.get(Meter::CreditsMicro), counters.get(Meter::RunsCompleted))?,
            };
            if !chosen.may_show(count, &page) {
                continue;
            }
            let name = api.feed.name(&of.organization_id, &scope.to_string());
            if !page.matches(&[Some(user), name.as_deref()]) {
                continue;
            }
            let key = (count, user.to_string());
            chosen.offer(key, || MemberInList {
                user_id: user.to_string(),
                name,
                seat_type: row.seat_type().map(str::to_owned),
                role: row.member.as_ref().map(|member| member.role.name().to_owned()),
                credits_micro: counters.get(Meter::CreditsMicro),
                seat_credits_micro: counters.get(Meter::SeatCreditsMicro),
                extra_credits_micro,
                status: figures::status(row),
                paused_for: figures::causes(row),
            });
        }
        Ok(())
    })?;
    Ok(Json(Members { period: listed.shown, unit: listed.unit, members, next_cursor }))
}

/// What every scope used in a period, by meter and source of payment: the statement, once the period is closed.
#[utoipa::path(get, path = "/v1/organizations/{organization_id}/statements", params(OfOrganization, ListQuery),
    responses((status = 200, body = Statements), ReadProblems))]
pub async fn statements(
    State(api): State<Arc<Api>>,
    Path(of): Path<OfOrganization>,
    Query(query): Query<ListQuery>,
) -> Result<Json<Statements>, Problem> {
    let listed = api.listed(&of.organization_id, &PeriodQuery { period: query.period.clone() }).await?;
    let page = query.page();
    let (lines, next_cursor) = page.choose(|chosen| {
        for (scope, counters) in listed.counted.all.iter().filter(|(_, counters)| *counters != Counters::ZERO) {
            let field = scope.to_string();
            let name = api.feed.name(&of.organization_id, &field);
            if !page.matches(&[Some(&field), name.as_deref()]) {
                continue;
            }
            let key = match query.sort.as_deref() {
                None => (None, field.clone()),
                Some(_) => {
                    (query.count(counters.get(Meter::CreditsMicro), counters.get(Meter::RunsCompleted))?, field.clone())
                }
            };
            chosen.offer(key, || {
                let (meters, by_source) = (figures::meters(counters), figures::by_source(counters));
                StatementShown { scope: field, name, meters, by_source }
            });
        }
        Ok(())
    })?;
    Ok(Json(Statements { period: listed.shown, unit: listed.unit, lines, next_cursor }))
}
