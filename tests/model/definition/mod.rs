//! The account by definition: slow, plain, independent.
//!
//! It keeps the whole history (what was counted, with who paid what of it; what was said; what was told) and computes
//! anew whatever it is asked. It knows no rows, no caches and no running totals, and shares nothing with what it is held
//! against. It is to be read beside docs/specification.md; its files stand in the order of that page:
//!
//! | section | files |
//! |---|---|
//! | Terms | [`terms`], [`history`] |
//! | Time | [`time`], [`windows`], [`due`] |
//! | Who pays | [`settings`], [`money`], [`limits`], [`grants`], [`credits`] |
//! | Adjustments and refunds | [`refunds`] |
//! | Pauses | [`pauses`], [`wants`], [`means`], [`overshoot`] |
//! | Thresholds | [`thresholds`] |
//! | Periods, statements, late events | [`periods`] |
//! | Reloads and requests | [`reloads`], [`requests`] |
//! | Agents, members, plans | [`people`] |
//! | Prices | [`prices`], [`usage`] |

mod codes;
mod credits;
mod due;
mod facts;
mod fields;
mod grants;
mod history;
mod limits;
mod means;
mod money;
mod overshoot;
mod pauses;
mod people;
mod periods;
mod prices;
mod refunds;
mod reloads;
mod requests;
mod settings;
mod terms;
#[cfg(test)]
mod tests;
mod thresholds;
mod time;
mod usage;
mod wants;
mod windows;

use serde_json::{Map, Value as Json};

use crate::life::{EARLY_MS, Facts, HORIZON_MS, Said, Step, What};
use codes::{Code, No};
use fields::Fields;
use history::History;
use terms::{Kind, Meter, Scope, named};

/// An account, as it should be.
pub struct Model {
    history: History,
    said: Vec<Said>,
    /// The record time of the step, and the clock.
    at_ms: i64,
    clock_ms: i64,
    /// The own time of the control record that is applied.
    said_ms: i64,
    /// The identity of the record that is applied; who said it; what causes what is said: the record, or an instant.
    record: String,
    actor: String,
    is_by_owner: bool,
    cause: String,
    steps: usize,
}

impl Default for Model {
    fn default() -> Self {
        Self::new()
    }
}

impl Model {
    /// An organization that nobody has heard of.
    pub fn new() -> Self {
        Self {
            history: History::new(),
            said: Vec::new(),
            at_ms: 0,
            clock_ms: 0,
            said_ms: 0,
            record: String::new(),
            actor: String::new(),
            is_by_owner: true,
            cause: String::new(),
            steps: 0,
        }
    }

    /// Takes a step, then does what is due by the clock. Returns everything that is published.
    pub fn step(&mut self, step: &Step) -> Vec<Said> {
        self.steps += 1;
        (self.at_ms, self.clock_ms) = (step.at_ms, step.clock_ms);
        self.record = format!("step {}", self.steps);
        self.cause.clone_from(&self.record);
        let before = (self.history.named.len(), self.history.counted.len());
        match &step.what {
            What::Pass => {}
            What::Use(event) => self.take(event),
            What::Say { actor, id, time_ms, command, fields } => self.hear(actor, id, *time_ms, command, fields),
        }
        self.ask_for_reloads(self.clock_ms);
        self.tell_pauses(&self.agents_to_be_looked_at(before));
        self.serve_due();
        std::mem::take(&mut self.said)
    }

    /// Everything that holds now.
    pub fn facts(&self) -> Facts {
        facts::facts(&self.history, self.clock_ms)
    }

    /// What a window of a scope has of a meter; 0 for what there is not.
    pub fn count(&self, scope: &str, kind: &str, start_ms: i64, meter: &str) -> i64 {
        let asked = Scope::parse(scope).zip(named(&Kind::ALL, kind)).zip(named(&Meter::ALL, meter));
        asked.map_or(0, |((scope, kind), meter)| self.history.window(&scope, kind, start_ms).get(meter))
    }

    fn say(&mut self, text: String, identity: String) {
        self.said.push(Said { text, identity });
    }

    fn dead_letter(&mut self, reason: &str) {
        self.say(format!("dead_letter {reason}"), String::new());
    }

