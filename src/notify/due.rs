//! What ends by itself: when the clock reaches an entry of the index of due times, a due record goes to the control
//! topic. There it is served like any other, at a place that a replay finds again (design section 5, "Due work").

use std::{
    sync::atomic::{AtomicBool, Ordering},
    time::Duration,
};

use serde_json::json;

use crate::{
    clock::Clock,
    contract::{Kind, json::cloud_event},
    domain::time::{SECOND_MS, Timestamp},
    faults::{Step, reach},
    ledger::Ledger,
    notify::{encode::Outgoing, publisher::Publisher},
    observe::health::{Dependency, Health},
};

/// How often the index is looked at.
const LOOK_EVERY: Duration = Duration::from_millis(500);

/// A clock that follows records and has stood between two looks is taken for so much later. What was due and could not be
/// done is due again a little after, which such a clock may never reach by itself.
pub const AHEAD_MS: i64 = SECOND_MS;

/// Looks at the index until the process stops. Every process does; two records of one instant have one identity.
pub async fn watch(ledger: &dyn Ledger, publisher: &Publisher, clock: &Clock, health: &Health, stop: &AtomicBool) {
    let mut before = None;
    while !stop.load(Ordering::Relaxed) {
        let until = look_until(clock, &mut before);
        if let Err(why) = look(ledger, publisher, clock, until).await {
            // The workers notice the same and say so; what is due stays in the index.
            health.lose(Dependency::Redis, &why);
        }
        tokio::time::sleep(LOOK_EVERY).await;
    }
}

/// Up to when things are due, where the clock stood at `before` when this was asked last.
fn look_until(clock: &Clock, before: &mut Option<Timestamp>) -> Timestamp {
    let now = clock.now();
    let stands = clock.follows_records() && before.replace(now) == Some(now);
    if stands { now.plus_ms(AHEAD_MS) } else { now }
}

async fn look(ledger: &dyn Ledger, publisher: &Publisher, clock: &Clock, until: Timestamp) -> Result<(), String> {
    let due = ledger.due(until).await.map_err(|error| error.to_string())?;
    if due.is_empty() {
        return Ok(());
    }
    let records: Vec<Outgoing> =
        due.iter().map(|(organization_id, at)| due_record(organization_id, *at, clock)).collect();
    if let Err(error) = publisher.records(&records).await {
        tracing::debug!(%error, "due records will be sent again");
        return Ok(());
    }
    reach(Step::DueSent);
    ledger.forget_due(&due).await.map_err(|error| error.to_string())
}

fn due_record(organization_id: &str, at: Timestamp, clock: &Clock) -> Outgoing {
    let data = json!({
        "organization_id": organization_id,
        "actor": "bursar",
        "reason": "time has come",
        "due": { "at": at.to_string() },
    });
    let record = cloud_event(Kind::Control, "bursar", &format!("due-{}", at.ms()), at, data);
    Outgoing {
        kind: Kind::Control,
        key: organization_id.to_owned(),
        partition_by: None,
        timestamp: clock.follows_records().then(|| clock.now()),
        payload: record.to_string().into_bytes(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn n3_a_clock_of_records_that_stands_lets_what_is_just_ahead_come() {
        let (clock, mut before) = (Clock::records(), None);
        let mut check = |record_time_ms, until_ms| {
            clock.observe(Timestamp::from_ms(record_time_ms));
            assert_eq!(look_until(&clock, &mut before), Timestamp::from_ms(until_ms));
        };
        check(5_000, 5_000);
        check(7_000, 7_000);
        check(7_000, 8_000);
        check(7_000, 8_000);
        check(7_001, 7_001);
    }
}
