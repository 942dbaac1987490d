//! What is sent, held against the documented examples.

use serde_json::{Value as Json, json};

use super::*;
use crate::{
    domain::{
        answer::{Applied, NamedLimit, Refused},
        meter::{Counters, Meter},
        pause::{Cause, CauseKind},
        payment::Source,
        reload::Blocked,
        scope::{Scope, ScopeKind},
        signal::{
            Correction, JournalEntry, PauseChanged, Pending, Refusal, RequestKind, RequestSignal, StatementLine,
            ThresholdCrossed,
        },
        window::{Window, WindowKind},
    },
    notify::reader::data_of,
};

mod earlier;

const AT: Timestamp = Timestamp::from_ms(1_768_471_200_000);

fn signals() -> Vec<(Signal, &'static str)> {
    let at = |ms| Timestamp::from_ms(ms);
    let identity = Identity::derive(&["x"]);
    let (record_time, scope) = (AT, Scope::Workspace("sales".into()));
    let day = Window { start: at(1_768_435_200_000), end: at(1_768_521_600_000) };
    let crossed = ThresholdCrossed {
        identity,
        scope: scope.clone(),
        ceiling: CauseKind::Limit,
        limit_id: "daily".into(),
        meter: Meter::CreditsMicro,
        window_kind: WindowKind::Day,
        window: day,
        threshold_percent: 80,
        cap: 5_000_000,
        used: 4_000_123,
        revision: 1,
        top_contributors: vec![(Scope::Agent { workspace: "sales".into(), agent: "triage".into() }, 3_100_000)],
        record_time,
        selector: Some(Selector::One(scope.clone())),
    };
    let cause = Cause {
        limit_id: "daily".into(),
        window_start: Some(day.start),
        ends_at: Some(day.end),
        selector: Some(Selector::One(scope.clone())),
        ..Cause::of(CauseKind::Limit)
    };
    let changed = PauseChanged { identity, scope, causes: vec![cause], generation: 1_768_471_200_000, record_time };
    let entry = entry(Ok(Vec::new()));
    let kind = RequestKind::ReloadRequested { amount_micro: 50_000_000, balance_micro: 4_000_000 };
    let reload = RequestSignal { identity, scope: Scope::Organization, kind, record_time };
    vec![
        (Signal::Threshold(crossed), include_str!("../../../schemas/examples/threshold.json")),
        (Signal::Pause(changed), include_str!("../../../schemas/examples/pause.json")),
        (Signal::Journal(entry), include_str!("../../../schemas/examples/journal.json")),
        (Signal::Statement(Box::new(correction(identity))), include_str!("../../../schemas/examples/statement.json")),
        (Signal::Request(reload), include_str!("../../../schemas/examples/request.json")),
    ]
}

fn entry(answer: Result<Vec<Applied>, Refused>) -> JournalEntry {
    let (refused, applied) = match answer {
        Ok(applied) => (None, applied),
        Err(why) => (Some(why), Vec::new()),
    };
    JournalEntry {
        identity: Identity::derive(&["x"]),
        record_id: "limit-1".into(),
        record_source: "console".into(),
        time: AT,
        actor: "admin-1".into(),
        reason: "pilot".into(),
        command_json: "{\"pause\":{\"scope\":\"ws:sales\"}}".into(),
        refused,
        applied,
        record_time: AT,
    }
}

fn correction(identity: Identity) -> StatementLine {
    let at = |text: &str| crate::domain::time::parse_rfc3339(text).expect("a time of this test");
    let counted = |tokens, credits_micro| {
        let mut counters = Counters::ZERO;
        counters.set(Meter::InputTokens, tokens);
        counters.set(Meter::CreditsMicro, credits_micro);
        counters.set(Meter::PoolCreditsMicro, credits_micro);
        counters
    };
    let why = "event e-1 of gateway, used at 2026-01-14T23:00:00.000Z and recorded at 2026-01-15T10:00:00.000Z";
    StatementLine {
        identity,
        scope: Scope::Agent { workspace: "sales".into(), agent: "triage".into() },
        period: Window { start: at("2025-12-15T00:00:00Z"), end: at("2026-01-15T00:00:00Z") },
        totals: counted(70, 500),
        correction: Some(Correction { delta: counted(10, 100), why: why.into() }),
        unit: "credits".into(),
        record_time: at("2026-01-15T10:00:00Z"),
    }
}

