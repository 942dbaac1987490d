//! The scopes of one account, each under a small number, so that an event finds its rows by one look-up per scope.

use std::hash::BuildHasher;

use hashbrown::{DefaultHashBuilder, HashTable};

use super::{row::ScopeRow, settings::RulePlaces};
use crate::{
    domain::{event::UsageEvent, scope::Scope, time::Timestamp, window::WindowKind},
    prefetch::prefetch,
};

/// The number of a scope within its account, as long as that is in memory.
pub type ScopeIndex = u32;

/// What a row has outside of its slot, in bytes: the counts of three windows, and parts of them.
const ROW_BYTES: usize = 320;

/// More names than these are asked for one by one.
const NAMES_PREFETCHED: usize = 48;

/// The organization itself always has the first number.
pub const ORGANIZATION: ScopeIndex = 0;

/// One scope and, once it is loaded, its row.
#[derive(Debug)]
pub struct ScopeSlot {
    /// Which scope.
    pub scope: Scope,
    /// What is known of its row.
    pub state: SlotState,
    /// The rules that it follows, as far as they were looked up.
    pub followed: Followed,
    /// The edit of the rules for which all that the scope may be held to was found to be here; 0 is never.
    pub surrounded: u64,
    /// Whether the row differs from what is stored.
    pub dirty: bool,
    /// When it has to be looked at, once that was worked out since the row is here.
    pub look_at: Option<LookAt>,
    /// Whether its pauses, or when it has to be looked at, differ from what is stored.
    pub attended: bool,
}

/// When a scope has to be looked at: at an instant, or whenever rules change, or not.
pub type LookAt = Option<Timestamp>;

/// The rules that a scope follows: looked up once for each edit of the rules, and not for every event.
#[derive(Debug, Default)]
pub struct Followed {
    /// The edit that this was looked up for; 0 is never.
    pub generation: u64,
    /// The places of the rules for many that bind.
    pub places: RulePlaces,
    /// Whether minutes, sessions and weeks are counted, in the order of [`WindowKind::WHERE_USED`].
    pub where_used: [bool; WindowKind::WHERE_USED.len()],
    /// Whether a limit bounds a window of the kind, at its place in [`WindowKind::ALL`].
    pub limited: [bool; WindowKind::ALL.len()],
    /// Whether a limit bounds what prepaid and postpaid pay.
    pub has_spend_limit: bool,
}

impl Followed {
    /// Whether windows of a kind of [`WindowKind::WHERE_USED`] are counted.
    pub fn counts(&self, kind: WindowKind) -> bool {
        WindowKind::WHERE_USED.into_iter().zip(self.where_used).any(|(of, used)| used && of == kind)
    }
}

/// What is known of a row.
#[derive(Debug)]
#[allow(clippy::large_enum_variant, reason = "nearly every slot holds a row")]
pub enum SlotState {
    /// Nothing.
    Unknown,
    /// It was asked for.
    Requested,
    /// It is here; new scopes have an empty one.
    Loaded(ScopeRow),
}

/// All scopes of an account that were named since it came into memory.
#[derive(Debug)]
pub struct Scopes {
    slots: Vec<ScopeSlot>,
    /// The numbers of all but the organization, found by their names.
    numbers: HashTable<ScopeIndex>,
    hasher: DefaultHashBuilder,
    dirty: Vec<ScopeIndex>,
}

/// A scope's name, as an event or a record says it.
#[derive(Clone, Copy, PartialEq, Eq, Hash)]
enum Named<'a> {
    Organization,
    Workspace(&'a str),
    Agent(&'a str, &'a str),
    User(&'a str),
}

impl<'a> From<&'a Scope> for Named<'a> {
    fn from(scope: &'a Scope) -> Self {
        match scope {
            Scope::Organization => Self::Organization,
            Scope::Workspace(id) => Self::Workspace(id),
            Scope::Agent { workspace, agent } => Self::Agent(workspace, agent),
            Scope::User(id) => Self::User(id),
        }
    }
}

impl From<Named<'_>> for Scope {
    fn from(name: Named<'_>) -> Self {
        match name {
            Named::Organization => Self::Organization,
            Named::Workspace(id) => Self::Workspace(id.into()),
            Named::Agent(workspace, agent) => Self::Agent { workspace: workspace.into(), agent: agent.into() },
            Named::User(id) => Self::User(id.into()),
        }
    }
}

