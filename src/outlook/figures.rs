//! One organization's series, and its outlooks: when pools and limits will be used up.

use std::{
    cmp::Reverse,
    collections::{BTreeMap, HashSet},
};

use super::history::Days;
use crate::{
    domain::{
        account::row::ScopeRow,
        limit::reached,
        meter::Meter,
        outlook::{Expected, Outlook},
        pause::CauseKind,
        scope::Scope,
        time::{DAY_MS, HOUR_MS, Timestamp},
        window::{Window, WindowKind},
    },
    forecast::{Forecast, forecast_from_days},
    ledger::redis::reader::Base,
};

/// Limits of one scope with series of their own.
const LIMITS_SHOWN: usize = 16;

/// What a scope used in the running period.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Used {
    /// Credits.
    pub credits_micro: i64,
    /// The part that prepaid and postpaid paid.
    pub extra_credits_micro: i64,
    /// Completed runs.
    pub runs_completed: i64,
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

/// A limit in its running window.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct LimitFigures {
    /// Whose: `org` or `ws:WORKSPACE`.
    pub scope: String,
    /// Which.
    pub limit_id: String,
    /// Used.
    pub used: i64,
    /// The ceiling.
    pub cap: i64,
}

/// An organization or a workspace.
#[derive(Clone, Debug, Default)]
pub struct ScopeFigures {
    /// What was used.
    pub used: Used,
    /// Its own pool.
    pub pool: Option<PoolFigures>,
    /// Where it leads.
    pub expected: Option<Expected>,
    /// When its pool is expected to be used up, if before the reset.
    pub exhausted_at: Option<Timestamp>,
}

/// From this share of a cap on, in percent, somebody may have to be told.
const NEARLY_PERCENT: u16 = 80;

/// What agents without series of their own are shown as.
const OTHER: &str = "other";

/// Credits and completed runs of an agent; the last of a workspace is `other`.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct AgentFigures {
    /// Its id.
    pub agent: String,
    /// What it used.
    pub used: Used,
}

/// All of one organization.
#[derive(Clone, Debug, Default)]
pub struct Figures {
    /// The organization itself.
    pub organization: ScopeFigures,
    /// The reset.
    pub period_end: Timestamp,
    /// Until when these are of the running windows.
    pub holds_until: Timestamp,
    /// Its workspaces.
    pub workspaces: BTreeMap<String, ScopeFigures>,
    /// How many more there are.
    pub workspaces_left_out: u64,
    /// By workspace, those with most credits, and the rest.
    pub agents: BTreeMap<String, Vec<AgentFigures>>,
    /// Of organization and workspaces.
    pub limits: Vec<LimitFigures>,
    /// Scopes paused now, by cause.
    pub paused: BTreeMap<&'static str, i64>,
    /// Overshoot by what stood in the way.
    pub overshoot_micro: BTreeMap<&'static str, i64>,
    /// When what will be used up.
    pub outlooks: Vec<Outlook>,
}

impl Figures {
    /// What an organization has used, has left, and what is paused.
    ///
    /// An agent that is called `other` has no series of its own.
    pub fn of(base: &Base, rows: &[(Scope, ScopeRow)], top_agents: usize, now: Timestamp) -> Self {
        let period = period(base, now);
        let mut figures = Self { period_end: period.end, holds_until: period.end, ..Self::default() };
        let own = std::iter::once((&Scope::Organization, &base.organization));
        for (scope, row) in own.chain(rows.iter().map(|(scope, row)| (scope, row))) {
            figures.add(scope, row, base, period, now);
        }
        for agents in figures.agents.values_mut() {
            let order = |agent: &AgentFigures| (agent.agent == OTHER, Reverse(agent.used.credits_micro));
            agents.sort_by(|a, b| order(a).cmp(&order(b)).then_with(|| a.agent.cmp(&b.agent)));
            let named = agents.iter().take_while(|agent| agent.agent != OTHER).count();
            if agents.len() > top_agents.min(named) {
                let rest = agents.split_off(top_agents.min(named)).into_iter();
                let used = rest.fold(Used::default(), |sum, agent| sum.plus(agent.used));
                agents.push(AgentFigures { agent: OTHER.to_owned(), used });
            }
        }
        figures
    }

