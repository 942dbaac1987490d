//! A scenario on an account in memory: committed after every line, and held, or forgotten and loaded again.

use std::collections::HashSet;

use bursar::{
    contract::{
        Kind,
        json::{cloud_event, read_control},
    },
    domain::{
        account::{
            Account, Moment, Outcome, Policy,
            changes::{Needs, Stamp},
            layout::unpack,
        },
        control::ControlRecord,
        event::{RunPhase, Tokens, Usage, UsageEvent},
        signal::Signal,
        time::{HOUR_MS, MINUTE_MS, Timestamp},
    },
    ledger::{Committed, Ledger, memory::MemoryLedger},
    notify::encode::{self, Format},
};
use futures::executor::block_on;
use serde_json::{Value as Json, json};

use crate::{
    language::{Action, Step, Use},
    told::{Seen, tell},
};

pub const POLICY: Policy =
    Policy { horizon_ms: 48 * HOUR_MS, early_ms: 5 * MINUTE_MS, rules_delay_ms: MINUTE_MS, grace_ms: 15 * MINUTE_MS };

/// Whose account scenarios are about.
pub const ORGANIZATION: &str = "acme";

/// The event of a step, under the step's number unless it has an id of its own.
pub fn with_event<R>(event: &Use, at: Timestamp, number: usize, then: impl FnOnce(&UsageEvent<'_>) -> R) -> R {
    let id = event.id.clone().unwrap_or_else(|| format!("e{number}"));
    let usage = match event.tokens {
        Some(input) => {
            let tokens = Tokens { input, ..Tokens::default() };
            Usage::Tokens {
                request_model: event.model.as_deref().map_or("small", |model| if model == "none" { "" } else { model }),
                tokens,
            }
        }
        None => Usage::Run { phase: RunPhase::parse(&event.phase).expect("a phase of a run") },
    };
    then(&UsageEvent {
        workspace_id: event.workspace.as_deref(),
        agent_id: event.agent.as_deref(),
        user_id: event.user.as_deref(),
        product: event.product.as_deref(),
        trigger: event.trigger.as_deref(),
        ..UsageEvent::new(&id, "scenario", event.at.unwrap_or(at), ORGANIZATION, usage)
    })
}

/// The identity of a reload that was asked for.
pub fn reload_of(data: &Json) -> Option<String> {
    (data["kind"] == "reload_requested").then(|| data["identity"].as_str().unwrap_or_default().to_owned())
}

/// Text of a scenario with the reloads that were asked for by their identities: `$reload` is the last, `$reload1` the first.
fn with_reloads(text: &str, reloads: &[String]) -> String {
    let numbered = reloads.iter().enumerate().rev();
    let text = numbered.fold(text.to_owned(), |text, (n, reload)| text.replace(&format!("$reload{}", n + 1), reload));
    text.replace("$reload", reloads.last().map_or("", String::as_str))
}

/// A sentence with the names that a scenario has for reloads.
pub fn name_reloads(sentence: &str, reloads: &[String]) -> String {
    let named = reloads.iter().enumerate();
    named.fold(sentence.to_owned(), |sentence, (n, reload)| sentence.replace(reload, &format!("$reload{}", n + 1)))
}

/// The control record of a step, as CloudEvents JSON.
pub fn control_json(
    actor: &str,
    id: Option<&str>,
    command: &Json,
    at: Timestamp,
    number: usize,
    reloads: &[String],
) -> String {
    let mut data: Json = serde_json::from_str(&with_reloads(&command.to_string(), reloads)).expect("JSON");
    data["organization_id"] = ORGANIZATION.into();
    data["actor"] = actor.into();
    let id = id.map_or_else(|| format!("c{number}"), str::to_owned);
    cloud_event(Kind::Control, "scenario", &id, at, data).to_string()
}

/// A moment at which everything recorded before has been applied.
fn moment(at: Timestamp) -> Moment {
    Moment { record_time: at, clock: at, read_until: at, clock_follows_records: true }
}

/// An account on a ledger in memory.
pub struct Stage {
    pub ledger: MemoryLedger,
    pub account: Account,
    token: u128,
    /// What was published since it was last asked, a sentence each.
    pub told: Vec<String>,
    /// Identities of all signals, in their order.
    pub identities: Vec<String>,
    seen: HashSet<String>,
    /// The reloads that were asked for.
    reloads: Vec<String>,
    now: Timestamp,
    /// The most rows and signals that one commit had.
    pub rows_committed_max: usize,
    pub signals_committed_max: usize,
}

impl Stage {
    pub fn new() -> Self {
        Self {
            ledger: MemoryLedger::new(),
            account: Account::new(ORGANIZATION),
            token: 0,
            told: Vec::new(),
            identities: Vec::new(),
            seen: HashSet::new(),
            reloads: Vec::new(),
            now: Timestamp::MIN,
            rows_committed_max: 0,
            signals_committed_max: 0,
        }
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

    /// Writes what changed, and tells the signals.
    pub fn commit(&mut self) {
        if !self.account.has_changes() {
            return;
        }
        self.token += 1;
        let changes = self.account.take_changes(Stamp { token: self.token, low_water: Timestamp::MIN, horizon_ms: 0 });
        self.rows_committed_max = self.rows_committed_max.max(changes.fields.len());
        self.signals_committed_max = self.signals_committed_max.max(changes.signals.len());
        let committed = block_on(self.ledger.commit(&[(ORGANIZATION.into(), changes)])).expect("memory answers");
        assert_eq!(committed, [Committed::Written]);
        let outbox: Vec<Signal> = self.account.outbox().iter().map(|(_, signal)| signal.clone()).collect();
        for signal in &outbox {
            // A view that was dropped before it forgot publishes a copy, under the same identity.
            let identity = signal.identity().to_string();
            if self.seen.insert(identity.clone()) {
                self.identities.push(identity);
                let sent: Json = serde_json::from_slice(&encode::signal(ORGANIZATION, signal, Format::Json).payload)
                    .expect("signals are sent as JSON");
                self.reloads.extend(reload_of(&sent["data"]));
                let sentence = tell(sent["type"].as_str().expect("a type"), &sent["data"]);
                self.told.extend(sentence.map(|sentence| name_reloads(&sentence, &self.reloads)));
            }
        }
        self.account.acknowledge(outbox.len());
    }

    /// Forgets everything held in memory, as after a refused commit.
    pub fn drop_view(&mut self) {
        self.account = Account::new(ORGANIZATION);
    }

    /// Does what a step says, and then what is due by its time.
    pub fn play(&mut self, number: usize, step: &Step) {
        self.act(number, step);
        self.serve_due(step.at);
    }

    /// Does what a step says.
    pub fn act(&mut self, number: usize, step: &Step) {
        let moment = moment(step.at);
        self.now = step.at;
        match &step.action {
            Action::Pass => {}
            Action::Use(event) => {
                let outcome = with_event(event, step.at, number, |event| self.decide(event, moment));
                if let Outcome::DeadLetter(reason) = outcome {
                    self.told.push(format!("dead letter: {}", reason.code()));
                }
            }
            Action::Say { actor, id, command } => {
                let record = control_json(actor, id.as_deref(), command, step.at, number, &self.reloads);
                match read_control(record.as_bytes()) {
                    Ok(record) => self.say(&record, moment),
                    Err(reason) => self.told.push(format!("dead letter: {}", reason.code())),
                }
            }
        }
    }

    fn decide(&mut self, event: &UsageEvent<'_>, moment: Moment) -> Outcome {
        let mut charged = Default::default();
        self.load(|account, needs| {
            charged = account.name_scopes(event, event.event_id());
            account.needs_for_usage(event.event_time, charged, needs);
        });
        self.account.decide_usage(event, event.event_id(), charged, moment, &POLICY)
    }

    fn say(&mut self, record: &ControlRecord, moment: Moment) {
        loop {
            self.load(|account, needs| account.needs_for_control(record, needs));
            match self.account.decide_control(record, ("usage.control", 0, 0), moment, &POLICY) {
                Outcome::Continue => self.commit(),
                Outcome::DeadLetter(reason) if reason.code() != "control_refused" => {
                    return self.told.push(format!("dead letter: {}", reason.code()));
                }
                _ => return,
            }
        }
    }

    /// Serves due records as long as something is due.
    fn serve_due(&mut self, now: Timestamp) {
        self.commit();
        for _ in 0..100 {
            if !self.serve_one_due(moment(now)) {
                return;
            }
        }
        panic!("something is due again and again: {:?}", self.account.due());
    }

    /// Serves a due record, if something is due by then. Returns whether it was.
    pub fn serve_one_due(&mut self, moment: Moment) -> bool {
        self.serve_one_due_until(moment.clock, moment)
    }

    /// The same, if something is due until then.
    pub fn serve_one_due_until(&mut self, until: Timestamp, moment: Moment) -> bool {
        self.load(|account, needs| {
            account.needs_for_correction(&bursar::domain::scope::Scope::Organization, needs);
        });
        let Some(at) = self.account.due().filter(|due| *due <= until) else { return false };
        let data = json!({ "organization_id": ORGANIZATION, "actor": "bursar", "due": { "at": at.to_string() } });
        let record = cloud_event(Kind::Control, "bursar", &format!("due-{}", at.ms()), at, data).to_string();
        let record = read_control(record.as_bytes()).expect("a due record");
        self.say(&record, moment);
        self.commit();
        true
    }

    /// The account as it is stored.
    pub fn seen(&self) -> Seen {
        let rows = self.ledger.scope_fields(ORGANIZATION);
        let rows = rows.iter().map(|(field, packed)| (field.to_string(), unpack("row", packed).expect("a row")));
        let needs = Needs { base: true, ..Needs::default() };
        let loaded = block_on(self.ledger.load(&[(ORGANIZATION.into(), needs)])).expect("memory answers").remove(0);
        let settings = loaded.base.and_then(|base| base.settings);
        let settings = settings.map_or_else(Default::default, |packed| unpack("settings", &packed).expect("settings"));
        Seen { now: self.now, settings, rows: rows.collect() }
    }
}
