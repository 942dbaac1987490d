//! The account's decisions, as small stories: lines of what happens, and what comes of it.
//!
//! ```text
//! 10:00 price 1000000                    a rate card: one micro-credit per token
//! 10:01 use w/a/u 50                     50 input tokens of agent a in workspace w by user u
//! 10:01 use w/a/u 50 id=x at=09:00       with an id of its own, and used earlier
//! 10:02 limit day-cap ws:w input_tokens day 100
//! 10:03 every agents agent runs_started hour 5
//! 10:04 pool ws:w 1000 | grant ws:w g1 500 | pause ws:w | resume ws:w | unlimit day-cap ws:w | due
//! ```

use bursar::{
    contract::Kind,
    contract::json::{cloud_event, read_control},
    domain::{
        account::{
            Account, Moment, Outcome, Policy,
            changes::{Loaded, LoadedBase, Needs},
            layout::{LAYOUT, LayoutError, pack_as, unpack, unpack_up_to},
            row::{ScopeRow, WindowCounters},
        },
        event::{Tokens, Usage, UsageEvent},
        limit::Limit,
        meter::Meter,
        pause::Pauses,
        pool::Pool,
        signal::Signal,
        time::{HOUR_MS, MINUTE_MS, Timestamp, parse_rfc3339},
    },
    ledger::{Committed, Ledger, memory::MemoryLedger},
};
use futures::executor::block_on;
use proptest::prelude::*;
use serde_json::{Value as Json, json};

const POLICY: Policy = Policy { horizon_ms: 48 * HOUR_MS, early_ms: 5 * MINUTE_MS, rules_delay_ms: MINUTE_MS };

/// One account on a ledger in memory, committed after every so many lines.
struct Stage {
    ledger: MemoryLedger,
    account: Account,
    token: u128,
    /// What happened, a line each.
    told: Vec<String>,
    /// Identities of all signals, in their order.
    identities: Vec<String>,
}

fn clock(text: &str) -> Timestamp {
    let (day, time) = text.split_once('T').unwrap_or(("15", text));
    parse_rfc3339(&format!("2026-01-{day}T{time}:00Z")).expect("a time of this story")
}

impl Stage {
    fn new() -> Self {
        let account = Account::new("acme");
        Self { ledger: MemoryLedger::new(), account, token: 0, told: Vec::new(), identities: Vec::new() }
    }

    fn load(&mut self, mut needs: impl FnMut(&mut Account, &mut Needs)) {
        loop {
            let mut lacking = Needs::default();
            needs(&mut self.account, &mut lacking);
            if lacking.is_empty() {
                return;
            }
            let request = [(Box::from("acme"), lacking)];
            let loaded = block_on(self.ledger.load(&request)).expect("memory answers").remove(0);
            assert!(self.account.fill(&request[0].1, loaded).expect("the state can be read"), "nobody else moves it");
        }
    }

    /// Writes what changed, and tells the signals.
    fn commit(&mut self) {
        if !self.account.has_changes() {
            return;
        }
        self.token += 1;
        let changes = self.account.take_changes(self.token, Timestamp::MIN);
        let committed = block_on(self.ledger.commit(&[("acme".into(), changes)])).expect("memory answers");
        assert_eq!(committed, [Committed::Written]);
        let outbox: Vec<Signal> = self.account.outbox().iter().map(|(_, signal)| signal.clone()).collect();
        for signal in &outbox {
            if !matches!(signal, Signal::Journal(_)) {
                // A view that was dropped before it forgot publishes a copy, under the same identity.
                let identity = signal.identity().to_string();
                if !self.identities.contains(&identity) {
                    self.identities.push(identity);
                    self.told.push(tell(signal));
                }
            }
        }
        self.account.acknowledge(outbox.len());
    }

    /// Forgets everything held in memory, as after a refused commit.
    fn drop_view(&mut self) {
        self.account = Account::new("acme");
    }

    fn play_line(&mut self, number: usize, line: &str) {
        let words: Vec<&str> = line.split_whitespace().collect();
        let now = clock(words[0]);
        let moment = Moment { record_time: now, clock: now };
        let outcome = match words[1] {
            "use" => self.use_tokens(number, &words[2..], moment),
            verb => self.say(number, verb, &words[2..], moment),
        };
        match outcome {
            Outcome::Applied => {}
            Outcome::Duplicate => self.told.push("duplicate".to_owned()),
            Outcome::DeadLetter(reason) => self.told.push(format!("dead {}", reason.code())),
            Outcome::Continue => panic!("no story is that long"),
        }
    }

