//! Kafka in: from a partition's records to committed accounts, published signals and written progress.
//!
//! - [`worker`] tells the story: join, begin, take a batch, settle it, publish, advance.
//! - [`source`] is what a worker asks of its membership in the group; [`consumer`] is Kafka's, which takes a [`batch`] from a `queue`.
//! - [`positions`] knows how far each partition was read and applied; [`start`] where one begins.
//! - [`holdings`] knows which control partitions this process has.
//! - [`lanes`] merges control records and usage by record time.
//! - [`silence`] finds partitions that the client does not fetch any more.
//! - [`deferral`] is why progress waits after a failover.
//! - [`low_water`] knows what may be forgotten.
//! - [`decode`] turns bytes into events, or into a reason.
//! - [`settle`] takes a batch through load, decide and commit, account by account.
//! - [`accounts`] is what a worker holds in memory.
//! - [`patience`] waits for what is away, without losing the membership.

pub mod accounts;
pub mod batch;
pub mod consumer;
pub mod decode;
pub mod deferral;
pub mod holdings;
pub mod lanes;
pub mod low_water;
pub mod patience;
pub mod positions;
mod queue;
pub mod settle;
pub mod silence;
pub mod source;
pub mod start;
pub mod worker;

use thiserror::Error;

/// What ends a tenure: the time between two assignments in which positions hold.
#[derive(Debug)]
pub enum Interrupt {
    /// Partitions come or go.
    Rebalanced(source::Rebalance),
    /// The ledger is not the one any more that positions were read from.
    FenceMoved,
    /// The client does not fetch a partition any more, although the broker holds more of it.
    Stuck,
    /// Another worker has applied what this one still holds: it lost its partitions without knowing.
    Overtaken,
    /// The process was asked to stop.
    Stopped,
    /// It would be wrong to go on.
    Fatal(Fatal),
}

/// Why a worker stops for good: a person has to look.
#[derive(Debug, Error)]
pub enum Fatal {
    /// Redis refuses, or holds what this release cannot read.
    #[error("the ledger cannot be used: {0}")]
    Ledger(String),
    /// Kafka refuses.
    #[error("Kafka refuses: {0}")]
    Kafka(String),
    /// The log does not fit the progress.
    #[error("{0}")]
    Log(String),
}

impl From<Fatal> for Interrupt {
    fn from(fatal: Fatal) -> Self {
        Self::Fatal(fatal)
    }
}
