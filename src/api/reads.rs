//! What one scope used: summary, cards, what drives it; its series are in `series`.

use std::sync::Arc;

use axum::{Extension, Json, extract::State};
use serde::Deserialize;
use utoipa::{IntoParams, IntoResponses};

use super::{
    Api,
    access::Caller,
    figures,
    guard::{Path, Query},
    problem::Problem,
    series::SeriesQuery,
    shapes::{Breakdown, Cards, EstimateShown, ModelPart, OrganizationShown, Part, Periods, PoolShown, Series, Usage},
    snapshot::no_organization,
};
use crate::{
    domain::{
        account::row::ScopeRow,
        meter::{Counters, Meter},
        scope::{Name, Scope, ScopeKind},
        time::Timestamp,
        window::{Window, WindowKind},
    },
    forecast::DAYS_MAX,
    ledger::redis::reader::Base,
    outlook::figures::{forecast_credits, used_up_at},
};

/// The problems that every read may answer with.
#[derive(IntoResponses)]
#[allow(dead_code, reason = "it is read by the macro that documents routes")]
pub enum ReadProblems {
    /// The request cannot be understood.
    #[response(status = 400, content_type = "application/problem+json")]
    Invalid(Problem),
    /// Who asks is not known.
    #[response(status = 401, content_type = "application/problem+json")]
    Unauthenticated(Problem),
    /// Who asks may not see this, or the plan lacks it.
    #[response(status = 403, content_type = "application/problem+json")]
    Forbidden(Problem),
    /// There is no such account.
    #[response(status = 404, content_type = "application/problem+json")]
    NotFound(Problem),
    /// Too many requests.
    #[response(status = 429, content_type = "application/problem+json")]
    TooOften(Problem),
    /// A dependency is away, or the answer took too long.
    #[response(status = 503, content_type = "application/problem+json")]
    Unavailable(Problem),
}

/// An organization.
#[derive(Deserialize, IntoParams)]
#[into_params(parameter_in = Path)]
pub struct OfOrganization {
    /// Its id.
    pub organization_id: String,
}

/// A workspace.
#[derive(Deserialize, IntoParams)]
#[into_params(parameter_in = Path)]
pub struct OfWorkspace {
    /// The organization.
    pub organization_id: String,
    /// The workspace.
    pub workspace_id: String,
}

/// An agent.
#[derive(Deserialize, IntoParams)]
#[into_params(parameter_in = Path)]
pub struct OfAgent {
    /// The organization.
    pub organization_id: String,
    /// The workspace.
    pub workspace_id: String,
    /// The agent.
    pub agent_id: String,
}

/// A member.
#[derive(Deserialize, IntoParams)]
#[into_params(parameter_in = Path)]
pub struct OfMember {
    /// The organization.
    pub organization_id: String,
    /// The member.
    pub user_id: String,
}

/// Which period.
#[derive(Deserialize, IntoParams)]
#[into_params(parameter_in = Query)]
pub struct PeriodQuery {
    /// `current` (default), `previous`, or any instant (RFC 3339) within the period.
    pub period: Option<String>,
}

/// A scope as it stands: what holds for its organization, its own row, and its workspace's.
pub(super) struct Standing {
    pub(super) base: Base,
    pub(super) scope: Scope,
    row: ScopeRow,
    /// The workspace's row, for an agent.
    workspace: Option<(Scope, ScopeRow)>,
}

impl Api {
    pub(super) async fn standing(&self, organization_id: &str, scope: Scope) -> Result<Standing, Problem> {
        let workspace = match &scope {
            Scope::Agent { workspace, .. } if !workspace.is_empty() => Some(Scope::Workspace(workspace.clone())),
            _ => None,
        };
        let wanted: Vec<Scope> = std::iter::once(scope.clone()).chain(workspace.clone()).collect();
        let read = self.reader.scopes(organization_id, &wanted).await?;
        let (base, mut rows) = read.ok_or_else(|| no_organization(organization_id))?;
        let workspace = workspace.and_then(|scope| Some((scope, rows.pop()??)));
        let own = if scope == Scope::Organization { Some(base.organization.clone()) } else { rows.swap_remove(0) };
        let row =
            own.ok_or_else(|| Problem::not_found(format!("{scope} has used nothing, and nothing was said of it")))?;
        Ok(Standing { base, scope, row, workspace })
    }

