//! The topics: that they are there, that their settings bear what we promise, and that they are made where that is
//! wanted.

use std::time::Duration;

use rdkafka::{
    admin::{AdminClient, AdminOptions, NewTopic, ResourceSpecifier, TopicReplication},
    client::DefaultClientContext,
    error::KafkaError,
    types::RDKafkaErrorCode,
};
use thiserror::Error;
use tracing::{info, warn};

use crate::config::{Config, ConfigError};

/// How long the brokers may take to answer.
const ANSWER_WAIT: Duration = Duration::from_secs(10);

/// Why the topics cannot be used.
#[derive(Debug, Error)]
pub enum TopicsError {
    /// The brokers do not answer: try again.
    #[error("Kafka at {brokers} does not answer: {error}")]
    Away {
        /// Where they should be.
        brokers: String,
        /// What the client says.
        error: KafkaError,
    },
    /// Topics are missing, and we are not to create them.
    #[error(
        "missing topics: {0}. Create them (usage and control topics with message.timestamp.type=LogAppendTime, the pauses topic with cleanup.policy=compact), or set kafka.create_topics = true"
    )]
    Missing(String),
    /// A topic could not be created.
    #[error("topic {topic} could not be created: {error}")]
    NotCreated {
        /// Which.
        topic: String,
        /// What the broker says.
        error: RDKafkaErrorCode,
    },
    /// An input topic lets senders say when they sent.
    #[error(
        "topic {0} has message.timestamp.type=CreateTime: lateness would be told by the sender's clock. Set LogAppendTime, or accept it with kafka.accept_create_time = true"
    )]
    CreateTime(String),
    /// The configuration cannot be used.
    #[error(transparent)]
    Config(#[from] ConfigError),
}

impl TopicsError {
    /// Whether the same may succeed later.
    pub const fn is_transient(&self) -> bool {
        matches!(self, Self::Away { .. })
    }
}

/// Sees to it that every topic is there and fit.
///
/// # Errors
/// [`TopicsError`], naming the topics.
pub async fn ensure(config: &Config) -> Result<(), TopicsError> {
    let away = |error| TopicsError::Away { brokers: config.kafka.brokers.clone(), error };
    let admin: AdminClient<DefaultClientContext> = config.client()?.create().map_err(away)?;
    let missing = missing(&admin, config).map_err(away)?;
    if !missing.is_empty() && !config.kafka.create_topics {
        return Err(TopicsError::Missing(missing.join(", ")));
    }
    create(&admin, config, &missing).await?;
    check_timestamps(&admin, config).await
}

fn missing(admin: &AdminClient<DefaultClientContext>, config: &Config) -> Result<Vec<String>, KafkaError> {
    let metadata = admin.inner().fetch_metadata(None, ANSWER_WAIT)?;
    let known: Vec<&str> =
        metadata.topics().iter().filter(|topic| !topic.partitions().is_empty()).map(|topic| topic.name()).collect();
    Ok(all(config).into_iter().filter(|topic| !known.contains(&topic.as_str())).collect())
}

fn all(config: &Config) -> Vec<String> {
    let topics = &config.topics;
    topics.usage.iter().chain([&topics.control, &topics.names]).chain(topics.written()).cloned().collect()
}

async fn create(
    admin: &AdminClient<DefaultClientContext>,
    config: &Config,
    missing: &[String],
) -> Result<(), TopicsError> {
    let new: Vec<NewTopic<'_>> = missing.iter().map(|topic| as_wanted(topic, config)).collect();
    if new.is_empty() {
        return Ok(());
    }
    let options = AdminOptions::new().operation_timeout(Some(ANSWER_WAIT)).request_timeout(Some(ANSWER_WAIT));
    let created = admin.create_topics(&new, &options).await;
    let created = created.map_err(|error| TopicsError::Away { brokers: config.kafka.brokers.clone(), error })?;
    for result in created {
        match result {
            Ok(topic) => info!(topic, "created"),
            // Another member was faster.
            Err((_, RDKafkaErrorCode::TopicAlreadyExists)) => {}
            Err((topic, error)) => return Err(TopicsError::NotCreated { topic, error }),
        }
    }
    Ok(())
}

fn as_wanted<'a>(topic: &'a str, config: &Config) -> NewTopic<'a> {
    let new = NewTopic::new(topic, config.kafka.partitions, TopicReplication::Fixed(config.kafka.replication_factor));
    let time = if config.kafka.accept_create_time { "CreateTime" } else { "LogAppendTime" };
    if config.topics.usage.iter().any(|usage| usage == topic) {
        let new = new.set("message.timestamp.type", time);
        // History with the times of its events would be thrown away at once.
        if config.kafka.accept_create_time { new.set("retention.ms", "-1") } else { new }
    } else if topic == config.topics.pauses || topic == config.topics.names {
        new.set("cleanup.policy", "compact")
    } else if topic == config.topics.control {
        // A rebuild needs every control record there ever was.
        new.set("message.timestamp.type", time).set("retention.ms", "-1").set("retention.bytes", "-1")
    } else {
        // What was refused, parked or announced is part of the proof that everything else was counted (`bursar audit`).
        new.set("retention.ms", "-1")
    }
}

async fn check_timestamps(admin: &AdminClient<DefaultClientContext>, config: &Config) -> Result<(), TopicsError> {
    if config.kafka.accept_create_time {
        return Ok(());
    }
    let inputs: Vec<&String> = config.topics.usage.iter().chain([&config.topics.control]).collect();
    let resources: Vec<_> = inputs.iter().map(|topic| ResourceSpecifier::Topic(topic)).collect();
    let options = AdminOptions::new().request_timeout(Some(ANSWER_WAIT));
    let described = match admin.describe_configs(&resources, &options).await {
        Ok(described) => described,
        Err(error) => {
            warn!(%error, "the settings of the input topics cannot be read: make sure that they use LogAppendTime");
            return Ok(());
        }
    };
    for (topic, resource) in inputs.into_iter().zip(described) {
        let Ok(resource) = resource else { continue };
        let setting = resource.get("message.timestamp.type").and_then(|entry| entry.value.clone());
        if setting.is_some_and(|setting| setting == "CreateTime") {
            return Err(TopicsError::CreateTime(topic.clone()));
        }
    }
    Ok(())
}
