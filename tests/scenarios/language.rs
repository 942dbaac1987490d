//! The language of scenarios: what happens, and what comes of it, a line each.
//!
//! ```text
//! # Anything after a hash is for the reader.
//! 2026-01-15 10:00  price input_micro=1000000              a token sent costs one micro-credit
//!            10:01  admin says set_pool scope=ws:w included_micro=100
//!            10:02  use 90 by a in w for u                 90 tokens of agent a in workspace w for user u
//!                   => ws:w has used 90 of 100: 80% of its pool
//!            10:03  use 5 by a in w at 09:30 id x          used earlier, with an id of its own
//!            10:04  run completed by a in w trigger mail
//! 2026-02-01 00:00  time passes
//!                   => ws:w runs again
//!                   then org credits_micro per period is 0
//! ```
//!
//! `ACTOR says COMMAND field=value` is a control record with the fields of `schemas/control.avsc` (`by_owner` is the record's own); `$reload` stands for the
//! identity of the last reload that was asked for, `$reload1` for the first. After each line, the lines with `=>` are all
//! that is published, in any order; lines with `then` look at the account. Causes are told by the alphabet: a set has no
//! order.

use bursar::domain::time::{Timestamp, parse_rfc3339};
use serde_json::{Map, Value as Json, json};

/// One thing that happens, and what is expected of it.
#[derive(Debug)]
pub struct Step {
    /// The line, for who reads a failure.
    pub line: String,
    /// When: record time, and event time unless it says otherwise.
    pub at: Timestamp,
    /// What.
    pub action: Action,
    /// What is published, sorted.
    pub expected: Vec<String>,
    /// What holds of the account then.
    pub then: Vec<String>,
}

/// What can happen.
#[derive(Debug)]
pub enum Action {
    /// A control record: its data without the organization.
    Say { actor: String, id: Option<String>, command: Json },
    /// A usage event.
    Use(Use),
    /// Nothing but time.
    Pass,
}

/// A usage event.
#[derive(Debug, Default, Clone)]
pub struct Use {
    /// Tokens sent; a run event has none.
    pub tokens: Option<i64>,
    /// The phase of a run.
    pub phase: String,
    pub agent: Option<String>,
    pub workspace: Option<String>,
    pub user: Option<String>,
    pub at: Option<Timestamp>,
    pub id: Option<String>,
    pub product: Option<String>,
    pub trigger: Option<String>,
    pub model: Option<String>,
}

/// Reads a scenario.
pub fn parse(text: &str) -> Vec<Step> {
    let mut steps: Vec<Step> = Vec::new();
    let mut day = String::new();
    for line in text.lines() {
        let line = line.split('#').next().unwrap_or_default().trim();
        let last = steps.last_mut();
        if line.is_empty() {
        } else if let Some(expected) = line.strip_prefix("=>") {
            last.expect("something happens before it is published").expected.push(expected.trim().to_owned());
        } else if let Some(then) = line.strip_prefix("then ") {
            last.expect("something happens before it is looked at").then.push(then.trim().to_owned());
        } else {
            let (at, rest) = time_of(line, &mut day);
            let action = action(rest, &day);
            steps.push(Step { line: line.to_owned(), at, action, expected: Vec::new(), then: Vec::new() });
        }
    }
    for step in &mut steps {
        step.expected.sort();
    }
    steps
}

/// The time that opens a line: with its day, or on the day of the line before.
fn time_of<'a>(line: &'a str, day: &mut String) -> (Timestamp, &'a str) {
    let (mut first, mut rest) = line.split_once(' ').unwrap_or((line, ""));
    if first.len() == 10 && first.matches('-').count() == 2 {
        *day = first.to_owned();
        (first, rest) = rest.trim().split_once(' ').unwrap_or((rest.trim(), ""));
    }
    (clock(first, day), rest.trim())
}

/// `10:00`, `10:00:30`, or with a day `2026-01-15T10:00`.
fn clock(text: &str, day: &str) -> Timestamp {
    let (day, time) = text.split_once('T').unwrap_or((day, text));
    let seconds = if time.len() == 5 { ":00" } else { "" };
    parse_rfc3339(&format!("{day}T{time}{seconds}Z")).unwrap_or_else(|why| panic!("{text:?}: {why}"))
}

fn action(text: &str, day: &str) -> Action {
    let words: Vec<&str> = text.split_whitespace().collect();
    match words[..] {
        ["time", "passes"] => Action::Pass,
        ["price", ref fields @ ..] => {
            let (mut prices, mut card) = (Map::new(), Map::new());
            card.insert("effective_from".to_owned(), json!("2020-01-01T00:00:00Z"));
            for field in fields {
                let (name, value) = field.split_once('=').expect("a price is NAME=MICRO");
                let to = if name == "completed_run_micro" { &mut card } else { &mut prices };
                to.insert(name.to_owned(), value_of(name, value));
            }
            prices.entry("input_micro").or_insert(json!(0));
            prices.entry("output_micro").or_insert(json!(0));
            card.insert("default_prices".to_owned(), prices.into());
            Action::Say { actor: "admin".to_owned(), id: None, command: json!({ "set_rate_card": card }) }
        }
        ["use", tokens, ref pairs @ ..] => {
            let tokens = Some(tokens.parse().unwrap_or_else(|_| panic!("{tokens:?} is no number of tokens")));
            Action::Use(use_of(Use { tokens, ..Use::default() }, pairs, day))
        }
        ["run", phase, ref pairs @ ..] => {
            Action::Use(use_of(Use { phase: phase.to_owned(), ..Use::default() }, pairs, day))
        }
        [actor, "says", command, ref fields @ ..] => {
            let mut data = Map::new();
            let mut id = None;
            for field in fields {
                let (name, value) = field.split_once('=').unwrap_or_else(|| panic!("{field:?} is not NAME=VALUE"));
                if name == "id" {
                    id = Some(value.to_owned())
                } else {
                    data.insert(name.to_owned(), value_of(name, value));
                }
            }
            // Who speaks is said beside the command.
            let by_owner = data.remove("by_owner");
            let mut command = json!({ command: data });
            if let Some(by_owner) = by_owner {
                command["by_owner"] = by_owner;
            }
            Action::Say { actor: actor.to_owned(), id, command }
        }
        _ => panic!("no scenario says {text:?}"),
    }
}

fn use_of(mut event: Use, pairs: &[&str], day: &str) -> Use {
    for pair in pairs.chunks(2) {
        let [word, value] = pair else { panic!("{pair:?} is no pair") };
        let value = Some((*value).to_owned());
        match *word {
            "by" => event.agent = value,
            "in" => event.workspace = value,
            "for" => event.user = value,
            "at" => event.at = value.map(|text| clock(&text, day)),
            "id" => event.id = value,
            "product" => event.product = value,
            "trigger" => event.trigger = value,
            "model" => event.model = value,
            _ => panic!("an event has no {word:?}"),
        }
    }
    event
}

/// Numbers, true and false, lists with commas where the field is a list, JSON in braces; else a text.
fn value_of(name: &str, value: &str) -> Json {
    let is_list = matches!(name, "thresholds_percent" | "members" | "controls");
    if is_list {
        return value.split(',').map(|one| value_of("", one)).collect();
    }
    if value.starts_with('{') || matches!(value, "true" | "false") {
        return serde_json::from_str(value).unwrap_or_else(|error| panic!("{value}: {error}"));
    }
    value.parse::<i64>().map_or_else(|_| json!(value), Json::from)
}