    /// What a scope counted in a window, wherever that is kept.
    pub(super) async fn counted(
        &self,
        organization_id: &str,
        standing: &Standing,
        kind: WindowKind,
        starts: &[Timestamp],
    ) -> Result<Vec<Counters>, Problem> {
        let here = starts.iter().map(|start| standing.row.windows.counters_of(kind, *start)).collect::<Vec<_>>();
        let missing = starts.iter().zip(&here).filter(|(_, here)| here.is_none()).map(|(start, _)| (kind, *start));
        let missing: Vec<(WindowKind, Timestamp)> = missing.collect();
        let mut older = self.reader.older(organization_id, &standing.scope, &missing).await?.into_iter();
        Ok(here.into_iter().map(|here| here.or_else(|| older.next()).unwrap_or(Counters::ZERO)).collect())
    }

    async fn usage_of(
        &self,
        caller: &Caller,
        organization_id: &str,
        scope: Scope,
        query: &PeriodQuery,
    ) -> Result<Json<Usage>, Problem> {
        let standing = self.standing(organization_id, scope).await?;
        let (base, now) = (&standing.base, self.clock.now());
        let period = figures::period_asked(base, query.period.as_deref(), now)?;
        let counters = self.counted(organization_id, &standing, WindowKind::Period, &[period.start]).await?[0];
        // The organization's pool is no matter of those who see a part of it only.
        let is_seen =
            |pool: &PoolShown| Scope::parse(&pool.scope).is_ok_and(|of| Self::sees(caller, organization_id, &of));
        let pool = pool_of(&standing, period, now).filter(is_seen);
        let estimate = if period.contains(now) {
            Some(self.estimate(organization_id, &standing, period, &counters, pool.as_ref()).await?)
        } else {
            None
        };
        let (credits_micro, runs_completed) = (counters.get(Meter::CreditsMicro), counters.get(Meter::RunsCompleted));
        let field = standing.scope.to_string();
        Ok(Json(Usage {
            organization_id: organization_id.to_owned(),
            name: self.feed.name(organization_id, &field),
            scope: field,
            period: figures::period_shown(base, period, now),
            unit: figures::unit(&base.settings),
            credits_micro,
            runs_completed,
            credits_per_run_micro: figures::per_run(credits_micro, runs_completed),
            by_source: figures::by_source(&counters),
            meters: figures::meters(&counters),
            pool,
            estimate,
            paused_for: figures::causes(&standing.row),
        }))
    }

    /// Of credits, from the days before.
    async fn estimate(
        &self,
        organization_id: &str,
        standing: &Standing,
        period: Window,
        counters: &Counters,
        pool: Option<&PoolShown>,
    ) -> Result<EstimateShown, Problem> {
        let now = self.clock.now();
        let today = standing.base.window(WindowKind::Day, now);
        let days = standing.base.windows_back(WindowKind::Day, now).take(DAYS_MAX + 1);
        let mut starts: Vec<Timestamp> = days.map(|day| day.start).collect();
        starts.reverse();
        let counted = self.counted(organization_id, standing, WindowKind::Day, &starts).await?;
        let mut days_micro: Vec<i64> = counted.iter().map(|counters| counters.get(Meter::CreditsMicro)).collect();
        let today_micro = days_micro.pop().unwrap_or(0);
        let made = forecast_credits(&days_micro, today_micro, today, period, now);
        let expected = made.on_top_of(counters.get(Meter::CreditsMicro));
        // Only the scope that owns the pool sees all that is drawn from it.
        let owns = pool.filter(|pool| pool.scope == standing.scope.to_string());
        let left = owns.map(|pool| pool.remaining_micro.saturating_add(pool.prepaid_remaining_micro));
        let exhausted_at = left.and_then(|left| used_up_at(&made, left, period, now));
        Ok(EstimateShown {
            at_end_micro: expected.sum,
            low_micro: expected.low,
            high_micro: expected.high,
            exhausted_at: exhausted_at.map(|at| at.to_string()),
            method: made.method.name().to_owned(),
        })
    }

    async fn cards_of(
        &self,
        _: &Caller,
        organization_id: &str,
        scope: Scope,
        query: &PeriodQuery,
    ) -> Result<Json<Cards>, Problem> {
        let standing = self.standing(organization_id, scope).await?;
        let now = self.clock.now();
        let period = figures::period_asked(&standing.base, query.period.as_deref(), now)?;
        let counters = self.counted(organization_id, &standing, WindowKind::Period, &[period.start]).await?[0];
        Ok(Json(Cards {
            agent_builders: counters.get(Meter::Builders),
            agents_in_action: counters.get(Meter::ActiveAgents),
            runs_completed: counters.get(Meter::RunsCompleted),
            period: figures::period_shown(&standing.base, period, now),
        }))
    }

