//! What is published, as a sentence; and what `then` lines ask of an account.

use bursar::domain::{
    account::{row::ScopeRow, settings::Settings},
    limit::Selector,
    meter::Meter,
    pause::Cause,
    time::Timestamp,
    window::{WindowKind, window_at},
};
use serde_json::Value as Json;

fn text(value: &Json) -> &str {
    value.as_str().unwrap_or_default()
}

fn day(value: &Json) -> &str {
    text(value).get(..10).unwrap_or_default()
}

fn texts(values: &Json, name: &str) -> String {
    let values = values.as_array().into_iter().flatten();
    let values: Vec<&str> =
        values.map(|value| if name.is_empty() { text(value) } else { text(&value[name]) }).collect();
    values.join(" ")
}

/// A set, which has no order of its own: by the alphabet.
fn sorted(all: impl Iterator<Item = String>) -> String {
    let mut all: Vec<String> = all.collect();
    all.sort();
    all.join(" and ")
}

/// A signal as a sentence, from its data in JSON; `None` if scenarios do not tell it.
pub fn tell(kind: &str, data: &Json) -> Option<String> {
    match kind {
        "bursar.threshold.v1" => {
            let ceiling = match data["limit_id"].as_str() {
                Some(limit) => limit.to_owned(),
                None => "its pool".to_owned(),
            };
            let percent = &data["threshold_percent"];
            Some(format!(
                "{} has used {} of {}: {percent}% of {ceiling}",
                text(&data["scope"]),
                data["used"],
                data["cap"]
            ))
        }
        "bursar.pause.v1" => {
            let all = data["causes"].as_array().expect("causes are a list");
            let causes = all.iter().map(|cause| {
                let same = |other: &&Json| (&other["kind"], &other["limit_id"]) == (&cause["kind"], &cause["limit_id"]);
                let is_clear = cause["limit_id"].is_null() || all.iter().filter(same).count() == 1;
                let part = |before: &str, name: &str| {
                    cause[name].as_str().map_or_else(String::new, |text| format!("{before}{text}"))
                };
                let selector = if is_clear { String::new() } else { part(" of ", "selector") };
                format!("{}{}{selector}{}", text(&cause["kind"]), part(" ", "limit_id"), part(" in ", "workspace_id"))
            });
            let (scope, causes) = (text(&data["scope"]), sorted(causes));
            Some(if causes.is_empty() { format!("{scope} runs again") } else { format!("{scope} pauses for {causes}") })
        }
        "bursar.journal.v1" => match (data["refused_because"].as_str(), text(&data["answer"])) {
            (Some(why), _) => Some(format!("refused: {why}")),
            (None, "") => None,
            (None, answer) => Some(format!("answer: {answer}")),
        },
        "bursar.dead_letter.v1" if data["reason_code"] == "control_refused" => None,
        "bursar.dead_letter.v1" => Some(format!("dead letter: {}", text(&data["reason_code"]))),
        "bursar.statement.v1" => statement(data),
        "bursar.request.v1" => Some(request(data)),
        other => panic!("{other} is told nowhere"),
    }
}

/// Lines of organization, workspaces and users; those of agents would only repeat them.
fn statement(data: &Json) -> Option<String> {
    let scope = text(&data["resource_id"]);
    if scope.starts_with("agent:") {
        return None;
    }
    let sum = |of: &Json| {
        let parts = Meter::SOURCES.iter().filter_map(|meter| {
            let count = of[meter.name()].as_i64()?;
            Some(format!("{} {count}", meter.name().trim_end_matches("_credits_micro")))
        });
        let parts: Vec<String> = parts.collect();
        let used = of["credits_micro"].as_i64().unwrap_or(0);
        if parts.is_empty() { used.to_string() } else { format!("{used} = {}", parts.join(" + ")) }
    };
    let period = day(&data["billing_period_start"]);
    Some(match data["charge_class"].as_str() {
        None => format!("statement of {scope} from {period}: {}", sum(&data["meters"])),
        Some(_) => format!(
            "correction of {scope} from {period}: {} by {}",
            sum(&data["delta"]),
            text(&data["charge_category"])
        ),
    })
}

fn request(data: &Json) -> String {
    let scope = text(&data["scope"]);
    let pending = |pending: &Json| {
        let seat = pending["seat_type"].as_str().unwrap_or("no seat");
        format!(
            "{} of {} ({seat}) for {} since {}",
            text(&pending["request_id"]),
            text(&pending["user_id"]),
            text(&pending["wants"]),
            day(&pending["since"])
        )
    };
    match text(&data["kind"]) {
        "reload_requested" => {
            format!("reload of {} asked for {scope}, which has {}", data["amount_micro"], data["balance_micro"])
        }
        "reload_blocked" => format!("reload for {scope} is held back by {}", text(&data["reason"])),
        "opened" => format!("request {}", pending(&data["pending"][0])),
        "approved" => match texts(&data["still_binding"], "").as_str() {
            "" => format!("request {} approved", text(&data["request_id"])),
            binding => format!("request {} approved, but {binding} still binds", text(&data["request_id"])),
        },
        "declined" => format!("request {} declined", text(&data["request_id"])),
        "digest" => {
            let all: Vec<String> = data["pending"].as_array().into_iter().flatten().map(pending).collect();
            format!("digest: {}", all.join("; "))
        }
        _ => format!("{} may not create {scope}", text(&data["actor"])),
    }
}

