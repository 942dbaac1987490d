//! E10 and E15: what the log does not take, does not give, does not hold any more, or holds anew; and a Redis without
//! memory.

use std::time::Duration;

use bursar::faults::Defence;
use rdkafka::{
    Offset, TopicPartitionList,
    admin::{AdminOptions, NewTopic, TopicReplication},
};

use crate::{
    dependencies::{admin, block_on},
    load::Load,
    nodes::Node,
    support::{Member, Servers, Stage, wait_until},
};

const EVENTS: i64 = 20_000;
const SETTLES_WITHIN: Duration = Duration::from_secs(30);

/// The topic of dead letters is away for a while: Bursar waits, says so, and skips none.
#[test]
fn e10_u_6_the_topic_of_dead_letters_is_away() {
    for run in crate::runs(5) {
        let servers = Servers::shared();
        let stage = Stage::new(&format!("e10{run}"));
        let member = stage.run();
        let load = Load::new(EVENTS);
        load.say_limits(&stage);
        let (topic, options) = (stage.topic("dead_letters"), AdminOptions::new());
        block_on(admin(servers).delete_topics(&[&topic], &options)).expect("Kafka takes it");
        load.send(&stage, 0, EVENTS);
        wait_until("it says so", || member.get("/readyz").is_some_and(|page| page.contains("missing topics")));
        std::thread::sleep(Duration::from_secs(5));
        let again = NewTopic::new(&topic, 4, TopicReplication::Fixed(1));
        block_on(admin(servers).create_topics(&[again], &options)).expect("Kafka takes it");
        let took = load.settle(&stage, Duration::from_secs(60)).expect("none is skipped");
        println!("E10 settled in {} ms after the topic was there again", took.as_millis());
    }
}

/// The client does not fetch a partition that is assigned: it is noticed, and the partition assigned anew.
fn stick(topic: &str, off: Option<Defence>, within: Duration) -> Result<Duration, String> {
    let mut stage = Stage::new(&format!("sticks-{topic}{}", if off.is_some() { "-off" } else { "" }));
    stage.switch_off(off);
    stage.set("WORK__WORKERS", "1");
    stage.run().terminate();
    let load = Load::new(EVENTS);
    load.say_limits(&stage);
    load.send(&stage, 0, EVENTS);
    stage.env("BURSAR_FAULTS_STICKS", &format!("{}/0", stage.topic(topic)));
    let member = stage.run();
    let took = load.settle(&stage, within).map_err(|why| format!("{why}\n{}", member.log()))?;
    assert_eq!(member.metric("bursar_stuck_partitions_total"), 1, "it was not noticed");
    Ok(took)
}

#[test]
fn u_5_a_partition_that_is_not_fetched_is_assigned_anew() {
    for topic in ["usage", "control"] {
        let took = stick(topic, None, SETTLES_WITHIN).expect("all is read");
        println!("a stuck partition of {topic}: settled in {} ms", took.as_millis());
    }
}

#[test]
fn u_5_a_stuck_partition_control_run_fails() {
    stick("usage", Some(Defence::Silence), SETTLES_WITHIN).expect_err("nobody notices: not tested");
}

/// A client never finds its group: it is said, and a new one joins.
fn lost(protocol: &str) {
    let mut stage = Stage::new(&format!("lost-{protocol}"));
    stage.set("WORK__WORKERS", "1");
    stage.set("KAFKA__GROUP_PROTOCOL", protocol);
    stage.env("BURSAR_FAULTS_STICKS", "group/0");
    let member = stage.launch();
    let shows = |what: &str| member.get("/readyz").is_some_and(|page| page.contains(what));
    wait_until("it says so", || shows("looks for its consumer group"));
    wait_until("it is in", || shows("ready") && !shows("missing"));
    assert_eq!(member.metric("bursar_joins_anew_total"), 1, "once is enough");
    let load = Load::new(EVENTS);
    load.say_limits(&stage);
    load.send(&stage, 0, EVENTS);
    load.settle(&stage, SETTLES_WITHIN).expect("all is read");
}

#[test]
fn u_5_a_client_that_does_not_find_its_group_is_replaced() {
    lost("classic");
}

#[test]
fn u_5_a_client_that_does_not_find_its_group_is_replaced_by_the_brokers_protocol() {
    lost("consumer");
}

/// A member whose Redis has no memory left under load, once it is told of.
struct WithoutMemory {
    redis: Node,
    stage: Stage,
    member: Member,
    load: Load,
}

fn without_memory(name: &str, off: Option<Defence>) -> WithoutMemory {
    Servers::shared();
    let redis = Node::primary();
    let mut stage = Stage::new(name);
    stage.use_redis(&format!("redis://{}", redis.address()));
    stage.switch_off(off);
    let member = stage.run();
    let load = Load::new(EVENTS);
    load.say_limits(&stage);
    load.send(&stage, 0, EVENTS / 2);
    redis.command(&["CONFIG", "SET", "maxmemory", "1"]);
    load.send(&stage, EVENTS / 2, EVENTS);
    WithoutMemory { redis, stage, member, load }
}

