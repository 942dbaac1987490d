//! The scopes of one account, each under a small number, so that an event finds its rows by one look-up per scope.

use hashbrown::HashMap;

use super::{row::ScopeRow, settings::RulePlaces};
use crate::domain::{event::UsageEvent, scope::Scope, window::WindowKind};

/// The number of a scope within its account, as long as that is in memory.
pub type ScopeIndex = u32;

/// The organization itself always has the first number.
pub const ORGANIZATION: ScopeIndex = 0;

/// One scope and, once it is loaded, its row.
#[derive(Debug)]
pub struct ScopeSlot {
    /// Which scope.
    pub scope: Scope,
    /// The name of its field in the account.
    pub field: Box<str>,
    /// What is known of its row.
    pub state: SlotState,
    /// The rules that it follows, as far as they were looked up.
    pub followed: Followed,
    /// Whether the row differs from what is stored.
    pub dirty: bool,
    /// Whether its pauses, or when it has to be looked at, differ from what is stored.
    pub pauses_changed: bool,
}

/// The rules that a scope follows: looked up once for each revision of the rules, and not for every event.
#[derive(Debug, Default)]
pub struct Followed {
    /// The revision that this was looked up for, plus one; 0 is never.
    pub revision: u64,
    /// The places of the rules for many that apply.
    pub places: RulePlaces,
    /// The seat type among those of the organization.
    pub seat: Option<u8>,
    /// Whether minutes, sessions and weeks are counted.
    pub where_used: [bool; 3],
    /// Whether a limit bounds a window of the kind, at its place in [`WindowKind::ALL`].
    pub limited: [bool; WindowKind::ALL.len()],
    /// Whether a limit bounds what prepaid and postpaid pay.
    pub has_spend_limit: bool,
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
    workspaces: HashMap<Box<str>, Workspace>,
    users: HashMap<Box<str>, ScopeIndex>,
    dirty: Vec<ScopeIndex>,
}