    /// Keeps so many workspaces, and what belongs to them: first those whose pool or limit is nearly used up or will be, which
    /// somebody may have to be told of; then those with most credits.
    pub fn keep_workspaces(&mut self, top_workspaces: usize) {
        let surplus = self.workspaces.len().saturating_sub(top_workspaces);
        if surplus == 0 {
            return;
        }
        let at_limit: HashSet<&str> = self
            .limits
            .iter()
            .filter(|limit| reached(limit.used, limit.cap, NEARLY_PERCENT))
            .filter_map(|limit| limit.scope.strip_prefix("ws:"))
            .collect();
        let matters = |name: &str, shown: &ScopeFigures| {
            let used_up = |pool: PoolFigures| {
                reached(pool.size_micro.saturating_sub(pool.remaining_micro), pool.size_micro, NEARLY_PERCENT)
            };
            shown.exhausted_at.is_some() || shown.pool.is_some_and(used_up) || at_limit.contains(name)
        };
        let rank = |(name, shown): (&String, &ScopeFigures)| {
            (matters(name, shown), shown.used.credits_micro, Reverse(name.clone()))
        };
        let mut ranked: Vec<_> = self.workspaces.iter().map(rank).collect();
        ranked.sort_unstable();
        let left_out: HashSet<String> = ranked.into_iter().take(surplus).map(|(_, _, Reverse(name))| name).collect();
        self.workspaces.retain(|name, _| !left_out.contains(name));
        self.agents.retain(|name, _| !left_out.contains(name));
        self.limits.retain(|limit| limit.scope.strip_prefix("ws:").is_none_or(|name| !left_out.contains(name)));
        self.workspaces_left_out = surplus as u64;
    }

    fn add(&mut self, scope: &Scope, row: &ScopeRow, base: &Base, period: Window, now: Timestamp) {
        for kind in CauseKind::ALL.into_iter().filter(|kind| row.pauses.causes.iter().any(|cause| cause.kind == *kind))
        {
            *self.paused.entry(kind.name()).or_insert(0) += 1;
        }
        for overshoot in &row.overshoots {
            let sum = self.overshoot_micro.entry(overshoot.kind.name()).or_insert(0);
            *sum = sum.saturating_add(overshoot.amount_micro);
        }
        let count = |meter| row.windows.count_of(WindowKind::Period, period.start, meter).unwrap_or(0);
        let used = Used {
            credits_micro: count(Meter::CreditsMicro),
            extra_credits_micro: count(Meter::ExtraCreditsMicro),
            runs_completed: count(Meter::RunsCompleted),
        };
        let pool = row.pool.as_deref().map(|pool| {
            let size_micro = pool.size_micro(period.start);
            let drawn_micro = pool.drawn_micro(period.start).unwrap_or(0);
            let remaining_micro = size_micro.saturating_sub(drawn_micro);
            PoolFigures { size_micro, remaining_micro, prepaid_remaining_micro: pool.prepaid_left_micro(now) }
        });
        let shown = ScopeFigures { used, pool, ..ScopeFigures::default() };
        match scope {
            Scope::Organization => self.organization = shown,
            Scope::Workspace(workspace) => drop(self.workspaces.insert(workspace.to_string(), shown)),
            Scope::Agent { workspace, agent } => {
                let agents = self.agents.entry(workspace.to_string()).or_default();
                agents.push(AgentFigures { agent: agent.to_string(), used });
            }
            Scope::User(_) => {}
        }
        if matches!(scope, Scope::Organization | Scope::Workspace(_)) {
            self.add_limits(scope, row, base, now);
        }
    }

