//! Limits: on one scope, written into its row; for every scope of a kind, one write that each scope follows when it is
//! next touched, and the paused ones now.

use super::{Answer, Said, checks::check_limit};
use crate::domain::{
    account::{
        Account,
        ceiling::{Ceiling, Effects, Step},
        row::ScopeRow,
        settings::SETTINGS_MAX,
    },
    control::SetLimit,
    limit::{Limit, Selector},
    meter::Meter,
    organization::Feature,
    pause::CauseKind,
    scope::{Scope, ScopeKind},
    time::Timestamp,
    window::WindowKind,
};

/// At most this many limits on one scope.
const LIMITS_MAX: usize = 64;

impl Account {
    fn next_limit(&mut self, set: &SetLimit) -> Limit {
        self.settings.rules_revision += 1;
        self.settings_changed = true;
        Limit {
            id: set.limit_id.clone(),
            meter: set.meter,
            window: set.window,
            cap: set.cap,
            thresholds_percent: set.thresholds_percent.clone(),
            action: set.action,
            revision: self.settings.rules_revision,
        }
    }

    pub(super) fn set_limit(&mut self, set: &SetLimit, said: &Said<'_>) -> Answer {
        check_limit(set)?;
        let inner = match &set.selector {
            Selector::One(scope) => Some(scope.kind()),
            Selector::Every(kind) => Some(*kind),
            Selector::Seat(_) => None,
        };
        let is_inner = matches!(inner, Some(ScopeKind::Workspace | ScopeKind::Agent));
        if is_inner && set.meter == Meter::ExtraCreditsMicro && self.settings.payment().mode.has_seats() {
            return Err(
                "where members have seats, extra usage is bounded for members, seat types and the organization".into(),
            );
        }
        match &set.selector {
            Selector::One(scope) => self.set_limit_on(scope, set, said)?,
            many => {
                self.set_rule(many, set)?;
                self.look_at_organization(said);
            }
        }
        Ok(String::new())
    }

    fn set_limit_on(&mut self, scope: &Scope, set: &SetLimit, said: &Said<'_>) -> Result<(), String> {
        self.check_plan_for(scope)?;
        if set.window == WindowKind::Session && scope.kind() != ScopeKind::User {
            return Err("only a user has sessions".to_owned());
        }
        let (index, moment) = (self.scopes.index(scope), said.moment);
        self.bring_up_to_date(index, moment);
        let known = |limits: &[Limit]| limits.iter().any(|limit| limit.id == set.limit_id);
        let is_taken = |(selector, limit): &(Selector, Limit)| {
            limit.id == set.limit_id && matches!(selector, Selector::Every(kind) if *kind == scope.kind())
        };
        if let Some((selector, _)) = self.settings.every.iter().find(|rule| is_taken(rule)) {
            return Err(format!(
                "{:?} is the id of the limit on {}; choose another",
                set.limit_id,
                selector.describe()
            ));
        }
        let limits = &self.scopes.row(index).limits;
        if !known(limits) && limits.len() >= LIMITS_MAX {
            return Err(format!("{scope} has {LIMITS_MAX} limits already"));
        }
        let limit = self.next_limit(set);
        let window = match limit.window {
            WindowKind::Session => self.scopes.row(index).windows.session(moment.record_time),
            kind => self.open_window(kind, moment.record_time),
        };
        let row = self.scopes.row_mut(index);
        row.rules_revision = self.settings.rules_revision;
        row.limits.retain(|known| known.id != limit.id);
        row.limits.push(limit.clone());
        let cleared = clear_limit(row, &limit.id);
        let used = count_from_now(row, &limit, window.start);
        let mut effects = Effects::default();
        if let Some(ceiling) = Ceiling::of_limit(&limit, window) {
            ceiling.hold(Step::Revision { used }, &self.organization_id, scope, moment, &mut effects);
        }
        let added = !effects.causes.is_empty();
        self.announce_crossings(effects.signals);
        let pauses = &mut self.scopes.row_mut(index).pauses;
        for (cause, _) in effects.causes {
            pauses.add(cause);
        }
        let wanted = self.money_wanted(index, moment, said.policy);
        let want_changed = self.scopes.row_mut(index).pauses.set_want_of_money(wanted);
        if cleared || added || want_changed {
            self.announce_pauses(index, &said.caused_by, moment);
        }
        self.ask_for_reload(index, moment);
        Ok(())
    }

    pub(super) fn remove_limit(&mut self, limit_id: &str, selector: &Selector, said: &Said<'_>) -> Answer {
        let Selector::One(scope) = selector else {
            self.remove_rule(selector, limit_id)?;
            self.look_at_organization(said);
            return Ok(String::new());
        };
        let index = self.scopes.index(scope);
        let row = self.scopes.row_mut(index);
        let before = row.limits.len();
        row.limits.retain(|limit| &*limit.id != limit_id);
        if row.limits.len() == before {
            return Err(format!("{scope} has no limit {limit_id:?}"));
        }
        if clear_limit(row, limit_id) {
            self.announce_pauses(index, &said.caused_by, said.moment);
        }
        self.revise();
        self.look_for(index, false, said);
        Ok(String::new())
    }

    /// Sets a rule for many scopes: one write. Scopes follow when they are next touched; those that are paused or live on
    /// what all share are looked at now, page by page.
    fn set_rule(&mut self, selector: &Selector, set: &SetLimit) -> Result<(), String> {
        self.check_plan(Feature::OrganizationConsole)?;
        let has_sessions = matches!(selector, Selector::Seat(_) | Selector::Every(ScopeKind::User));
        if set.window == WindowKind::Session && !has_sessions {
            return Err("only a user has sessions".to_owned());
        }
        if let Selector::Seat(name) = selector
            && self.settings.seat_type(name).is_none()
        {
            return Err(format!("there is no seat type {name:?}; set it first"));
        }
        let same = |(of, limit): &(Selector, Limit)| of == selector && limit.id == set.limit_id;
        if self.settings.every.len() >= SETTINGS_MAX && !self.settings.every.iter().any(same) {
            return Err(format!("the organization has {SETTINGS_MAX} limits for every scope already"));
        }
        let limit = self.next_limit(set);
        self.settings.every.retain(|rule| !same(rule));
        self.settings.every.push((selector.clone(), limit));
        Ok(())
    }

    fn remove_rule(&mut self, selector: &Selector, limit_id: &str) -> Result<(), String> {
        let before = self.settings.every.len();
        self.settings.every.retain(|(of, limit)| of != selector || &*limit.id != limit_id);
        if self.settings.every.len() == before {
            return Err(format!("there is no limit {limit_id:?} for {}", selector.describe()));
        }
        self.revise();
        Ok(())
    }
}

fn clear_limit(row: &mut ScopeRow, limit_id: &str) -> bool {
    row.pauses.clear(|cause| cause.kind == CauseKind::Limit && &*cause.limit_id == limit_id)
}

/// What the limit's window holds so far. A window that did not exist is opened, so that a cap of zero is announced by
/// the rule and not once more by the first event.
fn count_from_now(row: &mut ScopeRow, limit: &Limit, start: Timestamp) -> i64 {
    if let Some(count) = row.windows.count_of(limit.window, start, limit.meter) {
        return count;
    }
    if limit.window == WindowKind::Session {
        return 0;
    }
    let kept = || row.windows.starts(limit.window);
    if kept().count() < 2 && kept().all(|kept| kept < start) {
        row.windows.open(limit.window, start);
    }
    0
}
