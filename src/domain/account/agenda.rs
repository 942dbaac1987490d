//! What has to happen here by itself, and when: the account's own list of what is due, and the record that is on its way
//! through many scopes.

use super::{changes::Head, sweep::Sweep};
use crate::domain::{time::Timestamp, window::Window};

/// What is due. The index of due times outside is a cache of [`Agenda::due`].
#[derive(Debug)]
pub struct Agenda {
    due: Option<Timestamp>,
    /// Whether `due` has to be written to the index.
    due_changed: bool,
    /// The latest instant whose due record was served: nothing that ends by then can begin any more.
    served_due: Timestamp,
    /// Periods that end by this instant are closed.
    closed_until: Timestamp,
    /// The period that is being closed, page by page.
    closing: Option<Timestamp>,
    /// When everyone who lives on what all share has to be looked at.
    look_at_all: Vec<Timestamp>,
    /// The fingerprints of control records between two of their pages.
    sweeping: Vec<u64>,
    /// The record that is on its way through many scopes.
    pub(in crate::domain) sweep: Option<Sweep>,
}

impl Default for Agenda {
    fn default() -> Self {
        Self {
            due: None,
            due_changed: false,
            served_due: Timestamp::MIN,
            closed_until: Timestamp::MIN,
            closing: None,
            look_at_all: Vec::new(),
            sweeping: Vec::new(),
            sweep: None,
        }
    }
}

impl Agenda {
    /// Takes in what is stored. The index is a cache: whoever loads an account puts its entry right.
    pub fn fill(&mut self, head: &Head) {
        *self = Self {
            due: head.due,
            due_changed: head.due.is_some(),
            served_due: head.served_due,
            closed_until: head.closed_until,
            closing: head.closing,
            look_at_all: head.look_at_all.clone(),
            sweeping: head.sweeping.clone(),
            sweep: self.sweep.take(),
        };
    }

    /// Writes what is to be stored into `head`.
    pub fn store(&self, head: &mut Head) {
        head.due = self.due;
        head.served_due = self.served_due;
        head.closed_until = self.closed_until;
        head.closing = self.closing;
        head.look_at_all.clone_from(&self.look_at_all);
        head.sweeping.clone_from(&self.sweeping);
    }

    /// The next instant at which something must happen here.
    pub const fn due(&self) -> Option<Timestamp> {
        self.due
    }

    /// Sees to it that a due record comes at `at` or before.
    pub fn be_due(&mut self, at: Timestamp) {
        let at = self.not_served(at);
        if self.due.is_none_or(|due| at < due) {
            self.due_next(Some(at));
        }
    }

    /// Makes this the next instant.
    pub fn due_next(&mut self, at: Option<Timestamp>) {
        self.due = at;
        self.due_changed = true;
    }

    /// An instant that was served is not served again under the same identity: then the one after all that were.
    pub fn not_served(&self, at: Timestamp) -> Timestamp {
        at.max(self.served_due.plus_ms(1))
    }

    /// Whether the index has to be written.
    pub fn has_changes(&self) -> bool {
        self.due_changed && self.due.is_some()
    }

    /// The instant to be written to the index, if it has to be.
    pub fn take_due(&mut self) -> Option<Timestamp> {
        self.due.filter(|_| std::mem::take(&mut self.due_changed))
    }

    /// Writes the entry of the index again: a due record came whose work is done or has to wait.
    pub fn renew_due(&mut self) {
        if let Some(due) = self.due {
            self.due_next(Some(self.not_served(due)));
        }
    }

    /// The latest instant whose due record was served.
    pub const fn served_due(&self) -> Timestamp {
        self.served_due
    }

    /// Notes that all that was due by `at` was served.
    pub fn serve(&mut self, at: Timestamp) {
        self.served_due = at;
    }

    /// When everyone who lives on what all share has to be looked at next.
    pub fn look_at_all(&self) -> Option<Timestamp> {
        self.look_at_all.iter().copied().min()
    }

    /// Has everyone who lives on what all share looked at, at `at`.
    pub fn be_looked_at_all(&mut self, at: Timestamp) {
        if !self.look_at_all.contains(&at) {
            self.look_at_all.push(at);
        }
        self.be_due(at);
    }

    /// Notes that all were looked at, by `now`.
    pub fn looked_at_all(&mut self, now: Timestamp) {
        self.look_at_all.retain(|at| *at > now);
    }

    /// Whether what is charged to a period now comes after its statement; while it is being closed it does.
    pub fn is_closed(&self, period: Window) -> bool {
        period.end <= self.closed_until || self.closing == Some(period.end)
    }

    /// Periods that end by this instant are closed.
    pub const fn closed_until(&self) -> Timestamp {
        self.closed_until
    }

    /// Notes that a period is being closed.
    pub fn begin_closing(&mut self, period: Window) {
        self.closing = Some(period.end);
    }

    /// Notes that every line of a period was written.
    pub fn close(&mut self, period: Window) {
        self.closed_until = self.closed_until.max(period.end);
        self.closing = None;
    }

    /// Notes that every period that ended by `until` is closed, or had nothing to close.
    pub fn closed_all(&mut self, until: Timestamp) {
        self.closed_until = self.closed_until.max(until);
    }

    /// Sees to it that a period is closed when its grace is over. One that was due already and could not be closed is
    /// tried again by the due record that found that.
    #[inline]
    pub fn close_in_time(&mut self, period: Window, grace_ms: i64) {
        let closes_at = period.end.plus_ms(grace_ms);
        if period.end > self.closed_until && closes_at > self.served_due {
            self.be_due(closes_at);
        }
    }

    /// Whether a control record is between two of its pages: its change is made.
    pub fn is_sweeping(&self, fingerprint: u64) -> bool {
        self.sweeping.contains(&fingerprint)
    }

    /// Notes that a control record has made its change and goes on with the next page.
    pub fn begin_sweeping(&mut self, fingerprint: u64) {
        self.sweeping.push(fingerprint);
    }

    /// Notes that a control record is through.
    pub fn end_sweeping(&mut self, fingerprint: u64) {
        self.sweeping.retain(|known| *known != fingerprint);
    }
}
