//! What counts against a pool, and when.

use super::*;
use crate::domain::{account::row::PaidBy, pool::Pool, time::parse_rfc3339};

/// The period is October.
fn at(text: &str) -> Timestamp {
    parse_rfc3339(text).expect("an instant of this test")
}

fn now() -> Timestamp {
    at("2025-10-11T00:00:00Z")
}

/// What an organization used in ten days, of which each had as much: credits, and what pools paid of them. Its own pool
/// holds 100, in thousandths of a credit.
struct Case {
    credits: i64,
    paid_by_pools: i64,
    paid_by_lab: i64,
    drawn: i64,
    free_until: Option<Timestamp>,
}

impl Case {
    fn estimate(&self) -> Estimate {
        let mut base = Base::default();
        base.settings.free_until = self.free_until;
        let period = base.window(WindowKind::Period, now());
        let mut counters = Counters::ZERO;
        counters.set(Meter::CreditsMicro, self.credits);
        counters.set(Meter::PoolCreditsMicro, self.paid_by_pools);
        let mut row = ScopeRow::default();
        let (position, _) = row.windows.open(WindowKind::Period, period.start);
        row.windows.set(position, &counters);
        let lab = PaidBy { owner: "lab".into(), start: period.start, pool_micro: self.paid_by_lab, prepaid_micro: 0 };
        row.paid_by.push(lab);
        let mut pool = Pool::default();
        pool.include(Timestamp::MIN, 100_000);
        pool.drawn_in(period.start).included_micro = self.drawn;
        row.pool = Some(Box::new(pool));
        let day = DayUse { credits_micro: self.credits / 10, paid_micro: self.paid_by_pools / 10 };
        let today = base.window(WindowKind::Day, now());
        let days = Days { over: vec![day; 10], so_far: DayUse::default(), today };
        Estimate::of(&base, &Scope::Organization, &row, &days, now())
    }

    fn exhausted_at(&self) -> Option<Timestamp> {
        self.estimate().of_pool.expect("there is a pool").exhausted_at
    }
}

#[test]
fn c10_against_a_pool_counts_only_what_that_pool_pays() {
    let alone = Case { credits: 50_000, paid_by_pools: 50_000, paid_by_lab: 0, drawn: 50_000, free_until: None };
    let is_in_ten_days = |case: &Case| {
        let exhausted_at = case.exhausted_at().expect("it will be used up");
        assert!((at("2025-10-20T00:00:00Z")..at("2025-10-22T00:00:00Z")).contains(&exhausted_at), "{exhausted_at}");
    };
    is_in_ten_days(&alone);
    // Seats and postpaid pay three times as much: that is none of the pool's.
    is_in_ten_days(&Case { credits: 200_000, ..alone });
    // Neither is what the pool of a workspace pays.
    let beside =
        Case { credits: 150_000, paid_by_pools: 150_000, paid_by_lab: 100_000, drawn: 50_000, free_until: None };
    is_in_ten_days(&beside);
    let estimate = beside.estimate();
    let of_pool = estimate.of_pool.expect("there is a pool");
    assert_eq!((estimate.used_micro, of_pool.used_micro, of_pool.left_micro), (150_000, 50_000, 50_000));
    assert!((450_000..480_000).contains(&estimate.expected.sum), "credits are those of all: {:?}", estimate.expected);
    assert!((150_000..160_000).contains(&of_pool.expected.sum), "{:?}", of_pool.expected);
    // Others pay for everything.
    let idle = Case { credits: 150_000, paid_by_pools: 150_000, paid_by_lab: 150_000, drawn: 0, free_until: None };
    assert_eq!(idle.exhausted_at(), None);
}

#[test]
fn a7_nothing_is_used_up_in_the_free_phase() {
    let case = |free_until| Case { credits: 50_000, paid_by_pools: 50_000, paid_by_lab: 0, drawn: 50_000, free_until };
    assert!(case(Some(now())).exhausted_at().is_some(), "it is over");
    assert_eq!(case(Some(now().plus_ms(1))).exhausted_at(), None);
}

#[test]
fn a_workspace_counts_what_its_own_pool_paid() {
    let base = Base::default();
    let period = base.window(WindowKind::Period, now());
    let own = PaidBy { owner: "lab".into(), start: period.start, pool_micro: 30, prepaid_micro: 10 };
    let mut row = ScopeRow { paid_by: vec![own], ..ScopeRow::default() };
    let mut counters = Counters::ZERO;
    counters.set(Meter::PoolCreditsMicro, 60);
    counters.set(Meter::PrepaidCreditsMicro, 20);
    let (position, _) = row.windows.open(WindowKind::Period, period.start);
    row.windows.set(position, &counters);
    let share = |name: &str| Share::in_period(&Scope::Workspace(name.into()), &row, period.start);
    assert_eq!(share("lab"), Share { own_micro: 40, all_micro: 80 });
    assert_eq!((share("lab").part_of(9), share("other").part_of(9)), (4, 0));
    assert_eq!(Share::default().part_of(9), 0, "nothing was paid by anybody");
}
