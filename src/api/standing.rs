//! One scope as it stands: its row and those around it, and what it counted in windows that its row no longer keeps.

use super::{
    Api,
    figures::{self, Chain},
    problem::Problem,
    shapes::{EstimateShown, PoolShown},
    snapshot::no_organization,
};
use crate::{
    domain::{
        account::row::{PeriodDetail, ScopeRow},
        meter::Counters,
        scope::Scope,
        time::Timestamp,
        window::{Window, WindowKind},
    },
    forecast::DAYS_MAX,
    ledger::redis::reader::Base,
    outlook::estimate::{DayUse, Days, Estimate},
};

/// A scope as it stands: what holds for its organization, its own row, and its workspace's.
pub(super) struct Standing {
    /// What holds for its organization.
    pub base: Base,
    /// Which scope.
    pub scope: Scope,
    /// Its row.
    pub row: ScopeRow,
    /// The workspace's row, for an agent.
    workspace: Option<(Scope, ScopeRow)>,
}

impl Standing {
    /// The scope, and those that it lies in: what stops one of them stops it.
    pub fn chain(&self) -> Chain<'_> {
        let organization =
            (self.scope != Scope::Organization).then_some((&Scope::Organization, &self.base.organization));
        let workspace = self.workspace.as_ref().map(|(scope, row)| (scope, row));
        [Some((&self.scope, &self.row)), workspace, organization].into_iter().flatten().collect()
    }

    /// The pool that paid for the scope in a period: the nearest of those that were there.
    pub fn pool(&self, period: Window, now: Timestamp) -> Option<PoolShown> {
        let pools = self.chain().into_iter().filter_map(|(scope, row)| Some((scope, row.pool.as_deref()?)));
        pools.filter_map(|(scope, pool)| figures::pool(&scope.to_string(), pool, period, now)).next()
    }
}

impl Api {
    /// Reads a scope.
    ///
    /// # Errors
    /// [`Problem::not_found`] if nothing is known of it; [`Problem::unavailable`] if it cannot be read.
    pub(super) async fn standing(&self, organization_id: &str, scope: Scope) -> Result<Standing, Problem> {
        let workspace = match &scope {
            Scope::Agent { workspace, .. } if !workspace.is_empty() => Some(Scope::Workspace(workspace.clone())),
            _ => None,
        };
        let wanted: Vec<Scope> = std::iter::once(scope.clone()).chain(workspace.clone()).collect();
        let read = self.reader.scopes(organization_id, &wanted).await?;
        let (base, mut rows) = read.ok_or_else(|| no_organization(organization_id))?;
        let workspace = workspace.and_then(|scope| Some((scope, rows.pop()??)));
        let own = if scope == Scope::Organization { Some(base.organization.clone()) } else { rows.swap_remove(0) };
        let row =
            own.ok_or_else(|| Problem::not_found(format!("{scope} has used nothing, and nothing was said of it")))?;
        Ok(Standing { base, scope, row, workspace })
    }

    /// What a scope counted in windows, wherever that is kept.
    ///
    /// # Errors
    /// [`Problem::unavailable`] if it cannot be read.
    pub(super) async fn counted(
        &self,
        organization_id: &str,
        standing: &Standing,
        kind: WindowKind,
        starts: &[Timestamp],
    ) -> Result<Vec<Counters>, Problem> {
        let here = starts.iter().map(|start| standing.row.windows.counters_of(kind, *start)).collect::<Vec<_>>();
        let missing = starts.iter().zip(&here).filter(|(_, here)| here.is_none()).map(|(start, _)| (kind, *start));
        let missing: Vec<(WindowKind, Timestamp)> = missing.collect();
        let mut older = self.reader.older(organization_id, &standing.scope, &missing).await?.into_iter();
        let mut next = || older.next().map_or(Counters::ZERO, |older| older.counters);
        Ok(here.into_iter().map(|here| here.unwrap_or_else(&mut next)).collect())
    }

    /// What is broken down by billing period, wherever it is kept.
    ///
    /// # Errors
    /// [`Problem::unavailable`] if it cannot be read.
    pub(super) async fn detail_of(
        &self,
        organization_id: &str,
        standing: &Standing,
        start: Timestamp,
    ) -> Result<PeriodDetail, Problem> {
        let Standing { scope, row, .. } = standing;
        let older = match row.windows.counters_of(WindowKind::Period, start) {
            Some(_) => None,
            None => self.reader.older(organization_id, scope, &[(WindowKind::Period, start)]).await?.pop(),
        };
        let mut detail = older.and_then(|older| older.detail).map(|detail| *detail).unwrap_or_default();
        detail.parts.extend(row.parts.iter().filter(|part| part.start == start));
        detail.models.extend(row.models.iter().filter(|part| part.start == start));
        Ok(detail)
    }

    /// Where the running period leads.
    ///
    /// # Errors
    /// [`Problem::unavailable`] if the days before cannot be read.
    pub(super) async fn estimate(&self, organization_id: &str, standing: &Standing) -> Result<EstimateShown, Problem> {
        let (base, now) = (&standing.base, self.clock.now());
        let today = base.window(WindowKind::Day, now);
        let days = base.windows_back(WindowKind::Day, now).take(DAYS_MAX + 1);
        let mut starts: Vec<Timestamp> = days.map(|day| day.start).collect();
        starts.reverse();
        let counted = self.counted(organization_id, standing, WindowKind::Day, &starts).await?;
        let mut over: Vec<DayUse> = counted.iter().map(DayUse::of).collect();
        let so_far = over.pop().unwrap_or_default();
        let made = Estimate::of(base, &standing.scope, &standing.row, &Days { over, so_far, today }, now);
        let of_pool = made.of_pool.as_ref();
        Ok(EstimateShown {
            at_end_micro: made.expected.sum,
            low_micro: made.expected.low,
            high_micro: made.expected.high,
            drawn_at_end_micro: of_pool.map(|of_pool| of_pool.expected.sum),
            exhausted_at: of_pool.and_then(|of_pool| of_pool.exhausted_at).map(|at| at.to_string()),
            method: made.method.to_owned(),
        })
    }
}
