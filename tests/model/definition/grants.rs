//! *Pools and grants*: whose pool pays, what is in it, and what it is worth at a moment.

use super::{
    history::{Grant, History, PoolRule},
    terms::{Kind, Scope, Source},
    time::Span,
};
use crate::life::{GRACE_MS, HORIZON_MS};

/// An instant of usage with its period, and when it is recorded. Of what holds now, both are the clock's.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Moment {
    pub time_ms: i64,
    pub at_ms: i64,
    pub is_late: bool,
    pub period: Span,
}

impl History {
    /// Usage of an instant, recorded later or then.
    pub fn moment(&self, time_ms: i64, at_ms: i64, is_late: bool) -> Moment {
        Moment { time_ms, at_ms, is_late, period: self.calendar.window(Kind::Period, time_ms) }
    }

    /// Usage that came at the clock.
    pub fn moment_of(&self, clock_ms: i64) -> Moment {
        self.moment(clock_ms, clock_ms, false)
    }
}

impl Grant {
    /// When it ends by itself: a purchase at the latest with its period.
    pub fn ends_ms(&self) -> i64 {
        let until = self.until_ms.unwrap_or(i64::MAX);
        if self.is_prepaid { until } else { until.min(self.period.end) }
    }

    /// Whether it has begun by an instant. Without `effective_from` it begins with its record.
    pub fn has_begun(&self, now_ms: i64) -> bool {
        self.from_ms.is_none_or(|from| from <= now_ms)
    }

    /// Whether it pays for usage.
    fn pays_for(&self, moment: Moment) -> bool {
        let expired = |until: i64| moment.time_ms >= until || moment.at_ms >= until + GRACE_MS;
        let has_expired = match self.is_prepaid {
            true => moment.is_late || self.until_ms.is_some_and(expired),
            // Once its period is over, a purchase pays late charges of that period.
            false => {
                self.period.start != moment.period.start
                    || self.until_ms.is_some_and(|until| until < self.period.end && expired(until))
            }
        };
        self.voided_ms.is_none() && !self.is_forgotten && self.has_begun(moment.time_ms) && !has_expired
    }
}

impl History {
    /// The pool of a scope; for usage of a period that is over, the pool that held at its end.
    pub fn pool_of(&self, owner: &Scope, moment: Moment) -> Option<&PoolRule> {
        let is_over = moment.period.end <= moment.at_ms;
        let held = |rule: &&PoolRule| !is_over || rule.at_ms < moment.period.end;
        self.pools.get(owner)?.iter().rfind(held).filter(|rule| rule.included.is_some())
    }

    /// The owner of the nearest pool: the workspace, if it has one; else the organization, with or without.
    pub fn owner_at(&self, workspace: Option<&str>, moment: Moment) -> Scope {
        let own = workspace.map(|workspace| Scope::Workspace(workspace.to_owned()));
        let own = own.filter(|own| !self.has_seats() && self.pool_of(own, moment).is_some());
        own.unwrap_or(Scope::Organization)
    }

    /// What is left in the pool: of what it includes, then of its purchases in the order in which they are drawn.
    pub fn pool_pots(&self, owner: &Scope, moment: Moment) -> Vec<(Option<usize>, i64)> {
        let Some(included) = self.pool_of(owner, moment).and_then(|pool| pool.included) else { return Vec::new() };
        let drawn = self.drawn(owner, moment.period.start, |grant| grant.is_none());
        let purchases = self.pots(owner, moment, false).into_iter().map(|(grant, left)| (Some(grant), left));
        [(None, (included - drawn).max(0))].into_iter().chain(purchases).collect()
    }

    /// What is left of a prepaid balance, in the order in which it is drawn.
    pub fn prepaid_pots(&self, owner: &Scope, moment: Moment) -> Vec<(usize, i64)> {
        self.pots(owner, moment, true)
    }

    fn pots(&self, owner: &Scope, moment: Moment, is_prepaid: bool) -> Vec<(usize, i64)> {
        let all = self.grants.iter().enumerate();
        let of_owner = all.filter(|(_, grant)| grant.owner == *owner && grant.is_prepaid == is_prepaid);
        let mut paying: Vec<_> = of_owner.filter(|(_, grant)| grant.pays_for(moment)).collect();
        paying.sort_by(|a, b| drawing_order(a.1).cmp(&drawing_order(b.1)));
        paying.into_iter().map(|(place, grant)| (place, grant.amount - self.spent(place))).collect()
    }

