//! The series of all organizations in Prometheus's text format. Names of scopes are labels here, and here alone; how many
//! there may be is bounded.

use std::{fmt::Write, time::Duration};

use super::figures::{Figures, LimitFigures, ScopeFigures};

/// A family: name, help, and what it shows of an organization.
type Family = (&'static str, &'static str, fn(&str, &Figures, &mut Lines<'_>));

/// Every family. All are gauges: they fall when a period turns.
const FAMILIES: [Family; 24] = [
    ("organization_credits_micro", "Credits used in the running billing period", |name, figures, lines| {
        lines.put(&[("organization", name)], figures.organization.used.credits_micro);
    }),
    ("organization_extra_credits_micro", "The part of them that prepaid and postpaid paid", |name, figures, lines| {
        lines.put(&[("organization", name)], figures.organization.used.extra_credits_micro);
    }),
    ("organization_runs_completed", "Runs completed in the running billing period", |name, figures, lines| {
        lines.put(&[("organization", name)], figures.organization.used.runs_completed);
    }),
    (
        "organization_pool_size_micro",
        "What the pool of the organization holds in the period",
        |name, figures, lines| {
            lines.some(&[("organization", name)], figures.organization.pool.map(|pool| pool.size_micro));
        },
    ),
    (
        "organization_pool_remaining_micro",
        "What is left of that, without the prepaid balance",
        |name, figures, lines| {
            lines.some(&[("organization", name)], figures.organization.pool.map(|pool| pool.remaining_micro));
        },
    ),
    ("organization_prepaid_remaining_micro", "What is left of the prepaid balance", |name, figures, lines| {
        lines.some(&[("organization", name)], figures.organization.pool.map(|pool| pool.prepaid_remaining_micro));
    }),
    (
        "organization_estimate_micro",
        "Credits expected at the end of the period; bound is low, expected or high",
        |name, figures, lines| {
            estimate(&[("organization", name)], &figures.organization, lines);
        },
    ),
    (
        "organization_exhaustion_timestamp_seconds",
        "When the pool is expected to be used up, if before the reset",
        |name, figures, lines| {
            lines.some(&[("organization", name)], figures.organization.exhausted_at.map(|at| at.ms() / 1_000));
        },
    ),
    ("organization_reset_timestamp_seconds", "When the billing period ends", |name, figures, lines| {
        lines.put(&[("organization", name)], figures.period_end.ms() / 1_000);
    }),
    ("workspace_credits_micro", "Credits used in the running billing period", |name, figures, lines| {
        of_workspaces(name, figures, |workspace| Some(workspace.used.credits_micro), lines);
    }),
    ("workspace_runs_completed", "Runs completed in the running billing period", |name, figures, lines| {
        of_workspaces(name, figures, |workspace| Some(workspace.used.runs_completed), lines);
    }),
    ("workspace_pool_size_micro", "What the pool of the workspace holds in the period", |name, figures, lines| {
        of_workspaces(name, figures, |workspace| Some(workspace.pool?.size_micro), lines);
    }),
    ("workspace_pool_remaining_micro", "What is left of that, without the prepaid balance", |name, figures, lines| {
        of_workspaces(name, figures, |workspace| Some(workspace.pool?.remaining_micro), lines);
    }),
    ("workspace_prepaid_remaining_micro", "What is left of the prepaid balance", |name, figures, lines| {
        of_workspaces(name, figures, |workspace| Some(workspace.pool?.prepaid_remaining_micro), lines);
    }),
    (
        "workspace_estimate_micro",
        "Credits expected at the end of the period; bound is low, expected or high",
        |name, figures, lines| {
            for (workspace, shown) in &figures.workspaces {
                estimate(&[("organization", name), ("workspace", workspace)], shown, lines);
            }
        },
    ),
    (
        "workspace_exhaustion_timestamp_seconds",
        "When the pool is expected to be used up, if before the reset",
        |name, figures, lines| {
            of_workspaces(name, figures, |workspace| Some(workspace.exhausted_at?.ms() / 1_000), lines);
        },
    ),
    (
        "agent_credits_micro",
        "Credits used in the running billing period by the agents with most of them; the rest is other",
        |name, figures, lines| {
            for (workspace, agents) in &figures.agents {
                for agent in agents {
                    let labels = [("organization", name), ("workspace", workspace), ("agent", &agent.agent)];
                    lines.put(&labels, agent.used.credits_micro);
                }
            }
        },
    ),
    ("agent_runs_completed", "Runs completed by them", |name, figures, lines| {
        for (workspace, agents) in &figures.agents {
            for agent in agents {
                let labels = [("organization", name), ("workspace", workspace), ("agent", &agent.agent)];
                lines.put(&labels, agent.used.runs_completed);
            }
        }
    }),
    ("limit_used", "Used of a limit in its running window, in units of its meter", |name, figures, lines| {
        figures.limits.iter().for_each(|limit| lines.put(&labels_of(name, limit), limit.used));
    }),
    ("limit_cap", "The ceiling of a limit, in units of its meter", |name, figures, lines| {
        figures.limits.iter().for_each(|limit| lines.put(&labels_of(name, limit), limit.cap));
    }),
    ("organization_paused_scopes", "Scopes that are paused, by cause", |name, figures, lines| {
        for (cause, count) in &figures.paused {
            lines.put(&[("organization", name), ("cause", cause)], *count);
        }
    }),
    ("organization_overshoot_micro", "What nothing covered, by what stood in the way", |name, figures, lines| {
        for (kind, amount_micro) in &figures.overshoot_micro {
            lines.put(&[("organization", name), ("kind", kind)], *amount_micro);
        }
    }),
    (
        "organization_limit_overshoot",
        "What went beyond limits with action pause, in units of their meters",
        |name, figures, lines| {
            for (meter, amount) in &figures.beyond_limits {
                lines.put(&[("organization", name), ("meter", meter)], *amount);
            }
        },
    ),
    (
        "organization_unpriced_tokens",
        "Tokens of the running billing period for which no price was known",
        |name, figures, lines| lines.put(&[("organization", name)], figures.unpriced_tokens),
    ),
];

/// Two limits of one id may bind a scope: they are set on different things.
fn labels_of<'a>(name: &'a str, limit: &'a LimitFigures) -> [(&'static str, &'a str); 4] {
    let LimitFigures { scope, limit_id, set_on, .. } = limit;
    [("organization", name), ("scope", scope), ("limit_id", limit_id), ("set_on", set_on)]
}

fn of_workspaces(name: &str, figures: &Figures, value: fn(&ScopeFigures) -> Option<i64>, lines: &mut Lines<'_>) {
    for (workspace, shown) in &figures.workspaces {
        lines.some(&[("organization", name), ("workspace", workspace)], value(shown));
    }
}

fn estimate(labels: &[(&str, &str)], shown: &ScopeFigures, lines: &mut Lines<'_>) {
    let Some(expected) = shown.expected else { return };
    for (bound, value) in [("low", expected.low), ("expected", expected.sum), ("high", expected.high)] {
        lines.put(&[labels, &[("bound", bound)]].concat(), value);
    }
}

/// Lines of one family.
struct Lines<'a> {
    family: &'static str,
    text: &'a mut String,
    series: &'a mut u64,
}

