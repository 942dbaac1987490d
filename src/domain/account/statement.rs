//! Closing a period: a line for every scope that used something in it; and a correction for what comes later (row C7).

use super::{Account, Moment, OlderKey, changes::Needs, scopes::ScopeIndex, sweep::StoredRow, windows::Place};
use crate::domain::{
    meter::Counters,
    organization::OpenRequest,
    scope::Scope,
    signal::{Correction, Pending, RequestKind, RequestSignal, Signal, StatementLine},
    time::Timestamp,
    window::{Window, WindowKind},
};

/// So many requests go into one record of a digest.
const DIGEST_PART: usize = 200;

impl Account {
    /// Asks for the counters of rows that no longer keep the period.
    pub(super) fn need_closed(&mut self, rows: &[StoredRow], period: Window, needs: &mut Needs) {
        for stored in
            rows.iter().filter(|stored| stored.row.windows.place(WindowKind::Period, period.start) == Place::Older)
        {
            let key = OlderKey { kind: WindowKind::Period, start: period.start, scope: stored.field.clone() };
            if !self.older.contains_key(&key) {
                self.older.insert(key.clone(), None);
                needs.older.push(key);
            }
        }
    }

    /// Writes the lines of a page of rows.
    pub(super) fn close_rows(&mut self, rows: &[StoredRow], period: Window, moment: Moment) {
        // What is charged from now on is a correction, also while other pages are still to come: lines and corrections
        // both tell the totals, so the last one of a scope is right.
        self.head.closed_until = self.head.closed_until.max(period.end.plus_ms(-1));
        for stored in rows {
            let known = self.scopes.known(&stored.scope).filter(|index| self.scopes.is_loaded(*index));
            let row = known.map_or(&stored.row, |index| self.scopes.row(index));
            let totals = match row.windows.place(WindowKind::Period, period.start) {
                Place::Row(position) => Some(row.windows.counters(position)),
                Place::Older => {
                    let key = OlderKey { kind: WindowKind::Period, start: period.start, scope: stored.field.clone() };
                    self.older.get(&key).copied().flatten()
                }
                Place::New => None,
            };
            if let Some(totals) = totals.filter(|totals| *totals != Counters::ZERO) {
                let parts = ["statement", &stored.field, &period.start.ms().to_string()];
                let identity = super::identity(&self.organization_id, &parts);
                let (scope, record_time) = (stored.scope.clone(), moment.record_time);
                let unit = self.settings.unit.name.clone();
                let line = StatementLine { identity, scope, period, totals, correction: None, unit, record_time };
                self.decided.push(Signal::Statement(Box::new(line)));
            }
        }
    }

    /// Whether what is charged to a period now comes after its statement.
    pub(super) fn is_closed(&self, period: Window) -> bool {
        // A period that is being closed counts as closed.
        self.head.closed_until >= period.end.plus_ms(-1)
    }

    /// Corrects the line of one scope in a closed period. `cause` tells the change apart from every other.
    pub(super) fn correct_statement(
        &mut self,
        index: ScopeIndex,
        period: Window,
        (totals, delta): (Counters, Counters),
        (cause, why): (&str, &str),
        moment: Moment,
    ) {
        let slot = self.scopes.slot(index);
        let parts = ["correction", &slot.field(), &period.start.ms().to_string(), cause];
        self.decided.push(Signal::Statement(Box::new(StatementLine {
            identity: super::identity(&self.organization_id, &parts),
            scope: slot.scope.clone(),
            period,
            totals,
            correction: Some(Correction { delta, why: why.into() }),
            unit: self.settings.unit.name.clone(),
            record_time: moment.record_time,
        })));
    }

    /// Sends the digest of pending requests, if its time has come (row B10).
    pub(super) fn send_digest(&mut self, at: Timestamp, moment: Moment) {
        let Some(due) = self.settings.requests.next_digest.filter(|due| *due <= at) else { return };
        let pending: Vec<Pending> = self.settings.requests.open.iter().map(pending).collect();
        self.settings.requests.next_digest = (!pending.is_empty()).then(|| self.next_digest(at));
        self.settings_changed = true;
        // In parts, so that each fits one record however long the names are.
        for (part, pending) in pending.chunks(DIGEST_PART).enumerate() {
            let parts = ["digest", &due.ms().to_string(), &part.to_string()];
            let identity = super::identity(&self.organization_id, &parts);
            let (scope, kind) = (Scope::Organization, RequestKind::Digest { pending: pending.to_vec() });
            self.decided.push(Signal::Request(RequestSignal {
                identity,
                scope,
                kind,
                record_time: moment.record_time,
            }));
        }
    }
}

/// A request as an admin sees it.
pub(super) fn pending(request: &OpenRequest) -> Pending {
    Pending {
        request_id: request.id.clone(),
        user_id: request.user_id.clone(),
        seat_type: request.seat_type.clone(),
        since: request.since,
        wants: request.wants.describe().into(),
    }
}
