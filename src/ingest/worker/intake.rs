//! From messages to work: records are noted, decoded and grouped; what cannot be decoded is a dead letter.

use std::{collections::HashMap, time::Duration};

use tokio::time::Instant;
use tracing::warn;

use super::{IDLE_WAIT, Tenure, Worker};
use crate::{
    domain::{reason::Reason, time::Timestamp},
    faults::{Defence, Step, holds, reach},
    ingest::{
        Fatal, Interrupt,
        batch::{Batch, Message},
        decode::Undecoded,
        lanes::{ControlItem, control_behind_usage},
        positions::Position,
        settle::{Groups, Item, Settled, Work},
        silence::Look,
        source::{Lane, SourceError},
    },
    ledger::InputPartition,
    notify::encode::{DEAD_LETTER_BYTES_MAX, DEAD_LETTER_KEY_BYTES_MAX, DeadLetter, PARKED_BYTES_MAX},
    observe::health::Dependency,
};

/// How long the brokers may take to tell where partitions end.
const LOOK_WAIT: Duration = Duration::from_millis(500);

impl Worker {
    /// Reads control records into their lane. Returns how many.
    pub(super) async fn read_control(
        &mut self,
        tenure: &mut Tenure,
        wait: Duration,
        dead: &mut Vec<DeadLetter>,
    ) -> Result<usize, Interrupt> {
        if !tenure.control.has_room() && wait.is_zero() {
            return Ok(0);
        }
        let mut batch = Batch::new(1_000);
        let asked_at = self.around.clock.now();
        self.source.take(Lane::Control, wait, &mut batch).await;
        if !batch.is_empty() {
            reach(Step::ControlRead);
        }
        for message in batch.iter() {
            let Some((position, record_time)) = self.note(&message, asked_at, tenure)? else { continue };
            loop {
                match self.decoder.control(message.payload()) {
                    Ok(record) => {
                        tenure.control.push(ControlItem {
                            record: Box::new(record),
                            key: message.key().into(),
                            payload: message.payload().into(),
                            position,
                            offset: message.offset(),
                            record_time,
                        });
                    }
                    Err(Undecoded::NeedsSchema(id)) => {
                        self.learn_schema(id).await?;
                        continue;
                    }
                    Err(Undecoded::Dead(reason)) => dead.push(undecoded(reason, &message, record_time)),
                }
                break;
            }
        }
        self.drain(Lane::Control, &batch, asked_at, tenure)?;
        tenure.positions.end_batch();
        Ok(batch.len())
    }

    /// Reads control records until the usage that was just taken may be applied. A partition that gives nothing is asked for at
    /// its broker, for it may also be that the broker, or the client, does not give it.
    pub(super) async fn read_control_for_usage(
        &mut self,
        tenure: &mut Tenure,
        dead: &mut Vec<DeadLetter>,
    ) -> Result<(), Interrupt> {
        let (delay_ms, now) = (self.options.policy.rules_delay_ms, Instant::now());
        let since = now.checked_sub(self.options.control_read_within).unwrap_or(now);
        let mut waiting = None;
        loop {
            let mut behind = control_behind_usage(&tenure.positions, delay_ms, since);
            if behind.is_empty() {
                return Ok(());
            }
            behind.retain(|number| tenure.positions.get(*number).asked.is_none());
            if let Err(error) = self.ask_for_ends(&behind, tenure) {
                let why = format!("where {} ends is not known: {error}", self.options.control_topic);
                self.around.patience.wait_for(&*self.source, &mut waiting, Dependency::Kafka, &why).await?;
            }
            if !control_behind_usage(&tenure.positions, delay_ms, since).is_empty() {
                self.read_control(tenure, IDLE_WAIT, dead).await?;
                self.keep_membership()?;
            }
        }
    }

