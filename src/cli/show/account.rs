//! An account as JSON: what was said of the organization, and each scope with its counters, rules and causes.

use serde_json::{Map, Value as Json, json};

use crate::domain::{
    account::{changes::Head, row::ScopeRow, settings::Settings},
    event::Tokens,
    meter::Counters,
    organization::{AgentCreation, Member, SeatType},
    pause::Cause,
    payment::{Source, Switches},
    pool::Pool,
    time::Timestamp,
};

/// What holds for the whole organization.
pub fn account_json(organization_id: &str, settings: &Settings, head: &Head) -> Json {
    let zone = settings.zones.last().copied().unwrap_or_default();
    let payment = settings.payment();
    let every = settings.every.iter().map(|(selector, limit)| json!({ "on": selector.describe(), "limit": limit }));
    let creators = match &settings.agent_creation {
        AgentCreation::Everyone => json!("everyone"),
        AgentCreation::Owners => json!("owners"),
        AgentCreation::Named(members) => json!(members),
    };
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
        "consent_required": payment.consent_required,
        "free_until": instant(settings.free_until),
        "rate_cards": settings.rate_cards.len(),
        "limits_for_many": every.collect::<Vec<_>>(),
        "seat_types": settings.seat_types.iter().map(seat_type_json).collect::<Vec<_>>(),
        "agent_creation": creators,
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

/// One scope.
pub fn scope_json(field: &str, row: &ScopeRow, settings: &Settings) -> Json {
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
            "window_start": overshoot.window_start.to_string(), "amount_micro": overshoot.amount_micro })
    });
    let registered = row.registered.as_ref().map(
        |registered| json!({ "created_by": registered.created_by, "created_at": registered.created_at.to_string() }),
    );
    json!({
        "scope": field,
        "windows": windows.collect::<Vec<_>>(),
        "limits": row.limits,
        "pool": row.pool.as_deref().map(pool_json),
        "paused_for": row.pauses.causes.iter().map(cause_json).collect::<Vec<_>>(),
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

fn cause_json(cause: &Cause) -> Json {
    json!({ "kind": cause.kind.name(), "limit_id": cause.limit_id, "ends_at": instant(cause.ends_at) })
}

fn pool_json(pool: &Pool) -> Json {
    let periods = pool.drawn.iter().map(|drawn| {
        let start = drawn.period_start;
        json!({ "period_start": start.to_string(), "included_micro": pool.included_micro(start),
            "size_micro": pool.size_micro(start), "drawn_micro": pool.drawn_micro(start).unwrap_or(0) })
    });
    let grants = pool.grants.iter().map(|grant| {
        json!({ "grant_id": grant.id, "kind": grant.kind.name(), "amount_micro": grant.amount_micro,
            "spent_micro": grant.spent_micro, "voided_micro": grant.voided_micro, "left_micro": grant.left_micro(),
            "priority": grant.priority, "effective_from": instant(grant.effective_from),
            "expires_at": instant(grant.expires_at), "period_start": grant.period_start.to_string() })
    });
    let reload = pool.reload.as_ref().map(|reload| {
        json!({ "below_micro": reload.below_micro, "amount_micro": reload.amount_micro,
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
        "seat_spent_until": instant(member.seat_spent_until),
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
