//! Decoding is total: an event or a reason, for every input.

use apache_avro::{to_avro_datum, types::Value};
use proptest::prelude::*;

use super::*;
use crate::{
    contract::usage::write,
    domain::{
        event::{RunPhase, Tokens, Usage},
        time::Timestamp,
    },
};

const TOKEN_JSON: &str = include_str!("../../../schemas/examples/token_event.json");
const RUN_JSON: &str = include_str!("../../../schemas/examples/run_event.json");
const CONTROL_JSON: &str = include_str!("../../../schemas/examples/control.json");

fn token_event() -> UsageEvent<'static> {
    let tokens = Tokens { input: 374, output: 44, cache_read: 0, cache_creation: 0 };
    let usage = Usage::Tokens { request_model: "small", tokens };
    UsageEvent {
        workspace_id: Some("sales"),
        agent_id: Some("scout"),
        user_id: Some("u-17"),
        product: Some("chat"),
        ..UsageEvent::new("call-1", "gateway", Timestamp::from_ms(1_768_471_200_000), "acme", usage)
    }
}

fn written(event: &UsageEvent<'_>) -> Vec<u8> {
    let mut bytes = Vec::new();
    write(event, &mut bytes);
    bytes
}

/// The reason's code, or the id of the event.
fn check(payload: &[u8], expected: &str) {
    let decoder = Decoder::new(false);
    let seen = match decoder.usage(payload) {
        Ok(decoded) => decoded.event().id.to_owned(),
        Err(Undecoded::Dead(reason)) => reason.code().to_owned(),
        Err(Undecoded::NeedsSchema(id)) => format!("needs schema {id}"),
    };
    assert_eq!(seen, expected, "{:?}", String::from_utf8_lossy(payload));
}

#[test]
fn c11_all_formats_give_the_same_event() {
    let decoder = Decoder::new(false);
    let avro = written(&token_event());
    let json = decoder.usage(TOKEN_JSON.as_bytes()).expect("the example decodes");
    assert_eq!(*json.event(), token_event());
    assert_eq!(*decoder.usage(&avro).expect("Avro decodes").event(), token_event());
    let run = UsageEvent {
        id: "run-1",
        usage: Usage::Run { phase: RunPhase::Completed },
        trigger: Some("schedule"),
        ..token_event()
    };
    assert_eq!(*decoder.usage(&written(&run)).expect("Avro decodes").event(), run);
    assert_eq!(*decoder.usage(RUN_JSON.as_bytes()).expect("the example decodes").event(), run);
}

/// What stands in the payload is borrowed from it; what has escapes is put together.
#[test]
fn c11_texts_of_json_mean_what_their_escapes_say() {
    let decoder = Decoder::new(false);
    let plain = decoder.usage(TOKEN_JSON.as_bytes()).expect("the example decodes");
    assert!(matches!(plain, Decoded::Borrowed(_)), "{plain:?}");
    let escaped = TOKEN_JSON.replace("\"scout\"", "\"sc\\u006fut\"");
    let escaped = decoder.usage(escaped.as_bytes()).expect("escapes decode");
    assert!(matches!(escaped, Decoded::Owned(_)), "{escaped:?}");
    assert_eq!(*escaped.event(), token_event());
}

#[test]
fn c11_a_registry_may_have_our_schema_or_a_wider_one() {
    let mut decoder = Decoder::new(true);
    let confluent = |id: u8, body: &[u8]| [&[0, 0, 0, 0, id][..], body].concat();
    let ours = written(&token_event())[10..].to_vec();
    assert_eq!(decoder.usage(&confluent(7, &ours)).err(), Some(Undecoded::NeedsSchema(7)));
    decoder.learn(7, Some(include_str!("../../../schemas/token_event.avsc")));
    assert!(matches!(decoder.usage(&confluent(7, &ours)), Ok(Decoded::Borrowed(event)) if event == token_event()));

    let wider = r#"{"type":"record","name":"LlmCall","namespace":"customer","fields":[
        {"name":"region","type":"string"},{"name":"id","type":"string"},{"name":"source","type":"string"},
        {"name":"time","type":{"type":"long","logicalType":"timestamp-millis"}},{"name":"workspace_id","type":"string"},
        {"name":"request_model","type":"string"},{"name":"output_tokens","type":"long"}]}"#;
    decoder.learn(8, Some(wider));
    let schema = Schema::parse_str(wider).expect("it parses");
    let value = Value::Record(vec![
        ("region".into(), "eu".into()),
        ("id".into(), "x".into()),
        ("source".into(), "s".into()),
        ("time".into(), Value::TimestampMillis(5)),
        ("workspace_id".into(), "w".into()),
        ("request_model".into(), "m".into()),
        ("output_tokens".into(), Value::Long(9)),
    ]);
    let body = to_avro_datum(&schema, value).expect("it encodes");
    let payload = confluent(8, &body);
    let decoded = decoder.usage(&payload).expect("a wider record resolves");
    let event = decoded.event();
    assert_eq!((event.organization_id, event.id, event.event_time), ("w", "x", Timestamp::from_ms(5)));
    assert!(matches!(event.usage, Usage::Tokens { tokens: Tokens { input: 0, output: 9, .. }, .. }));
    decoder.learn(9, None);
    assert_eq!(decoder.usage(&confluent(9, &ours)).err(), Some(Undecoded::Dead(Reason::UnknownSchemaId(9))));
}