/// The scopes that an event is charged to: organization, then workspace, agent and user where it names them.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct ChargedScopes {
    indexes: [ScopeIndex; 4],
    count: u8,
    /// The workspace.
    pub workspace: Option<ScopeIndex>,
    /// The agent.
    pub agent: Option<ScopeIndex>,
    /// The user.
    pub user: Option<ScopeIndex>,
}

impl ChargedScopes {
    /// The organization, and these where there are such.
    pub fn of(workspace: Option<ScopeIndex>, agent: Option<ScopeIndex>, user: Option<ScopeIndex>) -> Self {
        let mut charged = Self { indexes: [ORGANIZATION; 4], count: 1, workspace, agent, user };
        for index in [workspace, agent, user].into_iter().flatten() {
            charged.indexes[usize::from(charged.count)] = index;
            charged.count += 1;
        }
        charged
    }

    /// The numbers of the scopes.
    pub fn as_slice(&self) -> &[ScopeIndex] {
        &self.indexes[..usize::from(self.count)]
    }
}

impl Default for Scopes {
    fn default() -> Self {
        Self {
            slots: vec![ScopeSlot::new(Scope::Organization)],
            numbers: HashTable::new(),
            hasher: DefaultHashBuilder::default(),
            dirty: Vec::new(),
        }
    }
}

impl Scopes {
    /// The scopes that `event` is charged to.
    pub fn charged(&mut self, event: &UsageEvent<'_>) -> ChargedScopes {
        self.charged_to(event.workspace_id, event.agent_id, event.user_id)
    }

    /// The organization, and the scopes of these names where there are such.
    pub fn charged_to(&mut self, workspace: Option<&str>, agent: Option<&str>, user: Option<&str>) -> ChargedScopes {
        let [workspace, agent, user] = [workspace, agent, user].map(|name| name.filter(|id| !id.is_empty()));
        ChargedScopes::of(
            workspace.map(|id| self.number(Named::Workspace(id))),
            agent.map(|id| self.number(Named::Agent(workspace.unwrap_or_default(), id))),
            user.map(|id| self.number(Named::User(id))),
        )
    }

    /// The number of any scope; a new one if it was not named before.
    pub fn index(&mut self, scope: &Scope) -> ScopeIndex {
        self.number(scope.into())
    }

    /// The number of any scope, if it was named before.
    pub fn known(&self, scope: &Scope) -> Option<ScopeIndex> {
        self.find(scope.into())
    }

    /// The number of a workspace, if it was named before.
    pub fn known_workspace(&self, id: &str) -> Option<ScopeIndex> {
        self.find(Named::Workspace(id))
    }

    /// Whether the row of a scope is here.
    pub fn is_loaded(&self, index: ScopeIndex) -> bool {
        matches!(self.slot(index).state, SlotState::Loaded(_))
    }

    /// Forgets the row of an agent or user that was only looked at, and did not change.
    pub fn unload(&mut self, index: ScopeIndex) {
        let slot = &mut self.slots[index as usize];
        let may_go = matches!(slot.scope, Scope::Agent { .. } | Scope::User(_));
        if may_go && !slot.dirty && !slot.attended {
            (slot.state, slot.followed, slot.surrounded, slot.look_at) =
                (SlotState::Unknown, Followed::default(), 0, None);
        }
    }

    /// Every scope in memory whose row is here.
    pub fn loaded(&self) -> impl Iterator<Item = (&Scope, &ScopeRow)> {
        self.slots.iter().filter_map(|slot| match &slot.state {
            SlotState::Loaded(row) => Some((&slot.scope, row)),
            SlotState::Unknown | SlotState::Requested => None,
        })
    }

    #[inline]
    fn find(&self, name: Named<'_>) -> Option<ScopeIndex> {
        if name == Named::Organization {
            return Some(ORGANIZATION);
        }
        let is_meant = |index: &ScopeIndex| Named::from(&self.slots[*index as usize].scope) == name;
        self.numbers.find(self.hasher.hash_one(name), is_meant).copied()
    }

    #[inline]
    fn number(&mut self, name: Named<'_>) -> ScopeIndex {
        self.find(name).unwrap_or_else(|| self.add(name))
    }

