//! One suite that every ledger satisfies: memory and a real Redis.

mod support;

use std::time::Duration;

use bursar::{
    domain::{
        account::{
            Policy,
            changes::{Changes, EndingPage, Needs, OlderKey, PausedScope, WalkCursor, WalkPage},
            seen::SeenChanges,
        },
        time::Timestamp,
        window::WindowKind,
    },
    ledger::{
        Committed, InputPartition, LEASE, Ledger, Progress,
        memory::MemoryLedger,
        redis::{RedisLedger, RedisOptions},
    },
};
use support::Servers;

const POLICY: Policy = Policy { horizon_ms: 3_600_000, early_ms: 300_000, rules_delay_ms: 60_000, grace_ms: 900_000 };

fn loads() -> prometheus::IntCounter {
    bursar::observe::metrics::Metrics::new().function_loads
}

/// Runs one case on both ledgers, under a name of its own.
fn on_both<F: Future<Output = ()>>(name: &str, case: impl Fn(Box<dyn Ledger>) -> F) {
    let runtime = tokio::runtime::Builder::new_multi_thread().enable_all().build().expect("a runtime");
    runtime.block_on(async {
        case(Box::new(MemoryLedger::new())).await;
        let options = RedisOptions { url: Servers::shared_redis().redis.clone(), prefix: name.to_owned() };
        case(Box::new(RedisLedger::connect(&options, &POLICY, 24, loads()).await.expect("Redis answers"))).await;
    });
}

fn changes(expected: Option<&[u8]>, head: &[u8]) -> Changes {
    Changes { expected: expected.map(<[u8]>::to_vec), head: head.to_vec(), ..Changes::default() }
}

async fn commit(ledger: &dyn Ledger, changes: Changes) -> Committed {
    ledger.commit(&[("acme".into(), changes)]).await.expect("the ledger answers")[0]
}

fn at(ms: i64) -> Timestamp {
    Timestamp::from_ms(ms)
}

#[test]
fn what_is_committed_is_loaded() {
    on_both("loaded", |ledger| async move {
        let older = OlderKey { kind: WindowKind::Hour, start: at(7), scope: "ws:a".into() };
        let first = Changes {
            fields: [("org", &b"row \0 bytes"[..]), ("settings", b"s")].into_iter().collect(),
            older: vec![(older.clone(), b"old".to_vec())],
            seen: SeenChanges { append: vec![(at(5), b"0123456789".to_vec())], ..SeenChanges::default() },
            signals: vec![(3, b"three".to_vec()), (12, b"twelve".to_vec())],
            ..changes(None, b"h1")
        };
        assert_eq!(commit(&*ledger, first).await, Committed::Written);
        let second = Changes {
            seen: SeenChanges {
                append: vec![(at(5), b"abcdefghij".to_vec())],
                seal: vec![at(5)],
                ..SeenChanges::default()
            },
            forget: vec![3],
            ..changes(Some(b"h1"), b"h2")
        };
        assert_eq!(commit(&*ledger, second).await, Committed::Written);

        let needs = Needs {
            base: true,
            scopes: vec!["ws:none".into(), "org".into()],
            segments: vec![at(6), at(5)],
            older: vec![older],
            ..Needs::default()
        };
        let loaded = ledger.load(&[("acme".into(), needs)]).await.expect("the ledger answers").remove(0);
        let base = loaded.base.expect("the base was asked for");
        assert_eq!(loaded.head.as_deref(), Some(&b"h2"[..]));
        assert_eq!((base.settings.as_deref(), base.calendar), (Some(&b"s"[..]), None));
        assert_eq!(base.outbox, [(12, b"twelve".to_vec())]);
        assert_eq!(loaded.scopes, [None, Some(b"row \0 bytes".to_vec())]);
        assert_eq!(loaded.segments, [None, Some(b"0123456789abcdefghij".to_vec())]);
        assert_eq!(loaded.older, [Some(b"old".to_vec())]);
    });
}

