//! Reads the pauses topic back and finds what differs from the accounts.
//!
//! The topic is compacted: the last record of a scope is what gateways believe. A worker that was taken for dead may
//! wake up and write an old record last. So every process reads the topic from its beginning, and a scope whose last
//! record has settled is held against its account by the worker that owns it; if they differ, the account's truth is
//! published again (design section 4, "Signals").

use std::{
    collections::HashMap,
    sync::{Mutex, PoisonError},
    time::{Duration, Instant},
};

use crate::domain::scope::Scope;

/// A record has settled when it has been the last one of its scope for this long.
const SETTLED_AFTER: Duration = Duration::from_secs(5);

/// Suspects that are handed out at once.
const SUSPECTS_MAX: usize = 100;

/// What the topic says of a scope, to be held against its account.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Suspect {
    /// Whose scope.
    pub organization_id: Box<str>,
    /// Which scope.
    pub scope: Scope,
    /// The generation that the topic has.
    pub generation: i64,
    /// Whether it says that the scope is paused.
    pub paused: bool,
}

/// What was read back. Shared by the reader and the workers of a process.
#[derive(Debug, Default)]
pub struct Readback {
    last: Mutex<HashMap<(Box<str>, Box<str>), Last>>,
}

#[derive(Debug)]
struct Last {
    partition: i32,
    generation: i64,
    causes: Vec<Box<str>>,
    read: Instant,
    /// Whether it still has to be held against the account.
    unchecked: bool,
}

impl Readback {
    /// Notes the record that is now the last one of its scope.
    pub fn note(&self, partition: i32, organization_id: &str, scope: &str, generation: i64, causes: Vec<Box<str>>) {
        let last = Last { partition, generation, causes, read: Instant::now(), unchecked: true };
        self.last.lock().unwrap_or_else(PoisonError::into_inner).insert((organization_id.into(), scope.into()), last);
    }

    /// Takes scopes whose last record has settled, in partitions that are `ours`. Each is handed out once.
    pub fn take_suspects(&self, ours: impl Fn(i32) -> bool) -> Vec<Suspect> {
        let Ok(mut last) = self.last.try_lock() else { return Vec::new() };
        let mut suspects = Vec::new();
        for ((organization_id, scope), last) in last.iter_mut() {
            if suspects.len() == SUSPECTS_MAX {
                break;
            }
            if last.unchecked && last.read.elapsed() >= SETTLED_AFTER && ours(last.partition) {
                last.unchecked = false;
                if let Ok(scope) = Scope::parse(scope) {
                    let paused = !last.causes.is_empty();
                    suspects.push(Suspect { organization_id: organization_id.clone(), scope, generation: last.generation, paused });
                }
            }
        }
        suspects
    }

    /// How many scopes are paused for a kind of cause, as the topic has it.
    pub fn paused_by(&self, cause: &str) -> usize {
        let last = self.last.lock().unwrap_or_else(PoisonError::into_inner);
        last.values().filter(|last| last.causes.iter().any(|of| &**of == cause)).count()
    }
}
