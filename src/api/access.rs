//! Who may what: one table of routes, and one of what each role may say (rows A6, A20).

mod commands;

use axum::http::Method;
use serde::{Deserialize, Serialize};
use utoipa::ToSchema;

pub use self::commands::{COMMANDS, MaySay, Permission};

/// A role, and where it holds. Written as in keys and tokens: `owner:acme`, `admin:acme`, `workspace_admin:acme/sales`,
/// `member:acme/u-1`, `service`.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(into = "String", try_from = "String")]
pub enum Role {
    /// Owns an organization: sees and says everything in it.
    Owner(Box<str>),
    /// Administers an organization: sees everything in it, and answers requests.
    Admin(Box<str>),
    /// Administers a workspace: its figures and its controls, but for those that the owners keep for themselves, and no
    /// other's.
    WorkspaceAdmin(Box<str>, Box<str>),
    /// A member: the own figures and requests.
    Member(Box<str>, Box<str>),
    /// A program of the platform: everything, in every organization.
    Service,
}

impl From<Role> for String {
    fn from(role: Role) -> Self {
        match role {
            Role::Owner(organization) => format!("owner:{organization}"),
            Role::Admin(organization) => format!("admin:{organization}"),
            Role::WorkspaceAdmin(organization, workspace) => format!("workspace_admin:{organization}/{workspace}"),
            Role::Member(organization, user) => format!("member:{organization}/{user}"),
            Role::Service => "service".to_owned(),
        }
    }
}

impl TryFrom<String> for Role {
    type Error = String;

    fn try_from(text: String) -> Result<Self, String> {
        let wrong = || {
            format!(
                "{text:?} is no role: write owner:ORGANIZATION, admin:ORGANIZATION, workspace_admin:ORGANIZATION/WORKSPACE, \
                 member:ORGANIZATION/USER or service"
            )
        };
        if text == "service" {
            return Ok(Self::Service);
        }
        let (role, place) = text.split_once(':').filter(|(_, place)| !place.is_empty()).ok_or_else(wrong)?;
        let within = || match place.split_once('/') {
            // A second slash could belong to either name.
            Some((organization, name)) if !organization.is_empty() && !name.is_empty() && !name.contains('/') => {
                Ok((organization.into(), name.into()))
            }
            _ => Err(wrong()),
        };
        match role {
            "owner" => Ok(Self::Owner(place.into())),
            "admin" => Ok(Self::Admin(place.into())),
            "workspace_admin" => {
                within().map(|(organization, workspace)| Self::WorkspaceAdmin(organization, workspace))
            }
            "member" => within().map(|(organization, user)| Self::Member(organization, user)),
            _ => Err(wrong()),
        }
    }
}

/// Who asks.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, ToSchema)]
pub struct Caller {
    /// Whose key or token it is; the actor of what the caller says.
    pub subject: String,
    /// What the caller may.
    #[schema(value_type = Vec<String>, example = json!(["workspace_admin:acme/sales"]))]
    pub roles: Vec<Role>,
}

/// Who may use a route. Names in braces are those of its path.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Who {
    /// Everyone, also without a key.
    Everyone,
    /// Everyone who is known; the answer holds what the caller may see.
    Known,
    /// Who sees all of {organization_id}: owner, admin, service.
    Organization,
    /// Also the admins of {workspace_id}.
    Workspace,
    /// Also the member {user_id}.
    Member,
    /// Everyone with a role in {organization_id}; what is shown or may be said follows from the role.
    Insider,
}

/// A route.
#[derive(Clone, Debug)]
pub struct Route {
    /// The method.
    pub method: Method,
    /// The path, as the router has it.
    pub path: &'static str,
    /// Who may use it.
    pub who: Who,
}

const fn get(path: &'static str, who: Who) -> Route {
    Route { method: Method::GET, path, who }
}

