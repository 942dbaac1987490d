//! Organizations as they stand, for lists over all of their scopes. Read whole, at most twice a second, and shared by all
//! who ask meanwhile.

use std::{
    cmp::Reverse,
    collections::{HashMap, HashSet},
    sync::{
        Arc, OnceLock,
        atomic::{AtomicBool, Ordering},
    },
    time::{Duration, Instant},
};

use moka::future::Cache;

use super::problem::Problem;
use crate::{
    domain::{
        account::row::ScopeRow,
        meter::{Counters, Meter},
        scope::Scope,
        time::Timestamp,
        window::{Window, WindowKind},
    },
    ledger::redis::reader::{Base, ReadError, Reader},
};

/// How old a list may be.
const FRESH_FOR: Duration = Duration::from_secs(1);

/// Rows held by all snapshots together; some 700 bytes each.
const ROWS_MAX: u64 = 1_000_000;

/// An organization with all of its scopes.
pub struct Snapshot {
    /// What holds for all of it.
    pub base: Base,
    /// Every scope but the organization itself, in their order.
    pub rows: Vec<(Scope, ScopeRow)>,
}

/// What every scope counted in one billing period.
pub struct Counted {
    /// As of which this is.
    pub snapshot: Arc<Snapshot>,
    /// Of each row of the snapshot, in their order.
    pub of_rows: Vec<Counters>,
    /// Of every scope that counted anything, also of those that are no longer there.
    pub all: Vec<(Scope, Counters)>,
    agents: OnceLock<Vec<u32>>,
}

impl Counted {
    /// The places of agents among the rows, those with most credits first: most who ask want these.
    pub fn agents_by_credits(&self) -> &[u32] {
        self.agents.get_or_init(|| {
            let is_agent = |place: &u32| matches!(self.snapshot.rows[*place as usize].0, Scope::Agent { .. });
            let mut agents: Vec<u32> = (0..self.of_rows.len() as u32).filter(is_agent).collect();
            agents.sort_by_key(|place| Reverse(self.of_rows[*place as usize].get(Meter::CreditsMicro)));
            agents
        })
    }
}

/// A snapshot, and when it was read.
#[derive(Clone)]
struct Held {
    snapshot: Option<Arc<Snapshot>>,
    at: Instant,
    /// Somebody reads the next one.
    is_renewed: Arc<AtomicBool>,
}

/// Who asks for an organization that nobody has asked for lately waits until it is read. While it is asked for, it is read anew
/// before it is too old, and nobody waits.
pub struct Snapshots {
    reader: Reader,
    held: Cache<String, Held>,
    past: Cache<(String, Timestamp), Arc<Vec<(Scope, Counters)>>>,
    counted: Cache<(String, Timestamp), Arc<Counted>>,
}

impl Snapshots {
    /// Reads by `reader`.
    pub fn new(reader: Reader) -> Self {
        let rows = |held: &Held| held.snapshot.as_ref().map_or(1, |snapshot| snapshot.rows.len() as u32 + 1);
        let held = Cache::builder().weigher(move |_, held| rows(held)).max_capacity(ROWS_MAX);
        let past = Cache::builder().weigher(|_, all: &Arc<Vec<_>>| all.len() as u32 + 1).max_capacity(ROWS_MAX);
        let counted = Cache::builder().weigher(|_, counted: &Arc<Counted>| counted.all.len() as u32 + 1);
        Self {
            reader,
            held: held.time_to_live(FRESH_FOR).build(),
            past: past.time_to_live(FRESH_FOR).build(),
            counted: counted.max_capacity(ROWS_MAX).time_to_live(FRESH_FOR).build(),
        }
    }