/// What is sent as JSON has the very fields of the documented examples, and as Avro it follows the schema.
#[test]
fn signals_look_like_the_examples() {
    for (signal_value, example) in signals() {
        let sent = signal("acme", &signal_value, Format::Json);
        let mut sent: Json = serde_json::from_slice(&sent.payload).expect("JSON");
        let example: Json = serde_json::from_str(example).expect("JSON");
        sent["id"] = example["id"].clone();
        sent["data"]["identity"] = example["data"]["identity"].clone();
        assert_eq!(sent, example);
        assert_eq!(signal("acme", &signal_value, Format::Avro).payload[..2], [0xc3, 0x01]);
    }
}

#[test]
fn a_dead_letter_looks_like_the_example() {
    let letter = DeadLetter {
        reason: Reason::UnknownFormat,
        topic: "usage.events".into(),
        partition: 3,
        offset: 42,
        record_time: Timestamp::from_ms(1_768_471_200_000),
        key: Vec::new(),
        payload: b"hello".to_vec(),
        payload_bytes: 5,
    };
    let sent: Json = serde_json::from_slice(&dead_letter(&letter, Format::Json).payload).expect("JSON");
    let example = include_str!("../../../schemas/examples/dead_letter.json");
    assert_eq!(sent, serde_json::from_str::<Json>(example).expect("JSON"));
    assert_eq!(dead_letter(&letter, Format::Avro).key, "usage.events/3/42");
}

/// The data of a signal, read back from both formats: they say the same.
fn data(sent: Signal) -> Json {
    let [avro, json] = [Format::Avro, Format::Json].map(|format| data_of(&signal("acme", &sent, format).payload));
    assert_eq!(avro, json);
    avro.expect("what is sent can be read")
}

#[test]
fn a_refusal_is_told_by_code_with_its_fields_and_in_words() {
    let why = || Refused::PoolMissing { scope: Scope::Workspace("lab".into()) };
    let told = data(Signal::Journal(entry(Err(why()))));
    assert_eq!(told["result"], "refused");
    assert_eq!((&told["code"], &told["fields"]), (&json!("pool_missing"), &json!({ "scope": "ws:lab" })));
    assert_eq!(told["refused_because"], "ws:lab has no pool; set one first (it may include 0)");
    let identity = Identity::derive(&["x"]);
    let position = ("usage.control".into(), 2, 7);
    let letter = Refusal { identity, why: why(), position, command_json: "{}".into(), record_time: AT };
    let letter = data(Signal::Refusal(letter));
    assert_eq!((&letter["reason_code"], &letter["refusal_code"]), (&json!("control_refused"), &json!("pool_missing")));
    assert_eq!(letter["refusal_fields"], json!({ "scope": "ws:lab" }));
    let sentence = "the control record was refused: ws:lab has no pool; set one first (it may include 0)";
    assert_eq!(letter["reason"], sentence);
    let actor = "ann".into();
    let refused = RequestKind::CreationRefused { actor, why: why() };
    let told = data(Signal::Request(RequestSignal {
        identity,
        scope: Scope::Agent { workspace: "lab".into(), agent: "a".into() },
        kind: refused,
        record_time: AT,
    }));
    assert_eq!((&told["code"], &told["fields"]["scope"]), (&json!("pool_missing"), &json!("ws:lab")));
}

