//! What Redis says of itself.

use std::time::{Duration, Instant};

use redis::{InfoDict, cmd};

use crate::{
    cli::Failure,
    config::Config,
    ledger::{keys::Keys, redis::Connection},
};

/// What Redis says of itself.
pub struct RedisProbe {
    connection: Connection,
}

/// What is stored under a prefix.
pub struct Stored {
    /// Bytes of all accounts' rows.
    pub account_bytes: u64,
    /// Agents that have a row.
    pub agents: u64,
    /// Bytes of all ids.
    pub id_bytes: u64,
    /// Ids.
    pub ids: u64,
}

/// How long Redis may take to write its log anew.
const REWRITE_WAIT: Duration = Duration::from_secs(60);

/// Accounts that are looked at for the sizes; every account, if there are fewer.
const SAMPLE: usize = 20_000;

impl RedisProbe {
    /// A probe of the configured Redis.
    pub async fn open(config: &Config) -> Result<Self, Failure> {
        Ok(Self { connection: Connection::open(&config.redis()?).await? })
    }

    /// CPU that the primaries have used, in microseconds.
    pub async fn cpu_us(&self) -> Result<u64, Failure> {
        let all: Vec<InfoDict> = self.connection.query_all(cmd("INFO").arg("cpu")).await?;
        let figures =
            all.iter().flat_map(|info| ["used_cpu_user", "used_cpu_sys"].map(|field| info.get::<String>(field)));
        // A figure for people: nothing is decided by it.
        let seconds: f64 = figures.flatten().filter_map(|text| text.parse::<f64>().ok()).sum();
        Ok((seconds * 1e6) as u64)
    }

    /// Memory that the primaries use, in bytes.
    pub async fn memory_bytes(&self) -> Result<u64, Failure> {
        let all: Vec<InfoDict> = self.connection.query_all(cmd("INFO").arg("memory")).await?;
        Ok(all.iter().filter_map(|info| info.get::<u64>("used_memory")).sum())
    }

    /// Has the primaries write their logs anew, if they keep one, and waits for it: what other cases wrote is not to make them
    /// do it while somebody looks at the time.
    pub async fn rewrite_logs(&self) -> Result<(), Failure> {
        if self.persistence("aof_enabled").await? == 0 {
            return Ok(());
        }
        self.wait_for_rewriting().await?;
        self.connection.query_all::<String>(&cmd("BGREWRITEAOF")).await?;
        self.wait_for_rewriting().await
    }

    async fn wait_for_rewriting(&self) -> Result<(), Failure> {
        let until = Instant::now() + REWRITE_WAIT;
        while Instant::now() < until {
            let (runs, waits) = ("aof_rewrite_in_progress", "aof_rewrite_scheduled");
            if self.persistence(runs).await? + self.persistence(waits).await? == 0 {
                return Ok(());
            }
            tokio::time::sleep(Duration::from_millis(100)).await;
        }
        Err("Redis did not write its log anew in time".into())
    }

    /// The sum of a figure over the primaries.
    async fn persistence(&self, field: &str) -> Result<u64, Failure> {
        let all: Vec<InfoDict> = self.connection.query_all(cmd("INFO").arg("persistence")).await?;
        Ok(all.iter().filter_map(|info| info.get::<u64>(field)).sum())
    }

    /// Sizes of what is stored, by Redis's own MEMORY USAGE.
    pub async fn stored(&self, config: &Config) -> Result<Stored, Failure> {
        let keys = Keys::new(&config.redis.prefix);
        let accounts = self.connection.scan(&keys.all_accounts()).await?;
        let mut stored = Stored { account_bytes: 0, agents: 0, id_bytes: 0, ids: 0 };
        let pattern = format!("{}:{{*}}:ids:*", config.redis.prefix);
        let segments = self.connection.scan(&pattern).await?;
        for piece in accounts.iter().take(SAMPLE).collect::<Vec<_>>().chunks(1_000) {
            let sizes = piece.iter().map(|key| memory_usage(key));
            stored.account_bytes += self.sum(sizes.collect()).await?;
            for key in piece {
                let fields: Vec<String> = self.connection.query(cmd("HKEYS").arg(key)).await?;
                stored.agents += fields.iter().filter(|field| field.starts_with("agent:")).count() as u64;
            }
        }
        for piece in segments.iter().take(SAMPLE).collect::<Vec<_>>().chunks(1_000) {
            stored.id_bytes += self.sum(piece.iter().map(|key| memory_usage(key)).collect()).await?;
            let lengths = piece.iter().map(|key| cmd("STRLEN").arg(key).to_owned()).collect();
            stored.ids += self.sum(lengths).await? / 10;
        }
        Ok(stored)
    }

    async fn sum(&self, calls: Vec<redis::Cmd>) -> Result<u64, Failure> {
        let mut sum = 0;
        for reply in self.connection.send(calls).await? {
            sum += redis::from_redis_value::<u64>(reply?)?;
        }
        Ok(sum)
    }

    /// Removes everything under the prefix.
    pub async fn remove_all(&self, config: &Config) -> Result<(), Failure> {
        let keys = self.connection.scan(&format!("{}:*", config.redis.prefix)).await?;
        for piece in keys.chunks(1_000) {
            self.connection.send(piece.iter().map(|key| cmd("UNLINK").arg(key).to_owned()).collect()).await?;
        }
        Ok(())
    }
}

fn memory_usage(key: &str) -> redis::Cmd {
    let mut call = cmd("MEMORY");
    call.arg("USAGE").arg(key).arg("SAMPLES").arg(0);
    call
}
