//! `bursar api`: the HTTP API alone; `bursar api-key`: a key for it.

use std::sync::{
    Arc,
    atomic::{AtomicBool, Ordering},
};

use clap::Args;
use tracing::info;

use super::{
    Failure,
    serving::{LOOK, end, serve_when_all_is_there, stop_when_asked},
};
use crate::{
    api::{
        access::Role,
        credentials::{hash, new_key},
    },
    clock::Clock,
    config::Config,
    observe::{
        health::Health,
        metrics::Metrics,
        server::{self, Pages},
    },
};

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
