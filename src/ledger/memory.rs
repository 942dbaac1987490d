//! A ledger in memory: for `bursar demo` and for tests. Nothing of it outlives the process.

use std::{
    collections::{BTreeMap, HashMap},
    sync::{Mutex, MutexGuard, PoisonError},
    time::Duration,
};

use futures::future::{BoxFuture, FutureExt, ready};
use tokio::time::Instant;

use super::{AtTag, Committed, Fence, InputPartition, LEASE, Ledger, LedgerError, Progress, raise};
use crate::domain::{
    account::changes::{Changes, Loaded, LoadedBase, Needs, OlderKey, WalkCursor, WalkPage, Walked},
    time::Timestamp,
};

/// The server process that a walk is bound to.
const RUN: &str = "memory";

/// Accounts, progress and due times in plain maps behind one lock.
#[derive(Debug, Default)]
pub struct MemoryLedger {
    state: Mutex<State>,
}

#[derive(Debug, Default)]
struct State {
    accounts: HashMap<Box<str>, Stored>,
    progress: BTreeMap<InputPartition, Progress>,
    kept_from: Option<Timestamp>,
    due: BTreeMap<Box<str>, Timestamp>,
    leases: HashMap<Box<str>, (u128, Instant)>,
    lineage: u64,
}

#[derive(Debug, Default)]
struct Stored {
    head: Option<Vec<u8>>,
    fields: HashMap<Box<str>, Vec<u8>>,
    older: HashMap<OlderKey, Vec<u8>>,
    segments: HashMap<Timestamp, Vec<u8>>,
    outbox: BTreeMap<u64, Vec<u8>>,
    paused: BTreeMap<Box<str>, String>,
    ends: BTreeMap<Box<str>, Timestamp>,
}

impl MemoryLedger {
    /// An empty ledger.
    pub fn new() -> Self {
        Self::default()
    }

    /// Becomes another server with the same content, as after a restart: positions read before no longer hold.
    pub fn change_lineage(&self) {
        self.lock().lineage += 1;
    }

    /// The names of all organizations that have an account.
    pub fn organizations(&self) -> Vec<Box<str>> {
        let mut names: Vec<_> = self.lock().accounts.keys().cloned().collect();
        names.sort();
        names
    }

    /// The fields of an account that hold scopes, in the order of their names.
    pub fn scope_fields(&self, organization_id: &str) -> Vec<(Box<str>, Vec<u8>)> {
        let state = self.lock();
        let fields = state.accounts.get(organization_id).map(|stored| &stored.fields).into_iter().flatten();
        let mut rows: Vec<_> = fields
            .filter(|(field, _)| &***field == "org" || field.contains(':'))
            .map(|(field, row)| (field.clone(), row.clone()))
            .collect();
        rows.sort();
        rows
    }

    /// Windows of an organization's scopes that their rows no longer keep.
    pub fn older_windows(&self, organization_id: &str) -> Vec<(OlderKey, Vec<u8>)> {
        let state = self.lock();
        let older = state.accounts.get(organization_id).map(|stored| &stored.older).into_iter().flatten();
        let mut windows: Vec<_> = older.map(|(key, counters)| (key.clone(), counters.clone())).collect();
        windows.sort();
        windows
    }

    /// The public `paused` hash of an organization.
    pub fn paused(&self, organization_id: &str) -> BTreeMap<Box<str>, String> {
        self.lock().accounts.get(organization_id).map(|stored| stored.paused.clone()).unwrap_or_default()
    }

