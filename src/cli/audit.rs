//! `bursar audit`: recounts the topics by simple means, and holds what Redis has against that.
//!
//! It shares the schemas, the formats of what is stored and the rule when a share is reached with the rest, and none of
//! the code that counts. It may run beside production: what is applied while it reads lies between how far a partition was
//! applied before the accounts were read and where it ended after, and every count must lie between the sums at both.

mod fold;
mod inputs;
mod state;

use std::{
    collections::{BTreeMap, BTreeSet},
    time::Duration,
};

use clap::Args;
use comfy_table::{Table, presets::UTF8_BORDERS_ONLY};

use self::{fold::Fold, state::State};
use super::Failure;
use crate::config::Config;

/// How long the broker may take.
const BROKER_WAIT: Duration = Duration::from_secs(30);

/// Drifts that are told one by one.
const TOLD_MAX: usize = 50;

#[derive(Debug, Args)]
pub struct AuditArguments {
    /// Also write the figures to this file, in Prometheus's text format.
    #[arg(long)]
    metrics_file: Option<std::path::PathBuf>,
}

/// Something that is not as it must be.
struct Drift {
    kind: &'static str,
    what: String,
}

/// What was found.
#[derive(Default)]
struct Findings {
    compared: BTreeMap<&'static str, u64>,
    drifts: Vec<Drift>,
}

impl Findings {
    fn compare(&mut self, kind: &'static str, holds: bool, what: impl FnOnce() -> String) {
        *self.compared.entry(kind).or_insert(0) += 1;
        if !holds {
            self.drifts.push(Drift { kind, what: what() });
        }
    }
}

/// Recounts everything and compares. Fails if anything drifts.
pub async fn audit(config: &Config, arguments: &AuditArguments) -> Result<(), Failure> {
    let (before, state) = State::read(config).await?;
    eprintln!("{} accounts read; reading the topics", state.accounts.len());
    let fold = Fold::read(config, &state, &before)?;
    let mut findings = Findings::default();
    compare_counts(&state, &fold, &mut findings);
    compare_crossings(&state, &fold, &mut findings);
    for (organization, account) in &state.accounts {
        findings
            .compare("due", account.is_in_index, || format!("{organization} is due and not in the index of due times"));
    }
    for ((organization, start), expected) in &fold.ids {
        let account = state.accounts.get(organization);
        let kept = account.and_then(|account| account.ids.get(start)).copied().unwrap_or(0);
        findings.compare("ids", kept >= *expected, || {
            format!("{organization} has {kept} ids from {start} on, and needs {expected}")
        });
    }
    for (organization, account) in &state.accounts {
        findings
            .compare("order", account.broken.is_empty(), || format!("{organization}: {}", account.broken.join("; ")));
    }
    let wrong: BTreeSet<_> = fold.wrong.iter().cloned().collect();
    findings.drifts.extend(wrong.into_iter().map(|(kind, what)| Drift { kind, what }));
    findings.compared.insert("dead letters", fold.dead);
    report(&findings);
    if let Some(file) = &arguments.metrics_file {
        std::fs::write(file, metrics(&findings))?;
    }
    match findings.drifts.len() {
        0 => Ok(()),
        drifts => Err(format!("{drifts} drifts; what to do is in docs/operations.md").into()),
    }
}

/// Every meter of every scope in every window, both ways; and what holds between the meters of one.
fn compare_counts(state: &State, fold: &Fold, findings: &mut Findings) {
    for (organization, account) in &state.accounts {
        for ((scope, kind, start), meters) in &account.windows {
            let key = (organization.clone(), scope.clone(), *kind, *start);
            let (low, high) = fold.sums.get(&key).cloned().unwrap_or_default();
            for (meter, count) in meters {
                let Some(position) = fold::METERS.iter().position(|name| name == meter) else { continue };
                let holds = low[position] <= *count && *count <= high[position];
                findings.compare(kind_of(scope), holds, || {
                    format!(
                        "{organization} {scope} {kind} {start} {meter}: {count}, recounted {} to {}",
                        low[position], high[position]
                    )
                });
            }
            let parts: i64 = state::SOURCES.iter().map(|source| meters[source]).sum();
            let (charge, is_negative) =
                (meters["credits_micro"], state::SOURCES.iter().any(|source| meters[source] < 0));
            findings.compare("sources of payment", parts == charge && !is_negative, || {
                format!("{organization} {scope} {kind} {start}: sources paid {parts} of {charge}")
            });
        }
        for (scope, differs) in &account.pauses {
            findings.compare("pauses", !differs, || {
                format!("{organization} {scope}: the hash `paused` and the row differ")
            });
        }
    }
    for ((organization, scope, kind, start), (low, _)) in &fold.sums {
        let is_there = state
            .accounts
            .get(organization)
            .is_some_and(|account| account.windows.contains_key(&(scope.clone(), *kind, *start)));
        findings.compare(kind_of(scope), is_there || low.iter().all(|count| *count == 0), || {
            format!("{organization} {scope} {kind} {start} is missing")
        });
    }
}

/// Whatever has reached a share of its cap was announced, if the limit was set while the window was open.
fn compare_crossings(state: &State, fold: &Fold, findings: &mut Findings) {
    for (organization, account) in &state.accounts {
        for crossing in &account.crossings {
            let limit = (organization.clone(), crossing.selector.clone(), crossing.limit_id.clone());
            let set_at = fold.limits_set.get(&limit).copied().unwrap_or(i64::MIN).max(crossing.set_at);
            if set_at >= crossing.open_until || fold.of_old.contains(&(organization.clone(), crossing.scope.clone())) {
                continue;
            }
            // A refund may have lowered the count since: then a higher share was announced.
            let announced = [&fold.crossings, &account.to_be_announced];
            let names = [&crossing.name, &crossing.name_before];
            let highest = announced.iter().flat_map(|all| names.map(|name| all.get(name))).flatten().max();
            findings.compare("crossings", highest >= Some(&crossing.percent), || {
                format!("{}: {} % were never announced", crossing.name, crossing.percent)
            });
        }
    }
}

fn kind_of(scope: &str) -> &'static str {
    match scope.split(':').next() {
        Some("org") => "organizations",
        Some("ws") => "workspaces",
        Some("agent") => "agents",
        _ => "users",
    }
}

fn report(findings: &Findings) {
    let mut table = Table::new();
    table.load_preset(UTF8_BORDERS_ONLY).set_header(["what", "compared", "drifts"]);
    for (kind, compared) in &findings.compared {
        table.add_row([(*kind).to_owned(), compared.to_string(), drifts_of(findings, kind).to_string()]);
    }
    println!("{table}");
    for drift in findings.drifts.iter().take(TOLD_MAX) {
        println!("{}: {}", drift.kind, drift.what);
    }
    if findings.drifts.len() > TOLD_MAX {
        println!("and {} more", findings.drifts.len() - TOLD_MAX);
    }
}

fn drifts_of(findings: &Findings, kind: &str) -> usize {
    findings.drifts.iter().filter(|drift| drift.kind == kind).count()
}

fn metrics(findings: &Findings) -> String {
    let mut text = "# TYPE bursar_audit_compared gauge\n# TYPE bursar_audit_drifts gauge\n".to_owned();
    for (kind, compared) in &findings.compared {
        text += &format!("bursar_audit_compared{{what=\"{kind}\"}} {compared}\n");
        text += &format!("bursar_audit_drifts{{what=\"{kind}\"}} {}\n", drifts_of(findings, kind));
    }
    text
}
