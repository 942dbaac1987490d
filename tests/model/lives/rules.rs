//! Limits and seats.

use rand::{Rng, seq::IndexedRandom};
use serde_json::{Value as Json, json};

use super::{
    AGENTS, Drawer, Limited, SEAT_TYPES, USERS, Vocabulary, WORKSPACES,
    fields::{Fields, fields},
};

/// Meters that an account of before does not limit.
const LATELY_LIMITED: [&str; 4] = ["free_credits_micro", "active_agents", "agents_created", "builders"];

const LIMIT_IDS: [&str; 4] = ["daily", "cap", "spend", "month"];

impl Drawer {
    /// The commands about limits and seats; all others are about people.
    pub fn rule_or_people(&mut self, command: &str) -> (String, Fields) {
        match command {
            "set_limit" => ("admin".to_owned(), self.limit()),
            "repeat_limit" => ("admin".to_owned(), self.limit_again()),
            "remove_limit" => ("admin".to_owned(), self.removed_limit()),
            "set_seat_type" => ("admin".to_owned(), fields(self.seat_type())),
            _ => self.people(command),
        }
    }

    fn limit(&mut self) -> Fields {
        let selector = self.selector();
        let meter = self.meter();
        let window = self.window(&selector, meter);
        let cap = if self.one_in(10) { Json::Null } else { json!(self.amount()) };
        let limited = Limited { selector, id: self.one(&LIMIT_IDS).to_owned(), meter: meter.to_owned(), window, cap };
        self.set_limited(limited)
    }

    /// The same rule with another cap, or the very same again.
    fn limit_again(&mut self) -> Fields {
        let Some(mut limited) = self.remembered.limits.choose(&mut self.random).cloned() else { return self.limit() };
        if !self.one_in(4) {
            limited.cap = json!(self.amount());
        }
        if self.one_in(6) {
            limited.meter = self.meter().to_owned();
        }
        if self.one_in(4) {
            // A rule of the same id for others: neither knows the other.
            limited.selector = self.selector();
        }
        self.set_limited(limited)
    }

    fn set_limited(&mut self, limited: Limited) -> Fields {
        self.remembered.limits.push(limited.clone());
        let (selector, of) = limited.selector;
        let mut set = fields(json!({
            "limit_id": limited.id,
            selector: of,
            "meter": limited.meter,
            "window": limited.window,
            "cap": if self.one_in(60) { json!(-1) } else { limited.cap },
            "thresholds_percent": self.thresholds(),
            "action": self.weighted(&[(Some("pause"), 14), (None, 2), (Some("notify"), 3), (Some("observe"), 1)]),
        }));
        if self.one_in(60) {
            set.insert("every".to_owned(), json!("user"));
        }
        if selector != "scope"
            && let Some(yields) = self.lately(5, |drawer| !drawer.one_in(4))
        {
            set.insert("yields_to_own".to_owned(), json!(yields));
        }
        set
    }

    fn removed_limit(&mut self) -> Fields {
        let known = self.remembered.limits.choose(&mut self.random).cloned();
        let (selector, id) = match known {
            Some(limited) if !self.one_in(12) => (limited.selector, limited.id),
            _ => (self.selector(), self.one(&LIMIT_IDS).to_owned()),
        };
        fields(json!({ "limit_id": id, selector.0: selector.1 }))
    }

    fn selector(&mut self) -> (&'static str, String) {
        let workspace = self.one(&WORKSPACES);
        match self.random.random_range(0..100) {
            0..14 => ("scope", "org".to_owned()),
            14..34 => ("scope", format!("ws:{workspace}")),
            34..48 => ("scope", format!("agent:{workspace}/{}", self.one(&AGENTS))),
            48..68 => ("scope", format!("user:{}", self.one(&USERS))),
            68..90 => {
                ("every", self.weighted(&[("user", 5), ("workspace", 3), ("agent", 3), ("organization", 1)]).to_owned())
            }
            90..99 => ("seat_type", self.one(&SEAT_TYPES).to_owned()),
            _ => self.one(&[("scope", "team:x"), ("every", "seat"), ("seat_type", "golden"), ("scope", "ws:")]).owned(),
        }
    }

    fn meter(&mut self) -> &'static str {
        if let Some(meter) = self.lately(15, |drawer| drawer.one(&LATELY_LIMITED)) {
            return meter;
        }
        let pays_extra = if self.theme.mode.is_empty() { 20 } else { 45 };
        self.weighted(&[
            ("extra_credits_micro", pays_extra),
            ("credits_micro", 20),
            ("input_tokens", 20),
            ("pool_credits_micro", 4),
            ("seat_credits_micro", 2),
            ("prepaid_credits_micro", 3),
            ("postpaid_credits_micro", 3),
            ("uncovered_credits_micro", 3),
            ("adjusted_credits_micro", 2),
            ("runs_started", 5),
            ("runs_completed", 5),
            ("runs_failed", 1),
            ("output_tokens", 1),
        ])
    }

    fn window(&mut self, (_, of): &(&str, String), meter: &str) -> String {
        let is_user = of.starts_with("user") || SEAT_TYPES.contains(&of.as_str());
        // An account of before counts sessions in every mode.
        let session = if self.vocabulary == Vocabulary::Old {
            0
        } else if is_user {
            12
        } else {
            4
        };
        let period = if meter == "extra_credits_micro" { 60 } else { 15 };
        let windows =
            [("minute", 8), ("hour", 15), ("day", 25), ("week", 15), ("session", session), ("period", period)];
        self.weighted(&windows).to_owned()
    }

    fn seat_type(&mut self) -> Json {
        let includes = |drawer: &mut Self, one_in| drawer.sometimes(one_in).map(|()| drawer.amount());
        json!({
            "seat_type": self.weighted(&[("standard", 10), ("premium", 10), ("", 1)]),
            "session_micro": includes(self, 3),
            "week_micro": includes(self, 3),
            "period_micro": includes(self, 2),
        })
    }
}

/// A pair of texts of which the second is owned.
trait Owned {
    fn owned(self) -> (&'static str, String);
}

impl Owned for (&'static str, &'static str) {
    fn owned(self) -> (&'static str, String) {
        (self.0, self.1.to_owned())
    }
}
