//! Figures: gathered over rounds, shown as medians and ranges, kept as lines of JSON.

use std::{fmt::Display, time::Duration};

use comfy_table::{Table, presets::UTF8_BORDERS_ONLY};
use serde::{Deserialize, Serialize};

/// The CPU time that this process has used.
pub fn cpu_time() -> Duration {
    clock(libc::CLOCK_PROCESS_CPUTIME_ID)
}

/// The CPU time that this thread has used.
pub fn thread_cpu_time() -> Duration {
    clock(libc::CLOCK_THREAD_CPUTIME_ID)
}

fn clock(clock: libc::clockid_t) -> Duration {
    let mut time = libc::timespec { tv_sec: 0, tv_nsec: 0 };
    // SAFETY: the clock exists, and the time is ours to write to.
    #[allow(unsafe_code, reason = "the standard library has no CPU time")]
    let failed = unsafe { libc::clock_gettime(clock, &mut time) };
    assert_eq!(failed, 0, "there is a CPU clock");
    Duration::new(u64::try_from(time.tv_sec).unwrap_or(0), u32::try_from(time.tv_nsec).unwrap_or(0))
}

/// Memory that this process has in RAM, in bytes; 0 where the system does not tell.
pub fn resident_bytes() -> u64 {
    let status = std::fs::read_to_string("/proc/self/status").unwrap_or_default();
    let line = status.lines().find_map(|line| line.strip_prefix("VmRSS:"));
    let kib = line.and_then(|line| line.trim().trim_end_matches("kB").trim().parse::<u64>().ok());
    kib.unwrap_or(0) * 1024
}

/// How many in a second.
pub fn per_second(count: u64, wall: Duration) -> u64 {
    ratio(u128::from(count) * 1_000_000_000, u64::try_from(wall.as_nanos()).unwrap_or(u64::MAX))
}

/// A share of each.
pub fn ratio(of: u128, by: u64) -> u64 {
    u64::try_from(of / u128::from(by.max(1))).unwrap_or(u64::MAX)
}

/// What was measured of one case, once for each round, in thousandths of the unit.
struct Series {
    case: String,
    measure: &'static str,
    unit: &'static str,
    thousandths: Vec<u64>,
}

impl Series {
    /// The smallest, the one in the middle, and the largest.
    fn spread(&self) -> [u64; 3] {
        let mut sorted = self.thousandths.clone();
        sorted.sort_unstable();
        [0, sorted.len() / 2, sorted.len() - 1].map(|position| sorted[position])
    }
}

/// All figures of a run, in the order in which they came.
#[derive(Default)]
pub struct Figures {
    all: Vec<Series>,
}

/// A figure as it is kept: what lies in the middle of its rounds, and how far they lie apart. For people; nothing is decided
/// by it.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Figure {
    /// Which case.
    pub case: String,
    /// What was measured.
    pub measure: String,
    /// The unit; empty for a number of things.
    pub unit: String,
    /// The one in the middle.
    pub median: f64,
    /// The smallest.
    pub min: f64,
    /// The largest.
    pub max: f64,
}

impl Figures {
    /// Adds a figure in whole units.
    pub fn add(&mut self, case: &str, measure: &'static str, value: u64, unit: &'static str) {
        self.add_thousandths(case, measure, value.saturating_mul(1_000), unit);
    }

    /// Adds a figure in thousandths of its unit.
    pub fn add_thousandths(&mut self, case: &str, measure: &'static str, thousandths: u64, unit: &'static str) {
        let known = self.all.iter_mut().find(|series| series.case == case && series.measure == measure);
        match known {
            Some(series) => series.thousandths.push(thousandths),
            None => self.all.push(Series { case: case.to_owned(), measure, unit, thousandths: vec![thousandths] }),
        }
    }

    /// Medians and ranges.
    pub fn figures(&self) -> Vec<Figure> {
        let figure = |series: &Series| {
            let [min, median, max] = series.spread().map(|thousandths| thousandths as f64 / 1_000.0);
            Figure {
                case: series.case.clone(),
                measure: series.measure.to_owned(),
                unit: series.unit.to_owned(),
                median,
                min,
                max,
            }
        };
        self.all.iter().map(figure).collect()
    }
}

/// Prints figures for people.
pub fn print_table(figures: &[Figure]) {
    let mut table = Table::new();
    table.load_preset(UTF8_BORDERS_ONLY).set_header(["case", "measure", "median", "min", "max", "unit"]);
    for Figure { case, measure, unit, median, min, max } in figures {
        let cells: [&dyn Display; 6] = [case, measure, median, min, max, unit];
        table.add_row(cells.map(ToString::to_string));
    }
    println!("{table}");
}

/// Prints one line of JSON per figure.
pub fn print_json(figures: &[Figure]) {
    for figure in figures {
        println!("{}", serde_json::to_string(figure).expect("figures are texts and finite numbers"));
    }
}
