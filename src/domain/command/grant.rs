//! Adds credits to a pool or balance (rows A8, B2).

use super::{
    Handle,
    checks::{check_amount, check_id, check_plan, check_pool_owner},
};
use crate::domain::{
    account::{rulebook::Rulebook, scopes::ScopeIndex, sweep::Concern},
    answer::{Answer, Applied, Refused},
    control::GrantCredits,
    decision::Decision,
    organization::Feature,
    pool::{GRANTS_MAX, Grant, GrantKind, Pool},
    scope::Scope,
    time::Timestamp,
    usage::check::change_pool,
    window::{Window, WindowKind},
};
use crate::mutation::is_broken;

impl Handle for GrantCredits {
    fn touches(&self, _: &Rulebook) -> Vec<Scope> {
        vec![self.scope.clone()]
    }

    fn concerns(&self, rules: &Rulebook) -> Concern {
        // Where the owner pauses for all, a user may pause as soon as the owner runs again.
        if rules.payment().mode.has_seats() { Concern::Paused } else { Concern::Everyone }
    }

    fn apply(&self, decision: &mut Decision<'_>) -> Answer {
        let period = decision.rules.period(decision.at.record_time);
        check(decision, self)?;
        let owner = decision.book.index(&self.scope);
        let (record_time, horizon_ms) = (decision.at.record_time, decision.policy.horizon_ms);
        let pool = pool(decision, owner, &self.scope)?;
        let is_remembered = |known: &Grant| !known.is_done(period.start, record_time, horizon_ms);
        let is_open = check_reload(pool, self, decision.now(), is_remembered)?;
        if pool.grants.iter().any(|known| known.id == self.grant_id && is_remembered(known)) {
            return Ok(vec![Applied::GrantGivenBefore { grant_id: self.grant_id.clone() }]);
        }
        let is_purchase = self.kind == GrantKind::Purchased;
        if let Some(effective_from) = self.effective_from.filter(|from| is_purchase && *from >= period.end) {
            return Err(Refused::PurchaseBeginsAfterItsPeriod { effective_from, period_end: period.end });
        }
        if !pool.clone().make_room(period.start, record_time, horizon_ms) && !is_broken("bound", "grants of a pool") {
            return Err(Refused::TooManyGrants { scope: self.scope.clone(), most: GRANTS_MAX as u64 });
        }
        decision.rules.open_window(WindowKind::Period, record_time);
        let now = decision.at.clock;
        let pool = decision.book.pool_mut(owner);
        pool.make_room(period.start, record_time, horizon_ms);
        // Its id was forgotten.
        pool.grants.retain(|known| known.id != self.grant_id);
        let grant = self.given(period, decision.at.record_time, now);
        let begins = grant.begun;
        if let Some(reload) = pool.reload.as_mut().filter(|_| is_open == Some(true)) {
            reload.open = None;
        }
        pool.add(grant);
        if begins {
            let credited_at = decision.credited_at();
            decision.book.pool_mut(owner).credited_at = Some(credited_at);
        }
        if begins && self.kind == GrantKind::Purchased {
            decision.book.pool_mut(owner).revision = decision.rules.next_pool_revision();
            change_pool(decision, owner);
        }
        Ok(match (&self.reload_id, is_open) {
            (Some(reload_id), Some(false)) => vec![Applied::ReloadNotOpen { reload_id: reload_id.clone() }],
            _ => Vec::new(),
        })
    }
}

/// Refuses what contradicts itself or the time at which it came.
fn check(decision: &Decision<'_>, grant: &GrantCredits) -> Result<(), Refused> {
    check_pool_owner(&grant.scope)?;
    check_id("grant_id", &grant.grant_id)?;
    check_amount("amount_micro", grant.amount_micro, 1)?;
    if let Some(reload_id) = &grant.reload_id {
        check_id("reload_id", reload_id)?;
    }
    if let (Some(effective_from), Some(expires_at)) = (grant.effective_from, grant.expires_at)
        && expires_at <= effective_from
    {
        return Err(Refused::GrantEndsBeforeItStarts { effective_from, expires_at });
    }
    if let Some(expires_at) = grant.expires_at.filter(|expiry| *expiry <= decision.at.record_time) {
        return Err(Refused::GrantHasExpired { grant_id: grant.grant_id.clone(), expires_at });
    }
    // A grant that answers a reload is part of what was set before.
    let answers = grant.reload_id.as_deref().is_some_and(|reload_id| {
        let row = decision.book.known(&grant.scope).map(|owner| decision.book.row(owner));
        row.is_some_and(|row| row.asked_last(reload_id))
    });
    if answers { Ok(()) } else { check_plan(decision.rules, Feature::Credits) }
}

/// The pool of a scope.
pub fn pool<'a>(decision: &'a Decision<'_>, owner: ScopeIndex, scope: &Scope) -> Result<&'a Pool, Refused> {
    decision.book.pool(owner).ok_or_else(|| Refused::PoolMissing { scope: scope.clone() })
}

/// Whether the reload that a grant answers is open; `None` if it answers none. One grant answers a reload, whatever its id.
fn check_reload(
    pool: &Pool,
    grant: &GrantCredits,
    now: Timestamp,
    is_remembered: impl Fn(&Grant) -> bool,
) -> Result<Option<bool>, Refused> {
    let Some(reload_id) = &grant.reload_id else { return Ok(None) };
    if let Some(answer) =
        pool.grants.iter().find(|known| known.reload_id.as_ref() == Some(reload_id) && is_remembered(known))
    {
        let grant_id = Some(answer.id.clone());
        return Err(Refused::ReloadAnsweredBefore { reload_id: reload_id.clone(), grant_id });
    }
    Ok(Some(pool.reload.as_deref().is_some_and(|reload| reload.is_open(reload_id, now))))
}

impl GrantCredits {
    fn given(&self, period: Window, recorded: Timestamp, now: Timestamp) -> Grant {
        let is_purchase = self.kind == GrantKind::Purchased;
        Grant {
            id: self.grant_id.clone(),
            kind: self.kind,
            amount_micro: self.amount_micro,
            spent_micro: 0,
            voided_micro: 0,
            priority: self.priority,
            effective_from: self.effective_from,
            expires_at: self.expires_at,
            period_start: period.start,
            begun: self.effective_from.is_none_or(|from| from <= now),
            ended: false,
            recorded,
            reload_id: self.reload_id.clone(),
            outlives_period: is_purchase && self.expires_at.is_some_and(|expiry| expiry >= period.end),
        }
    }
}
