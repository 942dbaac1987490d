//! What commands say: mostly what can be done, at times what must be refused. Here: who pays, and with what.

use jiff::civil::Date;
use rand::{Rng, seq::IndexedRandom};
use serde_json::{Map, Value as Json, json};

use super::{
    Drawer, USERS, Vocabulary, WORKSPACES,
    instants::{DAY_MS, TIME_ZONES, rfc3339},
    usage::HUGE,
};

/// The fields of a command.
pub type Fields = Map<String, Json>;

/// An object's fields; nulls are left out.
pub fn fields(object: Json) -> Fields {
    let Json::Object(fields) = object else { panic!("{object} is no object") };
    fields.into_iter().filter(|(_, value)| !value.is_null()).collect()
}

impl Drawer {
    /// Who says a command, and with which fields. A few of [`super::themes::COMMANDS`] are ways to say another.
    pub fn fields_of(&mut self, command: &'static str) -> (String, Fields) {
        let by = |actor: &str, object: Json| (actor.to_owned(), fields(object));
        match command {
            "set_organization" => by("admin", self.zone()),
            "set_rate_card" => by("admin", self.rate_card()),
            "set_unit" => {
                let name = self.weighted(&[("credits", 4), ("USD", 4), ("", 1)]);
                by("admin", json!({ "name": name, "scale": self.weighted(&[(2, 5), (0, 1), (6, 1), (7, 1)]) }))
            }
            "set_plan" => {
                let plans = [("free", 1), ("plus", 1), ("business", 3), ("business_trial", 1), ("enterprise", 4)];
                let plan = self.weighted(&plans);
                self.remembered.has_credits = !matches!(plan, "free" | "plus");
                by("billing", json!({ "plan": plan }))
            }
            "set_mode" => {
                let mode = match self.theme.mode {
                    "" => self.one(&["credits", "team", "seat_enterprise", "usage_enterprise"]),
                    mode => self.weighted(&[
                        (mode, 8),
                        ("credits", 1),
                        ("team", 1),
                        ("seat_enterprise", 1),
                        ("usage_enterprise", 1),
                    ]),
                };
                let has_pools = self.remembered.pools.iter().any(|owner| owner != "org");
                if !has_pools || !matches!(mode, "team" | "seat_enterprise") {
                    self.remembered.mode = mode;
                }
                by("admin", json!({ "mode": mode }))
            }
            "set_source" => {
                let source = self.weighted(&[("seat", 1), ("pool", 2), ("prepaid", 5), ("postpaid", 5)]);
                let user = self.sometimes(2).map(|()| self.one(&USERS));
                let off = if user.is_some() { 9 } else { 3 };
                let on = self.weighted(&[(Some(true), 5), (Some(false), off), (None, 2)]);
                by("admin", json!({ "source": source, "user_id": user, "on": on }))
            }
            "set_extra_usage" => by("admin", json!({ "on": !self.one_in(3) })),
            "set_reserved" => {
                let controls: Vec<&str> =
                    ["buying", "pool", "agent_creation"].into_iter().filter(|_| self.one_in(2)).collect();
                by("admin", json!({ "controls": controls }))
            }
            "remove_pool" => {
                let scope = self.owner_of_pool();
                self.remembered.pools.retain(|known| *known != scope);
                self.remembered.reloads.retain(|known| *known != scope);
                by("admin", json!({ "scope": scope }))
            }
            "set_consent" => by("admin", json!({ "required": self.random.random_bool(0.7) })),
            "consent" => {
                let user = self.one(&USERS);
                by(user, json!({ "user_id": user, "given": self.random.random_bool(0.7) }))
            }
            "set_free_phase" => {
                let until = if self.one_in(5) { self.earlier() } else { self.later() };
                by("admin", json!({ "until": rfc3339(until) }))
            }
            "set_pool" => by("admin", self.pool()),
            "grant" => by("billing", self.grant()),
            "void_grant" => by("billing", self.void()),
            "set_auto_reload" => by("admin", self.auto_reload()),
            "remove_auto_reload" => {
                let scope = self.owner_of_reload();
                self.remembered.reloads.retain(|known| *known != scope);
                by("admin", json!({ "scope": scope }))
            }
            "refuse_reload" => by("billing", json!({ "scope": self.owner_of_reload(), "reload_id": self.reload_id() })),
            "answer_reload" => {
                let mut grant = self.grant();
                (grant["scope"], grant["kind"]) = (json!(self.owner_of_reload()), json!("prepaid"));
                grant["reload_id"] = self.reload_id();
                if !self.one_in(3) {
                    // So little that the next charge asks again.
                    grant["amount_micro"] = json!(self.one(&[1, 5, 10, 20]));
                }
                by("billing", grant)
            }
            "adjust" => by("billing", self.adjustment()),
            _ => self.rule_or_people(command),
        }
    }

