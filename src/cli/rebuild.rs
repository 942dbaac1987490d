//! `bursar rebuild`: empties what Redis holds under the prefix, and watches how it is counted anew from the topics.

use std::time::Duration;

use clap::Args;
use rdkafka::consumer::{BaseConsumer, Consumer};
use redis::cmd;

use super::Failure;
use crate::{
    config::Config,
    ledger::{
        Ledger,
        redis::{Connection, RedisLedger},
    },
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
    let total = records_in(config, &consumer)?;
    let connection = Connection::open(&config.redis()?).await?;
    let keys = connection.scan(&format!("{}:*", config.redis.prefix)).await?;
    println!("{} keys under {:?}, {total} records in the topics", keys.len(), config.redis.prefix);
    if !arguments.yes {
        println!("nothing was done; with --yes the keys are removed, and members then count everything anew");
        return Ok(());
    }
    for piece in keys.chunks(KEYS_PER_CALL) {
        connection.send(piece.iter().map(|key| cmd("UNLINK").arg(key).to_owned()).collect()).await?;
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

/// Records that the input topics keep. Says which of them retention has cut.
fn records_in(config: &Config, consumer: &BaseConsumer) -> Result<i64, Failure> {
    let mut total = 0;
    for topic in inputs(config) {
        let metadata = consumer.fetch_metadata(Some(topic), BROKER_WAIT)?;
        for partition in metadata.topics().iter().flat_map(|topic| topic.partitions()) {
            let (low, high) = consumer.fetch_watermarks(topic, partition.id(), BROKER_WAIT)?;
            if low > 0 {
                println!("{topic}/{} begins at {low}: what was before cannot be counted any more", partition.id());
            }
            total += high - low;
        }
    }
    Ok(total)
}

async fn watch(config: &Config, consumer: &BaseConsumer) -> Result<(), Failure> {
    let (policy, loads) = (config.rules.policy(), Metrics::new().function_loads);
    let ledger = RedisLedger::connect(&config.redis()?, &policy, config.rules.periods_kept, loads).await?;
    loop {
        let applied: i64 = ledger.progress_of_all().await?.iter().map(|(_, progress)| progress.next_offset).sum();
        let total = records_in(config, consumer)?;
        println!("{applied} of {total} records applied");
        if applied >= total {
            return Ok(());
        }
        tokio::time::sleep(LOOK_EVERY).await;
    }
}
