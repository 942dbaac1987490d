//! Laws that hold for every stream of events and controls.

use std::collections::BTreeMap;

use bursar::domain::{account::row::ScopeRow, meter::Meter, pool::GrantKind};
use proptest::prelude::*;

use crate::{
    language::{Step, parse},
    stage::Stage,
    told::Seen,
};

/// The meters that do not depend on the order of application (design section 5, "Order").
const ORDER_FREE: [Meter; 11] = [
    Meter::InputTokens,
    Meter::OutputTokens,
    Meter::CreditsMicro,
    Meter::RunsStarted,
    Meter::RunsCompleted,
    Meter::RunsFailed,
    Meter::RunsCancelled,
    Meter::AdjustedCreditsMicro,
    Meter::ActiveAgents,
    Meter::AgentsCreated,
    Meter::Builders,
];

/// How an organization is set up, before anything is used.
fn set_up(mode: usize) -> Vec<String> {
    let mut lines = vec![
        "2026-01-15 09:00 price input_micro=1000000 completed_run_micro=7".to_owned(),
        "09:00 admin says set_limit limit_id=agents every=agent meter=input_tokens window=hour cap=60 action=pause"
            .to_owned(),
        "09:00 admin says set_limit limit_id=day scope=org meter=input_tokens window=day cap=500 action=pause"
            .to_owned(),
    ];
    let more: &[&str] = match mode {
        0 => &[],
        1 => &[
            "09:00 admin says set_pool scope=ws:w0 included_micro=150",
            "09:00 admin says set_pool scope=org included_micro=80",
            "09:00 admin says grant scope=ws:w0 grant_id=g amount_micro=40",
            "09:00 admin says grant scope=org grant_id=p amount_micro=90 kind=prepaid",
        ],
        2 => &[
            "09:00 admin says set_mode mode=team",
            "09:00 admin says set_seat_type seat_type=standard session_micro=60 week_micro=110",
            "09:00 admin says set_member user_id=u0 seat_type=standard",
            "09:00 admin says set_member user_id=u1 seat_type=standard",
            "09:00 admin says set_source source=prepaid on=true",
            "09:00 admin says set_pool scope=org included_micro=50 user_cap_micro=30",
            "09:00 admin says grant scope=org grant_id=p amount_micro=120 kind=prepaid",
            "09:00 admin says set_limit limit_id=spend seat_type=standard meter=extra_credits_micro window=period cap=70 action=pause",
        ],
        _ => &[
            "09:00 admin says set_mode mode=usage_enterprise",
            "09:00 admin says set_limit limit_id=month scope=org meter=extra_credits_micro window=period cap=400 action=pause",
            "09:00 admin says set_limit limit_id=spend every=user meter=extra_credits_micro window=period cap=150 action=pause",
        ],
    };
    lines.extend(more.iter().map(|line| (*line).to_owned()));
    lines
}

/// What is used: workspace, agent, user, tokens (or a run), minute, and how many minutes earlier it was used.
type Uses = Vec<(u8, u8, u8, i64, u32, u32)>;

fn uses() -> impl Strategy<Value = Uses> {
    prop::collection::vec((0..3_u8, 0..3_u8, 0..3_u8, 0..40_i64, 0..400_u32, 0..180_u32), 1..60)
}

fn lines_of(uses: &Uses) -> Vec<String> {
    let mut lines: Vec<String> = uses
        .iter()
        .map(|(workspace, agent, user, tokens, minute, earlier)| {
            let (minutes, at) = (840 + minute, 840 + minute - earlier);
            let what = if *tokens == 0 { "run completed".to_owned() } else { format!("use {tokens}") };
            format!(
                "{:02}:{:02} {what} by a{agent} in w{workspace} for u{user} at {:02}:{:02} id {}",
                minutes / 60,
                minutes % 60,
                at / 60,
                at % 60,
                minute % 97
            )
        })
        .collect();
    // Records of one partition have a running maximum of times.
    lines.sort_by_key(|line| line[..5].to_owned());
    lines
}

fn steps(mode: usize, uses: &[String]) -> Vec<Step> {
    let mut lines = set_up(mode);
    lines.extend(uses.iter().cloned());
    parse(&lines.join("\n"))
}

fn played(steps: &[Step]) -> Stage {
    let mut stage = Stage::new();
    for (number, step) in steps.iter().enumerate() {
        stage.act(number, step);
        stage.commit();
    }
    stage
}

