//! What takes too long for every change: control runs of the longer tests, and an hour of faults one after the other.
//! `make soak` runs them.

use std::time::{Duration, Instant};

use bursar::faults::Defence;
use rand::{Rng, SeedableRng, rngs::StdRng};

use crate::{
    dependencies::enlarge,
    load::Load,
    members::{Protocol, kill_publishers, restarts},
    nodes::Node,
    proxy::Proxy,
    support::{Member, Servers, Stage, wait_until},
};

#[test]
#[ignore = "make soak"]
fn e8_control_run_fails() {
    restarts("e8-off", Protocol::Classic, Some(Defence::Ids), Duration::from_secs(20))
        .expect_err("without ids all is right: not tested");
}

#[test]
#[ignore = "make soak"]
fn e11_control_run_fails() {
    assert!(kill_publishers("e11-off", Some(Defence::Outbox)) > 0, "without the outbox all is told: not tested");
}

#[test]
#[ignore = "make soak"]
fn e12_control_run_fails() {
    enlarge("e12-off", Some(Defence::Ids)).expect_err("without ids resends do not count: not tested");
}

/// E3, while a backlog is worked off.
#[test]
#[ignore = "make soak"]
fn e3_u_5_a_stale_replica_takes_over_during_catch_up() {
    for run in crate::runs(20) {
        let (read, took) = fail_over_in_catch_up(&format!("e3-backlog{run}"));
        println!("E3 failed over when {read} of {BACKLOG} were read, settled in {} ms", took.as_millis());
    }
}

const BACKLOG: i64 = 2_000_000;

/// Returns how many events were read when the replica took over, and after how long everything was counted.
fn fail_over_in_catch_up(name: &str) -> (u64, Duration) {
    Servers::shared();
    let primary = Node::primary();
    let link = Proxy::to(&primary.address());
    let replica = Node::replica_of(&link.address);
    let proxy = Proxy::to(&primary.address());
    let mut stage = Stage::new(name);
    stage.use_redis(&format!("redis://{}", proxy.address));
    let load = Load::new(BACKLOG);
    let member = stage.run();
    load.say_limits(&stage);
    member.terminate();
    load.send(&stage, 0, BACKLOG);
    let member = stage.launch();
    wait_until("a quarter is read", || member.metric("bursar_consumed_total") > 500_000);
    link.cut();
    std::thread::sleep(Duration::from_secs(1));
    replica.command(&["REPLICAOF", "NO", "ONE"]);
    proxy.lead_to(&replica.address());
    let read = member.metric("bursar_consumed_total");
    let took = load.settle(&stage, Duration::from_secs(180)).expect("nothing is lost");
    assert!(member.metric("bursar_rewinds_total") >= 1, "the failover was not noticed");
    (read, took)
}

/// Events of each second.
const EVENTS_PER_S: i64 = 100;

/// What breaks.
const FAULTS: [&str; 10] = [
    "a member is killed",
    "a member is stopped for 8 s",
    "a member ends in good order",
    "Redis is killed and comes back",
    "a stale replica takes over",
    "Redis is out of reach for 5 s",
    "replies are swallowed",
    "functions are flushed",
    "Redis is emptied",
    "Kafka is killed and comes back",
];

/// One deployment, and what can be broken of it.
struct Theatre {
    servers: Servers,
    stage: Stage,
    members: Vec<Member>,
    primary: Node,
    proxy: Proxy,
    random: StdRng,
}

impl Theatre {
    fn break_something(&mut self) {
        let fault = self.random.random_range(0..FAULTS.len());
        println!("soak: {}", FAULTS[fault]);
        match fault {
            0 => self.members.remove(0).kill(),
            1 => {
                self.members[0].signal("STOP");
                std::thread::sleep(Duration::from_secs(8));
                self.members[0].signal("CONT");
            }
            2 => drop(self.members.remove(0).terminate()),
            3 => {
                self.primary.kill();
                self.primary.start_again();
            }
            4 => self.fail_over(),
            5 => {
                self.proxy.cut_for(Duration::from_secs(5));
            }
            6 => {
                self.proxy.swallow_every(2);
                std::thread::sleep(Duration::from_secs(5));
                self.proxy.swallow_every(0);
            }
            7 => drop(self.primary.command(&["FUNCTION", "FLUSH"])),
            8 => drop(self.primary.command(&["FLUSHALL"])),
            _ => {
                self.servers.kill("kafka");
                std::thread::sleep(Duration::from_secs(5));
                self.servers.start_again(&[]);
            }
        }
        while self.members.len() < 2 {
            self.members.push(self.stage.launch());
        }
        for member in &mut self.members {
            assert!(member.lives(), "a member ended by itself: {}", member.log());
        }
    }

    /// A replica that has not seen the last second takes over.
    fn fail_over(&mut self) {
        let link = Proxy::to(&self.primary.address());
        let mut replica = Node::replica_of(&link.address);
        std::thread::sleep(Duration::from_secs(2));
        link.cut();
        std::thread::sleep(Duration::from_secs(1));
        replica.promote();
        self.proxy.lead_to(&replica.address());
        self.primary = replica;
    }
}

/// A random fault every 30 to 60 s, then quiet, then the audit: nothing drifts.
#[test]
#[ignore = "make soak"]
fn an_hour_of_faults() {
    let minutes: u64 = std::env::var("SOAK_MINUTES").map_or(60, |minutes| minutes.parse().expect("a number"));
    let seed: u64 = std::env::var("SOAK_SEED").map_or(1, |seed| seed.parse().expect("a number"));
    let servers = Servers::start(&[]);
    let primary = Node::primary();
    let proxy = Proxy::to(&primary.address());
    let mut stage = Stage::on(&servers, "soak");
    stage.use_redis(&format!("redis://{}", proxy.address));
    stage.expire_soon();
    let members = vec![stage.run(), stage.launch()];
    let seconds = i64::try_from(minutes * 60).expect("some hours at most");
    let load = &Load::new(seconds * EVENTS_PER_S);
    load.say_limits(&stage);
    let sending = &Stage::on(&servers, "soak");
    let mut theatre = Theatre { servers, stage, members, primary, proxy, random: StdRng::seed_from_u64(seed) };
    let mut faults = 0;
    std::thread::scope(|scope| {
        let began = Instant::now();
        let sender = scope.spawn(move || {
            for second in 0..seconds {
                load.send(sending, second * EVENTS_PER_S, (second + 1) * EVENTS_PER_S);
                let next = began + Duration::from_secs(second as u64 + 1);
                std::thread::sleep(next.saturating_duration_since(Instant::now()));
            }
        });
        while !sender.is_finished() {
            let pause = theatre.random.random_range(30..=60);
            std::thread::sleep(Duration::from_secs(pause));
            theatre.break_something();
            faults += 1;
        }
    });
    let took = load.settle(&theatre.stage, Duration::from_secs(120)).expect("exact");
    crate::audit::audit(&theatre.stage).expect("nothing drifts");
    println!("soak: {minutes} minutes, seed {seed}, {faults} faults: settled in {} ms, drift 0", took.as_millis());
}
