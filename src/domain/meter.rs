//! What is counted, in whole units.

use serde::{Deserialize, Serialize};

/// A thing that is counted. Money is counted in millionths of the organization's unit (`credits_micro`).
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Meter {
    /// Tokens sent to a model, without those read from or written to a cache.
    InputTokens,
    /// Tokens that a model produced.
    OutputTokens,
    /// Input tokens read from a provider's cache.
    CacheReadInputTokens,
    /// Input tokens written to a provider's cache.
    CacheCreationInputTokens,
    /// What was used, whoever pays it: priced charges and adjustments.
    CreditsMicro,
    /// The part that a pool paid: included, then purchased.
    PoolCreditsMicro,
    /// The part that no source of payment covered, where something should have.
    UncoveredCreditsMicro,
    /// Runs that began.
    RunsStarted,
    /// Runs that ended well.
    RunsCompleted,
    /// Runs that ended in an error.
    RunsFailed,
    /// Runs that were stopped.
    RunsCancelled,
    /// The part that a seat's allowance paid.
    SeatCreditsMicro,
    /// The part that a prepaid balance paid.
    PrepaidCreditsMicro,
    /// The part that is billed afterwards.
    PostpaidCreditsMicro,
    /// The part of `credits_micro` that came by adjustments; the only count that may be negative.
    AdjustedCreditsMicro,
    /// Agents that ran (counted on workspaces and the organization; row A12).
    ActiveAgents,
    /// Agents that were created (counted on members, workspaces and the organization).
    AgentsCreated,
    /// Members who created an agent (counted on workspaces and the organization; row A12).
    Builders,
    /// Tokens of every class for which no price was known.
    UnpricedTokens,
    /// Prepaid and postpaid together; not stored.
    ExtraCreditsMicro,
    /// What nobody is charged for: in the free phase, and where no source of payment was ever set up; not stored.
    FreeCreditsMicro,
}

impl Meter {
    /// How many meters are stored.
    pub const STORED: usize = 19;

    /// Every meter: first those that are stored, in the order in which [`Counters`] holds them, then those that are
    /// sums of others. New ones are added at the end of their part.
    pub const ALL: [Self; 21] = [
        Self::InputTokens,
        Self::OutputTokens,
        Self::CacheReadInputTokens,
        Self::CacheCreationInputTokens,
        Self::CreditsMicro,
        Self::PoolCreditsMicro,
        Self::UncoveredCreditsMicro,
        Self::RunsStarted,
        Self::RunsCompleted,
        Self::RunsFailed,
        Self::RunsCancelled,
        Self::SeatCreditsMicro,
        Self::PrepaidCreditsMicro,
        Self::PostpaidCreditsMicro,
        Self::AdjustedCreditsMicro,
        Self::ActiveAgents,
        Self::AgentsCreated,
        Self::Builders,
        Self::UnpricedTokens,
        Self::ExtraCreditsMicro,
        Self::FreeCreditsMicro,
    ];

    /// The sources of payment in the order in which they are drawn, and what is left over.
    pub const SOURCES: [Self; 6] = [
        Self::SeatCreditsMicro,
        Self::PoolCreditsMicro,
        Self::PrepaidCreditsMicro,
        Self::PostpaidCreditsMicro,
        Self::UncoveredCreditsMicro,
        Self::FreeCreditsMicro,
    ];

    /// The name used in configuration, in signals and in `bursar show`.
    pub const fn name(self) -> &'static str {
        match self {
            Self::InputTokens => "input_tokens",
            Self::OutputTokens => "output_tokens",
            Self::CacheReadInputTokens => "cache_read_input_tokens",
            Self::CacheCreationInputTokens => "cache_creation_input_tokens",
            Self::CreditsMicro => "credits_micro",
            Self::PoolCreditsMicro => "pool_credits_micro",
            Self::UncoveredCreditsMicro => "uncovered_credits_micro",
            Self::RunsStarted => "runs_started",
            Self::RunsCompleted => "runs_completed",
            Self::RunsFailed => "runs_failed",
            Self::RunsCancelled => "runs_cancelled",
            Self::SeatCreditsMicro => "seat_credits_micro",
            Self::PrepaidCreditsMicro => "prepaid_credits_micro",
            Self::PostpaidCreditsMicro => "postpaid_credits_micro",
            Self::AdjustedCreditsMicro => "adjusted_credits_micro",
            Self::ActiveAgents => "active_agents",
            Self::AgentsCreated => "agents_created",
            Self::Builders => "builders",
            Self::UnpricedTokens => "unpriced_tokens",
            Self::ExtraCreditsMicro => "extra_credits_micro",
            Self::FreeCreditsMicro => "free_credits_micro",
        }
    }

    /// The count of this meter, by the counts of those that are stored.
    #[inline]
    pub fn of(self, stored: impl Fn(Self) -> i64) -> i64 {
        let extra = || stored(Self::PrepaidCreditsMicro).saturating_add(stored(Self::PostpaidCreditsMicro));
        match self {
            Self::ExtraCreditsMicro => extra(),
            Self::FreeCreditsMicro => stored(Self::CreditsMicro)
                .saturating_sub(stored(Self::SeatCreditsMicro))
                .saturating_sub(stored(Self::PoolCreditsMicro))
                .saturating_sub(extra())
                .saturating_sub(stored(Self::UncoveredCreditsMicro)),
            _ => stored(self),
        }
    }

    /// The meter of that name.
    pub fn parse(name: &str) -> Option<Self> {
        Self::ALL.into_iter().find(|meter| meter.name() == name)
    }
}

