//! What is broken down by period: by product, trigger and model, and by who paid (rows A21, B12, C7). In a row for the two
//! newest periods, and beside an older window for those before.

use serde::{Deserialize, Serialize};

use crate::domain::{
    event::Tokens,
    meter::{Counters, Meter},
    scope::Name,
    time::Timestamp,
};

/// The use of one product, or by one trigger, within a period (rows A21, B12).
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Part {
    /// The number of its name among the organization's labels.
    pub label: u8,
    /// The start of the period.
    #[serde(with = "seconds")]
    pub start: Timestamp,
    /// Credits used.
    pub credits_micro: i64,
    /// The part of them that prepaid and postpaid paid.
    pub extra_micro: i64,
    /// Runs that ended well.
    pub runs_completed: i64,
}

/// The use of one model within a period (row A21).
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct ModelPart {
    /// The number of its name among the organization's models.
    pub model: u8,
    /// The start of the period.
    #[serde(with = "seconds")]
    pub start: Timestamp,
    /// Credits used.
    pub credits_micro: i64,
    /// Tokens, by class.
    pub tokens: Tokens,
}

/// What is kept of a period, of the two newest.
trait OfPeriod {
    fn start(&self) -> Timestamp;
}

impl OfPeriod for Part {
    fn start(&self) -> Timestamp {
        self.start
    }
}

impl OfPeriod for ModelPart {
    fn start(&self) -> Timestamp {
        self.start
    }
}

impl OfPeriod for PaidBy {
    fn start(&self) -> Timestamp {
        self.start
    }
}

/// What pool and balance of one workspace paid in a period for the scope that bears it (row C7): a refund gives back to the
/// very owner that paid. What the organization's own paid is the rest of what was paid.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct PaidBy {
    /// The workspace whose pool and balance they are.
    pub owner: Name,
    /// The start of the period.
    #[serde(with = "seconds")]
    pub start: Timestamp,
    /// What its pool paid.
    pub pool_micro: i64,
    /// What its balance paid.
    pub prepaid_micro: i64,
}

/// What is broken down by period, in the row or beside an older window.
pub struct Breakdown<'a> {
    /// See [`PeriodDetail`].
    pub parts: &'a mut Vec<Part>,
    /// See [`PeriodDetail`].
    pub models: &'a mut Vec<ModelPart>,
    /// See [`PeriodDetail`].
    pub paid_by: &'a mut Vec<PaidBy>,
}

impl Breakdown<'_> {
    /// Adds to the use of a product or by a trigger.
    pub fn add_part(&mut self, label: u8, start: Timestamp, charge: &Counters) {
        let new = Part { label, start, credits_micro: 0, extra_micro: 0, runs_completed: 0 };
        let part = find_or_begin(self.parts, |part| part.label == label, new);
        part.credits_micro = part.credits_micro.saturating_add(charge.get(Meter::CreditsMicro));
        part.extra_micro = part.extra_micro.saturating_add(charge.get(Meter::ExtraCreditsMicro));
        part.runs_completed = part.runs_completed.saturating_add(charge.get(Meter::RunsCompleted));
    }

    /// Adds to the use of a model.
    pub fn add_model(&mut self, model: u8, start: Timestamp, charge: &Counters) {
        let new = ModelPart { model, start, credits_micro: 0, tokens: Tokens::default() };
        let part = find_or_begin(self.models, |part| part.model == model, new);
        let Tokens { input, output, cache_read, cache_creation } = &mut part.tokens;
        for (count, meter) in [
            (&mut part.credits_micro, Meter::CreditsMicro),
            (input, Meter::InputTokens),
            (output, Meter::OutputTokens),
            (cache_read, Meter::CacheReadInputTokens),
            (cache_creation, Meter::CacheCreationInputTokens),
        ] {
            *count = count.saturating_add(charge.get(meter));
        }
    }

    /// Adds to what pool and balance of a workspace paid.
    pub fn add_paid_by(&mut self, owner: &str, start: Timestamp, pool_micro: i64, prepaid_micro: i64) {
        let new = PaidBy { owner: owner.into(), start, pool_micro: 0, prepaid_micro: 0 };
        let paid = find_or_begin(self.paid_by, |paid| paid.owner == owner, new);
        paid.pool_micro = paid.pool_micro.saturating_add(pool_micro);
        paid.prepaid_micro = paid.prepaid_micro.saturating_add(prepaid_micro);
    }
}

/// What a period has beside its counts, once the row keeps it no more.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default)]
pub struct PeriodDetail {
    /// Use by product or trigger.
    pub parts: Vec<Part>,
    /// Use by model.
    pub models: Vec<ModelPart>,
    /// What pools and balances of workspaces paid.
    pub paid_by: Vec<PaidBy>,
}

impl PeriodDetail {
    /// The same, to add to it.
    pub fn breakdown(&mut self) -> Breakdown<'_> {
        let Self { parts, models, paid_by } = self;
        Breakdown { parts, models, paid_by }
    }

    /// Whether there is nothing.
    pub const fn is_empty(&self) -> bool {
        self.parts.is_empty() && self.models.is_empty() && self.paid_by.is_empty()
    }
}

/// Finds what is meant in the period of `new`, or begins it with that.
fn find_or_begin<T: OfPeriod>(kept: &mut Vec<T>, is_meant: impl Fn(&T) -> bool, new: T) -> &mut T {
    let start = new.start();
    let known = kept.iter().position(|part| part.start() == start && is_meant(part));
    let place = known.unwrap_or_else(|| {
        if kept.len() == kept.capacity() {
            // Most scopes have one, and scopes are many.
            kept.reserve_exact(1);
        }
        kept.push(new);
        kept.len() - 1
    });
    &mut kept[place]
}

pub(super) mod seconds {
    use super::Timestamp;
    use serde::{Deserialize, Deserializer, Serializer};

    pub fn serialize<S: Serializer>(time: &Timestamp, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.serialize_i64(time.ms().div_euclid(1_000))
    }

    pub fn deserialize<'de, D: Deserializer<'de>>(deserializer: D) -> Result<Timestamp, D::Error> {
        i64::deserialize(deserializer).map(|seconds| Timestamp::from_ms(seconds.saturating_mul(1_000)))
    }
}
