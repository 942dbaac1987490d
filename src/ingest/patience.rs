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
    observe::health::{Dependency, Health},
};

/// How long to wait before a dependency is tried again.
const PAUSE: Duration = Duration::from_millis(200);

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
        loop {
            match call().await {
                Ok(answer) => {
                    self.health.regain(Dependency::Redis);
                    return Ok(answer);
                }
                Err(LedgerError::Unavailable(why)) => self.wait_for(source, Dependency::Redis, &why).await?,
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
        loop {
            match send().await {
                Ok(()) => {
                    self.health.regain(Dependency::Kafka);
                    return Ok(());
                }
                Err(error) if error.is_fatal => return Err(Fatal::Kafka(error.to_string()).into()),
                Err(error) => self.wait_for(source, Dependency::Kafka, &error.to_string()).await?,
            }
        }
    }

    /// Says what is missing, keeps the membership, and waits a little.
    ///
    /// # Errors
    /// [`Interrupt::Rebalanced`] and [`Interrupt::Stopped`].
    pub async fn wait_for(&self, source: &dyn Source, dependency: Dependency, why: &str) -> Result<(), Interrupt> {
        self.health.lose(dependency, why);
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
