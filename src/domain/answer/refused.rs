//! Why a command did nothing.

use super::{NamedLimit, RefundOwner, Several, Text};
use crate::domain::{
    limit::Selector,
    meter::Meter,
    organization::Plan,
    payment::{Mode, Source},
    scope::Scope,
    time::Timestamp,
};

answers! {
    /// Why a command did nothing. By class: what contradicts itself, what depends on the account, bounds.
    pub enum Refused {
        // Input.
        /// Something else than an agent is to be registered as one.
        NotAnAgent {
            /// What was written.
            scope: Scope,
        } => "not_an_agent",
        /// Only an organization or a workspace has a pool.
        NotAPoolOwner {
            /// What was written.
            scope: Scope,
        } => "not_a_pool_owner",
        /// What only readers add up, or what may go down, is no ground for a pause.
        MeterCannotBeLimited {
            /// Which meter.
            meter: Meter,
        } => "meter_cannot_be_limited",
        /// A limit per session on what has no sessions.
        SessionOfNoUser {
            /// What the limit is to be set on.
            selector: Selector,
        } => "session_of_no_user",
        /// A grant that never pays.
        GrantEndsBeforeItStarts {
            /// When it starts.
            effective_from: Timestamp,
            /// When it ends: at that instant or before.
            expires_at: Timestamp,
        } => "grant_ends_before_it_starts",
        /// A grant that had ended when its record came.
        GrantHasExpired {
            /// Which.
            grant_id: Box<str>,
            /// When it ended.
            expires_at: Timestamp,
        } => "grant_has_expired",
        /// A free phase that had ended when its record came.
        FreePhaseEndsInThePast {
            /// The end that was written.
            until: Timestamp,
            /// When the record came.
            record_time: Timestamp,
        } => "free_phase_ends_in_the_past",
        /// Usage that has not taken place yet cannot be corrected.
        EventTimeNotPast {
            /// The event time that was written.
            event_time: Timestamp,
            /// When the record came.
            record_time: Timestamp,
        } => "event_time_not_past",
        /// An adjustment of neither credits nor counts.
        AdjustmentChangesNothing => "adjustment_changes_nothing",
        // State: plan, mode, sources.
        /// The plan has no credits (row A20).
        PlanLacksCredits {
            /// Which plan.
            plan: Plan,
        } => "plan_lacks_credits",
        /// The plan has no organization console (row A20).
        PlanLacksConsole {
            /// Which plan.
            plan: Plan,
        } => "plan_lacks_console",
        /// The mode does not know the source.
        ModeHasNoSource {
            /// Which mode.
            mode: Mode,
            /// Which source.
            source: Source,
        } => "mode_has_no_source",
        /// Seat types where nobody has a seat.
        ModeHasNoSeats {
            /// Which mode.
            mode: Mode,
        } => "mode_has_no_seats",
        /// A pool of a workspace where only the organization has one.
        ModeHasOnePool {
            /// Which mode.
            mode: Mode,
            /// Whose pool was to be set.
            scope: Scope,
        } => "mode_has_one_pool",
        /// A mode with seats while workspaces have pools.
        WorkspacePoolsStand {
            /// The mode that was to be set.
            mode: Mode,
            /// The workspaces.
            pools: Several<Scope>,
        } => "workspace_pools_stand",
        /// A mode with seats while limits on extra credits stand on workspaces or agents.
        SpendLimitsStand {
            /// The mode that was to be set.
            mode: Mode,
            /// The limits.
            limits: Several<NamedLimit>,
        } => "spend_limits_stand",
        /// A limit on extra credits of a workspace or an agent in a mode with seats.
        SpendLimitBesideSeats {
            /// The mode.
            mode: Mode,
            /// What the limit was to be set on.
            selector: Selector,
            /// Its id.
            limit_id: Box<str>,
        } => "spend_limit_beside_seats",
        /// The free phase ended before, and what was used since is charged.
        FreePhaseOver {
            /// When it ended.
            until: Timestamp,
        } => "free_phase_over",
        // State: pools, grants, reloads.
        /// The scope has no pool to which this could be done.
        PoolMissing {
            /// Whose.
            scope: Scope,
        } => "pool_missing",
        /// A pool that is to be removed is not there.
        NoPoolToRemove {
            /// Whose.
            scope: Scope,
        } => "no_pool_to_remove",
        /// A pool is to be removed while its grants have something left.
        GrantsHaveSomethingLeft {
            /// Whose pool.
            scope: Scope,
            /// How much, in micro-credits.
            left_micro: i64,
            /// Which grants.
            grants: Several<Box<str>>,
        } => "grants_have_something_left",
        /// The pool has no such grant.
        GrantUnknown {
            /// Whose pool.
            scope: Scope,
            /// Which grant.
            grant_id: Box<str>,
        } => "grant_unknown",
        /// A grant is to be taken back of which nothing is left.
        NothingLeftOfGrant {
            /// Which.
            grant_id: Box<str>,
        } => "nothing_left_of_grant",
        /// A purchase is to be taken back after its period: late charges of the period may still draw on it.
        GrantPeriodOver {
            /// Which.
            grant_id: Box<str>,
            /// When its period ended.
            period_end: Timestamp,
        } => "grant_period_over",
        /// A purchase ends with the period in which it is recorded, and would begin later.
        PurchaseBeginsAfterItsPeriod {
            /// When it would begin.
            effective_from: Timestamp,
            /// When the period ends.
            period_end: Timestamp,
        } => "purchase_begins_after_its_period",
        /// The reload that is to be refused is answered, or has lapsed.
        ReloadClosed {
            /// Which.
            reload_id: Box<str>,
        } => "reload_closed",
        /// A second grant for one reload.
        ReloadAnsweredBefore {
            /// Which reload.
            reload_id: Box<str>,
            /// The grant that answered it; `None` if it was refused.
            grant_id: Option<Box<str>>,
        } => "reload_answered_before",
        // State: limits, seats, agents, requests.
        /// There is no such limit on what was named.
        LimitUnknown {
            /// What was named.
            selector: Selector,
            /// The limit's id.
            limit_id: Box<str>,
        } => "limit_unknown",
        /// An owner set what another is to change, remove or end.
        SetByOwner {
            /// `limit`, `pause` or `agent_creation`.
            what: Box<str>,
            /// What it is set on.
            selector: Selector,
            /// The limit's id; empty where it is none.
            limit_id: Box<str>,
        } => "set_by_owner",
        /// The owners keep this control for themselves.
        Reserved {
            /// Which.
            control: Box<str>,
        } => "reserved",
        /// There is no such seat type.
        SeatTypeUnknown {
            /// Its name.
            seat_type: Box<str>,
        } => "seat_type_unknown",
        /// An agent or a user that was neither used nor registered is to be paused.
        ScopeUnknown {
            /// Which.
            scope: Scope,
        } => "scope_unknown",
        /// An agent has one creator.
        AgentRegisteredBefore {
            /// Which agent.
            scope: Scope,
            /// Its creator.
            created_by: Box<str>,
        } => "agent_registered_before",
        /// Only owners create agents here (row A15).
        OnlyOwnersCreateAgents {
            /// Who was to be the creator.
            actor: Box<str>,
            /// Whose rule it is: the organization's or a workspace's.
            within: Scope,
        } => "only_owners_create_agents",
        /// Only named members and owners create agents here (row A15).
        OnlyNamedCreateAgents {
            /// Who was to be the creator.
            actor: Box<str>,
            /// Whose rule it is: the organization's or a workspace's.
            within: Scope,
        } => "only_named_create_agents",
        /// Members may not ask for more.
        RequestsSwitchedOff => "requests_switched_off",
        /// The member has a request open, or another one has this id.
        RequestIsOpen {
            /// The open one.
            request_id: Box<str>,
            /// Whose it is.
            user_id: Box<str>,
            /// Since when.
            since: Timestamp,
        } => "request_is_open",
        /// There is no such request, or it is answered.
        RequestNotOpen {
            /// Which.
            request_id: Box<str>,
        } => "request_not_open",
        /// A higher limit is to be approved without a cap.
        HigherLimitNeedsCap {
            /// Which request.
            request_id: Box<str>,
        } => "higher_limit_needs_cap",
        /// A seat is to be approved with a cap.
        SeatTakesNoCap {
            /// Which request.
            request_id: Box<str>,
        } => "seat_takes_no_cap",
        /// The cap of an approval is not above the one that the member has.
        CapDoesNotRaise {
            /// The cap that was written, in micro-credits.
            cap_micro: i64,
            /// The cap of the member's own limit, in micro-credits.
            before_micro: i64,
        } => "cap_does_not_raise",
        // State: adjustments.
        /// More is to be taken back of a count than the scope has in that period.
        CountBelowZero {
            /// Which scope.
            scope: Scope,
            /// Which count.
            meter: Meter,
            /// What it has.
            counted: i64,
        } => "count_below_zero",
        /// A refund of more than was paid for the scopes named in that period.
        RefundExceedsPaid {
            /// What is to be refunded, in micro-credits.
            asked_micro: i64,
            /// What was paid and not refunded yet, in micro-credits.
            paid_micro: i64,
        } => "refund_exceeds_paid",
        /// A refund names no workspace, and more than one owner could get it back.
        RefundOwnerUnclear {
            /// The owners, each with a workspace to name.
            owners: Several<RefundOwner>,
        } => "refund_owner_unclear",
        /// Why a release without codes refused; read from its outbox, and never decided.
        RefusedByEarlierRelease {
            /// Its sentence.
            words: Box<str>,
        } => "refused_by_earlier_release",
        // Bounds.
        /// An id that is empty or too long.
        IdLength {
            /// The field of the command.
            field: Box<str>,
            /// How many bytes it has.
            bytes: u64,
            /// How many it may have.
            bytes_max: u64,
        } => "id_length",
        /// A number that is too small or too large.
        OutOfRange {
            /// The field of the command; of a rate card with the model, for example `models.gpt.input_micro`.
            field: Box<str>,
            /// What was written.
            value: i64,
            /// The smallest that is taken.
            least: i64,
            /// The largest that is taken.
            most: i64,
        } => "out_of_range",
        /// A cap below zero.
        CapBelowZero {
            /// What was written.
            cap: i64,
        } => "cap_below_zero",
        /// Thresholds that are too many, out of range or out of order.
        ThresholdsOutOfRange {
            /// What was written; at most one more than may be.
            thresholds_percent: Vec<u16>,
            /// How many there may be.
            count_max: u64,
            /// The highest that may be.
            percent_max: u16,
        } => "thresholds_out_of_range",
        /// A unit without a name, or with one that is too long.
        UnitNameLength {
            /// How many characters it has.
            characters: u64,
            /// How many it may have.
            characters_max: u64,
        } => "unit_name_length",
        /// An event time that no calendar has.
        EventTimeOutOfRange {
            /// What was written.
            event_time: Timestamp,
        } => "event_time_out_of_range",
        /// Time zone or anchor were changed too often.
        TooManyTimeZones {
            /// How many are kept.
            most: u64,
        } => "too_many_time_zones",
        /// Too many rate cards are in force or to come.
        TooManyRateCards {
            /// How many are kept.
            most: u64,
        } => "too_many_rate_cards",
        /// Too many seat types.
        TooManySeatTypes {
            /// How many there may be.
            most: u64,
        } => "too_many_seat_types",
        /// Too many rules for every scope of a kind, or for every member with a seat of a type.
        TooManyRules {
            /// How many there may be.
            most: u64,
        } => "too_many_rules",
        /// Too many limits on one scope.
        TooManyLimits {
            /// Which scope.
            scope: Scope,
            /// How many there may be.
            most: u64,
        } => "too_many_limits",
        /// Too many grants in one pool.
        TooManyGrants {
            /// Whose pool.
            scope: Scope,
            /// How many there may be.
            most: u64,
        } => "too_many_grants",
        /// Too many requests are open.
        TooManyRequests {
            /// How many there may be.
            most: u64,
        } => "too_many_requests",
        /// Nobody, or too many, are named as creators of agents.
        CreatorsOutOfRange {
            /// How many are named.
            count: u64,
            /// How many may be.
            most: u64,
        } => "creators_out_of_range",
        /// A count would not fit 63 bits.
        CountersFull {
            /// Whose.
            scope: Scope,
        } => "counters_full",
    }
}
