//! *Terms*: scopes, selectors, meters, sources of payment and kinds of windows, by their names.

use std::fmt;

/// The largest amount, cap or price: 2^53 − 1.
pub const MOST: i64 = 9_007_199_254_740_991;

/// Whom something is charged to, or said of.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Scope {
    Organization,
    Workspace(String),
    /// Workspace (empty where there is none) and agent.
    Agent(String, String),
    User(String),
}

impl Scope {
    /// Reads `org`, `ws:W`, `agent:W/A` or `user:U`; `None` for what is not named in full.
    pub fn parse(text: &str) -> Option<Self> {
        let full = |name: &str| (!name.is_empty()).then(|| name.to_owned());
        match text.split_once(':') {
            None => (text == "org").then_some(Self::Organization),
            Some(("ws", name)) => Some(Self::Workspace(full(name)?)),
            Some(("user", name)) => Some(Self::User(full(name)?)),
            Some(("agent", name)) => {
                let (workspace, agent) = name.split_once('/')?;
                Some(Self::Agent(workspace.to_owned(), full(agent)?))
            }
            Some(_) => None,
        }
    }

    /// Organization, workspace, agent or user.
    pub fn kind(&self) -> ScopeKind {
        match self {
            Self::Organization => ScopeKind::Organization,
            Self::Workspace(_) => ScopeKind::Workspace,
            Self::Agent(..) => ScopeKind::Agent,
            Self::User(_) => ScopeKind::User,
        }
    }

    /// The workspace in which it lies, or which it is.
    pub fn workspace(&self) -> Option<&str> {
        match self {
            Self::Workspace(workspace) => Some(workspace),
            Self::Agent(workspace, _) if !workspace.is_empty() => Some(workspace),
            _ => None,
        }
    }
}

impl fmt::Display for Scope {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Organization => write!(formatter, "org"),
            Self::Workspace(workspace) => write!(formatter, "ws:{workspace}"),
            Self::Agent(workspace, agent) => write!(formatter, "agent:{workspace}/{agent}"),
            Self::User(user) => write!(formatter, "user:{user}"),
        }
    }
}

/// A kind of scope.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum ScopeKind {
    Organization,
    Workspace,
    Agent,
    User,
}

impl ScopeKind {
    pub const ALL: [(Self, &'static str); 4] = [
        (Self::Organization, "organization"),
        (Self::Workspace, "workspace"),
        (Self::Agent, "agent"),
        (Self::User, "user"),
    ];

    /// Where it stands among limits that leave equally little: user (its seat type beside it), agent, workspace,
    /// organization.
    pub fn width(self) -> u8 {
        match self {
            Self::User => 0,
            Self::Agent => 2,
            Self::Workspace => 3,
            Self::Organization => 4,
        }
    }
}

/// Whom a limit is for.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Selector {
    One(Scope),
    Every(ScopeKind),
    /// Every member with a seat of this type.
    Seat(String),
}

impl fmt::Display for Selector {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::One(scope) => scope.fmt(formatter),
            Self::Every(kind) => write!(formatter, "every:{}", name_of(&ScopeKind::ALL, *kind)),
            Self::Seat(seat_type) => write!(formatter, "seat:{seat_type}"),
        }
    }
}

/// A kind of window.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Kind {
    Minute,
    Hour,
    Day,
    Week,
    Period,
    Session,
}

impl Kind {
    pub const ALL: [(Self, &'static str); 6] = [
        (Self::Minute, "minute"),
        (Self::Hour, "hour"),
        (Self::Day, "day"),
        (Self::Week, "week"),
        (Self::Period, "period"),
        (Self::Session, "session"),
    ];

    pub fn name(self) -> &'static str {
        name_of(&Self::ALL, self)
    }
}

/// A source of payment, in the order in which they pay.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Source {
    Seat,
    Pool,
    Prepaid,
    Postpaid,
    Uncovered,
    Free,
}

impl Source {
    pub const ALL: [(Self, &'static str); 6] = [
        (Self::Seat, "seat"),
        (Self::Pool, "pool"),
        (Self::Prepaid, "prepaid"),
        (Self::Postpaid, "postpaid"),
        (Self::Uncovered, "uncovered"),
        (Self::Free, "free"),
    ];
    /// The order in which a refund gives back.
    pub const BACK: [Self; 6] = [Self::Free, Self::Uncovered, Self::Postpaid, Self::Prepaid, Self::Pool, Self::Seat];

    pub fn name(self) -> &'static str {
        name_of(&Self::ALL, self)
    }
}