/// Every route. What is not here cannot be asked for.
pub const ROUTES: &[Route] = &[
    get("/v1/openapi.json", Who::Everyone),
    get("/v1/whoami", Who::Known),
    get("/v1/organizations", Who::Known),
    get("/v1/organizations/{organization_id}", Who::Organization),
    get("/v1/organizations/{organization_id}/periods", Who::Insider),
    get("/v1/organizations/{organization_id}/usage", Who::Organization),
    get("/v1/organizations/{organization_id}/series", Who::Organization),
    get("/v1/organizations/{organization_id}/cards", Who::Organization),
    get("/v1/organizations/{organization_id}/breakdown", Who::Organization),
    get("/v1/organizations/{organization_id}/workspaces", Who::Insider),
    get("/v1/organizations/{organization_id}/workspaces/{workspace_id}/usage", Who::Workspace),
    get("/v1/organizations/{organization_id}/workspaces/{workspace_id}/series", Who::Workspace),
    get("/v1/organizations/{organization_id}/workspaces/{workspace_id}/cards", Who::Workspace),
    get("/v1/organizations/{organization_id}/workspaces/{workspace_id}/breakdown", Who::Workspace),
    get("/v1/organizations/{organization_id}/workspaces/{workspace_id}/agents", Who::Workspace),
    get("/v1/organizations/{organization_id}/workspaces/{workspace_id}/agents/{agent_id}/usage", Who::Workspace),
    get("/v1/organizations/{organization_id}/workspaces/{workspace_id}/agents/{agent_id}/series", Who::Workspace),
    get("/v1/organizations/{organization_id}/workspaces/{workspace_id}/agents/{agent_id}/breakdown", Who::Workspace),
    get("/v1/organizations/{organization_id}/agents", Who::Organization),
    get("/v1/organizations/{organization_id}/members", Who::Organization),
    get("/v1/organizations/{organization_id}/members/{user_id}/usage", Who::Member),
    get("/v1/organizations/{organization_id}/members/{user_id}/series", Who::Member),
    get("/v1/organizations/{organization_id}/members/{user_id}/breakdown", Who::Member),
    get("/v1/organizations/{organization_id}/limits", Who::Insider),
    get("/v1/organizations/{organization_id}/pauses", Who::Insider),
    get("/v1/organizations/{organization_id}/grants", Who::Insider),
    get("/v1/organizations/{organization_id}/overshoot", Who::Insider),
    get("/v1/organizations/{organization_id}/requests", Who::Insider),
    get("/v1/organizations/{organization_id}/statements", Who::Organization),
    get("/v1/organizations/{organization_id}/events", Who::Insider),
    get("/v1/organizations/{organization_id}/live", Who::Insider),
    Route { method: Method::POST, path: "/v1/organizations/{organization_id}/commands/{command}", who: Who::Insider },
    get("/v1/organizations/{organization_id}/records/{record_id}", Who::Insider),
];

/// What a request names in its path.
#[derive(Clone, Copy, Debug, Default)]
pub struct Named<'a> {
    /// {organization_id}.
    pub organization_id: &'a str,
    /// {workspace_id}.
    pub workspace_id: Option<&'a str>,
    /// {user_id}.
    pub user_id: Option<&'a str>,
}

impl Caller {
    /// Whether the caller may use a route on what its path names.
    pub fn may(&self, who: Who, named: Named<'_>) -> bool {
        let Named { organization_id, workspace_id, user_id } = named;
        match who {
            Who::Everyone | Who::Known => true,
            Who::Organization => self.sees_all_of(organization_id),
            Who::Workspace => workspace_id.is_some_and(|workspace| self.sees_workspace(organization_id, workspace)),
            Who::Member => user_id.is_some_and(|user| self.sees_member(organization_id, user)),
            Who::Insider => self.is_inside(organization_id),
        }
    }

    /// Whether the caller sees everything in an organization.
    pub fn sees_all_of(&self, organization_id: &str) -> bool {
        self.roles.iter().any(|role| match role {
            Role::Owner(of) | Role::Admin(of) => **of == *organization_id,
            Role::Service => true,
            _ => false,
        })
    }

    /// Whether the caller sees the figures of a workspace.
    pub fn sees_workspace(&self, organization_id: &str, workspace_id: &str) -> bool {
        let is_admin = |role: &Role| matches!(role, Role::WorkspaceAdmin(of, workspace) if **of == *organization_id && **workspace == *workspace_id);
        self.sees_all_of(organization_id) || self.roles.iter().any(is_admin)
    }

