//! What a command did beyond being done.

use super::{NamedLimit, Part, Text};
use crate::domain::{organization::Plan, pause::CauseKind, payment::Source, scope::Scope, time::Timestamp};

answers! {
    /// What a command did beyond being done, or did not do and need not.
    pub enum Applied {
        /// The time zone or anchor holds a while after its record.
        WhatRunsEndsAsPlanned {
            /// The windows that contain this instant are the last of the old cut.
            at: Timestamp,
        } => "what_runs_ends_as_planned",
        /// A plan decides what can be set from now on, and nothing of what was set before.
        WhatWasSetStays {
            /// The plan that holds now.
            plan: Plan,
        } => "what_was_set_stays",
        /// The grant is a copy of one that was given.
        GrantGivenBefore {
            /// Which.
            grant_id: Box<str>,
        } => "grant_given_before",
        /// The grant is given, and answers no reload that is open: the one that it names has lapsed.
        ReloadNotOpen {
            /// Which reload it names.
            reload_id: Box<str>,
        } => "reload_not_open",
        /// What was left of a grant is taken back.
        TakenBack {
            /// How much, in micro-credits.
            micro: i64,
        } => "taken_back",
        /// What an adjustment added is charged.
        Charged {
            /// To whom; what is 0 is left out.
            parts: Vec<Part>,
        } => "charged",
        /// What an adjustment took back is given back.
        Refunded {
            /// To whom; what is 0 is left out.
            parts: Vec<Part>,
            /// How much of it, in micro-credits, nobody has: it was paid by grants that have ended.
            not_returned_micro: i64,
        } => "refunded",
        /// The workspace is known already.
        RegisteredBefore {
            /// Which.
            scope: Scope,
            /// Who registered it.
            created_by: Box<str>,
        } => "registered_before",
        /// The admin's pause is over, and the scope is paused all the same.
        PauseRemains {
            /// For these causes.
            causes: Vec<CauseKind>,
        } => "pause_remains",
        /// After an approval each limit on the member's extra credits leaves room.
        NoLimitBinds => "no_limit_binds",
        /// After an approval these limits still leave the member no room.
        StillBinding {
            /// The member's own, those of the seat, of every user, and the organization's.
            limits: Vec<NamedLimit>,
        } => "still_binding",
        /// An approval switched sources of extra usage on for the member.
        SwitchedOn {
            /// Which were off.
            sources: Vec<Source>,
        } => "switched_on",
        /// An approval switched nothing on, because the organization has switched extra usage off entirely.
        ExtraUsageStaysOff => "extra_usage_stays_off",
        /// What a release without codes answered; read from its outbox, and never decided.
        AppliedByEarlierRelease {
            /// Its sentence.
            words: Box<str>,
        } => "applied_by_earlier_release",
    }
}
