//! A life, lived on both sides.

use std::{
    collections::HashMap,
    panic::{AssertUnwindSafe, catch_unwind},
};

use serde_json::Value as Json;

use crate::{
    account::{Real, View},
    compare::{self, Difference, Differs, Identities},
    definition::Model,
    life::{Facts, Said, Step, What},
    masks::Masks,
    past::Past,
    script,
};

/// What became of a life.
pub struct Lived {
    /// How many steps were taken.
    pub steps: usize,
    /// What the model said after each of them, and held before and after.
    pub told: Vec<Told>,
    /// In what the sides differed after the last of them.
    pub difference: Option<Difference>,
    /// What was passed over, with the number of its step.
    pub passed: Vec<(usize, Vec<Differs>)>,
}

/// One step as the model saw it.
pub struct Told {
    /// What was said.
    pub said: Vec<Said>,
    /// What held after it.
    pub facts: Facts,
}

/// An account beside the model.
struct Beside {
    view: View,
    real: Real,
    identities: Identities,
    reloads: Reloads,
    paused: Paused,
    past: Option<Past>,
}

/// The identities of the reloads that a side asked for last: the last one, and the one before.
#[derive(Default)]
struct Reloads([String; 2]);

/// What is looked at while a life is led.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Attention {
    /// What is said and what holds after every step, by both views.
    All,
    /// Only what is said.
    Said,
    /// What holds after the last step.
    End,
}

/// What each side says of each step, and in what they differ after it.
pub fn side_by_side(life: &[Step], masks: &Masks) -> String {
    let (mut model, mut real) = (Model::new(), Real::new(View::Kept));
    let mut reloads = [Reloads::default(), Reloads::default()];
    let mut text = String::new();
    for step in life {
        text += &script::lines(std::slice::from_ref(step));
        let said = [model.step(&reloads[0].answered_by(step)), real.step(&reloads[1].answered_by(step))];
        for (side, name) in ["model  ", "account"].iter().enumerate() {
            reloads[side].note(&said[side]);
            said[side].iter().for_each(|said| text += &format!("    {name} {} <{}>\n", said.text, said.identity));
        }
        let clock_ms = step.clock_ms;
        let known = model.facts();
        let facts = [masks.facts(&known, clock_ms, false), masks.facts(real.facts(clock_ms), clock_ms, false)];
        let may_lack = |key: &str| may_lack(key, &known, masks);
        for line in compare::facts(&facts[0], &facts[1], may_lack, |key| count(&model, key)) {
            text += &format!("    {}: model {}, account {}\n", line.what, line.model, line.account);
        }
    }
    text
}

/// Lives a life up to the first difference.
pub fn live(life: &[Step], masks: &Masks) -> Lived {
    live_with(life, masks, Attention::All, &[View::Kept, View::Dropped], false)
}

/// Lives a life past all differences that have no effect on what follows.
pub fn live_past(life: &[Step], masks: &Masks, attention: Attention) -> Lived {
    live_with(life, masks, attention, &[View::Kept], true)
}

/// The same, where not everything is looked at.
pub fn live_with(life: &[Step], masks: &Masks, attention: Attention, views: &[View], goes_past: bool) -> Lived {
    let mut model = Model::new();
    let (mut reloads, mut paused) = (Reloads::default(), Paused::default());
    let beside = |view: &View| Beside {
        view: *view,
        real: Real::new(*view),
        identities: Identities::default(),
        reloads: Reloads::default(),
        paused: Paused::default(),
        past: goes_past.then(Past::default),
    };
    let mut accounts: Vec<Beside> = views.iter().map(beside).collect();
    let mut lived = Lived { steps: 0, told: Vec::new(), difference: None, passed: Vec::new() };
    let mut has_refunds = false;
    for step in life {
        lived.steps += 1;
        has_refunds |= is_refund(step);
        let looks = attention == Attention::All || (attention == Attention::End && lived.steps == life.len());
        let said = guarded(|| (model.step(&reloads.answered_by(step)), looks.then(|| model.facts())));
        let (said, facts) = match said {
            Ok(said) => said,
            Err(why) => {
                lived.difference = Some(panicked("none", "the model", why));
                return lived;
            }
        };
        reloads.note(&said);
        let said = paused.without_what_is_told_again(said, masks);
        let masked = facts.as_ref().map(|facts| masks.facts(facts, step.clock_ms, has_refunds));
        for account in &mut accounts {
            let lines = account.differ((lived.steps, step), &said, attention, masks, |real, clock_ms| {
                let (Some(masked), Some(known)) = (&masked, &facts) else { return Vec::new() };
                let own = masks.facts(real.facts(clock_ms), clock_ms, has_refunds);
                compare::facts(masked, &own, |key| may_lack(key, known, masks), |key| count(&model, key))
            });
            if !lines.is_empty() {
                lived.difference = Some(Difference { view: account.view.name(), lines });
                break;
            }
        }
        if attention == Attention::All && !goes_past {
            lived.told.push(Told { said, facts: facts.unwrap_or_default() });
        }
        if lived.difference.is_some() {
            break;
        }
    }
    lived.passed = accounts.into_iter().filter_map(|account| account.past).flat_map(Past::noted).collect();
    lived
}