fn order_free(seen: &Seen) -> BTreeMap<String, i64> {
    let mut counts = BTreeMap::new();
    for (field, row) in &seen.rows {
        for window in row.windows.iter() {
            for meter in ORDER_FREE {
                let name = format!("{field} {} {} {}", window.kind.0.name(), window.start, meter.name());
                // Sessions open with the first event, and a window of zeros may be open or not.
                let count = window.counters.get(meter);
                if window.kind.0.name() != "session" && count != 0 {
                    counts.insert(name, count);
                }
            }
        }
    }
    counts
}

fn check_sums(seen: &Seen) {
    for (field, row) in &seen.rows {
        for window in row.windows.iter() {
            let sources = Meter::SOURCES.map(|meter| window.counters.get(meter));
            assert_eq!(sources.iter().sum::<i64>(), window.counters.get(Meter::CreditsMicro), "{field}");
            assert!(sources.iter().all(|source| *source >= 0), "{field} {sources:?}");
        }
        for grant in row.pool.iter().flat_map(|pool| &pool.grants) {
            assert!(grant.left_micro() >= 0 && grant.spent_micro >= 0, "{field} {grant:?}");
        }
    }
    let sum = |prefix: &str, meter: Meter| -> i64 {
        let rows = seen.rows.iter().filter(|(field, _)| field.starts_with(prefix));
        let of = |row: &ScopeRow| -> i64 {
            let days = row.windows.iter().filter(|window| window.kind.0.name() == "day");
            days.map(|window| window.counters.get(meter)).sum()
        };
        rows.map(|(_, row)| of(row)).sum()
    };
    for meter in [Meter::InputTokens, Meter::CreditsMicro, Meter::PoolCreditsMicro, Meter::UncoveredCreditsMicro] {
        assert_eq!(sum("agent:", meter), sum("ws:", meter), "agents sum to workspaces");
        assert_eq!(sum("ws:", meter), sum("org", meter), "workspaces sum to the organization");
        assert_eq!(sum("user:", meter), sum("org", meter), "users sum to the organization");
    }
    let org = seen.rows.iter().find(|(field, _)| field == "org").expect("the organization has a row");
    if let Some(pool) = &org.1.pool {
        let spent: i64 =
            pool.grants.iter().filter(|grant| grant.kind == GrantKind::Prepaid).map(|grant| grant.spent_micro).sum();
        assert!(spent <= sum("org", Meter::PrepaidCreditsMicro), "what a balance paid is counted");
    }
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(96))]

    /// However a stream is cut into commits, and whenever the view is dropped, the account, the splits and the signals
    /// are the same (U-1, U-4).
    #[test]
    fn any_cut_into_commits_gives_the_same(
        mode in 0..4_usize, uses in uses(), cuts in prop::collection::vec(0..4_u8, 60),
    ) {
        let steps = steps(mode, &lines_of(&uses));
        let first_use = set_up(mode).len();
        let mut whole = Stage::new();
        let mut cut = Stage::new();
        for (number, step) in steps.iter().enumerate() {
            whole.act(number, step);
            cut.act(number, step);
            match cuts[number % cuts.len()] {
                0 => cut.commit(),
                1 => { cut.commit(); cut.drop_view(); }
                _ => {}
            }
            // Control records need what was stored before them.
            if number < first_use { whole.commit(); cut.commit(); }
        }
        whole.commit();
        cut.commit();
        prop_assert_eq!(whole.ledger.scope_fields("acme"), cut.ledger.scope_fields("acme"));
        prop_assert_eq!(whole.identities, cut.identities);
    }

    /// In whatever order events are applied, the meters that do not depend on order are the same; and always the
    /// sources sum to the charge, agents to workspaces, workspaces and users to the organization, and no source is
    /// below zero (U-2, U-5).
    #[test]
    fn any_order_gives_the_same_order_free_meters(
        mode in 0..4_usize, uses in uses(), order in prop::collection::vec(any::<u32>(), 60),
    ) {
        let lines = lines_of(&uses);
        let told = played(&steps(mode, &lines));
        check_sums(&told.seen());
        // All at one record time, so that no order makes anything late.
        let mut shuffled: Vec<(u32, String)> =
            lines.iter().enumerate().map(|(nth, line)| (order[nth % order.len()], format!("21:00{}", &line[5..]))).collect();
        shuffled.sort();
        let shuffled: Vec<String> = shuffled.into_iter().map(|(_, line)| line).collect();
        let shuffled = played(&steps(mode, &shuffled));
        check_sums(&shuffled.seen());
        // Ids repeat; which of two contents is first is a matter of order.
        let unique = lines.iter().map(|line| line.rsplit(' ').next()).collect::<std::collections::BTreeSet<_>>();
        if unique.len() == lines.len() {
            prop_assert_eq!(order_free(&told.seen()), order_free(&shuffled.seen()));
        }
    }
}
