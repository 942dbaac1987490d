//! Whether the process can do its work now, and what it lacks.

use std::{
    collections::BTreeMap,
    sync::{Mutex, PoisonError},
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
#[derive(Debug, Default)]
pub struct Health {
    missing: Mutex<BTreeMap<Dependency, String>>,
}

impl Health {
    /// Of a process that has not reached anything yet.
    pub fn starting() -> Self {
        let not_yet = |dependency| (dependency, "not reached yet".to_owned());
        Self { missing: Mutex::new([Dependency::Kafka, Dependency::Redis].map(not_yet).into()) }
    }

    /// Notes that a dependency does not answer. Says so in the log when that is new.
    pub fn lose(&self, dependency: Dependency, why: &str) {
        let mut missing = self.missing.lock().unwrap_or_else(PoisonError::into_inner);
        if missing.insert(dependency, why.to_owned()).is_none() {
            tracing::warn!(dependency = dependency.name(), why, "waiting for a dependency");
        }
    }

    /// Notes that a dependency answers.
    pub fn regain(&self, dependency: Dependency) {
        let mut missing = self.missing.lock().unwrap_or_else(PoisonError::into_inner);
        if missing.remove(&dependency).is_some() {
            tracing::info!(dependency = dependency.name(), "the dependency answers again");
        }
    }

    /// What does not answer now.
    pub fn missing(&self) -> BTreeMap<Dependency, String> {
        self.missing.lock().unwrap_or_else(PoisonError::into_inner).clone()
    }
}