#[test]
fn what_was_done_beyond_being_done_is_told_by_code() {
    let applied = vec![Applied::NoLimitBinds, Applied::SwitchedOn { sources: vec![Source::Prepaid] }];
    let told = data(Signal::Journal(entry(Ok(applied))));
    assert_eq!((&told["result"], &told["code"], &told["fields"]), (&json!("applied"), &Json::Null, &json!({})));
    let switched = json!({ "code": "switched_on", "fields": { "sources": "prepaid" } });
    assert_eq!(told["applied"], json!([{ "code": "no_limit_binds", "fields": {} }, switched]));
    assert_eq!(told["answer"], "no limit binds the member now; prepaid is switched on for the member");
}

#[test]
fn every_kind_of_request_follows_the_schema() {
    let pending = Pending {
        request_id: "r".into(),
        user_id: "ann".into(),
        seat_type: None,
        since: AT,
        wants: "higher_limit".into(),
    };
    let limit = NamedLimit { selector: Selector::Every(ScopeKind::User), limit_id: "spend".into() };
    let (request_id, actor, reason): (Box<str>, Box<str>, Box<str>) = ("r".into(), "bob".into(), "no".into());
    let kinds = [
        RequestKind::Opened(pending.clone()),
        RequestKind::Approved {
            request_id: request_id.clone(),
            actor: actor.clone(),
            still_binding: vec![limit],
            still_binding_words: Vec::new(),
        },
        RequestKind::Declined { request_id, actor, reason },
        RequestKind::Digest { pending: vec![pending] },
        RequestKind::ReloadBlocked { reason: Blocked::PerDayMax },
    ];
    let told = kinds.map(|kind| {
        let (identity, scope) = (Identity::derive(&["x"]), Scope::Organization);
        let name = kind.name();
        let told = data(Signal::Request(RequestSignal { identity, scope, kind, record_time: AT }));
        assert_eq!(told["kind"], name);
        told
    });
    assert_eq!(told[1]["still_binding"], json!(["spend on every user"]));
    assert_eq!(told[1]["still_binding_limits"], json!([{ "selector": "every:user", "limit_id": "spend" }]));
    assert_eq!((&told[2]["message"], &told[4]["reason"]), (&json!("no"), &json!("per_day_max")));
}

#[test]
fn c5_a_cause_names_its_rule_and_its_workspace() {
    let limit = Cause {
        limit_id: "daily".into(),
        selector: Some(Selector::Seat("standard".into())),
        ..Cause::of(CauseKind::Limit)
    };
    let pool = Cause { workspace_id: Some("lab".into()), ..Cause::of(CauseKind::Pool) };
    let (identity, scope) = (Identity::derive(&["x"]), Scope::User("ann".into()));
    let changed = PauseChanged { identity, scope, causes: vec![limit, pool], generation: 1, record_time: AT };
    let causes = &data(Signal::Pause(changed))["causes"];
    assert_eq!((&causes[0]["selector"], &causes[0]["workspace_id"]), (&json!("seat:standard"), &Json::Null));
    assert_eq!((&causes[1]["selector"], &causes[1]["workspace_id"]), (&Json::Null, &json!("lab")));
}

/// What earlier releases and this one have written, as bytes: it reads, and says the same where both have a field.
#[test]
fn golden_bytes_of_what_we_read_back_still_read() {
    macro_rules! golden {
        ($($name:literal)+) => {
            [$( (include_bytes!(concat!("../../../schemas/history/", $name, ".bin")) as &[u8], $name) ),+]
        };
    }
    let all = golden!["journal.2" "journal.3" "threshold.2" "threshold.3" "pause.1" "pause.2" "request.1" "request.2"
        "dead_letter.1" "dead_letter.2"];
    for pair in all.chunks(2) {
        let [before, after] =
            [pair[0], pair[1]].map(|(bytes, name)| data_of(bytes).unwrap_or_else(|| panic!("{name}")));
        let (before, after) = (before.as_object().expect("a record"), after.as_object().expect("a record"));
        assert!(before.len() < after.len() || pair[0].1 == "pause.1", "{}", pair[1].1);
        for (name, value) in before.iter().filter(|(name, _)| *name != "causes") {
            assert_eq!(Some(value), after.get(name), "{}: {name}", pair[1].1);
        }
    }
}
