//! Waiting for what is away: within bounds, said aloud, and without losing the membership of the group.

use std::{
    sync::{
        Arc,
        atomic::{AtomicBool, Ordering},
    },
    time::Duration,
};

use futures::future::BoxFuture;

use super::{Fatal, Interrupt, source::Source};
use crate::{
    ledger::LedgerError,
    notify::publisher::NotPublished,
    observe::health::{Dependency, Health, Waiting},
};

/// How long to wait before a dependency is tried again.
const PAUSE: Duration = Duration::from_millis(200);

/// How long records may be on their way before it is said that a topic does not take them.
const SLOW: Duration = Duration::from_secs(2);

/// What every wait looks at.
#[derive(Clone)]
pub struct Patience {
    /// Where it is said what is missing.
    pub health: Arc<Health>,
    /// Whether the process was asked to stop.
    pub stop: Arc<AtomicBool>,
}

impl Patience {
    /// Whether the process was asked to stop.
    pub fn is_stopped(&self) -> bool {
        self.stop.load(Ordering::Relaxed)
    }

    /// Calls the ledger until it answers.
    ///
    /// # Errors
    /// An [`Interrupt`], if the worker has to leave what it does: then it is not known what was written.
    pub async fn ledger<'a, T>(
        &self,
        source: &dyn Source,
        mut call: impl FnMut() -> BoxFuture<'a, Result<T, LedgerError>>,
    ) -> Result<T, Interrupt> {
        let mut waiting = None;
        loop {
            match call().await {
                Ok(answer) => return Ok(answer),
                Err(LedgerError::Unavailable(why)) => {
                    self.wait_for(source, &mut waiting, Dependency::Redis, &why).await?;
                }
                Err(LedgerError::Misconfigured(why)) => return Err(Fatal::Ledger(why).into()),
            }
        }
    }

    /// Publishes until everything is acknowledged.
    ///
    /// # Errors
    /// An [`Interrupt`], if the worker has to leave what it does: what was not acknowledged comes again.
    pub async fn publish<F: Future<Output = Result<(), NotPublished>>>(
        &self,
        source: &dyn Source,
        mut send: impl FnMut() -> F,
    ) -> Result<(), Interrupt> {
        let mut waiting = None;
        loop {
            match self.while_it_is_slow(source, &mut waiting, send()).await? {
                Ok(()) => return Ok(()),
                Err(error) if error.is_fatal => return Err(Fatal::Kafka(error.to_string()).into()),
                Err(error) => self.wait_for(source, &mut waiting, Dependency::Topics, &error.to_string()).await?,
            }
        }
    }

    /// Waits for records to be acknowledged. The client tries for minutes by itself, so it is asked meanwhile whether the
    /// partitions are still ours, and said what is missing.
    async fn while_it_is_slow<T>(
        &self,
        source: &dyn Source,
        waiting: &mut Option<Waiting>,
        send: impl Future<Output = T>,
    ) -> Result<T, Interrupt> {
        let mut send = std::pin::pin!(send);
        loop {
            match tokio::time::timeout(SLOW, &mut send).await {
                Ok(sent) => return Ok(sent),
                Err(_) => {
                    let why = "records are not acknowledged: a topic is missing, full, or short of replicas";
                    self.wait_for(source, waiting, Dependency::Topics, why).await?;
                }
            }
        }
    }

    /// Says what is missing, until `waiting` is dropped; keeps the membership, and waits a little.
    ///
    /// # Errors
    /// [`Interrupt::Rebalanced`] and [`Interrupt::Stopped`].
    pub async fn wait_for(
        &self,
        source: &dyn Source,
        waiting: &mut Option<Waiting>,
        dependency: Dependency,
        why: &str,
    ) -> Result<(), Interrupt> {
        match waiting {
            Some(waiting) => waiting.because(why),
            None => *waiting = Some(self.health.wait(dependency, why)),
        }
        self.pause(source).await
    }

    /// Says that Redis does not answer, until the probe of the process sees that it does; keeps the membership, and waits
    /// a little. For calls that are not repeated as they were.
    ///
    /// # Errors
    /// [`Interrupt::Rebalanced`] and [`Interrupt::Stopped`].
    pub async fn lose_redis(&self, source: &dyn Source, why: &str) -> Result<(), Interrupt> {
        self.health.lose(Dependency::Redis, why);
        self.pause(source).await
    }

    async fn pause(&self, source: &dyn Source) -> Result<(), Interrupt> {
        if self.is_stopped() {
            return Err(Interrupt::Stopped);
        }
        if let Some(rebalance) = source.poll_membership() {
            return Err(Interrupt::Rebalanced(rebalance));
        }
        tokio::time::sleep(PAUSE).await;
        Ok(())
    }
}
