//! The account, held against its definition: a model that was written from docs/specification.md alone lives the same
//! random lives, and both sides must say and hold the same after every step.
//!
//! - `life`: what a life is made of. `lives` draws them, `language` reads them from the text of a scenario.
//! - `definition`: the model. `account`, `words`, `stored`: the real one, in the same words.
//! - `play` leads a life on both sides, `compare` finds where they differ, `masks` name what is passed over.
//! - `shrink` makes a failing life short, `script` prints it as a scenario, `coverage` counts what the lives came through.

mod account;
mod compare;
mod coverage;
mod definition;
mod language;
mod life;
mod lives;
mod masks;
mod play;
mod run;
mod script;
mod shrink;
mod stored;
mod words;

use run::{Ended, Run};

/// Steps of `cargo test`; `make model` and `make soak` set STEPS.
const STEPS: usize = 10_000;

/// Steps of one life; LIFE sets others.
const LIFE: usize = 150;

fn number(name: &str, usual: usize) -> usize {
    std::env::var(name).map_or(usual, |text| text.parse().unwrap_or_else(|_| panic!("{name}={text} is no number")))
}

#[test]
fn l1_random_lives_agree_with_the_definition() {
    let run = Run {
        seed: number("SEED", 1) as u64,
        steps: number("STEPS", STEPS),
        life: number("LIFE", LIFE),
        masks: masks::Masks::of_environment(),
        goes_on: std::env::var("GO_ON").is_ok(),
    };
    println!("SEED={} STEPS={} LIFE={} MASKS={}", run.seed, run.steps, run.life, run.masks.names());
    let Ended { coverage, failures } = run.lead();
    println!("{}", coverage.table());
    println!("{}", run::summary(&failures));
    assert!(failures.is_empty(), "{}", run.first_failure(failures));
    let short = coverage.short(&lives::commands());
    assert!(short.is_empty(), "the lives did not come through enough:\n{}", short.join("\n"));
}
