//! Bad input is normal: it ends as a dead letter with a reason, and nothing else is disturbed.

use std::collections::{BTreeMap, BTreeSet};

use bursar::{
    clock::Clock,
    contract::usage::write,
    domain::event::{Tokens, Usage, UsageEvent},
};
use serde_json::json;

use crate::{
    support::{Stage, token_event, wait_until},
    totals::check_u_6,
};

const GOOD: u64 = 100_000;

/// A bad payload, with the code of the reason that it must end with.
fn bad_payloads() -> Vec<(&'static str, Vec<u8>)> {
    let good = token_event("acme", "template", 1);
    let event = |change: &dyn Fn(&mut UsageEvent<'static>)| {
        let usage = Usage::Tokens { request_model: "small", tokens: Tokens::default() };
        let mut event = UsageEvent::new("bad", "test", Clock::System.now(), "acme", usage);
        change(&mut event);
        let mut payload = Vec::new();
        write(&event, &mut payload);
        payload
    };
    let with_input = |input| {
        let tokens = Tokens { input, ..Tokens::default() };
        event(&|event| event.usage = Usage::Tokens { request_model: "small", tokens })
    };
    vec![
        ("malformed_avro", good[..good.len() - 3].to_vec()),
        ("unknown_schema_fingerprint", [&[0xc3, 0x01, 1, 2, 3, 4, 5, 6, 7, 8], &good[10..]].concat()),
        ("unknown_schema_id", [&[0, 0, 0, 0, 99], &good[10..]].concat()),
        ("malformed_json", b"{\"specversion\":\"1.0\"}".to_vec()),
        ("unknown_format", b"hello".to_vec()),
        ("no_organization", event(&|event| event.organization_id = "")),
        ("empty_field", event(&|event| event.id = "")),
        ("quantity_out_of_range", with_input(-1)),
        ("quantity_out_of_range", with_input(1 << 53)),
        ("too_early", event(&|event| event.event_time = event.event_time.plus_ms(6 * 60_000))),
        ("too_late", event(&|event| event.event_time = event.event_time.plus_ms(-49 * 3_600_000))),
        ("payload_too_large", vec![b'{'; 10 * 1024 * 1024]),
        ("invalid_utf8", b"{\"specversion\":\"1.0\",\"id\":\"\xff\"}".to_vec()),
        ("unknown_model", event(&|event| event.organization_id = "strict")),
    ]
}

/// M6, U-6: each bad payload among 100,000 good ones is in the dead-letter topic with its reason.
#[test]
fn m6_u_6_bad_input_ends_as_dead_letters_and_disturbs_nothing() {
    let stage = Stage::new("m6");
    let member = stage.run();
    let card = json!({ "organization_id": "strict", "actor": "test", "set_rate_card": { "unknown_model": "reject", "effective_from": "2020-01-01T00:00:00Z" } });
    let control = json!({ "specversion": "1.0", "type": "bursar.control.v1", "source": "test", "id": "card", "time": Clock::System.now().to_string(), "data": card });
    let sender = stage.producer();
    sender.send(&stage.topic("control"), "strict", control.to_string().as_bytes());
    // Contradicts itself: two commands in one record.
    let mut twice = control.clone();
    twice["id"] = "twice".into();
    twice["data"]["pause"] = json!({ "scope": "org" });
    sender.send(&stage.topic("control"), "strict", twice.to_string().as_bytes());
    // Cannot be done: there is no such limit.
    let mut missing = control.clone();
    missing["id"] = "missing".into();
    missing["data"] =
        json!({ "organization_id": "acme", "actor": "test", "remove_limit": { "limit_id": "none", "scope": "org" } });
    sender.send(&stage.topic("control"), "acme", missing.to_string().as_bytes());
    sender.flush();
    wait_until("the rate card is in force", || member.metric("bursar_consumed_total") >= 3);
    std::thread::sleep(std::time::Duration::from_millis(500));

    let usage = stage.topic("usage");
    let bad = bad_payloads();
    let reused = token_event("acme", "reused", 1);
    for number in 0..GOOD {
        let organization = format!("org-{}", number % 50);
        sender.send(&usage, &organization, &token_event(&organization, &number.to_string(), 1));
        if number % 5_000 == 0
            && let Some((_, payload)) = bad.get((number / 5_000) as usize)
        {
            sender.send(&usage, "acme", payload);
        }
    }
    // Same id and time with other content.
    sender.send(&usage, "acme", &reused);
    let mut changed = reused.clone();
    let last = changed.len() - 4;
    changed[last] = 4;
    sender.send(&usage, "acme", &changed);
    sender.flush();
    let all = GOOD + bad.len() as u64 + 2 + 3;
    wait_until("everything is read", || member.metric("bursar_consumed_total") >= all);

    let mut expected: BTreeMap<String, usize> = BTreeMap::new();
    for code in bad.iter().map(|(code, _)| *code).chain(["id_reused", "control_refused", "control_refused"]) {
        *expected.entry(code.to_owned()).or_default() += 1;
    }
    let mut seen: BTreeMap<String, usize> = BTreeMap::new();
    // A copy, where a member joined meanwhile, bears the same place.
    let mut places = BTreeSet::new();
    for letter in stage.read("dead_letters") {
        if !places.insert(format!("{}/{}/{}", letter["topic"], letter["partition"], letter["offset"])) {
            continue;
        }
        *seen.entry(letter["reason_code"].as_str().expect("a code").to_owned()).or_default() += 1;
        assert!(letter["reason"].as_str().is_some_and(|reason| reason.len() > 10), "{letter}");
    }
    assert_eq!(seen, expected);
    // The good ones, and the first of the two with one id.
    assert_eq!(stage.totals()["input_tokens"], GOOD as i64 + 1);
    wait_until("nothing is left to read", || member.metric("bursar_lag_records") == 0);
    check_u_6(&member);
}
