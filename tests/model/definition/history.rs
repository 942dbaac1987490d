//! What the model keeps: everything that happened, in the order in which it was applied, and everything that was said.
//!
//! Nothing here is a total. Whatever is asked is computed anew from this.

use std::collections::{BTreeMap, BTreeSet};

use super::{
    prices::Card,
    terms::{Kind, Meter, Named, Scope, Selector, Source},
    time::{Calendar, Span},
};

/// The windows of an instant: each by its start.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Starts {
    /// `None` of a refund, which lowers no minute.
    pub minute: Option<i64>,
    pub hour: i64,
    pub day: i64,
    pub week: i64,
    pub period: i64,
    /// Of the user who is named, while the mode has seats.
    pub session: Option<Session>,
}

impl Starts {
    /// The start of its window of a kind; `None` where there is no session.
    pub fn of(&self, kind: Kind) -> Option<i64> {
        match kind {
            Kind::Minute => self.minute,
            Kind::Hour => Some(self.hour),
            Kind::Day => Some(self.day),
            Kind::Week => Some(self.week),
            Kind::Period => Some(self.period),
            Kind::Session => self.session.filter(|session| session.is_kept).map(|session| session.start),
        }
    }
}

/// A session of a user.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Session {
    pub start: i64,
    /// `false` for a session of its own that was over when it became known: nothing else is ever counted in it.
    pub is_kept: bool,
}

/// What somebody paid, or got back (below zero).
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Draw {
    pub owner: Scope,
    /// Pool or prepaid.
    pub source: Source,
    /// Which grant, by its place in the history; `None` for included credits.
    pub grant: Option<usize>,
    pub micro: i64,
    /// Given back to nobody: the grant has ended, or the pool was removed.
    pub is_lost: bool,
}

/// What kind of thing was counted.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum What {
    Usage,
    Adjustment,
    /// An agent was registered; the user named is its creator.
    Registration,
}

/// One thing that was counted, with who paid what of it: decided once, when it was applied.
#[derive(Clone, Debug)]
pub struct Counted {
    pub what: What,
    pub time_ms: i64,
    pub named: Named,
    pub starts: Starts,
    /// Below zero for a refund.
    pub credits: i64,
    /// By source, as decided; their sum is `credits`.
    pub parts: [i64; 6],
    pub draws: Vec<Draw>,
    /// All that is counted beside credits.
    pub others: Vec<(Meter, i64)>,
    pub product: Option<String>,
    pub trigger: Option<String>,
    pub model: Option<String>,
}

impl Counted {
    /// Whether it takes back what was counted: minutes, which are over before anybody corrects them, keep what they have.
    pub fn is_taken_back(&self) -> bool {
        self.credits < 0 || self.others.iter().any(|(_, count)| *count < 0)
    }

    /// Whether something was used: a correction downwards, and a registration, use nothing.
    pub fn is_use(&self) -> bool {
        match self.what {
            What::Usage => true,
            What::Adjustment => self.credits > 0 || self.others.iter().any(|(_, count)| *count > 0),
            What::Registration => false,
        }
    }

    /// Whether it is charged to a scope.
    pub fn concerns(&self, scope: &Scope) -> bool {
        match (self.what, scope) {
            (What::Registration, Scope::Agent(..)) => false,
            _ => self.named.has(scope),
        }
    }

    /// Whether a run was started or ended by it.
    pub fn has_run(&self) -> bool {
        self.others.iter().any(|(meter, count)| meter.is_of_runs() && *count > 0)
    }
}

/// Since when something holds: how much had been counted, and the record's time.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct Since {
    pub place: usize,
    pub at_ms: i64,
}

/// What happens at a cap.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Action {
    Observe,
    Notify,
    Pause,
}

/// A limit as it was set last.
#[derive(Clone, Debug)]
pub struct Limit {
    pub selector: Selector,
    pub id: String,
    pub meter: Meter,
    pub window: Kind,
    pub cap: Option<i64>,
    pub shares: Vec<i64>,
    pub action: Action,
    pub yields_to_own: bool,
    /// When it began to bound this meter in such windows.
    pub since: Since,
    /// The record that made its revision, and that record's time.
    pub revision: String,
    pub revised_ms: i64,
}

/// A pool as one record set it.
#[derive(Clone, Debug)]
pub struct PoolRule {
    pub at_ms: i64,
    /// `None` from when it was removed.
    pub included: Option<i64>,
    pub user_cap: Option<i64>,
    pub shares: Vec<i64>,
    /// The record that set the pool, or changed what it includes.
    pub revision: String,
    pub revised_ms: i64,
}

/// Credits that were given.
#[derive(Clone, Debug)]
pub struct Grant {
    pub owner: Scope,
    pub id: String,
    pub amount: i64,
    pub is_prepaid: bool,
    pub priority: i64,
    pub from_ms: Option<i64>,
    pub until_ms: Option<i64>,
    pub at_ms: i64,
    /// The period of its record.
    pub period: Span,
    pub voided_ms: Option<i64>,
    /// It ended within its period with something left.
    pub has_lost: bool,
    /// Its id was given again, or its pool was removed.
    pub is_forgotten: bool,
    /// Its pool was removed.
    pub is_removed: bool,
    pub reload_id: Option<String>,
    pub record: String,
}

