//! The second step: a charge is split over its sources of payment, and they pay (row C9).

use crate::domain::{
    account::book::Book,
    funding::Payer,
    meter::{Counters, Meter},
    payment::Split,
};

/// A charge that somebody paid for.
pub struct Paid {
    /// Who.
    pub payer: Payer,
    /// Which source how much.
    pub split: Split,
    /// What the pool had drawn before (`None`: nothing yet).
    pub drawn_before: Option<i64>,
}

/// Splits a charge over its sources and draws what they pay.
#[inline]
pub fn pay(book: &mut Book, payer: Payer, charge: &mut Counters) -> Paid {
    let split = payer.means.split(charge.get(Meter::CreditsMicro));
    split.write_to(charge);
    let mut drawn_before = None;
    if let Some(owner) = payer.owner {
        let (period, event_time) = (payer.occasion.period, payer.occasion.event_time);
        let pool = book.row_mut(owner).pool_of_mut(period.start).expect("the owner was found by its pool");
        drawn_before = pool.drawn_micro(period.start);
        pool.drawn_in(period.start);
        if split.pool_micro > 0 {
            pool.draw(period, event_time, split.pool_micro);
        }
        if split.prepaid_micro > 0 {
            pool.draw_prepaid(event_time, split.prepaid_micro);
        }
    }
    Paid { payer, split, drawn_before }
}
