//! Where records come from: what a worker asks of its membership in the group. [`super::consumer`] is Kafka's; the
//! simulation has one in memory.

use std::time::Duration;

use futures::future::LocalBoxFuture;
use thiserror::Error;

use super::batch::Batch;
use crate::ledger::InputPartition;

/// A change of the member's partitions, still to be answered: by [`Source::assign`] or [`Source::unassign`], also where the
/// group needs no answer any more.
#[derive(Debug)]
pub enum Rebalance {
    /// These partitions are ours, and no others; fetching begins when [`Source::assign`] says where.
    Assigned(Vec<InputPartition>),
    /// All partitions are taken away.
    Revoked,
}

/// Which private queue.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Lane {
    /// Control records, served first.
    Control,
    /// Usage events.
    Usage,
}

/// The source refuses.
#[derive(Debug, Error)]
#[error("{0}")]
pub struct SourceError(String);

impl SourceError {
    /// Says why.
    pub fn because(why: impl Into<String>) -> Self {
        Self(why.into())
    }
}

impl From<rdkafka::error::KafkaError> for SourceError {
    fn from(error: rdkafka::error::KafkaError) -> Self {
        Self(error.to_string())
    }
}

/// A member of the consumer group.
pub trait Source: Send {
    /// Keeps the membership and returns a rebalance that has to be answered. Of several only the last counts: an
    /// assignment that was taken back before it was answered never was.
    fn poll_membership(&self) -> Option<Rebalance>;

    /// Whether the client knows the coordinator of its group; `None` until it has said so once.
    fn knows_group(&self) -> Option<bool>;

    /// Whether brokers answer others than the client.
    fn brokers_answer(&self) -> bool;

    /// Joins the group again, with a new client.
    ///
    /// # Errors
    /// [`SourceError`] if it is refused.
    fn join_anew(&mut self) -> Result<(), SourceError>;

    /// Answers an assignment: fetching begins at the given offsets.
    ///
    /// # Errors
    /// [`SourceError`] if it is refused.
    fn assign(&mut self, begin_at: &[(InputPartition, i64)]) -> Result<(), SourceError>;

    /// Moves partitions that are being fetched to other offsets; what was fetched for the old ones is dropped.
    ///
    /// # Errors
    /// [`SourceError`] if it is refused.
    fn seek(&mut self, begin_at: &[(InputPartition, i64)]) -> Result<(), SourceError>;

    /// Gives all partitions up: the answer to [`Rebalance::Revoked`].
    ///
    /// # Errors
    /// [`SourceError`] if it is refused.
    fn unassign(&mut self) -> Result<(), SourceError>;

    /// Takes what a lane holds, up to `batch.capacity` messages. An empty lane is waited on for one message.
    fn take<'a>(&'a mut self, lane: Lane, wait: Duration, batch: &'a mut Batch) -> LocalBoxFuture<'a, ()>;

    /// The first offset and the end of a partition, asked from the broker.
    ///
    /// # Errors
    /// [`SourceError`] if the broker does not answer within `wait`.
    fn watermarks(&self, input: &InputPartition, wait: Duration) -> Result<(i64, i64), SourceError>;

    /// The ends of partitions, asked from their brokers in one go.
    ///
    /// # Errors
    /// [`SourceError`] if they do not all answer within `wait`.
    fn ends(&self, inputs: &[InputPartition], wait: Duration) -> Result<Vec<i64>, SourceError>;

    /// How many partitions a topic has, asked from the broker.
    ///
    /// # Errors
    /// [`SourceError`] if the broker does not answer within `wait`.
    fn partitions(&self, topic: &str, wait: Duration) -> Result<usize, SourceError>;

    /// The end of a partition as the last fetch saw it, without asking.
    fn known_end(&self, input: &InputPartition) -> Option<i64>;

    /// Writes Kafka's own offsets, for tools that show lag. Nothing starts from them while there is progress.
    fn commit(&self, offsets: &[(InputPartition, i64)]);
}
