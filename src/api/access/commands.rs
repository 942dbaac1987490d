//! Who may say which command (rows A6, A15).

use serde_json::Value as Json;

use super::{Caller, Role};
use crate::domain::{organization::Reserved, scope::Scope};

/// Who may say a command. Owners and services may say all of them.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum MaySay {
    /// Only owners: what binds or pays for the whole organization.
    Owner,
    /// Also admins: they answer members' requests.
    Admin,
    /// Also the admins of the workspace that the command's `scope` lies in.
    WorkspaceAdmin,
    /// The same, unless the owners keep this control for themselves. Who creates agents is said with a `workspace_id` in
    /// place of a `scope`.
    WorkspaceAdminUnless(Reserved),
    /// Also the member whom its `user_id` names.
    Member,
    /// Also every member, as the actor, and the admins of the workspace that the agent is of; the account's own rule decides
    /// (row A15). None of these may name another creator, for whom another rule may hold.
    Creator,
    /// Nobody: it is Bursar's own.
    Nobody,
}

/// Whether a caller may say a command.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Permission {
    /// They may not.
    Denied,
    /// They may, unless the organization has this in its list of reserved controls.
    UnlessReserved(Reserved),
    /// They may.
    Granted,
}

/// Every command of a control record, and who may say it.
pub const COMMANDS: &[(&str, MaySay)] = &[
    ("set_organization", MaySay::Owner),
    ("set_rate_card", MaySay::Owner),
    ("set_limit", MaySay::WorkspaceAdmin),
    ("remove_limit", MaySay::WorkspaceAdmin),
    ("set_pool", MaySay::WorkspaceAdminUnless(Reserved::Pool)),
    ("remove_pool", MaySay::WorkspaceAdminUnless(Reserved::Pool)),
    ("grant", MaySay::WorkspaceAdminUnless(Reserved::Buying)),
    ("set_unit", MaySay::Owner),
    ("set_plan", MaySay::Owner),
    ("set_mode", MaySay::Owner),
    ("set_source", MaySay::Owner),
    ("set_extra_usage", MaySay::Owner),
    ("set_consent", MaySay::Owner),
    ("consent", MaySay::Member),
    ("set_free_phase", MaySay::Owner),
    ("void_grant", MaySay::WorkspaceAdminUnless(Reserved::Buying)),
    ("set_auto_reload", MaySay::WorkspaceAdminUnless(Reserved::Buying)),
    ("remove_auto_reload", MaySay::WorkspaceAdminUnless(Reserved::Buying)),
    ("refuse_reload", MaySay::WorkspaceAdminUnless(Reserved::Buying)),
    ("set_seat_type", MaySay::Owner),
    ("set_member", MaySay::Owner),
    ("set_agent_creation", MaySay::WorkspaceAdminUnless(Reserved::AgentCreation)),
    ("set_reserved", MaySay::Owner),
    ("register_workspace", MaySay::Owner),
    ("register_agent", MaySay::Creator),
    ("set_requests", MaySay::Owner),
    ("request", MaySay::Member),
    ("approve", MaySay::Admin),
    ("decline", MaySay::Admin),
    ("adjust", MaySay::Owner),
    ("pause", MaySay::WorkspaceAdmin),
    ("resume", MaySay::WorkspaceAdmin),
    ("due", MaySay::Nobody),
];

impl Caller {
    /// Whether the caller may say a command of an organization, whose body names a scope, a workspace or a user. Of several
    /// roles the one that allows most counts.
    pub fn may_say(&self, organization_id: &str, command: &str, body: &Json) -> Permission {
        let Some((_, who)) = COMMANDS.iter().find(|(name, _)| *name == command) else { return Permission::Denied };
        let given = self.roles.iter().map(|role| self.permission(role, *who, organization_id, body));
        given.reduce(Permission::or).unwrap_or(Permission::Denied)
    }

    /// Whether what the caller says is said by an owner: by one of the organization, or a service.
    pub fn is_owner(&self, organization_id: &str) -> bool {
        self.roles.iter().any(|role| match role {
            Role::Service => true,
            Role::Owner(of) => **of == *organization_id,
            _ => false,
        })
    }

    fn permission(&self, role: &Role, who: MaySay, organization_id: &str, body: &Json) -> Permission {
        let text = |field: &str| body.get(field).and_then(Json::as_str);
        let is_here = |of: &str| of == organization_id;
        let is_within = |own: &str| text("scope").and_then(workspace_of).is_some_and(|workspace| workspace == own);
        let is_creator = |id: &Json| id.is_null() || *id == *self.actor(organization_id);
        let names_no_other = || body.get("created_by").is_none_or(is_creator);
        let may = match (role, who) {
            (_, MaySay::Nobody) => false,
            (Role::Service, _) => true,
            (Role::Owner(of), _) => is_here(of),
            (Role::Admin(of), MaySay::Admin) => is_here(of),
            (Role::WorkspaceAdmin(of, own), MaySay::WorkspaceAdmin) => is_here(of) && is_within(own),
            (Role::WorkspaceAdmin(of, own), MaySay::WorkspaceAdminUnless(control)) => {
                let is_own = match control {
                    Reserved::AgentCreation => text("workspace_id") == Some(own),
                    Reserved::Buying | Reserved::Pool => is_within(own),
                };
                return if is_here(of) && is_own { Permission::UnlessReserved(control) } else { Permission::Denied };
            }
            (Role::WorkspaceAdmin(of, own), MaySay::Creator) => is_here(of) && is_within(own) && names_no_other(),
            (Role::Member(of, own), MaySay::Member) => is_here(of) && text("user_id") == Some(own),
            (Role::Member(of, _), MaySay::Creator) => is_here(of) && names_no_other(),
            _ => false,
        };
        if may { Permission::Granted } else { Permission::Denied }
    }
}

