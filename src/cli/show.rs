//! `bursar show`: an account as it stands in Redis, page by page.

use clap::Args;
use comfy_table::{Table, presets::UTF8_BORDERS_ONLY};
use serde_json::{Value as Json, json};

mod account;

use self::account::{account_json, scope_json};
use super::Failure;
use crate::{
    config::Config,
    domain::{account::settings::Settings, meter::Meter, window::WindowKind},
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
    if let Some(organization_id) = &arguments.organization {
        let base = reader.base(organization_id).await?;
        let base = base.ok_or_else(|| format!("there is no account {organization_id:?}"))?;
        let mut account = organization(organization_id, &base);
        add_page(&reader, organization_id, arguments, &base.settings, &mut account).await?;
        account["progress"] = progress(&reader).await?;
        if arguments.json {
            println!("{account}")
        } else {
            print_table(&account)
        }
        return Ok(());
    }
    for organization_id in reader.organizations().await? {
        if !arguments.all {
            println!("{organization_id}");
            continue;
        }
        if let Some(base) = reader.base(&organization_id).await? {
            let account = organization(&organization_id, &base);
            if arguments.json { println!("{account}") } else { print_table(&account) }
        }
    }
    Ok(())
}

/// The account with the organization's own row only.
fn organization(organization_id: &str, base: &Base) -> Json {
    let mut account = account_json(organization_id, &base.settings, &base.head);
    account["scopes"] = json!([scope_json("org", &base.organization, &base.settings)]);
    account
}

/// Adds a page of its other scopes.
async fn add_page(
    reader: &Reader,
    organization_id: &str,
    arguments: &ShowArguments,
    settings: &Settings,
    account: &mut Json,
) -> Result<(), Failure> {
    let (mut rows, next) = reader.rows(organization_id, arguments.cursor, arguments.limit).await?;
    rows.sort_by_cached_key(|(scope, _)| scope.to_string());
    let scopes = rows.iter().map(|(scope, row)| scope_json(&scope.to_string(), row, settings));
    account["scopes"].as_array_mut().expect("the organization's own row is a list of one").extend(scopes);
    account["next_cursor"] = if next == 0 { Json::Null } else { next.into() };
    Ok(())
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
        "{}   zone {}   anchor {}   rate cards {}",
        account["organization_id"].as_str().unwrap_or_default(),
        account["time_zone"].as_str().unwrap_or_default(),
        account["anchor"].as_str().unwrap_or_default(),
        account["rate_cards"],
    );
    let mut table = Table::new();
    table.load_preset(UTF8_BORDERS_ONLY);
    table.set_header([
        "scope",
        "period from",
        "credits micro",
        "tokens in",
        "tokens out",
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
        meter(Meter::RunsCompleted),
        pool.unwrap_or_else(|| "-".to_owned()),
        names(&scope["limits"], "id"),
        names(&scope["paused_for"], "kind"),
    ]
}
