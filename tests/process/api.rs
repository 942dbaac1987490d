//! The HTTP API on real servers: who sees what, what is said is done once, events are told and told again after a break, and
//! bad requests get a clear answer.

use std::{
    io::{Read, Write},
    net::TcpStream,
    time::{Duration, Instant},
};

use bursar::api::credentials::{hash, new_key};
use serde_json::{Value as Json, json};

use crate::support::{Member, Servers, Stage, free_port, token_event, wait_until};

/// A service with its API, and a key for each caller.
pub struct Served {
    pub stage: Stage,
    pub member: Member,
    port: u16,
    keys_file: std::path::PathBuf,
    keys: Vec<(&'static str, String)>,
}

/// Callers by their roles.
const CALLERS: [&str; 6] =
    ["service", "owner:acme", "admin:acme", "workspace_admin:acme/ws-1", "member:acme/user-1", "owner:other"];

impl Served {
    pub fn start(name: &str) -> Self {
        Servers::shared();
        let mut stage = Stage::new(name);
        let port = free_port();
        let keys_file = std::env::temp_dir().join(format!("bursar-test-{}-{name}.keys", std::process::id()));
        let keys: Vec<(&str, String)> = CALLERS.into_iter().map(|role| (role, new_key())).collect();
        stage.set("API__LISTEN", &format!("127.0.0.1:{port}"));
        stage.set("API__KEYS_FILE", &keys_file.to_string_lossy());
        stage.set("API__REQUESTS_PER_SECOND", "1000");
        stage.set("OBSERVE__USAGE_SECONDS", "5");
        write_keys(&keys_file, &keys);
        let member = stage.run();
        let served = Self { stage, member, port, keys_file, keys };
        wait_until("the API answers", || TcpStream::connect(("127.0.0.1", port)).is_ok());
        served
    }

    fn key(&self, role: &str) -> &str {
        &self.keys.iter().find(|(known, _)| *known == role).expect("a caller of this test").1
    }

    /// Uses some, and waits until it is counted.
    pub fn use_some(&self, organization: &str, events: i64) {
        let sender = self.stage.producer();
        for number in 0..events {
            let event = token_event(organization, &number.to_string(), 10);
            sender.send(&self.stage.topic("usage"), organization, &event);
        }
        sender.flush();
        wait_until("it is counted", || {
            let (status, usage) = self.get("service", &format!("organizations/{organization}/usage"));
            status == 200 && usage["meters"]["input_tokens"] == events * 10
        });
    }

    pub fn get(&self, role: &str, path: &str) -> (u16, Json) {
        self.ask(Some(self.key(role)), path)
    }

    fn ask(&self, key: Option<&str>, path: &str) -> (u16, Json) {
        let mut request = agent().get(format!("http://127.0.0.1:{}/v1/{path}", self.port));
        if let Some(key) = key {
            request = request.header("authorization", format!("Bearer {key}"));
        }
        answer(request.call())
    }

