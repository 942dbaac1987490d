//! E3 to E6: Redis loses acknowledged writes, replies, or its functions.

use std::{sync::Mutex, time::Duration};

use bursar::faults::Defence;

use crate::{
    load::Load,
    nodes::Node,
    proxy::Proxy,
    support::{Member, Servers, Stage, wait_until},
};

const EVENTS: i64 = 20_000;
/// Both look whether Redis is still the one that positions were read from: one when progress is written, the other when
/// accounts are loaded.
pub const FENCES: [Defence; 2] = [Defence::Fence, Defence::LoadFenced];
/// Invariant U-5.
const SETTLES_WITHIN: Duration = Duration::from_secs(30);

/// A stage on the shared Kafka whose Redis is reached by a proxy.
fn stage_behind(proxy: &Proxy, name: &str, off: &[Defence]) -> Stage {
    let mut stage = Stage::new(name);
    stage.use_redis(&format!("redis://{}", proxy.address));
    stage.set("WORK__BATCH_RECORDS", "200");
    // A second worker would join under load, and begin anew by that.
    stage.set("WORK__WORKERS", "1");
    stage.switch_off(off.iter().copied());
    stage
}

/// A primary, a proxy to it, and a member that reaches it by the proxy.
fn behind_proxy(name: &str, off: &[Defence]) -> (Node, Proxy, Stage, Member) {
    Servers::shared();
    let primary = Node::primary();
    let proxy = Proxy::to(&primary.address());
    let stage = stage_behind(&proxy, name, off);
    let member = stage.run();
    (primary, proxy, stage, member)
}

/// Sends the load over 8 s, and breaks something after 4.
fn under_load(stage: &Stage, load: &Load, break_it: impl FnOnce()) {
    load.say_limits(stage);
    std::thread::scope(|scope| {
        scope.spawn(|| load.send_over(stage, Duration::from_secs(8)));
        std::thread::sleep(Duration::from_secs(4));
        break_it();
    });
}

/// The link to the replica is cut; a second later the stale replica takes over.
fn fail_over(name: &str, off: &[Defence], within: Duration) -> Result<Duration, String> {
    Servers::shared();
    let mut primary = Node::primary();
    let link = Proxy::to(&primary.address());
    let replica = Node::replica_of(&link.address);
    let proxy = Proxy::to(&primary.address());
    let stage = stage_behind(&proxy, name, off);
    let member = stage.run();
    let load = Load::new(EVENTS);
    under_load(&stage, &load, || {
        link.cut();
        std::thread::sleep(Duration::from_secs(1));
        replica.command(&["REPLICAOF", "NO", "ONE"]);
        proxy.lead_to(&replica.address());
        primary.kill();
    });
    let settled = load.settle(&stage, within);
    if off.is_empty() {
        assert!(member.metric("bursar_rewinds_total") >= 1, "the failover was not noticed");
    }
    settled
}

#[test]
fn e3_u_5_a_stale_replica_takes_over() {
    for run in crate::runs(20) {
        let took = fail_over(&format!("e3{run}"), &[], SETTLES_WITHIN).expect("nothing is lost");
        println!("E3 settled in {} ms", took.as_millis());
    }
}

#[test]
fn e3_control_run_fails() {
    let settled = fail_over("e3-off", &FENCES, Duration::from_secs(10));
    println!("E3 without the fence: {settled:?}");
    assert!(settled.is_err(), "without the fence nothing is lost: it is not tested");
}

/// Redis comes back with the end of its log cut off.
fn cut_log(name: &str, off: &[Defence], within: Duration) -> Result<Duration, String> {
    let (mut primary, _proxy, stage, _member) = behind_proxy(name, off);
    let load = Load::new(EVENTS);
    under_load(&stage, &load, || {
        let log = newest_log(&primary);
        let kept = std::fs::metadata(&log).expect("the log is there").len();
        std::thread::sleep(Duration::from_secs(1));
        primary.kill();
        let file = std::fs::OpenOptions::new().write(true).open(&log).expect("the log can be cut");
        file.set_len(kept).expect("the log can be cut");
        primary.start_again();
    });
    load.settle(&stage, within)
}

fn newest_log(node: &Node) -> std::path::PathBuf {
    let entries = std::fs::read_dir(node.dir.join("appendonlydir")).expect("the log has a directory");
    let mut logs: Vec<_> = entries.flatten().map(|entry| entry.path()).collect();
    logs.retain(|path| path.to_string_lossy().ends_with(".incr.aof"));
    logs.sort();
    logs.pop().expect("there is a log")
}