/// Redis has no memory left: Bursar waits, says so, and goes on.
#[test]
fn e15_redis_is_out_of_memory() {
    for run in crate::runs(3) {
        let WithoutMemory { redis, stage, mut member, load } = without_memory(&format!("e15{run}"), None);
        wait_until("it says so", || member.get("/readyz").is_some_and(|page| page.contains("missing redis")));
        std::thread::sleep(Duration::from_secs(2));
        assert!(member.lives(), "it waits");
        redis.command(&["CONFIG", "SET", "maxmemory", "0"]);
        let took = load.settle(&stage, SETTLES_WITHIN).expect("nothing is lost");
        println!("E15 settled in {} ms after there was memory again", took.as_millis());
    }
}

/// Without waiting, the first call that cannot write ends the process.
#[test]
fn e15_redis_is_out_of_memory_control_run_fails() {
    let mut without = without_memory("e15-off", Some(Defence::Waits));
    without.member.wait();
    assert!(without.member.log().contains("OOM"), "{}", without.member.log());
}

/// Runs a member again that must stop loudly, or must not with the defence off.
fn stops(stage: &mut Stage, off: Option<Defence>, says: &str) {
    stage.switch_off(off);
    let mut member = stage.launch();
    if off.is_none() {
        member.wait();
        assert!(member.log().contains(says), "{}", member.log());
    } else {
        wait_until("it goes on as if nothing were", || {
            member.get("/readyz").is_some_and(|page| page.starts_with("ready"))
        });
        assert!(member.lives(), "without {off:?} it stops all the same: it is not tested");
    }
}

/// A topic that is deleted and made anew is another topic: stop loudly.
#[test]
fn e15_a_topic_is_made_anew() {
    let servers = Servers::shared();
    for off in [None, Some(Defence::LogBounds)] {
        let mut stage = Stage::new(if off.is_none() { "e15-topic" } else { "e15-topic-off" });
        let member = stage.run();
        let load = Load::new(500);
        load.say_limits(&stage);
        load.send(&stage, 0, 500);
        load.settle(&stage, SETTLES_WITHIN).expect("all is counted");
        member.terminate();
        let usage = stage.topic("usage");
        block_on(async {
            let (admin, options) = (admin(servers), AdminOptions::new());
            admin.delete_topics(&[&usage], &options).await.expect("Kafka takes it");
            tokio::time::sleep(Duration::from_secs(2)).await;
            let again = NewTopic::new(&usage, 4, TopicReplication::Fixed(1));
            let again = again.set("message.timestamp.type", "LogAppendTime");
            admin.create_topics(&[again], &options).await.expect("Kafka takes it");
        });
        stops(&mut stage, off, "made anew");
    }
}

/// Counts, stops, and sends more that nobody counts.
fn leave_behind(stage: &Stage) {
    let member = stage.run();
    let load = Load::new(2_000);
    load.say_limits(stage);
    load.send(stage, 0, 1_000);
    wait_until("the first half is counted", || member.metric("bursar_consumed_total") >= 1_000);
    std::thread::sleep(Duration::from_secs(1));
    member.terminate();
    load.send(stage, 1_000, 2_000);
}

/// Retention removes what was not applied yet.
#[test]
fn e15_retention_overtakes_the_position() {
    let servers = Servers::shared();
    for off in [None, Some(Defence::LogBounds)] {
        let mut stage = Stage::new(if off.is_none() { "e15-retention" } else { "e15-retention-off" });
        leave_behind(&stage);
        let usage = stage.topic("usage");
        let mut upto = TopicPartitionList::new();
        for partition in 0..4 {
            upto.add_partition_offset(&usage, partition, Offset::End).expect("an offset");
        }
        block_on(admin(servers).delete_records(&upto, &AdminOptions::new())).expect("Kafka takes it");
        stops(&mut stage, off, "retention has removed");
    }
}

/// The end of the log is lost with the broker.
#[test]
fn e15_the_log_is_truncated() {
    for off in [None, Some(Defence::LogBounds)] {
        let mut servers = Servers::start(&[]);
        let mut stage = Stage::on(&servers, "e15-truncated");
        let member = stage.run();
        let load = Load::new(2_000);
        load.say_limits(&stage);
        load.send(&stage, 0, 2_000);
        load.settle(&stage, SETTLES_WITHIN).expect("all is counted");
        std::thread::sleep(Duration::from_secs(1));
        member.terminate();
        servers.kill("kafka");
        for partition in 0..4 {
            let log = servers.log_of(&stage.topic("usage"), partition);
            let bytes = std::fs::metadata(&log).expect("the log is there").len();
            let file = std::fs::OpenOptions::new().write(true).open(&log).expect("the log can be cut");
            file.set_len(bytes / 2).expect("the log can be cut");
        }
        servers.start_again(&[]);
        stops(&mut stage, off, "its log was cut");
    }
}
