//! Reaches Redis: one server or a cluster, plain or by TLS, with bounded waits.

use futures::stream::{self, StreamExt};
use redis::{
    Cmd, ErrorKind, InfoDict, RedisError, ServerErrorKind, Value,
    aio::{ConnectionManager, ConnectionManagerConfig},
    cluster::ClusterClientBuilder,
    cluster_async::ClusterConnection,
    cluster_routing::{RoutingInfo, SingleNodeRoutingInfo},
    cmd,
};
use tracing::warn;

use super::CALL_TIMEOUT;
use crate::ledger::LedgerError;

/// The library of functions, as it is loaded into the server.
const FUNCTIONS: &str = include_str!("../bursar.lua");

/// Calls in one pipeline, or at the same time in a cluster: enough to hide the round trip, few enough to bound the
/// reply buffers of the server.
const PIPELINE_CALLS_MAX: usize = 256;

/// How Redis is reached.
#[derive(Clone, Debug)]
pub struct RedisOptions {
    /// `redis://` or `rediss://`, with user and password; for a cluster any of its nodes.
    pub url: String,
    /// The first part of every key.
    pub prefix: String,
}

/// A connection that restores itself. Clones share it.
#[derive(Clone)]
pub enum Connection {
    /// One server.
    Single(ConnectionManager),
    /// A cluster.
    Cluster(ClusterConnection),
}

impl Connection {
    /// Connects, and finds out whether the server is part of a cluster.
    ///
    /// # Errors
    /// [`LedgerError`], by what the server says.
    pub async fn open(options: &RedisOptions) -> Result<Self, LedgerError> {
        // Two providers of cryptography may be linked in; without a choice the first handshake would panic.
        let _ = rustls::crypto::ring::default_provider().install_default();
        let client = redis::Client::open(options.url.as_str()).map_err(|error| classify(&error))?;
        let config = ConnectionManagerConfig::new()
            .set_connection_timeout(Some(CALL_TIMEOUT))
            .set_response_timeout(Some(CALL_TIMEOUT))
            .set_number_of_retries(1);
        let mut single = client.get_connection_manager_with_config(config).await.map_err(|error| classify(&error))?;
        let info: InfoDict =
            cmd("INFO").arg("cluster").query_async(&mut single).await.map_err(|error| classify(&error))?;
        if info.get::<i32>("cluster_enabled") != Some(1) {
            return Ok(Self::Single(single));
        }
        let cluster = ClusterClientBuilder::new([options.url.as_str()])
            .connection_timeout(CALL_TIMEOUT)
            .response_timeout(CALL_TIMEOUT)
            .retries(3)
            .build()
            .map_err(|error| classify(&error))?;
        cluster.get_async_connection().await.map(Self::Cluster).map_err(|error| classify(&error))
    }

    /// Whether the slots are spread over several primaries.
    pub const fn is_cluster(&self) -> bool {
        matches!(self, Self::Cluster(_))
    }

    /// Sends calls and returns a reply for each. Pipelined on one server; side by side in a cluster, where a pipeline
    /// may not span slots.
    ///
    /// # Errors
    /// [`LedgerError::Unavailable`] if the connection fails: then it is not known which calls were executed.
    pub async fn send(&self, calls: Vec<Cmd>) -> Result<Vec<Result<Value, RedisError>>, LedgerError> {
        match self {
            Self::Single(connection) => {
                let mut replies = Vec::with_capacity(calls.len());
                let mut calls = calls.into_iter().peekable();
                while calls.peek().is_some() {
                    let mut pipeline = redis::pipe();
                    for call in calls.by_ref().take(PIPELINE_CALLS_MAX) {
                        pipeline.add_command(call);
                    }
                    let mut connection = connection.clone();
                    let answered: Vec<Result<Value, RedisError>> = pipeline
                        .ignore_errors()
                        .query_async(&mut connection)
                        .await
                        .map_err(|error| classify(&error))?;
                    replies.extend(answered);
                }
                Ok(replies)
            }
            Self::Cluster(connection) => {
                let side_by_side: Vec<_> = calls.into_iter().map(|call| (call, connection.clone())).collect();
                let replies = stream::iter(side_by_side)
                    .map(|(call, mut connection)| async move { call.query_async::<Value>(&mut connection).await });
                Ok(replies.buffered(PIPELINE_CALLS_MAX).collect().await)
            }
        }
    }

