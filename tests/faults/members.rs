//! E8, E9, E13, E14: members that come and go, stop, wake and end; senders that send again.

use std::{
    collections::{BTreeMap, BTreeSet},
    time::{Duration, Instant},
};

use bursar::{
    clock::Clock,
    contract::{Kind, json::cloud_event},
    domain::time::Timestamp,
    faults::{Defence, Step},
};
use serde_json::json;

use crate::{
    load::Load,
    support::{Member, Servers, Stage, token_event_at, wait_until},
};

const EVENTS: i64 = 20_000;

/// Steps at which a member still writes what another has counted meanwhile.
const WHILE_WRITING: [Step; 5] =
    [Step::Loaded, Step::Decided, Step::FlightWritten, Step::Committed, Step::BeforeProgress];

/// A member stops past its session in the midst of its work, and is woken when another has its partitions.
fn wake(
    name: &str,
    by: Protocol,
    (at, nth): (Step, u64),
    off: Option<Defence>,
    within: Duration,
) -> Result<Duration, String> {
    Servers::shared();
    let mut stage = Stage::new(name);
    stage.set("WORK__BATCH_RECORDS", "50");
    stage.set("WORK__WORKERS", "1");
    by.set(&mut stage);
    stage.switch_off(off);
    let load = Load::new(EVENTS);
    let first = stage.run();
    load.say_limits(&stage);
    first.terminate();
    load.send(&stage, 0, EVENTS);
    stage.env("BURSAR_FAULTS_STOP_AT", &format!("{at:?}:{nth}"));
    let zombie = stage.launch();
    zombie.wait_for_stop();
    stage.without_env("BURSAR_FAULTS_STOP_AT");
    let other = stage.launch();
    // Without ids, what the sleeper had written before its progress counts twice already.
    wait_until("the other has counted everything", || load.lacks(&stage).is_none());
    zombie.signal("CONT");
    // What the sleeper still writes, it writes now.
    std::thread::sleep(Duration::from_secs(3));
    let settled = load.settle(&stage, within);
    drop((zombie, other));
    settled
}

#[test]
fn e9_u_1_a_member_wakes_after_its_session() {
    let times = std::env::var("SOAK").map_or(1, |_| 50);
    for nth in 1..=times {
        let at = WHILE_WRITING[nth as usize % WHILE_WRITING.len()];
        // Some steps are not reached more often by this load.
        let reached = 4 + nth % 10;
        let took = wake(&format!("e9-{nth}"), Protocol::Classic, (at, reached), None, Duration::from_secs(60));
        let took = took.expect("nothing is counted twice, and every pause is right");
        println!("E9 woken at {at:?}:{reached}, settled in {} ms", took.as_millis());
    }
}

#[test]
fn e9_u_1_a_member_wakes_after_its_session_by_the_brokers_protocol() {
    let times = std::env::var("SOAK").map_or(1, |_| 10);
    for nth in 1..=times {
        let at = WHILE_WRITING[nth as usize % WHILE_WRITING.len()];
        let took = wake(&format!("e9-848-{nth}"), Protocol::Consumer, (at, 4 + nth), None, Duration::from_secs(60));
        println!("E9 with KIP-848 settled in {} ms", took.expect("nothing is counted twice").as_millis());
    }
}

#[test]
fn e9_control_run_fails() {
    let off = Some(Defence::Ids);
    let settled = wake("e9-off", Protocol::Classic, (Step::Decided, 5), off, Duration::from_secs(15));
    println!("E9 without ids: {settled:?}");
    assert!(settled.is_err(), "without ids nothing is counted twice: it is not tested");
}

/// A member that is asked to end leaves its group: the next one has its partitions at once, and not when a session has
/// run out, which takes 10 s.
const HANDED_ON_WITHIN: Duration = Duration::from_secs(5);

