//! What goes out of a batch: signals and dead letters, acknowledged before progress is written.

use super::{Surroundings, Worker};
use crate::{
    domain::{account::Account, signal::Signal},
    faults::{Step, once, reach},
    ingest::{Interrupt, settle::Groups},
    notify::encode::DeadLetter,
    observe::{metrics::Metrics, share::Share},
};

impl Worker {
    /// Publishes the outboxes of the touched accounts and the dead letters, and waits for every acknowledgement.
    pub(super) async fn publish(&mut self, groups: &mut Groups, dead: &[DeadLetter]) -> Result<(), Interrupt> {
        let Surroundings { publisher, patience, metrics, .. } = &self.around;
        let touched: Vec<&mut Account> = groups.accounts_mut().collect();
        let signals: Vec<(&str, &Signal)> = touched
            .iter()
            .flat_map(|account| account.outbox().iter().map(|(_, signal)| (account.organization_id(), signal)))
            .collect();
        if !signals.is_empty() {
            let waiting = Share::of(&metrics.outbox_depth).with(signals.len());
            patience.publish(&*self.source, || publisher.signals(&signals)).await?;
            drop(waiting);
            reach(Step::SignalsSent);
            for (_, signal) in &signals {
                count_signal(metrics, signal);
            }
        }
        if !dead.is_empty() {
            patience.publish(&*self.source, || publisher.dead_letters(dead)).await?;
            reach(Step::DeadLettersSent);
        }
        for account in touched {
            let published = account.outbox().len();
            if published > 0 {
                account.acknowledge(published);
            }
            if published > 0 && once() {
                self.to_forget.insert(account.organization_id().into());
            }
        }
        Ok(())
    }
}

fn count_signal(metrics: &Metrics, signal: &Signal) {
    match signal {
        Signal::Threshold(crossed) => {
            let percent = if crossed.threshold_percent >= 100 { "100" } else { "below_100" };
            metrics.crossings.with_label_values(&[crossed.ceiling.name(), percent]).inc();
        }
        Signal::Pause(changed) => {
            let state = if changed.causes.is_empty() { "running" } else { "paused" };
            metrics.pauses.with_label_values(&[state]).inc();
        }
        Signal::Request(request) => metrics.requests.with_label_values(&[request.kind.name()]).inc(),
        Signal::Statement(line) => {
            let class = if line.correction.is_some() { "correction" } else { "closing" };
            metrics.statements.with_label_values(&[class]).inc();
        }
        Signal::Refusal(_) | Signal::Journal(_) => {}
    }
}
