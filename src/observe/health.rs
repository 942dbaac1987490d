//! Whether the process can do its work now, and what it lacks.

use std::{
    collections::BTreeMap,
    sync::{
        Arc, Mutex, MutexGuard, PoisonError,
        atomic::{AtomicU64, Ordering},
    },
};

/// What the process depends on.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Dependency {
    /// The brokers.
    Kafka,
    /// The ledger.
    Redis,
    /// The schema registry.
    SchemaRegistry,
    /// The topics that we write to: brokers may answer, and not take records.
    Topics,
}

impl Dependency {
    /// Every dependency.
    pub const ALL: [Self; 4] = [Self::Kafka, Self::Redis, Self::SchemaRegistry, Self::Topics];

    /// The name shown by `/readyz` and in metrics.
    pub const fn name(self) -> &'static str {
        match self {
            Self::Kafka => "kafka",
            Self::Redis => "redis",
            Self::SchemaRegistry => "schema_registry",
            Self::Topics => "topics",
        }
    }
}

/// What is missing, and why. Shared by the whole process.
///
/// A dependency is missing as long as somebody says so: who has lost it and did not regain it, or anyone who waits for it.
/// So one worker that gets on does not hide another one that does not.
#[derive(Debug, Default)]
pub struct Health {
    missing: Mutex<BTreeMap<Dependency, BTreeMap<Who, String>>>,
    waits: AtomicU64,
}

/// Who says that a dependency is missing: the process as a whole, or one that waits, by number.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
enum Who {
    Process,
    Wait(u64),
}

/// Somebody waits for a dependency. Dropping this ends the wait, whatever became of it.
#[derive(Debug)]
pub struct Waiting {
    health: Arc<Health>,
    dependency: Dependency,
    who: Who,
}

impl Waiting {
    /// Says again why, as of now.
    pub fn because(&self, why: &str) {
        self.health.say(self.dependency, self.who, why);
    }
}

impl Drop for Waiting {
    fn drop(&mut self) {
        self.health.unsay(self.dependency, self.who);
    }
}

impl Health {
    /// Of a process that has not reached anything yet.
    pub fn starting() -> Self {
        let health = Self::default();
        for dependency in [Dependency::Kafka, Dependency::Redis] {
            health.hold().insert(dependency, [(Who::Process, "not reached yet".to_owned())].into());
        }
        health
    }

    /// Notes that a dependency does not answer the process.
    pub fn lose(&self, dependency: Dependency, why: &str) {
        self.say(dependency, Who::Process, why);
    }

    /// Notes that a dependency answers the process.
    pub fn regain(&self, dependency: Dependency) {
        self.unsay(dependency, Who::Process);
    }

    /// Notes that somebody waits for a dependency from now on.
    pub fn wait(self: &Arc<Self>, dependency: Dependency, why: &str) -> Waiting {
        let who = Who::Wait(self.waits.fetch_add(1, Ordering::Relaxed));
        self.say(dependency, who, why);
        Waiting { health: Arc::clone(self), dependency, who }
    }

    /// What does not answer now, and what the first one says of it.
    pub fn missing(&self) -> BTreeMap<Dependency, String> {
        let first = |said: &BTreeMap<Who, String>| said.values().next().cloned().unwrap_or_default();
        self.hold().iter().map(|(dependency, said)| (*dependency, first(said))).collect()
    }

    /// Says so in the log when the first one says it.
    fn say(&self, dependency: Dependency, who: Who, why: &str) {
        let mut missing = self.hold();
        if !missing.contains_key(&dependency) {
            tracing::warn!(dependency = dependency.name(), why, "waiting for a dependency");
        }
        missing.entry(dependency).or_default().insert(who, why.to_owned());
    }

    /// Says so in the log when nobody says it any more.
    fn unsay(&self, dependency: Dependency, who: Who) {
        let mut missing = self.hold();
        let Some(said) = missing.get_mut(&dependency) else { return };
        said.remove(&who);
        if said.is_empty() {
            missing.remove(&dependency);
            tracing::info!(dependency = dependency.name(), "the dependency answers again");
        }
    }

    fn hold(&self) -> MutexGuard<'_, BTreeMap<Dependency, BTreeMap<Who, String>>> {
        self.missing.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_dependency_is_missing_until_the_last_one_has_it() {
        let health = Arc::new(Health::starting());
        let missing = || health.missing().into_iter().map(|(dependency, why)| format!("{}: {why}", dependency.name()));
        let check = |expected: &[&str]| assert_eq!(missing().collect::<Vec<_>>(), expected);
        check(&["kafka: not reached yet", "redis: not reached yet"]);
        health.regain(Dependency::Kafka);
        health.regain(Dependency::Redis);
        check(&[]);
        let (one, other) = (health.wait(Dependency::Topics, "full"), health.wait(Dependency::Topics, "missing"));
        check(&["topics: full"]);
        // Another one gets on, and says so.
        health.regain(Dependency::Topics);
        drop(one);
        check(&["topics: missing"]);
        other.because("still missing");
        check(&["topics: still missing"]);
        drop(other);
        check(&[]);
    }
}
