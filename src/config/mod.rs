//! Every knob: what it means, its unit, its default, its bounds and the reason for them.
//!
//! A TOML file, then environment variables over it: `BURSAR__KAFKA__BROKERS` is `brokers` in `[kafka]`. Secrets may
//! stand in a file of their own, named by the setting that ends in `_file`. [`EXAMPLE`] is the documented file.

mod sections;

use std::{fmt::Display, path::Path};

use rdkafka::ClientConfig;
use serde::{Deserialize, Serialize};
use thiserror::Error;

pub use self::sections::{
    ApiConfig, ClockSource, GroupProtocol, KafkaConfig, LogFormat, ObserveConfig, RedisConfig, RegistryConfig,
    RulesConfig, TopicsConfig, WorkConfig,
};
use crate::{
    domain::time::{DAY_MS, HOUR_MS},
    ingest::decode::RegistryOptions,
    ledger::redis::RedisOptions,
};

/// Properties that librdkafka refuses with the protocol of KIP-848: the brokers decide them.
const OF_CLASSIC: [&str; 4] =
    ["session.timeout.ms", "heartbeat.interval.ms", "partition.assignment.strategy", "group.protocol.type"];

/// The documented configuration with every default; `bursar check-config --example` prints it.
pub const EXAMPLE: &str = include_str!("example.toml");

/// A setting that is missing, out of bounds, or not known.
#[derive(Debug, Error)]
pub enum ConfigError {
    /// The file or a variable cannot be read as a configuration.
    #[error("{0}")]
    Unreadable(#[from] config::ConfigError),
    /// A value is out of its bounds.
    #[error("{setting} is {value}: {bounds}")]
    OutOfBounds {
        /// Which.
        setting: &'static str,
        /// What it is.
        value: String,
        /// What it may be, and why.
        bounds: &'static str,
    },
    /// A secret's file cannot be read.
    #[error("{setting}: the file {path} cannot be read: {error}")]
    Secret {
        /// Which.
        setting: &'static str,
        /// The file.
        path: String,
        /// Why not.
        error: std::io::Error,
    },
}

/// The whole configuration.
#[derive(Clone, Debug, Default, Serialize, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct Config {
    /// How Kafka is reached.
    pub kafka: KafkaConfig,
    /// The names of topics.
    pub topics: TopicsConfig,
    /// How Redis is reached.
    pub redis: RedisConfig,
    /// The schema registry.
    pub registry: RegistryConfig,
    /// What decisions depend on.
    pub rules: RulesConfig,
    /// Threads and batches.
    pub work: WorkConfig,
    /// What operators see.
    pub observe: ObserveConfig,
    /// What admins and programs see and say.
    pub api: ApiConfig,
}

impl Config {
    /// Reads the file, where there is one, then the environment, and checks every bound.
    ///
    /// # Errors
    /// [`ConfigError`], naming the setting.
    pub fn load(file: Option<&Path>) -> Result<Self, ConfigError> {
        let mut sources = config::Config::builder();
        if let Some(file) = file {
            sources = sources.add_source(config::File::from(file).format(config::FileFormat::Toml));
        }
        let environment = config::Environment::with_prefix("BURSAR").prefix_separator("__").separator("__");
        let environment = environment.try_parsing(true).list_separator(",").with_list_parse_key("topics.usage");
        let config: Self = sources.add_source(environment).build()?.try_deserialize()?;
        config.check()?;
        Ok(config)
    }

