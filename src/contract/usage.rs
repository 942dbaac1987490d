//! Usage events in Avro: read and written field by field, in the order of their schema, without a detour.

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

/// A usage event that owns its texts: what the formats give that cannot be borrowed from.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct OwnedUsageEvent {
    /// See [`UsageEvent`].
    pub id: String,
    /// See [`UsageEvent`].
    pub source: String,
    /// See [`UsageEvent`].
    pub event_time: Timestamp,
    /// As it was sent; may be missing.
    pub organization_id: Option<String>,
    /// See [`UsageEvent`].
    pub workspace_id: Option<String>,
    /// See [`UsageEvent`].
    pub agent_id: Option<String>,
    /// See [`UsageEvent`].
    pub user_id: Option<String>,
    /// See [`UsageEvent`].
    pub product: Option<String>,
    /// See [`UsageEvent`].
    pub reservation_id: Option<String>,
    /// See [`UsageEvent`].
    pub trigger: Option<String>,
    /// See [`UsageEvent`].
    pub usage: OwnedUsage,
}

/// What was used, owning its texts.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum OwnedUsage {
    /// See [`Usage::Run`].
    Run {
        /// To which state.
        phase: RunPhase,
    },
    /// See [`Usage::Tokens`].
    Tokens {
        /// The model.
        request_model: String,
        /// How many of each class.
        tokens: Tokens,
    },
}

impl Default for OwnedUsage {
    fn default() -> Self {
        Self::Run { phase: RunPhase::Started }
    }
}

impl OwnedUsageEvent {
    /// The event, borrowing its texts from here.
    ///
    /// # Errors
    /// [`Reason::NoOrganization`].
    pub fn borrow(&self) -> Result<UsageEvent<'_>, Reason> {
        Ok(UsageEvent {
            id: &self.id,
            source: &self.source,
            event_time: self.event_time,
            organization_id: resolve_organization(self.organization_id.as_deref(), self.workspace_id.as_deref())?,
            workspace_id: self.workspace_id.as_deref(),
            agent_id: self.agent_id.as_deref(),
            user_id: self.user_id.as_deref(),
            product: self.product.as_deref(),
            reservation_id: self.reservation_id.as_deref(),
            trigger: self.trigger.as_deref(),
            usage: match &self.usage {
                OwnedUsage::Run { phase } => Usage::Run { phase: *phase },
                OwnedUsage::Tokens { request_model, tokens } => Usage::Tokens { request_model, tokens: *tokens },
            },
        })
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
