//! What holds of a view that is lost, of stored state, and of input that no calendar has.

use bursar::{
    domain::{
        account::{
            Account, Moment,
            changes::{Loaded, LoadedBase, Needs, Stamp},
            layout::{LAYOUT, LayoutError, pack_as, unpack, unpack_up_to},
            row::ScopeRow,
            windows::WindowCounters,
        },
        event::{Tokens, Usage, UsageEvent},
        limit::Limit,
        meter::Meter,
        pause::{CauseKind, Pauses},
        time::{Timestamp, parse_rfc3339},
        window::{WindowKind, window_at},
    },
    ledger::Ledger,
    notify::due::AHEAD_MS,
};
use futures::executor::block_on;
use serde_json::{Value as Json, json};

use crate::{
    language::parse,
    stage::{ORGANIZATION, Stage},
};

fn play(story: &str) -> Stage {
    let mut stage = Stage::new();
    for (number, step) in parse(story).iter().enumerate() {
        stage.play(number, step);
    }
    stage
}

/// A crash between the commit and the publication: whoever loads the account next finds the signals, under the same
/// identities, and publishes them.
#[test]
fn u_4_signals_that_a_crash_left_behind_are_published() {
    let story = "2026-01-15 10:00 admin says set_limit limit_id=cap scope=ws:w meter=input_tokens window=day cap=100 action=pause
                 10:01 use 120 by a in w for u id x";
    let stage = play(story);
    let mut crashed = Stage::new();
    let steps = parse(story);
    for (number, step) in steps.iter().enumerate() {
        crashed.act(number, step);
    }
    let changes = crashed.account.take_changes(Stamp { token: 1, low_water: Timestamp::MIN, horizon_ms: 0 });
    block_on(crashed.ledger.commit(&[(ORGANIZATION.into(), changes)])).expect("memory answers");
    crashed.drop_view();
    crashed.act(1, &steps[1]);
    let left: Vec<String> = crashed.account.outbox().iter().map(|(_, signal)| signal.identity().to_string()).collect();
    assert!(stage.identities.len() == 4 && stage.identities.iter().all(|identity| left.contains(identity)), "{left:?}");
    assert_eq!(crashed.seen().answer("org input_tokens per day is 120"), "org input_tokens per day is 120");
}

/// After a downtime the clock is past the end of a period while its usage still waits to be read. The period closes only
/// when that is done, once, and what is due after it is not lost.
#[test]
fn a10_a_period_closes_only_when_its_usage_was_read() {
    let time = |text: &str| parse_rfc3339(text).expect("a time of this test");
    let steps = parse(
        "2026-01-15 10:00 use 5 by a in w for u
         2026-01-15 10:01 use 7 by a in w for u
         2026-02-01 09:00 admin says set_limit limit_id=cap scope=ws:w meter=input_tokens window=hour cap=5 thresholds_percent=100 action=pause
         2026-02-01 09:01 use 6 by a in w for u",
    );
    let mut stage = Stage::new();
    stage.act(0, &steps[0]);
    stage.commit();
    let now = time("2026-02-01T00:20:00Z");
    let behind =
        Moment { record_time: now, clock: now, read_until: time("2026-01-15T10:00:00Z"), clock_follows_records: false };
    assert!(stage.serve_one_due(behind));
    // The backlog goes on, and names the same period again.
    stage.act(1, &steps[1]);
    stage.commit();
    assert!(!stage.serve_one_due(behind), "it is tried again later, and not for ever at once");
    assert!(stage.told.is_empty(), "{:?}", stage.told);
    let later = now.plus_ms(3_600_000);
    assert!(stage.serve_one_due(Moment {
        record_time: later,
        clock: later,
        read_until: later,
        clock_follows_records: false
    }));
    let lines = stage.told.iter().filter(|line| line.starts_with("statement of org"));
    assert_eq!(lines.count(), 1, "{:?}", stage.told);
    assert_eq!(stage.seen().answer("org input_tokens per period is 12"), "org input_tokens per period is 12");
    stage.told.clear();
    for (number, step) in steps.iter().enumerate().skip(2) {
        stage.play(number, step);
    }
    let end = time("2026-02-01T10:00:00Z");
    while stage.serve_one_due(Moment { record_time: end, clock: end, read_until: end, clock_follows_records: false }) {}
    assert_eq!(stage.told.last().map(String::as_str), Some("ws:w runs again"), "{:?}", stage.told);
}

/// Where the clock follows the records and stands, a period that could not be closed is tried again within what is sent all the
/// same: a worker that begins anew knows for a moment of no usage partition how far it was read.
#[test]
fn n3_a_period_that_was_not_closed_is_tried_again_while_the_clock_stands() {
    let time = |text: &str| parse_rfc3339(text).expect("a time of this test");
    for now in ["2026-02-01T00:20:00Z", "2026-02-01T00:15:00Z"] {
        let mut stage = Stage::new();
        stage.act(0, &parse("2026-01-15 10:00 use 5 by a in w for u")[0]);
        stage.commit();
        let now = time(now);
        let moment = |read_until| Moment { record_time: now, clock: now, read_until, clock_follows_records: true };
        assert!(stage.serve_one_due_until(now, moment(Timestamp::MIN)));
        for _ in 0..3 {
            assert!(stage.serve_one_due_until(now.plus_ms(AHEAD_MS), moment(Timestamp::MIN)), "it comes by itself");
            assert!(stage.told.is_empty(), "{:?}", stage.told);
        }
        assert!(stage.serve_one_due_until(now.plus_ms(AHEAD_MS), moment(now)));
        assert!(stage.told.iter().any(|line| line.starts_with("statement of org")), "{:?}", stage.told);
    }
}

