//! Gives a workspace or the organization a pool, or changes what it includes (row A4).

use super::{
    Handle,
    checks::{check_amount, check_plan, check_plan_for, check_pool_owner, check_thresholds},
};
use crate::domain::{
    account::{ceiling::Ceiling, row::Told, rulebook::Rulebook, scopes::ScopeIndex, sweep::Concern},
    answer::{Answer, Refused},
    control::SetPool,
    decision::Decision,
    organization::Feature,
    pool::{FormerPool, Pool},
    reload::Reload,
    scope::Scope,
    time::Timestamp,
    usage::check::revise_pool,
    window::{Window, WindowKind},
};

impl Handle for SetPool {
    fn touches(&self, _: &Rulebook) -> Vec<Scope> {
        vec![self.scope.clone()]
    }

    fn concerns(&self, _: &Rulebook) -> Concern {
        Concern::Everyone
    }

    fn apply(&self, decision: &mut Decision<'_>) -> Answer {
        let Self { scope, included_micro, user_cap_micro, thresholds_percent } = self;
        check_pool_owner(scope)?;
        check_amount("included_micro", *included_micro, 0)?;
        if let Some(cap_micro) = user_cap_micro {
            check_amount("user_cap_micro", *cap_micro, 0)?;
        }
        check_thresholds(thresholds_percent)?;
        check_plan(decision.rules, Feature::Credits)?;
        check_plan_for(decision.rules, scope)?;
        let mode = decision.rules.payment().mode;
        if mode.has_seats() && *scope != Scope::Organization {
            return Err(Refused::ModeHasOnePool { mode, scope: scope.clone() });
        }
        let owner = decision.book.index(scope);
        let period = decision.rules.open_window(WindowKind::Period, decision.at.record_time);
        decision.agenda.close_in_time(period, decision.policy.grace_ms);
        let told = include(decision, owner, period, self);
        let pool = decision.book.pool_mut(owner);
        pool.thresholds_percent.clone_from(thresholds_percent);
        pool.user_cap_micro = *user_cap_micro;
        if let Some(told) = told {
            revise_pool(decision, owner, told);
        }
        Ok(Vec::new())
    }
}

/// Sets what the pool includes. Returns the highest share that counts as told; `None` if nothing is to be told.
fn include(decision: &mut Decision<'_>, owner: ScopeIndex, period: Window, set: &SetPool) -> Option<u16> {
    let SetPool { scope, included_micro, thresholds_percent, .. } = set;
    let credited_at = decision.credited_at();
    let Some(pool) = decision.book.pool(owner) else {
        if let Scope::Workspace(name) = scope {
            decision.rules.edit().note_pool(name, true);
        }
        let revision = decision.rules.next_pool_revision();
        let mut pool = Pool { revision, since: period.start, ..Pool::default() };
        // What was included before the first record of a pool is what that record says.
        pool.include(Timestamp::MIN, *included_micro);
        pool.credited_at = (*included_micro > 0).then_some(credited_at);
        if let Some(FormerPool { pool: before, .. }) = decision.book.row(owner).former_pools.last() {
            // What was used of what a pool of before included in this period counts on.
            let drawn = before.drawn.iter().find(|drawn| drawn.period_start == period.start);
            pool.drawn_in(period.start).included_micro = drawn.map_or(0, |drawn| drawn.included_micro);
            // What it asked for stays asked for; auto-reload ended with it.
            let reload = before.reload.as_deref().cloned();
            pool.reload = reload.map(|reload| Box::new(Reload { enabled: false, again_at: None, ..reload }));
        }
        decision.book.row_mut(owner).pool = Some(Box::new(pool));
        return Some(0);
    };
    let before_micro = pool.included_micro(period.start);
    if before_micro == *included_micro {
        return (pool.thresholds_percent != *thresholds_percent).then(|| note_told(decision, owner, period));
    }
    let revision = decision.rules.next_pool_revision();
    let pool = decision.book.pool_mut(owner);
    pool.include(period.start, *included_micro);
    pool.revision = revision;
    if *included_micro > before_micro {
        pool.credited_at = Some(credited_at);
    }
    Some(0)
}

/// Remembers the highest share that was told of a pool whose shares are about to be others: neither it nor one below it is
/// told again.
fn note_told(decision: &mut Decision<'_>, owner: ScopeIndex, period: Window) -> u16 {
    let (row, now) = (decision.book.row(owner), decision.at.clock);
    let pool = row.pool.as_deref().expect("the pool was found before");
    let used = pool.drawn_micro(period.start).unwrap_or(0);
    let percent = Ceiling::of_pool(pool, period, now, row).highest_passed(used);
    let told = Told { revision: pool.revision, start: period.start, percent, of_pool: true };
    if percent > 0 {
        decision.book.row_mut(owner).note_told(told);
    }
    percent
}
