//! The present: the system's clock, or for replays and tests the newest record time of this process.

use std::{
    sync::{
        Arc,
        atomic::{AtomicI64, Ordering},
    },
    time::{SystemTime, UNIX_EPOCH},
};

use crate::domain::time::Timestamp;

/// Where the present is read from. Clones share it.
#[derive(Clone, Debug)]
pub enum Clock {
    /// The system's clock.
    System,
    /// The newest record time over all partitions of this process.
    Records(Arc<AtomicI64>),
    /// What a simulation says, in milliseconds.
    Told(Arc<AtomicI64>),
}

impl Clock {
    /// A clock that stands until the first record comes.
    pub fn records() -> Self {
        Self::Records(Arc::new(AtomicI64::new(0)))
    }

    /// The present.
    pub fn now(&self) -> Timestamp {
        match self {
            Self::System => {
                let since_epoch = SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default();
                Timestamp::from_ms(i64::try_from(since_epoch.as_millis()).unwrap_or(i64::MAX))
            }
            Self::Records(now) | Self::Told(now) => Timestamp::from_ms(now.load(Ordering::Relaxed)),
        }
    }

    /// Notes a record time that was seen.
    pub fn observe(&self, record_time: Timestamp) {
        if let Self::Records(newest) = self {
            newest.fetch_max(record_time.ms(), Ordering::Relaxed);
        }
    }

    /// Whether the present is told by records.
    pub const fn follows_records(&self) -> bool {
        matches!(self, Self::Records(_))
    }
}
