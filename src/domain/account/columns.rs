//! Which meters a row counts, and what a charge has of each of them.

use crate::domain::{
    bits,
    meter::{Counters, Meter},
};

/// The stored meters that have a column, in their order.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Columns {
    /// A bit for each meter, at its place among those that are stored.
    mask: u32,
    width: u8,
}

impl Columns {
    /// Columns for the meters that have a bit in `mask`.
    pub const fn of(mask: u32) -> Self {
        Self { mask, width: mask.count_ones() as u8 }
    }

    /// A bit for each meter that has one.
    pub const fn mask(self) -> u32 {
        self.mask
    }

    /// How many there are.
    pub const fn width(self) -> usize {
        self.width as usize
    }

    /// The places of their meters among those that are stored, ascending.
    pub fn meters(self) -> impl Iterator<Item = usize> {
        bits::places(u64::from(self.mask))
    }

    /// The column of a stored meter, if it has one.
    pub const fn column(self, meter: Meter) -> Option<usize> {
        let bit = 1_u32 << meter as u32;
        if self.mask & bit == 0 { None } else { Some((self.mask & (bit - 1)).count_ones() as usize) }
    }
}

/// A charge, laid out once as the columns of a row, for all windows of that row that it is added to.
pub struct Amounts<'a> {
    /// The charge.
    pub charge: &'a Counters,
    /// The columns that it is laid out for.
    pub columns: Columns,
    by_column: [i64; Meter::STORED],
}

impl<'a> Amounts<'a> {
    /// What `charge` has of the meters of `columns`.
    #[inline]
    pub fn new(charge: &'a Counters, columns: Columns) -> Self {
        let mut by_column = [0; Meter::STORED];
        for (amount, meter) in by_column.iter_mut().zip(columns.meters()) {
            *amount = charge.at(meter);
        }
        Self { charge, columns, by_column }
    }

    /// By column.
    pub fn as_slice(&self) -> &[i64] {
        &self.by_column[..self.columns.width()]
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_meter_finds_its_column() {
        for mask in [0, 1, 0b1010_0101, 0x2_0000, (1 << Meter::STORED) - 1] {
            let columns = Columns::of(mask);
            let meters: Vec<usize> = columns.meters().collect();
            assert_eq!(meters.len(), columns.width(), "{mask:b}");
            for meter in &Meter::ALL[..Meter::STORED] {
                let expected = meters.iter().position(|place| *place == *meter as usize);
                assert_eq!(columns.column(*meter), expected, "{mask:b} {}", meter.name());
            }
        }
    }
}
