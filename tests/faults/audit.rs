//! E16 and row C8: what Redis had is gone, wrong, or rebuilt, and the audit tells.

use std::time::Duration;

use bursar::{domain::time::HOUR_MS, faults::Defence};
use serde_json::json;

use crate::{
    failover::FENCES,
    load::Load,
    nodes::Node,
    support::{Servers, Stage, wait_until},
};

const EVENTS: i64 = 20_000;
const SETTLES_WITHIN: Duration = Duration::from_secs(30);

/// Redis is emptied under load: everything is rebuilt, and the audit finds nothing.
fn empty(name: &str, off: &[Defence]) -> Result<(), String> {
    Servers::shared();
    let redis = Node::primary();
    let mut stage = Stage::new(name);
    stage.use_redis(&format!("redis://{}", redis.address()));
    stage.switch_off(off.iter().copied());
    // A second worker would join under load, and begin anew by that.
    stage.set("WORK__WORKERS", "1");
    let _member = stage.run();
    let load = Load::new(EVENTS);
    load.say_limits(&stage);
    std::thread::scope(|scope| {
        scope.spawn(|| load.send_over(&stage, Duration::from_secs(6)));
        std::thread::sleep(Duration::from_secs(3));
        redis.command(&["FLUSHALL"]);
    });
    load.settle(&stage, SETTLES_WITHIN)?;
    audit(&stage)
}

pub fn audit(stage: &Stage) -> Result<(), String> {
    let output = stage.bursar(&["audit"]);
    let text = String::from_utf8_lossy(&output.stdout).into_owned() + &String::from_utf8_lossy(&output.stderr);
    if output.status.success() { Ok(()) } else { Err(text) }
}

#[test]
fn e16_u_5_redis_is_emptied_and_audited() {
    for run in crate::runs(3) {
        empty(&format!("e16{run}"), &[]).expect("it is rebuilt");
    }
}

#[test]
fn e16_control_run_fails() {
    let seen = empty("e16-off", &FENCES);
    println!("E16 without the fences: {seen:?}");
    assert!(seen.is_err(), "nothing is wrong: it is not tested");
}

/// Something that is spoilt, and put right again.
struct Planted {
    /// The kind of drift that must be told.
    kind: &'static str,
    spoil: Vec<Vec<u8>>,
    mend: Vec<Vec<u8>>,
}

fn words(words: &[&str]) -> Vec<Vec<u8>> {
    words.iter().map(|word| word.as_bytes().to_vec()).collect()
}

fn ask<T: redis::FromRedisValue>(redis: &mut redis::Connection, words: &[Vec<u8>]) -> T {
    let command = std::str::from_utf8(&words[0]).expect("a command is text");
    redis::cmd(command).arg(&words[1..]).query(redis).expect("Redis takes it")
}

/// Removes a field of a hash, and puts it back.
fn without_field(redis: &mut redis::Connection, kind: &'static str, key: &str, field: &str) -> Planted {
    let value: Vec<u8> = ask(redis, &words(&["HGET", key, field]));
    let mut mend = words(&["HSET", key, field]);
    mend.push(value);
    Planted { kind, spoil: words(&["HDEL", key, field]), mend }
}

/// Removes a member of a sorted set, and puts it back.
fn without_member(redis: &mut redis::Connection, kind: &'static str, key: &str, member: &str) -> Planted {
    let score: String = ask(redis, &words(&["ZSCORE", key, member]));
    Planted { kind, spoil: words(&["ZREM", key, member]), mend: words(&["ZADD", key, &score, member]) }
}

/// Moves a key away, and back.
fn without_key(kind: &'static str, key: &str) -> Planted {
    Planted { kind, spoil: words(&["RENAME", key, "spare"]), mend: words(&["RENAME", "spare", key]) }
}

