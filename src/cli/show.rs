//! `bursar show`: an account as it stands in Redis, page by page.

use std::collections::{BTreeMap, BTreeSet};

use clap::Args;
use comfy_table::{Table, presets::UTF8_BORDERS_ONLY};
use serde_json::{Value as Json, json};

mod account;

use self::account::{account_json, scope_json};
use super::Failure;
use crate::{
    clock::Clock,
    config::{ClockSource, Config},
    domain::{account::row::ScopeRow, meter::Meter, scope::Scope, time::Timestamp, window::WindowKind},
    ledger::redis::reader::{Base, Reader},
};

#[derive(Debug, Args)]
pub struct ShowArguments {
    /// Whose account. Without it, the organizations are listed.
    organization: Option<String>,
    /// As JSON: one object per account.
    #[arg(long)]
    json: bool,
    /// The organizations' own rows of all accounts, one line each.
    #[arg(long, conflicts_with = "organization")]
    all: bool,
    /// Scopes per page, about.
    #[arg(long, default_value_t = 100, value_parser = clap::value_parser!(u32).range(1..=10_000))]
    limit: u32,
    /// Where the last page ended.
    #[arg(long, default_value_t = 0)]
    cursor: u64,
}

/// Prints accounts.
pub async fn show(config: &Config, arguments: &ShowArguments) -> Result<(), Failure> {
    let reader = Reader::open(&config.redis()?).await?;
    let follows_records = config.rules.clock == ClockSource::Records;
    let shower = Shower { reader, follows_records, rules_delay_ms: config.rules.policy().rules_delay_ms };
    if let Some(organization_id) = &arguments.organization {
        let base = shower.reader.base(organization_id).await?;
        let base = base.ok_or_else(|| format!("there is no account {organization_id:?}"))?;
        let mut account = shower.organization(organization_id, &base);
        shower.add_page(organization_id, arguments, &base, &mut account).await?;
        account["progress"] = progress(&shower.reader).await?;
        if arguments.json {
            println!("{account}")
        } else {
            print_table(&account)
        }
        return Ok(());
    }
    for organization_id in shower.reader.organizations().await? {
        if !arguments.all {
            println!("{organization_id}");
            continue;
        }
        if let Some(base) = shower.reader.base(&organization_id).await? {
            let account = shower.organization(&organization_id, &base);
            if arguments.json { println!("{account}") } else { print_table(&account) }
        }
    }
    Ok(())
}

/// What accounts are shown with.
struct Shower {
    reader: Reader,
    /// Whether the present is that of the records.
    follows_records: bool,
    rules_delay_ms: i64,
}

impl Shower {
    fn now(&self, base: &Base) -> Timestamp {
        if self.follows_records { base.head.newest_event_time.max(base.head.served_due) } else { Clock::System.now() }
    }

    /// The account with the organization's own row only.
    fn organization(&self, organization_id: &str, base: &Base) -> Json {
        let now = self.now(base);
        let mut account = account_json(organization_id, base, now, self.rules_delay_ms);
        let own = scope_json(&[(&Scope::Organization, &base.organization)], base, now);
        account["scopes"] = json!([own]);
        account
    }

    /// Adds a page of its other scopes.
    async fn add_page(
        &self,
        organization_id: &str,
        arguments: &ShowArguments,
        base: &Base,
        account: &mut Json,
    ) -> Result<(), Failure> {
        let (mut rows, next) = self.reader.rows(organization_id, arguments.cursor, arguments.limit).await?;
        rows.sort_by_cached_key(|(scope, _)| scope.to_string());
        let (workspaces, now) = (self.workspaces_of(organization_id, &rows).await?, self.now(base));
        let scopes = rows.iter().map(|(scope, row)| {
            let workspace = workspace_of(scope).and_then(|workspace| workspaces.get_key_value(&workspace));
            let around = [workspace, Some((&Scope::Organization, &base.organization))];
            let chain: Vec<_> = std::iter::once((scope, row)).chain(around.into_iter().flatten()).collect();
            scope_json(&chain, base, now)
        });
        account["scopes"].as_array_mut().expect("the organization's own row is a list of one").extend(scopes);
        account["next_cursor"] = if next == 0 { Json::Null } else { next.into() };
        Ok(())
    }

