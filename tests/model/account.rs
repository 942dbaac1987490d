//! The account that is tried: the real one, on a ledger in memory, committed after every step.
//!
//! What it says and holds is told in the canonical words of `life.rs`: `words.rs` makes those of what is published,
//! `stored.rs` those of what is stored.

use std::collections::{BTreeSet, HashMap};

use bursar::{
    contract::{
        Kind,
        json::{cloud_event, read_control},
    },
    domain::{
        account::{
            Account, Moment, Outcome, Policy,
            changes::{Needs, Stamp},
        },
        control::ControlRecord,
        event::{RunPhase, Tokens, Usage, UsageEvent},
        scope::Scope,
        signal::Signal,
        time::Timestamp,
    },
    ledger::{Committed, Ledger, memory::MemoryLedger},
};
use futures::executor::block_on;
use serde_json::{Map, Value as Json, json};

use crate::{
    life::{DELAY_MS, EARLY_MS, Facts, GRACE_MS, HORIZON_MS, ORGANIZATION, Said, Step, Use, What},
    stored::Stored,
    words,
};

const POLICY: Policy =
    Policy { horizon_ms: HORIZON_MS, early_ms: EARLY_MS, rules_delay_ms: DELAY_MS, grace_ms: GRACE_MS };

/// Whoever serves more due records than this in one step serves the same one again and again. A year of days with a
/// digest each fits.
const DUE_MAX: usize = 2_000;

/// By how much what is due may lie ahead of a clock that stands: what is due at an instant that was served is due again a
/// moment later.
const AHEAD_MS: i64 = 20;

/// What becomes of the view in memory between two steps.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum View {
    /// It is kept, as by a worker that is alone.
    Kept,
    /// It is dropped, as after a refused commit: everything is loaded again.
    Dropped,
}

impl View {
    /// For who reads a failure.
    pub fn name(self) -> &'static str {
        match self {
            Self::Kept => "kept",
            Self::Dropped => "dropped",
        }
    }

    /// The one of that name.
    pub fn named(name: &str) -> Self {
        if name == "dropped" { Self::Dropped } else { Self::Kept }
    }
}

/// An account, and what it said.
pub struct Real {
    view: View,
    ledger: MemoryLedger,
    account: Account,
    token: u128,
    said: Vec<Said>,
    /// What was published under each identity: a view that is dropped before it forgets publishes copies.
    published: HashMap<String, BTreeSet<String>>,
    stored: Stored,
}

impl Real {
    /// An organization that nobody has heard of.
    pub fn new(view: View) -> Self {
        Self {
            view,
            ledger: MemoryLedger::new(),
            account: Account::new(ORGANIZATION),
            token: 0,
            said: Vec::new(),
            published: HashMap::new(),
            stored: Stored::default(),
        }
    }

    /// Does what a step says, then what is due by its clock. Returns what was said of it.
    pub fn step(&mut self, step: &Step) -> Vec<Said> {
        let moment = moment(step.at_ms, step.clock_ms);
        match &step.what {
            What::Pass => {}
            What::Use(event) => self.take(event, moment),
            What::Say { actor, id, time_ms, command, fields } => {
                let record = control_record(actor, id, *time_ms, command, fields);
                match read_control(&record) {
                    Ok(record) => self.obey(&record, moment),
                    // Whatever is wrong with it: it cannot be read as a command.
                    Err(_) => self.dead_letter("unreadable"),
                }
            }
        }
        self.commit();
        self.serve_due(moment);
        if self.view == View::Dropped {
            self.account = Account::new(ORGANIZATION);
        }
        std::mem::take(&mut self.said)
    }

    /// What is stored.
    pub fn facts(&mut self, clock_ms: i64) -> &Facts {
        self.stored.facts(&self.ledger, clock_ms)
    }

