//! Limits: on one scope, written into its row; for every scope of a kind, one write that each scope follows when it is
//! next touched, and the paused ones now.

use super::Progress;
use crate::domain::{
    account::{
        Account, Moment, Sweep,
        ceiling::{Cause, Ceiling, Effects, Step},
        changes::EndingPage,
        row::ScopeRow,
        scopes::ScopeIndex,
        settings::SETTINGS_MAX,
    },
    control::{ControlRecord, SetLimit},
    limit::Limit,
    pause::CauseKind,
    scope::{Scope, ScopeKind},
    time::Timestamp,
};

/// At most this many limits on one scope.
const LIMITS_MAX: usize = 64;

impl Account {
    fn next_limit(&mut self, set: &SetLimit) -> Limit {
        self.settings.rules_revision += 1;
        self.settings_changed = true;
        Limit {
            id: set.limit_id.clone(),
            meter: set.meter,
            window: set.window,
            cap: set.cap,
            thresholds_percent: set.thresholds_percent.clone(),
            action: set.action,
            revision: self.settings.rules_revision,
        }
    }

    pub(super) fn set_limit_on(
        &mut self,
        scope: &Scope,
        set: &SetLimit,
        caused_by: &Cause<'_>,
        moment: Moment,
    ) -> Result<(), String> {
        let index = self.scopes.index(scope);
        self.bring_up_to_date(index, moment);
        let known = |limits: &[Limit]| limits.iter().any(|limit| limit.id == set.limit_id);
        let limits = &self.scopes.row(index).limits;
        if !known(limits) && limits.len() >= LIMITS_MAX {
            return Err(format!("{scope} has {LIMITS_MAX} limits already"));
        }
        let limit = self.next_limit(set);
        let window = self.open_window(limit.window, moment.record_time);
        let row = self.scopes.row_mut(index);
        row.limits.retain(|known| known.id != limit.id);
        row.limits.push(limit.clone());
        let cleared = clear_limit(row, &limit.id);
        let used = count_from_now(row, &limit, window.start);
        let mut effects = Effects::default();
        if let Some(ceiling) = Ceiling::of_limit(&limit, window) {
            ceiling.hold(Step::Revision { used }, &self.organization_id, scope, moment, &mut effects);
        }
        self.change_pauses(index, cleared, effects, caused_by, moment);
        Ok(())
    }

    pub(super) fn remove_limit_on(
        &mut self,
        scope: &Scope,
        limit_id: &str,
        caused_by: &Cause<'_>,
        moment: Moment,
    ) -> Result<(), String> {
        let index = self.scopes.index(scope);
        let row = self.scopes.row_mut(index);
        let before = row.limits.len();
        row.limits.retain(|limit| &*limit.id != limit_id);
        if row.limits.len() == before {
            return Err(format!("{scope} has no limit {limit_id:?}"));
        }
        let cleared = clear_limit(row, limit_id);
        self.change_pauses(index, cleared, Effects::default(), caused_by, moment);
        Ok(())
    }

    /// Sets a rule for every scope of a kind: one write. Scopes follow when they are next touched; those that a rule
    /// has paused are looked at now, by [`Account::sweep_rules`].
    pub(super) fn set_rule(&mut self, kind: ScopeKind, set: &SetLimit) -> Result<(), String> {
        let same = |(of, limit): &(ScopeKind, Limit)| *of == kind && limit.id == set.limit_id;
        if self.settings.every.len() >= SETTINGS_MAX && !self.settings.every.iter().any(same) {
            return Err(format!("the organization has {SETTINGS_MAX} limits for every scope already"));
        }
        let limit = self.next_limit(set);
        self.settings.every.retain(|rule| !same(rule));
        self.settings.every.push((kind, limit));
        Ok(())
    }

    pub(super) fn remove_rule(&mut self, kind: ScopeKind, limit_id: &str) -> Result<(), String> {
        let before = self.settings.every.len();
        self.settings.every.retain(|(of, limit)| *of != kind || &*limit.id != limit_id);
        if self.settings.every.len() == before {
            return Err(format!("there is no limit {limit_id:?} for every {}", kind.name()));
        }
        self.settings.rules_revision += 1;
        self.settings_changed = true;
        Ok(())
    }

    /// Changes the rules with the first page of a record, and not again with the pages that follow, nor when the
    /// record is taken up again after a crash between two of them.
    pub(super) fn once_per_sweep(
        &mut self,
        record: &ControlRecord,
        change: impl FnOnce(&mut Self) -> Result<(), String>,
    ) -> Result<(), String> {
        if self.head.sweeping == Some(record.fingerprint().0) { Ok(()) } else { change(self) }
    }

    /// Brings the scopes of the loaded page up to date, and asks for the next page if there may be one.
    pub(super) fn sweep_rules(&mut self, record: &ControlRecord, moment: Moment) -> Progress {
        let sweep = self.sweep.take().expect("the page was loaded before the record is decided");
        let (scopes, _) = sweep.found.expect("the page was loaded before the record is decided");
        // Where the page ended, in the order of the stored set: by end, then by name.
        let place = |account: &Self, index: ScopeIndex| {
            account.scopes.row(index).pauses.next_end().map(|end| (end, account.scopes.slot(index).field.clone()))
        };
        let page_end = scopes.last().and_then(|last| place(self, *last));
        for index in &scopes {
            self.bring_up_to_date(*index, moment);
        }
        self.head.sweeping = None;
        if scopes.len() < sweep.page.limit {
            return Progress::Done;
        }
        self.head.sweeping = Some(record.fingerprint().0);
        // Scopes that resumed, or that now end later, have left the stretch that was looked at.
        let still_within = |index: &&ScopeIndex| place(self, **index).is_some_and(|place| Some(place) <= page_end);
        let offset = sweep.page.offset + scopes.iter().filter(still_within).count();
        self.sweep = Some(Sweep { page: EndingPage { offset, ..sweep.page }, found: None });
        Progress::More
    }
}

fn clear_limit(row: &mut ScopeRow, limit_id: &str) -> bool {
    row.pauses.clear(|cause| cause.kind == CauseKind::Limit && &*cause.limit_id == limit_id)
}

/// What the limit's window holds so far. A window that did not exist is opened, so that a cap of zero is announced by
/// the rule and not once more by the first event.
fn count_from_now(row: &mut ScopeRow, limit: &Limit, start: Timestamp) -> i64 {
    if let Some(counters) = row.counters(limit.window, start) {
        return counters.get(limit.meter);
    }
    let newer_ones = row.windows.iter().any(|window| window.kind.0 == limit.window && window.start > start);
    let full = row.windows.iter().filter(|window| window.kind.0 == limit.window).count() >= 2;
    if !newer_ones && !full {
        row.open(limit.window, start);
    }
    0
}
