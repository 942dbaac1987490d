//! Pools, grants and reloads (rows A4, A8, A18, B2).

use super::{
    Answer, Said,
    checks::{check_amount, check_id, check_pool_owner, check_thresholds},
};
use crate::domain::{
    account::{Account, scopes::ScopeIndex},
    control::{GrantCredits, ReloadRule},
    organization::Feature,
    pool::{GRANTS_MAX, Grant, GrantKind, Pool},
    reload::Reload,
    scope::Scope,
    time::{DAY_MS, MINUTE_MS, Timestamp},
    window::WindowKind,
};

/// At most this many reloads may be asked for in a day.
const RELOADS_PER_DAY_MAX: u16 = 100;

impl Account {
    pub(super) fn set_pool(
        &mut self,
        scope: &Scope,
        included_micro: i64,
        user_cap_micro: Option<i64>,
        thresholds_percent: &[u16],
        said: &Said<'_>,
    ) -> Answer {
        check_amount("included_micro", included_micro, 0)?;
        if let Some(cap_micro) = user_cap_micro {
            check_amount("user_cap_micro", cap_micro, 0)?;
        }
        check_thresholds(thresholds_percent)?;
        check_pool_owner(scope)?;
        self.check_plan(Feature::Credits)?;
        self.check_plan_for(scope)?;
        let mode = self.settings.payment().mode;
        if mode.has_seats() && *scope != Scope::Organization {
            return Err(format!(
                "mode {} has one pool, the organization's, because a member works in many workspaces",
                mode.name()
            ));
        }
        let index = self.scopes.index(scope);
        let period = self.open_window(WindowKind::Period, said.moment.record_time);
        self.close_in_time(period, said.policy);
        if self.scopes.row(index).pool.is_none() && *scope != Scope::Organization {
            self.settings.workspace_pools += 1;
            self.settings_changed = true;
        }
        let pool = self.scopes.row_mut(index).pool.get_or_insert_with(Box::<Pool>::default);
        // What was included before the first record of a pool is what that record says.
        let from = if pool.included.is_empty() { Timestamp::MIN } else { period.start };
        pool.include(from, included_micro);
        pool.thresholds_percent = thresholds_percent.to_vec();
        pool.user_cap_micro = user_cap_micro;
        pool.revision += 1;
        self.look_for(index, true, said);
        Ok(String::new())
    }

    /// The pool of a scope, to change it.
    fn pool_to_change(&mut self, scope: &Scope) -> Result<(ScopeIndex, &mut Pool), String> {
        check_pool_owner(scope)?;
        self.check_plan(Feature::Credits)?;
        let index = self.scopes.index(scope);
        if self.scopes.row(index).pool.is_none() {
            return Err(format!("{scope} has no pool; set one first (it may include 0)"));
        }
        let pool = self.scopes.row_mut(index).pool.as_mut().expect("it was looked for above");
        Ok((index, pool))
    }

    pub(super) fn grant(&mut self, grant: &GrantCredits, said: &Said<'_>) -> Answer {
        check_id("grant_id", &grant.grant_id)?;
        check_amount("amount_micro", grant.amount_micro, 1)?;
        let now = said.moment.record_time;
        if let (Some(from), Some(expiry)) = (grant.effective_from, grant.expires_at)
            && expiry <= from
        {
            return Err(format!("the grant ends at {expiry}, before it starts at {from}"));
        }
        if grant.expires_at.is_some_and(|expiry| expiry <= now) {
            return Err("the grant has expired already".to_owned());
        }
        let period = self.open_window(WindowKind::Period, now);
        if grant.kind == GrantKind::Purchased && grant.effective_from.is_some_and(|from| from >= period.end) {
            return Err(format!("a purchased grant ends with its period at {}, before it starts", period.end));
        }
        let period_start = period.start;
        let (index, pool) = self.pool_to_change(&grant.scope)?;
        if pool.grants.iter().any(|known| known.id == grant.grant_id) {
            return Ok(format!("grant {} was given before; nothing is added", grant.grant_id));
        }
        if !pool.has_room(period_start) {
            return Err(format!("{} has {GRANTS_MAX} grants already", grant.scope));
        }
        let mut answer = String::new();
        if let Some(reload_id) = &grant.reload_id {
            let answered = pool.reload.as_mut().is_some_and(|reload| reload.answer(reload_id));
            if !answered {
                answer = format!("reload {reload_id} is not open; the grant stands for itself");
            }
        }
        pool.add(Grant {
            id: grant.grant_id.clone(),
            kind: grant.kind,
            amount_micro: grant.amount_micro,
            spent_micro: 0,
            voided_micro: 0,
            priority: grant.priority,
            effective_from: grant.effective_from,
            expires_at: grant.expires_at,
            period_start,
            begun: grant.effective_from.is_none_or(|from| from <= now),
        });
        self.revise();
        self.look_for(index, grant.kind == GrantKind::Purchased, said);
        Ok(answer)
    }

    pub(super) fn void_grant(&mut self, scope: &Scope, grant_id: &str, said: &Said<'_>) -> Answer {
        let (index, pool) = self.pool_to_change(scope)?;
        let grant = pool.grants.iter_mut().find(|grant| &*grant.id == grant_id);
        let grant = grant.ok_or_else(|| format!("{scope} has no grant {grant_id:?}"))?;
        let left_micro = grant.left_micro();
        if left_micro <= 0 {
            return Err(format!("nothing is left of grant {grant_id}: what is spent is not taken back"));
        }
        grant.voided_micro += left_micro;
        let is_purchased = grant.kind == GrantKind::Purchased;
        pool.revision += 1;
        self.revise();
        self.look_for(index, is_purchased, said);
        Ok(format!("{left_micro} micro-credits are taken back"))
    }

    pub(super) fn set_auto_reload(&mut self, scope: &Scope, rule: Option<ReloadRule>, said: &Said<'_>) -> Answer {
        let (index, pool) = self.pool_to_change(scope)?;
        let Some(ReloadRule { below_micro, amount_micro, per_day_max, lapse_ms }) = rule else {
            if let Some(reload) = &mut pool.reload {
                reload.enabled = false;
            }
            return Ok(String::new());
        };
        check_amount("below_micro", below_micro, 0)?;
        check_amount("amount_micro", amount_micro, 1)?;
        if !(1..=RELOADS_PER_DAY_MAX).contains(&per_day_max) {
            return Err(format!("per_day_max is {per_day_max}; it must lie between 1 and {RELOADS_PER_DAY_MAX}"));
        }
        if !(MINUTE_MS..=31 * DAY_MS).contains(&lapse_ms) {
            return Err("an answer may take from a minute to 31 days".to_owned());
        }
        let (open, last, asked) = match pool.reload.take() {
            Some(before) => (before.open, before.last, before.asked),
            None => (None, None, (Timestamp::MIN, 0)),
        };
        let (enabled, again_at) = (true, None);
        let reload = Reload { below_micro, amount_micro, per_day_max, lapse_ms, open, last, enabled, again_at, asked };
        pool.reload = Some(Box::new(reload));
        self.look_for(index, false, said);
        Ok(String::new())
    }

    pub(super) fn refuse_reload(&mut self, scope: &Scope, reload_id: &str) -> Answer {
        let (index, pool) = self.pool_to_change(scope)?;
        if !pool.reload.as_mut().is_some_and(|reload| reload.answer(reload_id)) {
            return Err(format!("reload {reload_id} is not open"));
        }
        // The next one is asked for by the next charge, so that a refusal is not answered by the same question.
        self.attend(index);
        Ok(String::new())
    }
}