#[derive(Debug)]
struct Workspace {
    /// `None` for agents that belong to the organization itself.
    index: Option<ScopeIndex>,
    agents: HashMap<Box<str>, ScopeIndex>,
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
        let mut scopes =
            Self { slots: Vec::new(), workspaces: HashMap::new(), users: HashMap::new(), dirty: Vec::new() };
        scopes.add(Scope::Organization);
        scopes
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
            workspace.map(|id| self.workspace(id)),
            agent.map(|id| self.agent(workspace.unwrap_or_default(), id)),
            user.map(|id| self.user(id)),
        )
    }

    /// The number of any scope; a new one if it was not named before.
    pub fn index(&mut self, scope: &Scope) -> ScopeIndex {
        match scope {
            Scope::Organization => ORGANIZATION,
            Scope::Workspace(id) => self.workspace(id),
            Scope::Agent { workspace, agent } => self.agent(workspace, agent),
            Scope::User(id) => self.user(id),
        }
    }

    /// The number of any scope, if it was named before.
    pub fn known(&self, scope: &Scope) -> Option<ScopeIndex> {
        match scope {
            Scope::Organization => Some(ORGANIZATION),
            Scope::Workspace(id) => self.known_workspace(id),
            Scope::Agent { workspace, agent } => self.workspaces.get(workspace)?.agents.get(agent).copied(),
            Scope::User(id) => self.users.get(id).copied(),
        }
    }

    /// The number of a workspace, if it was named before.
    pub fn known_workspace(&self, id: &str) -> Option<ScopeIndex> {
        self.workspaces.get(id).and_then(|workspace| workspace.index)
    }

    /// Whether the row of a scope is here.
    pub fn is_loaded(&self, index: ScopeIndex) -> bool {
        matches!(self.slot(index).state, SlotState::Loaded(_))
    }

    /// Every scope in memory whose row is here.
    pub fn loaded(&self) -> impl Iterator<Item = (&Scope, &ScopeRow)> {
        self.slots.iter().filter_map(|slot| match &slot.state {
            SlotState::Loaded(row) => Some((&slot.scope, row)),
            SlotState::Unknown | SlotState::Requested => None,
        })
    }

    fn workspace(&mut self, id: &str) -> ScopeIndex {
        if let Some(Workspace { index: Some(index), .. }) = self.workspaces.get(id) {
            return *index;
        }
        let index = self.add(Scope::Workspace(id.into()));
        self.workspaces.entry_ref(id).or_insert_with(Workspace::empty).index = Some(index);
        index
    }

    fn agent(&mut self, workspace: &str, agent: &str) -> ScopeIndex {
        let known = self.workspaces.get(workspace).and_then(|workspace| workspace.agents.get(agent));
        if let Some(index) = known {
            return *index;
        }
        let index = self.add(Scope::Agent { workspace: workspace.into(), agent: agent.into() });
        self.workspaces.entry_ref(workspace).or_insert_with(Workspace::empty).agents.insert(agent.into(), index);
        index
    }

    fn user(&mut self, id: &str) -> ScopeIndex {
        if let Some(index) = self.users.get(id) {
            return *index;
        }
        let index = self.add(Scope::User(id.into()));
        self.users.insert(id.into(), index);
        index
    }

    fn add(&mut self, scope: Scope) -> ScopeIndex {
        let index = ScopeIndex::try_from(self.slots.len()).expect("memory ends long before 2^32 scopes");
        let field = scope.to_string().into();
        if self.slots.len() == self.slots.capacity() {
            // A quarter more, for slots are large and accounts many: what is not filled is memory all the same.
            self.slots.reserve_exact(self.slots.len() / 4 + 4);
        }
        self.slots.push(ScopeSlot {
            scope,
            field,
            state: SlotState::Unknown,
            followed: Followed::default(),
            dirty: false,
            pauses_changed: false,
        });
        index
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
                panic!("row {} is used before it was loaded", self.slot(index).field)
            }
        }
    }

    /// The row of a scope that was loaded, to change it. It counts as changed from now on.
    pub fn row_mut(&mut self, index: ScopeIndex) -> &mut ScopeRow {
        self.mark_dirty(index);
        let slot = &mut self.slots[index as usize];
        match &mut slot.state {
            SlotState::Loaded(row) => row,
            SlotState::Unknown | SlotState::Requested => panic!("row {} is used before it was loaded", slot.field),
        }
    }

    /// A scope, its field, the rules that it follows, and its row to change, which was loaded and counts as changed from
    /// now on.
    pub fn parts_mut(&mut self, index: ScopeIndex) -> (&Scope, &str, &Followed, &mut ScopeRow) {
        self.mark_dirty(index);
        let ScopeSlot { scope, field, state, followed, .. } = &mut self.slots[index as usize];
        match state {
            SlotState::Loaded(row) => (scope, field, followed, row),
            SlotState::Unknown | SlotState::Requested => panic!("row {field} is used before it was loaded"),
        }
    }

    fn mark_dirty(&mut self, index: ScopeIndex) {
        let slot = &mut self.slots[index as usize];
        if !slot.dirty {
            slot.dirty = true;
            self.dirty.push(index);
        }
    }

    /// The scopes whose rows have changed since the last call, which then count as unchanged.
    pub fn take_dirty(&mut self) -> Vec<ScopeIndex> {
        let dirty = std::mem::take(&mut self.dirty);
        for index in &dirty {
            self.slots[*index as usize].dirty = false;
        }
        dirty
    }

    /// The scopes whose rows have changed.
    pub fn dirty(&self) -> &[ScopeIndex] {
        &self.dirty
    }

    /// How many scopes are in memory.
    pub fn len(&self) -> usize {
        self.slots.len()
    }

    /// Never: the organization is always there.
    pub fn is_empty(&self) -> bool {
        false
    }
}

impl Workspace {
    fn empty() -> Self {
        Self { index: None, agents: HashMap::new() }
    }
}
