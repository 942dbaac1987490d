//! Which states the lives came through: printed as a table, and held against minimums where they were long enough.

use std::{
    collections::{BTreeMap, BTreeSet},
    fmt::Write as _,
};

use crate::{
    life::{Facts, Step, What},
    lives::Life,
    play::Lived,
};

/// Minimums hold from so many steps on.
const STEPS: usize = 100_000;
const APPLIED_MIN: usize = 500;
const REFUSED_MIN: usize = 20;
const CAUSE_MIN: usize = 200;
const SOURCE_MIN: usize = 2_000;

const CAUSES: [&str; 8] =
    ["limit", "pool", "admin", "spend_limit", "seat_allowance", "extra_usage_off", "consent", "free_phase"];

const SOURCES: [&str; 6] = [
    "seat_credits_micro",
    "pool_credits_micro",
    "prepaid_credits_micro",
    "postpaid_credits_micro",
    "uncovered_credits_micro",
    "free_credits_micro",
];

/// What was counted over many lives.
#[derive(Default)]
pub struct Coverage {
    lives: usize,
    steps: usize,
    themes: BTreeMap<&'static str, usize>,
    said: BTreeMap<String, usize>,
    applied: BTreeMap<String, usize>,
    refused: BTreeMap<(String, String), usize>,
    dead_letters: BTreeMap<String, usize>,
    came: BTreeMap<String, usize>,
    went: BTreeMap<String, usize>,
    paid: BTreeMap<&'static str, usize>,
}

impl Coverage {
    /// Adds the steps of a life up to its end or its first difference.
    pub fn add(&mut self, life: &Life, lived: &Lived) {
        self.lives += 1;
        self.steps += lived.steps;
        *self.themes.entry(life.theme).or_default() += lived.steps;
        let nothing = Facts::new();
        let mut before = &nothing;
        for (step, told) in life.steps.iter().zip(&lived.told) {
            self.add_said(step, told.said.iter().map(|said| said.text.as_str()));
            self.add_causes(before, &told.facts);
            for source in SOURCES {
                if paid(before, &told.facts, source) {
                    *self.paid.entry(source).or_default() += 1;
                }
            }
            before = &told.facts;
        }
    }

