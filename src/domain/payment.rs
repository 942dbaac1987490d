//! Who pays: one charge is split over the sources of payment, in one order, to the last micro-credit (row C9).
//!
//! ```text
//! seat allowance ─► pool (included, purchased) ─► prepaid ─► postpaid ─► uncovered
//!                                                └── up to the limits on extra credits ──┘
//! ```

use serde::{Deserialize, Serialize};

use super::meter::{Counters, Meter};

/// How an organization pays (row B13).
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Mode {
    /// Workspace credits: pools and their prepaid balances. Where there is no pool, usage is only metered.
    #[default]
    Credits,
    /// Seats with included usage; beyond it from a prepaid balance.
    Team,
    /// Seats with included usage; beyond it billed afterwards, after the balance where there is one.
    SeatEnterprise,
    /// No seats: all is billed afterwards, after pool and balance where there are such.
    UsageEnterprise,
}

impl Mode {
    /// The name used in records and in `bursar show`.
    pub const fn name(self) -> &'static str {
        match self {
            Self::Credits => "credits",
            Self::Team => "team",
            Self::SeatEnterprise => "seat_enterprise",
            Self::UsageEnterprise => "usage_enterprise",
        }
    }

    /// Whether members have sources of their own, and so pause one by one.
    pub const fn has_seats(self) -> bool {
        matches!(self, Self::Team | Self::SeatEnterprise)
    }

    /// Whether this mode knows the source at all.
    pub const fn knows(self, source: Source) -> bool {
        match source {
            Source::Seat => self.has_seats(),
            Source::Pool | Source::Prepaid => true,
            Source::Postpaid => matches!(self, Self::SeatEnterprise | Self::UsageEnterprise),
        }
    }

    /// Whether the source is on before anybody switched it. Beyond a seat's included usage it has to be switched on.
    const fn has_on(self, source: Source) -> bool {
        match source {
            Source::Seat | Source::Pool => true,
            Source::Prepaid | Source::Postpaid => !self.has_seats(),
        }
    }
}

/// A source of payment that can be switched (row B4).
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Source {
    /// What a seat includes.
    Seat,
    /// What a pool includes, and what was purchased.
    Pool,
    /// The prepaid balance.
    Prepaid,
    /// Billing afterwards.
    Postpaid,
}

impl Source {
    /// Every source, in the order in which they are drawn.
    pub const ALL: [Self; 4] = [Self::Seat, Self::Pool, Self::Prepaid, Self::Postpaid];

    /// The name used in records and in `bursar show`.
    pub const fn name(self) -> &'static str {
        match self {
            Self::Seat => "seat",
            Self::Pool => "pool",
            Self::Prepaid => "prepaid",
            Self::Postpaid => "postpaid",
        }
    }
}

/// For each source, whether somebody switched it, and to what.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Switches([Option<bool>; 4]);

impl Switches {
    /// What a source was switched to.
    pub const fn get(&self, source: Source) -> Option<bool> {
        self.0[source as usize]
    }

    /// Switches a source; `None` leaves it to what holds above.
    pub const fn set(&mut self, source: Source, on: Option<bool>) {
        self.0[source as usize] = on;
    }
}

/// How an organization pays, as an admin set it.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Payment {
    /// The mode.
    pub mode: Mode,
    /// Sources switched for the whole organization.
    pub switches: Switches,
    /// Whether each member has to agree before extra usage pays (row B14).
    pub consent_required: bool,
    /// Neither prepaid nor postpaid pays for anybody, whatever the switches say. Stored with the settings.
    #[serde(skip)]
    pub extra_usage_off: bool,
}

impl Payment {
    /// Whether a source pays for somebody with switches of their own.
    pub fn is_on(&self, source: Source, own: Option<&Switches>) -> bool {
        let switched = own.and_then(|own| own.get(source)).or(self.switches.get(source));
        let is_extra = matches!(source, Source::Prepaid | Source::Postpaid);
        self.mode.knows(source) && switched.unwrap_or(self.mode.has_on(source)) && !(is_extra && self.extra_usage_off)
    }
}

/// What each source can still pay.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Means {
    /// The seat's allowance.
    pub seat_micro: i64,
    /// The pool, up to its cap per user.
    pub pool_micro: i64,
    /// The prepaid balance.
    pub prepaid_micro: i64,
    /// Whether the rest is billed afterwards.
    pub postpaid: bool,
    /// How much prepaid and postpaid may pay together by the limits on extra credits, as far as those were looked up.
    pub extra_room_micro: i64,
}

impl Means {
    /// Splits a charge. The parts sum to the charge, and none is more than its source has.
    pub fn split(&self, charge_micro: i64) -> Split {
        let mut rest = charge_micro;
        let mut take = |most: i64| {
            let part = rest.min(most).max(0);
            rest -= part;
            part
        };
        let (seat_micro, pool_micro) = (take(self.seat_micro), take(self.pool_micro));
        let prepaid_micro = take(self.prepaid_micro.min(self.extra_room_micro));
        let postpaid_micro = take(if self.postpaid { self.extra_room_micro - prepaid_micro } else { 0 });
        Split { seat_micro, pool_micro, prepaid_micro, postpaid_micro, uncovered_micro: rest }
    }