/// Ends the member under load, and launches the next one. Returns how long the end took, and whether the next one had its
/// partitions in time.
fn hand_on(stage: &Stage, member: Member) -> (Duration, Member, bool) {
    let has_all = |member: &Member| member.metric("bursar_partitions_assigned") == 8;
    wait_until("the member has its partitions", || has_all(&member));
    let took = member.terminate();
    let (next, began) = (stage.launch(), Instant::now());
    while !has_all(&next) && began.elapsed() < HANDED_ON_WITHIN {
        std::thread::sleep(Duration::from_millis(100));
    }
    let in_time = has_all(&next);
    (took, next, in_time)
}

/// SIGTERM under load: an end in good order, each time.
#[test]
fn e14_sigterm_under_load() {
    Servers::shared();
    let mut stage = Stage::new("e14");
    stage.set("WORK__WORKERS", "1");
    let load = Load::new(EVENTS);
    let mut member = Some(stage.run());
    load.say_limits(&stage);
    let times = std::env::var("SOAK").map_or(3, |_| 100);
    let longest = std::thread::scope(|scope| {
        scope.spawn(|| load.send_over(&stage, Duration::from_secs(3 * times)));
        let mut longest = Duration::ZERO;
        for _ in 0..times {
            std::thread::sleep(Duration::from_secs(2));
            let (took, next, in_time) = hand_on(&stage, member.take().expect("one runs"));
            assert!(in_time, "the next member had to wait for its partitions: {}", next.log());
            longest = longest.max(took);
            member = Some(next);
        }
        longest
    });
    let took = load.settle(&stage, Duration::from_secs(30)).unwrap_or_else(|why| {
        let member = member.as_ref().expect("the last one runs");
        panic!("{why}\n{}\n{}", member.log(), member.get("/metrics").unwrap_or_default())
    });
    println!("E14 {times} times, the longest end took {} ms; settled in {} ms", longest.as_millis(), took.as_millis());
    assert!(longest < Duration::from_secs(10), "ending took {longest:?}");
}

#[test]
fn e14_members_leave_at_once_by_the_brokers_protocol() {
    Servers::shared();
    let mut stage = Stage::new("e14-848");
    stage.set("WORK__WORKERS", "1");
    Protocol::Consumer.set(&mut stage);
    let (took, _next, in_time) = hand_on(&stage, stage.run());
    println!("E14 with KIP-848: the end took {} ms", took.as_millis());
    assert!(in_time, "the next member had to wait for its partitions");
}

#[test]
fn e14_control_run_fails() {
    Servers::shared();
    let mut stage = Stage::new("e14-off");
    stage.set("WORK__WORKERS", "1");
    stage.switch_off([Defence::GoodOrder]);
    let (_, _next, in_time) = hand_on(&stage, stage.run());
    assert!(!in_time, "without good order the partitions are handed on as well: not tested");
}

/// Who shares out the partitions: the members themselves, or the brokers (KIP-848).
#[derive(Clone, Copy, PartialEq, Eq)]
pub enum Protocol {
    Classic,
    Consumer,
}

impl Protocol {
    /// Has members join by it, and those that end without a word leave after 3 s.
    fn set(self, stage: &mut Stage) {
        match self {
            Self::Classic => stage.expire_soon(),
            // The brokers of the tests say so.
            Self::Consumer => stage.set("KAFKA__GROUP_PROTOCOL", "consumer"),
        }
    }
}

