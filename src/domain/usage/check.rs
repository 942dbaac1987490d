//! Limits and pools held against what is counted: shares are announced, and what goes beyond a limit is booked as overshoot
//! (rows A16, A19, B16, C4, C6).

use crate::domain::{
    account::{
        Moment,
        ceiling::{Ceiling, Step},
        outbox::Outbox,
        row::{Overshoot, ScopeRow, Told},
        rulebook::Rulebook,
        scopes::{Followed, ScopeIndex},
    },
    decision::Decision,
    limit::{Limit, Selector},
    meter::Counters,
    pause::CauseKind,
    scope::Scope,
    signal::Signal,
    window::{Window, WindowKind},
};

/// How many contributors a crossing names.
const CONTRIBUTORS: usize = 5;

/// What comes of counting in one scope.
#[derive(Default)]
pub struct Found {
    /// Shares to announce, without their contributors.
    pub crossings: Vec<Signal>,
    /// What went beyond limits.
    pub overshoots: Vec<Overshoot>,
    /// Whether the scope's causes may be others now.
    pub to_follow: bool,
}

/// The limits of one scope, to be held against its counts.
pub struct Check<'a> {
    /// The rules for many.
    pub rules: &'a Rulebook,
    /// Which of them the scope follows.
    pub followed: &'a Followed,
    /// The scope.
    pub scope: &'a Scope,
    /// Derives identities.
    pub out: &'a Outbox,
    /// When it is decided.
    pub at: Moment,
    /// How long ago a window may have ended that is still told of.
    pub horizon_ms: i64,
}

impl Check<'_> {
    /// Holds every limit on a window against its counts, of which `charge` was just added to all but a new one.
    pub fn hold_limits(
        &self,
        row: &ScopeRow,
        (kind, window): (WindowKind, Window),
        counts: &dyn Fn(crate::domain::meter::Meter) -> i64,
        charge: &Counters,
        was_there: bool,
        found: &mut Found,
    ) {
        let own = row.limits.iter().map(|limit| (None, limit));
        let many = self.followed.places.iter().map(|place| {
            let (selector, limit) = &self.rules.every[place];
            (Some(selector), limit)
        });
        for (many, limit) in own.chain(many).filter(|(_, limit)| limit.window == kind) {
            let after = counts(limit.meter);
            if limit.matters_at(after) {
                // Every meter, also one that is a sum of others, grows by what the charge has of it.
                let before = after.saturating_sub(charge.get(limit.meter));
                let step = Step::Event { before: was_there.then_some(before), after };
                self.hold(row, (many, limit), window, step, found);
                self.book_overshoot((many, limit), window, before, after, found);
            }
        }
    }

    fn hold(
        &self,
        row: &ScopeRow,
        (many, limit): (Option<&Selector>, &Limit),
        window: Window,
        step: Step,
        found: &mut Found,
    ) {
        let Some(ceiling) = Ceiling::of_limit(limit, many, window, row) else { return };
        let (Step::Event { after: used, .. } | Step::Revision { used }) = step;
        // What ended before the limit was set, or beyond the horizon, is told to nobody.
        let is_told = window.end > limit.set_at && window.end.plus_ms(self.horizon_ms) > self.at.record_time;
        for percent in ceiling.passed(step).into_iter().filter(|_| is_told) {
            let identity = |parts: &[&str]| self.out.identity(parts);
            found.crossings.push(ceiling.threshold(percent, used, self.scope, self.at.record_time, identity));
        }
        found.to_follow |= limit.pauses_by_count() && ceiling.reaches_cap(step);
    }

    /// What of one charge passes the cap of a limit that pauses.
    fn book_overshoot(
        &self,
        (many, limit): (Option<&Selector>, &Limit),
        window: Window,
        before: i64,
        after: i64,
        found: &mut Found,
    ) {
        let Some(cap) = limit.cap.filter(|cap| limit.pauses_by_count() && after > *cap) else { return };
        found.overshoots.push(Overshoot {
            kind: CauseKind::Limit,
            limit_id: limit.id.clone(),
            window_start: window.start,
            amount_micro: after.saturating_sub(before.max(cap)),
            selector: Some(many.cloned().unwrap_or_else(|| Selector::One(self.scope.clone()))),
        });
    }
}

/// Takes what came of counting: crossings are announced, overshoot is booked.
pub fn take(decision: &mut Decision<'_>, index: ScopeIndex, found: Found) {
    for overshoot in found.overshoots {
        decision.book.row_mut(index).book_overshoot(overshoot);
    }
    announce(decision, found.crossings);
}

/// Holds a limit against what was used before it was set, or before it was changed: the highest share that is passed is
/// announced, unless it was.
pub fn revise_limit(decision: &mut Decision<'_>, index: ScopeIndex, many: Option<&Selector>, limit: &Limit, told: u16) {
    if limit.window == WindowKind::Session && !decision.rules.payment().mode.has_seats() {
        // There are no sessions.
        return;
    }
    let record_time = decision.at.record_time;
    let row = decision.book.row(index);
    let (window, is_over) = decision.view().window_of(row, limit.window, record_time);
    let used = row.windows.count_of(limit.window, window.start, limit.meter).unwrap_or(0);
    let Some(ceiling) = Ceiling::of_limit(limit, many, window, row).filter(|_| !is_over) else { return };
    let ceiling = ceiling.told_up_to(told);
    let scope = &decision.book.slot(index).scope;
    let passed = ceiling.passed(Step::Revision { used });
    let identity = |parts: &[&str]| decision.out.identity(parts);
    let signals = passed.into_iter().map(|percent| ceiling.threshold(percent, used, scope, record_time, identity));
    let signals: Vec<Signal> = signals.collect();
    announce(decision, signals);
}