    /// Asks the brokers where partitions end, and notes it.
    fn ask_for_ends(&self, numbers: &[usize], tenure: &mut Tenure) -> Result<Vec<i64>, SourceError> {
        if numbers.is_empty() {
            return Ok(Vec::new());
        }
        let asked_on = Instant::now();
        let inputs: Vec<_> = numbers.iter().map(|number| tenure.positions.get(*number).input.clone()).collect();
        let ends = self.source.ends(&inputs, LOOK_WAIT)?;
        for (number, end) in numbers.iter().zip(&ends) {
            tenure.positions.answered(*number, asked_on, *end);
        }
        Ok(ends)
    }

    /// After a lane was asked at `asked_at`: if it held nothing more, looks for partitions that should have given more.
    pub(super) fn drain(
        &self,
        lane: Lane,
        batch: &Batch,
        asked_at: Timestamp,
        tenure: &mut Tenure,
    ) -> Result<(), Interrupt> {
        let is_drained = batch.len() < batch.capacity;
        if is_drained {
            tenure.positions.drain(lane == Lane::Control, asked_at);
        }
        tenure.silence.asked(lane, is_drained);
        match tenure.silence.look(lane) {
            Some(Look::Ask(numbers)) => {
                let ends = self.ask_for_ends(&numbers, tenure);
                for (place, number) in numbers.into_iter().enumerate() {
                    let next_offset = tenure.positions.get(number).next_offset;
                    let end = ends.as_ref().ok().map(|ends| ends[place]);
                    if end == Some(next_offset) {
                        tenure.positions.confirm(number, asked_at);
                    }
                    tenure.silence.seen(number, end.filter(|end| *end > next_offset));
                }
            }
            Some(Look::Stuck(number, end)) if holds(Defence::Silence) => {
                let Position { input: InputPartition { topic, partition }, next_offset, .. } =
                    tenure.positions.get(number);
                warn!(
                    topic,
                    partition, next_offset, end, "the client does not fetch this partition any more: beginning anew"
                );
                return Err(Interrupt::Stuck);
            }
            _ => {}
        }
        Ok(())
    }

    pub(super) async fn decode_usage<'m>(
        &mut self,
        batch: &'m Batch,
        asked_at: Timestamp,
        tenure: &mut Tenure,
        items: &mut Vec<Item<'m>>,
        groups: &mut Groups,
        dead: &mut Vec<DeadLetter>,
    ) -> Result<(), Interrupt> {
        for message in batch.iter() {
            let Some((position, record_time)) = self.note(&message, asked_at, tenure)? else { continue };
            loop {
                match self.decoder.usage(message.payload()) {
                    Ok(decoded) => {
                        let event = decoded.event();
                        groups.add(event.organization_id, items.len());
                        let id = event.event_id();
                        let work = Work::Usage(decoded, id);
                        items.push(Item::new(work, Some(position), message.offset(), record_time));
                    }
                    Err(Undecoded::NeedsSchema(id)) => {
                        self.learn_schema(id).await?;
                        continue;
                    }
                    Err(Undecoded::Dead(reason)) => dead.push(undecoded(reason, &message, record_time)),
                }
                break;
            }
        }
        Ok(())
    }

    /// Notes a message as read; `None` if it is no record, or one that was read before.
    fn note(
        &self,
        message: &Message<'_>,
        asked_at: Timestamp,
        tenure: &mut Tenure,
    ) -> Result<Option<(usize, Timestamp)>, Interrupt> {
        let Some(position) = tenure.positions.number_of(message) else { return Ok(None) };
        tenure.silence.heard(position);
        if message.is_end_of_partition() {
            tenure.positions.reach_end(position, message.offset(), asked_at);
            return Ok(None);
        }
        if let Some(why) = message.error() {
            let place = format!("{}/{} at {}", message.topic(), message.partition(), message.offset());
            if message.is_out_of_range() {
                let advice = "its log was cut, or retention has overtaken; what is missing was never counted";
                return Err(Fatal::Log(format!("{place} can no longer be read ({why}): {advice}")).into());
            }
            self.around.patience.health.lose(Dependency::Kafka, &format!("{place}: {why}"));
            return Ok(None);
        }
        let record_time = tenure.positions.read(position, message.offset(), message.timestamp());
        if let Some(record_time) = record_time {
            self.around.clock.observe(record_time);
        }
        Ok(record_time.map(|record_time| (position, record_time)))
    }

    /// Asks the registry for a schema until it answers.
    async fn learn_schema(&mut self, id: u32) -> Result<(), Interrupt> {
        let registry = self.registry.as_ref().expect("without a registry no schema is needed");
        let (patience, mut waiting) = (&self.around.patience, None);
        loop {
            match registry.schema(id) {
                Ok(schema) => {
                    self.decoder.learn(id, schema.as_deref());
                    return Ok(());
                }
                Err(away) => {
                    let why = away.to_string();
                    patience.wait_for(&*self.source, &mut waiting, Dependency::SchemaRegistry, &why).await?;
                }
            }
        }
    }

    /// Adds what was read back from the pauses topic and may be wrong, for the partitions that are ours.
    /// Not before all that was there at the begin is applied: until then the accounts may be behind the topic.
    pub(super) fn add_corrections(&self, tenure: &Tenure, items: &mut Vec<Item<'_>>, groups: &mut Groups) {
        let in_history = tenure.positions.all().iter().any(|position| !position.is_past_history());
        if in_history || !tenure.control.is_empty() || !holds(Defence::Readback) {
            return;
        }
        let ours = |partition: i32| {
            tenure.positions.all().iter().any(|position| position.is_control && position.input.partition == partition)
        };
        for suspect in self.around.readback.take_suspects(ours) {
            groups.add(&suspect.organization_id, items.len());
            let work =
                Work::Correction { scope: suspect.scope, generation: suspect.generation, paused: suspect.paused };
            items.push(Item::new(work, None, 0, self.around.clock.now()));
        }
    }
}

