//! What time brings: causes end, grants expire, seats come back, periods close, digests go out. It comes as a due record,
//! so that a replay does it at the same place; and it goes page by page, a commit each, so that no step touches the
//! whole account.

use super::{
    Account, Moment, Policy,
    ceiling::Cause,
    changes::{self, EndingPage, WalkPage},
    scopes::{ORGANIZATION, ScopeIndex},
    sweep::{Found, PAGE, Progress, Stage, Sweep},
};
use crate::domain::{
    pause::{Cause as PauseCause, CauseKind},
    time::{MINUTE_MS, SECOND_MS, Timestamp},
    window::{Window, WindowKind, local_hour, window_at},
};

/// A period is not closed before usage has been read up to its end; until then it is tried again after this.
const TRY_AGAIN_MS: i64 = 5 * SECOND_MS;

/// And at most after this.
const TRY_AGAIN_MAX_MS: i64 = 10 * MINUTE_MS;

/// By a clock that follows records, and may stand, this long after: a hundred tries lie within what comes all the same.
const TRY_AGAIN_STANDING_MS: i64 = 10;

const fn first_page() -> WalkPage {
    WalkPage { cursor: None, limit: PAGE }
}

impl Account {
    /// Up to when a due record serves: all that is over by its record time, so that a thousand ends that were missed are
    /// one record and not a thousand.
    fn served_by(&self, at: Timestamp, moment: Moment) -> Timestamp {
        at.max(self.head.served_due).max(moment.record_time.min(moment.clock))
    }

    /// Begins the next thing that is due at `at`. Looking comes last: it tells when the next thing is due.
    pub(super) fn begin_due(&mut self, at: Timestamp, moment: Moment, policy: &Policy) {
        let now = self.served_by(at, moment);
        let stage = if self.head.look_at_all {
            Stage::Looking(EndingPage { until: Timestamp::MAX, offset: 0, limit: PAGE })
        } else if let Some(period) = self.period_to_close(now, moment, policy) {
            Stage::Closing(period, first_page())
        } else if self.free_phase_end().is_some_and(|end| end <= now) {
            Stage::FreePhase(first_page())
        } else {
            Stage::Looking(EndingPage { until: now, offset: 0, limit: PAGE })
        };
        self.sweep = Some(Sweep::new(stage));
    }

    /// Does a page of what is due, and says whether that was all.
    pub(super) fn serve_due(
        &mut self,
        at: Timestamp,
        caused_by: &Cause<'_>,
        moment: Moment,
        policy: &Policy,
    ) -> Progress {
        let moment = Moment { clock: moment.clock.max(at), ..moment };
        let sweep = self.sweep.take().expect("the page was loaded before the record is decided");
        let found = sweep.found.expect("the page was loaded before the record is decided");
        match (sweep.stage, found) {
            (Stage::Looking(page), Found::Scopes(scopes, next)) => {
                let unfinished = self.look_at_page(page, &scopes, caused_by, moment, policy);
                if self.sweep.is_some() {
                    return Progress::More;
                }
                if page.until == Timestamp::MAX {
                    self.head.look_at_all = false;
                    return Progress::More;
                }
                self.finish_due(at, next, page.offset + unfinished > 0, moment, policy);
                return Progress::Done(String::new());
            }
            (Stage::Closing(period, _), Found::Rows(rows, next)) => {
                self.close_rows(&rows, period, moment);
                match next {
                    None => self.head.closed_until = self.head.closed_until.max(period.end),
                    next => {
                        self.sweep = Some(Sweep::new(Stage::Closing(period, WalkPage { cursor: next, limit: PAGE })))
                    }
                }
            }
            (Stage::FreePhase(_), Found::Agents(agents, next)) => {
                agents.iter().for_each(|agent| self.end_free_phase(*agent, moment, policy));
                match next {
                    None => (self.settings.free_phase_ends, self.settings_changed) = (false, true),
                    next => self.sweep = Some(Sweep::new(Stage::FreePhase(WalkPage { cursor: next, limit: PAGE }))),
                }
            }
            (stage, found) => unreachable!("a page of {stage:?} is not {found:?}"),
        }
        Progress::More
    }

