//! *Pools and grants*: the commands about them.

use std::collections::BTreeSet;

use super::{
    Model,
    codes::{Code, No, code, sorted},
    fields::Fields,
    history::{Grant, Outcome, PoolRule},
    limits::shares,
    terms::{Kind, Scope},
};

/// How many grants one pool keeps.
const GRANTS_MOST: usize = 1_000;

impl Model {
    /// `set_pool`
    pub fn set_pool(&mut self, fields: &Fields) -> Result<Vec<Code>, No> {
        let owner = fields.owner()?;
        let included = fields.amount("included_micro", 0)?;
        let user_cap = match fields.number("user_cap_micro")? {
            None => None,
            Some(_) => Some(fields.amount("user_cap_micro", 0)?),
        };
        let shares = shares(fields)?;
        self.plan_has_credits()?;
        if owner == Scope::Organization {
            self.plan_has_console()?;
        } else if self.history.has_seats() {
            return Err(code("mode_has_one_pool").with("mode", self.mode_name()).with("scope", owner).refused());
        }
        self.name(owner.clone());
        let before = self.pool_now(&owner).cloned();
        let has_changed = before.as_ref().is_none_or(|before| before.included != Some(included));
        let has_other_shares = before.as_ref().is_none_or(|before| before.shares != shares);
        let (revision, revised_ms) = match &before {
            Some(before) if !has_changed => (before.revision.clone(), before.revised_ms),
            _ => (self.record.clone(), self.at_ms),
        };
        let at_ms = self.at_ms;
        let rule = PoolRule { at_ms, included: Some(included), user_cap, shares, revision, revised_ms };
        self.history.pools.entry(owner.clone()).or_default().push(rule);
        if included > before.and_then(|before| before.included).unwrap_or(0) {
            self.history.credited.insert(owner.clone());
        }
        if has_changed || has_other_shares {
            self.tell_pool_changed(&owner, self.clock_ms.max(at_ms), true);
        }
        Ok(Vec::new())
    }

    fn pool_now(&self, owner: &Scope) -> Option<&PoolRule> {
        self.history.pools.get(owner)?.last().filter(|rule| rule.included.is_some())
    }

    pub fn pool_exists(&self, owner: &Scope) -> Result<(), No> {
        match self.pool_now(owner) {
            Some(_) => Ok(()),
            None => Err(code("pool_missing").with("scope", owner).refused()),
        }
    }

    /// `remove_pool`
    pub fn remove_pool(&mut self, fields: &Fields) -> Result<Vec<Code>, No> {
        let owner = fields.owner()?;
        let Some(before) = self.pool_now(&owner).cloned() else {
            return Err(code("no_pool_to_remove").with("scope", owner).refused());
        };
        let history = &self.history;
        let of_owner = (0..history.grants.len()).filter(|place| history.grants[*place].owner == owner);
        let left: Vec<(String, i64)> =
            of_owner.map(|place| (history.grants[place].id.clone(), history.left(place, self.clock_ms))).collect();
        let left: Vec<_> = left.into_iter().filter(|(_, left)| *left > 0).collect();
        if !left.is_empty() {
            let no = code("grants_have_something_left").with("scope", owner);
            let no = no.with("left_micro", left.iter().map(|(_, left)| left).sum::<i64>());
            return Err(no.with("grants", sorted(left.iter().map(|(id, _)| id))).refused());
        }
        self.name(owner.clone());
        let removed = PoolRule { at_ms: self.at_ms, included: None, ..before };
        self.history.pools.entry(owner.clone()).or_default().push(removed);
        for grant in self.history.grants.iter_mut().filter(|grant| grant.owner == owner) {
            (grant.is_forgotten, grant.is_removed) = (true, true);
        }
        self.history.auto_reloads.remove(&owner);
        self.history.credited.remove(&owner);
        Ok(Vec::new())
    }

