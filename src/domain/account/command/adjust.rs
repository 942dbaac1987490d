//! Corrections of usage: a refund gives back to the sources of payment, what is added is charged to them (row C7).

use super::{Answer, Said, checks::check_id};
use crate::domain::{
    account::{
        Account,
        changes::Needs,
        counting::{Charging, Labels},
        scopes::{ChargedScopes, ScopeIndex},
    },
    control::Adjustment,
    event::EVENT_TIMES_MS,
    meter::{Counters, Meter},
    payment::Split,
    rate_card::MICRO_MAX,
    time::Timestamp,
    window::{Window, WindowKind},
};

/// The sources of payment in the order in which a refund gives back.
const GIVE_BACK: [Meter; 6] = [
    Meter::FreeCreditsMicro,
    Meter::UncoveredCreditsMicro,
    Meter::PostpaidCreditsMicro,
    Meter::PrepaidCreditsMicro,
    Meter::PoolCreditsMicro,
    Meter::SeatCreditsMicro,
];

impl Account {
    /// Asks for the rows and windows that an adjustment changes.
    pub(super) fn needs_for_adjustment(&mut self, adjustment: &Adjustment, needs: &mut Needs) {
        let charged = self.charged_by(adjustment);
        for index in charged.as_slice() {
            self.need_row_and_workspace(*index, needs);
        }
        self.need_older_windows(adjustment.event_time, charged, needs);
    }

    fn charged_by(&mut self, adjustment: &Adjustment) -> ChargedScopes {
        let Adjustment { workspace_id, agent_id, user_id, .. } = adjustment;
        self.scopes.charged_to(workspace_id.as_deref(), agent_id.as_deref(), user_id.as_deref())
    }

    pub(super) fn adjust(&mut self, adjustment: &Adjustment, said: &Said<'_>) -> Answer {
        self.check_adjustment(adjustment, said)?;
        let charged = self.charged_by(adjustment);
        let (moment, policy) = (said.moment, said.policy);
        let windows = self.open_counted(adjustment.event_time, policy);
        let period = windows[2].1;
        let mut charge = adjustment.counts;
        charge.set(Meter::CreditsMicro, adjustment.credits_micro);
        charge.set(Meter::AdjustedCreditsMicro, adjustment.credits_micro);
        self.check_counts(charged, &windows, &charge)?;
        for index in charged.as_slice() {
            self.follow(*index);
        }
        let is_refund = adjustment.credits_micro < 0;
        let late = moment.record_time >= period.end.plus_ms(policy.grace_ms);
        if is_refund {
            self.give_back(charged, adjustment.event_time, period, late, &mut charge)?;
        }
        let payer = self.payer(charged, adjustment.credits_micro, adjustment.event_time, period, moment, policy);
        let payer = payer.filter(|_| !is_refund);
        let paid = payer.as_ref().map(|payer| (payer, self.pay(payer, &mut charge)));
        self.revise();
        let because = || {
            let record = said.record;
            let cause = format!("{}/{}/{}", record.source, record.id, record.time.ms());
            (cause, format!("adjustment {}: {}", adjustment.reference, record.reason))
        };
        let (event_time, labels) = (adjustment.event_time, Labels::default());
        let charging = Charging {
            event_time,
            mask: charge.mask(),
            charge,
            late,
            is_refund,
            paid,
            moment,
            windows: &windows,
            first_runs: [false; 3],
            labels,
            because: &because,
        };
        self.charge_scopes(charged, &charging);
        if is_refund {
            for index in charged.as_slice() {
                self.look_for(*index, false, said);
            }
        }
        Ok(describe(&charging.charge))
    }

    fn check_adjustment(&self, adjustment: &Adjustment, said: &Said<'_>) -> Result<(), String> {
        check_id("reference", &adjustment.reference)?;
        if !EVENT_TIMES_MS.contains(&adjustment.event_time.ms()) || adjustment.event_time > said.moment.record_time {
            return Err(format!("event_time {} is not in the past", adjustment.event_time));
        }
        if !(-MICRO_MAX..=MICRO_MAX).contains(&adjustment.credits_micro) {
            return Err(format!("credits_micro must lie between {} and {MICRO_MAX}", -MICRO_MAX));
        }
        if adjustment.credits_micro == 0 && adjustment.counts == Counters::ZERO {
            return Err("the adjustment changes nothing".to_owned());
        }
        Ok(())
    }

