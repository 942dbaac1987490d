//! Lists over the scopes of an organization: workspaces, agents, members, limits, pauses, grants, overshoot, requests,
//! statements. A caller who does not see all of the organization gets what is the own.

use std::{collections::HashMap, sync::Arc};

use axum::{Extension, Json, extract::State};
use serde_json::{Map, Value as Json_};
use utoipa::IntoParams;

use super::{
    Api,
    access::{Caller, Role},
    figures,
    guard::{Path, Query},
    page::{PageQuery, SortKey},
    problem::Problem,
    reads::{OfOrganization, OfWorkspace, PeriodQuery, ReadProblems},
    shapes::{
        AgentInList, Agents, GrantShown, Grants, LimitShown, Limits, MemberInList, Members, OrganizationInList,
        Organizations, OvershootShown, Overshoots, PausedScope, Pauses, PeriodShown, RequestShown, Requests,
        StatementShown, Statements, UnitShown, WorkspaceInList, Workspaces,
    },
    snapshot::Snapshot,
};
use crate::domain::{
    account::row::ScopeRow,
    limit::{Action, Limit},
    meter::{Counters, Meter},
    organization::Feature,
    payment::{Source, Switches},
    scope::Scope,
    window::{Window, WindowKind},
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

    fn key(&self, name: &str, credits_micro: i64, runs_completed: i64) -> Result<SortKey, Problem> {
        let count = match self.sort.as_deref() {
            None | Some("credits") => Some(credits_micro),
            Some("runs") => Some(runs_completed),
            Some("credits_per_run") => Some(figures::per_run(credits_micro, runs_completed).unwrap_or(0)),
            Some("name") => None,
            Some(other) => {
                let why = format!("sort is {other:?}; it may be credits, runs, credits_per_run or name");
                return Err(Problem::invalid(why));
            }
        };
        Ok((count, name.to_owned()))
    }
}

/// An organization in a period, with what each scope counted in it.
struct Listed {
    snapshot: Arc<Snapshot>,
    counted: HashMap<Scope, Counters>,
    shown: PeriodShown,
    unit: UnitShown,
    period: Window,
}

impl Listed {
    fn rows(&self) -> impl Iterator<Item = (&Scope, &ScopeRow, Counters)> {
        self.snapshot
            .rows
            .iter()
            .map(|(scope, row)| (scope, row, self.counted.get(scope).copied().unwrap_or(Counters::ZERO)))
    }
}

impl Api {
    async fn listed(&self, organization_id: &str, query: &PeriodQuery) -> Result<Listed, Problem> {
        let now = self.clock.now();
        let snapshot = self.snapshots.of(organization_id).await?;
        let period = figures::period_asked(&snapshot.base, query.period.as_deref(), now)?;
        let (snapshot, counted) = self.snapshots.counted_in(organization_id, period).await?;
        let (shown, unit) =
            (figures::period_shown(&snapshot.base, period, now), figures::unit(&snapshot.base.settings));
        Ok(Listed { counted: counted.into_iter().collect(), snapshot, shown, unit, period })
    }

    fn agents_in(
        &self,
        organization_id: &str,
        listed: Listed,
        query: &ListQuery,
        within: Option<&str>,
    ) -> Result<Json<Agents>, Problem> {
        let (page, mut agents) = (query.page(), Vec::new());
        for (scope, row, counters) in listed.rows() {
            let Scope::Agent { workspace, agent } = scope else { continue };
            let name = self.feed.name(organization_id, &scope.to_string());
            let is_within = within.is_none_or(|within| within == &**workspace);
            if !is_within || !page.matches(&[Some(agent), name.as_deref()]) {
                continue;
            }
            let (credits_micro, runs_completed) =
                (counters.get(Meter::CreditsMicro), counters.get(Meter::RunsCompleted));
            let key = query.key(&format!("{agent} {scope}"), credits_micro, runs_completed)?;
            let registered = row.registered.as_deref();
            agents.push((
                key,
                AgentInList {
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
                },
            ));
        }
        let (agents, next_cursor) = page.take(agents)?;
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
    fn seen<'a>(
        caller: &'a Caller,
        organization_id: &'a str,
        snapshot: &'a Snapshot,
    ) -> impl Iterator<Item = (&'a Scope, &'a ScopeRow)> {
        let own = std::iter::once((&Scope::Organization, &snapshot.base.organization));
        let all = own.chain(snapshot.rows.iter().map(|(scope, row)| (scope, row)));
        all.filter(move |(scope, _)| Self::sees(caller, organization_id, scope))
    }
}

