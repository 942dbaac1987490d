//! Real servers and real processes for tests. Servers are started once per test program, on free ports, and stop with
//! it; each test has topics and keys of its own.

#![allow(dead_code, reason = "each test program uses a part of this")]

use std::{
    collections::BTreeMap,
    io::{Read, Write},
    net::{TcpListener, TcpStream},
    path::PathBuf,
    process::{Child, Command, Output, Stdio},
    sync::Mutex,
    time::{Duration, Instant},
};

use bursar::{
    domain::time::Timestamp,
    notify::reader::{WholeTopic, data_of},
};
use rdkafka::{
    ClientConfig,
    producer::{BaseProducer, BaseRecord, Producer},
};
use serde_json::Value as Json;

mod servers;

pub use self::servers::Servers;
use self::servers::send_signal;

/// How long anything may take before a test gives up.
pub const PATIENCE: Duration = Duration::from_secs(90);

/// A stage for one test: topics and keys under a prefix of its own.
#[derive(Clone)]
pub struct Stage {
    kafka: String,
    redis: String,
    /// The prefix.
    pub name: String,
    settings: BTreeMap<String, String>,
}

impl Stage {
    /// A stage on the shared servers.
    pub fn new(name: &str) -> Self {
        Self::on(Servers::shared(), name)
    }

    /// A stage on the given servers.
    pub fn on(servers: &Servers, name: &str) -> Self {
        let mut stage = Self {
            kafka: servers.kafka.clone(),
            redis: servers.redis.clone(),
            name: name.to_owned(),
            settings: BTreeMap::new(),
        };
        for (setting, value) in [
            ("KAFKA__BROKERS", servers.kafka.as_str()),
            ("REDIS__URL", servers.redis.as_str()),
            ("REDIS__PREFIX", name),
            ("KAFKA__GROUP_ID", name),
            ("KAFKA__CREATE_TOPICS", "true"),
            ("KAFKA__PARTITIONS", "4"),
            ("KAFKA__REPLICATION_FACTOR", "1"),
            ("RULES__DELAY_MS", "100"),
            ("OBSERVE__LOG_FORMAT", "text"),
            ("API__LISTEN", "127.0.0.1:0"),
        ] {
            stage.set(setting, value);
        }
        for topic in [
            "usage",
            "control",
            "thresholds",
            "pauses",
            "journal",
            "statements",
            "requests",
            "dead_letters",
            "parking",
            "names",
        ] {
            let name = stage.topic(topic);
            stage.set(&format!("TOPICS__{}", topic.to_uppercase()), &name);
        }
        stage
    }

    /// Sets a setting, as in `KAFKA__PARTITIONS`.
    pub fn set(&mut self, setting: &str, value: &str) {
        self.settings.insert(format!("BURSAR__{setting}"), value.to_owned());
    }

    /// Has members that end without a word leave the group after 3 s, by a configuration file of the stage.
    pub fn expire_soon(&mut self) {
        let file = std::env::temp_dir().join(format!("bursar-test-{}-{}.toml", std::process::id(), self.name));
        let properties = "[kafka.properties]\n\"session.timeout.ms\" = \"3000\"\n\"heartbeat.interval.ms\" = \"500\"\n";
        std::fs::write(&file, properties).expect("the configuration can be written");
        self.env("BURSAR_CONFIG", &file.to_string_lossy());
    }

    /// Uses another Redis.
    pub fn use_redis(&mut self, url: &str) {
        self.redis = url.to_owned();
        self.set("REDIS__URL", url);
    }

    /// Sets any environment variable of the program.
    pub fn env(&mut self, name: &str, value: &str) {
        self.settings.insert(name.to_owned(), value.to_owned());
    }

    /// Removes an environment variable of the program.
    pub fn without_env(&mut self, name: &str) {
        self.settings.remove(name);
    }

    /// The name of a topic on this stage.
    pub fn topic(&self, topic: &str) -> String {
        format!("{}.{topic}", self.name)
    }

    fn command(&self) -> Command {
        let mut command = Command::new(env!("CARGO_BIN_EXE_bursar"));
        command.envs(&self.settings);
        command
    }

    /// Starts a member and waits until it says that it is ready.
    pub fn run(&self) -> Member {
        let member = self.launch();
        wait_until("the member is ready", || member.get("/readyz").is_some_and(|page| page.starts_with("ready")));
        member
    }

    /// Leaves a setting at its default.
    pub fn unset(&mut self, setting: &str) {
        self.settings.remove(&format!("BURSAR__{setting}"));
    }

    /// Starts a member.
    pub fn launch(&self) -> Member {
        self.launch_with("run")
    }

