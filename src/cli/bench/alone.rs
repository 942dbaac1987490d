//! One account with a ledger in memory, without Kafka and Redis, so that only its own work is measured.

use futures::executor::block_on;
use serde_json::Value as Json;

use crate::{
    contract::{
        Kind,
        json::{cloud_event, read_control},
    },
    domain::{
        account::{
            Account, Moment, Outcome, Policy,
            changes::{Changes, Needs, Stamp},
            scopes::ChargedScopes,
        },
        event::UsageEvent,
        ids::EventId,
        time::{HOUR_MS, MINUTE_MS, Timestamp},
    },
    ledger::{Ledger, memory::MemoryLedger},
};

const POLICY: Policy =
    Policy { horizon_ms: 48 * HOUR_MS, early_ms: 5 * MINUTE_MS, rules_delay_ms: 0, grace_ms: 15 * MINUTE_MS };

/// The account of one organization. Everything in it panics where it does not go as it should: it measures what works.
pub struct Alone {
    organization_id: Box<str>,
    ledger: MemoryLedger,
    account: Account,
    commits: u128,
}

impl Alone {
    /// An account that was told `commands` at `began`.
    pub fn told(organization_id: &str, commands: &[Json], began: Timestamp) -> Self {
        let (ledger, account) = (MemoryLedger::new(), Account::new(organization_id));
        let mut alone = Self { organization_id: organization_id.into(), ledger, account, commits: 0 };
        commands.iter().enumerate().for_each(|(number, command)| alone.say(number, command, began));
        alone
    }

    fn load(&mut self, mut needs: impl FnMut(&mut Account, &mut Needs)) {
        loop {
            let mut lacking = Needs::default();
            needs(&mut self.account, &mut lacking);
            if lacking.is_empty() {
                return;
            }
            let request = [(self.organization_id.clone(), lacking)];
            let loaded = block_on(self.ledger.load(&request)).expect("memory answers").remove(0);
            assert!(self.account.fill(&request[0].1, loaded).expect("the state can be read"), "nobody else moves it");
        }
    }

    fn say(&mut self, number: usize, command: &Json, at: Timestamp) {
        let mut data = command.clone();
        (data["organization_id"], data["actor"]) = ((*self.organization_id).into(), "bench".into());
        let record = cloud_event(Kind::Control, "bench", &number.to_string(), at, data).to_string();
        let record = read_control(record.as_bytes()).expect("a command");
        loop {
            self.load(|account, needs| account.needs_for_control(&record, needs));
            let outcome = self.account.decide_control(&record, ("usage.control", 0, 0), moment(at), &POLICY);
            let changes = self.changes();
            self.commit(changes);
            if outcome != Outcome::Continue {
                return assert_eq!(outcome, Outcome::Applied, "{command}");
            }
        }
    }

    /// Loads what a batch needs, and finds the scopes of its events.
    pub fn prepare(&mut self, events: &[(UsageEvent<'_>, Option<EventId>)]) -> Vec<ChargedScopes> {
        let mut charged = Vec::with_capacity(events.len());
        self.load(|account, needs| {
            charged.clear();
            charged.extend(events.iter().map(|(event, id)| account.name_scopes(event, *id)));
            for ((event, _), charged) in events.iter().zip(&charged) {
                account.needs_for_usage(event.event_time, *charged, needs);
            }
        });
        charged
    }

    /// Decides a batch that was prepared.
    pub fn decide(&mut self, events: &[(UsageEvent<'_>, Option<EventId>)], charged: &[ChargedScopes]) {
        for ((event, id), charged) in events.iter().zip(charged) {
            let outcome = self.account.decide_usage(event, *id, *charged, moment(event.event_time), &POLICY);
            assert_eq!(outcome, Outcome::Applied);
        }
    }

    /// What a commit would write now.
    pub fn changes(&mut self) -> Changes {
        self.commits += 1;
        self.account.take_changes(Stamp { token: self.commits, low_water: Timestamp::MIN, horizon_ms: 0 })
    }

    /// Commits it, and takes signals as published.
    pub fn commit(&mut self, changes: Changes) {
        block_on(self.ledger.commit(&[(self.organization_id.clone(), changes)])).expect("memory answers");
        self.account.acknowledge(self.account.outbox().len());
    }
}

fn moment(at: Timestamp) -> Moment {
    Moment { record_time: at, clock: at, read_until: at, clock_follows_records: true }
}