/// Which sources were switched.
pub fn switches(switches: &Switches) -> Json_ {
    let switched = Source::ALL.into_iter().filter_map(|source| Some((source, switches.get(source)?)));
    Json_::Object(switched.map(|(source, on)| (source.name().to_owned(), on.into())).collect::<Map<_, _>>())
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
    let shown = names.into_iter().map(|organization_id| {
        let name = api.feed.name(&organization_id, "org");
        OrganizationInList { organization_id, name }
    });
    let shown = shown.filter(|shown| page.matches(&[Some(&shown.organization_id), shown.name.as_deref()]));
    let keyed = shown.map(|shown| ((None, shown.organization_id.clone()), shown)).collect();
    let (organizations, next_cursor) = page.take(keyed)?;
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
    let (page, now, mut workspaces) = (query.page(), api.clock.now(), Vec::new());
    for (scope, row, counters) in listed.rows() {
        let Scope::Workspace(workspace) = scope else { continue };
        let name = api.feed.name(&of.organization_id, &scope.to_string());
        let is_seen = Api::sees(&caller, &of.organization_id, scope);
        if !is_seen || !page.matches(&[Some(workspace), name.as_deref()]) {
            continue;
        }
        let (credits_micro, runs_completed) = (counters.get(Meter::CreditsMicro), counters.get(Meter::RunsCompleted));
        workspaces.push((
            query.key(workspace, credits_micro, runs_completed)?,
            WorkspaceInList {
                workspace_id: workspace.to_string(),
                name,
                credits_micro,
                runs_completed,
                agents_in_action: counters.get(Meter::ActiveAgents),
                pool: row.pool.as_deref().and_then(|pool| figures::pool(&scope.to_string(), pool, listed.period, now)),
                status: figures::status(row),
                paused_for: figures::causes(row),
            },
        ));
    }
    let (workspaces, next_cursor) = page.take(workspaces)?;
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
    let (page, mut members) = (query.page(), Vec::new());
    for (scope, row, counters) in listed.rows() {
        let Scope::User(user) = scope else { continue };
        let name = api.feed.name(&of.organization_id, &scope.to_string());
        if !page.matches(&[Some(user), name.as_deref()]) {
            continue;
        }
        let extra_credits_micro = counters.get(Meter::ExtraCreditsMicro);
        let key = match query.sort.as_deref() {
            None => (Some(extra_credits_micro), user.to_string()),
            Some(_) => query.key(user, counters.get(Meter::CreditsMicro), counters.get(Meter::RunsCompleted))?,
        };
        members.push((
            key,
            MemberInList {
                user_id: user.to_string(),
                name,
                seat_type: row.seat_type().map(str::to_owned),
                role: row.member.as_ref().map(|member| member.role.name().to_owned()),
                credits_micro: counters.get(Meter::CreditsMicro),
                seat_credits_micro: counters.get(Meter::SeatCreditsMicro),
                extra_credits_micro,
                status: figures::status(row),
                paused_for: figures::causes(row),
            },
        ));
    }
    let (members, next_cursor) = page.take(members)?;
    Ok(Json(Members { period: listed.shown, unit: listed.unit, members, next_cursor }))
}

/// Limits of scopes that the caller sees, with how far they are used; rules for many once for each scope that they hold for.
#[utoipa::path(get, path = "/v1/organizations/{organization_id}/limits", params(OfOrganization, PageQuery),
    responses((status = 200, body = Limits), ReadProblems))]
