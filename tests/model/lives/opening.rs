//! How a life begins: with prices, and with what its theme needs.

use serde_json::json;

use super::{
    Drawer, SEAT_TYPES, USERS, Vocabulary, WITHOUT_CARD_ONE_IN,
    fields::fields,
    instants::{MINUTE_MS, rfc3339},
};

/// One life in so many does not begin with what its theme needs, but with nothing.
const BARE_ONE_IN: u32 = 8;

impl Drawer {
    /// Says what a life begins with.
    pub fn open(&mut self) {
        if self.vocabulary == Vocabulary::Old || !self.one_in(WITHOUT_CARD_ONE_IN) {
            let default_prices = json!({ "input_micro": 1_000_000, "output_micro": 0 });
            let completed_run_micro = self.weighted(&[(None, 3), (Some(5), 2)]);
            let card = json!({
                "effective_from": "2020-01-01T00:00:00Z",
                "default_prices": default_prices,
                "completed_run_micro": completed_run_micro,
            });
            self.say("admin", "set_rate_card", fields(card));
        }
        if self.one_in(4) {
            self.say_one("set_organization");
        }
        if !self.one_in(BARE_ONE_IN) {
            self.open_theme();
        }
        // Prices hold a minute after their record.
        self.now_ms += 2 * MINUTE_MS;
        self.clock_ms = self.now_ms;
    }

    fn open_theme(&mut self) {
        let mode = match self.theme.mode {
            "" => self.weighted(&[("", 4), ("team", 2), ("seat_enterprise", 2), ("usage_enterprise", 2)]),
            mode => mode,
        };
        if !mode.is_empty() {
            self.remembered.mode = mode;
            self.say("admin", "set_mode", fields(json!({ "mode": mode })));
        }
        if matches!(mode, "team" | "seat_enterprise") {
            self.open_seats(mode);
        }
        for (command, one_in) in [("set_pool", 2), ("set_pool", 2), ("grant", 2), ("set_limit", 2), ("set_limit", 3)] {
            if !self.one_in(one_in) {
                self.say_one(command);
            }
        }
        if let Some(scope) = self.remembered.pools.first().cloned()
            && self.theme.name != "reloads"
            && !self.one_in(3)
        {
            let amount = self.one(&[100, 500, 1_000]);
            let grant = json!({ "scope": scope, "grant_id": "start", "amount_micro": amount, "kind": "prepaid" });
            self.say("billing", "grant", fields(grant));
        }
        match self.theme.name {
            "free phase" => self.open_free_phase(),
            "requests" => {
                for user in USERS.into_iter().take(2) {
                    let limited = json!({
                        "limit_id": "spend",
                        "scope": format!("user:{user}"),
                        "meter": "extra_credits_micro",
                        "window": "period",
                        "cap": 20,
                    });
                    self.say("admin", "set_limit", fields(limited));
                }
            }
            "reloads" => self.open_reloads(),
            // Where all is paid by two pools it matters who gets what back.
            "refunds" if !self.said.is_multiple_of(4) => {
                for scope in ["org", "ws:sales"] {
                    self.say("admin", "set_pool", fields(json!({ "scope": scope, "included_micro": 1_000 })));
                }
            }
            "changes of who pays" => self.say("admin", "set_consent", fields(json!({ "required": true }))),
            _ => {}
        }
    }

    fn open_seats(&mut self, mode: &str) {
        for seat_type in SEAT_TYPES {
            let includes = self.one(&["session_micro", "week_micro", "period_micro", "period_micro"]);
            let amount = self.one(&[0, 10, 20, 50, 100]);
            self.say("admin", "set_seat_type", fields(json!({ "seat_type": seat_type, includes: amount })));
        }
        for user in USERS {
            if !self.one_in(4) {
                let seat_type = self.one(&SEAT_TYPES);
                self.say("admin", "set_member", fields(json!({ "user_id": user, "seat_type": seat_type })));
            }
        }
        let source = if mode == "team" { "prepaid" } else { self.one(&["prepaid", "postpaid"]) };
        if !self.one_in(3) {
            self.say("admin", "set_source", fields(json!({ "source": source, "on": true })));
        }
    }

    fn open_free_phase(&mut self) {
        self.say_one("set_organization");
        let until = self.later();
        self.say("admin", "set_free_phase", fields(json!({ "until": rfc3339(until) })));
        for _ in 0..3 {
            self.say_one("register_agent");
        }
    }

    fn open_reloads(&mut self) {
        let scope = if self.one_in(4) { "ws:sales" } else { "org" };
        let [included, amount] = [self.one(&[0, 10]), self.one(&[20, 50, 100])];
        self.say("admin", "set_pool", fields(json!({ "scope": scope, "included_micro": included })));
        let grant = json!({ "scope": scope, "grant_id": "first", "amount_micro": amount, "kind": "prepaid" });
        self.say("billing", "grant", fields(grant));
        let rule = json!({
            "scope": scope,
            "below_micro": self.one(&[20, 100, 1_000, 1_000]),
            "amount_micro": self.one(&[20, 50]),
            "per_day_max": self.one(&[3, 100, 100]),
        });
        self.remembered.pools.push(scope.to_owned());
        self.remembered.reloads.push(scope.to_owned());
        self.say("admin", "set_auto_reload", fields(rule));
    }
}
