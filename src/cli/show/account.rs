//! An account as JSON: what was said of the organization, and each scope with its counters, rules and causes.

use serde_json::{Map, Value as Json, json};

use crate::{
    domain::{
        account::row::ScopeRow,
        event::Tokens,
        limit::Selector,
        meter::Counters,
        organization::{AgentCreation, Member, Reserved, SeatType},
        pause::Cause,
        payment::{Source, Switches},
        pool::Pool,
        scope::Scope,
        time::Timestamp,
        window::WindowKind,
    },
    ledger::redis::reader::Base,
};

/// What holds for the whole organization. `rules_delay_ms` is how long after its record a rate card holds.
pub fn account_json(organization_id: &str, base: &Base, now: Timestamp, rules_delay_ms: i64) -> Json {
    let Base { settings, head, .. } = base;
    let zone = settings.zones.last().copied().unwrap_or_default();
    let payment = settings.payment();
    let every = settings
        .every
        .iter()
        .map(|(selector, limit)| json!({ "on": selector.describe(), "selector": selector.name(), "limit": limit }));
    let creation_in = settings.agent_creation_in.iter();
    let creation_in = creation_in.map(|(workspace, rule)| (workspace.to_string(), creators_json(rule)));
    let requests = settings.requests.open.iter().map(|open| {
        json!({ "request_id": open.id, "user_id": open.user_id, "seat_type": open.seat_type,
            "since": open.since.to_string(), "wants": open.wants.describe() })
    });
    json!({
        "organization_id": organization_id,
        "time_zone": zone.time_zone.name(),
        "anchor": zone.anchor.to_string(),
        "unit": settings.unit,
        "plan": settings.plan.map(|plan| plan.name()),
        "mode": payment.mode.name(),
        "sources": switches_json(&payment.switches),
        "extra_usage_off": payment.extra_usage_off,
        "consent_required": payment.consent_required,
        "free_until": instant(settings.free_until),
        "rate_cards": settings.rate_cards.len(),
        // Without a rate card that holds, usage counts and has no price.
        "is_unpriced": settings.rate_card(now, now, rules_delay_ms).is_none(),
        "limits_for_many": every.collect::<Vec<_>>(),
        "seat_types": settings.seat_types.iter().map(seat_type_json).collect::<Vec<_>>(),
        "agent_creation": creators_json(&settings.agent_creation),
        "agent_creation_in": creation_in.collect::<Map<String, Json>>(),
        "reserved": settings.reserved.iter().copied().map(Reserved::name).collect::<Vec<_>>(),
        "requests": {
            "enabled": settings.requests.enabled,
            "digest_hour": settings.requests.digest_hour,
            "open": requests.collect::<Vec<_>>(),
        },
        "closed_until": instant(Some(head.closed_until).filter(|until| *until > Timestamp::MIN)),
        "next_due": instant(head.due),
        "scopes": [],
        "next_cursor": null,
    })
}

fn creators_json(rule: &AgentCreation) -> Json {
    match rule {
        AgentCreation::Everyone => json!("everyone"),
        AgentCreation::Owners => json!("owners"),
        AgentCreation::Named(members) => json!(members),
    }
}

/// One scope: the first of a chain of those that it lies in, for what stops one of them stops it.
pub fn scope_json(chain: &[(&Scope, &ScopeRow)], base: &Base, now: Timestamp) -> Json {
    let settings = &base.settings;
    let [(scope, row), around @ ..] = chain else { return Json::Null };
    let mut windows: Vec<_> = row.windows.iter().collect();
    windows.sort_by_key(|window| (window.kind.0, window.start));
    let windows = windows.iter().map(|window| {
        json!({ "window": window.kind.0.name(), "start": window.start.to_string(), "meters": meters(&window.counters) })
    });
    let parts = row.parts.iter().map(|part| {
        json!({ "name": settings.labels.get(usize::from(part.label)), "period_start": part.start.to_string(),
            "credits_micro": part.credits_micro, "extra_credits_micro": part.extra_micro,
            "runs_completed": part.runs_completed })
    });
    let models = row.models.iter().map(|part| {
        let Tokens { input, output, cache_read, cache_creation } = part.tokens;
        json!({ "name": settings.models.get(usize::from(part.model)), "period_start": part.start.to_string(),
            "credits_micro": part.credits_micro, "input_tokens": input, "output_tokens": output,
            "cache_read_input_tokens": cache_read, "cache_creation_input_tokens": cache_creation })
    });
    let overshoots = row.overshoots.iter().map(|overshoot| {
        json!({ "kind": overshoot.kind.name(), "limit_id": overshoot.limit_id,
            "selector": overshoot.selector.as_ref().map(Selector::name), "window_start": overshoot.window_start.to_string(),
            // In units of the limit's meter.
            "amount": overshoot.amount_micro })
    });
    let registered = row.registered.as_ref().map(
        |registered| json!({ "created_by": registered.created_by, "created_at": registered.created_at.to_string() }),
    );
    let stopped_by: Vec<Json> =
        around.iter().flat_map(|(scope, row)| row.pauses.causes.iter().map(|cause| cause_json(scope, cause))).collect();
    let paused_for: Vec<Json> = row.pauses.causes.iter().map(|cause| cause_json(scope, cause)).collect();
    let is_paused = !paused_for.is_empty() || !stopped_by.is_empty();
    json!({
        "scope": scope.to_string(),
        "windows": windows.collect::<Vec<_>>(),
        "limits": row.limits,
        "pool": row.pool.as_deref().map(|pool| pool_json(pool, base, now)),
        "status": if is_paused { "paused" } else { "running" },
        "paused_for": paused_for,
        // Of its workspace and the organization.
        "stopped_by": stopped_by,
        "generation": row.pauses.generation,
        "member": row.member.as_deref().map(member_json),
        "registered": registered,
        // Of organization and users by product, of workspaces and agents by trigger.
        "parts": parts.collect::<Vec<_>>(),
        // Of organization and workspaces.
        "models": models.collect::<Vec<_>>(),
        "overshoot": overshoots.collect::<Vec<_>>(),
    })
}

