//! Asks for a reload when a balance has fallen to its mark (row B2).

use super::{follow::attend, rules::look_up_rules};
use crate::domain::{
    account::scopes::{ChargedScopes, ORGANIZATION, ScopeIndex},
    decision::Decision,
    funding::Occasion,
    payment::Source,
    reload::{Blocked, Reload},
    signal::RequestKind,
    time::Timestamp,
    window::WindowKind,
};

/// Asks for a reload, if the balance has fallen to its mark and one may be asked for; says once why none may. After a
/// refusal only a charge asks again, so that a refusal is not answered by the same question.
pub fn ask(decision: &mut Decision<'_>, owner: ScopeIndex, is_charge: bool) {
    let now = decision.now();
    let Some(pool) = decision.book.pool(owner) else { return };
    if is_charge && pool.reload.as_deref().is_some_and(|reload| reload.refused) {
        // Also while auto-reload is removed: once it is set again, there was a charge since.
        change(decision, owner, |reload| reload.refused = false);
    }
    let Some(pool) = decision.book.pool(owner) else { return };
    let may_ask = |reload: &&Reload| reload.enabled && reload.open.is_none() && !reload.refused;
    let Some(reload) = pool.reload.as_deref().filter(may_ask) else { return };
    let balance_micro = pool.prepaid_left_micro(now);
    if balance_micro > reload.below_micro {
        if !reload.told_blocked.is_empty() || reload.again_at.is_some() {
            change(decision, owner, |reload| {
                reload.told_blocked.clear();
                reload.again_at = None;
            });
        }
        return;
    }
    let is_on = decision.rules.payment().is_on(Source::Prepaid, None) || some_member_has_it(decision);
    if !is_on {
        return;
    }
    let (amount_micro, below_day) = (reload.amount_micro, decision.rules.window(WindowKind::Day, now));
    let day_has_room = reload.day_has_room(below_day.start);
    let (room_micro, window_end) = room(decision, now);
    let amount_micro = amount_micro.min(room_micro.saturating_sub(balance_micro));
    match (amount_micro > 0, day_has_room) {
        (false, _) => block(decision, owner, Blocked::OrganizationLimit, window_end),
        (true, false) => block(decision, owner, Blocked::PerDayMax, Some(below_day.end)),
        (true, true) => {
            let last =
                decision.book.pool(owner).and_then(|pool| pool.reload.as_ref()?.last.clone()).unwrap_or_default();
            let field = decision.book.slot(owner).field();
            let identity = decision.out.identity(&["reload", &field, &last]);
            change(decision, owner, |reload| reload.ask(identity, now, below_day.start));
            decision.tell_as(identity, owner, RequestKind::ReloadRequested { amount_micro, balance_micro });
        }
    }
}

/// Whether prepaid pays for a member who has switched it on.
fn some_member_has_it(decision: &Decision<'_>) -> bool {
    let rules = &decision.rules;
    rules.own_switches_on[Source::Prepaid as usize] > 0
        && rules.payment().mode.knows(Source::Prepaid)
        && !rules.extra_usage_off
}

/// What the organization's limits on extra credits have room for, and when the tightest of them may have more.
fn room(decision: &mut Decision<'_>, now: Timestamp) -> (i64, Option<Timestamp>) {
    look_up_rules(decision, ORGANIZATION);
    let occasion = Occasion::now(decision.rules, now);
    let limits = decision.view().spend_limits(ChargedScopes::of(None, None, None), occasion);
    let tightest = limits.iter().min_by_key(|limit| limit.room_micro);
    tightest.map_or((i64::MAX, None), |limit| (limit.room_micro, Some(limit.window.end)))
}

/// Says once for each reason why nothing is asked for, and looks again when there may be room.
fn block(decision: &mut Decision<'_>, owner: ScopeIndex, why: Blocked, again_at: Option<Timestamp>) {
    let Some(reload) = decision.book.pool(owner).and_then(|pool| pool.reload.as_deref()) else { return };
    let is_told = reload.told_blocked.contains(&why);
    if is_told && reload.again_at == again_at {
        return;
    }
    let last = reload.last.clone().unwrap_or_default();
    change(decision, owner, |reload| {
        reload.again_at = again_at;
        if !is_told {
            reload.told_blocked.push(why);
        }
    });
    if !is_told {
        let identity = decision.identity("reload_blocked", owner, &[&last, why.name()]);
        decision.tell_as(identity, owner, RequestKind::ReloadBlocked { reason: why });
    }
}

fn change(decision: &mut Decision<'_>, owner: ScopeIndex, change: impl FnOnce(&mut Reload)) {
    let pool = decision.book.pool_mut(owner);
    change(pool.reload.as_mut().expect("it was looked at before"));
    let by_causes = crate::domain::causes::causes(decision.view(), owner, decision.now()).look_at;
    attend(decision, owner, by_causes);
}
