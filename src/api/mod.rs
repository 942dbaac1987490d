//! What admins, dashboards and programs see and say, over HTTP.
//!
//! ```text
//! request ─► guard: who asks, how often, may they ─► handler ─► reader (Redis) · feed (Kafka) ─► answer
//!                                                      └─► a control record ─► its answer in the journal
//! ```
//!
//! Nothing is kept here that is not read from Redis or Kafka: as many of these may run as wanted, within `bursar run` or
//! alone (`bursar api`).
//!
//! - [`access`] has the table of routes and roles; [`credentials`] finds out who asks; [`guard`] stands before every route.
//! - [`reads`] and [`series`] show one scope as it stands (`standing`), [`lists`] many, [`rules`] what holds for them;
//!   [`snapshot`] holds what lists are made of, `utilisation` how far limits are used; [`figures`] and [`shapes`] are how it
//!   looks, [`credits`] who sees figures of credits; [`page`] cuts lists; [`problem`] is what goes wrong.
//! - [`writes`] says what a caller wants; [`feed`] reads back what was published, [`live`] passes it on.
//! - [`openapi`] describes all of it.

pub mod access;
pub mod credentials;
pub mod credits;
pub mod feed;
pub mod figures;
pub mod guard;
pub mod lists;
pub mod live;
pub mod openapi;
pub mod page;
pub mod problem;
pub mod reads;
pub mod rules;
pub mod series;
pub mod shapes;
pub mod snapshot;
mod standing;
mod utilisation;
pub mod writes;

use std::{
    net::SocketAddr,
    sync::{
        Arc,
        atomic::{AtomicBool, Ordering},
    },
    time::Duration,
};

use axum::{Extension, Json, Router, middleware};
use axum_server::{Handle, tls_rustls::RustlsConfig};
use rdkafka::error::KafkaError;
use thiserror::Error;
use tokio::{sync::Semaphore, task::JoinHandle};
use utoipa_axum::{router::OpenApiRouter, routes};

use self::{
    access::Caller,
    credentials::{Credentials, CredentialsError},
    feed::Feed,
    guard::Rates,
    problem::Problem,
    shapes::WhoAmI,
    snapshot::Snapshots,
};
use crate::{
    clock::Clock,
    config::{Config, ConfigError},
    ledger::{LedgerError, redis::reader::Reader},
    notify::publisher::{self, Publisher},
    observe::{health::Dependency, metrics::Metrics},
};

/// How long the brokers may take to answer at the start.
const BROKER_WAIT: Duration = Duration::from_secs(10);

/// A connection has this long to begin its first request, and each request this long for its head.
const HEAD_WAIT: Duration = Duration::from_secs(10);

/// Requests under way have this long when the process stops.
const STOP_WAIT: Duration = Duration::from_secs(3);

/// How often callers are forgotten that do not ask any more.
const FORGET_EVERY: Duration = Duration::from_secs(60);

