//! One run: processes start, work, break and end, until all is quiet.

use std::{
    collections::BTreeMap,
    sync::{Arc, atomic::AtomicBool},
    time::Duration,
};

use bursar::{
    domain::account::Policy,
    faults::{self, Defence},
    ingest::{
        Fatal,
        patience::Patience,
        start::Start,
        worker::{Surroundings, Worker, WorkerOptions},
    },
    ledger::Ledger,
    notify::{due, encode::Format, publisher::Publisher, readback::Readback},
    observe::{health::Health, metrics::Metrics},
};
use rand::{Rng, SeedableRng, rngs::StdRng};
use tokio::task::{JoinHandle, LocalSet};

use crate::{
    check,
    membership::Membership,
    primaries::{PRIMARIES, Primary, REPLICA_BEHIND, TAGS},
    story::{BEGIN_MS, CONTROL, EARLY_MS, Expected, HORIZON_MS, USAGE, tell},
    world::{Shared, World},
};

/// How often the world moves on.
const STEP: Duration = Duration::from_millis(50);
/// How much time passes in the world with each step.
const STEP_MS: i64 = 20_000;
/// Steps in which things go wrong.
const RESTLESS_STEPS: u32 = 900;
/// Steps after which all must be right (invariant U-5: within 30 s).
const QUIET_STEPS_MAX: u32 = 600;
/// Processes.
const PROCESSES: usize = 3;

/// What a run came to.
pub struct Outcome {
    /// What was wrong at its end.
    pub wrong: Option<String>,
    /// The hash of all that happened.
    pub trace: u64,
    /// How often what went wrong.
    pub broken: BTreeMap<&'static str, u32>,
}

/// A process: a worker, and what watches the clock beside it.
struct Process {
    number: usize,
    worker: JoinHandle<Result<(), Fatal>>,
    watch: JoinHandle<()>,
}

/// Runs a seed, with a defence switched off or none.
pub fn run(seed: u64, off: Option<Defence>) -> Outcome {
    faults::switch_off(off);
    let runtime = tokio::runtime::Builder::new_current_thread().enable_time().start_paused(true).build();
    let outcome = LocalSet::new().block_on(&runtime.expect("a runtime"), live(seed));
    faults::switch_off(None);
    outcome
}

async fn live(seed: u64) -> Outcome {
    let mut random = StdRng::seed_from_u64(seed);
    let (logs, expected) = tell(&mut random);
    let world = World::begin(random, logs, BEGIN_MS - 900_000);
    let mut processes: Vec<Process> = (0..PROCESSES).map(|_| start(&world)).collect();
    world.lock().rebalance();
    let wrong = live_through(&world, &mut processes, &expected).await.err();
    for process in &processes {
        process.worker.abort();
        process.watch.abort();
    }
    let world = world.lock();
    Outcome { wrong, trace: world.trace(), broken: world.wrong.clone() }
}

async fn live_through(world: &Shared, processes: &mut Vec<Process>, expected: &Expected) -> Result<(), String> {
    for _ in 0..RESTLESS_STEPS {
        tokio::time::sleep(STEP).await;
        let fault = {
            let mut world = world.lock();
            let off_ms = world.random.random_range(-120_000..120_000);
            world.pass(STEP_MS, off_ms);
            world.random.random_range(0..1_000)
        };
        go_wrong(world, processes, fault);
        all_live(processes).await?;
    }
    settle_down(world, processes);
    let mut why = String::new();
    for step in 0..QUIET_STEPS_MAX {
        tokio::time::sleep(STEP).await;
        world.lock().pass(50, 0);
        all_live(processes).await?;
        if step % 20 == 19 {
            match check::check(&world.lock(), expected) {
                Ok(()) => return Ok(()),
                Err(not_yet) => why = not_yet,
            }
        }
    }
    Err(why)
}

/// A worker that has ended ended wrongly.
async fn all_live(processes: &mut [Process]) -> Result<(), String> {
    let Some(process) = processes.iter_mut().find(|process| process.worker.is_finished()) else { return Ok(()) };
    Err(match (&mut process.worker).await {
        Ok(ended) => format!("a worker has ended: {ended:?}"),
        Err(panicked) => format!("a worker has panicked: {panicked}"),
    })
}

