//! Statements and requests as values of their Avro schemas.

use apache_avro::types::Value;

use super::{instant, optional, record, text};
use crate::domain::{
    meter::{Counters, Meter},
    scope::Scope,
    signal::{Pending, RequestKind, RequestSignal, StatementLine},
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

/// The parts of a request signal that depend on its kind.
#[derive(Default)]
struct RequestParts<'a> {
    symbol: u32,
    amounts: [Option<i64>; 2],
    pending: &'a [Pending],
    texts: [Option<&'a str>; 3],
    still_binding: &'a [Box<str>],
}

/// A request signal.
pub(super) fn request(organization_id: &str, signal: &RequestSignal) -> Value {
    let none = RequestParts::default();
    let parts = match &signal.kind {
        RequestKind::ReloadRequested { amount_micro, balance_micro } => {
            RequestParts { amounts: [Some(*amount_micro), Some(*balance_micro)], ..none }
        }
        RequestKind::Opened(pending) => RequestParts { symbol: 1, pending: std::slice::from_ref(pending), ..none },
        RequestKind::Approved { request_id, actor, still_binding } => {
            RequestParts { symbol: 2, texts: [Some(request_id), Some(actor), None], still_binding, ..none }
        }
        RequestKind::Declined { request_id, actor, reason } => {
            RequestParts { symbol: 3, texts: [Some(request_id), Some(actor), Some(reason)], ..none }
        }
        RequestKind::Digest { pending } => RequestParts { symbol: 4, pending, ..none },
        RequestKind::CreationRefused { actor, message } => {
            RequestParts { symbol: 5, texts: [None, Some(actor), Some(message)], ..none }
        }
    };
    let [amount, balance] = parts.amounts.map(|amount| optional(amount.map(Value::Long)));
    let [request_id, actor, message] = parts.texts.map(|part| optional(part.map(text)));
    record([
        ("identity", text(signal.identity.to_string())),
        ("organization_id", text(organization_id)),
        ("scope", text(signal.scope.to_string())),
        ("kind", Value::Enum(parts.symbol, signal.kind.name().to_owned())),
        ("amount_micro", amount),
        ("balance_micro", balance),
        ("pending", Value::Array(parts.pending.iter().map(pending_request).collect())),
        ("request_id", request_id),
        ("actor", actor),
        ("message", message),
        ("still_binding", Value::Array(parts.still_binding.iter().map(|limit| text(&**limit)).collect())),
        ("record_time", instant(signal.record_time)),
    ])
}

fn pending_request(pending: &Pending) -> Value {
    record([
        ("request_id", text(&*pending.request_id)),
        ("user_id", text(&*pending.user_id)),
        ("seat_type", optional(pending.seat_type.as_deref().map(text))),
        ("since", instant(pending.since)),
        ("wants", text(&*pending.wants)),
    ])
}