/// The highest share of a limit that its count has passed in the window that runs: it counts as told.
pub fn passed_of(decision: &Decision<'_>, index: ScopeIndex, limit: &Limit, thresholds_percent: &[u16]) -> u16 {
    let row = decision.book.row(index);
    let (window, _) = decision.view().window_of(row, limit.window, decision.at.record_time);
    let used = row.windows.count_of(limit.window, window.start, limit.meter).unwrap_or(0);
    let before = Limit { thresholds_percent: thresholds_percent.to_vec(), ..limit.clone() };
    Ceiling::of_limit(&before, None, window, row).map_or(0, |ceiling| ceiling.highest_passed(used))
}

/// Holds a pool's thresholds against what it contains now. `told` is the highest share that counts as told.
pub fn revise_pool(decision: &mut Decision<'_>, owner: ScopeIndex, told: u16) {
    let (record_time, now) = (decision.at.record_time, decision.at.clock);
    let period = decision.rules.open_window(WindowKind::Period, record_time);
    // Begun, so that the first charge does not find a pool of which nothing was said.
    decision.book.pool_mut(owner).drawn_in(period.start);
    let row = decision.book.row(owner);
    let pool = row.pool.as_deref().expect("the owner was found by its pool");
    let used = pool.drawn_micro(period.start).unwrap_or(0);
    let ceiling = Ceiling::of_pool(pool, period, now, row).told_up_to(told);
    let scope = &decision.book.slot(owner).scope;
    let identity = |parts: &[&str]| decision.out.identity(parts);
    let passed = ceiling.passed(Step::Revision { used });
    let signals = passed.into_iter().map(|percent| ceiling.threshold(percent, used, scope, record_time, identity));
    let signals: Vec<Signal> = signals.collect();
    announce(decision, signals);
}

/// Tells what a pool has passed since something was granted, begun, ended or voided. A pool of nothing is told only when it
/// is set.
pub fn change_pool(decision: &mut Decision<'_>, owner: ScopeIndex) {
    let (record_time, now) = (decision.at.record_time, decision.at.clock);
    let period = decision.rules.open_window(WindowKind::Period, record_time);
    let size =
        decision.book.pool(owner).map_or(0, |pool| pool.size_micro(period.start, now.min(period.end.plus_ms(-1))));
    revise_pool(decision, owner, if size == 0 { u16::MAX } else { 0 });
}

/// Remembers which shares of a scope's limits and pool were announced in the windows that `is_lowered` names, before a
/// refund lowers them: they are not announced again.
pub fn remember_told(decision: &mut Decision<'_>, index: ScopeIndex, is_lowered: impl Fn(WindowKind, Window) -> bool) {
    let view = decision.view();
    let (row, now) = (view.book.row(index), decision.at.clock);
    let mut told = Vec::new();
    for (many, limit) in view.limits_of(index) {
        for start in row.windows.starts(limit.window) {
            let window = view.rules.window_from(limit.window, start);
            let used = row.windows.count_of(limit.window, start, limit.meter).unwrap_or(0);
            let ceiling = Ceiling::of_limit(limit, many, window, row).filter(|_| is_lowered(limit.window, window));
            let percent = ceiling.map_or(0, |ceiling| ceiling.highest_passed(used));
            told.push(Told { revision: limit.revision, start, percent, of_pool: false });
        }
    }
    if let Some(pool) = &row.pool {
        for drawn in &pool.drawn {
            let period = view.rules.window_from(WindowKind::Period, drawn.period_start);
            let used = pool.drawn_micro(drawn.period_start).unwrap_or(0);
            if !is_lowered(WindowKind::Period, period) {
                continue;
            }
            let percent = Ceiling::of_pool(pool, period, now, row).highest_passed(used);
            told.push(Told { revision: pool.revision, start: drawn.period_start, percent, of_pool: true });
        }
    }
    for told in told.into_iter().filter(|told| told.percent > 0) {
        decision.book.row_mut(index).note_told(told);
    }
}

/// Publishes crossings, each with those who contributed most.
pub fn announce(decision: &mut Decision<'_>, crossings: Vec<Signal>) {
    for mut signal in crossings {
        // Nothing lies within an agent or a user; and they may be many.
        if let Signal::Threshold(crossed) = &mut signal
            && matches!(crossed.scope, Scope::Organization | Scope::Workspace(_))
        {
            let contributors = |scope: &Scope| match (&crossed.scope, scope) {
                (Scope::Organization, Scope::Agent { .. }) => true,
                (Scope::Workspace(of), Scope::Agent { workspace, .. }) => of == workspace,
                _ => false,
            };
            let of_window = |row: &ScopeRow| {
                let (kind, start) = (crossed.window_kind, crossed.window.start);
                row.windows.count_of(kind, start, crossed.meter).filter(|count| *count > 0)
            };
            let loaded = decision.book.loaded().filter(|(scope, _)| contributors(scope));
            let mut top: Vec<(i64, &Scope)> =
                loaded.filter_map(|(scope, row)| Some((of_window(row)?, scope))).collect();
            top.sort_unstable_by(|(a, a_scope), (b, b_scope)| b.cmp(a).then_with(|| a_scope.cmp(b_scope)));
            top.truncate(CONTRIBUTORS);
            crossed.top_contributors = top.into_iter().map(|(count, scope)| (scope.clone(), count)).collect();
        }
        decision.out.emit(signal);
    }
}
