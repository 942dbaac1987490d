//! E17: two members write to one account. Both get on, also if one of them is much slower than the other.

use std::time::Duration;

use bursar::faults::Defence;

use crate::{
    proxy::Proxy,
    support::{Member, Servers, Stage, token_event, wait_until},
};

/// What each reply of Redis takes longer for the slow member.
const SLOWER_BY: Duration = Duration::from_millis(15);

/// Events that the slow member must have applied when the fast one has applied [`FAST_APPLIES`].
const SLOW_APPLIES: u64 = 200;
const FAST_APPLIES: u64 = 200_000;

/// Half of them are the slow member's.
const EVENTS: i32 = 500_000;

/// Two members fight over one account, whose events lie in all partitions: both get on, and so do the others.
#[test]
fn e17_two_members_share_an_account() {
    for run in crate::runs(3) {
        let mut stage = Stage::new(&format!("e17-shared{run}"));
        stage.set("WORK__WORKERS", "1");
        stage.set("WORK__BATCH_RECORDS", "20");
        let members = [stage.run(), stage.launch()];
        wait_until("both have partitions", || {
            members.iter().all(|member| member.metric("bursar_partitions_assigned") == 4)
        });
        let sender = stage.producer();
        for number in 0..10_000 {
            let organization = if number % 10 == 0 { format!("calm-{}", number % 4) } else { "shared".to_owned() };
            let event = token_event(&organization, &number.to_string(), 1);
            sender.send_to(number % 4, &stage.topic("usage"), &organization, &event);
        }
        sender.flush();
        wait_until("all is counted", || stage.totals().get("input_tokens") == Some(&10_000));
        let sum = |name: &str| members.iter().map(|member| member.metric(name)).sum::<u64>();
        let (refused, leases) = (sum("bursar_refused_commits_total"), sum("bursar_leases_total"));
        println!("E17 shared: {refused} commits refused, {leases} leases taken");
        assert!(refused > 0, "they never met");
    }
}

/// Two members in one account, one of which reaches Redis by a slow line: it reads, decides, and each time the fast one was
/// there before. Returns what the slow one has applied when the fast one has applied much.
fn share_with_a_slow_one(name: &str, off: Option<Defence>) -> u64 {
    let servers = Servers::shared();
    let line = Proxy::to(servers.redis.trim_start_matches("redis://"));
    line.delay(SLOWER_BY);
    let mut stage = Stage::new(name);
    stage.set("WORK__WORKERS", "1");
    stage.set("WORK__BATCH_RECORDS", "20");
    stage.switch_off(off);
    let mut by_line = stage.clone();
    by_line.use_redis(&format!("redis://{}", line.address));
    let (fast, slow) = (stage.run(), by_line.launch());
    wait_until("both have partitions", || {
        [&fast, &slow].iter().all(|member| member.metric("bursar_partitions_assigned") == 4)
    });
    let sender = stage.producer();
    for number in 0..EVENTS {
        let event = token_event("shared", &number.to_string(), 1);
        sender.send_to(number % 4, &stage.topic("usage"), "shared", &event);
    }
    sender.flush();
    let applied = |member: &Member| member.metric("bursar_applied_total");
    wait_until("the fast one has applied much", || applied(&fast) >= FAST_APPLIES);
    assert!(slow.get("/readyz").is_some_and(|page| page.starts_with("ready")), "the slow one works: {}", slow.log());
    applied(&slow)
}

#[test]
fn e17_a_slow_member_gets_its_turn() {
    for run in crate::runs(3) {
        let applied = share_with_a_slow_one(&format!("e17-slow{run}"), None);
        println!("E17: the slow member has applied {applied} events, while the fast one applied {FAST_APPLIES}");
        assert!(applied >= SLOW_APPLIES, "the slow member starves: {applied}");
    }
}

#[test]
fn e17_a_slow_member_control_run_fails() {
    let applied = share_with_a_slow_one("e17-slow-off", Some(Defence::Leases));
    println!("E17 without leases: the slow member has applied {applied} events");
    assert!(applied < SLOW_APPLIES, "without leases it gets its turn: they are not tested");
}