pub async fn limits(
    State(api): State<Arc<Api>>,
    Extension(caller): Extension<Caller>,
    Path(of): Path<OfOrganization>,
    Query(page): Query<PageQuery>,
) -> Result<Json<Limits>, Problem> {
    let (snapshot, now) = (api.snapshots.of(&of.organization_id).await?, api.clock.now());
    let mut limits = Vec::new();
    for (scope, row) in Api::seen(&caller, &of.organization_id, &snapshot) {
        let field = scope.to_string();
        let own = row.limits.iter().map(|limit| (field.clone(), limit));
        let rules = snapshot.base.settings.rules_with_selectors(scope.kind(), row.seat_type());
        for (set_on, limit) in own.chain(rules.map(|(selector, limit)| (selector.describe(), limit))) {
            if page.matches(&[Some(&field), Some(&limit.id)]) {
                let window = match limit.window {
                    WindowKind::Session => row.windows.session(now),
                    kind => figures::window(&snapshot.base, kind, now),
                };
                let used = row.windows.count_of(limit.window, window.start, limit.meter).unwrap_or(0);
                let shown = limit_shown(&field, set_on, limit, used);
                limits.push(((shown.used_permille, format!("{field} {} {}", limit.id, shown.set_on)), shown));
            }
        }
    }
    let (limits, next_cursor) = page.take(limits)?;
    Ok(Json(Limits { limits, next_cursor }))
}

fn limit_shown(scope: &str, set_on: String, limit: &Limit, used: i64) -> LimitShown {
    let permille = |cap: i64| (i128::from(used) * 1_000).checked_div(i128::from(cap));
    let action = match limit.action {
        Action::Observe => "observe",
        Action::Notify => "notify",
        Action::Pause => "pause",
    };
    LimitShown {
        scope: scope.to_owned(),
        set_on,
        limit_id: limit.id.to_string(),
        meter: limit.meter.name().to_owned(),
        window: limit.window.name().to_owned(),
        cap: limit.cap,
        used,
        used_permille: limit.cap.and_then(permille).map(|permille| i64::try_from(permille).unwrap_or(i64::MAX)),
        action: action.to_owned(),
        thresholds_percent: limit.thresholds_percent.clone(),
        revision: limit.revision,
    }
}

/// What is paused now, and why, as far as the caller sees it.
#[utoipa::path(get, path = "/v1/organizations/{organization_id}/pauses", params(OfOrganization, PageQuery),
    responses((status = 200, body = Pauses), ReadProblems))]
pub async fn pauses(
    State(api): State<Arc<Api>>,
    Extension(caller): Extension<Caller>,
    Path(of): Path<OfOrganization>,
    Query(page): Query<PageQuery>,
) -> Result<Json<Pauses>, Problem> {
    let snapshot = api.snapshots.of(&of.organization_id).await?;
    let seen = Api::seen(&caller, &of.organization_id, &snapshot);
    let paused = seen.filter(|(_, row)| !row.pauses.causes.is_empty()).filter_map(|(scope, row)| {
        let field = scope.to_string();
        let name = api.feed.name(&of.organization_id, &field);
        let shown = PausedScope { causes: figures::causes(row), generation: row.pauses.generation, scope: field, name };
        page.matches(&[Some(&shown.scope), shown.name.as_deref()]).then(|| ((None, shown.scope.clone()), shown))
    });
    let (paused, next_cursor) = page.take(paused.collect())?;
    Ok(Json(Pauses { paused, next_cursor }))
}

/// Pools that the caller sees, and what is left of each grant.
#[utoipa::path(get, path = "/v1/organizations/{organization_id}/grants", params(OfOrganization, PageQuery),
    responses((status = 200, body = Grants), ReadProblems))]
pub async fn grants(
    State(api): State<Arc<Api>>,
    Extension(caller): Extension<Caller>,
    Path(of): Path<OfOrganization>,
    Query(page): Query<PageQuery>,
) -> Result<Json<Grants>, Problem> {
    let (snapshot, now) = (api.snapshots.of(&of.organization_id).await?, api.clock.now());
    let period = figures::window(&snapshot.base, WindowKind::Period, now);
    let (mut pools, mut grants) = (Vec::new(), Vec::new());
    for (scope, row) in Api::seen(&caller, &of.organization_id, &snapshot) {
        let Some(pool) = row.pool.as_deref() else { continue };
        let scope = scope.to_string();
        pools.extend(figures::pool(&scope, pool, period, now));
        for grant in pool.grants.iter().filter(|grant| page.matches(&[Some(&grant.id), Some(&scope)])) {
            grants.push((
                (None, format!("{scope} {}", grant.id)),
                GrantShown {
                    scope: scope.clone(),
                    grant_id: grant.id.to_string(),
                    kind: grant.kind.name().to_owned(),
                    amount_micro: grant.amount_micro,
                    spent_micro: grant.spent_micro,
                    voided_micro: grant.voided_micro,
                    left_micro: grant.left_micro(),
                    expires_at: grant.expires_at.map(|at| at.to_string()),
                },
            ));
        }
    }
    let (grants, next_cursor) = page.take(grants)?;
    Ok(Json(Grants { unit: figures::unit(&snapshot.base.settings), pools, grants, next_cursor }))
}

