//! Reaches Redis: one server or a cluster, plain or by TLS, with bounded waits.

use std::collections::HashMap;

use redis::{
    Cmd, ConnectionInfo, ErrorKind, InfoDict, IntoConnectionInfo, RedisError, ServerErrorKind, Value,
    aio::ConnectionManagerConfig, cmd, io::tcp::TcpSettings,
};
use tracing::warn;

use super::{
    CALL_TIMEOUT,
    cluster::Cluster,
    node::{Node, Reply},
};
use crate::{
    faults::{Defence, holds},
    ledger::{LedgerError, keys::Keys},
};

/// The library of functions, as it is loaded into the server.
const FUNCTIONS: &str = include_str!("../bursar.lua");

/// How Redis is reached.
#[derive(Clone, Debug)]
pub struct RedisOptions {
    /// `redis://` or `rediss://`, with user and password; for a cluster any of its nodes.
    pub url: String,
    /// The first part of every key.
    pub prefix: String,
}

/// How the first node is reached. What is written to a socket goes out at once: a commit takes several writes, and by TCP's own
/// rules (Nagle's algorithm) the last one would wait until the one before is acknowledged, which may take 40 ms.
pub(super) fn seed_of(url: &str) -> Result<ConnectionInfo, LedgerError> {
    let seed = url.into_connection_info().map_err(|error| classify(&error))?;
    Ok(seed.set_tcp_settings(TcpSettings::default().set_nodelay(true)))
}

/// A connection that restores itself. Clones share it.
#[derive(Clone)]
pub enum Connection {
    /// One server.
    Single(Node),
    /// A cluster.
    Cluster(Cluster),
}

impl Connection {
    /// Connects, and finds out whether the server is part of a cluster.
    ///
    /// # Errors
    /// [`LedgerError`], by what the server says.
    pub async fn open(options: &RedisOptions) -> Result<Self, LedgerError> {
        // Two providers of cryptography may be linked in; without a choice the first handshake would panic.
        let _ = rustls::crypto::ring::default_provider().install_default();
        let seed = seed_of(&options.url)?;
        let client = redis::Client::open(seed.clone()).map_err(|error| classify(&error))?;
        let config = ConnectionManagerConfig::new()
            .set_connection_timeout(Some(CALL_TIMEOUT))
            .set_response_timeout(Some(CALL_TIMEOUT))
            .set_number_of_retries(1);
        let single = Node::new(client, config.clone())?;
        let info: InfoDict = single.query(cmd("INFO").arg("cluster")).await?;
        if info.get::<i32>("cluster_enabled") != Some(1) {
            return Ok(Self::Single(single));
        }
        Cluster::open(seed, config, &Keys::new(&options.prefix)).await.map(Self::Cluster)
    }

    /// Whether the slots are spread over several primaries.
    pub const fn is_cluster(&self) -> bool {
        matches!(self, Self::Cluster(_))
    }

    /// Sends calls, each of which names its key, and returns a reply for each.
    ///
    /// # Errors
    /// [`LedgerError::Unavailable`] if a connection fails: then it is not known which calls were executed.
    pub async fn send(&self, calls: Vec<Cmd>) -> Result<Vec<Reply>, LedgerError> {
        match self {
            Self::Single(node) => node.pipeline(calls).await,
            Self::Cluster(cluster) => cluster.send(&calls).await,
        }
    }

    /// Sends one call that names its key, and reads its reply.
    ///
    /// # Errors
    /// [`LedgerError`], by what the server says.
    pub async fn query<T: redis::FromRedisValue>(&self, call: &Cmd) -> Result<T, LedgerError> {
        read_reply(self.send(vec![call.clone()]).await?.pop().unwrap_or(Ok(Value::Nil)))
    }

    /// Sends one call to every primary.
    ///
    /// # Errors
    /// [`LedgerError`], by what any server says.
    pub async fn query_all<T: redis::FromRedisValue>(&self, call: &Cmd) -> Result<Vec<T>, LedgerError> {
        let mut replies = Vec::new();
        for primary in self.primaries() {
            replies.push(read(self.query_at(primary.as_deref(), call).await?)?);
        }
        Ok(replies)
    }