    async fn breakdown_of(
        &self,
        _: &Caller,
        organization_id: &str,
        scope: Scope,
        query: &PeriodQuery,
    ) -> Result<Json<Breakdown>, Problem> {
        let standing = self.standing(organization_id, scope).await?;
        let (base, now) = (&standing.base, self.clock.now());
        let period = figures::period_asked(base, query.period.as_deref(), now)?;
        let of_period = standing.row.parts.iter().filter(|part| part.start == period.start);
        let mut parts: Vec<Part> = of_period
            .map(|part| Part {
                name: name_of(&base.settings.labels, part.label),
                credits_micro: part.credits_micro,
                extra_credits_micro: part.extra_micro,
                runs_completed: part.runs_completed,
                credits_per_run_micro: figures::per_run(part.credits_micro, part.runs_completed),
            })
            .collect();
        parts.sort_by(|a, b| b.credits_micro.cmp(&a.credits_micro).then_with(|| a.name.cmp(&b.name)));
        let models = standing.row.models.iter().filter(|part| part.start == period.start);
        let mut by_model: Vec<ModelPart> = models
            .map(|part| ModelPart {
                name: name_of(&base.settings.models, part.model),
                credits_micro: part.credits_micro,
                input_tokens: part.tokens.input,
                output_tokens: part.tokens.output,
                cache_read_input_tokens: part.tokens.cache_read,
                cache_creation_input_tokens: part.tokens.cache_creation,
            })
            .collect();
        by_model.sort_by(|a, b| b.credits_micro.cmp(&a.credits_micro).then_with(|| a.name.cmp(&b.name)));
        let by_product = matches!(standing.scope.kind(), ScopeKind::Organization | ScopeKind::User);
        let (by_product, by_trigger) = if by_product { (parts, Vec::new()) } else { (Vec::new(), parts) };
        Ok(Json(Breakdown {
            scope: standing.scope.to_string(),
            period: figures::period_shown(base, period, now),
            unit: figures::unit(&base.settings),
            by_product,
            by_trigger,
            by_model,
        }))
    }
}

/// The name of a product, trigger or model.
fn name_of(names: &[Name], number: u8) -> String {
    names.get(usize::from(number)).map_or("other", |name| name).to_owned()
}

/// The pool that pays for a scope: the nearest.
fn pool_of(standing: &Standing, period: Window, now: Timestamp) -> Option<PoolShown> {
    let own = (standing.scope.to_string(), &standing.row);
    let workspace = standing.workspace.as_ref().map(|(scope, row)| (scope.to_string(), row));
    let organization = ("org".to_owned(), &standing.base.organization);
    let nearest = std::iter::once(own).chain(workspace).chain([organization]);
    let mut pools = nearest.filter_map(|(scope, row)| Some((scope, row.pool.as_deref()?)));
    pools.next().and_then(|(scope, pool)| figures::pool(&scope, pool, period, now))
}

fn workspace(of: &OfWorkspace) -> Scope {
    Scope::Workspace(of.workspace_id.as_str().into())
}

fn agent(of: &OfAgent) -> Scope {
    Scope::Agent { workspace: of.workspace_id.as_str().into(), agent: of.agent_id.as_str().into() }
}

fn member(of: &OfMember) -> Scope {
    Scope::User(of.user_id.as_str().into())
}

/// What holds for an organization.
#[utoipa::path(get, path = "/v1/organizations/{organization_id}", params(OfOrganization),
    responses((status = 200, body = OrganizationShown), ReadProblems))]
pub async fn organization(
    State(api): State<Arc<Api>>,
    Path(of): Path<OfOrganization>,
) -> Result<Json<OrganizationShown>, Problem> {
    let Standing { base, .. } = api.standing(&of.organization_id, Scope::Organization).await?;
    let (settings, now) = (&base.settings, api.clock.now());
    let zone = settings.zones.last().copied().unwrap_or_default();
    let payment = settings.payment();
    let seat_types = settings.seat_types.iter().map(|seat| serde_json::json!(seat)).collect();
    Ok(Json(OrganizationShown {
        name: api.feed.name(&of.organization_id, "org"),
        unit: figures::unit(settings),
        time_zone: zone.time_zone.name().to_owned(),
        anchor: zone.anchor.to_string(),
        plan: settings.plan.map(|plan| plan.name().to_owned()),
        mode: payment.mode.name().to_owned(),
        sources: figures::switches(&payment.switches),
        consent_required: payment.consent_required,
        free_until: settings.free_until.map(|until| until.to_string()),
        seat_types,
        period: figures::period_shown(&base, base.window(WindowKind::Period, now), now),
        organization_id: of.organization_id,
    }))
}