#[test]
fn m6_bad_payloads_end_with_a_reason() {
    let good = written(&token_event());
    check(&good, "call-1");
    check(&good[..good.len() - 1], "malformed_avro");
    check(&[&good[..], b"x"].concat(), "malformed_avro");
    check(&[0xc3, 0x01, 1, 2], "malformed_avro");
    check(&[&[0xc3, 0x01], &[9; 30][..]].concat(), "unknown_schema_fingerprint");
    check(&[0, 0, 0, 0, 1, 2], "unknown_schema_id");
    check(&[0, 0, 0], "malformed_avro");
    check(b"", "empty_payload");
    check(b"hello", "unknown_format");
    check(b"{", "malformed_json");
    check(b"{}", "malformed_json");
    check(b"{\"specversion\":\"1.0\",\xff", "invalid_utf8");
    check(&vec![b'{'; 10 * 1024 * 1024], "payload_too_large");
    let with = |change: fn(&mut UsageEvent<'static>)| {
        let mut event = token_event();
        change(&mut event);
        written(&event)
    };
    check(&with(|event| event.id = ""), "empty_field");
    check(&with(|event| (event.organization_id, event.workspace_id) = ("", None)), "no_organization");
    check(&with(|event| event.organization_id = ""), "call-1");
    let tokens = |input| {
        let tokens = Tokens { input, ..Tokens::default() };
        written(&UsageEvent { usage: Usage::Tokens { request_model: "m", tokens }, ..token_event() })
    };
    check(&tokens(-1), "quantity_out_of_range");
    check(&tokens((1 << 53) - 1), "call-1");
    check(&tokens(1 << 53), "quantity_out_of_range");
    let json = |from: &str, to: &str| TOKEN_JSON.replace(from, to).into_bytes();
    check(&json("374", "-1"), "quantity_out_of_range");
    check(&json("374", "99999999999999999999"), "quantity_out_of_range");
    check(&json("374", "1.5"), "malformed_json");
    check(&json("\"1.0\"", "\"0.3\""), "malformed_json");
    check(&json("bursar.token.v1", "other"), "malformed_json");
    check(&json("input_tokens", "in_tokens"), "malformed_json");
    check(&json("2026-01-15T10:00:00.000Z", "soon"), "malformed_json");
}

#[test]
fn m6_a_control_record_that_contradicts_itself_is_refused() {
    let check = |from: &str, to: &str, expected: &str| {
        let seen = match Decoder::new(false).control(CONTROL_JSON.replace(from, to).as_bytes()) {
            Ok(record) => record.id.to_string(),
            Err(Undecoded::Dead(reason)) => reason.to_string(),
            Err(other) => format!("{other:?}"),
        };
        assert!(seen.contains(expected), "{to}: {seen}");
    };
    check("", "", "limit-1");
    check("\"scope\": \"ws:sales\"", "\"scope\": \"ws:sales\", \"every\": \"agent\"", "exactly one of `scope`");
    check("\"actor\": \"admin-1\"", "\"actor\": \"admin-1\", \"pause\": {\"scope\": \"org\"}", "exactly one");
    check("ws:sales", "team:sales", "not a scope");
    check("\"pause\"", "\"explode\"", "unknown variant");
    check("limit-1", "", "field id is empty");
}

