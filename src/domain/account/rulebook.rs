//! What holds for the whole organization, and the windows that were opened: changed by control records, read by every
//! decision.

use super::{
    layout::{LayoutError, pack, unpack},
    settings::{Calendar, Settings},
};
use crate::domain::{
    limit::{Limit, Selector},
    time::Timestamp,
    window::{Counted, SESSION_MS, Window, WindowKind},
};

/// Settings and calendar of one account. Whoever changes them does so through [`Rulebook::edit`], and they are written
/// with the next commit.
#[derive(Debug, Default)]
pub struct Rulebook {
    settings: Settings,
    settings_changed: bool,
    calendar: Calendar,
    calendar_changed: bool,
    /// Grows with each edit, in memory only: what a scope follows is looked up once for each.
    generation: u64,
}

impl std::ops::Deref for Rulebook {
    type Target = Settings;

    fn deref(&self) -> &Settings {
        &self.settings
    }
}

impl Rulebook {
    /// Takes in what is stored.
    ///
    /// # Errors
    /// [`LayoutError`] if it cannot be read.
    pub fn fill(&mut self, settings: Option<&[u8]>, calendar: Option<&[u8]>) -> Result<(), LayoutError> {
        self.settings = settings.map_or(Ok(Settings::default()), |bytes| unpack("settings", bytes))?;
        self.calendar = calendar.map_or(Ok(Calendar::default()), |bytes| unpack("calendar", bytes))?;
        self.generation += 1;
        Ok(())
    }

    /// The settings, to change them. What scopes follow is looked up again.
    pub fn edit(&mut self) -> &mut Settings {
        self.generation += 1;
        self.settings_changed = true;
        &mut self.settings
    }

    /// Which edit of the rules this is; never 0.
    pub const fn generation(&self) -> u64 {
        self.generation + 1
    }

    /// Whether anything is to be written.
    pub const fn has_changes(&self) -> bool {
        self.settings_changed || self.calendar_changed
    }

    /// What is to be written: settings, calendar.
    pub fn take_changes(&mut self) -> [Option<Vec<u8>>; 2] {
        let settings = std::mem::take(&mut self.settings_changed).then(|| pack(&self.settings));
        let calendar = std::mem::take(&mut self.calendar_changed).then(|| pack(&self.calendar));
        [settings, calendar]
    }

    /// The number of a product or trigger, added if it is new.
    pub fn label(&mut self, name: &str) -> u8 {
        let (number, is_new) = self.settings.label(name);
        self.settings_changed |= is_new;
        number
    }

    /// The number of a model, added if it is new.
    pub fn model(&mut self, name: &str) -> u8 {
        let (number, is_new) = self.settings.model(name);
        self.settings_changed |= is_new;
        number
    }

    /// The number of a change of rules for many: rows remember up to which they were held against them.
    pub fn next_rules_revision(&mut self) -> u64 {
        let settings = self.edit();
        settings.rules_revision += 1;
        settings.rules_revision
    }

    /// The number of a change of a limit on a single scope.
    pub fn next_limit_revision(&mut self) -> u64 {
        let settings = self.edit();
        settings.limit_revision += 1;
        settings.limit_revision
    }

    /// The revision of a pool that holds something else now.
    pub fn next_pool_revision(&mut self) -> u64 {
        let settings = self.edit();
        settings.pool_revision += 1;
        settings.pool_revision
    }

    /// The limits for many that stand on `selector`.
    pub fn rules_on<'a>(&'a self, selector: &'a Selector) -> impl Iterator<Item = &'a Limit> {
        self.settings.every.iter().filter(move |(of, _)| of == selector).map(|(_, limit)| limit)
    }

    /// The opened windows.
    pub const fn calendar(&self) -> &Calendar {
        &self.calendar
    }

    /// The window of `kind` that contains `time`. Sessions are each user's own, and not known here.
    pub fn window(&self, kind: WindowKind, time: Timestamp) -> Window {
        self.calendar.window(&self.settings.zones, kind, time)
    }

    /// The window of `kind` that begins at `start`, where a row keeps one.
    pub fn window_from(&self, kind: WindowKind, start: Timestamp) -> Window {
        match kind {
            WindowKind::Session => Window { start, end: start.plus_ms(SESSION_MS) },
            kind => Window { start, end: self.window(kind, start).end },
        }
    }

    /// The billing period that contains `time`.
    pub fn period(&self, time: Timestamp) -> Window {
        self.window(WindowKind::Period, time)
    }

    /// The window of `kind` that contains `time`, remembered as opened.
    #[inline]
    pub fn open_window(&mut self, kind: WindowKind, time: Timestamp) -> Window {
        let (window, is_new) = self.calendar.open_around(&self.settings.zones, kind, time);
        self.calendar_changed |= is_new;
        window
    }

    /// The windows in which everything at `time` is counted, remembered as opened.
    #[inline]
    pub fn open_counted(&mut self, time: Timestamp) -> Counted {
        Counted {
            hour: self.open_window(WindowKind::Hour, time),
            day: self.open_window(WindowKind::Day, time),
            period: self.open_window(WindowKind::Period, time),
        }
    }

    /// The windows in which everything at `time` is counted, remembered or not.
    pub fn peek_counted(&self, time: Timestamp) -> Counted {
        let window = |kind| self.window(kind, time);
        Counted { hour: window(WindowKind::Hour), day: window(WindowKind::Day), period: window(WindowKind::Period) }
    }

    /// Remembers a window as opened.
    pub fn open(&mut self, kind: WindowKind, window: Window) {
        self.calendar_changed |= self.calendar.open(kind, window);
    }
}