    /// Whether the caller sees the figures of a member.
    pub fn sees_member(&self, organization_id: &str, user_id: &str) -> bool {
        let is_self =
            |role: &Role| matches!(role, Role::Member(of, user) if **of == *organization_id && **user == *user_id);
        self.sees_all_of(organization_id) || self.roles.iter().any(is_self)
    }

    /// Whether the caller has any role in an organization.
    pub fn is_inside(&self, organization_id: &str) -> bool {
        self.roles.iter().any(|role| match role {
            Role::Owner(of) | Role::Admin(of) | Role::WorkspaceAdmin(of, _) | Role::Member(of, _) => {
                **of == *organization_id
            }
            Role::Service => true,
        })
    }

    /// As whom the caller acts in an organization: a member by the own user id, whatever the key or token is called.
    pub fn actor(&self, organization_id: &str) -> &str {
        let member = self.roles.iter().find_map(|role| match role {
            Role::Member(of, user) if **of == *organization_id => Some(&**user),
            _ => None,
        });
        member.filter(|_| !self.sees_all_of(organization_id)).unwrap_or(&self.subject)
    }

    /// The organizations in which the caller has a role; `None` is all.
    pub fn organizations(&self) -> Option<Vec<String>> {
        let of = |role: &Role| match role {
            Role::Owner(of) | Role::Admin(of) | Role::WorkspaceAdmin(of, _) | Role::Member(of, _) => {
                Some(of.to_string())
            }
            Role::Service => None,
        };
        let mut all = self.roles.iter().map(of).collect::<Option<Vec<_>>>()?;
        all.sort();
        all.dedup();
        Some(all)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    pub fn caller(role: &str) -> Caller {
        let roles = vec![Role::try_from(role.to_owned()).expect("a role of this test")];
        Caller { subject: "s".to_owned(), roles }
    }

    pub const ROLES: [&str; 9] = [
        "service",
        "owner:acme",
        "admin:acme",
        "workspace_admin:acme/sales",
        "member:acme/u-1",
        "owner:other",
        "admin:other",
        "workspace_admin:other/sales",
        "member:other/u-1",
    ];

    /// Row A6: every route, every role, the own scopes and foreign ones. A column of the table below is a role of [`ROLES`].
    #[test]
    fn a6_every_route_by_every_role() {
        let own = Named { organization_id: "acme", workspace_id: Some("sales"), user_id: Some("u-1") };
        let foreign = Named { organization_id: "acme", workspace_id: Some("law"), user_id: Some("u-2") };
        for route in ROUTES {
            let expected = match route.who {
                Who::Everyone | Who::Known => ["+++++++++", "+++++++++"],
                Who::Organization => ["+++------", "+++------"],
                Who::Workspace => ["++++-----", "+++------"],
                Who::Member => ["+++-+----", "+++------"],
                Who::Insider => ["+++++----", "+++++----"],
            };
            for (named, expected) in [own, foreign].into_iter().zip(expected) {
                let may = |role: &&str| if caller(role).may(route.who, named) { '+' } else { '-' };
                assert_eq!(ROLES.iter().map(may).collect::<String>(), expected, "{} {named:?}", route.path);
            }
            let names = ["{workspace_id}", "{user_id}"].map(|name| route.path.contains(name));
            assert!(route.who != Who::Workspace || names[0], "{} names no workspace", route.path);
            assert!(route.who != Who::Member || names[1], "{} names no member", route.path);
            assert!(
                !matches!(route.who, Who::Organization | Who::Insider) || (!names[0] && !names[1]),
                "{}",
                route.path
            );
        }
    }

    #[test]
    fn roles_are_read_as_they_are_written() {
        for text in ROLES {
            assert_eq!(String::from(Role::try_from(text.to_owned()).expect("a role")), text);
        }
        for text in ["", "owner", "owner:", "member:acme", "member:acme/eu/u-1", "workspace_admin:acme/", "king:acme"] {
            assert!(Role::try_from(text.to_owned()).is_err_and(|why| why.contains("is no role")), "{text:?}");
        }
    }
}