/// One whole number per meter: what a window holds, or what one event adds to it.
///
/// Packed as the list of its values without the zeros at the end, so that a meter added later reads as zero in what
/// was stored before it.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Counters([i64; Meter::STORED]);

impl Counters {
    /// Nothing counted.
    pub const ZERO: Self = Self([0; Meter::STORED]);

    /// The count of one meter.
    #[inline]
    pub fn get(&self, meter: Meter) -> i64 {
        meter.of(|stored| self.0[stored as usize])
    }

    /// The count of the stored meter at this place.
    #[inline]
    pub const fn at(&self, place: usize) -> i64 {
        self.0[place]
    }

    /// The stored counts without the zeros at the end: as they are packed.
    pub fn stored(&self) -> &[i64] {
        let used = self.0.iter().rposition(|count| *count != 0).map_or(0, |last| last + 1);
        &self.0[..used]
    }

    /// Sets the count of one stored meter.
    pub const fn set(&mut self, meter: Meter, count: i64) {
        self.0[meter as usize] = count;
    }

    /// Adds every meter of `charge`, or nothing at all if one of them would overflow (invariant U-2).
    #[must_use]
    pub fn checked_add(&self, charge: &Self) -> Option<Self> {
        let mut sum = *self;
        for (count, added) in sum.0.iter_mut().zip(charge.0) {
            *count = count.checked_add(added)?;
        }
        Some(sum)
    }

    /// A bit for each stored meter that is not zero, at its place.
    pub fn mask(&self) -> u32 {
        self.0.iter().enumerate().fold(0, |mask, (place, count)| mask | u32::from(*count != 0) << place)
    }

    /// Adds a charge. It was checked before that it fits the hour, the day and the period (see
    /// [`Counters::checked_add`]); a week that lies in two periods full to the brim stays at the end of the numbers.
    pub fn add(&mut self, charge: &Self) {
        for (count, added) in self.0.iter_mut().zip(charge.0) {
            *count = count.saturating_add(added);
        }
    }

    /// Every meter with its count, in the order of [`Meter::ALL`].
    pub fn iter(&self) -> impl Iterator<Item = (Meter, i64)> + '_ {
        Meter::ALL.iter().map(|meter| (*meter, self.get(*meter)))
    }
}

const _: () = assert!(Meter::STORED <= u32::BITS as usize, "a mask has a bit for each stored meter");

impl Serialize for Counters {
    fn serialize<S: serde::Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        self.stored().serialize(serializer)
    }
}

impl<'de> Deserialize<'de> for Counters {
    fn deserialize<D: serde::Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        let stored = Vec::<i64>::deserialize(deserializer)?;
        let mut counters = Self::ZERO;
        let known = counters.0.get_mut(..stored.len());
        let known = known.ok_or_else(|| serde::de::Error::custom("counters of more meters than are known"))?;
        known.copy_from_slice(&stored);
        Ok(counters)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn meters_stand_in_the_order_in_which_they_are_stored() {
        for (position, meter) in Meter::ALL.iter().enumerate() {
            assert_eq!(*meter as usize, position, "{}", meter.name());
            assert_eq!(Meter::parse(meter.name()), Some(*meter));
        }
    }

    #[test]
    fn u_2_a_charge_that_overflows_one_meter_adds_to_none() {
        let mut full = Counters::ZERO;
        full.set(Meter::RunsStarted, i64::MAX);
        let mut charge = Counters::ZERO;
        charge.set(Meter::InputTokens, 5);
        charge.set(Meter::RunsStarted, 1);
        assert_eq!(full.checked_add(&charge), None);
        charge.set(Meter::RunsStarted, 0);
        assert_eq!(full.checked_add(&charge).map(|sum| sum.get(Meter::InputTokens)), Some(5));
    }

    #[test]
    fn counters_are_packed_without_the_zeros_at_the_end() {
        let mut counters = Counters::ZERO;
        counters.set(Meter::OutputTokens, 7);
        let packed = rmp_serde::to_vec(&counters).expect("counters pack");
        assert_eq!(packed, [0x92, 0, 7]);
        assert_eq!(rmp_serde::from_slice::<Counters>(&packed).expect("counters unpack"), counters);
    }
}
