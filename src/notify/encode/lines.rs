//! Lines of statements as values of their Avro schema.

use apache_avro::types::Value;

use super::{instant, optional, record, text};
use crate::domain::{
    meter::{Counters, Meter},
    scope::Scope,
    signal::StatementLine,
};

/// A line of a statement.
pub(super) fn statement(organization_id: &str, line: &StatementLine) -> Value {
    let workspace = match &line.scope {
        Scope::Workspace(id) => Some(id),
        Scope::Agent { workspace, .. } if !workspace.is_empty() => Some(workspace),
        _ => None,
    };
    let (delta, class, why) = match &line.correction {
        None => (Counters::ZERO, None, "usage of the period"),
        Some(correction) => (correction.delta, Some(text("Correction")), &*correction.why),
    };
    let is_adjustment = delta.get(Meter::AdjustedCreditsMicro) != 0;
    record([
        ("identity", text(line.identity.to_string())),
        ("billing_account_id", text(organization_id)),
        ("sub_account_id", optional(workspace.map(|id| text(&**id)))),
        ("resource_id", text(line.scope.to_string())),
        ("resource_type", text(line.scope.kind().name())),
        ("billing_period_start", instant(line.period.start)),
        ("billing_period_end", instant(line.period.end)),
        ("charge_category", text(if is_adjustment { "Adjustment" } else { "Usage" })),
        ("charge_class", optional(class)),
        ("charge_description", text(why)),
        ("pricing_currency", text(&*line.unit)),
        ("meters", counts(&line.totals)),
        ("delta", counts(&delta)),
        ("record_time", instant(line.record_time)),
    ])
}

fn counts(counters: &Counters) -> Value {
    let there = counters.iter().filter(|(_, count)| *count != 0);
    Value::Map(there.map(|(meter, count)| (meter.name().to_owned(), Value::Long(count))).collect())
}
