//! The usage event: an immutable fact from the platform, whose identity the sender chose.

use arrayvec::ArrayVec;
use serde::{Deserialize, Serialize};

use super::{
    ids::{self, ContentCheck, EventId, Fingerprint},
    reason::Reason,
    time::Timestamp,
};
use crate::faults::remembers_ids;

/// The largest quantity an event may carry: 2^53 − 1, the largest whole number that every JSON reader keeps exact.
pub const QUANTITY_MAX: i64 = (1 << 53) - 1;

/// Room for what a [`ContentCheck`] is taken of. It says what is folded in, so it never changes: checks are stored.
const CONTENT_BYTES: usize = 512;

/// The event times that a calendar can place: the years 1970 to 9999.
pub const EVENT_TIMES_MS: std::ops::Range<i64> = 0..253_402_300_800_000;

/// A usage event as it came in, borrowing its texts from the bytes it was decoded from.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct UsageEvent<'a> {
    /// Chosen by the sender; unique for `source`. A resend carries the same id, source and event time.
    pub id: &'a str,
    /// The system that sends, for example a gateway.
    pub source: &'a str,
    /// When it was used. Windows look at nothing else.
    pub event_time: Timestamp,
    /// Who is charged; never empty (see [`resolve_organization`]).
    pub organization_id: &'a str,
    /// The workspace, where there is one.
    pub workspace_id: Option<&'a str>,
    /// The agent, where there is one.
    pub agent_id: Option<&'a str>,
    /// The user on whose behalf, where there is one.
    pub user_id: Option<&'a str>,
    /// The product it was used in, for example `chat` or `coding`.
    pub product: Option<&'a str>,
    /// The hold that this usage consumes, where admission gave one.
    pub reservation_id: Option<&'a str>,
    /// What set the run off that this belongs to, for example `schedule` or `mention`.
    pub trigger: Option<&'a str>,
    /// What was used.
    pub usage: Usage<'a>,
}

/// What was used.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Usage<'a> {
    /// A run of an agent changed its state.
    Run {
        /// To which state.
        phase: RunPhase,
    },
    /// A model was called.
    Tokens {
        /// The model that was asked for.
        request_model: &'a str,
        /// How many tokens of each class.
        tokens: Tokens,
    },
}

/// The states of a run that are counted.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum RunPhase {
    /// It began.
    Started,
    /// It ended well.
    Completed,
    /// It ended in an error.
    Failed,
    /// It was stopped.
    Cancelled,
}

impl RunPhase {
    /// Every phase, in the order of the Avro enum.
    pub const ALL: [Self; 4] = [Self::Started, Self::Completed, Self::Failed, Self::Cancelled];

    /// The name used in events.
    pub const fn name(self) -> &'static str {
        match self {
            Self::Started => "started",
            Self::Completed => "completed",
            Self::Failed => "failed",
            Self::Cancelled => "cancelled",
        }
    }

    /// The phase of that name.
    pub fn parse(name: &str) -> Option<Self> {
        Self::ALL.into_iter().find(|phase| phase.name() == name)
    }
}

/// Tokens by class, in an event each at most [`QUANTITY_MAX`]. Stored by position: new ones come at the end.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default)]
pub struct Tokens {
    /// Sent to the model, without the cached.
    pub input: i64,
    /// Produced by the model.
    pub output: i64,
    /// Read from the provider's cache.
    pub cache_read: i64,
    /// Written to the provider's cache.
    pub cache_creation: i64,
}

/// The organization that an event belongs to: the one it names, else the one named like its workspace. A pure rule,
/// no look-up (design section 5, "Scopes").
///
/// # Errors
/// [`Reason::NoOrganization`] if it names neither.
pub fn resolve_organization<'a>(
    organization_id: Option<&'a str>,
    workspace_id: Option<&'a str>,
) -> Result<&'a str, Reason> {
    organization_id
        .filter(|id| !id.is_empty())
        .or(workspace_id.filter(|id| !id.is_empty()))
        .ok_or(Reason::NoOrganization)
}

impl<'a> UsageEvent<'a> {
    /// An event that names nobody but its organization.
    pub const fn new(
        id: &'a str,
        source: &'a str,
        event_time: Timestamp,
        organization_id: &'a str,
        usage: Usage<'a>,
    ) -> Self {
        Self {
            id,
            source,
            event_time,
            organization_id,
            workspace_id: None,
            agent_id: None,
            user_id: None,
            product: None,
            reservation_id: None,
            trigger: None,
            usage,
        }
    }
}

