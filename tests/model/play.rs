//! A life, lived on both sides.

use std::panic::{AssertUnwindSafe, catch_unwind};

use serde_json::Value as Json;

use crate::{
    account::{Real, View},
    compare::{self, Difference, Differs, Identities},
    definition::Model,
    life::{Facts, Said, Step, What},
    masks::Masks,
};

/// What became of a life.
pub struct Lived {
    /// How many steps were taken.
    pub steps: usize,
    /// What the model said after each of them, and held before and after.
    pub told: Vec<Told>,
    /// In what the sides differed after the last of them.
    pub difference: Option<Difference>,
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
    has_refunds: bool,
}

/// The identities of the reloads that a side asked for last: the last one, and the one before.
#[derive(Default)]
struct Reloads([String; 2]);

/// Lives a life up to the first difference.
pub fn live(life: &[Step], masks: &Masks) -> Lived {
    let mut model = Model::new();
    let mut reloads = Reloads::default();
    let mut accounts = [View::Kept, View::Dropped].map(|view| Beside {
        view,
        real: Real::new(view),
        identities: Identities::default(),
        reloads: Reloads::default(),
        has_refunds: false,
    });
    let mut lived = Lived { steps: 0, told: Vec::new(), difference: None };
    for step in life {
        lived.steps += 1;
        let said = guarded(|| (model.step(&reloads.answered_by(step)), model.facts()));
        let (said, facts) = match said {
            Ok(said) => said,
            Err(why) => {
                lived.difference = Some(panicked("none", "the model", why));
                return lived;
            }
        };
        reloads.note(&said);
        for account in &mut accounts {
            if let Some(difference) = account.differ(step, &said, &facts, &model, masks) {
                lived.difference = Some(difference);
                break;
            }
        }
        lived.told.push(Told { said, facts });
        if lived.difference.is_some() {
            return lived;
        }
    }
    lived
}

impl Beside {
    fn differ(
        &mut self,
        step: &Step,
        said: &[Said],
        facts: &Facts,
        model: &Model,
        masks: &Masks,
    ) -> Option<Difference> {
        let view = if self.view == View::Kept { "kept" } else { "dropped" };
        let step = self.reloads.answered_by(step);
        let own = match guarded(|| (self.real.step(&step), self.real.facts(step.clock_ms))) {
            Ok(own) => own,
            Err(why) => return Some(panicked(view, "the account", why)),
        };
        self.reloads.note(&own.0);
        self.has_refunds |= is_refund(&step);
        let mut lines = compare::said(said, &own.0, &mut self.identities, masks);
        lines.extend(compare::facts([facts, &own.1], self.has_refunds, masks, |key| count(model, key)));
        (!lines.is_empty()).then_some(Difference { view, lines })
    }
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
        for asked in said.iter().filter(|said| said.text.starts_with("reload ")) {
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
