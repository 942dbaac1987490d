//! Sets time zone and anchor. What is said before anything was used holds from the beginning; else it holds a while after its
//! record, and what runs then ends as planned.

use super::Handle;
use crate::domain::{
    account::{rulebook::Rulebook, settings::SETTINGS_MAX, sweep::Concern},
    answer::{Answer, Applied, Refused},
    control::SetOrganization,
    decision::Decision,
    due::plan_digest_anew,
    time::Timestamp,
    window::Zone,
};
use crate::mutation::is_broken;

impl Handle for SetOrganization {
    fn concerns(&self, _: &Rulebook) -> Concern {
        Concern::Touched
    }

    fn apply(&self, decision: &mut Decision<'_>) -> Answer {
        // The first one holds from the beginning, and is no change.
        if decision.rules.zones.len().saturating_sub(1) >= SETTINGS_MAX && !is_broken("bound", "time zones") {
            return Err(Refused::TooManyTimeZones { most: SETTINGS_MAX as u64 });
        }
        let Self { time_zone, anchor } = *self;
        if decision.rules.calendar().is_empty() {
            // Whatever was said before it, nothing was cut by it.
            decision.rules.edit().zones = vec![Zone { from: Timestamp::MIN, time_zone, anchor }];
            plan_digest_anew(decision);
            return Ok(Vec::new());
        }
        let at = decision.at.record_time.plus_ms(decision.policy.rules_delay_ms);
        let zones = &mut decision.rules.edit().zones;
        if zones.is_empty() {
            // What was used before was cut by the zone that holds without any record.
            zones.push(Zone::default());
        }
        zones.push(Zone { from: at, time_zone, anchor });
        plan_digest_anew(decision);
        Ok(vec![Applied::WhatRunsEndsAsPlanned { at }])
    }
}
