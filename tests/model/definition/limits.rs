//! *Limits*: which apply to a scope; setting and removing them.

use super::{
    Model,
    codes::{Code, No, code, list},
    fields::Fields,
    history::{Action, History, Limit},
    terms::{Kind, Meter, Scope, ScopeKind, Selector, Source, named},
};

/// How many limits one scope, and how many rules for many an organization has at most.
const LIMITS_MOST: usize = 64;
const SHARES_MOST: usize = 16;
const PERCENT_MOST: i64 = 1_000;

impl Limit {
    /// The narrower a limit, the smaller: user, seat type, agent, workspace, organization; of one breadth the scope's own
    /// before those for many, then by id.
    pub fn breadth(&self) -> (u8, bool, &str) {
        let (width, is_for_many) = match &self.selector {
            Selector::One(scope) => (scope.kind().width(), false),
            Selector::Every(kind) => (kind.width(), true),
            Selector::Seat(_) => (1, true),
        };
        (width, is_for_many, &self.id)
    }

    /// `SELECTOR ID`.
    pub fn name(&self) -> String {
        format!("{} {}", self.selector, self.id)
    }
}

impl History {
    /// All limits that apply to a scope.
    pub fn limits_of(&self, scope: &Scope) -> Vec<&Limit> {
        let own: Vec<&Limit> =
            self.limits.iter().filter(|limit| limit.selector == Selector::One(scope.clone())).collect();
        let yields = |limit: &&Limit| {
            limit.yields_to_own && own.iter().any(|own| own.meter == limit.meter && own.window == limit.window)
        };
        let for_many = self.limits.iter().filter(|limit| match &limit.selector {
            Selector::One(_) => false,
            Selector::Every(kind) => *kind == scope.kind(),
            Selector::Seat(seat) => self.seat_of(scope) == Some(seat),
        });
        let for_many: Vec<&Limit> = for_many.filter(|limit| !yields(limit)).collect();
        own.into_iter().chain(for_many).collect()
    }

    /// A limit per minute ends here, or goes on under another cap.
    fn note_minutes(&mut self, limit: &Limit) {
        if limit.window == Kind::Minute {
            let until = self.counted.len();
            self.minutes.push((limit.selector.clone(), limit.since.place, until));
        }
    }

    /// Since when the minutes of a scope are counted: since limits per minute bind it without a gap. `None` where none does.
    pub fn minutes_since(&self, scope: &Scope) -> Option<usize> {
        let bind = self.limits_of(scope).into_iter().filter(|limit| limit.window == Kind::Minute);
        let mut since = bind.map(|limit| limit.since.place).min()?;
        let bound = |selector: &Selector| match selector {
            Selector::One(one) => one == scope,
            Selector::Every(kind) => *kind == scope.kind(),
            Selector::Seat(seat) => self.seat_of(scope) == Some(seat),
        };
        for (_, from, until) in self.minutes.iter().rev().filter(|(selector, ..)| bound(selector)) {
            if *until >= since {
                since = since.min(*from);
            }
        }
        Some(since)
    }

    fn seat_of(&self, scope: &Scope) -> Option<&String> {
        match scope {
            Scope::User(user) => self.members.get(user)?.seat.as_ref(),
            _ => None,
        }
    }

    fn limit(&self, selector: &Selector, id: &str) -> Option<usize> {
        self.limits.iter().position(|limit| limit.selector == *selector && limit.id == id)
    }

    /// Limits on extra credits of agents and workspaces: the modes with seats have none.
    pub fn limits_beside_seats(&self) -> Vec<&Limit> {
        self.limits
            .iter()
            .filter(|limit| limit.meter == Meter::ExtraCredits && is_beside_seats(&limit.selector))
            .collect()
    }
}

fn is_beside_seats(selector: &Selector) -> bool {
    let kind = match selector {
        Selector::One(scope) => scope.kind(),
        Selector::Every(kind) => *kind,
        Selector::Seat(_) => return false,
    };
    matches!(kind, ScopeKind::Agent | ScopeKind::Workspace)
}

/// Whether its windows may be sessions.
fn has_sessions(selector: &Selector) -> bool {
    match selector {
        Selector::One(scope) => scope.kind() == ScopeKind::User,
        Selector::Every(kind) => *kind == ScopeKind::User,
        Selector::Seat(_) => true,
    }
}

/// One of `scope`, `every` and `seat_type`.
fn selector(fields: &Fields) -> Result<Selector, No> {
    let of = [fields.text("scope")?, fields.text("every")?, fields.text("seat_type")?];
    match of {
        [Some(scope), None, None] => Ok(Selector::One(Scope::parse(&scope).ok_or(No::Unreadable)?)),
        [None, Some(kind), None] => Ok(Selector::Every(named(&ScopeKind::ALL, &kind).ok_or(No::Unreadable)?)),
        [None, None, Some(seat_type)] => Ok(Selector::Seat(seat_type)),
        _ => Err(No::Unreadable),
    }
}

