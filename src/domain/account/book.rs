//! What is counted and set for each scope: rows, the windows in them, and older windows that are stored apart.

use std::ops::{Deref, DerefMut};

use hashbrown::HashMap;

use super::{
    changes::{Changes, NO_TIME, Needs, OlderKey, PausedScope, parse_scope, unpack_older},
    layout::{LayoutError, pack, unpack},
    packing::put_row,
    row::{OlderWindow, ScopeRow},
    scopes::{ChargedScopes, Followed, LookAt, ORGANIZATION, ScopeIndex, Scopes, SlotState},
    windows::Place,
};
use crate::domain::{
    meter::{Counters, Meter},
    pause::Pauses,
    pool::Pool,
    scope::{Name, Scope},
    time::Timestamp,
    window::{Window, WindowKind},
};

/// The rows of one account, as far as they are in memory. What changes here is written with the next commit.
#[derive(Debug, Default)]
pub struct Book {
    scopes: Scopes,
    older: HashMap<OlderKey, Option<OlderWindow>>,
    older_changed: Vec<OlderKey>,
    /// Scopes whose pauses, or when they have to be looked at, differ from what is stored.
    attended: Vec<ScopeIndex>,
}

impl Deref for Book {
    type Target = Scopes;

    fn deref(&self) -> &Scopes {
        &self.scopes
    }
}

impl DerefMut for Book {
    fn deref_mut(&mut self) -> &mut Scopes {
        &mut self.scopes
    }
}

/// What counting in one scope needs, all at once.
pub struct Page<'a> {
    /// Which scope.
    pub scope: &'a Scope,
    /// The rules that it follows.
    pub followed: &'a Followed,
    /// Its row, which counts as changed.
    pub row: &'a mut ScopeRow,
    /// Its windows that the row keeps no more.
    pub older: OlderWindows<'a>,
}

/// The older windows of one scope.
pub struct OlderWindows<'a> {
    scope: &'a Scope,
    all: &'a mut HashMap<OlderKey, Option<OlderWindow>>,
    changed: &'a mut Vec<OlderKey>,
}

impl OlderWindows<'_> {
    fn key(&self, kind: WindowKind, start: Timestamp) -> OlderKey {
        OlderKey { kind, start, scope: self.scope.to_string().into() }
    }

    /// A window, if something was counted in it.
    pub fn get(&self, kind: WindowKind, start: Timestamp) -> Option<&OlderWindow> {
        self.all.get(&self.key(kind, start)).and_then(Option::as_ref)
    }

    /// A window, to change it. What was stored was loaded before, and what left the row since is here; so what is missing
    /// never was.
    pub fn get_mut(&mut self, kind: WindowKind, start: Timestamp) -> &mut OlderWindow {
        let key = self.key(kind, start);
        self.changed.push(key.clone());
        self.all.entry(key).or_default().get_or_insert_default()
    }
}

impl Book {
    /// Asks for the row of a scope, if it is missing.
    #[inline]
    pub fn need_row(&mut self, index: ScopeIndex, needs: &mut Needs) {
        let slot = self.scopes.slot_mut(index);
        if matches!(slot.state, SlotState::Unknown) {
            slot.state = SlotState::Requested;
            needs.scopes.push(slot.field());
        }
    }

    /// Asks for a window that the row of a scope keeps no more, if it is missing.
    pub fn need_older(&mut self, key: OlderKey, needs: &mut Needs) {
        if !self.older.contains_key(&key) {
            self.older.insert(key.clone(), None);
            needs.older.push(key);
        }
    }

    /// Asks for the window of `kind` that begins at `start`, where the row of a scope keeps it no more.
    pub fn need_if_older(&mut self, index: ScopeIndex, kind: WindowKind, start: Timestamp, needs: &mut Needs) {
        let slot = self.scopes.slot(index);
        let SlotState::Loaded(row) = &slot.state else { return };
        if row.windows.place(kind, start) == Place::Older {
            let key = OlderKey { kind, start, scope: slot.field() };
            self.need_older(key, needs);
        }
    }

