//! What can be said of a command's figures and names without looking at rows.

use crate::domain::{
    account::{rulebook::Rulebook, settings::Settings},
    answer::Refused,
    ids::ID_BYTES_MAX,
    limit::THRESHOLDS_MAX,
    organization::{Feature, Plan},
    rate_card::MICRO_MAX,
    scope::{Scope, ScopeKind},
};
use crate::mutation::is_broken;

/// The highest share of a cap that can be announced: ten times the cap.
const THRESHOLD_PERCENT_MAX: u16 = 1_000;

/// Refuses shares that are too many, out of range or out of order.
pub fn check_thresholds(thresholds_percent: &[u16]) -> Result<(), Refused> {
    let ascending = thresholds_percent.windows(2).all(|pair| pair[0] < pair[1]);
    let in_range = thresholds_percent.iter().all(|percent| (1..=THRESHOLD_PERCENT_MAX).contains(percent));
    let is_short = thresholds_percent.len() <= THRESHOLDS_MAX || is_broken("bound", "thresholds");
    if ascending && (in_range || is_broken("bound", "threshold_percent")) && is_short {
        return Ok(());
    }
    Err(Refused::ThresholdsOutOfRange {
        thresholds_percent: thresholds_percent.iter().copied().take(THRESHOLDS_MAX + 1).collect(),
        count_max: THRESHOLDS_MAX as u64,
        percent_max: THRESHOLD_PERCENT_MAX,
    })
}

/// Refuses a number below `least` or above `most`.
pub fn check_range(field: &str, value: i64, least: i64, most: i64) -> Result<(), Refused> {
    if (least..=most).contains(&value) || is_broken("bound", field) {
        return Ok(());
    }
    Err(Refused::OutOfRange { field: field.into(), value, least, most })
}

/// Refuses an amount below `least` or beyond all bounds.
pub fn check_amount(field: &str, amount_micro: i64, least: i64) -> Result<(), Refused> {
    check_range(field, amount_micro, least, MICRO_MAX)
}

/// Refuses an id that is empty or too long.
pub fn check_id(field: &str, id: &str) -> Result<(), Refused> {
    if (1..=ID_BYTES_MAX).contains(&id.len()) || is_broken("bound", field) {
        return Ok(());
    }
    Err(Refused::IdLength { field: field.into(), bytes: id.len() as u64, bytes_max: ID_BYTES_MAX as u64 })
}

/// The user of that id; `None` for what [`check_id`] refuses, for which no row can be loaded.
pub fn user_of(id: &str) -> Option<Scope> {
    check_id("user_id", id).is_ok().then(|| Scope::User(id.into()))
}

/// The workspace of that id, likewise.
pub fn workspace_of(id: &str) -> Option<Scope> {
    check_id("workspace_id", id).is_ok().then(|| Scope::Workspace(id.into()))
}

/// Refuses a scope that has no pool.
pub fn check_pool_owner(scope: &Scope) -> Result<(), Refused> {
    match scope.kind() {
        ScopeKind::Organization | ScopeKind::Workspace => Ok(()),
        ScopeKind::Agent | ScopeKind::User => Err(Refused::NotAPoolOwner { scope: scope.clone() }),
    }
}

/// Refuses what the plan lacks (row A20).
pub fn check_plan(rules: &Settings, feature: Feature) -> Result<(), Refused> {
    match (rules.plan.filter(|plan: &Plan| !plan.has(feature)), feature) {
        (None, _) => Ok(()),
        (Some(plan), Feature::Credits) => Err(Refused::PlanLacksCredits { plan }),
        (Some(plan), Feature::OrganizationConsole) => Err(Refused::PlanLacksConsole { plan }),
    }
}

/// Refuses what the plan lacks for this scope: the organization's own rules and credits are of its console.
pub fn check_plan_for(rules: &Rulebook, scope: &Scope) -> Result<(), Refused> {
    match scope {
        Scope::Organization => check_plan(rules, Feature::OrganizationConsole),
        _ => Ok(()),
    }
}
