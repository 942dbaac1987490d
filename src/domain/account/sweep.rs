//! A record on its way through many scopes: page by page, a commit each, so that no step touches the whole account.

use super::{
    book::Book,
    changes::{self, EndingPage, WalkCursor, WalkPage, Walked},
    layout::{LayoutError, unpack},
    row::ScopeRow,
    rulebook::Rulebook,
    scopes::ScopeIndex,
};
use crate::domain::{
    answer::Applied,
    limit::Selector,
    scope::{Scope, ScopeKind},
    time::Timestamp,
    window::Window,
};

/// Scopes that one commit looks at; a record that concerns more goes on in the next.
pub const PAGE: usize = 500;

/// Whom a change concerns: who may be paused for other causes, or told another share, because of it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Concern {
    /// Nobody beyond the scopes that the change itself touches.
    Touched,
    /// Those that are paused: it makes something looser.
    Paused,
    /// Everyone that is known or paused: it makes something tighter.
    Everyone,
}

/// A record on its way through many scopes, a page at a time.
#[derive(Debug)]
pub struct Sweep {
    /// Which scopes, and up to where it has come.
    pub stage: Stage,
    /// What was loaded of the page.
    pub found: Option<Found>,
    /// What there is to say when it is through.
    pub answer: Vec<Applied>,
}

/// Which scopes a record goes through, and up to where it has come.
#[derive(Debug)]
pub enum Stage {
    /// Scopes that are to be looked at: by now, or, with [`Timestamp::MAX`], all that are paused.
    Looking(EndingPage),
    /// Everyone.
    Everyone(WalkPage),
    /// All rows, to close a period.
    Closing(Window, WalkPage),
    /// All agents, to look at those of the free phase.
    FreePhase(WalkPage),
}

/// What was loaded of a page.
#[derive(Debug)]
pub enum Found {
    /// Scopes with the time at which they were to be looked at, and the first time after the page.
    Scopes(Vec<(ScopeIndex, Timestamp)>, Option<Timestamp>),
    /// Rows as stored, and what comes after them.
    Rows(Vec<StoredRow>, Option<WalkCursor>),
    /// Scopes whose rows are here, each with whether it came with the page, and what comes after them.
    Walked(Vec<(ScopeIndex, bool)>, Option<WalkCursor>),
}

/// A row as it is stored, with its scope.
#[derive(Debug)]
pub struct StoredRow {
    /// The field of the account.
    pub field: Box<str>,
    /// Which scope.
    pub scope: Scope,
    /// Its row.
    pub row: ScopeRow,
}

/// The first page of a walk.
pub const fn first_page() -> WalkPage {
    WalkPage { cursor: None, limit: PAGE }
}

impl Sweep {
    /// One that is at its first page.
    pub const fn new(stage: Stage) -> Self {
        Self { stage, found: None, answer: Vec::new() }
    }

    /// Through those that a change concerns; `None` if there are none beyond what it touches.
    pub const fn through(concern: Concern) -> Option<Self> {
        match concern {
            Concern::Touched => None,
            Concern::Paused => {
                Some(Self::new(Stage::Looking(EndingPage { until: Timestamp::MAX, offset: 0, limit: PAGE })))
            }
            Concern::Everyone => Some(Self::new(Stage::Everyone(first_page()))),
        }
    }

    /// Takes in what was loaded for the page.
    ///
    /// # Errors
    /// [`LayoutError`] if a row cannot be read.
    pub fn fill(
        &mut self,
        book: &mut Book,
        rules: &Rulebook,
        ending: Option<changes::EndingFound>,
        walk: Option<Walked>,
    ) -> Result<(), LayoutError> {
        if let Some((fields, next)) = ending {
            let scopes = fields.iter().map(|(field, at)| Ok((book.index(&changes::parse_scope(field)?), *at)));
            self.found = Some(Found::Scopes(scopes.collect::<Result<_, LayoutError>>()?, next));
        }
        if let Some(Walked { rows, next }) = walk {
            let mut stored = Vec::with_capacity(rows.len());
            for (field, packed) in rows.into_iter().filter(|(field, _)| &**field == "org" || field.contains(':')) {
                let (scope, row) = (changes::parse_scope(&field)?, unpack("scope row", &packed)?);
                stored.push(StoredRow { field, scope, row });
            }
            self.found = Some(match self.stage {
                Stage::Closing(..) => Found::Rows(stored, next),
                Stage::FreePhase(_) => {
                    stored.retain(|stored| matches!(stored.scope, Scope::Agent { .. }));
                    Found::Walked(take_rows(book, &stored), next)
                }
                _ => {
                    stored.retain(|stored| may_concern(stored, rules));
                    Found::Walked(take_rows(book, &stored), next)
                }
            });
        }
        Ok(())
    }
}

fn take_rows(book: &mut Book, stored: &[StoredRow]) -> Vec<(ScopeIndex, bool)> {
    stored.iter().map(|stored| book.take_row(&stored.scope, &stored.row)).collect()
}

/// Whether a change of rules or means may concern a row at all: most agents have neither rules nor means of their own.
fn may_concern(stored: &StoredRow, rules: &Rulebook) -> bool {
    let StoredRow { scope, row, .. } = stored;
    let is_agent = matches!(scope, Scope::Agent { .. });
    let of_agents = |(selector, _): &(Selector, _)| matches!(selector, Selector::Every(ScopeKind::Agent));
    !is_agent
        || rules.free_phase_ends
        || !row.pauses.causes.is_empty()
        || row.unnamed.is_some()
        || !row.limits.is_empty()
        || rules.every.iter().any(of_agents)
}
