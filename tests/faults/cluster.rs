//! E7: a Redis Cluster whose slots move, whose primaries fail over, and that gets another node, under load.

use std::{
    process::Command,
    sync::atomic::{AtomicBool, Ordering},
    time::{Duration, Instant},
};

use bursar::faults::Defence;

use crate::{
    load::Load,
    nodes::Node,
    support::{Member, Servers, Stage, wait_until},
};

const EVENTS: i64 = 20_000;
const SETTLES_WITHIN: Duration = Duration::from_secs(40);

fn node() -> Node {
    let options = ["--cluster-enabled", "yes", "--cluster-node-timeout", "2000", "--appendonly", "yes", "--save", ""];
    Node::start(&options)
}

/// Runs `redis-cli --cluster` with these words.
fn cli(words: &[&str]) -> String {
    let output = Command::new("redis-cli").arg("--cluster").args(words).output().expect("redis-cli runs");
    let said = String::from_utf8_lossy(&output.stdout).into_owned();
    assert!(output.status.success(), "redis-cli --cluster {words:?}: {said}");
    said
}

fn id_of(node: &Node) -> String {
    redis::from_redis_value(node.command(&["CLUSTER", "MYID"])).expect("a node has an id")
}

fn is_whole(nodes: &[Node]) -> bool {
    nodes.iter().all(|node| node.info("cluster", "cluster_enabled").is_some())
        && nodes.iter().all(|node| {
            let info: String = redis::from_redis_value(node.command(&["CLUSTER", "INFO"])).unwrap_or_default();
            info.contains("cluster_state:ok")
        })
}

/// A cluster of three primaries with a replica each.
fn three_and_three() -> Vec<Node> {
    let nodes: Vec<Node> = (0..6).map(|_| node()).collect();
    let addresses: Vec<String> = nodes.iter().map(Node::address).collect();
    let mut create = vec!["create"];
    create.extend(addresses.iter().map(String::as_str));
    create.extend(["--cluster-replicas", "1", "--cluster-yes"]);
    cli(&create);
    wait_until("the cluster is whole", || is_whole(&nodes));
    nodes
}

fn check(node: &Node) -> bool {
    let check = Command::new("redis-cli").args(["--cluster", "check", &node.address()]).output();
    check.is_ok_and(|output| output.status.success())
}

/// Moves slots with their accounts from the first primary to the second.
fn move_slots(nodes: &[Node]) {
    let (first, second, at) = (id_of(&nodes[0]), id_of(&nodes[1]), nodes[0].address());
    let (from, to) = (["--cluster-from", &first], ["--cluster-to", &second]);
    cli(&[&["reshard", &at][..], &from, &to, &["--cluster-slots", "1500", "--cluster-yes"]].concat());
}

/// The replicas take over from two primaries, one after the other.
fn fail_over(nodes: &[Node]) {
    let is_replica = |node: &&Node| node.info("replication", "role").as_deref() == Some("slave");
    for replica in nodes.iter().filter(is_replica).take(2) {
        replica.command(&["CLUSTER", "FAILOVER"]);
        std::thread::sleep(Duration::from_secs(2));
    }
    wait_until("the cluster is whole", || is_whole(nodes));
}

/// A fourth primary gets its share of the slots.
fn add(newcomer: &Node, nodes: &[Node]) {
    cli(&["add-node", &newcomer.address(), &nodes[0].address()]);
    wait_until("all know the newcomer", || check(newcomer) && nodes.iter().all(check));
    std::thread::sleep(Duration::from_secs(2));
    cli(&["rebalance", &nodes[0].address(), "--cluster-use-empty-masters"]);
}

/// The longest time in which nothing was counted, while `break_it` runs under load.
fn longest_stall(member: &Member, break_it: impl FnOnce()) -> Duration {
    let is_over = AtomicBool::new(false);
    std::thread::scope(|scope| {
        let watch = scope.spawn(|| {
            let (mut counted, mut since, mut longest) = (0, Instant::now(), Duration::ZERO);
            while !is_over.load(Ordering::SeqCst) {
                let now = member.metric("bursar_applied_total");
                if now != counted {
                    longest = longest.max(since.elapsed());
                    (counted, since) = (now, Instant::now());
                }
                std::thread::sleep(Duration::from_millis(50));
            }
            longest
        });
        break_it();
        is_over.store(true, Ordering::SeqCst);
        watch.join().expect("the watch does not panic")
    })
}

fn change(name: &str, off: Option<Defence>, within: Duration) -> Result<Duration, String> {
    Servers::shared();
    let (nodes, newcomer) = (three_and_three(), node());
    let mut stage = Stage::new(name);
    stage.use_redis(&format!("redis://{}", nodes[0].address()));
    stage.set("WORK__BATCH_RECORDS", "200");
    if let Some(off) = off {
        stage.env("BURSAR_FAULTS_OFF", &format!("{off:?}"));
    }
    let member = stage.run();
    let load = Load::new(EVENTS);
    load.say_limits(&stage);
    let stall = std::thread::scope(|scope| {
        scope.spawn(|| load.send_over(&stage, Duration::from_secs(25)));
        longest_stall(&member, || {
            std::thread::sleep(Duration::from_secs(1));
            move_slots(&nodes);
            // A moved slot that no replica has yet would be lost with its primary.
            std::thread::sleep(Duration::from_secs(3));
            fail_over(&nodes);
            add(&newcomer, &nodes);
        })
    });
    let settled = load.settle(&stage, within);
    let (rewinds, log) = (member.metric("bursar_rewinds_total"), member.log());
    println!("{name}: longest stall {} ms (sent every 500 ms), {rewinds} rewinds", stall.as_millis());
    if off.is_none() {
        assert!(stall < Duration::from_secs(10), "nothing was counted for {stall:?}\n{log}");
        assert!(!log.contains("waiting for a dependency"), "an error came to the surface\n{log}");
    }
    settled
}

#[test]
fn e7_u_5_slots_move_and_primaries_fail_over() {
    for run in crate::runs(10) {
        let took =
            change(&format!("e7{run}"), None, SETTLES_WITHIN).expect("nothing is lost, nothing is counted twice");
        println!("E7 settled in {} ms", took.as_millis());
    }
}

#[test]
fn e7_control_run_fails() {
    let settled = change("e7-off", Some(Defence::Ids), Duration::from_secs(10));
    println!("E7 without ids: {settled:?}");
    assert!(settled.is_err(), "without ids nothing is counted twice: it is not tested");
}
