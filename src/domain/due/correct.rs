//! Holds the pauses topic against the account (row C5): if what was read there of a scope is not its last change, the
//! account's truth is published again, above what was read.

use crate::domain::{
    account::{Account, Moment, Policy, changes::Needs, scopes::ScopeIndex},
    decision::Trigger,
    scope::Scope,
    usage::follow::{announce, attend},
};

impl Account {
    /// Asks for what [`Account::correct_pauses`] needs, and returns the number of the scope.
    pub fn needs_for_correction(&mut self, scope: &Scope, needs: &mut Needs) -> ScopeIndex {
        self.need_base(needs);
        let index = self.parts().book.index(scope);
        self.need_scope(index, needs);
        index
    }

    /// Publishes the pauses of a scope again, if what was read is not their last change. Returns whether it was not.
    pub fn correct_pauses(
        &mut self,
        index: ScopeIndex,
        read_generation: i64,
        read_paused: bool,
        moment: Moment,
        policy: &Policy,
    ) -> bool {
        let pauses = &self.book().row(index).pauses;
        if pauses.generation == read_generation && pauses.causes.is_empty() != read_paused {
            return false;
        }
        let floor = read_generation.saturating_add(1);
        let mut decision = self.decision(Trigger::Correction(floor), moment, policy);
        let pauses = &mut decision.book.row_mut(index).pauses;
        pauses.generation = pauses.generation.max(floor);
        announce(&mut decision, index);
        let by_causes = crate::domain::causes::causes(decision.view(), index, decision.now()).look_at;
        attend(&mut decision, index, by_causes);
        true
    }
}
