//! *Adjustments and refunds*: who gets back what.

use std::collections::BTreeMap;

use super::{
    Model,
    codes::{Code, No, code, sorted},
    fields::Fields,
    grants::{Moment, drawing_order},
    history::{Counted, Draw, History, PoolRule, What},
    terms::{Kind, MOST, Meter, Named, Scope, Source, name_of, named},
};

/// The last instant of the year 9999.
const TIME_MOST: i64 = 253_402_300_799_999;

/// How a refund comes to who paid.
struct GivenBack {
    /// Below zero, by source.
    parts: [i64; 6],
    draws: Vec<Draw>,
}

/// A refund of one source that several owners could get, and the owners, each with a workspace to name.
struct Unclear(Vec<String>);

impl History {
    /// What a source paid in a period for every one of some scopes, at most.
    fn paid_for_all(&self, scopes: &[Scope], source: Source, period: i64) -> i64 {
        let paid = scopes.iter().map(|scope| self.window(scope, Kind::Period, period).get(Meter::PaidBy(source)));
        paid.min().unwrap_or(0).max(0)
    }

    /// Owners of pools or balances that paid for what is named, the last that paid first, with what they paid: at most the
    /// smaller of what they paid for the user and for the workspace.
    fn owners_who_paid(&self, named: &Named, source: Source, period: i64) -> Vec<(Scope, i64)> {
        let user = named.user.clone().map(Scope::User);
        let workspace = named.workspace.clone().map(Scope::Workspace);
        let mut scopes: Vec<Scope> = user.into_iter().chain(workspace).collect();
        if scopes.is_empty() {
            scopes.push(Scope::Organization);
        }
        let nearest = named.workspace.clone().map_or(Scope::Organization, Scope::Workspace);
        let counted = self.counted.iter().rev().filter(|one| one.starts.period == period && one.concerns(&nearest));
        let draws =
            counted.flat_map(|one| one.draws.iter().rev()).filter(|draw| draw.source == source && draw.micro > 0);
        let mut owners: Vec<(Scope, i64)> = Vec::new();
        for draw in draws {
            if !owners.iter().any(|(owner, _)| *owner == draw.owner) {
                let paid = scopes.iter().map(|scope| self.paid(&draw.owner, source, scope, period));
                owners.push((draw.owner.clone(), paid.min().unwrap_or(0)));
            }
        }
        owners.retain(|(_, paid)| *paid > 0);
        owners
    }

    /// What a refund may give back at most: of each source what it paid for every scope named, and of pool and balance
    /// what their owners paid.
    fn refundable(&self, named: &Named, source: Source, period: i64) -> i64 {
        let paid = self.paid_for_all(&named.scopes(), source, period);
        match source {
            Source::Pool | Source::Prepaid => {
                let owners = self.owners_who_paid(named, source, period);
                paid.min(owners.iter().map(|(_, paid)| paid).sum())
            }
            _ => paid,
        }
    }

    /// Gives back in reverse order of sources.
    fn give_back(&self, named: &Named, period: i64, micro: i64, now: Moment) -> Result<GivenBack, Unclear> {
        let mut given = GivenBack { parts: [0; 6], draws: Vec::new() };
        let mut rest = micro;
        for source in Source::BACK {
            let part = rest.min(self.refundable(named, source, period));
            rest -= part;
            given.parts[source as usize] = -part;
            if part > 0 && matches!(source, Source::Pool | Source::Prepaid) {
                self.give_to_owners(named, source, period, part, now, &mut given.draws)?;
            }
        }
        Ok(given)
    }

    /// An owner with the last workspace whose usage it paid for what is named.
    fn with_workspace(&self, owner: &Scope, named: &Named, source: Source, period: i64) -> String {
        let user = named.user.clone().map_or(Scope::Organization, Scope::User);
        let counted = self.counted.iter().rev().filter(|one| one.starts.period == period && one.concerns(&user));
        let mut paid = counted
            .filter(|one| one.draws.iter().any(|draw| draw.owner == *owner && draw.source == source && draw.micro > 0));
        match paid.find_map(|one| one.named.workspace.as_ref()) {
            Some(workspace) => format!("{owner} with workspace_id {workspace}"),
            None => owner.to_string(),
        }
    }