/// What nothing covered, per limit, as far as the caller sees it (row C4).
#[utoipa::path(get, path = "/v1/organizations/{organization_id}/overshoot", params(OfOrganization, PageQuery),
    responses((status = 200, body = Overshoots), ReadProblems))]
pub async fn overshoot(
    State(api): State<Arc<Api>>,
    Extension(caller): Extension<Caller>,
    Path(of): Path<OfOrganization>,
    Query(page): Query<PageQuery>,
) -> Result<Json<Overshoots>, Problem> {
    let snapshot = api.snapshots.of(&of.organization_id).await?;
    let mut all = Vec::new();
    for (scope, row) in Api::seen(&caller, &of.organization_id, &snapshot) {
        let scope = scope.to_string();
        for overshoot in row.overshoots.iter().filter(|_| page.matches(&[Some(&scope)])) {
            let (kind, window_start) = (overshoot.kind.name().to_owned(), overshoot.window_start.to_string());
            let key = format!("{scope} {kind} {} {window_start}", overshoot.limit_id);
            all.push((
                (Some(overshoot.amount_micro), key),
                OvershootShown {
                    scope: scope.clone(),
                    kind,
                    limit_id: (!overshoot.limit_id.is_empty()).then(|| overshoot.limit_id.to_string()),
                    window_start,
                    amount_micro: overshoot.amount_micro,
                },
            ));
        }
    }
    let (overshoot, next_cursor) = page.take(all)?;
    Ok(Json(Overshoots { unit: figures::unit(&snapshot.base.settings), overshoot, next_cursor }))
}

/// Open requests of members, oldest first; a member sees the own one (row B10).
#[utoipa::path(get, path = "/v1/organizations/{organization_id}/requests", params(OfOrganization),
    responses((status = 200, body = Requests), ReadProblems))]
pub async fn requests(
    State(api): State<Arc<Api>>,
    Extension(caller): Extension<Caller>,
    Path(of): Path<OfOrganization>,
) -> Result<Json<Requests>, Problem> {
    let base = api.reader.base(&of.organization_id).await?;
    let base = base.ok_or_else(|| super::snapshot::no_organization(&of.organization_id))?;
    let asked = &base.settings.requests;
    let seen = asked.open.iter().filter(|open| caller.sees_member(&of.organization_id, &open.user_id));
    let requests = seen.map(|open| RequestShown {
        request_id: open.id.to_string(),
        user_id: open.user_id.to_string(),
        name: api.feed.name(&of.organization_id, &format!("user:{}", open.user_id)),
        seat_type: open.seat_type.as_ref().map(ToString::to_string),
        since: open.since.to_string(),
        wants: open.wants.describe(),
    });
    Ok(Json(Requests { enabled: asked.enabled, digest_hour: asked.digest_hour, requests: requests.collect() }))
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
    let (page, mut lines) = (query.page(), Vec::new());
    for (scope, counters) in listed.counted.iter().filter(|(_, counters)| **counters != Counters::ZERO) {
        let field = scope.to_string();
        let name = api.feed.name(&of.organization_id, &field);
        if !page.matches(&[Some(&field), name.as_deref()]) {
            continue;
        }
        let key = match query.sort.as_deref() {
            None => (None, field.clone()),
            Some(_) => query.key(&field, counters.get(Meter::CreditsMicro), counters.get(Meter::RunsCompleted))?,
        };
        let (meters, by_source) = (figures::meters(counters), figures::by_source(counters));
        lines.push((key, StatementShown { scope: field, name, meters, by_source }));
    }
    let (lines, next_cursor) = page.take(lines)?;
    Ok(Json(Statements { period: listed.shown, unit: listed.unit, lines, next_cursor }))
}
