//! E9, E14: members that stop, wake, and end.

use std::time::Duration;

use bursar::faults::Defence;

use crate::{
    load::Load,
    support::{Member, Servers, Stage, wait_until},
};

const EVENTS: i64 = 20_000;

/// A member is stopped past its session while it works, and woken when another has its partitions.
fn wake(name: &str, off: Option<Defence>, within: Duration) -> Result<Duration, String> {
    Servers::shared();
    let mut stage = Stage::new(name);
    stage.set("WORK__BATCH_RECORDS", "50");
    stage.set("WORK__WORKERS", "1");
    stage.expire_soon();
    if let Some(off) = off {
        stage.env("BURSAR_FAULTS_OFF", &format!("{off:?}"));
    }
    let load = Load::new(EVENTS);
    let first = stage.run();
    load.say_limits(&stage);
    first.terminate();
    // A backlog, so that it is stopped while it works.
    load.send(&stage, 0, EVENTS);
    let zombie = stage.launch();
    wait_until("the member works", || zombie.metric("bursar_consumed_total") > 500);
    zombie.signal("STOP");
    let other = stage.launch();
    std::thread::sleep(Duration::from_secs(8));
    zombie.signal("CONT");
    let settled = load.settle(&stage, within);
    drop((zombie, other));
    settled
}

#[test]
fn e9_u_1_a_member_wakes_after_its_session() {
    let took = wake("e9", None, Duration::from_secs(60)).expect("nothing is counted twice");
    println!("E9 settled in {} ms", took.as_millis());
}

#[test]
fn e9_control_run_fails() {
    let settled = wake("e9-off", Some(Defence::Ids), Duration::from_secs(15));
    println!("E9 without ids: {settled:?}");
    assert!(settled.is_err(), "without ids nothing is counted twice: it is not tested");
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
    let mut longest = Duration::ZERO;
    std::thread::scope(|scope| {
        scope.spawn(|| load.send_over(&stage, Duration::from_secs(3 * times)));
        for _ in 0..times {
            std::thread::sleep(Duration::from_secs(2));
            longest = longest.max(member.take().map_or(Duration::ZERO, Member::terminate));
            member = Some(stage.run());
        }
    });
    let took = load.settle(&stage, Duration::from_secs(30)).unwrap_or_else(|why| {
        let member = member.as_ref().expect("the last one runs");
        panic!("{why}\n{}\n{}", member.log(), member.get("/metrics").unwrap_or_default())
    });
    println!("E14 {times} times, the longest end took {} ms; settled in {} ms", longest.as_millis(), took.as_millis());
    assert!(longest < Duration::from_secs(10), "ending took {longest:?}");
}
