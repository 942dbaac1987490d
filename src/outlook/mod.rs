//! What Prometheus is told of usage, and what `usage.forecasts` of where it leads.
//!
//! Each process shows the organizations whose control partition it has, so that none is shown twice however many there are.
//! Now and then it looks which of their accounts have moved, reads those, and renders all series anew: what is gone is gone
//! with the next page. A scrape gets the page that is there.
//!
//! - [`history`] knows what each scope used in the days before; [`estimate`] where that leads.
//! - [`figures`] are one organization's series; [`page`] renders those of all. [`limits`] finds the limits that are shown.

pub mod estimate;
pub mod figures;
pub mod history;
pub mod limits;
pub mod page;

use std::{
    collections::HashMap,
    sync::Arc,
    time::{Duration, Instant},
};

use tracing::{debug, warn};

use self::{figures::Figures, history::History};
use crate::{
    clock::Clock,
    domain::{outlook::Outlook, time::Timestamp},
    ingest::{holdings::Holdings, patience::Patience},
    ledger::redis::reader::{ReadError, Reader},
    notify::{
        encode::{self, Format},
        publisher::{Publisher, partition_of},
    },
    observe::page::Page,
};

/// It is looked for organizations that are new after so many times as long as that takes, and at least after this: it walks
/// through all keys.
const LIST_SHARE: u32 = 50;
const LIST_EVERY: Duration = Duration::from_secs(5);

/// Forecasts are made anew this often, also where nothing moves.
const FORECAST_EVERY: Duration = Duration::from_secs(240);

/// How long Kafka may take for the forecasts of one organization; then the others wait for the next look as well.
const TELL_WAIT: Duration = Duration::from_secs(5);

/// How often it is looked whether it is time.
const LOOK: Duration = Duration::from_millis(200);

/// What is shown, how, and where it is read.
pub struct Options {
    /// How often.
    pub every: Duration,
    /// Workspaces of an organization with series of their own.
    pub top_workspaces: usize,
    /// Agents of a workspace with series of their own.
    pub top_agents: usize,
    /// Organizations with series of their own.
    pub organizations_max: usize,
    /// How many partitions the control topic has.
    pub control_partitions: i32,
    /// How forecasts are sent.
    pub format: Format,
}

/// One organization, as last read.
struct Known {
    head: Vec<u8>,
    figures: Figures,
    /// As it was told last, of each pool and limit.
    told: Vec<Outlook>,
    at: Instant,
}

/// Shows usage until the process stops.
pub struct Watch {
    /// What is shown, and how.
    pub options: Options,
    /// Reads accounts.
    pub reader: Reader,
    /// Sends forecasts.
    pub publisher: Publisher,
    /// Which partitions this process has.
    pub holdings: Arc<Holdings>,
    /// The present.
    pub clock: Clock,
    /// Where series go.
    pub page: Page,
    /// When to stop.
    pub patience: Patience,
}

impl Watch {
    /// Reads and renders again and again.
    pub async fn run(self) {
        let (mut known, mut history) = (HashMap::<String, Known>::new(), History::default());
        let (mut organizations, mut list_at) = (Vec::new(), Instant::now());
        while !self.patience.is_stopped() {
            let began = Instant::now();
            if began >= list_at {
                match self.reader.organizations().await {
                    Ok(names) => organizations = names,
                    Err(error) => debug!(%error, "organizations cannot be listed for /metrics"),
                }
                list_at = Instant::now() + LIST_EVERY.max(began.elapsed() * LIST_SHARE);
            }
            let partitions = self.options.control_partitions;
            let is_ours = |name: &&String| self.holdings.holds(partition_of(name, partitions));
            let ours: Vec<String> = organizations.iter().filter(is_ours).cloned().collect();
            known.retain(|name, _| ours.binary_search(name).is_ok());
            history.retain(|name| ours.binary_search_by(|our| our.as_str().cmp(name)).is_ok());
            if let Err(error) = self.read(&ours, &mut known, &mut history).await {
                warn!(%error, "usage cannot be read for /metrics: it is shown as it was");
            }
            let all = known.iter().map(|(name, known)| (name.as_str(), &known.figures));
            self.page.put(page::render(all, self.options.organizations_max, began.elapsed()));
            self.tell_all(&mut known).await;
            while began.elapsed() < self.options.every && !self.patience.is_stopped() {
                tokio::time::sleep(LOOK).await;
            }
        }
    }

