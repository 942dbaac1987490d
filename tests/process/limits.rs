//! Limits, pools and pauses, from Kafka to Kafka.

use std::{
    collections::BTreeSet,
    time::{Duration, Instant},
};

use bursar::notify::publisher::partition_of;
use redis::Commands;
use serde_json::{Value as Json, json};

use crate::support::{Stage, token_event, wait_until};

fn last_state(stage: &Stage, scope: &str) -> Option<Json> {
    stage
        .read("pauses")
        .into_iter()
        .filter(|pause| pause["scope"] == scope)
        .max_by_key(|pause| pause["generation"].as_i64())
}

/// M5, A4, A18, C6: one signal per threshold and revision; a pause at 100 %, a resume after a grant; the `paused` hash
/// agrees with the topic.
#[test]
fn m5_a_pool_announces_pauses_and_resumes() {
    let stage = Stage::new("m5");
    let member = stage.run();
    let say = |arguments: &[&str]| stage.say(&[&["control", "-o", "acme"], arguments].concat());
    let prices = r#"{"input_micro":1000000,"output_micro":0}"#;
    say(&["set-rate-card", "--default-prices", prices, "--effective-from", "2020-01-01T00:00:00Z"]);
    say(&["set-pool", "--scope", "ws:ws-1", "--included-micro", "1000"]);
    std::thread::sleep(Duration::from_millis(300));
    let sender = stage.producer();
    for number in 0..120 {
        sender.send(&stage.topic("usage"), "acme", &token_event("acme", &number.to_string(), 10));
    }
    sender.flush();
    wait_until("the pool is used up", || member.metric("bursar_pauses_total") >= 1);
    wait_until("all is counted", || stage.totals().get("credits_micro") == Some(&1_200));
    let percents = |stage: &Stage| -> Vec<(i64, i64)> {
        let crossings = stage.read("thresholds").into_iter();
        crossings
            .map(|crossed| {
                (crossed["revision"].as_i64().unwrap_or(0), crossed["threshold_percent"].as_i64().unwrap_or(0))
            })
            .collect()
    };
    assert_eq!(percents(&stage), [(1, 80), (1, 100)]);
    let mut redis = stage.redis();
    let paused: Option<String> =
        redis.hget(format!("{}:{{acme}}:paused", stage.name), "ws:ws-1").expect("Redis answers");
    let paused: Json = serde_json::from_str(&paused.expect("the workspace is paused")).expect("JSON");
    let published = last_state(&stage, "ws:ws-1").expect("a pause was published");
    assert_eq!((&published["state"], &published["generation"]), (&json!("paused"), &paused["generation"]));
    assert_eq!(paused["causes"][0]["kind"], "pool");

    say(&["grant", "--scope", "ws:ws-1", "--grant-id", "g1", "--amount-micro", "5000"]);
    wait_until("the workspace resumes", || {
        last_state(&stage, "ws:ws-1").is_some_and(|state| state["state"] == "running")
    });
    let paused: Option<String> =
        redis.hget(format!("{}:{{acme}}:paused", stage.name), "ws:ws-1").expect("Redis answers");
    assert_eq!(paused, None);
    // Same grant once more: one grant, and nothing new is announced.
    say(&["grant", "--scope", "ws:ws-1", "--grant-id", "g1", "--amount-micro", "5000"]);
    let account = stage.account("acme");
    let scopes = account["scopes"].as_array().expect("scopes");
    let workspace = scopes.iter().find(|scope| scope["scope"] == "ws:ws-1").expect("the workspace");
    assert_eq!(workspace["pool"]["periods"][0]["size_micro"], 6_000);
    assert_eq!(percents(&stage), [(1, 80), (1, 100)]);
}

/// C5: two causes at once, of two limits; the minute's clears by itself on time, without traffic, and the scope
/// resumes only when an admin has raised the other.
#[test]
fn c5_a_scope_resumes_when_its_last_cause_clears() {
    let stage = Stage::new("c5");
    let _member = stage.run();
    let say = |arguments: &[&str]| stage.say(&[&["control", "-o", "acme"], arguments].concat());
    let limit = |id: &str, window: &str, cap: &str| {
        let bound = ["--scope", "agent:ws-1/agent-1", "--meter", "input_tokens", "--window", window, "--cap", cap];
        say(&[&["set-limit", id], &bound[..]].concat())
    };
    limit("burst", "minute", "5");
    limit("daily", "day", "5");
    let sender = stage.producer();
    sender.send(&stage.topic("usage"), "acme", &token_event("acme", "1", 10));
    sender.flush();
    let causes = |stage: &Stage| {
        last_state(stage, "agent:ws-1/agent-1").map_or(0, |state| state["causes"].as_array().map_or(0, Vec::len))
    };
    wait_until("both limits pause", || causes(&stage) == 2);
    wait_until("the minute is over", || causes(&stage) == 1);
    limit("daily", "day", "100");
    wait_until("the agent runs", || {
        last_state(&stage, "agent:ws-1/agent-1").is_some_and(|state| state["state"] == "running")
    });
    let generations: Vec<i64> = stage.read("pauses").iter().filter_map(|pause| pause["generation"].as_i64()).collect();
    assert!(generations.windows(2).all(|pair| pair[0] < pair[1]), "{generations:?}");
}

