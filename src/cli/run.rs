//! `bursar run`: until a signal asks it to stop.

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
    api,
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
    let api = match serve(config, &service).await {
        Ok(api) => api,
        Err(error) => {
            // What has begun ends in good order.
            service.stop().await?;
            return Err(error);
        }
    };
    info!(api = %api.address, "serving the API");
    while !stop.load(Ordering::SeqCst) && !service.has_ended() {
        tokio::time::sleep(LOOK).await;
    }
    api.stop().await;
    service.stop().await?;
    info!("stopped");
    Ok(())
}

/// Shows usage on `/metrics` and serves the API; what has begun when one of them fails ends with the service.
async fn serve(config: &Config, service: &Service) -> Result<api::Serving, Failure> {
    service.show_usage(config).await?;
    Ok(api::serve(config, service.metrics.clone(), service.clock.clone()).await?)
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
