//! `bursar run`: until a signal asks it to stop.

use std::{
    sync::{
        Arc,
        atomic::{AtomicBool, Ordering},
    },
    time::Duration,
};

use tokio::signal::unix::{SignalKind, signal};
use tracing::{info, warn};

use super::{
    Failure,
    api::{START_PAUSE, end, serve_when_all_is_there},
};
use crate::{
    api::Serving,
    config::Config,
    faults::{Defence, holds},
    service::Service,
};

/// How often it is looked whether a worker has ended.
const LOOK: Duration = Duration::from_millis(200);

/// Runs the service until SIGTERM or SIGINT; then batches are finished, the group is left, and nothing is lost.
pub async fn run(config: &Config) -> Result<(), Failure> {
    let stop = Arc::new(AtomicBool::new(false));
    stop_when_asked(&stop)?;
    let service = Service::start(config, Arc::clone(&stop)).await?;
    let is_over = || stop.load(Ordering::SeqCst) || service.has_ended();
    let served = serve(config, &service, &is_over).await;
    if let Ok(Some(api)) = &served {
        info!(api = %api.address, "serving the API");
        while !is_over() && !api.has_ended() {
            tokio::time::sleep(LOOK).await;
        }
    }
    // Whatever ended it: what has begun ends in good order.
    let ended = match served {
        Ok(Some(api)) => end(api).await,
        Ok(None) => Ok(()),
        Err(error) => Err(error),
    };
    service.stop().await?;
    ended?;
    info!("stopped");
    Ok(())
}

/// Shows usage on `/metrics` and serves the API, once Redis and Kafka are there for it; `None` if it is over before.
async fn serve(config: &Config, service: &Service, is_over: &dyn Fn() -> bool) -> Result<Option<Serving>, Failure> {
    while !is_over() {
        match service.show_usage(config).await {
            Ok(()) => {
                let (metrics, clock, health) = (&service.metrics, &service.clock, &service.health);
                return Ok(serve_when_all_is_there(config, metrics, clock, health, is_over).await?);
            }
            Err(error) if error.is_transient() => {
                warn!(%error, "usage cannot be shown yet");
                tokio::time::sleep(START_PAUSE).await;
            }
            Err(error) => return Err(error.into()),
        }
    }
    Ok(None)
}

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