/// The account as stored.
pub struct Seen {
    /// When it is looked at.
    pub now: Timestamp,
    pub settings: Settings,
    pub rows: Vec<(String, ScopeRow)>,
}

impl Seen {
    fn row(&self, scope: &str) -> ScopeRow {
        self.rows.iter().find(|(field, _)| field == scope).map(|(_, row)| row.clone()).unwrap_or_default()
    }

    /// Answers a `then` line: what is there, in the words of the line.
    pub fn answer(&self, then: &str) -> String {
        let words: Vec<&str> = then.split_whitespace().collect();
        match words[..] {
            [scope, meter, "per", window, "is", _] => {
                format!("{scope} {meter} per {window} is {}", self.count(scope, meter, window, 0))
            }
            [scope, meter, "per", window, "before", "is", _] => {
                format!("{scope} {meter} per {window} before is {}", self.count(scope, meter, window, 1))
            }
            [scope, "runs"] | [scope, "is", "paused", "for", ..] => {
                let causes = self.row(scope).pauses.causes;
                let in_full = words.contains(&"of") || words.contains(&"in");
                let name = |cause: &Cause| if in_full { named(cause) } else { cause.kind.name().to_owned() };
                let causes = sorted(causes.iter().map(name));
                if causes.is_empty() { format!("{scope} runs") } else { format!("{scope} is paused for {causes}") }
            }
            ["pool", "of", scope, "has", _, "left"] => {
                let period = window_at(&self.settings.zones, WindowKind::Period, self.now);
                let pool = self.row(scope).pool.unwrap_or_default();
                format!("pool of {scope} has {} left", pool.left_micro(period, self.now))
            }
            ["grant", id, "of", scope, "has", _, "left"] => {
                let pool = self.row(scope).pool.unwrap_or_default();
                let left = pool.grants.iter().find(|grant| &*grant.id == id).map_or(-1, |grant| grant.left_micro());
                format!("grant {id} of {scope} has {left} left")
            }
            ["overshoot", "of", scope, "by", limit, "is", _] => {
                let overshoots = self.row(scope).overshoots;
                let of = |name: &str, kind: &str| name == limit || (name.is_empty() && kind == limit);
                let sum: i64 = overshoots
                    .iter()
                    .filter(|overshoot| of(&overshoot.limit_id, overshoot.kind.name()))
                    .map(|overshoot| overshoot.amount_micro)
                    .sum();
                format!("overshoot of {scope} by {limit} is {sum}")
            }
            ["part", name, "of", scope, "is", _] => {
                let label = self.settings.labels.iter().position(|label| &**label == name);
                let parts = self.row(scope).parts;
                let part = parts.iter().rev().find(|part| Some(usize::from(part.label)) == label);
                format!("part {name} of {scope} is {}", part.map_or(0, |part| part.credits_micro))
            }
            ["model", name, "of", scope, "is", _] => {
                let model = self.settings.models.iter().position(|model| &**model == name);
                let parts = self.row(scope).models;
                let part = parts.iter().rev().find(|part| Some(usize::from(part.model)) == model);
                let shown = part.map_or((0, 0), |part| (part.credits_micro, part.tokens.input));
                format!("model {name} of {scope} is {}/{}", shown.0, shown.1)
            }
            [scope, "has", "seat", _] => {
                let row = self.row(scope);
                format!("{scope} has seat {}", row.seat_type().unwrap_or("none"))
            }
            [scope, "is", "registered", "by", _] => {
                let by = self.row(scope).registered.map_or_else(|| "nobody".into(), |registered| registered.created_by);
                format!("{scope} is registered by {by}")
            }
            ["requests", "are", ..] => {
                let open: Vec<&str> = self.settings.requests.open.iter().map(|open| &*open.id).collect();
                format!("requests are {}", if open.is_empty() { "none".to_owned() } else { open.join(" ") })
            }
            _ => panic!("nobody can look at {then:?}"),
        }
    }

    /// A count in the newest window of a kind, or in the one before.
    fn count(&self, scope: &str, meter: &str, window: &str, back: usize) -> i64 {
        let kind = WindowKind::ALL.into_iter().find(|kind| kind.name() == window).expect("a kind of window");
        let meter = Meter::parse(meter).unwrap_or_else(|| panic!("there is no meter {meter}"));
        let row = self.row(scope);
        let mut windows: Vec<_> = row.windows.iter().filter(|window| window.kind.0 == kind).collect();
        windows.sort_by_key(|window| std::cmp::Reverse(window.start));
        windows.get(back).map_or(0, |window| window.counters.get(meter))
    }
}

/// A cause with all that names it: `limit daily of every:agent`, `pool in w`.
fn named(cause: &Cause) -> String {
    let limit = cause.selector.as_ref().map(Selector::name).map(|name| format!(" {} of {name}", cause.limit_id));
    let workspace = cause.workspace_id.as_ref().map(|workspace| format!(" in {workspace}"));
    format!("{}{}{}", cause.kind.name(), limit.unwrap_or_default(), workspace.unwrap_or_default())
}