    fn check(&self) -> Result<(), ConfigError> {
        let days = DAY_MS / HOUR_MS;
        within(
            "rules.horizon_hours",
            self.rules.horizon_hours,
            1,
            35 * days,
            "1 to 840 (35 days): ids are kept for that long, and memory grows with it",
        )?;
        within(
            "rules.grace_minutes",
            self.rules.grace_minutes,
            0,
            24 * 60,
            "0 to 1440: a period is closed that long after",
        )?;
        within("rules.periods_kept", self.rules.periods_kept, 1, 120, "1 to 120 closed billing periods")?;
        within(
            "rules.delay_ms",
            self.rules.delay_ms,
            100,
            600_000,
            "100 to 600000: usage waits until control has been read this close to it",
        )?;
        within(
            "redis.replica_behind_seconds",
            self.redis.replica_behind_seconds,
            1,
            86_400,
            "1 s to a day: ids are kept for so much longer",
        )?;
        within("work.workers", self.work.workers(), 1, 256, "1 to 256: each is a thread and a member of the group")?;
        within(
            "work.batch_records",
            self.work.batch_records(),
            1,
            1_000_000,
            "1 to 1000000: a batch is held in memory whole",
        )?;
        within(
            "work.accounts_mib",
            self.work.accounts_mib(),
            1,
            1 << 20,
            "1 to 1048576 MiB of accounts in memory, for each worker",
        )?;
        within("kafka.partitions", self.kafka.partitions, 1, 10_000, "1 to 10000")?;
        within("kafka.replication_factor", self.kafka.replication_factor, 1, 9, "1 to 9")?;
        within(
            "observe.usage_seconds",
            self.observe.usage_seconds,
            5,
            300,
            "5 to 300: all that changed is read as often",
        )?;
        within(
            "observe.usage_top_workspaces",
            self.observe.usage_top_workspaces,
            0,
            10_000,
            "0 to 10000 workspaces of an organization",
        )?;
        within("observe.usage_top_agents", self.observe.usage_top_agents, 0, 1_000, "0 to 1000 series a workspace")?;
        within(
            "observe.usage_organizations_max",
            self.observe.usage_organizations_max,
            0,
            100_000,
            "0 to 100000: each has some dozens of series",
        )?;
        within("api.requests_per_second", self.api.requests_per_second, 1, 100_000, "1 to 100000, for each caller")?;
        within(
            "api.request_seconds",
            self.api.request_seconds,
            1,
            300,
            "1 to 300: a request that takes longer is given up",
        )?;
        within("api.answer_seconds", self.api.answer_seconds, 0, 60, "0 to 60: then a write is answered with 202")?;
        within("api.listeners_max", self.api.listeners_max, 0, 100_000, "0 to 100000: each holds a connection")?;
        if self.api.answer_seconds >= self.api.request_seconds {
            let bounds = "less than api.request_seconds, or a write is given up before it is answered";
            return Err(out_of_bounds("api.answer_seconds", self.api.answer_seconds, bounds));
        }
        if self.api.jwks.is_some() && (self.api.issuer.is_none() || self.api.audience.is_none()) {
            let bounds = "api.issuer and api.audience have to be set beside it, or tokens for others would open this";
            return Err(out_of_bounds("api.jwks", self.api.jwks.clone().unwrap_or_default(), bounds));
        }
        if self.api.tls_certificate_file.is_some() != self.api.tls_key_file.is_some() {
            let bounds = "api.tls_certificate_file and api.tls_key_file belong together";
            return Err(out_of_bounds("api.tls_key_file", "set without the other", bounds));
        }
        let is_of_classic = |property: &&str| self.kafka.properties.contains_key(*property);
        if self.kafka.group_protocol == GroupProtocol::Consumer
            && let Some(property) = OF_CLASSIC.iter().find(|property| is_of_classic(property))
        {
            let bounds = "with kafka.group_protocol = \"consumer\" the brokers have that setting";
            return Err(out_of_bounds("kafka.properties", property, bounds));
        }
        let prefix = &self.redis.prefix;
        if prefix.is_empty() || prefix.contains(['{', '}', '*', '?', '[', ']', '\\']) {
            return Err(out_of_bounds(
                "redis.prefix",
                prefix,
                "it must not be empty, nor have braces, which mark the hash tag, nor * ? [ ] \\, which mark patterns",
            ));
        }
        if self.topics.usage.is_empty() || self.topics.usage.contains(&self.topics.control) {
            let topics = self.topics.usage.join(",");
            return Err(out_of_bounds("topics.usage", topics, "at least one topic, and not the control topic"));
        }
        Ok(())
    }

    /// librdkafka's properties that every client has.
    ///
    /// # Errors
    /// [`ConfigError::Secret`].
    pub fn client(&self) -> Result<ClientConfig, ConfigError> {
        let mut client = ClientConfig::new();
        client.set("bootstrap.servers", &self.kafka.brokers).set("client.id", "bursar");
        for (property, value) in &self.kafka.properties {
            client.set(property, value);
        }
        if let Some(password) = secret("kafka.sasl_password_file", self.kafka.sasl_password_file.as_deref())? {
            client.set("sasl.password", password);
        }
        Ok(client)
    }

    /// librdkafka's properties for members of the group. What the argument in the design hangs on cannot be changed.
    ///
    /// # Errors
    /// [`ConfigError::Secret`].
    pub fn consumer(&self) -> Result<ClientConfig, ConfigError> {
        let mut consumer = self.client()?;
        let or_default = [
            ("fetch.queue.backoff.ms", "5"),
            ("queued.min.messages", "100000"),
            ("queued.max.messages.kbytes", "32768"),
            ("fetch.wait.max.ms", "100"),
            // New partitions are read soon; without this only after five minutes.
            ("topic.metadata.refresh.interval.ms", "10000"),
        ];
        for (property, value) in or_default {
            if !self.kafka.properties.contains_key(property) {
                consumer.set(property, value);
            }
        }
        match self.kafka.group_protocol {
            GroupProtocol::Classic => {
                // A member hears of a change with its next heartbeat, and until all have heard of it nobody reads.
                for (property, value) in [("session.timeout.ms", "10000"), ("heartbeat.interval.ms", "500")] {
                    if !self.kafka.properties.contains_key(property) {
                        consumer.set(property, value);
                    }
                }
                consumer.set("group.protocol", "classic").set("partition.assignment.strategy", "range");
            }
            GroupProtocol::Consumer => {
                // Range has a partition of control and of usage go together.
                consumer.set("group.protocol", "consumer").set("group.remote.assignor", "range");
            }
        }
        consumer
            .set("group.id", &self.kafka.group_id)
            .set("enable.auto.commit", "false")
            .set("enable.auto.offset.store", "false")
            .set("enable.partition.eof", "true")
            .set("auto.offset.reset", "error");
        Ok(consumer)
    }

