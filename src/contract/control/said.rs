//! The commands of a control record as they are written, and what each becomes.

use std::collections::BTreeMap;

use serde::Deserialize;

use super::super::texts::{instant, scope, selector, thresholds, within};
use crate::domain::{
    control::{Adjustment, Command, GrantCredits, ReloadRule, SetLimit},
    event::QUANTITY_MAX,
    limit::Action,
    meter::{Counters, Meter},
    organization::{AgentCreation, Allowance, Plan, Role, SeatType, Unit, Wants},
    payment::{Mode, Source},
    pool::GrantKind,
    rate_card::{Prices, RateCard},
    scope::{Name, ScopeKind},
    time::{MINUTE_MS, Timestamp},
    window::WindowKind,
};

/// One variant per command, named and with fields as in `schemas/control.avsc`, where each is documented.
#[derive(Debug, Deserialize)]
#[serde(rename_all = "snake_case", deny_unknown_fields)]
pub(super) enum Said {
    SetOrganization {
        time_zone: String,
        anchor: String,
    },
    SetUnit {
        name: Box<str>,
        #[serde(default = "two")]
        scale: u8,
    },
    SetPlan {
        plan: Plan,
    },
    SetRateCard {
        effective_from: Option<String>,
        #[serde(default)]
        models: BTreeMap<Name, Prices>,
        default_prices: Option<Prices>,
        #[serde(default)]
        completed_run_micro: i64,
    },
    SetMode {
        mode: Mode,
    },
    SetSource {
        source: Source,
        user_id: Option<Box<str>>,
        on: Option<bool>,
    },
    SetConsent {
        required: bool,
    },
    Consent {
        user_id: Box<str>,
        given: bool,
    },
    SetFreePhase {
        until: String,
    },
    SetLimit {
        limit_id: Box<str>,
        scope: Option<String>,
        every: Option<ScopeKind>,
        seat_type: Option<String>,
        meter: Meter,
        window: WindowKind,
        cap: Option<i64>,
        #[serde(default)]
        thresholds_percent: Vec<u16>,
        #[serde(default = "pause")]
        action: Action,
    },
    RemoveLimit {
        limit_id: Box<str>,
        scope: Option<String>,
        every: Option<ScopeKind>,
        seat_type: Option<String>,
    },
    SetPool {
        scope: String,
        included_micro: i64,
        user_cap_micro: Option<i64>,
        #[serde(default)]
        thresholds_percent: Vec<u16>,
    },
    Grant {
        scope: String,
        grant_id: Box<str>,
        amount_micro: i64,
        #[serde(default = "purchased")]
        kind: GrantKind,
        #[serde(default)]
        priority: u8,
        effective_from: Option<String>,
        expires_at: Option<String>,
        reload_id: Option<Box<str>>,
    },
    VoidGrant {
        scope: String,
        grant_id: Box<str>,
    },
    SetAutoReload {
        scope: String,
        below_micro: i64,
        amount_micro: i64,
        #[serde(default = "three")]
        per_day_max: u16,
        #[serde(default = "a_day_of_minutes")]
        lapse_minutes: i64,
    },
    RemoveAutoReload {
        scope: String,
    },
    RefuseReload {
        scope: String,
        reload_id: Box<str>,
    },
    SetSeatType {
        seat_type: Box<str>,
        session_micro: Option<i64>,
        week_micro: Option<i64>,
        period_micro: Option<i64>,
    },
    SetMember {
        user_id: Box<str>,
        seat_type: Option<Box<str>>,
        #[serde(default)]
        role: Role,
    },
    SetAgentCreation {
        who: Creators,
        #[serde(default)]
        members: Vec<Box<str>>,
    },
    RegisterWorkspace {
        workspace_id: Box<str>,
    },
    RegisterAgent {
        scope: String,
    },
    SetRequests {
        enabled: bool,
        #[serde(default = "nine")]
        digest_hour: u8,
    },
    Request {
        request_id: Box<str>,
        user_id: Box<str>,
        wants: WhatIsWanted,
        seat_type: Option<Box<str>>,
    },
    Approve {
        request_id: Box<str>,
        cap: Option<i64>,
    },
    Decline {
        request_id: Box<str>,
    },
    Adjust(Box<AdjustData>),
    Pause {
        scope: String,
    },
    Resume {
        scope: String,
    },
    Due {
        at: String,
    },
}

#[derive(Debug, Deserialize)]
#[serde(rename_all = "snake_case")]
pub(super) enum Creators {
    Everyone,
    Owners,
    Named,
}

#[derive(Debug, Deserialize)]
#[serde(rename_all = "snake_case")]
pub(super) enum WhatIsWanted {
    HigherLimit,
    Seat,
}