/// U-1, U-2: a commit on another head writes nothing at all.
#[test]
fn u_1_u_2_a_refused_commit_writes_nothing() {
    on_both("refused", |ledger| async move {
        assert_eq!(commit(&*ledger, changes(None, b"h1")).await, Committed::Written);
        for expected in [None, Some(&b"h0"[..])] {
            let late = Changes {
                fields: [("org", b"wrong")].into_iter().collect(),
                seen: SeenChanges { append: vec![(at(5), b"0123456789".to_vec())], ..SeenChanges::default() },
                signals: vec![(1, b"wrong".to_vec())],
                ..changes(expected, b"h2")
            };
            assert_eq!(commit(&*ledger, late).await, Committed::Refused);
        }
        let needs = Needs { base: true, scopes: vec!["org".into()], segments: vec![at(5)], ..Needs::default() };
        let loaded = ledger.load(&[("acme".into(), needs)]).await.expect("the ledger answers").remove(0);
        assert_eq!(
            (loaded.head.as_deref(), loaded.scopes, loaded.segments),
            (Some(&b"h1"[..]), vec![None], vec![None])
        );
        assert_eq!(loaded.base.expect("the base").outbox, []);
    });
}

#[test]
fn a_commit_of_the_largest_size_is_written_whole() {
    on_both("large", |ledger| async move {
        let fields = (0..1_000).map(|n| (format!("user:{n}"), vec![b'x'; 110])).collect();
        let signals = (0..9_000).map(|n| (n, b"s".to_vec())).collect();
        assert_eq!(commit(&*ledger, Changes { fields, signals, ..changes(None, b"h1") }).await, Committed::Written);
        let forget = (0..8_999).collect();
        assert_eq!(commit(&*ledger, Changes { forget, ..changes(Some(b"h1"), b"h2") }).await, Committed::Written);
        let needs = Needs { base: true, scopes: vec!["user:999".into()], ..Needs::default() };
        let loaded = ledger.load(&[("acme".into(), needs)]).await.expect("the ledger answers").remove(0);
        assert!(loaded.scopes[0].is_some());
        assert_eq!(loaded.base.expect("the base").outbox, [(8_999, b"s".to_vec())]);
    });
}

/// One organization may name any number of scopes in one batch.
#[test]
fn a_load_of_any_size_is_answered() {
    on_both("wide", |ledger| async move {
        let fields = [("user:9999", b"row")];
        commit(&*ledger, Changes { fields: fields.into_iter().collect(), ..changes(None, b"h1") }).await;
        let needs = Needs { scopes: (0..10_000).map(|n| format!("user:{n}").into()).collect(), ..Needs::default() };
        let loaded = ledger.load(&[("acme".into(), needs)]).await.expect("the ledger answers").remove(0);
        assert_eq!((loaded.scopes.len(), loaded.scopes[9_999].as_deref()), (10_000, Some(&b"row"[..])));
        let inputs: Vec<_> = (0..10_000).map(|partition| InputPartition { topic: "t".into(), partition }).collect();
        let begun = ledger.begin(&inputs).await.expect("the ledger answers");
        let progress = Progress { next_offset: 1, record_time: at(5), low_water: at(5) };
        let all: Vec<_> = inputs.iter().map(|input| (input.clone(), progress)).collect();
        assert!(ledger.advance(&begun.fence, &all, Timestamp::MIN).await.expect("the ledger answers"));
        assert_eq!(ledger.begin(&inputs).await.expect("the ledger answers").progress, vec![Some(progress); 10_000]);
    });
}

#[test]
fn c5_paused_scopes_are_found_by_their_end() {
    on_both("ends", |ledger| async move {
        let paused = |scope: &str, look_at: Option<i64>| PausedScope {
            scope: scope.into(),
            causes_json: look_at.map(|_| "{}".to_owned()),
            look_at: look_at.map(at),
        };
        let all = vec![paused("ws:a", Some(30)), paused("ws:b", Some(10)), paused("ws:c", Some(20))];
        commit(&*ledger, Changes { paused: all, ..changes(None, b"h1") }).await;
        let page = |until, offset| EndingPage { until: at(until), offset, limit: 2 };
        for (page, scopes, next_end) in [
            (page(20, 0), vec!["ws:b", "ws:c"], Some(at(30))),
            (page(40, 1), vec!["ws:c", "ws:a"], None),
            (EndingPage { until: Timestamp::MAX, offset: 0, limit: 9 }, vec!["ws:b", "ws:c", "ws:a"], None),
        ] {
            let needs = Needs { ending: Some(page), ..Needs::default() };
            let loaded = ledger.load(&[("acme".into(), needs)]).await.expect("the ledger answers").remove(0);
            let (found, next) = loaded.ending.expect("a page was asked for");
            let found: Vec<&str> = found.iter().map(|(scope, _)| &**scope).collect();
            assert_eq!((found, next), (scopes, next_end));
        }
        commit(&*ledger, Changes { paused: vec![paused("ws:b", None)], ..changes(Some(b"h1"), b"h2") }).await;
        let needs = Needs { ending: Some(page(20, 0)), ..Needs::default() };
        let loaded = ledger.load(&[("acme".into(), needs)]).await.expect("the ledger answers").remove(0);
        assert_eq!(loaded.ending.expect("a page").0, [("ws:c".into(), at(20))]);
    });
}

