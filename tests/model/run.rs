//! Many lives, on all cores.

use std::{
    collections::BTreeMap,
    fmt::Write as _,
    ops::Range,
    sync::{
        Mutex,
        atomic::{AtomicBool, AtomicU64, Ordering},
    },
    time::Duration,
};

use crate::{
    coverage::Coverage,
    hunt::Hunt,
    lives::Life,
    masks::Masks,
    play::{self, Attention, Lived},
    script,
    shrink::{Failing, kind_of, shrink},
};

/// A failing life is made shorter for so long.
const SHRINK_MAX: Duration = Duration::from_secs(20);

/// How lives are led.
pub struct Run {
    /// What is passed over.
    pub masks: Masks,
    /// Whether other lives are led after one that failed.
    pub goes_on: bool,
}

/// A life that failed.
pub struct Failure {
    /// Which.
    pub number: u64,
    /// What it was about.
    pub theme: &'static str,
    /// Up to the step that failed.
    pub failing: Failing,
}

/// What became of the lives.
pub struct Ended {
    /// What they came through.
    pub coverage: Coverage,
    /// Those that failed, by number.
    pub failures: Vec<Failure>,
}

impl Run {
    /// Calls `lead` for each of these numbers, on all cores, until it says that it is enough.
    pub fn on_all_cores(numbers: Range<u64>, lead: impl Fn(u64) -> bool + Sync) {
        let (next, stops) = (AtomicU64::new(numbers.start), AtomicBool::new(false));
        // A panic of either side is a difference, and told as such.
        std::panic::set_hook(Box::new(|_| {}));
        std::thread::scope(|scope| {
            for _ in 0..std::thread::available_parallelism().map_or(2, usize::from) {
                scope.spawn(|| {
                    while !stops.load(Ordering::Relaxed) {
                        let number = next.fetch_add(1, Ordering::Relaxed);
                        if number >= numbers.end {
                            return;
                        }
                        if lead(number) {
                            stops.store(true, Ordering::Relaxed);
                        }
                    }
                });
            }
        });
        let _ = std::panic::take_hook();
    }

    /// Leads the lives of these numbers by the model alone.
    pub fn lead_alone(&self, numbers: Range<u64>, draw: impl Fn(u64) -> Life + Sync) -> Coverage {
        let coverage = Mutex::new(Coverage::default());
        Self::on_all_cores(numbers, |number| {
            let life = draw(number);
            let lived = play::live_with(&life.steps, &self.masks, Attention::All, &[], false);
            coverage.lock().expect("counting does not panic").add(&life, &lived);
            false
        });
        coverage.into_inner().expect("counting does not panic")
    }

    /// Leads the lives of these numbers past everything that they find.
    pub fn hunt(&self, numbers: Range<u64>, draw: impl Fn(u64) -> Life + Sync) -> Hunt {
        let (hunt, first) = (Mutex::new(Hunt::default()), numbers.start);
        Self::on_all_cores(numbers, |number| {
            let life = draw(number);
            let steps_before = (number - first) as usize * life.steps.len();
            Hunt::lead(&hunt, self, number, steps_before, &life);
            false
        });
        hunt.into_inner().expect("noting does not panic")
    }

    /// Leads the lives of these numbers, or up to the first that fails.
    pub fn lead(&self, numbers: Range<u64>, draw: impl Fn(u64) -> Life + Sync) -> Ended {
        let ended = Mutex::new((Coverage::default(), Vec::new()));
        Self::on_all_cores(numbers, |number| {
            let life = draw(number);
            let lived = play::live(&life.steps, &self.masks);
            let mut ended = ended.lock().expect("counting does not panic");
            ended.0.add(&life, &lived);
            let failure = failure(number, life, lived);
            let is_enough = failure.is_some() && !self.goes_on;
            ended.1.extend(failure);
            is_enough
        });
        let (coverage, mut failures) = ended.into_inner().expect("counting does not panic");
        failures.sort_by_key(|failure| failure.number);
        Ended { coverage, failures }
    }

    /// Of each way to fail, so many failures, each made short, as scenarios.
    pub fn show(&self, failures: Vec<Failure>, of_each: usize) -> String {
        let mut shown: BTreeMap<String, usize> = BTreeMap::new();
        let mut text = String::new();
        for failure in failures {
            let of_kind = shown.entry(kind_of(&failure.failing.difference)).or_default();
            *of_kind += 1;
            if *of_kind <= of_each {
                let (number, theme, steps) = (failure.number, failure.theme, failure.failing.steps.len());
                let short = script::scenario(&self.shorten(failure.failing));
                let _ =
                    writeln!(text, "life {number} ({theme}) failed after {steps} steps; what remains of it:\n{short}");
            }
        }
        text
    }

    /// A failing life with as few lines as can be found.
    pub fn shorten(&self, failing: Failing) -> Failing {
        std::panic::set_hook(Box::new(|_| {}));
        let short = shrink(failing, SHRINK_MAX, &self.masks);
        let _ = std::panic::take_hook();
        short
    }
}

fn failure(number: u64, life: Life, lived: Lived) -> Option<Failure> {
    let difference = lived.difference?;
    let mut steps = life.steps;
    steps.truncate(lived.steps);
    let places = (0..steps.len()).collect();
    Some(Failure { number, theme: life.theme, failing: Failing { steps, places, difference } })
}

/// How many lives failed in which way.
pub fn summary(failures: &[Failure]) -> String {
    let mut kinds: BTreeMap<String, Vec<u64>> = BTreeMap::new();
    for failure in failures {
        kinds.entry(kind_of(&failure.failing.difference)).or_default().push(failure.number);
    }
    let mut summary = format!("{} lives failed\n", failures.len());
    for (kind, seeds) in kinds {
        let some: Vec<String> = seeds.iter().take(5).map(u64::to_string).collect();
        let _ = writeln!(summary, "  {:>6}  {kind} (lives {} …)", seeds.len(), some.join(", "));
    }
    summary
}
