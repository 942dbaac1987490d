//! Instructions of what an event costs in one account, by part: they come out the same on every run, so a change of a percent
//! is seen on a machine that is busy. `make instructions` runs it; it needs valgrind and gungraun-runner.
//!
//! The account is that of `bursar bench`: 5 workspaces, 20 agents, 10 users; `full` with prices, `full_limits` also with
//! seats, a pool and limits. 2,000 events warm it up, 1,000 are measured.

#![allow(missing_docs, reason = "the harness makes public items")]

use std::hint::black_box;

use bursar::{
    cli::bench::{
        alone::Alone,
        fill::{AGENTS, USERS, WORKSPACES, prices, prices_and_limits},
    },
    contract::usage::write,
    domain::{
        account::changes::Changes,
        event::{Tokens, Usage, UsageEvent},
        time::Timestamp,
    },
    ingest::decode::Decoder,
};
use gungraun::{library_benchmark, library_benchmark_group, main};
use serde_json::Value as Json;

const ORGANIZATION: &str = "org-00001";
const BEGAN: Timestamp = Timestamp::from_ms(1_769_000_000_000);
const WARM_UP: usize = 2_000;
const MEASURED: usize = 1_000;

/// An account, and events for it.
struct Stage {
    account: Alone,
    decoder: Decoder,
    payloads: Vec<Vec<u8>>,
}

impl Stage {
    /// Decides some of the events, as a batch does: first what all of them need, then one after the other.
    fn decide(&mut self, from: usize, upto: usize) {
        let decoded: Vec<_> =
            self.payloads[from..upto].iter().map(|payload| self.decoder.usage(payload).expect("an event")).collect();
        let events: Vec<_> = decoded.iter().map(|decoded| (*decoded.event(), decoded.event().event_id())).collect();
        let charged = self.account.prepare(&events);
        self.account.decide(&events, &charged);
    }
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
        account: Alone::told(ORGANIZATION, &commands, BEGAN),
        decoder: Decoder::new(false),
        payloads: (0..WARM_UP + MEASURED).map(payload).collect(),
    };
    stage.decide(0, WARM_UP);
    let changes = stage.account.changes();
    stage.account.commit(changes);
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
    let changes = stage.account.changes();
    (stage, changes)
}

library_benchmark_group!(name = of_an_account, benchmarks = [decode, decode_and_decide, pack]);
main!(library_benchmark_groups = of_an_account);
