//! *Who pauses for want of money*, *One want*: what could pay for whom at the clock, and what stands in the way.

use std::collections::BTreeSet;

use super::{
    grants::Moment,
    history::{Counted, History, Limit, Starts, What},
    terms::{Kind, Named, Scope, ScopeKind, Source},
};

/// How many workspaces of a user are looked at.
const WORKSPACES_MOST: usize = 64;

/// For whom something would pay.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Whom<'a> {
    /// A user without usage, switches or limits of their own who has agreed.
    Anybody,
    /// Usage that names no user.
    Nobody,
    User(&'a str),
}

impl<'a> Whom<'a> {
    fn user(self) -> Option<&'a str> {
        match self {
            Self::User(user) => Some(user),
            _ => None,
        }
    }
}

/// What could pay at a place.
struct Means<'a> {
    seat: bool,
    pool: bool,
    /// Prepaid is on and has something, or postpaid is on.
    extra: bool,
    lacks_consent: bool,
    /// Limits on extra credits without room, the narrowest first.
    tight: Vec<(&'a Limit, Scope)>,
}

impl Means<'_> {
    fn pays(&self) -> bool {
        self.seat || self.pool || (self.extra && !self.lacks_consent && self.tight.is_empty())
    }
}

/// The account at a moment, to be asked who could pay.
pub struct Look<'a> {
    history: &'a History,
    moment: Moment,
    /// The period before that of the clock, or a later one: what is recent.
    recent_from: i64,
}

impl<'a> Look<'a> {
    /// At the clock: what pauses.
    pub fn new(history: &'a History, clock_ms: i64) -> Self {
        Self::at(history, Moment::now(clock_ms))
    }

