//! The ledger on Redis: one Function call per load and per commit, many of them in one pipeline.
//!
//! - `connection` reaches a single server or a cluster, and tells "away" from "refuses"; `cluster` sends each call to
//!   the primary of its key, and `slots` knows which that is; `node` is the connection to one server.
//! - [`reader`] reads accounts for people and pages.
//! - `calls` says each step in the words of `bursar.lua`, and reads its answers.

mod calls;
mod cluster;
mod connection;
mod node;
pub mod reader;
mod slots;

use std::time::Duration;

use futures::future::{BoxFuture, FutureExt};
use prometheus::IntCounter;
use tracing::warn;

pub use self::connection::{Connection, RedisOptions};
use super::{
    AtTag, Committed, Fence, InputPartition, Ledger, LedgerError, Progress,
    keys::{DUE_TAGS, Keys, PROGRESS_TAGS},
    smallest_of_all,
};
use crate::{
    domain::{
        account::{
            Policy,
            changes::{Changes, Loaded, Needs},
        },
        time::{DAY_MS, Timestamp},
    },
    faults::{Defence, holds},
};

/// At most this many organizations are asked for in one look at the index of due times.
const DUE_MAX: usize = 1_000;

/// How often functions are loaded for the same calls before they wait.
const FUNCTION_LOADS_MAX: u32 = 3;

/// Accounts in Redis, under one prefix.
pub struct RedisLedger {
    connection: Connection,
    keys: Keys,
    retention: calls::Retention,
    /// Calls that found the functions missing and loaded them.
    function_loads: IntCounter,
}

impl RedisLedger {
    /// Connects, loads the functions and checks the server's settings. What is kept follows from the policy, and the
    /// counters of that many billing periods stay readable. Loads of functions that the server had lost are counted.
    ///
    /// # Errors
    /// [`LedgerError::Unavailable`] if the server does not answer within `wait`; [`LedgerError::Misconfigured`] if it
    /// would lose accounts (`maxmemory-policy` evicts) or hides its replication id.
    pub async fn connect(
        options: &RedisOptions,
        policy: &Policy,
        periods_kept: i64,
        function_loads: IntCounter,
    ) -> Result<Self, LedgerError> {
        let ledger = Self {
            connection: Connection::open(options).await?,
            keys: Keys::new(&options.prefix),
            retention: calls::Retention {
                ids_ms: policy.horizon_ms.saturating_mul(4).max(SWEEP_UP_MS),
                // Rows keep the two newest themselves.
                periods_ms: periods_kept.saturating_mul(31 * DAY_MS),
            },
            function_loads,
        };
        ledger.connection.check_server().await?;
        ledger.connection.load_functions().await?;
        let begun = ledger.begin(&[]).await?;
        if begun.fence.0.iter().any(|(lineage, _)| lineage.is_empty()) {
            let why = "Redis hides its replication id (INFO replication), so a failover could not be noticed";
            return Err(LedgerError::Misconfigured(why.to_owned()));
        }
        Ok(ledger)
    }

    /// The connection, for commands that read accounts on their own (`bursar show`).
    pub fn connection(&self) -> &Connection {
        &self.connection
    }

    /// The keys, for commands that read accounts on their own.
    pub fn keys(&self) -> &Keys {
        &self.keys
    }

    /// Sends calls, loads the functions if the server lost them, and sends those that failed for it once more; a few times,
    /// for they may be lost again meanwhile.
    async fn call(&self, calls: impl Fn() -> Vec<redis::Cmd>) -> Result<Vec<redis::Value>, LedgerError> {
        let mut replies = self.connection.send(calls()).await?;
        let missing = |reply: &Result<redis::Value, redis::RedisError>| {
            reply
                .as_ref()
                .is_err_and(|error| error.detail().is_some_and(|detail| detail.contains("Function not found")))
        };
        let mut loads = 0;
        while replies.iter().any(missing) && holds(Defence::Functions) {
            loads += 1;
            if loads > FUNCTION_LOADS_MAX {
                return Err(LedgerError::Unavailable("Redis loses Bursar's functions again and again".to_owned()));
            }
            self.function_loads.inc();
            warn!("Redis has lost bursar's functions: loading them again");
            self.connection.load_functions().await?;
            let again: Vec<usize> = (0..replies.len()).filter(|position| missing(&replies[*position])).collect();
            let failed = calls().into_iter().enumerate().filter(|(position, _)| again.contains(position));
            let failed: Vec<redis::Cmd> = failed.map(|(_, call)| call).collect();
            for (position, reply) in again.into_iter().zip(self.connection.send(failed).await?) {
                replies[position] = reply;
            }
        }
        replies.into_iter().map(|reply| reply.map_err(|error| connection::classify(&error))).collect()
    }

    /// The tags that progress is at: one on a single server, and so many in a cluster that every primary has some.
    fn progress_tags(&self) -> std::ops::Range<u32> {
        if self.connection.is_cluster() { 0..PROGRESS_TAGS } else { 0..1 }
    }
}

impl Ledger for RedisLedger {
    fn load<'a>(&'a self, requests: &'a [(Box<str>, Needs)]) -> BoxFuture<'a, Result<Vec<Loaded>, LedgerError>> {
        async move {
            let load =
                |(organization_id, needs): &(Box<str>, Needs)| calls::load(&self.keys.of(organization_id), needs);
            let replies = self.call(|| requests.iter().map(load).collect()).await?;
            replies.into_iter().zip(requests).map(|(reply, (_, needs))| calls::read_loaded(reply, needs)).collect()
        }
        .boxed()
    }

