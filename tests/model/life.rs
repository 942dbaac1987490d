//! What a life is made of: the steps that both sides are given, and what both say of them.
//!
//! Nothing here is of `bursar`: the model (`definition/`) and the account (`account.rs`) meet in these plain values.

use std::collections::BTreeMap;

use serde_json::{Map, Value as Json};

/// What decisions depend on besides records: as `rules.*` of the configuration.
pub const HORIZON_MS: i64 = 48 * 3_600_000;
pub const EARLY_MS: i64 = 5 * 60_000;
pub const DELAY_MS: i64 = 60_000;
pub const GRACE_MS: i64 = 15 * 60_000;

/// Whose account a life is about.
pub const ORGANIZATION: &str = "acme";

/// One thing that happens. Record times of a life never go back.
#[derive(Clone, Debug, PartialEq)]
pub struct Step {
    /// Record time, in milliseconds since 1970.
    pub at_ms: i64,
    /// The clock; all usage recorded before it has been read. Behind `at_ms` at times, never going back.
    pub clock_ms: i64,
    pub what: What,
}

/// What can happen. After it, whatever is due by the clock is done, in the order of its instants.
#[derive(Clone, Debug, PartialEq)]
pub enum What {
    /// A control record: the fields of its command as in `schemas/control.avsc`. `id` is the record's, `time_ms` its own
    /// time (`at_ms` unless a resend says otherwise).
    Say { actor: String, id: String, time_ms: i64, command: String, fields: Map<String, Json> },
    /// A usage event.
    Use(Use),
    /// Nothing but time.
    Pass,
}

/// A usage event: tokens, or the phase of a run.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Use {
    pub id: String,
    /// Event time.
    pub time_ms: i64,
    pub workspace: Option<String>,
    pub agent: Option<String>,
    pub user: Option<String>,
    pub product: Option<String>,
    pub trigger: Option<String>,
    pub model: Option<String>,
    /// Input tokens; a run event has none.
    pub tokens: Option<i64>,
    /// `started`, `completed`, `failed` or `cancelled`; empty for tokens.
    pub phase: String,
}

/// One thing that is published, or said of a record.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct Said {
    /// What is said, in canonical words (`account.rs` and `definition/` make the same ones), without the identity.
    pub text: String,
    /// The identity under which it is published, as far as this side names it: what has one identity on one side has one
    /// on the other. Empty for what has none (dead letters).
    pub identity: String,
}

/// What holds after a step: canonical keys and values, the same on both sides. See `definition/facts.rs` for the list.
pub type Facts = BTreeMap<String, String>;

// The canonical words. Instants are milliseconds since 1970, lists are sorted, names are those of docs/specification.md.
//
// RULE      pool | limit SELECTOR LIMIT_ID          SELECTOR  org | ws:w | agent:w/a | user:u | every:user | seat:standard
// CAUSE     limit SELECTOR LIMIT_ID WINDOW_START | spend_limit SELECTOR LIMIT_ID WINDOW_START (0 for a cap of 0) | pool |
//           seat_allowance | extra_usage_off | consent | free_phase | admin   (a want of one workspace ends in " in ws:w")
//
// Said.text
//   threshold SCOPE RULE window=START percent=P used=N cap=N
//   pause SCOPE [CAUSE, CAUSE]                       (an empty list: it runs again)
//   applied COMMAND CODE field=value field=value     (CODE is "done" where there is nothing more to say)
//   refused COMMAND CODE field=value
//   dead_letter CODE
//   statement SCOPE period=START METER=N METER=N     (meters that are not 0, by name)
//   correction SCOPE period=START by=CATEGORY METER=N   (what was added)
//   reload SCOPE amount=N balance=N
//   request KIND ID user=U wants=W seat=S since=T    (opened, approved, declined; approved lists still_binding=[SELECTOR LIMIT_ID, ...])
//   digest [ID, ID]
//   creation_refused SCOPE actor=A
//
// Facts
//   count SCOPE KIND START METER -> N                (windows: each that is kept and not 0; KIND minute … period)
//   causes SCOPE -> CAUSE, CAUSE                     (scopes that are paused)
//   pool SCOPE -> size=N left=N                      (of the period of the clock)
//   grant SCOPE ID -> spent=N left=N                 (grants that are kept)
//   overshoot SCOPE RULE window=START -> N           (or the want of money that it was booked on)
//   part SCOPE LABEL period=START -> N · model SCOPE NAME period=START -> N
//   limits SCOPE or every:user or seat:s -> LIMIT_ID=CAP, …
//   seat USER -> SEAT_TYPE · registered AGENT -> CREATOR · requests -> ID, ID
