//! *Reloads and requests*: what members ask for.

use super::{
    Model,
    codes::{Code, No, code, list, sorted},
    fields::Fields,
    history::{Action, History, Limit, Member, Request, Wants},
    terms::{Kind, Meter, Scope, Selector, Source},
};

const REQUESTS_MOST: usize = 1_000;
/// The limit that an approval sets.
const SPEND: &str = "spend";

impl History {
    fn own_spend(&self, user: &str) -> Option<&Limit> {
        let selector = Selector::One(Scope::User(user.to_owned()));
        let own = self.limits.iter().find(|limit| limit.selector == selector && limit.id == SPEND)?;
        (own.meter == Meter::ExtraCredits && own.window == Kind::Period).then_some(own)
    }

    /// The next instant after another at which the local clock comes to the hour of the digest.
    pub fn next_digest(&self, after_ms: i64) -> i64 {
        let hour = i8::try_from(self.digest_hour).expect("it is in range");
        let mut day = self.calendar.window(Kind::Day, after_ms);
        loop {
            let tz = &self.calendar.zone_at(day.start).tz;
            let begins = jiff::Timestamp::from_millisecond(day.start).expect("lives are led within the calendar");
            let date = begins.to_zoned(tz.clone()).date();
            let at = date.at(hour, 0, 0, 0).to_zoned(tz.clone()).expect("lives are led within the calendar");
            // Of a day that a new zone cuts short, the instant that is nearest.
            let at = at.timestamp().as_millisecond().clamp(day.start, day.end);
            if at > after_ms {
                return at;
            }
            day = self.calendar.window(Kind::Day, day.end);
        }
    }
}

impl Model {
    /// What is pending, if anything is.
    pub fn tell_digest(&mut self, instant: i64) {
        if !self.history.requests.is_empty() {
            let pending: Vec<&String> = self.history.requests.iter().map(|request| &request.id).collect();
            self.say(format!("digest {}", list(&pending)), format!("digest|{instant}"));
            self.history.digest_ms = self.history.digest_ms.max(self.clock_ms);
            self.history.digest_owed = None;
        }
    }

    /// `set_requests`
    pub fn set_requests(&mut self, fields: &Fields) -> Result<Vec<Code>, No> {
        let enabled = fields.must_flag("enabled")?;
        let hour = fields.between("digest_hour", Some(9), 0, 23)?;
        let now = self.clock_ms.max(self.at_ms);
        self.history.digest_owed = self.digest_after().filter(|instant| *instant <= now);
        self.history.digest_ms = now;
        (self.history.are_requests_off, self.history.digest_hour) = (!enabled, hour);
        Ok(Vec::new())
    }

    /// `request`
    pub fn request(&mut self, fields: &Fields) -> Result<Vec<Code>, No> {
        let (id, user) = (fields.id("request_id")?, fields.id("user_id")?);
        let wants = match (fields.must("wants")?.as_str(), fields.id_if("seat_type")?) {
            ("higher_limit", None) => Wants::HigherLimit,
            ("seat", Some(seat_type)) => Wants::Seat(seat_type),
            _ => return Err(No::Unreadable),
        };
        if self.history.are_requests_off {
            return Err(code("requests_switched_off").refused());
        }
        if let Wants::Seat(seat_type) = &wants {
            self.seat_type_exists(seat_type)?;
        }
        if let Some(open) = self.history.requests.iter().find(|open| open.user == user || open.id == id) {
            let no = code("request_is_open").with("request_id", &open.id).with("user_id", &open.user);
            return Err(no.with("since", open.since_ms).refused());
        }
        if self.history.requests.len() >= REQUESTS_MOST {
            return Err(code("too_many_requests").with("most", REQUESTS_MOST).refused());
        }
        self.name(Scope::User(user.clone()));
        let seat = self.history.members.get(&user).and_then(|member| member.seat.clone());
        let (seat, since) = (seat.unwrap_or_else(|| "none".to_owned()), self.at_ms);
        let in_words = match &wants {
            Wants::HigherLimit => "higher_limit".to_owned(),
            Wants::Seat(seat_type) => format!("seat:{seat_type}"),
        };
        let text = format!("request opened {id} user={user} wants={in_words} seat={seat} since={since}");
        self.say(text, format!("opened|{}", self.cause));
        self.history.requests.push(Request { id, user, wants, since_ms: self.at_ms });
        Ok(Vec::new())
    }

    fn open_request(&self, id: &str) -> Result<(usize, Request), No> {
        let place = self.history.requests.iter().position(|open| open.id == id);
        match place {
            Some(place) => Ok((place, self.history.requests[place].clone())),
            None => Err(code("request_not_open").with("request_id", id).refused()),
        }
    }