#[test]
fn e4_u_5_the_end_of_the_log_is_cut_off() {
    for run in crate::runs(20) {
        let took = cut_log(&format!("e4{run}"), &[], SETTLES_WITHIN).expect("nothing is lost");
        println!("E4 settled in {} ms", took.as_millis());
    }
}

#[test]
fn e4_control_run_fails() {
    let settled = cut_log("e4-off", &FENCES, Duration::from_secs(10));
    println!("E4 without the fence: {settled:?}");
    assert!(settled.is_err(), "without the fence nothing is lost: it is not tested");
}

/// An older snapshot is restored.
fn restore(name: &str, off: &[Defence], within: Duration) -> Result<Duration, String> {
    Servers::shared();
    let mut primary = Node::start(&["--save", ""]);
    let proxy = Proxy::to(&primary.address());
    let stage = stage_behind(&proxy, name, off);
    let _member = stage.run();
    let load = Load::new(EVENTS);
    let older_by = std::env::var("SOAK").map_or(4, |_| 60);
    load.say_limits(&stage);
    std::thread::scope(|scope| {
        scope.spawn(|| load.send_over(&stage, Duration::from_secs(older_by + 4)));
        std::thread::sleep(Duration::from_secs(2));
        primary.command(&["SAVE"]);
        std::thread::sleep(Duration::from_secs(older_by));
        primary.kill();
        primary.start_again();
    });
    load.settle(&stage, within)
}

/// Restores at the same time: they mostly wait until the snapshot is old.
const RESTORES_AT_ONCE: usize = 5;

#[test]
fn e4_u_5_an_older_snapshot_is_restored() {
    Servers::shared();
    let runs = Mutex::new(crate::runs(20).collect::<Vec<_>>());
    std::thread::scope(|scope| {
        for _ in 0..RESTORES_AT_ONCE {
            scope.spawn(|| {
                let next = || runs.lock().expect("nobody panics with the list").pop();
                while let Some(run) = next() {
                    let took = restore(&format!("e4-rdb{run}"), &[], SETTLES_WITHIN).expect("nothing is lost");
                    println!("E4 with a snapshot settled in {} ms", took.as_millis());
                }
            });
        }
    });
}

#[test]
fn e4_an_older_snapshot_control_run_fails() {
    restore("e4-rdb-off", &FENCES, Duration::from_secs(10)).expect_err("without the fence nothing is lost");
}

/// A connection becomes silent under load, as when a machine loses its power.
fn silence(name: &str, off: &[Defence], within: Duration) -> Result<Duration, String> {
    let (_primary, proxy, stage, _member) = behind_proxy(name, off);
    let load = Load::new(EVENTS);
    under_load(&stage, &load, || proxy.silence());
    load.settle(&stage, within)
}

#[test]
fn u_5_a_connection_that_is_silent_is_replaced() {
    let took = silence("silent", &[], SETTLES_WITHIN).expect("nothing is lost");
    println!("a silent connection: settled in {} ms", took.as_millis());
    silence("silent-off", &[Defence::Replace], Duration::from_secs(15)).expect_err("without it nothing is wrong");
}

/// Replies of calls that were done are swallowed.
fn swallow(name: &str, off: &[Defence], within: Duration) -> Result<Duration, String> {
    let (_primary, proxy, stage, _member) = behind_proxy(name, off);
    let load = Load::new(EVENTS);
    load.say_limits(&stage);
    proxy.swallow_every(2);
    let mut sent = 0;
    while sent < EVENTS {
        // As long as there is something to commit, replies are lost.
        let piece = if proxy.swallowed_calls() < 1_000 { 100 } else { EVENTS };
        load.send(&stage, sent, (sent + piece).min(EVENTS));
        sent += piece;
        std::thread::sleep(Duration::from_millis(150));
    }
    proxy.swallow_every(0);
    println!("{name}: replies of {} calls were swallowed", proxy.swallowed_calls());
    load.settle(&stage, within)
}

#[test]
fn e5_u_1_replies_of_calls_that_were_done_are_lost() {
    for run in crate::runs(5) {
        let took = swallow(&format!("e5{run}"), &[], SETTLES_WITHIN).expect("nothing is counted twice");
        println!("E5 settled in {} ms", took.as_millis());
    }
}

#[test]
fn e5_control_run_fails() {
    let settled = swallow("e5-off", &[Defence::Ids], Duration::from_secs(10));
    println!("E5 without ids: {settled:?}");
    assert!(settled.is_err(), "without ids nothing is counted twice: it is not tested");
}

