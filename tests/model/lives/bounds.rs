//! Lives that come to a bound: the same is said until it is refused, then used once more.

use serde_json::{Map, Value as Json, json};

use super::{Life, fields::fields, instants, usage::HUGE};
use crate::life::{Step, Use, What};

/// Every life that comes to a bound.
pub fn all() -> Vec<Life> {
    let lives: [(&'static str, fn(&mut Saying)); 13] = [
        ("time zones", time_zones),
        ("rate cards", rate_cards),
        ("seat types", seat_types),
        ("rules for many", rules),
        ("limits of one scope", limits),
        ("grants of one pool", grants),
        ("open requests", requests),
        ("creators of agents", creators),
        ("shares of a limit", shares),
        ("ids", ids),
        ("labels and models", labels),
        ("amounts", amounts),
        ("counters", counters),
    ];
    lives.into_iter().map(|(theme, say)| Life { theme, steps: Saying::of(say) }).collect()
}

/// Says one thing after the other, a second apart.
struct Saying {
    at_ms: i64,
    steps: Vec<Step>,
}

impl Saying {
    fn of(say: fn(&mut Self)) -> Vec<Step> {
        let mut saying = Self { at_ms: instants::NOON_MS, steps: Vec::new() };
        let prices = json!({ "input_micro": 1_000_000, "output_micro": 0 });
        saying.say("set_rate_card", json!({ "effective_from": "2020-01-01T00:00:00Z", "default_prices": prices }));
        saying.at_ms += 2 * instants::MINUTE_MS;
        say(&mut saying);
        saying.use_some(Use { tokens: Some(5), ..Use::default() });
        saying.steps
    }

    fn say(&mut self, command: &str, object: Json) {
        self.say_as("admin", command, fields(object));
    }

    fn say_as(&mut self, actor: &str, command: &str, fields: Map<String, Json>) {
        let (id, actor, command) = (format!("c{}", self.steps.len()), actor.to_owned(), command.to_owned());
        self.push(What::Say { actor, id, time_ms: self.at_ms, command, fields });
    }

    fn use_some(&mut self, event: Use) {
        let named = |name: &str| Some(name.to_owned());
        let (workspace, agent, user) = (named("sales"), named("chat"), named("ann"));
        let id = format!("e{}", self.steps.len());
        self.push(What::Use(Use { id, time_ms: self.at_ms, workspace, agent, user, ..event }));
    }

    fn push(&mut self, what: What) {
        self.steps.push(Step { at_ms: self.at_ms, clock_ms: self.at_ms, what });
        self.at_ms += instants::SECOND_MS;
    }
}

fn time_zones(saying: &mut Saying) {
    saying.use_some(Use { tokens: Some(5), ..Use::default() });
    for number in 0..66 {
        let day = number % 28 + 1;
        saying.say("set_organization", json!({ "time_zone": "UTC", "anchor": format!("2026-01-{day:02}") }));
    }
}

fn rate_cards(saying: &mut Saying) {
    for price in 0..66 {
        let prices = json!({ "input_micro": price, "output_micro": 0 });
        saying.say("set_rate_card", json!({ "default_prices": prices }));
    }
}

fn seat_types(saying: &mut Saying) {
    saying.say("set_mode", json!({ "mode": "team" }));
    for number in 0..66 {
        saying.say("set_seat_type", json!({ "seat_type": format!("seat{number}"), "period_micro": 1_000 + number }));
    }
    saying.say("set_seat_type", json!({ "seat_type": "seat3", "period_micro": 2 }));
}

fn limit(id: usize, selector: (&str, &str)) -> Json {
    json!({
        "limit_id": format!("l{id}"),
        selector.0: selector.1,
        "meter": "input_tokens",
        "window": "day",
        "cap": 100_000 + id,
    })
}

fn rules(saying: &mut Saying) {
    for number in 0..66 {
        saying.say("set_limit", limit(number, ("every", if number % 2 == 0 { "user" } else { "agent" })));
    }
    saying.say("set_limit", limit(3, ("every", "agent")));
    saying.say("remove_limit", json!({ "limit_id": "l5", "every": "agent" }));
    saying.say("set_limit", limit(99, ("every", "workspace")));
}

fn limits(saying: &mut Saying) {
    for number in 0..66 {
        saying.say("set_limit", limit(number, ("scope", "user:ann")));
    }
    saying.say("set_limit", limit(0, ("scope", "user:bob")));
    saying.say_as("ann", "request", fields(json!({ "request_id": "q", "user_id": "ann", "wants": "higher_limit" })));
    saying.say("approve", json!({ "request_id": "q", "cap": 5 }));
}

fn grants(saying: &mut Saying) {
    saying.say("set_pool", json!({ "scope": "org", "included_micro": 0 }));
    for number in 0..1_002 {
        saying.say("grant", json!({ "scope": "org", "grant_id": format!("g{number}"), "amount_micro": 5 }));
    }
    saying.say("void_grant", json!({ "scope": "org", "grant_id": "g7" }));
    saying.say("grant", json!({ "scope": "org", "grant_id": "more", "amount_micro": 5 }));
}

fn requests(saying: &mut Saying) {
    for number in 0..1_002 {
        let user = format!("user{number}");
        let asked = json!({ "request_id": format!("q{number}"), "user_id": user, "wants": "higher_limit" });
        saying.say_as(&user, "request", fields(asked));
    }
    saying.say("decline", json!({ "request_id": "q5" }));
    saying.say_as("more", "request", fields(json!({ "request_id": "m", "user_id": "more", "wants": "higher_limit" })));
}

fn creators(saying: &mut Saying) {
    for count in [0, 1_000, 1_001] {
        let members: Vec<String> = (0..count).map(|number| format!("user{number}")).collect();
        saying.say("set_agent_creation", json!({ "who": "named", "members": members }));
        saying.say_as("user999", "register_agent", fields(json!({ "scope": format!("agent:sales/a{count}") })));
    }
}

fn shares(saying: &mut Saying) {
    for shares in [(1..=16).collect::<Vec<i64>>(), (1..=17).collect(), vec![0], vec![1_000], vec![1_001], vec![5, 5]] {
        let mut limited = limit(0, ("scope", "org"));
        limited["cap"] = json!(20);
        limited["thresholds_percent"] = json!(shares);
        saying.say("set_limit", limited);
        saying.say("set_pool", json!({ "scope": "ws:sales", "included_micro": 30, "thresholds_percent": shares }));
        saying.use_some(Use { tokens: Some(2), ..Use::default() });
    }
}

fn ids(saying: &mut Saying) {
    saying.say("set_pool", json!({ "scope": "org", "included_micro": 10 }));
    saying.say("set_mode", json!({ "mode": "team" }));
    for length in [0, 1, 256, 257] {
        let id = "x".repeat(length);
        saying.say("grant", json!({ "scope": "org", "grant_id": id, "amount_micro": 5, "kind": "prepaid" }));
        let answered = format!("{id}y");
        let grant =
            json!({ "scope": "org", "grant_id": answered, "amount_micro": 5, "kind": "prepaid", "reload_id": id });
        saying.say("grant", grant);
        saying.say("void_grant", json!({ "scope": "org", "grant_id": id }));
        saying.say("refuse_reload", json!({ "scope": "org", "reload_id": id }));
        let mut limited = limit(0, ("scope", "org"));
        limited["limit_id"] = json!(id);
        saying.say("set_limit", limited);
        saying.say("remove_limit", json!({ "scope": "org", "limit_id": id }));
        saying.say("set_seat_type", json!({ "seat_type": id, "week_micro": 5 }));
        saying.say("set_member", json!({ "user_id": id, "seat_type": id }));
        saying.say("consent", json!({ "user_id": id, "given": true }));
        saying.say("request", json!({ "request_id": id, "user_id": "ann", "wants": "seat", "seat_type": id }));
        saying.say("approve", json!({ "request_id": id }));
        saying.say("set_unit", json!({ "name": id }));
        saying.say("register_workspace", json!({ "workspace_id": id }));
        saying.say("adjust", json!({ "reference": id, "event_time": "2026-01-15T11:59:00Z", "credits_micro": 5 }));
    }
}

fn labels(saying: &mut Saying) {
    for number in 0..70 {
        let named = |name: &str| Some(format!("{name}{number}"));
        let (product, trigger, model) = (named("p").filter(|_| number % 2 == 0), named("t"), named("m"));
        saying.use_some(Use { tokens: Some(5), product, trigger, model, ..Use::default() });
    }
}

fn amounts(saying: &mut Saying) {
    saying.say("set_pool", json!({ "scope": "org", "included_micro": HUGE }));
    for amount in [-1, 0, HUGE, HUGE + 1] {
        saying.say("set_pool", json!({ "scope": "org", "included_micro": amount, "user_cap_micro": amount }));
        saying.say("grant", json!({ "scope": "org", "grant_id": format!("g{amount}"), "amount_micro": amount }));
        let mut limited = limit(0, ("scope", "org"));
        limited["cap"] = json!(amount);
        saying.say("set_limit", limited);
        let rule = json!({ "scope": "org", "below_micro": amount, "amount_micro": amount });
        saying.say("set_auto_reload", rule);
        saying.say("set_unit", json!({ "name": "credits", "scale": amount }));
        saying.say("set_requests", json!({ "enabled": true, "digest_hour": amount }));
        saying.say("set_rate_card", json!({ "default_prices": { "input_micro": amount, "output_micro": 0 } }));
        saying
            .say("adjust", json!({ "reference": "r", "event_time": "2026-01-15T11:59:00Z", "credits_micro": amount }));
        saying.say("adjust", json!({ "reference": "r", "event_time": "2026-01-15T11:59:00Z", "runs_started": amount }));
    }
    let before = json!({ "reference": "r", "event_time": "1969-12-31T23:59:59Z", "credits_micro": 5 });
    saying.say("adjust", before);
    saying.say("set_mode", json!({ "mode": "team" }));
    for amount in [-1, 0, HUGE, HUGE + 1] {
        saying.say("set_seat_type", json!({ "seat_type": "standard", "session_micro": amount }));
    }
}

/// Up to the end of the numbers, and what would go beyond.
fn counters(saying: &mut Saying) {
    for _ in 0..1_025 {
        saying.use_some(Use { tokens: Some(HUGE), ..Use::default() });
    }
    for credits in [HUGE, -HUGE, HUGE] {
        let used = json!({
            "reference": "r",
            "event_time": "2026-01-15T12:02:30Z",
            "workspace_id": "sales",
            "user_id": "ann",
            "credits_micro": credits,
        });
        saying.say("adjust", used);
    }
    saying.use_some(Use { tokens: Some(HUGE), ..Use::default() });
}
