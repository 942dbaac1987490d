//! The cases of the bench: what each reads, under which rules, with what left out.

use serde_json::Value as Json;

use super::{
    bare::Way,
    fill::{Format, Shape, prices, prices_and_limits},
};
use crate::{config::GroupProtocol, faults::LeftOut};

/// One case.
pub struct Case {
    /// What it is called.
    pub name: &'static str,
    /// What it does.
    pub what: What,
}

/// What a case does.
pub enum What {
    /// Reads, and does nothing.
    Bare(Way),
    /// Decodes, decides and packs in memory, each measured for itself.
    Stages,
    /// Bursar, until the backlog is worked off.
    Service(Setting),
    /// Bursar at a steady load: from an event that reaches a cap to the pause.
    Steady(Shape, Rate),
    /// The same, with nothing else; meanwhile a second member comes, and goes again.
    Rebalance(GroupProtocol),
}

/// How much is sent while pauses are measured.
#[derive(Clone, Copy, PartialEq, Eq)]
pub enum Rate {
    /// Only what pauses.
    Light,
    /// What `--rate` says.
    AsTold,
}

/// How Bursar runs in a case.
#[derive(Clone, Copy)]
pub struct Setting {
    /// How events fall upon organizations.
    pub shape: Shape,
    /// How they are written.
    pub format: Format,
    /// What every organization was told before.
    pub told: Told,
    /// Workers of the process.
    pub workers: usize,
    /// What is left out; only a build with the feature `faults` can.
    pub left_out: LeftOut,
    /// Whether it starts anew in the middle, so that all accounts are in Redis and none in memory.
    pub cold: bool,
}

/// What every organization was told.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Told {
    /// Nothing: tokens are counted, and no credits.
    Nothing,
    /// A rate card.
    Prices,
    /// Also seats, a pool, and limits on every kind of scope, none of which is reached.
    Limits,
}

impl Told {
    /// The commands.
    pub fn commands(self) -> Vec<Json> {
        match self {
            Self::Nothing => Vec::new(),
            Self::Prices => prices(),
            Self::Limits => prices_and_limits(),
        }
    }
}

const FULL: Setting = Setting {
    shape: Shape::Zipf,
    format: Format::Avro,
    told: Told::Prices,
    workers: 1,
    left_out: LeftOut::Nothing,
    cold: false,
};

/// Every case, in the order in which they run.
pub const CASES: [Case; 19] = [
    Case { name: "bare_poll", what: What::Bare(Way::Poll) },
    Case { name: "bare_batch", what: What::Bare(Way::Batch) },
    Case { name: "stages", what: What::Stages },
    Case { name: "unpriced", what: What::Service(Setting { told: Told::Nothing, ..FULL }) },
    Case { name: "full", what: What::Service(FULL) },
    Case { name: "once_off", what: What::Service(Setting { left_out: LeftOut::Once, ..FULL }) },
    Case { name: "dedupe_off", what: What::Service(Setting { left_out: LeftOut::Ids, ..FULL }) },
    Case { name: "full_limits", what: What::Service(Setting { told: Told::Limits, ..FULL }) },
    Case { name: "two_workers", what: What::Service(Setting { workers: 2, ..FULL }) },
    Case { name: "uniform", what: What::Service(Setting { shape: Shape::Uniform, ..FULL }) },
    Case { name: "hot", what: What::Service(Setting { shape: Shape::Hot, ..FULL }) },
    Case { name: "registry", what: What::Service(Setting { format: Format::Registry, ..FULL }) },
    Case { name: "json", what: What::Service(Setting { format: Format::Json, ..FULL }) },
    Case { name: "cold", what: What::Service(Setting { cold: true, ..FULL }) },
    Case { name: "light_load", what: What::Steady(Shape::Uniform, Rate::Light) },
    Case { name: "steady", what: What::Steady(Shape::Zipf, Rate::AsTold) },
    Case { name: "steady_hot", what: What::Steady(Shape::Hot, Rate::AsTold) },
    Case { name: "rebalance", what: What::Rebalance(GroupProtocol::Classic) },
    Case { name: "rebalance_consumer", what: What::Rebalance(GroupProtocol::Consumer) },
];

/// The cases of those names, in their order; all if none is named.
///
/// # Errors
/// A name that is of no case.
pub fn named(names: &[String]) -> Result<Vec<&'static Case>, String> {
    if let Some(unknown) = names.iter().find(|name| CASES.iter().all(|case| case.name != name.as_str())) {
        let known: Vec<&str> = CASES.iter().map(|case| case.name).collect();
        return Err(format!("there is no case {unknown:?}; there are {}", known.join(", ")));
    }
    Ok(CASES.iter().filter(|case| names.is_empty() || names.iter().any(|name| name == case.name)).collect())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn cases_are_told_by_their_names() {
        let names = |wanted: &[&str]| {
            let wanted: Vec<String> = wanted.iter().map(|name| (*name).to_owned()).collect();
            named(&wanted).map(|cases| cases.iter().map(|case| case.name).collect::<Vec<_>>())
        };
        assert_eq!(names(&["full", "bare_poll"]), Ok(vec!["bare_poll", "full"]));
        assert_eq!(names(&[]).map(|all| all.len()), Ok(CASES.len()));
        assert!(names(&["fall"]).is_err_and(|why| why.contains("bare_batch")));
    }
}