    /// Looks at every scope that follows rules, a page at a time, after a record has changed what they follow.
    pub(super) fn sweep_all(&mut self, caused_by: &Cause<'_>, moment: Moment, policy: &Policy) -> Progress {
        let sweep = self.sweep.take().expect("the page was loaded before the record is decided");
        let (Stage::Looking(page), Some(Found::Scopes(scopes, _))) = (sweep.stage, sweep.found) else {
            unreachable!("a record that sweeps all looks at scopes")
        };
        self.look_at_page(page, &scopes, caused_by, moment, policy);
        match &mut self.sweep {
            None => Progress::Done(sweep.answer),
            Some(next) => {
                next.answer = sweep.answer;
                Progress::More
            }
        }
    }

    /// Looks at the scopes of a page, and lets the sweep stand at the next one if there may be one. Returns how many are
    /// still to be looked at by the time of the page.
    fn look_at_page(
        &mut self,
        page: EndingPage,
        scopes: &[(ScopeIndex, Timestamp)],
        caused_by: &Cause<'_>,
        moment: Moment,
        policy: &Policy,
    ) -> usize {
        let place = |account: &Self, index: ScopeIndex, at: Timestamp| (at, account.scopes.slot(index).field());
        let page_end = scopes.last().map(|(index, at)| place(self, *index, *at));
        let mut still_within: usize = 0;
        for (index, _) in scopes {
            self.look(*index, false, caused_by, moment, policy);
            self.attend(*index);
            let next = self.paused_scope(*index).look_at.map(|at| place(self, *index, at));
            still_within += usize::from(next.is_some() && next <= page_end);
        }
        if scopes.len() >= page.limit {
            let offset = page.offset + still_within;
            self.sweep = Some(Sweep::new(Stage::Looking(EndingPage { offset, ..page })));
        }
        still_within
    }

    /// Brings one scope up to date: with the rules, with the time, with who can pay. At most one change of its pauses is
    /// announced.
    pub(super) fn look(
        &mut self,
        index: ScopeIndex,
        revised: bool,
        caused_by: &Cause<'_>,
        moment: Moment,
        policy: &Policy,
    ) {
        self.bring_up_to_date(index, moment);
        let clock = moment.clock;
        let row = self.scopes.row_mut(index);
        // A want of money is looked at anew below: another may stand in its place.
        let is_over = |cause: &PauseCause| cause.ends_at.is_some_and(|end| end <= clock);
        let mut changed = row.pauses.clear(|cause| is_over(cause) && !cause.kind.is_want_of_money());
        if let Some(member) = &mut row.member {
            member.seat_spent_until = member.seat_spent_until.filter(|until| *until > clock);
        }
        let mut revised = revised;
        if let Some(pool) = &mut row.pool {
            // Not before usage was read that far: what came in time is paid by what was there then.
            let settled = moment.record_time.min(moment.read_until);
            revised |= pool.begin_and_expire(settled);
            if let Some(reload) = &mut pool.reload {
                reload.lapse(settled);
            }
        }
        if revised {
            self.announce_pool(index, moment);
            if index == ORGANIZATION && self.settings.payment().mode.has_seats() {
                self.head.look_at_all = true;
            }
        }
        changed |= self.clear_what_is_below(index);
        let wanted = self.money_wanted(index, moment, policy);
        changed |= self.scopes.row_mut(index).pauses.set_want_of_money(wanted);
        let waits = |cause: &PauseCause| cause.kind == CauseKind::FreePhase;
        if self.scopes.row(index).pauses.causes.iter().any(waits) && !self.is_unfunded(index, moment, policy) {
            changed |= self.scopes.row_mut(index).pauses.clear(waits);
        }
        if changed {
            self.announce_pauses(index, caused_by, moment);
        }
        self.ask_for_reload(index, moment);
    }

    /// Whether nothing could pay for a charge to this scope now.
    fn is_unfunded(&mut self, index: ScopeIndex, moment: Moment, policy: &Policy) -> bool {
        self.payer_now(index, moment, policy).is_some_and(|payer| payer.means.is_spent())
    }

