//! What accounts hold, as answers show it.

use std::collections::BTreeMap;

use serde_json::{Map, Value as Json};

use super::{
    problem::Problem,
    shapes::{CauseShown, PeriodShown, PoolShown, Span, UnitShown},
};
use crate::{
    domain::{
        account::{row::ScopeRow, settings::Settings},
        meter::{Counters, Meter},
        pause::Cause,
        payment::{Source, Switches},
        pool::Pool,
        time::{Timestamp, parse_rfc3339},
        window::{Window, WindowKind},
    },
    ledger::redis::reader::Base,
};

/// How credits are named.
pub fn unit(settings: &Settings) -> UnitShown {
    UnitShown { name: settings.unit.name.to_string(), scale: settings.unit.scale, micro_per_unit: 1_000_000 }
}

/// A window as answers have it.
pub fn span(window: Window) -> Span {
    Span { start: window.start.to_string(), end: window.end.to_string() }
}

/// A billing period as answers have it.
pub fn period_shown(base: &Base, period: Window, now: Timestamp) -> PeriodShown {
    PeriodShown {
        span: span(period),
        is_current: period.contains(now),
        is_closed: base.head.closed_until >= period.end.plus_ms(-1),
    }
}

/// The running period and those before it, newest first.
pub fn periods(base: &Base, now: Timestamp) -> impl Iterator<Item = Window> + '_ {
    base.windows_back(WindowKind::Period, now)
}

/// The period that a query asks for: `current`, `previous`, or any instant in it.
///
/// # Errors
/// [`Problem::invalid`] for anything else.
pub fn period_asked(base: &Base, asked: Option<&str>, now: Timestamp) -> Result<Window, Problem> {
    let running = base.window(WindowKind::Period, now);
    match asked {
        None | Some("" | "current") => Ok(running),
        Some("previous") => Ok(base.window(WindowKind::Period, running.start.plus_ms(-1))),
        Some(text) => {
            let time = parse_rfc3339(text).map_err(|why| {
                Problem::invalid(format!("period is `current`, `previous`, or an instant within one: {why}"))
            })?;
            if time >= running.end || !crate::domain::event::EVENT_TIMES_MS.contains(&time.ms()) {
                return Err(Problem::invalid("there is nothing to be seen of that time"));
            }
            Ok(base.window(WindowKind::Period, time))
        }
    }
}

/// Every meter by its name, with the derived ones.
pub fn meters(counters: &Counters) -> BTreeMap<String, i64> {
    Meter::ALL.into_iter().map(|meter| (meter.name().to_owned(), counters.get(meter))).collect()
}

/// Who paid; the parts sum to the credits.
pub fn by_source(counters: &Counters) -> BTreeMap<String, i64> {
    let name = |meter: Meter| meter.name().trim_end_matches("_credits_micro").to_owned() + "_micro";
    Meter::SOURCES.into_iter().map(|meter| (name(meter), counters.get(meter))).collect()
}

/// Credits per completed run, rounded down.
pub fn per_run(credits_micro: i64, runs_completed: i64) -> Option<i64> {
    credits_micro.checked_div(runs_completed)
}

/// What a pool holds in a period; `None` for one that is over and that it does not know any more.
pub fn pool(scope: &str, pool: &Pool, period: Window, now: Timestamp) -> Option<PoolShown> {
    let drawn_micro = pool.drawn_micro(period.start).or((period.end > now).then_some(0))?;
    let size_micro = pool.size_micro(period.start);
    Some(PoolShown {
        scope: scope.to_owned(),
        included_micro: pool.included_micro(period.start),
        size_micro,
        drawn_micro,
        remaining_micro: size_micro.saturating_sub(drawn_micro),
        prepaid_remaining_micro: pool.prepaid_left_micro(now),
    })
}

/// Why a scope is paused.
pub fn causes(row: &ScopeRow) -> Vec<CauseShown> {
    let shown = |cause: &Cause| CauseShown {
        kind: cause.kind.name().to_owned(),
        limit_id: (!cause.limit_id.is_empty()).then(|| cause.limit_id.to_string()),
        ends_at: cause.ends_at.map(|ends_at| ends_at.to_string()),
    };
    row.pauses.causes.iter().map(shown).collect()
}

/// `paused` or `running`.
pub fn status(row: &ScopeRow) -> String {
    if row.pauses.causes.is_empty() { "running" } else { "paused" }.to_owned()
}

/// Which sources were switched.
pub fn switches(switches: &Switches) -> Json {
    let switched = Source::ALL.into_iter().filter_map(|source| Some((source, switches.get(source)?)));
    Json::Object(switched.map(|(source, on)| (source.name().to_owned(), on.into())).collect::<Map<_, _>>())
}
