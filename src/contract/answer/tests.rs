//! Sentences, word by word; scenarios show more of them at work.

use super::*;
use crate::domain::{
    answer::{NamedLimit, Part, RefundOwner},
    meter::Meter,
    organization::Plan,
    pause::CauseKind,
    payment::Source,
    scope::ScopeKind,
    time::Timestamp,
};

#[test]
fn every_answer_is_one_sentence() {
    let applied = Applied::samples().into_iter().map(|answer| (answer.code(), applied_one(&answer)));
    let refused = Refused::samples().into_iter().map(|why| (why.code(), refused(&why)));
    for (code, sentence) in applied.chain(refused) {
        let is_one = !sentence.is_empty() && !sentence.ends_with('.') && !sentence.contains(['\n', '{', '}']);
        assert!(is_one && !sentence.contains("  "), "{code}: {sentence:?}");
    }
}

#[test]
fn what_was_done_is_said() {
    let check = |answers: &[Applied], sentence: &str| assert_eq!(applied(answers), sentence);
    let part = |source, micro| Part { source, micro };
    let balance = part(Meter::PrepaidCreditsMicro, -30);
    let rule = NamedLimit { selector: Selector::Seat("standard".into()), limit_id: "spend".into() };
    check(&[], "");
    check(&[Applied::TakenBack { micro: 200 }], "200 micro-credits are taken back");
    check(&[Applied::TakenBack { micro: 1 }], "1 micro-credit is taken back");
    check(&[Applied::Charged { parts: vec![part(Meter::UncoveredCreditsMicro, 1)] }], "uncovered_credits_micro 1");
    check(
        &[Applied::Refunded { parts: vec![balance, part(Meter::PostpaidCreditsMicro, -40)], not_returned_micro: 0 }],
        "prepaid_credits_micro -30, postpaid_credits_micro -40",
    );
    check(
        &[Applied::Refunded { parts: vec![balance], not_returned_micro: 30 }],
        "prepaid_credits_micro -30; 30 of it to grants that have ended",
    );
    check(
        &[Applied::StillBinding { limits: vec![rule] }, Applied::SwitchedOn { sources: vec![Source::Postpaid] }],
        "still binding: spend on every member with a \"standard\" seat; postpaid is switched on for the member",
    );
    check(
        &[Applied::NoLimitBinds, Applied::SwitchedOn { sources: vec![Source::Prepaid, Source::Postpaid] }],
        "no limit binds the member now; prepaid and postpaid are switched on for the member",
    );
    check(
        &[Applied::PauseRemains { causes: vec![CauseKind::Limit, CauseKind::Pool] }],
        "still paused for: limit, pool",
    );
}

#[test]
fn what_was_refused_is_said_with_what_to_do() {
    let check = |why: Refused, sentence: &str| assert_eq!(refused(&why), sentence);
    let workspace = |name: &str| Scope::Workspace(name.into());
    let mode = Mode::Team;
    check(
        Refused::PlanLacksConsole { plan: Plan::BusinessTrial },
        "the plan business_trial has no credits and rules over all workspaces; they need enterprise",
    );
    check(
        Refused::WorkspacePoolsStand { mode, pools: [workspace("lab")].into_iter().collect() },
        "mode team has one pool, the organization's, because a member works in many workspaces; ws:lab has a pool: \
         remove it first",
    );
    check(
        Refused::WorkspacePoolsStand { mode, pools: [workspace("a"), workspace("b")].into_iter().collect() },
        "mode team has one pool, the organization's, because a member works in many workspaces; ws:a, ws:b have pools: \
         remove them first",
    );
    let limit = NamedLimit { selector: Selector::Every(ScopeKind::Agent), limit_id: "x".into() };
    check(
        Refused::SpendLimitsStand { mode, limits: [limit].into_iter().collect() },
        "mode team bounds extra usage of members, seat types and the organization only; first remove limit x on every \
         agent",
    );
    check(
        Refused::GrantsHaveSomethingLeft {
            scope: workspace("w"),
            left_micro: 1,
            grants: ["g".into()].into_iter().collect(),
        },
        "the pool of ws:w has 1 micro-credit left of grant g; void what is left first, or wait until it is spent or \
         ends",
    );
    check(
        Refused::LimitUnknown { selector: Selector::One(workspace("w")), limit_id: "none".into() },
        "ws:w has no limit \"none\"",
    );
    check(
        Refused::LimitUnknown { selector: Selector::Every(ScopeKind::Agent), limit_id: "typo".into() },
        "there is no limit \"typo\" for every agent",
    );
    check(
        Refused::OnlyOwnersCreateAgents { actor: "ann".into(), within: Scope::Organization },
        "ann may not create agents: only owners may",
    );
    check(
        Refused::OnlyNamedCreateAgents { actor: "ann".into(), within: workspace("w") },
        "ann may not create agents in ws:w: only named members may",
    );
    check(
        Refused::RequestIsOpen { request_id: "r1".into(), user_id: "ann".into(), since: Timestamp::from_ms(0) },
        "request r1 of ann is open since 1970-01-01T00:00:00.000Z",
    );
    check(
        Refused::RefundExceedsPaid { asked_micro: 60, paid_micro: 45 },
        "only 45 micro-credits were paid there in that period",
    );
    check(Refused::RefundExceedsPaid { asked_micro: 60, paid_micro: 0 }, "nothing was paid there in that period");
    let owners = [(workspace("sales"), Some("sales".into())), (Scope::Organization, Some("lab".into()))];
    let owners = owners.into_iter().map(|(owner, workspace_id)| RefundOwner { owner, workspace_id });
    check(
        Refused::RefundOwnerUnclear { owners: owners.collect() },
        "more than one pool could get the refund back; name a workspace_id: ws:sales with workspace_id sales, org with workspace_id lab",
    );
    check(
        Refused::OutOfRange { field: "amount_micro".into(), value: 0, least: 1, most: 9_007_199_254_740_991 },
        "amount_micro is 0; it must lie between 1 and 9007199254740991",
    );
    check(
        Refused::ThresholdsOutOfRange { thresholds_percent: vec![80, 70], count_max: 16, percent_max: 1_000 },
        "thresholds_percent is [80, 70]; write at most 16 whole numbers from 1 to 1000, each above the one before",
    );
}
