//! What the servers must still be for positions to hold.
//!
//! Progress lies at many *tags* of a cluster, so that every primary has some, and each tag tells the lineage of the primary
//! that it is on. A primary that lost writes is of another lineage from then on. A slot that moves takes its tags along, to
//! a primary of another lineage, and nothing is lost. All tags together tell the two apart: nothing is lost as long as every
//! primary of before still has one of its tags, and no other primary has any.
//!
//! - *Every primary*: one that took over, and gave its tags away before anybody looked, is not seen, but the one before it
//!   is missed.
//! - *One of its tags*: the progress at a tag that came from elsewhere may be further than what is written here, and would
//!   not go back with it.
//! - *No other*: what a new primary lost before it was first seen is not known.

use std::collections::BTreeSet;

use crate::faults::{Defence, holds};

/// The lineage of the primary and the token beside the progress, at every tag, in the order of the tags.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Fence(pub Vec<(String, Vec<u8>)>);

impl Fence {
    /// Whether nothing was lost between this fence and `now`.
    pub fn is_still(&self, now: &Self) -> bool {
        *self == *now || (self.has_tokens_of(now) && (self.has_primaries_of(now) || !holds(Defence::Lineages)))
    }

    fn has_tokens_of(&self, now: &Self) -> bool {
        self.0.iter().map(|(_, token)| token).eq(now.0.iter().map(|(_, token)| token))
    }

    fn has_primaries_of(&self, now: &Self) -> bool {
        let stayed = self.0.iter().zip(&now.0).filter(|((before, _), (now, _))| before == now);
        let have_one_of_theirs: BTreeSet<&str> = stayed.map(|((lineage, _), _)| &**lineage).collect();
        have_one_of_theirs == self.primaries() && have_one_of_theirs == now.primaries()
    }

    /// Each by its lineage.
    fn primaries(&self) -> BTreeSet<&str> {
        self.0.iter().map(|(lineage, _)| &**lineage).collect()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Fences as `LINEAGE:TOKEN` for each tag.
    fn check(before: &str, now: &str, expected: bool) {
        let fence = |text: &str| {
            let of_tag = |text: &str| text.split_once(':').map(|(lineage, token)| (lineage.into(), token.into()));
            Fence(text.split(' ').filter_map(of_tag).collect())
        };
        assert_eq!(fence(before).is_still(&fence(now)), expected, "{before} → {now}");
    }

    #[test]
    fn u_5_tags_may_move_as_long_as_no_primary_has_lost_anything() {
        check("a:1 a:2 b:3", "a:1 a:2 b:3", true);
        // A slot moves.
        check("a:1 a:2 b:3", "a:1 b:2 b:3", true);
        // A primary fails over: before, while and after slots move.
        check("a:1 a:2 b:3", "A:1 A:2 b:3", false);
        check("a:1 a:2 b:3", "A:1 b:2 b:3", false);
        check("a:1 a:2 b:3", "b:1 b:2 b:3", false);
        check("a:1 a:2 b:3", "a:1 a:2 A:3", false);
        // Nothing is lost, but what a primary has now came from elsewhere.
        check("a:1 a:2 b:3", "b:1 a:2 a:3", false);
        // A new primary.
        check("a:1 a:2 b:3", "a:1 c:2 b:3", false);
        // It was emptied.
        check("a:1 a:2 b:3", "a:1 a:9 b:3", false);
        check("a:1 a:2 b:3", "a:1 b:9 b:3", false);
        check("a:1", "a:1 b:2", false);
    }
}
