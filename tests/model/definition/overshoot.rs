//! *What follows from a pause*: overshoot, which is what was under way when a limit was reached or credits ran out.

use super::{
    Model,
    history::{Action, Counted, Limit},
    means::Look,
    money::Split,
    terms::{Scope, Source},
};

impl Model {
    /// Books what passes the cap of each limit that pauses, and what no source covers.
    pub fn book_overshoot(&mut self, place: usize, split: &Split, is_late: bool) {
        let one = self.history.counted[place].clone();
        for scope in one.named.scopes() {
            let limits: Vec<Limit> = self.history.limits_of(&scope).into_iter().cloned().collect();
            for limit in limits.iter().filter(|limit| limit.action == Action::Pause && !limit.bounds_extra()) {
                self.book_over_limit(&one, place, &scope, limit);
            }
        }
        if !is_late {
            self.book_uncovered(&one, split);
        }
    }

    /// Of a limit: what of one event passes the cap, in windows that are kept.
    fn book_over_limit(&mut self, one: &Counted, place: usize, scope: &Scope, limit: &Limit) {
        let (Some(cap), Some(start)) = (limit.cap, one.starts.of(limit.window)) else { return };
        let is_kept = |end: i64| self.history.is_kept(limit.window, end, self.at_ms);
        if !self.history.window_of(limit.window, &one.starts).is_some_and(|window| is_kept(window.end)) {
            return;
        }
        let over =
            self.history.used(limit, scope, &one.starts) - cap.max(self.history.used_until(limit, scope, start, place));
        if over > 0 {
            self.history.overshoots.push((scope.clone(), format!("limit {}", limit.name()), start, over));
        }
    }

    /// Of money: what was uncovered, for the scope that pauses for it; on the limit on extra credits that left least, or on
    /// `pool` where no limit stood in the way.
    fn book_uncovered(&mut self, one: &Counted, split: &Split) {
        let uncovered = one.parts[Source::Uncovered as usize];
        if uncovered <= 0 {
            return;
        }
        let moment = self.history.moment(one.time_ms, self.at_ms, false);
        let limit = split.rooms.first().filter(|_| split.had_extra);
        let scope = Look::at(&self.history, moment).pauses_for(&one.named, limit.map(|(_, _, scope)| scope));
        let (rule, start) = match limit {
            Some((_, limit, _)) => {
                (format!("limit {}", limit.name()), one.starts.of(limit.window).unwrap_or(one.time_ms))
            }
            None => ("pool".to_owned(), one.starts.period),
        };
        self.history.overshoots.push((scope, rule, start, uncovered));
    }
}
