//! Says whether users have to agree to extra usage (row B14).

use super::Handle;
use crate::domain::{
    account::{rulebook::Rulebook, sweep::Concern},
    answer::Answer,
    control::SetConsent,
    decision::Decision,
};

impl Handle for SetConsent {
    fn concerns(&self, _: &Rulebook) -> Concern {
        Concern::Everyone
    }

    fn apply(&self, decision: &mut Decision<'_>) -> Answer {
        let mut payment = decision.rules.payment();
        payment.consent_required = self.required;
        decision.rules.edit().set_payment(decision.at.record_time, payment);
        Ok(Vec::new())
    }
}