    /// No count goes below zero, and none beyond its bounds.
    fn check_counts(
        &self,
        charged: ChargedScopes,
        windows: &[(WindowKind, Window)],
        charge: &Counters,
    ) -> Result<(), String> {
        self.check_overflow(charged.as_slice(), windows, charge).map_err(|reason| reason.to_string())?;
        let period = windows[2].1;
        for index in charged.as_slice() {
            let counted = self.counted(*index, WindowKind::Period, period);
            let below = |meter: &Meter| {
                // Credits are given back by their sources, which know what they paid.
                !matches!(meter, Meter::CreditsMicro | Meter::AdjustedCreditsMicro)
                    && charge.get(*meter) < 0
                    && counted.get(*meter).saturating_add(charge.get(*meter)) < 0
            };
            if let Some(meter) = Meter::ALL[..Meter::STORED].iter().find(|meter| below(meter)) {
                let scope = &self.scopes.slot(*index).scope;
                return Err(format!("{scope} has {} {} in that period", counted.get(*meter), meter.name()));
            }
        }
        Ok(())
    }

    /// Gives a refund back to the sources, in reverse order, within what each paid for every scope in that period.
    fn give_back(
        &mut self,
        charged: ChargedScopes,
        event_time: Timestamp,
        period: Window,
        late: bool,
        charge: &mut Counters,
    ) -> Result<(), String> {
        // A seat also gets back what its week and session have of it, and no more.
        let of_seat = |index: &ScopeIndex| {
            let row = self.scopes.row(*index);
            let kinds = [WindowKind::Session, WindowKind::Week].into_iter().zip([1, 2]);
            let used = kinds.filter(|(_, place)| self.scopes.slot(*index).followed.where_used[*place]);
            let used = used.filter(|(kind, _)| !(late && *kind == WindowKind::Session));
            let of_window = |(kind, _)| {
                self.counted(*index, kind, self.window_of(row, kind, event_time)).get(Meter::SeatCreditsMicro)
            };
            used.map(of_window).min().unwrap_or(i64::MAX)
        };
        let paid = |meter: Meter| {
            let of = |index: &ScopeIndex| {
                let in_period = self.counted(*index, WindowKind::Period, period).get(meter);
                if meter == Meter::SeatCreditsMicro { in_period.min(of_seat(index)) } else { in_period }
            };
            charged.as_slice().iter().map(of).min().unwrap_or(0).max(0)
        };
        let mut rest = -charge.get(Meter::CreditsMicro);
        let mut back = Split::default();
        for meter in GIVE_BACK {
            let part = rest.min(paid(meter));
            rest -= part;
            match meter {
                Meter::UncoveredCreditsMicro => back.uncovered_micro = -part,
                Meter::PostpaidCreditsMicro => back.postpaid_micro = -part,
                Meter::PrepaidCreditsMicro => back.prepaid_micro = -part,
                Meter::PoolCreditsMicro => back.pool_micro = -part,
                Meter::SeatCreditsMicro => back.seat_micro = -part,
                // What nobody was charged for is given back to nobody.
                _ => {}
            }
        }
        if rest > 0 {
            let possible = -charge.get(Meter::CreditsMicro) - rest;
            return Err(format!("only {possible} micro-credits were paid there in that period"));
        }
        let owner = self.owner_of_nearest_pool(charged.as_slice());
        if let Some(pool) = owner.and_then(|owner| self.scopes.row_mut(owner).pool.as_mut()) {
            // What a pool of today did not pay was paid by one that is gone, or by grants that are no longer kept.
            pool.give_back(period.start, -back.pool_micro);
            pool.give_back_prepaid(-back.prepaid_micro);
            pool.revision += 1;
        }
        back.write_to(charge);
        Ok(())
    }
}

/// Who paid what, in words.
fn describe(charge: &Counters) -> String {
    let parts = Meter::SOURCES.iter().filter(|meter| charge.get(**meter) != 0);
    let parts: Vec<String> = parts.map(|meter| format!("{} {}", meter.name(), charge.get(*meter))).collect();
    parts.join(", ")
}
