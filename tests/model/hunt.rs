//! How many kinds of fault lives find by themselves: a life goes on past a difference. What remains of it after it was made
//! short tells its kind (`kinds.rs`); then the command that brought it about is left out of the life, and the life is led
//! again from its beginning.

use std::{collections::BTreeMap, fmt::Write as _, sync::Mutex, time::Duration};

use crate::{
    kinds,
    life::{Step, What},
    lives::Life,
    play,
    run::Run,
    script,
    shrink::{Failing, kind_of, shrink},
};

/// A life goes on past so many differences.
const DIFFERENCES_MAX: usize = 40;

/// So many steps may belong to the beginning of a life.
const OPENING: usize = 16;

/// Of each kind so many lives are shown.
const SHOWN_MAX: usize = 8;

/// A failing life is made shorter for so long.
const SHRINK_MAX: Duration = Duration::from_millis(700);

/// One kind that was found.
#[derive(Default)]
pub struct FoundKind {
    /// How often.
    times: usize,
    /// In the step of this number, counted over all lives, and in which life.
    first: (usize, u64),
    /// What remained of some of these lives.
    shorts: Vec<String>,
}

/// All kinds that were found.
#[derive(Default)]
pub struct Hunt {
    kinds: BTreeMap<String, FoundKind>,
}

impl Hunt {
    /// Leads a life past everything that it finds. It is the life of `number`, and begins after `steps_before` steps.
    pub fn lead(hunt: &Mutex<Self>, run: &Run, number: u64, steps_before: usize, life: Life) {
        let mut places: Vec<usize> = (0..life.steps.len()).collect();
        for _ in 0..DIFFERENCES_MAX {
            let steps: Vec<Step> = places.iter().map(|place| life.steps[*place].clone()).collect();
            let lived = play::live(&steps, &run.masks);
            let Some(difference) = lived.difference else { return };
            let failing = Failing {
                steps: steps[..lived.steps].to_vec(),
                places: places[..lived.steps].to_vec(),
                difference,
            };
            let at = failing.places.last().copied().unwrap_or(0);
            let short = shrink(failing, SHRINK_MAX, &run.masks);
            let culprit = culprit(&short);
            places.retain(|place| *place != culprit);
            let name = kinds::of(&short).map_or_else(|| format!("? {}", kind_of(&short.difference)), str::to_owned);
            hunt.lock().expect("noting does not panic").note(name, (steps_before + at, number), &short);
        }
    }

    fn note(&mut self, name: String, first: (usize, u64), short: &Failing) {
        let found = self.kinds.entry(name).or_default();
        found.times += 1;
        if found.times == 1 || first < found.first {
            found.first = first;
        }
        if found.shorts.len() < SHOWN_MAX {
            found.shorts.push(format!("# life {}\n{}", first.1, script::scenario(short)));
        }
    }

    /// The kinds, with those that were not found at the end; then what remained of the first life of each.
    pub fn table(&self) -> String {
        let mut table = "   times   in step  kind\n".to_owned();
        for (name, found) in &self.kinds {
            let _ = writeln!(table, "{:>8}  {:>8}  {name}", found.times, found.first.0);
        }
        for name in kinds::names().filter(|name| !self.kinds.contains_key(*name)) {
            let _ = writeln!(table, "       -         -  {name}");
        }
        for (name, found) in &self.kinds {
            let _ = writeln!(table, "\n## {name}\n{}", found.shorts.join("\n"));
        }
        table
    }
}

/// The step that is left out: the last command, but for those of the beginning that say what is used and how it is paid;
/// else the last usage.
fn culprit(short: &Failing) -> usize {
    let is_command = |(step, place): &(&Step, &usize)| match &step.what {
        What::Say { command, .. } => {
            **place > OPENING || !matches!(command.as_str(), "set_rate_card" | "set_mode" | "set_seat_type")
        }
        _ => false,
    };
    let is_usage = |(step, _): &(&Step, &usize)| matches!(step.what, What::Use(_));
    let steps = || short.steps.iter().zip(&short.places).rev();
    let found = steps().find(is_command).or_else(|| steps().find(is_usage)).or_else(|| steps().next());
    *found.expect("a life that fails has a step").1
}