/// Every control record of the JSON form has an Avro form that says the same.
#[test]
fn c11_a_control_record_reads_alike_from_avro() {
    let decoder = Decoder::new(false);
    let from_json = decoder.control(CONTROL_JSON.as_bytes()).expect("the example decodes");
    let published = newest(Kind::Control);
    let mut data: serde_json::Value = serde_json::from_str(CONTROL_JSON).expect("JSON");
    let mut record = data["data"].take();
    record["id"] = "limit-1".into();
    record["source"] = "console".into();
    record["time"] = 1_768_471_200_000_i64.into();
    let value = Value::from(record).resolve(&published.schema).expect("it follows the schema");
    let mut payload = vec![0xc3, 0x01];
    payload.extend_from_slice(&published.fingerprint.to_le_bytes());
    payload.extend(to_avro_datum(&published.schema, value).expect("it encodes"));
    assert_eq!(decoder.control(&payload).expect("Avro decodes"), from_json);
}

proptest! {
    /// Whatever the bytes, there is an answer and no panic.
    #[test]
    fn decoding_is_total(bytes in proptest::collection::vec(any::<u8>(), 0..200), start in 0..5_usize) {
        let fingerprint = newest(Kind::Token).fingerprint.to_le_bytes();
        let control = newest(Kind::Control).fingerprint.to_le_bytes();
        let starts: [Vec<u8>; 5] =
            [vec![], vec![0xc3, 1], [&[0xc3, 1], &fingerprint[..]].concat(), [&[0xc3, 1], &control[..]].concat(), vec![b'{']];
        let payload = [&starts[start], &bytes[..]].concat();
        let decoder = Decoder::new(true);
        let _ = decoder.usage(&payload);
        let _ = decoder.control(&payload);
    }

    /// What is written is read back, and every cut of it is refused.
    #[test]
    fn avro_events_are_written_and_read_back(id in "[a-z]{1,20}", input in 0_i64..1 << 53, cut in 1_usize..40) {
        let tokens = Tokens { input, ..Tokens::default() };
        let event = UsageEvent { id: &id, usage: Usage::Tokens { request_model: "m", tokens }, ..token_event() };
        let bytes = written(&event);
        let decoder = Decoder::new(false);
        let decoded = decoder.usage(&bytes).expect("it decodes");
        prop_assert_eq!(*decoded.event(), event);
        prop_assert!(decoder.usage(&bytes[..bytes.len() - cut]).is_err());
    }
}

/// Bytes of every version ever published, written by hand from the Avro specification: every later reader reads them
/// as what the examples say.
#[test]
fn golden_bytes_of_every_version_still_read() {
    let decoder = Decoder::new(false);
    let usage: [(&[u8], &str); 3] = [
        (include_bytes!("../../../schemas/history/run_event.1.bin"), RUN_JSON),
        (include_bytes!("../../../schemas/history/token_event.1.bin"), TOKEN_JSON),
        (include_bytes!("../../../schemas/history/token_event.2.bin"), TOKEN_JSON),
    ];
    for (golden, example) in usage {
        let (golden, example) = (decoder.usage(golden).expect("it reads"), decoder.usage(example.as_bytes()));
        assert_eq!(golden.event(), example.expect("the example reads").event());
    }
    let control: [&[u8]; 3] = [
        include_bytes!("../../../schemas/history/control.1.bin"),
        include_bytes!("../../../schemas/history/control.2.bin"),
        include_bytes!("../../../schemas/history/control.3.bin"),
    ];
    for golden in control {
        let golden = decoder.control(golden).expect("it reads");
        assert_eq!(golden, decoder.control(CONTROL_JSON.as_bytes()).expect("the example reads"));
        assert!(golden.by_owner);
    }
}

/// Version 3 says behind the reason who speaks.
#[test]
fn golden_bytes_say_that_no_owner_speaks() {
    let mut golden = include_bytes!("../../../schemas/history/control.3.bin").to_vec();
    let reason = b"\x0apilot";
    let place = golden.windows(reason.len()).position(|bytes| bytes == reason).expect("it has a reason") + reason.len();
    golden[place] = 0;
    let decoder = Decoder::new(false);
    let expected = decoder.control(CONTROL_JSON.as_bytes()).expect("the example reads");
    assert_eq!(decoder.control(&golden).expect("it reads"), ControlRecord { by_owner: false, ..expected });
}
