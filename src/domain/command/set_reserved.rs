//! Says which controls of workspaces the owners keep for themselves.

use super::Handle;
use crate::domain::{
    account::{rulebook::Rulebook, sweep::Concern},
    answer::Answer,
    control::SetReserved,
    decision::Decision,
};

impl Handle for SetReserved {
    fn concerns(&self, _: &Rulebook) -> Concern {
        Concern::Touched
    }

    fn apply(&self, decision: &mut Decision<'_>) -> Answer {
        decision.rules.edit().reserved.clone_from(&self.controls);
        Ok(Vec::new())
    }
}
