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
pub const START_PAUSE: Duration = Duration::from_millis(500);

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
    let is_over = || stop.load(Ordering::SeqCst);
    let served = serve_when_all_is_there(config, &metrics, &Clock::System, &health, &is_over).await?;
    let Some(serving) = served else { return Ok(()) };
    info!(api = %serving.address, metrics = %format!("http://{address}/metrics"), "serving the API");
    while !is_over() && !serving.has_ended() {
        tokio::time::sleep(LOOK).await;
    }
    end(serving).await?;
    info!("stopped");
    Ok(())
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

/// Serves the API once Redis and Kafka are there for it; `None` if it is over before.
pub async fn serve_when_all_is_there(
    config: &Config,
    metrics: &Metrics,
    clock: &Clock,
    health: &Health,
    is_over: &dyn Fn() -> bool,
) -> Result<Option<Serving>, ApiError> {
    while !is_over() {
        match api::serve(config, metrics.clone(), clock.clone()).await {
            Ok(serving) => {
                health.regain(Dependency::Redis);
                health.regain(Dependency::Kafka);
                return Ok(Some(serving));
            }
            Err(error) => {
                let Some(missing) = error.missing() else { return Err(error) };
                if missing == Dependency::Kafka {
                    health.regain(Dependency::Redis);
                }
                health.lose(missing, &error.to_string());
            }
        }
        tokio::time::sleep(START_PAUSE).await;
    }
    Ok(None)
}
