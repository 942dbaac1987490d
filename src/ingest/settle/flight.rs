//! Commits on their way: while the ledger writes some, the next ones are decided.

use std::sync::Arc;

use tokio::task::JoinSet;
use tracing::info;

use super::{Group, Settled, Settler};
use crate::{
    domain::account::changes::Changes,
    faults::{Defence, Step, holds, reach},
    ingest::{Fatal, Interrupt, patience::Patience, source::Source},
    ledger::{Committed, LedgerError},
};

/// What a group has decided and not yet committed.
pub(super) struct Decided {
    pub(super) group: usize,
    pub(super) upto: usize,
    pub(super) tally: Settled,
}

/// Commits that travel together, and what they are of.
#[derive(Default)]
pub(super) struct Flight {
    pub(super) decided: Vec<Decided>,
    pub(super) commits: Vec<(Box<str>, Changes)>,
}

/// One round: commits being gathered, commits on their way, and what came of the batch so far.
pub(super) struct Round {
    pub(super) flight: Flight,
    pub(super) flights: JoinSet<(Vec<Decided>, Result<Vec<Committed>, LedgerError>)>,
    pub(super) total: Settled,
}

impl Round {
    /// A round, after what came of those before it.
    pub(super) fn after(total: Settled) -> Self {
        Self { flight: Flight::default(), flights: JoinSet::new(), total }
    }
}

impl Settler {
    /// Sends the commits that were gathered on their way; the next ones are decided meanwhile.
    pub(super) fn take_off(&self, round: &mut Round) {
        let Flight { decided, commits } = std::mem::take(&mut round.flight);
        if commits.is_empty() {
            return;
        }
        let (ledger, seconds) = (Arc::clone(&self.ledger), self.metrics.commit_seconds.clone());
        round.flights.spawn(async move {
            let timer = seconds.start_timer();
            let results = ledger.commit(&commits).await;
            timer.observe_duration();
            reach(Step::FlightWritten);
            (decided, results)
        });
    }

    /// Waits for all commits of a round.
    pub(super) async fn land_all(
        &mut self,
        groups: &mut [Group],
        round: Round,
        source: &dyn Source,
        patience: &Patience,
    ) -> Result<Settled, Interrupt> {
        let Round { mut flights, mut total, .. } = round;
        let mut away = None;
        while let Some(landed) = flights.join_next().await {
            let (flight, results) = landed.map_err(|error| Fatal::Ledger(format!("a commit panicked: {error}")))?;
            match results {
                Ok(results) => self.land(groups, flight, &results, &mut total),
                Err(LedgerError::Unavailable(why)) => {
                    // Not known whether anything was written: the ids will tell.
                    for decided in flight {
                        groups[decided.group].forget_account();
                    }
                    away = Some(why);
                }
                Err(LedgerError::Misconfigured(why)) => return Err(Fatal::Ledger(why).into()),
            }
        }
        if let Some(why) = away {
            patience.lose_redis(source, &why).await?;
        }
        Ok(total)
    }

    fn land(&mut self, groups: &mut [Group], flight: Vec<Decided>, results: &[Committed], total: &mut Settled) {
        for (decided, result) in flight.into_iter().zip(results) {
            let group = &mut groups[decided.group];
            match result {
                Committed::Written | Committed::Contested(_) => {
                    if let Committed::Contested(held_for) = result {
                        self.turns.leave(&group.organization_id, *held_for);
                    }
                    self.metrics.commits.inc();
                    group.settle(decided.upto);
                    total.add(decided.tally);
                }
                Committed::Refused => {
                    self.metrics.refused_commits.inc();
                    info!(organization = &*group.organization_id, "commit refused; the account is read anew");
                    if holds(Defence::DropRefused) {
                        group.forget_account();
                    } else {
                        group.forget_rows();
                    }
                    group.refusals += 1;
                }
            }
        }
    }
}
