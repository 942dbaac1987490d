//! Each call in the words of `bursar.lua`, and how its reply is read.

use std::time::Duration;

use redis::{Cmd, FromRedisValue, Value, cmd};

use crate::{
    domain::{
        account::changes::{Changes, Loaded, LoadedBase, Needs, WalkCursor, Walked},
        time::Timestamp,
        window::WindowKind,
    },
    ledger::{
        Committed, InputPartition, LEASE, LedgerError, Progress,
        keys::{AccountKeys, Keys},
    },
};

/// The field beside progress that holds the low water that ids were forgotten by.
pub const KEPT_FROM: &str = "kept_from";

/// What stands for "none" in the functions.
const NONE: &str = "";

/// The field of a partition in the progress hash.
pub fn progress_field(partition: &InputPartition) -> String {
    format!("{}/{}", partition.topic, partition.partition)
}

/// How long after its last change Redis keeps what nobody removes.
#[derive(Clone, Copy, Debug)]
pub struct Retention {
    /// Segments of ids, and short windows that rows no longer keep.
    pub ids_ms: i64,
    /// Billing periods that rows no longer keep, and their days: a page of a past period shows both.
    pub periods_ms: i64,
}

impl Retention {
    const fn of(self, kind: WindowKind) -> i64 {
        match kind {
            WindowKind::Day | WindowKind::Period => self.periods_ms,
            _ => self.ids_ms,
        }
    }
}

/// Reads what `needs` names.
pub fn load(keys: &AccountKeys, needs: &Needs) -> Cmd {
    let mut call = function("bursar_load_5", 3 + needs.segments.len() + needs.older.len());
    call.arg(keys.account()).arg(keys.outbox()).arg(keys.ends());
    for start in &needs.segments {
        call.arg(keys.segment(*start));
    }
    for older in &needs.older {
        call.arg(keys.older(older.kind, older.start));
    }
    call.arg(u8::from(needs.base)).arg(needs.scopes.len());
    for field in &needs.scopes {
        call.arg(&**field);
    }
    call.arg(needs.segments.len()).arg(needs.older.len());
    for older in &needs.older {
        call.arg(&*older.scope);
    }
    match needs.ending {
        None => call.arg(NONE),
        Some(page) if page.until == Timestamp::MAX => call.arg("+inf").arg(page.offset).arg(page.limit),
        Some(page) => call.arg(page.until.ms()).arg(page.offset).arg(page.limit),
    };
    match &needs.walk {
        None => call.arg(NONE),
        Some(page) => {
            let (run, place) = page.cursor.as_ref().map_or((NONE, 0), |cursor| (&*cursor.run, cursor.place));
            call.arg(page.limit).arg(run).arg(place)
        }
    };
    call
}

/// Writes one step.
pub fn commit(keys: &AccountKeys, changes: &Changes, retention: Retention) -> Cmd {
    let ttl_ms = retention.ids_ms;
    let seen = &changes.seen;
    let others = seen.append.len() + seen.seal.len() + seen.remove.len() + changes.older.len();
    let mut call = Cmd::with_capacity(64 + 2 * changes.fields.len() + 3 * others, 1_024 + commit_bytes(changes));
    call.arg("FCALL").arg("bursar_commit_5").arg(4 + others);
    call.arg(keys.account()).arg(keys.outbox()).arg(keys.paused()).arg(keys.ends());
    for start in seen.append.iter().map(|(start, _)| start).chain(&seen.seal) {
        call.arg(keys.segment(*start));
    }
    for (older, _) in &changes.older {
        call.arg(keys.older(older.kind, older.start));
    }
    for start in &seen.remove {
        call.arg(keys.segment(*start));
    }

    call.arg(changes.expected.as_deref().unwrap_or_default()).arg(&changes.head[..]);
    call.arg(seen.append.len());
    for (_, ids) in &seen.append {
        call.arg(&ids[..]).arg(ttl_ms);
    }
    call.arg(seen.seal.len());
    for _ in &seen.seal {
        call.arg(ttl_ms);
    }
    call.arg(changes.fields.len());
    for (field, value) in changes.fields.iter() {
        call.arg(field).arg(value);
    }
    call.arg(changes.signals.len());
    for (number, signal) in &changes.signals {
        call.arg(*number).arg(&signal[..]);
    }
    call.arg(changes.older.len());
    for (older, counters) in &changes.older {
        call.arg(&*older.scope).arg(&counters[..]).arg(retention.of(older.kind));
    }
    call.arg(changes.paused.len());
    for paused in &changes.paused {
        call.arg(&*paused.scope).arg(paused.causes_json.as_deref().unwrap_or(NONE));
        match paused.look_at {
            Some(at) => call.arg(at.ms()),
            None => call.arg(NONE),
        };
    }
    call.arg(changes.forget.len());
    for number in &changes.forget {
        call.arg(*number);
    }
    call.arg(seen.remove.len());
    call
}