    /// `approve`
    pub fn approve(&mut self, fields: &Fields) -> Result<Vec<Code>, No> {
        let id = fields.id("request_id")?;
        let cap = fields.cap("cap")?;
        let (place, request) = self.open_request(&id)?;
        let mut answer = match (&request.wants, cap) {
            (Wants::HigherLimit, Some(cap)) => self.raise_limit(&request.user, cap)?,
            (Wants::HigherLimit, None) => return Err(code("higher_limit_needs_cap").with("request_id", id).refused()),
            (Wants::Seat(_), Some(_)) => return Err(code("seat_takes_no_cap").with("request_id", id).refused()),
            (Wants::Seat(seat_type), None) => {
                self.seat_type_exists(seat_type)?;
                self.give_seat(&request.user, Some(seat_type.clone()));
                Vec::new()
            }
        };
        self.name(Scope::User(request.user.clone()));
        self.history.requests.remove(place);
        let binding = self.still_binding(&request.user);
        self.say(
            format!("request approved {id} still_binding={}", sorted(&binding)),
            format!("approved|{}", self.cause),
        );
        answer.push(match binding.is_empty() {
            true => code("no_limit_binds"),
            false => code("still_binding").with("limits", sorted(binding)),
        });
        answer.sort_by_key(Code::words);
        Ok(answer)
    }

    /// Sets the member's own limit, and switches on what the mode has of extra usage.
    fn raise_limit(&mut self, user: &str, cap: i64) -> Result<Vec<Code>, No> {
        let own = self.history.own_spend(user).cloned();
        if own.as_ref().is_some_and(|own| own.cap.is_none_or(|before| cap <= before)) {
            let before =
                own.and_then(|own| own.cap).map_or_else(|| "unlimited".to_owned(), |before| before.to_string());
            return Err(code("cap_does_not_raise").with("cap_micro", cap).with("before_micro", before).refused());
        }
        let selector = Selector::One(Scope::User(user.to_owned()));
        self.has_room_for_limit(&selector, SPEND)?;
        self.put_limit(Limit {
            selector,
            id: SPEND.to_owned(),
            meter: Meter::ExtraCredits,
            window: Kind::Period,
            cap: Some(cap),
            shares: own.map_or_else(|| vec![80, 100], |own| own.shares),
            action: Action::Pause,
            yields_to_own: false,
            since: self.history.since(self.at_ms),
            revision: self.record.clone(),
            revised_ms: self.at_ms,
        });
        let extra = [Source::Prepaid, Source::Postpaid].into_iter().filter(|source| self.history.mode.has(*source));
        let extra: Vec<Source> = extra.collect();
        if self.history.is_extra_off {
            return Ok(vec![code("extra_usage_stays_off")]);
        }
        let off: Vec<Source> = extra.into_iter().filter(|source| !self.history.is_on(*source, Some(user))).collect();
        for source in &off {
            self.history.own_sources.insert((user.to_owned(), *source), true);
        }
        match off.is_empty() {
            true => Ok(Vec::new()),
            false => Ok(vec![code("switched_on").with("sources", sorted(off.into_iter().map(Source::name)))]),
        }
    }

    /// The limits on a member's extra credits that leave no room.
    fn still_binding(&self, user: &str) -> Vec<String> {
        let starts = self.history.starts_now(self.clock_ms, Some(user));
        let scopes = [Scope::User(user.to_owned()), Scope::Organization];
        let rooms = self.history.extra_rooms(&scopes, &starts);
        rooms.into_iter().filter(|(room, ..)| *room == 0).map(|(_, limit, _)| limit.name()).collect()
    }

    /// `decline`
    pub fn decline(&mut self, fields: &Fields) -> Result<Vec<Code>, No> {
        let id = fields.id("request_id")?;
        let (place, _) = self.open_request(&id)?;
        self.history.requests.remove(place);
        self.say(format!("request declined {id}"), format!("declined|{}", self.cause));
        Ok(Vec::new())
    }

    /// Changes the seat of a member; the same seat again is no new one.
    pub fn give_seat(&mut self, user: &str, seat: Option<String>) {
        let since = self.history.since(self.at_ms);
        let new = Member { seat: None, since, is_owner: false };
        let member = self.history.members.entry(user.to_owned()).or_insert(new);
        if member.seat != seat {
            (member.seat, member.since) = (seat, since);
            self.tell_limits_of_seat(&Scope::User(user.to_owned()));
        }
    }
}