/// Dead letters of what was decoded and then refused. That of a control record, which depends on the account, was
/// written to the outbox together with its id, and is published from there.
pub(super) fn dead_letters(
    settled: &Settled,
    items: &[Item<'_>],
    inputs: &[InputPartition],
    batch: &Batch,
) -> Vec<DeadLetter> {
    if settled.dead.is_empty() {
        return Vec::new();
    }
    let mut letters = Vec::with_capacity(settled.dead.len());
    let originals: HashMap<(i32, i64, &str), Message<'_>> =
        batch.iter().map(|message| ((message.partition(), message.offset(), message.topic()), message)).collect();
    for (number, reason) in &settled.dead {
        let item = &items[*number];
        if matches!((&item.work, reason), (Work::Control(_), Reason::Refused(_))) {
            continue;
        }
        let input = &inputs[item.position.expect("corrections are never refused")];
        let (key, payload) = match &item.work {
            Work::Control(control) => (&*control.key, &*control.payload),
            _ => {
                let original = originals.get(&(input.partition, item.offset, &*input.topic));
                let original = original.expect("usage is settled while its batch is held");
                (original.key(), original.payload())
            }
        };
        letters.push(dead_letter(reason.clone(), (input, item.offset), item.record_time, key, payload));
    }
    letters
}

/// What is kept of a record; of one that is parked everything that fits into a record again, because it will be sent again.
/// `bursar release` fetches the others from where they came from.
fn dead_letter(
    reason: Reason,
    (input, offset): (&InputPartition, i64),
    record_time: Timestamp,
    key: &[u8],
    payload: &[u8],
) -> DeadLetter {
    let is_parked = matches!(reason, Reason::Quarantined(_));
    let kept =
        |bytes: &[u8], most: usize| bytes[..bytes.len().min(if is_parked { PARKED_BYTES_MAX } else { most })].to_vec();
    DeadLetter {
        reason,
        topic: input.topic.clone(),
        partition: input.partition,
        offset,
        record_time,
        key: kept(key, DEAD_LETTER_KEY_BYTES_MAX),
        payload: kept(payload, DEAD_LETTER_BYTES_MAX),
        payload_bytes: payload.len(),
    }
}

fn undecoded(reason: Reason, message: &Message<'_>, record_time: Timestamp) -> DeadLetter {
    let input = InputPartition { topic: message.topic().into(), partition: message.partition() };
    dead_letter(reason, (&input, message.offset()), record_time, message.key(), message.payload())
}
