//! Golden bytes: what the types of releases with layouts 2 and 3 packed, without the number of the layout. An upgrade
//! that finds them in an outbox publishes them with their identity and in their words.

use super::*;
use crate::domain::account::{
    changes::{Changes, unpack_signal},
    outbox::Outbox,
};

const THRESHOLD: &str = "81a95468726573686f6c649dc410d8f6f26a3256d8ad98e17cc4684ebd2ea877733a73616c6573a56c696d6974\
     a56461696c79ad637265646974735f6d6963726fa364617992cf0000019bbef3b000cf0000019bc41a0c0050ce004c4b40ce003d097b01\
     9192b26167656e743a73616c65732f747269616765ce002f4d60cf0000019bc1190100";
const PAUSE: &str = "81a5506175736595c410d8f6f26a3256d8ad98e17cc4684ebd2ea877733a73616c65739194a56c696d6974a5646169\
     6c79cf0000019bbef3b000cf0000019bc41a0c0007cf0000019bc1190100";
const APPLIED: &str = "81a74a6f75726e616c9ac410d8f6f26a3256d8ad98e17cc4684ebd2ea76c696d69742d31a7636f6e736f6c65cf00\
     00019bc1190100a761646d696e2d31a570696c6f74a27b7dc0a0cf0000019bc1190100";
const ANSWERED: &str = "81a74a6f75726e616c9ac410d8f6f26a3256d8ad98e17cc4684ebd2ea76c696d69742d31a7636f6e736f6c65cf00\
     00019bc1190100a761646d696e2d31a570696c6f74a27b7dc0bd6e6f206c696d69742062696e647320746865206d656d626572206e6f77\
     cf0000019bc1190100";
const REFUSED: &str = "81a74a6f75726e616c9ac410d8f6f26a3256d8ad98e17cc4684ebd2ea76c696d69742d31a7636f6e736f6c65cf00\
     00019bc1190100a761646d696e2d31a570696c6f74a27b7db277733a6c616220686173206e6f20706f6f6ca0cf0000019bc1190100";
const REFUSAL: &str = "81a75265667573616c95c410d8f6f26a3256d8ad98e17cc4684ebd2eb277733a6c616220686173206e6f20706f6f\
     6c93ad75736167652e636f6e74726f6c0207a27b7dcf0000019bc1190100";
const STATEMENT: &str = "81a953746174656d656e7497c410d8f6f26a3256d8ad98e17cc4684ebd2ea877733a73616c657392cf0000019b\
     bef3b000cf0000019bc41a0c009146929146b46576656e7420652d31206f662067617465776179a763726564697473cf0000019bc11901\
     00";
const RELOAD: &str = "81a75265717565737494c410d8f6f26a3256d8ad98e17cc4684ebd2ea8757365723a616e6e81af52656c6f61645265\
     71756573746564923204cf0000019bc1190100";
const OPENED: &str = "81a75265717565737494c410d8f6f26a3256d8ad98e17cc4684ebd2ea8757365723a616e6e81a64f70656e656495a1\
     72a3616e6ec0cf0000019bc1190100ac6869676865725f6c696d6974cf0000019bc1190100";
const APPROVED: &str = "81a75265717565737494c410d8f6f26a3256d8ad98e17cc4684ebd2ea8757365723a616e6e81a8417070726f7665\
     6493a172a3626f6291b37370656e64206f6e2065766572792075736572cf0000019bc1190100";
const DECLINED: &str = "81a75265717565737494c410d8f6f26a3256d8ad98e17cc4684ebd2ea8757365723a616e6e81a84465636c696e65\
     6493a172a3626f62a26e6fcf0000019bc1190100";
const DIGEST: &str = "81a75265717565737494c410d8f6f26a3256d8ad98e17cc4684ebd2ea8757365723a616e6e81a64469676573749191\
     95a172a3616e6ec0cf0000019bc1190100ac6869676865725f6c696d6974cf0000019bc1190100";
const CREATION_REFUSED: &str = "81a75265717565737494c410d8f6f26a3256d8ad98e17cc4684ebd2ea8757365723a616e6e81af437265\
     6174696f6e5265667573656492a3616e6eaf6f6e6c79206f776e657273206d6179cf0000019bc1190100";

const GOLDEN: [&str; 13] = [
    THRESHOLD,
    PAUSE,
    APPLIED,
    ANSWERED,
    REFUSED,
    REFUSAL,
    STATEMENT,
    RELOAD,
    OPENED,
    APPROVED,
    DECLINED,
    DIGEST,
    CREATION_REFUSED,
];

