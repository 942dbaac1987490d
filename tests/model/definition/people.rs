//! *Agents, members, plans*.

use super::{
    Model,
    codes::{Code, No, code},
    fields::Fields,
    history::{Counted, Creators, SeatType, What},
    terms::{Kind, Meter, Named, Scope, named},
};

const SEAT_TYPES_MOST: usize = 64;
const CREATORS_MOST: usize = 1_000;
const PLANS: [&str; 6] = ["free", "plus", "business", "business_trial", "enterprise", "enterprise_trial"];

impl Model {
    /// `set_plan`
    pub fn set_plan(&mut self, fields: &Fields) -> Result<Vec<Code>, No> {
        let plan = fields.must("plan")?;
        if !PLANS.contains(&plan.as_str()) {
            return Err(No::Unreadable);
        }
        self.history.plan = Some(plan.clone());
        Ok(vec![code("what_was_set_stays").with("plan", plan)])
    }

    /// Whether the plan has no credits. Without a plan nothing is lacking.
    pub fn plan_lacks_credits(&self) -> bool {
        matches!(self.history.plan.as_deref(), Some("free" | "plus"))
    }

    /// Refuses what is about credits where the plan has none.
    pub fn plan_has_credits(&self) -> Result<(), No> {
        match self.plan_lacks_credits() {
            true => Err(code("plan_lacks_credits").with("plan", self.plan_name()).refused()),
            false => Ok(()),
        }
    }

    /// Refuses what rules over all workspaces where the plan has no console.
    pub fn plan_has_console(&self) -> Result<(), No> {
        match self.history.plan.as_deref() {
            None | Some("enterprise" | "enterprise_trial") => Ok(()),
            Some(plan) => Err(code("plan_lacks_console").with("plan", plan).refused()),
        }
    }

    fn plan_name(&self) -> &str {
        self.history.plan.as_deref().unwrap_or_default()
    }

    /// `set_seat_type`
    pub fn set_seat_type(&mut self, fields: &Fields) -> Result<Vec<Code>, No> {
        let name = fields.id("seat_type")?;
        let mut includes = Vec::new();
        for (kind, field) in
            [(Kind::Session, "session_micro"), (Kind::Week, "week_micro"), (Kind::Period, "period_micro")]
        {
            if fields.number(field)?.is_some() {
                includes.push((kind, fields.amount(field, 0)?));
            }
        }
        if self.mode_name() == "usage_enterprise" {
            return Err(code("mode_has_no_seats").with("mode", self.mode_name()).refused());
        }
        if !self.history.seat_types.contains_key(&name) && self.history.seat_types.len() >= SEAT_TYPES_MOST {
            return Err(code("too_many_seat_types").with("most", SEAT_TYPES_MOST).refused());
        }
        // An allowance that the type had before goes on; another begins with this record.
        let before = self.history.seat_types.get(&name).cloned().unwrap_or_default();
        let now = self.history.since(self.at_ms);
        let had = |kind: Kind| before.allowances.iter().find(|(had, ..)| *had == kind).map(|(.., since)| *since);
        let allowances = includes.into_iter().map(|(kind, micro)| (kind, micro, had(kind).unwrap_or(now))).collect();
        self.history.seat_types.insert(name, SeatType { allowances });
        Ok(Vec::new())
    }

    /// Refuses a seat type that was never set.
    pub fn seat_type_exists(&self, seat_type: &str) -> Result<(), No> {
        match self.history.seat_types.contains_key(seat_type) {
            true => Ok(()),
            false => Err(code("seat_type_unknown").with("seat_type", seat_type).refused()),
        }
    }

    /// `set_member`
    pub fn set_member(&mut self, fields: &Fields) -> Result<Vec<Code>, No> {
        let user = fields.id("user_id")?;
        let seat = fields.id_if("seat_type")?;
        let is_owner = match fields.text("role")?.as_deref() {
            None | Some("member" | "admin") => false,
            Some("owner") => true,
            Some(_) => return Err(No::Unreadable),
        };
        if let Some(seat_type) = &seat {
            self.seat_type_exists(seat_type)?;
        }
        self.name(Scope::User(user.clone()));
        self.give_seat(&user, seat);
        self.history.members.get_mut(&user).expect("it was just given").is_owner = is_owner;
        Ok(Vec::new())
    }

    /// `set_agent_creation`
    pub fn set_agent_creation(&mut self, fields: &Fields) -> Result<Vec<Code>, No> {
        let members = fields.texts("members")?;
        let workspace = fields.id_if("workspace_id")?;
        let creators = match fields.must("who")?.as_str() {
            "everyone" if members.is_empty() => Creators::Everyone,
            "owners" if members.is_empty() => Creators::Owners,
            "named" if members.is_empty() || members.len() > CREATORS_MOST => {
                let no = code("creators_out_of_range").with("count", members.len());
                return Err(no.with("most", CREATORS_MOST).refused());
            }
            "named" => Creators::Named(members.clone()),
            // The rule of the organization holds in the workspace again.
            "inherit" if workspace.is_some() => {
                self.may_say_who_creates(workspace.as_ref())?;
                self.name(Scope::Workspace(workspace.clone().expect("it is named")));
                self.history.creation.remove(&workspace);
                return Ok(Vec::new());
            }
            _ => return Err(No::Unreadable),
        };
        self.may_say_who_creates(workspace.as_ref())?;
        if let Some(workspace) = &workspace {
            self.name(Scope::Workspace(workspace.clone()));
            let is_new = !self.history.creation.contains_key(&Some(workspace.clone()));
            self.note_who_set(&format!("agent_creation ws:{workspace}"), is_new);
        }
        self.history.creation.insert(workspace, creators);
        Ok(Vec::new())
    }