/// Why the API is not served.
#[derive(Debug, Error)]
pub enum ApiError {
    /// The configuration cannot be used.
    #[error(transparent)]
    Config(#[from] ConfigError),
    /// Keys or tokens cannot be checked.
    #[error(transparent)]
    Credentials(#[from] CredentialsError),
    /// Redis cannot be used.
    #[error(transparent)]
    Ledger(#[from] LedgerError),
    /// Kafka cannot be used.
    #[error("Kafka: {0}")]
    Kafka(#[from] KafkaError),
    /// Everyone could read and change everything.
    #[error(
        "api.listen is {0}, which others can reach, and nobody would have to say who they are: set api.keys_file or api.jwks, \
         or listen on 127.0.0.1"
    )]
    Open(SocketAddr),
    /// The address or the certificate cannot be used.
    #[error("{address} cannot be served: {error}")]
    Serve {
        /// The address.
        address: SocketAddr,
        /// Why not.
        error: std::io::Error,
    },
}

impl ApiError {
    /// What is away, if waiting may mend it.
    pub fn missing(&self) -> Option<Dependency> {
        match self {
            Self::Ledger(error) if error.is_transient() => Some(Dependency::Redis),
            Self::Kafka(error) if publisher::may_pass(error) => Some(Dependency::Kafka),
            _ => None,
        }
    }
}

/// What handlers work with.
pub struct Api {
    reader: Reader,
    snapshots: Snapshots,
    feed: Arc<Feed>,
    publisher: Publisher,
    credentials: Credentials,
    rates: Rates,
    clock: Clock,
    metrics: Metrics,
    /// A place for each who may listen.
    listeners: Arc<Semaphore>,
    request_wait: Duration,
    answer_wait: Duration,
    /// How long ids of records are kept.
    horizon: Duration,
    /// How long after its record a rate card holds.
    rules_delay_ms: i64,
    /// Periods that are listed: the running one, and the closed ones that are kept.
    periods_listed: usize,
}

/// An API that is served.
pub struct Serving {
    /// Where.
    pub address: SocketAddr,
    handle: Handle<SocketAddr>,
    server: JoinHandle<()>,
    stop: Arc<AtomicBool>,
}

impl Serving {
    /// Whether requests are not served any more, without anybody having asked for that.
    pub fn has_ended(&self) -> bool {
        self.server.is_finished()
    }

    /// Lets requests that are under way end, and stops.
    pub async fn stop(self) {
        self.handle.graceful_shutdown(Some(STOP_WAIT));
        // Live events never end by themselves: after that time their connections are cut.
        let until = tokio::time::Instant::now() + STOP_WAIT;
        while self.handle.connection_count() > 0 && tokio::time::Instant::now() < until {
            tokio::time::sleep(Duration::from_millis(20)).await;
        }
        // Only now, for writes under way still wait for what it reads.
        self.stop.store(true, Ordering::SeqCst);
    }
}

/// Serves the API until it is stopped. Redis, Kafka and the topics have to be there.
///
/// # Errors
/// [`ApiError`].
pub async fn serve(config: &Config, metrics: Metrics, clock: Clock) -> Result<Serving, ApiError> {
    let settings = &config.api;
    let (keys_file, rules) = (settings.keys_file.clone(), settings.token_rules());
    let opened = tokio::task::spawn_blocking(move || Credentials::open(keys_file.as_deref(), rules)).await;
    let credentials = opened.expect("reading files does not panic")?;
    if !credentials.are_configured() && !settings.listen.ip().is_loopback() {
        return Err(ApiError::Open(settings.listen));
    }
    let reader = Reader::open(&config.redis()?).await?;
    let (client, outputs, format) = (config.client()?, config.topics.outputs(), config.kafka.output_format);
    let made = tokio::task::spawn_blocking(move || Publisher::new(&client, outputs, format, BROKER_WAIT)).await;
    let publisher = made.expect("making a producer does not panic")?;
    let (feed, stop) = (Arc::new(Feed::default()), Arc::new(AtomicBool::new(false)));
    let (client, topics) = (config.client()?, config.topics.clone());
    let (follower, until) = (Arc::clone(&feed), Arc::clone(&stop));
    std::thread::spawn(move || follower.follow(&client, &topics, &until));
    let api = Arc::new(Api {
        snapshots: Snapshots::new(reader.clone(), clock.clone()),
        reader,
        feed,
        publisher,
        credentials,
        rates: Rates::per_second(settings.requests_per_second),
        clock,
        metrics,
        listeners: Arc::new(Semaphore::new(settings.listeners_max)),
        request_wait: guard::request_wait(settings.request_seconds),
        answer_wait: Duration::from_secs(settings.answer_seconds),
        horizon: Duration::from_millis(u64::try_from(config.rules.policy().horizon_ms).unwrap_or(0)),
        rules_delay_ms: config.rules.policy().rules_delay_ms,
        periods_listed: usize::try_from(config.rules.periods_kept).unwrap_or(0) + 1,
    });
    let forgetting = Arc::downgrade(&api);
    tokio::spawn(async move {
        while let Some(api) = forgetting.upgrade() {
            api.rates.forget_idle();
            drop(api);
            tokio::time::sleep(FORGET_EVERY).await;
        }
    });
    let (address, handle, server) = listen(config, router(api)).await?;
    Ok(Serving { address, handle, server, stop })
}

async fn listen(config: &Config, router: Router) -> Result<(SocketAddr, Handle<SocketAddr>, JoinHandle<()>), ApiError> {
    let address = config.api.listen;
    let failed = |error| ApiError::Serve { address, error };
    let listener = std::net::TcpListener::bind(address).map_err(failed)?;
    listener.set_nonblocking(true).map_err(failed)?;
    let bound = listener.local_addr().map_err(failed)?;
    let handle = Handle::new();
    let service = router.into_make_service();
    let server = axum_server::from_tcp(listener).map_err(failed)?.handle(handle.clone()).http1_only();
    let mut server = server.first_request_timeout(HEAD_WAIT);
    server.http_builder().http1().header_read_timeout(HEAD_WAIT);
    let ended = |result: std::io::Result<()>| {
        if let Err(error) = result {
            tracing::error!(%error, "the API is not served any more");
        }
    };
    let serving = match (&config.api.tls_certificate_file, &config.api.tls_key_file) {
        (Some(certificate), Some(key)) => {
            // Two providers of cryptography may be linked in; without a choice the first handshake would panic.
            let _ = rustls::crypto::ring::default_provider().install_default();
            let tls = RustlsConfig::from_pem_file(certificate, key).await.map_err(failed)?;
            // HTTP/1.1 is all that is spoken here, so nothing else may be agreed on.
            let mut spoken = (*tls.get_inner()).clone();
            spoken.alpn_protocols = vec![b"http/1.1".to_vec()];
            let tls = RustlsConfig::from_config(Arc::new(spoken));
            let acceptor = axum_server::tls_rustls::RustlsAcceptor::new(tls);
            tokio::spawn(async move { ended(server.acceptor(acceptor).serve(service).await) })
        }
        _ => tokio::spawn(async move { ended(server.serve(service).await) }),
    };
    Ok((bound, handle, serving))
}

/// The routes, with their description.
fn described() -> OpenApiRouter<Arc<Api>> {
    OpenApiRouter::with_openapi(openapi::head())
        .routes(routes!(who_am_i))
        .routes(routes!(lists::organizations))
        .routes(routes!(reads::organization))
        .routes(routes!(reads::periods))
        .routes(routes!(reads::organization_usage))
        .routes(routes!(reads::organization_series))
        .routes(routes!(reads::organization_cards))
        .routes(routes!(reads::organization_breakdown))
        .routes(routes!(lists::workspaces))
        .routes(routes!(reads::workspace_usage))
        .routes(routes!(reads::workspace_series))
        .routes(routes!(reads::workspace_cards))
        .routes(routes!(reads::workspace_breakdown))
        .routes(routes!(lists::workspace_agents))
        .routes(routes!(reads::agent_usage))
        .routes(routes!(reads::agent_series))
        .routes(routes!(reads::agent_breakdown))
        .routes(routes!(lists::agents))
        .routes(routes!(lists::members))
        .routes(routes!(reads::member_usage))
        .routes(routes!(reads::member_series))
        .routes(routes!(reads::member_breakdown))
        .routes(routes!(rules::limits))
        .routes(routes!(rules::pauses))
        .routes(routes!(rules::grants))
        .routes(routes!(rules::overshoot))
        .routes(routes!(rules::requests))
        .routes(routes!(lists::statements))
        .routes(routes!(live::events))
        .routes(routes!(live::live))
        .routes(routes!(writes::say))
        .routes(routes!(writes::record))
}

fn router(api: Arc<Api>) -> Router {
    let (router, document) = described().split_for_parts();
    let document = openapi::whole(document);
    router
        .route("/v1/openapi.json", axum::routing::get(async move || Json(document)))
        .method_not_allowed_fallback(async || Problem::method_not_allowed())
        .route_layer(middleware::from_fn_with_state(Arc::clone(&api), guard::guard))
        .fallback(async || Problem::not_found("there is no such path: see /v1/openapi.json"))
        .layer(middleware::from_fn_with_state(Arc::clone(&api), guard::measure))
        .with_state(api)
}

/// Who asks, and what they may.
#[utoipa::path(get, path = "/v1/whoami", responses((status = 200, body = WhoAmI), reads::ReadProblems))]
async fn who_am_i(Extension(caller): Extension<Caller>) -> Json<WhoAmI> {
    Json(WhoAmI { caller })
}
