//! *Reloads and requests*: auto-reload.

use super::{
    Model,
    codes::{Code, No, code},
    fields::Fields,
    grants::Moment,
    history::{AutoReload, History, Outcome, Reload, What},
    terms::{Kind, Scope, Source},
    time::MINUTE_MS,
};

impl History {
    /// Whether a balance may pay for anybody: prepaid is on for the organization, or for at least one member.
    fn may_spend_balance(&self) -> bool {
        let own = self.own_sources.keys().any(|(user, _)| self.is_on(Source::Prepaid, Some(user)));
        own || self.is_on(Source::Prepaid, None)
    }

    /// Whether something was charged where a balance pays and somebody has to, since so much was counted.
    fn was_charged_since(&self, owner: &Scope, place: usize, now: Moment) -> bool {
        let later = self.counted.iter().skip(place);
        let mut charges = later.filter(|one| one.what != What::Registration && one.credits >= 0);
        charges.any(|one| {
            let place = one.named.workspace.as_deref();
            self.owner_at(place, now) == *owner && !self.is_free(place, self.moment_of(one.time_ms))
        })
    }

    /// What the organization's limits on extra credits have room for, after what is spent and what is left.
    fn room_for_reload(&self, balance: i64, now_ms: i64) -> i64 {
        let rooms = self.extra_rooms(&[Scope::Organization], &self.starts(now_ms));
        rooms.first().map_or(i64::MAX, |(room, ..)| room - balance)
    }
}

impl Model {
    /// Asks for a reload of each balance that is at or below its mark, as of an instant.
    pub fn ask_for_reloads(&mut self, now_ms: i64) {
        self.lapse_reloads(now_ms);
        let owners: Vec<(Scope, AutoReload)> =
            self.history.auto_reloads.iter().map(|(owner, rule)| (owner.clone(), rule.clone())).collect();
        for (owner, rule) in owners {
            self.ask_for_reload(&owner, &rule, now_ms);
        }
    }

    fn ask_for_reload(&mut self, owner: &Scope, rule: &AutoReload, now_ms: i64) {
        let history = &self.history;
        let now = history.moment_of(now_ms);
        let balance = history.balance(owner, now);
        if balance > rule.below {
            self.history.blocked.retain(|(blocked, _)| blocked != owner);
            return;
        }
        if !history.may_spend_balance() {
            return;
        }
        let asked: Vec<&Reload> = history.reloads.iter().filter(|reload| reload.owner == *owner).collect();
        match asked.last() {
            Some(last) if last.outcome == Outcome::Open => return,
            Some(last)
                if last.outcome == Outcome::Refused && !history.was_charged_since(owner, last.answered_at, now) =>
            {
                return;
            }
            _ => {}
        }
        let amount = rule.amount.min(history.room_for_reload(balance, now_ms));
        if amount <= 0 {
            return self.tell_blocked(owner, "organization_limit");
        }
        let today = history.calendar.window(Kind::Day, now_ms);
        let asked_today = asked.iter().filter(|reload| today.has(reload.asked_ms)).count();
        if asked_today >= usize::try_from(rule.per_day_max).expect("it is in range") {
            return self.tell_blocked(owner, "per_day_max");
        }
        let identity = format!("reload|{owner}|{}", asked.len() + 1);
        self.history.blocked.retain(|(blocked, _)| blocked != owner);
        self.history.reloads.push(Reload {
            owner: owner.clone(),
            identity: identity.clone(),
            asked_ms: now_ms,
            lapses_ms: now_ms + rule.lapse_ms,
            outcome: Outcome::Open,
            answered_at: 0,
        });
        self.say(format!("reload {owner} amount={amount} balance={balance}"), identity);
    }

    /// Told once for each reason, until a reload is asked for or the balance is above the mark.
    fn tell_blocked(&mut self, owner: &Scope, reason: &'static str) {
        if self.history.blocked.insert((owner.clone(), reason)) {
            let identity = format!("reload_blocked|{owner}|{reason}|{}", self.cause);
            self.say(format!("reload_blocked {owner} reason={reason}"), identity);
        }
    }

    fn lapse_reloads(&mut self, now_ms: i64) {
        let open = self.history.reloads.iter_mut().filter(|reload| reload.outcome == Outcome::Open);
        open.filter(|reload| reload.lapses_ms <= now_ms).for_each(|reload| reload.outcome = Outcome::Lapsed);
    }

    /// Answers an open reload. A grant stands for itself where the reload is not open: then that is said.
    pub fn answer_reload(&mut self, owner: &Scope, identity: &str, outcome: Outcome) -> Option<Code> {
        let counted = self.history.counted.len();
        let mut all = self.history.reloads.iter_mut();
        let open = all.find(|reload| reload.owner == *owner && reload.identity == identity);
        match open {
            Some(reload) if reload.outcome == Outcome::Open && reload.lapses_ms > self.clock_ms => {
                (reload.outcome, reload.answered_at) = (outcome, counted);
                None
            }
            _ => Some(code("reload_not_open").with("reload_id", identity)),
        }
    }

    /// A reload that a grant has answered is not answered by another.
    pub fn is_not_answered(&self, owner: &Scope, reload_id: &str) -> Result<(), No> {
        let mut grants = self.history.grants.iter().enumerate();
        let answered = grants.find(|(place, grant)| {
            grant.owner == *owner
                && grant.reload_id.as_deref() == Some(reload_id)
                && self.history.is_remembered(*place, self.at_ms)
        });
        match answered {
            None => Ok(()),
            Some((_, grant)) => {
                let no = code("reload_answered_before").with("reload_id", reload_id);
                Err(no.with("grant_id", &grant.id).refused())
            }
        }
    }

    /// `set_auto_reload`
    pub fn set_auto_reload(&mut self, fields: &Fields) -> Result<Vec<Code>, No> {
        const LAPSE_MINUTES_MOST: i64 = 44_640;
        let owner = fields.owner()?;
        let below = fields.amount("below_micro", 0)?;
        let amount = fields.amount("amount_micro", 1)?;
        let per_day_max = fields.between("per_day_max", Some(3), 1, 100)?;
        let lapse_ms = fields.between("lapse_minutes", Some(1_440), 1, LAPSE_MINUTES_MOST)? * MINUTE_MS;
        self.plan_has_credits()?;
        self.pool_exists(&owner)?;
        self.name(owner.clone());
        self.history.auto_reloads.insert(owner, AutoReload { below, amount, per_day_max, lapse_ms });
        Ok(Vec::new())
    }

    /// `remove_auto_reload`
    pub fn remove_auto_reload(&mut self, fields: &Fields) -> Result<Vec<Code>, No> {
        let owner = fields.owner()?;
        self.pool_exists(&owner)?;
        self.name(owner.clone());
        self.history.auto_reloads.remove(&owner);
        Ok(Vec::new())
    }

    /// `refuse_reload`
    pub fn refuse_reload(&mut self, fields: &Fields) -> Result<Vec<Code>, No> {
        let owner = fields.owner()?;
        let identity = fields.id("reload_id")?;
        self.pool_exists(&owner)?;
        if self.answer_reload(&owner, &identity, Outcome::Refused).is_some() {
            return Err(code("reload_closed").with("reload_id", identity).refused());
        }
        self.name(owner);
        Ok(Vec::new())
    }
}
