//! What holds, and what follows.

use serde::Serialize;
use utoipa::ToSchema;

use super::{CauseShown, PoolShown, UnitShown};

/// A limit on one scope, and how far it is used.
#[derive(Debug, Serialize, ToSchema)]
pub struct LimitShown {
    /// The scope that it holds for here.
    pub scope: String,
    /// Whom it was set on: the scope, or a rule for many.
    pub set_on: String,
    /// The same for programs: a scope, `every:KIND` or `seat:TYPE`.
    pub selector: String,
    /// Its id.
    pub limit_id: String,
    /// What it bounds.
    pub meter: String,
    /// Within which window.
    pub window: String,
    /// The ceiling; none is unlimited.
    pub cap: Option<i64>,
    /// Used in the running window.
    pub used: i64,
    /// Used, in thousandths of the cap, rounded down; none where it is unlimited or zero.
    pub used_permille: Option<i64>,
    /// `observe`, `notify` or `pause`.
    pub action: String,
    /// Shares that are announced.
    pub thresholds_percent: Vec<u16>,
    /// Whether a rule for many gives way where a scope has a limit of its own on the same meter and kind of window.
    pub yields_to_own: bool,
    /// Grows with each change of the cap.
    pub revision: u64,
}

/// Limits with their utilisation, the fullest first.
#[derive(Debug, Serialize, ToSchema)]
pub struct Limits {
    /// A page of them.
    pub limits: Vec<LimitShown>,
    /// Where the next page begins.
    pub next_cursor: Option<String>,
}

/// A scope that is paused.
#[derive(Debug, Serialize, ToSchema)]
pub struct PausedScope {
    /// Which.
    pub scope: String,
    /// Its display name, where one was said.
    pub name: Option<String>,
    /// Why.
    pub causes: Vec<CauseShown>,
    /// The number of its last change.
    pub generation: i64,
}

/// What is paused now.
#[derive(Debug, Serialize, ToSchema)]
pub struct Pauses {
    /// A page of scopes.
    pub paused: Vec<PausedScope>,
    /// Where the next page begins.
    pub next_cursor: Option<String>,
}

/// A grant.
#[derive(Debug, Serialize, ToSchema)]
pub struct GrantShown {
    /// Whose pool.
    pub scope: String,
    /// Its id.
    pub grant_id: String,
    /// `purchased` or `prepaid`.
    pub kind: String,
    /// Granted.
    #[schema(required = false)]
    pub amount_micro: i64,
    /// Drawn.
    #[schema(required = false)]
    pub spent_micro: i64,
    /// Taken back, or expired.
    #[schema(required = false)]
    pub voided_micro: i64,
    /// Left.
    #[schema(required = false)]
    pub left_micro: i64,
    /// From when on it pays, where that was said.
    #[schema(format = DateTime)]
    pub effective_from: Option<String>,
    /// When it expires.
    #[schema(format = DateTime)]
    pub expires_at: Option<String>,
    /// Whether it has ended, by itself or with its period: what is left pays late charges of before at most.
    pub is_over: bool,
}

/// Pools and their grants.
#[derive(Debug, Serialize, ToSchema)]
pub struct Grants {
    /// How credits are named.
    pub unit: UnitShown,
    /// Every pool, for the running period.
    pub pools: Vec<PoolShown>,
    /// A page of grants.
    pub grants: Vec<GrantShown>,
    /// Where the next page begins.
    pub next_cursor: Option<String>,
}

/// What nothing covered, or what of events passed a limit with action `pause` (row C4).
#[derive(Debug, Serialize, ToSchema)]
pub struct OvershootShown {
    /// On which scope it is booked.
    pub scope: String,
    /// What stood in the way.
    pub kind: String,
    /// Which limit, where it was one.
    pub limit_id: Option<String>,
    /// What the limit is set on: a scope, `every:KIND` or `seat:TYPE`.
    pub selector: Option<String>,
    /// What is counted; none if the limit is gone.
    pub meter: Option<String>,
    /// The window.
    #[schema(format = DateTime)]
    pub window_start: String,
    /// How much, in units of the meter.
    pub amount: i64,
}

/// Overshoot per limit, most first.
#[derive(Debug, Serialize, ToSchema)]
pub struct Overshoots {
    /// How credits are named.
    pub unit: UnitShown,
    /// A page.
    pub overshoot: Vec<OvershootShown>,
    /// Where the next page begins.
    pub next_cursor: Option<String>,
}

/// What a member asks for (row B10).
#[derive(Debug, Serialize, ToSchema)]
pub struct RequestShown {
    /// Its id.
    pub request_id: String,
    /// Who asks.
    pub user_id: String,
    /// The display name, where one was said.
    pub name: Option<String>,
    /// The member's seat now.
    pub seat_type: Option<String>,
    /// Since when.
    #[schema(format = DateTime)]
    pub since: String,
    /// What for.
    pub wants: String,
}

/// Open requests, oldest first. A member sees the own one only.
#[derive(Debug, Serialize, ToSchema)]
pub struct Requests {
    /// Whether members may ask.
    pub enabled: bool,
    /// The local hour of the daily digest.
    pub digest_hour: u8,
    /// Those open.
    pub requests: Vec<RequestShown>,
}