/// What is counted.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Meter {
    InputTokens,
    OutputTokens,
    CacheReadInputTokens,
    CacheCreationInputTokens,
    UnpricedTokens,
    RunsStarted,
    RunsCompleted,
    RunsFailed,
    RunsCancelled,
    ActiveAgents,
    AgentsCreated,
    Builders,
    AdjustedCredits,
    Credits,
    ExtraCredits,
    PaidBy(Source),
}

impl Meter {
    /// How many are counted by themselves; the others are sums of what the sources paid.
    pub const COUNTED: usize = 13;
    pub const ALL: [(Self, &'static str); 21] = [
        (Self::InputTokens, "input_tokens"),
        (Self::OutputTokens, "output_tokens"),
        (Self::CacheReadInputTokens, "cache_read_input_tokens"),
        (Self::CacheCreationInputTokens, "cache_creation_input_tokens"),
        (Self::UnpricedTokens, "unpriced_tokens"),
        (Self::RunsStarted, "runs_started"),
        (Self::RunsCompleted, "runs_completed"),
        (Self::RunsFailed, "runs_failed"),
        (Self::RunsCancelled, "runs_cancelled"),
        (Self::ActiveAgents, "active_agents"),
        (Self::AgentsCreated, "agents_created"),
        (Self::Builders, "builders"),
        (Self::AdjustedCredits, "adjusted_credits_micro"),
        (Self::Credits, "credits_micro"),
        (Self::ExtraCredits, "extra_credits_micro"),
        (Self::PaidBy(Source::Seat), "seat_credits_micro"),
        (Self::PaidBy(Source::Pool), "pool_credits_micro"),
        (Self::PaidBy(Source::Prepaid), "prepaid_credits_micro"),
        (Self::PaidBy(Source::Postpaid), "postpaid_credits_micro"),
        (Self::PaidBy(Source::Uncovered), "uncovered_credits_micro"),
        (Self::PaidBy(Source::Free), "free_credits_micro"),
    ];

    pub fn name(self) -> &'static str {
        name_of(&Self::ALL, self)
    }

    /// Whether it counts a phase of runs.
    pub fn is_of_runs(self) -> bool {
        matches!(self, Self::RunsStarted | Self::RunsCompleted | Self::RunsFailed | Self::RunsCancelled)
    }

    /// Its place among those that are counted by themselves.
    pub fn place(self) -> Option<usize> {
        let place = Self::ALL.iter().position(|(meter, _)| *meter == self)?;
        (place < Self::COUNTED).then_some(place)
    }
}

/// The name of one of `all`.
pub fn name_of<T: PartialEq + Copy>(all: &[(T, &'static str)], wanted: T) -> &'static str {
    all.iter().find(|(one, _)| *one == wanted).expect("each has a name").1
}

/// The one of `all` with a name.
pub fn named<T: Copy>(all: &[(T, &'static str)], name: &str) -> Option<T> {
    all.iter().find(|(_, known)| *known == name).map(|(one, _)| *one)
}

/// The scopes that an event or adjustment names.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Named {
    pub workspace: Option<String>,
    pub agent: Option<String>,
    pub user: Option<String>,
}

impl Named {
    /// Whom it is charged to: the organization and each scope that it names.
    pub fn scopes(&self) -> Vec<Scope> {
        let workspace = self.workspace.clone().map(Scope::Workspace);
        let agent = self.agent.clone().map(|agent| Scope::Agent(self.workspace.clone().unwrap_or_default(), agent));
        let user = self.user.clone().map(Scope::User);
        [Some(Scope::Organization), workspace, agent, user].into_iter().flatten().collect()
    }

    /// Whether `scope` is one of them.
    pub fn has(&self, scope: &Scope) -> bool {
        match scope {
            Scope::Organization => true,
            Scope::Workspace(workspace) => self.workspace.as_ref() == Some(workspace),
            Scope::Agent(workspace, agent) => {
                self.agent.as_ref() == Some(agent) && self.workspace.as_deref().unwrap_or_default() == workspace
            }
            Scope::User(user) => self.user.as_ref() == Some(user),
        }
    }
}
