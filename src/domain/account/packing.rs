//! Packs rows: most of what a commit writes. The windows are packed by hand, because a row has some fifty numbers and each
//! costs serde three times as much; the rest of a row is rare.

use serde::Serialize;

use super::{layout::LAYOUT, row::ScopeRow, windows::Windows};
use crate::domain::{meter::Meter, pause::Pauses};

/// Room for a window, so that a row seldom has to grow.
const WINDOW_BYTES: usize = 40;

/// A marker and eight bytes.
const COUNT_BYTES_MAX: usize = 9;

/// Packs a row in the current layout: a list of its fields without what is empty at its end, for most rows are counters
/// and nothing else.
pub fn pack_row(row: &ScopeRow) -> Vec<u8> {
    let mut packed = Vec::with_capacity(16 + row.windows.len() * WINDOW_BYTES);
    put_list(&mut packed, 2);
    put(&mut packed, &LAYOUT);
    let fields = fields_there(row);
    put_list(&mut packed, fields);
    for field in 0..fields {
        match field {
            0 => put_windows(&mut packed, &row.windows),
            1 => put(&mut packed, &row.limits),
            2 => put(&mut packed, &row.pool),
            3 => put(&mut packed, &row.pauses),
            4 => put(&mut packed, &row.rules_revision),
            5 => put(&mut packed, &row.member),
            6 => put(&mut packed, &row.registered),
            7 => put(&mut packed, &row.parts),
            8 => put(&mut packed, &row.overshoots),
            _ => put(&mut packed, &row.models),
        }
    }
    packed
}

/// How many fields there are without those at the end that are empty.
fn fields_there(row: &ScopeRow) -> usize {
    let ScopeRow { windows, limits, pool, pauses, rules_revision, member, registered, parts, overshoots, models } = row;
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
    ];
    there.iter().rposition(|there| *there).map_or(0, |last| last + 1)
}

fn put<T: Serialize>(packed: &mut Vec<u8>, value: &T) {
    rmp_serde::encode::write(packed, value).expect("state is made of numbers, texts and lists, which always pack");
}

fn put_windows(packed: &mut Vec<u8>, windows: &Windows) {
    put_list(packed, windows.len());
    for position in 0..windows.len() {
        let (kind, start) = windows.head(position);
        let counters = windows.counters(position);
        let counts = counters.stored();
        put_list(packed, 3);
        packed.push(u8::from(kind));
        put_counts(packed, &[start.ms().div_euclid(1_000)]);
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
        time::Timestamp,
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
}
