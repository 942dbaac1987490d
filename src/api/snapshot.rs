//! Organizations as they stand, for lists over all of their scopes. Read whole, at most once a second, and shared by all
//! who ask meanwhile.

use std::{sync::Arc, time::Duration};

use moka::future::Cache;

use super::problem::Problem;
use crate::{
    domain::{
        account::row::ScopeRow,
        meter::Counters,
        scope::Scope,
        time::Timestamp,
        window::{Window, WindowKind},
    },
    ledger::redis::reader::{Base, ReadError, Reader},
};

/// How old a list may be.
const FRESH_FOR: Duration = Duration::from_secs(1);

/// Rows held by all snapshots together; some 700 bytes each.
const ROWS_MAX: u64 = 1_000_000;

/// An organization with all of its scopes.
pub struct Snapshot {
    /// What holds for all of it.
    pub base: Base,
    /// Every scope but the organization itself, in their order.
    pub rows: Vec<(Scope, ScopeRow)>,
}

/// Who asks while an organization is being read waits for that.
pub struct Snapshots {
    reader: Reader,
    held: Cache<String, Option<Arc<Snapshot>>>,
    past: Cache<(String, Timestamp), Arc<Vec<(Scope, Counters)>>>,
}

impl Snapshots {
    /// Reads by `reader`.
    pub fn new(reader: Reader) -> Self {
        let rows =
            |snapshot: &Option<Arc<Snapshot>>| snapshot.as_ref().map_or(1, |snapshot| snapshot.rows.len() as u32 + 1);
        let held = Cache::builder().weigher(move |_, snapshot| rows(snapshot)).max_capacity(ROWS_MAX);
        let past = Cache::builder().weigher(|_, all: &Arc<Vec<_>>| all.len() as u32 + 1).max_capacity(ROWS_MAX);
        Self { reader, held: held.time_to_live(FRESH_FOR).build(), past: past.time_to_live(FRESH_FOR).build() }
    }

    /// An organization as it stood at most a second ago.
    ///
    /// # Errors
    /// [`Problem::not_found`] if there is none; [`Problem::unavailable`] if it cannot be read.
    pub async fn of(&self, organization_id: &str) -> Result<Arc<Snapshot>, Problem> {
        let read = async {
            let Some(base) = self.reader.base(organization_id).await? else { return Ok(None) };
            let rows = self.reader.all_rows(organization_id).await?;
            Ok::<_, ReadError>(Some(Arc::new(Snapshot { base, rows })))
        };
        let held = self.held.try_get_with(organization_id.to_owned(), read).await;
        let held = held.map_err(|error| {
            tracing::warn!(%error, organization_id, "an organization cannot be read for the API");
            Problem::unavailable("the accounts cannot be read now; /readyz tells what is missing")
        })?;
        held.ok_or_else(|| no_organization(organization_id))
    }

    /// What every scope counted in a billing period, wherever that is kept.
    ///
    /// # Errors
    /// As [`Snapshots::of`].
    pub async fn counted_in(
        &self,
        organization_id: &str,
        period: Window,
    ) -> Result<(Arc<Snapshot>, Vec<(Scope, Counters)>), Problem> {
        let snapshot = self.of(organization_id).await?;
        let start = period.start;
        let read = async { self.reader.older_of_all(organization_id, WindowKind::Period, start).await.map(Arc::new) };
        let older = self.past.try_get_with((organization_id.to_owned(), start), read).await;
        let older = older.map_err(|error| {
            tracing::warn!(%error, organization_id, "a past period cannot be read for the API");
            Problem::unavailable("the accounts cannot be read now; /readyz tells what is missing")
        })?;
        let own = (&Scope::Organization, &snapshot.base.organization);
        let rows = std::iter::once(own).chain(snapshot.rows.iter().map(|(scope, row)| (scope, row)));
        let kept =
            rows.filter_map(|(scope, row)| Some((scope.clone(), row.windows.counters_of(WindowKind::Period, start)?)));
        let mut all: Vec<(Scope, Counters)> = kept.collect();
        // What a row keeps is newer than what lies beside it.
        all.sort_by(|(a, _), (b, _)| a.cmp(b));
        let left = older.iter().filter(|(scope, _)| all.binary_search_by(|(known, _)| known.cmp(scope)).is_err());
        let left: Vec<(Scope, Counters)> = left.cloned().collect();
        all.extend(left);
        Ok((snapshot, all))
    }
}

/// There is no such account.
pub fn no_organization(organization_id: &str) -> Problem {
    Problem::not_found(format!("{organization_id:?} has no account: nothing was used or said yet"))
}
