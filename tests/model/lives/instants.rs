//! When things happen: mostly soon, and often just before or after a boundary.

use jiff::{Timestamp, ToSpan, Zoned, civil::Date, civil::Weekday, tz::TimeZone};
use rand::{Rng, rngs::StdRng, seq::IndexedRandom};

use super::Drawer;
use crate::life::{GRACE_MS, HORIZON_MS};

pub const SECOND_MS: i64 = 1_000;
pub const MINUTE_MS: i64 = 60 * SECOND_MS;
pub const HOUR_MS: i64 = 60 * MINUTE_MS;
pub const DAY_MS: i64 = 24 * HOUR_MS;

/// January 15th 2026, 12:00.
pub const NOON_MS: i64 = 1_768_478_400_000;

/// Where clocks change, where they do at midnight, by half an hour, or never.
pub const TIME_ZONES: [&str; 7] =
    ["UTC", "America/New_York", "Europe/Berlin", "Africa/Cairo", "Australia/Lord_Howe", "Asia/Kolkata", "Pacific/Apia"];

/// Days on which lives begin: in the midst of a month, at its end, before clocks change.
const BIRTHDAYS: [&str; 9] = [
    "2026-01-15T09:00:00Z",
    "2026-01-15T09:00:00Z",
    "2026-01-15T09:00:00Z",
    "2026-01-30T21:00:00Z",
    "2026-02-26T10:00:00Z",
    "2026-03-06T12:00:00Z",
    "2026-03-27T22:30:00Z",
    "2026-04-22T06:00:00Z",
    "2026-10-23T23:59:00Z",
];

/// When a life begins.
pub fn birth(random: &mut StdRng) -> i64 {
    let birthday: Timestamp = BIRTHDAYS.choose(random).expect("there are some").parse().expect("an instant");
    birthday.as_millisecond()
}

/// As fields and lines write it.
pub fn rfc3339(ms: i64) -> String {
    Timestamp::from_millisecond(ms).expect("an instant of a life").to_string()
}

impl Drawer {
    /// Goes on: by seconds mostly, to the next boundary often, by weeks at times.
    pub fn pass_time(&mut self) {
        let pace = self.theme.pace;
        let next = match self.random.random_range(0..100) {
            0..50 => self.now_ms + self.one(&[0, 0, 1, 20, 60, 60, 60, 120, 300]) * SECOND_MS,
            50..65 => self.now_ms + self.random.random_range(5..240) * MINUTE_MS,
            65..90 => self.boundary(),
            _ if pace == 0 => self.now_ms + self.random.random_range(1..60) * MINUTE_MS,
            90..96 => self.now_ms + self.random.random_range(5..24) * HOUR_MS,
            96..99 => self.now_ms + self.random.random_range(1..9) * DAY_MS,
            _ => self.now_ms + self.random.random_range(9..70) * DAY_MS,
        };
        self.now_ms = next.max(self.now_ms);
        self.set_clock();
    }

    /// The clock mostly is that of the record; at times it stands still for a while.
    pub fn set_clock(&mut self) {
        if self.now_ms < self.behind_until_ms {
            // It moves a little, and is still behind.
            if self.one_in(3) {
                self.clock_ms = self.random.random_range(self.clock_ms..=self.now_ms) / SECOND_MS * SECOND_MS;
            }
            return;
        }
        self.clock_ms = self.now_ms;
        if self.theme.is_behind && self.one_in(12) {
            self.behind_until_ms = self.now_ms + self.one(&[2, 10, 60, 300, 1_500]) * MINUTE_MS;
        }
    }

    /// A moment before, at, or after something ends or begins.
    fn boundary(&mut self) -> i64 {
        let at = self.boundary_itself().unwrap_or(self.now_ms + MINUTE_MS);
        let around = at + self.one(&[-60, -1, 0, 0, 0, 1, 60]) * SECOND_MS;
        if around > self.now_ms { around } else { at.max(self.now_ms + SECOND_MS) }
    }

