//! *Time* and *Who pays*: the commands that say how an organization pays, and by which calendar.

use jiff::{civil::Date, tz::TimeZone};

use super::{
    Model,
    codes::{Code, No, code, sorted},
    fields::Fields,
    terms::{Scope, Source, named},
};
use crate::life::DELAY_MS;

/// How often time zone or anchor may be said.
const ZONES_MOST: usize = 64;

impl Model {
    /// `set_organization`
    pub fn set_organization(&mut self, fields: &Fields) -> Result<Vec<Code>, No> {
        let name = fields.must("time_zone")?;
        let tz = TimeZone::get(&name).map_err(|_| No::Unreadable)?;
        let anchor: Date = fields.must("anchor")?.parse().map_err(|_| No::Unreadable)?;
        let has_used = !self.history.counted.is_empty() || !self.history.pools.is_empty();
        if !has_used {
            self.history.calendar.begin_with(tz, anchor);
            return Ok(Vec::new());
        }
        if self.history.calendar.changes() >= ZONES_MOST {
            return Err(code("too_many_time_zones").with("most", ZONES_MOST).refused());
        }
        let at = self.at_ms + DELAY_MS;
        self.history.calendar.change(at, tz, anchor);
        Ok(vec![code("what_runs_ends_as_planned").with("at", at)])
    }

    /// `set_mode`
    pub fn set_mode(&mut self, fields: &Fields) -> Result<Vec<Code>, No> {
        let name = fields.must("mode")?;
        let mode = Self::mode_named(&name)?;
        if mode.has_seats() {
            let with_pools = self.history.pools.iter().filter(|(owner, rules)| {
                **owner != Scope::Organization && rules.last().is_some_and(|rule| rule.included.is_some())
            });
            let pools: Vec<&Scope> = with_pools.map(|(owner, _)| owner).collect();
            if !pools.is_empty() {
                return Err(code("workspace_pools_stand").with("mode", name).with("pools", sorted(pools)).refused());
            }
            let limits = self.history.limits_beside_seats();
            if !limits.is_empty() {
                let limits = sorted(limits.into_iter().map(|limit| limit.name()));
                return Err(code("spend_limits_stand").with("mode", name).with("limits", limits).refused());
            }
        }
        self.history.mode = mode;
        Ok(Vec::new())
    }

    /// `set_source`
    pub fn set_source(&mut self, fields: &Fields) -> Result<Vec<Code>, No> {
        let name = fields.must("source")?;
        let source = named(&Source::ALL, &name).filter(|source| *source <= Source::Postpaid).ok_or(No::Unreadable)?;
        let user = fields.id_if("user_id")?;
        let on = fields.flag("on")?;
        if !self.history.mode.has(source) {
            let no = code("mode_has_no_source").with("mode", self.mode_name());
            return Err(no.with("source", name).refused());
        }
        match user {
            None => set(&mut self.history.sources, source, on),
            Some(user) => {
                self.name(Scope::User(user.clone()));
                set(&mut self.history.own_sources, (user, source), on);
            }
        }
        Ok(Vec::new())
    }

    /// `set_extra_usage`
    pub fn set_extra_usage(&mut self, fields: &Fields) -> Result<Vec<Code>, No> {
        self.history.is_extra_off = !fields.must_flag("on")?;
        Ok(Vec::new())
    }

    /// `set_consent`
    pub fn set_consent(&mut self, fields: &Fields) -> Result<Vec<Code>, No> {
        self.history.is_consent_required = fields.must_flag("required")?;
        Ok(Vec::new())
    }

    /// `consent`
    pub fn consent(&mut self, fields: &Fields) -> Result<Vec<Code>, No> {
        let user = fields.id("user_id")?;
        let given = fields.must_flag("given")?;
        self.name(Scope::User(user.clone()));
        if given {
            self.history.consents.insert(user);
        } else {
            self.history.consents.remove(&user);
        }
        Ok(Vec::new())
    }
}

/// On, off, or what holds above or by the mode.
fn set<K: Ord>(switches: &mut std::collections::BTreeMap<K, bool>, which: K, on: Option<bool>) {
    match on {
        Some(on) => switches.insert(which, on),
        None => switches.remove(&which),
    };
}