/// Times that no calendar has end as dead letters, and hold nobody up.
#[test]
fn absurd_times_are_refused() {
    for time_ms in [i64::MIN, -62_135_596_800_000_000, -1, 253_402_300_800_000, i64::MAX] {
        let usage = Usage::Tokens { request_model: "small", tokens: Tokens::default() };
        let event = UsageEvent::new("x", "story", Timestamp::from_ms(time_ms), ORGANIZATION, usage);
        assert_eq!(event.validate().map_err(|reason| reason.code()), Err("time_out_of_range"), "{time_ms}");
        // And the calendar itself answers at once, whatever it is asked.
        for kind in WindowKind::ALL {
            window_at(&[], kind, Timestamp::from_ms(time_ms));
        }
    }
}

/// A row as a next release might have it: this release's, and one thing more.
#[derive(Default, serde::Deserialize, serde::Serialize)]
#[serde(default)]
struct NextRow {
    windows: Vec<WindowCounters>,
    limits: Vec<Limit>,
    pool: Json,
    pauses: Pauses,
    rules_revision: u64,
    member: Json,
    registered: Json,
    parts: Json,
    overshoots: Json,
    models: Json,
    used_in: Json,
    paid_by: Json,
    unnamed: Json,
    named: Json,
    told: Json,
    ran: Json,
    in_free_phase: Json,
    former_pools: Json,
    held: i64,
}

/// A release with layout n+1 (made up here) starts from rows that this one has stored, goes on with them, and finds
/// again what it wrote; this one then refuses them.
#[test]
fn m9_a_next_release_starts_from_stored_rows_and_goes_on() {
    let stage = play(
        "2026-01-15 10:00 admin says set_limit limit_id=cap scope=ws:w meter=input_tokens window=day cap=900 action=pause
         10:00 admin says set_pool scope=ws:w included_micro=50
         10:01 use 79 by a in w for u product chat",
    );
    for (field, stored) in stage.ledger.scope_fields(ORGANIZATION) {
        let mut row: NextRow =
            unpack_up_to(LAYOUT + 1, "row", &stored).expect("the next release reads this one's rows");
        assert_eq!((row.held, row.windows[0].counters.get(Meter::InputTokens)), (0, 79), "{field}");
        row.windows[0].counters.set(Meter::InputTokens, 80);
        row.held = 5;
        let written = pack_as(LAYOUT + 1, &row);
        let again: NextRow = unpack_up_to(LAYOUT + 1, "row", &written).expect("it reads its own");
        assert_eq!((again.held, again.windows, again.limits), (5, row.windows, row.limits));
        assert_eq!(unpack::<ScopeRow>("row", &written), Err(LayoutError::Unknown { found: LAYOUT + 1 }));
    }
}

/// Rows of the layout before are read: what they do not have is not there, and what they have is as it was.
#[test]
fn m9_rows_of_the_layout_before_are_read() {
    let stage = play(
        "2026-01-15 10:00 admin says set_limit limit_id=cap scope=ws:w meter=input_tokens window=day cap=70 action=pause
         10:00 admin says set_pool scope=ws:w included_micro=50
         10:01 use 79 by a in w for u product chat",
    );
    let fields = stage.ledger.scope_fields(ORGANIZATION);
    let (_, stored) = fields.iter().find(|(field, _)| &**field == "ws:w").expect("the workspace has a row");
    let now: ScopeRow = unpack("row", stored).expect("a row");
    // So many fields had a row, its limits, its pool and its causes.
    let mut row: Json = unpack("row", stored).expect("a row is a list");
    let keep = |list: &mut Json, fields: usize| list.as_array_mut().expect("a list").truncate(fields);
    keep(&mut row, 10);
    keep(&mut row[1][0], 7);
    keep(&mut row[2], 7);
    keep(&mut row[3][0][0], 4);
    let before: ScopeRow = unpack("row", &pack_as(LAYOUT - 1, &row)).expect("it is read");
    assert_eq!((&before.windows, &before.limits[0].id), (&now.windows, &now.limits[0].id));
    assert_eq!((before.limits[0].cap, before.limits[0].yields_to_own), (Some(70), false));
    let included = |row: &ScopeRow| row.pool.as_ref().map(|pool| pool.included.clone());
    assert_eq!(included(&before), included(&now));
    let cause = &before.pauses.causes[0];
    assert_eq!((&*cause.limit_id, cause.kind, cause.ends_at), ("cap", CauseKind::Limit, now.pauses.causes[0].ends_at));
    assert_eq!((&cause.selector, &before.used_in, &before.told), (&None, &Vec::new(), &Vec::new()));
}

/// State that another release wrote with more in it is refused as a whole, and left as it is.
#[test]
fn m9_state_of_a_later_layout_is_not_touched() {
    let mut account = Account::new(ORGANIZATION);
    let needs = Needs { base: true, ..Needs::default() };
    let head = pack_as(LAYOUT + 1, &json!({}));
    let loaded = Loaded { head: Some(head), base: Some(LoadedBase::default()), ..Loaded::default() };
    assert_eq!(account.fill(&needs, loaded), Err(LayoutError::Unknown { found: LAYOUT + 1 }));
}
