//! What time changes in a pool: grants begin and end, what is left of them is lost, reloads lapse (rows A8, B2).

use super::check::change_pool;
use crate::domain::{account::scopes::ScopeIndex, decision::Decision, pool::Turn};
use crate::mutation::is_broken;

/// Lets grants of a pool begin and end, and reloads lapse. Whoever lives on it is looked at if that changes what it has.
pub fn turn(decision: &mut Decision<'_>, owner: ScopeIndex) {
    let (now, settled) = (decision.at.clock, decision.at.settled());
    let period = decision.rules.period(now);
    let (grace_ms, credited_at) = (decision.policy.grace_ms, decision.credited_at());
    let pool = decision.book.pool_mut(owner);
    if let Some(reload) = &mut pool.reload {
        reload.lapse(now);
    }
    let Turn { begun, ended, other_size } = pool.turn(period.start, now);
    pool.settle(settled.plus_ms(-grace_ms));
    if begun {
        pool.credited_at = Some(credited_at);
    }
    if other_size {
        let is_nothing = pool.size_micro(period.start, now) == 0;
        decision.book.pool_mut(owner).revision = decision.rules.next_pool_revision();
        // A pool that comes to nothing again was told of when it was set.
        if !is_nothing && !is_broken("tell after", "turn") {
            change_pool(decision, owner);
        }
    }
    if (begun || ended) && !is_broken("look at all after", "turn") {
        decision.look_at_all_now();
    }
}

/// Does that before a charge, if the time of something has come. Returns whether it had.
#[inline]
pub fn turn_if_due(decision: &mut Decision<'_>, owner: ScopeIndex) -> bool {
    let is_due = decision.book.pool(owner).is_some_and(|pool| {
        !pool.grants.is_empty() && {
            let period = decision.rules.period(decision.at.clock);
            pool.next_change(period, decision.policy.grace_ms).is_some_and(|at| at <= decision.at.clock)
        }
    });
    if is_due && !is_broken("turn before", "usage") {
        turn(decision, owner);
    }
    is_due
}