    /// At the moment of some usage: what left it uncovered.
    pub fn at(history: &'a History, moment: Moment) -> Self {
        let period = history.calendar.window(Kind::Period, moment.time_ms).start;
        let recent_from = history.calendar.window(Kind::Period, period - 1).start;
        Self { history, moment, recent_from }
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

    /// The want of money of a scope: none, one, or one for each of several workspaces.
    pub fn wants(&self, scope: &Scope) -> BTreeSet<String> {
        if self.history.has_seats() {
            return self.wants_with_seats(scope).into_iter().collect();
        }
        match scope {
            Scope::Organization => self.want_of_unit(None).into_iter().collect(),
            Scope::Workspace(workspace) => self.want_of_unit(Some(workspace)).into_iter().collect(),
            Scope::Agent(..) => self.want_of_agent(scope).into_iter().collect(),
            Scope::User(user) => self.wants_of_user(user),
        }
    }

    /// In the modes with seats members pause one by one, and agents that are used for nobody.
    fn wants_with_seats(&self, scope: &Scope) -> Option<String> {
        if self.is_free(None) {
            return None;
        }
        match scope {
            Scope::User(user) => {
                let whom = Whom::User(user);
                let means = self.means(None, whom, &[scope.clone(), Scope::Organization]);
                (!means.pays()).then(|| self.one_want(&means, None, whom))
            }
            Scope::Agent(..) if self.is_used_for_nobody(scope) => {
                let means = self.means(None, Whom::Nobody, &[Scope::Organization]);
                (!means.pays()).then(|| "pool".to_owned())
            }
            _ => None,
        }
    }

    /// Whether some recent usage of an agent named no user.
    fn is_used_for_nobody(&self, agent: &Scope) -> bool {
        self.recent().any(|one| one.named.user.is_none() && one.concerns(agent))
    }

    fn is_free(&self, workspace: Option<&str>) -> bool {
        self.history.is_free(workspace, self.moment)
    }

    fn owner(&self, workspace: Option<&str>) -> Scope {
        self.history.owner_at(workspace, self.moment)
    }

    fn has_own_pool(&self, workspace: &str) -> bool {
        self.owner(Some(workspace)) != Scope::Organization
    }

    /// Whether some workspace has a pool of its own.
    fn some_have_pools(&self) -> bool {
        let owners = self.history.pools.keys().filter_map(Scope::workspace);
        owners.into_iter().any(|workspace| self.has_own_pool(workspace))
    }

    /// What could pay at a place for somebody, within the limits on extra credits of some scopes.
    fn means(&self, workspace: Option<&str>, whom: Whom<'_>, limited: &[Scope]) -> Means<'a> {
        let (history, now) = (self.history, self.moment);
        let (owner, user) = (self.owner(workspace), whom.user());
        let starts = history.starts_now(self.moment.time_ms, user);
        let seat = user
            .is_some_and(|user| history.is_on(Source::Seat, Some(user)) && history.seat_room(user, &starts, now) > 0);
        let extra = (history.is_on(Source::Prepaid, user) && history.balance(&owner, self.moment) > 0)
            || history.is_on(Source::Postpaid, user);
        Means {
            seat,
            pool: history.is_on(Source::Pool, user) && self.pool_has_something(&owner, whom, &starts),
            extra,
            lacks_consent: history.lacks_consent(user),
            tight: self.tight(limited, &starts),
        }
    }

    fn pool_has_something(&self, owner: &Scope, whom: Whom<'_>, starts: &Starts) -> bool {
        let (history, now) = (self.history, self.moment);
        let cap_room = match whom {
            Whom::Nobody => i64::MAX,
            Whom::Anybody => history.pool_of(owner, now).and_then(|pool| pool.user_cap).unwrap_or(i64::MAX),
            Whom::User(_) => history.user_cap_room(owner, whom.user(), starts.period, now),
        };
        cap_room > 0 && history.pool_left(owner, self.moment) > 0
    }

    /// The limits on extra credits of some scopes that leave no room, the narrowest first.
    fn tight(&self, limited: &[Scope], starts: &Starts) -> Vec<(&'a Limit, Scope)> {
        let mut tight = Vec::new();
        for scope in limited {
            for limit in self.history.limits_of(scope).into_iter().filter(|limit| limit.bounds_extra()) {
                let has_no_room = |cap| cap == 0 || self.history.used(limit, scope, starts) >= cap;
                if limit.cap.is_some_and(has_no_room) {
                    tight.push((limit, scope.clone()));
                }
            }
        }
        tight.sort_by_key(|(limit, _)| (limit.width(), limit.id.clone()));
        tight
    }

    /// The least that would have to change, where nothing pays.
    fn one_want(&self, means: &Means<'_>, workspace: Option<&str>, whom: Whom<'_>) -> String {
        if means.extra && means.lacks_consent {
            return "consent".to_owned();
        }
        if means.extra
            && let Some((limit, _)) = means.tight.first()
        {
            return format!("spend_limit {}", limit.name());
        }
        if self.is_switched_off_for(whom, workspace) {
            return "extra_usage_off".to_owned();
        }
        let is_extra_on =
            [Source::Prepaid, Source::Postpaid].iter().any(|source| self.history.is_on(*source, whom.user()));
        let is_member = self.history.has_seats();
        if is_extra_on || !is_member { "pool".to_owned() } else { "seat_allowance".to_owned() }
    }

    /// Whether a source that has something is switched off for a user and not for all.
    fn is_switched_off_for(&self, whom: Whom<'_>, workspace: Option<&str>) -> bool {
        let Some(user) = whom.user() else { return false };
        let (history, now) = (self.history, self.moment);
        let owner = self.owner(workspace);
        let starts = history.starts_now(self.moment.time_ms, Some(user));
        let has_something = |source| match source {
            Source::Seat => history.seat_room(user, &starts, now) > 0,
            Source::Pool => self.pool_has_something(&owner, whom, &starts),
            Source::Prepaid => history.balance(&owner, self.moment) > 0,
            _ => true,
        };
        let sources = [Source::Seat, Source::Pool, Source::Prepaid, Source::Postpaid];
        let off = |source: &Source| history.is_on(*source, None) && !history.is_on(*source, Some(user));
        sources.into_iter().filter(off).any(has_something)
    }

    /// Whether a source that is off for all is on for at least one member by a switch of their own, and has something to
    /// pay with at a place.
    fn some_may_use(&self, source: Source, workspace: Option<&str>) -> bool {
        let (history, owner) = (self.history, self.owner(workspace));
        let starts = history.starts(self.moment.time_ms);
        let is_on_for_some = || history.own_sources.keys().any(|(user, _)| history.is_on(source, Some(user)));
        let has_something = || match source {
            Source::Pool => self.pool_has_something(&owner, Whom::Anybody, &starts),
            Source::Prepaid => history.balance(&owner, self.moment) > 0,
            _ => true,
        };
        !history.is_on(source, None) && is_on_for_some() && has_something()
    }

    fn some_may_use_extra(&self, workspace: Option<&str>) -> bool {
        [Source::Prepaid, Source::Postpaid].into_iter().any(|source| self.some_may_use(source, workspace))
    }

    /// The scopes whose limits on extra credits bound what pays at a place, but for users and agents.
    fn limited_at(&self, workspace: Option<&str>) -> Vec<Scope> {
        let workspace = workspace.map(|workspace| Scope::Workspace(workspace.to_owned()));
        workspace.into_iter().chain([Scope::Organization]).collect()
    }

    /// Whether something pays at a place for a user without usage, switches or limits of their own.
    fn pays_for_anybody(&self, workspace: Option<&str>) -> bool {
        self.means(workspace, Whom::Anybody, &self.limited_at(workspace)).pays()
    }

    fn pays_for_user(&self, workspace: Option<&str>, user: &str) -> bool {
        self.user_means(workspace, user).pays()
    }

    fn user_means(&self, workspace: Option<&str>, user: &str) -> Means<'a> {
        let mut limited = self.limited_at(workspace);
        limited.push(Scope::User(user.to_owned()));
        self.means(workspace, Whom::User(user), &limited)
    }

    /// Whether a member's own switch helps at a place. Whether that very member has agreed, or has room under limits of
    /// their own, is not asked.
    fn is_helped(&self, workspace: Option<&str>) -> bool {
        let starts = self.history.starts(self.moment.time_ms);
        let has_room = || self.tight(&self.limited_at(workspace), &starts).is_empty();
        self.some_may_use(Source::Pool, workspace) || (self.some_may_use_extra(workspace) && has_room())
    }

    /// The want of the organization (`None`) or a workspace, as the one that pauses when nothing pays.
    fn want_of_unit(&self, workspace: Option<&str>) -> Option<String> {
        let pauses_for_pool = match workspace {
            None => !self.some_have_pools(),
            Some(workspace) => self.has_own_pool(workspace) || self.some_have_pools(),
        };
        if self.is_free(workspace) || self.is_helped(workspace) {
            return None;
        }
        if pauses_for_pool {
            let means = self.means(workspace, Whom::Anybody, &self.limited_at(workspace));
            return (!means.pays()).then(|| self.one_want(&means, workspace, Whom::Anybody));
        }
        // Else only a limit of the workspace's own: it is narrower than the owner.
        let scope = workspace.map(|workspace| Scope::Workspace(workspace.to_owned()))?;
        let means = self.means(workspace, Whom::Anybody, &[scope]);
        (means.extra && !means.pays()).then(|| self.one_want(&means, workspace, Whom::Anybody))
    }

    /// An agent pauses for its own limit on extra credits, or where it is used for nobody and users pause one by one.
    fn want_of_agent(&self, agent: &Scope) -> Option<String> {
        let workspace = agent.workspace();
        if self.is_free(workspace) {
            return None;
        }
        let own = self.means(workspace, Whom::Anybody, std::slice::from_ref(agent));
        let has_pool = own.pool || self.some_may_use(Source::Pool, workspace);
        let has_extra = own.extra || self.some_may_use_extra(workspace);
        if let Some((limit, _)) = own.tight.first().filter(|_| has_extra && !has_pool) {
            return Some(format!("spend_limit {}", limit.name()));
        }
        let one_by_one = self.some_have_pools() && workspace.is_none() || self.is_one_by_one(workspace);
        let is_asked = one_by_one && self.is_used_for_nobody(agent);
        let pays = || self.means(workspace, Whom::Nobody, &self.limited_at(workspace)).pays();
        (is_asked && !pays()).then(|| "pool".to_owned())
    }

    /// Whether users pause one by one at a place: its owner would, but for a member's own switch.
    fn is_one_by_one(&self, workspace: Option<&str>) -> bool {
        !self.pays_for_anybody(workspace) && self.is_helped(workspace)
    }

    /// The wants of a user in the modes without seats.
    fn wants_of_user(&self, user: &str) -> BTreeSet<String> {
        let places = self.places_of(user);
        let workspaces = || places.iter().copied().flatten();
        if !self.some_have_pools() {
            return self.want_of_user_everywhere(user, &places).into_iter().collect();
        }
        let named = workspaces().filter_map(|workspace| {
            let want = self.want_of_user_at(Some(workspace), user)?;
            Some(format!("{want} in ws:{workspace}"))
        });
        let mut wants: BTreeSet<String> = named.collect();
        if places.contains(&None) && !self.goes_on_at(None, user) {
            let goes_on_somewhere = workspaces().any(|workspace| self.goes_on_at(Some(workspace), user));
            if !goes_on_somewhere {
                wants.insert(self.one_want(&self.user_means(None, user), None, Whom::User(user)));
            }
        }
        wants
    }

    /// The places that a user used recently, the newest first: workspaces, and none.
    fn places_of(&self, user: &str) -> Vec<Option<&'a str>> {
        let scope = Scope::User(user.to_owned());
        let mut used: Vec<&Counted> = self.recent().filter(|one| one.concerns(&scope)).collect();
        used.reverse();
        let mut places: Vec<Option<&str>> = Vec::new();
        for one in used {
            let place = one.named.workspace.as_deref();
            if !places.contains(&place) && places.len() < WORKSPACES_MOST {
                places.push(place);
            }
        }
        places
    }

