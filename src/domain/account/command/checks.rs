//! What can be said of a command's figures and names without looking at the account.

use crate::domain::{
    control::SetLimit,
    ids::ID_BYTES_MAX,
    limit::THRESHOLDS_MAX,
    meter::Meter,
    rate_card::MICRO_MAX,
    scope::{Scope, ScopeKind},
};

/// The highest share of a cap that can be announced: ten times the cap.
const THRESHOLD_PERCENT_MAX: u16 = 1_000;

pub(super) fn check_limit(set: &SetLimit) -> Result<(), String> {
    check_id("limit_id", &set.limit_id)?;
    if !may_be_bounded(set.meter) {
        return Err(format!("{} cannot be bounded by a limit", set.meter.name()));
    }
    if let Some(cap) = set.cap.filter(|cap| *cap < 0) {
        return Err(format!("cap is {cap}; it must not be below 0 (leave it out for unlimited)"));
    }
    check_thresholds(&set.thresholds_percent)
}

/// What only readers add up, or what may go down, is no ground for a pause.
const fn may_be_bounded(meter: Meter) -> bool {
    !matches!(meter, Meter::FreeCreditsMicro | Meter::AdjustedCreditsMicro | Meter::ActiveAgents | Meter::Builders)
}

pub(super) fn check_thresholds(thresholds_percent: &[u16]) -> Result<(), String> {
    let ascending = thresholds_percent.windows(2).all(|pair| pair[0] < pair[1]);
    let in_range = thresholds_percent.iter().all(|percent| (1..=THRESHOLD_PERCENT_MAX).contains(percent));
    if ascending && in_range && thresholds_percent.len() <= THRESHOLDS_MAX {
        return Ok(());
    }
    Err(format!(
        "thresholds_percent is {thresholds_percent:?}; write at most {THRESHOLDS_MAX} whole numbers from 1 to \
         {THRESHOLD_PERCENT_MAX}, each above the one before"
    ))
}

pub(super) fn check_amount(field: &str, amount_micro: i64, least: i64) -> Result<(), String> {
    if (least..=MICRO_MAX).contains(&amount_micro) {
        return Ok(());
    }
    Err(format!("{field} is {amount_micro}; it must lie between {least} and {MICRO_MAX}"))
}

pub(super) fn check_id(field: &str, id: &str) -> Result<(), String> {
    if (1..=ID_BYTES_MAX).contains(&id.len()) {
        return Ok(());
    }
    Err(format!("{field} has {} bytes; it must have 1 to {ID_BYTES_MAX}", id.len()))
}

pub(super) fn check_pool_owner(scope: &Scope) -> Result<(), String> {
    match scope.kind() {
        ScopeKind::Organization | ScopeKind::Workspace => Ok(()),
        kind => Err(format!("{scope} is of kind {}; only an organization or a workspace has a pool", kind.name())),
    }
}
