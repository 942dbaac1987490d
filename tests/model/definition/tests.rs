//! The model alone plays scenarios: those that the account plays, and its own.

mod answers;
mod told;

use std::path::{Path, PathBuf};

use super::{
    Model,
    terms::{Kind, Meter, Scope, named},
    time::Calendar,
};
use crate::{
    language::parse,
    life::{Facts, Step, What},
};
use told::Names;

/// Plays a scenario. Returns each line in which the model says or holds something else than it expects.
fn play(text: &str) -> Vec<String> {
    let mut model = Model::new();
    let (mut reloads, mut wrong) = (Vec::new(), Vec::new());
    for (step, mut expected, then) in parse(text) {
        let said = model.step(&answering(step.clone(), &reloads));
        let asked = said.iter().filter(|said| said.text.starts_with("reload "));
        reloads.extend(asked.map(|said| said.identity.clone()));
        let sentences = said.iter().filter_map(|said| told::sentence(said, &model));
        let mut told: Vec<String> = sentences.map(|sentence| name_reloads(sentence, &reloads)).collect();
        told.sort();
        expected.sort();
        let at = jiff::Timestamp::from_millisecond(step.at_ms).expect("an instant");
        for line in missing(&expected, &told) {
            wrong.push(format!("{at} expected: {line}"));
        }
        for line in missing(&told, &expected) {
            wrong.push(format!("{at} said:     {line}"));
        }
        let facts = model.facts();
        for line in then {
            let answer = answer(&line, &model, &facts);
            if answer != line {
                wrong.push(format!("{at} then {line}, but {answer}"));
            }
        }
    }
    wrong
}

/// What `all` has and `others` has not, as often as it has it.
fn missing(all: &[String], others: &[String]) -> Vec<String> {
    let mut others = others.to_vec();
    let mut missing = all.to_vec();
    missing.retain(|line| match others.iter().position(|other| other == line) {
        Some(place) => {
            others.remove(place);
            false
        }
        None => true,
    });
    missing
}

/// The step with the identity of the reload that it answers: `$reload` is the last asked for, `$reload1` the first.
fn answering(mut step: Step, reloads: &[String]) -> Step {
    if let What::Say { fields, .. } = &mut step.what
        && let Some(id) = fields.get_mut("reload_id")
        && let Some(number) = id.as_str().and_then(|id| id.strip_prefix("$reload"))
    {
        let place = number.parse().unwrap_or(reloads.len());
        *id = reloads[place - 1].clone().into();
    }
    step
}

/// A sentence with the names that a scenario has for reloads.
fn name_reloads(sentence: String, reloads: &[String]) -> String {
    let named = reloads.iter().enumerate();
    named.fold(sentence, |sentence, (n, reload)| sentence.replace(reload, &format!("$reload{}", n + 1)))
}

/// What holds, in the words of a `then` line.
fn answer(line: &str, model: &Model, facts: &Facts) -> String {
    let words: Vec<&str> = line.split(' ').collect();
    let fact = |key: &str| facts.get(key).cloned().unwrap_or_default();
    match words[..] {
        [scope, meter, "per", window, "is", _] => {
            format!("{scope} {meter} per {window} is {}", count(model, scope, meter, window, 0))
        }
        [scope, meter, "per", window, "before", "is", _] => {
            format!("{scope} {meter} per {window} before is {}", count(model, scope, meter, window, 1))
        }
        [scope, "runs"] | [scope, "is", "paused", "for", ..] => {
            match fact(&format!("causes {}", scope_of(scope))).as_str() {
                "" => format!("{scope} runs"),
                causes => {
                    let is_in_full = words.contains(&"of") || words.contains(&"in");
                    let names = if is_in_full { Names::InFull } else { Names::ByKind };
                    format!("{scope} is paused for {}", told::causes(causes, names))
                }
            }
        }
        ["pool", "of", scope, "has", _, "left"] => {
            let left = fact(&format!("pool {scope}"));
            format!("pool of {scope} has {} left", left.split_once("left=").map_or("0", |(_, left)| left))
        }
        ["grant", id, "of", scope, "has", _, "left"] => {
            format!("grant {id} of {scope} has {} left", left_of_grant(model, scope, id))
        }
        ["overshoot", "of", scope, "by", rule, "is", _] => {
            let of_scope = facts.iter().filter(|(key, _)| key.starts_with(&format!("overshoot {scope} ")));
            let by = of_scope.filter(|(key, _)| key.contains(&format!(" {rule} window=")));
            let sum: i64 = by.map(|(_, micro)| micro.parse::<i64>().expect("a number")).sum();
            format!("overshoot of {scope} by {rule} is {sum}")
        }
        ["part", name, "of", scope, "is", _] => {
            let newest = facts.iter().rfind(|(key, _)| key.starts_with(&format!("part {scope} {name} ")));
            format!("part {name} of {scope} is {}", newest.map_or("0", |(_, part)| part))
        }
        ["model", name, "of", scope, "is", _] => {
            let newest = facts.iter().rfind(|(key, _)| key.starts_with(&format!("model {scope} {name} ")));
            let part = newest.map_or("0", |(_, part)| part);
            format!("model {name} of {scope} is {part}/{part}")
        }
        [scope, "is", "registered", "by", _] => {
            let by = model.history.registered.get(&scope_of(scope));
            format!("{scope} is registered by {}", by.map_or("nobody", String::as_str))
        }
        [scope, "has", "seat", _] => {
            let seat = fact(&format!("seat {}", scope.trim_start_matches("user:")));
            format!("{scope} has seat {}", if seat.is_empty() { "none" } else { &seat })
        }
        ["requests", "are", ..] => {
            let open = fact("requests").replace(", ", " ");
            format!("requests are {}", if open.is_empty() { "none" } else { &open })
        }
        _ => panic!("nobody can say whether {line:?}"),
    }
}