    /// How Redis is reached, secrets read.
    ///
    /// # Errors
    /// [`ConfigError::Secret`].
    pub fn redis(&self) -> Result<RedisOptions, ConfigError> {
        let url = secret("redis.url_file", self.redis.url_file.as_deref())?.unwrap_or_else(|| self.redis.url.clone());
        Ok(RedisOptions { url, prefix: self.redis.prefix.clone() })
    }

    /// How the registry is reached, secrets read.
    ///
    /// # Errors
    /// [`ConfigError::Secret`].
    pub fn registry(&self) -> Result<Option<RegistryOptions>, ConfigError> {
        let password = secret("registry.password_file", self.registry.password_file.as_deref())?;
        let credentials = self.registry.user.clone().map(|user| (user, password.unwrap_or_default()));
        Ok(self.registry.url.clone().map(|url| RegistryOptions { url, credentials }))
    }

    /// The configuration as TOML, secrets left out.
    pub fn shown(&self) -> String {
        let mut shown = self.clone();
        let hidden = "(not shown)";
        for (property, value) in &mut shown.kafka.properties {
            if ["password", "secret", "key", "jaas"].iter().any(|word| property.contains(word)) {
                *value = hidden.to_owned();
            }
        }
        if shown.redis.url.contains('@') {
            shown.redis.url = hidden.to_owned();
        }
        toml::to_string(&shown).expect("a configuration is a TOML table")
    }
}

fn within<T: PartialOrd + Display>(
    setting: &'static str,
    value: T,
    least: T,
    most: T,
    bounds: &'static str,
) -> Result<(), ConfigError> {
    if (least..=most).contains(&value) { Ok(()) } else { Err(out_of_bounds(setting, value, bounds)) }
}

fn out_of_bounds(setting: &'static str, value: impl Display, bounds: &'static str) -> ConfigError {
    ConfigError::OutOfBounds { setting, value: value.to_string(), bounds }
}

fn secret(setting: &'static str, file: Option<&str>) -> Result<Option<String>, ConfigError> {
    let Some(path) = file else { return Ok(None) };
    let text =
        std::fs::read_to_string(path).map_err(|error| ConfigError::Secret { setting, path: path.to_owned(), error })?;
    Ok(Some(text.trim_end().to_owned()))
}

#[cfg(test)]
mod tests {
    use super::*;

    /// The documented file says the defaults, all of them, and nothing else.
    #[test]
    fn the_example_is_the_default() {
        let example: Config = toml::from_str(EXAMPLE).expect("the example is a configuration");
        assert_eq!(example.shown(), Config::default().shown());
        for setting in [
            "workers",
            "batch_records",
            "accounts_mib",
            "url_file",
            "sasl_password_file",
            "password_file",
            "user",
            "keys_file",
            "jwks",
            "issuer",
            "audience",
            "tls_certificate_file",
            "tls_key_file",
        ] {
            assert!(EXAMPLE.contains(&format!("# {setting} = ")), "{setting} is documented");
        }
    }

    #[test]
    fn a_setting_out_of_bounds_is_named_with_its_bounds() {
        let check = |text: &str, expected: &str| {
            let config: Result<Config, _> = toml::from_str(text);
            let why = match config {
                Ok(config) => config.check().map_or_else(|error| error.to_string(), |()| "fine".to_owned()),
                Err(error) => error.to_string(),
            };
            assert!(why.contains(expected), "{text}: {why}");
        };
        check("", "fine");
        check("[rules]\nhorizon_hours = 841", "rules.horizon_hours is 841");
        check("[work]\nworkers = 0", "work.workers is 0");
        check("[redis]\nprefix = 'a{b'", "hash tag");
        check("[topics]\nusage = []", "at least one topic");
        check("[kafka]\nbroker = 'x'", "unknown field `broker`");
    }

    #[test]
    fn secrets_are_never_shown() {
        let text = "[kafka.properties]\n'sasl.password' = 'hush'\n[redis]\nurl = 'redis://:hush@localhost'";
        let config: Config = toml::from_str(text).expect("a configuration");
        assert!(!config.shown().contains("hush"), "{}", config.shown());
    }
}