fn meters(counters: &Counters) -> Map<String, Json> {
    counters.iter().map(|(meter, count)| (meter.name().to_owned(), count.into())).collect()
}

fn cause_json(scope: &Scope, cause: &Cause) -> Json {
    json!({ "scope": scope.to_string(), "kind": cause.kind.name(), "limit_id": cause.limit_id,
        "selector": cause.selector.as_ref().map(Selector::name), "workspace_id": cause.workspace_id.as_deref(),
        "window_start": instant(cause.window_start), "ends_at": instant(cause.ends_at) })
}

fn pool_json(pool: &Pool, base: &Base, now: Timestamp) -> Json {
    let periods = pool.drawn.iter().map(|drawn| {
        let start = drawn.period_start;
        let last = base.window(WindowKind::Period, start).end.plus_ms(-1);
        json!({ "period_start": start.to_string(), "included_micro": pool.included_micro(start),
            "size_micro": pool.size_micro(start, now.min(last)), "drawn_micro": pool.drawn_micro(start).unwrap_or(0) })
    });
    let grants = pool.grants.iter().map(|grant| {
        json!({ "grant_id": grant.id, "kind": grant.kind.name(), "amount_micro": grant.amount_micro,
            "spent_micro": grant.spent_micro, "voided_micro": grant.voided_micro, "left_micro": grant.left_micro(),
            "priority": grant.priority, "effective_from": instant(grant.effective_from),
            "expires_at": instant(grant.expires_at), "period_start": grant.period_start.to_string(),
            "has_ended": grant.has_ended(now), "reload_id": grant.reload_id })
    });
    let reload = pool.reload.as_ref().map(|reload| {
        json!({ "below_micro": reload.below_micro, "amount_micro": reload.amount_micro, "enabled": reload.enabled,
            "blocked": reload.told_blocked.iter().map(|blocked| blocked.name()).collect::<Vec<_>>(),
            "per_day_max": reload.per_day_max, "open": reload.open.map(|open| open.identity.to_string()) })
    });
    json!({
        "revision": pool.revision,
        "user_cap_micro": pool.user_cap_micro,
        "thresholds_percent": pool.thresholds_percent,
        "periods": periods.collect::<Vec<_>>(),
        "grants": grants.collect::<Vec<_>>(),
        "auto_reload": reload,
    })
}

fn member_json(member: &Member) -> Json {
    json!({
        "seat_type": member.seat_type,
        "role": member.role.name(),
        "consented": member.consented,
        "sources": switches_json(&member.switches),
    })
}

fn seat_type_json(seat_type: &SeatType) -> Json {
    let allowances = seat_type.allowances.iter();
    let allowances = allowances.map(|allowance| (allowance.window.name().to_owned(), allowance.amount_micro.into()));
    json!({ "seat_type": seat_type.name, "allowances_micro": allowances.collect::<Map<String, Json>>() })
}

/// What was switched, and to what; the rest is as it is by the mode.
fn switches_json(switches: &Switches) -> Map<String, Json> {
    let switched = Source::ALL.into_iter().filter_map(|source| Some((source, switches.get(source)?)));
    switched.map(|(source, on)| (source.name().to_owned(), on.into())).collect()
}

fn instant(time: Option<Timestamp>) -> Option<String> {
    time.map(|time| time.to_string())
}
