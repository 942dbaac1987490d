//! Lists over the scopes of an organization in a period: workspaces, agents, members, statements; and of organizations. A
//! caller who does not see all of the organization gets what is the own.

use std::sync::Arc;

use axum::{Extension, Json, extract::State};
use utoipa::IntoParams;

use super::{
    Api,
    access::{Caller, Role},
    credits::{AsSeen, plan_lacks_credits, reads_credits},
    figures,
    guard::{Path, Query},
    page::PageQuery,
    problem::Problem,
    reads::{OfOrganization, OfWorkspace, ReadProblems},
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
    /// Sorted by `credits` (default), `runs`, `credits_per_run` or `name`; counts from the largest. Who does not read figures
    /// of credits gets the list by runs.
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

    /// What the list is sorted by; nothing where nobody said. Amounts would be told by their order and by cursors, so who
    /// does not read them sorts by something else.
    fn sort(&self, with_credits: bool) -> Result<Option<Sort>, Problem> {
        let sort = match self.sort.as_deref() {
            None => return Ok((!with_credits).then_some(Sort::Runs)),
            Some("credits") => Sort::Credits,
            Some("runs") => Sort::Runs,
            Some("credits_per_run") => Sort::CreditsPerRun,
            Some("name") => Sort::Name,
            Some(other) => {
                let why = format!("sort is {other:?}; it may be credits, runs, credits_per_run or name");
                return Err(Problem::invalid(why));
            }
        };
        match sort {
            Sort::Credits | Sort::CreditsPerRun if !with_credits => Err(plan_lacks_credits()),
            sort => Ok(Some(sort)),
        }
    }
}

/// What a list is sorted by, before the name.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Sort {
    Credits,
    Runs,
    CreditsPerRun,
    Name,
}

impl Sort {
    fn count(self, counters: &Counters) -> Option<i64> {
        let (credits_micro, runs_completed) = (counters.get(Meter::CreditsMicro), counters.get(Meter::RunsCompleted));
        match self {
            Self::Credits => Some(credits_micro),
            Self::Runs => Some(runs_completed),
            Self::CreditsPerRun => Some(figures::per_run(credits_micro, runs_completed).unwrap_or(0)),
            Self::Name => None,
        }
    }
}

/// An organization in a period, with what each scope counted in it.
struct Listed {
    snapshot: Arc<Snapshot>,
    counted: Arc<Counted>,
    shown: PeriodShown,
    unit: UnitShown,
    period: Window,
    /// Whether the caller reads figures of credits.
    with_credits: bool,
}

impl Listed {
    fn rows(&self) -> impl Iterator<Item = (&Scope, &ScopeRow, Counters)> {
        self.snapshot.rows.iter().zip(&self.counted.of_rows).map(|((scope, row), counters)| (scope, row, *counters))
    }
}

impl Api {
    async fn listed(&self, caller: &Caller, organization_id: &str, query: &ListQuery) -> Result<Listed, Problem> {
        let now = self.clock.now();
        let snapshot = self.snapshots.of(organization_id).await?;
        let period = figures::period_asked(&snapshot.base, query.period.as_deref(), now)?;
        let counted = self.snapshots.counted_in(organization_id, period).await?;
        let snapshot = Arc::clone(&counted.snapshot);
        let (shown, unit) =
            (figures::period_shown(&snapshot.base, period, now), figures::unit(&snapshot.base.settings));
        let with_credits = reads_credits(caller, organization_id, snapshot.base.settings.plan);
        Ok(Listed { counted, snapshot, shown, unit, period, with_credits })
    }

