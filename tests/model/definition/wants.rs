//! *Who pauses for want of money*, *One want*: who pauses at the clock, and for what.

use std::collections::BTreeSet;

use super::{
    history::Counted,
    means::{Look, Means, Tight, Whom},
    terms::{Named, Scope, ScopeKind, Source},
};

/// How many workspaces of a user are looked at.
const WORKSPACES_MOST: usize = 64;

impl Look<'_> {
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

    /// The least that would have to change, where nothing pays.
    fn one_want(&self, means: &Means<'_>, workspace: Option<&str>, whom: Whom<'_>) -> String {
        if means.extra && means.lacks_consent {
            return "consent".to_owned();
        }
        if means.extra
            && let Some(tight) = means.tight.first()
        {
            return tight.want();
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
        let starts = self.starts_for(Some(user));
        let has_something = |source| match source {
            Source::Seat => history.seat_room(user, &starts, now) > 0,
            Source::Pool => self.pool_has_something(&owner, whom),
            Source::Prepaid => history.balance(&owner, self.moment) > 0,
            _ => true,
        };
        let sources = [Source::Seat, Source::Pool, Source::Prepaid, Source::Postpaid];
        let off = |source: &Source| history.is_on(*source, None) && !history.is_on(*source, Some(user));
        sources.into_iter().filter(off).any(has_something)
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
        if let Some(tight) = own.tight.first().filter(|_| has_extra && !has_pool) {
            return Some(tight.want());
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
    fn places_of(&self, user: &str) -> Vec<Option<&str>> {
        let scope = Scope::User(user.to_owned());
        let mut used: Vec<&Counted> = self.recent().filter(|one| one.is_use() && one.concerns(&scope)).collect();
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

    /// Where no workspace has a pool of its own, a cause names none and stops the user everywhere: one place in which
    /// nothing pays is enough.
    fn want_of_user_everywhere(&self, user: &str, places: &[Option<&str>]) -> Option<String> {
        if places.is_empty() {
            return self.want_of_user_at(None, user);
        }
        places.iter().find_map(|place| self.want_of_user_at(*place, user))
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
        let own = |tight: &Tight<'_>| tight.scope.kind() == ScopeKind::User && tight.limit.bounds_extra();
        let pauses_for_own_limit = means.extra && means.tight.iter().any(own);
        let goes_on = self.pays_for_anybody(workspace) || self.is_helped(workspace);
        (goes_on || pauses_for_own_limit).then(|| self.one_want(&means, workspace, Whom::User(user)))
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
