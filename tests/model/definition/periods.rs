//! *Periods, statements, late events*: what is sent when a period closes, and corrections of it.

use std::collections::BTreeSet;

use super::{
    Model,
    history::{History, What},
    terms::{Kind, Meter, Scope},
    windows::Window,
};
use crate::life::GRACE_MS;

impl History {
    /// The end of each period in which something was counted and which is not closed, with its grace.
    pub fn closings(&self) -> Vec<(i64, i64)> {
        let starts: BTreeSet<i64> = self.counted.iter().map(|one| one.starts.period).collect();
        let open = starts.into_iter().filter(|start| !self.closed.contains(start));
        open.map(|start| (self.calendar.window(Kind::Period, start).end + GRACE_MS, start)).collect()
    }

    /// Everybody to whom something was charged in a period.
    fn charged_in(&self, period: i64) -> BTreeSet<Scope> {
        let counted = self.counted.iter().filter(|one| one.starts.period == period);
        counted.flat_map(|one| one.named.scopes().into_iter().filter(|scope| one.concerns(scope))).collect()
    }
}

impl Model {
    /// A period is over, with its grace: every scope that used something gets a line.
    pub fn close(&mut self, period: i64) {
        self.history.closed.insert(period);
        for scope in self.history.charged_in(period) {
            let meters = self.history.window(&scope, Kind::Period, period).meters();
            if !meters.is_empty() {
                let text = format!("statement {scope} period={period}{}", in_words(&meters));
                self.say(text, format!("statement|{scope}|{period}"));
            }
        }
    }

    /// What was counted from a place on, if its period is closed: a correction of each scope whose counts it changed.
    pub fn correct(&mut self, place: usize) {
        let one = self.history.counted[place].clone();
        let period = one.starts.period;
        let closes_ms = self.history.calendar.window(Kind::Period, period).end + GRACE_MS;
        // One in which nothing was used is closed by the clock, without a line.
        let was_used = self.history.counted[..place].iter().any(|one| one.starts.period == period);
        if closes_ms > if was_used { self.history.served_ms } else { self.clock_ms } {
            return;
        }
        self.history.closed.insert(period);
        let by = if one.what == What::Adjustment { "adjustment" } else { "usage" };
        for scope in one.named.scopes() {
            if !one.concerns(&scope) {
                continue;
            }
            let changed = self.changed_by(place, &scope, period);
            if !changed.is_empty() {
                let text = format!("correction {scope} period={period} by={by}{}", in_words(&changed));
                self.say(text, format!("correction|{scope}|{period}|{}", self.cause));
            }
        }
    }

    /// How much each meter of a period was changed from a place on.
    fn changed_by(&self, place: usize, scope: &Scope, period: i64) -> Vec<(&'static str, i64)> {
        let mut window = Window::default();
        let of_scope = |one: &&super::history::Counted| one.starts.period == period && one.concerns(scope);
        for one in self.history.counted[..place].iter().filter(of_scope) {
            window.add(one, scope, Kind::Period);
        }
        let before = window.clone();
        for one in self.history.counted[place..].iter().filter(of_scope) {
            window.add(one, scope, Kind::Period);
        }
        let all = Meter::ALL.iter().map(|(meter, name)| (*name, window.get(*meter) - before.get(*meter)));
        let mut changed: Vec<_> = all.filter(|(_, count)| *count != 0).collect();
        changed.sort_unstable();
        changed
    }
}

fn in_words(meters: &[(&'static str, i64)]) -> String {
    meters.iter().map(|(name, count)| format!(" {name}={count}")).collect()
}
