//! Limits by how far they are used.

use std::cmp::Reverse;

use super::{page::joined, snapshot::Snapshot};
use crate::domain::{
    account::row::ScopeRow,
    limit::{Limit, Selector},
    scope::Scope,
    window::WindowKind,
};

/// A limit in the present window of one scope.
pub struct LimitInUse {
    /// How far it is used; nothing where it has no cap, or one of nothing.
    pub used_permille: Option<i64>,
    /// The count.
    pub used: i64,
    /// The place of the scope in [`Snapshot::all`].
    scope: u32,
    /// The place of the limit: among those of the scope, or behind them among the rules for many.
    limit: u32,
}

/// A limit, and what it stands for.
pub struct Shown<'a> {
    /// The scope that is bounded.
    pub scope: &'a Scope,
    /// Which scopes the limit is set on; nothing for one that is set on this very scope.
    pub set_on: Option<&'a Selector>,
    /// The limit.
    pub limit: &'a Limit,
}

impl Shown<'_> {
    /// What limits that are used alike are sorted by.
    pub fn sort_key(&self) -> String {
        let scope = self.scope.to_string();
        let set_on = self.set_on.map_or_else(|| scope.clone(), Selector::describe);
        joined(&[&scope, &self.limit.id, &set_on])
    }
}

impl LimitInUse {
    /// All limits of an organization, those that are used most first.
    pub(super) fn all_of(snapshot: &Snapshot) -> Vec<Self> {
        let mut all = Vec::new();
        for (place, (scope, row)) in snapshot.all().enumerate() {
            let own = row.limits.iter().enumerate();
            let rules = snapshot.base.settings.every.iter().enumerate();
            let rules = rules.filter(|(_, (selector, limit))| {
                selector.applies(scope.kind(), row.seat_type()) && !limit.yields_to(&row.limits)
            });
            let rules = rules.map(|(nth, (_, limit))| (row.limits.len() + nth, limit));
            all.extend(own.chain(rules).map(|(nth, limit)| {
                let used = used(snapshot, row, limit);
                let of_limit =
                    Self { used_permille: used_permille(limit, used), used, scope: place as u32, limit: nth as u32 };
                (of_limit.shown(snapshot).sort_key(), of_limit)
            }));
        }
        all.sort_unstable_by(|(a_key, a), (b_key, b)| {
            (Reverse(a.used_permille), a_key).cmp(&(Reverse(b.used_permille), b_key))
        });
        all.into_iter().map(|(_, limit)| limit).collect()
    }

    /// Which limit of which scope this is.
    pub fn shown<'a>(&self, snapshot: &'a Snapshot) -> Shown<'a> {
        let (scope, row) = match (self.scope as usize).checked_sub(1) {
            None => (&Scope::Organization, &snapshot.base.organization),
            Some(place) => (&snapshot.rows[place].0, &snapshot.rows[place].1),
        };
        let nth = self.limit as usize;
        match row.limits.get(nth) {
            Some(limit) => Shown { scope, set_on: None, limit },
            None => {
                let (selector, limit) = &snapshot.base.settings.every[nth - row.limits.len()];
                Shown { scope, set_on: Some(selector), limit }
            }
        }
    }
}

fn used(snapshot: &Snapshot, row: &ScopeRow, limit: &Limit) -> i64 {
    let window = match limit.window {
        WindowKind::Session => row.windows.session(snapshot.now).window,
        kind => snapshot.base.window(kind, snapshot.now),
    };
    row.windows.count_of(limit.window, window.start, limit.meter).unwrap_or(0)
}

fn used_permille(limit: &Limit, used: i64) -> Option<i64> {
    let permille = (i128::from(used) * 1_000).checked_div(i128::from(limit.cap?))?;
    Some(i64::try_from(permille).unwrap_or(i64::MAX))
}
