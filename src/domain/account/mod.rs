//! One organization's state, and every decision about it.
//!
//! An account in memory is a *view* of what the ledger holds under one head. The worker asks what is missing
//! ([`Account::needs_for_usage`], [`Account::needs_for_control`]), loads it ([`Account::fill`]), lets the account
//! decide ([`Account::decide_usage`], [`Account::decide_control`]), and commits what changed
//! ([`Account::take_changes`]). A commit that is refused means that somebody else moved the account: the whole view
//! is dropped, rows *and* ids, and everything is decided again.
//!
//! - [`usage`] decides an event; `counting` adds its charge to every window of its scopes and holds it against limits.
//! - `funding` finds who pays, `want` who pauses when nobody can.
//! - `statement` closes periods and corrects what was closed.
//! - [`command`] does what an admin says; `due` what time brings; `sweep` takes either through many scopes, page by page.
//! - [`attention`] keeps pauses, and when a scope has to be looked at.
//! - [`ceiling`] knows when a limit or pool announces and pauses.
//! - [`seen`] remembers which events were applied, `id_table` holds their ids.
//! - [`row`], [`settings`], [`scopes`], [`changes`], [`layout`], `packing` are the state and how it is stored.

pub mod attention;
pub mod ceiling;
pub mod changes;
mod columns;
pub mod command;
mod counting;
mod due;
mod funding;
mod id_table;
pub mod layout;
mod packing;
pub mod row;
pub mod scopes;
pub mod seen;
pub mod settings;
mod statement;
mod sweep;
pub mod usage;
mod want;
pub mod windows;

use hashbrown::HashMap;

use self::{
    changes::{Changes, Fields, Head, Loaded, Needs, OlderKey, Stamp},
    layout::{LayoutError, pack, unpack},
    packing::put_row,
    row::ScopeRow,
    scopes::{ScopeIndex, Scopes, SlotState},
    seen::SeenIds,
    settings::{Calendar, Settings},
    sweep::Sweep,
};
use crate::{
    domain::{
        meter::Counters,
        reason::Reason,
        signal::{Identity, Signal},
        time::Timestamp,
    },
    faults::{Defence, holds, once},
    prefetch::prefetch,
};

/// At most this many signals are forgotten by one commit.
const FORGET_MAX: usize = 2_000;

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
    /// The moment of a record within a batch.
    pub const fn of(record_time: Timestamp, present: Present) -> Self {
        let Present { clock, read_until, clock_follows_records } = present;
        Self { record_time, clock, read_until, clock_follows_records }
    }
}

/// What became of an event or a control record.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Outcome {
    /// Counted, or done.
    Applied,
    /// Applied before; nothing changed.
    Duplicate,
    /// It will never be applied.
    DeadLetter(Reason),
    /// A control record that concerns more scopes than one commit may hold: commit, then decide it again.
    Continue,
    /// The ids of its time are forgotten, which they are only once all inputs were applied beyond it. So either somebody
    /// else has applied it long ago, and whoever decides here has lost its partition without knowing, or it is of a
    /// partition that nobody has read so far.
    Overtaken,
}

/// One organization.
#[derive(Debug)]
pub struct Account {
    organization_id: Box<str>,
    /// As stored; `None` before the base is loaded, `Some(None)` for an organization that never was committed.
    stored_head: Option<Option<Vec<u8>>>,
    head: Head,
    settings: Settings,
    settings_changed: bool,
    calendar: Calendar,
    calendar_changed: bool,
    scopes: Scopes,
    seen: SeenIds,
    older: HashMap<OlderKey, Option<Counters>>,
    older_changed: Vec<OlderKey>,
    pauses_changed: Vec<ScopeIndex>,
    /// Whether `head.due` has to be written to the index.
    due_changed: bool,
    /// Signals of decisions that are not committed yet.
    decided: Vec<Signal>,
    /// Signals in the stored outbox that were not published by this worker.
    outbox: Vec<(u64, Signal)>,
    /// Signals in the stored outbox that this worker saw acknowledged.
    published: Vec<u64>,
    sweep: Option<Sweep>,
    /// The latest event time when the batch began.
    newest_before: Timestamp,
}

