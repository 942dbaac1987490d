//! Accounts that panic when they are decided: their records are parked, and everybody else goes on.
//!
//! An account is a matter of its own: nothing of it is shared, and what it decided before it panicked is dropped with its
//! view. It is tried again after a while, and at once by another process. What was parked comes again with
//! `bursar release`.

use std::{
    any::Any,
    collections::HashMap,
    panic::{AssertUnwindSafe, catch_unwind},
    time::Duration,
};

use tokio::time::Instant;
use tracing::error;

use super::{Group, Settler};
use crate::{
    domain::account::changes::Needs,
    faults::{Defence, holds},
    ingest::{Interrupt, patience::Patience, source::Source},
};

/// How long an account that panicked is not tried again.
const REST: Duration = Duration::from_secs(60);

/// Accounts that are not decided for now, with what they panicked with.
#[derive(Default)]
pub(super) struct Quarantine {
    until: HashMap<Box<str>, (Instant, String)>,
}

impl Quarantine {
    /// Whether an account is not to be decided, and why.
    pub fn holds(&mut self, organization_id: &str) -> Option<String> {
        let (until, why) = self.until.get(organization_id)?;
        if *until > Instant::now() {
            return Some(why.clone());
        }
        self.until.remove(organization_id);
        None
    }

    /// Decides something; a panic puts the account into quarantine.
    pub fn guard<T>(&mut self, group: &mut Group, decide: impl FnOnce(&mut Group) -> T) -> Result<T, String> {
        if !holds(Defence::Quarantine) {
            return Ok(decide(group));
        }
        catch_unwind(AssertUnwindSafe(|| decide(group))).map_err(|panic| {
            let (organization, why) = (&group.organization_id, said(&*panic));
            error!(%organization, why, "the account cannot be decided: its records go to the parking topic");
            self.until.insert(organization.clone(), (Instant::now() + REST, why.clone()));
            group.leaves_signals = true;
            why
        })
    }
}

impl Settler {
    /// Loads the signals that parked accounts have committed and not yet published: nobody else would, as long as they
    /// cannot be decided.
    pub(super) async fn load_what_parked_ones_left(
        &mut self,
        groups: &mut [Group],
        source: &dyn Source,
        patience: &Patience,
    ) -> Result<(), Interrupt> {
        let mut asking = Vec::new();
        for (number, group) in groups.iter_mut().enumerate().filter(|(_, group)| group.leaves_signals) {
            group.leaves_signals = false;
            asking.push((number, Needs { base: true, ..Needs::default() }));
        }
        self.load(groups, &asking, source, patience).await.map(drop)
    }
}

fn said(panic: &(dyn Any + Send)) -> String {
    let text = panic.downcast_ref::<&str>().map(ToString::to_string);
    text.or_else(|| panic.downcast_ref::<String>().cloned()).unwrap_or_else(|| "a panic without words".to_owned())
}
