//! What a refusal depends on.

use super::Refused;

/// What a refusal depends on, and so whether the same command can succeed later.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Class {
    /// The record contradicts itself, or the time at which it came: no account takes it.
    Input,
    /// What is set or used stands against it: the same command succeeds once that has changed.
    State,
    /// Something is too many, too long, too large or too small.
    Bounds,
}

impl Class {
    /// The name used in records and metrics.
    pub const fn name(self) -> &'static str {
        match self {
            Self::Input => "input",
            Self::State => "state",
            Self::Bounds => "bounds",
        }
    }
}

impl Refused {
    /// What it depends on.
    pub const fn class(&self) -> Class {
        match self {
            Self::NotAnAgent { .. }
            | Self::NotAPoolOwner { .. }
            | Self::MeterCannotBeLimited { .. }
            | Self::SessionOfNoUser { .. }
            | Self::GrantEndsBeforeItStarts { .. }
            | Self::GrantHasExpired { .. }
            | Self::FreePhaseEndsInThePast { .. }
            | Self::EventTimeNotPast { .. }
            | Self::AdjustmentChangesNothing => Class::Input,
            Self::PlanLacksCredits { .. }
            | Self::PlanLacksConsole { .. }
            | Self::ModeHasNoSource { .. }
            | Self::ModeHasNoSeats { .. }
            | Self::ModeHasOnePool { .. }
            | Self::WorkspacePoolsStand { .. }
            | Self::SpendLimitsStand { .. }
            | Self::SpendLimitBesideSeats { .. }
            | Self::FreePhaseOver { .. }
            | Self::PoolMissing { .. }
            | Self::NoPoolToRemove { .. }
            | Self::GrantsHaveSomethingLeft { .. }
            | Self::GrantUnknown { .. }
            | Self::NothingLeftOfGrant { .. }
            | Self::GrantPeriodOver { .. }
            | Self::PurchaseBeginsAfterItsPeriod { .. }
            | Self::ReloadClosed { .. }
            | Self::ReloadAnsweredBefore { .. }
            | Self::LimitUnknown { .. }
            | Self::SetByOwner { .. }
            | Self::Reserved { .. }
            | Self::SeatTypeUnknown { .. }
            | Self::ScopeUnknown { .. }
            | Self::AgentRegisteredBefore { .. }
            | Self::OnlyOwnersCreateAgents { .. }
            | Self::OnlyNamedCreateAgents { .. }
            | Self::RequestsSwitchedOff
            | Self::RequestIsOpen { .. }
            | Self::RequestNotOpen { .. }
            | Self::HigherLimitNeedsCap { .. }
            | Self::SeatTakesNoCap { .. }
            | Self::CapDoesNotRaise { .. }
            | Self::CountBelowZero { .. }
            | Self::RefundExceedsPaid { .. }
            | Self::RefundOwnerUnclear { .. }
            | Self::RefusedByEarlierRelease { .. } => Class::State,
            Self::IdLength { .. }
            | Self::OutOfRange { .. }
            | Self::CapBelowZero { .. }
            | Self::ThresholdsOutOfRange { .. }
            | Self::UnitNameLength { .. }
            | Self::EventTimeOutOfRange { .. }
            | Self::TooManyTimeZones { .. }
            | Self::TooManyRateCards { .. }
            | Self::TooManySeatTypes { .. }
            | Self::TooManyRules { .. }
            | Self::TooManyLimits { .. }
            | Self::TooManyGrants { .. }
            | Self::TooManyRequests { .. }
            | Self::CreatorsOutOfRange { .. }
            | Self::CountersFull { .. } => Class::Bounds,
        }
    }
}