    /// The organization's rule is always an owner's; a workspace's is where an owner set it.
    fn may_say_who_creates(&self, workspace: Option<&String>) -> Result<(), No> {
        match workspace {
            None => self.may_lift("agent_creation", Scope::Organization, ""),
            Some(name) if self.history.creation.contains_key(&Some(name.clone())) => {
                self.may_lift("agent_creation", Scope::Workspace(name.clone()), "")
            }
            Some(_) => Ok(()),
        }
    }

    /// `set_reserved`
    pub fn set_reserved(&mut self, fields: &Fields) -> Result<Vec<Code>, No> {
        let known = |control: &String| ["buying", "pool", "agent_creation"].contains(&control.as_str());
        let controls = fields.must_texts("controls")?;
        if !controls.iter().all(known) {
            return Err(No::Unreadable);
        }
        self.history.reserved = controls;
        Ok(Vec::new())
    }

    /// Refuses others than owners what the owners keep for themselves.
    pub fn is_not_reserved(&self, command: &str) -> Result<(), No> {
        let control = match command {
            "set_pool" | "remove_pool" => "pool",
            "grant" | "void_grant" | "set_auto_reload" | "remove_auto_reload" | "refuse_reload" => "buying",
            "set_agent_creation" => "agent_creation",
            _ => return Ok(()),
        };
        if self.is_by_owner || !self.history.reserved.iter().any(|reserved| reserved == control) {
            return Ok(());
        }
        Err(code("reserved").with("control", control).refused())
    }

    /// `register_workspace`
    pub fn register_workspace(&mut self, fields: &Fields) -> Result<Vec<Code>, No> {
        let scope = Scope::Workspace(fields.id("workspace_id")?);
        self.name(scope.clone());
        if let Some(creator) = self.history.registered.get(&scope) {
            return Ok(vec![code("registered_before").with("scope", scope).with("created_by", creator)]);
        }
        self.history.registered.insert(scope, self.actor.clone());
        Ok(Vec::new())
    }

    /// `register_agent`
    pub fn register_agent(&mut self, fields: &Fields) -> Result<Vec<Code>, No> {
        let scope = fields.scope()?;
        let created_by = fields.id_if("created_by")?;
        let Scope::Agent(workspace, agent) = scope.clone() else {
            return Err(code("not_an_agent").with("scope", scope).refused());
        };
        let creator = created_by.clone().unwrap_or_else(|| self.actor.clone());
        if let Some(before) = self.history.registered.get(&scope) {
            return Err(code("agent_registered_before").with("scope", scope).with("created_by", before).refused());
        }
        let workspace = Some(workspace).filter(|workspace| !workspace.is_empty());
        if let Err(no) = self.may_create(&creator, workspace.as_ref()) {
            self.say(format!("creation_refused {scope} actor={creator}"), format!("creation_refused|{}", self.cause));
            return Err(no);
        }
        self.name(scope.clone());
        if let Some(user) = created_by {
            self.name(Scope::User(user));
        }
        self.history.registered.insert(scope, creator.clone());
        let named = Named { workspace, agent: Some(agent), user: Some(creator) };
        self.history.counted.push(Counted {
            what: What::Registration,
            time_ms: self.at_ms,
            starts: self.history.starts(self.at_ms),
            named,
            credits: 0,
            parts: [0; 6],
            draws: Vec::new(),
            others: vec![(Meter::AgentsCreated, 1)],
            product: None,
            trigger: None,
            model: None,
        });
        let registration = self.history.counted.last().expect("it was just counted").clone();
        self.tell_of_usage(&registration);
        Ok(Vec::new())
    }

    /// Whether the rule of the workspace, or else of the organization, lets somebody create agents. Owners always may.
    fn may_create(&self, creator: &str, workspace: Option<&String>) -> Result<(), No> {
        let is_owner = self.history.members.get(creator).is_some_and(|member| member.is_owner);
        let of_workspace = workspace.and_then(|workspace| {
            let rule = self.history.creation.get(&Some(workspace.clone()))?;
            Some((rule, Scope::Workspace(workspace.clone())))
        });
        let of_organization = || self.history.creation.get(&None).map(|rule| (rule, Scope::Organization));
        let Some((rule, within)) = of_workspace.or_else(of_organization).filter(|_| !is_owner) else { return Ok(()) };
        let no = |name| Err(code(name).with("actor", creator).with("within", within).refused());
        match rule {
            Creators::Owners => no("only_owners_create_agents"),
            Creators::Named(members) if !members.iter().any(|member| member == creator) => {
                no("only_named_create_agents")
            }
            _ => Ok(()),
        }
    }

    /// The name of the mode.
    pub fn mode_name(&self) -> &'static str {
        super::terms::name_of(&super::history::Mode::ALL, self.history.mode)
    }

    /// A mode by its name.
    pub fn mode_named(name: &str) -> Result<super::history::Mode, No> {
        named(&super::history::Mode::ALL, name).ok_or(No::Unreadable)
    }
}
