//! What holds and what follows: limits with their utilisation, pauses, pools and grants, overshoot, requests. A caller who does
//! not see all of the organization gets what is the own.

use std::sync::Arc;

use axum::{Extension, Json, extract::State};

use super::{
    Api,
    access::Caller,
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
use crate::domain::{
    limit::{Action, Selector},
    window::WindowKind,
};

/// Limits of scopes that the caller sees, with how far they are used; rules for many once for each scope that they hold for.
#[utoipa::path(get, path = "/v1/organizations/{organization_id}/limits", params(OfOrganization, PageQuery),
    responses((status = 200, body = Limits), ReadProblems))]
pub async fn limits(
    State(api): State<Arc<Api>>,
    Extension(caller): Extension<Caller>,
    Path(of): Path<OfOrganization>,
    Query(page): Query<PageQuery>,
) -> Result<Json<Limits>, Problem> {
    let snapshot = api.snapshots.of(&of.organization_id).await?;
    let (limits, next_cursor) = page.choose(|chosen| {
        for in_use in snapshot.limits_by_use() {
            if chosen.has_more() {
                break;
            }
            let shown = in_use.shown(&snapshot);
            let is_seen = Api::sees(&caller, &of.organization_id, shown.scope);
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
        scope,
        limit_id: limit.id.to_string(),
        meter: limit.meter.name().to_owned(),
        window: limit.window.name().to_owned(),
        cap: limit.cap,
        used: in_use.used,
        used_permille: in_use.used_permille,
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
    let (paused, next_cursor) = page.choose(|chosen| {
        let seen = Api::seen(&caller, &of.organization_id, &snapshot);
        for (scope, row) in seen.filter(|(_, row)| !row.pauses.causes.is_empty()) {
            let scope = scope.to_string();
            let name = api.feed.name(&of.organization_id, &scope);
            if page.matches(&[Some(&scope), name.as_deref()]) {
                chosen.offer((None, scope.clone()), || PausedScope {
                    causes: figures::causes(row),
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
) -> Result<Json<Grants>, Problem> {
    let (snapshot, now) = (api.snapshots.of(&of.organization_id).await?, api.clock.now());
    let period = snapshot.base.window(WindowKind::Period, now);
    let mut pools = Vec::new();
    let (grants, next_cursor) = page.choose(|chosen| {
        for (scope, row) in Api::seen(&caller, &of.organization_id, &snapshot) {
            let Some(pool) = row.pool.as_deref() else { continue };
            let scope = scope.to_string();
            pools.extend(figures::pool(&scope, pool, period, now));
            for grant in pool.grants.iter().filter(|grant| page.matches(&[Some(&grant.id), Some(&scope)])) {
                chosen.offer((None, joined(&[&scope, &grant.id])), || GrantShown {
                    scope: scope.clone(),
                    grant_id: grant.id.to_string(),
                    kind: grant.kind.name().to_owned(),
                    amount_micro: grant.amount_micro,
                    spent_micro: grant.spent_micro,
                    voided_micro: grant.voided_micro,
                    left_micro: grant.left_micro(),
                    expires_at: grant.expires_at.map(|at| at.to_string()),
                });
            }
        }
        Ok(())
    })?;
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
    let (overshoot, next_cursor) = page.choose(|chosen| {
        for (scope, row) in Api::seen(&caller, &of.organization_id, &snapshot) {
            let scope = scope.to_string();
            for overshoot in row.overshoots.iter().filter(|_| page.matches(&[Some(&scope)])) {
                let (kind, window_start) = (overshoot.kind.name().to_owned(), overshoot.window_start.to_string());
                let key = joined(&[&scope, &kind, &overshoot.limit_id, &window_start]);
                chosen.offer((Some(overshoot.amount_micro), key), || OvershootShown {
                    scope: scope.clone(),
                    kind,
                    limit_id: (!overshoot.limit_id.is_empty()).then(|| overshoot.limit_id.to_string()),
                    window_start,
                    amount_micro: overshoot.amount_micro,
                });
            }
        }
        Ok(())
    })?;
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