#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct AdjustData {
    reference: Box<str>,
    event_time: String,
    workspace_id: Option<Box<str>>,
    agent_id: Option<Box<str>>,
    user_id: Option<Box<str>>,
    #[serde(default)]
    credits_micro: i64,
    #[serde(default)]
    input_tokens: i64,
    #[serde(default)]
    output_tokens: i64,
    #[serde(default)]
    cache_read_input_tokens: i64,
    #[serde(default)]
    cache_creation_input_tokens: i64,
    #[serde(default)]
    runs_started: i64,
    #[serde(default)]
    runs_completed: i64,
    #[serde(default)]
    runs_failed: i64,
    #[serde(default)]
    runs_cancelled: i64,
}

const fn pause() -> Action {
    Action::Pause
}
const fn two() -> u8 {
    2
}
const fn three() -> u16 {
    3
}
const fn nine() -> u8 {
    9
}
const fn a_day_of_minutes() -> i64 {
    24 * 60
}
const fn purchased() -> GrantKind {
    GrantKind::Purchased
}

impl Said {
    /// The command; `time` is the record's.
    pub(super) fn into_command(self, time: Timestamp) -> Result<Command, String> {
        Ok(match self {
            Self::SetOrganization { time_zone, anchor } => set_organization(&time_zone, &anchor)?,
            Self::SetUnit { name, scale } => Command::SetUnit(Unit { name, scale }),
            Self::SetPlan { plan } => Command::SetPlan { plan },
            Self::SetRateCard { effective_from, models, default_prices, completed_run_micro } => {
                let effective_from = effective_from.as_deref().map_or(Ok(time), instant)?;
                Command::SetRateCard(RateCard { effective_from, models, default_prices, completed_run_micro })
            }
            Self::SetMode { mode } => Command::SetMode { mode },
            Self::SetSource { source, user_id, on } => {
                Command::SetSource { source, user_id: user_id.map(user).transpose()?, on }
            }
            Self::SetConsent { required } => Command::SetConsent { required },
            Self::Consent { user_id, given } => Command::Consent { user_id: user(user_id)?, given },
            Self::SetFreePhase { until } => Command::SetFreePhase { until: instant(&until)? },
            Self::SetLimit {
                limit_id,
                scope,
                every,
                seat_type,
                meter,
                window,
                cap,
                thresholds_percent,
                action,
                ..
            } => Command::SetLimit(SetLimit {
                limit_id,
                selector: selector(scope.as_deref(), every, seat_type.as_deref())?,
                meter,
                window,
                cap,
                thresholds_percent: thresholds(thresholds_percent),
                action,
            }),
            Self::RemoveLimit { limit_id, scope, every, seat_type } => {
                Command::RemoveLimit { limit_id, selector: selector(scope.as_deref(), every, seat_type.as_deref())? }
            }
            Self::SetMember { user_id, seat_type, role } => {
                Command::SetMember { user_id: user(user_id)?, seat_type, role }
            }
            Self::SetSeatType { seat_type, session_micro, week_micro, period_micro } => {
                Command::SetSeatType(set_seat_type(seat_type, [session_micro, week_micro, period_micro]))
            }
            Self::SetAgentCreation { who, members } => Command::SetAgentCreation(creators(&who, members)?),
            Self::RegisterWorkspace { workspace_id } => {
                Command::RegisterWorkspace { workspace_id: within("workspace_id", workspace_id)? }
            }
            Self::RegisterAgent { scope: text } => Command::RegisterAgent { scope: scope(&text)? },
            Self::SetRequests { enabled, digest_hour } => Command::SetRequests { enabled, digest_hour },
            Self::Request { request_id, user_id, wants, seat_type } => {
                let wants = match (wants, seat_type) {
                    (WhatIsWanted::HigherLimit, None) => Wants::HigherLimit,
                    (WhatIsWanted::Seat, Some(seat_type)) => Wants::Seat(seat_type),
                    _ => return Err("seat_type belongs to a request of a seat, and only to that".to_owned()),
                };
                Command::Request { request_id, user_id: user(user_id)?, wants }
            }
            Self::Approve { request_id, cap } => Command::Approve { request_id, cap },
            Self::Decline { request_id } => Command::Decline { request_id },
            Self::Adjust(data) => Command::Adjust(data.into_adjustment()?),
            Self::Pause { scope: text } => Command::Pause { scope: scope(&text)? },
            Self::Resume { scope: text } => Command::Resume { scope: scope(&text)? },
            Self::Due { at } => {
                let at = instant(&at)?;
                if at > time {
                    return Err(format!("due at {at} lies after the record's own time {time}"));
                }
                Command::Due { at }
            }
            credits => credits.into_credits()?,
        })
    }

