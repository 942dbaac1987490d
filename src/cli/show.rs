//! `bursar show`: an account as it stands in Redis, page by page.

use std::collections::BTreeMap;

use clap::Args;
use comfy_table::{Table, presets::UTF8_BORDERS_ONLY};
use redis::cmd;
use serde_json::{Value as Json, json};

mod account;

use self::account::{account_json, scope_json};
use super::Failure;
use crate::{
    config::Config,
    domain::{
        account::{changes::Head, layout::unpack, row::ScopeRow, settings::Settings},
        meter::Meter,
        window::WindowKind,
    },
    ledger::{
        Progress,
        keys::Keys,
        redis::{Connection, RedisOptions},
    },
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
    let options: RedisOptions = config.redis()?;
    let viewer = Viewer { connection: Connection::open(&options).await?, keys: Keys::new(&options.prefix) };
    if let Some(organization_id) = &arguments.organization {
        let account = viewer.account(organization_id, arguments.cursor, arguments.limit).await?;
        let mut account = account.ok_or_else(|| format!("there is no account {organization_id:?}"))?;
        account["progress"] = viewer.progress().await?;
        if arguments.json {
            println!("{account}")
        } else {
            print_table(&account)
        }
        return Ok(());
    }
    for organization_id in viewer.organizations().await? {
        if !arguments.all {
            println!("{organization_id}");
            continue;
        }
        if let Some(account) = viewer.organization_row(&organization_id).await? {
            if arguments.json { println!("{account}") } else { print_table(&account) }
        }
    }
    Ok(())
}

/// Reads accounts without changing anything.
struct Viewer {
    connection: Connection,
    keys: Keys,
}

impl Viewer {
    async fn organizations(&self) -> Result<Vec<String>, Failure> {
        let mut names = Vec::new();
        for key in self.connection.scan(&self.keys.all_accounts()).await? {
            names.extend(self.keys.organization_of(&key));
        }
        names.sort();
        names.dedup();
        Ok(names)
    }

    /// The whole account, a page of its scopes at a time.
    async fn account(&self, organization_id: &str, cursor: u64, limit: u32) -> Result<Option<Json>, Failure> {
        let Some(mut account) = self.organization_row(organization_id).await? else { return Ok(None) };
        let key = self.keys.of(organization_id).account();
        let mut get = cmd("HGET");
        get.arg(&key).arg("settings");
        let packed: Option<Vec<u8>> = self.connection.query(&get).await?;
        let settings: Settings = packed.map_or(Ok(Settings::default()), |packed| unpack("settings", &packed))?;
        let mut scan = cmd("HSCAN");
        scan.arg(&key).arg(cursor).arg("COUNT").arg(limit);
        let (next, fields): (u64, Vec<(String, Vec<u8>)>) = self.connection.query(&scan).await?;
        let mut scopes = Vec::new();
        for (field, packed) in fields.iter().filter(|(field, _)| field.contains(':')) {
            scopes.push(scope_json(field, &unpack("scope row", packed)?, &settings));
        }
        scopes.sort_by(|a, b| a["scope"].as_str().cmp(&b["scope"].as_str()));
        account["scopes"].as_array_mut().expect("the organization's own row is a list of one").extend(scopes);
        account["next_cursor"] = if next == 0 { Json::Null } else { next.into() };
        Ok(Some(account))
    }

    /// How far every input partition has been applied.
    async fn progress(&self) -> Result<Json, Failure> {
        let mut get = cmd("HGETALL");
        get.arg(self.keys.progress(0));
        let fields: BTreeMap<String, Vec<u8>> = self.connection.query(&get).await?;
        let mut partitions = Vec::new();
        for (partition, packed) in fields.iter().filter(|(partition, _)| partition.contains('/')) {
            let Progress { next_offset, record_time, .. } = Progress::from_text(packed)?;
            partitions.push(json!({
                "partition": partition, "next_offset": next_offset, "record_time": record_time.to_string(),
            }));
        }
        Ok(partitions.into())
    }

    /// The account with the organization's own row only.
    async fn organization_row(&self, organization_id: &str) -> Result<Option<Json>, Failure> {
        let mut get = cmd("HMGET");
        get.arg(self.keys.of(organization_id).account()).arg("head").arg("org").arg("settings");
        let (head, row, settings): (Option<Vec<u8>>, Option<Vec<u8>>, Option<Vec<u8>>) =
            self.connection.query(&get).await?;
        if head.is_none() {
            return Ok(None);
        }
        let settings: Settings = settings.map_or(Ok(Settings::default()), |packed| unpack("settings", &packed))?;
        let row: ScopeRow = row.map_or(Ok(ScopeRow::default()), |packed| unpack("scope row", &packed))?;
        let head: Head = head.map_or(Ok(Head::default()), |packed| unpack("head", &packed))?;
        let mut account = account_json(organization_id, &settings, &head);
        account["scopes"] = json!([scope_json("org", &row, &settings)]);
        Ok(Some(account))
    }
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