    /// An organization as it stood at most a second ago.
    ///
    /// # Errors
    /// [`Problem::not_found`] if there is none; [`Problem::unavailable`] if it cannot be read.
    pub async fn of(&self, organization_id: &str) -> Result<Arc<Snapshot>, Problem> {
        let read = read(&self.reader, organization_id);
        let held = self.held.try_get_with(organization_id.to_owned(), read).await.map_err(|error| {
            tracing::warn!(%error, organization_id, "an organization cannot be read for the API");
            Problem::unavailable("the accounts cannot be read now; /readyz tells what is missing")
        })?;
        if held.at.elapsed() > FRESH_FOR / 2 && !held.is_renewed.swap(true, Ordering::Relaxed) {
            let (reader, cache, organization_id) = (self.reader.clone(), self.held.clone(), organization_id.to_owned());
            tokio::spawn(async move {
                // If it cannot be read, whoever asks next is told so.
                if let Ok(next) = self::read(&reader, &organization_id).await {
                    cache.insert(organization_id, next).await;
                }
            });
        }
        held.snapshot.ok_or_else(|| no_organization(organization_id))
    }

    /// What every scope counted in a billing period, wherever that is kept.
    ///
    /// # Errors
    /// As [`Snapshots::of`].
    pub async fn counted_in(&self, organization_id: &str, period: Window) -> Result<Arc<Counted>, Problem> {
        let snapshot = self.of(organization_id).await?;
        let (start, key) = (period.start, (organization_id.to_owned(), period.start));
        if let Some(known) = self.counted.get(&key).await.filter(|known| Arc::ptr_eq(&known.snapshot, &snapshot)) {
            return Ok(known);
        }
        let read = async { self.reader.older_of_all(organization_id, WindowKind::Period, start).await.map(Arc::new) };
        let older = self.past.try_get_with(key.clone(), read).await;
        let older = older.map_err(|error| {
            tracing::warn!(%error, organization_id, "a past period cannot be read for the API");
            Problem::unavailable("the accounts cannot be read now; /readyz tells what is missing")
        })?;
        let counted = Arc::new(tokio::task::block_in_place(|| count(snapshot, &older, start)));
        self.counted.insert(key, Arc::clone(&counted)).await;
        Ok(counted)
    }
}

async fn read(reader: &Reader, organization_id: &str) -> Result<Held, ReadError> {
    let snapshot = match reader.base(organization_id).await? {
        Some(base) => Some(Arc::new(Snapshot { base, rows: reader.all_rows(organization_id).await? })),
        None => None,
    };
    Ok(Held { snapshot, at: Instant::now(), is_renewed: Arc::default() })
}

/// What rows keep of a period is newer than what lies beside them.
fn count(snapshot: Arc<Snapshot>, older: &[(Scope, Counters)], start: Timestamp) -> Counted {
    let beside: HashMap<&Scope, &Counters> = older.iter().map(|(scope, counters)| (scope, counters)).collect();
    let of = |scope: &Scope, row: &ScopeRow| {
        let kept = row.windows.counters_of(WindowKind::Period, start);
        kept.or_else(|| beside.get(scope).map(|counters| **counters))
    };
    let own = of(&Scope::Organization, &snapshot.base.organization);
    let counted: Vec<Option<Counters>> = snapshot.rows.iter().map(|(scope, row)| of(scope, row)).collect();
    let mut all: Vec<(Scope, Counters)> = own.into_iter().map(|counters| (Scope::Organization, counters)).collect();
    let rows = snapshot.rows.iter().zip(&counted);
    all.extend(rows.filter_map(|((scope, _), counted)| counted.map(|counters| (scope.clone(), counters))));
    let known: HashSet<&Scope> = all.iter().map(|(scope, _)| scope).collect();
    let gone: Vec<(Scope, Counters)> = older.iter().filter(|(scope, _)| !known.contains(scope)).cloned().collect();
    drop(known);
    all.extend(gone);
    let of_rows = counted.into_iter().map(|counted| counted.unwrap_or(Counters::ZERO)).collect();
    Counted { snapshot, of_rows, all, agents: OnceLock::new() }
}

/// There is no such account.
pub fn no_organization(organization_id: &str) -> Problem {
    Problem::not_found(format!("{organization_id:?} has no account: nothing was used or said yet"))
}
