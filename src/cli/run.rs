//! `bursar run`: until a signal asks it to stop, or it would be wrong to go on.

use std::sync::{
    Arc,
    atomic::{AtomicBool, Ordering},
};

use tracing::info;

use super::{
    Failure,
    serving::{LOOK, Wait, end, serve_when_all_is_there, stop_when_asked},
};
use crate::{api::Serving, config::Config, service::Service};

/// Runs the service until SIGTERM or SIGINT, or until a worker or the API has ended; then batches are finished, the group is
/// left, and nothing is lost.
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
    let (metrics, clock, health) = (&service.metrics, &service.clock, &service.health);
    let mut wait = Wait::default();
    while let Err(error) = service.show_usage(config).await {
        let Some(missing) = error.missing() else { return Err(error.into()) };
        wait.a_little(health, missing, &error.to_string()).await;
        if is_over() {
            return Ok(None);
        }
    }
    drop(wait);
    Ok(serve_when_all_is_there(config, metrics, clock, health, is_over).await?)
}
