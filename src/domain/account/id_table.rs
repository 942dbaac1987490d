//! A set of ids in one piece of memory: open addressing, one place after the other.
//!
//! Ids are hashes already, so the place of one follows from its first bytes. A look-up is one fetch, which can be asked for
//! before it is needed; a general table needs two and cannot be asked. Three quarters are filled at most, so that a search
//! ends after some eight places on average.

use crate::{
    faults::{Defence, holds},
    prefetch::prefetch,
};

/// Bytes of one id, in Redis and in memory: 8 of the fingerprint, 2 of the content check, little endian.
pub const ID_BYTES: usize = 10;

/// An id as it is stored.
pub type PackedId = [u8; ID_BYTES];

/// What no event has for an id: [`packed`] sees to it.
const FREE: PackedId = [0; ID_BYTES];

/// The smallest table.
const PLACES_MIN: usize = 8;

/// An id from its parts.
pub fn packed(fingerprint: u64, check: u16) -> PackedId {
    let mut packed = FREE;
    packed[..8].copy_from_slice(&fingerprint.to_le_bytes());
    packed[8..].copy_from_slice(&check.to_le_bytes());
    if packed == FREE { [1, 0, 0, 0, 0, 0, 0, 0, 0, 0] } else { packed }
}

fn fingerprint_of(id: &PackedId) -> u64 {
    let [a, b, c, d, e, f, g, h, ..] = *id;
    u64::from_le_bytes([a, b, c, d, e, f, g, h])
}

/// Ids with different fingerprints.
#[derive(Debug, Default)]
pub struct IdTable {
    places: Box<[PackedId]>,
    filled: usize,
}

impl IdTable {
    /// Room for so many.
    pub fn with_capacity(ids: usize) -> Self {
        let mut table = Self::default();
        if ids > 0 {
            table.resize(places_for(ids));
        }
        table
    }

    /// How many ids it holds.
    pub const fn len(&self) -> usize {
        self.filled
    }

    /// How much memory the ids take, in bytes.
    pub const fn bytes(&self) -> usize {
        self.places.len() * ID_BYTES
    }

    /// Asks the processor for where an id is looked for.
    pub fn prefetch(&self, id: &PackedId) {
        if let Some(place) = self.places.get(self.first_place(fingerprint_of(id))) {
            prefetch(place);
        }
    }

    /// The id that has the same fingerprint.
    pub fn find(&self, id: &PackedId) -> Option<PackedId> {
        if self.places.is_empty() {
            return None;
        }
        let found = self.places[self.search(fingerprint_of(id))];
        (found != FREE).then_some(found)
    }

    /// Adds an id whose fingerprint is not there.
    pub fn insert(&mut self, id: PackedId) {
        if (self.filled + 1) * 4 > self.places.len() * 3 {
            self.resize(places_for(self.filled + 1));
        }
        let place = self.search(fingerprint_of(&id));
        // A control run counts duplicates, and so adds their ids again.
        debug_assert!(self.places[place] == FREE || !holds(Defence::Ids), "it is there already");
        self.places[place] = id;
        self.filled += 1;
    }

    fn resize(&mut self, places: usize) {
        let before = std::mem::replace(&mut self.places, vec![FREE; places].into_boxed_slice());
        for id in before.into_iter().filter(|id| *id != FREE) {
            let place = self.search(fingerprint_of(&id));
            self.places[place] = id;
        }
    }

    /// The place where a fingerprint is, or would be. There is always a free one.
    fn search(&self, fingerprint: u64) -> usize {
        let mut place = self.first_place(fingerprint);
        loop {
            let id = &self.places[place];
            if fingerprint_of(id) == fingerprint || *id == FREE {
                return place;
            }
            place = if place + 1 == self.places.len() { 0 } else { place + 1 };
        }
    }

    /// Where the search for a fingerprint begins.
    fn first_place(&self, fingerprint: u64) -> usize {
        ((u128::from(fingerprint) * self.places.len() as u128) >> 64) as usize
    }
}

/// Places for so many ids: a power of two, of which they fill three quarters at most.
const fn places_for(ids: usize) -> usize {
    let places = (ids * 4).div_ceil(3).next_power_of_two();
    if places < PLACES_MIN { PLACES_MIN } else { places }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Ids by what spreads them over the places, and how many of them.
    fn check(id_of: fn(u64) -> (u64, u16), count: u64) {
        let mut table = IdTable::default();
        for number in 0..count {
            let (fingerprint, check) = id_of(number);
            assert_eq!(table.find(&packed(fingerprint, check)), None, "{number}");
            table.insert(packed(fingerprint, check));
        }
        for number in 0..count {
            let (fingerprint, check) = id_of(number);
            assert_eq!(table.find(&packed(fingerprint, check)), Some(packed(fingerprint, check)), "{number}");
        }
        assert_eq!(table.len(), count as usize);
        assert_eq!(table.find(&packed(u64::MAX / 3, 0)), None);
    }

    #[test]
    fn u_1_the_same_fingerprint_with_another_check_is_found() {
        let mut table = IdTable::default();
        table.insert(packed(5, 1));
        assert_eq!(table.find(&packed(5, 2)), Some(packed(5, 1)));
    }

    #[test]
    fn u_1_every_id_is_found_and_no_other() {
        check(|number| (number.wrapping_mul(0x9e37_79b9_7f4a_7c15), number as u16), 10_000);
        // All begin at the first place, and at the last one.
        check(|number| (number + 2, 0), 1_000);
        check(|number| (u64::MAX - number, 7), 1_000);
        // The fingerprint nil: with a check it is an id like others.
        check(|number| (number, 1), 3);
        check(|number| (number, 0), 1);
    }

    /// What is stored for "free" is no id: the one event in 2^80 that has it gets another.
    #[test]
    fn u_1_no_id_looks_like_a_free_place() {
        assert_ne!(packed(0, 0), FREE);
        assert_eq!(packed(0, 1)[8], 1);
    }

    #[test]
    fn a_full_segment_takes_less_than_14_bytes_for_each_id() {
        let bytes = IdTable::with_capacity(3_072).bytes();
        assert_eq!(bytes, 40_960);
        assert!(bytes < 14 * 3_072);
    }
}