/// Eight members on 32 partitions, under load: in turn one dies between its commits and its progress (or is killed, if it
/// does not come so far), and one is ended.
pub fn restarts(name: &str, by: Protocol, off: Option<Defence>, within: Duration) -> Result<Duration, String> {
    Servers::shared();
    let mut stage = Stage::new(name);
    stage.switch_off(off);
    stage.set("KAFKA__PARTITIONS", "32");
    stage.set("WORK__WORKERS", "1");
    stage.set("WORK__BATCH_RECORDS", "500");
    by.set(&mut stage);
    let mut members: Vec<Member> = (0..8).map(|nth| launch(&mut stage, nth % 2 == 0)).collect();
    // The topics are there; and until the last has joined, nothing is read for long, which grants have to outlive.
    let is_ready = |member: &Member| member.get("/readyz").is_some_and(|page| page.starts_with("ready"));
    wait_until("a member is ready", || members.iter().any(is_ready));
    let load = Load::new(100_000).with_grants_of(20_000);
    load.say_limits(&stage);
    let sending = stage.clone();
    std::thread::scope(|scope| {
        scope.spawn(|| load.send_over(&sending, Duration::from_secs(30)));
        for round in 0..16 {
            std::thread::sleep(Duration::from_secs(2));
            let member = members.remove(0);
            if round % 2 == 0 {
                member.kill();
            } else {
                member.terminate();
            }
            // The last eight live.
            members.push(launch(&mut stage, round < 8 && round % 2 == 0));
        }
    });
    load.settle(&stage, within)
}

/// Launches a member, which dies once it has committed its second batch, or which does not.
fn launch(stage: &mut Stage, dies: bool) -> Member {
    if dies {
        stage.env("BURSAR_FAULTS_DIE_AT", "Committed:2");
    } else {
        stage.without_env("BURSAR_FAULTS_DIE_AT");
    }
    stage.launch()
}

#[test]
fn e8_u_1_many_members_many_restarts() {
    for run in crate::runs(5) {
        let took = restarts(&format!("e8{run}"), Protocol::Classic, None, Duration::from_secs(60));
        println!("E8 settled in {} ms", took.expect("nothing is lost").as_millis());
    }
}

#[test]
fn e8_u_1_many_members_many_restarts_by_the_brokers_protocol() {
    for run in crate::runs(5) {
        let took = restarts(&format!("e8-848{run}"), Protocol::Consumer, None, Duration::from_secs(60));
        println!("E8 with KIP-848 settled in {} ms", took.expect("nothing is lost").as_millis());
    }
}

/// A fifth of the events comes again, at other offsets and in other partitions.
fn resend(name: &str, off: Option<Defence>, within: Duration) -> Result<Duration, String> {
    Servers::shared();
    let mut stage = Stage::new(name);
    stage.switch_off(off);
    let _member = stage.run();
    let load = Load::new(EVENTS);
    load.say_limits(&stage);
    std::thread::scope(|scope| {
        scope.spawn(|| load.send_over(&stage, Duration::from_secs(5)));
        for _ in 0..3 {
            std::thread::sleep(Duration::from_secs(1));
            load.send_again(&stage, 5);
        }
    });
    load.settle(&stage, within)
}

#[test]
fn e13_u_1_resends_at_other_offsets() {
    for run in crate::runs(3) {
        let took = resend(&format!("e13{run}"), None, Duration::from_secs(30)).expect("nothing is counted twice");
        println!("E13 settled in {} ms", took.as_millis());
    }
}

#[test]
fn e13_control_run_fails() {
    let settled = resend("e13-off", Some(Defence::Ids), Duration::from_secs(10));
    println!("E13 without ids: {settled:?}");
    assert!(settled.is_err(), "without ids nothing is counted twice: it is not tested");
}

