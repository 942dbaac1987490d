//! Packs rows: most of what a commit writes. What most rows have is packed by hand, because a row has some fifty numbers and
//! each costs serde three times as much; the rest of a row is rare.

use serde::Serialize;

use super::{
    layout::LAYOUT,
    row::{ModelPart, Part, ScopeRow, UsedIn},
    windows::Windows,
};
use crate::domain::{event::Tokens, meter::Meter, pause::Pauses, time::Timestamp};

/// Room for a window without its counts, and for one of these, so that a row seldom has to grow.
const HEAD_BYTES: usize = 8;
const COUNT_BYTES: usize = 5;

/// What is not there.
const NIL: u8 = 0xc0;

/// A marker and eight bytes.
const COUNT_BYTES_MAX: usize = 9;

/// Writes a row in the current layout: a list of its fields without what is empty at its end, for most rows are counters
/// and nothing else.
pub fn put_row(packed: &mut Vec<u8>, row: &ScopeRow) {
    packed.reserve(64 + row.windows.len() * (HEAD_BYTES + row.windows.width() * COUNT_BYTES));
    put_list(packed, 2);
    put(packed, &LAYOUT);
    let fields = fields_there(row);
    put_list(packed, fields);
    for field in 0..fields {
        match field {
            0 => put_windows(packed, &row.windows),
            1 => put_all(packed, &row.limits),
            2 => put_if_there(packed, row.pool.as_ref()),
            3 => put_pauses(packed, &row.pauses),
            4 => put(packed, &row.rules_revision),
            5 => put_if_there(packed, row.member.as_ref()),
            6 => put_if_there(packed, row.registered.as_ref()),
            7 => put_parts(packed, &row.parts),
            8 => put_all(packed, &row.overshoots),
            9 => put_models(packed, &row.models),
            10 => put_used_in(packed, &row.used_in),
            11 => put_all(packed, &row.paid_by),
            12 => put_if_there(packed, row.unnamed.as_ref()),
            13 => put_if_there(packed, row.named.as_ref()),
            14 => put_all(packed, &row.told),
            15 => put_all(packed, &row.ran),
            16 => put(packed, &row.in_free_phase),
            _ => put_all(packed, &row.former_pools),
        }
    }
}

/// A row, packed by itself.
#[cfg(test)]
pub fn pack_row(row: &ScopeRow) -> Vec<u8> {
    let mut packed = Vec::new();
    put_row(&mut packed, row);
    packed
}

/// How many fields there are without those at the end that are empty.
fn fields_there(row: &ScopeRow) -> usize {
    let ScopeRow {
        windows, limits, pool, pauses, rules_revision, member, registered, parts, overshoots, models, ..
    } = row;
    let there = [
        !windows.is_empty(),
        !limits.is_empty(),
        pool.is_some(),
        *pauses != Pauses::default(),
        *rules_revision != 0,
        member.is_some(),
        registered.is_some(),
        !parts.is_empty(),
        !overshoots.is_empty(),
        !models.is_empty(),
        !row.used_in.is_empty(),
        !row.paid_by.is_empty(),
        row.unnamed.is_some(),
        row.named.is_some(),
        !row.told.is_empty(),
        !row.ran.is_empty(),
        row.in_free_phase,
        !row.former_pools.is_empty(),
    ];
    there.iter().rposition(|there| *there).map_or(0, |last| last + 1)
}

fn put<T: Serialize>(packed: &mut Vec<u8>, value: &T) {
    rmp_serde::encode::write(packed, value).expect("state is made of numbers, texts and lists, which always pack");
}

fn put_all<T: Serialize>(packed: &mut Vec<u8>, values: &[T]) {
    if values.is_empty() { put_list(packed, 0) } else { put(packed, &values) }
}

fn put_if_there<T: Serialize>(packed: &mut Vec<u8>, value: Option<&T>) {
    match value {
        None => packed.push(NIL),
        Some(value) => put(packed, value),
    }
}

fn put_pauses(packed: &mut Vec<u8>, pauses: &Pauses) {
    put_list(packed, 3);
    put_all(packed, &pauses.causes);
    put_counts(packed, &[pauses.generation, i64::from(pauses.changes)]);
}

fn put_parts(packed: &mut Vec<u8>, parts: &[Part]) {
    put_list(packed, parts.len());
    for Part { label, start, credits_micro, extra_micro, runs_completed } in parts {
        put_list(packed, 5);
        put_counts(packed, &[i64::from(*label), seconds(*start), *credits_micro, *extra_micro, *runs_completed]);
    }
}

fn put_models(packed: &mut Vec<u8>, models: &[ModelPart]) {
    put_list(packed, models.len());
    for ModelPart { model, start, credits_micro, tokens } in models {
        put_list(packed, 4);
        put_counts(packed, &[i64::from(*model), seconds(*start), *credits_micro]);
        let Tokens { input, output, cache_read, cache_creation } = tokens;
        put_list(packed, 4);
        put_counts(packed, &[*input, *output, *cache_read, *cache_creation]);
    }
}

fn put_used_in(packed: &mut Vec<u8>, used_in: &[UsedIn]) {
    put_list(packed, used_in.len());
    for UsedIn { workspace, start } in used_in {
        put_list(packed, 2);
        put(packed, workspace);
        put_counts(packed, &[seconds(*start)]);
    }
}

