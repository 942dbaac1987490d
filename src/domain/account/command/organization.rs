//! What holds for the whole organization: calendar, unit, plan, prices, who pays, the free phase.

use super::{Answer, Said};
use crate::domain::{
    account::{
        Account,
        settings::{Recorded, SETTINGS_MAX},
    },
    organization::{Feature, Member, Plan, Unit},
    payment::{Mode, Source},
    rate_card::{MICRO_MAX, RateCard},
    scope::Scope,
    time::Timestamp,
    window::Zone,
};

impl Account {
    /// The first zone of an organization without usage, limit or pool holds from the beginning; every other one a while
    /// after its record, and what is running then ends as planned.
    pub(super) fn set_zone(&mut self, time_zone: chrono_tz::Tz, anchor: chrono::NaiveDate, said: &Said<'_>) -> Answer {
        if self.settings.zones.len() >= SETTINGS_MAX {
            return Err(format!("time zone or anchor were changed {SETTINGS_MAX} times already"));
        }
        let first = self.settings.zones.is_empty() && self.calendar.is_empty();
        let from = if first { Timestamp::MIN } else { said.moment.record_time.plus_ms(said.policy.rules_delay_ms) };
        self.settings.zones.push(Zone { from, time_zone, anchor });
        self.settings_changed = true;
        Ok(if first { String::new() } else { format!("what runs at {from} ends as planned; what follows is new") })
    }

    pub(super) fn set_unit(&mut self, unit: &Unit) -> Answer {
        if unit.scale > 6 || !(1..=32).contains(&unit.name.chars().count()) {
            return Err("a unit has a name of 1 to 32 characters and a scale of 0 to 6".to_owned());
        }
        self.settings.unit = unit.clone();
        self.settings_changed = true;
        Ok(String::new())
    }

    pub(super) fn set_plan(&mut self, plan: Plan) -> Answer {
        self.settings.plan = Some(plan);
        self.settings_changed = true;
        Ok("what was set before stays; what the plan lacks can no longer be set".to_owned())
    }

    /// Refuses what the plan lacks (row A20).
    pub(super) fn check_plan(&self, feature: Feature) -> Result<(), String> {
        match self.settings.plan.filter(|plan| !plan.has(feature)) {
            None => Ok(()),
            Some(plan) => {
                let (what, needed) = match feature {
                    Feature::Credits => ("credits", "business or enterprise"),
                    Feature::OrganizationConsole => ("credits and rules over all workspaces", "enterprise"),
                };
                Err(format!("the plan {} has no {what}; they need {needed}", plan.name()))
            }
        }
    }

    /// Refuses what the plan lacks for this scope.
    pub(super) fn check_plan_for(&self, scope: &Scope) -> Result<(), String> {
        match scope {
            Scope::Organization => self.check_plan(Feature::OrganizationConsole),
            _ => Ok(()),
        }
    }

    pub(super) fn set_rate_card(&mut self, card: &RateCard, said: &Said<'_>) -> Answer {
        if !card.prices_are_in_range() {
            return Err(format!("a price is below 0 or above {MICRO_MAX} micro-credits"));
        }
        let record_time = said.moment.record_time;
        let cards = &mut self.settings.rate_cards;
        if cards.len() >= SETTINGS_MAX {
            // Room is made only by what no event within the horizon can look at any more.
            let settled = record_time.plus_ms(-said.policy.horizon_ms - said.policy.rules_delay_ms);
            let is_settled =
                |card: &&Recorded<RateCard>| card.value.effective_from <= settled && card.recorded <= settled;
            let order = |card: &Recorded<RateCard>| (card.value.effective_from, card.recorded);
            let newest_settled = cards.iter().filter(is_settled).map(order).max();
            cards.retain(|card| newest_settled.is_none_or(|newest| order(card) >= newest));
        }
        if cards.len() >= SETTINGS_MAX {
            return Err(format!(
                "{SETTINGS_MAX} rate cards are in force or to come; wait until older ones are settled"
            ));
        }
        cards.push(Recorded { recorded: record_time, value: card.clone() });
        self.settings_changed = true;
        Ok(String::new())
    }

    pub(super) fn set_mode(&mut self, mode: Mode, said: &Said<'_>) -> Answer {
        if mode.has_seats() && self.settings.workspace_pools > 0 {
            return Err(format!(
                "mode {} has one pool, the organization's, because a member works in many workspaces; {} workspaces \
                 have a pool",
                mode.name(),
                self.settings.workspace_pools
            ));
        }
        let mut payment = self.settings.payment();
        payment.mode = mode;
        self.settings.set_payment(said.moment.record_time, payment);
        self.settings_changed = true;
        self.look_at_organization(said);
        Ok(String::new())
    }

    pub(super) fn set_source(
        &mut self,
        source: Source,
        user_id: Option<&str>,
        on: Option<bool>,
        said: &Said<'_>,
    ) -> Answer {
        let mut payment = self.settings.payment();
        if !payment.mode.knows(source) {
            return Err(format!("mode {} has no source {}", payment.mode.name(), source.name()));
        }
        if let Some(user_id) = user_id {
            let index = self.scopes.index(&Scope::User(user_id.into()));
            let member: &mut Member = self.scopes.row_mut(index).member.get_or_insert_default();
            member.switches.set(source, on);
            self.revise();
            self.look_for(index, false, said);
            return Ok(String::new());
        }
        payment.switches.set(source, on);
        self.settings.set_payment(said.moment.record_time, payment);
        self.settings_changed = true;
        self.look_at_organization(said);
        Ok(String::new())
    }

    pub(super) fn set_consent(&mut self, required: bool, said: &Said<'_>) -> Answer {
        let mut payment = self.settings.payment();
        payment.consent_required = required;
        self.settings.set_payment(said.moment.record_time, payment);
        self.settings_changed = true;
        Ok(String::new())
    }

    pub(super) fn consent(&mut self, user_id: &str, given: bool, said: &Said<'_>) -> Answer {
        let index = self.scopes.index(&Scope::User(user_id.into()));
        self.scopes.row_mut(index).member.get_or_insert_default().consented = given;
        self.revise();
        self.look_for(index, false, said);
        Ok(String::new())
    }

    pub(super) fn set_free_phase(&mut self, until: Timestamp, said: &Said<'_>) -> Answer {
        let record_time = said.moment.record_time;
        if self.settings.free_until.is_some_and(|until| until <= record_time) {
            return Err("the free phase is over; usage since then is charged".to_owned());
        }
        if until <= record_time {
            return Err(format!("until {until} is not after the record's time {record_time}"));
        }
        self.settings.free_until = Some(until);
        self.settings.free_phase_ends = true;
        self.revise();
        self.end_free_phase_in_time();
        Ok(String::new())
    }
}