impl Beside {
    fn differ(
        &mut self,
        (number, step): (usize, &Step),
        said: &[Said],
        attention: Attention,
        masks: &Masks,
        facts: impl FnOnce(&mut Real, i64) -> Vec<Differs>,
    ) -> Vec<Differs> {
        let step = self.reloads.answered_by(step);
        let acted = guarded(|| {
            let own = self.real.step(&step);
            (own, facts(&mut self.real, step.clock_ms))
        });
        let (own, differing_facts) = match acted {
            Ok(acted) => acted,
            Err(why) => return panicked(self.view.name(), "the account", why).lines,
        };
        self.reloads.note(&own);
        let own = self.paused.without_what_is_told_again(own, masks);
        let mut lines = compare::said(said, &own, &mut self.identities, masks);
        if attention == Attention::End {
            lines.clear();
        }
        lines.extend(differing_facts);
        match &mut self.past {
            Some(past) => past.note(number, lines, [said, &own], masks),
            None => lines,
        }
    }
}

/// What was said of the pauses of each scope last, as it is compared.
#[derive(Default)]
struct Paused(HashMap<String, String>);

impl Paused {
    /// Leaves out what says of a pause what was said of it last.
    fn without_what_is_told_again(&mut self, mut said: Vec<Said>, masks: &Masks) -> Vec<Said> {
        said.retain(|said| match (said.text.strip_prefix("pause "), masks.said(&said.text)) {
            (Some(pause), Some(text)) if masks.has("again") => {
                let scope = pause.split(' ').next().unwrap_or_default().to_owned();
                self.0.insert(scope, text.clone()).is_none_or(|last| last != text)
            }
            _ => true,
        });
        said
    }
}

/// What the account need not know any more: besides what is masked, grants of which nothing is left.
fn may_lack(key: &str, known: &Facts, masks: &Masks) -> bool {
    let is_gone = |grant: &String| grant.ends_with(" left=0");
    masks.may_lack(key) || (key.starts_with("grant ") && known.get(key).is_some_and(is_gone))
}

/// `count SCOPE KIND START METER`, asked of the model.
fn count(model: &Model, key: &str) -> i64 {
    let words: Vec<&str> = key.split(' ').collect();
    let [_, scope, kind, start, meter] = words[..] else { panic!("{key:?} is no count") };
    model.count(scope, kind, start.parse().expect("a window starts at a number"), meter)
}

impl Reloads {
    /// The step with identities in place of `$reload` and `$reload_before`.
    fn answered_by(&self, step: &Step) -> Step {
        let mut step = step.clone();
        if let What::Say { fields, .. } = &mut step.what {
            let identity = match fields.get("reload_id").and_then(Json::as_str) {
                Some("$reload") => &self.0[0],
                Some("$reload_before") => &self.0[1],
                _ => return step,
            };
            let identity = if identity.is_empty() { "none" } else { identity };
            fields.insert("reload_id".to_owned(), identity.into());
        }
        step
    }

    fn note(&mut self, said: &[Said]) {
        let mut asked: Vec<&Said> = said.iter().filter(|said| said.text.starts_with("reload ")).collect();
        // Of those of one step it is the same one on both sides, in whichever order they were asked for.
        asked.sort_by_key(|asked| &asked.text);
        for asked in asked {
            self.0 = [asked.identity.clone(), std::mem::take(&mut self.0[0])];
        }
    }
}

/// Whether a step may lower what was counted.
fn is_refund(step: &Step) -> bool {
    match &step.what {
        What::Say { command, fields, .. } if command == "adjust" => {
            fields.values().any(|value| value.as_i64().is_some_and(|amount| amount < 0))
        }
        _ => false,
    }
}

/// What a panic says ends the life as any difference does.
fn guarded<T>(act: impl FnOnce() -> T) -> Result<T, String> {
    catch_unwind(AssertUnwindSafe(act)).map_err(|panic| {
        let text = panic.downcast_ref::<String>().cloned();
        text.or_else(|| panic.downcast_ref::<&str>().map(|text| (*text).to_owned())).unwrap_or_default()
    })
}

fn panicked(view: &'static str, side: &str, why: String) -> Difference {
    Difference { view, lines: vec![Differs { what: format!("{side} panics"), model: String::new(), account: why }] }
}
