//! Going on past a difference. Neither pauses nor what is told change what is charged later: a life in which the sides
//! differ in these alone goes on, and what differs is noted. Of a scope whose pause differs nothing is noted until both
//! sides say the same of it again.

use std::collections::{HashMap, HashSet};

use crate::{compare::Differs, life::Said, masks::Masks};

/// What differs without any effect on what follows.
const WITHOUT_EFFECT: [&str; 8] =
    ["threshold", "digest", "overshoot", "reload_blocked", "statement", "correction", "identity", "creation_refused"];

/// What differed so far.
#[derive(Default)]
pub struct Past {
    paused: [HashMap<String, String>; 2],
    told: HashSet<String>,
    noted: Vec<(usize, Vec<Differs>)>,
}

impl Past {
    /// Notes in what a step differs. Returns what ends the life.
    pub fn note(&mut self, step: usize, lines: Vec<Differs>, said: [&[Said]; 2], masks: &Masks) -> Vec<Differs> {
        let (mut noted, mut rest) = (Vec::new(), Vec::new());
        for line in lines {
            let mut words = line.what.split(' ');
            let (verb, scope) = (words.next().unwrap_or_default(), words.next().unwrap_or_default());
            if matches!(verb, "pause" | "causes") {
                let differs_already = self.paused[0].get(scope) != self.paused[1].get(scope);
                if !differs_already && (verb == "pause" || self.told.insert(line.what.clone())) {
                    noted.push(line);
                }
            } else if WITHOUT_EFFECT.contains(&verb) {
                if self.told.insert(line.what.clone()) {
                    noted.push(line);
                }
            } else {
                rest.push(line);
            }
        }
        noted.extend(rest.iter().cloned());
        if !noted.is_empty() {
            self.noted.push((step, noted));
        }
        for (paused, said) in self.paused.iter_mut().zip(said) {
            for text in said.iter().filter(|said| said.text.starts_with("pause ")) {
                let text = masks.said(&text.text).unwrap_or_default();
                let scope = text.split(' ').nth(1).unwrap_or_default().to_owned();
                if text.ends_with("[]") {
                    paused.remove(&scope);
                } else {
                    paused.insert(scope, text);
                }
            }
        }
        rest
    }

    /// What differed, with the number of each step.
    pub fn noted(self) -> Vec<(usize, Vec<Differs>)> {
        self.noted
    }
}
