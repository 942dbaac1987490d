//! E2: the process dies at each step between reading and forgetting.

use std::{sync::Mutex, time::Duration};

use bursar::faults::{Defence, Step};

use crate::{
    load::Load,
    support::{Member, Servers, Stage, wait_until},
};

const EVENTS: i64 = 4_000;
/// Processes that die at the same time: they mostly wait.
const AT_ONCE: usize = 5;
const SETTLES_WITHIN: Duration = Duration::from_secs(40);

/// Runs a member that dies at a step, then one that does not; says whether all is as without faults.
fn die_at(name: &str, step: Step, nth: u32, off: Option<Defence>, within: Duration) -> Result<Duration, String> {
    let mut stage = Stage::new(name);
    stage.set("WORK__BATCH_RECORDS", "100");
    stage.set("WORK__WORKERS", "1");
    stage.expire_soon();
    stage.switch_off(off);
    let load = Load::new(EVENTS);
    stage.env("BURSAR_FAULTS_DIE_AT", &format!("{step:?}:{nth}"));
    let mut dying = stage.launch();
    let is_ready = |member: &Member| member.get("/readyz").is_some_and(|page| page.starts_with("ready"));
    wait_until("the member is ready", || is_ready(&dying) || !dying.lives());
    load.say_limits(&stage);
    load.send(&stage, 0, EVENTS / 2);
    dying.wait();
    stage.without_env("BURSAR_FAULTS_DIE_AT");
    let member = stage.launch();
    load.send(&stage, EVENTS / 2, EVENTS);
    let settled = load.settle(&stage, within);
    drop(member);
    settled
}

/// Cases are steps, at which time they are reached, and the number of the run.
fn run_all(cases: Vec<(Step, u32, u32)>) {
    Servers::shared();
    let (queue, failures) = (Mutex::new(cases), Mutex::new(Vec::new()));
    std::thread::scope(|scope| {
        for _ in 0..AT_ONCE {
            scope.spawn(|| {
                let next = || queue.lock().expect("no case panics with the queue").pop();
                while let Some((step, nth, run)) = next() {
                    let name = format!("e2-{step:?}-{run}").to_lowercase();
                    match die_at(&name, step, nth, None, SETTLES_WITHIN) {
                        Ok(took) => println!("E2 {step:?}:{nth} settled in {} ms", took.as_millis()),
                        Err(why) => failures.lock().expect("no case panics").push(format!("{step:?}:{nth}: {why}")),
                    }
                }
            });
        }
    });
    let failures = failures.into_inner().expect("no case panics");
    assert!(failures.is_empty(), "{}", failures.join("\n"));
}

#[test]
fn e2_u_1_u_4_u_6_death_at_each_step_loses_nothing() {
    let times = std::env::var("SOAK").map_or(1, |_| 20);
    let nth = |step, run| match step {
        // This load may not reach them more often.
        Step::ControlRead | Step::BeforeForgetting | Step::Forgotten | Step::DueSent => 1,
        _ => 1 + run % 3,
    };
    run_all(Step::ALL.into_iter().flat_map(|step| (0..times).map(move |run| (step, nth(step, run), run))).collect());
}

/// Each with a defence off, dying in one batch after the other: soon something must be wrong. Not in every batch: some hold
/// only what comes due, some send nothing, and progress that is written twice may be written the second time.
#[test]
fn e2_control_runs_fail() {
    for (off, step) in [
        (Defence::ProgressLast, Step::Decided),
        (Defence::Acknowledged, Step::ProgressWritten),
        (Defence::Outbox, Step::Committed),
    ] {
        let wrong = (4..=18).find_map(|nth| {
            let name = format!("e2-off-{off:?}-{nth}").to_lowercase();
            die_at(&name, step, nth, Some(off), Duration::from_secs(10)).err().map(|why| (nth, why))
        });
        let (nth, why) = wrong.unwrap_or_else(|| panic!("without {off:?} nothing is wrong: it is not tested"));
        println!("E2 without {off:?}, dying at {step:?}:{nth}: {why}");
    }
}
