//! What an admin can say, and what comes of it: one file per row of the list of behaviours (docs/behaviours.md), in a
//! language that needs no Rust (see `language.rs`). Every file runs on the domain alone, on the ledger in memory with
//! everything forgotten after each line, and on real Kafka and Redis through the whole service.

#[path = "../support/mod.rs"]
mod support;

mod language;
mod laws;
mod many;
mod pipeline;
mod stage;
mod told;
mod views;

use std::path::Path;

use language::{Step, parse};
use stage::Stage;
use told::Seen;

/// Every scenario with its name.
fn scenarios() -> Vec<(String, Vec<Step>)> {
    let directory = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/scenarios");
    let only = std::env::var("SCENARIO").unwrap_or_default();
    let mut all = Vec::new();
    for entry in std::fs::read_dir(directory).expect("the scenarios are there") {
        let path = entry.expect("an entry").path();
        let name = path.file_stem().unwrap_or_default().to_string_lossy().into_owned();
        if path.extension().is_some_and(|extension| extension == "txt") && name.contains(&only) {
            let text = std::fs::read_to_string(&path).expect("a scenario is text");
            all.push((name, parse(&text)));
        }
    }
    all.sort_by(|(a, _), (b, _)| a.cmp(b));
    assert!(!all.is_empty(), "there is no scenario {only:?}");
    all
}

/// What differs from what a step expects.
fn differences(step: &Step, mut told: Vec<String>, seen: &Seen) -> Vec<String> {
    told.sort();
    let mut wrong = Vec::new();
    if told != step.expected {
        let list = |lines: &[String]| lines.iter().map(|line| format!("\n      => {line}")).collect::<String>();
        wrong.push(format!("published:{}\n    expected:{}", list(&told), list(&step.expected)));
    }
    for then in &step.then {
        let answer = seen.answer(then);
        if answer != *then {
            wrong.push(format!("then {answer}\n    expected: then {then}"));
        }
    }
    wrong.into_iter().map(|what| format!("  {}\n    {what}", step.line)).collect()
}

fn run_in_memory(after_each_line: impl Fn(&mut Stage)) {
    let mut failures = Vec::new();
    for (name, steps) in scenarios() {
        let mut stage = Stage::new();
        for (number, step) in steps.iter().enumerate() {
            stage.play(number, step);
            after_each_line(&mut stage);
            let told = std::mem::take(&mut stage.told);
            let wrong = differences(step, told, &stage.seen());
            failures.extend(wrong.into_iter().map(|what| format!("{name}\n{what}")));
        }
    }
    assert!(failures.is_empty(), "{}", failures.join("\n"));
}

#[test]
fn n1_on_the_domain() {
    run_in_memory(|_| {});
}

#[test]
fn n1_on_the_ledger_in_memory() {
    run_in_memory(Stage::drop_view);
}

#[test]
fn n1_through_the_service_on_kafka_and_redis() {
    pipeline::run(scenarios());
}