/// As a release of this layout stored it.
fn stored(layout: u8, golden: &str) -> Vec<u8> {
    let byte = |place: usize| u8::from_str_radix(&golden[place..place + 2], 16).expect("hexadecimal digits");
    [0x92, layout].into_iter().chain((0..golden.len()).step_by(2).map(byte)).collect()
}

/// It is read from both layouts, has its identity, and its data have what is expected.
fn check(golden: &str, expected: Json) {
    for layout in [2, 3] {
        let signal = unpack_signal(&stored(layout, golden)).expect("it can be read");
        assert_eq!(signal.identity(), Identity::derive(&["x"]));
        let told = data(signal);
        for (name, value) in expected.as_object().expect("fields by name") {
            assert_eq!(&told[name], value, "{name} in layout {layout}");
        }
    }
}

#[test]
fn m9_answers_of_earlier_releases_are_published_in_their_words() {
    let identity = "d8f6f26a3256d8ad98e17cc4684ebd2e";
    let words = "ws:lab has no pool";
    let (code, fields) = ("refused_by_earlier_release", json!({ "words": words }));
    check(APPLIED, json!({ "identity": identity, "result": "applied", "answer": "", "applied": [], "code": null }));
    let answer = "no limit binds the member now";
    let applied = json!([{ "code": "applied_by_earlier_release", "fields": { "words": answer } }]);
    check(ANSWERED, json!({ "identity": identity, "result": "applied", "answer": answer, "applied": applied }));
    let refused =
        json!({ "result": "refused", "refused_because": words, "answer": "", "code": code, "fields": fields });
    check(REFUSED, refused);
    let reason = format!("the control record was refused: {words}");
    let position =
        json!({ "reason": reason, "topic": "usage.control", "partition": 2, "offset": 7, "payload": "e30=" });
    check(REFUSAL, json!({ "refusal_code": code, "refusal_fields": fields }));
    check(REFUSAL, position);
    let binding = json!({ "kind": "approved", "still_binding": ["spend on every user"], "still_binding_limits": [] });
    check(APPROVED, binding);
    let message = "only owners may";
    check(CREATION_REFUSED, json!({ "kind": "creation_refused", "actor": "ann", "message": message, "code": code }));
}

#[test]
fn m9_what_has_no_answer_is_published_as_it_was() {
    let identity = "d8f6f26a3256d8ad98e17cc4684ebd2e";
    let crossed = json!({ "identity": identity, "scope": "ws:sales", "limit_id": "daily", "selector": null });
    check(THRESHOLD, crossed);
    check(THRESHOLD, json!({ "threshold_percent": 80, "cap": 5_000_000, "used": 4_000_123, "revision": 1 }));
    check(PAUSE, json!({ "identity": identity, "scope": "ws:sales", "state": "paused", "generation": 7 }));
    let line = json!({ "identity": identity, "meters": { "input_tokens": 70 }, "delta": { "input_tokens": 70 } });
    check(STATEMENT, line);
    check(RELOAD, json!({ "identity": identity, "scope": "user:ann", "amount_micro": 50, "balance_micro": 4 }));
    check(DECLINED, json!({ "kind": "declined", "request_id": "r", "actor": "bob", "message": "no", "code": null }));
    let since = "2026-01-15T10:00:00.000Z";
    let asked =
        json!({ "request_id": "r", "user_id": "ann", "seat_type": null, "since": since, "wants": "higher_limit" });
    for (golden, kind) in [(OPENED, "opened"), (DIGEST, "digest")] {
        check(golden, json!({ "kind": kind, "pending": [asked] }));
    }
}

/// Until Kafka has them they are read anew, the same; then they are forgotten, each once, and nothing is stored again.
#[test]
fn m9_signals_that_an_earlier_release_left_behind_leave_the_outbox_once() {
    let left = || (1..).zip(GOLDEN.map(|golden| stored(3, golden))).collect();
    let [mut outbox, mut again] = [Outbox::new("acme"), Outbox::new("acme")];
    for outbox in [&mut outbox, &mut again] {
        outbox.fill(left(), 14).expect("all can be read");
    }
    assert_eq!(outbox.stored(), again.stored());
    outbox.acknowledge(GOLDEN.len());
    let mut changes = Changes::default();
    outbox.take_changes(&mut changes);
    assert_eq!((changes.forget, changes.signals), ((1..=13).collect(), Vec::new()));
    assert_eq!((outbox.stored().len(), outbox.next_number(), outbox.has_acknowledged()), (0, 14, false));
}
