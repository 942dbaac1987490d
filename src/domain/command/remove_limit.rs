//! Removes a limit.

use super::{Handle, checks::check_id};
use crate::domain::{
    account::{rulebook::Rulebook, sweep::Concern},
    answer::{Answer, NamedLimit, Refused},
    command::set_limit::{check_not_owners, concern_of, is_inner_spend_limit},
    control::RemoveLimit,
    decision::Decision,
    limit::Selector,
    scope::Scope,
};

impl Handle for RemoveLimit {
    fn touches(&self, _: &Rulebook) -> Vec<Scope> {
        match &self.selector {
            Selector::One(scope) => vec![scope.clone()],
            Selector::Every(_) | Selector::Seat(_) => Vec::new(),
        }
    }

    fn concerns(&self, _: &Rulebook) -> Concern {
        concern_of(&self.selector)
    }

    fn apply(&self, decision: &mut Decision<'_>) -> Answer {
        let Self { limit_id, selector } = self;
        check_id("limit_id", limit_id)?;
        check_not_owners(decision, selector, limit_id)?;
        let unknown = || Refused::LimitUnknown { selector: selector.clone(), limit_id: limit_id.clone() };
        let Selector::One(scope) = selector else {
            let is_meant = |(of, limit): &(Selector, _)| {
                let limit: &crate::domain::limit::Limit = limit;
                of == selector && limit.id == *limit_id
            };
            if !decision.rules.every.iter().any(is_meant) {
                return Err(unknown());
            }
            decision.rules.edit().every.retain(|rule| !is_meant(rule));
            return Ok(Vec::new());
        };
        let index = decision.book.index(scope);
        let limits = &decision.book.row(index).limits;
        let Some(place) = limits.iter().position(|limit| limit.id == *limit_id) else { return Err(unknown()) };
        let limit = decision.book.row_mut(index).limits.remove(place);
        let rules = decision.rules.edit();
        if is_inner_spend_limit(scope, limit.meter) {
            let named = NamedLimit { selector: selector.clone(), limit_id: limit_id.clone() };
            rules.note_inner_spend_limit(named, false);
        }
        Ok(Vec::new())
    }
}
