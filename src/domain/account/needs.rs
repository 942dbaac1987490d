//! What has to be loaded before something can be decided. To be asked again after each load, until nothing is missing: what
//! came says what else is needed.

use super::{
    Account,
    changes::{Needs, OlderKey},
    scopes::{ChargedScopes, ORGANIZATION, ScopeIndex},
    sweep::{Found, Stage, StoredRow},
    windows::Place,
};
use crate::domain::{
    event::UsageEvent,
    funding::View,
    ids::EventId,
    scope::{Name, Scope},
    time::Timestamp,
    window::{Window, WindowKind},
};

impl Account {
    /// The scopes that `event` is charged to.
    pub fn name_scopes(&mut self, event: &UsageEvent<'_>, id: Option<EventId>) -> ChargedScopes {
        let charged = self.book.charged(event);
        charged.as_slice().iter().for_each(|index| self.book.prefetch_slot(*index));
        if let Some(id) = id {
            self.ids.prefetch(event.event_time, id);
        }
        charged
    }

    /// Asks for what is missing to decide an event of `event_time` that is charged to these scopes.
    pub fn needs_for_usage(&mut self, event_time: Timestamp, charged: ChargedScopes, needs: &mut Needs) {
        self.need_base(needs);
        for index in charged.as_slice() {
            self.book.need_row(*index, needs);
            self.book.prefetch_row(*index);
        }
        if self.is_loaded() {
            self.ids.need_segment(event_time, needs);
            self.need_older_windows(event_time, charged, needs);
            for index in charged.as_slice() {
                self.need_around(*index, needs);
            }
        }
    }

    /// Asks for the base and for the organization's row, as far as they are missing.
    pub fn need_base(&mut self, needs: &mut Needs) {
        needs.base |= !self.is_loaded();
        self.book.need_row(ORGANIZATION, needs);
    }

    /// Asks for a scope, and for all that it may be held to.
    pub fn need_scope(&mut self, index: ScopeIndex, needs: &mut Needs) {
        self.book.need_row(index, needs);
        self.need_around(index, needs);
    }

    /// Asks for the workspaces in which a scope may have to pay, and for the days of weeks that were not counted so far.
    #[inline]
    fn need_around(&mut self, index: ScopeIndex, needs: &mut Needs) {
        if self.book.is_loaded(index) && !self.book.slot(index).is_surrounded(self.rules.generation()) {
            self.ask_around(index, needs);
        }
    }

    fn ask_around(&mut self, index: ScopeIndex, needs: &mut Needs) {
        let before = needs.scopes.len() + needs.older.len();
        for workspace in self.workspaces_of(index) {
            let workspace = self.book.index(&Scope::Workspace(workspace));
            self.book.need_row(workspace, needs);
        }
        self.need_days_of_weeks(index, needs);
        let is_complete = needs.scopes.len() + needs.older.len() == before;
        if is_complete {
            let generation = self.rules.generation();
            self.book.slot_mut(index).surrounded = generation;
        }
    }

    /// The workspaces in which a scope may have to pay: an agent's own, and those where a user was seen.
    fn workspaces_of(&self, index: ScopeIndex) -> Vec<Name> {
        let slot = self.book.slot(index);
        let names: Vec<Name> = match &slot.scope {
            Scope::Agent { workspace, .. } => vec![workspace.clone()],
            Scope::User(_) if !self.rules.payment().mode.has_seats() => {
                self.book.row(index).used_in.iter().map(|used| used.workspace.clone()).collect()
            }
            _ => Vec::new(),
        };
        names.into_iter().filter(|name| !name.is_empty()).collect()
    }

    /// A limit or seat that begins to count weeks finds what was used before in their days.
    fn need_days_of_weeks(&mut self, index: ScopeIndex, needs: &mut Needs) {
        let slot = self.book.slot(index);
        let row = self.book.row(index);
        let of_week = |limit: &crate::domain::limit::Limit| limit.window == WindowKind::Week;
        let by_limit = row.limits.iter().chain(self.rules.rules_for(slot.scope.kind(), row.seat_type())).any(of_week);
        let seat = row.seat_type().and_then(|name| self.rules.seat_type(name));
        let by_seat = seat.is_some_and(|seat| seat.allowances.iter().any(|of| of.window == WindowKind::Week));
        if by_limit || by_seat {
            self.need_recent_days(index, needs);
        }
    }

