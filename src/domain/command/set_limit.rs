//! Sets a limit, on one scope or for many (rows A16, B5–B7, B16). A rule for many is one write: scopes follow when they are
//! next touched, and those that are known or paused at once, page by page.

use super::{
    Handle,
    checks::{check_id, check_plan, check_plan_for, check_range, check_thresholds},
};
use crate::domain::{
    account::{rulebook::Rulebook, settings::SETTINGS_MAX, sweep::Concern},
    answer::{Answer, NamedLimit, Refused},
    control::SetLimit,
    decision::Decision,
    limit::{Action, Limit, Selector},
    meter::Meter,
    organization::Feature,
    rate_card::MICRO_MAX,
    scope::{Scope, ScopeKind},
    usage::rules::{look_up_rules, open_weeks, revise},
    window::WindowKind,
};
use crate::mutation::is_broken;

/// At most this many limits on one scope.
const LIMITS_MAX: usize = 64;

impl Handle for SetLimit {
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
        check(decision, self)?;
        check_not_owners(decision, &self.selector, &self.limit_id)?;
        set(decision, self);
        Ok(Vec::new())
    }
}

/// Whom a limit concerns beyond the scope that it is set on: a limit on extra credits of a workspace or of the
/// organization may be what a user wants for.
pub fn concern_of(selector: &Selector) -> Concern {
    match selector {
        Selector::One(Scope::User(_) | Scope::Agent { .. }) => Concern::Touched,
        Selector::One(_) | Selector::Every(_) | Selector::Seat(_) => Concern::Everyone,
    }
}

/// Whether a limit stands in the way of a mode with seats.
pub fn is_inner_spend_limit(scope: &Scope, meter: Meter) -> bool {
    is_inner(scope.kind()) && meter == Meter::ExtraCreditsMicro
}

/// Whether it is of those whose extra credits the modes with seats do not bound.
pub const fn is_inner(kind: ScopeKind) -> bool {
    matches!(kind, ScopeKind::Workspace | ScopeKind::Agent)
}

/// Refuses a limit that cannot be set.
pub fn check(decision: &Decision<'_>, set: &SetLimit) -> Result<(), Refused> {
    check_id("limit_id", &set.limit_id)?;
    if let Some(cap) = set.cap {
        if cap < 0 {
            return Err(Refused::CapBelowZero { cap });
        }
        check_range("cap", cap, 0, MICRO_MAX)?;
    }
    check_thresholds(&set.thresholds_percent)?;
    // What only readers add up, or what may go down, is no ground for a pause.
    if matches!(
        set.meter,
        Meter::FreeCreditsMicro | Meter::AdjustedCreditsMicro | Meter::ActiveAgents | Meter::Builders
    ) {
        return Err(Refused::MeterCannotBeLimited { meter: set.meter });
    }
    let kind = match &set.selector {
        Selector::One(scope) => scope.kind(),
        Selector::Every(kind) => *kind,
        Selector::Seat(_) => ScopeKind::User,
    };
    let (rules, selector) = (&decision.rules, &set.selector);
    if set.window == WindowKind::Session && kind != ScopeKind::User {
        return Err(Refused::SessionOfNoUser { selector: selector.clone() });
    }
    match selector {
        Selector::One(scope) => check_plan_for(rules, scope)?,
        Selector::Every(_) | Selector::Seat(_) => check_plan(rules, Feature::OrganizationConsole)?,
    }
    if let Selector::Seat(name) = selector
        && rules.seat_type(name).is_none()
    {
        return Err(Refused::SeatTypeUnknown { seat_type: name.clone() });
    }
    let mode = rules.payment().mode;
    if is_inner(kind) && set.meter == Meter::ExtraCreditsMicro && mode.has_seats() {
        let (selector, limit_id) = (selector.clone(), set.limit_id.clone());
        return Err(Refused::SpendLimitBesideSeats { mode, selector, limit_id });
    }
    check_room(decision, set)
}

/// Refuses others than owners where the limit of that selector and id is an owner's.
pub fn check_not_owners(decision: &Decision<'_>, selector: &Selector, limit_id: &str) -> Result<(), Refused> {
    if decision.is_by_owner() {
        return Ok(());
    }
    let is_owners = |limit: &Limit| &*limit.id == limit_id && limit.set_by_owner;
    let stands = match selector {
        Selector::One(scope) => {
            let index = decision.book.known(scope).expect("the scope was loaded");
            decision.book.row(index).limits.iter().any(is_owners)
        }
        many => decision.rules.rules_on(many).any(is_owners),
    };
    if !stands {
        return Ok(());
    }
    Err(Refused::SetByOwner { what: "limit".into(), selector: selector.clone(), limit_id: limit_id.into() })
}

