//! What happens, as it happens: server-sent events of an organization, resumable by `Last-Event-ID`; and the latest of it as
//! a list.

use std::{collections::BTreeMap, convert::Infallible, sync::Arc, time::Duration};

use axum::{
    Extension, Json,
    extract::State,
    http::HeaderMap,
    response::{
        Sse,
        sse::{Event, KeepAlive},
    },
};
use futures::Stream;
use serde::Deserialize;
use serde_json::json;
use tokio::sync::{OwnedSemaphorePermit, broadcast};
use utoipa::IntoParams;

use super::{
    Api,
    access::{Caller, Role},
    credits::{leave_out, leave_out_of_journal, reads_credits},
    feed::{Entry, SignalKind},
    figures,
    guard::{Path, Query},
    problem::Problem,
    reads::{OfOrganization, ReadProblems},
    shapes::{SignalShown, Signals},
};
use crate::domain::{meter::Meter, scope::Scope, window::WindowKind};

/// How often it is looked whether an account has moved: a few bytes for each who listens.
const LOOK: Duration = Duration::from_millis(100);

/// Usage is read this long after it was read last also where the account stands: periods turn by themselves.
const READ_ANYWAY: Duration = Duration::from_secs(5);

/// A stream ends after this time, and is resumed by who still may: a key that was taken back must not listen on.
const LISTENS: Duration = Duration::from_secs(300);

/// Signals that one list shows.
const LISTED: usize = 500;

/// Which signals.
#[derive(Clone, Deserialize, IntoParams)]
#[into_params(parameter_in = Query)]
pub struct SignalsQuery {
    /// Only those of this workspace and its agents.
    pub workspace_id: Option<String>,
}

impl Entry {
    fn scope(&self) -> Scope {
        // A line of a statement calls it a resource, as FOCUS does.
        let scope = self.data["scope"].as_str().or_else(|| self.data["resource_id"].as_str());
        scope.and_then(|scope| Scope::parse(scope).ok()).unwrap_or(Scope::Organization)
    }

    fn shown(&self, with_credits: bool) -> SignalShown {
        let (id, kind) = (self.id(), self.kind.name().to_owned());
        let mut data = self.data.clone();
        if !with_credits && self.kind == SignalKind::Journal {
            leave_out_of_journal(&mut data);
        } else if !with_credits {
            leave_out(&mut data);
        }
        SignalShown { id, kind, recorded_at: self.recorded_at.to_string(), data }
    }
}

/// Who listens, and to what.
#[derive(Clone)]
struct Listener {
    caller: Caller,
    organization_id: String,
    workspace_id: Option<String>,
    /// Whether figures of credits are told.
    with_credits: bool,
}

impl Listener {
    fn hears(&self, entry: &Entry) -> bool {
        if entry.organization_id != self.organization_id {
            return false;
        }
        let is_own = entry.data["actor"].as_str() == Some(self.caller.actor(&self.organization_id));
        let scope = entry.scope();
        let of_workspace = |wanted: &String| match &scope {
            Scope::Workspace(workspace) | Scope::Agent { workspace, .. } => **workspace == **wanted,
            _ => false,
        };
        let is_seen = match entry.kind {
            // The journal names nobody but its actor.
            SignalKind::Journal => self.caller.sees_all_of(&self.organization_id) || is_own,
            // There is nothing in it but credits.
            SignalKind::Forecast if !self.with_credits => false,
            _ => Api::sees(&self.caller, &self.organization_id, &scope),
        };
        is_seen && self.workspace_id.as_ref().is_none_or(of_workspace)
    }
}

/// Of each topic, the last place that was told. Written as `Last-Event-ID`.
#[derive(Clone)]
struct Places(BTreeMap<SignalKind, (i32, i64)>);

impl Default for Places {
    /// Before everything.
    fn default() -> Self {
        Self(SignalKind::ALL.into_iter().map(|kind| (kind, (-1, -1))).collect())
    }
}

impl Places {
    fn note(&mut self, entry: &Entry) {
        self.0.insert(entry.kind, (entry.partition, entry.offset));
    }

    fn id(&self) -> String {
        let place =
            |(kind, (partition, offset)): (&SignalKind, &(i32, i64))| format!("{}.{partition}.{offset}", kind.name());
        self.0.iter().map(place).collect::<Vec<_>>().join(",")
    }

    fn read(text: &str) -> Option<Self> {
        let place = |text: &str| {
            let mut parts = text.split('.');
            let kind = parts.next().and_then(|name| SignalKind::ALL.into_iter().find(|kind| kind.name() == name))?;
            Some((kind, (parts.next()?.parse().ok()?, parts.next()?.parse().ok()?)))
        };
        text.split(',').filter(|text| !text.is_empty()).map(place).collect::<Option<_>>().map(Self)
    }

