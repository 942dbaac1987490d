//! What admins and members say: each call is a control record, and is answered once it is applied.

use std::{collections::BTreeMap, sync::Arc, time::Duration};

use axum::{
    Extension, Json,
    extract::State,
    http::{HeaderMap, StatusCode, header},
    response::{IntoResponse, Response},
};
use serde::{Deserialize, Serialize};
use serde_json::{Value as Json_, json};
use tokio::{sync::broadcast, time::Instant};
use utoipa::{IntoParams, IntoResponses};
use xxhash_rust::xxh3::xxh3_128;

use super::{
    Api,
    access::{COMMANDS, Caller, Permission},
    feed::Entry,
    guard::{Body256, Path},
    problem::Problem,
    reads::ReadProblems,
    shapes::{Answer, AppliedShown},
};
use crate::{
    contract::{
        Kind,
        json::{cloud_event, read_control},
    },
    domain::time::Timestamp,
    notify::encode::Outgoing,
};

/// How long a key is remembered under which something was said, unless ids are for less.
const KEYS_KEPT: Duration = Duration::from_secs(24 * 3_600);

/// How long such a key may be.
const KEY_BYTES_MAX: usize = 200;

/// A command for an organization.
#[derive(Deserialize, IntoParams)]
#[into_params(parameter_in = Path)]
pub struct OfCommand {
    /// Whose account.
    pub organization_id: String,
    /// A command of `schemas/control.avsc`, for example `set_limit`.
    pub command: String,
}

/// A control record.
#[derive(Deserialize, IntoParams)]
#[into_params(parameter_in = Path)]
pub struct OfRecord {
    /// Whose account.
    pub organization_id: String,
    /// As it was answered when it was said.
    pub record_id: String,
}

/// What saying something may be answered with.
#[derive(IntoResponses)]
#[allow(dead_code, reason = "it is read by the macro that documents routes")]
pub enum SaidAnswers {
    /// It is applied.
    #[response(status = 200)]
    Applied(Answer),
    /// It is sent and not applied yet: ask `Location` later.
    #[response(status = 202)]
    Sent(Answer),
    /// The body is too large.
    #[response(status = 413, content_type = "application/problem+json")]
    TooLarge(Problem),
    /// It contradicts itself, or the account refuses it; or the key was used for something else.
    #[response(status = 422, content_type = "application/problem+json")]
    Refused(Problem),
}

/// What was said under a key.
#[derive(Serialize, Deserialize)]
struct Remembered {
    record_id: String,
    time: Timestamp,
    /// A hash of what was said.
    body: String,
}

/// Says a command: a control record of this organization with the caller as its actor. The body is the command as in
/// `schemas/control.avsc`, and may have a `reason`. With `Idempotency-Key` the same call is done once, however often it is
/// sent within a day.
#[utoipa::path(post, path = "/v1/organizations/{organization_id}/commands/{command}",
    params(OfCommand, ("Idempotency-Key" = Option<String>, Header, description = "Names this call among those of the caller; at most 200 bytes")),
    request_body = serde_json::Value, responses(SaidAnswers, ReadProblems))]
pub async fn say(
    State(api): State<Arc<Api>>,
    Extension(caller): Extension<Caller>,
    Path(of): Path<OfCommand>,
    headers: HeaderMap,
    Body256(body): Body256<Json_>,
) -> Result<Response, Problem> {
    let OfCommand { organization_id, command } = of;
    if !COMMANDS.iter().any(|(name, _)| *name == command) {
        return Err(Problem::not_found(format!("there is no command {command:?}; /v1/openapi.json has them all")));
    }
    let Json_::Object(mut fields) = body else { return Err(Problem::invalid("the body is no object")) };
    let reason = fields.remove("reason").unwrap_or(json!(""));
    let body = Json_::Object(fields);
    check_may_say(&api, &caller, &organization_id, &command, &body).await?;
    let actor = caller.actor(&organization_id);
    let mut said = json!({ "organization_id": organization_id, "actor": actor, "reason": reason, &command: body });
    // Refused here and now if it can be told without the account.
    read_control(cloud_event(Kind::Control, "bursar-api", "1", api.clock.now(), said.clone()).to_string().as_bytes())
        .map_err(|why| Problem::refused(why.to_string()))?;
    let Remembered { record_id, time, .. } = remembered(&api, &organization_id, &caller, &headers, &said).await?;
    // Left out, an owner speaks. What is remembered under a key is without it, as releases before remembered it.
    if !caller.is_owner(&organization_id) {
        said["by_owner"] = json!(false);
    }
    let record = cloud_event(Kind::Control, "bursar-api", &record_id, time, said).to_string();
    let heard = api.feed.listen();
    if let Some(known) = api.feed.answer(&organization_id, &record_id) {
        return answered(&record_id, &known);
    }
    let (key, payload) = (organization_id.clone(), record.into_bytes());
    let outgoing = Outgoing { kind: Kind::Control, key, partition_by: None, timestamp: None, payload };
    let until = Instant::now() + api.answer_wait;
    let answer = async {
        if let Err(error) = api.publisher.records(&[outgoing]).await {
            tracing::warn!(%error, "a control record could not be sent");
            return Err(Problem::unavailable(
                "Kafka did not say that it has the record: ask again with the same Idempotency-Key, and it is done once",
            ));
        }
        Ok(wait_for_answer(heard, &organization_id, &record_id).await)
    };
    // What is under way when the time is over may still be done.
    let answer = tokio::time::timeout_at(until, answer).await.unwrap_or(Ok(None))?;
    match answer.or_else(|| api.feed.answer(&organization_id, &record_id)) {
        Some(entry) => answered(&record_id, &entry),
        None => Ok(sent(&organization_id, record_id)),
    }
}