/// About how many bytes a step has, so that its call is built without growing again and again.
fn commit_bytes(changes: &Changes) -> usize {
    let ids = changes.seen.append.iter().map(|(_, ids)| ids.len());
    let signals = changes.signals.iter().map(|(_, signal)| signal.len());
    changes.fields.bytes() + ids.chain(signals).map(|bytes| bytes + 16).sum::<usize>()
}

/// Reads fence and progress at a tag.
pub fn begin(keys: &Keys, tag: u32, token: &[u8; 16], fields: &[String]) -> Cmd {
    let mut call = function("bursar_begin_5", 1);
    call.arg(keys.progress(tag)).arg(&token[..]).arg(fields);
    call
}

/// Writes progress at a tag, if the fence still holds.
pub fn advance(keys: &Keys, tag: u32, (lineage, token): &(String, Vec<u8>), pairs: &[(String, String)]) -> Cmd {
    let mut call = function("bursar_advance_5", 1);
    call.arg(keys.progress(tag)).arg(lineage).arg(&token[..]);
    for (field, progress) in pairs {
        call.arg(field).arg(progress);
    }
    call
}

/// Reads the progress of all partitions at a tag.
pub fn all_progress(keys: &Keys, tag: u32) -> Cmd {
    let mut call = cmd("HGETALL");
    call.arg(keys.progress(tag));
    call
}

/// Notes when an organization is due.
pub fn be_due(index: &str, organization_id: &str, due: Timestamp) -> Cmd {
    let mut call = cmd("ZADD");
    call.arg(index).arg(due.ms()).arg(organization_id);
    call
}

/// Reads who is due.
pub fn due(index: &str, until: Timestamp, limit: usize) -> Cmd {
    let mut call = cmd("ZRANGEBYSCORE");
    call.arg(index).arg("-inf").arg(until.ms()).arg("WITHSCORES").arg("LIMIT").arg(0).arg(limit);
    call
}

/// Takes the lease of an account.
pub fn lease(keys: &AccountKeys, holder: u128) -> Cmd {
    let mut call = function("bursar_lease_5", 1);
    call.arg(keys.account()).arg(format!("{holder:032x}")).arg(LEASE.as_millis() as u64);
    call
}

/// Reads the reply of [`lease`].
pub fn read_lease(reply: Value) -> Result<Duration, LedgerError> {
    read::<u64>(reply).map(Duration::from_millis)
}

/// Removes an entry that was served.
pub fn forget_due(index: &str, organization_id: &str, at: Timestamp) -> Cmd {
    let mut call = function("bursar_forget_due_5", 1);
    call.arg(index).arg(organization_id).arg(at.ms());
    call
}

fn function(name: &str, keys: usize) -> Cmd {
    let mut call = cmd("FCALL");
    call.arg(name).arg(keys);
    call
}

type BaseReply = (Option<Vec<u8>>, Option<Vec<u8>>, Option<Vec<u8>>, Vec<Vec<u8>>);
type Values = Vec<Option<Vec<u8>>>;
type Texts = Vec<String>;

/// Reads the reply of [`load`].
pub fn read_loaded(reply: Value, needs: &Needs) -> Result<Loaded, LedgerError> {
    let (head, base, scopes, segments, older, ending, next_end, walk): (
        Option<Vec<u8>>,
        Value,
        Values,
        Values,
        Values,
        Texts,
        Option<String>,
        Value,
    ) = read(reply)?;
    let base = if needs.base { Some(read_base(base)?) } else { None };
    let ending = match needs.ending {
        None => None,
        Some(_) => {
            let next_end = next_end.map(|score| read_score(&score)).transpose()?;
            Some((read_ending(&ending)?, next_end))
        }
    };
    let walk = needs.walk.as_ref().map(|_| read_walk(walk)).transpose()?;
    Ok(Loaded { head, base, scopes, segments, older, ending, walk })
}

fn read_ending(texts: &[String]) -> Result<Vec<(Box<str>, Timestamp)>, LedgerError> {
    texts.chunks_exact(2).map(|pair| Ok((pair[0].as_str().into(), read_score(&pair[1])?))).collect()
}

