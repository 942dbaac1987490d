//! The answers to control records as sentences, for people: in the journal, in dead letters, in problems of the API,
//! and in `bursar control`.
//!
//! Programs read codes and fields ([`crate::domain::answer`]); these words may change.

use std::fmt::Display;

use crate::domain::{
    answer::{Applied, Refused},
    limit::Selector,
    payment::Mode,
    scope::Scope,
};

/// What a command did beyond being done; empty if there is nothing to say.
pub fn applied(answers: &[Applied]) -> String {
    let sentences: Vec<String> = answers.iter().map(applied_one).collect();
    sentences.join("; ")
}

fn applied_one(answer: &Applied) -> String {
    match answer {
        Applied::WhatRunsEndsAsPlanned { at } => format!("what runs at {at} ends as planned; what follows is new"),
        Applied::WhatWasSetStays { .. } => {
            "what was set before stays; what the plan lacks can no longer be set".to_owned()
        }
        Applied::GrantGivenBefore { grant_id } => format!("grant {grant_id} was given before; nothing is added"),
        Applied::ReloadNotOpen { reload_id } => {
            format!("reload {reload_id} is not open; the grant stands for itself")
        }
        Applied::TakenBack { micro: 1 } => "1 micro-credit is taken back".to_owned(),
        Applied::TakenBack { micro } => format!("{micro} micro-credits are taken back"),
        Applied::Charged { parts } | Applied::Refunded { parts, not_returned_micro: 0 } => list(parts, ", "),
        Applied::Refunded { parts, not_returned_micro } => {
            format!("{}; {not_returned_micro} of it to grants that have ended", list(parts, ", "))
        }
        Applied::RegisteredBefore { scope, created_by } => {
            format!("{scope} was registered by {created_by} before; nothing is changed")
        }
        Applied::PauseRemains { causes } => {
            format!("still paused for: {}", list(causes.iter().map(|cause| cause.name()), ", "))
        }
        Applied::NoLimitBinds => "no limit binds the member now".to_owned(),
        Applied::StillBinding { limits } => format!("still binding: {}", list(limits, ", ")),
        Applied::SwitchedOn { sources } => {
            let verb = if sources.len() == 1 { "is" } else { "are" };
            format!("{} {verb} switched on for the member", list(sources.iter().map(|source| source.name()), " and "))
        }
        Applied::ExtraUsageStaysOff => {
            "extra usage is switched off for the whole organization, and stays off for the member".to_owned()
        }
        Applied::AppliedByEarlierRelease { words } => words.to_string(),
    }
}

