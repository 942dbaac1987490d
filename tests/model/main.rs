//! The account, held against its definition: a model that was written from docs/specification.md alone lives the same
//! random lives, and both sides must say and hold the same after every step.
//!
//! - `life`: what a life is made of. `lives` draws them, `language` reads them from the text of a scenario.
//! - `definition`: the model. `account`, `words`, `stored`: the real one, in the same words.
//! - `play` leads a life on both sides, `compare` finds where they differ, `masks` name what is passed over.
//! - `mutations` break the account, one thing at a time: lives must tell.
//! - `shrink` makes a failing life short, `script` prints it as a scenario, `coverage` counts what the lives came through.

mod account;
mod compare;
mod coverage;
mod definition;
mod hunt;
mod kinds;
mod language;
mod life;
mod lives;
mod masks;
mod mutations;
mod past;
mod play;
mod run;
mod script;
mod shrink;
mod stored;
mod words;

use coverage::Coverage;
use run::{Ended, Run};

/// Steps of `cargo test`; `make model` and `make soak` set STEPS.
const STEPS: usize = 10_000;

/// Steps of one life; LIFE sets others.
const LIFE: usize = 150;

fn number(name: &str, usual: usize) -> usize {
    std::env::var(name).map_or(usual, |text| text.parse().unwrap_or_else(|_| panic!("{name}={text} is no number")))
}

fn steps_of(scenario: &str) -> Vec<life::Step> {
    language::parse(scenario).into_iter().map(|(step, ..)| step).collect()
}

/// How lives are led, as the environment says.
fn run() -> Run {
    let run = Run { masks: masks::Masks::of_environment(), goes_on: std::env::var("GO_ON").is_ok() };
    println!("MASKS={}", run.masks.names());
    run
}

/// Prints what lives came through, and fails with the first that failed.
fn check(run: &Run, ended: Ended) -> Coverage {
    println!("{}", ended.coverage.table());
    println!("{}", run::summary(&ended.failures));
    let has_failed = !ended.failures.is_empty();
    let shown = run.show(ended.failures, number("SHOW", 1));
    assert!(!has_failed, "{shown}");
    ended.coverage
}

#[test]
fn l1_random_lives_agree_with_the_definition() {
    let (run, seed) = (run(), number("SEED", 1) as u64);
    let (steps, life) = (number("STEPS", STEPS), number("LIFE", LIFE));
    println!("SEED={seed} STEPS={steps} LIFE={life}");
    let lives = seed..seed + steps.div_ceil(life) as u64;
    let ended = run.lead(lives, |seed| lives::draw(seed, life, run.masks.vocabulary()));
    let short = check(&run, ended).short(&lives::commands(run.masks.vocabulary()));
    assert!(short.is_empty(), "the lives did not come through enough:\n{}", short.join("\n"));
}

#[test]
fn l1_lives_that_come_to_a_bound_agree_with_the_definition() {
    let (run, lives) = (run(), lives::to_the_bounds().len() as u64);
    let life = |number: u64| lives::to_the_bounds().swap_remove(number as usize);
    if std::env::var("ALONE").is_ok() {
        let coverage = run.lead_alone(0..lives, life);
        return println!("{}\nnever refused with: {:?}", coverage.table(), coverage.bounds_missed());
    }
    let missed = check(&run, run.lead(0..lives, life)).bounds_missed();
    assert!(missed.is_empty(), "no life came to these bounds: {missed:?}");
}

/// What lives come through, by the model alone: with `ALONE=1` only, for whoever changes how lives are drawn.
#[test]
fn lives_come_through_enough() {
    if std::env::var("ALONE").is_err() {
        return;
    }
    let (run, seed) = (run(), number("SEED", 1) as u64);
    let (steps, life) = (number("STEPS", STEPS), number("LIFE", LIFE));
    let lives = seed..seed + steps.div_ceil(life) as u64;
    let coverage = run.lead_alone(lives, |seed| lives::draw(seed, life, run.masks.vocabulary()));
    println!("{}\n{}", coverage.table(), coverage.short(&lives::commands(run.masks.vocabulary())).join("\n"));
}

/// The table of the kinds of fault that lives find, in an account that has some: with `HUNT=1` only.
#[test]
fn l2_lives_find_faults_by_themselves() {
    if std::env::var("HUNT").is_err() {
        return;
    }
    let (run, seed) = (run(), number("SEED", 1) as u64);
    let (steps, life) = (number("STEPS", STEPS), number("LIFE", LIFE));
    println!("SEED={seed} STEPS={steps} LIFE={life}");
    let lives = seed..seed + steps.div_ceil(life) as u64;
    let hunt = run.hunt(lives, |seed| lives::draw(seed, life, run.masks.vocabulary()));
    println!("{}", hunt.table());
}

/// Each evaluation and each bound left out of the account by itself is told of by some life: with `MUTATIONS=1` only.
#[test]
fn l4_whatever_the_account_leaves_out_lives_tell() {
    if std::env::var("MUTATIONS").is_err() {
        return;
    }
    let (table, unfound) = mutations::table(number("STEPS", 100_000), number("LIFE", LIFE));
    println!("{table}");
    assert!(unfound.is_empty(), "nothing tells when these are left out:\n{}", unfound.join("\n"));
}

/// Shows what both sides say of the scenario, or of the life by its number, that `LOOK` names, line by line.
#[test]
fn looks_at_a_scenario() {
    let Ok(path) = std::env::var("LOOK") else { return };
    let masks = masks::Masks::of_environment();
    let steps = match path.parse() {
        Ok(seed) => lives::draw(seed, number("LIFE", LIFE), masks.vocabulary()).steps,
        Err(_) => steps_of(&std::fs::read_to_string(path).expect("the scenario can be read")),
    };
    println!("{}", play::side_by_side(&steps, &masks));
}

/// Tells of each scenario in the directory `CLASSIFY` of which kind of fault it is here.
#[test]
fn classifies_scenarios() {
    let Ok(directory) = std::env::var("CLASSIFY") else { return };
    let run = run();
    let files = std::fs::read_dir(directory).expect("the directory can be read");
    let mut files: Vec<_> = files.map(|file| file.expect("a file").path()).collect();
    files.sort();
    for file in files {
        let text = std::fs::read_to_string(&file).expect("a scenario is text");
        let steps = steps_of(&text);
        let (kinds, shorts) = hunt::kinds_of_life(&run, &steps);
        println!("{}: {kinds}\n{shorts}", file.file_stem().unwrap_or_default().to_string_lossy());
    }
}
