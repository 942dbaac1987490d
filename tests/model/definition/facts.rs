//! What holds, in canonical words.
//!
//! Of counts it lists the windows that are certainly kept: hours and days that ended less than a horizon ago, periods, and
//! of each user the two newest sessions. Minutes and weeks it does not list: [`super::Model::count`] answers for them, and
//! for everything older.

use std::collections::{BTreeMap, BTreeSet};

use super::{
    history::History,
    terms::{Kind, Meter, Scope, Selector},
    windows::Window,
};
use crate::life::{Facts, HORIZON_MS};

/// How many names of models, and of products and triggers, are kept; what comes after is `other`.
const NAMES_MOST: usize = 64;

/// Everything that holds at the clock.
pub fn facts(history: &History, clock_ms: i64) -> Facts {
    let mut facts = Facts::new();
    counts(history, clock_ms, &mut facts);
    parts(history, &mut facts);
    for (scope, causes) in &history.causes {
        let causes: Vec<&str> = causes.iter().map(String::as_str).collect();
        facts.insert(format!("causes {scope}"), causes.join(", "));
    }
    pools(history, clock_ms, &mut facts);
    for (scope, rule, window, micro) in &history.overshoots {
        let sum = facts.entry(format!("overshoot {scope} {rule} window={window}")).or_insert_with(|| "0".to_owned());
        *sum = (sum.parse::<i64>().expect("it is a number").saturating_add(*micro)).to_string();
    }
    rules(history, &mut facts);
    facts
}

fn counts(history: &History, clock_ms: i64, facts: &mut Facts) {
    let mut windows: BTreeMap<(Scope, Kind, i64), Window<'_>> = BTreeMap::new();
    let mut kept = Kept { history, clock_ms, known: BTreeMap::new() };
    for one in &history.counted {
        for scope in one.named.scopes() {
            if !one.concerns(&scope) {
                continue;
            }
            for kind in [Kind::Hour, Kind::Day, Kind::Period, Kind::Session] {
                if let Some(start) = one.starts.of(kind)
                    && kept.has(&scope, kind, start)
                {
                    windows.entry((scope.clone(), kind, start)).or_default().add(one, &scope, kind);
                }
            }
        }
    }
    for ((scope, kind, start), window) in windows {
        for (meter, count) in window.meters() {
            facts.insert(format!("count {scope} {} {start} {meter}", kind.name()), count.to_string());
        }
    }
}

/// Which windows are kept.
struct Kept<'a> {
    history: &'a History,
    clock_ms: i64,
    known: BTreeMap<(Kind, i64), bool>,
}

impl Kept<'_> {
    fn has(&mut self, scope: &Scope, kind: Kind, start: i64) -> bool {
        match (kind, scope) {
            (Kind::Session, Scope::User(user)) => self.history.sessions(user).contains(&start),
            (Kind::Session, _) => false,
            (Kind::Period, _) => true,
            _ => {
                let (history, clock_ms) = (self.history, self.clock_ms);
                let is_young = || history.calendar.window(kind, start).end + HORIZON_MS > clock_ms;
                *self.known.entry((kind, start)).or_insert_with(is_young)
            }
        }
    }
}

/// Credits by product (organization and user), by trigger (workspace and agent) and by model (organization and workspace),
/// wherever credits, completed runs or (by model) tokens were counted.
fn parts(history: &History, facts: &mut Facts) {
    let (mut labels, mut models) = (BTreeSet::new(), BTreeSet::new());
    let mut sums: BTreeMap<String, i64> = BTreeMap::new();
    for one in &history.counted {
        let period = one.starts.period;
        // A name counts from the first event that bears it, also where nothing is priced.
        for name in one.product.iter().chain(&one.trigger) {
            kept_name(&mut labels, name);
        }
        if let Some(name) = &one.model {
            kept_name(&mut models, name);
        }
        let has = |meter: Meter| {
            one.credits != 0 || one.others.iter().any(|(counted, count)| *counted == meter && *count != 0)
        };
        let (label_counts, model_counts) = (has(Meter::RunsCompleted), has(Meter::InputTokens));
        let mut add = |what: String| *sums.entry(format!("{what} period={period}")).or_default() += one.credits;
        for scope in one.named.scopes() {
            let label = match scope {
                Scope::Organization | Scope::User(_) => &one.product,
                Scope::Workspace(_) | Scope::Agent(..) => &one.trigger,
            };
            if let Some(label) = label.as_ref().filter(|_| label_counts) {
                add(format!("part {scope} {}", kept_name(&mut labels, label)));
            }
            if let Some(model) =
                one.model.as_ref().filter(|_| model_counts && (scope == Scope::Organization || is_workspace(&scope)))
            {
                add(format!("model {scope} {}", kept_name(&mut models, model)));
            }
        }
    }
    facts.extend(sums.into_iter().map(|(what, sum)| (what, sum.to_string())));
}

fn is_workspace(scope: &Scope) -> bool {
    matches!(scope, Scope::Workspace(_))
}

fn kept_name<'a>(names: &mut BTreeSet<&'a str>, name: &'a str) -> &'a str {
    if names.len() < NAMES_MOST {
        names.insert(name);
    }
    if names.contains(name) { name } else { "other" }
}

fn pools(history: &History, clock_ms: i64, facts: &mut Facts) {
    let now = history.moment_of(clock_ms);
    for owner in history.pools.keys() {
        if let Some(size) = history.pool_size(owner, clock_ms, now) {
            let left = history.pool_left(owner, now);
            facts.insert(format!("pool {owner}"), format!("size={size} left={left}"));
        }
    }
    for (place, grant) in history.grants.iter().enumerate().filter(|(_, grant)| !grant.is_forgotten) {
        let (spent, left) = (history.spent(place), history.left(place, clock_ms));
        facts.insert(format!("grant {} {}", grant.owner, grant.id), format!("spent={spent} left={left}"));
    }
}

/// Limits, seats, creators, requests.
fn rules(history: &History, facts: &mut Facts) {
    let mut limits: BTreeMap<&Selector, Vec<String>> = BTreeMap::new();
    for limit in &history.limits {
        let cap = limit.cap.map_or_else(|| "unlimited".to_owned(), |cap| cap.to_string());
        limits.entry(&limit.selector).or_default().push(format!("{}={cap}", limit.id));
    }
    for (selector, mut limits) in limits {
        limits.sort();
        facts.insert(format!("limits {selector}"), limits.join(", "));
    }
    for (user, member) in &history.members {
        if let Some(seat) = &member.seat {
            facts.insert(format!("seat {user}"), seat.clone());
        }
    }
    for (scope, creator) in &history.registered {
        if let Scope::Agent(workspace, agent) = scope {
            facts.insert(format!("registered {workspace}/{agent}"), creator.clone());
        }
    }
    if !history.requests.is_empty() {
        let open: Vec<&str> = history.requests.iter().map(|request| request.id.as_str()).collect();
        facts.insert("requests".to_owned(), open.join(", "));
    }
}