    /// The commands that concern pools.
    fn into_credits(self) -> Result<Command, String> {
        Ok(match self {
            Self::SetPool { scope: text, included_micro, user_cap_micro, thresholds_percent } => Command::SetPool {
                scope: scope(&text)?,
                included_micro,
                user_cap_micro,
                thresholds_percent: thresholds(thresholds_percent),
            },
            Self::Grant {
                scope: text,
                grant_id,
                amount_micro,
                kind,
                priority,
                effective_from,
                expires_at,
                reload_id,
            } => Command::Grant(GrantCredits {
                scope: scope(&text)?,
                grant_id,
                amount_micro,
                kind,
                priority,
                effective_from: effective_from.as_deref().map(instant).transpose()?,
                expires_at: expires_at.as_deref().map(instant).transpose()?,
                reload_id,
            }),
            Self::VoidGrant { scope: text, grant_id } => Command::VoidGrant { scope: scope(&text)?, grant_id },
            Self::SetAutoReload { scope: text, below_micro, amount_micro, per_day_max, lapse_minutes } => {
                let lapse_ms = lapse_minutes.saturating_mul(MINUTE_MS);
                let rule = ReloadRule { below_micro, amount_micro, per_day_max, lapse_ms };
                Command::SetAutoReload { scope: scope(&text)?, rule: Some(rule) }
            }
            Self::RemoveAutoReload { scope: text } => Command::SetAutoReload { scope: scope(&text)?, rule: None },
            Self::RefuseReload { scope: text, reload_id } => Command::RefuseReload { scope: scope(&text)?, reload_id },
            other => unreachable!("{other:?} does not concern pools"),
        })
    }
}

impl AdjustData {
    fn into_adjustment(self) -> Result<Adjustment, String> {
        let counts_given = [
            (Meter::InputTokens, self.input_tokens),
            (Meter::OutputTokens, self.output_tokens),
            (Meter::CacheReadInputTokens, self.cache_read_input_tokens),
            (Meter::CacheCreationInputTokens, self.cache_creation_input_tokens),
            (Meter::RunsStarted, self.runs_started),
            (Meter::RunsCompleted, self.runs_completed),
            (Meter::RunsFailed, self.runs_failed),
            (Meter::RunsCancelled, self.runs_cancelled),
        ];
        let mut counts = Counters::ZERO;
        for (meter, count) in counts_given {
            if !(-QUANTITY_MAX..=QUANTITY_MAX).contains(&count) {
                return Err(format!("{} is {count}; it must lie within ±{QUANTITY_MAX}", meter.name()));
            }
            counts.set(meter, count);
        }
        let name = |field: &'static str, id: Option<Box<str>>| id.map(|id| within(field, id)).transpose();
        Ok(Adjustment {
            reference: self.reference,
            event_time: instant(&self.event_time)?,
            workspace_id: name("workspace_id", self.workspace_id)?,
            agent_id: name("agent_id", self.agent_id)?,
            user_id: name("user_id", self.user_id)?,
            credits_micro: self.credits_micro,
            counts,
        })
    }
}

fn set_organization(time_zone: &str, anchor: &str) -> Result<Command, String> {
    let time_zone = time_zone.parse().map_err(|_| format!("time_zone {time_zone:?} is no IANA time zone"))?;
    let anchor = anchor.parse().map_err(|_| format!("anchor {anchor:?} is no date (YYYY-MM-DD)"))?;
    Ok(Command::SetOrganization { time_zone, anchor })
}

fn set_seat_type(name: Box<str>, amounts: [Option<i64>; 3]) -> SeatType {
    let windows = [WindowKind::Session, WindowKind::Week, WindowKind::Period];
    let given = windows.into_iter().zip(amounts);
    let allowances = given.filter_map(|(window, amount)| Some(Allowance { window, amount_micro: amount? })).collect();
    SeatType { name, allowances }
}

fn creators(who: &Creators, members: Vec<Box<str>>) -> Result<AgentCreation, String> {
    match (who, members.is_empty()) {
        (Creators::Named, _) => {
            let members: Result<Vec<Box<str>>, String> = members.into_iter().map(user).collect();
            Ok(AgentCreation::Named(members?))
        }
        (_, false) => Err("members belong to `named`, and only to that".to_owned()),
        (Creators::Everyone, true) => Ok(AgentCreation::Everyone),
        (Creators::Owners, true) => Ok(AgentCreation::Owners),
    }
}

fn user(id: Box<str>) -> Result<Box<str>, String> {
    within("user_id", id)
}
