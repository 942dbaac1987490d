//! Members, agents, what members ask for, and what admins stop.

use rand::{Rng, seq::IndexedRandom};
use serde_json::{Value as Json, json};

use super::{
    AGENTS, Asked, Drawer, SEAT_TYPES, USERS, WORKSPACES,
    fields::{Fields, fields},
};

impl Drawer {
    /// The commands about people.
    ///
    /// # Panics
    /// If no life says `command`.
    pub fn people(&mut self, command: &str) -> (String, Fields) {
        let user = self.one(&USERS);
        let by = |actor: &str, object: Json| (actor.to_owned(), fields(object));
        match command {
            "set_member" => {
                let seat_type =
                    self.weighted(&[(Some("standard"), 10), (Some("premium"), 7), (None, 4), (Some("golden"), 1)]);
                let role = self.weighted(&[(None, 10), (Some("member"), 1), (Some("admin"), 2), (Some("owner"), 2)]);
                by("admin", json!({ "user_id": user, "seat_type": seat_type, "role": role }))
            }
            "set_agent_creation" => {
                let who = self.weighted(&[("everyone", 3), ("owners", 3), ("named", 4)]);
                let members: Vec<&str> = USERS.into_iter().filter(|_| self.one_in(2)).collect();
                let names = who == "named" || self.one_in(12);
                let workspace = self.lately(3, |drawer| drawer.one(&WORKSPACES));
                by("admin", json!({ "who": who, "members": names.then_some(members), "workspace_id": workspace }))
            }
            "register_workspace" => by("admin", json!({ "workspace_id": self.one(&WORKSPACES) })),
            "register_agent" => {
                let created_by = self.lately(4, |drawer| drawer.one(&USERS));
                let actor = if created_by.is_some() { "service" } else { user };
                by(actor, json!({ "scope": self.agent_to_register(), "created_by": created_by }))
            }
            "set_requests" => {
                let hour = self.weighted(&[(Some(9), 3), (Some(17), 3), (Some(0), 1), (None, 2), (Some(24), 1)]);
                self.remembered.digest_hour = hour.filter(|hour| *hour < 24).unwrap_or(9);
                self.remembered.may_ask = !self.remembered.may_ask || !self.one_in(4);
                by("admin", json!({ "enabled": self.remembered.may_ask, "digest_hour": hour }))
            }
            "request" => self.request(user),
            "approve" => {
                let (request_id, wants_more) = self.request_to_answer();
                let has_cap = wants_more != self.one_in(5);
                by(
                    "admin",
                    json!({ "request_id": request_id, "cap": has_cap.then(|| if self.one_in(4) { 1 } else { self.amount() }) }),
                )
            }
            "decline" => by("admin", json!({ "request_id": self.request_to_answer().0 })),
            "pause" => {
                let scope = self.scope();
                self.remembered.paused.push(scope.clone());
                by("admin", json!({ "scope": scope }))
            }
            "resume" => {
                let paused = self.remembered.paused.pop().filter(|_| !self.one_in(8));
                by("admin", json!({ "scope": paused.unwrap_or_else(|| self.scope()) }))
            }
            _ => panic!("no life says {command}"),
        }
    }

    fn agent_to_register(&mut self) -> String {
        match self.remembered.registered.choose(&mut self.random).cloned() {
            Some(known) if self.one_in(6) => known,
            _ if self.one_in(15) => self.one(&["ws:sales", "agent:sales/", "agent:chat", "user:ann"]).to_owned(),
            _ => {
                let new = match self.one_in(2) {
                    true => self.one(&AGENTS).to_owned(),
                    false => format!("agent{}", self.random.random_range(1..12)),
                };
                let workspace = if self.one_in(15) { "" } else { self.one(&WORKSPACES) };
                let scope = format!("agent:{workspace}/{new}");
                self.remembered.registered.push(scope.clone());
                scope
            }
        }
    }

    /// A member asks; mostly one who does not wait for an answer yet.
    fn request(&mut self, user: &'static str) -> (String, Fields) {
        let waits = |drawer: &Self, user: &str| drawer.remembered.requests.iter().any(|open| open.user == user);
        let idle: Vec<&'static str> = USERS.into_iter().filter(|user| !waits(self, user)).collect();
        let user = if idle.is_empty() || self.one_in(10) { user } else { self.one(&idle) };
        let known = self.remembered.requests.choose(&mut self.random).map(|open| open.id.clone());
        let id = known.filter(|_| self.one_in(10)).unwrap_or_else(|| format!("q{}", self.said + 1));
        let seat_type = self.one(&SEAT_TYPES);
        let (wants, seat_type) = self.weighted(&[
            (("higher_limit", None), 12),
            (("seat", Some(seat_type)), if self.has_seats() { 9 } else { 1 }),
            (("seat", Some("golden")), 1),
            (("seat", None), 1),
            (("higher_limit", Some("standard")), 1),
        ]);
        let asked = json!({ "request_id": id, "user_id": user, "wants": wants, "seat_type": seat_type });
        self.remembered.requests.push(Asked { id, user, wants_more: wants == "higher_limit" });
        (user.to_owned(), fields(asked))
    }

    /// One that is open, as far as is known, and whether it is for a higher limit.
    fn request_to_answer(&mut self) -> (String, bool) {
        if self.remembered.requests.is_empty() || self.one_in(15) {
            let answered = self.remembered.answered.choose(&mut self.random).cloned();
            return answered.unwrap_or_else(|| ("q99".to_owned(), true));
        }
        let place = self.random.random_range(0..self.remembered.requests.len());
        let asked = self.remembered.requests.remove(place);
        self.remembered.answered.push((asked.id.clone(), asked.wants_more));
        (asked.id, asked.wants_more)
    }

    fn scope(&mut self) -> String {
        let workspace = self.one(&WORKSPACES);
        match self.random.random_range(0..20) {
            0..3 => "org".to_owned(),
            3..8 => format!("ws:{workspace}"),
            8..13 => format!("agent:{workspace}/{}", self.one(&AGENTS)),
            13..19 => format!("user:{}", self.one(&USERS)),
            _ => self.one(&["team:x", "user:", "agent:x"]).to_owned(),
        }
    }
}