    fn use_tokens(&mut self, number: usize, words: &[&str], moment: Moment) -> Outcome {
        let option = |name: &str| words.iter().find_map(|word| word.strip_prefix(name));
        let (id, at) =
            (option("id=").map_or(number.to_string(), str::to_owned), option("at=").map_or(moment.clock, clock));
        let mut names = words[0].split('/');
        let tokens = Tokens { input: words[1].parse().expect("a number"), ..Tokens::default() };
        let event = UsageEvent {
            id: &id,
            source: "story",
            event_time: at,
            organization_id: "acme",
            workspace_id: names.next(),
            agent_id: names.next(),
            user_id: names.next(),
            product: None,
            reservation_id: None,
            usage: Usage::Tokens { request_model: "small", tokens },
        };
        let mut charged = Default::default();
        self.load(|account, needs| charged = account.needs_for_usage(&event, needs));
        self.account.decide_usage(&event, charged, moment, &POLICY)
    }

    fn say(&mut self, number: usize, verb: &str, words: &[&str], moment: Moment) -> Outcome {
        let count = |position: usize| words[position].parse::<i64>().expect("a number");
        let limit = |selector: &str| {
            json!({ "set_limit": { "limit_id": words[0], selector: words[1], "meter": words[2], "window": words[3],
                "cap": words.get(4).map(|cap| cap.parse::<i64>().expect("a number")), "action": "pause" } })
        };
        let mut data: Json = match verb {
            "price" => json!({ "set_rate_card": { "default_prices": { "input_micro": count(0), "output_micro": 0 },
                "effective_from": "2020-01-01T00:00:00Z" } }),
            "limit" => limit("scope"),
            "every" => limit("every"),
            "unlimit" => json!({ "remove_limit": { "limit_id": words[0], "scope": words[1] } }),
            "pool" => json!({ "set_pool": { "scope": words[0], "included_micro": count(1) } }),
            "grant" => json!({ "grant": { "scope": words[0], "grant_id": words[1], "amount_micro": count(2) } }),
            "pause" | "resume" => json!({ verb: { "scope": words[0] } }),
            "unrule" => json!({ "remove_limit": { "limit_id": words[0], "every": words[1] } }),
            "calendar" => json!({ "set_organization": { "time_zone": words[0], "anchor": words[1] } }),
            "due" => json!({ "due": { "at": moment.clock.to_string() } }),
            _ => panic!("no story says {verb}"),
        };
        data["organization_id"] = "acme".into();
        data["actor"] = "story".into();
        let record = cloud_event(Kind::Control, "story", &format!("c{number}"), moment.clock, data).to_string();
        let record = read_control(record.as_bytes()).expect("a control record");
        self.load(|account, needs| account.needs_for_control(&record, needs));
        self.account.decide_control(&record, ("usage.control", 0, number as i64), moment, &POLICY)
    }

    /// What a scope used of a meter, by window.
    fn used(&self, scope: &str, meter: Meter) -> Vec<i64> {
        let fields = self.ledger.scope_fields("acme");
        let packed = fields.iter().find(|(field, _)| &**field == scope).map(|(_, packed)| packed);
        let row: ScopeRow = packed.map_or_else(ScopeRow::default, |packed| unpack("row", packed).expect("a row"));
        row.windows.iter().map(|window| window.counters.get(meter)).collect()
    }
}

fn tell(signal: &Signal) -> String {
    match signal {
        Signal::Threshold(crossed) => {
            let ceiling = if crossed.limit_id.is_empty() { crossed.ceiling.name() } else { &crossed.limit_id };
            format!(
                "{} {} {}% of {ceiling} r{}",
                crossed.scope, crossed.used, crossed.threshold_percent, crossed.revision
            )
        }
        Signal::Pause(changed) => {
            let causes: Vec<&str> = changed.causes.iter().map(|cause| cause.kind.name()).collect();
            if causes.is_empty() {
                format!("{} runs", changed.scope)
            } else {
                format!("{} paused: {}", changed.scope, causes.join(" "))
            }
        }
        Signal::Refusal(refusal) => format!("refused: {}", refusal.message),
        Signal::Journal(_) => unreachable!("the journal is not told"),
    }
}

fn lines(story: &str) -> Vec<&str> {
    story.lines().map(str::trim).filter(|line| !line.is_empty()).collect()
}

