//! Reads a scenario (the language is that of `tests/scenarios/language.rs`) as the steps of a life, with the lines that it
//! expects.

use jiff::Timestamp;
use serde_json::{Map, Value as Json, json};

use crate::life::{Step, Use, What};

/// Reads a scenario: of each line what happens, the `=>` lines that follow it, and its `then` lines.
///
/// # Panics
/// If a line is not of the language.
pub fn parse(text: &str) -> Vec<(Step, Vec<String>, Vec<String>)> {
    let mut steps: Vec<(Step, Vec<String>, Vec<String>)> = Vec::new();
    let mut day = String::new();
    for line in text.lines() {
        let line = line.split('#').next().unwrap_or_default().trim();
        if line.is_empty() {
            continue;
        }
        if let Some(expected) = line.strip_prefix("=>") {
            steps.last_mut().expect("something happens before it is published").1.push(expected.trim().to_owned());
        } else if let Some(then) = line.strip_prefix("then ") {
            steps.last_mut().expect("something happens before it is looked at").2.push(then.trim().to_owned());
        } else {
            let number = steps.len();
            steps.push((step(line, &mut day, number), Vec::new(), Vec::new()));
        }
    }
    steps
}

/// A line that opens with its time: `2026-01-15 10:00`, or `10:00` on the day of the line before; `10:00@09:58` where the
/// clock is behind the record.
fn step(line: &str, day: &mut String, number: usize) -> Step {
    let mut words: Vec<&str> = line.split_whitespace().collect();
    if words[0].len() == 10 && words[0].matches('-').count() == 2 {
        words.remove(0).clone_into(day);
    }
    let time = words.remove(0);
    let (at, clock) = time.split_once('@').unwrap_or((time, time));
    let at_ms = instant(at, day);
    Step { at_ms, clock_ms: instant(clock, day), what: what(&words, day, at_ms, number) }
}

/// `10:00`, `10:00:30`, or with a day `2026-01-15T10:00`.
fn instant(text: &str, day: &str) -> i64 {
    let text = text.trim_end_matches('Z');
    let (day, time) = text.split_once('T').unwrap_or((day, text));
    let seconds = if time.len() == 5 { ":00" } else { "" };
    let written = format!("{day}T{time}{seconds}Z");
    let instant: Timestamp = written.parse().unwrap_or_else(|why| panic!("{written:?}: {why}"));
    instant.as_millisecond()
}

fn what(words: &[&str], day: &str, at_ms: i64, number: usize) -> What {
    match words {
        ["time", "passes"] => What::Pass,
        ["price", fields @ ..] => price(fields, at_ms, number),
        ["use", tokens, pairs @ ..] => {
            let tokens = Some(tokens.parse().unwrap_or_else(|_| panic!("{tokens:?} is no number of tokens")));
            What::Use(use_of(Use { tokens, ..event(at_ms, number) }, pairs, day))
        }
        ["run", phase, pairs @ ..] => {
            What::Use(use_of(Use { phase: (*phase).to_owned(), ..event(at_ms, number) }, pairs, day))
        }
        [actor, "says", command, fields @ ..] => say(actor, command, fields, day, at_ms, number),
        _ => panic!("no scenario says {words:?}"),
    }
}

/// A rate card for every model.
fn price(fields: &[&str], at_ms: i64, number: usize) -> What {
    let mut prices = Map::from_iter([("input_micro".to_owned(), json!(0)), ("output_micro".to_owned(), json!(0))]);
    let mut card = Map::from_iter([("effective_from".to_owned(), json!("2020-01-01T00:00:00Z"))]);
    for field in fields {
        let (name, value) = field.split_once('=').expect("a price is NAME=MICRO");
        let to = if name == "completed_run_micro" { &mut card } else { &mut prices };
        to.insert(name.to_owned(), value_of(name, value));
    }
    card.insert("default_prices".to_owned(), prices.into());
    let command = "set_rate_card".to_owned();
    What::Say { actor: "admin".to_owned(), id: format!("c{number}"), time_ms: at_ms, command, fields: card }
}

/// `id=` and `sent=` are the record's own; all other fields are the command's.
fn say(actor: &str, command: &str, words: &[&str], day: &str, at_ms: i64, number: usize) -> What {
    let (mut id, mut time_ms, mut fields) = (format!("c{number}"), at_ms, Map::new());
    for word in words {
        let (name, value) = word.split_once('=').unwrap_or_else(|| panic!("{word:?} is not NAME=VALUE"));
        match name {
            "id" => value.clone_into(&mut id),
            "sent" => time_ms = instant(value, day),
            _ => drop(fields.insert(name.to_owned(), value_of(name, value))),
        }
    }
    What::Say { actor: actor.to_owned(), id, time_ms, command: command.to_owned(), fields }
}

/// An event under the number of its step, unless it has an id of its own.
fn event(at_ms: i64, number: usize) -> Use {
    Use { id: format!("e{number}"), time_ms: at_ms, ..Use::default() }
}

fn use_of(mut event: Use, pairs: &[&str], day: &str) -> Use {
    for pair in pairs.chunks(2) {
        let [word, value] = pair else { panic!("{pair:?} is no pair") };
        let text = Some((*value).to_owned());
        match *word {
            "by" => event.agent = text,
            "in" => event.workspace = text,
            "for" => event.user = text,
            "at" => event.time_ms = instant(value, day),
            "id" => (*value).clone_into(&mut event.id),
            "product" => event.product = text,
            "trigger" => event.trigger = text,
            "model" => event.model = text,
            _ => panic!("an event has no {word:?}"),
        }
    }
    event
}

/// Numbers, true and false, lists with commas where the field is a list, JSON in braces; else a text.
fn value_of(name: &str, value: &str) -> Json {
    if matches!(name, "thresholds_percent" | "members" | "controls") {
        return value.split(',').map(|one| value_of("", one)).collect();
    }
    if value.starts_with('{') || matches!(value, "true" | "false") {
        return serde_json::from_str(value).unwrap_or_else(|error| panic!("{value}: {error}"));
    }
    value.parse::<i64>().map_or_else(|_| json!(value), Json::from)
}
