//! What Redis has: every account, between two looks at the progress.

use std::{
    collections::{BTreeMap, BTreeSet},
    time::Duration,
};

use redis::cmd;

use super::fold;
use crate::{
    cli::Failure,
    clock::Clock,
    config::Config,
    domain::{
        account::{
            changes::{Head, unpack_older, unpack_signal},
            layout::unpack,
            row::ScopeRow,
            settings::Settings,
        },
        limit::{Action, Limit, Selector, reached},
        meter::Counters,
        scope::Scope,
        signal::Signal,
        time::{DAY_MS, HOUR_MS, MINUTE_MS, Timestamp},
        window::{SESSION_MS, WindowKind},
    },
    ledger::{
        InputPartition, Ledger,
        keys::{AccountKeys, Keys},
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

/// How often an account is read whose parts do not fit together, and how long after.
const LOOKS_MAX: usize = 5;
const LOOK_AGAIN_AFTER: Duration = Duration::from_millis(300);

/// Scope, kind and start of a window.
pub type Place = (String, &'static str, i64);

/// One account.
#[derive(Default)]
pub struct Account {
    /// Every window, with its meters by name.
    pub windows: BTreeMap<Place, BTreeMap<&'static str, i64>>,
    /// Scopes, and whether the public hash differs from their row.
    pub pauses: BTreeMap<String, bool>,
    /// How many ids each of its segments keeps, by start.
    pub ids: BTreeMap<i64, u64>,
    /// Whether what is due here is in the index.
    pub is_in_index: bool,
    /// The highest share that was reached of each limit, in the newest window.
    pub crossings: Vec<Crossing>,
    /// Crossings that wait in the outbox, with the highest share.
    pub to_be_announced: BTreeMap<String, u64>,
    /// From when its rate cards are effective.
    pub cards: BTreeSet<i64>,
    /// What does not fit together.
    pub broken: Vec<String>,
}

/// A share of a limit that was reached.
pub struct Crossing {
    /// As it is named on both sides.
    pub name: String,
    /// As it was named before thresholds told what a limit is set on.
    pub name_before: String,
    /// The highest share that was reached.
    pub percent: u64,
    /// Whose usage.
    pub scope: String,
    /// What the limit is set on.
    pub selector: String,
    /// The limit.
    pub limit_id: String,
    /// When its cap was set, as far as the account knows: windows that ended before tell nothing.
    pub set_at: i64,
    /// Until when its window is open at least.
    pub open_until: i64,
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
    /// Reads everything, and how far the partitions were applied before that.
    pub async fn read(config: &Config) -> Result<(Progress, Self), Failure> {
        let (options, policy) = (config.redis()?, config.rules.policy());
        let ledger =
            RedisLedger::connect(&options, &policy, config.rules.periods_kept, Metrics::new().function_loads).await?;
        let (before, low_water) = progress(&ledger, config).await?;
        let reader = Reader { connection: ledger.connection(), keys: ledger.keys() };
        let mut ids = reader.ids(&options.prefix).await?;
        let mut accounts: BTreeMap<String, Account> = BTreeMap::new();
        for key in reader.connection.scan(&reader.keys.all_accounts()).await? {
            let Some(organization) = reader.keys.organization_of(&key) else { continue };
            let mut account = reader.account_at_rest(&organization).await?;
            account.ids = ids.remove(&organization).unwrap_or_default();
            accounts.insert(organization, account);
        }
        // After the rows: a window that moves out of its row meanwhile is then in one place or in both.
        for (organization, keys) in reader.older(&options.prefix).await? {
            let Some(account) = accounts.get_mut(&organization) else { continue };
            for (kind, start, key) in keys {
                reader.add_older(kind, start, &key, account).await?;
            }
        }
        // What was forgotten while the accounts were read is not asked for: the newest low water is far from it.
        let (_, newest) = progress(&ledger, config).await?;
        let ids_kept_from = low_water.max(newest).plus_ms(-policy.horizon_ms);
        Ok((before, Self { accounts, ids_kept_from }))
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
    /// Reads an account, and once more if its parts do not fit together: they are read one after the other, and a commit
    /// may have come between.
    async fn account_at_rest(&self, organization: &str) -> Result<Account, Failure> {
        let mut account = self.account(organization).await?;
        for _ in 1..LOOKS_MAX {
            if account.is_in_index && !account.pauses.values().any(|differs| *differs) && account.broken.is_empty() {
                break;
            }
            tokio::time::sleep(LOOK_AGAIN_AFTER).await;
            account = self.account(organization).await?;
        }
        Ok(account)
    }

    async fn account(&self, organization: &str) -> Result<Account, Failure> {
        let keys = self.keys.of(organization);
        let fields: BTreeMap<String, Vec<u8>> = self.connection.query(cmd("HGETALL").arg(keys.account())).await?;
        let paused: BTreeSet<String> = self.connection.query(cmd("HKEYS").arg(keys.paused())).await?;
        let settings: Settings =
            fields.get("settings").map_or(Ok(Settings::default()), |packed| unpack("settings", packed))?;
        let head: Head = fields.get("head").map_or(Ok(Head::default()), |packed| unpack("head", packed))?;
        let mut account =
            Account { is_in_index: self.is_in_index(organization, head.due).await?, ..Account::default() };
        account.cards = settings.rate_cards.iter().map(|card| card.value.effective_from.ms()).collect();
        let mut ends = BTreeMap::new();
        for (field, packed) in &fields {
            let Ok(scope) = Scope::parse(field) else { continue };
            let row: ScopeRow = unpack("scope row", packed)?;
            for window in row.windows.iter() {
                account.add(field, window.kind.0, window.start, &window.counters);
            }
            // A row that was not touched since a rule changed has not announced it yet.
            let rules = settings.rules_with_selectors(scope.kind(), row.seat_type());
            let rules = rules.filter(|(_, rule)| rule.changed.max(rule.revision) <= row.rules_revision);
            let rules = rules.filter(|(_, rule)| !rule.yields_to(&row.limits));
            let own = Selector::One(scope.clone());
            let limits = row.limits.iter().map(|limit| (&own, limit)).chain(rules.map(|(on, rule)| (on, rule)));
            let reached = limits.filter_map(|(selector, limit)| crossing(organization, field, selector, limit, &row));
            account.crossings.extend(reached);
            account.pauses.insert(field.clone(), row.pauses.causes.is_empty() == paused.contains(field));
            if let Some(end) = row.pauses.causes.iter().filter_map(|cause| cause.ends_at).min() {
                ends.insert(field.clone(), end.ms());
            }
        }
        for scope in paused.iter().filter(|scope| !fields.contains_key(*scope)) {
            account.pauses.insert(scope.clone(), true);
        }
        self.check_ends(&keys, &ends, &mut account).await?;
        self.check_outbox(organization, &keys, &mut account).await?;
        Ok(account)
    }

    /// Every pause that ends by itself is in the set that is looked at.
    async fn check_ends(
        &self,
        keys: &AccountKeys,
        expected: &BTreeMap<String, i64>,
        account: &mut Account,
    ) -> Result<(), Failure> {
        let mut get = cmd("ZRANGE");
        let stored: Vec<(String, String)> =
            self.connection.query(get.arg(keys.ends()).arg(0).arg(-1).arg("WITHSCORES")).await?;
        let stored: BTreeMap<String, i64> =
            stored.into_iter().filter_map(|(scope, score)| Some((scope, score.parse().ok()?))).collect();
        for (scope, end) in expected.iter().filter(|(scope, end)| stored.get(*scope).is_none_or(|at| at > end)) {
            account.broken.push(format!("{scope} is paused until {end}, and would not be looked at then"));
        }
        Ok(())
    }

    /// Every signal that waits can be read.
    async fn check_outbox(&self, organization: &str, keys: &AccountKeys, account: &mut Account) -> Result<(), Failure> {
        let waiting: BTreeMap<String, Vec<u8>> = self.connection.query(cmd("HGETALL").arg(keys.outbox())).await?;
        for (number, packed) in waiting {
            match unpack_signal(&packed) {
                Ok(Signal::Threshold(crossed)) => {
                    let (scope, percent) = (crossed.scope.to_string(), u64::from(crossed.threshold_percent));
                    let (limit, start) = (&crossed.limit_id, crossed.window.start.ms());
                    let selector = crossed.selector.as_ref().map(Selector::name).unwrap_or_default();
                    let name = crossing_name(organization, &scope, &selector, limit, crossed.revision, start);
                    fold::note_crossing(&mut account.to_be_announced, name, percent);
                }
                Ok(_) => {}
                Err(error) => account.broken.push(format!("signal {number} in the outbox: {error}")),
            }
        }
        Ok(())
    }

    async fn add_older(&self, kind: WindowKind, start: i64, key: &str, account: &mut Account) -> Result<(), Failure> {
        let scopes: BTreeMap<String, Vec<u8>> = self.connection.query(cmd("HGETALL").arg(key)).await?;
        for (scope, packed) in scopes {
            account.add(&scope, kind, Timestamp::from_ms(start), &unpack_older(&packed)?.counters);
        }
        Ok(())
    }

    /// Keys of older windows, by organization.
    async fn older(&self, prefix: &str) -> Result<BTreeMap<String, Vec<(WindowKind, i64, String)>>, Failure> {
        let mut older: BTreeMap<String, Vec<_>> = BTreeMap::new();
        for key in self.connection.scan(&format!("{prefix}:{{*}}:older:*")).await? {
            let mut parts = key.rsplitn(4, ':');
            let (start, kind, _, stem) = (parts.next(), parts.next(), parts.next(), parts.next().unwrap_or_default());
            let Some(start) = start.and_then(|start| start.parse().ok()) else { continue };
            let Some(kind) = WindowKind::ALL.into_iter().find(|known| Some(known.name()) == kind) else { continue };
            let Some(organization) = self.keys.organization_of(&format!("{stem}:account")) else { continue };
            older.entry(organization).or_default().push((kind, start, key));
        }
        Ok(older)
    }

    async fn is_in_index(&self, organization: &str, due: Option<Timestamp>) -> Result<bool, Failure> {
        // What is due already is served: its entry is gone, and its record waits to be read.
        let Some(due) = due.filter(|due| *due > Clock::System.now()) else { return Ok(true) };
        let mut get = cmd("ZSCORE");
        let score: Option<String> =
            self.connection.query(get.arg(self.keys.due_of(organization)).arg(organization)).await?;
        Ok(score.and_then(|score| score.parse::<i64>().ok()).is_some_and(|score| score <= due.ms()))
    }

    /// How many ids each segment has, by organization and start.
    async fn ids(&self, prefix: &str) -> Result<BTreeMap<String, BTreeMap<i64, u64>>, Failure> {
        let mut ids: BTreeMap<String, BTreeMap<i64, u64>> = BTreeMap::new();
        for key in self.connection.scan(&format!("{prefix}:{{*}}:ids:*")).await? {
            let Some((stem, start)) = key.rsplit_once(":ids:") else { continue };
            let (organization, start) = (self.keys.organization_of(&format!("{stem}:account")), start.parse());
            let (Some(organization), Ok(start)) = (organization, start) else { continue };
            let bytes: u64 = self.connection.query(cmd("STRLEN").arg(&key)).await?;
            ids.entry(organization).or_default().insert(start, bytes / ID_BYTES);
        }
        Ok(ids)
    }
}

impl Account {
    fn add(&mut self, scope: &str, kind: WindowKind, start: Timestamp, counters: &Counters) {
        if fold::KINDS.contains(&kind.name()) {
            let meters = counters.iter().map(|(meter, count)| (meter.name(), count)).collect();
            self.windows.insert((scope.to_owned(), kind.name(), start.ms()), meters);
        }
    }

    /// The starts of the organization's own windows of a kind.
    pub fn starts(&self, kind: &str) -> impl Iterator<Item = i64> {
        let of_kind = move |place: &&Place| place.0 == "org" && place.1 == kind;
        self.windows.keys().filter(of_kind).map(|(_, _, start)| *start)
    }
}

/// How crossings of one limit in one window are named on both sides.
pub fn crossing_name(
    organization: &str,
    scope: &str,
    selector: &str,
    limit_id: &str,
    revision: u64,
    start_ms: i64,
) -> String {
    format!("{organization} {scope} limit {limit_id} of {selector:?} revision {revision} window {start_ms}")
}

/// The highest share that the newest window of a scope has reached, if somebody had to be told. Nobody is told of a cap of 0
/// in later windows than that in which it was set, nor of what counts as told since the shares or the action were set
/// otherwise.
fn crossing(organization: &str, scope: &str, selector: &Selector, limit: &Limit, row: &ScopeRow) -> Option<Crossing> {
    let newest = row.windows.iter().filter(|window| window.kind.0 == limit.window).max_by_key(|window| window.start)?;
    let used = newest.counters.get(limit.meter);
    let cap = limit.cap.filter(|cap| *cap > 0 && limit.action != Action::Observe)?;
    let highest = limit.thresholds_percent.iter().rev().find(|percent| reached(used, cap, **percent))?;
    if limit.told_percent.iter().any(|told| told >= highest) {
        return None;
    }
    let start = newest.start.ms();
    let name = |selector: &str| crossing_name(organization, scope, selector, &limit.id, limit.revision, start);
    Some(Crossing {
        name: name(&selector.name()),
        name_before: name(""),
        percent: u64::from(*highest),
        scope: scope.to_owned(),
        selector: selector.name(),
        limit_id: limit.id.to_string(),
        set_at: limit.set_at.ms(),
        open_until: start + length_ms(limit.window),
    })
}

/// How long a window of a kind lasts at least.
const fn length_ms(kind: WindowKind) -> i64 {
    match kind {
        WindowKind::Minute => MINUTE_MS,
        WindowKind::Hour => HOUR_MS,
        WindowKind::Session => SESSION_MS,
        // Where clocks are set forward.
        WindowKind::Day => 23 * HOUR_MS,
        WindowKind::Week => 7 * DAY_MS - HOUR_MS,
        WindowKind::Period => 27 * DAY_MS,
    }
}
