//! What must hold when all is quiet.

use std::collections::{BTreeMap, BTreeSet};

use bursar::{
    contract::Kind,
    domain::{
        account::{changes::unpack_older, layout::unpack, row::ScopeRow},
        meter::{Counters, Meter},
        window::WindowKind,
    },
    ledger::{InputPartition, Progress},
    notify::reader::data_of,
};
use serde_json::Value as Json;

use crate::{
    story::{Expected, USAGE, organization},
    world::World,
};

/// Organizations whose usage lies in any partition.
const LIES_ANYWHERE: [&str; 2] = ["o0", "o1"];

const METERS: [Meter; 5] =
    [Meter::InputTokens, Meter::OutputTokens, Meter::RunsStarted, Meter::RunsCompleted, Meter::CreditsMicro];

/// Whether the world is as it must be.
pub fn check(world: &World, expected: &Expected) -> Result<(), String> {
    all_is_read(world)?;
    let sent = |kind: Kind| {
        let of_kind = world.sent.iter().filter(move |outgoing| outgoing.kind == kind);
        of_kind.map(|outgoing| data_of(&outgoing.payload).expect("what we send can be read")).collect::<Vec<Json>>()
    };
    same("U-1, U-2, U-5: counters", &counters(world)?, &expected.counters)?;
    crossings(&sent(Kind::Threshold), expected)?;
    let dead = sent(Kind::DeadLetter);
    let seen = dead.iter().map(position).collect();
    same("U-6: dead letters", &seen, &expected.dead).map_err(|why| {
        let reason =
            dead.iter().find(|letter| !expected.dead.contains(&position(letter))).map(|letter| &letter["reason"]);
        format!("{why}; one of them: {reason:?}")
    })?;
    journal(&sent(Kind::Journal), expected)?;
    grants(world, expected)?;
    pauses(world, &sent(Kind::Pause))
}

fn same<T: PartialEq + std::fmt::Debug + IntoIterator + Clone>(what: &str, seen: &T, expected: &T) -> Result<(), String>
where
    T::Item: PartialEq + std::fmt::Debug,
{
    if seen == expected {
        return Ok(());
    }
    let (seen, expected): (Vec<_>, Vec<_>) =
        (seen.clone().into_iter().collect(), expected.clone().into_iter().collect());
    let only = |of: &[T::Item], others: &[T::Item]| {
        of.iter()
            .filter(|item| !others.contains(item))
            .take(6)
            .map(|item| format!("{item:?}"))
            .collect::<Vec<_>>()
            .join(", ")
    };
    Err(format!("{what} differ: seen {}; expected {}", only(&seen, &expected), only(&expected, &seen)))
}

fn all_is_read(world: &World) -> Result<(), String> {
    let progress: BTreeMap<InputPartition, Progress> = world.primaries.progress().into_iter().collect();
    for (partition, log) in &world.logs {
        let there = log.iter().take_while(|made| made.timestamp.ms() <= world.broker_ms).count() as i64;
        let next = progress.get(partition).map_or(0, |progress| progress.next_offset);
        if next != there {
            let InputPartition { topic, partition } = partition;
            return Err(format!("{topic}/{partition} is applied up to {next} of {there}"));
        }
    }
    Ok(())
}

fn rows(world: &World, name: &str) -> Vec<(String, ScopeRow)> {
    let ledger = world.primaries.ledger_of(name);
    let row = |(field, packed): (Box<str>, Vec<u8>)| (field.into_string(), unpack("row", &packed).expect("a row"));
    ledger.scope_fields(name).into_iter().map(row).collect()
}

/// Where usage lies in other partitions than the organization's control records, a price may come too late.
pub fn forget_price(name: &str, counts: &mut [i64; 5]) {
    if LIES_ANYWHERE.contains(&name) {
        counts[4] = 0;
    }
}

