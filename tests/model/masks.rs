//! Masks: what is not compared, each with a name.
//!
//! The account of before there was a model (`d033d70`) says less than the specification, and otherwise. What would differ
//! in nearly every life is masked: the words of both sides are made as poor as the poorer ones. `MASKS` names those that
//! are on; without it none is.

use std::collections::BTreeSet;

use crate::{life::Facts, lives::Vocabulary};

/// All masks.
pub const NAMES: [(&str, &str); 12] = [
    ("codes", "refusals and answers are sentences: only that a command was applied or refused is compared"),
    ("commands", "lives say only what that account knows, and everything has a price"),
    ("selectors", "causes and ceilings name a limit by its id alone, no window and no workspace"),
    ("sessions", "sessions are counted only where a seat or a limit uses them"),
    ("overshoots", "overshoot is booked for want of money only, and by other names"),
    ("pools", "the size of a pool counts purchases that begin later, and what is left of it may be below zero"),
    ("left", "what is left of a purchase is not lost with its period"),
    ("digests", "a digest that was missed is sent once"),
    ("refunds", "refunds are not counted in minutes, hours and days"),
    ("breakdowns", "breakdowns are kept for two periods"),
    ("again", "a pause is told again where its causes are the same"),
    ("blocked", "nothing is told of a reload that a bound keeps from being asked for"),
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

    /// Those that `MASKS` names, with commas; `all` is all of them.
    ///
    /// # Panics
    /// If there is no such mask.
    pub fn of_environment() -> Self {
        let names = std::env::var("MASKS").unwrap_or_default();
        let known = |name: &str| {
            let mask = NAMES.into_iter().find(|(known, _)| *known == name);
            mask.unwrap_or_else(|| panic!("there is no mask {name}; there are {NAMES:?}")).0
        };
        match names.as_str() {
            "all" => Self { on: NAMES.into_iter().map(|(name, _)| name).collect() },
            names => Self { on: names.split(',').filter(|name| !name.is_empty()).map(known).collect() },
        }
    }

    /// The names of those that are on.
    pub fn names(&self) -> String {
        self.on.iter().copied().collect::<Vec<_>>().join(",")
    }

    /// What lives may say.
    pub fn vocabulary(&self) -> Vocabulary {
        if self.has("commands") { Vocabulary::Old } else { Vocabulary::Whole }
    }

    /// Whether a mask is on.
    pub fn has(&self, name: &str) -> bool {
        self.on.contains(name)
    }

    /// What was said, as it is compared; `None` if it is not.
    pub fn said(&self, text: &str) -> Option<String> {
        let mut words = text.split(' ');
        let (verb, command) = (words.next().unwrap_or_default(), words.next().unwrap_or_default());
        Some(match verb {
            "applied" if command == "adjust" && !self.has("codes") => adjusted(text),
            "applied" | "refused" if !self.has("codes") => codes_of(text),
            "applied" if self.has("codes") && command == "adjust" => adjusted(text),
            "applied" if self.has("codes") => format!("applied {command}"),
            // What contradicts itself is refused before it is known what it says.
            "refused" if self.has("codes") => "refused".to_owned(),
            "dead_letter" if self.has("codes") && matches!(command, "control_refused" | "unreadable") => {
                "refused".to_owned()
            }
            "dead_letter" if self.has("codes") && command == "counter_overflow" => "dead_letter overflow".to_owned(),
            "reload_blocked" if self.has("blocked") => return None,
            "threshold" if self.has("selectors") => without_selector_of_limit(text),
            "pause" if self.has("selectors") => match text.split_once(" [") {
                Some((head, causes)) => format!("{head} [{}]", self.causes(causes.trim_end_matches(']'))),
                None => text.to_owned(),
            },
            "statement" | "correction" if self.has("commands") => {
                let words = text.split(' ').filter(|word| !word.starts_with("unpriced_tokens="));
                words.collect::<Vec<_>>().join(" ")
            }
            _ => text.to_owned(),
        })
    }

    /// Facts at the clock, as they are compared. Refunds were made, or not.
    pub fn facts(&self, facts: &Facts, clock_ms: i64, has_refunds: bool) -> Facts {
        let mut masked = Facts::new();
        for (key, value) in facts {
            let words: Vec<&str> = key.split(' ').collect();
            let is_masked = match words[..] {
                ["count", _, "session", ..] => self.has("sessions"),
                ["count", _, "minute", start, _] if !is_kept_minute(start, clock_ms) => true,
                ["count", _, "minute" | "hour" | "day", ..] if has_refunds && self.has("refunds") => true,
                ["count", .., "unpriced_tokens"] => self.has("commands"),
                ["pool", ..] => self.has("pools"),
                ["overshoot", ..] => self.has("overshoots"),
                ["part" | "model", ..] => value == "0",
                _ => false,
            };
            if is_masked {
                continue;
            }
            match words[0] {
                "overshoot" => {
                    let key = self.overshoot(key);
                    let sum = masked.get(&key).map_or(0, |sum| amount(sum)).saturating_add(amount(value));
                    masked.insert(key, sum.to_string());
                }
                "causes" if self.has("selectors") => {
                    masked.insert(key.clone(), self.causes(value));
                }
                "grant" if self.has("left") => {
                    let spent = value.split(' ').next().unwrap_or_default();
                    masked.insert(key.clone(), spent.to_owned());
                }
                _ => {
                    masked.insert(key.clone(), value.clone());
                }
            }
        }
        masked
    }

    /// Whether the account may have forgotten what the model knows.
    pub fn may_lack(&self, key: &str) -> bool {
        self.has("breakdowns") && (key.starts_with("part ") || key.starts_with("model "))
    }

    fn overshoot(&self, key: &str) -> String {
        let key = if self.has("selectors") { without_selector_of_limit(key) } else { key.to_owned() };
        let words = key.split(' ').map(|word| match word {
            "seat_allowance" | "extra_usage_off" | "consent" if self.has("selectors") => "pool",
            word => word,
        });
        words.collect::<Vec<_>>().join(" ")
    }

    /// A list of causes, where each names a limit by its id.
    fn causes(&self, causes: &str) -> String {
        let masked = causes.split(", ").map(|cause| {
            let words: Vec<&str> = cause.split(' ').collect();
            match words[..] {
                [kind @ ("limit" | "spend_limit"), _, id, ..] => format!("{kind} ? {id}"),
                [kind, "in", _] => kind.to_owned(),
                _ => cause.to_owned(),
            }
        });
        masked.collect::<BTreeSet<_>>().into_iter().collect::<Vec<_>>().join(", ")
    }
}

