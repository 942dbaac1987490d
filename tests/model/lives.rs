//! Random lives: sequences of commands, usage and time, drawn so that rare states come up.
//!
//! A life knows neither side. It draws a *theme* (how the organization pays, and which commands are favoured), so that
//! deep states are reached in some 150 steps; and it remembers what it said itself, so that a grant is voided that was
//! given, usage is refunded that took place, and time stops just before and after what was planned.
//!
//! Names are few and amounts are round: rules of one id on two selectors, a cap met exactly, a pool of nothing come up by
//! themselves.

mod bounds;
mod fields;
mod instants;
mod opening;
mod people;
mod rules;
mod themes;
mod usage;

use jiff::civil::Date;
use rand::{Rng, SeedableRng, rngs::StdRng, seq::IndexedRandom};
use serde_json::{Map, Value as Json};

use crate::life::{EARLY_MS, HORIZON_MS, Step, Use, What};
use themes::Theme;

pub use bounds::all as to_the_bounds;

pub const WORKSPACES: [&str; 3] = ["sales", "lab", "support"];
pub const USERS: [&str; 4] = ["ann", "bob", "cleo", "dan"];
pub const AGENTS: [&str; 4] = ["chat", "code", "triage", "mail"];
pub const SEAT_TYPES: [&str; 2] = ["standard", "premium"];

/// After so long a silence something may have been due.
const DUE_IS_LATE_MS: i64 = 30 * 60_000;

/// One life in so many is led without any rate card.
const WITHOUT_CARD_ONE_IN: u32 = 25;

/// A life as it was drawn.
pub struct Life {
    /// What it is about.
    pub theme: &'static str,
    /// What happens.
    pub steps: Vec<Step>,
}

/// What a life may say.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Vocabulary {
    /// What the account knew before there was a model.
    Old,
    /// Everything.
    Whole,
}

/// Draws the life of a seed.
pub fn draw(seed: u64, steps: usize, vocabulary: Vocabulary) -> Life {
    let mut random = StdRng::seed_from_u64(seed);
    let theme = themes::draw(&mut random);
    let mut drawer = Drawer::new(random, theme, vocabulary);
    drawer.open();
    while drawer.steps.len() < steps {
        drawer.take_step();
    }
    Life { theme: theme.name, steps: without_weeks_of_two_zones(theme.name, drawer.steps) }
}

/// A week in which the zone changes is the sum of its days only once the change is over (docs/specification.md, "Time"):
/// lives have either weeks or changes of the zone.
fn without_weeks_of_two_zones(theme: &str, steps: Vec<Step>) -> Vec<Step> {
    let is_said = |step: &Step, is_meant: &dyn Fn(&str, &Map<String, Json>) -> bool| match &step.what {
        What::Say { command, fields, .. } => is_meant(command, fields),
        What::Use(_) | What::Pass => false,
    };
    let has_week = |_: &str, fields: &Map<String, Json>| {
        fields.contains_key("week_micro") || fields.get("window").is_some_and(|window| window == "week")
    };
    let changes_zone = |command: &str, _: &Map<String, Json>| command == "set_organization";
    let keeps_zones = theme.contains("zones");
    let has_weeks = !keeps_zones && steps.iter().any(|step| is_said(step, &has_week));
    let is_left_out = |step: &Step| match (keeps_zones, has_weeks) {
        (true, _) => is_said(step, &has_week),
        (false, true) => is_said(step, &changes_zone),
        (false, false) => false,
    };
    steps.into_iter().filter(|step| !is_left_out(step)).collect()
}

/// What a life remembers of itself while it is drawn.
struct Remembered {
    time_zone: &'static str,
    anchor: Date,
    digest_hour: i8,
    mode: &'static str,
    has_credits: bool,
    /// How much had been used when a reload was answered last: soon after, none is open.
    answered_after: usize,
    uses: Vec<Use>,
    says: Vec<What>,
    pools: Vec<String>,
    grants: Vec<(String, String)>,
    limits: Vec<Limited>,
    /// Requests that wait for an answer, and those that had one.
    requests: Vec<Asked>,
    answered: Vec<(String, bool)>,
    may_ask: bool,
    /// Where a balance is filled up by itself.
    reloads: Vec<String>,
    registered: Vec<String>,
    paused: Vec<String>,
    /// Instants at which something was said to begin or to end.
    planned_ms: Vec<i64>,
}

