//! The connection to one server. It restores itself, also when the server does not answer on it any more.

use std::sync::{Arc, Mutex, PoisonError};

use redis::{
    Client, Cmd, RedisError, Value,
    aio::{ConnectionManager, ConnectionManagerConfig},
};
use tracing::warn;

use super::connection::classify;
use crate::{
    faults::{Defence, holds},
    ledger::LedgerError,
};

/// Calls in one pipeline: enough to hide the round trip, few enough to bound the reply buffers of the server. Even, for
/// calls that come in pairs.
const PIPELINE_CALLS_MAX: usize = 256;

/// What came of one call.
pub type Reply = Result<Value, RedisError>;

/// A server. Clones share its connection.
///
/// `redis` connects again by itself when a connection ends. One that is silent (the machine lost its power, or something in
/// between forgot the connection) has not ended, and the system notices after a quarter of an hour; so it is replaced after
/// the first call that is not answered in time.
#[derive(Clone)]
pub struct Node {
    shared: Arc<Shared>,
}

struct Shared {
    client: Client,
    config: ConnectionManagerConfig,
    current: Mutex<Numbered>,
}

/// A connection, and the how-many-th it is.
#[derive(Clone)]
struct Numbered {
    number: u64,
    connection: ConnectionManager,
}

impl Node {
    /// A node that is connected to with the first call.
    ///
    /// # Errors
    /// [`LedgerError::Misconfigured`] if the settings cannot be used.
    pub fn new(client: Client, config: ConnectionManagerConfig) -> Result<Self, LedgerError> {
        let connection = client.get_connection_manager_lazy(config.clone()).map_err(|error| classify(&error))?;
        let current = Mutex::new(Numbered { number: 0, connection });
        Ok(Self { shared: Arc::new(Shared { client, config, current }) })
    }

    /// Sends one call.
    ///
    /// # Errors
    /// [`LedgerError`], by what the server says.
    pub async fn query<T: redis::FromRedisValue>(&self, call: &Cmd) -> Result<T, LedgerError> {
        let mut numbered = self.current();
        let answered = call.query_async(&mut numbered.connection).await;
        answered.map_err(|error| self.failed(&numbered, &error))
    }

    /// Sends calls, many at a time, and returns a reply for each.
    ///
    /// # Errors
    /// [`LedgerError::Unavailable`] if the connection fails: then it is not known which calls were executed.
    pub async fn pipeline(&self, calls: Vec<Cmd>) -> Result<Vec<Reply>, LedgerError> {
        let mut replies = Vec::with_capacity(calls.len());
        let mut calls = calls.into_iter().peekable();
        let mut numbered = self.current();
        while calls.peek().is_some() {
            let mut pipeline = redis::pipe();
            for call in calls.by_ref().take(PIPELINE_CALLS_MAX) {
                pipeline.add_command(call);
            }
            let answered: Result<Vec<Reply>, RedisError> =
                pipeline.ignore_errors().query_async(&mut numbered.connection).await;
            replies.extend(answered.map_err(|error| self.failed(&numbered, &error))?);
        }
        Ok(replies)
    }

    fn current(&self) -> Numbered {
        self.shared.current.lock().unwrap_or_else(PoisonError::into_inner).clone()
    }

    /// Replaces a connection that was silent, unless another call has done so; says what the error means.
    fn failed(&self, seen: &Numbered, error: &RedisError) -> LedgerError {
        if error.is_timeout() && holds(Defence::Replace) {
            let mut current = self.shared.current.lock().unwrap_or_else(PoisonError::into_inner);
            if current.number == seen.number {
                match self.shared.client.get_connection_manager_lazy(self.shared.config.clone()) {
                    Ok(connection) => {
                        warn!("a call to Redis was not answered in time: its connection is replaced");
                        *current = Numbered { number: seen.number + 1, connection };
                    }
                    Err(why) => warn!(%why, "the connection to Redis stays as it is"),
                }
            }
        }
        classify(error)
    }
}