    /// What is spent of a grant, less what was given back.
    pub fn spent(&self, grant: usize) -> i64 {
        let draws = self.counted.iter().flat_map(|one| &one.draws);
        draws.filter(|draw| draw.grant == Some(grant)).map(|draw| draw.micro).sum()
    }

    /// What a pool paid in a period, out of included credits or of grants.
    pub fn drawn(&self, owner: &Scope, period: i64, of: impl Fn(Option<usize>) -> bool) -> i64 {
        let counted = self.counted.iter().filter(|one| one.starts.period == period);
        let draws = counted.flat_map(|one| &one.draws);
        let of_pool = draws.filter(|draw| draw.owner == *owner && draw.source == Source::Pool && of(draw.grant));
        of_pool.map(|draw| draw.micro).sum()
    }

    /// What is drawn of a pool in a period: of what it includes, and of its purchases.
    pub fn drawn_of_pool(&self, owner: &Scope, period: i64) -> i64 {
        self.drawn(owner, period, |grant| grant.is_none_or(|grant| !self.grants[grant].is_removed))
    }

    /// What a pool has left for usage of a moment.
    pub fn pool_left(&self, owner: &Scope, moment: Moment) -> i64 {
        self.pool_pots(owner, moment).iter().map(|(_, left)| left).sum()
    }

    /// What a balance has left for usage of a moment.
    pub fn balance(&self, owner: &Scope, moment: Moment) -> i64 {
        self.prepaid_pots(owner, moment).iter().map(|(_, left)| left).sum()
    }

    /// What is left of one grant at the clock: nothing of one that has ended.
    pub fn left(&self, grant: usize, clock_ms: i64) -> i64 {
        let one = &self.grants[grant];
        let is_over = one.voided_ms.is_some() || one.is_forgotten || one.ends_ms() <= clock_ms;
        if is_over { 0 } else { one.amount - self.spent(grant) }
    }

    /// How large a pool is in a period: what it includes, and each purchase that has begun; once it was voided, or ended
    /// before its period, what was spent of it.
    pub fn pool_size(&self, owner: &Scope, now_ms: i64, moment: Moment) -> Option<i64> {
        let period = moment.period;
        let included = self.pool_of(owner, moment)?.included?;
        let purchases = self.purchases_of(owner, period).filter(|(_, grant)| grant.has_begun(now_ms));
        let sizes = purchases.map(|(place, grant)| {
            let ended = grant.ends_ms() < period.end && grant.ends_ms() <= now_ms;
            if ended || grant.voided_ms.is_some() || grant.is_forgotten { self.spent(place) } else { grant.amount }
        });
        Some(included + sizes.sum::<i64>())
    }

    /// The purchases of a pool that belong to a period.
    pub fn purchases_of(&self, owner: &Scope, period: Span) -> impl Iterator<Item = (usize, &Grant)> {
        let all = self.grants.iter().enumerate();
        let of_owner = all.filter(move |(_, grant)| grant.owner == *owner && !grant.is_prepaid && !grant.is_removed);
        of_owner.filter(move |(_, grant)| grant.period.start == period.start)
    }

    /// Whether the id of a grant is remembered: until it has ended or is spent, and the horizon has passed; of a purchase until
    /// its period is over.
    pub fn is_remembered(&self, grant: usize, at_ms: i64) -> bool {
        let one = &self.grants[grant];
        let may_pay = if one.is_prepaid { self.left(grant, at_ms) > 0 } else { at_ms < one.period.end };
        !one.is_forgotten && (may_pay || at_ms < one.at_ms + HORIZON_MS)
    }

    /// The grant of an id in a pool.
    pub fn grant_of(&self, owner: &Scope, id: &str) -> Option<usize> {
        self.grants.iter().rposition(|grant| grant.owner == *owner && grant.id == id && !grant.is_forgotten)
    }
}

/// Lowest priority first, then expiry, then id.
pub fn drawing_order(grant: &Grant) -> (i64, i64, &str) {
    (grant.priority, grant.ends_ms(), &grant.id)
}