/// A request of a member.
struct Asked {
    id: String,
    user: &'static str,
    wants_more: bool,
}

/// A limit that was set.
#[derive(Clone)]
struct Limited {
    selector: (&'static str, String),
    id: String,
    meter: String,
    window: String,
    cap: Json,
}

/// Draws one life.
struct Drawer {
    random: StdRng,
    theme: &'static Theme,
    vocabulary: Vocabulary,
    steps: Vec<Step>,
    now_ms: i64,
    clock_ms: i64,
    /// Until when the clock stands still.
    behind_until_ms: i64,
    said: usize,
    used: usize,
    remembered: Remembered,
}

impl Drawer {
    fn new(mut random: StdRng, theme: &'static Theme, vocabulary: Vocabulary) -> Self {
        let now_ms = instants::birth(&mut random);
        let remembered = Remembered {
            time_zone: "UTC",
            anchor: Date::constant(1970, 1, 1),
            digest_hour: 9,
            mode: "credits",
            has_credits: true,
            answered_after: 0,
            uses: Vec::new(),
            says: Vec::new(),
            pools: Vec::new(),
            grants: Vec::new(),
            limits: Vec::new(),
            requests: Vec::new(),
            answered: Vec::new(),
            may_ask: true,
            reloads: Vec::new(),
            registered: Vec::new(),
            paused: Vec::new(),
            planned_ms: Vec::new(),
        };
        Self {
            random,
            theme,
            vocabulary,
            steps: Vec::new(),
            now_ms,
            clock_ms: now_ms,
            behind_until_ms: now_ms,
            said: 0,
            used: 0,
            remembered,
        }
    }

    fn take_step(&mut self) {
        let before_ms = self.now_ms;
        self.pass_time();
        if self.now_ms - before_ms > DUE_IS_LATE_MS && self.one_in(2) {
            // What was due is mostly done before something else happens.
            self.push(What::Pass);
        }
        match self.random.random_range(0..100) {
            at if at < self.theme.usage_percent => {
                self.draw_use();
                if self.may_have_asked() && self.one_in(self.theme.answers_one_in) {
                    // A charge may have had a reload asked for, and somebody answers at once.
                    self.now_ms += self.one(&[0, 1_000, 60_000]);
                    self.set_clock();
                    let answer = self.weighted(&[("refuse_reload", 4), ("answer_reload", 1)]);
                    self.say_one(answer);
                }
            }
            at if at < self.theme.usage_percent + 3 => self.push(What::Pass),
            _ => self.draw_say(),
        }
    }

    /// Whether the last usage was where a balance is filled up.
    fn may_have_asked(&self) -> bool {
        let workspace = self.remembered.uses.last().and_then(|used| used.workspace.as_deref());
        let scope = self.remembered.reloads.last().map(String::as_str);
        scope == Some("org") || scope.is_some_and(|scope| scope.strip_prefix("ws:") == workspace)
    }

    /// Draws a command by the weights of the theme, or says again what was said before.
    fn draw_say(&mut self) {
        if self.one_in(40) && self.say_again() {
            return;
        }
        let (command, _) = *themes::COMMANDS
            .choose_weighted(&mut self.random, |(command, weight)| self.theme.weight(command, *weight))
            .expect("commands have weights");
        if self.vocabulary == Vocabulary::Old && themes::NEW.contains(&command) {
            return self.draw_say();
        }
        let command = self.instead_of(command);
        self.say_one(command);
    }