    fn agents_in(
        &self,
        organization_id: &str,
        listed: Listed,
        query: &ListQuery,
        within: Option<&str>,
    ) -> Result<AsSeen<Agents>, Problem> {
        let page = query.page();
        let sort = query.sort(listed.with_credits)?.unwrap_or(Sort::Credits);
        let (agents, next_cursor) = page.choose(|chosen| {
            for place in listed.counted.agents_by_credits() {
                if sort == Sort::Credits && chosen.has_more() {
                    break;
                }
                let (scope, row) = &listed.snapshot.rows[*place as usize];
                let Scope::Agent { workspace, agent } = scope else { continue };
                let counters = &listed.counted.of_rows[*place as usize];
                let (credits_micro, runs_completed) =
                    (counters.get(Meter::CreditsMicro), counters.get(Meter::RunsCompleted));
                let count = sort.count(counters);
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
                chosen.offer((count, agent_sort_key(scope)), || {
                    let paused_for = figures::causes(&listed.snapshot.chain(scope, row));
                    AgentInList {
                        workspace_id: workspace.to_string(),
                        agent_id: agent.to_string(),
                        name,
                        credits_micro,
                        runs_completed,
                        credits_per_run_micro: figures::per_run(credits_micro, runs_completed),
                        status: figures::status(&paused_for),
                        paused_for,
                        created_by: registered.map(|registered| registered.created_by.to_string()),
                        created_at: registered.map(|registered| registered.created_at.to_string()),
                    }
                });
            }
            Ok(())
        })?;
        let answer = Agents { period: listed.shown, unit: listed.unit, agents, next_cursor };
        Ok(AsSeen { answer, with_credits: listed.with_credits })
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
) -> Result<AsSeen<Workspaces>, Problem> {
    let listed = api.listed(&caller, &of.organization_id, &query).await?;
    let plan = listed.snapshot.base.settings.plan;
    // Programs of the platform are bound by no plan.
    let is_console = caller.sees_all_of(&of.organization_id) && !caller.roles.contains(&Role::Service);
    if is_console && plan.is_some_and(|plan| !plan.has(Feature::OrganizationConsole)) {
        let plan = plan.map_or("", |plan| plan.name());
        return Err(Problem::plan_lacks(format!("the plan {plan} has no organization console; ask for one workspace")));
    }
    let (page, now) = (query.page(), api.clock.now());
    let sort = query.sort(listed.with_credits)?.unwrap_or(Sort::Credits);
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
            chosen.offer((sort.count(&counters), workspace.to_string()), || {
                let pool = row.pool.as_deref();
                let paused_for = figures::causes(&listed.snapshot.chain(scope, row));
                WorkspaceInList {
                    workspace_id: workspace.to_string(),
                    name,
                    credits_micro,
                    runs_completed,
                    agents_in_action: counters.get(Meter::ActiveAgents),
                    pool: pool.and_then(|pool| figures::pool(&scope.to_string(), pool, listed.period, now)),
                    status: figures::status(&paused_for),
                    paused_for,
                }
            });
        }
        Ok(())
    })?;
    let answer = Workspaces { period: listed.shown, unit: listed.unit, workspaces, next_cursor };
    Ok(AsSeen { answer, with_credits: listed.with_credits })
}

/// Agents of all workspaces (row A3).
#[utoipa::path(get, path = "/v1/organizations/{organization_id}/agents", params(OfOrganization, ListQuery),
    responses((status = 200, body = Agents), ReadProblems))]
pub async fn agents(
    State(api): State<Arc<Api>>,
    Extension(caller): Extension<Caller>,
    Path(of): Path<OfOrganization>,
    Query(query): Query<ListQuery>,
) -> Result<AsSeen<Agents>, Problem> {
    let listed = api.listed(&caller, &of.organization_id, &query).await?;
    api.agents_in(&of.organization_id, listed, &query, None)
}

/// Agents of a workspace (row A13).
#[utoipa::path(get, path = "/v1/organizations/{organization_id}/workspaces/{workspace_id}/agents",
    params(OfWorkspace, ListQuery), responses((status = 200, body = Agents), ReadProblems))]
