//! Says until when usage is measured and not charged (row A7).

use super::Handle;
use crate::domain::{
    account::{rulebook::Rulebook, sweep::Concern},
    answer::{Answer, Refused},
    control::SetFreePhase,
    decision::Decision,
    due::free_phase,
};

impl Handle for SetFreePhase {
    fn concerns(&self, _: &Rulebook) -> Concern {
        // In the phase nobody wants for money; and whatever was used so far was used in it.
        Concern::Everyone
    }

    fn apply(&self, decision: &mut Decision<'_>) -> Answer {
        let (until, record_time) = (self.until, decision.at.record_time);
        if let Some(until) = decision.rules.free_until.filter(|until| *until <= record_time) {
            return Err(Refused::FreePhaseOver { until });
        }
        if until <= record_time {
            return Err(Refused::FreePhaseEndsInThePast { until, record_time });
        }
        let rules = decision.rules.edit();
        rules.free_until = Some(until);
        rules.free_phase_ends = true;
        // At its end whoever has nothing to pay with pauses; at the next period start its agents are looked at.
        decision.agenda.be_looked_at_all(until);
        if let Some(end) = free_phase::end(decision) {
            decision.agenda.be_due(end);
        }
        Ok(Vec::new())
    }
}