    fn commit<'a>(&'a self, commits: &'a [(Box<str>, Changes)]) -> BoxFuture<'a, Result<Vec<Committed>, LedgerError>> {
        async move {
            // The index of due times is written before the commit that needs it (design section 5, "Due work").
            let due = |(organization_id, changes): &(Box<str>, Changes)| {
                changes.due.map(|due| calls::be_due(&self.keys.due_of(organization_id), organization_id, due))
            };
            if commits.iter().any(|(_, changes)| changes.due.is_some()) {
                self.call(|| commits.iter().filter_map(due).collect()).await?;
            }
            let commit = |(organization_id, changes): &(Box<str>, Changes)| {
                calls::commit(&self.keys.of(organization_id), changes, self.retention)
            };
            let replies = self.call(|| commits.iter().map(commit).collect()).await?;
            replies.into_iter().map(calls::read_committed).collect()
        }
        .boxed()
    }

    fn at_tags<'a>(&'a self, partitions: &'a [InputPartition]) -> BoxFuture<'a, Result<Vec<AtTag>, LedgerError>> {
        async move {
            let mut fields: Vec<String> = partitions.iter().map(calls::progress_field).collect();
            fields.push(calls::KEPT_FROM.to_owned());
            let token: [u8; 16] = rand::random();
            let begin = |tag| calls::begin(&self.keys, tag, &token, &fields);
            let replies = self.call(|| self.progress_tags().map(begin).collect()).await?;
            let at_tag = |reply| {
                let (lineage, token, mut progress) = calls::read_begun(reply)?;
                let kept_from = calls::read_kept_from(progress.pop().flatten())?;
                let progress = progress.iter().map(|text| text.as_deref().map(Progress::from_text).transpose());
                Ok(AtTag { fence: (lineage, token), progress: progress.collect::<Result<_, _>>()?, kept_from })
            };
            replies.into_iter().map(at_tag).collect()
        }
        .boxed()
    }

    fn advance<'a>(
        &'a self,
        fence: &'a Fence,
        progress: &'a [(InputPartition, Progress)],
        kept_from: Timestamp,
    ) -> BoxFuture<'a, Result<bool, LedgerError>> {
        async move {
            let progress =
                progress.iter().map(|(partition, progress)| (calls::progress_field(partition), progress.to_text()));
            let kept_from =
                (kept_from > Timestamp::MIN).then(|| (calls::KEPT_FROM.to_owned(), kept_from.ms().to_string()));
            let pairs: Vec<(String, String)> = progress.chain(kept_from).collect();
            // The fence has an entry per tag, in the order of the tags.
            let advance = |(tag, of_tag)| calls::advance(&self.keys, tag, of_tag, &pairs);
            let replies = self.call(|| self.progress_tags().zip(&fence.0).map(advance).collect()).await?;
            let mut all_written = true;
            for reply in replies {
                all_written &= calls::read_advanced(reply)?;
            }
            Ok(all_written)
        }
        .boxed()
    }

    fn progress_of_all(&self) -> BoxFuture<'_, Result<Vec<(InputPartition, Progress)>, LedgerError>> {
        async move {
            let calls = || self.progress_tags().map(|tag| calls::all_progress(&self.keys, tag)).collect();
            let replies = self.call(calls).await?;
            let of_tags = replies.into_iter().map(calls::read_all_progress).collect::<Result<Vec<_>, _>>()?;
            Ok(smallest_of_all(&of_tags))
        }
        .boxed()
    }

    fn due(&self, until: Timestamp) -> BoxFuture<'_, Result<Vec<(Box<str>, Timestamp)>, LedgerError>> {
        async move {
            let calls = || (0..DUE_TAGS).map(|tag| calls::due(&self.keys.due(tag), until, DUE_MAX)).collect();
            let mut due = Vec::new();
            for reply in self.call(calls).await? {
                due.extend(calls::read_due(reply)?);
            }
            Ok(due)
        }
        .boxed()
    }

    fn lease<'a>(
        &'a self,
        organizations: &'a [Box<str>],
        holder: u128,
    ) -> BoxFuture<'a, Result<Vec<Duration>, LedgerError>> {
        async move {
            let lease = |organization_id: &str| calls::lease(&self.keys.of(organization_id), holder);
            let replies = self.call(|| organizations.iter().map(|name| lease(name)).collect()).await?;
            replies.into_iter().map(calls::read_lease).collect()
        }
        .boxed()
    }

    fn forget_due<'a>(&'a self, served: &'a [(Box<str>, Timestamp)]) -> BoxFuture<'a, Result<(), LedgerError>> {
        async move {
            let forget = |(organization_id, at): &(Box<str>, Timestamp)| {
                calls::forget_due(&self.keys.due_of(organization_id), organization_id, *at)
            };
            self.call(|| served.iter().map(forget).collect()).await.map(|_| ())
        }
        .boxed()
    }
}

/// Ids and older windows that no commit removed are swept up by Redis after four horizons, but not before this: a
/// service that was down for that long must find them again.
const SWEEP_UP_MS: i64 = 35 * DAY_MS;

/// How long a single call may take before the server counts as away.
pub const CALL_TIMEOUT: Duration = Duration::from_secs(5);
