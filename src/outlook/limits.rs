//! The limits that bind a scope, for those who show them.

use crate::domain::{
    account::{
        row::{Overshoot, ScopeRow},
        settings::Settings,
    },
    limit::{Limit, Selector},
    scope::Scope,
};

/// Every limit that binds a scope: its own, and those for many that do not yield to them, with what they are set on.
pub fn limits_on<'a>(
    scope: &Scope,
    row: &'a ScopeRow,
    settings: &'a Settings,
) -> impl Iterator<Item = (Option<&'a Selector>, &'a Limit)> {
    let own = row.limits.iter().map(|limit| (None, limit));
    let many = settings.rules_with_selectors(scope.kind(), row.seat_type());
    own.chain(many.filter(|(_, limit)| !limit.yields_to(&row.limits)).map(|(selector, limit)| (Some(selector), limit)))
}

/// The limit that overshoot of a scope is booked on, as long as it stands.
pub fn limit_of<'a>(
    overshoot: &Overshoot,
    scope: &Scope,
    row: &'a ScopeRow,
    settings: &'a Settings,
) -> Option<&'a Limit> {
    let is_own = overshoot.selector.as_ref().is_none_or(|selector| *selector == Selector::One(scope.clone()));
    let own = row.limits.iter().filter(|_| is_own);
    let many = settings.every.iter().filter(|(selector, _)| Some(selector) == overshoot.selector.as_ref());
    own.chain(many.map(|(_, limit)| limit)).find(|limit| limit.id == overshoot.limit_id)
}
