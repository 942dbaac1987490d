//! The sections of the configuration and their defaults. What each setting means stands in `example.toml`.

use std::{collections::BTreeMap, net::SocketAddr};

use serde::{Deserialize, Serialize};

use crate::{
    api::credentials::TokenRules,
    domain::{
        account::Policy,
        time::{HOUR_MS, MINUTE_MS},
    },
    ingest::start::Start,
    notify::{encode::Format, publisher::OutputTopics},
};

/// `[kafka]`
#[derive(Clone, Debug, Serialize, Deserialize)]
#[serde(deny_unknown_fields, default)]
#[allow(missing_docs, reason = "each setting is documented in example.toml, under the same name")]
pub struct KafkaConfig {
    pub brokers: String,
    pub group_id: String,
    pub group_protocol: GroupProtocol,
    pub start: Start,
    pub create_topics: bool,
    pub partitions: i32,
    pub replication_factor: i32,
    pub accept_create_time: bool,
    pub output_format: Format,
    /// Passed on to librdkafka for every client.
    pub properties: BTreeMap<String, String>,
    pub sasl_password_file: Option<String>,
}

/// How members share the partitions.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum GroupProtocol {
    /// All members stop at every change, and one of them says who gets what. Every broker has it.
    Classic,
    /// The broker says who gets what, and only those are concerned who get or give (KIP-848; brokers from 4.0).
    Consumer,
}

impl Default for KafkaConfig {
    fn default() -> Self {
        Self {
            brokers: "localhost:9092".to_owned(),
            group_id: "bursar".to_owned(),
            group_protocol: GroupProtocol::Classic,
            start: Start::Earliest,
            create_topics: false,
            partitions: 16,
            replication_factor: 3,
            accept_create_time: false,
            output_format: Format::Avro,
            properties: BTreeMap::new(),
            sasl_password_file: None,
        }
    }
}

/// `[topics]`
#[derive(Clone, Debug, Serialize, Deserialize)]
#[serde(deny_unknown_fields, default)]
#[allow(missing_docs, reason = "each setting is documented in example.toml, under the same name")]
pub struct TopicsConfig {
    pub usage: Vec<String>,
    pub control: String,
    pub thresholds: String,
    pub pauses: String,
    pub journal: String,
    pub statements: String,
    pub requests: String,
    pub dead_letters: String,
    pub parking: String,
    pub forecasts: String,
    pub names: String,
}

impl Default for TopicsConfig {
    fn default() -> Self {
        Self {
            usage: vec!["usage.events".to_owned()],
            control: "usage.control".to_owned(),
            thresholds: "usage.thresholds".to_owned(),
            pauses: "usage.pauses".to_owned(),
            journal: "usage.journal".to_owned(),
            statements: "usage.statements".to_owned(),
            requests: "usage.requests".to_owned(),
            dead_letters: "usage.dead-letter".to_owned(),
            parking: "usage.parking".to_owned(),
            forecasts: "usage.forecasts".to_owned(),
            names: "usage.names".to_owned(),
        }
    }
}

impl TopicsConfig {
    /// Every topic that only we write to.
    pub const fn written(&self) -> [&String; 8] {
        let Self { thresholds, pauses, journal, statements, requests, dead_letters, parking, forecasts, .. } = self;
        [thresholds, pauses, journal, statements, requests, dead_letters, parking, forecasts]
    }

    /// The same topics under names that begin with a prefix, for those who need topics of their own.
    pub fn under(&self, prefix: &str) -> Self {
        let name = |topic: &String| format!("{prefix}.{topic}");
        Self {
            usage: self.usage.iter().map(name).collect(),
            control: name(&self.control),
            thresholds: name(&self.thresholds),
            pauses: name(&self.pauses),
            journal: name(&self.journal),
            statements: name(&self.statements),
            requests: name(&self.requests),
            dead_letters: name(&self.dead_letters),
            parking: name(&self.parking),
            forecasts: name(&self.forecasts),
            names: name(&self.names),
        }
    }

    /// The topics that we write to.
    pub fn outputs(&self) -> OutputTopics {
        OutputTopics {
            thresholds: self.thresholds.clone(),
            pauses: self.pauses.clone(),
            journal: self.journal.clone(),
            statements: self.statements.clone(),
            requests: self.requests.clone(),
            dead_letters: self.dead_letters.clone(),
            parking: self.parking.clone(),
            forecasts: self.forecasts.clone(),
            control: self.control.clone(),
        }
    }
}

/// `[api]`
#[derive(Clone, Debug, Serialize, Deserialize)]
#[serde(deny_unknown_fields, default)]
#[allow(missing_docs, reason = "each setting is documented in example.toml, under the same name")]
pub struct ApiConfig {
    pub listen: SocketAddr,
    pub keys_file: Option<String>,
    pub jwks: Option<String>,
    pub issuer: Option<String>,
    pub audience: Option<String>,
    pub tls_certificate_file: Option<String>,
    pub tls_key_file: Option<String>,
    pub requests_per_second: u32,
    pub request_seconds: u64,
    pub answer_seconds: u64,
    pub listeners_max: usize,
}

