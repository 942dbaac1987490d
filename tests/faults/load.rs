//! What is counted while things break, and by plain sums what must come of it.

use std::{
    collections::{BTreeMap, BTreeSet},
    time::{Duration, Instant},
};

use bursar::{
    clock::Clock,
    contract::{Kind, json::cloud_event, usage::write},
    domain::{
        event::{Tokens, Usage, UsageEvent},
        time::Timestamp,
    },
    faults::Defence,
};
use serde_json::{Value as Json, json};

use crate::support::Stage;

/// Organizations.
const ORGANIZATIONS: i64 = 7;
/// Each so many-th record is none.
const BAD_EVERY: i64 = 100;
/// Shares that are told.
const THRESHOLDS: [i64; 3] = [20, 80, 100];

/// Events that are counted, in the order of their numbers.
pub struct Load {
    events: i64,
    start: Timestamp,
    grant_ms: i64,
}

fn organization(number: i64) -> String {
    format!("org-{}", number % ORGANIZATIONS)
}

const fn tokens(number: i64) -> i64 {
    1 + number % 13
}

impl Load {
    /// So many events.
    pub fn new(events: i64) -> Self {
        Self { events, start: Clock::System.now().plus_ms(-60_000), grant_ms: 5_000 }
    }

    /// The same with grants that live so long from when they are said: they have to be read before they end.
    pub fn with_grants_of(self, grant_ms: i64) -> Self {
        Self { grant_ms, ..self }
    }

    /// Says limits that the load will cross.
    pub fn say_limits(&self, stage: &Stage) {
        let sender = stage.producer();
        for (organization, sum) in self.sums() {
            let limit = json!({ "organization_id": organization, "actor": "test", "set_limit": {
                "limit_id": "all", "scope": "org", "meter": "input_tokens", "window": "period", "cap": sum,
                "thresholds_percent": THRESHOLDS, "action": "pause" } });
            let pool = json!({ "organization_id": organization, "actor": "test", "set_pool": {
                "scope": "org", "included_micro": 0 } });
            let grant = json!({ "organization_id": organization, "actor": "test", "grant": {
                "scope": "org", "grant_id": "g", "amount_micro": 5, "kind": "prepaid",
                "expires_at": Clock::System.now().plus_ms(self.grant_ms).to_string() } });
            for (id, data) in [("limit", limit), ("pool", pool), ("grant", grant)] {
                sender.send(&stage.topic("control"), &organization, &command(id, self.start, data));
            }
        }
        sender.flush();
    }

    /// Sends some of the events, with bad records between them.
    pub fn send(&self, stage: &Stage, from: i64, upto: i64) {
        let sender = stage.producer();
        for number in from..upto {
            let organization = organization(number);
            sender.send(&stage.topic("usage"), &organization, &self.event(number));
            if number % BAD_EVERY == 0 {
                sender.send(&stage.topic("usage"), &organization, &[0xff, number as u8]);
            }
        }
        sender.flush();
    }

    /// Sends each so many-th event, into another partition than the one its key has.
    pub fn send_again(&self, stage: &Stage, every: usize) {
        let sender = stage.producer();
        for number in (0..self.events).step_by(every) {
            let partition = i32::try_from(number % 4).expect("there are four");
            sender.send_to(partition, &stage.topic("usage"), &organization(number), &self.event(number));
        }
        sender.flush();
    }

    /// Sends all events, spread over this time.
    pub fn send_over(&self, stage: &Stage, time: Duration) {
        let (pieces, began) = (50, Instant::now());
        for piece in 0..pieces {
            let due = began + time * u32::try_from(piece).expect("few") / 50;
            std::thread::sleep(due.saturating_duration_since(Instant::now()));
            self.send(stage, self.events * piece / pieces, self.events * (piece + 1) / pieces);
        }
    }

    fn event(&self, number: i64) -> Vec<u8> {
        let tokens = Tokens { input: tokens(number), ..Tokens::default() };
        let usage = Usage::Tokens { request_model: "any", tokens };
        let (id, organization) = (number.to_string(), organization(number));
        let event = UsageEvent {
            workspace_id: Some("ws"),
            agent_id: Some(if number % 2 == 0 { "even" } else { "odd" }),
            user_id: Some("user"),
            ..UsageEvent::new(&id, "test", self.start.plus_ms(number % 50_000), &organization, usage)
        };
        let mut payload = Vec::new();
        write(&event, &mut payload);
        payload
    }

    fn sums(&self) -> BTreeMap<String, i64> {
        let mut sums = BTreeMap::new();
        for number in 0..self.events {
            *sums.entry(organization(number)).or_insert(0) += tokens(number);
        }
        sums
    }

