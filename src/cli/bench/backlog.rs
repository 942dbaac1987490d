//! Bursar, until a backlog is worked off.

use std::{
    sync::{Arc, atomic::AtomicBool},
    time::{Duration, Instant},
};

use super::{
    CASE_WAIT, WARM_UP_SHARE,
    figures::{Figures, cpu_time, per_second, ratio, resident_bytes},
    probe::RedisProbe,
};
use crate::{cli::Failure, config::Config, service::Service};

/// What is worked off, and for which case.
pub struct Backlog {
    /// What the case is called.
    pub case: &'static str,
    /// Events in the topic.
    pub events: u64,
    /// Whether events have ids.
    pub has_ids: bool,
    /// The process of the broker.
    pub broker_pid: Option<u32>,
}

/// Has the control records of a case applied, before there is any usage.
pub async fn obey(config: &Config, records: u64) -> Result<(), Failure> {
    if records == 0 {
        return Ok(());
    }
    let service = start(config).await?;
    wait_for(&service, records, Duration::from_millis(20)).await?;
    Ok(service.stop().await?)
}

async fn start(config: &Config) -> Result<Service, Failure> {
    Ok(Service::start(config, Arc::new(AtomicBool::new(false))).await?)
}

/// Waits until so many records are consumed.
pub async fn wait_for(service: &Service, consumed: u64, look_every: Duration) -> Result<(), Failure> {
    let began = Instant::now();
    while service.metrics.consumed.get() < consumed {
        tokio::time::sleep(look_every).await;
        if began.elapsed() > CASE_WAIT {
            return Err(
                format!("{} of {consumed} records were consumed in time", service.metrics.consumed.get()).into()
            );
        }
    }
    Ok(())
}

impl Backlog {
    /// Accounts come into memory while the first events are counted, so what an event costs is measured after those.
    pub async fn warm(&self, config: &Config, figures: &mut Figures) -> Result<(), Failure> {
        let redis = RedisProbe::open(config).await?;
        let memory_before = redis.memory_bytes().await?;
        figures.add(self.case, "resident_before_mib", resident_bytes() >> 20, "MiB");
        let service = start(config).await?;
        wait_for(&service, self.events / WARM_UP_SHARE, Duration::from_millis(1)).await?;
        self.measure(&service, self.events, &redis, figures).await?;
        service.stop().await?;
        let memory = redis.memory_bytes().await?.saturating_sub(memory_before);
        let (stored, case) = (redis.stored(config).await?, self.case);
        figures.add(case, "redis_bytes_per_event", memory / self.events.max(1), "B");
        figures.add(case, "redis_bytes_per_agent", stored.account_bytes / stored.agents.max(1), "B");
        // Where they have none, those of control records say nothing.
        if self.has_ids {
            figures.add(case, "redis_bytes_per_id", stored.id_bytes / stored.ids.max(1), "B");
        }
        redis.remove_all(config).await
    }

    /// A service counts the first half and ends; another one goes on, with all accounts to be loaded.
    pub async fn cold(&self, config: &Config, figures: &mut Figures) -> Result<(), Failure> {
        let redis = RedisProbe::open(config).await?;
        let first = start(config).await?;
        wait_for(&first, self.events / 2, Duration::from_millis(1)).await?;
        let metrics = first.metrics.clone();
        first.stop().await?;
        let left = self.events.saturating_sub(metrics.consumed.get());
        if left == 0 {
            return Err(format!("{} takes more events than {}", self.case, self.events).into());
        }
        let began = Instant::now();
        let second = start(config).await?;
        wait_for(&second, 1, Duration::from_millis(1)).await?;
        figures.add(self.case, "first_event_ms", began.elapsed().as_millis() as u64, "ms");
        self.measure(&second, left, &redis, figures).await?;
        second.stop().await?;
        redis.remove_all(config).await
    }

    /// Measures from what is consumed already to the end.
    async fn measure(
        &self,
        service: &Service,
        upto: u64,
        redis: &RedisProbe,
        figures: &mut Figures,
    ) -> Result<(), Failure> {
        let (case, commits) = (self.case, service.metrics.commits.get());
        let (already, redis_cpu_us, broker) =
            (service.metrics.consumed.get(), redis.cpu_us().await?, self.broker_cpu());
        let (cpu, began) = (cpu_time(), Instant::now());
        wait_for(service, upto, Duration::from_millis(5)).await?;
        let (wall, cpu) = (began.elapsed(), cpu_time() - cpu);
        let counted = service.metrics.consumed.get() - already;
        figures.add(case, "wall_events_per_s", per_second(counted, wall), "1/s");
        figures.add(case, "cpu_ns_per_event", ratio(cpu.as_nanos(), counted), "ns");
        let redis_cpu_us = redis.cpu_us().await? - redis_cpu_us;
        figures.add(case, "redis_cpu_ns_per_event", ratio(u128::from(redis_cpu_us) * 1_000, counted), "ns");
        if let (Some(before), Some(after)) = (broker, self.broker_cpu()) {
            figures.add(case, "broker_cpu_ns_per_event", ratio((after - before).as_nanos(), counted), "ns");
        }
        figures.add(case, "events_per_commit", counted / (service.metrics.commits.get() - commits).max(1), "");
        figures.add(case, "resident_mib", resident_bytes() >> 20, "MiB");
        Ok(())
    }

    /// What the broker's process has used, as far as it is there.
    fn broker_cpu(&self) -> Option<Duration> {
        let stat = std::fs::read_to_string(format!("/proc/{}/stat", self.broker_pid?)).ok()?;
        // Behind the name, which is in brackets: fields 14 and 15 are user and system time, in ticks.
        let (_, fields) = stat.rsplit_once(") ")?;
        let ticks: Vec<u64> = fields.split(' ').skip(11).take(2).filter_map(|field| field.parse().ok()).collect();
        // SAFETY: asks for a constant of the system.
        #[allow(unsafe_code, reason = "the standard library does not tell how long a tick is")]
        let per_second = u64::try_from(unsafe { libc::sysconf(libc::_SC_CLK_TCK) }).ok()?;
        Some(Duration::from_millis(ticks.iter().sum::<u64>() * 1_000 / per_second.max(1)))
    }
}