/// Plays a story, a commit per line, and compares what comes of it.
fn check(story: &str, expected: &str) -> Stage {
    let mut stage = Stage::new();
    for (number, line) in lines(story).iter().enumerate() {
        stage.play_line(number, line);
        stage.commit();
    }
    assert_eq!(stage.told, lines(expected), "{story}");
    stage
}

#[test]
fn a19_c6_a_limit_announces_each_threshold_once_and_pauses_at_its_cap() {
    check(
        "10:00 limit cap ws:w input_tokens day 100
         10:01 use w/a/u 79
         10:02 use w/a/u 1
         10:03 use w/a/u 19
         10:04 use w/a/u 1
         10:05 use w/a/u 50",
        "ws:w 80 80% of cap r1
         ws:w 100 100% of cap r1
         ws:w paused: limit",
    );
}

#[test]
fn c6_a_new_revision_arms_again_and_announces_what_is_passed() {
    check(
        "10:00 limit cap ws:w input_tokens day 100
         10:01 use w/a/u 120
         10:02 limit cap ws:w input_tokens day 200
         10:03 use w/a/u 40
         10:04 limit cap ws:w input_tokens day 110",
        "ws:w 120 80% of cap r1
         ws:w 120 100% of cap r1
         ws:w paused: limit
         ws:w runs
         ws:w 160 80% of cap r2
         ws:w 160 100% of cap r3
         ws:w paused: limit",
    );
}

#[test]
fn a4_a18_c5_a_pool_pauses_its_workspace_and_a_grant_resumes_it() {
    let stage = check(
        "10:00 price 1000000
         10:00 pool ws:w 100
         10:02 use w/a/u 90
         10:03 use w/b/u 30
         10:04 pause ws:w
         10:05 grant ws:w g1 100
         10:06 grant ws:w g1 100
         10:07 resume ws:w
         10:08 use w/a/u 10",
        "ws:w 90 80% of pool r1
         ws:w 100 100% of pool r1
         ws:w paused: pool
         ws:w paused: pool admin
         ws:w paused: admin
         ws:w runs",
    );
    assert_eq!(stage.used("ws:w", Meter::CreditsMicro), [130; 3]);
    assert_eq!(stage.used("ws:w", Meter::PoolCreditsMicro), [110; 3]);
    assert_eq!(stage.used("ws:w", Meter::UncoveredCreditsMicro), [20; 3]);
}

#[test]
fn c5_what_ends_by_itself_ends_when_it_is_due() {
    check(
        "10:00 limit burst agent:w/a input_tokens hour 5
         10:00 limit daily agent:w/a input_tokens day 5
         10:01 use w/a/u 9
         10:30 due
         11:00 due
         16T00:00 due",
        "agent:w/a 9 80% of burst r1
         agent:w/a 9 100% of burst r1
         agent:w/a 9 80% of daily r2
         agent:w/a 9 100% of daily r2
         agent:w/a paused: limit limit
         agent:w/a paused: limit
         agent:w/a runs",
    );
}

#[test]
fn a_rule_for_every_agent_holds_for_each_and_ends_for_each() {
    check(
        "10:00 every each agent input_tokens day 10
         10:01 use w/a/u 12
         10:02 use w/b/u 9
         10:03 every each agent input_tokens day 20
         10:04 use w/a/u 3",
        "agent:w/a 12 80% of each r1
         agent:w/a 12 100% of each r1
         agent:w/a paused: limit
         agent:w/b 9 80% of each r1
         agent:w/a runs",
    );
}

#[test]
fn c7_a_late_event_lands_in_its_own_window_and_pauses_nobody() {
    let stage = check(
        "10:00 limit cap ws:w input_tokens hour 100
         10:01 use w/a/u 10
         11:01 use w/a/u 10
         12:01 use w/a/u 10
         12:02 use w/a/u 95 at=10:30
         12:03 use w/a/u 1 at=09:30
         12:04 use w/a/u 1 at=13T09:30",
        "ws:w 105 80% of cap r1
         ws:w 105 100% of cap r1
         dead too_late",
    );
    // The hours of 11 and 12 are in the row; day and period have everything.
    let mut used = stage.used("ws:w", Meter::InputTokens);
    used.sort_unstable();
    assert_eq!(used, [10, 10, 126, 126]);
}

