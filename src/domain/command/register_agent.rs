//! Makes an agent known, with its creator (rows A12, A13, A15).

use super::{
    Handle,
    checks::{check_id, user_of},
    register_workspace::{actor, registered},
};
use crate::domain::{
    account::{
        rulebook::Rulebook,
        scopes::{ORGANIZATION, ScopeIndex},
        sweep::Concern,
    },
    answer::{Answer, Refused},
    control::{ControlRecord, RegisterAgent},
    decision::Decision,
    meter::{Counters, Meter},
    organization::{AgentCreation, Role},
    scope::{Name, Scope},
    signal::RequestKind,
    usage::{
        count::{count_something, windows_where_used},
        follow::follow,
        open_counted,
        rules::bring_up_to_date,
    },
    window::{Counted, Window, WindowKind},
};

/// For so many places and windows it is known that a member built in them.
const BUILT_KEPT: usize = 512;

impl Handle for RegisterAgent {
    fn touches(&self, _: &Rulebook) -> Vec<Scope> {
        let creator = self.created_by.as_deref().and_then(user_of);
        [Some(self.scope.clone()), creator].into_iter().flatten().collect()
    }

    fn reads(&self, record: &ControlRecord) -> Vec<Scope> {
        let creator = self.created_by.as_ref().unwrap_or(&record.actor);
        let workspace = workspace_of(&self.scope).map(Scope::Workspace);
        [user_of(creator), workspace].into_iter().flatten().collect()
    }

    fn concerns(&self, _: &Rulebook) -> Concern {
        Concern::Touched
    }

    fn apply(&self, decision: &mut Decision<'_>) -> Answer {
        let Scope::Agent { agent, .. } = &self.scope else {
            return Err(Refused::NotAnAgent { scope: self.scope.clone() });
        };
        check_id("agent", agent)?;
        if let Some(created_by) = &self.created_by {
            check_id("created_by", created_by)?;
        }
        let index = decision.book.index(&self.scope);
        if let Some(registered) = &decision.book.row(index).registered {
            let created_by = registered.created_by.clone();
            return Err(Refused::AgentRegisteredBefore { scope: self.scope.clone(), created_by });
        }
        let creator_id = self.created_by.clone().unwrap_or_else(|| actor(decision));
        let creator = decision.book.index(&Scope::User((&*creator_id).into()));
        let workspace = workspace_of(&self.scope);
        if let Err(why) = check_creator(decision, creator, &creator_id, workspace.as_ref()) {
            let kind = RequestKind::CreationRefused { actor: creator_id, why: why.clone() };
            decision.tell(index, kind);
            return Err(why);
        }
        decision.book.row_mut(index).registered = Some(Box::new(registered(decision, creator_id)));
        let workspace = workspace.map(|workspace| decision.book.index(&Scope::Workspace(workspace)));
        count_builder(decision, creator, workspace);
        Ok(Vec::new())
    }
}

fn workspace_of(scope: &Scope) -> Option<Name> {
    match scope {
        Scope::Agent { workspace, .. } if !workspace.is_empty() => Some(workspace.clone()),
        _ => None,
    }
}

/// Refuses who may not create agents there: a workspace's rule comes before the organization's, and owners always may.
fn check_creator(
    decision: &Decision<'_>,
    creator: ScopeIndex,
    creator_id: &str,
    workspace: Option<&Name>,
) -> Result<(), Refused> {
    if decision.book.row(creator).member.as_ref().is_some_and(|member| member.role == Role::Owner) {
        return Ok(());
    }
    let own = workspace.and_then(|name| decision.rules.agent_creation_in.iter().find(|(of, _)| of == name));
    let (within, rule) = match own {
        Some((name, rule)) => (Scope::Workspace(name.clone()), rule),
        None => (Scope::Organization, &decision.rules.agent_creation),
    };
    let actor = creator_id.into();
    match rule {
        AgentCreation::Everyone => Ok(()),
        AgentCreation::Named(members) if members.iter().any(|member| &**member == creator_id) => Ok(()),
        AgentCreation::Owners => Err(Refused::OnlyOwnersCreateAgents { actor, within }),
        AgentCreation::Named(_) => Err(Refused::OnlyNamedCreateAgents { actor, within }),
    }
}

/// Counts the agent for its creator, workspace and organization; and the creator once in each window of those.
fn count_builder(decision: &mut Decision<'_>, creator: ScopeIndex, workspace: Option<ScopeIndex>) {
    let windows = open_counted(decision, decision.at.record_time);
    for index in [Some(ORGANIZATION), workspace, Some(creator)].into_iter().flatten() {
        let new = if index == creator { [false; 3] } else { note_built(decision, creator, index, &windows) };
        let mut to_follow = bring_up_to_date(decision, index);
        let more = windows_where_used(decision, index, decision.at.record_time);
        let more = more.into_iter().flatten().filter(|(kind, _)| *kind != WindowKind::Session);
        let more: Vec<_> = more.map(|window| (window, false)).collect();
        for (window, is_new) in windows.each().into_iter().zip(new).chain(more) {
            let mut charge = Counters::ZERO;
            charge.set(Meter::AgentsCreated, 1);
            charge.set(Meter::Builders, i64::from(is_new));
            to_follow |= count_something(decision, index, &[window], &charge);
        }
        if to_follow && index != creator {
            follow(decision, index);
        }
    }
}

/// Notes that a member built in a place. Returns for each window whether that is new.
fn note_built(
    decision: &mut Decision<'_>,
    creator: ScopeIndex,
    place: ScopeIndex,
    windows: &Counted,
) -> [bool; Counted::KINDS.len()] {
    let field = decision.book.slot(place).field();
    let member = decision.book.row_mut(creator).member.get_or_insert_default();
    let new = windows.each().map(|(kind, window): (WindowKind, Window)| {
        let built = (format!("{field} {}", kind.name()).into_boxed_str(), window.start);
        let is_new = !member.built.contains(&built);
        if is_new {
            // Only the newest window of a kind can be built in: records come in the order of their times.
            member.built.retain(|(of, _)| *of != built.0);
            member.built.push(built);
        }
        is_new
    });
    let surplus = member.built.len().saturating_sub(BUILT_KEPT);
    member.built.drain(..surplus);
    new
}