    fn lock(&self) -> MutexGuard<'_, State> {
        // Each step leaves the state whole, so a panic elsewhere does not spoil it.
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Ledger for MemoryLedger {
    fn load<'a>(&'a self, requests: &'a [(Box<str>, Needs)]) -> BoxFuture<'a, Result<Vec<Loaded>, LedgerError>> {
        let state = self.lock();
        let nothing = Stored::default();
        let load = |(organization_id, needs): &(Box<str>, Needs)| {
            state.accounts.get(organization_id).unwrap_or(&nothing).load(needs)
        };
        ready(Ok(requests.iter().map(load).collect())).boxed()
    }

    fn commit<'a>(&'a self, commits: &'a [(Box<str>, Changes)]) -> BoxFuture<'a, Result<Vec<Committed>, LedgerError>> {
        let (mut state, now) = (self.lock(), Instant::now());
        let mut results = Vec::with_capacity(commits.len());
        for (organization_id, changes) in commits {
            if let Some(due) = changes.due {
                state.due.insert(organization_id.clone(), due);
            }
            let mut committed = state.accounts.entry(organization_id.clone()).or_default().commit(changes);
            let left = state.leases.get(organization_id).map(|(_, until)| until.saturating_duration_since(now));
            if let (Committed::Written, Some(left)) = (committed, left.filter(|left| !left.is_zero())) {
                committed = Committed::Contested(left);
            }
            results.push(committed);
        }
        ready(Ok(results)).boxed()
    }

    fn at_tags<'a>(&'a self, partitions: &'a [InputPartition]) -> BoxFuture<'a, Result<Vec<AtTag>, LedgerError>> {
        let state = self.lock();
        let progress = partitions.iter().map(|partition| state.progress.get(partition).copied()).collect();
        let kept_from = state.kept_from.unwrap_or(Timestamp::MIN);
        ready(Ok(vec![AtTag { fence: state.fence(), progress, kept_from }])).boxed()
    }

    fn advance<'a>(
        &'a self,
        fence: &'a Fence,
        progress: &'a [(InputPartition, Progress)],
        kept_from: Timestamp,
    ) -> BoxFuture<'a, Result<bool, LedgerError>> {
        let mut state = self.lock();
        let holds = fence.0[..] == [state.fence()];
        if holds {
            state.kept_from = state.kept_from.max(Some(kept_from));
            raise(&mut state.progress, progress);
        }
        ready(Ok(holds)).boxed()
    }

    fn progress_of_all(&self) -> BoxFuture<'_, Result<Vec<(InputPartition, Progress)>, LedgerError>> {
        let all = self.lock().progress.iter().map(|(partition, progress)| (partition.clone(), *progress)).collect();
        ready(Ok(all)).boxed()
    }

    fn due(&self, until: Timestamp) -> BoxFuture<'_, Result<Vec<(Box<str>, Timestamp)>, LedgerError>> {
        let state = self.lock();
        let due = state.due.iter().filter(|(_, due)| **due <= until);
        ready(Ok(due.map(|(organization_id, due)| (organization_id.clone(), *due)).collect())).boxed()
    }

    fn lease<'a>(
        &'a self,
        organizations: &'a [Box<str>],
        holder: u128,
    ) -> BoxFuture<'a, Result<Vec<Duration>, LedgerError>> {
        let (mut state, now) = (self.lock(), Instant::now());
        let mut lease = |organization_id: &str| {
            let (by, until) = state.leases.entry(organization_id.into()).or_insert((holder, now + LEASE));
            if *until <= now || *by == holder {
                (*by, *until) = (holder, now + LEASE);
            }
            if *by == holder { Duration::ZERO } else { *until - now }
        };
        ready(Ok(organizations.iter().map(|organization_id| lease(organization_id)).collect())).boxed()
    }

    fn forget_due<'a>(&'a self, served: &'a [(Box<str>, Timestamp)]) -> BoxFuture<'a, Result<(), LedgerError>> {
        let mut state = self.lock();
        for (organization_id, at) in served {
            if state.due.get(organization_id) == Some(at) {
                state.due.remove(organization_id);
            }
        }
        ready(Ok(())).boxed()
    }
}

impl State {
    fn fence(&self) -> (String, Vec<u8>) {
        (self.lineage.to_string(), Vec::new())
    }
}

impl Stored {
    fn load(&self, needs: &Needs) -> Loaded {
        let base = needs.base.then(|| LoadedBase {
            settings: self.fields.get("settings").cloned(),
            calendar: self.fields.get("calendar").cloned(),
            segments: self.fields.get("segments").cloned(),
            outbox: self.outbox.iter().map(|(number, signal)| (*number, signal.clone())).collect(),
        });
        let ending = needs.ending.map(|page| {
            let mut ends: Vec<_> = self.ends.iter().map(|(scope, end)| (*end, scope)).collect();
            ends.sort();
            let within = ends.iter().take_while(|(end, _)| *end <= page.until);
            let scopes =
                within.skip(page.offset).take(page.limit).map(|(end, scope)| ((*scope).clone(), *end)).collect();
            (scopes, ends.iter().map(|(end, _)| *end).find(|end| *end > page.until))
        });
        Loaded {
            head: self.head.clone(),
            base,
            scopes: needs.scopes.iter().map(|field| self.fields.get(field).cloned()).collect(),
            segments: needs.segments.iter().map(|start| self.segments.get(start).cloned()).collect(),
            older: needs.older.iter().map(|key| self.older.get(key).cloned()).collect(),
            ending,
            walk: needs.walk.as_ref().map(|page| self.walk(page)),
        }
    }

    /// A page of all fields in the order of their names.
    fn walk(&self, page: &WalkPage) -> Walked {
        let known = page.cursor.as_ref().filter(|cursor| &*cursor.run == RUN);
        let first = known.map_or(0, |cursor| usize::try_from(cursor.place).unwrap_or(usize::MAX));
        let mut names: Vec<&Box<str>> = self.fields.keys().collect();
        names.sort();
        let last = names.len().min(first.saturating_add(page.limit));
        let rows = names[first.min(last)..last].iter().map(|name| ((*name).clone(), self.fields[*name].clone()));
        let next = WalkCursor { run: RUN.into(), place: last as u64 };
        Walked { rows: rows.collect(), next: (last < names.len()).then_some(next) }
    }

    fn commit(&mut self, changes: &Changes) -> Committed {
        if self.head != changes.expected {
            return Committed::Refused;
        }
        self.head = Some(changes.head.clone());
        let text = |name: &[u8]| std::str::from_utf8(name).expect("fields have names").into();
        self.fields.extend(changes.fields.iter().map(|(name, value)| (text(name), value.to_vec())));
        self.older.extend(changes.older.iter().cloned());
        self.outbox.extend(changes.signals.iter().cloned());
        for number in &changes.forget {
            self.outbox.remove(number);
        }
        for (start, ids) in &changes.seen.append {
            self.segments.entry(*start).or_default().extend_from_slice(ids);
        }
        for start in &changes.seen.remove {
            self.segments.remove(start);
        }
        for paused in &changes.paused {
            match &paused.causes_json {
                Some(causes) => self.paused.insert(paused.scope.clone(), causes.clone()),
                None => self.paused.remove(&paused.scope),
            };
            match paused.look_at {
                Some(at) => self.ends.insert(paused.scope.clone(), at),
                None => self.ends.remove(&paused.scope),
            };
        }
        Committed::Written
    }
}
