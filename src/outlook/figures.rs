//! One organization's series, and its outlooks: when pools and limits will be used up.

use std::{
    cmp::Reverse,
    collections::{BTreeMap, HashSet},
};

use super::{
    estimate::{Days, Estimate, PoolFigures, pool_figures},
    limits::{limit_of, limits_on},
};
use crate::{
    domain::{
        account::{
            row::{Overshoot, ScopeRow},
            settings::Settings,
        },
        limit::{Limit, Selector, reached},
        meter::Meter,
        outlook::{Expected, Outlook},
        pause::CauseKind,
        scope::Scope,
        time::Timestamp,
        window::{Window, WindowKind},
    },
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

/// A limit in its running window.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct LimitFigures {
    /// Whose: `org` or `ws:WORKSPACE`.
    pub scope: String,
    /// Which.
    pub limit_id: String,
    /// What it is set on: the scope, `every:KIND`.
    pub set_on: String,
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
    /// What nobody covered, by what stood in the way.
    pub overshoot_micro: BTreeMap<&'static str, i64>,
    /// What went beyond limits with action `pause`, by meter.
    pub beyond_limits: BTreeMap<&'static str, i64>,
    /// Tokens of the running period for which no price was known.
    pub unpriced_tokens: i64,
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
            self.add_overshoot(overshoot, scope, row, &base.settings);
        }
        let count = |meter| row.windows.count_of(WindowKind::Period, period.start, meter).unwrap_or(0);
        let used = Used {
            credits_micro: count(Meter::CreditsMicro),
            extra_credits_micro: count(Meter::ExtraCreditsMicro),
            runs_completed: count(Meter::RunsCompleted),
        };
        let pool = pool_figures(row, period, now);
        let shown = ScopeFigures { used, pool, ..ScopeFigures::default() };
        match scope {
            Scope::Organization => {
                self.organization = shown;
                self.unpriced_tokens = count(Meter::UnpricedTokens);
            }
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

    /// What of an event passed a limit is counted in units of its meter; what nobody covered, in credits. A limit that is
    /// gone tells no meter any more.
    fn add_overshoot(&mut self, overshoot: &Overshoot, scope: &Scope, row: &ScopeRow, settings: &Settings) {
        let sum = match overshoot.kind {
            CauseKind::Limit => match limit_of(overshoot, scope, row, settings) {
                Some(limit) => self.beyond_limits.entry(limit.meter.name()).or_insert(0),
                None => return,
            },
            kind => self.overshoot_micro.entry(kind.name()).or_insert(0),
        };
        *sum = sum.saturating_add(overshoot.amount_micro);
    }

    fn add_limits(&mut self, scope: &Scope, row: &ScopeRow, base: &Base, now: Timestamp) {
        for (selector, limit) in limits_on(scope, row, &base.settings).take(LIMITS_SHOWN) {
            let Some(cap) = limit.cap else { continue };
            let window = base.window(limit.window, now);
            self.holds_until = self.holds_until.min(window.end);
            let used = row.windows.count_of(limit.window, window.start, limit.meter).unwrap_or(0);
            let (scope, limit_id) = (scope.to_string(), limit.id.to_string());
            let set_on = selector.map_or_else(|| scope.clone(), Selector::name);
            self.limits.push(LimitFigures { scope, limit_id, set_on, used, cap });
        }
    }

    /// Adds where a scope's credits lead.
    pub fn foresee(&mut self, scope: &Scope, row: &ScopeRow, base: &Base, days: &Days, now: Timestamp) {
        let period = period(base, now);
        let estimate = Estimate::of(base, scope, row, days, now);
        let Estimate { used_micro, expected, method, .. } = estimate;
        let of_all = Outlook {
            scope: scope.clone(),
            limit_id: None,
            period,
            used_micro,
            cap_micro: 0,
            expected,
            exhausted_at: None,
            method,
            at: now,
        };
        let shown = match scope {
            Scope::Workspace(workspace) => self.workspaces.entry(workspace.to_string()).or_default(),
            _ => &mut self.organization,
        };
        shown.expected = Some(expected);
        if let Some(of_pool) = &estimate.of_pool {
            shown.exhausted_at = of_pool.exhausted_at;
            self.outlooks.push(Outlook {
                used_micro: of_pool.used_micro,
                cap_micro: of_pool.used_micro.saturating_add(of_pool.left_micro),
                expected: of_pool.expected,
                exhausted_at: of_pool.exhausted_at,
                ..of_all.clone()
            });
        }
        for (limit_id, cap_micro) in caps_of_the_period(scope, row, &base.settings) {
            let exhausted_at = estimate.used_up_at(cap_micro.saturating_sub(used_micro), period, now);
            self.outlooks.push(Outlook { limit_id: Some(limit_id), cap_micro, exhausted_at, ..of_all.clone() });
        }
    }
}

/// Caps on the credits of a billing period, by id; of several limits of one id, that which is reached first.
fn caps_of_the_period(scope: &Scope, row: &ScopeRow, settings: &Settings) -> BTreeMap<Box<str>, i64> {
    let mut caps = BTreeMap::new();
    let bounds = |limit: &&Limit| limit.meter == Meter::CreditsMicro && limit.window == WindowKind::Period;
    let limits = limits_on(scope, row, settings).map(|(_, limit)| limit).filter(bounds).take(LIMITS_SHOWN);
    for (id, cap_micro) in limits.filter_map(|limit| Some((&limit.id, limit.cap?))) {
        let known = caps.entry(id.clone()).or_insert(cap_micro);
        *known = cap_micro.min(*known);
    }
    caps
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
