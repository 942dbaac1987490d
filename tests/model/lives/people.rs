//! Members, agents, what members ask for, and what admins stop.

use rand::{Rng, seq::IndexedRandom};
use serde_json::{Value as Json, json};

use super::{
    AGENTS, Drawer, SEAT_TYPES, USERS, WORKSPACES,
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
                by("admin", json!({ "who": who, "members": names.then_some(members) }))
            }
            "register_workspace" => by("admin", json!({ "workspace_id": self.one(&WORKSPACES) })),
            "register_agent" => by(user, json!({ "scope": self.agent_to_register() })),
            "set_requests" => {
                let hour = self.weighted(&[(Some(9), 3), (Some(17), 3), (Some(0), 1), (None, 2), (Some(24), 1)]);
                self.remembered.digest_hour = hour.filter(|hour| *hour < 24).unwrap_or(9);
                by("admin", json!({ "enabled": !self.one_in(4), "digest_hour": hour }))
            }
            "request" => {
                let request_id = self.request_id_to_open();
                let seat_type = self.one(&SEAT_TYPES);
                let (wants, seat_type) = self.weighted(&[
                    (("higher_limit", None), 10),
                    (("seat", Some(seat_type)), 7),
                    (("seat", Some("golden")), 1),
                    (("seat", None), 1),
                    (("higher_limit", Some("standard")), 1),
                ]);
                by(user, json!({ "request_id": request_id, "user_id": user, "wants": wants, "seat_type": seat_type }))
            }
            "approve" => {
                let request_id = self.request_id();
                by("admin", json!({ "request_id": request_id, "cap": self.sometimes(2).map(|()| self.amount()) }))
            }
            "decline" => by("admin", json!({ "request_id": self.request_id() })),
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

    fn request_id_to_open(&mut self) -> String {
        match self.remembered.requests.choose(&mut self.random).cloned() {
            Some(known) if self.one_in(10) => known,
            _ => {
                let new = format!("q{}", self.remembered.requests.len() + 1);
                self.remembered.requests.push(new.clone());
                new
            }
        }
    }

    /// One that was opened, mostly lately.
    fn request_id(&mut self) -> String {
        let recent = self.remembered.requests.iter().rev().take(4).cloned().collect::<Vec<_>>();
        recent.choose(&mut self.random).cloned().filter(|_| !self.one_in(15)).unwrap_or_else(|| "q99".to_owned())
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
