//! E11, E12, E17: Kafka is away or gets more partitions; one account is poisoned.

use std::time::Duration;

use crate::{
    load::Load,
    support::{Servers, Stage, token_event, wait_until},
};
use bursar::faults::Defence;
use rdkafka::{
    ClientConfig,
    admin::{AdminClient, AdminOptions, NewPartitions},
    client::DefaultClientContext,
};

const EVENTS: i64 = 20_000;
const SETTLES_WITHIN: Duration = Duration::from_secs(30);

pub fn admin(servers: &Servers) -> AdminClient<DefaultClientContext> {
    ClientConfig::new().set("bootstrap.servers", &servers.kafka).create().expect("an admin client")
}

pub fn block_on<T>(future: impl Future<Output = T>) -> T {
    tokio::runtime::Builder::new_current_thread().enable_all().build().expect("a runtime").block_on(future)
}

/// The broker is away while there is much to publish: nothing is missing, memory is bounded, readiness says so.
#[test]
fn e11_u_4_the_broker_is_away() {
    let away = std::env::var("SOAK").map_or(20, |_| 300);
    crate::runs(3).for_each(|run| broker_is_away(&format!("e11{run}"), Duration::from_secs(away)));
}

fn broker_is_away(name: &str, away: Duration) {
    let mut servers = Servers::start(&[]);
    let stage = Stage::on(&servers, name);
    let member = stage.run();
    let load = Load::new(EVENTS);
    load.say_limits(&stage);
    load.send(&stage, 0, EVENTS / 2);
    servers.kill("kafka");
    let gone = std::time::Instant::now();
    wait_until("it is not ready", || member.get("/readyz").is_some_and(|page| !page.starts_with("ready")));
    let told = gone.elapsed();
    std::thread::sleep(away);
    servers.start_again(&[]);
    let back = std::time::Instant::now();
    wait_until("it is ready", || member.get("/readyz").is_some_and(|page| page.starts_with("ready")));
    let ready = back.elapsed();
    load.send(&stage, EVENTS / 2, EVENTS);
    let took = load.settle(&stage, SETTLES_WITHIN).expect("nothing is missing");
    println!(
        "E11 told after {} ms, ready after {} ms, settled in {} ms",
        told.as_millis(),
        ready.as_millis(),
        took.as_millis()
    );
    assert!(told < Duration::from_secs(5) && ready < Duration::from_secs(10), "{told:?} {ready:?}");
}

/// The topics get more partitions under load, and the group is deleted: progress is not in the group.
pub fn enlarge(name: &str, off: Option<Defence>) -> Result<(), String> {
    let servers = Servers::shared();
    let mut stage = Stage::new(name);
    stage.switch_off(off);
    stage.set("KAFKA__PARTITIONS", "12");
    let member = stage.run();
    let load = Load::new(EVENTS);
    load.say_limits(&stage);
    std::thread::scope(|scope| {
        scope.spawn(|| load.send_over(&stage, Duration::from_secs(6)));
        std::thread::sleep(Duration::from_secs(2));
        block_on(async {
            let (usage, control) = (stage.topic("usage"), stage.topic("control"));
            let more = [NewPartitions::new(&usage, 16), NewPartitions::new(&control, 16)];
            admin(servers).create_partitions(&more, &AdminOptions::new()).await.expect("Kafka takes it");
        });
    });
    // Brokers and clients tell each other of new partitions every ten seconds or so.
    load.settle(&stage, Duration::from_secs(90)).map_err(|why| {
        let figures = member.get("/metrics").unwrap_or_default();
        let figures: Vec<&str> = figures.lines().filter(|line| line.starts_with("bursar_")).collect();
        format!("{why}\n{}\n{}", member.log(), figures.join("\n"))
    })?;
    let told = stage.read("thresholds").len();
    member.terminate();
    block_on(async {
        admin(servers).delete_groups(&[name], &AdminOptions::new()).await.expect("Kafka takes it");
    });
    let member = stage.run();
    // Everything once more, by other partitions.
    load.send(&stage, 0, EVENTS);
    wait_until("it is read", || member.metric("bursar_consumed_total") as i64 >= EVENTS);
    std::thread::sleep(Duration::from_secs(2));
    let counted = load.sums_differ(&stage);
    match counted {
        Some(organization) => Err(format!("resends of {organization} by other partitions count")),
        None if stage.read("thresholds").len() != told => Err("resends are told of again".to_owned()),
        None => Ok(()),
    }
}

#[test]
fn e12_u_1_more_partitions_and_a_deleted_group() {
    for run in crate::runs(3) {
        enlarge(&format!("e12{run}"), None).expect("meters are unchanged");
    }
}

/// One account panics: its records are parked, the others go on; released, they are counted.
#[test]
fn e17_a_poisoned_account_is_parked() {
    for run in crate::runs(3) {
        let mut stage = Stage::new(&format!("e17{run}"));
        stage.env("BURSAR_FAULTS_POISON", "org-3");
        let member = stage.run();
        let load = Load::new(7_000);
        load.say_limits(&stage);
        load.send(&stage, 0, 7_000);
        wait_until("all is read", || member.metric("bursar_consumed_total") >= 7_000 + 70 + 21);
        assert_eq!(load.sums_differ(&stage).as_deref(), Some("org-3"), "only the poisoned account is missing");
        assert_eq!(member.metric("bursar_parked_total"), 1_000 + 3);
        member.terminate();
        stage.without_env("BURSAR_FAULTS_POISON");
        let _member = stage.run();
        let said = stage.say(&["release", "org-3"]);
        assert!(said.contains("1003 records sent again"), "{said}");
        wait_until("what was parked is counted", || load.sums_differ(&stage).is_none());
    }
}

/// What an account has committed before it panics is published all the same.
#[test]
fn e17_u_4_a_poisoned_account_leaves_its_signals() {
    let mut stage = Stage::new("e17-signals");
    stage.set("WORK__WORKERS", "1");
    let member = stage.run();
    let limit = ["set-limit", "all", "--scope", "org", "--meter", "input_tokens", "--window", "day", "--cap", "1"];
    stage.say(&[&["control", "--organization", "org-3"][..], &limit].concat());
    wait_until("the limit is set", || stage.read("journal").iter().any(|entry| entry["organization_id"] == "org-3"));
    member.terminate();
    let sender = stage.producer();
    stage.env("BURSAR_FAULTS_DIE_AT", "Committed:1");
    let mut dying = stage.launch();
    sender.send(&stage.topic("usage"), "org-3", &token_event("org-3", "1", 5));
    sender.flush();
    dying.wait();
    assert!(stage.read("thresholds").is_empty(), "it died before it published");
    stage.without_env("BURSAR_FAULTS_DIE_AT");
    stage.env("BURSAR_FAULTS_POISON", "org-3");
    let member = stage.run();
    wait_until("the record is parked", || member.metric("bursar_parked_total") == 1);
    wait_until("the crossings are told", || stage.read("thresholds").len() == 2);
}

#[test]
fn e17_control_run_fails() {
    let mut stage = Stage::new("e17-off");
    stage.env("BURSAR_FAULTS_POISON", "org-3");
    stage.switch_off([Defence::Quarantine]);
    let mut member = stage.run();
    let sender = stage.producer();
    sender.send(&stage.topic("usage"), "org-3", &token_event("org-3", "1", 1));
    sender.flush();
    member.wait();
}