    fn add_limits(&mut self, scope: &Scope, row: &ScopeRow, base: &Base, now: Timestamp) {
        let rules = base.settings.rules_for(scope.kind(), None);
        for limit in row.limits.iter().chain(rules).take(LIMITS_SHOWN) {
            let Some(cap) = limit.cap else { continue };
            let window = base.window(limit.window, now);
            self.holds_until = self.holds_until.min(window.end);
            let used = row.windows.count_of(limit.window, window.start, limit.meter).unwrap_or(0);
            self.limits.push(LimitFigures { scope: scope.to_string(), limit_id: limit.id.to_string(), used, cap });
        }
    }

    /// Adds where a scope's credits lead.
    pub fn foresee(&mut self, scope: &Scope, row: &ScopeRow, base: &Base, days: &Days, now: Timestamp) {
        let period = period(base, now);
        let made = forecast_credits(&days.over_micro, days.today_micro, days.today, period, now);
        let used_micro = row.windows.count_of(WindowKind::Period, period.start, Meter::CreditsMicro).unwrap_or(0);
        let expected = made.on_top_of(used_micro);
        let outlook = |limit_id: Option<Box<str>>, cap_micro: i64, left_micro: i64| Outlook {
            scope: scope.clone(),
            limit_id,
            period,
            used_micro,
            cap_micro,
            expected,
            exhausted_at: used_up_at(&made, left_micro, period, now),
            method: made.method.name(),
            at: now,
        };
        let shown = match scope {
            Scope::Workspace(workspace) => self.workspaces.entry(workspace.to_string()).or_default(),
            _ => &mut self.organization,
        };
        shown.expected = Some(expected);
        // Who else pays for a part of these credits is not known of single days.
        let pays_alone = *scope != Scope::Organization
            || (base.settings.workspace_pools == 0 && !base.settings.payment().mode.has_seats());
        if let Some(pool) = shown.pool.filter(|_| pays_alone) {
            let left_micro = pool.remaining_micro.saturating_add(pool.prepaid_remaining_micro);
            let of_pool = outlook(None, used_micro.saturating_add(left_micro), left_micro);
            shown.exhausted_at = of_pool.exhausted_at;
            self.outlooks.push(of_pool);
        }
        let bounds = |limit: &&crate::domain::limit::Limit| {
            limit.meter == Meter::CreditsMicro && limit.window == WindowKind::Period
        };
        let limits = row.limits.iter().chain(base.settings.rules_for(scope.kind(), None)).filter(bounds);
        for limit in limits.take(LIMITS_SHOWN) {
            let Some(cap) = limit.cap else { continue };
            self.outlooks.push(outlook(Some(limit.id.clone()), cap, cap.saturating_sub(used_micro)));
        }
    }
}

impl Used {
    fn plus(self, other: Self) -> Self {
        Self {
            credits_micro: self.credits_micro.saturating_add(other.credits_micro),
            extra_credits_micro: self.extra_credits_micro.saturating_add(other.extra_credits_micro),
            runs_completed: self.runs_completed.saturating_add(other.runs_completed),
        }
    }
}

/// Credits from now to the end of the period, by the days that are over and what today has so far.
pub fn forecast_credits(
    days_micro: &[i64],
    today_micro: i64,
    today: Window,
    period: Window,
    now: Timestamp,
) -> Forecast {
    let left_permille = today.end.since_ms(now).max(0) * 1_000 / today.end.since_ms(today.start).max(1);
    // A day may have 23 or 25 hours.
    let ahead = usize::try_from((period.end.since_ms(today.end).max(0) + DAY_MS / 2) / DAY_MS).unwrap_or(0);
    forecast_from_days(days_micro, today_micro, left_permille, ahead)
}

/// When `left_micro` is expected to be used up, if before the end of the period.
pub fn used_up_at(made: &Forecast, left_micro: i64, period: Window, now: Timestamp) -> Option<Timestamp> {
    let after_thousandths = made.used_up_after(left_micro)?;
    Some(now.plus_ms(after_thousandths.saturating_mul(HOUR_MS / 1_000))).filter(|at| *at < period.end)
}

