//! Makes a workspace known.

use super::{
    Handle,
    checks::{check_id, workspace_of},
};
use crate::domain::{
    account::{rulebook::Rulebook, sweep::Concern},
    answer::{Answer, Applied},
    control::RegisterWorkspace,
    decision::{Decision, Trigger},
    organization::Registered,
    scope::Scope,
};

impl Handle for RegisterWorkspace {
    fn touches(&self, _: &Rulebook) -> Vec<Scope> {
        workspace_of(&self.workspace_id).into_iter().collect()
    }

    fn concerns(&self, _: &Rulebook) -> Concern {
        Concern::Touched
    }

    fn apply(&self, decision: &mut Decision<'_>) -> Answer {
        check_id("workspace_id", &self.workspace_id)?;
        let scope = Scope::Workspace((&*self.workspace_id).into());
        let index = decision.book.index(&scope);
        if let Some(registered) = &decision.book.row(index).registered {
            return Ok(vec![Applied::RegisteredBefore { scope, created_by: registered.created_by.clone() }]);
        }
        let created_by = actor(decision);
        decision.book.row_mut(index).registered = Some(Box::new(registered(decision, created_by)));
        Ok(Vec::new())
    }
}

/// Who says the record.
pub fn actor(decision: &Decision<'_>) -> Box<str> {
    match decision.trigger {
        Trigger::Control(record) => record.actor.clone(),
        Trigger::Event(_) | Trigger::Due(_) | Trigger::Correction(_) => Box::default(),
    }
}

/// What is known of something that is registered now.
pub fn registered(decision: &Decision<'_>, created_by: Box<str>) -> Registered {
    Registered { created_by, created_at: decision.at.record_time }
}