fn read_walk(reply: Value) -> Result<Walked, LedgerError> {
    let (run, place, fields): (String, String, Vec<Vec<u8>>) = read(reply)?;
    let place: u64 = place.parse().map_err(|_| unexpected("a walk without a place"))?;
    let mut rows = Vec::with_capacity(fields.len() / 2);
    let mut values = fields.into_iter();
    while let (Some(field), Some(row)) = (values.next(), values.next()) {
        let field = String::from_utf8(field).map_err(|_| unexpected("a field that is no text"))?;
        rows.push((field.into(), row));
    }
    Ok(Walked { rows, next: (place != 0).then(|| WalkCursor { run: run.into(), place }) })
}

fn read_base(reply: Value) -> Result<LoadedBase, LedgerError> {
    let (settings, calendar, segments, outbox): BaseReply = read(reply)?;
    let mut signals = Vec::with_capacity(outbox.len() / 2);
    let mut values = outbox.into_iter();
    while let (Some(number), Some(signal)) = (values.next(), values.next()) {
        let number = std::str::from_utf8(&number).ok().and_then(|number| number.parse().ok());
        signals.push((number.ok_or_else(|| unexpected("a signal without a number"))?, signal));
    }
    // A hash has no order; signals do.
    signals.sort_by_key(|(number, _)| *number);
    Ok(LoadedBase { settings, calendar, segments, outbox: signals })
}

/// Reads the reply of [`commit`].
pub fn read_committed(reply: Value) -> Result<Committed, LedgerError> {
    Ok(match read::<u64>(reply)? {
        0 => Committed::Refused,
        1 => Committed::Written,
        more => Committed::Contested(Duration::from_millis(more - 1)),
    })
}

/// Reads the reply of [`advance`]: whether it was written.
pub fn read_advanced(reply: Value) -> Result<bool, LedgerError> {
    read(reply)
}

/// Reads the reply of [`begin`]: lineage, token and progress.
pub fn read_begun(reply: Value) -> Result<(String, Vec<u8>, Values), LedgerError> {
    let mut parts = read::<Vec<Value>>(reply)?.into_iter();
    let mut next = || parts.next().ok_or_else(|| unexpected("an empty fence"));
    let (lineage, token) = (read(next()?)?, read(next()?)?);
    let progress: Result<Values, LedgerError> = parts.map(read).collect();
    Ok((lineage, token, progress?))
}

/// Reads the reply of [`all_progress`].
pub fn read_all_progress(reply: Value) -> Result<Vec<(InputPartition, Progress)>, LedgerError> {
    let fields: Vec<(String, Vec<u8>)> = read(reply)?;
    let of_partition = |(field, text): &(String, Vec<u8>)| {
        let (topic, partition) = field.rsplit_once('/')?;
        let input = InputPartition { topic: topic.into(), partition: partition.parse().ok()? };
        Some(Progress::from_text(text).map(|progress| (input, progress)))
    };
    fields.iter().filter_map(of_partition).collect()
}

/// Reads the low water that ids were forgotten by, at one tag.
pub fn read_kept_from(text: Option<Vec<u8>>) -> Result<Timestamp, LedgerError> {
    let Some(text) = text else { return Ok(Timestamp::MIN) };
    let ms = std::str::from_utf8(&text).ok().and_then(|text| text.parse().ok());
    ms.map(Timestamp::from_ms).ok_or_else(|| unexpected("a low water that is no number"))
}

/// Reads the reply of [`due`].
pub fn read_due(reply: Value) -> Result<Vec<(Box<str>, Timestamp)>, LedgerError> {
    let entries: Vec<(String, String)> = read(reply)?;
    entries.into_iter().map(|(organization_id, score)| Ok((organization_id.into(), read_score(&score)?))).collect()
}

/// Scores are doubles on the server, but instants in ms stay below 2^53 and come back as whole numbers.
fn read_score(score: &str) -> Result<Timestamp, LedgerError> {
    score.parse().map(Timestamp::from_ms).map_err(|_| unexpected(&format!("the score {score:?}")))
}

fn read<T: FromRedisValue>(reply: Value) -> Result<T, LedgerError> {
    T::from_redis_value(reply).map_err(|error| unexpected(&error.to_string()))
}

fn unexpected(what: &str) -> LedgerError {
    LedgerError::Misconfigured(format!("Redis answered what bursar.lua never does: {what}"))
}
