//! Redis as the workers see it: calls are slow, lost, done late, or done and not answered.

use std::time::Duration;

use bursar::{
    domain::{
        account::changes::{Changes, Loaded, Needs},
        time::Timestamp,
    },
    ledger::{AtTag, Committed, Fence, InputPartition, Ledger, LedgerError, Progress},
};
use futures::future::{BoxFuture, FutureExt};
use rand::Rng;

use crate::{
    primaries::TAGS,
    world::{Fate, Shared, World},
};

impl Shared {
    /// Calls Redis: `apply` is done at one moment, or never, or once it is too late.
    async fn call<T: Send + 'static>(
        &self,
        apply: impl FnOnce(&mut World) -> Result<T, LedgerError> + Send + 'static,
    ) -> Result<T, LedgerError> {
        let (fate, [before, after]) = self.lock().fate();
        let away = || LedgerError::Unavailable("the simulation says so".to_owned());
        if fate == Fate::Late {
            let world = self.clone();
            tokio::spawn(async move {
                tokio::time::sleep(before).await;
                let _ = apply(&mut world.lock());
            });
            tokio::time::sleep(after).await;
            return Err(away());
        }
        tokio::time::sleep(before).await;
        if fate == Fate::LostBefore {
            return Err(away());
        }
        let answer = apply(&mut self.lock());
        tokio::time::sleep(after).await;
        if fate == Fate::LostAfter { Err(away()) } else { answer }
    }
}

impl Ledger for Shared {
    fn load<'a>(&'a self, requests: &'a [(Box<str>, Needs)]) -> BoxFuture<'a, Result<Vec<Loaded>, LedgerError>> {
        let requests = requests.to_vec();
        self.call(move |world| {
            requests.iter().map(|request| Ok(world.primaries.of(&request.0)?.load(request))).collect()
        })
        .boxed()
    }

    fn commit<'a>(&'a self, commits: &'a [(Box<str>, Changes)]) -> BoxFuture<'a, Result<Vec<Committed>, LedgerError>> {
        let mut commits = commits.to_vec();
        async move {
            // What travels together is no unit: each account is on its own.
            let mut results = Vec::with_capacity(commits.len());
            for commit in commits.drain(..) {
                let one = self.call(move |world| {
                    let committed = world.primaries.of(&commit.0)?.commit(&commit.0, &commit.1);
                    world.note(if committed == Committed::Refused { "refused" } else { "commit" }, &commit.1.head);
                    Ok(committed)
                });
                results.push(one.await?);
            }
            Ok(results)
        }
        .boxed()
    }

    fn at_tags<'a>(&'a self, partitions: &'a [InputPartition]) -> BoxFuture<'a, Result<Vec<AtTag>, LedgerError>> {
        async move {
            let mut tags = Vec::with_capacity(TAGS);
            for tag in 0..TAGS {
                let partitions = partitions.to_vec();
                let one = self.call(move |world| {
                    let token = world.random.random();
                    Ok(world.primaries.at_tag(tag, &partitions, token))
                });
                tags.push(one.await?);
            }
            Ok(tags)
        }
        .boxed()
    }

    fn advance<'a>(
        &'a self,
        fence: &'a Fence,
        progress: &'a [(InputPartition, Progress)],
        kept_from: Timestamp,
    ) -> BoxFuture<'a, Result<bool, LedgerError>> {
        async move {
            let mut all_written = true;
            for (tag, fence) in fence.0.iter().cloned().enumerate() {
                let progress = progress.to_vec();
                let one = self.call(move |world| {
                    let written = world.primaries.advance(tag, &fence, &progress, kept_from);
                    world.note(if written { "progress" } else { "fence moved" }, &[]);
                    Ok(written)
                });
                all_written &= one.await?;
            }
            Ok(all_written)
        }
        .boxed()
    }

    fn progress_of_all(&self) -> BoxFuture<'_, Result<Vec<(InputPartition, Progress)>, LedgerError>> {
        self.call(|world| Ok(world.primaries.progress())).boxed()
    }

    fn due(&self, until: Timestamp) -> BoxFuture<'_, Result<Vec<(Box<str>, Timestamp)>, LedgerError>> {
        self.call(move |world| {
            let mut due = Vec::new();
            for primary in world.primaries.all() {
                due.extend(primary.ledger().due(until).now_or_never().expect("at once")?);
            }
            Ok(due)
        })
        .boxed()
    }

    fn lease<'a>(
        &'a self,
        organizations: &'a [Box<str>],
        holder: u128,
    ) -> BoxFuture<'a, Result<Vec<Duration>, LedgerError>> {
        let organizations = organizations.to_vec();
        self.call(move |world| {
            let mut all = Vec::new();
            for one in organizations.chunks(1) {
                let ledger = world.primaries.of(&one[0])?.ledger();
                all.extend(ledger.lease(one, holder).now_or_never().expect("memory answers at once")?);
            }
            world.note("lease", &[]);
            Ok(all)
        })
        .boxed()
    }

    fn forget_due<'a>(&'a self, served: &'a [(Box<str>, Timestamp)]) -> BoxFuture<'a, Result<(), LedgerError>> {
        let served = served.to_vec();
        self.call(move |world| {
            for (organization_id, at) in &served {
                world.primaries.of(organization_id)?.forget_due(organization_id, *at);
            }
            Ok(())
        })
        .boxed()
    }
}