    /// A command names a scope: it is known from then on.
    fn name(&mut self, scope: Scope) {
        self.history.named.push((self.at_ms, scope));
    }

    /// Hears a control record: once, however old its copy is; and not when it could not be told from a copy.
    fn hear(&mut self, actor: &str, id: &str, time_ms: i64, command: &str, fields: &Map<String, Json>) {
        let mut fields = fields.clone();
        let is_by_owner = fields.remove("by_owner").is_none_or(|by_owner| by_owner == Json::Bool(true));
        let content = format!("{command} {}", Json::Object(fields.clone()));
        let known = self.history.records.get(&(id.to_owned(), time_ms));
        if known.is_some_and(|known| *known == content) {
            return;
        }
        let reason = match known {
            Some(_) => Some("id_reused"),
            None if time_ms < self.at_ms - HORIZON_MS => Some("too_late"),
            None if time_ms > self.at_ms + EARLY_MS => Some("too_early"),
            None => None,
        };
        if let Some(reason) = reason {
            // What cannot be read has neither id nor time.
            let reason = if self.is_readable(command, &fields) { reason } else { "unreadable" };
            return self.dead_letter(reason);
        }
        actor.clone_into(&mut self.actor);
        self.is_by_owner = is_by_owner;
        self.said_ms = time_ms;
        let identity = format!("journal|{id}|{time_ms}");
        let answer = match self.is_not_reserved(command) {
            Err(reserved) if self.is_readable(command, &fields) => Err(reserved),
            _ => self.obey(command, &Fields(&fields)),
        };
        match answer {
            Ok(answer) => {
                let answer: Vec<String> = answer.iter().map(Code::words).collect();
                let answer = if answer.is_empty() { "done".to_owned() } else { answer.join(" ") };
                self.say(format!("applied {command} {answer}"), identity);
            }
            Err(No::Refused(code)) => self.say(format!("refused {command} {}", code.words()), identity),
            Err(No::Unreadable) => return self.dead_letter("unreadable"),
        }
        self.history.records.insert((id.to_owned(), time_ms), content);
    }

    /// Whether a command can be read, whatever is said to it.
    fn is_readable(&mut self, command: &str, fields: &Map<String, Json>) -> bool {
        let (history, said) = (self.history.clone(), self.said.len());
        let is_readable = !matches!(self.obey(command, &Fields(fields)), Err(No::Unreadable));
        self.history = history;
        self.said.truncate(said);
        is_readable
    }

    fn obey(&mut self, command: &str, fields: &Fields) -> Result<Vec<Code>, No> {
        match command {
            "set_organization" => self.set_organization(fields),
            "set_mode" => self.set_mode(fields),
            "set_source" => self.set_source(fields),
            "set_extra_usage" => self.set_extra_usage(fields),
            "set_consent" => self.set_consent(fields),
            "consent" => self.consent(fields),
            "set_limit" => self.set_limit(fields),
            "remove_limit" => self.remove_limit(fields),
            "set_pool" => self.set_pool(fields),
            "remove_pool" => self.remove_pool(fields),
            "grant" => self.grant(fields),
            "void_grant" => self.void_grant(fields),
            "set_free_phase" => self.set_free_phase(fields),
            "adjust" => self.adjust(fields),
            "pause" => self.pause(fields),
            "resume" => self.resume(fields),
            "set_auto_reload" => self.set_auto_reload(fields),
            "remove_auto_reload" => self.remove_auto_reload(fields),
            "refuse_reload" => self.refuse_reload(fields),
            "set_requests" => self.set_requests(fields),
            "request" => self.request(fields),
            "approve" => self.approve(fields),
            "decline" => self.decline(fields),
            "set_seat_type" => self.set_seat_type(fields),
            "set_member" => self.set_member(fields),
            "set_agent_creation" => self.set_agent_creation(fields),
            "register_workspace" => self.register_workspace(fields),
            "register_agent" => self.register_agent(fields),
            "set_reserved" => self.set_reserved(fields),
            "set_plan" => self.set_plan(fields),
            "set_rate_card" => self.set_rate_card(fields),
            "set_unit" => self.set_unit(fields),
            _ => Err(No::Unreadable),
        }
    }
}
