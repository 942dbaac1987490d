//! *Time*, *Adjustments and refunds*: what is counted in a window. A window is played from its first charge to its last,
//! because a refund takes of it what it has at that moment.

use super::{
    history::{Counted, History, Session, Since, Starts, What},
    terms::{Kind, Meter, Scope, Source},
    time::SESSION_MS,
};

/// One window of one scope, while it is played.
#[derive(Clone, Debug, Default)]
pub struct Window<'a> {
    parts: [i64; 6],
    others: [i64; Meter::COUNTED],
    builders: Vec<&'a str>,
    active: Vec<(&'a str, &'a str)>,
}

impl<'a> Window<'a> {
    /// What it has of a meter.
    pub fn get(&self, meter: Meter) -> i64 {
        let paid = |source: Source| self.parts[source as usize];
        match meter {
            Meter::Credits => self.parts.iter().sum(),
            Meter::ExtraCredits => paid(Source::Prepaid) + paid(Source::Postpaid),
            Meter::PaidBy(source) => paid(source),
            _ => self.others[meter.place().expect("it is counted by itself")],
        }
    }

    /// All meters that are not 0.
    pub fn meters(&self) -> Vec<(&'static str, i64)> {
        let all = Meter::ALL.iter().map(|(meter, name)| (*name, self.get(*meter)));
        let mut all: Vec<_> = all.filter(|(_, count)| *count != 0).collect();
        all.sort_unstable();
        all
    }

    /// Goes on by one thing that was counted in it.
    pub fn add(&mut self, one: &'a Counted, scope: &Scope, kind: Kind) {
        if kind == Kind::Minute && one.is_taken_back() {
            return;
        }
        let before: i64 = self.parts.iter().sum();
        if one.credits >= 0 || kind == Kind::Period {
            // Who really paid, and who really got it back, is what the period says.
            (0..6).for_each(|source| self.parts[source] += one.parts[source]);
        } else {
            self.take_back(-one.credits);
        }
        let changed = self.parts.iter().sum::<i64>() - before;
        if one.what == What::Adjustment {
            self.others[Meter::AdjustedCredits.place().expect("counted")] += changed;
        }
        for (meter, count) in &one.others {
            let has = &mut self.others[meter.place().expect("it is counted by itself")];
            *has += (*count).max(-*has.max(&mut 0));
        }
        self.add_people(one, scope, kind);
    }

    /// In reverse order of sources, each within what the window has of it.
    fn take_back(&mut self, mut micro: i64) {
        for source in Source::BACK {
            let part = &mut self.parts[source as usize];
            let back = micro.min(*part);
            *part -= back;
            micro -= back;
        }
    }

    /// Builders and agents in action: once per member or agent in an hour, a day and a period.
    fn add_people(&mut self, one: &'a Counted, scope: &Scope, kind: Kind) {
        let counts = matches!(kind, Kind::Hour | Kind::Day | Kind::Period);
        if !counts || !matches!(scope, Scope::Organization | Scope::Workspace(_)) {
            return;
        }
        if one.what == What::Registration
            && let Some(creator) = one.named.user.as_deref()
            && !self.builders.contains(&creator)
        {
            self.builders.push(creator);
            self.others[Meter::Builders.place().expect("counted")] += 1;
        }
        if one.has_run()
            && let Some(agent) = one.named.agent.as_deref()
        {
            let agent = (one.named.workspace.as_deref().unwrap_or_default(), agent);
            if !self.active.contains(&agent) {
                self.active.push(agent);
                self.others[Meter::ActiveAgents.place().expect("counted")] += 1;
            }
        }
    }
}