type Counted = BTreeMap<(String, String, &'static str, i64), [i64; 5]>;

fn counters(world: &World) -> Result<Counted, String> {
    let mut counted = Counted::new();
    for name in (0..6).map(organization) {
        let mut add = |field: &str, kind: WindowKind, start: i64, counters: &Counters| {
            let mut counts = METERS.map(|meter| counters.get(meter));
            forget_price(&name, &mut counts);
            if [WindowKind::Hour, WindowKind::Day, WindowKind::Period].contains(&kind) && counts != [0; 5] {
                counted.insert((name.clone(), field.to_owned(), kind.name(), start), counts);
            }
        };
        for (field, row) in rows(world, &name) {
            for window in row.windows.iter() {
                add(&field, window.kind.0, window.start.ms(), &window.counters);
                let paid = [Meter::PoolCreditsMicro, Meter::PrepaidCreditsMicro, Meter::UncoveredCreditsMicro];
                let paid: i64 = paid.iter().map(|meter| window.counters.get(*meter)).sum();
                if paid > window.counters.get(Meter::CreditsMicro) {
                    return Err(format!("{name} {field}: sources paid {paid}, more than the charge"));
                }
            }
        }
        let ledger = world.primaries.ledger_of(&name);
        for (key, packed) in ledger.older_windows(&name) {
            add(&key.scope, key.kind, key.start.ms(), &unpack_older(&packed).expect("counters").counters);
        }
    }
    Ok(counted)
}

fn crossings(sent: &[Json], expected: &Expected) -> Result<(), String> {
    let (mut seen, mut identities) = (BTreeSet::new(), BTreeMap::new());
    for crossing in sent.iter().filter(|crossing| crossing["limit_id"] == "day") {
        let text = |field: &str| crossing[field].as_str().unwrap_or_default().to_owned();
        let start = bursar::domain::time::parse_rfc3339(&text("window_start"))?.ms();
        let key = (text("organization_id"), start, crossing["threshold_percent"].as_i64().unwrap_or(0));
        let known = identities.entry(key.clone()).or_insert_with(|| text("identity"));
        if *known != text("identity") {
            return Err(format!("U-4: {key:?} was announced under two identities"));
        }
        seen.insert(key);
    }
    same("U-4: crossings", &certain(&seen), &certain(&expected.crossings))?;
    same("U-4: crossings that never were", &seen.difference(&expected.crossings).cloned().collect(), &BTreeSet::new())
}

/// A limit that comes after the usage tells only the highest share that is used; so it may be in a rebuild where usage lies
/// in other partitions than the organization's control records.
fn certain(crossings: &BTreeSet<(String, i64, i64)>) -> BTreeSet<(String, i64, i64)> {
    crossings.iter().filter(|(name, ..)| !LIES_ANYWHERE.contains(&name.as_str())).cloned().collect()
}

fn position(letter: &Json) -> (String, i32, i64) {
    let number = |field: &str| letter[field].as_i64().unwrap_or(-1);
    (letter["topic"].as_str().unwrap_or(USAGE).to_owned(), number("partition") as i32, number("offset"))
}

fn journal(sent: &[Json], expected: &Expected) -> Result<(), String> {
    let text = |entry: &Json, field: &str| entry[field].as_str().unwrap_or_default().to_owned();
    let said = sent.iter().filter(|entry| entry["record_source"] == "simulation");
    let said = said.map(|entry| (text(entry, "organization_id"), text(entry, "record_id"))).collect();
    same("journal entries", &said, &expected.said)
}

/// Each grant is there, once.
fn grants(world: &World, expected: &Expected) -> Result<(), String> {
    for (name, granted) in &expected.grants {
        let rows = rows(world, name);
        let pool = rows.iter().find(|(field, _)| field == "ws:w0").and_then(|(_, row)| row.pool.as_ref());
        let ids: Vec<String> = pool.iter().flat_map(|pool| &pool.grants).map(|grant| grant.id.to_string()).collect();
        let unique: BTreeSet<String> = ids.iter().cloned().collect();
        if unique.len() != ids.len() {
            return Err(format!("{name} has a grant twice: {ids:?}"));
        }
        same("grants", &unique, granted)?;
    }
    Ok(())
}

/// What gateways believe is what the account has.
fn pauses(world: &World, sent: &[Json]) -> Result<(), String> {
    let mut last: BTreeMap<(String, String), bool> = BTreeMap::new();
    for pause in sent {
        let text = |field: &str| pause[field].as_str().unwrap_or_default().to_owned();
        let paused = pause["causes"].as_array().is_some_and(|causes| !causes.is_empty());
        last.insert((text("organization_id"), text("scope")), paused);
    }
    let believed: BTreeSet<_> = last.into_iter().filter(|(_, paused)| *paused).map(|(scope, _)| scope).collect();
    let mut holds = BTreeSet::new();
    for name in (0..6).map(organization) {
        let paused = world.primaries.ledger_of(&name).paused(&name);
        holds.extend(paused.into_keys().map(|scope| (name.clone(), scope.into_string())));
    }
    same("pauses", &believed, &holds)
}