    /// What has to be said first, mostly, where a command lacks what it is about.
    fn instead_of(&mut self, command: &'static str) -> &'static str {
        let remembered = &self.remembered;
        let first = match command {
            "grant" | "set_auto_reload" if remembered.pools.is_empty() => "set_pool",
            "void_grant" if remembered.grants.is_empty() => "grant",
            "answer_reload" | "refuse_reload" if self.used < remembered.answered_after + 2 => "void_grant",
            "set_pool" | "grant" if !remembered.has_credits && self.said.is_multiple_of(2) => "set_plan",
            "remove_pool" if remembered.pools.is_empty() => "set_pool",
            "answer_reload" | "refuse_reload" | "remove_auto_reload" if remembered.reloads.is_empty() => {
                if remembered.pools.is_empty() { "set_pool" } else { "set_auto_reload" }
            }
            "approve" | "decline" if remembered.requests.is_empty() => "request",
            "request" if !remembered.may_ask => "set_requests",
            "remove_limit" | "repeat_limit" if remembered.limits.is_empty() => "set_limit",
            "resume" if remembered.paused.is_empty() => "pause",
            _ => return command,
        };
        if self.one_in(6) { command } else { first }
    }

    fn say_one(&mut self, command: &'static str) {
        let (actor, mut fields) = self.fields_of(command);
        if let Some(by_owner) = self.lately(6, |_| false) {
            fields.insert("by_owner".to_owned(), by_owner.into());
        }
        self.say(&actor, themes::as_said(command), fields);
    }

    fn say(&mut self, actor: &str, command: &str, fields: Map<String, Json>) {
        self.said += 1;
        let bounds = [-HORIZON_MS, -HORIZON_MS - 1_000, EARLY_MS, EARLY_MS + 1_000];
        let time_ms = if self.one_in(100) { self.now_ms + self.one(&bounds) } else { self.now_ms };
        let what = What::Say {
            actor: actor.to_owned(),
            id: format!("c{}", self.said),
            time_ms,
            command: command.to_owned(),
            fields,
        };
        self.remembered.says.push(what.clone());
        self.push(what);
    }

    /// A record comes again, within the time in which it can be told: the same, or another under its id. `false` if there
    /// was none.
    fn say_again(&mut self) -> bool {
        let from = self.now_ms - HORIZON_MS;
        let is_young = |what: &&What| matches!(what, What::Say { time_ms, .. } if *time_ms >= from);
        let young: Vec<&What> = self.remembered.says.iter().filter(is_young).collect();
        let Some(mut again) = young.choose(&mut self.random).map(|what| (*what).clone()) else { return false };
        if self.one_in(4)
            && let What::Say { actor, command, fields, .. } = &mut again
        {
            let other = themes::COMMANDS[self.random.random_range(0..themes::COMMANDS.len() - themes::NEW.len())].0;
            let (by, drawn) = self.fields_of(other);
            (*actor, *command, *fields) = (by, themes::as_said(other).to_owned(), drawn);
        }
        self.push(again);
        true
    }

    fn push(&mut self, what: What) {
        self.steps.push(Step { at_ms: self.now_ms, clock_ms: self.clock_ms, what });
    }

    fn one_in(&mut self, n: u32) -> bool {
        self.random.random_range(0..n) == 0
    }

    fn one<T: Copy>(&mut self, of: &[T]) -> T {
        *of.choose(&mut self.random).expect("there is something to choose from")
    }

    /// Something that only the whole vocabulary says, once in so many times.
    fn lately<T>(&mut self, one_in: u32, draw: impl FnOnce(&mut Self) -> T) -> Option<T> {
        (self.vocabulary == Vocabulary::Whole && self.one_in(one_in)).then(|| draw(self))
    }

    /// By weights.
    fn weighted<T: Copy>(&mut self, of: &[(T, u32)]) -> T {
        of.choose_weighted(&mut self.random, |(_, weight)| *weight).expect("there is something to choose from").0
    }
}

/// The names of all commands that lives say.
pub fn commands(vocabulary: Vocabulary) -> Vec<&'static str> {
    let known = |command: &&str| vocabulary == Vocabulary::Whole || !themes::NEW.contains(command);
    themes::COMMANDS.iter().map(|(command, _)| themes::as_said(command)).filter(known).collect()
}
