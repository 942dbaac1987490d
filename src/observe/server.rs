//! `/metrics`, `/healthz` and `/readyz` over HTTP.

use std::{net::SocketAddr, sync::Arc};

use axum::{Router, extract::State, http::StatusCode, response::IntoResponse, routing::get};
use tokio::net::TcpListener;

use super::{health::Health, metrics::Metrics};

/// What the pages show.
#[derive(Clone)]
pub struct Pages {
    /// The figures.
    pub metrics: Metrics,
    /// What is missing.
    pub health: Arc<Health>,
}

/// Binds `address` and serves until the process ends. Returns the address that was bound.
///
/// # Errors
/// The address cannot be bound.
pub async fn serve(address: SocketAddr, pages: Pages) -> std::io::Result<SocketAddr> {
    let listener = TcpListener::bind(address).await?;
    let bound = listener.local_addr()?;
    let router = Router::new()
        .route("/metrics", get(metrics))
        .route("/healthz", get(|| async { "alive\n" }))
        .route("/readyz", get(ready))
        .with_state(pages);
    tokio::spawn(async move {
        if let Err(error) = axum::serve(listener, router).await {
            tracing::error!(%error, "the HTTP server has stopped");
        }
    });
    Ok(bound)
}

async fn metrics(State(pages): State<Pages>) -> impl IntoResponse {
    ([("content-type", "text/plain; version=0.0.4")], pages.metrics.text())
}

async fn ready(State(pages): State<Pages>) -> impl IntoResponse {
    let missing = pages.health.missing();
    if missing.is_empty() {
        return (StatusCode::OK, "ready\n".to_owned());
    }
    let lines = missing.iter().map(|(dependency, why)| format!("missing {}: {why}\n", dependency.name()));
    (StatusCode::SERVICE_UNAVAILABLE, lines.collect())
}