    /// Starts the program with another command that serves until it is stopped.
    pub fn launch_with(&self, served: &str) -> Member {
        let port = free_port();
        let mut command = self.command();
        command.arg(served).env("BURSAR__OBSERVE__LISTEN", format!("127.0.0.1:{port}"));
        let log = std::env::temp_dir().join(format!("bursar-test-{}-{port}.log", std::process::id()));
        let file = std::fs::File::create(&log).expect("the log can be written");
        let child = command.stderr(file).stdout(Stdio::null()).spawn().expect("bursar starts");
        Member { child, port, log }
    }

    /// Runs a command of the program to its end.
    pub fn bursar(&self, arguments: &[&str]) -> Output {
        self.command().args(arguments).output().expect("bursar runs")
    }

    /// Runs a command that must succeed, and returns what it printed.
    pub fn say(&self, arguments: &[&str]) -> String {
        let output = self.bursar(arguments);
        let error = String::from_utf8_lossy(&output.stderr).into_owned();
        assert!(output.status.success(), "bursar {arguments:?} failed: {error}");
        String::from_utf8(output.stdout).expect("its output is text")
    }

    /// Sums of the organizations' own counters over billing periods, by meter.
    pub fn totals(&self) -> BTreeMap<String, i64> {
        let mut totals = BTreeMap::new();
        for line in self.say(&["show", "--all", "--json"]).lines() {
            let account: Json = serde_json::from_str(line).expect("a JSON object per line");
            for window in account["scopes"][0]["windows"].as_array().expect("windows") {
                if window["window"] == "period" {
                    for (meter, count) in window["meters"].as_object().expect("meters") {
                        *totals.entry(meter.clone()).or_insert(0) += count.as_i64().expect("a whole number");
                    }
                }
            }
        }
        totals
    }

    /// The account of an organization.
    pub fn account(&self, organization_id: &str) -> Json {
        serde_json::from_str(&self.say(&["show", organization_id, "--json", "--limit", "10000"])).expect("JSON")
    }

    /// Everything that a topic holds now, as data.
    pub fn read(&self, topic: &str) -> Vec<Json> {
        self.read_raw(topic).iter().filter_map(|payload| data_of(payload)).collect()
    }

    /// The payloads that a topic holds now.
    pub fn read_raw(&self, topic: &str) -> Vec<Vec<u8>> {
        let client = self.client();
        let wait = Duration::from_secs(10);
        let mut topic = WholeTopic::open(&client, &self.topic(topic), wait).expect("the topic is there");
        let mut payloads = Vec::new();
        while let Some(record) = topic.next_record().expect("the topic can be read") {
            payloads.extend(record.payload);
        }
        payloads
    }

    /// A producer.
    pub fn producer(&self) -> Sender {
        let mut client = self.client();
        client.set("partitioner", "murmur2_random").set("message.max.bytes", "20000000").set("linger.ms", "5");
        client.set("enable.idempotence", "true");
        Sender { producer: client.create().expect("a producer") }
    }

    fn client(&self) -> ClientConfig {
        let mut client = ClientConfig::new();
        client.set("bootstrap.servers", &self.kafka);
        client
    }

    /// A connection to Redis.
    pub fn redis(&self) -> redis::Connection {
        let client = redis::Client::open(self.redis.as_str()).expect("an address");
        client.get_connection().expect("Redis answers")
    }
}

/// Sends records.
pub struct Sender {
    producer: BaseProducer,
}

impl Sender {
    /// Sends one record, without waiting for it.
    pub fn send(&self, topic: &str, key: &str, payload: &[u8]) {
        self.put(|| BaseRecord::to(topic).key(key).payload(payload));
    }

    /// Sends one record to a partition of one's choice.
    pub fn send_to(&self, partition: i32, topic: &str, key: &str, payload: &[u8]) {
        self.put(|| BaseRecord::to(topic).partition(partition).key(key).payload(payload));
    }

    fn put<'a>(&self, record: impl Fn() -> BaseRecord<'a, str, [u8]>) {
        while let Err((error, _)) = self.producer.send(record()) {
            assert_eq!(error.rdkafka_error_code(), Some(rdkafka::types::RDKafkaErrorCode::QueueFull), "{error}");
            self.producer.poll(Duration::from_millis(10));
        }
    }

    /// Sends one record with a timestamp of one's choice.
    pub fn send_at(&self, timestamp_ms: i64, partition: i32, topic: &str, payload: &[u8]) {
        let record = BaseRecord::<(), _>::to(topic).partition(partition).payload(payload).timestamp(timestamp_ms);
        self.producer.send(record).map_err(|(error, _)| error).expect("there is room for one record");
    }

    /// Waits until all are there.
    pub fn flush(&self) {
        self.producer.flush(PATIENCE).expect("all records are sent");
    }
}