/// Flushes the functions under load. Returns how often, and after how long everything was counted.
fn flush_under_load(primary: &Node, stage: &Stage) -> (u64, Duration) {
    let load = Load::new(EVENTS);
    let flushes = std::env::var("SOAK").map_or(5, |_| 200);
    under_load(stage, &load, || {
        for _ in 0..flushes {
            primary.command(&["FUNCTION", "FLUSH"]);
            std::thread::sleep(Duration::from_millis(500));
        }
    });
    (flushes, load.settle(stage, SETTLES_WITHIN).expect("every call succeeds"))
}

/// The functions are flushed under load, and another release's library stands beside them.
#[test]
fn e6_functions_are_loaded_again() {
    let (primary, _proxy, stage, member) = behind_proxy("e6", &[]);
    let other = "#!lua name=bursar_0\nredis.register_function('bursar_commit_0', function() return 1 end)";
    primary.command(&["FUNCTION", "LOAD", other]);
    let (flushes, took) = flush_under_load(&primary, &stage);
    let loads = member.metric("bursar_function_loads_total");
    println!("E6 settled in {} ms, functions loaded {loads} times after {flushes} flushes", took.as_millis());
    // Each flush is met by the calls that are under way, which load once each.
    assert!((1..=flushes * 8).contains(&loads), "{loads} loads");
}

/// Two releases share one Redis: a proxy gives the functions of one of them the number of another library. Both work, and
/// a flush takes the functions from both.
#[test]
fn e6_two_releases_side_by_side() {
    Servers::shared();
    let primary = Node::primary();
    let library = include_str!("../../src/ledger/bursar.lua").lines().next().and_then(|line| line.split('=').nth(1));
    let number = library.and_then(|name| name.strip_prefix("bursar_")?.parse().ok()).expect("a library has a number");
    let other_number: u32 = if number == 1 { 2 } else { number - 1 };
    let names = ["name=bursar_", "bursar_load_", "bursar_commit_", "bursar_begin_", "bursar_advance_"];
    let names = names.into_iter().chain(["bursar_forget_due_", "bursar_lease_"]);
    let renamed: Vec<_> = names.map(|name| (format!("{name}{number}"), format!("{name}{other_number}"))).collect();
    let (one, other) = (Proxy::to(&primary.address()), Proxy::renaming(&primary.address(), &renamed));
    let stage = stage_behind(&one, "e6-two", &[]);
    let mut older = stage.clone();
    older.use_redis(&format!("redis://{}", other.address));
    let members = [stage.run(), older.launch()];
    wait_until("both have partitions", || {
        members.iter().all(|member| member.metric("bursar_partitions_assigned") == 4)
    });
    let (flushes, took) = flush_under_load(&primary, &stage);
    let loads = members.each_ref().map(|member| member.metric("bursar_function_loads_total"));
    println!("E6 two releases settled in {} ms, {loads:?} loads after {flushes} flushes", took.as_millis());
    let libraries = format!("{:?}", primary.command(&["FUNCTION", "LIST"]));
    let has = |number| libraries.contains(&format!("bursar_commit_{number}"));
    assert!(has(number) && has(other_number), "{libraries}");
    assert!(loads.iter().all(|loads| (1..=flushes * 8).contains(loads)), "{loads:?}");
}

/// Without loading them again, the first call after a flush cannot be made.
#[test]
fn e6_control_run_fails() {
    let (primary, _proxy, stage, mut member) = behind_proxy("e6-off", &[Defence::Functions]);
    let load = Load::new(EVENTS);
    load.say_limits(&stage);
    primary.command(&["FUNCTION", "FLUSH"]);
    load.send(&stage, 0, 1_000);
    member.wait();
}

/// A node takes over that has the data and not the functions.
#[test]
fn e6_a_node_without_the_functions_takes_over() {
    for run in crate::runs(10) {
        Servers::shared();
        let mut primary = Node::primary();
        let replica = Node::replica_of(&primary.address().parse().expect("an address"));
        let proxy = Proxy::to(&primary.address());
        let stage = stage_behind(&proxy, &format!("e6-node{run}"), &[]);
        let member = stage.run();
        let load = Load::new(EVENTS);
        under_load(&stage, &load, || {
            replica.command(&["REPLICAOF", "NO", "ONE"]);
            replica.command(&["FUNCTION", "FLUSH"]);
            proxy.lead_to(&replica.address());
            primary.kill();
        });
        let took = load.settle(&stage, SETTLES_WITHIN).expect("every call succeeds");
        let loads = member.metric("bursar_function_loads_total");
        println!("E6 with a bare node settled in {} ms, functions loaded {loads} times", took.as_millis());
        assert!((1..=8).contains(&loads), "{loads} loads");
    }
}