    /// Sends one call and reads its reply.
    ///
    /// # Errors
    /// [`LedgerError`], by what the server says.
    pub async fn query<T: redis::FromRedisValue>(&self, call: &Cmd) -> Result<T, LedgerError> {
        let reply = match self {
            Self::Single(connection) => call.query_async(&mut connection.clone()).await,
            Self::Cluster(connection) => call.query_async(&mut connection.clone()).await,
        };
        reply.map_err(|error| classify(&error))
    }

    /// The keys that match a pattern, on every primary. Reads the whole keyspace, step by step.
    ///
    /// # Errors
    /// [`LedgerError`], by what the server says.
    pub async fn scan(&self, pattern: &str) -> Result<Vec<String>, LedgerError> {
        let mut keys = Vec::new();
        for primary in self.primaries().await? {
            let mut cursor = 0_u64;
            loop {
                let mut scan = cmd("SCAN");
                scan.arg(cursor).arg("MATCH").arg(pattern).arg("COUNT").arg(1_000);
                let reply = match (self, &primary) {
                    (Self::Cluster(connection), Some(route)) => {
                        connection.clone().route_command(scan, route.clone()).await
                    }
                    (Self::Single(connection), _) => scan.query_async(&mut connection.clone()).await,
                    (Self::Cluster(connection), None) => scan.query_async(&mut connection.clone()).await,
                };
                let reply = reply.map_err(|error| classify(&error))?;
                let (next, found): (u64, Vec<String>) =
                    redis::from_redis_value(reply).map_err(|error| LedgerError::Misconfigured(error.to_string()))?;
                keys.extend(found);
                cursor = next;
                if cursor == 0 {
                    break;
                }
            }
        }
        Ok(keys)
    }

    /// How each primary is addressed; a single server needs no address.
    async fn primaries(&self) -> Result<Vec<Option<RoutingInfo>>, LedgerError> {
        let Self::Cluster(_) = self else { return Ok(vec![None]) };
        let mut nodes = cmd("CLUSTER");
        nodes.arg("NODES");
        let nodes: String = self.query(&nodes).await?;
        let address = |line: &str| {
            let mut words = line.split(' ').skip(1);
            let (address, flags) = (words.next()?, words.next()?);
            let (host, port) = address.split('@').next()?.rsplit_once(':')?;
            let is_primary = flags.split(',').any(|flag| flag == "master");
            let route = SingleNodeRoutingInfo::ByAddress { host: host.to_owned(), port: port.parse().ok()? };
            is_primary.then_some(Some(RoutingInfo::SingleNode(route)))
        };
        Ok(nodes.lines().filter_map(address).collect())
    }

    /// Loads the functions into every primary. Those that have them keep them: a library is never replaced.
    ///
    /// # Errors
    /// [`LedgerError`], by what the server says.
    pub async fn load_functions(&self) -> Result<(), LedgerError> {
        let mut load = cmd("FUNCTION");
        load.arg("LOAD").arg(FUNCTIONS);
        let reply: Result<Value, RedisError> = match self {
            Self::Single(connection) => load.query_async(&mut connection.clone()).await,
            Self::Cluster(connection) => load.query_async(&mut connection.clone()).await,
        };
        match reply {
            Err(error) if !error.detail().is_some_and(|detail| detail.contains("already exists")) => {
                Err(classify(&error))
            }
            _ => Ok(()),
        }
    }

    /// Refuses a server that would throw accounts away, and warns of one that could forget them.
    ///
    /// # Errors
    /// [`LedgerError::Misconfigured`] if `maxmemory-policy` evicts.
    pub async fn check_server(&self) -> Result<(), LedgerError> {
        let mut get = cmd("CONFIG");
        get.arg("GET").arg("maxmemory-policy").arg("appendonly");
        // Managed servers hide CONFIG; what cannot be read cannot be checked.
        let Ok(settings) = self.query::<std::collections::HashMap<String, String>>(&get).await else {
            warn!("CONFIG GET is not allowed: make sure that maxmemory-policy is noeviction and that appendonly is on");
            return Ok(());
        };
        if let Some(policy) = settings.get("maxmemory-policy").filter(|policy| *policy != "noeviction") {
            return Err(LedgerError::Misconfigured(format!(
                "maxmemory-policy is {policy}: Redis would throw counters away when memory runs out; set it to noeviction"
            )));
        }
        if settings.get("appendonly").is_some_and(|setting| setting == "no") {
            warn!("appendonly is no: after a crash of Redis more is replayed from Kafka, back to its last snapshot");
        }
        Ok(())
    }
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
        }
        _ => false,
    };
    let text = format!("Redis: {error}");
    if transient { LedgerError::Unavailable(text) } else { LedgerError::Misconfigured(text) }
}
