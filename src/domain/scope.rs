//! Whom usage is charged to.

use std::{borrow::Cow, fmt};

use compact_str::CompactString;
use serde::{Deserialize, Serialize};

/// The name of a workspace, an agent, a user, a product or a model. Names of up to 24 bytes lie where they stand: they are
/// compared for every event, and what lies elsewhere would have to be fetched.
pub type Name = CompactString;

/// The kinds of scope. An event is charged to one scope of each kind that it names.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum ScopeKind {
    /// The customer: one account.
    Organization,
    /// A part of an organization.
    Workspace,
    /// A program that works within a workspace.
    Agent,
    /// A person, by a pseudonym; belongs to the organization.
    User,
}

impl ScopeKind {
    /// The name used in configuration and in signals.
    pub const fn name(self) -> &'static str {
        match self {
            Self::Organization => "organization",
            Self::Workspace => "workspace",
            Self::Agent => "agent",
            Self::User => "user",
        }
    }
}

/// One scope of an organization: organization ⊃ workspace ⊃ agent, and users beside them.
#[derive(Clone, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub enum Scope {
    /// The organization itself.
    Organization,
    /// A workspace.
    Workspace(Name),
    /// An agent of a workspace; the same agent id in two workspaces is two agents.
    Agent {
        /// The workspace that the agent belongs to; empty for an agent of the organization itself.
        workspace: Name,
        /// The agent within the workspace.
        agent: Name,
    },
    /// A user.
    User(Name),
}

impl Scope {
    /// The kind of this scope.
    pub const fn kind(&self) -> ScopeKind {
        match self {
            Self::Organization => ScopeKind::Organization,
            Self::Workspace(_) => ScopeKind::Workspace,
            Self::Agent { .. } => ScopeKind::Agent,
            Self::User(_) => ScopeKind::User,
        }
    }

    /// Whether it is a single agent or user, of which there may be very many.
    pub const fn is_agent_or_user(&self) -> bool {
        matches!(self, Self::Agent { .. } | Self::User(_))
    }

    /// The pieces of its name. A slash within a workspace's name is written `%2F`, so that the first slash always ends it.
    pub fn pieces(&self) -> [Cow<'_, str>; 4] {
        let none = Cow::Borrowed("");
        match self {
            Self::Organization => [Cow::Borrowed("org"), none.clone(), none.clone(), none],
            Self::Workspace(name) => [Cow::Borrowed("ws:"), Cow::Borrowed(name.as_str()), none.clone(), none],
            Self::User(name) => [Cow::Borrowed("user:"), Cow::Borrowed(name.as_str()), none.clone(), none],
            Self::Agent { workspace, agent } => {
                let workspace = match workspace.contains(['/', '%']) {
                    true => Cow::Owned(workspace.replace('%', "%25").replace('/', "%2F")),
                    false => Cow::Borrowed(workspace.as_str()),
                };
                [Cow::Borrowed("agent:"), workspace, Cow::Borrowed("/"), Cow::Borrowed(agent.as_str())]
            }
        }
    }

    /// Reads what [`fmt::Display`] writes.
    ///
    /// # Errors
    /// A sentence that shows the forms a scope may have.
    pub fn parse(text: &str) -> Result<Self, String> {
        let wrong = || format!("{text:?} is not a scope: write org, ws:WORKSPACE, agent:WORKSPACE/AGENT or user:USER");
        if text == "org" {
            return Ok(Self::Organization);
        }
        let (kind, name) = text.split_once(':').ok_or_else(wrong)?;
        match kind {
            "ws" if !name.is_empty() => Ok(Self::Workspace(name.into())),
            "user" if !name.is_empty() => Ok(Self::User(name.into())),
            "agent" => {
                let (workspace, agent) =
                    name.split_once('/').filter(|(_, agent)| !agent.is_empty()).ok_or_else(wrong)?;
                let workspace = workspace.replace("%2F", "/").replace("%25", "%");
                Ok(Self::Agent { workspace: workspace.into(), agent: agent.into() })
            }
            _ => Err(wrong()),
        }
    }
}

impl fmt::Display for Scope {
    /// The scope's name in Redis, in signals and on the command line: `org`, `ws:W`, `agent:W/A`, `user:U`.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.pieces().iter().try_for_each(|piece| f.write_str(piece))
    }
}

impl Serialize for Scope {
    fn serialize<S: serde::Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.collect_str(self)
    }
}

impl<'de> Deserialize<'de> for Scope {
    fn deserialize<D: serde::Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        Self::parse(&String::deserialize(deserializer)?).map_err(serde::de::Error::custom)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn scopes_are_written_and_read_back() {
        for text in ["org", "ws:sales", "agent:sales/bot", "agent:a%2Fb%25/x/y", "user:u-1", "agent:/lone"] {
            assert_eq!(Scope::parse(text).map(|scope| scope.to_string()), Ok(text.to_owned()));
        }
        for text in ["", "team:x", "ws:", "agent:no-slash", "agent:w/"] {
            assert!(Scope::parse(text).is_err_and(|why| why.contains("agent:WORKSPACE/AGENT")), "{text:?}");
        }
    }
}