pub async fn workspace_agents(
    State(api): State<Arc<Api>>,
    Extension(caller): Extension<Caller>,
    Path(of): Path<OfWorkspace>,
    Query(query): Query<ListQuery>,
) -> Result<AsSeen<Agents>, Problem> {
    let listed = api.listed(&caller, &of.organization_id, &query).await?;
    api.agents_in(&of.organization_id, listed, &query, Some(&of.workspace_id))
}

/// Members with what they spent in the period, extra usage first (row B9).
#[utoipa::path(get, path = "/v1/organizations/{organization_id}/members", params(OfOrganization, ListQuery),
    responses((status = 200, body = Members), ReadProblems))]
pub async fn members(
    State(api): State<Arc<Api>>,
    Extension(caller): Extension<Caller>,
    Path(of): Path<OfOrganization>,
    Query(query): Query<ListQuery>,
) -> Result<AsSeen<Members>, Problem> {
    let listed = api.listed(&caller, &of.organization_id, &query).await?;
    let (page, sort) = (query.page(), query.sort(listed.with_credits)?);
    let (members, next_cursor) = page.choose(|chosen| {
        for (scope, row, counters) in listed.rows() {
            let Scope::User(user) = scope else { continue };
            let extra_credits_micro = counters.get(Meter::ExtraCreditsMicro);
            let count = sort.map_or(Some(extra_credits_micro), |sort| sort.count(&counters));
            if !chosen.may_show(count, &page) {
                continue;
            }
            let name = api.feed.name(&of.organization_id, &scope.to_string());
            if !page.matches(&[Some(user), name.as_deref()]) {
                continue;
            }
            chosen.offer((count, user.to_string()), || {
                let paused_for = figures::causes(&listed.snapshot.chain(scope, row));
                MemberInList {
                    user_id: user.to_string(),
                    name,
                    seat_type: row.seat_type().map(str::to_owned),
                    role: row.member.as_ref().map(|member| member.role.name().to_owned()),
                    credits_micro: counters.get(Meter::CreditsMicro),
                    seat_credits_micro: counters.get(Meter::SeatCreditsMicro),
                    extra_credits_micro,
                    status: figures::status(&paused_for),
                    paused_for,
                }
            });
        }
        Ok(())
    })?;
    let answer = Members { period: listed.shown, unit: listed.unit, members, next_cursor };
    Ok(AsSeen { answer, with_credits: listed.with_credits })
}

/// What every scope used in a period, by meter and source of payment: the statement, once the period is closed.
#[utoipa::path(get, path = "/v1/organizations/{organization_id}/statements", params(OfOrganization, ListQuery),
    responses((status = 200, body = Statements), ReadProblems))]
pub async fn statements(
    State(api): State<Arc<Api>>,
    Extension(caller): Extension<Caller>,
    Path(of): Path<OfOrganization>,
    Query(query): Query<ListQuery>,
) -> Result<AsSeen<Statements>, Problem> {
    let listed = api.listed(&caller, &of.organization_id, &query).await?;
    // By scope, where nobody says otherwise.
    let sort = query.sort(listed.with_credits)?.filter(|_| query.sort.is_some()).unwrap_or(Sort::Name);
    let page = query.page();
    let (lines, next_cursor) = page.choose(|chosen| {
        for (scope, counters) in listed.counted.all.iter().filter(|(_, counters)| *counters != Counters::ZERO) {
            let field = scope.to_string();
            let name = api.feed.name(&of.organization_id, &field);
            if !page.matches(&[Some(&field), name.as_deref()]) {
                continue;
            }
            chosen.offer((sort.count(counters), field.clone()), || {
                let (meters, by_source) = (figures::meters(counters), figures::by_source(counters));
                StatementShown { scope: field, name, meters, by_source }
            });
        }
        Ok(())
    })?;
    let answer = Statements { period: listed.shown, unit: listed.unit, lines, next_cursor };
    Ok(AsSeen { answer, with_credits: listed.with_credits })
}
