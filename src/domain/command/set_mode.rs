//! Sets how the organization pays (row B13).

use super::Handle;
use crate::domain::{
    account::{rulebook::Rulebook, sweep::Concern},
    answer::{Answer, Refused, Several},
    control::SetMode,
    decision::Decision,
    scope::Scope,
};

impl Handle for SetMode {
    fn touches(&self, _: &Rulebook) -> Vec<Scope> {
        vec![Scope::Organization]
    }

    fn concerns(&self, _: &Rulebook) -> Concern {
        Concern::Everyone
    }

    fn apply(&self, decision: &mut Decision<'_>) -> Answer {
        let (mode, rules) = (self.mode, &decision.rules);
        if mode.has_seats() && rules.workspace_pools > 0 {
            let first: Vec<Scope> = rules.pool_owners.iter().cloned().map(Scope::Workspace).collect();
            return Err(Refused::WorkspacePoolsStand { mode, pools: Several::of(first, rules.workspace_pools) });
        }
        if mode.has_seats() && rules.inner_spend_limits > 0 {
            let first = rules.inner_spend_limits_named.clone();
            return Err(Refused::SpendLimitsStand { mode, limits: Several::of(first, rules.inner_spend_limits) });
        }
        let mut payment = rules.payment();
        payment.mode = mode;
        decision.rules.edit().set_payment(decision.at.record_time, payment);
        Ok(Vec::new())
    }
}
