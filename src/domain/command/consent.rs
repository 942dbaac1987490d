//! A user agrees to extra usage, or no longer does (row B14).

use super::{
    Handle,
    checks::{check_id, user_of},
};
use crate::domain::{
    account::{rulebook::Rulebook, sweep::Concern},
    answer::Answer,
    control::Consent,
    decision::Decision,
    scope::Scope,
};

impl Handle for Consent {
    fn touches(&self, _: &Rulebook) -> Vec<Scope> {
        user_of(&self.user_id).into_iter().collect()
    }

    fn concerns(&self, _: &Rulebook) -> Concern {
        Concern::Touched
    }

    fn apply(&self, decision: &mut Decision<'_>) -> Answer {
        check_id("user_id", &self.user_id)?;
        let index = decision.book.index(&Scope::User((&*self.user_id).into()));
        decision.book.row_mut(index).member.get_or_insert_default().consented = self.given;
        Ok(Vec::new())
    }
}