impl History {
    /// A window of a scope, as far as it was counted between two places of the history.
    pub fn window_between(&self, scope: &Scope, kind: Kind, start: i64, since: usize, until: usize) -> Window<'_> {
        let mut window = Window::default();
        for one in self.counted.iter().take(until).skip(since) {
            if one.starts.of(kind) == Some(start) && one.concerns(scope) {
                window.add(one, scope, kind);
            }
        }
        window
    }

    /// A window of a scope.
    pub fn window(&self, scope: &Scope, kind: Kind, start: i64) -> Window<'_> {
        self.window_between(scope, kind, start, 0, self.counted.len())
    }

    /// What a seat was charged in a window: what it paid; and of what was charged before the seat or its allowance began,
    /// all but extra usage and what was free.
    pub fn against_seat(&self, user: &str, kind: Kind, start: i64, since: Since) -> i64 {
        let scope = Scope::User(user.to_owned());
        let mut window = Window::default();
        let (mut against, mut before) = (0, window.parts);
        for (place, one) in self.counted.iter().enumerate() {
            if one.starts.of(kind) != Some(start) || !one.concerns(&scope) {
                continue;
            }
            window.add(one, &scope, kind);
            let is_older = place < since.place || (one.credits < 0 && one.time_ms < since.at_ms);
            let sources: &[Source] = match is_older {
                true => &[Source::Seat, Source::Pool, Source::Uncovered],
                false => &[Source::Seat],
            };
            against +=
                sources.iter().map(|source| window.parts[*source as usize] - before[*source as usize]).sum::<i64>();
            before = window.parts;
        }
        against.max(0)
    }

    /// The sessions of a user that are kept: the two newest, older first.
    pub fn sessions(&self, user: &str) -> Vec<i64> {
        let mut starts: Vec<i64> = Vec::new();
        for one in self.counted.iter().filter(|one| one.named.user.as_deref() == Some(user)) {
            if let Some(Session { start, is_kept: true }) = one.starts.session
                && !starts.contains(&start)
            {
                starts.push(start);
            }
        }
        starts.split_off(starts.len().saturating_sub(2))
    }

    /// The session to which usage of an instant belongs.
    pub fn session_of(&self, user: &str, time_ms: i64) -> Option<Session> {
        if !self.has_seats() {
            return None;
        }
        let kept = self.sessions(user);
        let contains = |start: &&i64| **start <= time_ms && time_ms < **start + SESSION_MS;
        let follows = |start: &&i64| time_ms < **start && **start < time_ms + SESSION_MS;
        let start = match kept.iter().find(contains) {
            Some(start) => *start,
            None if kept.last().is_none_or(|newest| time_ms >= newest + SESSION_MS) => time_ms,
            None => match kept.iter().find(follows) {
                Some(start) => *start,
                None => return Some(Session { start: time_ms, is_kept: false }),
            },
        };
        Some(Session { start, is_kept: true })
    }

    /// The windows of usage: those of its instant, and a session of its user.
    pub fn starts_of_usage(&self, time_ms: i64, user: Option<&str>) -> Starts {
        let session = user.and_then(|user| self.session_of(user, time_ms));
        Starts { session, ..self.starts(time_ms) }
    }

    /// The windows of a refund: no minute; of the sessions, the kept one that contains its instant.
    pub fn starts_of_refund(&self, time_ms: i64, user: Option<&str>) -> Starts {
        Starts { minute: None, session: self.kept_session(time_ms, user), ..self.starts(time_ms) }
    }

    fn kept_session(&self, time_ms: i64, user: Option<&str>) -> Option<Session> {
        let contains = |start: &i64| *start <= time_ms && time_ms < *start + SESSION_MS;
        let start = self.sessions(user?).into_iter().find(contains)?;
        Some(Session { start, is_kept: true })
    }

    /// The session of a user that runs at the clock, in the modes with seats.
    pub fn running_session(&self, clock_ms: i64, user: Option<&str>) -> Option<Session> {
        self.kept_session(clock_ms, user.filter(|_| self.has_seats()))
    }

    /// The windows that run at the clock, with the session of a user, if one runs.
    pub fn starts_now(&self, clock_ms: i64, user: Option<&str>) -> Starts {
        Starts { session: self.running_session(clock_ms, user), ..self.starts(clock_ms) }
    }
}