    /// Whether everything is as without faults: sums, crossings, pauses, dead letters.
    pub fn check(&self, stage: &Stage) -> Result<(), String> {
        let counted = counted(stage);
        let expected = self.sums();
        if counted != expected {
            return Err(format!("counted {counted:?}, and it was {expected:?}"));
        }
        let mut identities: BTreeMap<(String, i64), BTreeSet<String>> = BTreeMap::new();
        for crossing in stage.read("thresholds").iter().filter(|crossing| crossing["limit_id"] == "all") {
            let text = |field: &str| crossing[field].as_str().unwrap_or_default().to_owned();
            let key = (text("organization_id"), crossing["threshold_percent"].as_i64().unwrap_or(0));
            identities.entry(key).or_default().insert(text("identity"));
        }
        let crossed = expected.len() * THRESHOLDS.len();
        if identities.len() != crossed || identities.values().any(|copies| copies.len() != 1) {
            return Err(format!("of {crossed} crossings there are {identities:?}"));
        }
        let mut last = BTreeMap::new();
        for pause in stage.read("pauses").into_iter().filter(|pause| pause["scope"] == "org") {
            last.insert(pause["organization_id"].to_string(), pause["state"].to_string());
        }
        if last.len() != expected.len() || last.values().any(|state| state != "\"paused\"") {
            return Err(format!("all organizations are at their cap, and the pauses topic ends with {last:?}"));
        }
        let position = |letter: &Json| format!("{}/{}", letter["partition"], letter["offset"]);
        let letters = stage.read("dead_letters");
        let dead: BTreeSet<String> = letters.iter().map(position).collect();
        let bad = (self.events + BAD_EVERY - 1) / BAD_EVERY;
        // A sender whose topic gets more partitions may send a record twice: what is in the log counts.
        let in_log = || stage.read_raw("usage").iter().filter(|payload| payload[0] == 0xff).count();
        if dead.len() as i64 != bad && dead.len() != in_log() {
            // One of each kind.
            let of_kind = letters.iter().map(|letter| (letter["reason"].to_string(), letter));
            let of_kind: Vec<_> = of_kind.collect::<BTreeMap<_, _>>().into_values().collect();
            return Err(format!("{} dead letters instead of {bad}: {of_kind:?}", dead.len()));
        }
        Ok(())
    }

    /// The first organization whose sum is not as without faults.
    pub fn sums_differ(&self, stage: &Stage) -> Option<String> {
        self.find(stage, |counted, sum| counted != sum)
    }

    /// The first organization of which less is counted than there is.
    pub fn lacks(&self, stage: &Stage) -> Option<String> {
        self.find(stage, |counted, sum| counted < sum)
    }

    fn find(&self, stage: &Stage, is_wrong: impl Fn(i64, i64) -> bool) -> Option<String> {
        let counted = counted(stage);
        let of = |name: &str| counted.get(name).copied().unwrap_or(0);
        self.sums().into_iter().find(|(name, sum)| is_wrong(of(name), *sum)).map(|(name, _)| name)
    }

    /// Waits until everything is as without faults, and stays so; returns how long that took, or what differs.
    pub fn settle(&self, stage: &Stage, within: Duration) -> Result<Duration, String> {
        let began = Instant::now();
        loop {
            match self.check(stage) {
                Ok(()) => break,
                Err(why) if began.elapsed() > within => return Err(why),
                Err(_) => std::thread::sleep(Duration::from_millis(200)),
            }
        }
        let took = began.elapsed();
        std::thread::sleep(Duration::from_secs(1));
        self.check(stage).map(|()| took)
    }
}

/// A control record.
fn command(id: &str, time: Timestamp, data: Json) -> Vec<u8> {
    cloud_event(Kind::Control, "test", id, time, data).to_string().into_bytes()
}

impl Stage {
    /// Has members run without these defences.
    pub fn switch_off(&mut self, off: impl IntoIterator<Item = Defence>) {
        let off: Vec<String> = off.into_iter().map(|off| format!("{off:?}")).collect();
        self.env("BURSAR_FAULTS_OFF", &off.join(","));
    }

    /// Says something to an account.
    pub fn send_control(&self, organization: &str, id: &str, data: Json) {
        let sender = self.producer();
        sender.send(&self.topic("control"), organization, &command(id, Clock::System.now(), data));
        sender.flush();
    }
}

/// Input tokens of each organization in its billing periods.
fn counted(stage: &Stage) -> BTreeMap<String, i64> {
    let output = stage.bursar(&["show", "--all", "--json"]);
    let mut counted = BTreeMap::new();
    for line in String::from_utf8_lossy(&output.stdout).lines() {
        let account: Json = serde_json::from_str(line).expect("a JSON object per line");
        let windows = account["scopes"][0]["windows"].as_array().into_iter().flatten();
        let periods = windows.filter(|window| window["window"] == "period");
        let sum = periods.filter_map(|window| window["meters"]["input_tokens"].as_i64()).sum::<i64>();
        let name = account["organization_id"].as_str().unwrap_or_default().to_owned();
        if sum > 0 {
            counted.insert(name, sum);
        }
    }
    counted
}