fn check_room(decision: &Decision<'_>, set: &SetLimit) -> Result<(), Refused> {
    match &set.selector {
        Selector::One(scope) => {
            let index = decision.book.known(scope).expect("the scope was loaded");
            let limits = &decision.book.row(index).limits;
            let is_new = limits.iter().all(|limit| limit.id != set.limit_id);
            if is_new && limits.len() >= LIMITS_MAX && !is_broken("bound", "limits of a scope") {
                return Err(Refused::TooManyLimits { scope: scope.clone(), most: LIMITS_MAX as u64 });
            }
        }
        many => {
            let is_new = decision.rules.rules_on(many).all(|limit| limit.id != set.limit_id);
            if is_new && decision.rules.every.len() >= SETTINGS_MAX && !is_broken("bound", "rules") {
                return Err(Refused::TooManyRules { most: SETTINGS_MAX as u64 });
            }
        }
    }
    Ok(())
}

/// Sets a limit that was checked.
pub fn set(decision: &mut Decision<'_>, set: &SetLimit) {
    match &set.selector {
        Selector::One(scope) => set_on(decision, scope, set),
        many => {
            let before = decision.rules.rules_on(many).find(|limit| limit.id == set.limit_id).cloned();
            let Some(limit) = next(decision, set, before.as_ref()) else { return };
            let every = &mut decision.rules.edit().every;
            every.retain(|(of, limit)| of != many || limit.id != set.limit_id);
            every.push((many.clone(), limit));
        }
    }
}

fn set_on(decision: &mut Decision<'_>, scope: &Scope, set: &SetLimit) {
    let index = decision.book.index(scope);
    let before = decision.book.row(index).limits.iter().find(|limit| limit.id == set.limit_id).cloned();
    let Some(limit) = next(decision, set, before.as_ref()) else { return };
    let row = decision.book.row_mut(index);
    row.limits.retain(|known| known.id != limit.id);
    row.limits.push(limit.clone());
    note_inner(decision, scope, set, before.as_ref());
    look_up_rules(decision, index);
    open_weeks(decision, index);
    let since = before.map_or(0, |before| before.revision);
    revise(decision, index, None, &limit, since);
}

/// Keeps count of the limits that stand in the way of a mode with seats.
fn note_inner(decision: &mut Decision<'_>, scope: &Scope, set: &SetLimit, before: Option<&Limit>) {
    let was = before.is_some_and(|before| is_inner_spend_limit(scope, before.meter));
    let is = is_inner_spend_limit(scope, set.meter);
    if was != is {
        let named = NamedLimit { selector: set.selector.clone(), limit_id: set.limit_id.clone() };
        decision.rules.edit().note_inner_spend_limit(named, is);
    }
}

/// The limit as it is now; `None` if the same was said before. Only another cap is a new revision: of other shares the
/// highest that is passed is told unless it was, and after a change of the action what is passed counts as told.
fn next(decision: &mut Decision<'_>, set: &SetLimit, before: Option<&Limit>) -> Option<Limit> {
    let counts_alike = |before: &&Limit| (before.meter, before.window, before.cap) == (set.meter, set.window, set.cap);
    // An approval may raise an owner's limit, and leaves it the owner's.
    let is_by_owner = decision.is_by_owner() || before.is_some_and(|before| before.set_by_owner);
    let before = before.filter(counts_alike);
    let says_the_same = |before: &Limit| {
        before.thresholds_percent == set.thresholds_percent
            && (before.action, before.yields_to_own) == (set.action, set.yields_to_own)
            && before.set_by_owner == is_by_owner
    };
    if before.is_some_and(says_the_same) {
        return None;
    }
    let is_many = !matches!(set.selector, Selector::One(_));
    let changed = if is_many { decision.rules.next_rules_revision() } else { decision.rules.next_limit_revision() };
    let mut limit = Limit {
        id: set.limit_id.clone(),
        meter: set.meter,
        window: set.window,
        cap: set.cap,
        thresholds_percent: set.thresholds_percent.clone(),
        action: set.action,
        revision: changed,
        changed,
        told_percent: Vec::new(),
        set_at: decision.at.record_time,
        yields_to_own: set.yields_to_own,
        set_by_owner: is_by_owner,
    };
    if let Some(before) = before {
        (limit.revision, limit.set_at) = (before.revision, before.set_at);
        limit.told_percent = match before.action == set.action {
            true if set.action == Action::Observe => Vec::new(),
            true => before.thresholds_percent.iter().chain(&before.told_percent).copied().collect(),
            false => limit.thresholds_percent.clone(),
        };
        limit.told_percent.sort_unstable();
        limit.told_percent.dedup();
    }
    Some(limit)
}
