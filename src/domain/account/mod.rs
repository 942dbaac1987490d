//! One organization's state: the parts that decisions work on, each owning what it has to write.
//!
//! An account in memory is a *view* of what the ledger holds under one head. The worker asks what is missing
//! ([`Account::needs_for_usage`], [`Account::needs_for_control`]), loads it ([`Account::fill`]), lets the account
//! decide ([`Account::decide_usage`], [`Account::decide_control`]), and commits what changed
//! ([`Account::take_changes`]). A commit that is refused means that somebody else moved the account: the whole view
//! is dropped, rows *and* ids, and everything is decided again.
//!
//! - [`rulebook`]: what holds for the whole organization ([`settings`]), and the windows that were opened.
//! - [`book`]: the [`scopes`] with a [`row`] each, its [`windows`] in [`columns`], and older windows.
//! - [`agenda`]: what is due, and the record on its way through many scopes ([`sweep`]).
//! - [`outbox`]: signals, those of earlier releases (`earlier`) too. [`ids`]: what was applied ([`seen`], `id_table`).
//! - [`ceiling`]: when a limit or pool announces.
//! - [`changes`], [`layout`], `packing`: how it is stored.
//!
//! What is decided stands beside it: [`super::usage`], [`super::command`], [`super::due`], and [`super::causes`].

pub mod agenda;
pub mod book;
pub mod breakdown;
pub mod ceiling;
pub mod changes;
pub mod columns;
mod earlier;
mod id_table;
pub mod ids;
pub mod layout;
mod needs;
pub mod outbox;
mod packing;
pub mod row;
pub mod rulebook;
pub mod scopes;
pub mod seen;
pub mod settings;
pub mod sweep;
mod window_code;
pub mod windows;

pub use ids::Outcome;

use self::{
    agenda::Agenda,
    book::Book,
    changes::{Changes, Head, Loaded, Needs, Stamp},
    ids::Ids,
    layout::{LayoutError, pack, unpack},
    outbox::Outbox,
    rulebook::Rulebook,
};
use crate::{
    domain::{signal::Signal, time::Timestamp},
    prefetch::prefetch,
};

/// What settings and calendar of most accounts have outside of them, in bytes: a rate card above all.
const SETTINGS_BYTES: usize = 1_500;

/// What decisions depend on besides state and events. The same for all workers, or a replay decides otherwise.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Policy {
    /// How long ids are remembered, and how old an event may be.
    pub horizon_ms: i64,
    /// How far an event may be ahead of its record time.
    pub early_ms: i64,
    /// How long after its record a rate card or zone takes effect.
    pub rules_delay_ms: i64,
    /// How long after its end a period is closed: what comes later is a correction.
    pub grace_ms: i64,
}

/// The present of a batch.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Present {
    /// By the configured clock.
    pub clock: Timestamp,
    /// Up to which record time all usage has been read; the clock, if nothing waits.
    pub read_until: Timestamp,
    /// Whether the clock stands still while no record comes.
    pub clock_follows_records: bool,
}

/// When something is decided.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Moment {
    /// When the broker got the record: the running maximum of its partition.
    pub record_time: Timestamp,
    /// The present, by the configured clock.
    pub clock: Timestamp,
    /// Up to which record time all usage has been applied; the clock, if nothing waits.
    pub read_until: Timestamp,
    /// Whether the clock stands still while no record comes.
    pub clock_follows_records: bool,
}

impl Moment {
    /// Up to when usage and grants are settled: what was used by then has been paid.
    pub fn settled(&self) -> Timestamp {
        self.record_time.min(self.read_until)
    }

    /// The moment of a record within a batch.
    pub const fn of(record_time: Timestamp, present: Present) -> Self {
        let Present { clock, read_until, clock_follows_records } = present;
        Self { record_time, clock, read_until, clock_follows_records }
    }
}

/// The parts of an account that decisions change, borrowed together.
pub struct Parts<'a> {
    /// What holds for the whole organization.
    pub rules: &'a mut Rulebook,
    /// What is counted and set for each scope.
    pub book: &'a mut Book,
    /// What is due.
    pub agenda: &'a mut Agenda,
    /// Signals on their way out.
    pub out: &'a mut Outbox,
}

/// One organization.
#[derive(Debug)]
pub struct Account {
    organization_id: Box<str>,
    /// As stored; `None` before the base is loaded, `Some(None)` for an organization that never was committed.
    stored_head: Option<Option<Vec<u8>>>,
    rules: Rulebook,
    book: Book,
    agenda: Agenda,
    ids: Ids,
    out: Outbox,
}

impl Account {
    /// The view of an organization of which nothing is known yet.
    pub fn new(organization_id: &str) -> Self {
        Self {
            organization_id: organization_id.into(),
            stored_head: None,
            rules: Rulebook::default(),
            book: Book::default(),
            agenda: Agenda::default(),
            ids: Ids::default(),
            out: Outbox::new(organization_id),
        }
    }

