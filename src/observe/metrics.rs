//! Prometheus figures of the service. Every label has a small closed set of values; scopes are labels only on the page of
//! [`crate::outlook`].

use prometheus::{
    Encoder, Gauge, Histogram, HistogramOpts, IntCounter, IntCounterVec, IntGauge, IntGaugeVec, Opts, Registry,
    TextEncoder,
};

use super::page::Page;

/// All metrics of the process. Clones share them.
#[derive(Clone)]
pub struct Metrics {
    registry: Registry,
    /// Records taken from Kafka, over distinct positions (invariant U-6: = applied + duplicate + dead letters + parked).
    pub consumed: IntCounter,
    /// Records that changed an account.
    pub applied: IntCounter,
    /// Records that had been applied before.
    pub duplicate: IntCounter,
    /// Records that never will be applied, by reason code.
    pub dead_letters: IntCounterVec,
    /// Records parked because their account could not be decided.
    pub parked: IntCounter,
    /// Functions loaded because the server had lost them.
    pub function_loads: IntCounter,
    /// Records not yet applied, by topic and partition.
    pub lag: IntGaugeVec,
    /// Seconds per pipeline of commits.
    pub commit_seconds: Histogram,
    /// Commits written.
    pub commits: IntCounter,
    /// Commits refused because somebody else had moved the account.
    pub refused_commits: IntCounter,
    /// Leases taken of accounts that several workers write to.
    pub leases: IntCounter,
    /// Signals written with commits and not yet acknowledged by Kafka.
    pub outbox_depth: IntGauge,
    /// Records per batch.
    pub batch_records: Histogram,
    /// Shares of caps that were announced, by ceiling.
    pub crossings: IntCounterVec,
    /// Pauses and resumes that were published, by state.
    pub pauses: IntCounterVec,
    /// Lines of statements that were published, by class: closing or correction.
    pub statements: IntCounterVec,
    /// Requests, reloads, digests and refusals that were published, by kind.
    pub requests: IntCounterVec,
    /// Scopes paused now, by kind of cause, as the pauses topic has it.
    pub paused_scopes: IntGaugeVec,
    /// Times that positions were read anew because the fence had moved.
    pub rewinds: IntCounter,
    /// Times that the client did not fetch a partition any more.
    pub stuck: IntCounter,
    /// Joins of workers whose client had not found the group.
    pub joins_anew: IntCounter,
    /// Corrections of the pauses topic.
    pub corrections: IntCounter,
    /// Requests to the API, by HTTP status.
    pub api_requests: IntCounterVec,
    /// Seconds until a request to the API was answered.
    pub api_seconds: Histogram,
    /// About how much memory the accounts take that are held, over all workers, in bytes.
    pub accounts_bytes: IntGauge,
    /// 1 while a dependency does not answer, by dependency.
    pub missing: IntGaugeVec,
    /// Partitions assigned to this process.
    pub partitions: IntGauge,
    /// Partitions whose progress is deferred after a failover.
    pub deferred: IntGauge,
    /// The age of the record applied last, in seconds.
    pub record_age_seconds: Gauge,
    /// What is told of usage: series that have names of scopes as labels.
    pub usage: Page,
}

