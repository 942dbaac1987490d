//! What `bursar run` and `bursar api` share: they wait for what they need, serve the API, and end in good order.

use std::{
    sync::{
        Arc,
        atomic::{AtomicBool, Ordering},
    },
    time::Duration,
};

use tokio::signal::unix::{SignalKind, signal};
use tracing::info;

use super::Failure;
use crate::{
    api::{self, ApiError, Serving},
    clock::Clock,
    config::Config,
    faults::{Defence, holds},
    observe::{
        health::{Dependency, Health, Waiting},
        metrics::Metrics,
    },
};

/// How long to wait before something that is away is tried again.
const PAUSE: Duration = Duration::from_millis(500);

/// How often it is looked whether it is time to stop.
pub const LOOK: Duration = Duration::from_millis(200);

/// Has SIGTERM and SIGINT ask the process to stop.
pub fn stop_when_asked(stop: &Arc<AtomicBool>) -> Result<(), Failure> {
    let asked = Arc::clone(stop);
    let (mut terminate, mut interrupt) = (signal(SignalKind::terminate())?, signal(SignalKind::interrupt())?);
    tokio::spawn(async move {
        tokio::select! {
            _ = terminate.recv() => {}
            _ = interrupt.recv() => {}
        }
        info!("asked to stop");
        if !holds(Defence::GoodOrder) {
            std::process::exit(0);
        }
        asked.store(true, Ordering::SeqCst);
    });
    Ok(())
}

/// A wait for whatever is away; health tells of it as long as this is there.
#[derive(Default)]
pub struct Wait(Option<(Dependency, Waiting)>);

impl Wait {
    /// Says what is away and why, and waits a little.
    pub async fn a_little(&mut self, health: &Arc<Health>, missing: Dependency, why: &str) {
        match &self.0 {
            Some((known, waiting)) if *known == missing => waiting.because(why),
            _ => self.0 = Some((missing, health.wait(missing, why))),
        }
        tokio::time::sleep(PAUSE).await;
    }
}

/// Serves the API once Redis and Kafka are there for it; `None` if it is over before.
pub async fn serve_when_all_is_there(
    config: &Config,
    metrics: &Metrics,
    clock: &Clock,
    health: &Arc<Health>,
    is_over: &dyn Fn() -> bool,
) -> Result<Option<Serving>, ApiError> {
    let mut wait = Wait::default();
    while !is_over() {
        match api::serve(config, metrics.clone(), clock.clone()).await {
            Ok(serving) => {
                health.regain(Dependency::Redis);
                health.regain(Dependency::Kafka);
                return Ok(Some(serving));
            }
            Err(error) => {
                let Some(missing) = error.missing() else { return Err(error) };
                wait.a_little(health, missing, &error.to_string()).await;
            }
        }
    }
    Ok(None)
}

/// Lets requests that are under way end.
///
/// # Errors
/// If nothing was served any more although nobody had asked for that; the log has the reason.
pub async fn end(serving: Serving) -> Result<(), Failure> {
    let has_ended = serving.has_ended();
    serving.stop().await;
    if has_ended { Err("the API was not served any more; see the log".into()) } else { Ok(()) }
}
