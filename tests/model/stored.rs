//! What the account stores, in the canonical words of `life.rs`.

use std::collections::{BTreeMap, HashMap};

use bursar::{
    domain::{
        account::{
            changes::{Needs, unpack_older},
            layout::unpack,
            row::{ModelPart, Part, ScopeRow},
            settings::{Calendar, Settings},
        },
        limit::Limit,
        meter::Counters,
        pool::{GrantKind, Pool},
        time::{DAY_MS, MINUTE_MS, Timestamp},
        window::{Window, WindowKind},
    },
    ledger::{Ledger, memory::MemoryLedger},
};
use futures::executor::block_on;

use crate::{
    life::{Facts, ORGANIZATION},
    words,
};

/// What is stored, as it was last read: most of it does not change in a step.
#[derive(Default)]
pub struct Stored {
    /// By scope, or by the name of an older window: the bytes, and the keys of the facts that they made.
    pieces: HashMap<String, (Vec<u8>, Vec<String>)>,
    /// Rows make other facts when these are others.
    settings: Settings,
    now: Option<Timestamp>,
    facts: Facts,
}

impl Stored {
    /// Everything that is stored and that the model knows of.
    pub fn facts(&mut self, ledger: &MemoryLedger, clock_ms: i64) -> &Facts {
        let (settings, calendar) = base(ledger);
        let period = calendar.window(&settings.zones, WindowKind::Period, Timestamp::from_ms(clock_ms));
        let now = Timestamp::from_ms(clock_ms);
        // What a pool has depends on the clock.
        if settings != self.settings || self.now != Some(now) {
            *self = Self { settings, now: Some(now), ..Self::default() };
            let mut facts = Facts::new();
            of_settings(&self.settings, &mut facts);
            self.facts = facts;
        }
        for (scope, packed) in ledger.scope_fields(ORGANIZATION) {
            self.read(scope.to_string(), packed, |packed, settings, facts| {
                of_row(&scope, &unpack("row", packed).expect("a row"), settings, (period, now), facts);
            });
        }
        for (key, packed) in ledger.older_windows(ORGANIZATION) {
            self.read(format!("{} {} {}", key.scope, key.kind.name(), key.start), packed, |packed, settings, facts| {
                let older = unpack_older(packed).expect("an older window");
                if is_kept(key.kind, key.start, now) {
                    count(&key.scope, key.kind, key.start, &older.counters, facts);
                }
                let detail = older.detail.unwrap_or_default();
                breakdown(&key.scope, &detail.parts, &detail.models, settings, facts);
            });
        }
        &self.facts
    }

    /// Replaces the facts of what changed.
    fn read(&mut self, name: String, packed: Vec<u8>, facts_of: impl FnOnce(&[u8], &Settings, &mut Facts)) {
        let known = self.pieces.get(&name);
        if known.is_some_and(|(known, _)| *known == packed) {
            return;
        }
        for key in known.map(|(_, keys)| keys).into_iter().flatten() {
            self.facts.remove(key);
        }
        let mut facts = Facts::new();
        facts_of(&packed, &self.settings, &mut facts);
        self.pieces.insert(name, (packed, facts.keys().cloned().collect()));
        self.facts.extend(facts);
    }
}

fn base(ledger: &MemoryLedger) -> (Settings, Calendar) {
    let needs = Needs { base: true, ..Needs::default() };
    let loaded = block_on(ledger.load(&[(ORGANIZATION.into(), needs)])).expect("memory answers").remove(0);
    let base = loaded.base.expect("it was asked for");
    let settings = base.settings.map(|packed| unpack("settings", &packed).expect("settings"));
    let calendar = base.calendar.map(|packed| unpack("calendar", &packed).expect("a calendar"));
    (settings.unwrap_or_default(), calendar.unwrap_or_default())
}

