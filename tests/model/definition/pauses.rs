//! *Pauses*: why a scope is paused, as a function of what is known; and what is told of it.

use std::collections::BTreeSet;

use super::{
    Model,
    codes::{Code, No, code, sorted},
    fields::Fields,
    history::{Action, History},
    means::Look,
    terms::{Kind, Meter, Scope},
};

/// Why a scope is paused at a moment of the clock: the empty set where it runs.
pub fn causes(history: &History, scope: &Scope, clock_ms: i64) -> BTreeSet<String> {
    causes_at(&Look::new(history, clock_ms), scope)
}

fn causes_at(look: &Look<'_>, scope: &Scope) -> BTreeSet<String> {
    let history = look.history;
    let mut causes = limits_reached(look, scope);
    causes.extend(look.wants(scope));
    if history.free_phase.contains(scope) {
        causes.insert("free_phase".to_owned());
    }
    if history.admin_paused.contains(scope) {
        causes.insert("admin".to_owned());
    }
    causes
}

/// Limits whose cap is reached in the window that runs. Those on extra credits do not stop what others pay: they are
/// wants of money.
fn limits_reached(look: &Look<'_>, scope: &Scope) -> BTreeSet<String> {
    let (history, mut causes) = (look.history, BTreeSet::new());
    let user = match scope {
        Scope::User(user) => Some(user.as_str()),
        _ => None,
    };
    let starts = look.starts_for(user);
    let pauses = |limit: &&super::history::Limit| limit.action == Action::Pause && limit.meter != Meter::ExtraCredits;
    for limit in history.limits_of(scope).into_iter().filter(pauses) {
        let Some(cap) = limit.cap else { continue };
        let kind = limit.window;
        if cap == 0 && (kind != Kind::Session || history.has_seats()) {
            // It is reached in every window, and so names none.
            causes.insert(format!("limit {} 0", limit.name()));
        } else if cap > 0 && history.used(limit, scope, &starts) >= cap {
            let start = starts.of(kind).expect("something was used in it");
            causes.insert(format!("limit {} {start}", limit.name()));
        }
    }
    causes
}

impl History {
    /// All scopes that may be paused: the organization, known workspaces, known agents and users; and those that are.
    pub fn concerned(&self, clock_ms: i64) -> BTreeSet<Scope> {
        let look = Look::new(self, clock_ms);
        let mut scopes = BTreeSet::from([Scope::Organization]);
        for one in &self.counted {
            scopes.extend(one.named.workspace.clone().map(Scope::Workspace));
        }
        for (_, scope) in &self.named {
            scopes.extend(scope.workspace().map(|workspace| Scope::Workspace(workspace.to_owned())));
        }
        for one in look.recent() {
            scopes.extend(one.named.scopes());
        }
        scopes.extend(look.recently_named().cloned());
        scopes.extend(self.causes.keys().cloned());
        // The agents of the free phase are looked at by themselves.
        scopes.extend(self.free_phase.iter().cloned());
        scopes
    }

    /// Agents that were registered or used before the free phase ended: for then they were created in it.
    pub fn agents_of_the_free_phase(&self) -> BTreeSet<Scope> {
        let until = self.free_until.unwrap_or(i64::MIN);
        let early = self.counted.iter().filter(|one| one.time_ms < until);
        let scopes = early.flat_map(|one| one.named.scopes());
        scopes.filter(|scope| matches!(scope, Scope::Agent(..))).collect()
    }

    /// Whether an agent or user was ever used, registered or named by a command; organization and workspaces are known by
    /// their name.
    fn was_ever_named(&self, scope: &Scope) -> bool {
        match scope {
            Scope::Organization | Scope::Workspace(_) => true,
            _ => {
                let by_command = self.named.iter().any(|(_, named)| named == scope);
                by_command || self.counted.iter().any(|one| one.concerns(scope))
            }
        }
    }
}

impl Model {
    /// Tells of each scope whose causes are others than were told last, but for those that wait.
    pub fn tell_pauses(&mut self, waiting: &BTreeSet<Scope>) {
        self.end_free_phase_causes();
        let look = Look::new(&self.history, self.clock_ms);
        let scopes = self.history.concerned(self.clock_ms).into_iter().filter(|scope| !waiting.contains(scope));
        let all: Vec<_> = scopes.map(|scope| (causes_at(&look, &scope), scope)).collect();
        for (causes, scope) in all {
            let before = self.history.causes.get(&scope).cloned().unwrap_or_default();
            if causes == before {
                continue;
            }
            let list = sorted(&causes);
            if causes.is_empty() {
                self.history.causes.remove(&scope);
            } else {
                self.history.causes.insert(scope.clone(), causes);
            }
            self.say(format!("pause {scope} {list}"), format!("pause|{scope}|{}", self.cause));
        }
    }

    /// `pause`
    pub fn pause(&mut self, fields: &Fields) -> Result<Vec<Code>, No> {
        let scope = fields.scope()?;
        if !self.history.was_ever_named(&scope) {
            return Err(code("scope_unknown").with("scope", scope).refused());
        }
        self.name(scope.clone());
        let is_new = self.history.admin_paused.insert(scope.clone());
        self.note_who_set(&format!("pause {scope}"), is_new);
        Ok(Vec::new())
    }

    /// Refuses others than owners what an owner has set.
    pub fn may_lift(&self, what: &str, on: impl std::fmt::Display, id: &str) -> Result<(), No> {
        let key = format!("{what} {on} {id}");
        if self.is_by_owner || self.history.by_others.contains(key.trim_end()) {
            return Ok(());
        }
        Err(code("set_by_owner").with("what", what).with("selector", on).with("limit_id", id).refused())
    }

    /// Notes who set something; what an owner has set stays an owner's.
    pub fn note_who_set(&mut self, key: &str, is_new: bool) {
        if self.is_by_owner {
            self.history.by_others.remove(key);
        } else if is_new {
            self.history.by_others.insert(key.to_owned());
        }
    }

    /// `resume`
    pub fn resume(&mut self, fields: &Fields) -> Result<Vec<Code>, No> {
        let scope = fields.scope()?;
        if self.history.admin_paused.contains(&scope) {
            self.may_lift("pause", &scope, "")?;
        }
        self.name(scope.clone());
        self.history.admin_paused.remove(&scope);
        let remain = causes(&self.history, &scope, self.clock_ms);
        if remain.is_empty() {
            return Ok(Vec::new());
        }
        Ok(vec![code("pause_remains").with("causes", sorted(remain))])
    }

    /// The first period start on or after the end of the free phase: each agent of the phase is looked at once.
    pub fn settle_free_phase(&mut self, period_start: i64) {
        self.history.is_free_phase_settled = true;
        self.history.credited.clear();
        let ended = self.history.calendar.window(Kind::Period, period_start - 1);
        let look = Look::new(&self.history, period_start);
        let mut agents = self.history.agents_of_the_free_phase();
        agents.retain(|agent| {
            let used = self.history.window(agent, Kind::Period, ended.start).get(Meter::Credits);
            look.has_less_than(agent.workspace(), used)
        });
        self.history.free_phase.extend(agents);
    }

    /// Agents of the free phase go on once credits have come to their pool or balance, however little it is; also where
    /// that pool became the nearest only later.
    fn end_free_phase_causes(&mut self) {
        let now = self.history.moment_of(self.clock_ms);
        let history = &self.history;
        let lacks = |agent: &&Scope| !history.credited.contains(&history.owner_at(agent.workspace(), now));
        self.history.free_phase = history.free_phase.iter().filter(lacks).cloned().collect();
    }
}
