//! Pauses of scopes, and when a scope has to be looked at: because a cause ends, a grant expires, a seat's allowance
//! comes back, or a rule changes on which its pause depends.

use super::{
    Account, Moment,
    ceiling::Cause as CausedBy,
    changes::{NO_TIME, Needs, PausedScope},
    row::ScopeRow,
    scopes::ScopeIndex,
};
use crate::domain::{
    pause::Pauses,
    scope::Scope,
    signal::{PauseChanged, Signal},
    time::Timestamp,
};

impl Account {
    /// Publishes a change of the causes for which a scope is paused.
    pub(super) fn announce_pauses(&mut self, index: ScopeIndex, caused_by: &CausedBy<'_>, moment: Moment) {
        let row = self.scopes.row_mut(index);
        let generation = row.pauses.next_generation(moment.clock.ms());
        let causes = row.pauses.causes.clone();
        self.attend(index);
        let slot = self.scopes.slot(index);
        let identity = caused_by.identity(&self.organization_id, &slot.field());
        let scope = slot.scope.clone();
        let record_time = moment.record_time;
        self.decided.push(Signal::Pause(PauseChanged { identity, scope, causes, generation, record_time }));
    }

    /// Writes down when a scope has to be looked at.
    pub(super) fn attend(&mut self, index: ScopeIndex) {
        let look_at = look_at(self.scopes.row(index));
        let slot = self.scopes.slot_mut(index);
        if !std::mem::replace(&mut slot.pauses_changed, true) {
            self.pauses_changed.push(index);
        }
        if let Some(at) = look_at.filter(|at| *at < NO_TIME) {
            self.be_due(at);
        }
    }

    /// Sees to it that a due record comes at `at` or before.
    pub(super) fn be_due(&mut self, at: Timestamp) {
        // What was served is not served again under the same identity.
        let at = at.max(self.head.served_due.plus_ms(1));
        if self.head.due.is_none_or(|due| at < due) {
            self.head.due = Some(at);
            self.due_changed = true;
        }
    }

    /// What the ledger stores of a scope's pauses.
    pub(super) fn paused_scope(&self, index: ScopeIndex) -> PausedScope {
        let row = self.scopes.row(index);
        let causes_json = (!row.pauses.causes.is_empty()).then(|| paused_json(&row.pauses));
        PausedScope { scope: self.scopes.slot(index).field(), causes_json, look_at: look_at(row) }
    }

    /// Holds the pauses topic against the account: if what was read there of a scope is not its last change, the
    /// account's truth is published again, above what was read.
    pub fn correct_pauses(
        &mut self,
        index: ScopeIndex,
        read_generation: i64,
        read_paused: bool,
        moment: Moment,
    ) -> bool {
        let pauses = &self.scopes.row(index).pauses;
        if pauses.generation == read_generation && pauses.causes.is_empty() != read_paused {
            return false;
        }
        let floor = read_generation.saturating_add(1);
        let row = self.scopes.row_mut(index);
        row.pauses.generation = row.pauses.generation.max(floor);
        self.announce_pauses(index, &CausedBy::Correction { generation: floor }, moment);
        true
    }

    /// Asks for what [`Account::correct_pauses`] needs, and returns the number of the scope.
    pub fn needs_for_correction(&mut self, scope: &Scope, needs: &mut Needs) -> ScopeIndex {
        self.need_base(needs);
        let index = self.scopes.index(scope);
        self.need_row(index, needs);
        index
    }
}

/// When something may change for a scope, by itself or ([`NO_TIME`]) by a rule; `None` if nothing may.
fn look_at(row: &ScopeRow) -> Option<Timestamp> {
    let seat = row.member.as_ref().and_then(|member| member.seat_spent_until);
    let pool = row.pool.as_ref().and_then(|pool| pool.next_change());
    let by_rule = row.pauses.causes.iter().any(|cause| cause.ends_at.is_none() && cause.kind.follows_rules());
    row.pauses.next_end().into_iter().chain(seat).chain(pool).min().or(by_rule.then_some(NO_TIME))
}

/// The value of an entry of the public `paused` hash.
pub fn paused_json(pauses: &Pauses) -> String {
    let causes: Vec<_> = pauses
        .causes
        .iter()
        .map(|cause| {
            serde_json::json!({
                "kind": cause.kind.name(),
                "limit_id": (!cause.limit_id.is_empty()).then_some(&cause.limit_id),
                "ends_at": cause.ends_at.map(|end| end.to_string()),
            })
        })
        .collect();
    serde_json::json!({ "generation": pauses.generation, "causes": causes }).to_string()
}
