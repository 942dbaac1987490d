//! What a caller is told when something cannot be done: problem documents (RFC 9457), always with what to do.

use axum::{
    Json,
    http::{HeaderValue, StatusCode, header},
    response::{IntoResponse, Response},
};
use serde::Serialize;
use utoipa::ToSchema;

use crate::ledger::redis::reader::ReadError;

/// A problem document.
#[derive(Clone, Debug, Serialize, ToSchema)]
pub struct Problem {
    /// Names the kind of problem: `urn:bursar:problem:` and a word.
    #[serde(rename = "type")]
    kind: String,
    /// The kind in words.
    title: &'static str,
    /// The HTTP status.
    status: u16,
    /// What is wrong with this very request, and what to do.
    detail: String,
    #[serde(skip)]
    retry_after_s: Option<u64>,
}

impl Problem {
    fn new(status: StatusCode, word: &str, title: &'static str, detail: impl Into<String>) -> Self {
        let kind = format!("urn:bursar:problem:{word}");
        Self { kind, title, status: status.as_u16(), detail: detail.into(), retry_after_s: None }
    }

    /// The request itself is wrong.
    pub fn invalid(detail: impl Into<String>) -> Self {
        Self::new(StatusCode::BAD_REQUEST, "invalid", "The request cannot be understood", detail)
    }

    /// Nobody knows who asks.
    pub fn unauthenticated(detail: impl Into<String>) -> Self {
        Self::new(StatusCode::UNAUTHORIZED, "unauthenticated", "Who asks is not known", detail)
    }

    /// Who asks may not. The same answer whether or not what was asked for exists.
    pub fn forbidden(detail: impl Into<String>) -> Self {
        Self::new(StatusCode::FORBIDDEN, "forbidden", "This is not yours to see or to do", detail)
    }

    /// The plan of the organization lacks it (row A20).
    pub fn plan_lacks(detail: impl Into<String>) -> Self {
        Self::new(StatusCode::FORBIDDEN, "plan-lacks", "The plan of the organization does not have this", detail)
    }

    /// There is no such thing.
    pub fn not_found(detail: impl Into<String>) -> Self {
        Self::new(StatusCode::NOT_FOUND, "not-found", "There is no such thing", detail)
    }

    /// The path is there, and not for this method.
    pub fn method_not_allowed() -> Self {
        let detail = "the path is known, and not with this method: see /v1/openapi.json";
        Self::new(StatusCode::METHOD_NOT_ALLOWED, "method-not-allowed", "Not with this method", detail)
    }

    /// The account does not take what was said.
    pub fn refused(detail: impl Into<String>) -> Self {
        Self::new(StatusCode::UNPROCESSABLE_ENTITY, "refused", "What was said was refused", detail)
    }

    /// Too much at once.
    pub fn too_large(bytes_max: usize) -> Self {
        let detail = format!("at most {bytes_max} bytes are read");
        Self::new(StatusCode::PAYLOAD_TOO_LARGE, "too-large", "The body is too large", detail)
    }

    /// Too often.
    pub fn too_often(retry_after_s: u64) -> Self {
        let detail = format!("try again in {retry_after_s} s; api.requests_per_second bounds each caller");
        let problem = Self::new(StatusCode::TOO_MANY_REQUESTS, "too-often", "Too many requests", detail);
        Self { retry_after_s: Some(retry_after_s), ..problem }
    }

    /// A dependency is away, or the answer took too long.
    pub fn unavailable(detail: impl Into<String>) -> Self {
        let problem = Self::new(StatusCode::SERVICE_UNAVAILABLE, "unavailable", "Not now", detail);
        Self { retry_after_s: Some(1), ..problem }
    }

    /// A fault of ours.
    pub fn broken() -> Self {
        let detail = "this is a fault of Bursar: the log has it; please report it";
        Self::new(StatusCode::INTERNAL_SERVER_ERROR, "broken", "The answer could not be made", detail)
    }

    /// The status.
    pub fn status(&self) -> StatusCode {
        StatusCode::from_u16(self.status).unwrap_or(StatusCode::INTERNAL_SERVER_ERROR)
    }
}

impl From<ReadError> for Problem {
    fn from(error: ReadError) -> Self {
        tracing::warn!(%error, "an account cannot be read for the API");
        Self::unavailable("the accounts cannot be read now; /readyz tells what is missing")
    }
}

impl IntoResponse for Problem {
    fn into_response(self) -> Response {
        let (status, retry_after_s) = (self.status(), self.retry_after_s);
        let mut response = (status, Json(self)).into_response();
        let headers = response.headers_mut();
        headers.insert(header::CONTENT_TYPE, HeaderValue::from_static("application/problem+json"));
        if status == StatusCode::UNAUTHORIZED {
            headers.insert(header::WWW_AUTHENTICATE, HeaderValue::from_static("Bearer"));
        }
        if let Some(seconds) = retry_after_s {
            headers.insert(header::RETRY_AFTER, HeaderValue::from(seconds));
        }
        response
    }
}
