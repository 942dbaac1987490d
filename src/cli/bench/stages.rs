//! What decoding, deciding and packing cost, each for itself: on events of the topic, with accounts in memory. What a batch
//! needs is loaded beforehand, and what it writes is written afterwards; neither is counted.

use std::time::{Duration, Instant};

use hashbrown::HashMap;
use serde_json::Value as Json;

use super::{
    CASE_WAIT, WARM_UP_SHARE,
    alone::Alone,
    bare::{BareReader, Way},
    figures::{Figures, ratio, thread_cpu_time},
};
use crate::{
    cli::Failure,
    config::Config,
    domain::{account::changes::Changes, event::UsageEvent, ids::EventId},
    ingest::decode::{Decoded, Decoder},
};

/// CPU of this thread by stage.
#[derive(Clone, Copy, Debug, Default)]
struct Spent {
    decode: Duration,
    decide: Duration,
    pack: Duration,
}

/// Reads all events and adds what each stage costs.
pub fn measure(config: &Config, commands: &[Json], events: u64, figures: &mut Figures) -> Result<(), Failure> {
    let (mut reader, decoder) = (BareReader::open(config, Way::Batch)?, Decoder::new(false));
    let (mut accounts, mut spent) = (Accounts::default(), Spent::default());
    let (mut read, mut counted, began) = (0, 0, Instant::now());
    while read < events {
        let payloads = reader.payloads();
        let count = payloads.len() as u64;
        let of_batch = take(&payloads, &decoder, &mut accounts, commands);
        if read >= events / WARM_UP_SHARE {
            spent.decode += of_batch.decode;
            spent.decide += of_batch.decide;
            spent.pack += of_batch.pack;
            counted += count;
        }
        read += count;
        if began.elapsed() > CASE_WAIT {
            return Err(format!("stages read {read} of {events} events").into());
        }
    }
    for (measure, spent) in [
        ("decode_cpu_ns_per_event", spent.decode),
        ("decide_cpu_ns_per_event", spent.decide),
        ("pack_cpu_ns_per_event", spent.pack),
    ] {
        figures.add("stages", measure, ratio(spent.as_nanos(), counted), "ns");
    }
    Ok(())
}

/// An event, and what its account knows it by.
type Event<'a> = (UsageEvent<'a>, Option<EventId>);

/// Takes a batch through all stages, one after the other.
fn take(payloads: &[Vec<u8>], decoder: &Decoder, accounts: &mut Accounts, commands: &[Json]) -> Spent {
    let began = thread_cpu_time();
    let decoded: Vec<Decoded<'_>> =
        payloads.iter().map(|payload| decoder.usage(payload).expect("the topic holds events")).collect();
    let events: Vec<Event<'_>> = decoded.iter().map(|decoded| (*decoded.event(), decoded.event().event_id())).collect();
    let decode = thread_cpu_time() - began;
    let mut groups: HashMap<usize, Vec<Event<'_>>> = HashMap::new();
    for event in events {
        groups.entry(accounts.number(&event.0, commands)).or_default().push(event);
    }
    let mut prepared = Vec::with_capacity(groups.len());
    for (number, events) in groups {
        let charged = accounts.all[number].prepare(&events);
        prepared.push((number, events, charged));
    }
    let began = thread_cpu_time();
    for (number, events, charged) in &prepared {
        accounts.all[*number].decide(events, charged);
    }
    let decided = thread_cpu_time();
    let changes: Vec<Changes> = prepared.iter().map(|(number, ..)| accounts.all[*number].changes()).collect();
    let packed = thread_cpu_time();
    for ((number, ..), changes) in prepared.iter().zip(changes) {
        accounts.all[*number].commit(changes);
    }
    Spent { decode, decide: decided - began, pack: packed - decided }
}

/// All accounts, each under a number.
#[derive(Default)]
struct Accounts {
    numbers: HashMap<Box<str>, usize>,
    all: Vec<Alone>,
}

impl Accounts {
    /// The number of an event's account, which is told the commands if it is new.
    fn number(&mut self, event: &UsageEvent<'_>, commands: &[Json]) -> usize {
        *self.numbers.entry_ref(event.organization_id).or_insert_with(|| {
            self.all.push(Alone::told(event.organization_id, commands, event.event_time));
            self.all.len() - 1
        })
    }
}