/// An error planted in each kind of state is found.
#[test]
fn e16_the_audit_finds_what_is_planted() {
    let stage = Stage::new("e16-planted");
    let member = stage.run();
    let card = json!({ "organization_id": "org-1", "actor": "test", "set_rate_card": {
        "default_prices": { "input_micro": 1_000_000, "output_micro": 0 } } });
    stage.send_control("org-1", "card", card);
    // Nothing is due while this runs: what is due already waits in the topic, and the index has no entry of it.
    let load = Load::new(700).with_grants_of(HOUR_MS);
    load.say_limits(&stage);
    load.send(&stage, 0, 700);
    load.settle(&stage, SETTLES_WITHIN).expect("all is counted");
    // Progress is written a moment after it is settled.
    std::thread::sleep(Duration::from_secs(2));
    audit(&stage).expect("nothing drifts");
    member.terminate();
    let mut redis = stage.redis();
    let name = &stage.name;
    let of_org = |what: &str| format!("{name}:{{org-1}}:{what}");
    let (account, progress) = (of_org("account"), format!("{name}:{{p0}}:progress"));
    let keys = |redis: &mut redis::Connection, pattern: &str| -> Vec<String> { ask(redis, &words(&["KEYS", pattern])) };
    let ids = keys(&mut redis, &of_org("ids:*")).remove(0);
    let with_org = |key: &String| {
        let members: Vec<String> = ask(&mut stage.redis(), &words(&["ZRANGE", key, "0", "-1"]));
        members.contains(&"org-1".to_owned())
    };
    let due = keys(&mut redis, &format!("{name}:*:due")).into_iter().find(with_org).expect("its period ends");
    let row: Vec<u8> = ask(&mut redis, &words(&["HGET", &account, "ws:ws"]));
    let mut other_row = words(&["HSET", &account, "ws:ws"]);
    other_row.push(ask(&mut redis, &words(&["HGET", &account, "agent:ws/even"])));
    let mut own_row = words(&["HSET", &account, "ws:ws"]);
    own_row.push(row);
    let field = format!("{}/0", stage.topic("usage"));
    let applied: String = ask(&mut redis, &words(&["HGET", &progress, &field]));
    let ahead = format!("999999{applied}");
    let paused = of_org("paused");
    let planted = [
        Planted { kind: "workspaces", spoil: other_row, mend: own_row },
        without_field(&mut redis, "users", &account, "user:user"),
        without_field(&mut redis, "prices", &account, "settings"),
        without_key("organizations", &account),
        without_key("ids", &ids),
        without_field(&mut redis, "pauses", &paused, "org"),
        Planted {
            kind: "pauses",
            spoil: words(&["HSET", &paused, "ws:ws", "{}"]),
            mend: words(&["HDEL", &paused, "ws:ws"]),
        },
        without_member(&mut redis, "order", &of_org("ends"), "org"),
        without_member(&mut redis, "due", &due, "org-1"),
        Planted {
            kind: "order",
            spoil: words(&["HSET", &of_org("outbox"), "99", "?"]),
            mend: words(&["HDEL", &of_org("outbox"), "99"]),
        },
        Planted {
            kind: "progress",
            spoil: words(&["HSET", &progress, &field, &ahead]),
            mend: words(&["HSET", &progress, &field, &applied]),
        },
    ];
    for Planted { kind, spoil, mend } in planted {
        let _: redis::Value = ask(&mut redis, &spoil);
        let found = audit(&stage).expect_err("what is planted is found");
        let told = found.lines().find(|line| line.starts_with(&format!("{kind}: ")));
        println!("E16 planted: {}", told.unwrap_or_else(|| panic!("{kind} is not told of: {found}")));
        let _: redis::Value = ask(&mut redis, &mend);
        audit(&stage).expect("mended");
    }
}

/// `bursar rebuild` refuses while members run; then it empties, and everything is counted anew.
#[test]
fn c8_a_rebuild_from_nothing() {
    let stage = Stage::new("c8");
    let member = stage.run();
    let load = Load::new(7_000);
    load.say_limits(&stage);
    load.send(&stage, 0, 7_000);
    load.settle(&stage, SETTLES_WITHIN).expect("all is counted");
    let refused = stage.bursar(&["rebuild", "--yes"]);
    assert!(String::from_utf8_lossy(&refused.stderr).contains("stop them first"), "{refused:?}");
    member.terminate();
    wait_until("the group is empty", || stage.bursar(&["rebuild"]).status.success());
    let said = stage.say(&["rebuild", "--yes", "--no-watch"]);
    assert!(said.contains("emptied"), "{said}");
    let _member = stage.run();
    load.settle(&stage, SETTLES_WITHIN).expect("all is counted anew");
    audit(&stage).expect("nothing drifts");
}
