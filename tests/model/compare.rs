//! Where two sides say or hold something else.

use std::collections::{BTreeMap, HashMap};

use crate::{
    life::{Facts, Said},
    masks::Masks,
};

/// A line that only one side has, or that each has otherwise.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Differs {
    /// The key of a fact, or what was said.
    pub what: String,
    /// What the model has.
    pub model: String,
    /// What the account has.
    pub account: String,
}

/// Everything in which the sides differ after one step; never empty.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Difference {
    /// Which account: with its view kept, or dropped.
    pub view: &'static str,
    /// The lines.
    pub lines: Vec<Differs>,
}

impl std::fmt::Display for Difference {
    fn fmt(&self, formatter: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        writeln!(formatter, "after the last line (the account's view was {}):", self.view)?;
        for line in &self.lines {
            writeln!(formatter, "  {}\n    model   {}\n    account {}", line.what, line.model, line.account)?;
        }
        Ok(())
    }
}

/// Which identity of the account is which of the model: one for one, for the whole life.
#[derive(Default)]
pub struct Identities {
    of_account: HashMap<String, String>,
    of_model: HashMap<String, String>,
}

impl Identities {
    /// Whether the two may be the same: both are new, or they were met together.
    fn fit(&self, model: &str, account: &str) -> bool {
        match (self.of_model.get(model), self.of_account.get(account)) {
            (None, None) => true,
            (known, back) => known.is_some_and(|known| known == account) && back.is_some_and(|back| back == model),
        }
    }

    fn pair(&mut self, model: &str, account: &str) {
        self.of_model.insert(model.to_owned(), account.to_owned());
        self.of_account.insert(account.to_owned(), model.to_owned());
    }
}

/// What one side said and the other did not, and what bears another identity.
pub fn said(model: &[Said], account: &[Said], identities: &mut Identities, masks: &Masks) -> Vec<Differs> {
    let mut texts: BTreeMap<String, [Vec<&str>; 2]> = BTreeMap::new();
    for (side, all) in [model, account].into_iter().enumerate() {
        for one in all {
            if let Some(text) = masks.said(&one.text) {
                texts.entry(text).or_default()[side].push(&one.identity);
            }
        }
    }
    if masks.has("digests") {
        for (_, identities) in texts.iter_mut().filter(|(text, _)| text.starts_with("digest ")) {
            // The last one of those that were missed.
            identities.iter_mut().for_each(|of_side| drop(of_side.drain(..of_side.len().saturating_sub(1))));
        }
    }
    let mut differs = Vec::new();
    for (text, [of_model, of_account]) in texts {
        if of_model.len() != of_account.len() {
            let times = |identities: &[&str]| match identities.len() {
                0 => "does not say it".to_owned(),
                1 => "says it".to_owned(),
                more => format!("says it {more} times"),
            };
            differs.push(Differs { what: text, model: times(&of_model), account: times(&of_account) });
        } else if (text != "refused" || !masks.has("codes")) && !pair_all(&of_model, of_account.clone(), identities) {
            differs.push(Differs {
                what: format!("identity of {text}"),
                model: of_model.join(", "),
                account: of_account.join(", "),
            });
        }
    }
    differs
}

/// Pairs what was said in the same words: first those that were met before. `false` if somebody is left.
fn pair_all(of_model: &[&str], mut of_account: Vec<&str>, identities: &mut Identities) -> bool {
    let (known, new): (Vec<&str>, Vec<&str>) =
        of_model.iter().partition(|identity| identities.of_model.contains_key(**identity));
    for model in known.into_iter().chain(new) {
        let Some(place) = of_account.iter().position(|account| {
            (model.is_empty() && account.is_empty()) || (!model.is_empty() && identities.fit(model, account))
        }) else {
            return false;
        };
        let account = of_account.remove(place);
        if !model.is_empty() {
            identities.pair(model, account);
        }
    }
    true
}

