//! Switches a source of payment, for all or for one member (row B4).

use super::{
    Handle,
    checks::{check_id, user_of},
};
use crate::domain::{
    account::{rulebook::Rulebook, sweep::Concern},
    answer::{Answer, Refused},
    control::SetSource,
    decision::Decision,
    payment::Source,
    scope::Scope,
};

impl Handle for SetSource {
    fn touches(&self, _: &Rulebook) -> Vec<Scope> {
        // Whether a balance is filled up by itself depends on whether it pays for anybody.
        let user = self.user_id.as_deref().and_then(user_of);
        user.into_iter().chain([Scope::Organization]).collect()
    }

    fn concerns(&self, rules: &Rulebook) -> Concern {
        // Where members pause one by one, a switch of one concerns nobody else.
        let is_own = self.user_id.is_some() && rules.payment().mode.has_seats();
        if is_own { Concern::Touched } else { Concern::Everyone }
    }

    fn apply(&self, decision: &mut Decision<'_>) -> Answer {
        self.user_id.iter().try_for_each(|user_id| check_id("user_id", user_id))?;
        let mut payment = decision.rules.payment();
        let Self { source, on, .. } = *self;
        if !payment.mode.knows(source) {
            return Err(Refused::ModeHasNoSource { mode: payment.mode, source });
        }
        match &self.user_id {
            Some(user) => switch_own(decision, user, source, on),
            None => {
                payment.switches.set(source, on);
                decision.rules.edit().set_payment(decision.at.record_time, payment);
            }
        }
        Ok(Vec::new())
    }
}

/// Switches a source for one member.
pub fn switch_own(decision: &mut Decision<'_>, user: &str, source: Source, on: Option<bool>) {
    let index = decision.book.index(&Scope::User(user.into()));
    let switches = &mut decision.book.row_mut(index).member.get_or_insert_default().switches;
    let was_on = switches.get(source) == Some(true);
    switches.set(source, on);
    let count = &mut decision.rules.edit().own_switches_on[source as usize];
    *count = count.saturating_sub(u32::from(was_on)) + u32::from(on == Some(true));
}