/// An answer with its codes alone.
fn codes_of(text: &str) -> String {
    let mut depth = 0_i32;
    let mut codes = Vec::new();
    for word in text.split(' ') {
        let opens = word.matches('[').count() as i32 - word.matches(']').count() as i32;
        if depth == 0 && !word.contains('=') {
            codes.push(word);
        }
        depth += opens;
    }
    codes.join(" ")
}

/// Minutes are kept until 10 minutes after their end.
fn is_kept_minute(start: &str, clock_ms: i64) -> bool {
    start.parse::<i64>().is_ok_and(|start| start + 11 * 60_000 > clock_ms)
}

/// What an adjustment was answered: who paid or got back how much, and what nobody got.
fn adjusted(text: &str) -> String {
    let text = text.replace("_micro ", "_micro=");
    let (text, lost) = text.split_once(" not_returned_micro=").unwrap_or((&text, "0"));
    let lost = lost.trim_matches(['[', ']']);
    let words = text.split([' ', '[', ']', ',']).filter(|word| word.contains("_credits_micro="));
    let parts: BTreeSet<&str> = words.map(|word| word.trim_start_matches("parts=")).collect();
    let parts = parts.into_iter().collect::<Vec<_>>().join(" ");
    if lost == "0" { format!("applied adjust {parts}") } else { format!("applied adjust {parts} lost={lost}") }
}

fn amount(value: &str) -> i64 {
    value.parse().unwrap_or(0)
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
            ("applied approve done x=1", "applied approve"),
            (
                "applied adjust refunded parts=[pool_credits_micro=-2, seat_credits_micro=-3] not_returned_micro=0",
                "applied adjust pool_credits_micro=-2 seat_credits_micro=-3",
            ),
            (
                "applied adjust ? seat_credits_micro -3, pool_credits_micro -2",
                "applied adjust pool_credits_micro=-2 seat_credits_micro=-3",
            ),
            ("applied adjust refunded parts=[] not_returned_micro=4", "applied adjust  lost=4"),
            ("threshold ws:a limit every:workspace b window=1 cap=2", "threshold ws:a limit ? b window=1 cap=2"),
            ("threshold ws:a pool window=1 cap=2", "threshold ws:a pool window=1 cap=2"),
            ("pause org [limit org a day 5, limit every:organization a day 5, pool]", "pause org [limit ? a, pool]"),
            ("pause org []", "pause org []"),
        ] {
            assert_eq!(masks.said(rich).as_deref(), Some(poor));
        }
        assert_eq!(Masks::none().said("refused pause x").as_deref(), Some("refused pause x"));
    }
}