    fn zone(&mut self) -> Json {
        let time_zone = self.one(&TIME_ZONES);
        let day = self.one(&[1, 1, 15, 20, 25, 29, 30, 31]);
        let anchor = Date::new(2026, 1, day).expect("January has 31 days");
        if self.one_in(8) {
            let (time_zone, anchor) =
                self.one(&[("Mars/Base", "2026-01-01"), ("UTC", "2026-02-30"), ("", "2026-01-01"), ("UTC", "soon")]);
            return json!({ "time_zone": time_zone, "anchor": anchor });
        }
        (self.remembered.time_zone, self.remembered.anchor) = (time_zone, anchor);
        json!({ "time_zone": time_zone, "anchor": anchor.to_string() })
    }

    fn rate_card(&mut self) -> Json {
        let effective_from = match self.random.random_range(0..4) {
            0 => None,
            1 => Some(self.later()),
            2 => Some(self.now_ms),
            _ => Some(self.earlier()),
        };
        let mut models = Map::new();
        for model in ["small", "large"] {
            if self.one_in(3) {
                models.insert(model.to_owned(), json!({ "input_micro": self.price(), "output_micro": 0 }));
            }
        }
        let needs_default = self.vocabulary == Vocabulary::Old;
        let default =
            (needs_default || !self.one_in(6)).then(|| json!({ "input_micro": self.price(), "output_micro": 0 }));
        json!({
            "effective_from": effective_from.map(rfc3339),
            "models": (!models.is_empty()).then_some(models),
            "default_prices": default,
            "unknown_model": self.lately(3, |drawer| drawer.one(&["count", "default", "reject"])),
            "completed_run_micro": self.weighted(&[(None, 3), (Some(5), 3), (Some(50), 1), (Some(-1), 1)]),
        })
    }

    /// Per million tokens: a token mostly costs one micro-credit.
    fn price(&mut self) -> i64 {
        self.weighted(&[
            (1_000_000, 12),
            (2_000_000, 2),
            (500_000, 1),
            (333_333, 1),
            (1, 1),
            (0, 1),
            (HUGE, 1),
            (-1, 1),
        ])
    }

    /// Whether members have seats, as far as is known.
    pub fn has_seats(&self) -> bool {
        matches!(self.remembered.mode, "team" | "seat_enterprise")
    }

    /// Who may have a pool; at times who may not.
    fn owner(&mut self) -> String {
        match self.random.random_range(0..40) {
            0..3 => self.one(&["user:ann", "agent:sales/chat", "team:x"]).to_owned(),
            at if at < 16 || (self.has_seats() && at < 38) => "org".to_owned(),
            _ => format!("ws:{}", self.one(&WORKSPACES)),
        }
    }

    /// One that has a pool, mostly.
    fn owner_of_pool(&mut self) -> String {
        match self.remembered.pools.choose(&mut self.random).cloned() {
            _ if self.one_in(20) => self.one(&["user:ann", "agent:sales/chat"]).to_owned(),
            Some(scope) if !self.one_in(10) => scope,
            _ => self.owner(),
        }
    }

    fn pool(&mut self) -> Json {
        let scope = if self.one_in(2) { self.owner() } else { self.owner_of_pool() };
        let may_have = if self.has_seats() { scope == "org" } else { scope == "org" || scope.starts_with("ws:") };
        if may_have && self.remembered.has_credits && !self.remembered.pools.contains(&scope) {
            self.remembered.pools.push(scope.clone());
        }
        // Of what is included least is left for what was bought.
        let included = if self.one_in(3) { 0 } else { self.amount() };
        json!({
            "scope": scope,
            "included_micro": if self.one_in(30) { -1 } else { included },
            "user_cap_micro": self.sometimes(3).map(|()| self.amount()),
            "thresholds_percent": self.thresholds(),
        })
    }

    fn grant(&mut self) -> Json {
        let scope = self.owner_of_pool();
        let grant_id = match self.remembered.grants.choose(&mut self.random).cloned() {
            Some((_, known)) if self.one_in(8) => known,
            _ => format!("g{}", self.said + 1),
        };
        let effective_from = self.sometimes(4).map(|()| if self.one_in(3) { self.earlier() } else { self.later() });
        let expires_at = self.sometimes(4).map(|()| if self.one_in(8) { self.earlier() } else { self.later() });
        if self.remembered.pools.contains(&scope) {
            self.remembered.grants.push((scope.clone(), grant_id.clone()));
        }
        let amount = self.amount();
        let kind = self.weighted(&[(None, 3), (Some("purchased"), 2), (Some("prepaid"), 9)]);
        let effective_from = match kind {
            // After its period.
            None | Some("purchased") if self.one_in(12) => Some(self.now_ms + 40 * DAY_MS),
            _ => effective_from,
        };
        json!({
            "scope": scope,
            "grant_id": grant_id,
            "amount_micro": if amount < 20 && !self.one_in(4) { self.one(&[50, 100, 300, 500, 1_000]) } else { amount },
            "kind": kind,
            "priority": self.weighted(&[(None, 6), (Some(0), 1), (Some(1), 1), (Some(3), 1), (Some(256), 1)]),
            "effective_from": effective_from.map(rfc3339),
            "expires_at": expires_at.map(rfc3339),
            "reload_id": self.sometimes(25).map(|()| "$reload"),
        })
    }