    /// The keys that match a pattern, on every primary. Reads the whole keyspace, step by step.
    ///
    /// # Errors
    /// [`LedgerError`], by what the server says.
    pub async fn scan(&self, pattern: &str) -> Result<Vec<String>, LedgerError> {
        let mut keys = Vec::new();
        for primary in self.primaries() {
            let mut cursor = 0_u64;
            loop {
                let mut scan = cmd("SCAN");
                scan.arg(cursor).arg("MATCH").arg(pattern).arg("COUNT").arg(1_000);
                let (next, found): (u64, Vec<String>) = read(self.query_at(primary.as_deref(), &scan).await?)?;
                keys.extend(found);
                cursor = next;
                if cursor == 0 {
                    break;
                }
            }
        }
        Ok(keys)
    }

    /// The primaries; a single server needs no address.
    fn primaries(&self) -> Vec<Option<Box<str>>> {
        match self {
            Self::Single(_) => vec![None],
            Self::Cluster(cluster) => cluster.primaries().into_iter().map(Some).collect(),
        }
    }

    async fn query_at(&self, primary: Option<&str>, call: &Cmd) -> Result<Value, LedgerError> {
        match (self, primary) {
            (Self::Cluster(cluster), Some(address)) => cluster.send_to(address, call).await,
            (Self::Single(node), _) => node.query(call).await,
            (Self::Cluster(_), None) => unreachable!("every primary of a cluster has an address"),
        }
    }

    /// Loads the functions into every primary. Those that have them keep them: a library is never replaced.
    ///
    /// # Errors
    /// [`LedgerError`], by what the server says.
    pub async fn load_functions(&self) -> Result<(), LedgerError> {
        let mut load = cmd("FUNCTION");
        load.arg("LOAD").arg(FUNCTIONS);
        for primary in self.primaries() {
            match self.query_at(primary.as_deref(), &load).await {
                Err(error) if !error.to_string().contains("already exists") => return Err(error),
                _ => {}
            }
        }
        Ok(())
    }

    /// Refuses a server that would throw accounts away, and warns of one that could forget them.
    ///
    /// # Errors
    /// [`LedgerError::Misconfigured`] if `maxmemory-policy` evicts.
    pub async fn check_server(&self) -> Result<(), LedgerError> {
        let mut get = cmd("CONFIG");
        get.arg("GET").arg("maxmemory-policy").arg("appendonly");
        // Managed servers hide CONFIG; what cannot be read cannot be checked.
        let Ok(all) = self.query_all::<HashMap<String, String>>(&get).await else {
            warn!("CONFIG GET is not allowed: make sure that maxmemory-policy is noeviction and that appendonly is on");
            return Ok(());
        };
        for settings in all {
            if let Some(policy) = settings.get("maxmemory-policy").filter(|policy| *policy != "noeviction") {
                return Err(LedgerError::Misconfigured(format!(
                    "maxmemory-policy is {policy}: Redis would throw counters away when memory runs out; set it to noeviction"
                )));
            }
            if settings.get("appendonly").is_some_and(|setting| setting == "no") {
                warn!(
                    "appendonly is no: after a crash of Redis more is replayed from Kafka, back to its last snapshot"
                );
            }
        }
        Ok(())
    }
}

/// Reads the reply of one call.
///
/// # Errors
/// [`LedgerError`], by what the server says.
pub fn read_reply<T: redis::FromRedisValue>(reply: Reply) -> Result<T, LedgerError> {
    read(reply.map_err(|error| classify(&error))?)
}

fn read<T: redis::FromRedisValue>(reply: Value) -> Result<T, LedgerError> {
    redis::from_redis_value(reply).map_err(|error| LedgerError::Misconfigured(error.to_string()))
}

/// Tells an error that may pass from one that will not.
pub fn classify(error: &RedisError) -> LedgerError {
    let transient = match error.kind() {
        ErrorKind::Io | ErrorKind::ClusterConnectionNotFound => true,
        ErrorKind::Server(kind) => matches!(
            kind,
            ServerErrorKind::BusyLoading
                | ServerErrorKind::Moved
                | ServerErrorKind::Ask
                | ServerErrorKind::TryAgain
                | ServerErrorKind::ClusterDown
                | ServerErrorKind::MasterDown
                | ServerErrorKind::ReadOnly
        ),
        // BUSY: a script runs; MISCONF, OOM, NOREPLICAS: it cannot write until somebody makes room or replicas return.
        ErrorKind::Extension => {
            matches!(error.code(), Some("BUSY" | "MISCONF" | "OOM" | "NOREPLICAS" | "UNBLOCKED"))
                && holds(Defence::Waits)
        }
        _ => false,
    };
    let text = format!("Redis: {error}");
    if transient { LedgerError::Unavailable(text) } else { LedgerError::Misconfigured(text) }
}
