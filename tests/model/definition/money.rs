//! *Who pays*: modes, switches, and the split of a charge over its sources.

use super::{
    grants::Moment,
    history::{Draw, History, Limit, Mode, Starts},
    terms::{Kind, Meter, Named, Scope, Source},
    time::SESSION_MS,
};
use crate::life::GRACE_MS;

impl Mode {
    pub const ALL: [(Self, &'static str); 4] = [
        (Self::Credits, "credits"),
        (Self::Team, "team"),
        (Self::SeatEnterprise, "seat_enterprise"),
        (Self::UsageEnterprise, "usage_enterprise"),
    ];

    pub fn has_seats(self) -> bool {
        matches!(self, Self::Team | Self::SeatEnterprise)
    }

    /// Whether something can pay from a source in this mode.
    pub fn has(self, source: Source) -> bool {
        match source {
            Source::Seat => self.has_seats(),
            Source::Pool | Source::Prepaid => true,
            Source::Postpaid => matches!(self, Self::SeatEnterprise | Self::UsageEnterprise),
            Source::Uncovered | Source::Free => false,
        }
    }

    /// Extra usage beyond seats is off until it is switched on.
    fn is_on_by_itself(self, source: Source) -> bool {
        self.has(source) && !(self.has_seats() && matches!(source, Source::Prepaid | Source::Postpaid))
    }
}

/// A charge, split.
pub struct Split {
    pub parts: [i64; 6],
    pub draws: Vec<Draw>,
    /// What the limits on extra credits left before it, least first; narrowest first where they left the same.
    pub rooms: Vec<(i64, Limit, Scope)>,
    /// Whether prepaid or postpaid would have paid more, but for those limits.
    pub had_extra: bool,
}

impl History {
    pub fn has_seats(&self) -> bool {
        self.mode.has_seats()
    }

    /// Whether a source is on for the organization; for a user, the own switch wins.
    pub fn is_on(&self, source: Source, user: Option<&str>) -> bool {
        let is_extra = matches!(source, Source::Prepaid | Source::Postpaid);
        if !self.mode.has(source) || (is_extra && self.is_extra_off) {
            return false;
        }
        let own = user.and_then(|user| self.own_sources.get(&(user.to_owned(), source)));
        *own.or(self.sources.get(&source)).unwrap_or(&self.mode.is_on_by_itself(source))
    }

    /// Whether prepaid and postpaid wait for the consent of a user.
    pub fn lacks_consent(&self, user: Option<&str>) -> bool {
        user.is_some_and(|user| self.is_consent_required && !self.consents.contains(user))
    }

    /// Recorded after the end of its period and the grace.
    pub fn is_late(&self, time_ms: i64, at_ms: i64) -> bool {
        at_ms >= self.calendar.window(Kind::Period, time_ms).end + GRACE_MS
    }

    /// Whether nobody is asked to pay: before the end of the free phase, or in mode `credits` without a pool.
    pub fn is_free(&self, workspace: Option<&str>, moment: Moment) -> bool {
        self.free_until.is_some_and(|until| moment.time_ms < until)
            || (self.mode == Mode::Credits && self.pool_of(&self.owner_at(workspace, moment), moment).is_none())
    }

    /// Splits a charge of usage whose windows are known.
    pub fn split(&self, named: &Named, starts: &Starts, moment: Moment, credits: i64) -> Split {
        let user = named.user.as_deref();
        let mut split = Split { parts: [0; 6], draws: Vec::new(), rooms: Vec::new(), had_extra: false };
        if self.is_free(named.workspace.as_deref(), moment) {
            split.parts[Source::Free as usize] = credits;
            return split;
        }
        let owner = self.owner_at(named.workspace.as_deref(), moment);
        let mut rest = credits;
        let mut pay = |parts: &mut [i64; 6], source: Source, at_most: i64| {
            let part = rest.min(at_most);
            parts[source as usize] += part;
            rest -= part;
            part
        };
        if let Some(user) = user.filter(|user| self.is_on(Source::Seat, Some(user))) {
            pay(&mut split.parts, Source::Seat, self.seat_room(user, starts, moment));
        }
        if self.is_on(Source::Pool, user) {
            let mut cap_room = self.user_cap_room(&owner, user, moment);
            for (grant, left) in self.pool_pots(&owner, moment) {
                let micro = pay(&mut split.parts, Source::Pool, left.min(cap_room));
                cap_room -= micro;
                split.draws.push(Draw { owner: owner.clone(), source: Source::Pool, grant, micro, is_lost: false });
            }
        }
        split.rooms = self.extra_rooms(&named.scopes(), starts);
        let mut room = split.rooms.first().map_or(i64::MAX, |(room, ..)| *room);
        if !self.lacks_consent(user) {
            if self.is_on(Source::Prepaid, user) && !moment.is_late {
                for (grant, left) in self.prepaid_pots(&owner, moment) {
                    let micro = pay(&mut split.parts, Source::Prepaid, left.min(room));
                    room -= micro;
                    split.had_extra |= left > micro;
                    let (owner, grant) = (owner.clone(), Some(grant));
                    split.draws.push(Draw { owner, source: Source::Prepaid, grant, micro, is_lost: false });
                }
            }
            if self.is_on(Source::Postpaid, user) {
                pay(&mut split.parts, Source::Postpaid, room);
                split.had_extra = true;
            }
        }
        split.parts[Source::Uncovered as usize] = rest;
        split.draws.retain(|draw| draw.micro > 0);
        split
    }

