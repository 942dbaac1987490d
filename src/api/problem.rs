//! What a caller is told when something cannot be done: problem documents (RFC 9457), always with what to do.

use std::collections::BTreeMap;

use axum::{
    Json,
    http::{HeaderValue, StatusCode, header},
    response::{IntoResponse, Response},
};
use serde::Serialize;
use utoipa::ToSchema;

use crate::ledger::redis::reader::ReadError;

/// The title of what was said in vain.
const REFUSED: &str = "What was said was refused";

/// A problem document.
#[derive(Clone, Debug, Serialize, ToSchema)]
pub struct Problem {
    /// Names the kind of problem: `urn:bursar:problem:` and a word; of a refusal by the account
    /// `urn:bursar:problem:refused/` and its code. It never changes its meaning.
    #[serde(rename = "type")]
    #[schema(value_type = String)]
    kind: Box<str>,
    /// The kind in words.
    title: &'static str,
    /// The HTTP status.
    status: u16,
    /// What is wrong with this very request, and what to do.
    #[schema(value_type = String)]
    detail: Box<str>,
    /// Why the account refused a command: a code of docs/answers.md.
    #[serde(skip_serializing_if = "Option::is_none")]
    #[schema(value_type = Option<String>)]
    code: Option<Box<str>>,
    /// The fields of that code, as texts; what is not there is empty.
    #[serde(skip_serializing_if = "Option::is_none")]
    fields: Option<BTreeMap<String, String>>,
    #[serde(skip)]
    retry_after_s: Option<u64>,
}

impl Problem {
    fn new(status: StatusCode, word: &str, title: &'static str, detail: impl Into<String>) -> Self {
        let kind = format!("urn:bursar:problem:{word}").into();
        let status = status.as_u16();
        Self {
            kind,
            title,
            status,
            detail: Into::<String>::into(detail).into(),
            code: None,
            fields: None,
            retry_after_s: None,
        }
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

    /// The owners of the organization keep it for themselves.
    pub fn reserved(detail: impl Into<String>) -> Self {
        Self::new(StatusCode::FORBIDDEN, "reserved", "The owners of the organization keep this for themselves", detail)
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

    /// What was said cannot be a command, or contradicts what was said under the same key.
    pub fn refused(detail: impl Into<String>) -> Self {
        Self::new(StatusCode::UNPROCESSABLE_ENTITY, "refused", REFUSED, detail)
    }

    /// The account refuses a command: by code and fields for programs, with a sentence for people.
    pub fn refusal<Name: Into<String>, Text: Into<String>>(
        code: &str,
        fields: impl IntoIterator<Item = (Name, Text)>,
        sentence: impl Into<String>,
    ) -> Self {
        let problem = Self::new(StatusCode::UNPROCESSABLE_ENTITY, &format!("refused/{code}"), REFUSED, sentence);
        let fields = fields.into_iter().map(|(name, text)| (name.into(), text.into())).collect();
        Self { code: Some(code.into()), fields: Some(fields), ..problem }
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

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::json;

    #[test]
    fn a_refusal_is_a_type_of_its_own_with_its_fields() {
        let problem = Problem::refusal("pool_missing", [("scope", "ws:lab")], "ws:lab has no pool; set one first");
        let expected = json!({
            "type": "urn:bursar:problem:refused/pool_missing",
            "title": "What was said was refused",
            "status": 422,
            "detail": "ws:lab has no pool; set one first",
            "code": "pool_missing",
            "fields": { "scope": "ws:lab" },
        });
        assert_eq!(json!(problem), expected);
        assert_eq!(json!(Problem::broken()).get("code"), None);
    }
}
