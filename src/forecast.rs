//! Where a period will end if it goes on like this, and when a cap will be reached (rows A2, A11, C10).
//!
//! Sums by day are carried on: with two weeks of them by their weekly pattern (MSTL) and
//! the level that it lies on (exponential smoothing); with less by half of what smoothing and half of what the plain mean
//! says, for a few days tell growth from a burst badly; with less than three days by the run rate. Within a day the hours
//! have the shares that they had lately.
//!
//! MSTL and smoothing are from `augurs`, which Grafana maintains: written in Rust as a whole, with models that are known from
//! statsforecast. On days and not on hours, because a forecast
//! then takes a millisecond in place of 35 (in the build of tests), and errs less.
//!
//! Forecasts are estimates for people. Floats are welcome here; nothing is decided by them, and no counter comes from them.

use augurs::{Fit, Predict, ets::AutoETS, mstl::MSTLModel};

use crate::domain::outlook::Expected;

/// Hours of a day.
const DAY: usize = 24;
/// Days of a week.
const WEEK: usize = 7;

/// Days that have to be known before more than the run rate is carried on.
const DAYS_NEEDED: usize = 3;

/// Smoothing needs so many days to find its parameters.
const DAYS_TO_SMOOTH: usize = 6;

/// No more days than these are looked at: what was before says little.
pub const DAYS_MAX: usize = 5 * WEEK;

/// The shares of the hours are those of so many days.
const DAYS_OF_SHARES: usize = 2 * WEEK;

/// Of a normal distribution, 80 % lie within so many standard deviations.
const WITHIN_80_PERCENT: f64 = 1.2816;

/// What a forecast is made of.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Method {
    /// The mean of the last day, or of what is known of it.
    RunRate,
    /// Days, smoothed, with the pattern of their hours.
    Daily,
    /// The same, with the pattern of weeks.
    Weekly,
}

impl Method {
    /// The name used in the API and in records.
    pub const fn name(self) -> &'static str {
        match self {
            Self::RunRate => "run_rate",
            Self::Daily => "daily_pattern",
            Self::Weekly => "weekly_pattern",
        }
    }
}

/// What the coming hours are expected to count.
#[derive(Clone, Debug, PartialEq)]
pub struct Forecast {
    /// What it is made of.
    pub method: Method,
    hours: Vec<f64>,
    spread: Spread,
}

/// How far what comes may lie from what is expected, as standard deviations.
#[derive(Clone, Copy, Debug, PartialEq)]
struct Spread {
    /// Of one day by itself: over many days this evens out.
    day: f64,
    /// Of the level of all days: that is known from a few days only, and over many days this does not even out.
    level: f64,
}

impl Spread {
    /// Where days lie `day` from what is expected, and the level was found from so many of them.
    fn found_from(day: f64, days: f64) -> Self {
        Self { day, level: day / days.max(1.0).sqrt() }
    }

    /// Of the sum of so many days.
    fn of_sum(self, days: f64) -> f64 {
        (self.day * self.day * days + self.level * self.level * days * days).sqrt()
    }
}

/// What `ahead` hours will count that follow on `hours`, the counts of full hours, oldest first.
pub fn forecast(hours: &[i64], ahead: usize) -> Forecast {
    let known: Vec<f64> =
        hours[hours.len().saturating_sub(DAYS_MAX * DAY)..].iter().map(|count| *count as f64).collect();
    // Before its first use a scope has no pattern.
    let begun = known.iter().position(|count| *count != 0.0).unwrap_or(known.len());
    let known = &known[begun..];
    let days: Vec<f64> = known.rchunks_exact(DAY).rev().map(|day| day.iter().sum()).collect();
    if days.len() < DAYS_NEEDED {
        return run_rate(known, ahead);
    }
    let (mut carried, spread, method) = carry_on(&days, ahead.div_ceil(DAY));
    // A trend is carried on to no more than twice what was ever seen; and nothing is used less than not at all.
    let most = days.iter().copied().fold(0.0, f64::max) * 2.0;
    carried.iter_mut().for_each(|day| *day = if day.is_finite() { day.clamp(0.0, most) } else { 0.0 });
    let shares = shares(known);
    let hours = (0..ahead).map(|hour| carried[hour / DAY] * shares[hour % DAY]).collect();
    Forecast { method, hours, spread }
}

/// What the rest of today and the coming days will count. `days` are whole days, oldest first; of today `left_permille` is
/// to come.
pub fn forecast_from_days(days: &[i64], today: i64, left_permille: i64, ahead: usize) -> Forecast {
    let begun = days.iter().position(|count| *count != 0).unwrap_or(days.len());
    let known: Vec<f64> =
        days[begun.max(days.len().saturating_sub(DAYS_MAX))..].iter().map(|day| *day as f64).collect();
    let (left, passed) = (left_permille as f64 / 1_000.0, 1.0 - left_permille as f64 / 1_000.0);
    let hours_left = (left * DAY as f64).round() as usize;
    // Of a scope's first days only today's pace is known.
    let (carried, spread, method) = if known.len() < DAYS_NEEDED {
        let so_far: f64 = known.iter().sum::<f64>() + today as f64;
        let pace = so_far / (known.len() as f64 + passed).max(1.0 / DAY as f64);
        (vec![pace; ahead + 1], Spread::found_from(pace, known.len() as f64 + passed), Method::RunRate)
    } else {
        carry_on(&known, ahead + 1)
    };
    let most = known.iter().copied().chain([today as f64 / passed.max(0.05)]).fold(0.0, f64::max) * 2.0;
    let bounded = carried.iter().map(|day| if day.is_finite() { day.clamp(0.0, most) } else { 0.0 });
    let per_hour: Vec<f64> = bounded.map(|day| day / DAY as f64).collect();
    let today = std::iter::repeat_n(per_hour[0], hours_left);
    let coming = per_hour[1..].iter().flat_map(|hour| std::iter::repeat_n(*hour, DAY));
    Forecast { method, hours: today.chain(coming).collect(), spread }
}