impl Lines<'_> {
    fn some(&mut self, labels: &[(&str, &str)], value: Option<i64>) {
        if let Some(value) = value {
            self.put(labels, value);
        }
    }

    fn put(&mut self, labels: &[(&str, &str)], value: i64) {
        *self.series += 1;
        let _ = write!(self.text, "bursar_{}{{", self.family);
        for (position, (label, text)) in labels.iter().enumerate() {
            let comma = if position == 0 { "" } else { "," };
            let _ = write!(self.text, "{comma}{label}=\"");
            text.chars().for_each(|character| match character {
                '\\' => self.text.push_str("\\\\"),
                '"' => self.text.push_str("\\\""),
                '\n' => self.text.push_str("\\n"),
                other => self.text.push(other),
            });
            self.text.push('"');
        }
        let _ = writeln!(self.text, "}} {value}");
    }
}

/// Renders organizations; if there are more than `organizations_max`, those with most credits.
pub fn render<'a>(
    organizations: impl Iterator<Item = (&'a str, &'a Figures)>,
    organizations_max: usize,
    took: Duration,
) -> String {
    let mut shown: Vec<(&str, &Figures)> = organizations.collect();
    let credits = |figures: &Figures| std::cmp::Reverse(figures.organization.used.credits_micro);
    shown.sort_by(|(a, a_figures), (b, b_figures)| credits(a_figures).cmp(&credits(b_figures)).then_with(|| a.cmp(b)));
    let left_out = shown.len().saturating_sub(organizations_max);
    shown.truncate(organizations_max);
    shown.sort_by_key(|(name, _)| *name);
    let workspaces_left_out = shown.iter().map(|(_, figures)| figures.workspaces_left_out).sum();
    let (mut text, mut series) = (String::new(), 0);
    for (family, help, show) in FAMILIES {
        let _ = writeln!(text, "# HELP bursar_{family} {help}\n# TYPE bursar_{family} gauge");
        let mut lines = Lines { family, text: &mut text, series: &mut series };
        shown.iter().for_each(|(name, figures)| show(name, figures, &mut lines));
    }
    let own = [
        ("usage_organizations", "Organizations with series of their own", shown.len() as u64),
        ("usage_organizations_left_out", "Organizations that have none, for there are too many", left_out as u64),
        ("usage_workspaces_left_out", "Workspaces of them that have none, for there are too many", workspaces_left_out),
        ("usage_series", "Series of usage", series),
        ("usage_read_milliseconds", "How long it took to read what had changed", took.as_millis() as u64),
    ];
    for (name, help, value) in own {
        let _ = writeln!(text, "# HELP bursar_{name} {help}\n# TYPE bursar_{name} gauge\nbursar_{name} {value}");
    }
    text
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::outlook::figures::{AgentFigures, Used};

    fn organization(credits_micro: i64) -> Figures {
        let used = Used { credits_micro, ..Used::default() };
        let mut figures = Figures::default();
        figures.organization.used = used;
        figures.workspaces.insert("w\"1\\".to_owned(), ScopeFigures { used, ..ScopeFigures::default() });
        figures.agents.insert("w".to_owned(), vec![AgentFigures { agent: "other".to_owned(), used }]);
        figures
    }

    #[test]
    fn series_are_bounded_escaped_and_exact() {
        let all = [("a", organization(5)), ("b", organization((1 << 53) + 1)), ("c", organization(7))];
        let text = render(all.iter().map(|(name, figures)| (*name, figures)), 2, Duration::from_millis(12));
        let has = |line: &str| text.lines().any(|known| known == line);
        assert!(has("bursar_organization_credits_micro{organization=\"b\"} 9007199254740993"), "{text}");
        assert!(has(r#"bursar_workspace_credits_micro{organization="c",workspace="w\"1\\"} 7"#), "{text}");
        assert!(!text.contains("organization=\"a\""), "the one with least is left out");
        assert!(has("bursar_usage_organizations 2") && has("bursar_usage_organizations_left_out 1"));
        assert!(has("bursar_usage_read_milliseconds 12"));
    }
}
