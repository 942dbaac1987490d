//! A life that failed, made short: steps are left out, fields dropped, amounts and times made simple, as long as it still
//! fails in the same way.

use std::time::{Duration, Instant};

use serde_json::{Value as Json, json};

use crate::{
    account::View,
    compare::{Difference, Differs},
    life::{Step, Use, What},
    masks::Masks,
    play::{self, Attention},
};

/// A life that fails, and how.
#[derive(Clone)]
pub struct Failing {
    /// Up to the step that fails.
    pub steps: Vec<Step>,
    /// Where each of them stands in the life as it was drawn.
    pub places: Vec<usize>,
    /// In what the sides differ after it.
    pub difference: Difference,
}

/// Shortens a life in which something differed that others have passed over: the first line of its difference.
pub fn shrink_past(failing: Failing, time: Duration, masks: &Masks) -> Failing {
    let way = way_of(&failing.steps, &failing.difference);
    let attention = if is_fact(&failing.difference.lines[0].what) { Attention::End } else { Attention::Said };
    let differs = |steps: &[Step], attention| {
        let lived = play::live_past(steps, masks, attention);
        lived.passed.into_iter().find_map(|(taken, lines)| with_first(&way, &steps[..taken], lines))
    };
    let short = shrink_with(failing.clone(), time, |steps| differs(steps, attention));
    match differs(&short.steps, Attention::All) {
        Some((taken, difference)) if taken == short.steps.len() => Failing { difference, ..short },
        _ => shrink_with(failing, time, |steps| differs(steps, Attention::All)),
    }
}

/// The difference that begins with the line that differs in this way, if there is such a line.
fn with_first(way: &str, steps: &[Step], mut lines: Vec<Differs>) -> Option<(usize, Difference)> {
    for place in 0..lines.len() {
        lines.swap(0, place);
        let difference = Difference { view: "kept", lines: lines.clone() };
        if way_of(steps, &difference) == way {
            return Some((steps.len(), difference));
        }
        lines.swap(0, place);
    }
    None
}

/// Shortens a failing life for at most `time`: first with an eye only on what failed, so that it goes fast. If what remains
/// fails otherwise once everything is looked at, again with both eyes.
pub fn shrink(failing: Failing, time: Duration, masks: &Masks) -> Failing {
    let views = [View::named(failing.difference.view)];
    let has_said = failing.difference.lines.iter().any(|line| !is_fact(&line.what));
    let attention = if has_said { Attention::Said } else { Attention::End };
    let short = shrink_with(failing.clone(), time, |steps| {
        let lived = play::live_with(steps, masks, attention, &views, false);
        lived.difference.map(|difference| (lived.steps, difference))
    });
    let lives = |steps: &[Step]| {
        let lived = play::live(steps, masks);
        lived.difference.map(|difference| (lived.steps, difference))
    };
    match lives(&short.steps) {
        Some((taken, difference)) if taken == short.steps.len() && is_same(&short.steps, &difference, &failing) => {
            Failing { difference, ..short }
        }
        _ => shrink_with(failing, time, lives),
    }
}

fn shrink_with(failing: Failing, time: Duration, fails: impl Fn(&[Step]) -> Option<(usize, Difference)>) -> Failing {
    let way = way_of(&failing.steps, &failing.difference);
    let mut shrinking = Shrinking { failing, way, until: Instant::now() + time, fails };
    loop {
        let before = shrinking.failing.steps.clone();
        shrinking.drop_steps();
        shrinking.simplify_steps();
        if shrinking.failing.steps == before || shrinking.is_over() {
            return shrinking.failing;
        }
    }
}

/// How the keys of facts begin.
const FACTS: [&str; 11] = [
    "count ",
    "causes ",
    "pool ",
    "grant ",
    "overshoot ",
    "part ",
    "model ",
    "limits ",
    "seat ",
    "registered ",
    "requests",
];

fn is_fact(what: &str) -> bool {
    FACTS.iter().any(|fact| what.starts_with(fact))
}

fn is_same(steps: &[Step], difference: &Difference, failing: &Failing) -> bool {
    way_of(steps, difference) == way_of(&failing.steps, &failing.difference)
}

/// What a life keeps while it is made short, so that it does not become one that fails for another reason: the first thing
/// that differs, whose it is, and what was done last. Of numbers only whether they are 0.
pub fn way_of(steps: &[Step], difference: &Difference) -> String {
    let last = match steps.last().map(|step| &step.what) {
        Some(What::Say { command, .. }) => command,
        Some(What::Use(_)) => "usage",
        _ => "time",
    };
    let mut what = String::new();
    let mut number = String::new();
    for letter in difference.lines[0].what.chars().chain([' ']) {
        if letter.is_ascii_digit() {
            number.push(letter);
        } else {
            what += if number.is_empty() {
                ""
            } else if number == "0" {
                "0"
            } else {
                "N"
            };
            number.clear();
            what.push(letter);
        }
    }
    format!("{last}: {what}: {}", kind_of(difference))
}

/// In which way a life failed, in a few words: the first word of the first thing that differs, and whose it is.
pub fn kind_of(difference: &Difference) -> String {
    let line = &difference.lines[0];
    let what = line.what.split(' ').next().unwrap_or_default();
    let absent = |side: &str| side == "-" || side.starts_with("does not");
    match (absent(&line.model), absent(&line.account)) {
        (true, _) => format!("{what}: only the account"),
        (_, true) => format!("{what}: only the model"),
        _ => format!("{what}: each its own"),
    }
}

