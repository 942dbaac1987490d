//! Signals on their way out: decided, committed, published, acknowledged, forgotten.

use super::{
    changes::{Changes, unpack_signal},
    layout::{LayoutError, pack},
};
use crate::{
    domain::signal::{Identity, Signal},
    faults::{Defence, holds, once},
};

/// At most this many signals are forgotten by one commit.
const FORGET_MAX: usize = 2_000;

/// The signals of one account. They are stored with what caused them, and forgotten once Kafka has them.
#[derive(Debug)]
pub struct Outbox {
    organization_id: Box<str>,
    /// Of decisions that are not committed yet.
    decided: Vec<Signal>,
    /// Stored, and not published by this worker.
    stored: Vec<(u64, Signal)>,
    /// Stored, and acknowledged to this worker: the next commit forgets exactly these.
    acknowledged: Vec<u64>,
    next_number: u64,
}

impl Outbox {
    /// An empty one.
    pub fn new(organization_id: &str) -> Self {
        Self {
            organization_id: organization_id.into(),
            decided: Vec::new(),
            stored: Vec::new(),
            acknowledged: Vec::new(),
            next_number: 0,
        }
    }

    /// Takes in what others left behind, and the number of the next signal.
    ///
    /// # Errors
    /// [`LayoutError`] if a signal cannot be read.
    pub fn fill(&mut self, left_behind: Vec<(u64, Vec<u8>)>, next_number: u64) -> Result<(), LayoutError> {
        self.next_number = next_number;
        self.stored.clear();
        let left_behind = if holds(Defence::Outbox) { left_behind } else { Vec::new() };
        for (number, bytes) in left_behind {
            self.stored.push((number, unpack_signal(&bytes)?));
        }
        Ok(())
    }

    /// Sends a signal with the next commit.
    pub fn emit(&mut self, signal: Signal) {
        self.decided.push(signal);
    }

    /// What makes a signal of this organization itself: one for these parts, whoever derives it.
    pub fn identity(&self, parts: &[&str]) -> Identity {
        let all: Vec<&str> = std::iter::once(&*self.organization_id).chain(parts.iter().copied()).collect();
        Identity::derive(&all)
    }

    /// Signals that are not committed yet.
    pub fn decided(&self) -> &[Signal] {
        &self.decided
    }

    /// Signals that are committed and not yet published by this worker, with their numbers.
    pub fn stored(&self) -> &[(u64, Signal)] {
        &self.stored
    }

    /// The number of the next signal.
    pub const fn next_number(&self) -> u64 {
        self.next_number
    }

    /// Notes that the first `count` signals that are stored are acknowledged.
    pub fn acknowledge(&mut self, count: usize) {
        self.acknowledged.extend(self.stored.drain(..count).map(|(number, _)| number));
    }

    /// Whether anything is to be forgotten.
    pub fn has_acknowledged(&self) -> bool {
        !self.acknowledged.is_empty()
    }

    /// Adds what is to be stored and forgotten.
    pub fn take_changes(&mut self, changes: &mut Changes) {
        changes.forget = self.take_forgotten();
        for signal in std::mem::take(&mut self.decided) {
            changes.signals.push((self.next_number, pack(&signal)));
            self.stored.push((self.next_number, signal));
            self.next_number += 1;
        }
        if !once() {
            (changes.signals, changes.forget) = Default::default();
        }
    }

    fn take_forgotten(&mut self) -> Vec<u64> {
        if !holds(Defence::ForgetOwn) {
            return (0..self.next_number).rev().take(FORGET_MAX).collect();
        }
        self.acknowledged.drain(..self.acknowledged.len().min(FORGET_MAX)).collect()
    }
}