    fn boundary_itself(&mut self) -> Option<i64> {
        let zoned = self.local(self.now_ms);
        // The nearer ones more often: a life that jumps to the next month with every step has no depth.
        let kind = match self.theme.pace {
            0 => self.random.random_range(0..9),
            1 => self.random.random_range(0..14),
            _ => self.random.random_range(3..17),
        };
        match kind {
            0..3 => Some((self.now_ms / HOUR_MS + 1) * HOUR_MS),
            3..5 => self.planned(),
            5..7 => {
                let ends: Vec<i64> = self.remembered.uses.iter().rev().take(20).map(|used| used.time_ms).collect();
                let ends: Vec<i64> =
                    ends.into_iter().map(|at| at + 5 * HOUR_MS).filter(|end| *end > self.now_ms).collect();
                ends.choose(&mut self.random).copied()
            }
            7..9 => Some(start_of(&zoned, zoned.date().tomorrow().ok()?)),
            9 => self.planned(),
            10 => Some(start_of(&zoned, zoned.date().nth_weekday(1, Weekday::Monday).ok()?)),
            11 => {
                let hour = self.remembered.digest_hour;
                let today = zoned.date().at(hour, 0, 0, 0).to_zoned(zoned.time_zone().clone()).ok()?;
                let next = if today <= zoned { today.checked_add(1.day()).ok()? } else { today };
                Some(next.timestamp().as_millisecond())
            }
            12 => self.remembered.uses.choose(&mut self.random).map(|used| used.time_ms + HORIZON_MS),
            13..15 => self.period_end(&zoned),
            15 => self.period_end(&zoned).map(|end| end + GRACE_MS),
            // If the last period's grace runs, its end; else nothing special.
            _ => self.period_start(&zoned).map(|start| start + GRACE_MS).filter(|end| *end > self.now_ms),
        }
    }

    fn planned(&mut self) -> Option<i64> {
        let now_ms = self.now_ms;
        let planned: Vec<i64> = self.remembered.planned_ms.iter().copied().filter(|at| *at > now_ms).collect();
        planned.choose(&mut self.random).copied()
    }

    fn local(&self, ms: i64) -> Zoned {
        let zone = TimeZone::get(self.remembered.time_zone).expect("a zone of lives is known");
        Timestamp::from_millisecond(ms).expect("an instant of a life").to_zoned(zone)
    }

    fn period_end(&self, now: &Zoned) -> Option<i64> {
        let of = |months: i64| self.period_day(now.date(), months).map(|day| start_of(now, day));
        (0..3).filter_map(of).find(|end| *end > self.now_ms)
    }

    fn period_start(&self, now: &Zoned) -> Option<i64> {
        let of = |months: i64| self.period_day(now.date(), months).map(|day| start_of(now, day));
        (-2..2).rev().filter_map(of).find(|start| *start <= self.now_ms)
    }

    /// The day of the anchor in the month so many after that of `date`.
    fn period_day(&self, date: Date, months: i64) -> Option<Date> {
        let month = date.first_of_month().checked_add(months.months()).ok()?;
        let day = self.remembered.anchor.day().min(month.days_in_month());
        month.with().day(day).build().ok()
    }

    /// A time that lies behind, up to some periods.
    pub fn earlier(&mut self) -> i64 {
        let back = self.weighted(&[
            (10 * SECOND_MS, 4),
            (10 * MINUTE_MS, 6),
            (HOUR_MS, 6),
            (5 * HOUR_MS, 5),
            (DAY_MS, 5),
            (3 * DAY_MS, 3),
            (8 * DAY_MS, 3),
            (40 * DAY_MS, 3),
            (200 * DAY_MS, 1),
        ]);
        self.now_ms - self.random.random_range(0..=back) / SECOND_MS * SECOND_MS
    }

    /// A time that lies ahead; remembered, so that the life goes there.
    pub fn later(&mut self) -> i64 {
        let ahead =
            self.weighted(&[(HOUR_MS, 6), (6 * HOUR_MS, 4), (2 * DAY_MS, 4), (20 * DAY_MS, 3), (60 * DAY_MS, 2)]);
        let mut at = self.now_ms + self.random.random_range(MINUTE_MS..=ahead) / MINUTE_MS * MINUTE_MS;
        if self.one_in(2) {
            // Together with a boundary of windows.
            at = at / HOUR_MS * HOUR_MS + HOUR_MS;
        }
        self.remembered.planned_ms.push(at);
        at
    }
}

fn start_of(zoned: &Zoned, day: Date) -> i64 {
    let start = day.to_zoned(zoned.time_zone().clone()).and_then(|midnight| midnight.start_of_day());
    start.expect("a day of a life").timestamp().as_millisecond()
}
