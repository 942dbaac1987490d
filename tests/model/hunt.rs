//! How many kinds of fault lives find by themselves: a life goes on past a difference. What has no effect on what follows
//! is passed over (`past.rs`). Else the command that brought the difference about is left out of the life, and the life is
//! led again from its beginning. What remains of each after it was made short tells its kind (`kinds.rs`).

use std::{
    collections::{BTreeMap, HashMap, HashSet},
    fmt::Write as _,
    sync::Mutex,
    time::Duration,
};

use crate::{
    compare::Difference,
    kinds,
    life::{Step, What},
    lives::Life,
    play::{self, Attention},
    run::Run,
    script,
    shrink::{Failing, kind_of, shrink_past, way_of},
};

/// A life is led so often.
const ROUNDS_MAX: usize = 25;

/// Of each way to fail so many lives are made short.
const WAY_MAX: usize = 60;

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
    /// How often lives failed in each way.
    ways: HashMap<String, usize>,
}

impl Hunt {
    /// Leads a life past everything that it finds. It is the life of `number`, and begins after `steps_before` steps.
    pub fn lead(hunt: &Mutex<Self>, run: &Run, number: u64, steps_before: usize, life: &Life) {
        let mut places: Vec<usize> = (0..life.steps.len()).collect();
        let mut seen = HashSet::new();
        for _ in 0..ROUNDS_MAX {
            let steps: Vec<Step> = places.iter().map(|place| life.steps[*place].clone()).collect();
            let lived = play::live_past(&steps, &run.masks, Attention::All);
            let mut last = None;
            for (taken, lines) in lived.passed {
                let (steps, places) = (&steps[..taken], &places[..taken]);
                let at = places[taken - 1];
                for place in 0..lines.len() {
                    let mut lines = lines.clone();
                    lines.swap(0, place);
                    // Causes are told as pauses, and one count is as good as another.
                    let what = lines[0].what.split(' ').next().unwrap_or_default().to_owned();
                    let is_more = (what == "causes" && lines.len() > 1) || (what == "count" && place > 0);
                    if is_more || !seen.insert((at, lines[0].what.clone())) {
                        continue;
                    }
                    let difference = Difference { view: "kept", lines };
                    let failing = Failing { steps: steps.to_vec(), places: places.to_vec(), difference };
                    if hunt.lock().expect("noting does not panic").knows(&failing) {
                        continue;
                    }
                    let short = shrink_past(failing, SHRINK_MAX, &run.masks);
                    last = Some(culprit(&short));
                    hunt.lock().expect("noting does not panic").note((steps_before + at, number), &short);
                }
            }
            if lived.difference.is_none() {
                return;
            }
            let culprit = last.unwrap_or(places[lived.steps - 1]);
            places.retain(|place| *place != culprit);
        }
    }

    /// Whether lives failed in this way so often that one more tells nothing.
    fn knows(&mut self, failing: &Failing) -> bool {
        let way = way_of(&failing.steps, &failing.difference);
        let names = |word: &&str| !word.contains([':', '/']) && *word != "org";
        let way: Vec<&str> = way.split(' ').filter(names).collect();
        let times = self.ways.entry(way.join(" ")).or_default();
        *times += 1;
        *times > WAY_MAX
    }

    fn note(&mut self, first: (usize, u64), short: &Failing) {
        let name = kinds::of(short).map_or_else(|| format!("? {}", kind_of(&short.difference)), str::to_owned);
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

/// The kinds of the differences of a life, each found after the one before was left out, and what remained of each.
pub fn kinds_of_life(run: &Run, steps: &[Step]) -> (String, String) {
    let mut hunt = Mutex::new(Hunt::default());
    Hunt::lead(&hunt, run, 0, 0, &Life { theme: "", steps: steps.to_vec() });
    let kinds = &hunt.get_mut().expect("noting does not panic").kinds;
    let mut names: Vec<(usize, &str)> = kinds.iter().map(|(name, found)| (found.first.0, name.as_str())).collect();
    names.sort_unstable();
    let names = names.into_iter().map(|(_, name)| name).collect::<Vec<_>>().join(" | ");
    let shorts: Vec<String> = kinds.values().map(|found| found.shorts.join("\n")).collect();
    (names, shorts.join("\n"))
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
