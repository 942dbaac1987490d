//! Local dates, and the instants at which they begin.

use chrono::{Days, LocalResult, NaiveDate, NaiveTime, Offset, TimeZone};
use chrono_tz::Tz;

use super::time::Timestamp;

/// The date of a day that is counted from 0001-01-01, which is day 1; beyond all dates, the first or the last one.
pub fn date_of_day(day: i64) -> NaiveDate {
    let date = i32::try_from(day).ok().and_then(NaiveDate::from_num_days_from_ce_opt);
    date.unwrap_or(if day < 0 { NaiveDate::MIN } else { NaiveDate::MAX })
}

/// The date `n` months after the anchor, on the last day of a month that has no such day.
pub fn period_date(anchor: NaiveDate, n: i64) -> NaiveDate {
    let months = chrono::Months::new(u32::try_from(n.unsigned_abs()).unwrap_or(u32::MAX));
    let date = if n < 0 { anchor.checked_sub_months(months) } else { anchor.checked_add_months(months) };
    date.unwrap_or(if n < 0 { NaiveDate::MIN } else { NaiveDate::MAX })
}

/// The date that local calendars show.
pub fn local_date(time_zone: Tz, time: Timestamp) -> NaiveDate {
    match time_zone.timestamp_millis_opt(time.ms()) {
        LocalResult::Single(local) => local.date_naive(),
        _ if time.ms() < 0 => NaiveDate::MIN,
        _ => NaiveDate::MAX,
    }
}

/// The first instant of a local date. Where midnight happens twice it is the first; where it is skipped it is the
/// instant of the change, taken from the offset before it.
pub fn start_of_day(time_zone: Tz, date: NaiveDate) -> Timestamp {
    let midnight = date.and_time(NaiveTime::MIN);
    let ms = match time_zone.from_local_datetime(&midnight) {
        LocalResult::Single(start) | LocalResult::Ambiguous(start, _) => start.timestamp_millis(),
        LocalResult::None => {
            let day_before = date.checked_sub_days(Days::new(1)).unwrap_or(date).and_time(NaiveTime::MIN);
            let offset_seconds = match time_zone.offset_from_local_datetime(&day_before) {
                LocalResult::Single(offset) | LocalResult::Ambiguous(offset, _) => offset.fix().local_minus_utc(),
                LocalResult::None => 0,
            };
            midnight.and_utc().timestamp_millis() - i64::from(offset_seconds) * 1_000
        }
    };
    Timestamp::from_ms(ms)
}

/// A time zone is said by its IANA name.
pub mod zone_name {
    use super::Tz;
    use serde::{Deserialize, Deserializer, Serializer};

    /// Writes the name.
    pub fn serialize<S: Serializer>(zone: &Tz, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.serialize_str(zone.name())
    }

    /// Reads the name.
    pub fn deserialize<'de, D: Deserializer<'de>>(deserializer: D) -> Result<Tz, D::Error> {
        String::deserialize(deserializer)?.parse().map_err(serde::de::Error::custom)
    }
}
