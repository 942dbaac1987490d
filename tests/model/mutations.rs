//! What the account may not leave out: evaluations and bounds, each broken by itself. Lives must find it.

use std::fmt::Write as _;

use bursar::mutation::break_here;

use crate::{
    lives::{self, Life, Vocabulary},
    masks::Masks,
    play,
    run::Run,
};

/// Evaluations: when, and of what. A command is named where it touches scopes, or concerns others.
const EVALUATIONS: [(&str, &[&str]); 12] = [
    (
        "look after",
        &[
            "usage",
            "adjust",
            "approve",
            "consent",
            "grant",
            "pause",
            "refuse_reload",
            "register_agent",
            "register_workspace",
            "remove_limit",
            "remove_pool",
            "request",
            "resume",
            "set_auto_reload",
            "set_extra_usage",
            "set_limit",
            "set_member",
            "set_mode",
            "set_pool",
            "set_source",
            "void_grant",
        ],
    ),
    (
        "sweep after",
        &[
            "adjust",
            "approve",
            "grant",
            "remove_limit",
            "remove_pool",
            "set_consent",
            "set_extra_usage",
            "set_free_phase",
            "set_limit",
            "set_mode",
            "set_organization",
            "set_pool",
            "set_seat_type",
            "set_source",
            "void_grant",
        ],
    ),
    ("look at all after", &["usage", "usage ahead", "turn"]),
    ("ask after", &["usage"]),
    ("tell after", &["turn"]),
    ("turn before", &["usage"]),
    ("look when", &["due", "all are looked at", "free phase ends"]),
    ("look by", &["rules", "turn", "free phase", "reload"]),
    ("close", &["period"]),
    ("send", &["digest"]),
    (
        "bound",
        &[
            "cap",
            "amount_micro",
            "included_micro",
            "user_cap_micro",
            "below_micro",
            "per_day_max",
            "lapse_minutes",
            "scale",
            "digest_hour",
            "credits_micro",
            "thresholds",
            "threshold_percent",
        ],
    ),
    (
        "bound",
        &[
            "early",
            "late",
            "counter",
            "counter of a correction",
            "price of an event",
            "names",
            "limits of a scope",
            "rules",
            "rate cards",
            "seat types",
            "time zones",
            "requests",
            "grants of a pool",
            "creators",
            "name of a unit",
            "limit_id",
            "grant_id",
            "user_id",
            "request_id",
            "reload_id",
            "workspace_id",
            "seat_type",
        ],
    ),
];

/// Breaks each thing by itself and leads the same lives until one tells; says in which step, and what was told. What no
/// life tells of within so many steps is returned.
pub fn table(steps_max: usize, life: usize) -> (String, Vec<String>) {
    let (mut table, mut unfound) = (String::new(), Vec::new());
    let only = std::env::var("ONLY").unwrap_or_default();
    for (part, of) in EVALUATIONS.iter().flat_map(|(part, all)| all.iter().map(move |of| (*part, *of))) {
        let name = format!("{part} {of}");
        if !name.contains(&only) {
            continue;
        }
        let found = first_to_tell(part, of, steps_max, life);
        let _ = match &found {
            Some(found) => writeln!(table, "| {name} | {} | {} |", found.steps, found.difference),
            None => writeln!(table, "| {name} | – | |"),
        };
        println!("{}", table.lines().last().unwrap_or_default());
        unfound.extend(found.is_none().then_some(name));
    }
    (table, unfound)
}

/// The first life that told.
struct Told {
    /// After how many steps of all lives.
    steps: usize,
    difference: String,
}

fn first_to_tell(part: &str, of: &str, steps_max: usize, life: usize) -> Option<Told> {
    let bounds = lives::to_the_bounds();
    let bounds = bounds.into_iter().filter(|_| part == "bound");
    let random = (1..).map(|seed| lives::draw(seed, life, Vocabulary::Whole));
    let mut lives = bounds.chain(random);
    let told = std::sync::Mutex::new(None::<Told>);
    let mut steps = 0;
    while steps < steps_max {
        let (before, some): (usize, Vec<Life>) = (steps, lives.by_ref().take(8).collect());
        steps += some.iter().map(|life| life.steps.len()).sum::<usize>();
        Run::on_all_cores(0..some.len() as u64, |number| {
            let number = number as usize;
            let Some(difference) = tells(part, of, &some[number]) else { return false };
            let lived = some[..number].iter().map(|life| life.steps.len()).sum::<usize>();
            let found = Told { steps: before + lived + difference.0, difference: difference.1 };
            let mut told = told.lock().expect("noting does not panic");
            if told.as_ref().is_none_or(|known| known.steps > found.steps) {
                *told = Some(found);
            }
            false
        });
        if let Some(told) = told.lock().expect("noting does not panic").take() {
            return Some(told);
        }
    }
    None
}

/// In which step a life tells of what is broken, and how; not of what it tells anyway.
fn tells(part: &str, of: &str, life: &Life) -> Option<(usize, String)> {
    break_here(Some((part, of)));
    let lived = play::live(&life.steps, &Masks::none());
    break_here(None);
    let difference = lived.difference?;
    let whole = play::live(&life.steps[..lived.steps], &Masks::none());
    whole.difference.is_none().then(|| (lived.steps, crate::shrink::kind_of(&difference)))
}
