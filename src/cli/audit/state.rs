//! What Redis has: every account, between two looks at the progress.

use std::collections::{BTreeMap, BTreeSet};

use redis::cmd;

use crate::{
    cli::Failure,
    config::Config,
    domain::{
        account::{changes::Head, layout::unpack, row::ScopeRow, settings::Settings},
        limit::{Action, Limit, reached},
        meter::Counters,
        scope::Scope,
        time::Timestamp,
        window::WindowKind,
    },
    ledger::{
        InputPartition, Ledger,
        keys::Keys,
        redis::{Connection, RedisLedger},
    },
    observe::metrics::Metrics,
};

/// What pays; together it is the charge.
pub const SOURCES: [&str; 6] = [
    "seat_credits_micro",
    "pool_credits_micro",
    "prepaid_credits_micro",
    "postpaid_credits_micro",
    "uncovered_credits_micro",
    "free_credits_micro",
];

/// Bytes of one stored id.
const ID_BYTES: u64 = 10;

/// Scope, kind and start of a window.
pub type Place = (String, &'static str, i64);

/// One account.
#[derive(Default)]
pub struct Account {
    /// Every window, with its meters by name.
    pub windows: BTreeMap<Place, BTreeMap<&'static str, i64>>,
    /// Scopes, and whether the public hash differs from their row.
    pub pauses: BTreeMap<String, bool>,
    /// How many ids it keeps.
    pub ids: u64,
    /// Whether what is due here is in the index.
    pub is_in_index: bool,
    /// The highest share that was reached of each limit, in the newest window.
    pub crossings: Vec<String>,
}

/// What Redis has.
pub struct State {
    /// By organization.
    pub accounts: BTreeMap<String, Account>,
    /// Ids of before this are forgotten.
    pub ids_kept_from: Timestamp,
}

/// How far each partition is applied.
pub type Progress = BTreeMap<InputPartition, i64>;

impl State {
    /// Reads everything, and how far the partitions were applied before and after that.
    pub async fn read(config: &Config) -> Result<(Progress, Self, Progress), Failure> {
        let (options, policy) = (config.redis()?, config.rules.policy());
        let ledger =
            RedisLedger::connect(&options, &policy, config.rules.periods_kept, Metrics::new().function_loads).await?;
        let (before, _) = progress(&ledger, config).await?;
        let reader = Reader { connection: ledger.connection(), keys: ledger.keys() };
        let ids = reader.ids(&options.prefix).await?;
        let mut accounts = BTreeMap::new();
        for key in reader.connection.scan(&reader.keys.all_accounts()).await? {
            let Some(organization) = reader.keys.organization_of(&key) else { continue };
            let mut account = reader.account(&organization, &options.prefix).await?;
            account.ids = ids.get(&organization).copied().unwrap_or(0);
            accounts.insert(organization, account);
        }
        let (after, low_water) = progress(&ledger, config).await?;
        let ids_kept_from = low_water.plus_ms(-policy.horizon_ms);
        Ok((before, Self { accounts, ids_kept_from }, after))
    }
}

async fn progress(ledger: &RedisLedger, config: &Config) -> Result<(Progress, Timestamp), Failure> {
    let ours = |topic: &str| topic == config.topics.control || config.topics.usage.iter().any(|usage| usage == topic);
    let all: Vec<_> = ledger.progress_of_all().await?.into_iter().filter(|(input, _)| ours(&input.topic)).collect();
    let low_water = all.iter().map(|(_, progress)| progress.low_water).max().unwrap_or(Timestamp::MIN);
    Ok((all.into_iter().map(|(input, progress)| (input, progress.next_offset)).collect(), low_water))
}

struct Reader<'a> {
    connection: &'a Connection,
    keys: &'a Keys,
}