    /// Reads those accounts that have moved, or whose windows have turned. One that cannot be read does not hold the others up.
    async fn read(
        &self,
        ours: &[String],
        known: &mut HashMap<String, Known>,
        history: &mut History,
    ) -> Result<(), ReadError> {
        let now = self.clock.now();
        // The clock of the records stands at nothing until the first of them comes.
        if now <= Timestamp::from_ms(0) {
            return Ok(());
        }
        let heads = self.reader.heads(ours).await?;
        for (organization_id, head) in ours.iter().zip(heads) {
            let Some(head) = head else { continue };
            let stands = known.get(organization_id).is_some_and(|known| {
                known.head == head && known.at.elapsed() < FORECAST_EVERY && now < known.figures.holds_until
            });
            if stands {
                continue;
            }
            match self.figures(organization_id, history, now).await {
                Ok(Some(figures)) => {
                    let told = known.remove(organization_id).map(|known| known.told).unwrap_or_default();
                    known.insert(organization_id.clone(), Known { head, figures, told, at: Instant::now() });
                }
                Ok(None) => {}
                Err(error @ ReadError::Ledger(_)) => return Err(error),
                Err(error) => warn!(%error, organization_id, "an account cannot be read for /metrics"),
            }
            tokio::task::yield_now().await;
        }
        Ok(())
    }

    async fn figures(
        &self,
        organization_id: &str,
        history: &mut History,
        now: Timestamp,
    ) -> Result<Option<Figures>, ReadError> {
        let Some(base) = self.reader.base(organization_id).await? else { return Ok(None) };
        let rows = self.reader.all_rows(organization_id).await?;
        let mut figures = Figures::of(&base, &rows, self.options.top_agents, now);
        for (scope, row) in figures::forecast_for(&base, &rows) {
            let days = history.days(&self.reader, organization_id, &scope, row, &base, now).await?;
            figures.foresee(&scope, row, &base, &days, now);
        }
        figures.keep_workspaces(self.options.top_workspaces);
        Ok(Some(figures))
    }

    /// Sends those outlooks that differ by much from what was told. What Kafka does not take now is told at the next look.
    async fn tell_all(&self, known: &mut HashMap<String, Known>) {
        for (organization_id, known) in known {
            let Known { figures, told, .. } = known;
            told.retain(|told| figures.outlooks.iter().any(|outlook| outlook.is_of_the_same(told)));
            let before = |outlook: &Outlook| told.iter().position(|told| told.is_of_the_same(outlook));
            let is_news = |outlook: &&Outlook| outlook.is_news_after(before(outlook).map(|place| &told[place]));
            let news: Vec<Outlook> = figures.outlooks.iter().filter(is_news).cloned().collect();
            if news.is_empty() {
                continue;
            }
            let encode =
                |outlook: &Outlook| encode::forecast(organization_id, outlook, outlook.at, self.options.format);
            let records: Vec<_> = news.iter().map(encode).collect();
            match tokio::time::timeout(TELL_WAIT, self.publisher.records(&records)).await {
                Ok(Ok(())) => {
                    told.retain(|told| !news.iter().any(|outlook| outlook.is_of_the_same(told)));
                    told.extend(news);
                }
                Ok(Err(error)) => {
                    warn!(%error, organization_id, "forecasts were not sent");
                    return;
                }
                Err(_) => return,
            }
        }
    }
}
