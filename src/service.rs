//! The running service: workers on threads of their own, and beside them what watches, serves and stops.

use std::{
    net::SocketAddr,
    sync::{
        Arc,
        atomic::{AtomicBool, Ordering},
    },
    thread::JoinHandle,
    time::Duration,
};

use rand::{SeedableRng, rngs::StdRng};
use thiserror::Error;
use tokio::runtime::Handle;
use tracing::info;

use crate::{
    clock::Clock,
    config::{ClockSource, Config, ConfigError},
    domain::account::Policy,
    ingest::{
        Fatal,
        consumer::Consumer,
        holdings::Holdings,
        patience::Patience,
        worker::{Surroundings, Worker, WorkerOptions},
    },
    ledger::{
        Ledger, LedgerError,
        redis::{RedisLedger, reader::Reader},
    },
    notify::{
        due,
        publisher::{self, Publisher},
        readback::Readback,
        reader,
    },
    observe::{
        health::{Dependency, Health},
        metrics::Metrics,
        server::{self, Pages},
    },
    outlook,
    topics::{self, TopicsError},
};

/// How long to wait before something that is away at the start is tried again.
const START_PAUSE: Duration = Duration::from_millis(500);

/// How often it is asked whether the dependencies answer.
const PROBE_EVERY: Duration = Duration::from_secs(2);

/// How long the brokers may take to answer a probe.
const PROBE_WAIT: Duration = Duration::from_secs(2);

/// How long the brokers may take to tell how many partitions there are.
const BROKER_WAIT: Duration = Duration::from_secs(10);

/// Records still under way when the process stops have this long.
const FLUSH_WAIT: Duration = Duration::from_secs(3);

