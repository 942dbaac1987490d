//! What every request passes before its handler: who asks, how often, for how long, and whether that is allowed.

use std::{num::NonZeroU32, panic::AssertUnwindSafe, sync::Arc, time::Duration};

use axum::{
    body::{Body, Bytes, to_bytes},
    extract::{
        FromRequest, FromRequestParts, MatchedPath, RawPathParams, Request, State, rejection::RawPathParamsRejection,
    },
    http::{HeaderMap, HeaderValue, Method, StatusCode, header, request::Parts},
    middleware::Next,
    response::{IntoResponse, Response},
};
use futures::FutureExt;
use governor::{DefaultKeyedRateLimiter, Quota, RateLimiter, clock::Clock as _};
use serde::de::DeserializeOwned;
use xxhash_rust::xxh3::xxh3_64;

use super::{
    Api,
    access::{Named, ROUTES, Who},
    problem::Problem,
};

/// The largest body that is read.
pub const BODY_BYTES_MAX: usize = 256 * 1024;

/// The longest query that is read.
const QUERY_BYTES_MAX: usize = 4 * 1024;

/// Callers that nobody knows share one budget under this name.
const UNKNOWN: &str = "";

/// How often each caller may ask.
pub struct Rates(DefaultKeyedRateLimiter<Box<str>>);

impl Rates {
    /// So many requests per second for each caller, and as many at once.
    pub fn per_second(requests: u32) -> Self {
        Self(RateLimiter::keyed(Quota::per_second(NonZeroU32::new(requests).unwrap_or(NonZeroU32::MIN))))
    }

    fn take(&self, subject: &str) -> Result<(), Problem> {
        self.0.check_key(&subject.into()).map_err(|until| {
            let wait = until.wait_time_from(self.0.clock().now());
            Problem::too_often(wait.as_secs() + 1)
        })
    }

    /// Forgets callers that have not asked for a while.
    pub fn forget_idle(&self) {
        self.0.retain_recent();
        self.0.shrink_to_fit();
    }
}

/// The guard of all routes: finds out who asks, and lets pass what the table of routes allows.
pub async fn guard(
    State(api): State<Arc<Api>>,
    path: MatchedPath,
    names: Result<RawPathParams, RawPathParamsRejection>,
    mut request: Request,
    next: Next,
) -> Result<Response, Problem> {
    let names = names.map_err(|rejection| Problem::invalid(rejection.body_text()))?;
    let (method, path) = (request.method().clone(), path.as_str().to_owned());
    let asked = if method == Method::HEAD { Method::GET } else { method.clone() };
    let route = ROUTES.iter().find(|route| route.path == path && route.method == asked);
    let route = route.ok_or_else(Problem::method_not_allowed)?;
    if request.uri().query().is_some_and(|query| query.len() > QUERY_BYTES_MAX) {
        return Err(Problem::invalid(format!("the query is longer than {QUERY_BYTES_MAX} bytes")));
    }
    if route.who != Who::Everyone {
        let authorization = request.headers().get(header::AUTHORIZATION).and_then(|value| value.to_str().ok());
        let caller = match api.credentials.caller(authorization).await {
            Ok(caller) => caller,
            Err(problem) => {
                // Guessing is slow, and costs those who are known nothing.
                api.rates.take(UNKNOWN)?;
                return Err(problem);
            }
        };
        api.rates.take(&caller.subject)?;
        let name = |wanted: &str| names.iter().find(|(name, _)| *name == wanted).map(|(_, value)| value);
        let (workspace_id, user_id) = (name("workspace_id"), name("user_id"));
        let named = Named { organization_id: name("organization_id").unwrap_or_default(), workspace_id, user_id };
        if !caller.may(route.who, named) {
            return Err(Problem::forbidden(format!("{} has no role that allows this", caller.subject)));
        }
        request.extensions_mut().insert(caller);
    }
    let tag = request.headers().get(header::IF_NONE_MATCH).cloned();
    let answered = tokio::time::timeout(api.request_wait, next.run(request)).await;
    let response = answered.map_err(|_| Problem::unavailable("the answer took too long; ask for less"))?;
    if asked == Method::GET { Ok(tagged(response, tag.as_ref()).await) } else { Ok(response) }
}

