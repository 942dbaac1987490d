//! What holds and what follows: limits with their utilisation, pauses, pools and grants, overshoot, requests. A caller who does
//! not see all of the organization gets what is the own.

use std::sync::Arc;

use axum::{Extension, Json, extract::State};

use super::{
    Api,
    access::Caller,
    credits::{AsSeen, is_of_credits, reads_credits},
    figures,
    guard::{Path, Query},
    page::{PageQuery, joined},
    problem::Problem,
    reads::{OfOrganization, ReadProblems},
    shapes::{
        GrantShown, Grants, LimitShown, Limits, OvershootShown, Overshoots, PausedScope, Pauses, RequestShown, Requests,
    },
    snapshot::no_organization,
    utilisation::{LimitInUse, Shown},
};
use crate::{
    domain::{
        limit::{Action, Selector},
        meter::Meter,
        pause::CauseKind,
        pool::{Grant, GrantKind},
        time::Timestamp,
        window::{Window, WindowKind},
    },
    outlook::limits::limit_of,
};

/// Limits of scopes that the caller sees, with how far they are used; rules for many once for each scope that they hold for.
/// Limits on credits are for those who read figures of credits.
#[utoipa::path(get, path = "/v1/organizations/{organization_id}/limits", params(OfOrganization, PageQuery),
    responses((status = 200, body = Limits), ReadProblems))]
pub async fn limits(
    State(api): State<Arc<Api>>,
    Extension(caller): Extension<Caller>,
    Path(of): Path<OfOrganization>,
    Query(page): Query<PageQuery>,
) -> Result<Json<Limits>, Problem> {
    let snapshot = api.snapshots.of(&of.organization_id).await?;
    let with_credits = reads_credits(&caller, &of.organization_id, snapshot.base.settings.plan);
    let (limits, next_cursor) = page.choose(|chosen| {
        for in_use in snapshot.limits_by_use() {
            if chosen.has_more() {
                break;
            }
            let shown = in_use.shown(&snapshot);
            // How far one is used is told by its place in the list as well.
            let is_seen = Api::sees(&caller, &of.organization_id, shown.scope)
                && (with_credits || !is_of_credits(shown.limit.meter));
            if !is_seen || !chosen.may_show(in_use.used_permille, &page) {
                continue;
            }
            if page.matches(&[Some(&shown.scope.to_string()), Some(&shown.limit.id)]) {
                chosen.offer((in_use.used_permille, shown.sort_key()), || limit_shown(&shown, in_use));
            }
        }
        Ok(())
    })?;
    Ok(Json(Limits { limits, next_cursor }))
}

