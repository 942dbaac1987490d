//! What somebody outside has to answer or to know, as values of its Avro schema.

use apache_avro::types::Value;

use super::{instant, optional, record, records::refused, text};
use crate::{
    contract::answer,
    domain::{
        answer::{NamedLimit, Refused},
        signal::{Pending, RequestKind, RequestSignal},
    },
};

/// The parts of a request signal that depend on its kind.
#[derive(Default)]
struct Parts<'a> {
    /// The place of the kind in the schema.
    symbol: u32,
    /// What is asked for, and what is left.
    amounts: [Option<i64>; 2],
    /// Requests.
    pending: &'a [Pending],
    /// Which request.
    request_id: Option<&'a str>,
    /// By whom.
    actor: Option<&'a str>,
    /// Why, in words.
    message: Option<String>,
    /// Why, for programs.
    why: Option<&'a Refused>,
    /// Why nothing is asked for.
    blocked: Option<&'a str>,
    /// The limits that still bind, in words.
    still_binding: Vec<String>,
    /// The same for programs.
    limits: &'a [NamedLimit],
}

impl<'a> Parts<'a> {
    fn of(kind: &'a RequestKind) -> Self {
        let none = Self::default();
        match kind {
            RequestKind::ReloadRequested { amount_micro, balance_micro } => {
                Self { amounts: [Some(*amount_micro), Some(*balance_micro)], ..none }
            }
            RequestKind::Opened(pending) => Self { symbol: 1, pending: std::slice::from_ref(pending), ..none },
            RequestKind::Approved { request_id, actor, still_binding: limits, still_binding_words: words } => {
                let words = words.iter().map(ToString::to_string);
                let still_binding = limits.iter().map(ToString::to_string).chain(words).collect();
                Self { symbol: 2, request_id: Some(request_id), actor: Some(actor), still_binding, limits, ..none }
            }
            RequestKind::Declined { request_id, actor, reason } => Self {
                symbol: 3,
                request_id: Some(request_id),
                actor: Some(actor),
                message: Some(reason.to_string()),
                ..none
            },
            RequestKind::Digest { pending } => Self { symbol: 4, pending, ..none },
            RequestKind::CreationRefused { actor, why } => {
                Self { symbol: 5, actor: Some(actor), message: Some(answer::refused(why)), why: Some(why), ..none }
            }
            RequestKind::ReloadBlocked { reason } => Self { symbol: 6, blocked: Some(reason.name()), ..none },
        }
    }
}

/// A request signal.
pub(super) fn request(organization_id: &str, signal: &RequestSignal) -> Value {
    let RequestSignal { identity, scope, kind, record_time } = signal;
    let parts = Parts::of(kind);
    let [amount, balance] = parts.amounts.map(|amount| optional(amount.map(Value::Long)));
    let [code, fields] = refused(parts.why);
    record([
        ("identity", text(identity.to_string())),
        ("organization_id", text(organization_id)),
        ("scope", text(scope.to_string())),
        ("kind", Value::Enum(parts.symbol, kind.name().to_owned())),
        ("amount_micro", amount),
        ("balance_micro", balance),
        ("pending", Value::Array(parts.pending.iter().map(pending_request).collect())),
        ("request_id", optional(parts.request_id.map(text))),
        ("actor", optional(parts.actor.map(text))),
        ("message", optional(parts.message.map(text))),
        ("code", code),
        ("fields", fields),
        ("reason", optional(parts.blocked.map(text))),
        ("still_binding", Value::Array(parts.still_binding.into_iter().map(text).collect())),
        ("still_binding_limits", Value::Array(parts.limits.iter().map(named_limit).collect())),
        ("record_time", instant(*record_time)),
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

fn named_limit(limit: &NamedLimit) -> Value {
    record([("selector", text(limit.selector.name())), ("limit_id", text(&*limit.limit_id))])
}