/// What a zombie wrote last is corrected from the account.
#[test]
fn c5_a_wrong_last_record_of_the_pauses_topic_is_corrected() {
    let stage = Stage::new("zombie");
    let member = stage.run();
    stage.say(&["control", "-o", "acme", "pause", "ws:ws-1"]);
    wait_until("the pause is published", || last_state(&stage, "ws:ws-1").is_some());
    let pause = stage.read_raw("pauses").remove(0);
    stage.say(&["control", "-o", "acme", "resume", "ws:ws-1"]);
    // A worker that was taken for dead writes its old pause after the resume.
    let sender = stage.producer();
    sender.send_to(partition_of("acme", 4), &stage.topic("pauses"), "acme/ws:ws-1", &pause);
    sender.flush();
    assert_eq!(stage.read("pauses").last().map(|state| state["state"].clone()), Some(json!("paused")));
    wait_until("the topic is corrected", || {
        stage.read("pauses").last().is_some_and(|state| state["state"] == "running")
    });
    assert!(member.metric("bursar_pause_corrections_total") >= 1);
}

/// A refused control record answers who waits, with the reason.
#[test]
fn a_refused_control_record_answers_with_its_reason() {
    let stage = Stage::new("refused");
    let _member = stage.run();
    let output =
        stage.bursar(&["control", "-o", "acme", "grant", "--scope", "ws:x", "--grant-id", "g", "--amount-micro", "5"]);
    let error = String::from_utf8_lossy(&output.stderr);
    assert!(!output.status.success() && error.contains("has no pool; set one first"), "{error}");
    let output = stage.bursar(&["control", "-o", "acme", "--json", "remove-pool", "ws:x"]);
    let answer: Json = serde_json::from_slice(&output.stdout).expect("JSON");
    assert_eq!((&answer["result"], &answer["code"]), (&json!("refused"), &json!("no_pool_to_remove")), "{answer}");
    assert_eq!((output.status.success(), &answer["fields"]), (false, &json!({ "scope": "ws:x" })), "{answer}");
    let began = Instant::now();
    let output = stage.bursar(&[
        "control",
        "-o",
        "acme",
        "set-organization",
        "--time-zone",
        "Mars/Olympus",
        "--anchor",
        "2026-01-01",
    ]);
    let error = String::from_utf8_lossy(&output.stderr);
    assert!(!output.status.success() && error.contains("no IANA time zone"), "{error}");
    assert!(began.elapsed() < Duration::from_secs(5), "it is refused before it is sent");
}

/// N3, A4, A10: Bursar is stopped before a period ends and started after it. The workspace resumes, its statement is
/// sent, and its generation grows: each once.
#[test]
fn n3_a_reset_with_nobody_there_happens_once_at_the_next_start() {
    let mut stage = Stage::new("n3");
    for (setting, value) in
        [("RULES__CLOCK", "records"), ("KAFKA__ACCEPT_CREATE_TIME", "true"), ("KAFKA__OUTPUT_FORMAT", "json")]
    {
        stage.set(setting, value);
    }
    let member = stage.run();
    let say = |organization: &str, at: &str, arguments: &[&str]| {
        stage.say(&[&["control", "-o", organization, "--at", at], arguments].concat())
    };
    let prices = r#"{"input_micro":1000000,"output_micro":0}"#;
    let card = ["set-rate-card", "--default-prices", prices, "--effective-from", "2020-01-01T00:00:00Z"];
    say("org-1", "2026-01-10T10:00:00Z", &card);
    say("org-1", "2026-01-10T10:00:01Z", &["set-pool", "--scope", "ws:ws-1", "--included-micro", "1000"]);
    let trace = tempfile::Builder::new().suffix(".csv").tempfile().expect("a file");
    let rows = "TIMESTAMP,ContextTokens,GeneratedTokens\n2023-11-16 18:00:00,600,1\n2023-11-16 18:00:01,700,1\n";
    std::fs::write(trace.path(), rows).expect("it can be written");
    let trace = trace.path().to_str().expect("a path that is text");
    let spread = ["--organizations", "1", "--workspaces", "1", "--record-time-is-event-time"];
    stage.say(&[&["replay", trace, "--start", "2026-01-10T12:00:00Z"], &spread[..]].concat());
    let state = |stage: &Stage| last_state(stage, "ws:ws-1").map(|pause| pause["state"].clone());
    wait_until("the pool pauses", || state(&stage).is_some_and(|state| state == "paused"));
    assert!(stage.read("statements").is_empty());
    member.terminate();

    // The period ends while nobody is there; the clock of the records has moved when somebody comes back.
    say("other", "2026-02-01T00:30:00Z", &["--wait", "0", "resume", "org"]);
    let _member = stage.run();
    wait_until("the workspace runs", || state(&stage).is_some_and(|state| state == "running"));
    wait_until("the statement is there", || !stage.read("statements").is_empty());
    std::thread::sleep(std::time::Duration::from_secs(2));
    // Copies bear one identity: the second worker joins while the first one is at it.
    let mut pauses: Vec<_> = stage.read("pauses").into_iter().filter(|pause| pause["scope"] == "ws:ws-1").collect();
    pauses.dedup_by_key(|pause| pause["identity"].to_string());
    let states: Vec<_> = pauses.iter().map(|pause| pause["state"].as_str().unwrap_or_default()).collect();
    assert!(states == ["paused", "running"] || states == ["running"], "once, or compacted: {states:?}");
    let lines = stage.read("statements");
    let identities: BTreeSet<String> = lines.iter().map(|line| line["identity"].to_string()).collect();
    assert!(identities.len() >= 4, "organization, workspace, agents and users: {lines:?}");
    let distinct: BTreeSet<String> = lines.iter().map(Json::to_string).collect();
    assert_eq!(distinct.len(), identities.len(), "each once");
    let workspace = stage.account("org-1")["scopes"].as_array().expect("scopes").clone();
    let workspace = workspace.iter().find(|scope| scope["scope"] == "ws:ws-1").expect("the workspace").clone();
    assert_eq!(workspace["generation"], pauses.last().expect("a pause")["generation"]);
    assert_eq!(stage.account("org-1")["closed_until"], "2026-02-01T00:00:00.000Z");
}
