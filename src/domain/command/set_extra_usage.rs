//! Switches extra usage off entirely, or on again (row B4): switches are kept.

use super::Handle;
use crate::domain::{
    account::{rulebook::Rulebook, sweep::Concern},
    answer::Answer,
    control::SetExtraUsage,
    decision::Decision,
    scope::Scope,
};

impl Handle for SetExtraUsage {
    fn touches(&self, _: &Rulebook) -> Vec<Scope> {
        vec![Scope::Organization]
    }

    fn concerns(&self, _: &Rulebook) -> Concern {
        Concern::Everyone
    }

    fn apply(&self, decision: &mut Decision<'_>) -> Answer {
        decision.rules.edit().extra_usage_off = !self.on;
        Ok(Vec::new())
    }
}