fn limit_shown(shown: &Shown<'_>, in_use: &LimitInUse) -> LimitShown {
    let (scope, limit) = (shown.scope.to_string(), shown.limit);
    let action = match limit.action {
        Action::Observe => "observe",
        Action::Notify => "notify",
        Action::Pause => "pause",
    };
    LimitShown {
        set_on: shown.set_on.map_or_else(|| scope.clone(), Selector::describe),
        selector: shown.set_on.map_or_else(|| scope.clone(), Selector::name),
        scope,
        limit_id: limit.id.to_string(),
        meter: limit.meter.name().to_owned(),
        window: limit.window.name().to_owned(),
        cap: limit.cap,
        used: in_use.used,
        used_permille: in_use.used_permille,
        action: action.to_owned(),
        thresholds_percent: limit.thresholds_percent.clone(),
        yields_to_own: limit.yields_to_own,
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
    let (paused, next_cursor) = page.choose(|chosen| {
        let seen = Api::seen(&caller, &of.organization_id, &snapshot);
        for (of_scope, row) in seen.filter(|(_, row)| !row.pauses.causes.is_empty()) {
            let scope = of_scope.to_string();
            let name = api.feed.name(&of.organization_id, &scope);
            if page.matches(&[Some(&scope), name.as_deref()]) {
                chosen.offer((None, scope.clone()), || PausedScope {
                    causes: figures::causes(&[(of_scope, row)]),
                    generation: row.pauses.generation,
                    scope,
                    name,
                });
            }
        }
        Ok(())
    })?;
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
) -> Result<AsSeen<Grants>, Problem> {
    let (snapshot, now) = (api.snapshots.of(&of.organization_id).await?, api.clock.now());
    let period = snapshot.base.window(WindowKind::Period, now);
    let mut pools = Vec::new();
    let (grants, next_cursor) = page.choose(|chosen| {
        for (scope, row) in Api::seen(&caller, &of.organization_id, &snapshot) {
            let Some(pool) = row.pool.as_deref() else { continue };
            let scope = scope.to_string();
            pools.extend(figures::pool(&scope, pool, period, now));
            for grant in pool.grants.iter().filter(|grant| page.matches(&[Some(&grant.id), Some(&scope)])) {
                let key = joined(&[&scope, &grant.id]);
                chosen.offer((None, key), || grant_shown(scope.clone(), grant, period, now));
            }
        }
        Ok(())
    })?;
    let settings = &snapshot.base.settings;
    let with_credits = reads_credits(&caller, &of.organization_id, settings.plan);
    Ok(AsSeen { answer: Grants { unit: figures::unit(settings), pools, grants, next_cursor }, with_credits })
}

fn grant_shown(scope: String, grant: &Grant, period: Window, now: Timestamp) -> GrantShown {
    let of_past_period = grant.kind == GrantKind::Purchased && grant.period_start < period.start;
    GrantShown {
        scope,
        grant_id: grant.id.to_string(),
        kind: grant.kind.name().to_owned(),
        amount_micro: grant.amount_micro,
        spent_micro: grant.spent_micro,
        voided_micro: grant.voided_micro,
        left_micro: grant.left_micro(),
        effective_from: grant.effective_from.map(|at| at.to_string()),
        expires_at: grant.expires_at.map(|at| at.to_string()),
        is_over: of_past_period || grant.has_ended(now),
    }
}

/// What nothing covered, and what of events passed a limit, by limit and window, as far as the caller sees it (row C4).
#[utoipa::path(get, path = "/v1/organizations/{organization_id}/overshoot", params(OfOrganization, PageQuery),
    responses((status = 200, body = Overshoots), ReadProblems))]
pub async fn overshoot(
    State(api): State<Arc<Api>>,
    Extension(caller): Extension<Caller>,
    Path(of): Path<OfOrganization>,
    Query(page): Query<PageQuery>,
) -> Result<Json<Overshoots>, Problem> {
    let snapshot = api.snapshots.of(&of.organization_id).await?;
    let settings = &snapshot.base.settings;
    let with_credits = reads_credits(&caller, &of.organization_id, settings.plan);
    let (overshoot, next_cursor) = page.choose(|chosen| {
        for (of_scope, row) in Api::seen(&caller, &of.organization_id, &snapshot) {
            let scope = of_scope.to_string();
            for overshoot in row.overshoots.iter().filter(|_| page.matches(&[Some(&scope)])) {
                // Of a limit that is gone nobody knows any more what it counted.
                let of_limit = overshoot.kind == CauseKind::Limit;
                let limit = limit_of(overshoot, of_scope, row, settings);
                let meter = if of_limit { limit.map(|limit| limit.meter) } else { Some(Meter::UncoveredCreditsMicro) };
                if !with_credits && meter.is_none_or(is_of_credits) {
                    continue;
                }
                let (kind, window_start) = (overshoot.kind.name().to_owned(), overshoot.window_start.to_string());
                let selector = overshoot.selector.as_ref().map(Selector::name);
                let names =
                    [&*scope, &kind, selector.as_deref().unwrap_or_default(), &overshoot.limit_id, &window_start];
                chosen.offer((Some(overshoot.amount_micro), joined(&names)), || OvershootShown {
                    scope: scope.clone(),
                    kind,
                    limit_id: (!overshoot.limit_id.is_empty()).then(|| overshoot.limit_id.to_string()),
                    selector,
                    meter: meter.map(|meter| meter.name().to_owned()),
                    window_start,
                    amount: overshoot.amount_micro,
                });
            }
        }
        Ok(())
    })?;
    Ok(Json(Overshoots { unit: figures::unit(settings), overshoot, next_cursor }))
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
    let base = base.ok_or_else(|| no_organization(&of.organization_id))?;
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
