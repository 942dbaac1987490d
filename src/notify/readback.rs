//! Reads the pauses topic back and finds what differs from the accounts.
//!
//! The topic is compacted: the last record of a scope is what gateways believe. A worker that was taken for dead may
//! wake up and write an old record last. So every process reads the topic from its beginning, and a scope whose last
//! record has settled is held against its account by the worker that owns it; if they differ, the account's truth is
//! published again (design section 4, "Signals").

use std::{
    collections::{BTreeMap, VecDeque},
    sync::{Mutex, MutexGuard, PoisonError},
    time::Duration,
};

use tokio::time::Instant;

use crate::domain::scope::Scope;

/// A record has settled when it has been the last one of its scope for this long.
const SETTLED_AFTER: Duration = Duration::from_secs(5);

/// Records that wait to be checked in one partition; the oldest are dropped beyond that.
const UNCHECKED_MAX: usize = 100_000;

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
    state: Mutex<State>,
}

#[derive(Debug, Default)]
struct State {
    last: BTreeMap<Key, Last>,
    /// By partition, scopes whose last record is to be held against the account, the longest settled first.
    unchecked: BTreeMap<i32, VecDeque<(Instant, Key)>>,
}

/// Organization and scope.
type Key = (Box<str>, Box<str>);

#[derive(Debug)]
struct Last {
    partition: i32,
    generation: i64,
    causes: Vec<Box<str>>,
    read: Instant,
}

impl Readback {
    /// Notes the record that is now the last one of its scope.
    pub fn note(&self, partition: i32, organization_id: &str, scope: &str, generation: i64, causes: Vec<Box<str>>) {
        let (key, read) = ((organization_id.into(), scope.into()), Instant::now());
        let mut state = self.lock();
        let unchecked = state.unchecked.entry(partition).or_default();
        unchecked.push_back((read, Key::clone(&key)));
        // Whoever takes a partition over has all of it checked, so nothing is lost where nobody here takes from.
        if unchecked.len() > UNCHECKED_MAX {
            unchecked.pop_front();
        }
        state.last.insert(key, Last { partition, generation, causes, read });
    }

    /// Has every scope of the partitions that are `ours` checked: whoever had them before may have written last.
    pub fn check_all(&self, ours: impl Fn(i32) -> bool) {
        let state = &mut *self.lock();
        for (_, unchecked) in state.unchecked.iter_mut().filter(|(partition, _)| ours(**partition)) {
            unchecked.clear();
        }
        for (key, last) in state.last.iter().filter(|(_, last)| ours(last.partition)) {
            state.unchecked.entry(last.partition).or_default().push_back((last.read, key.clone()));
        }
    }

    /// Takes scopes whose last record has settled, in partitions that are `ours`. What is not ours is left to those
    /// whose it is.
    pub fn take_suspects(&self, ours: impl Fn(i32) -> bool) -> Vec<Suspect> {
        let Ok(mut state) = self.state.try_lock() else { return Vec::new() };
        let State { last, unchecked } = &mut *state;
        let mut suspects = Vec::new();
        for (_, queue) in unchecked.iter_mut().filter(|(partition, _)| ours(**partition)) {
            while suspects.len() < SUSPECTS_MAX {
                let Some((read, key)) = queue.pop_front_if(|(read, _)| read.elapsed() >= SETTLED_AFTER) else { break };
                // What was superseded meanwhile stands further behind.
                let Some(last) = last.get(&key).filter(|last| last.read == read) else { continue };
                if let Ok(scope) = Scope::parse(&key.1) {
                    let (generation, paused) = (last.generation, !last.causes.is_empty());
                    suspects.push(Suspect { organization_id: key.0, scope, generation, paused });
                }
            }
        }
        suspects
    }

    /// How many scopes are paused for a kind of cause, as the topic has it.
    pub fn paused_by(&self, cause: &str) -> usize {
        self.lock().last.values().filter(|last| last.causes.iter().any(|of| &**of == cause)).count()
    }

    fn lock(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }
}
