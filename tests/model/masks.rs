//! Masks: known kinds of difference, each with a name, that are passed over.
//!
//! The account that this was built against first (`d033d70`) says less than the specification: it names no code where it
//! refuses, and no selector where a limit pauses. A mask makes the words of both sides as poor as the poorer ones.

use std::collections::BTreeSet;

use crate::{life::Facts, lives::Vocabulary};

/// What may be masked.
pub const NAMES: [(&str, &str); 3] = [
    ("codes", "refusals and answers are sentences: only that a command was applied or refused is compared"),
    ("commands", "lives say only what the account knew before there was a model, and everything has a price"),
    ("selectors", "causes and ceilings name a limit by its id alone"),
];

/// The masks that are on.
#[derive(Clone, Debug)]
pub struct Masks {
    on: BTreeSet<&'static str>,
}

impl Masks {
    /// Everything is compared.
    pub fn none() -> Self {
        Self { on: BTreeSet::new() }
    }

    /// Those that `MASKS` names, with commas.
    ///
    /// # Panics
    /// If there is no such mask.
    pub fn of_environment() -> Self {
        let names = std::env::var("MASKS").unwrap_or_else(|_| "codes,commands,selectors".to_owned());
        let known = |name: &str| {
            let mask = NAMES.into_iter().find(|(known, _)| *known == name);
            mask.unwrap_or_else(|| panic!("there is no mask {name}; there are {NAMES:?}")).0
        };
        Self { on: names.split(',').filter(|name| !name.is_empty()).map(known).collect() }
    }

    /// What lives may say.
    pub fn vocabulary(&self) -> Vocabulary {
        if self.on.contains("commands") { Vocabulary::Old } else { Vocabulary::Whole }
    }

    /// The names of those that are on.
    pub fn names(&self) -> String {
        self.on.iter().copied().collect::<Vec<_>>().join(",")
    }

    /// What was said, as it is compared.
    pub fn said(&self, text: &str) -> String {
        let mut words = text.split(' ');
        let (verb, command) = (words.next().unwrap_or_default(), words.next().unwrap_or_default());
        match verb {
            "applied" if self.on.contains("codes") => format!("applied {command}"),
            // What contradicts itself is refused before it is known what it says.
            "refused" if self.on.contains("codes") => "refused".to_owned(),
            "dead_letter" if self.on.contains("codes") && command == "control_refused" => "refused".to_owned(),
            "threshold" if self.on.contains("selectors") => without_selector_of_limit(text),
            "pause" if self.on.contains("selectors") => match text.split_once(" [") {
                Some((head, causes)) => format!("{head} [{}]", self.causes(causes.trim_end_matches(']'))),
                None => text.to_owned(),
            },
            _ => text.to_owned(),
        }
    }

    /// Facts, as they are compared.
    pub fn facts(&self, facts: &Facts) -> Facts {
        if !self.on.contains("selectors") {
            return facts.clone();
        }
        let mut masked = Facts::new();
        for (key, value) in facts {
            let (key, value) = match key.split(' ').next() {
                Some("overshoot") => (without_selector_of_limit(key), value.clone()),
                Some("causes") => (key.clone(), self.causes(value)),
                _ => (key.clone(), value.clone()),
            };
            masked.insert(key, value);
        }
        masked
    }

    /// A list of causes, where each names a limit by its id.
    fn causes(&self, causes: &str) -> String {
        let masked = causes.split(", ").map(|cause| {
            let words: Vec<&str> = cause.split(' ').collect();
            match words[..] {
                ["limit", _, id, _, start] => format!("limit ? {id} ? {start}"),
                ["spend_limit", _, id, ..] => format!("spend_limit ? {id}"),
                _ => cause.to_owned(),
            }
        });
        masked.collect::<BTreeSet<_>>().into_iter().collect::<Vec<_>>().join(", ")
    }
}

/// `threshold SCOPE limit SELECTOR ID …`, with `?` for the selector.
fn without_selector_of_limit(text: &str) -> String {
    let mut words: Vec<&str> = text.split(' ').collect();
    if let Some(word) = words.iter().position(|word| *word == "limit").filter(|place| place + 1 < words.len()) {
        words[word + 1] = "?";
    }
    words.join(" ")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn masked_words_are_as_poor_on_both_sides() {
        let masks = Masks { on: BTreeSet::from(["codes", "selectors"]) };
        for (rich, poor) in [
            ("refused pause not_paused scope=org", "refused"),
            ("applied adjust done x=1", "applied adjust"),
            ("threshold ws:a limit every:workspace b window=1 cap=2", "threshold ws:a limit ? b window=1 cap=2"),
            ("threshold ws:a pool window=1 cap=2", "threshold ws:a pool window=1 cap=2"),
            (
                "pause org [limit org a day 5, limit every:organization a day 5, pool]",
                "pause org [limit ? a ? 5, pool]",
            ),
            ("pause org []", "pause org []"),
        ] {
            assert_eq!(masks.said(rich), poor);
            assert_eq!(masks.said(poor), poor);
        }
        assert_eq!(Masks::none().said("refused pause x"), "refused pause x");
    }
}
