//! Says who may create agents, in the organization or in one workspace (row A15).

use super::{Handle, checks::check_id};
use crate::domain::{
    account::{rulebook::Rulebook, sweep::Concern},
    answer::{Answer, Refused},
    control::SetAgentCreation,
    decision::Decision,
    organization::AgentCreation,
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
        let rules = decision.rules.edit();
        match &self.workspace_id {
            None => rules.agent_creation = self.rule.clone().unwrap_or_default(),
            Some(workspace_id) => {
                rules.agent_creation_in.retain(|(of, _)| **of != **workspace_id);
                let rule = self.rule.clone().map(|rule| ((&**workspace_id).into(), rule));
                rules.agent_creation_in.extend(rule);
            }
        }
        Ok(Vec::new())
    }
}