impl Permission {
    /// The one of two that allows more.
    const fn or(self, other: Self) -> Self {
        match (self, other) {
            (Self::Denied, _) | (_, Self::Granted) => other,
            _ => self,
        }
    }
}

/// The workspace that a scope lies in.
fn workspace_of(scope: &str) -> Option<String> {
    match Scope::parse(scope) {
        Ok(Scope::Workspace(workspace) | Scope::Agent { workspace, .. }) if !workspace.is_empty() => {
            Some(workspace.into())
        }
        _ => None,
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::{
        api::access::tests::{ROLES, caller},
        contract::{Kind, control::ENVELOPE_FIELDS, newest},
    };
    use apache_avro::Schema;
    use serde_json::json;

    /// What only owners and services may say, as a column for each of [`ROLES`]; `?` is what may be said unless it is
    /// reserved.
    const OWNERS: &str = "++-------";

    fn check(command: &str, body: &Json, expected: &str) {
        let may = |role: &&str| match caller(role).may_say("acme", command, body) {
            Permission::Denied => '-',
            Permission::UnlessReserved(_) => '?',
            Permission::Granted => '+',
        };
        assert_eq!(ROLES.iter().map(may).collect::<String>(), expected, "{command} {body}");
    }

    #[test]
    fn a6_every_command_by_every_role() {
        let own = [
            json!({ "scope": "ws:sales", "user_id": "u-1" }),
            json!({ "scope": "agent:sales/bot", "user_id": "u-1" }),
            json!({ "workspace_id": "sales" }),
        ];
        let foreign = [
            json!({ "scope": "ws:law", "user_id": "u-2" }),
            json!({ "scope": "org" }),
            json!({ "every": "agent" }),
            json!({ "workspace_id": "law" }),
        ];
        for (command, who) in COMMANDS {
            let (expected, of_foreign) = match who {
                MaySay::Owner => ([OWNERS; 3], OWNERS),
                MaySay::Admin => (["+++------"; 3], "+++------"),
                MaySay::WorkspaceAdmin => (["++-+-----", "++-+-----", OWNERS], OWNERS),
                MaySay::WorkspaceAdminUnless(Reserved::AgentCreation) => ([OWNERS, OWNERS, "++-?-----"], OWNERS),
                MaySay::WorkspaceAdminUnless(_) => (["++-?-----", "++-?-----", OWNERS], OWNERS),
                MaySay::Member => (["++--+----", "++--+----", OWNERS], OWNERS),
                MaySay::Creator => (["++-++----", "++-++----", "++--+----"], "++--+----"),
                MaySay::Nobody => (["---------"; 3], "---------"),
            };
            own.iter().zip(expected).for_each(|(body, expected)| check(command, body, expected));
            foreign.iter().for_each(|body| check(command, body, of_foreign));
        }
    }

    #[test]
    fn a6_owners_and_services_speak_as_owners() {
        let speaks = |role: &&str| if caller(role).is_owner("acme") { '+' } else { '-' };
        assert_eq!(ROLES.iter().map(speaks).collect::<String>(), OWNERS);
    }

    /// Who is no owner cannot use a rule that allows more to another.
    #[test]
    fn a15_only_owners_and_services_name_another_creator() {
        let agent = |creator: Json| json!({ "scope": "agent:sales/bot", "created_by": creator });
        check("register_agent", &agent(json!("u-1")), "++--+----");
        check("register_agent", &agent(json!("u-2")), OWNERS);
        check("register_agent", &agent(json!(["u-1"])), OWNERS);
        check("register_agent", &agent(Json::Null), "++-++----");
    }

    #[test]
    fn a6_of_several_roles_the_one_that_allows_most_counts() {
        let pool = json!({ "scope": "ws:sales" });
        for (roles, expected) in [
            (["member:acme/u-1", "workspace_admin:acme/sales"], Permission::UnlessReserved(Reserved::Pool)),
            (["workspace_admin:acme/sales", "owner:acme"], Permission::Granted),
            (["owner:acme", "workspace_admin:acme/sales"], Permission::Granted),
            (["workspace_admin:acme/law", "member:acme/u-1"], Permission::Denied),
        ] {
            let of_all = roles.iter().flat_map(|role| caller(role).roles).collect();
            let caller = Caller { subject: "s".to_owned(), roles: of_all };
            assert_eq!(caller.may_say("acme", "set_pool", &pool), expected, "{roles:?}");
        }
    }

    /// The table has the commands of the schema, and no other.
    #[test]
    fn the_commands_are_those_of_the_schema() {
        let Schema::Record(record) = &newest(Kind::Control).schema else { panic!("control records are records") };
        let commands = record.fields.iter().skip(ENVELOPE_FIELDS);
        let of_schema: Vec<&str> = commands.map(|field| field.name.as_str()).collect();
        assert_eq!(COMMANDS.iter().map(|(name, _)| *name).collect::<Vec<_>>(), of_schema);
    }
}