    /// What is left after a charge was split.
    pub const fn after(&self, split: &Split) -> Self {
        Self {
            seat_micro: self.seat_micro - split.seat_micro,
            pool_micro: self.pool_micro - split.pool_micro,
            prepaid_micro: self.prepaid_micro - split.prepaid_micro,
            postpaid: self.postpaid,
            extra_room_micro: self.extra_room_micro - split.prepaid_micro - split.postpaid_micro,
        }
    }

    /// Whether prepaid or postpaid can pay anything.
    pub const fn has_extra(&self) -> bool {
        self.extra_room_micro > 0 && (self.postpaid || self.prepaid_micro > 0)
    }

    /// Whether nothing can pay anything.
    pub const fn is_spent(&self) -> bool {
        self.seat_micro <= 0 && self.pool_micro <= 0 && !self.has_extra()
    }
}

/// What each source pays of one charge.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Split {
    /// The seat's allowance.
    pub seat_micro: i64,
    /// The pool.
    pub pool_micro: i64,
    /// The prepaid balance.
    pub prepaid_micro: i64,
    /// Billed afterwards.
    pub postpaid_micro: i64,
    /// Nobody.
    pub uncovered_micro: i64,
}

impl Split {
    /// Writes the parts into a charge.
    pub fn write_to(&self, charge: &mut Counters) {
        charge.set(Meter::SeatCreditsMicro, self.seat_micro);
        charge.set(Meter::PoolCreditsMicro, self.pool_micro);
        charge.set(Meter::PrepaidCreditsMicro, self.prepaid_micro);
        charge.set(Meter::PostpaidCreditsMicro, self.postpaid_micro);
        charge.set(Meter::UncoveredCreditsMicro, self.uncovered_micro);
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    fn check(means: [i64; 5], charge: i64, expected: [i64; 5]) {
        let [seat_micro, pool_micro, prepaid_micro, postpaid, extra_room_micro] = means;
        let means = Means { seat_micro, pool_micro, prepaid_micro, postpaid: postpaid == 1, extra_room_micro };
        let split = means.split(charge);
        let parts =
            [split.seat_micro, split.pool_micro, split.prepaid_micro, split.postpaid_micro, split.uncovered_micro];
        assert_eq!(parts, expected, "{means:?} {charge}");
    }

    #[test]
    fn c9_one_charge_is_split_over_all_sources_in_their_order() {
        check([10, 10, 10, 1, 100], 5, [5, 0, 0, 0, 0]);
        check([10, 10, 10, 1, 100], 45, [10, 10, 10, 15, 0]);
        check([10, 10, 10, 1, 12], 45, [10, 10, 10, 2, 13]);
        check([10, 10, 10, 1, 4], 45, [10, 10, 4, 0, 21]);
        check([10, 10, 10, 0, 100], 45, [10, 10, 10, 0, 15]);
        check([0, 0, 0, 0, 0], 7, [0, 0, 0, 0, 7]);
    }

    proptest! {
        #[test]
        fn c9_the_parts_sum_to_the_charge_and_no_source_goes_below_zero(
            amounts in prop::array::uniform4(0_i64..1_000), postpaid: bool, charge in 0_i64..5_000,
        ) {
            let [seat_micro, pool_micro, prepaid_micro, extra_room_micro] = amounts;
            let means = Means { seat_micro, pool_micro, prepaid_micro, postpaid, extra_room_micro };
            let split = means.split(charge);
            let Split { seat_micro, pool_micro, prepaid_micro, postpaid_micro, uncovered_micro } = split;
            prop_assert_eq!(seat_micro + pool_micro + prepaid_micro + postpaid_micro + uncovered_micro, charge);
            let left = means.after(&split);
            prop_assert!(left.seat_micro >= 0 && left.pool_micro >= 0 && left.prepaid_micro >= 0);
            prop_assert!(left.extra_room_micro >= 0 && uncovered_micro >= 0);
            prop_assert!(uncovered_micro == 0 || left.is_spent());
        }
    }

    #[test]
    fn b4_b13_each_mode_knows_its_sources_and_a_switch_of_ones_own_wins() {
        let on = |mode, org: Option<bool>, own: Option<bool>| {
            let mut payment = Payment { mode, ..Payment::default() };
            payment.switches.set(Source::Postpaid, org);
            let mut switches = Switches::default();
            switches.set(Source::Postpaid, own);
            payment.is_on(Source::Postpaid, Some(&switches))
        };
        assert!(!on(Mode::Team, Some(true), Some(true)), "a team does not pay afterwards");
        assert!(!on(Mode::SeatEnterprise, None, None) && on(Mode::SeatEnterprise, Some(true), None));
        assert!(on(Mode::SeatEnterprise, None, Some(true)) && !on(Mode::SeatEnterprise, Some(true), Some(false)));
        assert!(on(Mode::UsageEnterprise, None, None));
    }
}
