//! Windows: half-open stretches of event time in the organization's time zone.
//!
//! A *day* is a calendar day. *Hours* and *minutes* are cut from the start of their day and nest in it exactly, so a
//! day with a half-hour change of clocks ends in a short hour. A *billing period* n starts n months after the anchor
//! at local midnight, on day min(anchor day, month length), always computed from the anchor and never from the period
//! before (design section 5, "Windows").

use chrono::{Datelike, LocalResult, NaiveDate, TimeZone};
use chrono_tz::Tz;
use serde::{Deserialize, Serialize};

use super::{
    calendar::{date_of_day, local_date, period_date, start_of_day, zone_name},
    time::{DAY_MS, HOUR_MS, MINUTE_MS, SECOND_MS, Timestamp},
};

/// How long a session lasts.
pub const SESSION_MS: i64 = 5 * HOUR_MS;

/// The kinds of window.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum WindowKind {
    /// A minute; counted only where a limit uses it.
    Minute,
    /// An hour of the local day.
    Hour,
    /// Five hours that begin with a user's first event outside of one; counted only for users with a seat or a limit
    /// that uses it.
    Session,
    /// A local calendar day.
    Day,
    /// Seven local days from Monday; counted only where a seat or a limit uses it.
    Week,
    /// A billing period of one month.
    Period,
}

impl WindowKind {
    /// Every kind, shortest first.
    pub const ALL: [Self; 6] = [Self::Minute, Self::Hour, Self::Session, Self::Day, Self::Week, Self::Period];

    /// The kinds that are counted only where a limit or a seat uses them.
    pub const WHERE_USED: [Self; 3] = [Self::Minute, Self::Session, Self::Week];

    /// The kinds whose boundaries are the same for all scopes of an organization.
    pub const CALENDAR: [Self; 5] = [Self::Minute, Self::Hour, Self::Day, Self::Week, Self::Period];

    /// The name used in configuration and in signals.
    pub const fn name(self) -> &'static str {
        match self {
            Self::Minute => "minute",
            Self::Hour => "hour",
            Self::Session => "session",
            Self::Day => "day",
            Self::Week => "week",
            Self::Period => "period",
        }
    }
}

/// A window: from `start` up to, not including, `end`.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Window {
    /// The first instant within.
    pub start: Timestamp,
    /// The first instant after.
    pub end: Timestamp,
}

impl Window {
    /// Whether `time` lies within.
    pub fn contains(&self, time: Timestamp) -> bool {
        self.start <= time && time < self.end
    }
}

/// The windows in which everything that happens at one instant is counted, whatever the scope.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Counted {
    /// The hour of the local day.
    pub hour: Window,
    /// The local day.
    pub day: Window,
    /// The billing period.
    pub period: Window,
}

impl Counted {
    /// The kinds of these windows, in the order of [`Counted::each`].
    pub const KINDS: [WindowKind; 3] = [WindowKind::Hour, WindowKind::Day, WindowKind::Period];

    /// Each with its kind.
    pub const fn each(&self) -> [(WindowKind, Window); 3] {
        [(WindowKind::Hour, self.hour), (WindowKind::Day, self.day), (WindowKind::Period, self.period)]
    }
}

/// Where an organization's days and periods begin, from an instant of event time on.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Zone {
    /// What is running at this instant ends as planned; what follows is cut by this zone.
    pub from: Timestamp,
    /// IANA time zone.
    #[serde(with = "zone_name")]
    pub time_zone: Tz,
    /// The local date that billing periods are counted from.
    pub anchor: NaiveDate,
}

impl Default for Zone {
    /// UTC, periods from the first of each month.
    fn default() -> Self {
        Self { from: Timestamp::MIN, time_zone: Tz::UTC, anchor: NaiveDate::default() }
    }
}

/// The window of `kind` that contains `time`, by the zones in the order of their `from`. After a change of zone or
/// anchor the running window ends as planned, and a period that follows runs to the first new boundary at least a
/// day later.
pub fn window_at(zones: &[Zone], kind: WindowKind, time: Timestamp) -> Window {
    let default = [Zone::default()];
    let zones = if zones.is_empty() { &default[..] } else { zones };
    match kind {
        WindowKind::Minute => nested(calendar_window(zones, WindowKind::Day, time), MINUTE_MS, time),
        WindowKind::Hour => nested(calendar_window(zones, WindowKind::Day, time), HOUR_MS, time),
        WindowKind::Session => session_from(time),
        WindowKind::Day | WindowKind::Week | WindowKind::Period => calendar_window(zones, kind, time),
    }
}