#[test]
fn u_1_a_resend_counts_once_and_changed_content_is_seen() {
    let stage = check(
        "10:00 use w/a/u 5 id=x
         10:01 use w/a/u 5 id=x at=10:00
         10:02 use w/a/u 6 id=x at=10:00
         10:03 use w/a/u 5 id=x
         10:04 use w/a/u 1 at=10:10",
        "duplicate
         dead id_reused
         dead too_early",
    );
    // The same id at another time is another event.
    assert_eq!(stage.used("org", Meter::InputTokens), [10; 3]);
}

/// A crash between the commit and the publication: whoever loads the account next finds the signals, under the same
/// identities, and publishes them.
#[test]
fn u_4_signals_that_a_crash_left_behind_are_published() {
    let story = ["10:00 limit cap ws:w input_tokens day 100", "10:01 use w/a/u 120"];
    let mut stage = Stage::new();
    let mut crashed = Stage::new();
    for (number, line) in story.iter().enumerate() {
        stage.play_line(number, line);
        crashed.play_line(number, line);
    }
    stage.commit();
    let changes = crashed.account.take_changes(1, Timestamp::MIN);
    block_on(crashed.ledger.commit(&[("acme".into(), changes)])).expect("memory answers");
    crashed.drop_view();
    crashed.play_line(1, story[1]);
    assert_eq!(crashed.told, ["duplicate"]);
    let left: Vec<String> = crashed.account.outbox().iter().map(|(_, signal)| signal.identity().to_string()).collect();
    assert!(stage.identities.len() == 3 && stage.identities.iter().all(|identity| left.contains(identity)), "{left:?}");
}

#[test]
fn c12_a_card_holds_for_what_is_recorded_a_minute_after_it() {
    let stage = check("10:00 price 2000000\n 10:00 use w/a/u 5\n 10:01 use w/a/u 7 at=09:00", "");
    assert_eq!(stage.used("org", Meter::CreditsMicro), [0, 14, 14, 14]);
}

/// A refused rule leaves nothing behind: what ends by itself still ends.
#[test]
fn c5_a_refused_rule_does_not_keep_pauses_from_ending() {
    check(
        "10:00 limit burst agent:w/a input_tokens hour 5
         10:01 unrule typo agent
         10:02 use w/a/u 9
         11:00 due",
        "dead control_refused
         refused: there is no limit \"typo\" for every agent
         agent:w/a 9 80% of burst r1
         agent:w/a 9 100% of burst r1
         agent:w/a paused: limit
         agent:w/a runs",
    );
}

/// A limit opens a window that no event has opened; older counts are still found and added to.
#[test]
fn c7_a_window_that_a_rule_opened_does_not_hide_older_counts() {
    let stage = check(
        "10:01 use w/a/u 10
         11:00 limit cap ws:w input_tokens hour 100
         12:01 use w/a/u 10
         12:02 use w/a/u 85 at=10:30",
        "ws:w 95 80% of cap r1",
    );
    assert_eq!(stage.used("org", Meter::InputTokens).into_iter().max(), Some(105));
}

/// A grant holds although the first calendar comes after it: the running period ends as planned.
#[test]
fn a8_a_grant_outlives_the_first_calendar() {
    check(
        "10:00 pool ws:w 100
         10:01 grant ws:w g1 100
         10:02 calendar Asia/Tokyo 2026-01-05
         10:05 price 1000000
         10:07 use w/a/u 150",
        "",
    );
}

/// Times that no calendar has end as dead letters, and hold nobody up.
#[test]
fn absurd_times_are_refused() {
    for time_ms in [i64::MIN, -62_135_596_800_000_000, -1, 253_402_300_800_000, i64::MAX] {
        let event = UsageEvent {
            id: "x",
            source: "story",
            event_time: Timestamp::from_ms(time_ms),
            organization_id: "acme",
            workspace_id: None,
            agent_id: None,
            user_id: None,
            product: None,
            reservation_id: None,
            usage: Usage::Tokens { request_model: "small", tokens: Tokens::default() },
        };
        assert_eq!(event.validate().map_err(|reason| reason.code()), Err("time_out_of_range"), "{time_ms}");
        // And the calendar itself answers at once, whatever it is asked.
        for kind in bursar::domain::window::WindowKind::ALL {
            bursar::domain::window::window_at(&[], kind, Timestamp::from_ms(time_ms));
        }
    }
}

