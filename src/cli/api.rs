//! `bursar api`: the HTTP API alone; `bursar api-key`: a key for it.

use std::{
    sync::{
        Arc,
        atomic::{AtomicBool, Ordering},
    },
    time::Duration,
};

use clap::Args;
use tracing::info;

use super::{Failure, run::stop_when_asked};
use crate::{
    api::{
        self, ApiError, Serving,
        access::Role,
        credentials::{hash, new_key},
    },
    clock::Clock,
    config::Config,
    observe::{
        health::{Dependency, Health},
        metrics::Metrics,
        server::{self, Pages},
    },
};

/// How long to wait before something that is away at the start is tried again.
const START_PAUSE: Duration = Duration::from_millis(500);

/// How often it is looked whether it is time to stop.
const LOOK: Duration = Duration::from_millis(200);

#[derive(Debug, Args)]
pub struct KeyArguments {
    /// Whose key it is; the actor of what is said with it.
    #[arg(long)]
    subject: String,
    /// What it may: owner:ORGANIZATION, admin:ORGANIZATION, workspace_admin:ORGANIZATION/WORKSPACE,
    /// member:ORGANIZATION/USER, or service. May be given more than once.
    #[arg(long = "role", required = true, value_parser = |text: &str| Role::try_from(text.to_owned()))]
    roles: Vec<Role>,
}

/// Makes a key: the key itself for its owner, and what goes into `api.keys_file`.
pub fn make_key(arguments: &KeyArguments) {
    let key = new_key();
    let roles: Vec<String> = arguments.roles.iter().cloned().map(String::from).collect();
    eprintln!("the key, which is not kept anywhere: {key}");
    println!("[[key]]\nsha256 = {:?}\nsubject = {:?}\nroles = {roles:?}", hash(&key), arguments.subject);
}

/// Serves the API until SIGTERM or SIGINT; waits for Redis and Kafka as long as they are away.
pub async fn serve(config: &Config) -> Result<(), Failure> {
    let stop = Arc::new(AtomicBool::new(false));
    stop_when_asked(&stop)?;
    let (metrics, health) = (Metrics::new(), Arc::new(Health::starting()));
    let pages = Pages { metrics: metrics.clone(), health: Arc::clone(&health) };
    let address = server::serve(config.observe.listen, pages).await?;
    let Some(serving) = serve_when_all_is_there(config, &metrics, &health, &stop).await? else { return Ok(()) };
    info!(api = %serving.address, metrics = %format!("http://{address}/metrics"), "serving the API");
    while !stop.load(Ordering::SeqCst) {
        tokio::time::sleep(LOOK).await;
    }
    serving.stop().await;
    info!("stopped");
    Ok(())
}

async fn serve_when_all_is_there(
    config: &Config,
    metrics: &Metrics,
    health: &Arc<Health>,
    stop: &AtomicBool,
) -> Result<Option<Serving>, ApiError> {
    while !stop.load(Ordering::SeqCst) {
        match api::serve(config, metrics.clone(), Clock::System).await {
            Ok(serving) => {
                health.regain(Dependency::Redis);
                health.regain(Dependency::Kafka);
                return Ok(Some(serving));
            }
            Err(ApiError::Ledger(error)) if error.is_transient() => health.lose(Dependency::Redis, &error.to_string()),
            Err(ApiError::Kafka(error)) => {
                health.regain(Dependency::Redis);
                health.lose(Dependency::Kafka, &error.to_string());
            }
            Err(error) => return Err(error),
        }
        tokio::time::sleep(START_PAUSE).await;
    }
    Ok(None)
}