impl Default for ApiConfig {
    fn default() -> Self {
        Self {
            listen: ([127, 0, 0, 1], 9465).into(),
            keys_file: None,
            jwks: None,
            issuer: None,
            audience: None,
            tls_certificate_file: None,
            tls_key_file: None,
            requests_per_second: 50,
            request_seconds: 30,
            answer_seconds: 10,
            listeners_max: 1_000,
        }
    }
}

impl ApiConfig {
    /// What tokens have to be, if they are accepted.
    pub fn token_rules(&self) -> Option<TokenRules> {
        let (issuer, audience) = (self.issuer.clone().unwrap_or_default(), self.audience.clone().unwrap_or_default());
        self.jwks.clone().map(|jwks| TokenRules { jwks, issuer, audience })
    }
}

/// `[redis]`
#[derive(Clone, Debug, Serialize, Deserialize)]
#[serde(deny_unknown_fields, default)]
#[allow(missing_docs, reason = "each setting is documented in example.toml, under the same name")]
pub struct RedisConfig {
    pub url: String,
    pub url_file: Option<String>,
    pub prefix: String,
    pub replica_behind_seconds: u64,
}

impl Default for RedisConfig {
    fn default() -> Self {
        Self {
            url: "redis://localhost:6379".to_owned(),
            url_file: None,
            prefix: "bursar".to_owned(),
            replica_behind_seconds: 60,
        }
    }
}

/// `[registry]`
#[derive(Clone, Debug, Default, Serialize, Deserialize)]
#[serde(deny_unknown_fields, default)]
#[allow(missing_docs, reason = "each setting is documented in example.toml, under the same name")]
pub struct RegistryConfig {
    pub url: Option<String>,
    pub user: Option<String>,
    pub password_file: Option<String>,
}

/// `[rules]`
#[derive(Clone, Debug, Serialize, Deserialize)]
#[serde(deny_unknown_fields, default)]
#[allow(missing_docs, reason = "each setting is documented in example.toml, under the same name")]
pub struct RulesConfig {
    pub clock: ClockSource,
    pub horizon_hours: i64,
    pub delay_ms: i64,
    pub grace_minutes: i64,
    pub periods_kept: i64,
}

impl Default for RulesConfig {
    fn default() -> Self {
        Self { clock: ClockSource::System, horizon_hours: 48, delay_ms: MINUTE_MS, grace_minutes: 15, periods_kept: 24 }
    }
}

impl RulesConfig {
    /// What decisions depend on.
    pub const fn policy(&self) -> Policy {
        Policy {
            horizon_ms: self.horizon_hours * HOUR_MS,
            early_ms: 5 * MINUTE_MS,
            rules_delay_ms: self.delay_ms,
            grace_ms: self.grace_minutes * MINUTE_MS,
        }
    }
}

/// Which clock decides what is due.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum ClockSource {
    /// The system's.
    #[default]
    System,
    /// The newest record time.
    Records,
}

/// `[work]`
#[derive(Clone, Debug, Default, Serialize, Deserialize)]
#[serde(deny_unknown_fields, default)]
#[allow(missing_docs, reason = "each setting is documented in example.toml, under the same name")]
pub struct WorkConfig {
    pub workers: Option<usize>,
    pub batch_records: Option<usize>,
    pub accounts_mib: Option<usize>,
}

impl WorkConfig {
    /// Members of the consumer group; one per core unless it is set.
    pub fn workers(&self) -> usize {
        self.workers.unwrap_or_else(|| std::thread::available_parallelism().map_or(1, usize::from))
    }

    /// Records per batch at most.
    pub fn batch_records(&self) -> usize {
        self.batch_records.unwrap_or(100_000)
    }

    /// Memory for the accounts of one worker at most, in MiB.
    pub fn accounts_mib(&self) -> usize {
        self.accounts_mib.unwrap_or(512)
    }
}

/// `[observe]`
#[derive(Clone, Debug, Serialize, Deserialize)]
#[serde(deny_unknown_fields, default)]
#[allow(missing_docs, reason = "each setting is documented in example.toml, under the same name")]
pub struct ObserveConfig {
    pub listen: SocketAddr,
    pub log: String,
    pub log_format: LogFormat,
    pub usage_seconds: u64,
    pub usage_top_workspaces: usize,
    pub usage_top_agents: usize,
    pub usage_organizations_max: usize,
}

impl Default for ObserveConfig {
    fn default() -> Self {
        Self {
            listen: SocketAddr::from(([127, 0, 0, 1], 9464)),
            log: "info".to_owned(),
            log_format: LogFormat::Text,
            usage_seconds: 15,
            usage_top_workspaces: 200,
            usage_top_agents: 5,
            usage_organizations_max: 10_000,
        }
    }
}

/// How log lines look.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum LogFormat {
    /// For people.
    #[default]
    Text,
    /// One JSON object per line.
    Json,
}
