//! A record on its way through many scopes: page by page, a commit each, so that no step touches the whole account.

use super::{
    Account,
    changes::{self, EndingPage, Needs, WalkPage, Walked},
    layout::{LayoutError, unpack},
    row::ScopeRow,
    scopes::ScopeIndex,
};
use crate::domain::{
    scope::{Name, Scope},
    time::Timestamp,
    window::Window,
};

/// Scopes that one commit looks at; a record that concerns more goes on in the next.
pub(super) const PAGE: usize = 500;

/// Whether a record is through.
pub(super) enum Progress {
    /// It is, and this is what there is to say of it.
    Done(String),
    /// Commit, and come again.
    More,
}

/// A record on its way through many scopes, a page at a time.
#[derive(Debug)]
pub struct Sweep {
    pub(super) stage: Stage,
    pub(super) found: Option<Found>,
    /// What there is to say when it is through.
    pub(super) answer: String,
}

/// Which scopes a record goes through, and up to where it has come.
#[derive(Debug)]
pub(super) enum Stage {
    /// Scopes to be looked at: by now, or all.
    Looking(EndingPage),
    /// All rows, to close a period.
    Closing(Window, WalkPage),
    /// All rows, to pause agents of the free phase.
    FreePhase(WalkPage),
}

/// What was loaded of a page.
#[derive(Debug)]
pub(super) enum Found {
    /// Scopes with the time at which they were to be looked at, and the first time after the page.
    Scopes(Vec<(ScopeIndex, Timestamp)>, Option<Timestamp>),
    /// Rows as stored, and what comes after them.
    Rows(Vec<StoredRow>, Option<changes::WalkCursor>),
    /// Agents of the free phase, and what comes after them.
    Agents(Vec<ScopeIndex>, Option<changes::WalkCursor>),
}

/// A row as it is stored, with its scope.
#[derive(Debug)]
pub(super) struct StoredRow {
    pub(super) field: Box<str>,
    pub(super) scope: Scope,
    pub(super) row: ScopeRow,
}

impl Sweep {
    pub(super) fn new(stage: Stage) -> Self {
        Self { stage, found: None, answer: String::new() }
    }

    /// Through every scope that follows rules.
    pub(super) fn through_all() -> Self {
        Self::new(Stage::Looking(EndingPage { until: Timestamp::MAX, offset: 0, limit: PAGE }))
    }
}

impl Account {
    /// Asks for the page that a sweep is at, and then for what the page needs.
    pub(super) fn needs_for_sweep(&mut self, needs: &mut Needs) {
        let Some(sweep) = self.sweep.take() else { return };
        match (&sweep.found, &sweep.stage) {
            (None, Stage::Looking(page)) => needs.ending = Some(*page),
            (None, Stage::Closing(_, page) | Stage::FreePhase(page)) => needs.walk = Some(page.clone()),
            (Some(Found::Scopes(scopes, _)), _) => {
                scopes.iter().for_each(|(index, _)| self.need_row_and_workspace(*index, needs));
            }
            (Some(Found::Agents(agents, _)), _) => {
                agents.iter().for_each(|index| self.need_row_and_workspace(*index, needs));
            }
            (Some(Found::Rows(rows, _)), Stage::Closing(period, _)) => self.need_closed(rows, *period, needs),
            (Some(Found::Rows(..)), _) => {}
        }
        self.sweep = Some(sweep);
    }

    /// Asks for a scope, and for the workspace whose means it has to be held to.
    pub(super) fn need_row_and_workspace(&mut self, index: ScopeIndex, needs: &mut Needs) {
        self.need_row(index, needs);
        if let Some(workspace) = self.workspace_named_by(index) {
            let workspace = self.scopes.index(&Scope::Workspace(workspace));
            self.need_row(workspace, needs);
        }
    }

    /// The workspace of an agent, or the one in which a user wanted for money.
    pub(super) fn workspace_named_by(&self, index: ScopeIndex) -> Option<Name> {
        let name = match &self.scopes.slot(index).scope {
            Scope::Agent { workspace, .. } => Some(workspace.clone()),
            Scope::User(_) if self.scopes.is_loaded(index) => {
                self.scopes.row(index).member.as_ref().and_then(|member| member.wanting_in.as_deref().map(Name::from))
            }
            _ => None,
        };
        name.filter(|name| !name.is_empty())
    }

    /// Takes in what was loaded for the page that a sweep is at.
    pub(super) fn fill_sweep(
        &mut self,
        ending: Option<changes::EndingFound>,
        walk: Option<Walked>,
    ) -> Result<(), LayoutError> {
        let Some(mut sweep) = self.sweep.take() else { return Ok(()) };
        if let Some((fields, next)) = ending {
            let scopes = fields.iter().map(|(field, at)| Ok((self.scopes.index(&changes::parse_scope(field)?), *at)));
            sweep.found = Some(Found::Scopes(scopes.collect::<Result<_, LayoutError>>()?, next));
        }
        if let Some(Walked { rows, next }) = walk {
            let mut stored = Vec::with_capacity(rows.len());
            for (field, packed) in rows.into_iter().filter(|(field, _)| &**field == "org" || field.contains(':')) {
                let (scope, row) = (changes::parse_scope(&field)?, unpack("scope row", &packed)?);
                stored.push(StoredRow { field, scope, row });
            }
            sweep.found = Some(match sweep.stage {
                Stage::FreePhase(_) => Found::Agents(self.free_phase_agents(&stored), next),
                _ => Found::Rows(stored, next),
            });
        }
        self.sweep = Some(sweep);
        Ok(())
    }

    fn free_phase_agents(&mut self, stored: &[StoredRow]) -> Vec<ScopeIndex> {
        let until = self.settings.free_until.unwrap_or(Timestamp::MIN);
        let of_free_phase = |stored: &&StoredRow| {
            matches!(stored.scope, Scope::Agent { .. })
                && stored.row.registered.as_ref().is_some_and(|registered| registered.created_at < until)
        };
        stored.iter().filter(of_free_phase).map(|stored| self.scopes.index(&stored.scope)).collect()
    }
}
