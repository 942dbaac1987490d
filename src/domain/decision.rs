//! What one decision works on: the parts of an account, borrowed together, and what it is about.

use super::{
    account::{
        Account, Moment, Parts, Policy, agenda::Agenda, book::Book, outbox::Outbox, rulebook::Rulebook,
        scopes::ScopeIndex,
    },
    control::ControlRecord,
    funding::{Occasion, View},
    ids::Fingerprint,
    signal::{Identity, RequestKind, RequestSignal, Signal},
    time::Timestamp,
    window::Window,
};

/// One decision about an account: an event, a control record, or what time brings.
pub struct Decision<'a> {
    /// What holds for the whole organization.
    pub rules: &'a mut Rulebook,
    /// What is counted and set for each scope.
    pub book: &'a mut Book,
    /// What is due.
    pub agenda: &'a mut Agenda,
    /// Signals on their way out.
    pub out: &'a mut Outbox,
    /// When it is decided.
    pub at: Moment,
    /// What decisions depend on besides.
    pub policy: &'a Policy,
    /// What is decided.
    pub trigger: Trigger<'a>,
}

/// What is decided. The identity of what follows derives from it, so that a replay publishes the same signals and not
/// others.
#[derive(Clone, Copy)]
pub enum Trigger<'a> {
    /// A usage event.
    Event(Fingerprint),
    /// A control record.
    Control(&'a ControlRecord),
    /// What is due at an instant.
    Due(Timestamp),
    /// The pauses topic was wrong: the generation that was read there, plus one.
    Correction(i64),
}

impl Trigger<'_> {
    /// What makes the trigger itself.
    pub fn parts(&self) -> Vec<String> {
        let own = |parts: &[&str]| parts.iter().map(|part| (*part).to_owned()).collect();
        match self {
            Self::Event(fingerprint) => own(&["event", &format!("{:016x}", fingerprint.0)]),
            Self::Control(record) => own(&["control", &record.source, &record.id, &record.time.ms().to_string()]),
            Self::Due(at) => own(&["due", &at.ms().to_string()]),
            Self::Correction(generation) => own(&["correction", &generation.to_string()]),
        }
    }
}

impl Account {
    /// Borrows the parts for one decision. The clock is not behind what was served already: another process's clock may be
    /// ahead, and a pause that ends at an instant whose due record is gone would never end.
    pub fn decision<'a>(&'a mut self, trigger: Trigger<'a>, moment: Moment, policy: &'a Policy) -> Decision<'a> {
        let Parts { rules, book, agenda, out } = self.parts();
        let at = Moment { clock: moment.clock.max(agenda.served_due()), ..moment };
        Decision { rules, book, agenda, out, at, policy, trigger }
    }
}

impl Decision<'_> {
    /// The account as it stands.
    pub fn view(&self) -> View<'_> {
        View { rules: self.rules, book: self.book }
    }

    /// Whether an owner speaks; what is no record of somebody's is as an owner's.
    pub const fn is_by_owner(&self) -> bool {
        match self.trigger {
            Trigger::Control(record) => record.by_owner,
            _ => true,
        }
    }

    /// The clock.
    pub const fn now(&self) -> Timestamp {
        self.at.clock
    }

    /// What is used in `period` at `event_time`, and recorded now.
    pub fn occasion(&self, event_time: Timestamp, period: Window) -> Occasion {
        let record_time = self.at.record_time;
        let is_late = record_time >= period.end.plus_ms(self.policy.grace_ms);
        Occasion { event_time, period, record_time, is_late, is_asked: false }
    }

    /// The identity of something that happens once for a scope because of what is decided.
    pub fn identity(&self, kind: &str, index: ScopeIndex, more: &[&str]) -> Identity {
        let field = self.book.slot(index).field();
        let trigger = self.trigger.parts();
        let parts = [kind, &*field].into_iter().chain(trigger.iter().map(String::as_str)).chain(more.iter().copied());
        self.out.identity(&parts.collect::<Vec<_>>())
    }

    /// Tells somebody outside, under an identity of its own.
    pub fn tell_as(&mut self, identity: Identity, index: ScopeIndex, kind: RequestKind) {
        let (scope, record_time) = (self.book.slot(index).scope.clone(), self.at.record_time);
        self.out.emit(Signal::Request(RequestSignal { identity, scope, kind, record_time }));
    }

    /// Tells somebody outside what a control record says.
    pub fn tell(&mut self, index: ScopeIndex, kind: RequestKind) {
        let parts = self.trigger.parts();
        let parts: Vec<&str> = std::iter::once("request").chain(parts.iter().map(String::as_str)).collect();
        let identity = self.out.identity(&parts);
        self.tell_as(identity, index, kind);
    }

    /// When credits come that come now: after the look at the agents of the free phase, if that was made at this instant.
    pub fn credited_at(&self) -> Timestamp {
        let looked_at = self.rules.free_phase_looked_at;
        looked_at.map_or(self.at.clock, |looked_at| self.at.clock.max(looked_at.plus_ms(1)))
    }

    /// Has everyone who lives on what all share looked at now.
    pub fn look_at_all_now(&mut self) {
        self.agenda.be_looked_at_all(self.at.clock);
    }
}