impl Metrics {
    /// Fresh metrics, all of them registered.
    pub fn new() -> Self {
        let registry = Registry::new_custom(Some("bursar".to_owned()), None).expect("the prefix is a metric name");
        let made = Maker { registry: &registry };
        let seconds = vec![0.000_5, 0.001, 0.002_5, 0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1.0, 2.5, 5.0];
        let records = prometheus::exponential_buckets(1.0, 4.0, 10).expect("the buckets grow");
        Self {
            consumed: made.counter("consumed_total", "Records taken from Kafka, over distinct positions"),
            applied: made.counter("applied_total", "Records that changed an account"),
            duplicate: made.counter("duplicate_total", "Records that had been applied before"),
            dead_letters: made.counters(
                "dead_letters_total",
                "Records that never will be applied, by reason",
                &["reason"],
            ),
            parked: made.counter("parked_total", "Records parked because their account could not be decided"),
            function_loads: made.counter("function_loads_total", "Functions loaded because the server had lost them"),
            lag: made.gauges("lag_records", "Records not yet applied", &["topic", "partition"]),
            commit_seconds: made.histogram("commit_seconds", "Seconds per pipeline of commits", seconds.clone()),
            commits: made.counter("commits_total", "Commits written"),
            leases: made.counter("leases_total", "Leases taken of accounts that several workers write to"),
            refused_commits: made.counter("refused_commits_total", "Commits refused because the account had moved"),
            outbox_depth: made.gauge("outbox_signals", "Signals committed and not yet acknowledged by Kafka"),
            batch_records: made.histogram("batch_records", "Records per batch", records),
            crossings: made.counters("crossings_total", "Shares of caps that were announced", &["ceiling", "percent"]),
            pauses: made.counters("pauses_total", "Pauses and resumes that were published", &["state"]),
            statements: made.counters("statement_lines_total", "Lines of statements that were published", &["class"]),
            requests: made.counters("requests_total", "Requests and reloads that were published", &["kind"]),
            paused_scopes: made.gauges(
                "paused_scopes",
                "Scopes paused now, by kind of cause, as the pauses topic has it",
                &["cause"],
            ),
            rewinds: made.counter("rewinds_total", "Times that positions were read anew because the fence had moved"),
            stuck: made.counter(
                "stuck_partitions_total",
                "Times that a partition had to be assigned anew because the client did not fetch it",
            ),
            joins_anew: made.counter(
                "joins_anew_total",
                "Times that a worker joined the consumer group anew because its client did not find it",
            ),
            corrections: made.counter("pause_corrections_total", "Corrections of the pauses topic"),
            api_requests: made.counters("api_requests_total", "Requests to the API", &["status"]),
            api_seconds: made.histogram("api_seconds", "Seconds until a request was answered", seconds.clone()),
            accounts_bytes: made.gauge("accounts_bytes", "About how much memory the accounts that are held take"),
            missing: made.gauges("dependency_missing", "1 while a dependency does not answer", &["dependency"]),
            partitions: made.gauge("partitions_assigned", "Partitions assigned to this process"),
            deferred: made.gauge(
                "partitions_deferred",
                "Partitions whose progress is deferred, after a failover, until every replica has what was applied",
            ),
            record_age_seconds: made.register(
                Gauge::with_opts(Opts::new("record_age_seconds", "Age of the record applied last"))
                    .expect("a valid gauge"),
            ),
            usage: Page::default(),
            registry,
        }
    }

    /// All figures in Prometheus's text format.
    pub fn text(&self) -> String {
        let mut text = Vec::new();
        TextEncoder::new().encode(&self.registry.gather(), &mut text).expect("metrics encode into memory");
        String::from_utf8(text).expect("Prometheus's text format is UTF-8") + &self.usage.text()
    }
}

impl Default for Metrics {
    fn default() -> Self {
        Self::new()
    }
}

struct Maker<'a> {
    registry: &'a Registry,
}

impl Maker<'_> {
    fn register<M: prometheus::core::Collector + Clone + 'static>(&self, metric: M) -> M {
        self.registry.register(Box::new(metric.clone())).expect("each metric has a name of its own");
        metric
    }

    fn counter(&self, name: &str, help: &str) -> IntCounter {
        self.register(IntCounter::new(name, help).expect("a valid counter"))
    }

    fn counters(&self, name: &str, help: &str, labels: &[&str]) -> IntCounterVec {
        self.register(IntCounterVec::new(Opts::new(name, help), labels).expect("valid counters"))
    }

    fn gauge(&self, name: &str, help: &str) -> IntGauge {
        self.register(IntGauge::new(name, help).expect("a valid gauge"))
    }

    fn gauges(&self, name: &str, help: &str, labels: &[&str]) -> IntGaugeVec {
        self.register(IntGaugeVec::new(Opts::new(name, help), labels).expect("valid gauges"))
    }

    fn histogram(&self, name: &str, help: &str, buckets: Vec<f64>) -> Histogram {
        self.register(Histogram::with_opts(HistogramOpts::new(name, help).buckets(buckets)).expect("a valid histogram"))
    }
}

/// The sum of a counter over all its labels.
pub fn sum(counters: &IntCounterVec) -> u64 {
    use prometheus::core::Collector;
    let families = counters.collect();
    let counts = families.iter().flat_map(|family| family.get_metric()).map(|metric| metric.get_counter().get_value());
    counts.map(|count| count as u64).sum()
}