fn go_wrong(world: &Shared, processes: &mut Vec<Process>, fault: u32) {
    match fault {
        0..8 => {
            let victim = world.lock().random.random_range(0..processes.len());
            crash(world, processes, victim, "a process crashes");
            processes.push(start(world));
            world.lock().rebalance();
        }
        8..14 => {
            let mut world = world.lock();
            let number = processes[world.random.random_range(0..processes.len())].number;
            world.members[number].deaf = true;
            world.break_something("a process does not hear of its end");
            world.rebalance();
        }
        14..24 => {
            let mut world = world.lock();
            world.members.iter_mut().for_each(|member| member.deaf = false);
            world.break_something("partitions move");
            world.rebalance();
        }
        24..48 => break_redis(&mut world.lock(), fault),
        48..148 if !world.lock().primaries.all().iter().all(Primary::has_tags) => {
            world.lock().primaries.bring_back();
        }
        148..648 => world.lock().primaries.flush_others(),
        _ => {}
    }
}

fn break_redis(world: &mut World, fault: u32) {
    let (number, lost) = (world.random.random_range(0..PRIMARIES), world.random.random_range(0..40));
    match fault {
        24..34 if world.kinds.failovers => {
            world.primaries.get(number).fail_over(lost);
            world.break_something("a primary fails over");
        }
        34..36 => {
            world.primaries.flush(number);
            world.break_something("Redis is emptied");
        }
        36..44 if world.kinds.moves => {
            let tag = world.random.random_range(0..TAGS);
            world.primaries.move_tag(tag, number);
            world.break_something("a slot moves");
        }
        44..48 if world.kinds.moves && world.kinds.failovers => {
            world.primaries.get(number).fail_over(lost);
            world.primaries.drain(number);
            world.break_something("a primary fails over and gives its slots away");
        }
        _ => {}
    }
}

fn crash(world: &Shared, processes: &mut Vec<Process>, victim: usize, what: &'static str) {
    let process = processes.remove(victim);
    process.worker.abort();
    process.watch.abort();
    let mut world = world.lock();
    world.members[process.number].alive = false;
    world.break_something(what);
}

fn settle_down(world: &Shared, processes: &mut Vec<Process>) {
    if processes.is_empty() {
        processes.push(start(world));
    }
    let mut world = world.lock();
    world.quiet = true;
    world.primaries.flush_others();
    world.primaries.bring_back();
    // All that the story has still to tell is there now.
    world.pass(1_800_000, 0);
    world.members.iter_mut().for_each(|member| member.deaf = false);
    world.rebalance();
}

fn start(world: &Shared) -> Process {
    let readback = Arc::new(Readback::default());
    let (number, seed) = {
        let mut world = world.lock();
        (world.join(Arc::clone(&readback)), world.random.random())
    };
    let publisher = Publisher::to(Arc::new(world.clone()), Format::Json);
    let patience = Patience { health: Arc::new(Health::default()), stop: Arc::new(AtomicBool::new(false)) };
    let (ledger, clock): (Arc<dyn Ledger>, _) = (Arc::new(world.clone()), world.clock());
    let around = Surroundings {
        ledger: Arc::clone(&ledger),
        publisher: publisher.clone(),
        readback,
        holdings: Arc::default(),
        clock: clock.clone(),
        metrics: Metrics::new(),
        patience: patience.clone(),
    };
    let options = WorkerOptions {
        control_topic: CONTROL.to_owned(),
        topics: vec![CONTROL.to_owned(), USAGE.to_owned()],
        replica_behind: REPLICA_BEHIND,
        // A minute of the world, less the step in which it moves on.
        control_read_within: STEP * 2,
        start: Start::Earliest,
        batch_records_max: 100,
        accounts_bytes_max: 60_000,
        policy: Policy { horizon_ms: HORIZON_MS, early_ms: EARLY_MS, rules_delay_ms: 60_000, grace_ms: 900_000 },
        registry: None,
    };
    let source = Box::new(Membership::new(world.clone(), number));
    let worker = Worker::new(options, around, source, StdRng::seed_from_u64(seed));
    let watch = async move { due::watch(&*ledger, &publisher, &clock, &patience.health, &patience.stop).await };
    Process { number, worker: tokio::task::spawn_local(worker.run()), watch: tokio::task::spawn_local(watch) }
}
