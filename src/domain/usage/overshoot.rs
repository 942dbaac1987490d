//! What nobody covered is booked for the scope that pauses for it (row C4).

use super::fund::Paid;
use crate::domain::{
    account::{
        row::Overshoot,
        scopes::{ChargedScopes, ORGANIZATION, ScopeIndex},
    },
    decision::Decision,
    funding::{Payer, View},
    pause::CauseKind,
};

/// Books what nobody covered of a charge: on the limit on extra credits with the least room, the narrowest of several; on
/// `pool` where no limit stood in the way.
pub fn book(decision: &mut Decision<'_>, charged: ChargedScopes, paid: &Paid) {
    let Paid { payer, split, .. } = paid;
    let view = decision.view();
    let has_extra = !payer.consent_missing && (payer.extra.postpaid || payer.extra.prepaid_micro > split.prepaid_micro);
    let limits = if has_extra { view.spend_limits(charged, payer.occasion) } else { Vec::new() };
    let limit = limits.iter().min_by_key(|limit| limit.room_micro);
    let scope = who_pauses(view, charged, payer, limit.map(|limit| limit.scope));
    let amount_micro = split.uncovered_micro;
    let overshoot = match limit {
        Some(limit) => Overshoot {
            kind: CauseKind::SpendLimit,
            limit_id: limit.limit.id.clone(),
            window_start: limit.window.start,
            amount_micro,
            selector: Some(view.selector(limit.scope, limit.many)),
        },
        None => Overshoot {
            kind: CauseKind::Pool,
            limit_id: Box::default(),
            window_start: payer.occasion.period.start,
            amount_micro,
            selector: None,
        },
    };
    decision.book.row_mut(scope).book_overshoot(overshoot);
}

/// The scope that pauses where a charge was not covered: for a limit without room the narrower of its scope and the owner,
/// else the owner; or the user, where the owner goes on.
fn who_pauses(view: View<'_>, charged: ChargedScopes, payer: &Payer, limit: Option<ScopeIndex>) -> ScopeIndex {
    let ChargedScopes { user, agent, workspace, .. } = charged;
    let single = user.or(agent).unwrap_or(ORGANIZATION);
    if payer.payment.mode.has_seats() {
        return single;
    }
    if let Some(scope) = limit.filter(|scope| Some(*scope) == user || Some(*scope) == agent) {
        return scope;
    }
    let anybody = view.payer_for_anybody(ChargedScopes::of(workspace, None, None), payer.occasion);
    let owner_goes_on = anybody.as_ref().is_none_or(|payer| !payer.means.is_spent());
    if let Some(user) = user.filter(|_| owner_goes_on) {
        return user;
    }
    if let Some(scope) = limit.filter(|scope| Some(*scope) == workspace) {
        return scope;
    }
    let is_helped = anybody.is_some_and(|payer| view.own_switch_helps(workspace, &payer));
    let apart = view.rules.workspace_pools > 0;
    match workspace {
        _ if is_helped => single,
        Some(workspace) if apart => workspace,
        None if apart => single,
        _ => ORGANIZATION,
    }
}