    /// `grant`
    pub fn grant(&mut self, fields: &Fields) -> Result<Vec<Code>, No> {
        let is_prepaid = match fields.text("kind")?.as_deref() {
            None | Some("purchased") => false,
            Some("prepaid") => true,
            Some(_) => return Err(No::Unreadable),
        };
        let priority = fields.number("priority")?.unwrap_or(0);
        if !(0..=255).contains(&priority) {
            return Err(No::Unreadable);
        }
        let owner = fields.owner()?;
        let id = fields.id("grant_id")?;
        let amount = fields.amount("amount_micro", 1)?;
        let (from_ms, until_ms) = (fields.instant("effective_from")?, fields.instant("expires_at")?);
        let reload_id = fields.id_if("reload_id")?;
        self.grant_can_pay(&id, from_ms, until_ms)?;
        let last_asked = self.history.reloads.iter().rev().find(|reload| reload.owner == owner);
        if last_asked.is_none_or(|reload| Some(&reload.identity) != reload_id.as_ref()) {
            self.plan_has_credits()?;
        }
        self.pool_exists(&owner)?;
        if let Some(reload_id) = &reload_id {
            self.is_not_answered(&owner, reload_id)?;
        }
        let known = self.history.grant_of(&owner, &id);
        if known.is_some_and(|known| self.history.is_remembered(known, self.at_ms)) {
            return Ok(vec![code("grant_given_before").with("grant_id", id)]);
        }
        let period = self.history.calendar.window(Kind::Period, self.at_ms);
        if let Some(from) = from_ms.filter(|from| !is_prepaid && *from >= period.end) {
            let no = code("purchase_begins_after_its_period").with("effective_from", from);
            return Err(no.with("period_end", period.end).refused());
        }
        let history = &self.history;
        let kept = (0..history.grants.len()).filter(|place| history.grants[*place].owner == owner);
        if kept.filter(|place| history.is_remembered(*place, self.at_ms)).count() >= GRANTS_MOST {
            return Err(code("too_many_grants").with("scope", owner).with("most", GRANTS_MOST).refused());
        }
        if let Some(known) = known {
            self.history.grants[known].is_forgotten = true;
        }
        self.name(owner.clone());
        let answer = reload_id.as_ref().and_then(|reload_id| self.answer_reload(&owner, reload_id, Outcome::Granted));
        let grant = Grant {
            owner: owner.clone(),
            id,
            amount,
            is_prepaid,
            priority,
            from_ms,
            until_ms,
            at_ms: self.at_ms,
            period,
            voided_ms: None,
            has_lost: false,
            is_forgotten: false,
            is_removed: false,
            reload_id,
            record: self.record.clone(),
        };
        let has_begun = grant.has_begun(self.clock_ms);
        self.history.grants.push(grant);
        if has_begun {
            self.history.credited.insert(owner.clone());
            if !is_prepaid {
                self.tell_pool_changed(&owner, self.clock_ms.max(self.at_ms), false);
            }
        }
        Ok(answer.into_iter().collect())
    }

    fn grant_can_pay(&self, id: &str, from_ms: Option<i64>, until_ms: Option<i64>) -> Result<(), No> {
        if let (Some(from), Some(until)) = (from_ms, until_ms)
            && until <= from
        {
            let no = code("grant_ends_before_it_starts").with("effective_from", from);
            return Err(no.with("expires_at", until).refused());
        }
        match until_ms {
            Some(until) if until <= self.at_ms => {
                Err(code("grant_has_expired").with("grant_id", id).with("expires_at", until).refused())
            }
            _ => Ok(()),
        }
    }

    /// `void_grant`
    pub fn void_grant(&mut self, fields: &Fields) -> Result<Vec<Code>, No> {
        let owner = fields.owner()?;
        let id = fields.id("grant_id")?;
        self.pool_exists(&owner)?;
        let Some(place) = self.history.grant_of(&owner, &id) else {
            return Err(code("grant_unknown").with("scope", owner).with("grant_id", id).refused());
        };
        let grant = &self.history.grants[place];
        if !grant.is_prepaid && grant.period.end <= self.at_ms {
            return Err(code("grant_period_over").with("grant_id", id).with("period_end", grant.period.end).refused());
        }
        let left = self.history.left(place, self.clock_ms);
        if left == 0 {
            return Err(code("nothing_left_of_grant").with("grant_id", id).refused());
        }
        let counts = !grant.is_prepaid && grant.has_begun(self.clock_ms);
        self.name(owner.clone());
        self.history.grants[place].voided_ms = Some(self.at_ms);
        if counts {
            self.tell_pool_changed(&owner, self.clock_ms.max(self.at_ms), false);
        }
        Ok(vec![code("taken_back").with("micro", left)])
    }

    /// `set_free_phase`
    pub fn set_free_phase(&mut self, fields: &Fields) -> Result<Vec<Code>, No> {
        let until = fields.must_instant("until")?;
        if let Some(before) = self.history.free_until.filter(|before| *before <= self.at_ms) {
            return Err(code("free_phase_over").with("until", before).refused());
        }
        if until <= self.at_ms {
            let no = code("free_phase_ends_in_the_past").with("until", until);
            return Err(no.with("record_time", self.at_ms).refused());
        }
        self.history.free_until = Some(until);
        Ok(Vec::new())
    }

    /// Grants that begin, and purchases that end within their period, between two instants: each makes a new revision of
    /// its pool.
    pub fn grants_due(&self, from_ms: i64, to_ms: i64) -> Vec<i64> {
        let instants = self.history.grants.iter().flat_map(|grant| [grant.from_ms, grant.until_ms]);
        instants.flatten().filter(|instant| from_ms < *instant && *instant <= to_ms).collect()
    }

    /// What follows when a grant begins or ends at an instant. Notes whose pool has another size by it.
    pub fn begin_and_end_grants(&mut self, instant: i64, turned: &mut BTreeSet<Scope>) {
        for place in 0..self.history.grants.len() {
            let grant = self.history.grants[place].clone();
            if grant.voided_ms.is_some() || grant.is_forgotten {
                continue;
            }
            let begins = grant.from_ms == Some(instant);
            if begins {
                self.history.credited.insert(grant.owner.clone());
            }
            let counts = !grant.is_prepaid && grant.period.has(instant);
            let loses = counts && grant.until_ms == Some(instant) && self.history.spent(place) < grant.amount;
            self.history.grants[place].has_lost |= loses;
            // What is seen only after its period is over tells nothing.
            if (loses || (counts && begins)) && grant.period.has(self.clock_ms) {
                turned.insert(grant.owner);
            }
        }
    }
}
