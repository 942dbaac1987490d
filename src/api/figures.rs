//! What accounts hold, as answers show it.

use std::collections::BTreeMap;

use serde_json::{Map, Value as Json};

use super::{
    problem::Problem,
    shapes::{CauseShown, ModelPart, Part, PeriodShown, PoolShown, Span, UnitShown},
};
use crate::{
    domain::{
        account::{
            row::{self, PeriodDetail, ScopeRow},
            settings::Settings,
        },
        limit::Selector,
        meter::{Counters, Meter},
        pause::Cause,
        payment::{Source, Switches},
        pool::Pool,
        scope::{Name, Scope},
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
        is_closed: period.end <= base.head.closed_until || base.head.closing == Some(period.end),
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

/// What a pool holds in a period, and held at the end of one that is over; `None` for one that was over before there was
/// this pool, or of which it does not know any more what was drawn.
pub fn pool(scope: &str, pool: &Pool, period: Window, now: Timestamp) -> Option<PoolShown> {
    let is_over = period.end <= now;
    let drawn_micro = pool.drawn_micro(period.start);
    // The pool began with the first period of which it knows what was drawn, or before.
    let was_there = || pool.drawn.first().is_some_and(|first| first.period_start <= period.start);
    let drawn_micro = drawn_micro.or((!is_over || was_there()).then_some(0))?;
    let size_micro = pool.size_micro(period.start, now.min(period.end.plus_ms(-1)));
    Some(PoolShown {
        scope: scope.to_owned(),
        included_micro: pool.included_micro(period.start),
        size_micro,
        drawn_micro,
        remaining_micro: size_micro.saturating_sub(drawn_micro),
        prepaid_remaining_micro: (!is_over).then(|| pool.prepaid_left_micro(now)),
    })
}

/// Use of a period by product or trigger, most credits first.
pub fn parts(detail: &PeriodDetail, settings: &Settings) -> Vec<Part> {
    let shown = |part: &row::Part| Part {
        name: name_of(&settings.labels, part.label),
        credits_micro: part.credits_micro,
        extra_credits_micro: part.extra_micro,
        runs_completed: part.runs_completed,
        credits_per_run_micro: per_run(part.credits_micro, part.runs_completed),
    };
    let mut parts: Vec<Part> = detail.parts.iter().map(shown).collect();
    parts.sort_by(|a, b| b.credits_micro.cmp(&a.credits_micro).then_with(|| a.name.cmp(&b.name)));
    parts
}

/// Use of a period by model, most credits first.
pub fn models(detail: &PeriodDetail, settings: &Settings) -> Vec<ModelPart> {
    let shown = |part: &row::ModelPart| ModelPart {
        name: name_of(&settings.models, part.model),
        credits_micro: part.credits_micro,
        input_tokens: part.tokens.input,
        output_tokens: part.tokens.output,
        cache_read_input_tokens: part.tokens.cache_read,
        cache_creation_input_tokens: part.tokens.cache_creation,
    };
    let mut models: Vec<ModelPart> = detail.models.iter().map(shown).collect();
    models.sort_by(|a, b| b.credits_micro.cmp(&a.credits_micro).then_with(|| a.name.cmp(&b.name)));
    models
}

/// The name of a product, trigger or model.
fn name_of(names: &[Name], number: u8) -> String {
    names.get(usize::from(number)).map_or("other", |name| name).to_owned()
}

/// A scope, and those that it lies in: agent, workspace, organization.
pub type Chain<'a> = Vec<(&'a Scope, &'a ScopeRow)>;

/// Why a scope does not run: its own causes, and those of the scopes that it lies in.
pub fn causes(chain: &[(&Scope, &ScopeRow)]) -> Vec<CauseShown> {
    let of = |(scope, row): &(&Scope, &ScopeRow)| -> Vec<CauseShown> {
        let scope = scope.to_string();
        row.pauses.causes.iter().map(|cause| cause_shown(&scope, cause)).collect()
    };
    chain.iter().flat_map(of).collect()
}

fn cause_shown(scope: &str, cause: &Cause) -> CauseShown {
    CauseShown {
        scope: scope.to_owned(),
        kind: cause.kind.name().to_owned(),
        limit_id: (!cause.limit_id.is_empty()).then(|| cause.limit_id.to_string()),
        selector: cause.selector.as_ref().map(Selector::name),
        workspace_id: cause.workspace_id.as_ref().map(ToString::to_string),
        ends_at: cause.ends_at.map(|ends_at| ends_at.to_string()),
    }
}

/// `paused` or `running`, by why a scope does not run.
pub fn status(causes: &[CauseShown]) -> String {
    if causes.is_empty() { "running" } else { "paused" }.to_owned()
}

/// Whether no rate card holds: usage counts and has no price.
pub fn is_unpriced(settings: &Settings, now: Timestamp, rules_delay_ms: i64) -> bool {
    settings.rate_card(now, now, rules_delay_ms).is_none()
}

/// Which sources were switched.
pub fn switches(switches: &Switches) -> Json {
    let switched = Source::ALL.into_iter().filter_map(|source| Some((source, switches.get(source)?)));
    Json::Object(switched.map(|(source, on)| (source.name().to_owned(), on.into())).collect::<Map<_, _>>())
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::domain::pause::CauseKind;

    #[test]
    fn a27_an_agent_is_stopped_by_whatever_it_lies_in() {
        let paused = |causes: Vec<Cause>| {
            let mut row = ScopeRow::default();
            row.pauses.replace(causes);
            row
        };
        let agent = Scope::Agent { workspace: "lab".into(), agent: "bot".into() };
        let lab = Scope::Workspace("lab".into());
        let (runs, empty) = (paused(Vec::new()), paused(vec![Cause::of(CauseKind::Pool)]));
        let limited = Cause {
            limit_id: "daily".into(),
            selector: Some(Selector::Every(crate::domain::scope::ScopeKind::Agent)),
            ..Cause::of(CauseKind::Limit)
        };
        let limited = paused(vec![limited]);
        let shown = |own: &ScopeRow, workspace: &ScopeRow| {
            let causes = causes(&[(&agent, own), (&lab, workspace), (&Scope::Organization, &runs)]);
            let whose = causes.iter().map(|cause| format!("{} of {}", cause.kind, cause.scope)).collect::<Vec<_>>();
            format!("{}: {}", status(&causes), whose.join(", "))
        };
        assert_eq!(shown(&runs, &runs), "running: ");
        assert_eq!(shown(&runs, &empty), "paused: pool of ws:lab");
        assert_eq!(shown(&limited, &empty), "paused: limit of agent:lab/bot, pool of ws:lab");
        assert_eq!(causes(&[(&agent, &limited)])[0].selector.as_deref(), Some("every:agent"));
    }

    #[test]
    fn a10_a_period_that_is_over_shows_the_pool_that_held() {
        let at = Timestamp::from_ms;
        let period = |start: i64| Window { start: at(start), end: at(start + 100) };
        let mut held = Pool::default();
        held.include(Timestamp::MIN, 50);
        held.drawn_in(at(100)).included_micro = 20;
        held.include(at(300), 70);
        let shown = |start: i64| {
            let shown = pool("org", &held, period(start), at(350))?;
            Some((shown.size_micro, shown.drawn_micro, shown.prepaid_remaining_micro))
        };
        assert_eq!(shown(0), None, "there was no such pool then");
        assert_eq!([shown(100), shown(200)], [Some((50, 20, None)), Some((50, 0, None))]);
        assert_eq!(shown(300), Some((70, 0, Some(0))));
    }
}
