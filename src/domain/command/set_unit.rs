//! Names the credits.

use super::{Handle, checks::check_range};
use crate::domain::{
    account::{rulebook::Rulebook, sweep::Concern},
    answer::{Answer, Refused},
    control::SetUnit,
    decision::Decision,
    organization::Unit,
};
use crate::mutation::is_broken;

/// A name has at most this many characters.
const NAME_MAX: usize = 32;

/// Decimals of a whole credit, at most: amounts are millionths.
const SCALE_MAX: i64 = 6;

impl Handle for SetUnit {
    fn concerns(&self, _: &Rulebook) -> Concern {
        Concern::Touched
    }

    fn apply(&self, decision: &mut Decision<'_>) -> Answer {
        check_range("scale", self.scale, 0, SCALE_MAX)?;
        let scale = u8::try_from(self.scale).expect("it was checked above");
        let characters = self.name.chars().count();
        if !(1..=NAME_MAX).contains(&characters) && !is_broken("bound", "name of a unit") {
            return Err(Refused::UnitNameLength { characters: characters as u64, characters_max: NAME_MAX as u64 });
        }
        decision.rules.edit().unit = Unit { name: self.name.clone(), scale };
        Ok(Vec::new())
    }
}