    /// Takes in rows that were asked for.
    ///
    /// # Errors
    /// [`LayoutError`] if one cannot be read.
    pub fn fill_rows(&mut self, fields: &[Box<str>], stored: Vec<Option<Vec<u8>>>) -> Result<(), LayoutError> {
        for (field, stored) in fields.iter().zip(stored) {
            let row = stored.map_or(Ok(ScopeRow::default()), |bytes| unpack("scope row", &bytes))?;
            let index = self.scopes.index(&parse_scope(field)?);
            self.scopes.slot_mut(index).state = SlotState::Loaded(row);
        }
        Ok(())
    }

    /// Takes in older windows that were asked for.
    ///
    /// # Errors
    /// [`LayoutError`] if one cannot be read.
    pub fn fill_older(&mut self, keys: &[OlderKey], stored: Vec<Option<Vec<u8>>>) -> Result<(), LayoutError> {
        for (key, stored) in keys.iter().zip(stored) {
            let window = stored.map_or(Ok(OlderWindow::default()), |bytes| unpack_older(&bytes))?;
            self.older.insert(key.clone(), Some(window));
        }
        Ok(())
    }

    /// Takes in a row that came with a page, unless a newer one is here. Returns the scope's number, and whether the row
    /// was not here before.
    pub fn take_row(&mut self, scope: &Scope, row: &ScopeRow) -> (ScopeIndex, bool) {
        let index = self.scopes.index(scope);
        let is_new = !self.scopes.is_loaded(index);
        if is_new {
            self.scopes.slot_mut(index).state = SlotState::Loaded(row.clone());
        }
        (index, is_new)
    }

