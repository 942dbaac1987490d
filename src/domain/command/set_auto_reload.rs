//! Has a prepaid balance filled up by itself (row B2).

use super::{
    Handle,
    checks::{check_amount, check_plan, check_pool_owner, check_range},
    grant::pool,
};
use crate::domain::{
    account::{rulebook::Rulebook, sweep::Concern},
    answer::Answer,
    control::SetAutoReload,
    decision::Decision,
    organization::Feature,
    reload::Reload,
    scope::Scope,
    time::{DAY_MS, MINUTE_MS, Timestamp},
};

/// At most this many reloads may be asked for in a day.
const PER_DAY_MAX: i64 = 100;

/// An answer may take up to this.
const LAPSE_MINUTES_MAX: i64 = 31 * DAY_MS / MINUTE_MS;

impl Handle for SetAutoReload {
    fn touches(&self, _: &Rulebook) -> Vec<Scope> {
        vec![self.scope.clone()]
    }

    fn concerns(&self, _: &Rulebook) -> Concern {
        Concern::Touched
    }

    fn apply(&self, decision: &mut Decision<'_>) -> Answer {
        let Self { scope, below_micro, amount_micro, per_day_max, lapse_ms } = self;
        check_pool_owner(scope)?;
        check_amount("below_micro", *below_micro, 0)?;
        check_amount("amount_micro", *amount_micro, 1)?;
        check_range("per_day_max", *per_day_max, 1, PER_DAY_MAX)?;
        check_range("lapse_minutes", lapse_ms / MINUTE_MS, 1, LAPSE_MINUTES_MAX)?;
        check_plan(decision.rules, Feature::Credits)?;
        let owner = decision.book.index(scope);
        let before = pool(decision, owner, scope)?.reload.as_deref().cloned();
        let new = Reload {
            below_micro: *below_micro,
            amount_micro: *amount_micro,
            per_day_max: u16::try_from(*per_day_max).expect("it was checked above"),
            lapse_ms: *lapse_ms,
            open: None,
            last: None,
            enabled: true,
            again_at: None,
            asked: (Timestamp::MIN, 0),
            told_blocked: Vec::new(),
            refused: false,
        };
        let reload = match before {
            None => new,
            Some(Reload { open, last, asked, told_blocked, refused, .. }) => {
                Reload { open, last, asked, told_blocked, refused, ..new }
            }
        };
        decision.book.pool_mut(owner).reload = Some(Box::new(reload));
        Ok(Vec::new())
    }
}
