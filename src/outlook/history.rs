//! What scopes used in the days before. A day that is over hardly moves any more, so it is read once.

use std::{
    collections::HashMap,
    time::{Duration, Instant},
};

use crate::{
    domain::{account::row::ScopeRow, scope::Scope, time::Timestamp, window::WindowKind},
    forecast::DAYS_MAX,
    ledger::redis::reader::{Base, ReadError, Reader},
    outlook::estimate::{DayUse, Days},
};

/// Days that are over are read again after this: what was late, or is still being worked off, has come by then.
const READ_AGAIN: Duration = Duration::from_secs(900);

/// Scopes whose days are kept; those of an organization that has more are read again.
const SCOPES_MAX: usize = 200_000;

/// By organization and scope: the last day that is over, what was used on it and on those before, and when that was read.
#[derive(Default)]
pub struct History {
    known: HashMap<(String, Scope), (Timestamp, Vec<DayUse>, Instant)>,
}

impl History {
    /// Forgets organizations that are not kept.
    pub fn retain(&mut self, kept: impl Fn(&str) -> bool) {
        self.known.retain(|(organization_id, _), _| kept(organization_id));
    }

    /// The days of a scope.
    ///
    /// # Errors
    /// [`ReadError`].
    pub async fn days(
        &mut self,
        reader: &Reader,
        organization_id: &str,
        scope: &Scope,
        row: &ScopeRow,
        base: &Base,
        now: Timestamp,
    ) -> Result<Days, ReadError> {
        let today = base.window(WindowKind::Day, now);
        let before_today = today.start.plus_ms(-1);
        let used = |start| row.windows.counters_of(WindowKind::Day, start).as_ref().map(DayUse::of);
        let so_far = used(today.start).unwrap_or_default();
        let yesterday = base.window(WindowKind::Day, before_today).start;
        let key = (organization_id.to_owned(), scope.clone());
        if let Some((last, over, read)) = self.known.get_mut(&key)
            && *last == yesterday
            && read.elapsed() < READ_AGAIN
        {
            // Late events land in it for a while.
            if let (Some(moved), Some(known)) = (used(yesterday), over.last_mut()) {
                *known = moved;
            }
            return Ok(Days { over: over.clone(), so_far, today });
        }
        let mut starts: Vec<Timestamp> =
            base.windows_back(WindowKind::Day, before_today).take(DAYS_MAX).map(|day| day.start).collect();
        starts.reverse();
        let missing = starts.iter().filter(|start| used(**start).is_none());
        let missing: Vec<_> = missing.map(|start| (WindowKind::Day, *start)).collect();
        let mut older = reader.older(organization_id, scope, &missing).await?.into_iter();
        let mut of_older = || older.next().map_or_else(DayUse::default, |older| DayUse::of(&older.counters));
        let over: Vec<DayUse> = starts.iter().map(|start| used(*start).unwrap_or_else(&mut of_older)).collect();
        if self.known.len() < SCOPES_MAX || self.known.contains_key(&key) {
            self.known.insert(key, (yesterday, over.clone(), Instant::now()));
        }
        Ok(Days { over, so_far, today })
    }
}