struct Shrinking<Fails> {
    failing: Failing,
    way: String,
    until: Instant,
    fails: Fails,
}

impl<Fails: Fn(&[Step]) -> Option<(usize, Difference)>> Shrinking<Fails> {
    fn is_over(&self) -> bool {
        Instant::now() >= self.until
    }

    /// Takes `steps` if they fail in the same way.
    fn accept(&mut self, mut steps: Vec<Step>, mut places: Vec<usize>) -> bool {
        let fails_so = |(taken, found): &(usize, Difference)| way_of(&steps[..*taken], found) == self.way;
        let Some((taken, difference)) = (self.fails)(&steps).filter(fails_so) else { return false };
        steps.truncate(taken);
        places.truncate(taken);
        self.failing = Failing { steps, places, difference };
        true
    }

    /// Leaves out as many steps as can be: halves first, then ever smaller pieces.
    fn drop_steps(&mut self) {
        let mut length = self.failing.steps.len() / 2;
        while length > 0 {
            let mut end = self.failing.steps.len();
            while end > 0 && !self.is_over() {
                let start = end.saturating_sub(length);
                let Failing { mut steps, mut places, .. } = self.failing.clone();
                steps.drain(start..end);
                places.drain(start..end);
                self.accept(steps, places);
                end = start.min(self.failing.steps.len());
            }
            length /= 2;
        }
    }

    fn simplify_steps(&mut self) {
        for place in (0..self.failing.steps.len()).rev() {
            let mut tried = 0;
            while let Some(step) = self.failing.steps.get(place).cloned() {
                let Some(simpler) = simpler(&step).into_iter().nth(tried).filter(|_| !self.is_over()) else { break };
                let mut steps = self.failing.steps.clone();
                steps[place] = simpler;
                if !in_order(&steps) || !self.accept(steps, self.failing.places.clone()) {
                    tried += 1;
                }
            }
        }
    }
}

fn in_order(steps: &[Step]) -> bool {
    steps.windows(2).all(|pair| pair[0].at_ms <= pair[1].at_ms && pair[0].clock_ms <= pair[1].clock_ms)
}

/// Steps that differ from this one in one thing and are simpler.
fn simpler(step: &Step) -> Vec<Step> {
    let mut all = Vec::new();
    if step.what != What::Pass {
        all.push(with(step, What::Pass));
    }
    if step.clock_ms != step.at_ms {
        all.push(Step { clock_ms: step.at_ms, ..step.clone() });
    }
    for round_ms in [3_600_000, 60_000] {
        let at_ms = step.at_ms / round_ms * round_ms;
        if at_ms != step.at_ms && step.clock_ms == step.at_ms {
            let mut rounded = step.clone();
            (rounded.at_ms, rounded.clock_ms) = (at_ms, at_ms);
            match &mut rounded.what {
                What::Use(event) if event.time_ms == step.at_ms => event.time_ms = at_ms,
                What::Say { time_ms, .. } if *time_ms == step.at_ms => *time_ms = at_ms,
                _ => {}
            }
            all.push(rounded);
        }
    }
    match &step.what {
        What::Pass => {}
        What::Use(event) => {
            all.extend(simpler_uses(event, step.at_ms).into_iter().map(|event| with(step, What::Use(event))));
        }
        What::Say { actor, id, time_ms, command, fields } => {
            // What has no price is another matter.
            for (name, value) in fields.iter().filter(|(name, _)| *name != "default_prices") {
                let mut without = fields.clone();
                without.remove(name);
                let others = simpler_values(value).into_iter().map(|simple| {
                    let mut other = fields.clone();
                    other.insert(name.clone(), simple);
                    other
                });
                all.extend([without].into_iter().chain(others).map(|fields| {
                    let (actor, id, command) = (actor.clone(), id.clone(), command.clone());
                    with(step, What::Say { actor, id, time_ms: *time_ms, command, fields })
                }));
            }
        }
    }
    all
}

fn with(step: &Step, what: What) -> Step {
    Step { what, ..step.clone() }
}

fn simpler_uses(event: &Use, at_ms: i64) -> Vec<Use> {
    let mut all = Vec::new();
    if event.time_ms != at_ms {
        all.push(Use { time_ms: at_ms, ..event.clone() });
    }
    let without: [fn(&mut Use) -> bool; 6] = [
        |event| event.product.take().is_some(),
        |event| event.trigger.take().is_some(),
        |event| event.model.take().is_some(),
        |event| event.agent.take().is_some(),
        |event| event.workspace.take().is_some(),
        |event| event.user.take().is_some(),
    ];
    for drop in without {
        let mut simple = event.clone();
        if drop(&mut simple) {
            all.push(simple);
        }
    }
    let simple = event.tokens.map(simpler_amounts).unwrap_or_default();
    all.extend(simple.into_iter().map(|tokens| Use { tokens: Some(tokens), ..event.clone() }));
    all
}

fn simpler_amounts(amount: i64) -> Vec<i64> {
    [0, 1, 5, 10, 20, 50, 100, 1_000].into_iter().filter(|simple: &i64| *simple < amount.abs()).collect()
}

fn simpler_values(value: &Json) -> Vec<Json> {
    match value.as_i64() {
        Some(amount) => simpler_amounts(amount).into_iter().map(|simple| json!(simple * amount.signum())).collect(),
        None => Vec::new(),
    }
}
