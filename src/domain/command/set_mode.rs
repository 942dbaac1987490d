//! Sets how the organization pays (row B13).

use super::{Handle, set_limit::is_inner};
use crate::domain::{
    account::{rulebook::Rulebook, sweep::Concern},
    answer::{Answer, NamedLimit, Refused, Several},
    control::SetMode,
    decision::Decision,
    limit::{Limit, Selector},
    meter::Meter,
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
        let for_many = rules.every.iter().filter(|(selector, limit)| {
            matches!(selector, Selector::Every(kind) if is_inner(*kind)) && limit.meter == Meter::ExtraCreditsMicro
        });
        let named = |(selector, limit): &(Selector, Limit)| NamedLimit {
            selector: selector.clone(),
            limit_id: limit.id.clone(),
        };
        let mut limits: Vec<NamedLimit> = for_many.map(named).collect();
        let count = rules.inner_spend_limits + limits.len() as u32;
        if mode.has_seats() && count > 0 {
            limits.extend(rules.inner_spend_limits_named.iter().cloned());
            return Err(Refused::SpendLimitsStand { mode, limits: Several::of(limits, count) });
        }
        let mut payment = rules.payment();
        payment.mode = mode;
        decision.rules.edit().set_payment(decision.at.record_time, payment);
        Ok(Vec::new())
    }
}