/// The shares to announce: 80 and 100 unless others are named.
pub fn shares(fields: &Fields) -> Result<Vec<i64>, No> {
    let shares = fields.numbers("thresholds_percent")?;
    let is_ascending = shares.windows(2).all(|pair| pair[0] < pair[1]);
    let is_in_range = shares.iter().all(|share| (1..=PERCENT_MOST).contains(share));
    if shares.len() > SHARES_MOST || !is_ascending || !is_in_range {
        let no = code("thresholds_out_of_range").with("thresholds_percent", list(&shares));
        return Err(no.with("count_max", SHARES_MOST).with("percent_max", PERCENT_MOST).refused());
    }
    Ok(if shares.is_empty() { vec![80, 100] } else { shares })
}

impl Model {
    /// `set_limit`
    pub fn set_limit(&mut self, fields: &Fields) -> Result<Vec<Code>, No> {
        let selector = selector(fields)?;
        let id = fields.id("limit_id")?;
        let meter = named(&Meter::ALL, &fields.must("meter")?).ok_or(No::Unreadable)?;
        let window = named(&Kind::ALL, &fields.must("window")?).ok_or(No::Unreadable)?;
        let action = match fields.text("action")?.as_deref() {
            None | Some("pause") => Action::Pause,
            Some("notify") => Action::Notify,
            Some("observe") => Action::Observe,
            Some(_) => return Err(No::Unreadable),
        };
        let cap = fields.cap("cap")?;
        let shares = shares(fields)?;
        let yields_to_own = fields.flag("yields_to_own")?.unwrap_or(false);
        if matches!(meter, Meter::PaidBy(Source::Free) | Meter::AdjustedCredits | Meter::ActiveAgents | Meter::Builders)
        {
            return Err(code("meter_cannot_be_limited").with("meter", meter.name()).refused());
        }
        if window == Kind::Session && !has_sessions(&selector) {
            return Err(code("session_of_no_user").with("selector", &selector).refused());
        }
        let concerns_all = !matches!(&selector, Selector::One(scope) if *scope != Scope::Organization);
        if concerns_all {
            self.plan_has_console()?;
        }
        if let Selector::Seat(seat_type) = &selector {
            self.seat_type_exists(seat_type)?;
        }
        if self.history.has_seats() && meter == Meter::ExtraCredits && is_beside_seats(&selector) {
            let no = code("spend_limit_beside_seats").with("mode", self.mode_name());
            return Err(no.with("selector", &selector).with("limit_id", id).refused());
        }
        self.has_room_for_limit(&selector, &id)?;
        if self.history.limit(&selector, &id).is_some() {
            self.may_lift("limit", &selector, &id)?;
        }
        let since = self.history.since(self.at_ms);
        let (revision, revised_ms) = (self.record.clone(), self.at_ms);
        let limit =
            Limit { selector, id, meter, window, cap, shares, action, yields_to_own, since, revision, revised_ms };
        self.put_limit(limit);
        Ok(Vec::new())
    }

    pub fn has_room_for_limit(&self, selector: &Selector, id: &str) -> Result<(), No> {
        let is_one = |selector: &Selector| matches!(selector, Selector::One(_));
        let is_beside = |limit: &&Limit| match selector {
            Selector::One(_) => limit.selector == *selector,
            _ => !is_one(&limit.selector),
        };
        if self.history.limit(selector, id).is_some()
            || self.history.limits.iter().filter(is_beside).count() < LIMITS_MOST
        {
            return Ok(());
        }
        Err(match is_one(selector) {
            true => code("too_many_limits").with("scope", selector).with("most", LIMITS_MOST).refused(),
            false => code("too_many_rules").with("most", LIMITS_MOST).refused(),
        })
    }

    /// Sets a limit, or changes the one of its selector and id.
    pub fn put_limit(&mut self, mut limit: Limit) {
        match &limit.selector {
            Selector::One(scope) => self.name(scope.clone()),
            Selector::Every(_) | Selector::Seat(_) => {}
        }
        let before = self.history.limit(&limit.selector, &limit.id).map(|place| self.history.limits.remove(place));
        self.note_who_set(&format!("limit {} {}", limit.selector, limit.id), before.is_none());
        if let Some(before) = &before {
            self.history.note_minutes(before);
        }
        let same = before.filter(|before| before.meter == limit.meter && before.window == limit.window);
        if let Some(before) = &same {
            limit.since = before.since;
        }
        let is_revised = same.as_ref().is_none_or(|before| before.cap != limit.cap);
        if let Some(before) = same.as_ref().filter(|_| !is_revised) {
            (limit.revision, limit.revised_ms) = (before.revision.clone(), before.revised_ms);
        }
        let has_other_shares = same.as_ref().is_none_or(|before| before.shares != limit.shares);
        let has_other_action = same.as_ref().is_some_and(|before| before.action != limit.action);
        self.history.limits.push(limit.clone());
        if is_revised || has_other_shares || has_other_action {
            self.tell_limit_set(&limit, is_revised || has_other_shares);
        }
    }

    /// `remove_limit`
    pub fn remove_limit(&mut self, fields: &Fields) -> Result<Vec<Code>, No> {
        let selector = selector(fields)?;
        let id = fields.id("limit_id")?;
        let Some(place) = self.history.limit(&selector, &id) else {
            return Err(code("limit_unknown").with("selector", selector).with("limit_id", id).refused());
        };
        self.may_lift("limit", &selector, &id)?;
        if let Selector::One(scope) = &selector {
            self.name(scope.clone());
        }
        let removed = self.history.limits.remove(place);
        self.history.note_minutes(&removed);
        Ok(Vec::new())
    }
}
