//! Before there are partitions: the wait for the group, and what to do about a client that does not find it.

use std::time::Duration;

use tokio::time::Instant;

use super::{IDLE_WAIT, TICK, Worker};
use crate::{
    ingest::{Fatal, Interrupt},
    observe::health::Dependency,
};

/// A worker that waits for partitions, and whose client is lost for so long, says so.
const SAID_AFTER: Duration = Duration::from_secs(10);

/// And after this joins with a new client.
const REPLACED_AFTER: Duration = Duration::from_secs(30);

impl Worker {
    /// Waits for the group to say what is ours. A client that is lost for long, while brokers answer others, is replaced: one was
    /// once seen to look for the coordinator of its group for ever, on a connection that it did not open.
    pub(super) async fn wait_for_partitions(&mut self) -> Interrupt {
        let (mut waiting, mut asked_at, mut lost_since) = (None, Instant::now(), None);
        loop {
            if let Err(interrupt) = self.keep_membership() {
                return interrupt;
            }
            if asked_at.elapsed() >= TICK {
                let knows_group = self.source.knows_group();
                let is_lost = knows_group == Some(false) && self.source.brokers_answer();
                asked_at = Instant::now();
                lost_since = is_lost.then(|| lost_since.unwrap_or(asked_at));
                let lost_for = lost_since.map_or(Duration::ZERO, |since| since.elapsed());
                if knows_group == Some(true) {
                    waiting = None;
                } else if lost_for >= SAID_AFTER && waiting.is_none() {
                    let why = "a worker looks for its consumer group";
                    waiting = Some(self.around.patience.health.wait(Dependency::Kafka, why));
                }
                if lost_for >= REPLACED_AFTER {
                    lost_since = None;
                    self.around.metrics.joins_anew.inc();
                    if let Err(error) = self.source.join_anew() {
                        return Fatal::Kafka(error.to_string()).into();
                    }
                }
            }
            tokio::time::sleep(IDLE_WAIT).await;
        }
    }
}