/// Why the service does not run.
#[derive(Debug, Error)]
pub enum ServiceError {
    /// The configuration cannot be used.
    #[error(transparent)]
    Config(#[from] ConfigError),
    /// The topics cannot be used.
    #[error(transparent)]
    Topics(#[from] TopicsError),
    /// Redis cannot be used.
    #[error(transparent)]
    Ledger(#[from] LedgerError),
    /// Kafka's client refuses the configuration, or no broker answers.
    #[error("Kafka: {0}")]
    Kafka(#[from] rdkafka::error::KafkaError),
    /// The address for /metrics cannot be bound.
    #[error("{address} cannot be bound for /metrics: {error}")]
    Listen {
        /// The address.
        address: SocketAddr,
        /// Why not.
        error: std::io::Error,
    },
    /// A worker has stopped for good.
    #[error(transparent)]
    Fatal(#[from] Fatal),
    /// The process was asked to stop before it ran.
    #[error("stopped before everything it needs was there")]
    Stopped,
}

impl ServiceError {
    /// What is away, if waiting may mend it.
    pub fn missing(&self) -> Option<Dependency> {
        match self {
            Self::Ledger(error) if error.is_transient() => Some(Dependency::Redis),
            Self::Kafka(error) if publisher::may_pass(error) => Some(Dependency::Kafka),
            _ => None,
        }
    }
}

/// A service that runs. Dropping it does not stop it; [`Service::stop`] does.
pub struct Service {
    /// The figures.
    pub metrics: Metrics,
    /// What is missing.
    pub health: Arc<Health>,
    /// Where /metrics is served.
    pub address: SocketAddr,
    /// The present, as workers have it.
    pub clock: Clock,
    holdings: Arc<Holdings>,
    stop: Arc<AtomicBool>,
    publisher: Publisher,
    workers: Vec<JoinHandle<Result<(), Fatal>>>,
}

impl Service {
    /// Starts the service with accounts in Redis; waits for Redis, Kafka and the topics as long as they are away.
    /// `/readyz` tells from the first moment what is missing.
    ///
    /// # Errors
    /// [`ServiceError`], for what waiting does not mend.
    pub async fn start(config: &Config, stop: Arc<AtomicBool>) -> Result<Self, ServiceError> {
        let (metrics, health) = (Metrics::new(), Arc::new(Health::starting()));
        let address = listen(config, &metrics, &health).await?;
        let patience = Patience { health: Arc::clone(&health), stop };
        let policy = config.rules.policy();
        let ledger = loop {
            match RedisLedger::connect(
                &config.redis()?,
                &policy,
                config.rules.periods_kept,
                metrics.function_loads.clone(),
            )
            .await
            {
                Ok(ledger) => break ledger,
                Err(error) if error.is_transient() => wait(&patience, Dependency::Redis, &error.to_string()).await?,
                Err(error) => return Err(error.into()),
            }
        };
        health.regain(Dependency::Redis);
        loop {
            match topics::ensure(config).await {
                Ok(()) => break,
                Err(error) if error.is_transient() => wait(&patience, Dependency::Kafka, &error.to_string()).await?,
                Err(error) => return Err(error.into()),
            }
        }
        Self::assemble(config, Arc::new(ledger), metrics, patience, address, policy).await
    }

    /// Starts the service with accounts in `ledger`, on topics that are there.
    ///
    /// # Errors
    /// [`ServiceError`].
    pub async fn start_on(
        config: &Config,
        ledger: Arc<dyn Ledger>,
        stop: Arc<AtomicBool>,
    ) -> Result<Self, ServiceError> {
        let (metrics, health) = (Metrics::new(), Arc::new(Health::default()));
        let address = listen(config, &metrics, &health).await?;
        let patience = Patience { health, stop };
        Self::assemble(config, ledger, metrics, patience, address, config.rules.policy()).await
    }

    async fn assemble(
        config: &Config,
        ledger: Arc<dyn Ledger>,
        metrics: Metrics,
        patience: Patience,
        address: SocketAddr,
        policy: Policy,
    ) -> Result<Self, ServiceError> {
        let (client, outputs, format) = (config.client()?, config.topics.outputs(), config.kafka.output_format);
        let publisher = loop {
            let (client, outputs) = (client.clone(), outputs.clone());
            let made = tokio::task::spawn_blocking(move || Publisher::new(&client, outputs, format, PROBE_WAIT)).await;
            match made.expect("making a producer does not panic") {
                Ok(publisher) => break publisher,
                Err(error) if publisher::may_pass(&error) => {
                    wait(&patience, Dependency::Kafka, &error.to_string()).await?
                }
                Err(error) => return Err(error.into()),
            }
        };
        patience.health.regain(Dependency::Kafka);
        let clock = match config.rules.clock {
            ClockSource::System => Clock::System,
            ClockSource::Records => Clock::records(),
        };
        let readback = Arc::new(Readback::default());
        let (of_workers, metrics_of_workers) = (clock.clone(), metrics.clone());
        let around = Surroundings {
            ledger,
            publisher: publisher.clone(),
            readback,
            holdings: Arc::default(),
            clock: of_workers,
            metrics: metrics_of_workers,
            patience,
        };
        let options = WorkerOptions {
            control_topic: config.topics.control.clone(),
            topics: [&config.topics.usage[..], std::slice::from_ref(&config.topics.control)].concat(),
            replica_behind: Duration::from_secs(config.redis.replica_behind_seconds),
            control_read_within: Duration::from_millis(u64::try_from(policy.rules_delay_ms).unwrap_or(0)),
            start: config.kafka.start,
            batch_records_max: config.work.batch_records(),
            accounts_bytes_max: config.work.accounts_mib() << 20,
            policy,
            registry: config.registry()?,
        };
        let holdings = Arc::clone(&around.holdings);
        watch(&around, &config.topics.pauses, client);
        let (consumer, mut workers) = (config.consumer()?, Vec::new());
        let usage_topics: Vec<&str> = config.topics.usage.iter().map(String::as_str).collect();
        for number in 0..config.work.workers() {
            let source = Consumer::join(&consumer, &options.control_topic, &usage_topics)?;
            let worker = Worker::new(options.clone(), around.clone(), Box::new(source), StdRng::from_os_rng());
            workers.push(spawn_worker(number, worker));
        }
        info!(workers = workers.len(), metrics = %format!("http://{address}/metrics"), "running");
        let Patience { health, stop } = around.patience;
        Ok(Self { metrics, health, address, clock, holdings, stop, publisher, workers })
    }

    /// Shows usage of the organizations that this process has, for `/metrics` and on `usage.forecasts`, until the service
    /// stops.
    ///
    /// # Errors
    /// [`ServiceError`].
    pub async fn show_usage(&self, config: &Config) -> Result<(), ServiceError> {
        let reader = Reader::open(&config.redis()?).await?;
        let (client, control) = (config.client()?, config.topics.control.clone());
        let count = tokio::task::spawn_blocking(move || -> Result<usize, rdkafka::error::KafkaError> {
            let client: rdkafka::consumer::BaseConsumer = client.create()?;
            Ok(reader::partitions_of(rdkafka::consumer::Consumer::client(&client), &control, BROKER_WAIT)?.len())
        });
        let count = count.await.expect("asking a broker does not panic")?;
        let watch = outlook::Watch {
            options: outlook::Options {
                every: Duration::from_secs(config.observe.usage_seconds),
                top_workspaces: config.observe.usage_top_workspaces,
                top_agents: config.observe.usage_top_agents,
                organizations_max: config.observe.usage_organizations_max,
                control_partitions: i32::try_from(count).unwrap_or(i32::MAX),
                format: config.kafka.output_format,
            },
            reader,
            publisher: self.publisher.clone(),
            holdings: Arc::clone(&self.holdings),
            clock: self.clock.clone(),
            page: self.metrics.usage.clone(),
            patience: Patience { health: Arc::clone(&self.health), stop: Arc::clone(&self.stop) },
        };
        tokio::spawn(watch.run());
        Ok(())
    }

    /// Whether a worker has ended, which only happens on its own if it would be wrong to go on.
    pub fn has_ended(&self) -> bool {
        self.workers.iter().any(JoinHandle::is_finished)
    }

    /// Asks the workers to stop, and waits until they have finished their batches and left the group.
    ///
    /// # Errors
    /// [`ServiceError::Fatal`], if one had stopped for good.
    pub async fn stop(self) -> Result<(), ServiceError> {
        self.stop.store(true, Ordering::SeqCst);
        let joined = tokio::task::spawn_blocking(move || {
            let panicked = |_| Err(Fatal::Ledger("a worker panicked; see the log".to_owned()));
            let join = |worker: JoinHandle<Result<(), Fatal>>| worker.join().unwrap_or_else(panicked);
            // Every worker is waited for, whatever became of the others.
            let results: Vec<Result<(), Fatal>> = self.workers.into_iter().map(join).collect();
            let result: Result<(), Fatal> = results.into_iter().collect();
            self.publisher.flush(FLUSH_WAIT);
            result
        });
        Ok(joined.await.expect("joining does not panic")?)
    }
}

async fn listen(config: &Config, metrics: &Metrics, health: &Arc<Health>) -> Result<SocketAddr, ServiceError> {
    let pages = Pages { metrics: metrics.clone(), health: Arc::clone(health) };
    let address = config.observe.listen;
    server::serve(address, pages).await.map_err(|error| ServiceError::Listen { address, error })
}

async fn wait(patience: &Patience, dependency: Dependency, why: &str) -> Result<(), ServiceError> {
    patience.health.lose(dependency, why);
    if patience.is_stopped() {
        return Err(ServiceError::Stopped);
    }
    tokio::time::sleep(START_PAUSE).await;
    Ok(())
}

/// A worker on a thread of its own; what it awaits is driven by the process's runtime. A worker that panics takes the
/// others along: an invariant is broken, and going on could bill somebody wrongly.
fn spawn_worker(number: usize, worker: Worker) -> JoinHandle<Result<(), Fatal>> {
    let runtime = Handle::current();
    std::thread::Builder::new()
        .name(format!("worker-{number}"))
        .spawn(move || runtime.block_on(worker.run()))
        .expect("the system has room for a thread per worker")
}

/// Starts what looks after the process beside the workers.
fn watch(around: &Surroundings, pauses_topic: &str, client: rdkafka::ClientConfig) {
    let due = around.clone();
    tokio::spawn(async move {
        due::watch(&*due.ledger, &due.publisher, &due.clock, &due.patience.health, &due.patience.stop).await
    });
    let probe = around.clone();
    tokio::spawn(async move { probe_dependencies(probe).await });
    let (follow, topic) = (around.clone(), pauses_topic.to_owned());
    std::thread::spawn(move || {
        reader::follow_pauses(&client, &topic, &follow.readback, &follow.metrics, &follow.patience.stop)
    });
}

/// Asks now and then whether Kafka and Redis answer, so that readiness is right also while nothing is read.
async fn probe_dependencies(around: Surroundings) {
    let health = &around.patience.health;
    while !around.patience.is_stopped() {
        let publisher = around.publisher.clone();
        let brokers_answer =
            tokio::task::spawn_blocking(move || publisher.brokers_answer(PROBE_WAIT)).await.unwrap_or(false);
        if brokers_answer {
            health.regain(Dependency::Kafka)
        } else {
            health.lose(Dependency::Kafka, "the brokers do not answer")
        }
        match around.ledger.begin(&[]).await {
            Ok(_) => health.regain(Dependency::Redis),
            Err(error) => health.lose(Dependency::Redis, &error.to_string()),
        }
        let missing = health.missing();
        for dependency in Dependency::ALL {
            let is_missing = i64::from(missing.contains_key(&dependency));
            around.metrics.missing.with_label_values(&[dependency.name()]).set(is_missing);
        }
        tokio::time::sleep(PROBE_EVERY).await;
    }
}
