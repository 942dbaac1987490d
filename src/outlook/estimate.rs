//! Where the running period of an organization or a workspace leads: what it will have used, and when its pool will be used
//! up. The API and `usage.forecasts` say the same.
//!
//! Credits are estimated as they were used on the days before. Against a pool counts only what it and its balance pay: not
//! what seats, postpaid and the pools of others pay. Days tell what pools and balances paid together; who of them paid is
//! known of whole periods, so each day counts by the share that the owner had of late.

use crate::{
    domain::{
        account::{row::ScopeRow, settings::Settings},
        meter::{Counters, Meter},
        outlook::Expected,
        payment::Source,
        scope::Scope,
        time::{DAY_MS, HOUR_MS, Timestamp},
        window::{Window, WindowKind},
    },
    forecast::{Forecast, forecast_from_days},
    ledger::redis::reader::Base,
};

/// Until the running period is so old, the last one tells with it what share an owner pays.
const SHARE_KNOWN_AFTER_MS: i64 = 3 * DAY_MS;

/// What a scope used on one day.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct DayUse {
    /// Credits, whoever paid.
    pub credits_micro: i64,
    /// The part that pools and balances paid, whoever owns them.
    pub paid_micro: i64,
}

impl DayUse {
    /// Of these counts.
    pub fn of(counters: &Counters) -> Self {
        Self { credits_micro: counters.get(Meter::CreditsMicro), paid_micro: paid(|meter| counters.get(meter)) }
    }
}

/// The days before, and today.
#[derive(Clone, Debug)]
pub struct Days {
    /// Whole days, oldest first.
    pub over: Vec<DayUse>,
    /// So far.
    pub so_far: DayUse,
    /// Today.
    pub today: Window,
}

/// A pool in the running period.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct PoolFigures {
    /// All that it holds, included and purchased.
    pub size_micro: i64,
    /// What is left of that.
    pub remaining_micro: i64,
    /// What is left of the prepaid balance.
    pub prepaid_remaining_micro: i64,
}

/// The pool of a scope in the period that runs at `now`, if it has one.
pub fn pool_figures(row: &ScopeRow, period: Window, now: Timestamp) -> Option<PoolFigures> {
    let pool = row.pool.as_deref()?;
    let size_micro = pool.size_micro(period.start, now);
    let drawn_micro = pool.drawn_micro(period.start).unwrap_or(0);
    let remaining_micro = size_micro.saturating_sub(drawn_micro);
    Some(PoolFigures { size_micro, remaining_micro, prepaid_remaining_micro: pool.prepaid_left_micro(now) })
}

/// Where a period leads.
pub struct Estimate {
    /// Credits so far, whoever paid.
    pub used_micro: i64,
    /// What they are expected to be at the end.
    pub expected: Expected,
    /// What it is made of.
    pub method: &'static str,
    /// Of a scope that owns a pool.
    pub of_pool: Option<PoolEstimate>,
    made: Forecast,
}

/// Where a pool and its balance lead.
pub struct PoolEstimate {
    /// What they paid so far.
    pub used_micro: i64,
    /// What they have left.
    pub left_micro: i64,
    /// What they are expected to have paid at the end, if they have it.
    pub expected: Expected,
    /// When they are expected to be used up, if before the reset; never in the free phase, in which nothing is used up.
    pub exhausted_at: Option<Timestamp>,
}

impl Estimate {
    /// Of a scope's row and its days.
    pub fn of(base: &Base, scope: &Scope, row: &ScopeRow, days: &Days, now: Timestamp) -> Self {
        let period = base.window(WindowKind::Period, now);
        let credits: Vec<i64> = days.over.iter().map(|day| day.credits_micro).collect();
        let made = forecast_days(&credits, days.so_far.credits_micro, days.today, period, now);
        let used_micro = row.windows.count_of(WindowKind::Period, period.start, Meter::CreditsMicro).unwrap_or(0);
        Self {
            used_micro,
            expected: made.on_top_of(used_micro),
            method: made.method.name(),
            of_pool: pool_estimate(base, scope, row, days, period, now),
            made,
        }
    }

    /// When so many more credits will be used, if before the end of the period.
    pub fn used_up_at(&self, left_micro: i64, period: Window, now: Timestamp) -> Option<Timestamp> {
        used_up_at(&self.made, left_micro, period, now)
    }
}