/// Why a command did nothing, and what to do.
pub fn refused(why: &Refused) -> String {
    match why {
        Refused::NotAnAgent { scope } => format!("{scope} is no agent: write agent:WORKSPACE/AGENT"),
        Refused::NotAPoolOwner { scope } => {
            format!("{scope} is of kind {}; only an organization or a workspace has a pool", scope.kind().name())
        }
        Refused::MeterCannotBeLimited { meter } => {
            format!("{} cannot be bounded by a limit; choose another meter", meter.name())
        }
        Refused::SessionOfNoUser { .. } => "only a user has sessions".to_owned(),
        Refused::GrantEndsBeforeItStarts { effective_from, expires_at } => {
            format!("the grant ends at {expires_at}, before it starts at {effective_from}")
        }
        Refused::GrantHasExpired { grant_id, expires_at } => {
            format!("grant {grant_id} has expired at {expires_at} already; write a later expires_at, or none")
        }
        Refused::FreePhaseEndsInThePast { until, record_time } => {
            format!("until {until} is not after the record's time {record_time}; write a later one")
        }
        Refused::EventTimeNotPast { event_time, record_time } => {
            format!("event_time {event_time} is not in the past: the record came at {record_time}")
        }
        Refused::AdjustmentChangesNothing => "the adjustment changes nothing".to_owned(),

        Refused::PlanLacksCredits { plan } => {
            format!("the plan {} has no credits; they need business or enterprise", plan.name())
        }
        Refused::PlanLacksConsole { plan } => {
            format!("the plan {} has no credits and rules over all workspaces; they need enterprise", plan.name())
        }
        Refused::ModeHasNoSource { mode, source } => format!("mode {} has no source {}", mode.name(), source.name()),
        Refused::ModeHasNoSeats { mode } => format!("mode {} has no seats", mode.name()),
        Refused::ModeHasOnePool { mode, scope } => {
            format!("{}; set it on org, not on {scope}", one_pool(*mode))
        }
        Refused::WorkspacePoolsStand { mode, pools } if pools.count == 1 => {
            format!("{}; {pools} has a pool: remove it first", one_pool(*mode))
        }
        Refused::WorkspacePoolsStand { mode, pools } => {
            format!("{}; {pools} have pools: remove them first", one_pool(*mode))
        }
        Refused::SpendLimitsStand { mode, limits } => {
            format!("{}; first remove {}", members_bounded(*mode), counted(limits.count, "limit", limits))
        }
        Refused::SpendLimitBesideSeats { mode, selector, limit_id } => {
            format!("{}; limit {limit_id} cannot be set on {}", members_bounded(*mode), selector.describe())
        }
        Refused::FreePhaseOver { .. } => "the free phase is over; usage since then is charged".to_owned(),

        Refused::PoolMissing { scope } => format!("{scope} has no pool; set one first (it may include 0)"),
        Refused::NoPoolToRemove { scope } => format!("{scope} has no pool; there is nothing to remove"),
        Refused::GrantsHaveSomethingLeft { scope, left_micro, grants } => format!(
            "the pool of {scope} has {} left of {}; void what is left first, or wait until it is spent or ends",
            micro_credits(*left_micro),
            counted(grants.count, "grant", grants)
        ),
        Refused::GrantUnknown { scope, grant_id } => format!("{scope} has no grant {grant_id:?}"),
        Refused::NothingLeftOfGrant { grant_id } => {
            format!("nothing is left of grant {grant_id}: what is spent is not taken back")
        }
        Refused::GrantPeriodOver { grant_id, period_end } => format!(
            "grant {grant_id} ended with its period at {period_end}; it pays late charges of that period only, and is \
             not taken back"
        ),
        Refused::PurchaseBeginsAfterItsPeriod { period_end, .. } => {
            format!("a purchased grant ends with its period at {period_end}, before it starts")
        }
        Refused::ReloadClosed { reload_id } => format!("reload {reload_id} is not open"),
        Refused::ReloadAnsweredBefore { reload_id, grant_id: Some(grant_id) } => format!(
            "reload {reload_id} was answered by grant {grant_id} before; a grant beside that one names no reload_id"
        ),
        Refused::ReloadAnsweredBefore { reload_id, grant_id: None } => {
            format!("reload {reload_id} was refused before; a grant after that names no reload_id")
        }

        Refused::SetByOwner { what, selector, limit_id } => {
            let of = if limit_id.is_empty() { String::new() } else { format!(" {limit_id:?}") };
            format!("an owner set the {what}{of} on {}: ask an owner", selector.describe())
        }
        Refused::Reserved { control } => format!("{control} is reserved for owners: ask an owner"),
        Refused::LimitUnknown { selector: Selector::One(scope), limit_id } => {
            format!("{scope} has no limit {limit_id:?}")
        }
        Refused::LimitUnknown { selector, limit_id } => {
            format!("there is no limit {limit_id:?} for {}", selector.describe())
        }
        Refused::SeatTypeUnknown { seat_type } => format!("there is no seat type {seat_type:?}; set it first"),
        Refused::ScopeUnknown { scope } => format!("{scope} is not known: it was neither used nor registered"),
        Refused::AgentRegisteredBefore { scope, created_by } => {
            format!("{scope} was registered by {created_by} before")
        }
        Refused::OnlyOwnersCreateAgents { actor, within } => {
            format!("{actor} may not create agents{}: only owners may", in_workspace(within))
        }
        Refused::OnlyNamedCreateAgents { actor, within } => {
            format!("{actor} may not create agents{}: only named members may", in_workspace(within))
        }
        Refused::RequestsSwitchedOff => "requests are switched off in this organization".to_owned(),
        Refused::RequestIsOpen { request_id, user_id, since } => {
            format!("request {request_id} of {user_id} is open since {since}")
        }
        Refused::RequestNotOpen { request_id } => format!("request {request_id:?} is not open"),
        Refused::HigherLimitNeedsCap { request_id } => {
            format!("request {request_id} is for a higher limit: approve it with a cap, in micro-credits")
        }
        Refused::SeatTakesNoCap { request_id } => {
            format!("request {request_id} is for a seat: approve it without a cap")
        }
        Refused::CapDoesNotRaise { cap_micro, before_micro } => format!(
            "cap {cap_micro} does not raise the member's limit, which is {}; write a higher one",
            micro_credits(*before_micro)
        ),

        Refused::CountBelowZero { scope, meter, counted } => {
            format!("{scope} has {counted} {} in that period", meter.name())
        }
        Refused::RefundExceedsPaid { paid_micro: 0, .. } => "nothing was paid there in that period".to_owned(),
        Refused::RefundExceedsPaid { paid_micro, .. } => {
            let verb = if *paid_micro == 1 { "was" } else { "were" };
            format!("only {} {verb} paid there in that period", micro_credits(*paid_micro))
        }
        Refused::RefundOwnerUnclear { owners } => {
            format!("more than one pool could get the refund back; name a workspace_id: {owners}")
        }
        Refused::RefusedByEarlierRelease { words } => words.to_string(),

        Refused::IdLength { field, bytes, bytes_max } => {
            format!("{field} has {bytes} bytes; it must have 1 to {bytes_max}")
        }
        Refused::OutOfRange { field, value, least, most } => {
            format!("{field} is {value}; it must lie between {least} and {most}")
        }
        Refused::CapBelowZero { cap } => {
            format!("cap is {cap}; it must not be below 0 (leave it out for unlimited)")
        }
        Refused::ThresholdsOutOfRange { thresholds_percent, count_max, percent_max } => format!(
            "thresholds_percent is {thresholds_percent:?}; write at most {count_max} whole numbers from 1 to \
             {percent_max}, each above the one before"
        ),
        Refused::UnitNameLength { characters, characters_max } => {
            format!("the name of the unit has {characters} characters; it must have 1 to {characters_max}")
        }
        Refused::EventTimeOutOfRange { event_time } => {
            format!("event_time {event_time} must lie in the years 1970 to 9999")
        }
        Refused::TooManyTimeZones { most } => {
            format!("time zone and anchor were changed {most} times already; no further change is kept")
        }
        Refused::TooManyRateCards { most } => {
            format!("{most} rate cards are in force or to come; wait until older ones are settled")
        }
        Refused::TooManySeatTypes { most } => format!("there are {most} seat types already; change one of them"),
        Refused::TooManyRules { most } => {
            format!("the organization has {most} limits for every scope already; remove one first")
        }
        Refused::TooManyLimits { scope, most } => format!("{scope} has {most} limits already; remove one first"),
        Refused::TooManyGrants { scope, most } => {
            format!("{scope} has {most} grants already; void one, or wait until one is spent and its period is over")
        }
        Refused::TooManyRequests { most } => format!("{most} requests are open already; answer some first"),
        Refused::CreatorsOutOfRange { count, most } => {
            format!("{count} members are named; name 1 to {most}")
        }
        Refused::CountersFull { scope } => {
            format!("the charge does not fit the counters of {scope}, which end at {}", i64::MAX)
        }
    }
}

fn one_pool(mode: Mode) -> String {
    format!("mode {} has one pool, the organization's, because a member works in many workspaces", mode.name())
}

fn members_bounded(mode: Mode) -> String {
    format!("mode {} bounds extra usage of members, seat types and the organization only", mode.name())
}

/// Where a rule holds, unless it is the organization's.
fn in_workspace(within: &Scope) -> String {
    match within {
        Scope::Organization => String::new(),
        workspace => format!(" in {workspace}"),
    }
}

fn micro_credits(amount_micro: i64) -> String {
    if amount_micro == 1 { "1 micro-credit".to_owned() } else { format!("{amount_micro} micro-credits") }
}

/// `grant a`, or `grants a, b and 3 more`.
fn counted(count: u64, noun: &str, names: impl Display) -> String {
    format!("{noun}{} {names}", if count == 1 { "" } else { "s" })
}

fn list(all: impl IntoIterator<Item = impl Display>, between: &str) -> String {
    all.into_iter().map(|one| one.to_string()).collect::<Vec<_>>().join(between)
}

#[cfg(test)]
mod tests;
