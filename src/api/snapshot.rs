//! Organizations as they stand, for lists over all of their scopes. Read whole, at most twice a second, and shared by all
//! who ask meanwhile.

use std::{
    cmp::Reverse,
    collections::{BTreeSet, HashMap, HashSet},
    sync::{
        Arc, Mutex, OnceLock, PoisonError,
        atomic::{AtomicBool, AtomicU64, Ordering},
    },
    time::{Duration, Instant},
};

use futures::future::ready;
use moka::{Entry, future::Cache};
use tokio::task::block_in_place;

use super::{figures::Chain, page::joined, problem::Problem, utilisation::LimitInUse};
use crate::{
    clock::Clock,
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
    /// When it was read, by the configured clock.
    pub now: Timestamp,
    /// No other snapshot has this.
    number: u64,
    read_at: Instant,
    /// Somebody reads the next one.
    is_renewed: AtomicBool,
    /// Starts of billing periods that were asked for.
    periods: Mutex<BTreeSet<Timestamp>>,
    limits: OnceLock<Vec<LimitInUse>>,
    /// Somebody asked for the limits.
    limits_asked: AtomicBool,
}

impl Snapshot {
    /// Every scope with its row, the organization first.
    pub fn all(&self) -> impl Iterator<Item = (&Scope, &ScopeRow)> {
        let own = std::iter::once((&Scope::Organization, &self.base.organization));
        own.chain(self.rows.iter().map(|(scope, row)| (scope, row)))
    }

    /// A scope of a row, and those that it lies in: what stops one of them stops it.
    pub fn chain<'a>(&'a self, scope: &'a Scope, row: &'a ScopeRow) -> Chain<'a> {
        let workspace = match scope {
            Scope::Agent { workspace, .. } => self.row(&Scope::Workspace(workspace.clone())),
            _ => None,
        };
        let organization = (&Scope::Organization, &self.base.organization);
        [Some((scope, row)), workspace, Some(organization)].into_iter().flatten().collect()
    }

    fn row(&self, scope: &Scope) -> Option<(&Scope, &ScopeRow)> {
        let place = self.rows.binary_search_by(|(known, _)| known.cmp(scope)).ok()?;
        Some((&self.rows[place].0, &self.rows[place].1))
    }

    /// Every limit of every scope, those that are used most first.
    pub fn limits_by_use(&self) -> &[LimitInUse] {
        self.limits_asked.store(true, Ordering::Relaxed);
        self.sorted_limits()
    }

    fn sorted_limits(&self) -> &[LimitInUse] {
        self.limits.get_or_init(|| LimitInUse::all_of(self))
    }
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
    /// Somebody asked for the agents.
    agents_asked: AtomicBool,
}

impl Counted {
    /// The places of agents among the rows in the order of the list: those with most credits first, then by name.
    pub fn agents_by_credits(&self) -> &[u32] {
        self.agents_asked.store(true, Ordering::Relaxed);
        self.sorted_agents()
    }

    fn sorted_agents(&self) -> &[u32] {
        self.agents.get_or_init(|| {
            let is_agent = |place: &u32| matches!(self.snapshot.rows[*place as usize].0, Scope::Agent { .. });
            let mut agents: Vec<u32> = (0..self.of_rows.len() as u32).filter(is_agent).collect();
            agents.sort_by_cached_key(|place| {
                let place = *place as usize;
                (Reverse(self.of_rows[place].get(Meter::CreditsMicro)), agent_sort_key(&self.snapshot.rows[place].0))
            });
            agents
        })
    }
}

/// What agents that count alike are sorted by.
pub fn agent_sort_key(scope: &Scope) -> String {
    let Scope::Agent { agent, .. } = scope else { return String::new() };
    joined(&[agent, &scope.to_string()])
}

/// Who asks for an organization that nobody has asked for lately waits until it is read. While it is asked for, it is read anew
/// before it is too old, with all that was asked for of the last one, and nobody waits.
#[derive(Clone)]
pub struct Snapshots {
    reader: Reader,
    clock: Clock,
    next_number: Arc<AtomicU64>,
    held: Cache<String, Option<Arc<Snapshot>>>,
    past: Cache<(String, Timestamp), Arc<Vec<(Scope, Counters)>>>,
    /// By the number of the snapshot, and the start of the period.
    counted: Cache<(u64, Timestamp), Arc<Counted>>,
}

impl Snapshots {
    /// Reads by `reader`; `clock` says in which window limits stand.
    pub fn new(reader: Reader, clock: Clock) -> Self {
        let rows = |held: &Option<Arc<Snapshot>>| held.as_ref().map_or(1, |snapshot| snapshot.rows.len() as u32 + 1);
        let held = Cache::builder().weigher(move |_, held| rows(held)).max_capacity(ROWS_MAX);
        let past = Cache::builder().weigher(|_, all: &Arc<Vec<_>>| all.len() as u32 + 1).max_capacity(ROWS_MAX);
        let counted = Cache::builder().weigher(|_, counted: &Arc<Counted>| counted.all.len() as u32 + 1);
        Self {
            reader,
            clock,
            next_number: Arc::default(),
            held: held.time_to_live(FRESH_FOR).build(),
            past: past.time_to_live(FRESH_FOR).build(),
            counted: counted.max_capacity(ROWS_MAX).time_to_live(FRESH_FOR).build(),
        }
    }