/// Copies come nearly a horizon after the first ones, in other partitions, and one partition stays far behind the others.
fn copies_far_apart(name: &str, off: Option<Defence>) -> Result<(), String> {
    Servers::shared();
    let mut stage = Stage::new(name);
    stage.set("KAFKA__ACCEPT_CREATE_TIME", "true");
    stage.set("RULES__HORIZON_HOURS", "1");
    stage.set("REDIS__REPLICA_BEHIND_SECONDS", "1");
    stage.set("WORK__WORKERS", "1");
    stage.switch_off(off);
    let member = stage.run();
    let sender = stage.producer();
    let (now, minute, events) = (Clock::System.now().ms(), 60_000, 5_000_i64);
    // Partition 3 is recorded at first, and not again before the end.
    for (after_min, nth) in [(0, 0), (20, 1), (40, 2), (58, 3)] {
        for number in 0..events {
            let partition = ((number + nth) % if nth == 0 { 4 } else { 3 }) as i32;
            let first = now - 3_000 * minute + number / 100;
            let organization = format!("org-{}", number % 7);
            let event = token_event_at(Timestamp::from_ms(first), &organization, &number.to_string(), 1);
            sender.send_at(first + after_min * minute, partition, &stage.topic("usage"), &event);
        }
        sender.flush();
        wait_until("the copies are read", || member.metric("bursar_consumed_total") as i64 >= (nth + 1) * events);
        // Time for the low water to rise as far as it may.
        std::thread::sleep(Duration::from_secs(5));
    }
    let counted = stage.totals().get("input_tokens").copied().unwrap_or(0);
    if counted == events { Ok(()) } else { Err(format!("counted {counted} of {events}")) }
}

#[test]
fn e13_u_1_copies_nearly_a_horizon_apart() {
    copies_far_apart("e13-apart", None).expect("nothing is counted twice");
    let without = copies_far_apart("e13-apart-off", Some(Defence::Ids));
    println!("E13 far apart, without ids: {without:?}");
    assert!(without.is_err(), "without ids nothing is counted twice: it is not tested");
}

/// Members die before they publish what 10,000 commands have done: each is in the journal under one identity. Says how many commands are not in the journal in the end.
pub fn kill_publishers(name: &str, off: Option<Defence>) -> usize {
    Servers::shared();
    let mut stage = Stage::new(name);
    stage.switch_off(off);
    stage.set("WORK__WORKERS", "1");
    stage.set("KAFKA__PARTITIONS", "8");
    stage.expire_soon();
    let (commands, kills) = (10_000, 50);
    let mut members: Vec<Member> = (0..4).map(|_| launch(&mut stage, true)).collect();
    wait_until("the first is ready", || members[0].get("/readyz").is_some_and(|page| page.starts_with("ready")));
    let sending = stage.clone();
    std::thread::scope(|scope| {
        scope.spawn(|| {
            for piece in 0..50 {
                let sender = sending.producer();
                for number in (0..commands).filter(|number| number % 50 == piece) {
                    sender.send(&sending.topic("control"), &format!("org-{}", number % 97), &grant(number));
                }
                sender.flush();
                std::thread::sleep(Duration::from_millis(500));
            }
        });
        for nth in 0..kills {
            std::thread::sleep(Duration::from_millis(500));
            members.remove(0).kill();
            // The last four live.
            members.push(launch(&mut stage, nth < kills - 4));
        }
    });
    let told = || {
        let mut told: BTreeMap<String, BTreeSet<String>> = BTreeMap::new();
        for entry in stage.read("journal") {
            let text = |field: &str| entry[field].as_str().unwrap_or_default().to_owned();
            told.entry(text("record_id")).or_default().insert(text("identity"));
        }
        told
    };
    let began = Instant::now();
    while told().len() < commands as usize && began.elapsed() < Duration::from_secs(30) {
        std::thread::sleep(Duration::from_secs(1));
    }
    let told = told();
    assert!(told.values().all(|identities| identities.len() == 1), "copies have the same identity");
    commands as usize - told.len()
}

#[test]
fn e11_u_4_publishers_are_killed() {
    for run in crate::runs(3) {
        assert_eq!(kill_publishers(&format!("e11-killed{run}"), None), 0, "commands are missing in the journal");
    }
}

fn grant(number: i64) -> Vec<u8> {
    let data = json!({ "organization_id": format!("org-{}", number % 97), "actor": "test", "grant": {
        "scope": "org", "grant_id": format!("g-{number}"), "amount_micro": 1, "kind": "prepaid" } });
    cloud_event(Kind::Control, "test", &number.to_string(), Clock::System.now(), data).to_string().into_bytes()
}