/// Counts every request and measures how long it took; no path and no caller is a label.
pub async fn measure(State(api): State<Arc<Api>>, request: Request, next: Next) -> Response {
    let timer = api.metrics.api_seconds.start_timer();
    // A handler that panics has spoilt nothing: accounts are changed by records only.
    let response = AssertUnwindSafe(next.run(request)).catch_unwind().await;
    let response = response.unwrap_or_else(|_| Problem::broken().into_response());
    timer.observe_duration();
    api.metrics.api_requests.with_label_values(&[response.status().as_str()]).inc();
    response
}

/// Gives what was read an entity tag, and answers 304 where the caller has it already (RFC 9110, section 8.8.3).
async fn tagged(response: Response, known: Option<&HeaderValue>) -> Response {
    let is_json = response.headers().get(header::CONTENT_TYPE).is_some_and(|kind| kind == "application/json");
    if response.status() != StatusCode::OK || !is_json {
        return response;
    }
    let (mut parts, body) = response.into_parts();
    let Ok(bytes) = to_bytes(body, usize::MAX).await else {
        return Problem::unavailable("the answer could not be built").into_response();
    };
    let tag = format!("\"{:016x}\"", xxh3_64(&bytes));
    let is_known = known.and_then(|known| known.to_str().ok()).is_some_and(|known| {
        known
            .split(',')
            .any(|known| matches!(known.trim().trim_start_matches("W/"), known if known == tag || known == "*"))
    });
    let tag = HeaderValue::from_str(&tag).expect("a tag is hexadecimal digits");
    parts.headers.insert(header::ETAG, tag);
    parts.headers.insert(header::CACHE_CONTROL, HeaderValue::from_static("private, no-cache"));
    if is_known {
        parts.status = StatusCode::NOT_MODIFIED;
        parts.headers.remove(header::CONTENT_LENGTH);
        parts.headers.remove(header::CONTENT_TYPE);
        return Response::from_parts(parts, Body::empty());
    }
    Response::from_parts(parts, Body::from(bytes))
}

/// What a path names, or a problem.
pub struct Path<T>(pub T);

impl<T: DeserializeOwned + Send, S: Send + Sync> FromRequestParts<S> for Path<T> {
    type Rejection = Problem;

    async fn from_request_parts(parts: &mut Parts, state: &S) -> Result<Self, Problem> {
        let path = axum::extract::Path::<T>::from_request_parts(parts, state).await;
        path.map(|path| Self(path.0)).map_err(|rejection| Problem::invalid(rejection.body_text()))
    }
}

/// What a query says, or a problem.
pub struct Query<T>(pub T);

impl<T: DeserializeOwned, S: Send + Sync> FromRequestParts<S> for Query<T> {
    type Rejection = Problem;

    async fn from_request_parts(parts: &mut Parts, state: &S) -> Result<Self, Problem> {
        let query = axum::extract::Query::<T>::from_request_parts(parts, state).await;
        query.map(|query| Self(query.0)).map_err(|rejection| Problem::invalid(rejection.body_text()))
    }
}

/// A body of JSON, or a problem. A body that comes too slowly is given up with its request.
pub struct Body256<T>(pub T);

impl<T: DeserializeOwned, S: Send + Sync> FromRequest<S> for Body256<T> {
    type Rejection = Problem;

    async fn from_request(request: Request, _: &S) -> Result<Self, Problem> {
        check_is_json(request.headers())?;
        let bytes: Bytes =
            to_bytes(request.into_body(), BODY_BYTES_MAX).await.map_err(|_| Problem::too_large(BODY_BYTES_MAX))?;
        let body = serde_json::from_slice(&bytes);
        body.map(Self).map_err(|error| Problem::invalid(format!("the body is not what is expected: {error}")))
    }
}

fn check_is_json(headers: &HeaderMap) -> Result<(), Problem> {
    let kind = headers.get(header::CONTENT_TYPE).and_then(|kind| kind.to_str().ok()).unwrap_or_default();
    let is_json = kind.split(';').next().is_some_and(|kind| kind.trim().eq_ignore_ascii_case("application/json"));
    if is_json { Ok(()) } else { Err(Problem::invalid("send `Content-Type: application/json`")) }
}

/// How long a whole request may take, at least.
pub const fn request_wait(seconds: u64) -> Duration {
    Duration::from_secs(if seconds == 0 { 1 } else { seconds })
}