    /// What the seat of a user leaves: the tightest of what it includes.
    pub fn seat_room(&self, user: &str, starts: &Starts, moment: Moment) -> i64 {
        let Some(member) = self.members.get(user) else { return 0 };
        let Some(seat_type) = member.seat.as_ref().and_then(|seat| self.seat_types.get(seat)) else { return 0 };
        let room = |(kind, micro, since): &(Kind, i64, super::history::Since)| {
            if moment.is_late && self.still_runs(*kind, starts, moment) {
                return 0;
            }
            match starts.of(*kind) {
                Some(start) => (micro - self.against_seat(user, *kind, start, member.since.max(*since))).max(0),
                // A session that is new, or one of its own that is over.
                None => *micro,
            }
        };
        seat_type.allowances.iter().map(room).min().unwrap_or(0)
    }

    /// Whether a session or week of late usage still runs: it is the present's.
    fn still_runs(&self, kind: Kind, starts: &Starts, moment: Moment) -> bool {
        let end = match kind {
            Kind::Week => Some(self.calendar.window(kind, moment.time_ms).end),
            Kind::Session => starts.session.map(|session| session.start + SESSION_MS),
            _ => None,
        };
        end.is_some_and(|end| end > moment.at_ms)
    }

    /// What a pool pays for one user in a period, at most.
    pub fn user_cap_room(&self, owner: &Scope, user: Option<&str>, moment: Moment) -> i64 {
        let cap = self.pool_of(owner, moment).and_then(|pool| pool.user_cap);
        let (Some(user), Some(cap)) = (user, cap) else { return i64::MAX };
        (cap - self.paid(owner, Source::Pool, &Scope::User(user.to_owned()), moment.period.start)).max(0)
    }

    /// What an owner's pool or balance paid for a scope in a period, less what was given back.
    pub fn paid(&self, owner: &Scope, source: Source, scope: &Scope, period: i64) -> i64 {
        let counted = self.counted.iter().filter(|one| one.starts.period == period && one.concerns(scope));
        let draws = counted.flat_map(|one| &one.draws).filter(|draw| draw.owner == *owner && draw.source == source);
        draws.map(|draw| draw.micro).sum()
    }

    /// What each limit on extra credits of some scopes leaves: least first, then the narrowest.
    pub fn extra_rooms(&self, scopes: &[Scope], starts: &Starts) -> Vec<(i64, Limit, Scope)> {
        let mut rooms = Vec::new();
        for scope in scopes {
            for limit in self.limits_of(scope).into_iter().filter(|limit| limit.bounds_extra()) {
                if let Some(cap) = limit.cap {
                    let used = self.used(limit, scope, starts);
                    rooms.push(((cap - used).max(0), limit.clone(), scope.clone()));
                }
            }
        }
        rooms.sort_by(|(a, one, _), (b, other, _)| (a, one.breadth()).cmp(&(b, other.breadth())));
        rooms
    }

    /// What a scope used of what a limit counts.
    pub fn used(&self, limit: &Limit, scope: &Scope, starts: &Starts) -> i64 {
        let start = starts.of(limit.window);
        start.map_or(0, |start| self.used_until(limit, scope, start, self.counted.len()))
    }

    /// The same in one window, before a place of the history. Minutes are counted while a limit per minute binds the scope;
    /// sessions are not in modes without seats.
    pub fn used_until(&self, limit: &Limit, scope: &Scope, start: i64, place: usize) -> i64 {
        let since = match limit.window {
            Kind::Session if !self.has_seats() => return 0,
            Kind::Minute => self.minutes_since(scope).unwrap_or(limit.since.place),
            _ => 0,
        };
        self.window_between(scope, limit.window, start, since, place).get(limit.meter)
    }
}

impl Limit {
    /// Whether prepaid and postpaid pay at most what it leaves.
    pub fn bounds_extra(&self) -> bool {
        self.meter == Meter::ExtraCredits && self.action == super::history::Action::Pause
    }
}