    /// A scope with all that counting in it needs.
    #[inline]
    pub fn page(&mut self, index: ScopeIndex) -> Page<'_> {
        let Self { scopes, older, older_changed, .. } = self;
        let (scope, followed, row) = scopes.parts_mut(index);
        Page { scope, followed, row, older: OlderWindows { scope, all: older, changed: older_changed } }
    }

    /// A window that the row of a scope keeps no more.
    pub fn older(&self, index: ScopeIndex, kind: WindowKind, start: Timestamp) -> Option<&OlderWindow> {
        let scope = self.scopes.slot(index).field();
        self.older.get(&OlderKey { kind, start, scope }).and_then(Option::as_ref)
    }

    /// What was counted in a window that the row of a scope keeps no more, by the scope's field.
    pub fn older_of(&self, field: &str, kind: WindowKind, start: Timestamp) -> Option<Counters> {
        let key = OlderKey { kind, start, scope: field.into() };
        self.older.get(&key).and_then(Option::as_ref).map(|older| older.counters)
    }

    /// What was counted in a window of a scope, wherever it is kept.
    pub fn counted(&self, index: ScopeIndex, kind: WindowKind, window: Window) -> Counters {
        let windows = &self.scopes.row(index).windows;
        match windows.place(kind, window.start) {
            Place::Row(position) => windows.counters(position),
            Place::New => Counters::ZERO,
            Place::Older => self.older(index, kind, window.start).map_or(Counters::ZERO, |older| older.counters),
        }
    }

    /// One count of a window of a scope, wherever it is kept.
    pub fn count_of(&self, index: ScopeIndex, kind: WindowKind, window: Window, meter: Meter) -> i64 {
        let windows = &self.scopes.row(index).windows;
        match windows.place(kind, window.start) {
            Place::Row(position) => windows.count(position, meter),
            Place::New => 0,
            Place::Older => self.older(index, kind, window.start).map_or(0, |older| older.counters.get(meter)),
        }
    }

    /// Whether every count of these windows of a scope takes what a charge has of it (invariant U-2).
    pub fn fits(&self, index: ScopeIndex, windows: &[(WindowKind, Window)], charge: &Counters) -> bool {
        let kept = &self.scopes.row(index).windows;
        windows.iter().all(|(kind, window)| match kept.place(*kind, window.start) {
            Place::Row(position) => kept.fits(position, charge),
            Place::New => true,
            Place::Older => {
                self.older(index, *kind, window.start).is_none_or(|older| older.counters.checked_add(charge).is_some())
            }
        })
    }

    /// The pool of a scope, if it has one.
    pub fn pool(&self, owner: ScopeIndex) -> Option<&Pool> {
        self.scopes.row(owner).pool.as_deref()
    }

    /// The pool of a scope that was found by it, to change it.
    ///
    /// # Panics
    /// If the scope has none.
    pub fn pool_mut(&mut self, owner: ScopeIndex) -> &mut Pool {
        self.scopes.row_mut(owner).pool.as_mut().expect("the owner was found by its pool")
    }

    /// The workspace of an agent that is in memory, as what it is charged to.
    pub fn workspace_of(&self, index: ScopeIndex) -> Option<ScopeIndex> {
        match &self.scopes.slot(index).scope {
            Scope::Agent { workspace, .. } if !workspace.is_empty() => self.scopes.known_workspace(workspace),
            _ => None,
        }
    }

    /// What usage of a scope alone is charged to.
    pub fn charged_alone(&self, index: ScopeIndex) -> ChargedScopes {
        match &self.scopes.slot(index).scope {
            Scope::Organization => ChargedScopes::of(None, None, None),
            Scope::Workspace(_) => ChargedScopes::of(Some(index), None, None),
            Scope::Agent { .. } => ChargedScopes::of(self.workspace_of(index), Some(index), None),
            Scope::User(_) => ChargedScopes::of(None, None, Some(index)),
        }
    }

    /// The name of a workspace, as rows bear it.
    pub fn workspace_name(&self, index: ScopeIndex) -> Name {
        match &self.scopes.slot(index).scope {
            Scope::Workspace(name) => name.clone(),
            _ => Name::default(),
        }
    }

    /// Writes down when a scope has to be looked at, with its pauses as they are now.
    pub fn attend(&mut self, index: ScopeIndex, look_at: LookAt) {
        let slot = self.scopes.slot_mut(index);
        slot.look_at = Some(look_at);
        if !std::mem::replace(&mut slot.attended, true) {
            self.attended.push(index);
        }
    }

    /// When the scopes that were attended to since the last commit have to be looked at, but for those that only follow
    /// rules.
    pub fn looks(&self) -> impl Iterator<Item = Timestamp> {
        let looks = self.attended.iter().filter_map(|index| self.scopes.slot(*index).look_at.flatten());
        looks.filter(|at| *at < NO_TIME)
    }

    /// Whether anything is to be written.
    pub fn has_changes(&self) -> bool {
        !self.scopes.dirty().is_empty() || !self.attended.is_empty()
    }

    /// Adds what is to be written.
    pub fn take_changes(&mut self, changes: &mut Changes) {
        changes.fields.reserve(self.scopes.dirty().len() + 1);
        for index in self.scopes.dirty() {
            let (scope, row) = (&self.scopes.slot(*index).scope, self.scopes.row(*index));
            changes.fields.add(&scope.pieces(), |packed| put_row(packed, row));
        }
        self.scopes.forget_dirty();
        for index in std::mem::take(&mut self.attended) {
            let slot = self.scopes.slot_mut(index);
            slot.attended = false;
            let look_at = slot.look_at.flatten();
            let pauses = &self.scopes.row(index).pauses;
            let causes_json = (!pauses.causes.is_empty()).then(|| paused_json(pauses));
            changes.paused.push(PausedScope { scope: self.scopes.slot(index).field(), causes_json, look_at });
        }
        self.older_changed.sort_unstable();
        self.older_changed.dedup();
        for key in std::mem::take(&mut self.older_changed) {
            let window = self.older.get(&key).and_then(Option::as_ref).expect("a changed window is in memory");
            let packed = pack(window);
            changes.older.push((key, packed));
        }
        // Late events are rare: older windows are not worth keeping in memory.
        self.older.clear();
    }

    /// Asks the processor for what every event of this account is held against.
    pub fn prefetch(&self) {
        self.scopes.prefetch_slot(ORGANIZATION);
        self.scopes.prefetch_names();
    }
}

/// The value of an entry of the public `paused` hash.
pub fn paused_json(pauses: &Pauses) -> String {
    let causes: Vec<_> = pauses
        .causes
        .iter()
        .map(|cause| {
            serde_json::json!({
                "kind": cause.kind.name(),
                "limit_id": (!cause.limit_id.is_empty()).then_some(&cause.limit_id),
                "selector": cause.selector.as_ref().map(|selector| selector.name()),
                "workspace_id": cause.workspace_id.as_ref(),
                "ends_at": cause.ends_at.map(|end| end.to_string()),
            })
        })
        .collect();
    serde_json::json!({ "generation": pauses.generation, "causes": causes }).to_string()
}
