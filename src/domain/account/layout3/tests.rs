//! Golden bytes: what a release of layout 3 wrote, as hexadecimal digits.

use super::*;
use crate::domain::{meter::Meter, pause::CauseKind};

const THRESHOLD: &str = "920381a95468726573686f6c649dc410d8f6f26a3256d8ad98e17cc4684ebd2ea877733a73616c6573a56c696d6974a56461\
     696c79ad637265646974735f6d6963726fa364617992cf0000019bbef3b000cf0000019bc41a0c0050ce004c4b40ce003d09\
     7b019192b26167656e743a73616c65732f747269616765ce002f4d60cf0000019bc1190100";
const PAUSE: &str = "920381a5506175736595c410d8f6f26a3256d8ad98e17cc4684ebd2ea877733a73616c65739194a56c696d6974a56461696c\
     79cf0000019bbef3b000cf0000019bc41a0c0007cf0000019bc1190100";
const APPLIED: &str = "920381a74a6f75726e616c9ac410d8f6f26a3256d8ad98e17cc4684ebd2ea76c696d69742d31a7636f6e736f6c65cf000001\
     9bc1190100a761646d696e2d31a570696c6f74a27b7dc0a0cf0000019bc1190100";
const ANSWERED: &str = "920381a74a6f75726e616c9ac410d8f6f26a3256d8ad98e17cc4684ebd2ea76c696d69742d31a7636f6e736f6c65cf000001\
     9bc1190100a761646d696e2d31a570696c6f74a27b7dc0bd6e6f206c696d69742062696e647320746865206d656d62657220\
     6e6f77cf0000019bc1190100";
const REFUSED: &str = "920381a74a6f75726e616c9ac410d8f6f26a3256d8ad98e17cc4684ebd2ea76c696d69742d31a7636f6e736f6c65cf000001\
     9bc1190100a761646d696e2d31a570696c6f74a27b7db277733a6c616220686173206e6f20706f6f6ca0cf0000019bc11901\
     00";
const REFUSAL: &str = "920381a75265667573616c95c410d8f6f26a3256d8ad98e17cc4684ebd2eb277733a6c616220686173206e6f20706f6f6c93\
     ad75736167652e636f6e74726f6c0207a27b7dcf0000019bc1190100";
const RELOAD: &str = "920381a75265717565737494c410d8f6f26a3256d8ad98e17cc4684ebd2ea8757365723a616e6e81af52656c6f6164526571\
     756573746564923204cf0000019bc1190100";
const APPROVED: &str = "920381a75265717565737494c410d8f6f26a3256d8ad98e17cc4684ebd2ea8757365723a616e6e81a8417070726f76656493\
     a172a3626f6290cf0000019bc1190100";
const STILL_BINDING: &str = "920381a75265717565737494c410d8f6f26a3256d8ad98e17cc4684ebd2ea8757365723a616e6e81a8417070726f76656493\
     a172a3626f6291b37370656e64206f6e2065766572792075736572cf0000019bc1190100";
const DECLINED: &str = "920381a75265717565737494c410d8f6f26a3256d8ad98e17cc4684ebd2ea8757365723a616e6e81a84465636c696e656493\
     a172a3626f62a26e6fcf0000019bc1190100";
const CREATION_REFUSED: &str = "920381a75265717565737494c410d8f6f26a3256d8ad98e17cc4684ebd2ea8757365723a616e6e81af4372656174696f6e52\
     65667573656492a3616e6eaf6f6e6c79206f776e657273206d6179cf0000019bc1190100";
const STATEMENT: &str = "920381a953746174656d656e7497c410d8f6f26a3256d8ad98e17cc4684ebd2ea877733a73616c657392cf0000019bbef3b0\
     00cf0000019bc41a0c009146c0a763726564697473cf0000019bc1190100";

fn read(golden: &str) -> Signal {
    let byte = |place: usize| u8::from_str_radix(&golden[place..place + 2], 16).expect("hexadecimal digits");
    let bytes: Vec<u8> = (0..golden.len()).step_by(2).map(byte).collect();
    assert_eq!(layout::layout_of(&bytes), Some(3));
    super::super::changes::unpack_signal(&bytes).expect("it can be read")
}

fn earlier(golden: &str) -> Earlier {
    match read(golden) {
        Signal::Earlier(earlier) => {
            let signal = Signal::Earlier(earlier.clone());
            assert_eq!(signal.identity(), earlier.identity());
            *earlier
        }
        other => panic!("it has a sentence: {other:?}"),
    }
}

#[test]
fn m9_what_has_no_sentence_is_a_signal_of_today() {
    let Signal::Threshold(crossed) = read(THRESHOLD) else { panic!("a threshold") };
    assert_eq!((crossed.threshold_percent, crossed.top_contributors.len(), crossed.selector), (80, 1, None));
    let Signal::Pause(changed) = read(PAUSE) else { panic!("a pause") };
    let cause = &changed.causes[0];
    assert_eq!((cause.kind, &*cause.limit_id, cause.ends_at.is_some()), (CauseKind::Limit, "daily", true));
    assert_eq!((&cause.selector, &cause.workspace_id), (&None, &None));
    let Signal::Journal(entry) = read(APPLIED) else { panic!("an entry") };
    assert_eq!(
        (&*entry.record_id, &*entry.command_json, entry.refused, entry.applied),
        ("limit-1", "{}", None, vec![])
    );
    let Signal::Statement(line) = read(STATEMENT) else { panic!("a line") };
    assert_eq!((line.totals.get(Meter::InputTokens), line.totals.get(Meter::UnpricedTokens)), (70, 0));
    let kind = |golden: &str| match read(golden) {
        Signal::Request(request) => request.kind,
        other => panic!("a request: {other:?}"),
    };
    let reload = signal::RequestKind::ReloadRequested { amount_micro: 50, balance_micro: 4 };
    assert_eq!(kind(RELOAD), reload);
    assert_eq!([kind(APPROVED).name(), kind(DECLINED).name()], ["approved", "declined"]);
}

#[test]
fn m9_what_has_a_sentence_keeps_it() {
    let Earlier::Journal(entry) = earlier(ANSWERED) else { panic!("an entry") };
    assert_eq!((entry.refused, &*entry.answer), (None, "no limit binds the member now"));
    let Earlier::Journal(entry) = earlier(REFUSED) else { panic!("an entry") };
    assert_eq!((entry.refused.as_deref(), &*entry.answer), (Some("ws:lab has no pool"), ""));
    let Earlier::Refusal(refusal) = earlier(REFUSAL) else { panic!("a refusal") };
    assert_eq!((&*refusal.message, refusal.position), ("ws:lab has no pool", ("usage.control".into(), 2, 7)));
    let Earlier::Approved(told) = earlier(STILL_BINDING) else { panic!("an approval") };
    assert_eq!(told.what.still_binding.iter().map(|limit| &**limit).collect::<Vec<_>>(), ["spend on every user"]);
    let Earlier::CreationRefused(told) = earlier(CREATION_REFUSED) else { panic!("a refusal") };
    assert_eq!((&*told.what.message, told.scope), ("only owners may", Scope::User("ann".into())));
}