impl Account {
    /// The view of an organization of which nothing is known yet.
    pub fn new(organization_id: &str) -> Self {
        Self {
            organization_id: organization_id.into(),
            stored_head: None,
            head: Head::default(),
            settings: Settings::default(),
            settings_changed: false,
            calendar: Calendar::default(),
            calendar_changed: false,
            scopes: Scopes::default(),
            seen: SeenIds::default(),
            older: HashMap::new(),
            older_changed: Vec::new(),
            pauses_changed: Vec::new(),
            due_changed: false,
            decided: Vec::new(),
            outbox: Vec::new(),
            published: Vec::new(),
            sweep: None,
            newest_before: Timestamp::MIN,
        }
    }

    /// Asks the processor for what every event of this account is held against.
    pub fn prefetch(&self) {
        let Settings { rate_cards, payments, labels, models, every, seat_types, .. } = &self.settings;
        self.scopes.prefetch(scopes::ORGANIZATION);
        self.scopes.prefetch_names();
        prefetch(&rate_cards[..]);
        prefetch(&payments[..]);
        prefetch(&labels[..]);
        prefetch(&models[..]);
        prefetch(&every[..]);
        prefetch(&seat_types[..]);
    }

    /// Notes that a batch has ended.
    pub fn end_batch(&mut self) {
        self.newest_before = self.head.newest_event_time;
    }

    /// Whose account this is.
    pub fn organization_id(&self) -> &str {
        &self.organization_id
    }

    /// Drops all but the ids, as no account may ([`Defence::DropRefused`]).
    pub fn forget_rows(&mut self) {
        let seen = std::mem::take(&mut self.seen);
        *self = Self { seen, ..Self::new(&self.organization_id) };
    }

    /// About how much memory it takes, in bytes.
    pub fn bytes(&self) -> usize {
        size_of::<Self>() + SETTINGS_BYTES + self.scopes.bytes() + self.seen.bytes()
    }

    /// How many rows the next commit would write.
    pub fn rows_changed(&self) -> usize {
        self.scopes.dirty().len()
    }

    /// How many signals the next commit would write.
    pub fn signals_decided(&self) -> usize {
        self.decided.len()
    }

    /// The next instant at which something must happen here.
    pub fn due(&self) -> Option<Timestamp> {
        self.head.due
    }

    /// Whether the base is in memory.
    pub fn is_loaded(&self) -> bool {
        self.stored_head.is_some()
    }

    /// Asks for the base and for the organization's row, as far as they are missing.
    fn need_base(&mut self, needs: &mut Needs) {
        needs.base |= !self.is_loaded();
        self.need_row(scopes::ORGANIZATION, needs);
    }

