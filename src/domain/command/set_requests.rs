//! Says whether members may ask for more, and when the digest goes out (row B10).

use super::{Handle, checks::check_range};
use crate::domain::{
    account::{rulebook::Rulebook, sweep::Concern},
    answer::Answer,
    control::SetRequests,
    decision::Decision,
    due::plan_digest_anew,
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
        plan_digest_anew(decision);
        Ok(Vec::new())
    }
}