/// The session that opens with an event at `time`: from its whole second on.
pub fn session_from(time: Timestamp) -> Window {
    let start = time.plus_ms(-time.ms().rem_euclid(SECOND_MS));
    Window { start, end: start.plus_ms(SESSION_MS) }
}

/// The instant at which the clocks of the local day `day` show the full hour `hour`; on a day on which they never do, or
/// do so twice, the first instant at or after it.
pub fn local_hour(zones: &[Zone], day: Window, hour: u8) -> Timestamp {
    let zone = zones.iter().rev().find(|zone| zone.from <= day.start).copied().unwrap_or_default();
    let date = local_date(zone.time_zone, day.start);
    let steps =
        (0..day.end.since_ms(day.start) / (MINUTE_MS * 30)).map(|step| day.start.plus_ms(step * MINUTE_MS * 30));
    let shows = |time: &Timestamp| match zone.time_zone.timestamp_millis_opt(time.ms()) {
        LocalResult::Single(local) => local.date_naive() > date || chrono::Timelike::hour(&local) >= u32::from(hour),
        _ => true,
    };
    steps.into_iter().find(shows).unwrap_or(day.end)
}

/// The stretch of `length_ms`, counted from the start of `day`, that contains `time`.
pub fn nested(day: Window, length_ms: i64, time: Timestamp) -> Window {
    let start = day.start.plus_ms(time.since_ms(day.start) / length_ms * length_ms);
    Window { start, end: start.plus_ms(length_ms).min(day.end) }
}

fn calendar_window(zones: &[Zone], kind: WindowKind, time: Timestamp) -> Window {
    let mut taken_over_at = Timestamp::MIN;
    let mut zone = &zones[0];
    for next in &zones[1..] {
        // One that was replaced before it began never begins.
        if next.from >= taken_over_at {
            let ends_as_planned = after_take_over(zone, kind, taken_over_at, next.from).end;
            if time < ends_as_planned {
                return after_take_over(zone, kind, taken_over_at, time);
            }
            taken_over_at = ends_as_planned;
        }
        zone = next;
    }
    after_take_over(zone, kind, taken_over_at, time)
}

/// The window of `zone` around `time`, cut to what lies after `taken_over_at`; a first week or period shorter than a day is
/// joined to the next one.
fn after_take_over(zone: &Zone, kind: WindowKind, taken_over_at: Timestamp, time: Timestamp) -> Window {
    let window = boundaries(zone, kind, time);
    let is_long = matches!(kind, WindowKind::Period | WindowKind::Week);
    if window.start > taken_over_at || taken_over_at == Timestamp::MIN {
        let joined = is_long
            && window.start.since_ms(taken_over_at) < DAY_MS
            && boundaries(zone, kind, window.start.plus_ms(-1)).start < taken_over_at;
        let start = if joined { taken_over_at } else { window.start };
        return Window { start, end: window.end };
    }
    let short = is_long && window.end.since_ms(taken_over_at) < DAY_MS;
    let end = if short { boundaries(zone, kind, window.end).end } else { window.end };
    Window { start: taken_over_at, end }
}

/// The window of an unchanged zone around `time`.
fn boundaries(zone: &Zone, kind: WindowKind, time: Timestamp) -> Window {
    let date = local_date(zone.time_zone, time);
    match kind {
        WindowKind::Period => {
            let months = i64::from(date.year() - zone.anchor.year()) * 12 + i64::from(date.month())
                - i64::from(zone.anchor.month());
            around(time, months, |n| start_of_day(zone.time_zone, period_date(zone.anchor, n)))
        }
        // Day 1 of the common era was a Monday.
        WindowKind::Week => around(time, (i64::from(date.num_days_from_ce()) - 1).div_euclid(7), |n| {
            start_of_day(zone.time_zone, date_of_day(n * 7 + 1))
        }),
        _ => around(time, i64::from(date.num_days_from_ce()), |n| start_of_day(zone.time_zone, date_of_day(n))),
    }
}

