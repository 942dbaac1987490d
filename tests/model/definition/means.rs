//! *Who pauses for want of money*: what could pay for whom at a place, at a moment.

use super::{
    grants::Moment,
    history::{Counted, History, Limit, Starts, What},
    terms::{Kind, Scope, Source},
};

/// For whom something would pay.
#[derive(Clone, Copy, PartialEq, Eq)]
pub enum Whom<'a> {
    /// A user without usage, switches or limits of their own who has agreed.
    Anybody,
    /// Usage that names no user.
    Nobody,
    User(&'a str),
}

impl<'a> Whom<'a> {
    pub fn user(self) -> Option<&'a str> {
        match self {
            Self::User(user) => Some(user),
            _ => None,
        }
    }
}

/// What could pay at a place.
pub struct Means<'a> {
    pub seat: bool,
    pub pool: bool,
    /// Prepaid is on and has something, or postpaid is on.
    pub extra: bool,
    pub lacks_consent: bool,
    /// Limits on extra credits without room, the narrowest first.
    pub tight: Vec<Tight<'a>>,
}

/// A limit on extra credits without room, as a scope is held to it.
pub struct Tight<'a> {
    pub limit: &'a Limit,
    pub scope: Scope,
    /// The window without room; 0 for a cap of 0, which has none in any.
    start: i64,
}

impl Tight<'_> {
    /// The want of money for which it pauses: that of another window is another one.
    pub fn want(&self) -> String {
        format!("spend_limit {} {}", self.limit.name(), self.start)
    }
}

impl Means<'_> {
    pub fn pays(&self) -> bool {
        self.seat || self.pool || (self.extra && !self.lacks_consent && self.tight.is_empty())
    }
}

/// The account at a moment, to be asked who could pay.
pub struct Look<'a> {
    pub history: &'a History,
    pub moment: Moment,
    starts: Starts,
    /// The period before that of the clock, or a later one: what is recent.
    recent_from: i64,
}

impl<'a> Look<'a> {
    /// At the clock: what pauses.
    pub fn new(history: &'a History, clock_ms: i64) -> Self {
        Self::at(history, history.moment_of(clock_ms))
    }

    /// At the moment of some usage: what left it uncovered.
    pub fn at(history: &'a History, moment: Moment) -> Self {
        let recent_from = history.calendar.window(Kind::Period, moment.period.start - 1).start;
        Self { history, moment, starts: history.starts(moment.time_ms), recent_from }
    }

