//! Scenarios through the whole service, on real Kafka and Redis, with the clock of the records.

use std::{
    collections::HashMap,
    sync::{Arc, Mutex, atomic::AtomicBool},
    time::{Duration, Instant},
};

use bursar::{
    config::{ClockSource, Config},
    contract::{Kind, json::cloud_event, usage::write},
    domain::{account::layout::unpack, time::Timestamp},
    ledger::{
        Ledger,
        keys::Keys,
        redis::{RedisLedger, RedisOptions},
    },
    notify::{encode::Format, reader::TopicReader},
    observe::metrics::Metrics,
    service::Service,
};
use rdkafka::{
    ClientConfig, Offset,
    producer::{BaseProducer, BaseRecord, Producer},
};
use serde_json::{Value as Json, json};

use crate::{
    differences,
    language::{Action, Step},
    stage::{ORGANIZATION, control_json, name_reloads, reload_of, with_event},
    support::{PATIENCE, Servers},
    told::{Seen, tell},
};

/// Scenarios that run at the same time: they mostly wait.
const AT_ONCE: usize = 8;

/// Runs every scenario on topics and keys of its own.
pub fn run(scenarios: Vec<(String, Vec<Step>)>) {
    Servers::shared();
    let queue = Mutex::new(scenarios.into_iter().enumerate().collect::<Vec<_>>());
    let failures = Mutex::new(Vec::new());
    std::thread::scope(|scope| {
        for _ in 0..AT_ONCE {
            scope.spawn(|| {
                let next = || queue.lock().expect("no scenario panics with the queue").pop();
                while let Some((number, (name, steps))) = next() {
                    let runtime = tokio::runtime::Builder::new_multi_thread().worker_threads(1).enable_all().build();
                    let wrong = runtime.expect("a runtime").block_on(run_one(number, &name, &steps));
                    failures.lock().expect("no scenario panics with the failures").extend(wrong);
                }
            });
        }
    });
    let failures = failures.into_inner().expect("no scenario panicked");
    assert!(failures.is_empty(), "{}", failures.join("\n"));
}

async fn run_one(number: usize, name: &str, steps: &[Step]) -> Vec<String> {
    let mut stage = Pipeline::open(&format!("s{number}-{name}")).await;
    let mut failures = Vec::new();
    for (number, step) in steps.iter().enumerate() {
        stage.act(number, step);
        stage.settle(step).await;
        let told = stage.told();
        let wrong = differences(step, told, &stage.seen(step.at).await);
        failures.extend(wrong.into_iter().map(|what| format!("{name}\n{what}")));
    }
    stage.service.stop().await.expect("the service stops");
    failures
}

/// A service with what feeds and what reads it.
struct Pipeline {
    config: Config,
    service: Service,
    producer: BaseProducer,
    readers: HashMap<String, TopicReader>,
    read: HashMap<String, i64>,
    ledger: RedisLedger,
    seen: Vec<String>,
    reloads: Vec<String>,
}

impl Pipeline {
    async fn open(name: &str) -> Self {
        let config = config(name);
        bursar::topics::ensure(&config).await.expect("the topics are made");
        let service = Service::start(&config, Arc::new(AtomicBool::new(false))).await.expect("the service starts");
        while service.metrics.partitions.get() == 0 {
            tokio::time::sleep(Duration::from_millis(10)).await;
        }
        let client = client();
        let producer: BaseProducer = client.clone().set("linger.ms", "0").create().expect("a producer");
        let readers = config.topics.written().into_iter().map(|topic| {
            let reader = TopicReader::open(&client, topic, Offset::Beginning, PATIENCE).expect("the topic is there");
            (topic.clone(), reader)
        });
        let options = RedisOptions { url: config.redis.url.clone(), prefix: config.redis.prefix.clone() };
        let ledger = RedisLedger::connect(&options, &config.rules.policy(), 24, Metrics::new().function_loads)
            .await
            .expect("Redis answers");
        let (readers, read) = (readers.collect(), HashMap::new());
        Self { config, service, producer, readers, read, ledger, seen: Vec::new(), reloads: Vec::new() }
    }

    fn send(&self, topic: &str, at: Timestamp, key: &str, payload: &[u8]) {
        let record = BaseRecord::to(topic).key(key).payload(payload).timestamp(at.ms());
        self.producer.send(record).map_err(|(error, _)| error).expect("there is room for one record");
        self.producer.flush(PATIENCE).expect("the record is sent");
    }

