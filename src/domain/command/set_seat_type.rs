//! Sets what a seat of a type includes (row B1).

use super::{
    Handle,
    checks::{check_amount, check_id},
};
use crate::domain::{
    account::{rulebook::Rulebook, settings::SETTINGS_MAX, sweep::Concern},
    answer::{Answer, Refused},
    decision::Decision,
    organization::{Allowance, SeatType},
    payment::Mode,
    time::Timestamp,
};
use crate::mutation::is_broken;

impl Handle for SeatType {
    fn concerns(&self, _: &Rulebook) -> Concern {
        Concern::Everyone
    }

    fn apply(&self, decision: &mut Decision<'_>) -> Answer {
        check_id("seat_type", &self.name)?;
        let mode = decision.rules.payment().mode;
        if mode == Mode::UsageEnterprise {
            return Err(Refused::ModeHasNoSeats { mode });
        }
        for allowance in &self.allowances {
            check_amount("amount_micro", allowance.amount_micro, 0)?;
        }
        let before = decision.rules.seat_type(&self.name);
        if before.is_none() && decision.rules.seat_types.len() >= SETTINGS_MAX && !is_broken("bound", "seat types") {
            return Err(Refused::TooManySeatTypes { most: SETTINGS_MAX as u64 });
        }
        // What it begins to include counts what members used in the window before.
        let since = |allowance: &Allowance| match before {
            None => Timestamp::MIN,
            Some(before) => {
                let known = before.allowances.iter().find(|known| known.window == allowance.window);
                known.map_or(decision.at.record_time, |known| known.since)
            }
        };
        let allowances = self.allowances.iter().map(|allowance| Allowance { since: since(allowance), ..*allowance });
        let new = Self { name: self.name.clone(), allowances: allowances.collect() };
        let seat_types = &mut decision.rules.edit().seat_types;
        match seat_types.iter_mut().find(|known| known.name == self.name) {
            Some(known) => *known = new,
            None => seat_types.push(new),
        }
        Ok(Vec::new())
    }
}