    fn void(&mut self) -> Json {
        let recent: Vec<_> = self.remembered.grants.iter().rev().take(6).cloned().collect();
        let known = recent.choose(&mut self.random).cloned();
        let (scope, grant_id) = known.filter(|_| !self.one_in(10)).unwrap_or_else(|| (self.owner(), "g99".to_owned()));
        let scope = if self.one_in(40) { "user:ann".to_owned() } else { scope };
        json!({ "scope": scope, "grant_id": grant_id })
    }

    fn auto_reload(&mut self) -> Json {
        let lapse_minutes = self.weighted(&[(None, 4), (Some(1), 1), (Some(60), 3), (Some(300), 1), (Some(0), 1)]);
        let scope = match self.remembered.reloads.last().cloned() {
            Some(known) if !self.one_in(6) => known,
            _ if self.one_in(4) => self.owner(),
            _ => self.owner_of_pool(),
        };
        if self.remembered.pools.contains(&scope) {
            self.remembered.reloads.push(scope.clone());
        }
        json!({
            "scope": scope,
            "below_micro": self.weighted(&[(0, 2), (10, 2), (50, 3), (100, 4), (1_000, 6), (HUGE, 1), (-1, 1)]),
            "amount_micro": self.amount(),
            "per_day_max": self.weighted(&[(None, 3), (Some(1), 2), (Some(2), 2), (Some(100), 7), (Some(0), 1)]),
            "lapse_minutes": lapse_minutes,
        })
    }

    /// Whose balance is filled up by itself, mostly.
    fn owner_of_reload(&mut self) -> String {
        match self.remembered.reloads.last().cloned() {
            _ if self.one_in(40) => "user:bob".to_owned(),
            Some(known) if !self.one_in(8) => known,
            _ => self.owner_of_pool(),
        }
    }

    /// `$reload` stands for the last one that was asked for, `$reload_before` for the one before it.
    fn reload_id(&mut self) -> Json {
        self.remembered.answered_after = self.used;
        json!(self.weighted(&[
            ("$reload", 24),
            ("$reload_before", 3),
            ("r1", 1),
            ("0123456789abcdef0123456789abcdef", 1)
        ]))
    }

    /// A correction: mostly a refund of usage that took place, of all of it or of a part.
    fn adjustment(&mut self) -> Json {
        let used = self.remembered.uses.choose(&mut self.random).cloned().unwrap_or_default();
        let recent = self.remembered.uses.last().cloned().filter(|_| self.one_in(3));
        let used = recent.unwrap_or(used);
        let event_time = match self.random.random_range(0..20) {
            0 => self.later().min(self.now_ms + DAY_MS),
            1..4 => self.earlier(),
            _ if used.time_ms > 0 => used.time_ms,
            _ => self.now_ms,
        };
        let (names_none, without_workspace) = (self.one_in(20), self.one_in(3));
        let paid = used.tokens.unwrap_or(5).min(1_000_000);
        let credits = match self.random.random_range(0..20) {
            _ if without_workspace => -paid * self.one(&[1, 1, 2]),
            0..9 => -paid,
            9..12 => -(paid + 1) / 2,
            12..14 => -self.amount(),
            14..18 => self.amount(),
            _ => 0,
        };
        let counted = |drawer: &mut Self| drawer.sometimes(10).map(|()| drawer.one(&[-1, 1, -5, 5]));
        let named = |drawer: &mut Self, id: Option<String>| id.filter(|_| !names_none && !drawer.one_in(8));
        json!({
            "reference": format!("t{}", self.said + 1),
            "event_time": rfc3339(event_time),
            "workspace_id": named(self, used.workspace.filter(|_| !without_workspace)),
            "agent_id": named(self, used.agent),
            "user_id": named(self, used.user),
            "credits_micro": (credits != 0).then_some(credits),
            "input_tokens": counted(self),
            "runs_started": counted(self),
            "runs_completed": counted(self),
        })
    }

    /// Shares to announce: mostly the usual ones.
    pub fn thresholds(&mut self) -> Option<Vec<i64>> {
        match self.random.random_range(0..20) {
            0..13 => None,
            13..16 => Some(vec![100]),
            16 => Some(vec![50, 80, 100]),
            17 => Some(vec![10, 150]),
            18 => Some(vec![1_000]),
            _ if self.one_in(2) => Some(vec![100, 80]),
            _ => Some(vec![0, 100]),
        }
    }
}