/// The n-th stretch around `time`, where `guess` may be one off in either direction.
fn around(time: Timestamp, guess: i64, start: impl Fn(i64) -> Timestamp) -> Window {
    let mut n = guess;
    let mut window = Window { start: start(n), end: start(n + 1) };
    // At the ends of the calendar stretches are empty; there the search stops.
    while window.start > time && start(n - 1) < window.start {
        n -= 1;
        window = Window { start: start(n), end: window.start };
    }
    while window.end <= time && window.end < start(n + 2) {
        n += 1;
        window = Window { start: window.end, end: start(n + 1) };
    }
    window
}

#[cfg(test)]
mod tests {
    use super::super::time::parse_rfc3339;
    use super::*;

    fn at(text: &str) -> Timestamp {
        parse_rfc3339(text).expect("a time of this test")
    }

    fn zone(from: Timestamp, name: &str, anchor: &str) -> Zone {
        Zone { from, time_zone: name.parse().expect("a zone"), anchor: anchor.parse().expect("a date") }
    }

    fn check(name: &str, anchor: &str, kind: WindowKind, time: &str, expected: &str) {
        let window = window_at(&[zone(Timestamp::MIN, name, anchor)], kind, at(time));
        assert_eq!(format!("{} .. {}", window.start, window.end), expected, "{name} {anchor} {kind:?} {time}");
    }

    #[test]
    fn a9_periods_are_counted_from_the_anchor() {
        use WindowKind::Period;
        check(
            "UTC",
            "2024-01-31",
            Period,
            "2024-02-15T00:00:00Z",
            "2024-01-31T00:00:00.000Z .. 2024-02-29T00:00:00.000Z",
        );
        check(
            "UTC",
            "2024-01-31",
            Period,
            "2024-03-30T23:59:59Z",
            "2024-02-29T00:00:00.000Z .. 2024-03-31T00:00:00.000Z",
        );
        check(
            "UTC",
            "2024-01-31",
            Period,
            "2023-11-30T00:00:00Z",
            "2023-11-30T00:00:00.000Z .. 2023-12-31T00:00:00.000Z",
        );
        check(
            "America/New_York",
            "2023-11-01",
            Period,
            "2023-11-16T18:15:46Z",
            "2023-11-01T04:00:00.000Z .. 2023-12-01T05:00:00.000Z",
        );
    }

    #[test]
    fn days_follow_the_local_calendar() {
        use WindowKind::{Day, Hour};
        // Clocks go forward at midnight in Santiago: the day starts at the change.
        check(
            "America/Santiago",
            "2024-01-01",
            Day,
            "2024-09-08T12:00:00Z",
            "2024-09-08T04:00:00.000Z .. 2024-09-09T03:00:00.000Z",
        );
        // Apia left out 2011-12-30 altogether.
        check(
            "Pacific/Apia",
            "2011-01-01",
            Day,
            "2011-12-30T10:00:00Z",
            "2011-12-30T10:00:00.000Z .. 2011-12-31T10:00:00.000Z",
        );
        check(
            "Asia/Kolkata",
            "2024-01-01",
            Hour,
            "2024-05-05T10:15:00Z",
            "2024-05-05T09:30:00.000Z .. 2024-05-05T10:30:00.000Z",
        );
        // Lord Howe goes back by half an hour: the last hour of that day is short.
        check(
            "Australia/Lord_Howe",
            "2024-01-01",
            Hour,
            "2024-04-07T13:10:00Z",
            "2024-04-07T13:00:00.000Z .. 2024-04-07T13:30:00.000Z",
        );
    }

    /// Every anchor day in every year from 2024 to 2032: windows of a kind follow each other without gap or overlap, a
    /// period holds whole days, and days have 23 to 25 hours.
    #[test]
    fn windows_tile_the_years() {
        for name in
            ["UTC", "America/New_York", "Australia/Lord_Howe", "Asia/Kolkata", "America/Santiago", "Pacific/Apia"]
        {
            for anchor in 1..=31 {
                let zones = [zone(Timestamp::MIN, name, &format!("2023-12-{anchor:02}"))];
                let kinds: &[WindowKind] = if anchor == 1 {
                    &[WindowKind::Day, WindowKind::Week, WindowKind::Period]
                } else {
                    &[WindowKind::Period]
                };
                for kind in kinds {
                    tile(name, &zones, *kind, at("2024-01-01T00:00:00Z"), at("2033-01-01T00:00:00Z"));
                }
            }
        }
    }

