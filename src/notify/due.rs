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
    domain::time::Timestamp,
    faults::{Step, reach},
    ledger::Ledger,
    notify::{encode::Outgoing, publisher::Publisher},
    observe::health::{Dependency, Health},
};

/// How often the index is looked at.
const LOOK_EVERY: Duration = Duration::from_millis(500);

/// Looks at the index until the process stops. Every process does; two records of one instant have one identity.
pub async fn watch(ledger: &dyn Ledger, publisher: &Publisher, clock: &Clock, health: &Health, stop: &AtomicBool) {
    while !stop.load(Ordering::Relaxed) {
        if let Err(why) = look(ledger, publisher, clock).await {
            // The workers notice the same and say so; what is due stays in the index.
            health.lose(Dependency::Redis, &why);
        }
        tokio::time::sleep(LOOK_EVERY).await;
    }
}

async fn look(ledger: &dyn Ledger, publisher: &Publisher, clock: &Clock) -> Result<(), String> {
    let due = ledger.due(clock.now()).await.map_err(|error| error.to_string())?;
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