/// Its billing periods: the running one and those before it (rows A9, A10).
#[utoipa::path(get, path = "/v1/organizations/{organization_id}/periods", params(OfOrganization),
    responses((status = 200, body = Periods), ReadProblems))]
pub async fn periods(State(api): State<Arc<Api>>, Path(of): Path<OfOrganization>) -> Result<Json<Periods>, Problem> {
    let Standing { base, .. } = api.standing(&of.organization_id, Scope::Organization).await?;
    let now = api.clock.now();
    let periods =
        figures::periods(&base, now).take(api.periods_listed).map(|period| figures::period_shown(&base, period, now));
    Ok(Json(Periods { periods: periods.collect(), organization_id: of.organization_id }))
}

/// Makes the handlers of one kind of scope.
macro_rules! of_scope {
    ($(#[doc = $doc:literal] $name:ident: $path:literal, $of:ty, $query:ty, $scope:expr, $ask:ident -> $answer:ty;)*) => { $(
        #[doc = $doc]
        #[utoipa::path(get, path = $path, params($of, $query), responses((status = 200, body = $answer), ReadProblems))]
        pub async fn $name(
            State(api): State<Arc<Api>>,
            Extension(caller): Extension<Caller>,
            Path(of): Path<$of>,
            Query(query): Query<$query>,
        ) -> Result<Json<$answer>, Problem> {
            let scope: fn(&$of) -> Scope = $scope;
            api.$ask(&caller, &of.organization_id, scope(&of), &query).await
        }
    )* };
}

of_scope! {
    #[doc = "What an organization used in a period."]
    organization_usage: "/v1/organizations/{organization_id}/usage", OfOrganization, PeriodQuery, |_| Scope::Organization, usage_of -> Usage;
    #[doc = "Its usage over time, actual and estimated."]
    organization_series: "/v1/organizations/{organization_id}/series", OfOrganization, SeriesQuery, |_| Scope::Organization, series_of -> Series;
    #[doc = "Builders, agents in action, completed runs."]
    organization_cards: "/v1/organizations/{organization_id}/cards", OfOrganization, PeriodQuery, |_| Scope::Organization, cards_of -> Cards;
    #[doc = "Its usage by product."]
    organization_breakdown: "/v1/organizations/{organization_id}/breakdown", OfOrganization, PeriodQuery, |_| Scope::Organization, breakdown_of -> Breakdown;
    #[doc = "What a workspace used in a period."]
    workspace_usage: "/v1/organizations/{organization_id}/workspaces/{workspace_id}/usage", OfWorkspace, PeriodQuery, workspace, usage_of -> Usage;
    #[doc = "Its usage over time, actual and estimated."]
    workspace_series: "/v1/organizations/{organization_id}/workspaces/{workspace_id}/series", OfWorkspace, SeriesQuery, workspace, series_of -> Series;
    #[doc = "Builders, agents in action, completed runs."]
    workspace_cards: "/v1/organizations/{organization_id}/workspaces/{workspace_id}/cards", OfWorkspace, PeriodQuery, workspace, cards_of -> Cards;
    #[doc = "Its usage by trigger."]
    workspace_breakdown: "/v1/organizations/{organization_id}/workspaces/{workspace_id}/breakdown", OfWorkspace, PeriodQuery, workspace, breakdown_of -> Breakdown;
    #[doc = "What an agent used in a period."]
    agent_usage: "/v1/organizations/{organization_id}/workspaces/{workspace_id}/agents/{agent_id}/usage", OfAgent, PeriodQuery, agent, usage_of -> Usage;
    #[doc = "Its usage over time, actual and estimated."]
    agent_series: "/v1/organizations/{organization_id}/workspaces/{workspace_id}/agents/{agent_id}/series", OfAgent, SeriesQuery, agent, series_of -> Series;
    #[doc = "Its usage by trigger."]
    agent_breakdown: "/v1/organizations/{organization_id}/workspaces/{workspace_id}/agents/{agent_id}/breakdown", OfAgent, PeriodQuery, agent, breakdown_of -> Breakdown;
    #[doc = "What a member used in a period."]
    member_usage: "/v1/organizations/{organization_id}/members/{user_id}/usage", OfMember, PeriodQuery, member, usage_of -> Usage;
    #[doc = "The member's usage over time, actual and estimated."]
    member_series: "/v1/organizations/{organization_id}/members/{user_id}/series", OfMember, SeriesQuery, member, series_of -> Series;
    #[doc = "The member's usage by product."]
    member_breakdown: "/v1/organizations/{organization_id}/members/{user_id}/breakdown", OfMember, PeriodQuery, member, breakdown_of -> Breakdown;
}