    fn add_said<'a>(&mut self, step: &Step, said: impl Iterator<Item = &'a str>) {
        for text in said {
            let mut words = text.split(' ').map(str::to_owned);
            let mut next = || words.next().unwrap_or_default();
            let (verb, command, code) = (next(), next(), next());
            match (verb.as_str(), &step.what) {
                ("applied", _) => *self.applied.entry(command).or_default() += 1,
                ("refused", _) => *self.refused.entry((command, code)).or_default() += 1,
                ("dead_letter", What::Say { command: said, .. }) => {
                    *self.dead_letters.entry(format!("{command} of {said}")).or_default() += 1;
                }
                ("dead_letter", _) => *self.dead_letters.entry(command).or_default() += 1,
                _ => *self.said.entry(verb).or_default() += 1,
            }
        }
    }

    fn add_causes(&mut self, before: &Facts, after: &Facts) {
        let (before, after) = (causes(before), causes(after));
        for (counts, of, not_of) in [(&mut self.came, &after, &before), (&mut self.went, &before, &after)] {
            for cause in of.difference(not_of) {
                let kind = cause.1.split(' ').next().unwrap_or_default().to_owned();
                *counts.entry(kind).or_default() += 1;
            }
        }
    }

    /// What falls short of the minimums; nothing where the lives were too few.
    pub fn short(&self, commands: &[&str]) -> Vec<String> {
        if self.steps < STEPS {
            return Vec::new();
        }
        let mut short = Vec::new();
        let mut check = |what: String, count: usize, least: usize| {
            if count < least {
                short.push(format!("{what}: {count}, and {least} is the least"));
            }
        };
        for command in commands {
            check(format!("{command} is applied"), self.applied.get(*command).copied().unwrap_or(0), APPLIED_MIN);
        }
        for (command, code) in refusals(false).into_iter().filter(|(command, _)| commands.contains(&command.as_str())) {
            let count = self.refused.get(&(command.clone(), code.clone())).copied().unwrap_or(0);
            check(format!("{command} is refused for {code}"), count, REFUSED_MIN);
        }
        for cause in CAUSES {
            for (what, counts) in [("comes", &self.came), ("goes", &self.went)] {
                check(format!("{cause} {what}"), counts.get(cause).copied().unwrap_or(0), CAUSE_MIN);
            }
        }
        for source in SOURCES {
            check(format!("{source} pays"), self.paid.get(source).copied().unwrap_or(0), SOURCE_MIN);
        }
        short
    }

    /// The codes of bounds with which nothing was refused.
    pub fn bounds_missed(&self) -> Vec<String> {
        let codes: BTreeSet<String> = refusals(true).into_iter().map(|(_, code)| code).collect();
        codes.into_iter().filter(|code| !self.refused.keys().any(|(_, refused)| refused == code)).collect()
    }

    /// The tables.
    pub fn table(&self) -> String {
        let mut table = format!("{} steps in {} lives\n", self.steps, self.lives);
        let mut list = |title: &str, rows: Vec<(String, usize)>| {
            let _ = writeln!(table, "\n{title}");
            for (name, count) in rows {
                let _ = writeln!(table, "  {count:>8}  {name}");
            }
        };
        let owned =
            |counts: &BTreeMap<String, usize>| counts.iter().map(|(name, count)| (name.clone(), *count)).collect();
        list("steps by theme", self.themes.iter().map(|(name, count)| ((*name).to_owned(), *count)).collect());
        list("applied", owned(&self.applied));
        let refused = self.refused.iter().map(|((command, code), count)| (format!("{command} {code}"), *count));
        let bounds: BTreeSet<String> = refusals(true).into_iter().map(|(_, code)| code).collect();
        let is_bound = |(name, _): &(String, usize)| name.split(' ').nth(1).is_some_and(|code| bounds.contains(code));
        let (of_bounds, refused): (Vec<_>, Vec<_>) = refused.partition(is_bound);
        list("refused", refused);
        list("refused at a bound", of_bounds);
        list("dead letters", owned(&self.dead_letters));
        list("published", owned(&self.said));
        list("causes that came", owned(&self.came));
        list("causes that went", owned(&self.went));
        list("sources that paid", self.paid.iter().map(|(name, count)| ((*name).to_owned(), *count)).collect());
        table
    }
}

/// Scope and cause, for each cause that holds.
fn causes(facts: &Facts) -> BTreeSet<(&str, &str)> {
    let paused = facts.range("causes ".to_owned()..).take_while(|(key, _)| key.starts_with("causes "));
    paused.flat_map(|(key, value)| value.split(", ").map(|cause| (key.as_str(), cause))).collect()
}

/// Whether a source paid something in this step: its count in a period of the organization has grown.
fn paid(before: &Facts, after: &Facts, source: &str) -> bool {
    const PERIODS: &str = "count org period ";
    let of = |facts: &Facts, key: &String| facts.get(key).and_then(|count| count.parse::<i64>().ok()).unwrap_or(0);
    let periods = after.range(PERIODS.to_owned()..).take_while(|(key, _)| key.starts_with(PERIODS));
    periods.filter(|(key, _)| key.ends_with(source)).any(|(key, _)| of(after, key) > of(before, key))
}

/// Which commands are refused with which codes, as docs/answers.md lists them: at a bound, or else.
fn refusals(at_bounds: bool) -> Vec<(String, String)> {
    let page = std::path::Path::new(env!("CARGO_MANIFEST_DIR")).join("docs/answers.md");
    let page = std::fs::read_to_string(page).unwrap_or_default();
    let mut all = Vec::new();
    let (mut is_refused, mut is_bound) = (false, false);
    for line in page.lines() {
        if let Some(title) = line.strip_prefix("## ") {
            (is_refused, is_bound) = (title.starts_with("Refused"), title.ends_with("bounds"));
        }
        let cells: Vec<&str> = line.split('|').map(str::trim).collect();
        let [_, code, _, commands, ..] = cells[..] else { continue };
        if is_refused && is_bound == at_bounds && code.starts_with('`') {
            // "set_pool on the organization" is said of one way to say it.
            let commands = commands.split(", ").filter_map(|command| command.split(' ').next());
            all.extend(commands.map(|command| (command.to_owned(), code.trim_matches('`').to_owned())));
        }
    }
    all
}
