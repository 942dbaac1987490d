//! Bursar: live usage metering and limits for AI-agent platforms, exactly once from Kafka to Kafka.
//!
//! ```text
//! usage topics ──► ingest ──► decide (pure) ──► ledger (atomic commit) ──► outbox ──► threshold / pause topics
//! control topic ─┘  decode     domain::account       Redis Function          notify      Prometheus
//! ```
//!
//! One organization is one *account*: one Redis hash, one thing that changes at a time. A worker reads a batch,
//! groups it by account, and for each account **loads** what it does not hold in memory, **decides** in pure Rust, and
//! **commits** the new state if, and only if, nobody moved the account meanwhile. Kafka is the record, Redis is the
//! live view.
//!
//! # Why every event counts once
//!
//! 1. **Ids decide.** An event is applied if its id is not in the account, and the id is written in the same commit as
//!    the counters. What a failover takes back, it takes back together.
//! 2. **The head fences.** A commit states the head it believes. Refused means: nothing was written; everything held
//!    of that account is dropped, rows *and* ids, and the events are decided again.
//! 3. **Progress is written last, and fenced.** It is written after the commits that it covers, with their dead
//!    letters and signals acknowledged, and only to the very servers, with the very content, that it was read from, wherever
//!    their slots have moved.
//!
//! # Invariants
//!
//! Each is proved by tests that bear its name.
//!
//! - **U-1** Each unique event changes each counter that it is charged to exactly once.
//! - **U-2** All counters of an event change together or not at all.
//! - **U-3** No admission passes a hard limit, but for a declared window after a failover. (There is no admission yet.)
//! - **U-4** Every crossing is published, and all copies bear one identity.
//! - **U-5** Once faults stop, the meters equal those of a run without faults, within 30 s.
//! - **U-6** No record is dropped in silence: over distinct positions, applied + duplicate + dead letter + parked = consumed.
//!
//! What breaks in tests, and the control runs that fail without each defence, are in `docs/exactly_once.md`.
//!
//! # What is deliberately absent
//!
//! - No Kafka transactions: they would cover Kafka only. The outbox and the identities of signals do it.
//! - No counting in Lua: its numbers are doubles. `bursar.lua` compares, writes and reads bytes.
//! - No floats in [`domain`], no clock and no I/O: a replay decides as the first run did.
//!
//! # Modules, in reading order
//!
//! [`domain`] uses nothing of the others but [`faults`] and [`prefetch`]; arrows go down this list.
//!
//! - [`domain`]: what usage means. Events, prices, windows, who pays, limits, pauses, and the account that decides. The
//!   specification is `docs/specification.md`; `tests/scenarios` shows every behaviour in plain text.
//! - [`contract`]: what events, control records and signals look like in bytes.
//! - [`ledger`]: where accounts and progress are kept, in Redis or in memory.
//! - [`ingest`]: Kafka in. The worker's story is in [`ingest::worker`].
//! - [`notify`]: Kafka out.
//! - [`observe`]: metrics, health.
//! - [`forecast`]: where a period will end if it goes on like this; pure, and no part of any decision.
//! - [`outlook`]: what Prometheus is told of usage, and what `usage.forecasts` of where it leads.
//! - [`api`]: what admins, dashboards and programs see and say, over HTTP.
//! - [`service`]: puts all of it together; [`config`], [`topics`] and [`clock`] are what it needs for that.
//! - [`cli`]: the program.
//! - [`faults`]: what tests break; constant, and so absent, in every other build.
//! - [`prefetch`]: asks the processor for what is looked at next.

pub mod api;
pub mod cli;
pub mod clock;
pub mod config;
pub mod contract;
pub mod domain;
pub mod faults;
pub mod forecast;
pub mod ingest;
pub mod ledger;
pub mod mutation;
pub mod notify;
pub mod observe;
pub mod outlook;
pub mod prefetch;
pub mod service;
pub mod topics;