/// The scopes that forecasts are made for: the organization, and each workspace.
pub fn forecast_for<'a>(base: &'a Base, rows: &'a [(Scope, ScopeRow)]) -> impl Iterator<Item = (Scope, &'a ScopeRow)> {
    let workspaces = rows.iter().filter(|(scope, _)| matches!(scope, Scope::Workspace(_)));
    let workspaces = workspaces.map(|(scope, row)| (scope.clone(), row));
    std::iter::once((Scope::Organization, &base.organization)).chain(workspaces)
}

fn period(base: &Base, now: Timestamp) -> Window {
    base.window(WindowKind::Period, now)
}

#[cfg(test)]
mod tests {
    use super::*;

    const NOW: Timestamp = Timestamp::from_ms(1_760_000_000_000);

    /// An organization with these agents, each with its credits, and a workspace of as many credits around each.
    fn figures(agents: &[(&str, i64)], top_agents: usize, one_workspace: bool) -> Figures {
        let base = Base::default();
        let period = period(&base, NOW);
        let row = |credits_micro: i64| {
            let mut row = ScopeRow::default();
            let mut charge = crate::domain::meter::Counters::ZERO;
            charge.set(Meter::CreditsMicro, credits_micro);
            let (position, _) = row.windows.open(WindowKind::Period, period.start);
            let amounts = row.windows.amounts(&charge, charge.mask());
            row.windows.add(position, &amounts);
            row
        };
        let mut rows = Vec::new();
        for (agent, credits_micro) in agents {
            let workspace = if one_workspace { "w" } else { agent };
            rows.push((Scope::Workspace(workspace.into()), row(*credits_micro)));
            rows.push((Scope::Agent { workspace: workspace.into(), agent: (*agent).into() }, row(*credits_micro)));
        }
        Figures::of(&base, &rows, top_agents, NOW)
    }

    fn shown(agents: &[(&str, i64)], top_agents: usize) -> String {
        let of_workspace = &figures(agents, top_agents, true).agents["w"];
        let each = of_workspace.iter().map(|agent| format!("{} {}", agent.agent, agent.used.credits_micro));
        each.collect::<Vec<_>>().join(", ")
    }

    #[test]
    fn a3_agents_with_most_credits_have_series_and_the_rest_is_other() {
        assert_eq!(shown(&[("a", 1), ("b", 3), ("c", 2)], 3), "b 3, c 2, a 1");
        assert_eq!(shown(&[("a", 1), ("b", 3), ("c", 2)], 1), "b 3, other 3");
        assert_eq!(shown(&[("a", 1), ("b", 3)], 0), "other 4");
        // An agent of that name is counted, and under no name twice.
        assert_eq!(shown(&[("other", 9), ("b", 3), ("c", 2)], 5), "b 3, c 2, other 9");
        assert_eq!(shown(&[("other", 9), ("b", 3), ("c", 2)], 1), "b 3, other 11");
    }

    #[test]
    fn workspaces_with_most_credits_have_series() {
        let mut figures = figures(&[("a", 1), ("b", 3), ("c", 2)], 5, false);
        figures.keep_workspaces(3);
        assert_eq!((figures.workspaces.len(), figures.workspaces_left_out), (3, 0));
        figures.keep_workspaces(2);
        assert_eq!(figures.workspaces.keys().collect::<Vec<_>>(), ["b", "c"]);
        assert_eq!((figures.agents.len(), figures.workspaces_left_out), (2, 1));
        // The one with least, whose pool is used up, goes before the others.
        let mut figures = self::figures(&[("a", 1), ("b", 3), ("c", 2)], 5, false);
        let pool = PoolFigures { size_micro: 10, remaining_micro: 2, prepaid_remaining_micro: 0 };
        figures.workspaces.get_mut("a").expect("it is there").pool = Some(pool);
        figures.keep_workspaces(2);
        assert_eq!(figures.workspaces.keys().collect::<Vec<_>>(), ["a", "b"]);
    }
}
