//! Seats, members, workspaces and agents (rows A12, A13, A15, B1, B6).

use super::{
    Answer, Said,
    checks::{check_amount, check_id},
};
use crate::domain::{
    account::{
        Account,
        scopes::{ORGANIZATION, ScopeIndex},
        settings::SETTINGS_MAX,
    },
    meter::{Counters, Meter},
    organization::{AgentCreation, Registered, Role, SeatType},
    payment::Mode,
    scope::Scope,
    signal::RequestKind,
    window::WindowKind,
};

/// At most this many members may be named as creators.
const CREATORS_MAX: usize = 1_000;

/// For so many workspaces and periods it is known that a member built in them.
const BUILT_KEPT: usize = 64;

impl Account {
    pub(super) fn set_seat_type(&mut self, seat_type: &SeatType) -> Answer {
        check_id("seat_type", &seat_type.name)?;
        if !matches!(self.settings.payment().mode, Mode::Credits | Mode::Team | Mode::SeatEnterprise) {
            return Err(format!("mode {} has no seats", self.settings.payment().mode.name()));
        }
        for (nth, allowance) in seat_type.allowances.iter().enumerate() {
            check_amount("amount_micro", allowance.amount_micro, 0)?;
            if !matches!(allowance.window, WindowKind::Session | WindowKind::Week | WindowKind::Period) {
                return Err(format!(
                    "an allowance is per session, week or period, not per {}",
                    allowance.window.name()
                ));
            }
            if seat_type.allowances[..nth].iter().any(|before| before.window == allowance.window) {
                return Err(format!("there are two allowances per {}", allowance.window.name()));
            }
        }
        let known = self.settings.seat_types.iter().position(|known| known.name == seat_type.name);
        match known {
            Some(position) => self.settings.seat_types[position] = seat_type.clone(),
            None if self.settings.seat_types.len() >= SETTINGS_MAX => {
                return Err(format!("there are {SETTINGS_MAX} seat types already"));
            }
            None => self.settings.seat_types.push(seat_type.clone()),
        }
        self.revise();
        Ok(String::new())
    }

    pub(super) fn set_member(&mut self, user_id: &str, seat_type: Option<&str>, role: Role, said: &Said<'_>) -> Answer {
        let index = self.scopes.index(&Scope::User(user_id.into()));
        self.seat(index, seat_type, said)?;
        self.scopes.row_mut(index).member.get_or_insert_default().role = role;
        Ok(String::new())
    }

    /// Gives a member a seat, and everything that follows from it.
    pub(super) fn seat(&mut self, index: ScopeIndex, seat_type: Option<&str>, said: &Said<'_>) -> Result<(), String> {
        if let Some(name) = seat_type.filter(|name| self.settings.seat_type(name).is_none()) {
            return Err(format!("there is no seat type {name:?}; set it first"));
        }
        let row = self.scopes.row_mut(index);
        let member = row.member.get_or_insert_default();
        member.seat_type = seat_type.map(Into::into);
        // The rules of the new seat are held against what was used already, and those of the old one clear.
        row.rules_revision = 0;
        self.revise();
        self.look_for(index, false, said);
        Ok(())
    }

    pub(super) fn set_agent_creation(&mut self, rule: &AgentCreation) -> Answer {
        if let AgentCreation::Named(members) = rule
            && (members.is_empty() || members.len() > CREATORS_MAX)
        {
            return Err(format!("name 1 to {CREATORS_MAX} members"));
        }
        self.settings.agent_creation = rule.clone();
        self.settings_changed = true;
        Ok(String::new())
    }

    pub(super) fn register_workspace(&mut self, workspace_id: &str, said: &Said<'_>) -> Answer {
        check_id("workspace_id", workspace_id)?;
        let index = self.scopes.index(&Scope::Workspace(workspace_id.into()));
        if self.scopes.row(index).registered.is_some() {
            return Ok("it was registered before".to_owned());
        }
        self.scopes.row_mut(index).registered = Some(Box::new(self.registered_now(said)));
        Ok(String::new())
    }

    pub(super) fn register_agent(&mut self, scope: &Scope, said: &Said<'_>) -> Answer {
        let Scope::Agent { workspace, agent } = scope else {
            return Err(format!("{scope} is no agent: write agent:WORKSPACE/AGENT"));
        };
        check_id("agent", agent)?;
        let index = self.scopes.index(scope);
        if let Some(registered) = &self.scopes.row(index).registered {
            return Err(format!("{scope} was registered by {} before", registered.created_by));
        }
        let creator = self.scopes.index(&Scope::User((&*said.record.actor).into()));
        if let Err(message) = self.may_create(creator, &said.record.actor) {
            let kind =
                RequestKind::CreationRefused { actor: said.record.actor.clone(), message: message.clone().into() };
            self.tell(scope.clone(), kind, said);
            return Err(message);
        }
        self.scopes.row_mut(index).registered = Some(Box::new(self.registered_now(said)));
        let workspace = Some(workspace).filter(|workspace| !workspace.is_empty());
        let workspace = workspace.map(|workspace| self.scopes.index(&Scope::Workspace(workspace.clone())));
        self.count_builder(creator, workspace, said);
        Ok(String::new())
    }

    fn may_create(&self, creator: ScopeIndex, actor: &str) -> Result<(), String> {
        let is_owner = self.scopes.row(creator).member.as_ref().is_some_and(|member| member.role == Role::Owner);
        match &self.settings.agent_creation {
            AgentCreation::Everyone => Ok(()),
            AgentCreation::Owners if is_owner => Ok(()),
            AgentCreation::Named(members) if is_owner || members.iter().any(|member| &**member == actor) => Ok(()),
            AgentCreation::Owners => Err(format!("{actor} may not create agents: only owners may")),
            AgentCreation::Named(_) => Err(format!("{actor} may not create agents: only named members may")),
        }
    }

    fn registered_now(&self, said: &Said<'_>) -> Registered {
        let created_at = said.moment.record_time;
        Registered { created_by: said.record.actor.clone(), created_at }
    }

    /// Counts the agent for its creator, and the creator once per period as a builder (row A12).
    fn count_builder(&mut self, creator: ScopeIndex, workspace: Option<ScopeIndex>, said: &Said<'_>) {
        let windows = self.open_counted(said.moment.record_time, said.policy);
        let period = windows[2].1;
        let built_before = |account: &Self, name: &str| {
            let member = account.scopes.row(creator).member.as_ref();
            member.is_some_and(|member| member.built.iter().any(|(of, at)| &**of == name && *at == period.start))
        };
        let name = workspace.map(|workspace| self.scopes.slot(workspace).field());
        let new_in_organization = !built_before(self, "org");
        let new_in_workspace = name.as_ref().is_some_and(|name| !built_before(self, name));
        let member = self.scopes.row_mut(creator).member.get_or_insert_default();
        let new = [new_in_organization.then(|| "org".into()), name.filter(|_| new_in_workspace)];
        member.built.extend(new.into_iter().flatten().map(|name| (name, period.start)));
        let surplus = member.built.len().saturating_sub(BUILT_KEPT);
        member.built.drain(..surplus);
        for (index, builders) in
            [(Some(ORGANIZATION), new_in_organization), (workspace, new_in_workspace), (Some(creator), false)]
        {
            let Some(index) = index else { continue };
            let mut charge = Counters::ZERO;
            charge.set(Meter::AgentsCreated, 1);
            charge.set(Meter::Builders, i64::from(builders));
            self.count_something(index, &windows, &charge, said.moment);
        }
    }
}
