//! *Time*: the calendar. Zones and anchors, and the windows that they cut.

use jiff::{Timestamp, ToSpan, civil::Date, tz::TimeZone};

use super::terms::Kind;

pub const SECOND_MS: i64 = 1_000;
pub const MINUTE_MS: i64 = 60 * SECOND_MS;
pub const HOUR_MS: i64 = 60 * MINUTE_MS;
pub const DAY_MS: i64 = 24 * HOUR_MS;
pub const SESSION_MS: i64 = 5 * HOUR_MS;

/// Half-open: its end is the first instant after it.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct Span {
    pub start: i64,
    pub end: i64,
}

impl Span {
    pub fn has(self, time_ms: i64) -> bool {
        self.start <= time_ms && time_ms < self.end
    }
}

/// A time zone and an anchor, and since when they hold.
#[derive(Clone, Debug)]
pub struct Zone {
    pub from_ms: i64,
    pub tz: TimeZone,
    pub anchor: Date,
}

/// All zones and anchors that were said, in their order.
#[derive(Clone, Debug)]
pub struct Calendar {
    zones: Vec<Zone>,
    /// Whether the first of them was said.
    is_said: bool,
}

/// A stretch of time whose windows of one kind are cut by one zone.
struct Stretch<'a> {
    start: i64,
    zone: &'a Zone,
}

impl Default for Calendar {
    /// Without any record the zone is UTC and the anchor the first of a month.
    fn default() -> Self {
        let anchor = jiff::civil::date(2026, 1, 1);
        Self { zones: vec![Zone { from_ms: i64::MIN, tz: TimeZone::UTC, anchor }], is_said: false }
    }
}

impl Calendar {
    /// A zone that is said before the first use holds from the beginning.
    pub fn begin_with(&mut self, tz: TimeZone, anchor: Date) {
        self.zones = vec![Zone { from_ms: i64::MIN, tz, anchor }];
        self.is_said = true;
    }

    /// A zone that is said later holds from an instant on.
    pub fn change(&mut self, from_ms: i64, tz: TimeZone, anchor: Date) {
        self.zones.push(Zone { from_ms, tz, anchor });
    }

    /// How many zones were said; the one that holds without any record was not.
    pub fn changes(&self) -> usize {
        self.zones.len() - usize::from(!self.is_said)
    }

    /// The window of a kind that contains an instant. Sessions are of users, and not cut by the calendar.
    pub fn window(&self, kind: Kind, time_ms: i64) -> Span {
        match kind {
            Kind::Minute => {
                let start = time_ms.div_euclid(MINUTE_MS) * MINUTE_MS;
                Span { start, end: start + MINUTE_MS }
            }
            Kind::Hour => self.hour(time_ms),
            _ => {
                let stretches = self.stretches(kind);
                window_in(
                    stretches.iter().rfind(|one| one.start <= time_ms).expect("the first is of ever"),
                    kind,
                    time_ms,
                )
            }
        }
    }

    /// The local day of an instant begins, whatever windows run.
    pub fn zone_at(&self, time_ms: i64) -> &Zone {
        let stretches = self.stretches(Kind::Day);
        stretches.iter().rfind(|one| one.start <= time_ms).expect("the first is of ever").zone
    }

    /// What runs when a zone comes ends as planned; what follows is cut by the zone that came last until then.
    fn stretches(&self, kind: Kind) -> Vec<Stretch<'_>> {
        let mut stretches = vec![Stretch { start: i64::MIN, zone: &self.zones[0] }];
        for zone in &self.zones[1..] {
            let last = stretches.last_mut().expect("there is one");
            if zone.from_ms < last.start {
                last.zone = zone;
            } else {
                let running = window_in(last, kind, zone.from_ms);
                stretches.push(Stretch { start: running.end, zone });
            }
        }
        stretches
    }

    /// Hours follow their day: they are counted from its first instant, and the last one ends with it.
    fn hour(&self, time_ms: i64) -> Span {
        let day = self.window(Kind::Day, time_ms);
        let start = day.start + (time_ms - day.start) / HOUR_MS * HOUR_MS;
        Span { start, end: (start + HOUR_MS).min(day.end) }
    }
}

/// The window of `kind` of a stretch: as the zone cuts it, but for the first. That runs to the first boundary; for weeks
/// and periods, to the first that is at least a day later.
fn window_in(stretch: &Stretch<'_>, kind: Kind, time_ms: i64) -> Span {
    if stretch.start > i64::MIN {
        let from = match kind {
            Kind::Day => stretch.start,
            // Of a boundary exactly a day later, the window ends there.
            _ => stretch.start + DAY_MS - 1,
        };
        let first_end = natural(stretch.zone, kind, from).end;
        if time_ms < first_end {
            return Span { start: stretch.start, end: first_end };
        }
    }
    natural(stretch.zone, kind, time_ms)
}

fn natural(zone: &Zone, kind: Kind, time_ms: i64) -> Span {
    let date = timestamp(time_ms).to_zoned(zone.tz.clone()).date();
    let (first, next) = match kind {
        Kind::Day => (date, tomorrow(date)),
        Kind::Week => {
            let monday = date - i64::from(date.weekday().to_monday_zero_offset()).days();
            (monday, monday + 7.days())
        }
        _ => {
            let this_month = period_day(zone, date);
            let last_month = period_day(zone, date.first_of_month() - 1.day());
            let next_month = period_day(zone, date.last_of_month() + 1.day());
            // The local date of the first instant may be told by the clock, not by the calendar: midnight may be skipped.
            if time_ms < midnight(&zone.tz, this_month) { (last_month, this_month) } else { (this_month, next_month) }
        }
    };
    Span { start: midnight(&zone.tz, first), end: midnight(&zone.tz, next) }
}

/// The day in the month of `date` on which a period begins: day min(anchor day, length of the month).
fn period_day(zone: &Zone, date: Date) -> Date {
    let day = zone.anchor.day().min(date.days_in_month());
    date.with().day(day).build().expect("the month has this day")
}

fn tomorrow(date: Date) -> Date {
    date + 1.day()
}

/// Local midnight; where the clocks skip it, the change.
pub fn midnight(tz: &TimeZone, date: Date) -> i64 {
    let zoned = date.to_zoned(tz.clone()).and_then(|zoned| zoned.start_of_day());
    zoned.expect("lives are led within the calendar").timestamp().as_millisecond()
}

fn timestamp(ms: i64) -> Timestamp {
    Timestamp::from_millisecond(ms).expect("lives are led within the calendar")
}