    pub fn say(&self, role: &str, command: &str, key: Option<&str>, body: &Json) -> (u16, Json) {
        let url = format!("http://127.0.0.1:{}/v1/organizations/acme/commands/{command}", self.port);
        let mut request = agent().post(url).header("authorization", format!("Bearer {}", self.key(role)));
        if let Some(key) = key {
            request = request.header("idempotency-key", key);
        }
        answer(request.content_type("application/json").send(body.to_string()))
    }
}

fn agent() -> ureq::Agent {
    ureq::Agent::config_builder().http_status_as_error(false).build().into()
}

fn answer(answer: Result<ureq::http::Response<ureq::Body>, ureq::Error>) -> (u16, Json) {
    let mut answer = answer.expect("the API answers");
    let text = answer.body_mut().read_to_string().expect("the answer is text");
    (answer.status().as_u16(), serde_json::from_str(&text).unwrap_or(Json::Null))
}

fn write_keys(file: &std::path::Path, keys: &[(&str, String)]) {
    let entry = |(role, key): &(&str, String)| {
        format!("[[key]]\nsha256 = '{}'\nsubject = '{}'\nroles = ['{role}']\n", hash(key), subject(role))
    };
    std::fs::write(file, keys.iter().map(entry).collect::<String>()).expect("the keys can be written");
}

/// A member is called by the user's own id.
fn subject(role: &str) -> &str {
    if role.starts_with("member") { "user-1" } else { role }
}

/// Row A6, over HTTP: what is the own is shown, and what is not is refused, whether or not it exists; a key that is taken
/// out of the file is refused soon.
#[test]
fn a6_callers_see_what_is_theirs() {
    let served = Served::start("api-roles");
    served.use_some("acme", 3);
    served.use_some("other", 3);
    let table = [
        // service, owner, admin, admin of ws-1, member user-1, owner of another organization.
        ("organizations/acme/usage", [200, 200, 200, 403, 403, 403]),
        ("organizations/acme/workspaces/ws-1/usage", [200, 200, 200, 200, 403, 403]),
        ("organizations/acme/workspaces/ws-1/agents", [200, 200, 200, 200, 403, 403]),
        ("organizations/acme/workspaces/nowhere/usage", [404, 404, 404, 403, 403, 403]),
        ("organizations/acme/members/user-1/usage", [200, 200, 200, 403, 200, 403]),
        ("organizations/acme/members/user-2/usage", [404, 404, 404, 403, 403, 403]),
        ("organizations/acme/statements", [200, 200, 200, 403, 403, 403]),
        ("organizations/acme/pauses", [200, 200, 200, 200, 200, 403]),
        ("organizations/other/usage", [200, 403, 403, 403, 403, 200]),
        ("organizations/nobody/usage", [404, 403, 403, 403, 403, 403]),
    ];
    for (path, expected) in table {
        let seen = CALLERS.map(|role| served.get(role, path).0);
        assert_eq!(seen, expected, "{path}");
    }
    let organizations = |role| served.get(role, "organizations").1["organizations"].as_array().map(Vec::len);
    assert_eq!((organizations("member:acme/user-1"), organizations("service")), (Some(1), Some(2)));
    let workspaces = served.get("member:acme/user-1", "organizations/acme/workspaces").1;
    assert_eq!(workspaces["workspaces"], json!([]), "a member sees no workspace");

    assert_eq!(served.ask(None, "whoami").0, 401);
    assert_eq!(served.ask(Some("bursar_ff"), "whoami").0, 401);
    assert_eq!(served.ask(Some("a.b.c"), "whoami").0, 401);
    assert_eq!(served.get("admin:acme", "whoami").1["roles"], json!(["admin:acme"]));
    let others: Vec<_> = served.keys.iter().filter(|(role, _)| *role != "admin:acme").cloned().collect();
    std::thread::sleep(Duration::from_millis(1_100));
    write_keys(&served.keys_file, &others);
    wait_until("the key is revoked", || served.get("admin:acme", "whoami").0 == 401);
    assert_eq!(served.get("owner:acme", "whoami").0, 200);
}

/// What is said is done once, however often it is sent; who may not say it is refused; a contradiction is told.
#[test]
fn what_is_said_is_applied_once() {
    let served = Served::start("api-writes");
    served.use_some("acme", 1);
    let pool = |micro: i64| json!({ "scope": "ws:ws-1", "included_micro": micro });
    assert_eq!(served.say("owner:acme", "set_pool", None, &pool(5)).1["result"], "applied");
    let grant =
        json!({ "scope": "ws:ws-1", "grant_id": "g", "amount_micro": 7, "kind": "prepaid", "reason": "a test" });
    let first = served.say("owner:acme", "grant", Some("k-1"), &grant);
    let again = served.say("owner:acme", "grant", Some("k-1"), &grant);
    assert_eq!((first.0, &first.1), (again.0, &again.1), "the same answer");
    assert_eq!(first.0, 200, "{}", first.1);
    let other = json!({ "scope": "ws:ws-1", "grant_id": "other", "amount_micro": 7, "kind": "prepaid" });
    assert_eq!(served.say("owner:acme", "grant", Some("k-1"), &other).0, 422, "the key was used for something else");
    let record = format!("organizations/acme/records/{}", first.1["record_id"].as_str().unwrap_or_default());
    assert_eq!(served.get("owner:acme", &record).1["result"], "applied");
    assert_eq!(served.get("member:acme/user-1", &record).0, 404, "it is not the member's");
    let grants = served.get("owner:acme", "organizations/acme/grants").1;
    assert_eq!(grants["grants"].as_array().map(Vec::len), Some(1), "{grants}");

    let limit = |scope: &str| json!({ "limit_id": "l", "scope": scope, "meter": "input_tokens", "window": "day", "cap": 1_000_000 });
    assert_eq!(served.say("workspace_admin:acme/ws-1", "set_limit", None, &limit("ws:ws-1")).0, 200);
    assert_eq!(served.say("workspace_admin:acme/ws-1", "set_limit", None, &limit("ws:ws-2")).0, 403);
    assert_eq!(served.say("workspace_admin:acme/ws-1", "set_pool", None, &pool(6)).0, 200);
    let of_all = json!({ "scope": "org", "grant_id": "g", "amount_micro": 1 });
    assert_eq!(served.say("workspace_admin:acme/ws-1", "grant", None, &of_all).0, 403);
    assert_eq!(served.say("owner:acme", "set_reserved", None, &json!({ "controls": ["pool"] })).0, 200);
    let (status, reserved) = served.say("workspace_admin:acme/ws-1", "set_pool", None, &pool(1));
    assert_eq!((status, &reserved["type"]), (403, &json!("urn:bursar:problem:reserved")), "{reserved}");
    assert_eq!(served.say("owner:other", "set_pool", None, &pool(1)).0, 403);
    let wish = |user: &str| json!({ "request_id": "r", "user_id": user, "wants": "higher_limit" });
    assert_eq!(served.say("member:acme/user-1", "request", None, &wish("user-2")).0, 403);
    let (status, refused) = served.say("owner:acme", "approve", None, &json!({ "request_id": "none" }));
    assert_eq!(status, 422);
    assert!(refused["detail"].as_str().is_some_and(|detail| detail.contains("none")), "{refused}");
    assert_eq!(refused["type"], "urn:bursar:problem:refused/request_not_open");
    assert_eq!((&refused["code"], &refused["fields"]), (&json!("request_not_open"), &json!({ "request_id": "none" })));
    let (_, known) = served.say("owner:acme", "grant", None, &grant);
    assert_eq!(known["applied"], json!([{ "code": "grant_given_before", "fields": { "grant_id": "g" } }]), "{known}");
    assert_eq!(served.say("owner:acme", "set_pool", None, &json!({ "scope": "team:x", "included_micro": 1 })).0, 422);
    assert_eq!(served.say("owner:acme", "fly", None, &json!({})).0, 404);
    assert_eq!(served.say("owner:acme", "due", None, &json!({ "at": "2026-01-01T00:00:00Z" })).0, 403);
}

/// Reads server-sent events until one of a kind comes; returns it and those before it.
fn read_events(
    served: &Served,
    last: Option<&str>,
    until: &str,
    at_first: impl FnOnce(),
) -> Vec<(String, String, Json)> {
    let mut stream = TcpStream::connect(("127.0.0.1", served.port)).expect("the API answers");
    stream.set_read_timeout(Some(Duration::from_secs(20))).expect("a timeout");
    let last = last.map(|last| format!("Last-Event-ID: {last}\r\n")).unwrap_or_default();
    let key = served.key("owner:acme");
    write!(stream, "GET /v1/organizations/acme/live HTTP/1.1\r\nHost: x\r\nAuthorization: Bearer {key}\r\n{last}\r\n")
        .expect("it is sent");
    let (mut text, mut buffer, mut at_first) = (String::new(), [0; 4_096], Some(at_first));
    loop {
        let read = stream.read(&mut buffer).expect("events come");
        text.push_str(&String::from_utf8_lossy(&buffer[..read]));
        if let Some(at_first) = text.contains("event: usage").then(|| at_first.take()).flatten() {
            at_first();
        }
        let field = |block: &str, name: &str| {
            block.lines().find_map(|line| line.strip_prefix(name)).unwrap_or_default().trim().to_owned()
        };
        let blocks = text.split("event: ").skip(1).map(|block| format!("event: {block}"));
        let events: Vec<(String, String, Json)> = blocks
            .filter_map(|block| {
                Some((
                    field(&block, "event:"),
                    field(&block, "id:"),
                    serde_json::from_str(&field(&block, "data:")).ok()?,
                ))
            })
            .collect();
        if events.iter().any(|(kind, _, _)| kind == until) {
            return events;
        }
    }
}

/// Usage, thresholds and pauses are told as they happen; who comes back with the last id is told what came meanwhile, once.
#[test]
fn live_events_are_resumed_where_they_broke_off() {
    let served = Served::start("api-live");
    served.use_some("acme", 1);
    let limit = |id: &str, cap: i64| json!({ "limit_id": id, "scope": "ws:ws-1", "meter": "input_tokens", "window": "day", "cap": cap });
    let events = read_events(&served, None, "pause", || {
        assert_eq!(served.say("owner:acme", "set_limit", None, &limit("first", 10)).0, 200);
    });
    let (_, last, pause) = events.iter().find(|(kind, _, _)| kind == "pause").expect("a pause");
    assert_eq!(pause["data"]["scope"], "ws:ws-1");
    assert!(events.iter().any(|(kind, _, usage)| kind == "usage" && usage["scope"] == "org"), "{events:?}");
    // While nobody listens:
    assert_eq!(served.say("owner:acme", "pause", None, &json!({ "scope": "agent:ws-1/agent-1" })).0, 200);
    wait_until("it is published", || served.stage.read("pauses").len() >= 2);
    let events = read_events(&served, Some(last), "pause", || {});
    let pauses: Vec<&Json> =
        events.iter().filter(|(kind, _, _)| kind == "pause").map(|(_, _, pause)| &pause["data"]["scope"]).collect();
    assert_eq!(pauses, ["agent:ws-1/agent-1"], "only what came meanwhile");
    assert!(!events.iter().any(|(kind, _, _)| kind == "gap"), "{events:?}");
    let listed = served.get("owner:acme", "organizations/acme/events").1;
    assert!(listed["events"].as_array().is_some_and(|events| events.iter().any(|event| event["kind"] == "pause")));
}

/// Malformed, oversized, slow and unknown requests get an answer, and cost nobody else anything.
#[test]
fn bad_requests_are_answered_with_problems() {
    let served = Served::start("api-bad");
    let send = |request: &str| {
        let mut stream = TcpStream::connect(("127.0.0.1", served.port)).expect("the API answers");
        stream.set_read_timeout(Some(Duration::from_secs(20))).expect("a timeout");
        stream.write_all(request.as_bytes()).expect("it is sent");
        let mut answer = String::new();
        let _ = stream.read_to_string(&mut answer);
        answer
    };
    let key = served.key("service");
    let post = |length: usize, body: &str| {
        format!(
            "POST /v1/organizations/acme/commands/pause HTTP/1.1\r\nHost: x\r\nConnection: close\r\nContent-Type: application/json\r\n\
            Authorization: Bearer {key}\r\nContent-Length: {length}\r\n\r\n{body}"
        )
    };
    let get = |path: &str| {
        format!("GET {path} HTTP/1.1\r\nHost: x\r\nConnection: close\r\nAuthorization: Bearer {key}\r\n\r\n")
    };
    for (request, expected) in [
        (post(9, "{\"scope\":"), "HTTP/1.1 400"),
        (post(300_000, &"x".repeat(300_000)), "HTTP/1.1 413"),
        (get("/v1/organizations/acme/usage?period=never"), "HTTP/1.1 404"),
        (get("/v1/organizations?limit=0"), "HTTP/1.1 400"),
        (get("/v1/organizations?limit=x"), "HTTP/1.1 400"),
        (get("/nothing"), "HTTP/1.1 404"),
        ("nothing at all\r\n\r\n".to_owned(), "HTTP/1.1 400"),
    ] {
        let answer = send(&request);
        assert!(answer.starts_with(expected), "{}: {answer}", &request[..request.len().min(80)]);
        assert!(request.starts_with("nothing") || answer.contains("urn:bursar:problem:"), "{answer}");
    }
    // A head that does not come to its end is given up.
    let began = Instant::now();
    let answer = send("GET /v1/whoami HTTP/1.1\r\nHost: x\r\n");
    assert!(began.elapsed() < Duration::from_secs(15), "{:?}: {answer}", began.elapsed());
    assert_eq!(served.get("service", "whoami").0, 200, "others are served");
    let page = served.member.get("/metrics").unwrap_or_default();
    assert!(page.contains("bursar_api_requests_total{status=\"413\"} 1"), "requests are counted");
}

/// With a certificate the API speaks TLS, and nothing else.
#[test]
fn the_api_speaks_tls() {
    let served = Served::start("api-tls");
    let mut stage = served.stage.clone();
    let port = free_port();
    let file = |name: &str| format!("{}/tests/process/tls/{name}.pem", env!("CARGO_MANIFEST_DIR"));
    stage.set("API__LISTEN", &format!("127.0.0.1:{port}"));
    stage.set("API__TLS_CERTIFICATE_FILE", &file("certificate"));
    stage.set("API__TLS_KEY_FILE", &file("key"));
    let _member = stage.launch_with("api");
    wait_until("the API answers", || TcpStream::connect(("127.0.0.1", port)).is_ok());
    let certificate = ureq::tls::Certificate::from_pem(&std::fs::read(file("certificate")).expect("it is there"));
    let roots = ureq::tls::RootCerts::new_with_certs(&[certificate.expect("a certificate")]);
    let tls = ureq::tls::TlsConfig::builder().root_certs(roots).build();
    let agent: ureq::Agent = ureq::Agent::config_builder().tls_config(tls).http_status_as_error(false).build().into();
    let ask = || {
        agent
            .get(format!("https://localhost:{port}/v1/whoami"))
            .header("authorization", format!("Bearer {}", served.key("service")))
            .call()
    };
    assert_eq!(ask().expect("it answers by TLS").status(), 200);
    assert!(agent.get(format!("http://localhost:{port}/v1/whoami")).call().is_err(), "it answers without TLS");
}

/// `bursar api` alone: reads and says the same; it does not open itself to others without keys; it ends in good order.
#[test]
fn the_api_runs_alone() {
    let served = Served::start("api-alone");
    served.use_some("acme", 2);
    let mut alone = served.stage.clone();
    let port = free_port();
    alone.set("API__LISTEN", &format!("127.0.0.1:{port}"));
    let member = alone.launch_with("api");
    wait_until("it is ready", || member.get("/readyz").is_some_and(|page| page.starts_with("ready")));
    let other =
        Served { stage: alone.clone(), member, port, keys_file: served.keys_file.clone(), keys: served.keys.clone() };
    let usage = |served: &Served| served.get("owner:acme", "organizations/acme/usage").1["meters"].clone();
    assert_eq!(usage(&served), usage(&other));
    assert_eq!(other.say("owner:acme", "set_unit", None, &json!({ "name": "USD", "scale": 2 })).0, 200);
    assert!(other.member.terminate() < Duration::from_secs(5));

    alone.set("API__LISTEN", "0.0.0.0:0");
    alone.unset("API__KEYS_FILE");
    let mut open = alone.launch_with("api");
    open.wait();
    assert!(open.log().contains("nobody would have to say who they are"), "{}", open.log());
}

/// `bursar run` ends where its API cannot be served; it says why, and leaves its group.
#[test]
fn a_service_without_its_api_ends_in_good_order() {
    Servers::shared();
    let mut stage = Stage::new("api-taken");
    let taken = std::net::TcpListener::bind("127.0.0.1:0").expect("a free port");
    stage.set("API__LISTEN", &taken.local_addr().expect("its address").to_string());
    let mut member = stage.launch();
    member.wait();
    let log = member.log();
    assert!(log.contains("leaving the consumer group") && log.contains("in use"), "{log}");
}