fn seconds(time: Timestamp) -> i64 {
    time.ms().div_euclid(1_000)
}

fn put_windows(packed: &mut Vec<u8>, windows: &Windows) {
    put_list(packed, windows.len());
    for position in 0..windows.len() {
        let (kind, start) = windows.head(position);
        let counters = windows.counters(position);
        let counts = counters.stored();
        put_list(packed, 3);
        packed.push(u8::from(kind));
        put_counts(packed, &[seconds(start)]);
        put_list(packed, counts.len());
        put_counts(packed, counts);
    }
}

/// The head of a MessagePack list.
fn put_list(packed: &mut Vec<u8>, length: usize) {
    match u16::try_from(length) {
        Ok(length @ 0..=15) => packed.push(0x90 | length as u8),
        Ok(length) => put_bytes(packed, 0xdc, length.to_be_bytes()),
        Err(_) => put_bytes(packed, 0xdd, (length as u32).to_be_bytes()),
    }
}

fn put_bytes<const N: usize>(packed: &mut Vec<u8>, marker: u8, bytes: [u8; N]) {
    packed.push(marker);
    packed.extend_from_slice(&bytes);
}

/// Whole numbers, each in the shortest form that MessagePack has for it; as many as there are meters, at most. They are
/// put together on the stack, where room has not to be asked for at each.
fn put_counts(packed: &mut Vec<u8>, counts: &[i64]) {
    let mut bytes = [0_u8; Meter::STORED * COUNT_BYTES_MAX];
    let mut end = 0;
    for count in counts {
        let (marker, width) = match *count {
            small @ 0..=0x7f => {
                bytes[end] = small as u8;
                end += 1;
                continue;
            }
            0x80..=0xff => (0xcc, 1),
            0x100..=0xffff => (0xcd, 2),
            0x1_0000..=0xffff_ffff => (0xce, 4),
            0x1_0000_0000.. => (0xcf, 8),
            // Only adjustments are negative.
            ..0 => {
                packed.extend_from_slice(&bytes[..end]);
                end = 0;
                put(packed, count);
                continue;
            }
        };
        bytes[end] = marker;
        let from_the_left = (*count as u64) << (64 - 8 * width);
        bytes[end + 1..end + COUNT_BYTES_MAX].copy_from_slice(&from_the_left.to_be_bytes());
        end += 1 + width;
    }
    packed.extend_from_slice(&bytes[..end]);
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::domain::{
        account::{
            layout::{pack, unpack},
            windows::{WindowCode, WindowCounters},
        },
        meter::Counters,
        pause::{Cause, CauseKind},
        window::WindowKind,
    };

    /// By hand or by serde: the same bytes.
    #[test]
    fn windows_are_packed_as_serde_packs_them() {
        let mut windows = Vec::new();
        let ends = [0, 1, 0x7f, 0x80, 0xff, 0x100, 0xffff, 0x1_0000, 0xffff_ffff, 0x1_0000_0000, i64::MAX];
        let counts = ends.into_iter().chain(ends.into_iter().map(|count| -count)).chain([-33, -32, i64::MIN]);
        for (number, count) in counts.enumerate() {
            let start = Timestamp::from_ms(1_700_000_000_000 + number as i64 * 1_000);
            let mut counters = Counters::ZERO;
            counters.set(Meter::ALL[number % Meter::STORED], count);
            windows.push(WindowCounters { kind: WindowCode(WindowKind::Hour), start, counters });
        }
        let row = ScopeRow { windows: windows.into_iter().collect(), ..ScopeRow::default() };
        let [head, packed] = [3, 0].map(|skipped| pack_row(&row)[skipped..].to_vec());
        assert_eq!(head, pack(&row.windows)[2..], "without the heads");
        assert_eq!(unpack::<ScopeRow>("row", &packed), Ok(row));
    }

    #[test]
    fn what_else_most_rows_have_is_packed_as_serde_packs_it() {
        let start = Timestamp::from_ms(1_700_000_000_000);
        let tokens = Tokens { input: 1, output: 300, cache_read: 70_000, cache_creation: 0 };
        let part = Part { label: 200, start, credits_micro: i64::MAX, extra_micro: -5, runs_completed: 0 };
        let model = ModelPart { model: 3, start, credits_micro: 9, tokens };
        let cause = Cause { limit_id: "l".into(), ends_at: Some(start), ..Cause::of(CauseKind::Admin) };
        let rows = [
            ScopeRow { parts: vec![part; 17], models: vec![model; 2], ..ScopeRow::default() },
            ScopeRow { pauses: Pauses { causes: vec![cause], generation: 7, changes: 9 }, ..ScopeRow::default() },
            ScopeRow {
                pauses: Pauses { causes: vec![], generation: 1 << 40, changes: u32::MAX },
                ..ScopeRow::default()
            },
            ScopeRow { rules_revision: 5, models: vec![model], ..ScopeRow::default() },
        ];
        for row in rows {
            let packed = pack_row(&row);
            assert_eq!(unpack::<ScopeRow>("row", &packed), Ok(row.clone()));
            for field in [pack(&row.parts), pack(&row.models), pack(&row.pauses)] {
                // Behind the head; what is empty at the end of a row is left out.
                let is_there = packed.windows(field.len() - 2).any(|piece| piece == &field[2..]);
                assert!(is_there || field.len() <= 6, "{row:?} {field:?}");
            }
        }
    }
}
