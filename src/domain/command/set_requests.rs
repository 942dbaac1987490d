//! Says whether members may ask for more, and when the digest goes out (row B10).

use super::{Handle, checks::check_range};
use crate::domain::{
    account::{rulebook::Rulebook, sweep::Concern},
    answer::Answer,
    control::SetRequests,
    decision::Decision,
    due::plan_digest,
};

impl Handle for SetRequests {
    fn concerns(&self, _: &Rulebook) -> Concern {
        Concern::Touched
    }

    fn apply(&self, decision: &mut Decision<'_>) -> Answer {
        check_range("digest_hour", self.digest_hour, 0, 23)?;
        let digest_hour = u8::try_from(self.digest_hour).expect("it was checked above");
        let requests = &mut decision.rules.edit().requests;
        (requests.enabled, requests.digest_hour) = (self.enabled, digest_hour);
        // One whose time has come is still to be sent.
        let is_owed = decision.rules.requests.next_digest.is_some_and(|due| due <= decision.at.clock);
        if !decision.rules.requests.open.is_empty() && !is_owed {
            plan_digest(decision);
        }
        Ok(Vec::new())
    }
}