    /// The parts that decisions change.
    pub const fn parts(&mut self) -> Parts<'_> {
        let Self { rules, book, agenda, out, .. } = self;
        Parts { rules, book, agenda, out }
    }

    /// What was applied.
    pub const fn ids(&self) -> &Ids {
        &self.ids
    }

    /// What was applied, to note more.
    pub const fn ids_mut(&mut self) -> &mut Ids {
        &mut self.ids
    }

    /// What is due.
    pub const fn agenda(&self) -> &Agenda {
        &self.agenda
    }

    /// What is due, to change it.
    pub const fn agenda_mut(&mut self) -> &mut Agenda {
        &mut self.agenda
    }

    /// The rows.
    pub const fn book(&self) -> &Book {
        &self.book
    }

    /// Asks the processor for what every event of this account is held against.
    pub fn prefetch(&self) {
        let settings::Settings { rate_cards, payments, labels, models, every, seat_types, .. } = &*self.rules;
        self.book.prefetch();
        prefetch(&rate_cards[..]);
        prefetch(&payments[..]);
        prefetch(&labels[..]);
        prefetch(&models[..]);
        prefetch(&every[..]);
        prefetch(&seat_types[..]);
    }

    /// Notes that a batch has ended.
    pub fn end_batch(&mut self) {
        self.ids.end_batch();
    }

    /// Whose account this is.
    pub fn organization_id(&self) -> &str {
        &self.organization_id
    }

    /// Drops all but the ids, as no account may ([`crate::faults::Defence::DropRefused`]).
    pub fn forget_rows(&mut self) {
        let ids = std::mem::take(&mut self.ids);
        *self = Self { ids, ..Self::new(&self.organization_id) };
    }

    /// About how much memory it takes, in bytes.
    pub fn bytes(&self) -> usize {
        size_of::<Self>() + SETTINGS_BYTES + self.book.bytes() + self.ids.bytes()
    }

    /// How many rows the next commit would write.
    pub fn rows_changed(&self) -> usize {
        self.book.dirty().len()
    }

    /// How many signals the next commit would write.
    pub fn signals_decided(&self) -> usize {
        self.out.decided().len()
    }

    /// The next instant at which something must happen here.
    pub const fn due(&self) -> Option<Timestamp> {
        self.agenda.due()
    }

    /// Whether the base is in memory.
    pub const fn is_loaded(&self) -> bool {
        self.stored_head.is_some()
    }

    /// Takes in what was loaded for `needs`. Returns whether it belongs to the head that this view has; if not, the
    /// view is worthless and has to be dropped.
    ///
    /// # Errors
    /// [`LayoutError`] if the stored state cannot be read: stop, and leave it as it is.
    pub fn fill(&mut self, needs: &Needs, loaded: Loaded) -> Result<bool, LayoutError> {
        if self.stored_head.as_ref().is_some_and(|known| *known != loaded.head) {
            return Ok(false);
        }
        if let Some(base) = loaded.base {
            let head = loaded.head.as_deref().map_or(Ok(Head::default()), |bytes| unpack("head", bytes))?;
            self.rules.fill(base.settings.as_deref(), base.calendar.as_deref())?;
            self.ids.fill(base.segments.as_deref(), &head)?;
            self.out.fill(base.outbox, head.next_signal)?;
            self.agenda.fill(&head);
            self.stored_head = Some(loaded.head);
        }
        self.book.fill_rows(&needs.scopes, loaded.scopes)?;
        self.ids.fill_segments(&needs.segments, loaded.segments)?;
        self.book.fill_older(&needs.older, loaded.older)?;
        if let Some(sweep) = &mut self.agenda.sweep {
            sweep.fill(&mut self.book, &self.rules, loaded.ending, loaded.walk)?;
        }
        Ok(true)
    }

    /// Whether there is anything to write. Signals that only wait to be forgotten do not count: they ride along.
    pub fn has_changes(&self) -> bool {
        self.agenda.has_changes()
            || self.rules.has_changes()
            || self.book.has_changes()
            || !self.out.decided().is_empty()
    }

    /// Whether this worker has seen signals acknowledged that the stored outbox still holds.
    pub fn has_published(&self) -> bool {
        self.out.has_acknowledged()
    }

    /// What the next commit has to write. The view now stands for the state after the commit: if that is not confirmed, the
    /// view has to be dropped.
    pub fn take_changes(&mut self, stamp: Stamp) -> Changes {
        let mut changes = Changes {
            expected: self.stored_head.clone().expect("an account is loaded before it changes"),
            seen: self.ids.take_changes(stamp),
            ..Changes::default()
        };
        self.book.take_changes(&mut changes);
        for (field, packed) in ["settings", "calendar"].into_iter().zip(self.rules.take_changes()) {
            packed.iter().for_each(|packed| changes.fields.push(field, packed));
        }
        if let Some(directory) = changes.seen.directory.take() {
            changes.fields.push("segments", &directory);
        }
        self.out.take_changes(&mut changes);
        changes.due = self.agenda.take_due();
        let mut head = Head {
            token: stamp.token,
            next_signal: self.out.next_number(),
            newest_event_time: self.ids.newest_event_time(),
            ..Head::default()
        };
        self.agenda.store(&mut head);
        changes.head = pack(&head);
        self.stored_head = Some(Some(changes.head.clone()));
        changes
    }

    /// Signals that are committed and not yet published by this worker, with their numbers.
    pub fn outbox(&self) -> &[(u64, Signal)] {
        self.out.stored()
    }

    /// Notes that the first `count` signals of the outbox are acknowledged: the next commit forgets exactly these.
    pub fn acknowledge(&mut self, count: usize) {
        self.out.acknowledge(count);
    }
}
