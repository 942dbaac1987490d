//! Usage over time within a period, actual and estimated (row A11).

use serde::Deserialize;
use utoipa::IntoParams;

use super::{
    Api,
    access::Caller,
    credits::{AsSeen, is_of_credits, plan_lacks_credits, reads_credits},
    figures,
    problem::Problem,
    shapes::{Point, Series},
    standing::Standing,
};
use crate::{
    domain::{
        meter::Meter,
        scope::Scope,
        time::{HOUR_MS, Timestamp, parse_rfc3339},
        window::{Window, WindowKind},
    },
    forecast::{DAYS_MAX, Forecast, forecast},
    ledger::redis::reader::Base,
};

/// Windows that one series may have.
const POINTS_MAX: usize = 1_000;

/// Hours before the present that a forecast of hours looks at.
const HISTORY_HOURS: usize = DAYS_MAX * 24;

/// Which series.
#[derive(Deserialize, IntoParams)]
#[into_params(parameter_in = Query)]
pub struct SeriesQuery {
    /// `day` (default) or `hour`.
    pub window: Option<String>,
    /// What is counted; `credits_micro` by default.
    pub meter: Option<String>,
    /// `current` (default), `previous`, or any instant (RFC 3339) within the period.
    pub period: Option<String>,
    /// From this instant (RFC 3339) on, in place of the start of the period.
    pub from: Option<String>,
    /// Up to this instant (RFC 3339), in place of the end of the period.
    pub to: Option<String>,
}

impl Api {
    pub(super) async fn series_of(
        &self,
        caller: &Caller,
        organization_id: &str,
        scope: Scope,
        query: &SeriesQuery,
    ) -> Result<AsSeen<Series>, Problem> {
        let kind = match query.window.as_deref() {
            None | Some("day") => WindowKind::Day,
            Some("hour") => WindowKind::Hour,
            Some(other) => return Err(Problem::invalid(format!("window is {other:?}; it may be hour or day"))),
        };
        let meter = query.meter.as_deref().unwrap_or("credits_micro");
        let meter = Meter::parse(meter).ok_or_else(|| Problem::invalid(format!("there is no meter {meter:?}")))?;
        let standing = self.standing(organization_id, scope).await?;
        let (base, now) = (&standing.base, self.clock.now());
        if is_of_credits(meter) && !reads_credits(caller, organization_id, base.settings.plan) {
            return Err(plan_lacks_credits());
        }
        let period = figures::period_asked(base, query.period.as_deref(), now)?;
        let instant = |text: &Option<String>, or: Timestamp| {
            text.as_deref().map_or(Ok(or), |text| parse_rfc3339(text).map_err(Problem::invalid))
        };
        let (from, to) = (instant(&query.from, period.start)?, instant(&query.to, period.end)?.min(period.end));
        let windows = windows_between(base, kind, from, to.min(now.plus_ms(1)))?;
        let starts: Vec<Timestamp> = windows.iter().map(|window| window.start).collect();
        let counts = self.counted(organization_id, &standing, kind, &starts).await?;
        let mut total = 0_i64;
        let mut point = |window: Window, value: i64| {
            total = total.saturating_add(value);
            Point { span: figures::span(window), value, total }
        };
        let actual =
            windows.iter().zip(&counts).map(|(window, counters)| point(*window, counters.get(meter))).collect();
        let mut estimated = Vec::new();
        if to > now && period.contains(now) {
            let (begin, made) = self.forecast(organization_id, &standing, meter, period).await?;
            // What the running window has counted is told already.
            for window in windows_between(base, kind, now, to)? {
                let within = made.hours().enumerate().filter_map(|(hour, count)| {
                    let at = begin.plus_ms(hour as i64 * HOUR_MS);
                    // Of the running hour only what is still to come.
                    let left_ms = at.plus_ms(HOUR_MS).since_ms(now).clamp(0, HOUR_MS);
                    window.contains(at).then(|| count.saturating_mul(left_ms) / HOUR_MS)
                });
                estimated.push(point(window, within.fold(0, i64::saturating_add)));
            }
        }
        let answer = Series {
            organization_id: organization_id.to_owned(),
            scope: standing.scope.to_string(),
            meter: meter.name().to_owned(),
            window: kind.name().to_owned(),
            unit: figures::unit(&base.settings),
            actual,
            estimated,
        };
        Ok(AsSeen { answer, with_credits: true })
    }

    /// The forecast of a meter from the start of the running hour to the end of the period.
    async fn forecast(
        &self,
        organization_id: &str,
        standing: &Standing,
        meter: Meter,
        period: Window,
    ) -> Result<(Timestamp, Forecast), Problem> {
        let now = self.clock.now();
        let hour = standing.base.window(WindowKind::Hour, now);
        let hours = standing.base.windows_back(WindowKind::Hour, hour.start.plus_ms(-1)).take(HISTORY_HOURS);
        let mut starts: Vec<Timestamp> = hours.map(|hour| hour.start).collect();
        starts.reverse();
        let counted = self.counted(organization_id, standing, WindowKind::Hour, &starts).await?;
        let counts: Vec<i64> = counted.iter().map(|counters| counters.get(meter)).collect();
        let ahead = usize::try_from((period.end.since_ms(hour.start) + HOUR_MS - 1) / HOUR_MS).unwrap_or(0);
        let made = tokio::task::spawn_blocking(move || forecast(&counts, ahead.min(POINTS_MAX)));
        let made = made.await.map_err(|_| Problem::unavailable("the forecast could not be made"))?;
        Ok((hour.start, made))
    }
}

fn windows_between(base: &Base, kind: WindowKind, from: Timestamp, to: Timestamp) -> Result<Vec<Window>, Problem> {
    if !crate::domain::event::EVENT_TIMES_MS.contains(&from.ms()) {
        return Err(Problem::invalid("from lies before 1970 or after 9999"));
    }
    let first = base.window(kind, from);
    let next = |window: &Window| Some(base.window(kind, window.end)).filter(|next| next.start >= window.end);
    let windows = std::iter::successors(Some(first), next).take_while(|window| window.start < to);
    let windows: Vec<Window> = windows.take(POINTS_MAX + 1).collect();
    if windows.len() > POINTS_MAX {
        return Err(Problem::invalid(format!("that is more than {POINTS_MAX} windows; ask for less, or for days")));
    }
    Ok(windows)
}
