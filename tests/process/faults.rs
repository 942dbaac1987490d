//! A dependency that is down is normal: Bursar waits within bounds, says so, and loses nothing.

use std::{
    io::{Read, Write},
    net::TcpListener,
    time::Duration,
};

use crate::support::{Servers, Stage, token_event, wait_until};

fn send(stage: &Stage, from: i64, upto: i64) {
    let sender = stage.producer();
    for number in from..upto {
        let organization = format!("org-{}", number % 7);
        sender.send(&stage.topic("usage"), &organization, &token_event(&organization, &number.to_string(), 1));
    }
    sender.flush();
}

fn counted(stage: &Stage) -> i64 {
    stage.totals().get("input_tokens").copied().unwrap_or(0)
}

/// U-1, U-5: Redis is killed and comes back from its file; Kafka is killed and comes back. Counters are exact.
#[test]
fn u_5_redis_and_kafka_restart_under_load() {
    let mut servers = Servers::start(&[]);
    let stage = Stage::on(&servers, "restart");
    let mut member = stage.run();
    send(&stage, 0, 5_000);
    wait_until("all is counted", || counted(&stage) == 5_000);
    for (server, upto) in [("redis", 10_000), ("kafka", 15_000)] {
        servers.kill(server);
        let names_it = |page: String| page.contains(&format!("missing {server}"));
        wait_until("it says what is missing", || member.get("/readyz").is_some_and(names_it));
        std::thread::sleep(Duration::from_secs(1));
        assert!(member.lives(), "it waits");
        servers.start_again(&[]);
        send(&stage, upto - 5_000, upto);
        wait_until("all is counted", || counted(&stage) == upto);
        wait_until("it is ready again", || member.get("/readyz").is_some_and(|page| page.starts_with("ready")));
    }
    member.terminate();
}

/// U-1: Redis is emptied under a running member: the fence moves, and everything is replayed to the same counters.
#[test]
fn u_1_u_5_an_emptied_redis_is_rebuilt() {
    let servers = Servers::start(&[]);
    let mut stage = Stage::on(&servers, "flush");
    // A second one joins soon after the start, and may begin anew at the same moment for that.
    stage.set("WORK__WORKERS", "1");
    let member = stage.run();
    send(&stage, 0, 5_000);
    wait_until("all is counted", || counted(&stage) == 5_000);
    redis::cmd("FLUSHALL").exec(&mut stage.redis()).expect("Redis answers");
    wait_until("it is rebuilt", || counted(&stage) == 5_000);
    assert!(member.metric("bursar_rewinds_total") >= 1);
    send(&stage, 0, 10);
    std::thread::sleep(Duration::from_secs(1));
    send(&stage, 5_000, 5_010);
    wait_until("it goes on", || counted(&stage) >= 5_010);
    std::thread::sleep(Duration::from_secs(1));
    // The first ten have a new event time, so they are other events: 5,000 + 10 + 10.
    assert_eq!(counted(&stage), 5_020);
}

/// C11: the registry is away, so payloads in its format wait; when it answers, known ids are read and others end.
#[test]
fn c11_an_absent_registry_is_waited_for() {
    let listener = TcpListener::bind("127.0.0.1:0").expect("a port");
    let address = listener.local_addr().expect("an address");
    drop(listener);
    let mut stage = Stage::new("registry");
    stage.set("REGISTRY__URL", &format!("http://{address}"));
    let member = stage.run();
    let sender = stage.producer();
    let body = token_event("acme", "1", 7)[10..].to_vec();
    for id in [1_u8, 2] {
        sender.send(&stage.topic("usage"), "acme", &[&[0, 0, 0, 0, id], &body[..]].concat());
    }
    sender.flush();
    wait_until("it says what is missing", || {
        member.get("/readyz").is_some_and(|page| page.contains("missing schema_registry"))
    });
    assert_eq!(counted(&stage), 0);
    let listener = TcpListener::bind(address).expect("the port is free again");
    std::thread::spawn(move || serve_schemas(&listener));
    wait_until("both are settled", || member.metric("bursar_consumed_total") == 2);
    assert_eq!(counted(&stage), 7);
    assert_eq!(stage.read("dead_letters")[0]["reason_code"], "unknown_schema_id");
}

/// Knows one schema, under the id 1.
fn serve_schemas(listener: &TcpListener) {
    for stream in listener.incoming() {
        let mut stream = stream.expect("a connection");
        let mut request = [0; 1024];
        let read = stream.read(&mut request).unwrap_or(0);
        let known = request[..read].starts_with(b"GET /schemas/ids/1 ");
        let schema = include_str!("../../schemas/token_event.avsc");
        let (status, answer) = if known {
            ("200 OK", serde_json::json!({ "schema": schema }).to_string())
        } else {
            ("404 Not Found", "{\"error_code\":40403}".to_owned())
        };
        let head = format!("HTTP/1.1 {status}\r\nContent-Length: {}\r\nConnection: close\r\n\r\n", answer.len());
        let _ = stream.write_all(format!("{head}{answer}").as_bytes());
    }
}

/// Missing topics are named if they are not to be created, and CreateTime is refused.
#[test]
fn missing_topics_are_named() {
    let mut stage = Stage::new("missing");
    stage.set("KAFKA__CREATE_TOPICS", "false");
    let output = stage.bursar(&["run"]);
    let error = String::from_utf8_lossy(&output.stderr);
    assert!(!output.status.success() && error.contains("missing.usage") && error.contains("LogAppendTime"), "{error}");
    assert!(!stage.bursar(&["check-config", "--config", "/nowhere.toml"]).status.success());
}
