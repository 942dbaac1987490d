//! Sets seat and role of a member (rows B1, B6).

use super::{
    Handle,
    checks::{check_id, user_of},
};
use crate::domain::{
    account::{rulebook::Rulebook, scopes::ScopeIndex, sweep::Concern},
    answer::{Answer, Refused},
    control::SetMember,
    decision::Decision,
    limit::{Limit, Selector},
    scope::Scope,
    usage::{
        rules::{look_up_rules, open_weeks, revise},
        seat::begin_seat,
    },
};

impl Handle for SetMember {
    fn touches(&self, _: &Rulebook) -> Vec<Scope> {
        user_of(&self.user_id).into_iter().collect()
    }

    fn concerns(&self, _: &Rulebook) -> Concern {
        Concern::Touched
    }

    fn apply(&self, decision: &mut Decision<'_>) -> Answer {
        check_id("user_id", &self.user_id)?;
        check_seat(decision, self.seat_type.as_deref())?;
        let index = decision.book.index(&Scope::User((&*self.user_id).into()));
        seat(decision, index, self.seat_type.as_deref());
        decision.book.row_mut(index).member.get_or_insert_default().role = self.role;
        Ok(Vec::new())
    }
}

/// Refuses a seat of a type that is not there.
pub fn check_seat(decision: &Decision<'_>, seat_type: Option<&str>) -> Result<(), Refused> {
    match seat_type.filter(|name| decision.rules.seat_type(name).is_none()) {
        None => Ok(()),
        Some(name) => Err(Refused::SeatTypeUnknown { seat_type: name.into() }),
    }
}

/// Gives a member a seat that was checked, or takes it. A new seat has what was used already counted against it, and its
/// rules are held against that.
pub fn seat(decision: &mut Decision<'_>, index: ScopeIndex, seat_type: Option<&str>) {
    let row = decision.book.row_mut(index);
    let member = row.member.get_or_insert_default();
    if member.seat_type.as_deref() == seat_type {
        return;
    }
    member.seat_type = seat_type.map(Into::into);
    decision.book.slot_mut(index).followed.generation = 0;
    decision.book.slot_mut(index).surrounded = 0;
    look_up_rules(decision, index);
    open_weeks(decision, index);
    begin_seat(decision, index);
    show_seat(decision, index, seat_type);
    let Some(name) = seat_type else { return };
    let selector = Selector::Seat(name.into());
    let own = &decision.book.row(index).limits;
    let binds = |limit: &&Limit| !limit.yields_to(own);
    let rules: Vec<Limit> = decision.rules.rules_on(&selector).filter(binds).cloned().collect();
    for limit in rules {
        revise(decision, index, Some(&selector), &limit, 0);
    }
}

/// An open request shows the member's current seat (row B10).
fn show_seat(decision: &mut Decision<'_>, index: ScopeIndex, seat_type: Option<&str>) {
    let Scope::User(user) = decision.book.slot(index).scope.clone() else { return };
    let is_theirs = |open: &crate::domain::organization::OpenRequest| *open.user_id == *user;
    if decision.rules.requests.open.iter().any(is_theirs) {
        let open = decision.rules.edit().requests.open.iter_mut().find(|open| is_theirs(open));
        open.expect("it was found above").seat_type = seat_type.map(Into::into);
    }
}