/// What holds on one side and not, or otherwise, on the other, both as they are compared. The account may keep windows that
/// the model does not list: `count` says what they should hold. It may keep fewer than the model lists, but not of the two
/// newest of a kind, and nothing but what `may_lack` names.
pub fn facts(
    model: &Facts,
    account: &Facts,
    may_lack: impl Fn(&str) -> bool,
    count: impl Fn(&str) -> i64,
) -> Vec<Differs> {
    if model == account {
        return Vec::new();
    }
    let newest = newest_windows(model);
    let mut differs = Vec::new();
    for (key, value) in account {
        let expected = model.get(key).cloned();
        let expected = expected.or_else(|| key.starts_with("count ").then(|| count(key).to_string()));
        if expected.as_ref() != Some(value) {
            let expected = expected.unwrap_or_else(|| "-".to_owned());
            differs.push(Differs { what: key.clone(), model: expected, account: value.clone() });
        }
    }
    for (key, value) in model {
        let is_newest = |(window, start): (&str, i64)| newest.get(window).is_some_and(|starts| starts.contains(&start));
        let may_be_forgotten = window_of(key).is_some_and(|window| !is_newest(window)) || may_lack(key);
        if !account.contains_key(key) && !may_be_forgotten {
            differs.push(Differs { what: key.clone(), model: value.clone(), account: "-".to_owned() });
        }
    }
    differs
}

/// `count SCOPE KIND START METER` → (`count SCOPE KIND`, START).
fn window_of(key: &str) -> Option<(&str, i64)> {
    let (rest, _meter) = key.strip_prefix("count ").and(key.rsplit_once(' '))?;
    let (window, start) = rest.rsplit_once(' ')?;
    Some((window, start.parse().ok()?))
}

/// The two newest windows of each scope and kind.
fn newest_windows(facts: &Facts) -> HashMap<String, Vec<i64>> {
    let mut newest: HashMap<String, Vec<i64>> = HashMap::new();
    for (window, start) in facts.keys().filter_map(|key| window_of(key)) {
        let starts = newest.entry(window.to_owned()).or_default();
        if !starts.contains(&start) {
            starts.push(start);
            starts.sort_unstable_by(|a, b| b.cmp(a));
            starts.truncate(2);
        }
    }
    newest
}

#[cfg(test)]
mod tests {
    use super::*;

    fn said_as(text: &str, identity: &str) -> Said {
        Said { text: text.to_owned(), identity: identity.to_owned() }
    }

    #[test]
    fn one_identity_on_one_side_is_one_on_the_other() {
        let (mut identities, masks) = (Identities::default(), Masks::none());
        let mut differ = |model: &[Said], account: &[Said]| said(model, account, &mut identities, &masks).len();
        assert_eq!(differ(&[said_as("a", "1"), said_as("a", "2")], &[said_as("a", "x"), said_as("a", "y")]), 0);
        assert_eq!(differ(&[said_as("a", "2"), said_as("b", "3")], &[said_as("b", "z"), said_as("a", "y")]), 0);
        assert_eq!(differ(&[said_as("a", "2")], &[said_as("a", "z")]), 1, "2 was y, and z was 3");
        assert_eq!(differ(&[said_as("a", "4")], &[said_as("a", "x")]), 1, "x was 1");
        assert_eq!(differ(&[said_as("c", "5")], &[said_as("d", "w")]), 2);
    }

    #[test]
    fn the_two_newest_windows_of_a_kind_are_not_forgotten() {
        let facts_of = |keys: &[&str]| keys.iter().map(|key| ((*key).to_owned(), "1".to_owned())).collect::<Facts>();
        let model = facts_of(&["count org day 1 m", "count org day 2 m", "count org day 3 m"]);
        let differ = |account: &[&str]| facts(&model, &facts_of(account), |_| false, |_| 1).len();
        assert_eq!(differ(&["count org day 2 m", "count org day 3 m", "count org day 0 m"]), 0);
        assert_eq!(differ(&["count org day 1 m", "count org day 3 m"]), 1);
        assert_eq!(differ(&["count org day 2 m", "count org day 3 m", "seat u"]), 1);
    }
}