    fn tile(name: &str, zones: &[Zone], kind: WindowKind, from: Timestamp, upto: Timestamp) {
        let first = window_at(zones, kind, from);
        let (mut window, mut sum_ms) = (first, 0);
        while window.end < upto {
            let next = window_at(zones, kind, window.end);
            assert_eq!(next.start, window.end, "{name} {zones:?} {kind:?}");
            assert_eq!(window_at(zones, kind, window.end.plus_ms(-1)), window);
            let length_ms = window.end.since_ms(window.start);
            sum_ms += length_ms;
            match kind {
                WindowKind::Day => assert!((23 * HOUR_MS..=25 * HOUR_MS).contains(&length_ms), "{name} {window:?}"),
                WindowKind::Week => {
                    assert!((-HOUR_MS..=HOUR_MS).contains(&(length_ms - 7 * DAY_MS)), "{name} {window:?}")
                }
                _ => {
                    assert!((27 * DAY_MS..=32 * DAY_MS).contains(&length_ms), "{name} {window:?}");
                    let day = window_at(zones, WindowKind::Day, window.start);
                    assert_eq!(day.start, window.start, "{name}: a period begins with a day");
                }
            }
            window = next;
        }
        assert_eq!(sum_ms, window.start.since_ms(first.start), "{name} {kind:?}");
    }

    /// Apia left out a day in 2011: that day window is as long as the jump makes it, and nothing is lost or doubled.
    #[test]
    fn apia_2011_has_no_gap() {
        let zones = [zone(Timestamp::MIN, "Pacific/Apia", "2011-01-31")];
        for kind in [WindowKind::Day, WindowKind::Period] {
            let mut window = window_at(&zones, kind, at("2011-11-01T00:00:00Z"));
            while window.end < at("2012-03-01T00:00:00Z") {
                let next = window_at(&zones, kind, window.end);
                assert_eq!(next.start, window.end, "{kind:?}");
                window = next;
            }
        }
    }

    #[test]
    fn weeks_begin_on_monday_and_sessions_with_their_first_event() {
        use WindowKind::{Session, Week};
        let monday = "2026-01-11T23:00:00.000Z .. 2026-01-18T23:00:00.000Z";
        check("Europe/Berlin", "2026-01-01", Week, "2026-01-15T10:00:00Z", monday);
        let session = "2026-01-15T10:00:07.000Z .. 2026-01-15T15:00:07.000Z";
        check("Europe/Berlin", "2026-01-01", Session, "2026-01-15T10:00:07.900Z", session);
    }

    #[test]
    fn a_new_anchor_lets_the_running_period_end_as_planned() {
        let change = at("2024-03-20T12:00:00Z");
        let zones = |day| [zone(Timestamp::MIN, "UTC", "2024-01-01"), zone(change, "UTC", day)];
        let period = |day, time| {
            let window = window_at(&zones(day), WindowKind::Period, at(time));
            format!("{} .. {}", &window.start.to_string()[..10], &window.end.to_string()[..10])
        };
        assert_eq!(period("2024-03-15", "2024-03-25T00:00:00Z"), "2024-03-01 .. 2024-04-01");
        assert_eq!(period("2024-03-15", "2024-04-02T00:00:00Z"), "2024-04-01 .. 2024-04-15");
        assert_eq!(period("2024-03-15", "2024-04-20T00:00:00Z"), "2024-04-15 .. 2024-05-15");
        let moved = [zone(Timestamp::MIN, "UTC", "2024-01-01"), zone(change, "America/New_York", "2024-01-01")];
        let joined = window_at(&moved, WindowKind::Period, at("2024-04-01T02:00:00Z"));
        assert_eq!((joined.start, joined.end), (at("2024-04-01T00:00:00Z"), at("2024-05-01T04:00:00Z")));
        assert_eq!(window_at(&moved, WindowKind::Period, at("2024-04-11T02:00:00Z")), joined);
    }
}