fn pool_estimate(
    base: &Base,
    scope: &Scope,
    row: &ScopeRow,
    days: &Days,
    period: Window,
    now: Timestamp,
) -> Option<PoolEstimate> {
    let pool = pool_figures(row, period, now)?;
    let settings = &base.settings;
    let balance_micro = if prepaid_pays(settings) { pool.prepaid_remaining_micro } else { 0 };
    let left_micro = pool.remaining_micro.saturating_add(balance_micro);
    let share = Share::of_late(base, scope, row, period, now);
    let drawn: Vec<i64> = days.over.iter().map(|day| share.part_of(day.paid_micro)).collect();
    let made = forecast_days(&drawn, share.part_of(days.so_far.paid_micro), days.today, period, now);
    let used_micro = Share::in_period(scope, row, period.start).own_micro;
    let is_free = settings.free_until.is_some_and(|until| now < until);
    let exhausted_at = used_up_at(&made, left_micro, period, now).filter(|_| !is_free);
    Some(PoolEstimate { used_micro, left_micro, expected: made.on_top_of(used_micro), exhausted_at })
}

/// Whether a balance pays for anybody.
fn prepaid_pays(settings: &Settings) -> bool {
    let payment = settings.payment();
    let some_member_has_it = settings.own_switches_on[Source::Prepaid as usize] > 0;
    payment.is_on(Source::Prepaid, None) || (some_member_has_it && !payment.extra_usage_off)
}

/// What pools and balances paid for the usage of a scope, and how much of that its own did.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
struct Share {
    own_micro: i64,
    all_micro: i64,
}

impl Share {
    /// In one billing period.
    fn in_period(scope: &Scope, row: &ScopeRow, start: Timestamp) -> Self {
        let all_micro = paid(|meter| row.windows.count_of(WindowKind::Period, start, meter).unwrap_or(0));
        let by_workspaces = row.paid_by.iter().filter(|paid| paid.start == start);
        let sum = |sum: i64, amount_micro: i64| sum.saturating_add(amount_micro);
        let own_micro = match scope {
            Scope::Workspace(own) => {
                let paid = by_workspaces.filter(|paid| paid.owner == *own);
                let paid = paid.map(|paid| paid.pool_micro.saturating_add(paid.prepaid_micro)).fold(0, sum);
                // Before layout 4 nobody noted who paid; what a pool has drawn was known.
                paid.max(row.pool.as_deref().and_then(|pool| pool.drawn_micro(start)).unwrap_or(0))
            }
            _ => by_workspaces.map(|paid| -paid.pool_micro.saturating_add(paid.prepaid_micro)).fold(all_micro, sum),
        };
        Self { own_micro, all_micro }
    }

    /// In the running period; as long as that is young, also in the last one.
    fn of_late(base: &Base, scope: &Scope, row: &ScopeRow, period: Window, now: Timestamp) -> Self {
        let running = Self::in_period(scope, row, period.start);
        if running.all_micro > 0 && now.since_ms(period.start) >= SHARE_KNOWN_AFTER_MS {
            return running;
        }
        let last = base.window(WindowKind::Period, period.start.plus_ms(-1));
        let last = Self::in_period(scope, row, last.start);
        Self {
            own_micro: running.own_micro.saturating_add(last.own_micro),
            all_micro: running.all_micro.saturating_add(last.all_micro),
        }
    }

    /// The owner's part of what was paid on a day.
    fn part_of(self, paid_micro: i64) -> i64 {
        let part = (i128::from(paid_micro) * i128::from(self.own_micro)).checked_div(i128::from(self.all_micro));
        part.and_then(|part| i64::try_from(part).ok()).unwrap_or(0)
    }
}

/// What pools and balances paid, whoever owns them.
fn paid(count: impl Fn(Meter) -> i64) -> i64 {
    count(Meter::PoolCreditsMicro).saturating_add(count(Meter::PrepaidCreditsMicro))
}

/// What is to come from now to the end of the period, by the days that are over and what today has so far.
fn forecast_days(days: &[i64], so_far: i64, today: Window, period: Window, now: Timestamp) -> Forecast {
    let left_permille = today.end.since_ms(now).max(0) * 1_000 / today.end.since_ms(today.start).max(1);
    // A day may have 23 or 25 hours.
    let ahead = usize::try_from((period.end.since_ms(today.end).max(0) + DAY_MS / 2) / DAY_MS).unwrap_or(0);
    forecast_from_days(days, so_far, left_permille, ahead)
}

/// When `left_micro` is expected to be used up, if before the end of the period.
fn used_up_at(made: &Forecast, left_micro: i64, period: Window, now: Timestamp) -> Option<Timestamp> {
    let after_thousandths = made.used_up_after(left_micro)?;
    Some(now.plus_ms(after_thousandths.saturating_mul(HOUR_MS / 1_000))).filter(|at| *at < period.end)
}

#[cfg(test)]
mod tests;
