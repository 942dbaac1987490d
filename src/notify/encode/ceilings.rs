//! Thresholds and pauses as values of their Avro schemas.

use apache_avro::types::Value;

use super::{instant, optional, record, selector, text};
use crate::domain::{
    pause::{Cause, CauseKind},
    scope::Scope,
    signal::{PauseChanged, ThresholdCrossed},
};

/// A share of a cap that was reached.
pub(super) fn threshold(organization_id: &str, crossed: &ThresholdCrossed) -> Value {
    record([
        ("identity", text(crossed.identity.to_string())),
        ("organization_id", text(organization_id)),
        ("scope", text(crossed.scope.to_string())),
        ("ceiling", text(crossed.ceiling.name())),
        ("limit_id", limit_id(crossed.ceiling, &crossed.limit_id)),
        ("selector", selector(crossed.selector.as_ref())),
        ("meter", text(crossed.meter.name())),
        ("window", text(crossed.window_kind.name())),
        ("window_start", instant(crossed.window.start)),
        ("window_end", instant(crossed.window.end)),
        ("threshold_percent", Value::Int(i32::from(crossed.threshold_percent))),
        ("cap", Value::Long(crossed.cap)),
        ("used", Value::Long(crossed.used)),
        ("revision", Value::Long(i64::try_from(crossed.revision).unwrap_or(i64::MAX))),
        ("top_contributors", Value::Array(crossed.top_contributors.iter().map(contributor).collect())),
        ("record_time", instant(crossed.record_time)),
    ])
}

fn contributor((scope, used): &(Scope, i64)) -> Value {
    record([("scope", text(scope.to_string())), ("used", Value::Long(*used))])
}

/// The causes for which a scope is paused now.
pub(super) fn pause(organization_id: &str, changed: &PauseChanged) -> Value {
    let state =
        if changed.causes.is_empty() { Value::Enum(1, "running".into()) } else { Value::Enum(0, "paused".into()) };
    record([
        ("identity", text(changed.identity.to_string())),
        ("organization_id", text(organization_id)),
        ("scope", text(changed.scope.to_string())),
        ("state", state),
        ("causes", Value::Array(changed.causes.iter().map(cause).collect())),
        ("generation", Value::Long(changed.generation)),
        ("record_time", instant(changed.record_time)),
    ])
}

fn cause(cause: &Cause) -> Value {
    record([
        ("kind", text(cause.kind.name())),
        ("limit_id", limit_id(cause.kind, &cause.limit_id)),
        ("window_start", optional(cause.window_start.map(instant))),
        ("ends_at", optional(cause.ends_at.map(instant))),
        ("selector", selector(cause.selector.as_ref())),
        ("workspace_id", optional(cause.workspace_id.as_ref().map(|workspace_id| text(&**workspace_id)))),
    ])
}

fn limit_id(kind: CauseKind, id: &str) -> Value {
    optional(matches!(kind, CauseKind::Limit | CauseKind::SpendLimit).then(|| text(id)))
}
