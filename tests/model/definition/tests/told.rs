//! What the model says, as a scenario tells it: `tests/scenarios/told.rs` does this of what is published.

use super::answers;
use crate::{
    definition::{Model, history::Wants},
    life::Said,
};

/// What the model said, as a sentence; `None` for what scenarios do not tell.
pub fn sentence(said: &Said, model: &Model) -> Option<String> {
    let words: Vec<&str> = said.text.split(' ').collect();
    let value = |name: &str| words.iter().find_map(|word| word.strip_prefix(name)).unwrap_or_default();
    let listed = || said.text.split_once('[').map_or("", |(_, listed)| listed.trim_end_matches(']'));
    Some(match words[..] {
        ["threshold", scope, ref rule @ ..] => {
            let ceiling = if rule[0] == "pool" { "its pool" } else { rule[2] };
            format!("{scope} has used {} of {}: {}% of {ceiling}", value("used="), value("cap="), value("percent="))
        }
        ["pause", scope, "[]"] => format!("{scope} runs again"),
        ["pause", scope, ..] => format!("{scope} pauses for {}", causes(listed(), Names::WhereTwoAreAlike)),
        ["applied", _, "done"] => return None,
        ["applied", command, ..] => {
            format!("answer: {}", answers::sentences(&said.text["applied  ".len() + command.len()..]))
        }
        ["refused", command, ..] => {
            format!("refused: {}", answers::sentences(&said.text["refused  ".len() + command.len()..]))
        }
        ["dead_letter", reason] => format!("dead letter: {reason}"),
        ["statement" | "correction", scope, ..] if scope.starts_with("agent:") => return None,
        ["statement", scope, ..] => format!("statement of {scope} from {}: {}", day(value("period=")), sum(&words)),
        ["correction", scope, ..] => {
            let by = if value("by=") == "usage" { "Usage" } else { "Adjustment" };
            format!("correction of {scope} from {}: {} by {by}", day(value("period=")), sum(&words))
        }
        ["reload", scope, ..] => {
            format!("reload of {} asked for {scope}, which has {}", value("amount="), value("balance="))
        }
        ["reload_blocked", scope, ..] => format!("reload for {scope} is held back by {}", value("reason=")),
        ["request", "opened", id, ..] => {
            let seat = value("seat=").replace("none", "no seat");
            let (wants, since) = (value("wants=").replace(':', " "), day(value("since=")));
            format!("request {id} of {} ({seat}) for {wants} since {since}", value("user="))
        }
        ["request", "approved", id, "still_binding=[]"] => format!("request {id} approved"),
        ["request", "approved", id, ..] => {
            let binding: Vec<String> = listed().split(", ").map(answers::limit).collect();
            format!("request {id} approved, but {} still binds", binding.join(" "))
        }
        ["request", "declined", id] => format!("request {id} declined"),
        ["digest", ..] => {
            let pending: Vec<String> = listed().split(", ").map(|id| pending(id, model)).collect();
            format!("digest: {}", pending.join("; "))
        }
        ["creation_refused", scope, ..] => format!("{} may not create {scope}", value("actor=")),
        _ => panic!("{said:?} is told nowhere"),
    })
}

/// How causes are named: always in full, by their kind alone, or with their limit, whose selector tells it from another
/// limit of that id.
#[derive(Clone, Copy, PartialEq, Eq)]
pub enum Names {
    InFull,
    ByKind,
    WhereTwoAreAlike,
}

/// Causes in canonical words as a scenario tells them, by the alphabet: a set has no order.
pub fn causes(causes: &str, names: Names) -> String {
    let all: Vec<Cause<'_>> = causes.split(", ").map(Cause::read).collect();
    let is_alone = |cause: &Cause<'_>| all.iter().filter(|other| other.is_like(cause)).count() == 1;
    let named = all.iter().map(|cause| match names {
        Names::ByKind => cause.kind.to_owned(),
        Names::WhereTwoAreAlike if is_alone(cause) => cause.told(""),
        _ => cause.told(cause.selector),
    });
    let mut named: Vec<String> = named.collect();
    named.sort();
    named.join(" and ")
}

/// A cause; what it does not name is empty.
struct Cause<'a> {
    kind: &'a str,
    selector: &'a str,
    limit_id: &'a str,
    workspace: &'a str,
}

impl<'a> Cause<'a> {
    /// As `life.rs` writes causes.
    fn read(text: &'a str) -> Self {
        let (cause, workspace) = text.split_once(" in ws:").unwrap_or((text, ""));
        let mut words = cause.split(' ');
        let mut next = || words.next().unwrap_or_default();
        Self { kind: next(), selector: next(), limit_id: next(), workspace }
    }

    fn is_like(&self, other: &Self) -> bool {
        (self.kind, self.limit_id) == (other.kind, other.limit_id)
    }

    /// `limit daily of every:agent`, `pool in w`
    fn told(&self, selector: &str) -> String {
        let part = |before: &str, name: &str| if name.is_empty() { String::new() } else { format!("{before}{name}") };
        let limit = format!("{}{}", part(" ", self.limit_id), part(" of ", selector));
        format!("{}{limit}{}", self.kind, part(" in ", self.workspace))
    }
}

/// What a digest says of a request: with the seat of now.
fn pending(id: &str, model: &Model) -> String {
    let request = model.history.requests.iter().find(|request| request.id == id).expect("a pending request is open");
    let seat = model.history.members.get(&request.user).and_then(|member| member.seat.as_deref());
    let wants = match &request.wants {
        Wants::HigherLimit => "higher_limit".to_owned(),
        Wants::Seat(seat_type) => format!("seat {seat_type}"),
    };
    let (seat, since) = (seat.unwrap_or("no seat"), day(&request.since_ms.to_string()));
    format!("{id} of {} ({seat}) for {wants} since {since}", request.user)
}

fn day(ms: &str) -> String {
    let instant = jiff::Timestamp::from_millisecond(ms.parse().expect("an instant")).expect("an instant");
    instant.to_string()[..10].to_owned()
}

/// `90 = pool 70 + uncovered 20`
fn sum(words: &[&str]) -> String {
    let of = |name: &str| words.iter().find_map(|word| word.strip_prefix(&format!("{name}_micro=")));
    let sources = ["seat", "pool", "prepaid", "postpaid", "uncovered", "free"];
    let parts: Vec<String> =
        sources.iter().filter_map(|source| Some(format!("{source} {}", of(&format!("{source}_credits"))?))).collect();
    let credits = of("credits").unwrap_or("0");
    if parts.is_empty() { credits.to_owned() } else { format!("{credits} = {}", parts.join(" + ")) }
}
