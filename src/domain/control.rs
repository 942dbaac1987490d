//! What an admin or billing says: one record, one command (design section 5, "Control").

use serde::{Deserialize, Serialize};

use super::{
    ids::{self, ContentCheck, Fingerprint},
    limit::{Action, Selector},
    meter::Meter,
    rate_card::RateCard,
    scope::Scope,
    time::Timestamp,
    window::WindowKind,
};

/// A record of the control topic.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ControlRecord {
    /// Chosen by the sender; unique for `source`. A resend carries the same id, source and time.
    pub id: Box<str>,
    /// The system that sends.
    pub source: Box<str>,
    /// When it was said.
    pub time: Timestamp,
    /// Whose account it concerns.
    pub organization_id: Box<str>,
    /// Who said it, by a pseudonym.
    pub actor: Box<str>,
    /// Why, in the actor's words; may be empty.
    pub reason: Box<str>,
    /// What to do.
    pub command: Command,
    /// The command as JSON, as it stands in the journal.
    pub command_json: Box<str>,
}

impl ControlRecord {
    /// What makes this record itself.
    pub fn fingerprint(&self) -> Fingerprint {
        ids::fingerprint(&self.organization_id, &self.source, &self.id, self.time)
    }

    /// A short hash over the command.
    pub fn content_check(&self) -> ContentCheck {
        ids::content_check(self.command_json.as_bytes())
    }
}

/// Everything that can be said. A closed set: what is not here is refused when it is decoded.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Command {
    /// Sets time zone and anchor of the organization.
    SetOrganization {
        /// IANA name of the time zone.
        time_zone: chrono_tz::Tz,
        /// The local date that billing periods are counted from.
        anchor: chrono::NaiveDate,
    },
    /// Adds a rate card to those of the organization.
    SetRateCard(RateCard),
    /// Sets a limit, or replaces the one of the same id and selector.
    SetLimit(SetLimit),
    /// Removes a limit.
    RemoveLimit {
        /// Which.
        limit_id: Box<str>,
        /// What it was set on.
        selector: Selector,
    },
    /// Gives a workspace or the organization a pool, or changes what it includes.
    SetPool {
        /// The owner of the pool.
        scope: Scope,
        /// Fresh in every period, in micro-credits.
        included_micro: i64,
        /// Shares to announce, ascending.
        thresholds_percent: Vec<u16>,
    },
    /// Adds credits to a pool for the billing period of the record's time.
    Grant {
        /// The owner of the pool.
        scope: Scope,
        /// Chosen by who grants; the same id twice is one grant.
        grant_id: Box<str>,
        /// How much, in micro-credits.
        amount_micro: i64,
    },
    /// An admin pauses a scope (row A14).
    Pause {
        /// Which.
        scope: Scope,
    },
    /// An admin ends an admin's pause.
    Resume {
        /// Which.
        scope: Scope,
    },
    /// Time has come for what ends by itself. Written by Bursar, so that a replay does it at the same place.
    Due {
        /// All that ends at or before this instant.
        at: Timestamp,
    },
}

/// The fields of [`Command::SetLimit`].
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct SetLimit {
    /// Unique within the organization.
    pub limit_id: Box<str>,
    /// What it is set on.
    pub selector: Selector,
    /// Which count it bounds.
    pub meter: Meter,
    /// Within which window.
    pub window: WindowKind,
    /// The ceiling; `None` is unlimited.
    pub cap: Option<i64>,
    /// Shares to announce, ascending.
    pub thresholds_percent: Vec<u16>,
    /// What happens at the cap.
    pub action: Action,
}