/// U-5: progress is written under the fence it was read with, or not at all.
#[test]
fn u_5_progress_holds_only_under_its_fence() {
    on_both("progress", |ledger| async move {
        let input = InputPartition { topic: "usage.events".into(), partition: 3 };
        let progress = Progress { next_offset: 42, record_time: at(5), low_water: at(6) };
        let begun = ledger.begin(std::slice::from_ref(&input)).await.expect("the ledger answers");
        assert_eq!(begun.progress, [None]);
        let written = ledger
            .advance(&begun.fence, &[(input.clone(), progress)], Timestamp::MIN)
            .await
            .expect("the ledger answers");
        assert!(written);
        let mut other = begun.fence.clone();
        other.0[0].0 = "another lineage".to_owned();
        let later = Progress { next_offset: 99, ..progress };
        assert!(!ledger.advance(&other, &[(input.clone(), later)], Timestamp::MIN).await.expect("the ledger answers"));
        let again = ledger.begin(std::slice::from_ref(&input)).await.expect("the ledger answers");
        assert_eq!((again.progress, again.fence), (vec![Some(progress)], begun.fence));
        assert_eq!(ledger.progress_of_all().await.expect("the ledger answers"), [(input.clone(), progress)]);
    });
}

/// A worker that lost its partition without knowing does not take its progress back.
#[test]
fn u_5_progress_never_goes_back() {
    on_both("monotone", |ledger| async move {
        let [input, other] =
            ["usage.events", "usage.control"].map(|topic| InputPartition { topic: topic.into(), partition: 3 });
        let progress = |next_offset| Progress { next_offset, record_time: at(5), low_water: at(next_offset) };
        let begun = ledger.begin(&[]).await.expect("the ledger answers");
        for (written, other_written, expected) in
            [(42, 1, [42, 1]), (41, 2, [42, 2]), (42, 2, [42, 2]), (43, 0, [43, 2])]
        {
            let both = [(input.clone(), progress(written)), (other.clone(), progress(other_written))];
            assert!(
                ledger.advance(&begun.fence, &both, Timestamp::MIN).await.expect("the ledger answers"),
                "it is no fault"
            );
            let stored = ledger.begin(&[input.clone(), other.clone()]).await.expect("the ledger answers").progress;
            assert_eq!(stored, expected.map(|offset| Some(progress(offset))));
        }
    });
}

#[test]
fn what_is_due_is_found_until_it_is_served() {
    on_both("due", |ledger| async move {
        let due = |ms| Changes { due: Some(at(ms)), ..changes(None, b"h1") };
        for (organization, ms) in [("a", 10), ("b", 20)] {
            ledger.commit(&[(organization.into(), due(ms))]).await.expect("the ledger answers");
        }
        assert_eq!(ledger.due(at(15)).await.expect("the ledger answers"), [("a".into(), at(10))]);
        // Moved meanwhile: it stays.
        ledger.forget_due(&[("a".into(), at(9))]).await.expect("the ledger answers");
        assert_eq!(ledger.due(at(15)).await.expect("the ledger answers").len(), 1);
        ledger.forget_due(&[("a".into(), at(10))]).await.expect("the ledger answers");
        assert_eq!(ledger.due(at(15)).await.expect("the ledger answers"), []);
    });
}