    fn goes_on_at(&self, workspace: Option<&str>, user: &str) -> bool {
        self.is_free(workspace) || self.pays_for_user(workspace, user)
    }

    /// Where no workspace has a pool of its own, a cause names none and stops the user everywhere: so nothing may pay at
    /// any place that the user used.
    fn want_of_user_everywhere(&self, user: &str, places: &[Option<&str>]) -> Option<String> {
        if places.is_empty() {
            return self.want_of_user_at(None, user);
        }
        let wants: Option<Vec<String>> = places.iter().map(|place| self.want_of_user_at(*place, user)).collect();
        wants?.into_iter().next()
    }

    /// The want of a user at a place, where only something of the user's stands in the way; or a limit of their own
    /// leaves no room, whoever else pauses.
    fn want_of_user_at(&self, workspace: Option<&str>, user: &str) -> Option<String> {
        if self.is_free(workspace) {
            return None;
        }
        let means = self.user_means(workspace, user);
        if means.pays() {
            return None;
        }
        let own = |(limit, scope): &(&Limit, Scope)| scope.kind() == ScopeKind::User && limit.bounds_extra();
        let pauses_for_own_limit = means.extra && means.tight.iter().any(own);
        let goes_on = self.pays_for_anybody(workspace) || self.is_helped(workspace);
        (goes_on || pauses_for_own_limit).then(|| self.one_want(&means, workspace, Whom::User(user)))
    }