/// What a seat type includes, and since when.
#[derive(Clone, Debug, Default)]
pub struct SeatType {
    pub allowances: Vec<(Kind, i64, Since)>,
}

/// Seat and role.
#[derive(Clone, Debug)]
pub struct Member {
    pub seat: Option<String>,
    pub since: Since,
    pub is_owner: bool,
}

/// How an organization pays.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Mode {
    #[default]
    Credits,
    Team,
    SeatEnterprise,
    UsageEnterprise,
}

/// Who may create agents.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Creators {
    Everyone,
    Owners,
    Named(Vec<String>),
}

/// When a balance is filled up.
#[derive(Clone, Debug)]
pub struct AutoReload {
    pub below: i64,
    pub amount: i64,
    pub per_day_max: i64,
    pub lapse_ms: i64,
}

/// What became of a reload that was asked for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Outcome {
    Open,
    Granted,
    Refused,
    Lapsed,
}

/// A reload that was asked for.
#[derive(Clone, Debug)]
pub struct Reload {
    pub owner: Scope,
    pub identity: String,
    pub asked_ms: i64,
    pub lapses_ms: i64,
    pub outcome: Outcome,
    /// How much had been counted when it was refused: only a later charge may ask again.
    pub answered_at: usize,
}

/// What a member asks for.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Wants {
    HigherLimit,
    Seat(String),
}

/// An open request.
#[derive(Clone, Debug)]
pub struct Request {
    pub id: String,
    pub user: String,
    pub wants: Wants,
    pub since_ms: i64,
}

/// A share that was told, or counts as told.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct ToldShare {
    pub scope: Scope,
    /// Selector and id of a limit; `None` for the pool.
    pub limit: Option<(Selector, String)>,
    pub window: i64,
    pub percent: i64,
    pub revision: String,
}

/// Everything that happened, and everything that was said and still holds.
#[derive(Clone, Default)]
pub struct History {
    pub counted: Vec<Counted>,
    /// Ids of events with what each was; of control records.
    pub events: BTreeMap<(String, i64), crate::life::Use>,
    pub records: BTreeMap<(String, i64), String>,

    pub calendar: Calendar,
    pub cards: Vec<Card>,
    pub plan: Option<String>,
    pub mode: Mode,
    pub sources: BTreeMap<Source, bool>,
    pub own_sources: BTreeMap<(String, Source), bool>,
    pub is_extra_off: bool,
    pub is_consent_required: bool,
    pub consents: BTreeSet<String>,
    pub free_until: Option<i64>,
    pub limits: Vec<Limit>,
    /// Limits per minute that ended: for whom, and from and until when.
    pub minutes: Vec<(Selector, usize, usize)>,
    pub pools: BTreeMap<Scope, Vec<PoolRule>>,
    pub grants: Vec<Grant>,
    pub seat_types: BTreeMap<String, SeatType>,
    pub members: BTreeMap<String, Member>,
    pub creation: BTreeMap<Option<String>, Creators>,
    /// Agents and workspaces with their creators.
    pub registered: BTreeMap<Scope, String>,
    pub auto_reloads: BTreeMap<Scope, AutoReload>,
    pub reloads: Vec<Reload>,
    /// Why a reload could not be asked for, as far as it was told.
    pub blocked: BTreeSet<(Scope, &'static str)>,
    pub are_requests_off: bool,
    pub digest_hour: i64,
    pub requests: Vec<Request>,
    /// After a silence one digest is sent for all.
    pub digest_ms: i64,
    /// One that had come when another hour was said.
    pub digest_owed: Option<i64>,

    /// Scopes that commands named, and when.
    pub named: Vec<(i64, Scope)>,
    pub is_free_phase_settled: bool,
    /// Agents paused for `free_phase`.
    pub free_phase: BTreeSet<Scope>,
    /// Owners of pools to which credits came since the look at the end of the free phase.
    pub credited: BTreeSet<Scope>,
    pub admin_paused: BTreeSet<Scope>,
    /// What others than owners set: limits by selector and id, pauses and rules for creating agents by scope.
    pub by_others: BTreeSet<String>,
    pub reserved: Vec<String>,

    /// The causes of each scope that were told last; none where it runs.
    pub causes: BTreeMap<Scope, BTreeSet<String>>,
    pub shares: BTreeSet<ToldShare>,
    /// What was booked as overshoot: scope, rule, window, amount.
    pub overshoots: Vec<(Scope, String, i64, i64)>,
    /// Until when time has passed: everything that ends by itself until then is done.
    pub served_ms: i64,
    /// Periods that were closed with a statement, by start.
    pub closed: BTreeSet<i64>,
}

impl History {
    /// An organization of which nothing is known.
    pub fn new() -> Self {
        Self { digest_hour: 9, digest_ms: i64::MIN, served_ms: i64::MIN, ..Self::default() }
    }

    /// The windows of an instant, without a session.
    pub fn starts(&self, time_ms: i64) -> Starts {
        let start = |kind| self.calendar.window(kind, time_ms).start;
        Starts {
            minute: Some(start(Kind::Minute)),
            hour: start(Kind::Hour),
            day: start(Kind::Day),
            week: start(Kind::Week),
            period: start(Kind::Period),
            session: None,
        }
    }

    /// Now, as something that begins.
    pub fn since(&self, at_ms: i64) -> Since {
        Since { place: self.counted.len(), at_ms }
    }
}