    /// An organization as it stood at most a second ago, and the time that it took to read and to sort.
    ///
    /// # Errors
    /// [`Problem::not_found`] if there is none; [`Problem::unavailable`] if it cannot be read.
    pub async fn of(&self, organization_id: &str) -> Result<Arc<Snapshot>, Problem> {
        let read = self.read(organization_id);
        let held = self.held.try_get_with_by_ref(organization_id, read).await.map_err(|error| {
            tracing::warn!(%error, organization_id, "an organization cannot be read for the API");
            Problem::unavailable("the accounts cannot be read now; /readyz tells what is missing")
        })?;
        let held = held.ok_or_else(|| no_organization(organization_id))?;
        if held.read_at.elapsed() > FRESH_FOR / 2 && !held.is_renewed.swap(true, Ordering::Relaxed) {
            tokio::spawn(self.clone().renew(organization_id.to_owned(), Arc::clone(&held)));
        }
        Ok(held)
    }

    /// What every scope counted in a billing period, wherever that is kept.
    ///
    /// # Errors
    /// As [`Snapshots::of`].
    pub async fn counted_in(&self, organization_id: &str, period: Window) -> Result<Arc<Counted>, Problem> {
        let snapshot = self.of(organization_id).await?;
        snapshot.periods.lock().unwrap_or_else(PoisonError::into_inner).insert(period.start);
        self.counted_of(&snapshot, organization_id, period.start).await.map_err(|error| {
            tracing::warn!(%error, organization_id, "a past period cannot be read for the API");
            Problem::unavailable("the accounts cannot be read now; /readyz tells what is missing")
        })
    }

    async fn counted_of(
        &self,
        snapshot: &Arc<Snapshot>,
        organization_id: &str,
        start: Timestamp,
    ) -> Result<Arc<Counted>, Arc<ReadError>> {
        let count = async {
            let read =
                async { self.reader.older_of_all(organization_id, WindowKind::Period, start).await.map(Arc::new) };
            let older = self.past.try_get_with((organization_id.to_owned(), start), read).await?;
            Ok::<_, Arc<ReadError>>(Arc::new(block_in_place(|| count(Arc::clone(snapshot), &older, start))))
        };
        let counted = self.counted.try_get_with((snapshot.number, start), count).await;
        counted.map_err(Arc::unwrap_or_clone)
    }

    async fn read(&self, organization_id: &str) -> Result<Option<Arc<Snapshot>>, ReadError> {
        let Some(base) = self.reader.base(organization_id).await? else { return Ok(None) };
        Ok(Some(Arc::new(Snapshot {
            base,
            rows: self.reader.all_rows(organization_id).await?,
            now: self.clock.now(),
            number: self.next_number.fetch_add(1, Ordering::Relaxed),
            read_at: Instant::now(),
            is_renewed: AtomicBool::new(false),
            periods: Mutex::default(),
            limits: OnceLock::new(),
            limits_asked: AtomicBool::new(false),
        })))
    }

    /// Makes the next snapshot ready for what was asked for of the last one, and then puts it in its place. If it cannot be
    /// read, whoever asks next is told so.
    async fn renew(self, organization_id: String, last: Arc<Snapshot>) {
        let Ok(Some(next)) = self.read(&organization_id).await else { return };
        if last.limits_asked.load(Ordering::Relaxed) {
            block_in_place(|| next.sorted_limits());
        }
        let periods = last.periods.lock().unwrap_or_else(PoisonError::into_inner).clone();
        for start in &periods {
            let counted = self.counted.get(&(last.number, *start)).await;
            let Ok(next) = self.counted_of(&next, &organization_id, *start).await else { return };
            if counted.is_some_and(|counted| counted.agents_asked.load(Ordering::Relaxed)) {
                block_in_place(|| next.sorted_agents());
            }
        }
        // Where this took long, somebody may have read a newer one meanwhile.
        let newest = |held: Option<Entry<String, Option<Arc<Snapshot>>>>| {
            let held = held.and_then(Entry::into_value);
            ready(Some(held.filter(|held| held.number > next.number).unwrap_or(next)))
        };
        self.held.entry(organization_id).and_upsert_with(newest).await;
        for start in periods {
            self.counted.invalidate(&(last.number, start)).await;
        }
    }
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
    Counted { snapshot, of_rows, all, agents: OnceLock::new(), agents_asked: AtomicBool::new(false) }
}

/// There is no such account.
pub fn no_organization(organization_id: &str) -> Problem {
    Problem::not_found(format!("{organization_id:?} has no account: nothing was used or said yet"))
}