    /// An agent of the free phase pauses if its pool has no credits (row A7).
    fn end_free_phase(&mut self, agent: ScopeIndex, moment: Moment, policy: &Policy) {
        if !self.is_unfunded(agent, moment, policy) {
            return;
        }
        // The next period may include credits again.
        let ends_at = self.payer_now(agent, moment, policy).and_then(|payer| self.pool_returns(&payer));
        let cause = PauseCause { kind: CauseKind::FreePhase, limit_id: Box::default(), window_start: None, ends_at };
        if self.scopes.row_mut(agent).pauses.add(cause) {
            self.announce_pauses(agent, &Cause::FreePhase, moment);
        }
    }

    /// The first period start on or after the end of the free phase, while it is to be worked off.
    fn free_phase_end(&self) -> Option<Timestamp> {
        let until = self.settings.free_until.filter(|_| self.settings.free_phase_ends)?;
        let period = self.calendar.window(&self.settings.zones, WindowKind::Period, until);
        Some(if period.start == until { until } else { period.end })
    }

    /// The oldest period that is over by the grace and not closed; not before usage has been read that far.
    fn period_to_close(&self, now: Timestamp, moment: Moment, policy: &Policy) -> Option<Window> {
        let over = |period: &Window| {
            let closes_at = period.end.plus_ms(policy.grace_ms);
            closes_at <= now && closes_at <= moment.read_until
        };
        self.calendar.periods_ending_after(self.head.closed_until).filter(over).min_by_key(|period| period.end)
    }

    fn finish_due(
        &mut self,
        at: Timestamp,
        next_look: Option<Timestamp>,
        unfinished: bool,
        moment: Moment,
        policy: &Policy,
    ) {
        let at = self.served_by(at, moment);
        self.head.served_due = at;
        self.send_digest(at, moment);
        let looks = self.pauses_changed.iter().filter_map(|index| self.paused_scope(*index).look_at).chain(next_look);
        let looks = looks.filter(|look| *look > at && *look < changes::NO_TIME).min();
        let closes = self.calendar.periods_ending_after(self.head.closed_until);
        let closes = closes.map(|period| period.end.plus_ms(policy.grace_ms)).min();
        // What is due and not done was not read up to; it is tried again.
        // The further usage is behind, the longer: a backlog does not flood the control topic.
        let behind_ms = moment.clock.since_ms(moment.read_until) / 4;
        let again = if moment.clock_follows_records {
            // Such a clock may stand from now on. What lies a little ahead of it comes all the same (`notify::due`).
            at.plus_ms(TRY_AGAIN_STANDING_MS)
        } else {
            moment.clock.max(at).plus_ms(behind_ms.clamp(TRY_AGAIN_MS, TRY_AGAIN_MAX_MS))
        };
        let closes = closes.map(|close| if close <= at { again } else { close });
        let looks = if unfinished { looks.into_iter().chain([again]).min() } else { looks };
        let all = self.head.look_at_all.then(|| at.plus_ms(1));
        let next = [looks, closes, all, self.free_phase_end(), self.settings.requests.next_digest];
        self.head.due = next.into_iter().flatten().map(|next| next.max(at.plus_ms(1))).min();
        self.due_changed = true;
    }

    /// Sees to it that a period is closed when its grace is over.
    pub(super) fn close_in_time(&mut self, period: Window, policy: &Policy) {
        let closes_at = period.end.plus_ms(policy.grace_ms);
        // One that was due already and could not be closed is tried again by who found that.
        if period.end > self.head.closed_until && closes_at > self.head.served_due {
            self.be_due(closes_at);
        }
    }

    /// When the next digest goes out: at the set hour of the local day, at least a minute from now.
    pub(super) fn next_digest(&self, after: Timestamp) -> Timestamp {
        let (zones, hour) = (&self.settings.zones, self.settings.requests.digest_hour);
        let mut day = window_at(zones, WindowKind::Day, after);
        loop {
            let at = local_hour(zones, day, hour);
            if at >= after.plus_ms(MINUTE_MS) {
                return at;
            }
            day = window_at(zones, WindowKind::Day, day.end);
        }
    }

    /// Sees to it that what must happen at the end of the free phase does.
    pub(super) fn end_free_phase_in_time(&mut self) {
        if let Some(end) = self.free_phase_end() {
            self.be_due(end);
        }
    }
}
