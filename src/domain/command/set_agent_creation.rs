//! Says who may create agents, in the organization or in one workspace (row A15).

use super::{Handle, checks::check_id};
use crate::domain::{
    account::{rulebook::Rulebook, sweep::Concern},
    answer::{Answer, Refused},
    control::SetAgentCreation,
    decision::Decision,
    limit::Selector,
    organization::AgentCreation,
    scope::Scope,
};
use crate::mutation::is_broken;

/// At most this many members may be named as creators.
const CREATORS_MAX: usize = 1_000;

impl Handle for SetAgentCreation {
    fn concerns(&self, _: &Rulebook) -> Concern {
        Concern::Touched
    }

    fn apply(&self, decision: &mut Decision<'_>) -> Answer {
        if let Some(workspace_id) = &self.workspace_id {
            check_id("workspace_id", workspace_id)?;
        }
        if let Some(AgentCreation::Named(members)) = &self.rule
            && !(1..=CREATORS_MAX).contains(&members.len())
            && !is_broken("bound", "creators")
        {
            return Err(Refused::CreatorsOutOfRange { count: members.len() as u64, most: CREATORS_MAX as u64 });
        }
        let is_by_owner = decision.is_by_owner();
        let is_owners = |workspace: &str| {
            let rules = &decision.rules;
            rules.agent_creation_in.iter().any(|(of, _)| **of == *workspace)
                && !rules.agent_creation_by_others.iter().any(|of| **of == *workspace)
        };
        let stands = self.workspace_id.as_deref().is_none_or(is_owners);
        if !is_by_owner && stands {
            let scope = self.workspace_id.as_deref().map_or(Scope::Organization, |id| Scope::Workspace(id.into()));
            let (what, selector) = ("agent_creation".into(), Selector::One(scope));
            return Err(Refused::SetByOwner { what, selector, limit_id: Box::default() });
        }
        let rules = decision.rules.edit();
        match &self.workspace_id {
            None => rules.agent_creation = self.rule.clone().unwrap_or_default(),
            Some(workspace_id) => {
                rules.agent_creation_in.retain(|(of, _)| **of != **workspace_id);
                let rule = self.rule.clone().map(|rule| ((&**workspace_id).into(), rule));
                rules.agent_creation_in.extend(rule);
                rules.agent_creation_by_others.retain(|of| **of != **workspace_id);
                if !is_by_owner && self.rule.is_some() {
                    rules.agent_creation_by_others.push((&**workspace_id).into());
                }
            }
        }
        Ok(Vec::new())
    }
}
