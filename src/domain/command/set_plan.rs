//! Sets what the organization has bought (row A20).

use super::Handle;
use crate::domain::{
    account::{rulebook::Rulebook, sweep::Concern},
    answer::{Answer, Applied},
    control::SetPlan,
    decision::Decision,
};

impl Handle for SetPlan {
    fn concerns(&self, _: &Rulebook) -> Concern {
        Concern::Touched
    }

    fn apply(&self, decision: &mut Decision<'_>) -> Answer {
        decision.rules.edit().plan = Some(self.plan);
        Ok(vec![Applied::WhatWasSetStays { plan: self.plan }])
    }
}