fn scope_of(name: &str) -> Scope {
    Scope::parse(name).unwrap_or_else(|| panic!("{name:?} is no scope"))
}

/// What is left of a grant; of a purchase whose period is over, for late charges of that period. -1 if there is none.
fn left_of_grant(model: &Model, scope: &str, id: &str) -> i64 {
    let (history, clock_ms) = (&model.history, model.clock_ms);
    let owner = scope_of(scope);
    let Some(place) = history.grant_of(&owner, id) else { return -1 };
    let grant = &history.grants[place];
    if grant.is_prepaid || grant.period.has(clock_ms) {
        return history.left(place, clock_ms);
    }
    let pots = history.pool_pots(&owner, history.moment(grant.period.end - 1, clock_ms, true));
    pots.iter().find(|(grant, _)| *grant == Some(place)).map_or(0, |(_, left)| *left)
}

/// The newest window of a scope in which something was counted, or the one before.
fn count(model: &Model, scope: &str, meter: &str, window: &str, back: usize) -> i64 {
    let kind = named(&Kind::ALL, window).expect("a window");
    let of = scope_of(scope);
    assert!(named(&Meter::ALL, meter).is_some(), "there is no meter {meter}");
    let counted = model.history.counted.iter().filter(|one| one.concerns(&of));
    let mut starts: Vec<i64> = counted.filter_map(|one| one.starts.of(kind)).collect();
    starts.sort_unstable();
    starts.dedup();
    starts.iter().rev().nth(back).map_or(0, |start| model.count(scope, window, *start, meter))
}

/// The scenarios of a folder. One without any would be a check that cannot fail.
fn scenarios(folder: &Path) -> Vec<PathBuf> {
    let entries = std::fs::read_dir(folder).unwrap_or_else(|why| panic!("{}: {why}", folder.display()));
    let mut files: Vec<PathBuf> = entries.map(|entry| entry.expect("a file").path()).collect();
    files.retain(|file| file.extension().is_some_and(|extension| extension == "txt"));
    files.sort();
    assert!(!files.is_empty(), "there is no scenario in {}", folder.display());
    files
}

#[test]
fn the_model_plays_scenarios() {
    let tests = concat!(env!("CARGO_MANIFEST_DIR"), "/tests");
    let own = format!("{tests}/scenarios,{tests}/model/definition/scenarios");
    let folders = std::env::var("SCENARIOS").unwrap_or(own);
    let mut failed = Vec::new();
    for file in folders.split(',').flat_map(|folder| scenarios(Path::new(folder))) {
        let text = std::fs::read_to_string(&file).expect("a scenario can be read");
        let wrong = play(&text);
        if !wrong.is_empty() {
            let name = file.file_stem().expect("a file").to_string_lossy().into_owned();
            failed.push(format!("{name}\n    {}", wrong.join("\n    ")));
        }
    }
    assert!(failed.is_empty(), "the model says something else in\n{}", failed.join("\n"));
}

#[test]
fn each_window_begins_where_the_one_before_ends() {
    let zone = |name: &str| jiff::tz::TimeZone::get(name).expect("a zone");
    let anchor = |day: i8| jiff::civil::date(2026, 1, day);
    let at = |text: &str| text.parse::<jiff::Timestamp>().expect("an instant").as_millisecond();
    let zones = ["UTC", "America/New_York", "Europe/Berlin", "Africa/Cairo", "Australia/Lord_Howe", "Asia/Kolkata"];
    for first in zones {
        for second in zones {
            let mut calendar = Calendar::default();
            calendar.begin_with(zone(first), anchor(31));
            calendar.change(at("2026-04-02T11:17:00Z"), zone("Pacific/Apia"), anchor(7));
            calendar.change(at("2026-04-02T12:17:00Z"), zone(second), anchor(20));
            calendar.change(at("2026-04-20T23:59:00Z"), zone(first), anchor(30));
            for kind in [Kind::Minute, Kind::Hour, Kind::Day, Kind::Week, Kind::Period] {
                let mut time = at("2026-03-20T00:00:00Z");
                for _ in 0..if kind == Kind::Hour { 2_000 } else { 60 } {
                    let window = calendar.window(kind, time);
                    assert!(window.has(time), "{kind:?} of {time} is {window:?}");
                    assert!(window.has(window.end - 1));
                    assert_eq!(calendar.window(kind, window.end - 1), window, "{kind:?}, {first} to {second}");
                    assert_eq!(calendar.window(kind, window.start), window, "{kind:?}, {first} to {second}");
                    let next = calendar.window(kind, window.end);
                    assert_eq!(next.start, window.end, "{kind:?}, {first} to {second}");
                    time = window.end;
                }
            }
        }
    }
}