    fn give_to_owners(
        &self,
        named: &Named,
        source: Source,
        period: i64,
        micro: i64,
        now: Moment,
        draws: &mut Vec<Draw>,
    ) -> Result<(), Unclear> {
        let owners = self.owners_who_paid(named, source, period);
        let mut all: BTreeMap<Scope, Source> = BTreeMap::new();
        for source in [Source::Pool, Source::Prepaid] {
            all.extend(self.owners_who_paid(named, source, period).into_iter().map(|(owner, _)| (owner, source)));
        }
        if named.workspace.is_none() && all.len() > 1 {
            let owners = all.iter().map(|(owner, source)| self.with_workspace(owner, named, *source, period));
            return Err(Unclear(owners.collect()));
        }
        let mut rest = micro;
        for (owner, paid) in owners {
            let part = rest.min(paid);
            rest -= part;
            self.give_to_grants(&owner, source, period, part, now, draws);
        }
        Ok(())
    }

    /// Grants get back in the reverse order of drawing, included credits after purchases.
    fn give_to_grants(
        &self,
        owner: &Scope,
        source: Source,
        period: i64,
        micro: i64,
        now: Moment,
        draws: &mut Vec<Draw>,
    ) {
        let mut grants: Vec<usize> = (0..self.grants.len()).collect();
        grants.retain(|place| {
            let grant = &self.grants[*place];
            grant.owner == *owner
                && grant.is_prepaid == (source == Source::Prepaid)
                && (grant.is_prepaid || grant.period.start == period)
        });
        grants.sort_by(|a, b| drawing_order(&self.grants[*b]).cmp(&drawing_order(&self.grants[*a])));
        let mut rest = micro;
        let mut give = |grant: Option<usize>, at_most: i64, is_lost: bool| {
            let part = rest.min(at_most);
            rest -= part;
            if part > 0 {
                draws.push(Draw { owner: owner.clone(), source, grant, micro: -part, is_lost });
            }
        };
        for place in grants {
            let grant = &self.grants[place];
            let has_expired = grant
                .until_ms
                .is_some_and(|until| until <= now.time_ms && (grant.is_prepaid || until < grant.period.end));
            let has_ended = grant.is_forgotten || grant.voided_ms.is_some() || has_expired;
            give(Some(place), self.spent(place), has_ended);
        }
        give(None, i64::MAX, !self.has_pool_of(owner, period));
    }

    /// Whether an owner has the pool still that it had in a period: one that was removed and set again in a later period is
    /// another.
    fn has_pool_of(&self, owner: &Scope, period: i64) -> bool {
        let rules = self.pools.get(owner).map_or(&[][..], Vec::as_slice);
        let since = rules.iter().rposition(|rule| rule.included.is_none()).map_or(0, |removed| removed + 1);
        let is_older = |set: &PoolRule| since == 0 || self.calendar.window(Kind::Period, set.at_ms).start <= period;
        rules.get(since).is_some_and(is_older)
    }
}

impl Model {
    /// `adjust`
    pub fn adjust(&mut self, fields: &Fields) -> Result<Vec<Code>, No> {
        fields.id("reference")?;
        let time_ms = fields.must_instant("event_time")?;
        let named = Named {
            workspace: fields.id_if("workspace_id")?,
            agent: fields.id_if("agent_id")?,
            user: fields.id_if("user_id")?,
        };
        let credits = fields.between("credits_micro", Some(0), -MOST, MOST)?;
        let mut others = Vec::new();
        for name in ADJUSTED {
            let count = fields.between(name, Some(0), -MOST, MOST)?;
            if count != 0 {
                others.push((named_meter(name), count));
            }
        }
        if !(0..=TIME_MOST).contains(&time_ms) {
            return Err(code("event_time_out_of_range").with("event_time", time_ms).refused());
        }
        if time_ms > self.at_ms {
            let no = code("event_time_not_past").with("event_time", time_ms);
            return Err(no.with("record_time", self.at_ms).refused());
        }
        if credits == 0 && others.is_empty() {
            return Err(code("adjustment_changes_nothing").refused());
        }
        let (more, less): (Vec<_>, Vec<_>) = others.into_iter().partition(|(_, count)| *count > 0);
        let counted = |credits, others: Vec<(Meter, i64)>, starts| Counted {
            what: What::Adjustment,
            time_ms,
            named: named.clone(),
            starts,
            credits,
            parts: [0; 6],
            draws: Vec::new(),
            others,
            product: None,
            trigger: None,
            model: None,
        };
        let user = named.user.as_deref();
        // What is added is charged as an event is; what is taken away lowers the windows that contain it.
        let more = counted(credits.max(0), more, self.history.starts_of_usage(time_ms, user));
        let less = counted(credits.min(0), less, self.history.starts_of_refund(time_ms, user));
        self.counts_are_there(&less)?;
        if self.overflows(&more) {
            return Err(code("counters_full").with("scope", Scope::Organization).refused());
        }
        self.apply(less, more)
    }