/// Whether the caller may say it: by the roles, and by what the owners of the organization keep for themselves.
async fn check_may_say(
    api: &Api,
    caller: &Caller,
    organization_id: &str,
    command: &str,
    body: &Json_,
) -> Result<(), Problem> {
    match caller.may_say(organization_id, command, body) {
        Permission::Granted => Ok(()),
        Permission::Denied => {
            Err(Problem::forbidden(format!("{} has no role that may say {command} here", caller.subject)))
        }
        Permission::UnlessReserved(control) => {
            let base = api.reader.base(organization_id).await?;
            if base.is_some_and(|base| base.settings.reserved.contains(&control)) {
                let why = format!("{} is reserved in {organization_id}: ask an owner to say {command}", control.name());
                return Err(Problem::reserved(why));
            }
            Ok(())
        }
    }
}

fn sent(organization_id: &str, record_id: String) -> Response {
    let place = format!("/v1/organizations/{organization_id}/records/{record_id}");
    let is_plain = organization_id.bytes().all(|byte| byte.is_ascii_alphanumeric() || b"-_.".contains(&byte));
    let answer = Json(Answer { record_id, result: "sent".to_owned(), answer: None, applied: Vec::new() });
    if is_plain {
        return (StatusCode::ACCEPTED, [(header::LOCATION, place)], answer).into_response();
    }
    (StatusCode::ACCEPTED, answer).into_response()
}

/// The record's id and time: those of the first call under the same key, so that the account finds it to be the same.
async fn remembered(
    api: &Api,
    organization_id: &str,
    caller: &Caller,
    headers: &HeaderMap,
    said: &Json_,
) -> Result<Remembered, Problem> {
    let record_id = format!("api-{:032x}", rand::random::<u128>());
    let fresh = Remembered { record_id, time: api.clock.now(), body: hash_of(said) };
    let Some(key) = headers.get("idempotency-key") else { return Ok(fresh) };
    let key = key.to_str().ok().filter(|key| !key.is_empty() && key.len() <= KEY_BYTES_MAX);
    let key =
        key.ok_or_else(|| Problem::invalid(format!("Idempotency-Key has 1 to {KEY_BYTES_MAX} visible characters")))?;
    let name = hash_of(&json!([caller.subject, key]));
    let text = serde_json::to_string(&fresh).expect("texts and a number are JSON");
    let Some(known) = api.reader.remember(organization_id, &name, &text, KEYS_KEPT.min(api.horizon)).await? else {
        return Ok(fresh);
    };
    let known: Remembered = serde_json::from_str(&known).map_err(|_| Problem::unavailable("the key cannot be read"))?;
    if known.body == fresh.body {
        return Ok(known);
    }
    Err(Problem::refused("this Idempotency-Key was used for something else; take a new one"))
}

fn hash_of(said: &Json_) -> String {
    format!("{:032x}", xxh3_128(said.to_string().as_bytes()))
}

async fn wait_for_answer(
    mut heard: broadcast::Receiver<Arc<Entry>>,
    organization_id: &str,
    record_id: &str,
) -> Option<Arc<Entry>> {
    loop {
        match heard.recv().await {
            Ok(entry) if entry.answers(organization_id, record_id) => return Some(entry),
            // What was missed is looked up in the end.
            Ok(_) | Err(broadcast::error::RecvError::Lagged(_)) => {}
            Err(broadcast::error::RecvError::Closed) => return None,
        }
    }
}

fn answered(record_id: &str, entry: &Entry) -> Result<Response, Problem> {
    let data = &entry.data;
    let text = |field: &str| data[field].as_str().filter(|text| !text.is_empty()).map(str::to_owned);
    if data["result"] != "applied" {
        let why = text("refused_because").unwrap_or_else(|| "no reason was given".to_owned());
        let fields = BTreeMap::<String, String>::deserialize(&data["fields"]).unwrap_or_default();
        return Err(match text("code") {
            Some(code) => Problem::refusal(&code, fields, why),
            None => Problem::refused(why),
        });
    }
    // A release before had no codes.
    let applied = Vec::<AppliedShown>::deserialize(&data["applied"]).unwrap_or_default();
    let answer =
        Answer { record_id: record_id.to_owned(), result: "applied".to_owned(), answer: text("answer"), applied };
    Ok(Json(answer).into_response())
}

/// What became of a control record that was said lately.
#[utoipa::path(get, path = "/v1/organizations/{organization_id}/records/{record_id}", params(OfRecord),
    responses((status = 200, body = Answer), (status = 422, body = Problem, content_type = "application/problem+json"), ReadProblems))]
pub async fn record(
    State(api): State<Arc<Api>>,
    Extension(caller): Extension<Caller>,
    Path(of): Path<OfRecord>,
) -> Result<Response, Problem> {
    let entry = api.feed.answer(&of.organization_id, &of.record_id);
    let is_seen = |entry: &Arc<Entry>| {
        caller.sees_all_of(&of.organization_id)
            || entry.data["actor"].as_str() == Some(caller.actor(&of.organization_id))
    };
    let entry = entry.filter(is_seen).ok_or_else(|| {
        Problem::not_found("it is not applied yet, or that was too long ago: usage.journal has all of them")
    })?;
    answered(&of.record_id, &entry)
}