    fn need_row(&mut self, index: ScopeIndex, needs: &mut Needs) {
        let slot = self.scopes.slot_mut(index);
        if matches!(slot.state, SlotState::Unknown) {
            slot.state = SlotState::Requested;
            needs.scopes.push(slot.field());
        }
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
            self.head = loaded.head.as_deref().map_or(Ok(Head::default()), |bytes| unpack("head", bytes))?;
            self.settings = base.settings.map_or(Ok(Settings::default()), |bytes| unpack("settings", &bytes))?;
            self.calendar = base.calendar.map_or(Ok(Calendar::default()), |bytes| unpack("calendar", &bytes))?;
            let seen = SeenIds::from_directory(base.segments.as_deref())?;
            if holds(Defence::DropRefused) || self.seen.is_empty() {
                self.seen = seen;
            }
            self.outbox.clear();
            let left_behind = if holds(Defence::Outbox) { base.outbox } else { Vec::new() };
            for (number, bytes) in left_behind {
                self.outbox.push((number, changes::unpack_signal(&bytes)?));
            }
            // The index of due times is a cache: whoever loads an account puts its entry right.
            self.due_changed = self.head.due.is_some();
            self.stored_head = Some(loaded.head);
            self.end_batch();
        }
        for (field, stored) in needs.scopes.iter().zip(loaded.scopes) {
            let row = stored.map_or(Ok(ScopeRow::default()), |bytes| unpack("scope row", &bytes))?;
            let index = self.scopes.index(&changes::parse_scope(field)?);
            self.scopes.slot_mut(index).state = SlotState::Loaded(row);
        }
        for (start, stored) in needs.segments.iter().zip(loaded.segments) {
            self.seen.fill(*start, stored.as_deref())?;
        }
        for (key, stored) in needs.older.iter().zip(loaded.older) {
            let counters = stored.map_or(Ok(Counters::ZERO), |bytes| unpack("older window", &bytes))?;
            self.older.insert(key.clone(), Some(counters));
        }
        self.fill_sweep(loaded.ending, loaded.walk)?;
        Ok(true)
    }

    /// Whether there is anything to write. Signals that only wait to be forgotten do not count: they ride along.
    pub fn has_changes(&self) -> bool {
        let due = self.due_changed && self.head.due.is_some();
        due || self.rows_changed() > 0
            || self.settings_changed
            || !self.decided.is_empty()
            || !self.pauses_changed.is_empty()
    }

    /// Whether this worker has seen signals acknowledged that the stored outbox still holds.
    pub fn has_published(&self) -> bool {
        !self.published.is_empty()
    }

    /// What the next commit has to write. The
    /// view now stands for the state after the commit: if that is not confirmed, the view has to be dropped.
    pub fn take_changes(&mut self, stamp: Stamp) -> Changes {
        // Not beyond what this account had seen when the batch began: if Redis was emptied meanwhile, somebody may be
        // replaying into it what the low water of before has long left behind.
        self.seen.expire(stamp.low_water.min(self.newest_before).plus_ms(-stamp.horizon_ms));
        let mut changes = Changes {
            expected: self.stored_head.clone().expect("an account is loaded before it changes"),
            seen: self.seen.take_changes(self.head.newest_event_time),
            forget: self.take_forgotten(),
            ..Changes::default()
        };
        changes.fields = Fields::with_capacity(self.scopes.dirty().len() + 1);
        for index in self.scopes.dirty() {
            let (scope, row) = (&self.scopes.slot(*index).scope, self.scopes.row(*index));
            changes.fields.add(&scope.pieces(), |packed| put_row(packed, row));
        }
        self.scopes.forget_dirty();
        if std::mem::take(&mut self.settings_changed) {
            changes.fields.push("settings", &pack(&self.settings));
        }
        if std::mem::take(&mut self.calendar_changed) {
            changes.fields.push("calendar", &pack(&self.calendar));
        }
        if let Some(directory) = changes.seen.directory.take() {
            changes.fields.push("segments", &directory);
        }
        self.take_older(&mut changes);
        for index in std::mem::take(&mut self.pauses_changed) {
            self.scopes.slot_mut(index).pauses_changed = false;
            changes.paused.push(self.paused_scope(index));
        }
        for signal in std::mem::take(&mut self.decided) {
            changes.signals.push((self.head.next_signal, pack(&signal)));
            self.outbox.push((self.head.next_signal, signal));
            self.head.next_signal += 1;
        }
        if !once() {
            (changes.signals, changes.forget) = Default::default();
        }
        changes.due = self.head.due.filter(|_| std::mem::take(&mut self.due_changed));
        self.head.token = stamp.token;
        changes.head = pack(&self.head);
        self.stored_head = Some(Some(changes.head.clone()));
        changes
    }

    /// Exactly the signals that this worker saw acknowledged.
    fn take_forgotten(&mut self) -> Vec<u64> {
        if !holds(Defence::ForgetOwn) {
            return (0..self.head.next_signal).rev().take(FORGET_MAX).collect();
        }
        self.published.drain(..self.published.len().min(FORGET_MAX)).collect()
    }

    fn take_older(&mut self, changes: &mut Changes) {
        self.older_changed.sort_unstable();
        self.older_changed.dedup();
        for key in std::mem::take(&mut self.older_changed) {
            let counters = self.older.get(&key).and_then(Option::as_ref).expect("a changed window is in memory");
            let packed = pack(counters);
            changes.older.push((key, packed));
        }
        // Late events are rare: older windows are not worth keeping in memory.
        self.older.clear();
    }

    /// Signals that are committed and not yet published by this worker, with their numbers.
    pub fn outbox(&self) -> &[(u64, Signal)] {
        &self.outbox
    }

    /// Notes that the first `count` signals of the outbox are acknowledged: the next commit forgets exactly these.
    pub fn acknowledge(&mut self, count: usize) {
        self.published.extend(self.outbox.drain(..count).map(|(number, _)| number));
    }
}

/// Derives the identity of something that happens once in an organization.
fn identity(organization_id: &str, parts: &[&str]) -> Identity {
    let all: Vec<&str> = std::iter::once(organization_id).chain(parts.iter().copied()).collect();
    Identity::derive(&all)
}
