//! What one scope used: summary, cards, what drives it; its series are in `series`.

use std::sync::Arc;

use axum::{Extension, Json, extract::State};
use serde::Deserialize;
use utoipa::{IntoParams, IntoResponses};

use super::{
    Api,
    access::Caller,
    credits::{AsSeen, reads_credits},
    figures,
    guard::{Path, Query},
    problem::Problem,
    series::SeriesQuery,
    shapes::{Breakdown, Cards, OrganizationShown, Periods, PoolShown, Series, Usage},
    standing::Standing,
};
use crate::domain::{
    meter::Meter,
    scope::{Scope, ScopeKind},
    window::WindowKind,
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

impl Api {
    async fn usage_of(
        &self,
        caller: &Caller,
        organization_id: &str,
        scope: Scope,
        query: &PeriodQuery,
    ) -> Result<AsSeen<Usage>, Problem> {
        let standing = self.standing(organization_id, scope).await?;
        let (base, now) = (&standing.base, self.clock.now());
        let period = figures::period_asked(base, query.period.as_deref(), now)?;
        let counters = self.counted(organization_id, &standing, WindowKind::Period, &[period.start]).await?[0];
        let with_credits = reads_credits(caller, organization_id, base.settings.plan);
        // The organization's pool is no matter of those who see a part of it only.
        let is_seen =
            |pool: &PoolShown| Scope::parse(&pool.scope).is_ok_and(|of| Self::sees(caller, organization_id, &of));
        let pool = standing.pool(period, now).filter(is_seen);
        let estimate = if with_credits && period.contains(now) {
            Some(self.estimate(organization_id, &standing).await?)
        } else {
            None
        };
        let (credits_micro, runs_completed) = (counters.get(Meter::CreditsMicro), counters.get(Meter::RunsCompleted));
        let (field, paused_for) = (standing.scope.to_string(), figures::causes(&standing.chain()));
        let answer = Usage {
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
            unpriced_tokens: counters.get(Meter::UnpricedTokens),
            is_unpriced: figures::is_unpriced(&base.settings, now, self.rules_delay_ms),
            pool,
            estimate,
            status: figures::status(&paused_for),
            paused_for,
        };
        Ok(AsSeen { answer, with_credits })
    }

    async fn cards_of(
        &self,
        _: &Caller,
        organization_id: &str,
        scope: Scope,
        query: &PeriodQuery,
    ) -> Result<AsSeen<Cards>, Problem> {
        let standing = self.standing(organization_id, scope).await?;
        let now = self.clock.now();
        let period = figures::period_asked(&standing.base, query.period.as_deref(), now)?;
        let counters = self.counted(organization_id, &standing, WindowKind::Period, &[period.start]).await?[0];
        let answer = Cards {
            agent_builders: counters.get(Meter::Builders),
            agents_in_action: counters.get(Meter::ActiveAgents),
            runs_completed: counters.get(Meter::RunsCompleted),
            period: figures::period_shown(&standing.base, period, now),
        };
        // None of them is of credits.
        Ok(AsSeen { answer, with_credits: true })
    }

    async fn breakdown_of(
        &self,
        caller: &Caller,
        organization_id: &str,
        scope: Scope,
        query: &PeriodQuery,
    ) -> Result<AsSeen<Breakdown>, Problem> {
        let standing = self.standing(organization_id, scope).await?;
        let (base, now) = (&standing.base, self.clock.now());
        let period = figures::period_asked(base, query.period.as_deref(), now)?;
        let detail = self.detail_of(organization_id, &standing, period.start).await?;
        let with_credits = reads_credits(caller, organization_id, base.settings.plan);
        let parts = figures::parts(&detail, &base.settings);
        let by_product = matches!(standing.scope.kind(), ScopeKind::Organization | ScopeKind::User);
        let (by_product, by_trigger) = if by_product { (parts, Vec::new()) } else { (Vec::new(), parts) };
        let answer = Breakdown {
            scope: standing.scope.to_string(),
            period: figures::period_shown(base, period, now),
            unit: figures::unit(&base.settings),
            by_product,
            by_trigger,
            by_model: figures::models(&detail, &base.settings),
        };
        Ok(AsSeen { answer, with_credits })
    }
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
        extra_usage_off: payment.extra_usage_off,
        consent_required: payment.consent_required,
        is_unpriced: figures::is_unpriced(settings, now, api.rules_delay_ms),
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
        ) -> Result<AsSeen<$answer>, Problem> {
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