    fn is_before(&self, entry: &Entry) -> bool {
        let told = self.0.get(&entry.kind);
        // After partitions were added, an organization may go on in another one.
        told.is_none_or(|(partition, offset)| *partition != entry.partition || *offset < entry.offset)
    }
}

impl Api {
    async fn listener(&self, caller: Caller, of: OfOrganization, query: SignalsQuery) -> Result<Listener, Problem> {
        let with_credits = self.reads_credits(&caller, &of.organization_id).await?;
        Ok(Listener { caller, organization_id: of.organization_id, workspace_id: query.workspace_id, with_credits })
    }
}

/// The latest signals that the caller sees, newest first: pauses with their causes, thresholds, requests, statements, and
/// answers to control records.
#[utoipa::path(get, path = "/v1/organizations/{organization_id}/events", params(OfOrganization, SignalsQuery),
    responses((status = 200, body = Signals), ReadProblems))]
pub async fn events(
    State(api): State<Arc<Api>>,
    Extension(caller): Extension<Caller>,
    Path(of): Path<OfOrganization>,
    Query(query): Query<SignalsQuery>,
) -> Result<Json<Signals>, Problem> {
    let listener = api.listener(caller, of, query).await?;
    let kept = api.feed.of(&listener.organization_id);
    let mut heard: Vec<&Arc<Entry>> = kept.iter().filter(|entry| listener.hears(entry)).collect();
    heard.sort_by_key(|entry| std::cmp::Reverse(entry.recorded_at));
    let with_credits = listener.with_credits;
    Ok(Json(Signals { events: heard.into_iter().take(LISTED).map(|entry| entry.shown(with_credits)).collect() }))
}

/// Server-sent events: `usage` whenever usage has moved, at most ten times a second; `threshold`, `pause`, `request`,
/// `statement` and `journal` as they are published; `gap` where some were lost and everything has to be read again. With
/// `Last-Event-ID` what came meanwhile is told first.
#[utoipa::path(get, path = "/v1/organizations/{organization_id}/live",
    params(OfOrganization, SignalsQuery, ("Last-Event-ID" = Option<String>, Header, description = "The id of the last event that was received")),
    responses((status = 200, body = String, content_type = "text/event-stream"), ReadProblems))]
pub async fn live(
    State(api): State<Arc<Api>>,
    Extension(caller): Extension<Caller>,
    Path(of): Path<OfOrganization>,
    Query(query): Query<SignalsQuery>,
    headers: HeaderMap,
) -> Result<Sse<impl Stream<Item = Result<Event, Infallible>>>, Problem> {
    let permit = Arc::clone(&api.listeners).try_acquire_owned();
    let permit = permit.map_err(|_| Problem::unavailable("too many listen already; ask again later"))?;
    let last = headers.get("last-event-id").and_then(|id| id.to_str().ok());
    let places = last.map(|last| Places::read(last).ok_or_else(|| Problem::invalid("Last-Event-ID is none of ours")));
    let listener = api.listener(caller, of, query).await?;
    let ear = Ear::open(Arc::clone(&api), listener, places.transpose()?, permit);
    Ok(Sse::new(futures::stream::unfold(ear, Ear::next)).keep_alive(KeepAlive::default()))
}

/// One who listens.
struct Ear {
    api: Arc<Api>,
    listener: Listener,
    places: Places,
    waiting: std::collections::VecDeque<Event>,
    heard: broadcast::Receiver<Arc<Entry>>,
    look: tokio::time::Interval,
    /// What was last told of usage.
    told: String,
    /// Where the account stood when usage was read, and when that was.
    read: Option<(Vec<u8>, tokio::time::Instant)>,
    until: tokio::time::Instant,
    _permit: OwnedSemaphorePermit,
}

impl Ear {
    /// Listens from now on, and has what came since `places` told first.
    fn open(api: Arc<Api>, listener: Listener, places: Option<Places>, permit: OwnedSemaphorePermit) -> Self {
        let heard = api.feed.listen();
        let kept = api.feed.of(&listener.organization_id);
        let mut look = tokio::time::interval(LOOK);
        look.set_missed_tick_behavior(tokio::time::MissedTickBehavior::Delay);
        let (resumes, places) = (places.is_some(), places.unwrap_or_default());
        let (waiting, until) = (std::collections::VecDeque::new(), tokio::time::Instant::now() + LISTENS);
        let mut ear = Self {
            api,
            listener,
            places,
            waiting,
            heard,
            look,
            told: String::new(),
            read: None,
            until,
            _permit: permit,
        };
        if resumes {
            // Where nothing of a kind was ever there, nobody knows from where on it would be missed.
            let mut told = ear.places.0.iter().filter(|(_, (partition, _))| *partition >= 0);
            if !told.all(|(kind, (partition, offset))| ear.api.feed.has_all_after(*kind, *partition, *offset)) {
                ear.gap();
            }
        }
        for entry in &kept {
            if resumes { ear.hear(entry) } else { ear.places.note(entry) }
        }
        ear
    }