impl UsageEvent<'_> {
    /// What the ids of its account know it by; `None` where nothing is kept of ids ([`remembers_ids`]).
    pub fn event_id(&self) -> Option<EventId> {
        remembers_ids().then(|| EventId { fingerprint: self.fingerprint(), check: self.content_check() })
    }

    /// What makes this event itself.
    pub fn fingerprint(&self) -> Fingerprint {
        ids::fingerprint(self.organization_id, self.source, self.id, self.event_time)
    }

    /// A short hash over all that decides the charge: who, what, how much.
    fn content_check(&self) -> ContentCheck {
        let mut content = ArrayVec::<u8, CONTENT_BYTES>::new();
        let mut push = |bytes: &[u8]| {
            // What does not fit is folded in as a hash; two contents stay apart either way.
            if content.len() + bytes.len() + 8 <= CONTENT_BYTES {
                content.try_extend_from_slice(bytes).expect("it fits");
            } else {
                let hash = xxhash_rust::xxh3::xxh3_64(&[&content[..], bytes].concat());
                content.clear();
                content.extend(hash.to_le_bytes());
            }
        };
        for text in [self.workspace_id, self.agent_id, self.user_id] {
            push(text.unwrap_or_default().as_bytes());
            push(&[0xff]);
        }
        match self.usage {
            Usage::Run { phase } => push(&[phase as u8]),
            Usage::Tokens { request_model, tokens } => {
                push(request_model.as_bytes());
                for count in [tokens.input, tokens.output, tokens.cache_read, tokens.cache_creation] {
                    push(&count.to_le_bytes());
                }
            }
        }
        ids::content_check(&content)
    }

    /// Checks what every event must satisfy, whatever format it came in.
    ///
    /// # Errors
    /// The first [`Reason`] for which the event can never be applied.
    pub fn validate(&self) -> Result<(), Reason> {
        if self.id.is_empty() {
            return Err(Reason::EmptyField("id"));
        }
        if self.source.is_empty() {
            return Err(Reason::EmptyField("source"));
        }
        if !EVENT_TIMES_MS.contains(&self.event_time.ms()) {
            return Err(Reason::TimeOutOfRange { time_ms: self.event_time.ms() });
        }
        let names = [
            ("id", Some(self.id)),
            ("source", Some(self.source)),
            ("organization_id", Some(self.organization_id)),
            ("workspace_id", self.workspace_id),
            ("agent_id", self.agent_id),
            ("user_id", self.user_id),
            ("product", self.product),
            ("trigger", self.trigger),
        ];
        for (field, text) in names {
            if text.is_some_and(|text| text.len() > ids::ID_BYTES_MAX) {
                return Err(Reason::FieldTooLong { field, bytes_max: ids::ID_BYTES_MAX });
            }
        }
        if let Usage::Tokens { request_model, tokens } = self.usage {
            if request_model.len() > ids::ID_BYTES_MAX {
                return Err(Reason::FieldTooLong { field: "request_model", bytes_max: ids::ID_BYTES_MAX });
            }
            let counts = [
                ("input_tokens", tokens.input),
                ("output_tokens", tokens.output),
                ("cache_read_input_tokens", tokens.cache_read),
                ("cache_creation_input_tokens", tokens.cache_creation),
            ];
            for (field, count) in counts {
                if !(0..=QUANTITY_MAX).contains(&count) {
                    return Err(Reason::QuantityOutOfRange { field, quantity: i128::from(count) });
                }
            }
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// What names an event is stored: were it to change for texts of any length, resends of them would count again.
    #[test]
    fn ids_of_long_texts_never_change() {
        let [workspace, agent, user, source] = ["w", "a", "u", "s"].map(|letter| letter.repeat(256));
        let usage = Usage::Tokens { request_model: "m", tokens: Tokens { input: 5, ..Tokens::default() } };
        let event = UsageEvent {
            workspace_id: Some(&workspace),
            agent_id: Some(&agent),
            user_id: Some(&user),
            ..UsageEvent::new("e-1", &source, Timestamp::from_ms(1_700_000_000_000), "acme", usage)
        };
        let id = event.event_id().expect("ids are kept");
        assert_eq!((id.fingerprint.0, id.check.0), (11_341_325_304_009_060_840, 35_708));
    }
}
