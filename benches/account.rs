//! Instructions of what an event costs in one account, by part: they come out the same on every run, so a change of a percent
//! is seen on a machine that is busy. `make instructions` runs it; it needs valgrind and gungraun-runner.
//!
//! The account is that of `bursar bench`: 5 workspaces, 20 agents, 10 users; `full` with prices, `full_limits` also with
//! seats, a pool and limits. 2,000 events warm it up, 1,000 are measured.

#![allow(missing_docs, reason = "the harness makes public items")]

use std::hint::black_box;

use bursar::{
    cli::bench::fill::{AGENTS, USERS, WORKSPACES, prices, prices_and_limits},
    contract::{
        Kind,
        json::{cloud_event, read_control},
        usage::write,
    },
    domain::{
        account::{
            Account, Moment, Outcome, Policy,
            changes::{Changes, Needs, Stamp},
        },
        event::{Tokens, Usage, UsageEvent},
        time::{HOUR_MS, MINUTE_MS, Timestamp},
    },
    ingest::decode::Decoder,
    ledger::{Ledger, memory::MemoryLedger},
};
use futures::executor::block_on;
use gungraun::{library_benchmark, library_benchmark_group, main};
use serde_json::Value as Json;

const ORGANIZATION: &str = "org-00001";
const BEGAN: Timestamp = Timestamp::from_ms(1_769_000_000_000);
const POLICY: Policy =
    Policy { horizon_ms: 48 * HOUR_MS, early_ms: 5 * MINUTE_MS, rules_delay_ms: 0, grace_ms: 15 * MINUTE_MS };
const WARM_UP: usize = 2_000;
const MEASURED: usize = 1_000;

/// An account with its ledger, and events for it.
struct Stage {
    ledger: MemoryLedger,
    account: Account,
    decoder: Decoder,
    payloads: Vec<Vec<u8>>,
    commits: u128,
}

impl Stage {
    fn load(&mut self, mut needs: impl FnMut(&mut Account, &mut Needs)) {
        loop {
            let mut lacking = Needs::default();
            needs(&mut self.account, &mut lacking);
            if lacking.is_empty() {
                return;
            }
            let request = [(Box::from(ORGANIZATION), lacking)];
            let loaded = block_on(self.ledger.load(&request)).expect("memory answers").remove(0);
            assert!(self.account.fill(&request[0].1, loaded).expect("the state can be read"), "nobody else moves it");
        }
    }

    fn say(&mut self, number: usize, command: &Json) {
        let mut data = command.clone();
        (data["organization_id"], data["actor"]) = (ORGANIZATION.into(), "bench".into());
        let record = cloud_event(Kind::Control, "bench", &number.to_string(), BEGAN, data).to_string();
        let record = read_control(record.as_bytes()).expect("a command");
        loop {
            self.load(|account, needs| account.needs_for_control(&record, needs));
            let outcome = self.account.decide_control(&record, ("usage.control", 0, 0), moment(BEGAN), &POLICY);
            self.commit();
            if outcome != Outcome::Continue {
                return assert_eq!(outcome, Outcome::Applied, "{command}");
            }
        }
    }

    /// Decides some of the events, as a batch does: first what all of them need, then one after the other.
    fn decide(&mut self, from: usize, upto: usize) {
        let payloads = std::mem::take(&mut self.payloads);
        let events: Vec<_> =
            payloads[from..upto].iter().map(|payload| self.decoder.usage(payload).expect("an event")).collect();
        let ids: Vec<_> = events.iter().map(|event| event.event().event_id()).collect();
        let mut charged = Vec::with_capacity(events.len());
        self.load(|account, needs| {
            charged.clear();
            charged.extend(events.iter().map(|event| account.needs_for_usage(&event.event(), needs)));
        });
        for ((event, id), charged) in events.iter().zip(ids).zip(charged) {
            let event = event.event();
            let outcome = self.account.decide_usage(&event, id, charged, moment(event.event_time), &POLICY);
            assert_eq!(outcome, Outcome::Applied);
        }
        self.payloads = payloads;
    }

    fn changes(&mut self) -> Changes {
        self.commits += 1;
        self.account.take_changes(Stamp { token: self.commits, low_water: Timestamp::MIN, horizon_ms: 0 })
    }

    fn commit(&mut self) {
        let changes = self.changes();
        block_on(self.ledger.commit(&[(ORGANIZATION.into(), changes)])).expect("memory answers");
        self.account.acknowledge(self.account.outbox().len());
    }
}

fn moment(at: Timestamp) -> Moment {
    Moment { record_time: at, clock: at, read_until: at, clock_follows_records: true }
}

fn payload(number: usize) -> Vec<u8> {
    let nth = number as u32 * 7;
    let (workspace, agent) = (format!("ws-{}", nth % WORKSPACES), format!("agent-{:02}", nth % AGENTS));
    let (id, user) = (format!("{number:012}"), format!("user-{}", nth % USERS));
    let tokens = Tokens { input: 10 + i64::from(nth % 4_990), output: 10 + i64::from(nth % 990), ..Tokens::default() };
    let usage = Usage::Tokens { request_model: "large-2026-01", tokens };
    let time = BEGAN.plus_ms(number as i64 * 100);
    let event = UsageEvent {
        workspace_id: Some(&workspace),
        agent_id: Some(&agent),
        user_id: Some(&user),
        product: Some("coding"),
        ..UsageEvent::new(&id, "gateway-1", time, ORGANIZATION, usage)
    };
    let mut payload = Vec::new();
    write(&event, &mut payload);
    payload
}

fn warmed_up(commands: Vec<Json>) -> Stage {
    let mut stage = Stage {
        ledger: MemoryLedger::new(),
        account: Account::new(ORGANIZATION),
        decoder: Decoder::new(false),
        payloads: (0..WARM_UP + MEASURED).map(payload).collect(),
        commits: 0,
    };
    commands.iter().enumerate().for_each(|(number, command)| stage.say(number, command));
    stage.decide(0, WARM_UP);
    stage.commit();
    stage
}

fn decided(commands: Vec<Json>) -> Stage {
    let mut stage = warmed_up(commands);
    stage.decide(WARM_UP, WARM_UP + MEASURED);
    stage
}

#[library_benchmark]
#[bench::full(args = (prices()), setup = warmed_up)]
fn decode(stage: Stage) -> Stage {
    for payload in &stage.payloads[WARM_UP..] {
        let decoded = stage.decoder.usage(payload).expect("an event");
        black_box(decoded.event().event_id());
    }
    stage
}

// With the decoding of the same events.
#[library_benchmark]
#[bench::full(args = (prices()), setup = warmed_up)]
#[bench::full_limits(args = (prices_and_limits()), setup = warmed_up)]
fn decode_and_decide(mut stage: Stage) -> Stage {
    stage.decide(WARM_UP, WARM_UP + MEASURED);
    stage
}

// All rows of the account, once.
#[library_benchmark]
#[bench::full(args = (prices()), setup = decided)]
#[bench::full_limits(args = (prices_and_limits()), setup = decided)]
fn pack(mut stage: Stage) -> (Stage, Changes) {
    let changes = stage.changes();
    (stage, changes)
}

library_benchmark_group!(name = of_an_account, benchmarks = [decode, decode_and_decide, pack]);
main!(library_benchmark_groups = of_an_account);
