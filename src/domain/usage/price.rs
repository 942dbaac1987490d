//! The first step: what an event counts, and what it costs (rows A1, C12).

use crate::domain::{
    account::{Policy, rulebook::Rulebook},
    event::{RunPhase, Usage, UsageEvent},
    meter::{Counters, Meter},
    reason::Reason,
    time::Timestamp,
};

/// What an event counts: tokens or runs, and its price.
///
/// # Errors
/// [`Reason::UnknownModel`] where the rate card rejects the model; [`Reason::CounterOverflow`] for a price beyond all bounds.
#[inline]
pub fn price(
    rules: &Rulebook,
    event: &UsageEvent<'_>,
    record_time: Timestamp,
    policy: &Policy,
) -> Result<Counters, Reason> {
    let mut charge = counted(&event.usage);
    let card = rules.rate_card(event.event_time, record_time, policy.rules_delay_ms);
    match card.map(|card| card.charge_micro(&event.usage)).transpose()?.flatten() {
        Some(credits_micro) => charge.set(Meter::CreditsMicro, credits_micro),
        // No price is known: it counts all the same, and is seen to have none.
        None => charge.set(Meter::UnpricedTokens, tokens(&charge)),
    }
    Ok(charge)
}

fn tokens(charge: &Counters) -> i64 {
    let classes =
        [Meter::InputTokens, Meter::OutputTokens, Meter::CacheReadInputTokens, Meter::CacheCreationInputTokens];
    classes.iter().fold(0, |sum: i64, class| sum.saturating_add(charge.get(*class)))
}

/// What an event counts, before it is priced.
fn counted(usage: &Usage<'_>) -> Counters {
    let mut charge = Counters::ZERO;
    match usage {
        Usage::Run { phase: RunPhase::Started } => charge.set(Meter::RunsStarted, 1),
        Usage::Run { phase: RunPhase::Completed } => charge.set(Meter::RunsCompleted, 1),
        Usage::Run { phase: RunPhase::Failed } => charge.set(Meter::RunsFailed, 1),
        Usage::Run { phase: RunPhase::Cancelled } => charge.set(Meter::RunsCancelled, 1),
        Usage::Tokens { tokens, .. } => {
            charge.set(Meter::InputTokens, tokens.input);
            charge.set(Meter::OutputTokens, tokens.output);
            charge.set(Meter::CacheReadInputTokens, tokens.cache_read);
            charge.set(Meter::CacheCreationInputTokens, tokens.cache_creation);
        }
    }
    charge
}
