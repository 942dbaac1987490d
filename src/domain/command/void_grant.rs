//! Takes back what is left of a grant.

use super::{
    Handle,
    checks::{check_id, check_pool_owner},
    grant::pool,
};
use crate::domain::{
    account::{rulebook::Rulebook, sweep::Concern},
    answer::{Answer, Applied, Refused},
    control::VoidGrant,
    decision::Decision,
    pool::GrantKind,
    scope::Scope,
    usage::check::change_pool,
};

impl Handle for VoidGrant {
    fn touches(&self, _: &Rulebook) -> Vec<Scope> {
        vec![self.scope.clone()]
    }

    fn concerns(&self, _: &Rulebook) -> Concern {
        Concern::Everyone
    }

    fn apply(&self, decision: &mut Decision<'_>) -> Answer {
        let Self { scope, grant_id } = self;
        check_id("grant_id", grant_id)?;
        check_pool_owner(scope)?;
        let owner = decision.book.index(scope);
        let now = decision.at.record_time;
        let known = pool(decision, owner, scope)?.grants.iter().find(|grant| grant.id == *grant_id);
        let Some(grant) = known else {
            return Err(Refused::GrantUnknown { scope: scope.clone(), grant_id: grant_id.clone() });
        };
        let (micro, is_purchase, counts) = (grant.left_micro(), grant.kind == GrantKind::Purchased, grant.begun);
        let period_end = decision.rules.period(grant.period_start).end;
        if is_purchase && period_end <= now {
            return Err(Refused::GrantPeriodOver { grant_id: grant_id.clone(), period_end });
        }
        if micro <= 0 || grant.has_ended(now) {
            return Err(Refused::NothingLeftOfGrant { grant_id: grant_id.clone() });
        }
        let pool = decision.book.pool_mut(owner);
        let grant = pool.grants.iter_mut().find(|grant| grant.id == *grant_id);
        grant.expect("it was found above").voided_micro += micro;
        if is_purchase && counts {
            decision.book.pool_mut(owner).revision = decision.rules.next_pool_revision();
            change_pool(decision, owner);
        }
        Ok(vec![Applied::TakenBack { micro }])
    }
}
