//! Every event counts once: totals equal those of the trace, whatever happens while it is read.

use std::{collections::BTreeMap, time::Duration};

use rand::{Rng, SeedableRng, rngs::StdRng};
use serde_json::Value as Json;

use crate::support::{Member, Stage, wait_until};

const TRACE: &str = concat!(env!("CARGO_MANIFEST_DIR"), "/data/azure-llm-2023-conv-3000.csv");
const ROWS: i64 = 3_000;

/// The sums of the trace's columns, by simple means.
fn sums_of_the_trace() -> (i64, i64) {
    let text = std::fs::read_to_string(TRACE).expect("the trace ships with the project");
    let rows = text.lines().skip(1).map(|line| {
        let mut columns = line.split(',').skip(1).map(|column| column.parse::<i64>().expect("a number"));
        (columns.next().expect("input"), columns.next().expect("output"))
    });
    rows.fold((0, 0), |sum, row| (sum.0 + row.0, sum.1 + row.1))
}

fn check_totals(stage: &Stage) {
    let (input, output) = sums_of_the_trace();
    let totals = stage.totals();
    let seen = |meter: &str| totals.get(meter).copied().unwrap_or(0);
    assert_eq!(
        [seen("input_tokens"), seen("output_tokens"), seen("runs_started"), seen("runs_completed")],
        [input, output, ROWS, ROWS]
    );
}

fn is_settled(stage: &Stage) -> bool {
    stage.totals().get("runs_completed").copied().unwrap_or(0) >= ROWS
}

/// A start of the replay such that its last row is not in the future, the same for all replays of a test.
fn start() -> String {
    bursar::clock::Clock::System.now().plus_ms(-3_600_000).to_string()
}

fn identities(signals: &[Json]) -> BTreeMap<String, Vec<Json>> {
    let mut by_identity: BTreeMap<String, Vec<Json>> = BTreeMap::new();
    for signal in signals {
        let identity = signal["identity"].as_str().expect("a signal has an identity");
        by_identity.entry(identity.to_owned()).or_default().push(signal.clone());
    }
    by_identity
}

/// Limits that the trace crosses: some scopes at 80 %, some at 100 %. Periods begin half a month from now, so that the
/// replay of the last hour is in the period in which the limits are set, whatever the day on which the test runs.
fn set_limits(stage: &Stage) {
    let half_a_month_ago = bursar::clock::Clock::System.now().plus_ms(-15 * 86_400_000).to_string();
    let anchor = ["set-organization", "--time-zone", "UTC", "--anchor", &half_a_month_ago[..10]];
    for organization in ["org-1", "org-2", "org-3"] {
        stage.say(&[&["control", "-o", organization], &anchor[..]].concat());
        let (what, bound) =
            (["set-limit", "tokens", "--every", "agent"], ["--meter", "input_tokens", "--cap", "60000"]);
        stage.say(&[&["control", "-o", organization], &what[..], &bound[..], &["--window", "period"]].concat());
    }
}

/// M3, U-6: totals of every meter equal the trace's; the same replay again changes nothing.
#[test]
fn m3_a_replay_is_counted_exactly_and_a_second_one_changes_nothing() {
    let stage = Stage::new("m3");
    let member = stage.run();
    set_limits(&stage);
    let start = start();
    let replay = ["replay", TRACE, "--quiet", "--start", &start, "--organizations", "3"];
    stage.say(&replay);
    wait_until("the replay is counted", || is_settled(&stage));
    check_totals(&stage);
    let crossings = identities(&stage.read("thresholds"));
    assert!(!crossings.is_empty());

    stage.say(&replay);
    let controls = 2 * 3;
    let read = 2 * 3 * ROWS as u64 + controls;
    wait_until("the second replay is read", || member.metric("bursar_consumed_total") >= read);
    check_totals(&stage);
    assert_eq!(identities(&stage.read("thresholds")), crossings);
    check_u_6(&member);
}

/// U-6: over distinct positions, applied + duplicate + dead letter = consumed.
pub fn check_u_6(member: &Member) {
    let metric = |name: &str| member.metric(&format!("bursar_{name}_total"));
    assert_eq!(metric("applied") + metric("duplicate") + metric("dead_letters"), metric("consumed"), "U-6");
}

/// M4, U-1, U-4, U-5: two members, ten times `kill -9` at random moments. Totals are exact; the signals are those of a
/// run without faults, and copies differ in nothing that identifies them.
#[test]
fn m4_u_1_u_4_u_5_ten_kills_lose_nothing_and_count_nothing_twice() {
    let start = start();
    let replay = |stage: &Stage, speed: &str| {
        stage.say(&["replay", TRACE, "--quiet", "--start", &start, "--organizations", "3", "--speed", speed]);
    };
    let calm = Stage::new("m4-calm");
    let member = calm.run();
    set_limits(&calm);
    replay(&calm, "0");
    wait_until("the replay is counted", || is_settled(&calm));
    member.terminate();

    let mut stage = Stage::new("m4");
    // Small batches, so that a kill falls between the steps of one.
    stage.set("WORK__BATCH_RECORDS", "50");
    stage.set("WORK__WORKERS", "1");
    let mut members = vec![stage.run(), stage.run()];
    set_limits(&stage);
    std::thread::scope(|scope| {
        scope.spawn(|| replay(&stage, "40"));
        let mut random = StdRng::seed_from_u64(4);
        for _ in 0..10 {
            std::thread::sleep(Duration::from_millis(random.random_range(300..2_000)));
            members.remove(0).kill();
            members.push(stage.launch());
        }
    });
    wait_until("the replay is counted", || is_settled(&stage));
    std::thread::sleep(Duration::from_secs(2));
    check_totals(&stage);
    for topic in ["thresholds", "pauses"] {
        let (seen, expected) = (identities(&stage.read(topic)), identities(&calm.read(topic)));
        assert!(!expected.is_empty());
        assert_eq!(seen.keys().collect::<Vec<_>>(), expected.keys().collect::<Vec<_>>(), "{topic}");
        for copies in seen.values() {
            let what =
                |signal: &Json| ["scope", "limit_id", "threshold_percent", "state"].map(|field| signal[field].clone());
            assert!(copies.iter().all(|copy| what(copy) == what(&copies[0])), "copies differ: {copies:?}");
        }
    }
}

/// Members that come and go in good order: nothing lost, nothing twice; SIGTERM under load ends within 10 s.
#[test]
fn u_1_members_join_and_leave_under_load() {
    let mut stage = Stage::new("join");
    stage.set("WORK__WORKERS", "1");
    let mut members = vec![stage.run()];
    let start = start();
    std::thread::scope(|scope| {
        scope.spawn(|| stage.say(&["replay", TRACE, "--quiet", "--start", &start, "--speed", "50"]));
        for round in 0..4 {
            std::thread::sleep(Duration::from_secs(2));
            if round % 2 == 0 {
                members.push(stage.launch());
            } else {
                let took = members.remove(0).terminate();
                assert!(took < Duration::from_secs(10), "stopping took {took:?}");
            }
        }
    });
    wait_until("the replay is counted", || is_settled(&stage));
    check_totals(&stage);
}
