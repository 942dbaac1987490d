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
    life::Step,
    lives::Life,
    masks::Masks,
    play::{self, Lived},
    script,
    shrink::{Failing, kind_of, shrink},
};

/// A failing life is made shorter for so long.
const SHRINK_MAX: Duration = Duration::from_secs(30);

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
    /// Leads the lives of these numbers, or up to the first that fails.
    pub fn lead(&self, numbers: Range<u64>, draw: impl Fn(u64) -> Life + Sync) -> Ended {
        let (next, stops) = (AtomicU64::new(numbers.start), AtomicBool::new(false));
        let ended = Mutex::new((Coverage::default(), Vec::new()));
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
                        let life = draw(number);
                        let lived = play::live(&life.steps, &self.masks);
                        let mut ended = ended.lock().expect("counting does not panic");
                        ended.0.add(&life, &lived);
                        if let Some(failure) = failure(number, life, lived) {
                            ended.1.push(failure);
                            stops.store(!self.goes_on, Ordering::Relaxed);
                        }
                    }
                });
            }
        });
        let _ = std::panic::take_hook();
        let (coverage, mut failures) = ended.into_inner().expect("counting does not panic");
        failures.sort_by_key(|failure| failure.number);
        Ended { coverage, failures }
    }

    /// The first failure, made short, as a scenario.
    pub fn first_failure(&self, failures: Vec<Failure>) -> String {
        let Some(first) = failures.into_iter().next() else { return String::new() };
        let (number, theme, steps) = (first.number, first.theme, first.failing.steps.len());
        let short = self.shorten(first.failing);
        format!("life {number} ({theme}) failed after {steps} steps; what remains of it:\n{}", script::scenario(&short))
    }

    /// A failing life with as few lines as can be found.
    pub fn shorten(&self, failing: Failing) -> Failing {
        std::panic::set_hook(Box::new(|_| {}));
        let short = shrink(failing, SHRINK_MAX, |steps: &[Step]| {
            let lived = play::live(steps, &self.masks);
            lived.difference.map(|difference| (lived.steps, difference))
        });
        let _ = std::panic::take_hook();
        short
    }
}

fn failure(number: u64, life: Life, lived: Lived) -> Option<Failure> {
    let difference = lived.difference?;
    let mut steps = life.steps;
    steps.truncate(lived.steps);
    Some(Failure { number, theme: life.theme, failing: Failing { steps, difference } })
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