    fn take(&mut self, event: &Use, moment: Moment) {
        let usage = match event.tokens {
            Some(input) => {
                let tokens = Tokens { input, ..Tokens::default() };
                Usage::Tokens { request_model: event.model.as_deref().unwrap_or("small"), tokens }
            }
            None => Usage::Run { phase: RunPhase::parse(&event.phase).expect("a life has no other phases") },
        };
        let event = UsageEvent {
            workspace_id: event.workspace.as_deref(),
            agent_id: event.agent.as_deref(),
            user_id: event.user.as_deref(),
            product: event.product.as_deref(),
            trigger: event.trigger.as_deref(),
            ..UsageEvent::new(&event.id, "life", Timestamp::from_ms(event.time_ms), ORGANIZATION, usage)
        };
        let mut charged = Default::default();
        self.load(|account, needs| {
            charged = account.name_scopes(&event, event.event_id());
            account.needs_for_usage(event.event_time, charged, needs);
        });
        let outcome = self.account.decide_usage(&event, event.event_id(), charged, moment, &POLICY);
        if let Outcome::DeadLetter(reason) = outcome {
            self.dead_letter(reason.code());
        }
    }

    fn obey(&mut self, record: &ControlRecord, moment: Moment) {
        loop {
            self.load(|account, needs| account.needs_for_control(record, needs));
            match self.account.decide_control(record, ("usage.control", 0, 0), moment, &POLICY) {
                Outcome::Continue => self.commit(),
                Outcome::DeadLetter(reason) if reason.code() != "control_refused" => {
                    return self.dead_letter(reason.code());
                }
                _ => return,
            }
        }
    }

    fn dead_letter(&mut self, code: &str) {
        self.said.push(Said { text: format!("dead_letter {code}"), identity: String::new() });
    }

    fn serve_due(&mut self, moment: Moment) {
        for _ in 0..DUE_MAX {
            self.load(|account, needs| {
                account.needs_for_correction(&Scope::Organization, needs);
            });
            // What lies a little ahead of a clock that stands comes all the same.
            let until = moment.clock.plus_ms(AHEAD_MS);
            let Some(at) = self.account.due().filter(|due| *due <= until) else { return };
            let fields = Map::from_iter([("at".to_owned(), json!(at.to_string()))]);
            let record = control_record("bursar", &format!("due-{}", at.ms()), at.ms(), "due", &fields);
            let record = read_control(&record).expect("a due record can be read");
            self.obey(&record, moment);
            self.commit();
        }
        panic!("something is due again and again: {:?}", self.account.due());
    }

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

    /// Writes what changed, and tells what goes out.
    fn commit(&mut self) {
        if !self.account.has_changes() {
            return;
        }
        self.token += 1;
        let stamp = Stamp { token: self.token, low_water: Timestamp::MIN, horizon_ms: 0 };
        let changes = self.account.take_changes(stamp);
        let committed = block_on(self.ledger.commit(&[(ORGANIZATION.into(), changes)])).expect("memory answers");
        assert_eq!(committed, [Committed::Written]);
        let outbox: Vec<Signal> = self.account.outbox().iter().map(|(_, signal)| signal.clone()).collect();
        self.account.acknowledge(outbox.len());
        for signal in &outbox {
            self.publish(signal);
        }
    }

    /// Tells a signal, unless it is a copy. What differs under an identity that was used before is no copy, and told.
    fn publish(&mut self, signal: &Signal) {
        let Some(text) = words::of_signal(signal) else { return };
        let identity = signal.identity().to_string();
        if self.published.entry(identity.clone()).or_default().insert(text.clone()) {
            self.said.push(Said { text, identity });
        }
    }
}

/// A moment by whose clock all usage recorded before it has been read.
fn moment(at_ms: i64, clock_ms: i64) -> Moment {
    let clock = Timestamp::from_ms(clock_ms);
    Moment { record_time: Timestamp::from_ms(at_ms), clock, read_until: clock, clock_follows_records: true }
}

/// A control record, as CloudEvents JSON.
fn control_record(actor: &str, id: &str, time_ms: i64, command: &str, fields: &Map<String, Json>) -> Vec<u8> {
    let mut fields = fields.clone();
    let by_owner = fields.remove("by_owner");
    let data = json!({ "organization_id": ORGANIZATION, "actor": actor, "by_owner": by_owner, command: fields });
    cloud_event(Kind::Control, "life", id, Timestamp::from_ms(time_ms), data).to_string().into_bytes()
}