fn of_row(scope: &str, row: &ScopeRow, settings: &Settings, (period, now): (Window, Timestamp), facts: &mut Facts) {
    for window in row.windows.iter().filter(|window| is_kept(window.kind.0, window.start, now)) {
        count(scope, window.kind.0, window.start, &window.counters, facts);
    }
    if !row.pauses.causes.is_empty() {
        facts.insert(format!("causes {scope}"), words::causes(&row.pauses.causes));
    }
    if let Some(pool) = &row.pool {
        of_pool(scope, pool, period, now, facts);
    }
    for overshoot in &row.overshoots {
        let rule = words::rule(overshoot.kind, &overshoot.limit_id, overshoot.selector.as_ref());
        let key = format!("overshoot {scope} {rule} window={}", overshoot.window_start.ms());
        facts.insert(key, overshoot.amount_micro.to_string());
    }
    breakdown(scope, &row.parts, &row.models, settings, facts);
    limits(scope, row.limits.iter(), facts);
    if let (Some(seat_type), Some(user)) = (row.seat_type(), scope.strip_prefix("user:")) {
        facts.insert(format!("seat {user}"), seat_type.to_owned());
    }
    if let (Some(registered), Some(agent)) = (&row.registered, scope.strip_prefix("agent:")) {
        facts.insert(format!("registered {agent}"), registered.created_by.to_string());
    }
}

/// Whether the page says of a window that it is kept: rows keep some for longer, and do not count in them.
fn is_kept(kind: WindowKind, start: Timestamp, now: Timestamp) -> bool {
    match kind {
        WindowKind::Minute => now < start.plus_ms(11 * MINUTE_MS),
        WindowKind::Week => now < start.plus_ms(14 * DAY_MS),
        _ => true,
    }
}

fn breakdown(scope: &str, parts: &[Part], models: &[ModelPart], settings: &Settings, facts: &mut Facts) {
    for part in parts.iter().filter(|part| part.credits_micro != 0) {
        let label = &settings.labels[usize::from(part.label)];
        facts.insert(format!("part {scope} {label} period={}", part.start.ms()), part.credits_micro.to_string());
    }
    for part in models.iter().filter(|part| part.credits_micro != 0) {
        let model = &settings.models[usize::from(part.model)];
        facts.insert(format!("model {scope} {model} period={}", part.start.ms()), part.credits_micro.to_string());
    }
}

fn of_pool(scope: &str, pool: &Pool, period: Window, now: Timestamp, facts: &mut Facts) {
    let (size, left) = (pool.size_micro(period.start, now), pool.left_micro(period, now));
    facts.insert(format!("pool {scope}"), format!("size={size} left={left}"));
    for grant in &pool.grants {
        let is_over =
            grant.has_ended(now) || (grant.kind == GrantKind::Purchased && grant.period_start != period.start);
        let left = if is_over { 0 } else { grant.left_micro() };
        let spent_left = format!("spent={} left={left}", grant.spent_micro);
        facts.insert(format!("grant {scope} {}", grant.id), spent_left);
    }
}

fn of_settings(settings: &Settings, facts: &mut Facts) {
    let mut every: BTreeMap<String, Vec<&Limit>> = BTreeMap::new();
    for (selector, limit) in &settings.every {
        every.entry(words::selector(selector)).or_default().push(limit);
    }
    for (selector, rules) in every {
        limits(&selector, rules.into_iter(), facts);
    }
    if !settings.requests.open.is_empty() {
        let open: Vec<&str> = settings.requests.open.iter().map(|open| &*open.id).collect();
        facts.insert("requests".to_owned(), open.join(", "));
    }
}

fn limits<'a>(selector: &str, limits: impl Iterator<Item = &'a Limit>, facts: &mut Facts) {
    let cap = |limit: &Limit| limit.cap.map_or_else(|| "unlimited".to_owned(), |cap| cap.to_string());
    let mut limits: Vec<String> = limits.map(|limit| format!("{}={}", limit.id, cap(limit))).collect();
    if !limits.is_empty() {
        limits.sort();
        facts.insert(format!("limits {selector}"), limits.join(", "));
    }
}

fn count(scope: &str, kind: WindowKind, start: Timestamp, counters: &Counters, facts: &mut Facts) {
    for (meter, count) in counters.iter().filter(|(_, count)| *count != 0) {
        facts.insert(format!("count {scope} {} {} {}", kind.name(), start.ms(), meter.name()), count.to_string());
    }
}