    #[cold]
    fn add(&mut self, name: Named<'_>) -> ScopeIndex {
        let index = ScopeIndex::try_from(self.slots.len()).expect("memory ends long before 2^32 scopes");
        if self.slots.len() == self.slots.capacity() {
            // A quarter more, for slots are large and accounts many: what is not filled is memory all the same.
            self.slots.reserve_exact(self.slots.len() / 4 + 4);
        }
        self.slots.push(ScopeSlot::new(name.into()));
        let Self { slots, numbers, hasher, .. } = self;
        let hash_of = |index: &ScopeIndex| hasher.hash_one(Named::from(&slots[*index as usize].scope));
        numbers.insert_unique(hasher.hash_one(name), index, hash_of);
        index
    }

    /// Asks the processor for the slot of a scope.
    pub fn prefetch_slot(&self, index: ScopeIndex) {
        prefetch(self.slot(index));
    }

    /// Asks the processor for the names of scopes, if they are few.
    pub fn prefetch_names(&self) {
        self.slots.iter().take(NAMES_PREFETCHED).for_each(|slot| prefetch(&slot.scope));
    }

    /// Asks the processor for what lies behind the slot of a scope.
    pub fn prefetch_row(&self, index: ScopeIndex) {
        if let SlotState::Loaded(row) = &self.slot(index).state {
            row.windows.prefetch();
            prefetch(&row.parts[..]);
            prefetch(&row.models[..]);
            prefetch(&row.limits[..]);
            row.member.iter().for_each(|member| prefetch(&**member));
            row.pool.iter().for_each(|pool| prefetch(&**pool));
        }
    }

    /// The slot of a scope.
    pub fn slot(&self, index: ScopeIndex) -> &ScopeSlot {
        &self.slots[index as usize]
    }

    /// The slot of a scope, to change it. Changes of a row are announced by [`Scopes::row_mut`].
    pub fn slot_mut(&mut self, index: ScopeIndex) -> &mut ScopeSlot {
        &mut self.slots[index as usize]
    }

    /// The row of a scope that was loaded.
    pub fn row(&self, index: ScopeIndex) -> &ScopeRow {
        match &self.slot(index).state {
            SlotState::Loaded(row) => row,
            SlotState::Unknown | SlotState::Requested => {
                panic!("row {} is used before it was loaded", self.slot(index).scope)
            }
        }
    }

    /// The row of a scope that was loaded, to change it. It counts as changed from now on.
    pub fn row_mut(&mut self, index: ScopeIndex) -> &mut ScopeRow {
        self.mark_dirty(index);
        let slot = &mut self.slots[index as usize];
        match &mut slot.state {
            SlotState::Loaded(row) => row,
            SlotState::Unknown | SlotState::Requested => panic!("row {} is used before it was loaded", slot.scope),
        }
    }

    /// A scope, the rules that it follows, and its row to change, which was loaded and counts as changed from
    /// now on.
    pub fn parts_mut(&mut self, index: ScopeIndex) -> (&Scope, &Followed, &mut ScopeRow) {
        self.mark_dirty(index);
        let ScopeSlot { scope, state, followed, .. } = &mut self.slots[index as usize];
        match state {
            SlotState::Loaded(row) => (scope, followed, row),
            SlotState::Unknown | SlotState::Requested => panic!("row {scope} is used before it was loaded"),
        }
    }

    fn mark_dirty(&mut self, index: ScopeIndex) {
        let slot = &mut self.slots[index as usize];
        if !slot.dirty {
            slot.dirty = true;
            self.dirty.push(index);
        }
    }

    /// From now on no row counts as changed.
    pub fn forget_dirty(&mut self) {
        for index in self.dirty.drain(..) {
            self.slots[index as usize].dirty = false;
        }
    }

    /// The scopes whose rows have changed.
    pub fn dirty(&self) -> &[ScopeIndex] {
        &self.dirty
    }

    /// About how much memory they take, in bytes.
    pub fn bytes(&self) -> usize {
        self.slots.capacity() * size_of::<ScopeSlot>() + self.slots.len() * ROW_BYTES
    }
}

impl ScopeSlot {
    /// The name of its field in the account.
    pub fn field(&self) -> Box<str> {
        self.scope.to_string().into()
    }

    /// Whether all that the scope may be held to is here, by this edit of the rules.
    pub const fn is_surrounded(&self, generation: u64) -> bool {
        self.surrounded == generation
    }

    /// A scope of which nothing is known.
    fn new(scope: Scope) -> Self {
        Self {
            scope,
            state: SlotState::Unknown,
            followed: Followed::default(),
            surrounded: 0,
            dirty: false,
            look_at: None,
            attended: false,
        }
    }
}