    /// Usage and adjustments of this or the last period, by event time.
    pub fn recent(&self) -> impl Iterator<Item = &'a Counted> {
        let from = self.recent_from;
        self.history.counted.iter().filter(move |one| one.what != What::Registration && one.starts.period >= from)
    }

    /// Scopes that commands named in this or the last period.
    pub fn recently_named(&self) -> impl Iterator<Item = &'a Scope> {
        let from = self.recent_from;
        self.history.named.iter().filter(move |(at_ms, _)| *at_ms >= from).map(|(_, scope)| scope)
    }

    /// Whether some recent usage of an agent named no user.
    pub fn is_used_for_nobody(&self, agent: &Scope) -> bool {
        self.recent().any(|one| one.is_use() && one.named.user.is_none() && one.concerns(agent))
    }

    pub fn is_free(&self, workspace: Option<&str>) -> bool {
        self.history.is_free(workspace, self.moment)
    }

    pub fn owner(&self, workspace: Option<&str>) -> Scope {
        self.history.owner_at(workspace, self.moment)
    }

    pub fn has_own_pool(&self, workspace: &str) -> bool {
        self.owner(Some(workspace)) != Scope::Organization
    }

    /// Whether some workspace has a pool of its own.
    pub fn some_have_pools(&self) -> bool {
        let owners = self.history.pools.keys().filter_map(Scope::workspace);
        owners.into_iter().any(|workspace| self.has_own_pool(workspace))
    }

    /// The windows that run, with the session of a user.
    pub fn starts_for(&self, user: Option<&str>) -> Starts {
        Starts { session: self.history.running_session(self.moment.time_ms, user), ..self.starts }
    }

    /// What could pay at a place for somebody, within the limits on extra credits of some scopes.
    pub fn means(&self, workspace: Option<&str>, whom: Whom<'_>, limited: &[Scope]) -> Means<'a> {
        let (history, now) = (self.history, self.moment);
        let (owner, user) = (self.owner(workspace), whom.user());
        let starts = self.starts_for(user);
        let seat = user
            .is_some_and(|user| history.is_on(Source::Seat, Some(user)) && history.seat_room(user, &starts, now) > 0);
        let extra = (history.is_on(Source::Prepaid, user) && history.balance(&owner, self.moment) > 0)
            || history.is_on(Source::Postpaid, user);
        Means {
            seat,
            pool: history.is_on(Source::Pool, user) && self.pool_has_something(&owner, whom),
            extra,
            lacks_consent: history.lacks_consent(user),
            tight: self.tight(limited, &starts),
        }
    }

    pub fn pool_has_something(&self, owner: &Scope, whom: Whom<'_>) -> bool {
        let (history, now) = (self.history, self.moment);
        let cap_room = match whom {
            Whom::Nobody => i64::MAX,
            Whom::Anybody => history.pool_of(owner, now).and_then(|pool| pool.user_cap).unwrap_or(i64::MAX),
            Whom::User(_) => history.user_cap_room(owner, whom.user(), now),
        };
        cap_room > 0 && history.pool_left(owner, self.moment) > 0
    }

    /// The limits on extra credits of some scopes that leave no room, the narrowest first.
    pub fn tight(&self, limited: &[Scope], starts: &Starts) -> Vec<Tight<'a>> {
        let mut tight = Vec::new();
        for scope in limited {
            for limit in self.history.limits_of(scope).into_iter().filter(|limit| limit.bounds_extra()) {
                let Some(cap) = limit.cap else { continue };
                if cap == 0 || self.history.used(limit, scope, starts) >= cap {
                    let start = starts.of(limit.window).filter(|_| cap > 0).unwrap_or(0);
                    tight.push(Tight { limit, scope: scope.clone(), start });
                }
            }
        }
        tight.sort_by(|one, other| one.limit.breadth().cmp(&other.limit.breadth()));
        tight
    }

    /// Whether a source that is off for all is on for at least one member by a switch of their own, and has something to
    /// pay with at a place.
    pub fn some_may_use(&self, source: Source, workspace: Option<&str>) -> bool {
        let (history, owner) = (self.history, self.owner(workspace));
        let is_on_for_some = || history.own_sources.keys().any(|(user, _)| history.is_on(source, Some(user)));
        let has_something = || match source {
            Source::Pool => self.pool_has_something(&owner, Whom::Anybody),
            Source::Prepaid => history.balance(&owner, self.moment) > 0,
            _ => true,
        };
        !history.is_on(source, None) && is_on_for_some() && has_something()
    }

    pub fn some_may_use_extra(&self, workspace: Option<&str>) -> bool {
        [Source::Prepaid, Source::Postpaid].into_iter().any(|source| self.some_may_use(source, workspace))
    }

    /// The scopes whose limits on extra credits bound what pays at a place, but for users and agents.
    pub fn limited_at(&self, workspace: Option<&str>) -> Vec<Scope> {
        let workspace = workspace.map(|workspace| Scope::Workspace(workspace.to_owned()));
        workspace.into_iter().chain([Scope::Organization]).collect()
    }

    /// Whether something pays at a place for a user without usage, switches or limits of their own.
    pub fn pays_for_anybody(&self, workspace: Option<&str>) -> bool {
        self.means(workspace, Whom::Anybody, &self.limited_at(workspace)).pays()
    }

    pub fn pays_for_user(&self, workspace: Option<&str>, user: &str) -> bool {
        self.user_means(workspace, user).pays()
    }

    pub fn user_means(&self, workspace: Option<&str>, user: &str) -> Means<'a> {
        let mut limited = self.limited_at(workspace);
        limited.push(Scope::User(user.to_owned()));
        self.means(workspace, Whom::User(user), &limited)
    }

    /// Whether a member's own switch helps at a place. Whether that very member has agreed, or has room under limits of
    /// their own, is not asked.
    pub fn is_helped(&self, workspace: Option<&str>) -> bool {
        let has_room = || self.tight(&self.limited_at(workspace), &self.starts).is_empty();
        self.some_may_use(Source::Pool, workspace) || (self.some_may_use_extra(workspace) && has_room())
    }

    /// Whether an owner has less left than something used.
    pub fn has_less_than(&self, workspace: Option<&str>, used: i64) -> bool {
        let history = self.history;
        let owner = self.owner(workspace);
        let left = history.pool_left(&owner, self.moment) + history.balance(&owner, self.moment);
        left < used
    }
}
