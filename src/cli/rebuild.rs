//! `bursar rebuild`: empties what Redis holds under the prefix, and watches how it is counted anew from the topics.

use std::{collections::BTreeMap, time::Duration};

use clap::Args;
use rdkafka::consumer::{BaseConsumer, Consumer};
use redis::cmd;

use super::Failure;
use crate::{
    config::Config,
    ingest::start::Start,
    ledger::{
        InputPartition, Ledger,
        keys::Keys,
        redis::{Connection, RedisLedger},
    },
    notify::reader::partitions_of,
    observe::metrics::Metrics,
};

/// How long the broker may take.
const BROKER_WAIT: Duration = Duration::from_secs(10);

/// Keys that are removed by one call.
const KEYS_PER_CALL: usize = 1_000;

/// How often progress is looked at.
const LOOK_EVERY: Duration = Duration::from_secs(2);

#[derive(Debug, Args)]
pub struct RebuildArguments {
    /// Really empty Redis. Without it, only what would be done is said.
    #[arg(long)]
    yes: bool,
    /// Do not watch afterwards.
    #[arg(long)]
    no_watch: bool,
}

/// Empties and watches. Members must not run: they would count into what is being emptied.
pub async fn rebuild(config: &Config, arguments: &RebuildArguments) -> Result<(), Failure> {
    let mut client = config.client()?;
    client.set("group.id", "bursar-rebuild");
    let consumer: BaseConsumer = client.create()?;
    refuse_members(config, &consumer)?;
    if config.kafka.start == Start::Latest {
        return Err("kafka.start is \"latest\": members would begin at the end, and count nothing of what was".into());
    }
    let bounds = bounds(config, &consumer)?;
    for (InputPartition { topic, partition }, (low, _)) in bounds.iter().filter(|(_, (low, _))| *low > 0) {
        println!("{topic}/{partition} begins at {low}: what was before cannot be counted any more");
    }
    let total: i64 = bounds.values().map(|(low, high)| high - low).sum();
    let connection = Connection::open(&config.redis()?).await?;
    let all = Keys::new(&config.redis.prefix);
    let (keys, mut progress) = (connection.scan(&all.everything()).await?, all.all_progress());
    println!("{} keys under {:?}, {total} records in the topics", keys.len(), config.redis.prefix);
    if !arguments.yes {
        println!("nothing was done; with --yes the keys are removed, and members then count everything anew");
        return Ok(());
    }
    // First progress: if this ends halfway, what is left is found by its ids, and nothing is missing.
    progress.extend(keys);
    for piece in progress.chunks(KEYS_PER_CALL) {
        let replies = connection.send(piece.iter().map(|key| cmd("UNLINK").arg(key).to_owned()).collect()).await?;
        replies.into_iter().collect::<Result<Vec<_>, _>>()?;
    }
    println!("emptied; start the members now (bursar run)");
    if arguments.no_watch { Ok(()) } else { watch(config, &consumer).await }
}

fn refuse_members(config: &Config, consumer: &BaseConsumer) -> Result<(), Failure> {
    let groups = consumer.fetch_group_list(Some(&config.kafka.group_id), BROKER_WAIT)?;
    let members: usize = groups.groups().iter().map(|group| group.members().len()).sum();
    if members > 0 {
        return Err(format!("{members} members of the group {:?} run: stop them first", config.kafka.group_id).into());
    }
    Ok(())
}

fn inputs(config: &Config) -> impl Iterator<Item = &String> {
    config.topics.usage.iter().chain(std::iter::once(&config.topics.control))
}

/// Where each partition of the input topics begins and ends.
fn bounds(config: &Config, consumer: &BaseConsumer) -> Result<BTreeMap<InputPartition, (i64, i64)>, Failure> {
    let mut bounds = BTreeMap::new();
    for topic in inputs(config) {
        for partition in partitions_of(consumer.client(), topic, BROKER_WAIT)? {
            let input = InputPartition { topic: topic.as_str().into(), partition };
            bounds.insert(input, consumer.fetch_watermarks(topic, partition, BROKER_WAIT)?);
        }
    }
    Ok(bounds)
}

async fn watch(config: &Config, consumer: &BaseConsumer) -> Result<(), Failure> {
    let (policy, loads) = (config.rules.policy(), Metrics::new().function_loads);
    let ledger = RedisLedger::connect(&config.redis()?, &policy, config.rules.periods_kept, loads).await?;
    loop {
        let progress: BTreeMap<_, _> = ledger.progress_of_all().await?.into_iter().collect();
        let bounds = bounds(config, consumer)?;
        let left = bounds.iter().map(|(input, (low, high))| {
            let applied = progress.get(input).map_or(*low, |progress| progress.next_offset);
            (high - applied).max(0)
        });
        let left: i64 = left.sum();
        println!("{left} records left");
        if left == 0 {
            return Ok(());
        }
        tokio::time::sleep(LOOK_EVERY).await;
    }
}