    /// The workspaces that agents of a page lie in, wherever they are listed.
    async fn workspaces_of(
        &self,
        organization_id: &str,
        rows: &[(Scope, ScopeRow)],
    ) -> Result<BTreeMap<Scope, ScopeRow>, Failure> {
        let names: BTreeSet<Scope> = rows.iter().filter_map(|(scope, _)| workspace_of(scope)).collect();
        let names: Vec<Scope> = names.into_iter().collect();
        let read = self.reader.scopes(organization_id, &names).await?;
        let found = read.map(|(_, found)| found).unwrap_or_default();
        Ok(names.into_iter().zip(found).filter_map(|(scope, row)| Some((scope, row?))).collect())
    }
}

fn workspace_of(scope: &Scope) -> Option<Scope> {
    match scope {
        Scope::Agent { workspace, .. } if !workspace.is_empty() => Some(Scope::Workspace(workspace.clone())),
        _ => None,
    }
}

/// How far every input partition has been applied.
async fn progress(reader: &Reader) -> Result<Json, Failure> {
    let partitions = reader.progress().await?.into_iter().map(|(input, progress)| {
        json!({ "partition": format!("{}/{}", input.topic, input.partition), "next_offset": progress.next_offset,
            "record_time": progress.record_time.to_string() })
    });
    Ok(partitions.collect::<Vec<_>>().into())
}

fn print_table(account: &Json) {
    println!(
        "{}   zone {}   anchor {}   rate cards {}{}",
        account["organization_id"].as_str().unwrap_or_default(),
        account["time_zone"].as_str().unwrap_or_default(),
        account["anchor"].as_str().unwrap_or_default(),
        account["rate_cards"],
        if account["is_unpriced"] == true { "   UNPRICED: no rate card holds, so usage has no price" } else { "" },
    );
    let mut table = Table::new();
    table.load_preset(UTF8_BORDERS_ONLY);
    table.set_header([
        "scope",
        "period from",
        "credits micro",
        "tokens in",
        "tokens out",
        "unpriced",
        "runs",
        "pool left micro",
        "limits",
        "paused for",
    ]);
    for scope in account["scopes"].as_array().into_iter().flatten() {
        table.add_row(table_row(scope));
    }
    println!("{table}");
    if let Some(partitions) = account["progress"].as_array() {
        let newest = partitions.iter().filter_map(|partition| partition["record_time"].as_str()).max();
        println!("progress: {} partitions, applied up to {}", partitions.len(), newest.unwrap_or("-"));
    }
    if let Some(cursor) = account["next_cursor"].as_u64() {
        println!("more: --cursor {cursor}");
    }
}

fn table_row(scope: &Json) -> Vec<String> {
    let windows = scope["windows"].as_array().cloned().unwrap_or_default();
    let period = windows
        .iter()
        .rev()
        .find(|window| window["window"] == WindowKind::Period.name())
        .cloned()
        .unwrap_or(Json::Null);
    let meter = |meter: Meter| period["meters"][meter.name()].as_i64().unwrap_or(0).to_string();
    let pool = scope["pool"]["periods"].as_array().and_then(|periods| periods.last()).map(|period| {
        (period["size_micro"].as_i64().unwrap_or(0) - period["drawn_micro"].as_i64().unwrap_or(0)).to_string()
    });
    let names = |list: &Json, name: &str| -> String {
        let names = list.as_array().into_iter().flatten().filter_map(|entry| entry[name].as_str());
        names.collect::<Vec<_>>().join(", ")
    };
    vec![
        scope["scope"].as_str().unwrap_or_default().to_owned(),
        period["start"].as_str().unwrap_or("-").chars().take(10).collect(),
        meter(Meter::CreditsMicro),
        meter(Meter::InputTokens),
        meter(Meter::OutputTokens),
        meter(Meter::UnpricedTokens),
        meter(Meter::RunsCompleted),
        pool.unwrap_or_else(|| "-".to_owned()),
        names(&scope["limits"], "id"),
        paused_for(scope),
    ]
}

/// Its own causes, and those of the scopes that it lies in with whose they are.
fn paused_for(scope: &Json) -> String {
    let causes = |list: &str| scope[list].as_array().cloned().unwrap_or_default();
    let text = |cause: &Json, name: &str| cause[name].as_str().unwrap_or_default().to_owned();
    let own = causes("paused_for").into_iter().map(|cause| match cause["workspace_id"].as_str() {
        Some(workspace_id) => format!("{} in ws:{workspace_id}", text(&cause, "kind")),
        None => text(&cause, "kind"),
    });
    let around = causes("stopped_by").into_iter();
    let around = around.map(|cause| format!("{} of {}", text(&cause, "kind"), text(&cause, "scope")));
    own.chain(around).collect::<Vec<_>>().join(", ")
}