    fn act(&self, number: usize, step: &Step) {
        let (usage, control) = (&self.config.topics.usage[0], &self.config.topics.control);
        match &step.action {
            Action::Use(event) => {
                let mut payload = Vec::new();
                with_event(event, step.at, number, |event| write(event, &mut payload));
                self.send(usage, step.at, ORGANIZATION, &payload);
            }
            Action::Say { actor, id, command } => {
                let record = control_json(actor, id.as_deref(), command, step.at, number, &self.reloads);
                self.send(control, step.at, ORGANIZATION, record.as_bytes());
            }
            // A record of somebody else moves the clock.
            Action::Pass => {
                let data = json!({ "organization_id": "clock", "actor": "clock", "resume": { "scope": "org" } });
                let id = format!("tick-{}", step.at.ms());
                let record = cloud_event(Kind::Control, "scenario", &id, step.at, data).to_string();
                self.send(control, step.at, "clock", record.as_bytes());
            }
        }
    }

    /// Waits until every record is applied and nothing is due.
    async fn settle(&self, step: &Step) {
        let until = Instant::now() + PATIENCE;
        let inputs = [&self.config.topics.usage[0], &self.config.topics.control];
        loop {
            assert!(Instant::now() < until, "waited in vain after {:?}", step.line);
            let due = self.ledger.due(step.at).await.expect("Redis answers");
            let sent: i64 = inputs.iter().map(|topic| self.end(topic)).sum();
            if due.is_empty() && self.service.metrics.consumed.get() as i64 == sent {
                return;
            }
            tokio::time::sleep(Duration::from_millis(10)).await;
        }
    }

    fn end(&self, topic: &str) -> i64 {
        self.producer.client().fetch_watermarks(topic, 0, PATIENCE).expect("Kafka answers").1
    }

    /// What was published since the last call, once per identity.
    fn told(&mut self) -> Vec<String> {
        let ends: Vec<(String, i64)> = self.readers.keys().map(|topic| (topic.clone(), self.end(topic))).collect();
        let mut told = Vec::new();
        for (topic, end) in ends {
            let read = self.read.entry(topic.clone()).or_insert(0);
            let until = Instant::now() + PATIENCE;
            while *read < end {
                assert!(Instant::now() < until, "waited in vain for {topic}");
                let Some((_, _, payload)) = self.readers[&topic].next(Duration::from_millis(100)) else { continue };
                *read += 1;
                let sent: Json = serde_json::from_slice(&payload.unwrap_or_default()).expect("signals are JSON");
                let identity = format!("{} {}", sent["type"], sent["id"]);
                let ours = sent["data"]["organization_id"].as_str().is_none_or(|of| of == ORGANIZATION);
                if ours && !self.seen.contains(&identity) {
                    self.seen.push(identity);
                    self.reloads.extend(reload_of(&sent["data"]));
                    let sentence = tell(sent["type"].as_str().expect("a type"), &sent["data"]);
                    told.extend(sentence.map(|sentence| name_reloads(&sentence, &self.reloads)));
                }
            }
        }
        told
    }

    async fn seen(&self, now: Timestamp) -> Seen {
        let mut get = redis::cmd("HGETALL");
        get.arg(Keys::new(&self.config.redis.prefix).of(ORGANIZATION).account());
        let fields: HashMap<String, Vec<u8>> = self.ledger.connection().query(&get).await.expect("Redis answers");
        let settings = fields.get("settings").map(|packed| unpack("settings", packed).expect("settings"));
        let rows = fields.into_iter().filter(|(field, _)| field == "org" || field.contains(':'));
        let rows = rows.map(|(field, packed)| (field, unpack("row", &packed).expect("a row")));
        Seen { now, settings: settings.unwrap_or_default(), rows: rows.collect() }
    }
}

fn client() -> ClientConfig {
    let mut client = ClientConfig::new();
    client.set("bootstrap.servers", &Servers::shared().kafka);
    client
}

fn config(name: &str) -> Config {
    let servers = Servers::shared();
    let mut config = Config::default();
    config.kafka.brokers = servers.kafka.clone();
    config.redis.url = servers.redis.clone();
    config.redis.prefix = name.to_owned();
    config.kafka.group_id = name.to_owned();
    config.kafka.create_topics = true;
    config.kafka.accept_create_time = true;
    config.kafka.partitions = 1;
    config.kafka.replication_factor = 1;
    config.kafka.output_format = Format::Json;
    config.rules.clock = ClockSource::Records;
    config.work.workers = Some(1);
    config.observe.listen = ([127, 0, 0, 1], 0).into();
    config.topics = config.topics.under(name);
    config
}