    /// Takes away, then adds, and corrects the period once.
    fn apply(&mut self, less: Counted, more: Counted) -> Result<Vec<Code>, No> {
        let (place, is_refund) = (self.history.counted.len(), less.credits < 0);
        let mut answer = Vec::new();
        if is_refund {
            answer.push(self.refund(less)?);
        } else if !less.others.is_empty() {
            self.history.counted.push(less);
        }
        if is_refund && !more.others.is_empty() {
            self.history.counted.push(more);
        } else if more.credits > 0 || !more.others.is_empty() {
            let is_priced = more.credits > 0;
            let parts = self.charge(more);
            answer.extend(is_priced.then(|| code("charged").with("parts", parts_in_words(&parts))));
        }
        self.correct(place);
        Ok(answer)
    }

    /// Of no meter more is taken back than each scope has in that period.
    fn counts_are_there(&self, one: &Counted) -> Result<(), No> {
        for (meter, count) in &one.others {
            for scope in one.named.scopes() {
                let counted = self.history.window(&scope, Kind::Period, one.starts.period).get(*meter);
                if counted + count < 0 {
                    let no = code("count_below_zero").with("scope", scope).with("meter", meter.name());
                    return Err(no.with("counted", counted).refused());
                }
            }
        }
        Ok(())
    }

    fn refund(&mut self, mut counted: Counted) -> Result<Code, No> {
        let (named, period, asked) = (&counted.named, counted.starts.period, -counted.credits);
        let paid: i64 = Source::BACK.iter().map(|source| self.history.refundable(named, *source, period)).sum();
        if paid < asked {
            return Err(code("refund_exceeds_paid").with("asked_micro", asked).with("paid_micro", paid).refused());
        }
        let now = self.history.moment_of(self.clock_ms);
        let given = self.history.give_back(named, period, asked, now);
        let given =
            given.map_err(|Unclear(owners)| code("refund_owner_unclear").with("owners", sorted(owners)).refused())?;
        let lost: i64 = given.draws.iter().filter(|draw| draw.is_lost).map(|draw| -draw.micro).sum();
        (counted.parts, counted.draws) = (given.parts, given.draws);
        let answer = code("refunded").with("parts", parts_in_words(&counted.parts)).with("not_returned_micro", lost);
        self.history.counted.push(counted);
        Ok(answer)
    }
}

/// What an adjustment may change beside credits.
const ADJUSTED: [&str; 8] = [
    "input_tokens",
    "output_tokens",
    "cache_read_input_tokens",
    "cache_creation_input_tokens",
    "runs_started",
    "runs_completed",
    "runs_failed",
    "runs_cancelled",
];

fn named_meter(name: &str) -> Meter {
    named(&Meter::ALL, name).expect("it is a meter")
}

/// Those that are not 0: `[pool_credits_micro=5, …]`.
fn parts_in_words(parts: &[i64; 6]) -> String {
    let named = Source::ALL.iter().map(|(source, _)| (*source, parts[*source as usize]));
    let words = named
        .filter(|(_, part)| *part != 0)
        .map(|(source, part)| format!("{}={part}", name_of(&Meter::ALL, Meter::PaidBy(source))));
    sorted(words)
}