/// A running `bursar run`.
pub struct Member {
    child: Child,
    port: u16,
    log: PathBuf,
}

impl Member {
    /// A page that it serves.
    pub fn get(&self, path: &str) -> Option<String> {
        let mut stream = TcpStream::connect(("127.0.0.1", self.port)).ok()?;
        stream.set_read_timeout(Some(Duration::from_secs(5))).ok()?;
        write!(stream, "GET {path} HTTP/1.0\r\n\r\n").ok()?;
        let mut answer = String::new();
        stream.read_to_string(&mut answer).ok()?;
        answer.split_once("\r\n\r\n").map(|(_, body)| body.to_owned())
    }

    /// The sum of a metric over its labels.
    pub fn metric(&self, name: &str) -> u64 {
        let page = self.get("/metrics").unwrap_or_default();
        let values =
            page.lines().filter(|line| line.strip_prefix(name).is_some_and(|rest| rest.starts_with([' ', '{'])));
        values.filter_map(|line| line.rsplit(' ').next()?.parse::<f64>().ok()).sum::<f64>() as u64
    }

    /// Ends it at once: `kill -9`.
    pub fn kill(mut self) {
        self.child.kill().expect("it can be killed");
        self.child.wait().expect("it ends");
    }

    /// Asks it to stop and returns how long that took.
    pub fn terminate(mut self) -> Duration {
        let began = Instant::now();
        send_signal("TERM", self.child.id());
        let status = self.child.wait().expect("it ends");
        assert!(status.success(), "it ended with {status}: {}", self.log());
        began.elapsed()
    }

    /// Whether it still runs.
    pub fn lives(&mut self) -> bool {
        self.child.try_wait().expect("its state can be asked").is_none()
    }

    /// Sends it a signal.
    pub fn signal(&self, signal: &str) {
        send_signal(signal, self.child.id());
    }

    /// Waits until it ends by itself.
    pub fn wait(&mut self) {
        wait_until("the member ends", || !self.lives());
    }

    /// Waits until it is stopped, as by SIGSTOP.
    pub fn wait_for_stop(&self) {
        let stat = format!("/proc/{}/stat", self.child.id());
        wait_until("the member stops", || std::fs::read_to_string(&stat).is_ok_and(|stat| stat.contains(") T ")));
    }

    /// What it logged.
    pub fn log(&self) -> String {
        std::fs::read_to_string(&self.log).unwrap_or_default()
    }
}

impl Drop for Member {
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
        if std::thread::panicking() {
            eprintln!("--- log of a member\n{}", self.log());
        }
        let _ = std::fs::remove_file(&self.log);
    }
}

/// Waits until something holds, and fails when that takes too long.
pub fn wait_until(what: &str, mut holds: impl FnMut() -> bool) {
    let until = Instant::now() + PATIENCE;
    while !holds() {
        assert!(Instant::now() < until, "waited {} s in vain until {what}", PATIENCE.as_secs());
        std::thread::sleep(Duration::from_millis(100));
    }
}

/// A port that nobody uses now.
pub fn free_port() -> u16 {
    static TAKEN: Mutex<Vec<u16>> = Mutex::new(Vec::new());
    loop {
        let port = TcpListener::bind("127.0.0.1:0").and_then(|listener| listener.local_addr()).expect("a port").port();
        let mut taken = TAKEN.lock().expect("no test panics here");
        if !taken.contains(&port) {
            taken.push(port);
            return port;
        }
    }
}

/// A usage event of tokens in Avro, of now.
pub fn token_event(organization_id: &str, id: &str, input: i64) -> Vec<u8> {
    token_event_at(bursar::clock::Clock::System.now(), organization_id, id, input)
}

/// A usage event of tokens in Avro.
pub fn token_event_at(time: Timestamp, organization_id: &str, id: &str, input: i64) -> Vec<u8> {
    use bursar::domain::event::{Tokens, Usage, UsageEvent};
    let usage = Usage::Tokens { request_model: "small", tokens: Tokens { input, ..Tokens::default() } };
    let event = UsageEvent {
        workspace_id: Some("ws-1"),
        agent_id: Some("agent-1"),
        user_id: Some("user-1"),
        ..UsageEvent::new(id, "test", time, organization_id, usage)
    };
    let mut payload = Vec::new();
    bursar::contract::usage::write(&event, &mut payload);
    payload
}
