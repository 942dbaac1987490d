//! Takes a pool away: the next one pays from then on, and without pools of workspaces the modes with seats are open.

use super::{Handle, checks::check_pool_owner};
use crate::domain::{
    account::{rulebook::Rulebook, sweep::Concern},
    answer::{Answer, Refused},
    control::RemovePool,
    decision::Decision,
    pool::FormerPool,
    scope::Scope,
};

/// So many pools that were removed are kept for the periods that they held for.
const FORMER_KEPT: usize = 25;

impl Handle for RemovePool {
    fn touches(&self, _: &Rulebook) -> Vec<Scope> {
        vec![self.scope.clone()]
    }

    fn concerns(&self, _: &Rulebook) -> Concern {
        Concern::Everyone
    }

    fn apply(&self, decision: &mut Decision<'_>) -> Answer {
        let scope = &self.scope;
        check_pool_owner(scope)?;
        let owner = decision.book.index(scope);
        let Some(pool) = decision.book.pool(owner) else {
            return Err(Refused::NoPoolToRemove { scope: scope.clone() });
        };
        let now = decision.at.record_time;
        let period = decision.rules.period(now);
        let left = || pool.grants.iter().filter(|grant| grant.can_be_voided(period.start, now));
        if left().next().is_some() {
            let left_micro = left().fold(0, |sum: i64, grant| sum.saturating_add(grant.left_micro()));
            let grants = left().map(|grant| grant.id.clone()).collect();
            return Err(Refused::GrantsHaveSomethingLeft { scope: scope.clone(), left_micro, grants });
        }
        let row = decision.book.row_mut(owner);
        if let Some(pool) = row.pool.take() {
            row.former_pools.push(FormerPool { until: period.start, pool: *pool });
            let surplus = row.former_pools.len().saturating_sub(FORMER_KEPT);
            row.former_pools.drain(..surplus);
        }
        if let Scope::Workspace(name) = scope {
            decision.rules.edit().note_pool(name, false);
        }
        Ok(Vec::new())
    }
}