#[test]
fn refusals_say_why() {
    check(
        "10:00 grant ws:w g1 5
         10:01 unlimit none ws:w
         10:02 limit cap ws:w input_tokens day -1
         10:03 pool user:u 5",
        "dead control_refused
         refused: ws:w has no pool to grant to; set one first
         dead control_refused
         refused: ws:w has no limit \"none\"
         dead control_refused
         refused: cap is -1; it must not be below 0 (leave it out for unlimited)
         dead control_refused
         refused: user:u is of kind user; only an organization or a workspace has a pool",
    );
}

/// A row as a next release might have it: this release's, and one thing more.
#[derive(serde::Deserialize, serde::Serialize)]
struct NextRow {
    windows: Vec<WindowCounters>,
    limits: Vec<Limit>,
    pool: Option<Box<Pool>>,
    pauses: Pauses,
    rules_revision: u64,
    #[serde(default)]
    held: i64,
}

/// A release with layout n+1 (made up here) starts from rows that this one has stored, goes on with them, and finds
/// again what it wrote; this one then refuses them.
#[test]
fn m9_a_next_release_starts_from_stored_rows_and_goes_on() {
    let stage = check("10:00 limit cap ws:w input_tokens day 900\n 10:00 pool ws:w 50\n 10:01 use w/a/u 79", "");
    for (field, stored) in stage.ledger.scope_fields("acme") {
        let mut row: NextRow =
            unpack_up_to(LAYOUT + 1, "row", &stored).expect("the next release reads this one's rows");
        assert_eq!((row.held, row.windows[0].counters.get(Meter::InputTokens)), (0, 79), "{field}");
        row.windows[0].counters.set(Meter::InputTokens, 80);
        row.held = 5;
        let written = pack_as(LAYOUT + 1, &row);
        let again: NextRow = unpack_up_to(LAYOUT + 1, "row", &written).expect("it reads its own");
        assert_eq!((again.held, again.windows, again.limits), (5, row.windows, row.limits));
        assert_eq!(unpack::<ScopeRow>("row", &written), Err(LayoutError::Unknown { found: LAYOUT + 1 }));
    }
}

/// State that another release wrote with more in it is refused as a whole, and left as it is.
#[test]
fn m9_state_of_a_later_layout_is_not_touched() {
    let mut account = Account::new("acme");
    let needs = Needs { base: true, ..Needs::default() };
    let head = pack_as(LAYOUT + 1, &json!({}));
    let loaded = Loaded { head: Some(head), base: Some(LoadedBase::default()), ..Loaded::default() };
    assert_eq!(account.fill(&needs, loaded), Err(LayoutError::Unknown { found: LAYOUT + 1 }));
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(64))]

    /// Law: however a stream is cut into commits, and whenever the view is dropped, the account and the signals are
    /// the same (U-1, U-4).
    #[test]
    fn any_cut_into_commits_gives_the_same(
        uses in proptest::collection::vec((0..3_u8, 0..3_u8, 1..40_i64, 0..200_u32, 0..180_u32), 1..60),
        cuts in proptest::collection::vec(0..4_u8, 60),
    ) {
        let mut story = vec![
            "10:00 price 1000000".to_owned(),
            "10:00 pool ws:w0 300".to_owned(),
            "10:00 every each agent input_tokens hour 60".to_owned(),
            "10:00 limit cap org input_tokens day 500".to_owned(),
        ];
        for (workspace, agent, tokens, minute, earlier) in &uses {
            let minutes = 660 + minute;
            let at = minutes - earlier;
            story.push(format!(
                "{:02}:{:02} use w{workspace}/a{agent}/u {tokens} id={} at={:02}:{:02}",
                minutes / 60, minutes % 60, minute % 97, at / 60, at % 60
            ));
        }
        // Records of one partition have a running maximum of times.
        let times = |line: &String| line[..5].to_owned();
        story[4..].sort_by_key(times);
        let mut whole = Stage::new();
        let mut cut = Stage::new();
        for (number, line) in story.iter().enumerate() {
            whole.play_line(number, line);
            cut.play_line(number, line);
            match cuts[number % cuts.len()] {
                0 => cut.commit(),
                1 => { cut.commit(); cut.drop_view(); }
                _ => {}
            }
            // Control records need what was stored before them.
            if number < 4 { whole.commit(); cut.commit(); }
        }
        whole.commit();
        cut.commit();
        prop_assert_eq!(whole.ledger.scope_fields("acme"), cut.ledger.scope_fields("acme"));
        prop_assert_eq!(whole.identities, cut.identities);
    }
}