    /// Asks for the days of this week and the last, by the newest day of the scope, that its row keeps no more.
    pub fn need_recent_days(&mut self, index: ScopeIndex, needs: &mut Needs) {
        if !self.book.is_loaded(index) {
            return;
        }
        let row = self.book.row(index);
        let Some(newest) = row.windows.starts(WindowKind::Day).max() else { return };
        let missing = row.windows.starts(WindowKind::Week).count() < 2;
        if !missing || row.windows.starts(WindowKind::Day).count() < 2 {
            return;
        }
        let this = self.rules.window(WindowKind::Week, newest);
        let last = self.rules.window(WindowKind::Week, this.start.plus_ms(-1));
        let mut day = self.rules.window(WindowKind::Day, last.start);
        while day.start < newest {
            self.book.need_if_older(index, WindowKind::Day, day.start, needs);
            day = self.rules.window(WindowKind::Day, day.end);
        }
    }

    /// Asks for the windows around `event_time` that rows keep no more.
    pub fn need_older_windows(&mut self, event_time: Timestamp, charged: ChargedScopes, needs: &mut Needs) {
        for kind in WindowKind::CALENDAR {
            if !self.rules.calendar().may_be_older(kind, event_time) {
                continue;
            }
            let start = self.rules.window(kind, event_time).start;
            for index in charged.as_slice() {
                self.book.need_if_older(*index, kind, start, needs);
            }
        }
    }

    /// Asks for the workspaces whose pools and balances paid for a charge of `event_time`: a refund that names no workspace
    /// gives back to them, and what a row that is not here cannot take would be lost.
    pub fn need_owners_who_paid(&mut self, event_time: Timestamp, charged: ChargedScopes, needs: &mut Needs) {
        let narrowest = charged.workspace.or(charged.user).unwrap_or(ORGANIZATION);
        if !self.book.is_loaded(narrowest) {
            return;
        }
        let period = self.rules.window(WindowKind::Period, event_time);
        let view = View { rules: &self.rules, book: &self.book };
        let paid = view.paid_by_workspaces(narrowest, period).iter().filter(|paid| paid.start == period.start);
        for owner in paid.map(|paid| paid.owner.clone()).collect::<Vec<_>>() {
            let owner = self.book.index(&Scope::Workspace(owner));
            self.book.need_row(owner, needs);
        }
    }

    /// Asks for the page that a sweep is at, and then for what the page needs.
    pub fn needs_for_sweep(&mut self, needs: &mut Needs) {
        let Some(sweep) = self.agenda.sweep.take() else { return };
        match (&sweep.found, &sweep.stage) {
            (None, Stage::Looking(page)) => needs.ending = Some(*page),
            (None, Stage::Everyone(page) | Stage::Closing(_, page) | Stage::FreePhase(page)) => {
                needs.walk = Some(page.clone());
            }
            (Some(Found::Scopes(scopes, _)), _) => {
                scopes.iter().for_each(|(index, _)| self.need_scope(*index, needs));
            }
            (Some(Found::Walked(scopes, _)), _) => {
                scopes.iter().for_each(|(index, _)| self.need_scope(*index, needs));
            }
            (Some(Found::Rows(rows, _)), Stage::Closing(period, _)) => self.need_closed(rows, *period, needs),
            (Some(Found::Rows(..)), _) => {}
        }
        self.agenda.sweep = Some(sweep);
    }

    /// Asks for the counters of rows that no longer keep the period.
    fn need_closed(&mut self, rows: &[StoredRow], period: Window, needs: &mut Needs) {
        for stored in rows {
            if stored.row.windows.place(WindowKind::Period, period.start) == Place::Older {
                let key = OlderKey { kind: WindowKind::Period, start: period.start, scope: stored.field.clone() };
                self.book.need_older(key, needs);
            }
        }
    }
}
