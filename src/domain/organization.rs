//! The people and programs of an organization: plan, seats, members, agents, and what members ask for.

use serde::{Deserialize, Serialize};

use super::{payment::Switches, retired::Retired, time::Timestamp, window::WindowKind};

/// What an organization has bought decides what is there (row A20).
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Plan {
    /// Neither credits nor console.
    Free,
    /// Neither credits nor console.
    Plus,
    /// Credits.
    Business,
    /// As business, for a while.
    BusinessTrial,
    /// Credits and the organization console.
    Enterprise,
    /// As enterprise, for a while.
    EnterpriseTrial,
}

/// What a plan may lack.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Feature {
    /// Pools, grants and reloads.
    Credits,
    /// Pools and rules over all workspaces.
    OrganizationConsole,
}

impl Plan {
    /// The name used in records and in `bursar show`.
    pub const fn name(self) -> &'static str {
        match self {
            Self::Free => "free",
            Self::Plus => "plus",
            Self::Business => "business",
            Self::BusinessTrial => "business_trial",
            Self::Enterprise => "enterprise",
            Self::EnterpriseTrial => "enterprise_trial",
        }
    }

    /// Whether the plan has it.
    pub const fn has(self, feature: Feature) -> bool {
        match feature {
            Feature::Credits => !matches!(self, Self::Free | Self::Plus),
            Feature::OrganizationConsole => matches!(self, Self::Enterprise | Self::EnterpriseTrial),
        }
    }
}

/// A seat type: what a member with such a seat may use within each window, before anything else pays (row B1).
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct SeatType {
    /// Its name, for example `standard`.
    pub name: Box<str>,
    /// All of them bound the allowance together: the tightest decides.
    pub allowances: Vec<Allowance>,
}

/// What a seat includes in one kind of window.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Allowance {
    /// Session, week or period.
    pub window: WindowKind,
    /// Micro-credits in each.
    pub amount_micro: i64,
    /// Since when the seat type includes something per such a window.
    #[serde(default = "long_ago")]
    pub since: Timestamp,
}

const fn long_ago() -> Timestamp {
    Timestamp::MIN
}

/// What a member may do.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Role {
    /// Uses.
    #[default]
    Member,
    /// Administers.
    Admin,
    /// Owns the organization.
    Owner,
}

impl Role {
    /// The name used in records and in `bursar show`.
    pub const fn name(self) -> &'static str {
        match self {
            Self::Member => "member",
            Self::Admin => "admin",
            Self::Owner => "owner",
        }
    }
}

/// Who may create agents (row A15).
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum AgentCreation {
    /// Everyone.
    #[default]
    Everyone,
    /// Members with the role of an owner.
    Owners,
    /// These members, and owners.
    Named(Vec<Box<str>>),
}

/// A control of a workspace that the owners of the organization may keep for themselves.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Reserved {
    /// Buying credits.
    Buying,
    /// Setting the pool.
    Pool,
    /// Saying who creates agents.
    AgentCreation,
}

impl Reserved {
    /// Every one.
    pub const ALL: [Self; 3] = [Self::Buying, Self::Pool, Self::AgentCreation];

    /// The name used in records.
    pub const fn name(self) -> &'static str {
        match self {
            Self::Buying => "buying",
            Self::Pool => "pool",
            Self::AgentCreation => "agent_creation",
        }
    }
}

/// What is known of a user as a member.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Member {
    /// The seat; `None` is a member without one.
    pub seat_type: Option<Box<str>>,
    /// What the member may do.
    pub role: Role,
    /// Whether the member agreed to go on into extra usage (row B14).
    pub consented: bool,
    /// Sources switched for this very member (row B4).
    pub switches: Switches,
    /// Of an earlier layout.
    pub retired: Retired,
    /// Of an earlier layout.
    pub retired_too: Retired,
    /// Where the member created agents, with the start of a window: who builds is counted once in each.
    pub built: Vec<(Box<str>, Timestamp)>,
    /// What counts against the seat of what was charged before it began.
    #[serde(default)]
    pub before_seat: Vec<BeforeSeat>,
}

/// What a member was charged in a window before the seat began, or before it included anything per such a window.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct BeforeSeat {
    /// Session, week or period.
    pub window: WindowKind,
    /// The start of the window.
    pub start: Timestamp,
    /// What pool paid and nobody covered, in micro-credits.
    pub amount_micro: i64,
    /// When the seat, or what it includes, began: what was used before is in the amount.
    pub began: Timestamp,
}

/// What is known of an agent that was registered.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Registered {
    /// The member who created it.
    pub created_by: Box<str>,
    /// When that was recorded.
    pub created_at: Timestamp,
}

/// Something that a member asks for (row B10). One is open per member.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct OpenRequest {
    /// Chosen by who asks.
    pub id: Box<str>,
    /// Who asks.
    pub user_id: Box<str>,
    /// The member's seat; it follows a change of seat.
    pub seat_type: Option<Box<str>>,
    /// Since when.
    pub since: Timestamp,
    /// What for.
    pub wants: Wants,
}

/// What a member may ask for.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Wants {
    /// More extra usage.
    HigherLimit,
    /// Another seat.
    Seat(Box<str>),
}

impl Wants {
    /// In words.
    pub fn describe(&self) -> String {
        match self {
            Self::HigherLimit => "higher_limit".to_owned(),
            Self::Seat(seat_type) => format!("seat {seat_type}"),
        }
    }
}

/// Requests of members, and when the digest of those pending is sent.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Requests {
    /// Whether members may ask.
    pub enabled: bool,
    /// The local hour of the daily digest.
    pub digest_hour: u8,
    /// Those pending, oldest first.
    pub open: Vec<OpenRequest>,
    /// When the next digest is due; only while something is pending.
    pub next_digest: Option<Timestamp>,
}

impl Default for Requests {
    fn default() -> Self {
        Self { enabled: true, digest_hour: 9, open: Vec::new(), next_digest: None }
    }
}

/// How an organization names its credits: `name`, with `scale` decimal places shown.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Unit {
    /// For example `credits` or `USD`.
    pub name: Box<str>,
    /// Decimal places to show, 0 to 6; amounts are millionths always.
    pub scale: u8,
}

impl Default for Unit {
    fn default() -> Self {
        Self { name: "credits".into(), scale: 2 }
    }
}