/// Who commits to an account that another has a lease of is told of it; when it is over, nobody is.
#[test]
fn a_lease_is_told_to_who_commits() {
    on_both("lease", |ledger| async move {
        let acme: [Box<str>; 1] = ["acme".into()];
        assert_eq!(commit(&*ledger, changes(None, b"h1")).await, Committed::Written);
        let take = async |holder| ledger.lease(&acme, holder).await.expect("the ledger answers")[0];
        assert_eq!((take(1).await, take(1).await), (Duration::ZERO, Duration::ZERO));
        assert!((Duration::from_millis(1)..=LEASE).contains(&take(2).await), "it is another's");
        let Committed::Contested(left) = commit(&*ledger, changes(Some(b"h1"), b"h2")).await else {
            panic!("nobody told of the lease")
        };
        assert!((Duration::from_millis(1)..=LEASE).contains(&left));
        assert_eq!(commit(&*ledger, changes(Some(b"h1"), b"h3")).await, Committed::Refused, "heads tell as ever");
        tokio::time::sleep(LEASE).await;
        assert_eq!(commit(&*ledger, changes(Some(b"h2"), b"h3")).await, Committed::Written);
        assert_eq!(take(2).await, Duration::ZERO);
    });
}

/// E6 in small: the functions are lost, and the next call loads them.
#[test]
fn lost_functions_are_loaded_again() {
    let runtime = tokio::runtime::Builder::new_multi_thread().enable_all().build().expect("a runtime");
    runtime.block_on(async {
        let own = Servers::start(&["--only", "redis"]);
        let options = RedisOptions { url: own.redis.clone(), prefix: "functions".to_owned() };
        let counted = loads();
        let ledger = RedisLedger::connect(&options, &POLICY, 24, counted.clone()).await.expect("Redis answers");
        ledger.connection().query::<()>(redis::cmd("FUNCTION").arg("FLUSH")).await.expect("Redis answers");
        assert_eq!(commit(&ledger, changes(None, b"h1")).await, Committed::Written);
        assert_eq!(counted.get(), 1);
    });
}

/// A server that would throw accounts away is refused, and the message says what to set.
#[test]
fn a_server_that_evicts_is_refused() {
    let runtime = tokio::runtime::Builder::new_multi_thread().enable_all().build().expect("a runtime");
    runtime.block_on(async {
        let own = Servers::start(&["--only", "redis"]);
        let options = RedisOptions { url: own.redis.clone(), prefix: "evicts".to_owned() };
        let ledger = RedisLedger::connect(&options, &POLICY, 24, loads()).await.expect("Redis answers");
        let mut set = redis::cmd("CONFIG");
        set.arg("SET").arg("maxmemory-policy").arg("allkeys-lru");
        ledger.connection().query::<()>(&set).await.expect("Redis answers");
        let refused = RedisLedger::connect(&options, &POLICY, 24, loads()).await.err().expect("it is refused");
        assert!(refused.to_string().contains("noeviction"), "{refused}");
    });
}

/// Every field comes at least once, whatever the size of the pages.
#[test]
fn a_walk_reaches_every_row() {
    on_both("walked", |ledger| async move {
        let fields = (0..700).map(|n| (format!("agent:w/{n}"), n.to_string().into_bytes())).collect();
        assert_eq!(commit(&*ledger, Changes { fields, ..changes(None, b"h1") }).await, Committed::Written);
        let (mut cursor, mut seen) = (None, std::collections::BTreeSet::new());
        loop {
            let needs = Needs { walk: Some(WalkPage { cursor, limit: 100 }), ..Needs::default() };
            let loaded = ledger.load(&[("acme".into(), needs)]).await.expect("the ledger answers").remove(0);
            let walked = loaded.walk.expect("a page was asked for");
            seen.extend(walked.rows.into_iter().filter(|(field, _)| field.contains(':')).map(|(field, _)| field));
            let Some(next) = walked.next else { break };
            cursor = Some(next);
        }
        assert_eq!(seen.len(), 700);
        // A place of another server is no place: the walk begins anew.
        let cursor = Some(WalkCursor { run: "another".into(), place: 1 << 40 });
        let needs = Needs { walk: Some(WalkPage { cursor, limit: 10_000 }), ..Needs::default() };
        let loaded = ledger.load(&[("acme".into(), needs)]).await.expect("the ledger answers").remove(0);
        assert!(loaded.walk.expect("a page was asked for").rows.len() >= 700);
    });
}
