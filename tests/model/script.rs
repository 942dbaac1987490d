//! A life as a scenario: lines that `language.rs` reads, and that can be kept in `tests/scenarios`.

use std::fmt::Write as _;

use jiff::Timestamp;
use serde_json::{Map, Value as Json};

use crate::{
    life::{Step, Use, What},
    shrink::Failing,
};

/// Longer lives are shown by their beginning and their end.
const SHOWN_MAX: usize = 120;

/// A failing life with its difference as a comment.
pub fn scenario(failing: &Failing) -> String {
    let mut text = lines(&failing.steps);
    if failing.steps.len() > SHOWN_MAX {
        // Of a life that came to a bound: its lines are all alike.
        let shown: Vec<&str> = text.lines().collect();
        let (head, tail) = (&shown[..SHOWN_MAX / 2], &shown[shown.len() - SHOWN_MAX / 2..]);
        text = format!("{}\n# … {} lines …\n{}\n", head.join("\n"), shown.len() - SHOWN_MAX, tail.join("\n"));
    }
    for line in failing.difference.to_string().lines() {
        let _ = writeln!(text, "# {line}");
    }
    text
}

/// The lines of a life.
pub fn lines(steps: &[Step]) -> String {
    let mut text = String::new();
    let mut day = String::new();
    for step in steps {
        let (date, at) = day_and_time(step.at_ms);
        let opens = if date == day { "          ".to_owned() } else { date.clone() };
        day = date;
        let clock =
            if step.clock_ms == step.at_ms { String::new() } else { format!(" clock {}", at_of(step.clock_ms, &day)) };
        let _ = writeln!(text, "{opens} {at}{clock} {}", what(step, steps, &day));
    }
    text
}

fn what(step: &Step, steps: &[Step], day: &str) -> String {
    match &step.what {
        What::Pass => "time passes".to_owned(),
        What::Use(event) => of_use(event, step.at_ms, day, is_said_twice(&event.id, steps)),
        What::Say { actor, id, time_ms, command, fields } => {
            let mut line = format!("{actor} says {command}{}", of_fields(fields));
            if is_said_twice(id, steps) {
                let _ = write!(line, " id={id}");
            }
            if *time_ms != step.at_ms {
                let _ = write!(line, " sent={}", at_of(*time_ms, day));
            }
            line
        }
    }
}

/// Ids matter where one is used twice.
fn is_said_twice(id: &str, steps: &[Step]) -> bool {
    let is_same = |step: &&Step| match &step.what {
        What::Say { id: other, .. } => other == id,
        What::Use(event) => event.id == id,
        What::Pass => false,
    };
    steps.iter().filter(is_same).count() > 1
}

fn of_use(event: &Use, at_ms: i64, day: &str, with_id: bool) -> String {
    let mut line = match event.tokens {
        Some(tokens) => format!("use {tokens}"),
        None => format!("run {}", event.phase),
    };
    let id = with_id.then(|| event.id.clone());
    let at = (event.time_ms != at_ms).then(|| at_of(event.time_ms, day));
    for (word, value) in [
        ("by", &event.agent),
        ("in", &event.workspace),
        ("for", &event.user),
        ("product", &event.product),
        ("trigger", &event.trigger),
        ("model", &event.model),
        ("at", &at),
        ("id", &id),
    ] {
        if let Some(value) = value {
            let _ = write!(line, " {word} {value}");
        }
    }
    line
}

fn of_fields(fields: &Map<String, Json>) -> String {
    fields.iter().map(|(name, value)| format!(" {name}={}", of_value(value))).collect()
}

fn of_value(value: &Json) -> String {
    match value {
        Json::String(text) => text.clone(),
        Json::Array(values) => values.iter().map(of_value).collect::<Vec<_>>().join(","),
        other => other.to_string(),
    }
}

/// `09:30`, on another day than that of the line `2026-01-14T09:30`.
fn at_of(ms: i64, day: &str) -> String {
    let (date, time) = day_and_time(ms);
    if date == day { time } else { format!("{date}T{time}") }
}

fn day_and_time(ms: i64) -> (String, String) {
    let text = Timestamp::from_millisecond(ms).expect("an instant of a life").to_string();
    let (date, time) = text.trim_end_matches('Z').split_once('T').expect("an instant has a day and a time");
    (date.to_owned(), time.strip_suffix(":00").unwrap_or(time).to_owned())
}