/// The mean of the last day, or of what is known of it.
fn run_rate(known: &[f64], ahead: usize) -> Forecast {
    let last = &known[known.len().saturating_sub(DAY)..];
    let rate = mean(last);
    let off: Vec<f64> = last.iter().map(|count| count - rate).collect();
    // As if each hour were on its own.
    let spread = Spread::found_from(root_mean_square(&off) * (DAY as f64).sqrt(), known.len() as f64 / DAY as f64);
    Forecast { method: Method::RunRate, hours: vec![rate.max(0.0); ahead], spread }
}

/// What the coming days will count, and how far that may be off.
fn carry_on(days: &[f64], ahead: usize) -> (Vec<f64>, Spread, Method) {
    let mean = mean(days);
    let off_mean = || {
        let off: Vec<f64> = days.iter().map(|day| day - mean).collect();
        // Half of what is said comes from the mean of all days, half from smoothing, which looks at the last ones most.
        let found = Spread::found_from(of_a_sample(root_mean_square(&off), days.len(), 1), days.len() as f64 / 2.0);
        Spread { level: found.level.hypot(drift(days) * (days.len() + ahead) as f64 / 2.0), ..found }
    };
    let flat = || (vec![mean; ahead], off_mean(), Method::Daily);
    if days.len() >= 2 * WEEK {
        let model = MSTLModel::new(vec![WEEK], AutoETS::non_seasonal().into_trend_model());
        let Ok(fitted) = model.fit(days) else { return flat() };
        let (Ok(inside), Ok(carried)) = (fitted.predict_in_sample(None), fitted.predict(ahead, None)) else {
            return flat();
        };
        let spread = Spread::found_from(of_a_sample(off(days, &inside.point), days.len(), WEEK + 1), WEEK as f64);
        return (carried.point, spread, Method::Weekly);
    }
    if days.len() < DAYS_TO_SMOOTH {
        return flat();
    }
    let Ok(fitted) = AutoETS::non_seasonal().fit(days) else { return flat() };
    let Ok(carried) = fitted.predict(ahead, None) else { return flat() };
    (carried.point.iter().map(|day| (day + mean) / 2.0).collect(), off_mean(), Method::Daily)
}

/// The share that each hour of a day has, counted from the end of what is known.
fn shares(known: &[f64]) -> [f64; DAY] {
    let lately = &known[known.len() - known.len().min(DAYS_OF_SHARES * DAY) / DAY * DAY..];
    let sum: f64 = lately.iter().sum();
    if sum <= 0.0 || !sum.is_finite() {
        return [1.0 / DAY as f64; DAY];
    }
    std::array::from_fn(|hour| (lately.iter().skip(hour).step_by(DAY).sum::<f64>() / sum).max(0.0))
}

fn mean(counts: &[f64]) -> f64 {
    counts.iter().sum::<f64>() / counts.len().max(1) as f64
}

/// By how much a day lies above the one before it, beyond what chance alone would do: what may go on, or may end.
fn drift(days: &[f64]) -> f64 {
    let half = days.len() / 2;
    let (first, last) = (&days[..half], &days[days.len() - half..]);
    let off: Vec<f64> = [first, last].iter().flat_map(|half| half.iter().map(|day| day - mean(half))).collect();
    let by_chance = 2.0 * of_a_sample(root_mean_square(&off), off.len(), 2) * (2.0 / half.max(1) as f64).sqrt();
    ((mean(last) - mean(first)).abs() - by_chance).max(0.0) / (days.len() - half) as f64
}

/// The spread that few numbers tell, of which so many were used up to find what is expected of them.
fn of_a_sample(spread: f64, numbers: usize, used_up: usize) -> f64 {
    spread * (numbers as f64 / numbers.saturating_sub(used_up).max(1) as f64).sqrt()
}

fn off(days: &[f64], expected: &[f64]) -> f64 {
    root_mean_square(&days.iter().zip(expected).map(|(day, expected)| day - expected).collect::<Vec<_>>())
}

fn root_mean_square(off: &[f64]) -> f64 {
    (off.iter().map(|off| off * off).sum::<f64>() / off.len().max(1) as f64).sqrt()
}

impl Forecast {
    /// What each of the coming hours is expected to count.
    pub fn hours(&self) -> impl Iterator<Item = i64> + '_ {
        self.hours.iter().map(|count| count.round() as i64)
    }

    /// The sum over all of the coming hours, on top of what was counted already.
    pub fn on_top_of(&self, counted: i64) -> Expected {
        let sum: f64 = self.hours.iter().sum();
        let spread = WITHIN_80_PERCENT * self.spread.of_sum(self.hours.len() as f64 / DAY as f64);
        let plus = |more: f64| counted.saturating_add(more.max(0.0).round() as i64);
        Expected { sum: plus(sum), low: plus(sum - spread), high: plus(sum + spread) }
    }

    /// After how many hours, in thousandths, `left` is used up; `None` if that is not expected within those hours.
    pub fn used_up_after(&self, left: i64) -> Option<i64> {
        let mut rest = left as f64;
        if rest <= 0.0 {
            return Some(0);
        }
        for (hour, count) in self.hours.iter().enumerate() {
            if *count >= rest && *count > 0.0 {
                return Some(hour as i64 * 1_000 + (rest / count * 1_000.0) as i64);
            }
            rest -= count;
        }
        None
    }
}

#[cfg(test)]
mod tests;