    /// Whether an owner has less left than something used.
    pub fn has_less_than(&self, workspace: Option<&str>, used: i64) -> bool {
        let history = self.history;
        let owner = self.owner(workspace);
        let left = history.pool_left(&owner, self.moment) + history.balance(&owner, self.moment);
        left < used
    }

    /// Who pauses where usage was uncovered: for a limit without room the narrower of its scope and the owner; for want
    /// of anything else the owner. Or the user, where the owner goes on.
    pub fn pauses_for(&self, named: &Named, limit: Option<&Scope>) -> Scope {
        let place = named.workspace.as_deref();
        let user = named.user.clone().map(Scope::User);
        let agent = named.agent.clone().map(|agent| Scope::Agent(place.unwrap_or_default().to_owned(), agent));
        let user_or_agent = user.clone().or(agent).unwrap_or(Scope::Organization);
        match limit {
            _ if self.history.has_seats() => return user_or_agent,
            Some(scope @ (Scope::User(_) | Scope::Agent(..))) => return scope.clone(),
            _ => {}
        }
        if let Some(user) = user.filter(|_| self.pays_for_anybody(place)) {
            return user;
        }
        match (limit, place) {
            (Some(workspace @ Scope::Workspace(_)), _) => workspace.clone(),
            _ if self.is_helped(place) => user_or_agent,
            (_, Some(workspace)) if self.some_have_pools() => Scope::Workspace(workspace.to_owned()),
            (_, None) if self.some_have_pools() => user_or_agent,
            _ => Scope::Organization,
        }
    }
}
