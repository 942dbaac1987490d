//! Usage events in Avro: read and written field by field, in the order of their schema, without a detour.

use std::borrow::Cow;

use super::{
    Kind,
    avro::{Reader, malformed, write_long, write_optional_string, write_string},
    newest,
};
use crate::domain::{
    event::{RunPhase, Tokens, Usage, UsageEvent, resolve_organization},
    reason::Reason,
    time::Timestamp,
};

/// A usage event as formats give it whose texts may have to be put together: from JSON, where they have escapes, and from
/// schemas of others.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ReadUsageEvent<'a> {
    /// See [`UsageEvent`].
    pub id: Cow<'a, str>,
    /// See [`UsageEvent`].
    pub source: Cow<'a, str>,
    /// See [`UsageEvent`].
    pub event_time: Timestamp,
    /// As it was sent; may be missing.
    pub organization_id: Option<Cow<'a, str>>,
    /// See [`UsageEvent`].
    pub workspace_id: Option<Cow<'a, str>>,
    /// See [`UsageEvent`].
    pub agent_id: Option<Cow<'a, str>>,
    /// See [`UsageEvent`].
    pub user_id: Option<Cow<'a, str>>,
    /// See [`UsageEvent`].
    pub product: Option<Cow<'a, str>>,
    /// See [`UsageEvent`].
    pub reservation_id: Option<Cow<'a, str>>,
    /// See [`UsageEvent`].
    pub trigger: Option<Cow<'a, str>>,
    /// See [`UsageEvent`].
    pub usage: ReadUsage<'a>,
}

/// What was used, as it was read.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum ReadUsage<'a> {
    /// See [`Usage::Run`].
    Run {
        /// To which state.
        phase: RunPhase,
    },
    /// See [`Usage::Tokens`].
    Tokens {
        /// The model.
        request_model: Cow<'a, str>,
        /// How many of each class.
        tokens: Tokens,
    },
}

impl<'a> ReadUsageEvent<'a> {
    /// The event, borrowing its texts from here.
    ///
    /// # Errors
    /// [`Reason::NoOrganization`].
    pub fn borrow(&self) -> Result<UsageEvent<'_>, Reason> {
        self.with(|text| Some(&**text)).expect("any text can be borrowed from here")
    }

    /// The event, borrowing its texts from where they were read; `None` if one of them does not stand there as it is.
    pub fn as_it_stands(&self) -> Option<UsageEvent<'a>> {
        let standing = |text: &Cow<'a, str>| match text {
            Cow::Borrowed(text) => Some(*text),
            Cow::Owned(_) => None,
        };
        self.with(standing)?.ok()
    }

    /// The event with the texts that `text` makes of these, if it does so of all.
    fn with<'s, 't>(
        &'s self,
        text: impl Fn(&'s Cow<'a, str>) -> Option<&'t str>,
    ) -> Option<Result<UsageEvent<'t>, Reason>> {
        let optional = |field: &'s Option<Cow<'a, str>>| match field {
            None => Some(None),
            Some(field) => text(field).map(Some),
        };
        let workspace_id = optional(&self.workspace_id)?;
        let organization_id = match resolve_organization(optional(&self.organization_id)?, workspace_id) {
            Ok(organization_id) => organization_id,
            Err(reason) => return Some(Err(reason)),
        };
        Some(Ok(UsageEvent {
            id: text(&self.id)?,
            source: text(&self.source)?,
            event_time: self.event_time,
            organization_id,
            workspace_id,
            agent_id: optional(&self.agent_id)?,
            user_id: optional(&self.user_id)?,
            product: optional(&self.product)?,
            reservation_id: optional(&self.reservation_id)?,
            trigger: optional(&self.trigger)?,
            usage: match &self.usage {
                ReadUsage::Run { phase } => Usage::Run { phase: *phase },
                ReadUsage::Tokens { request_model, tokens } => {
                    Usage::Tokens { request_model: text(request_model)?, tokens: *tokens }
                }
            },
        }))
    }
}

/// Reads the body of a usage event that was written with a published version of its schema.
///
/// # Errors
/// A [`Reason`] for every body that is none.
pub fn read_published(kind: Kind, version: u16, body: &[u8]) -> Result<UsageEvent<'_>, Reason> {
    let mut reader = Reader::new(body);
    let id = reader.string("id")?;
    let source = reader.string("source")?;
    let event_time = Timestamp::from_ms(reader.long()?);
    let organization_id = reader.optional_string("organization_id")?;
    let workspace_id = reader.optional_string("workspace_id")?;
    let agent_id = reader.optional_string("agent_id")?;
    let user_id = reader.optional_string("user_id")?;
    let product = reader.optional_string("product")?;
    let reservation_id = reader.optional_string("reservation_id")?;
    let usage = match kind {
        Kind::Run => {
            let phase = usize::try_from(reader.long()?).ok().and_then(|symbol| RunPhase::ALL.get(symbol).copied());
            let phase =
                phase.ok_or_else(|| malformed("field phase is none of started, completed, failed, cancelled"))?;
            Usage::Run { phase }
        }
        _ => {
            let request_model = reader.string("request_model")?;
            let [input, output, cache_read, cache_creation] =
                [reader.long()?, reader.long()?, reader.long()?, reader.long()?];
            Usage::Tokens { request_model, tokens: Tokens { input, output, cache_read, cache_creation } }
        }
    };
    // A run event has always had its trigger, a token event since version 2.
    let has_trigger = kind == Kind::Run || version >= 2;
    let trigger = if has_trigger { reader.optional_string("trigger")? } else { None };
    reader.end()?;
    let organization_id = resolve_organization(organization_id, workspace_id)?;
    let event = UsageEvent {
        id,
        source,
        event_time,
        organization_id,
        workspace_id,
        agent_id,
        user_id,
        product,
        reservation_id,
        trigger,
        usage,
    };
    event.validate()?;
    Ok(event)
}

/// Appends a usage event in single-object encoding, with the newest schema of its kind.
pub fn write(event: &UsageEvent<'_>, to: &mut Vec<u8>) {
    let kind = match event.usage {
        Usage::Run { .. } => Kind::Run,
        Usage::Tokens { .. } => Kind::Token,
    };
    to.extend_from_slice(&[0xc3, 0x01]);
    to.extend_from_slice(&newest(kind).fingerprint.to_le_bytes());
    write_string(event.id, to);
    write_string(event.source, to);
    write_long(event.event_time.ms(), to);
    write_optional_string(Some(event.organization_id), to);
    for text in [event.workspace_id, event.agent_id, event.user_id, event.product, event.reservation_id] {
        write_optional_string(text, to);
    }
    match event.usage {
        Usage::Run { phase } => write_long(phase as i64, to),
        Usage::Tokens { request_model, tokens } => {
            write_string(request_model, to);
            for count in [tokens.input, tokens.output, tokens.cache_read, tokens.cache_creation] {
                write_long(count, to);
            }
        }
    }
    write_optional_string(event.trigger, to);
}
