//! What the account publishes, in the canonical words of `life.rs`.

use bursar::domain::{
    answer::{Applied, NamedLimit, Refused},
    limit::Selector,
    meter::Counters,
    pause::{Cause, CauseKind},
    signal::{JournalEntry, Pending, RequestKind, RequestSignal, Signal, StatementLine, ThresholdCrossed},
};
use serde_json::Value as Json;

/// A signal; `None` for what says nothing new.
pub fn of_signal(signal: &Signal) -> Option<String> {
    match signal {
        Signal::Threshold(crossed) => Some(threshold(crossed)),
        Signal::Pause(changed) => Some(format!("pause {} [{}]", changed.scope, causes(&changed.causes))),
        Signal::Journal(entry) => journal(entry),
        // The journal has it too.
        Signal::Refusal(_) => None,
        Signal::Statement(line) => Some(statement(line)),
        Signal::Request(request) => Some(of_request(request)),
    }
}

/// The causes for which a scope is paused.
pub fn causes(causes: &[Cause]) -> String {
    let mut causes: Vec<String> = causes.iter().map(cause).collect();
    causes.sort();
    causes.join(", ")
}

fn cause(cause: &Cause) -> String {
    let name = cause.kind.name();
    let of = cause.selector.as_ref().map(selector).unwrap_or_default();
    let start = cause.window_start.map_or(0, |start| start.ms());
    let place = cause.workspace_id.as_ref().map(|id| format!(" in ws:{id}")).unwrap_or_default();
    match cause.kind {
        CauseKind::Limit | CauseKind::SpendLimit => format!("{name} {of} {} {start}{place}", cause.limit_id),
        _ => format!("{name}{place}"),
    }
}

/// A ceiling: a pool, a limit, or the want of money that stood in the way.
pub fn rule(kind: CauseKind, limit_id: &str, of: Option<&Selector>) -> String {
    match kind {
        CauseKind::Limit | CauseKind::SpendLimit => {
            format!("limit {} {limit_id}", of.map(selector).unwrap_or_default())
        }
        _ => kind.name().to_owned(),
    }
}

/// What a rule is set on.
pub fn selector(selector: &Selector) -> String {
    match selector {
        Selector::One(scope) => scope.to_string(),
        Selector::Every(kind) => format!("every:{}", kind.name()),
        Selector::Seat(seat_type) => format!("seat:{seat_type}"),
    }
}

fn threshold(crossed: &ThresholdCrossed) -> String {
    format!(
        "threshold {} {} window={} percent={} used={} cap={}",
        crossed.scope,
        rule(crossed.ceiling, &crossed.limit_id, crossed.selector.as_ref()),
        crossed.window.start.ms(),
        crossed.threshold_percent,
        crossed.used,
        crossed.cap
    )
}

fn journal(entry: &JournalEntry) -> Option<String> {
    let command: Json = serde_json::from_str(&entry.command_json).expect("a command is JSON");
    let command = command.as_object().and_then(|one| one.keys().next()).expect("a record says one command");
    match (command.as_str(), &entry.refused) {
        ("due", None) => None,
        (_, Some(why)) => Some(format!("refused {command} {}", refused(why))),
        (_, None) if entry.applied.is_empty() => Some(format!("applied {command} done")),
        (_, None) => Some(format!("applied {command} {}", applied(&entry.applied))),
    }
}

fn refused(why: &Refused) -> String {
    why.code().to_owned()
}

fn applied(all: &[Applied]) -> String {
    let mut codes: Vec<String> = all.iter().map(of_applied).collect();
    codes.sort();
    codes.join(" ")
}

fn of_applied(applied: &Applied) -> String {
    let fields = applied.fields().into_iter().map(|(name, value)| format!(" {name}=[{value}]"));
    format!("{}{}", applied.code(), fields.collect::<String>())
}

fn statement(line: &StatementLine) -> String {
    let (scope, start) = (&line.scope, line.period.start.ms());
    match &line.correction {
        None => format!("statement {scope} period={start}{}", meters(&line.totals)),
        Some(correction) => {
            let is_adjustment = correction.why.starts_with("adjustment ");
            let by = if is_adjustment { "adjustment" } else { "usage" };
            format!("correction {scope} period={start} by={by}{}", meters(&correction.delta))
        }
    }
}

/// The meters that are not 0, by name.
fn meters(counters: &Counters) -> String {
    let counted = counters.iter().filter(|(_, count)| *count != 0);
    let mut counted: Vec<String> = counted.map(|(meter, count)| format!(" {}={count}", meter.name())).collect();
    counted.sort();
    counted.concat()
}

fn of_request(request: &RequestSignal) -> String {
    match &request.kind {
        RequestKind::ReloadRequested { amount_micro, balance_micro } => {
            format!("reload {} amount={amount_micro} balance={balance_micro}", request.scope)
        }
        RequestKind::Opened(pending) => format!("request opened {}", of_pending(pending)),
        RequestKind::Approved { request_id, still_binding, .. } => {
            let mut binding: Vec<String> = still_binding.iter().map(still_binding_limit).collect();
            binding.sort();
            format!("request approved {request_id} still_binding=[{}]", binding.join(", "))
        }
        RequestKind::Declined { request_id, .. } => format!("request declined {request_id}"),
        RequestKind::Digest { pending } => {
            let ids: Vec<&str> = pending.iter().map(|pending| &*pending.request_id).collect();
            format!("digest [{}]", ids.join(", "))
        }
        RequestKind::ReloadBlocked { reason } => format!("reload_blocked {} reason={}", request.scope, reason.name()),
        RequestKind::CreationRefused { actor, .. } => format!("creation_refused {} actor={actor}", request.scope),
    }
}

fn of_pending(pending: &Pending) -> String {
    format!(
        "{} user={} wants={} seat={} since={}",
        pending.request_id,
        pending.user_id,
        pending.wants.replace("seat ", "seat:"),
        pending.seat_type.as_deref().unwrap_or("none"),
        pending.since.ms()
    )
}

fn still_binding_limit(limit: &NamedLimit) -> String {
    format!("{} {}", selector(&limit.selector), limit.limit_id)
}
