//! Which control partitions the workers of this process have.

use std::{
    collections::HashMap,
    sync::{
        Arc, Mutex, MutexGuard, PoisonError,
        atomic::{AtomicU64, Ordering},
    },
};

/// What all workers of the process have.
#[derive(Debug, Default)]
pub struct Holdings {
    held: Mutex<HashMap<u64, Vec<i32>>>,
    next: AtomicU64,
}

/// What one worker has, until this is dropped.
#[derive(Debug)]
pub struct Holding {
    all: Arc<Holdings>,
    number: u64,
}

impl Holdings {
    /// Notes what a worker has from now on.
    pub fn take(self: &Arc<Self>, partitions: Vec<i32>) -> Holding {
        let number = self.next.fetch_add(1, Ordering::Relaxed);
        self.lock().insert(number, partitions);
        Holding { all: Arc::clone(self), number }
    }

    /// Whether any worker of the process has a partition.
    pub fn holds(&self, partition: i32) -> bool {
        self.lock().values().any(|held| held.contains(&partition))
    }

    fn lock(&self) -> MutexGuard<'_, HashMap<u64, Vec<i32>>> {
        self.held.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Drop for Holding {
    fn drop(&mut self) {
        self.all.lock().remove(&self.number);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_a_worker_loses_is_not_held_any_more() {
        let holdings = Arc::new(Holdings::default());
        let (one, other) = (holdings.take(vec![0, 1]), holdings.take(vec![2]));
        assert!(holdings.holds(1) && holdings.holds(2) && !holdings.holds(3));
        drop(one);
        assert!(!holdings.holds(1) && holdings.holds(2));
        drop(other);
        assert!(!holdings.holds(2));
    }
}