impl Reader<'_> {
    async fn account(&self, organization: &str, prefix: &str) -> Result<Account, Failure> {
        let keys = self.keys.of(organization);
        let mut get = cmd("HGETALL");
        let fields: BTreeMap<String, Vec<u8>> = self.connection.query(get.arg(keys.account())).await?;
        let mut get = cmd("HKEYS");
        let paused: BTreeSet<String> = self.connection.query(get.arg(keys.paused())).await?;
        let settings: Settings =
            fields.get("settings").map_or(Ok(Settings::default()), |packed| unpack("settings", packed))?;
        let head: Head = fields.get("head").map_or(Ok(Head::default()), |packed| unpack("head", packed))?;
        let mut account =
            Account { is_in_index: self.is_in_index(organization, head.due).await?, ..Account::default() };
        for (field, packed) in &fields {
            let Ok(scope) = Scope::parse(field) else { continue };
            let row: ScopeRow = unpack("scope row", packed)?;
            for window in &row.windows {
                account.add(field, window.kind.0, window.start, &window.counters);
            }
            let limits = row.limits.iter().chain(settings.rules_for(scope.kind(), row.seat_type()));
            account.crossings.extend(limits.filter_map(|limit| crossing(organization, field, limit, &row)));
            account.pauses.insert(field.clone(), row.pauses.causes.is_empty() == paused.contains(field));
        }
        for scope in paused.iter().filter(|scope| !fields.contains_key(*scope)) {
            account.pauses.insert(scope.clone(), true);
        }
        for key in self.connection.scan(&format!("{}*", keys.account().replace(":account", ":older:"))).await? {
            self.add_older(&key, prefix, &mut account).await?;
        }
        Ok(account)
    }

    async fn add_older(&self, key: &str, prefix: &str, account: &mut Account) -> Result<(), Failure> {
        let mut parts = key.strip_prefix(prefix).unwrap_or(key).rsplit(':');
        let (Some(start), Some(kind)) = (parts.next(), parts.next()) else { return Ok(()) };
        let (Ok(start), Some(kind)) = (start.parse(), WindowKind::ALL.into_iter().find(|known| known.name() == kind))
        else {
            return Ok(());
        };
        let mut get = cmd("HGETALL");
        let scopes: BTreeMap<String, Vec<u8>> = self.connection.query(get.arg(key)).await?;
        for (scope, packed) in scopes {
            account.add(&scope, kind, Timestamp::from_ms(start), &unpack("older window", &packed)?);
        }
        Ok(())
    }

    async fn is_in_index(&self, organization: &str, due: Option<Timestamp>) -> Result<bool, Failure> {
        let Some(due) = due else { return Ok(true) };
        let mut get = cmd("ZSCORE");
        let score: Option<String> =
            self.connection.query(get.arg(self.keys.due_of(organization)).arg(organization)).await?;
        // An entry that is served already waits for its record to be read.
        Ok(score.and_then(|score| score.parse::<i64>().ok()).is_some_and(|score| score <= due.ms()) || due.ms() <= 0)
    }

    async fn ids(&self, prefix: &str) -> Result<BTreeMap<String, u64>, Failure> {
        let mut ids = BTreeMap::new();
        for key in self.connection.scan(&format!("{prefix}:{{*}}:ids:*")).await? {
            let account = key.rsplit_once(":ids:").map_or(String::new(), |(stem, _)| format!("{stem}:account"));
            let Some(organization) = self.keys.organization_of(&account) else { continue };
            let bytes: u64 = self.connection.query(cmd("STRLEN").arg(&key)).await?;
            *ids.entry(organization).or_insert(0) += bytes / ID_BYTES;
        }
        Ok(ids)
    }
}

impl Account {
    fn add(&mut self, scope: &str, kind: WindowKind, start: Timestamp, counters: &Counters) {
        if matches!(kind, WindowKind::Hour | WindowKind::Period) {
            let meters = counters.iter().map(|(meter, count)| (meter.name(), count)).collect();
            self.windows.insert((scope.to_owned(), kind.name(), start.ms()), meters);
        }
    }
}

/// How a crossing is named on both sides.
pub fn crossing_name(
    organization: &str,
    scope: &str,
    limit_id: &str,
    revision: u64,
    start_ms: i64,
    percent: u64,
) -> String {
    format!("{organization} {scope} limit {limit_id} revision {revision} window {start_ms}: {percent} %")
}

fn crossing(organization: &str, scope: &str, limit: &Limit, row: &ScopeRow) -> Option<String> {
    let newest = row.windows.iter().filter(|window| window.kind.0 == limit.window).max_by_key(|window| window.start)?;
    let used = newest.counters.get(limit.meter);
    let cap = limit.cap.filter(|_| limit.action != Action::Observe)?;
    let highest = limit.thresholds_percent.iter().rev().find(|percent| reached(used, cap, **percent))?;
    Some(crossing_name(organization, scope, &limit.id, limit.revision, newest.start.ms(), u64::from(*highest)))
}