    async fn next(mut self) -> Option<(Result<Event, Infallible>, Self)> {
        loop {
            if let Some(event) = self.waiting.pop_front() {
                return Some((Ok(event), self));
            }
            tokio::select! {
                () = tokio::time::sleep_until(self.until) => return None,
                heard = self.heard.recv() => match heard {
                    Ok(entry) => self.hear(&entry),
                    Err(broadcast::error::RecvError::Lagged(_)) => self.gap(),
                    Err(broadcast::error::RecvError::Closed) => return None,
                },
                _ = self.look.tick() => self.look_at_usage().await,
            }
        }
    }

    fn hear(&mut self, entry: &Entry) {
        if entry.organization_id != self.listener.organization_id || !self.places.is_before(entry) {
            return;
        }
        self.places.note(entry);
        if self.listener.hears(entry) {
            let event = Event::default().event(entry.kind.name()).id(self.places.id());
            self.waiting.push_back(event.data(json!(entry.shown(self.listener.with_credits)).to_string()));
        }
    }

    fn gap(&mut self) {
        let why = json!({ "detail": "some signals were lost on the way: read what you show again" });
        self.waiting.push_back(Event::default().event("gap").data(why.to_string()));
    }

    /// Whether the account has moved since usage was read, or that was long ago.
    async fn has_moved(&mut self) -> bool {
        let heads = self.api.reader.heads(std::slice::from_ref(&self.listener.organization_id)).await;
        let Some(head) = heads.ok().and_then(|mut heads| heads.pop()).flatten() else { return false };
        let stands = self.read.as_ref().is_some_and(|(known, at)| *known == head && at.elapsed() < READ_ANYWAY);
        if !stands {
            self.read = Some((head, tokio::time::Instant::now()));
        }
        !stands
    }

    /// Tells the credits of the organization or workspace, if the account has moved.
    async fn look_at_usage(&mut self) {
        if !self.has_moved().await {
            return;
        }
        let Listener { caller, organization_id, workspace_id, .. } = &self.listener;
        let own = |role: &Role| match role {
            Role::WorkspaceAdmin(of, workspace) if **of == **organization_id => {
                Some(Scope::Workspace((&**workspace).into()))
            }
            Role::Member(of, user) if **of == **organization_id => Some(Scope::User((&**user).into())),
            _ => None,
        };
        let scope = match workspace_id {
            Some(workspace) => Scope::Workspace(workspace.as_str().into()),
            None if caller.sees_all_of(organization_id) => Scope::Organization,
            None => caller.roles.iter().find_map(own).unwrap_or(Scope::Organization),
        };
        if !Api::sees(caller, organization_id, &scope) {
            return;
        }
        let read = self.api.reader.scopes(organization_id, std::slice::from_ref(&scope)).await;
        let Ok(Some((base, mut rows))) = read else {
            self.read = None;
            return;
        };
        let now = self.api.clock.now();
        let period = base.window(WindowKind::Period, now);
        let Some(Some(row)) = rows.pop() else { return };
        let count = |meter| row.windows.count_of(WindowKind::Period, period.start, meter).unwrap_or(0);
        let organization = (scope != Scope::Organization).then_some((&Scope::Organization, &base.organization));
        let paused_for =
            figures::causes(&[Some((&scope, &row)), organization].into_iter().flatten().collect::<Vec<_>>());
        let pool = row.pool.as_deref().and_then(|pool| figures::pool(&scope.to_string(), pool, period, now));
        let mut usage = json!({ "scope": scope.to_string(), "period": figures::span(period),
            "credits_micro": count(Meter::CreditsMicro), "runs_completed": count(Meter::RunsCompleted),
            "unpriced_tokens": count(Meter::UnpricedTokens), "pool": pool,
            "status": figures::status(&paused_for), "paused_for": paused_for });
        if !reads_credits(caller, organization_id, base.settings.plan) {
            leave_out(&mut usage);
        }
        let usage = usage.to_string();
        if usage != self.told {
            self.waiting.push_back(Event::default().event("usage").id(self.places.id()).data(&usage));
            self.told = usage;
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn places_are_read_as_they_are_written() {
        let places = Places::read("threshold.3.17,pause.3.-1").expect("places");
        assert_eq!(places.id(), "threshold.3.17,pause.3.-1");
        assert!(Places::read("").is_some_and(|places| places.id().is_empty()));
        assert!(Places::default().id().starts_with("threshold.-1.-1,pause.-1.-1"));
        for wrong in ["x", "pause.3", "pause.x.1", "king.1.1"] {
            assert!(Places::read(wrong).is_none(), "{wrong}");
        }
    }
}
