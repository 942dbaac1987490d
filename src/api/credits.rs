//! Figures of credits follow the plan (row A20): where it has no credits, only owners read them, and billing, which is a
//! service. Others see the rest: runs, tokens, agents, pauses.
//!
//! Whatever is an amount of credits has a name that ends in `_micro`, or belongs to a meter whose name does. So an answer is
//! made as for everybody, and what its reader may not know is left out of it in the end.

use axum::{
    Json,
    response::{IntoResponse, Response},
};
use serde::Serialize;
use serde_json::{Map, Value};

use super::{
    Api,
    access::{Caller, Role},
    problem::Problem,
};
use crate::domain::{
    meter::Meter,
    organization::{Feature, Plan},
};

/// Members that are about credits as a whole.
const OF_CREDITS: [&str; 2] = ["pool", "estimate"];

/// Members that are amounts of a meter, where their object names one.
const OF_METER: [&str; 5] = ["used", "used_permille", "cap", "amount", "top_contributors"];

/// Members of an entry of the journal that tell amounts in words.
const IN_WORDS: [&str; 5] = ["command", "refused_because", "fields", "answer", "applied"];

/// Whether a meter counts credits.
pub fn is_of_credits(meter: Meter) -> bool {
    meter.name().ends_with("_micro")
}

/// Whether a caller reads figures of credits of an organization with that plan.
pub fn reads_credits(caller: &Caller, organization_id: &str, plan: Option<Plan>) -> bool {
    plan.is_none_or(|plan| plan.has(Feature::Credits)) || reads_them_on_every_plan(caller, organization_id)
}

fn reads_them_on_every_plan(caller: &Caller, organization_id: &str) -> bool {
    caller.roles.iter().any(|role| match role {
        Role::Owner(of) => **of == *organization_id,
        Role::Service => true,
        _ => false,
    })
}

/// What somebody is told who asks for nothing but figures of credits, and does not read them.
pub fn plan_lacks_credits() -> Problem {
    Problem::plan_lacks("the plan has no credits: only owners, and services for billing, read figures of credits")
}

impl Api {
    /// Whether a caller reads figures of credits of an organization, where nothing else of it is read.
    ///
    /// # Errors
    /// [`Problem::unavailable`] if the account cannot be read.
    pub(super) async fn reads_credits(&self, caller: &Caller, organization_id: &str) -> Result<bool, Problem> {
        if reads_them_on_every_plan(caller, organization_id) {
            return Ok(true);
        }
        let base = self.reader.base(organization_id).await?;
        Ok(reads_credits(caller, organization_id, base.and_then(|base| base.settings.plan)))
    }
}

/// An answer as its reader sees it.
pub struct AsSeen<T> {
    /// The answer.
    pub answer: T,
    /// Whether figures of credits are in it.
    pub with_credits: bool,
}

impl<T: Serialize> IntoResponse for AsSeen<T> {
    fn into_response(self) -> Response {
        if self.with_credits {
            return Json(self.answer).into_response();
        }
        match serde_json::to_value(self.answer) {
            Ok(mut answer) => {
                leave_out(&mut answer);
                Json(answer).into_response()
            }
            Err(error) => {
                tracing::error!(%error, "an answer cannot be written as JSON");
                Problem::broken().into_response()
            }
        }
    }
}

/// Leaves figures of credits out of an entry of the journal: who said something, when, and whether it was applied stays.
pub fn leave_out_of_journal(entry: &mut Value) {
    if let Value::Object(members) = entry {
        members.retain(|name, _| !IN_WORDS.contains(&&**name));
    }
}

/// Leaves figures of credits out of an answer or a signal.
pub fn leave_out(value: &mut Value) {
    match value {
        Value::Object(members) => {
            let is_of_meter = names_meter_of_credits(members);
            members.retain(|name, _| {
                let is_amount = name.ends_with("_micro") || OF_CREDITS.contains(&&**name);
                !(is_amount || is_of_meter && OF_METER.contains(&&**name))
            });
            members.values_mut().for_each(leave_out);
        }
        Value::Array(values) => values.iter_mut().for_each(leave_out),
        _ => {}
    }
}

fn names_meter_of_credits(members: &Map<String, Value>) -> bool {
    members.get("meter").and_then(Value::as_str).is_some_and(|meter| meter.ends_with("_micro"))
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::json;

    #[test]
    fn a20_without_credits_in_the_plan_owners_and_billing_read_them() {
        let reads = |role: &str, plan: Option<Plan>| {
            let roles = vec![Role::try_from(role.to_owned()).expect("a role of this test")];
            reads_credits(&Caller { subject: "s".to_owned(), roles }, "acme", plan)
        };
        let insiders = ["owner:acme", "service", "admin:acme", "workspace_admin:acme/w", "member:acme/u"];
        for plan in [None, Some(Plan::Business), Some(Plan::EnterpriseTrial)] {
            assert!(insiders.iter().all(|role| reads(role, plan)), "{plan:?}");
        }
        for plan in [Plan::Free, Plan::Plus] {
            assert_eq!(insiders.map(|role| reads(role, Some(plan))), [true, true, false, false, false]);
            assert!(!reads("owner:other", Some(plan)));
        }
    }

    #[test]
    fn a20_amounts_of_credits_are_left_out_and_nothing_else() {
        let mut answer = json!({
            "credits_micro": 5, "runs_completed": 2, "unit": { "micro_per_unit": 1_000_000 },
            "meters": { "credits_micro": 5, "input_tokens": 7 }, "by_source": { "seat_micro": 5 },
            "pool": { "scope": "org", "size_micro": 9 }, "estimate": { "method": "run_rate" },
            "agents": [{ "agent_id": "a", "credits_micro": 5 }],
            "limits": [
                { "meter": "credits_micro", "limit_id": "l", "used": 5, "cap": 9 },
                { "meter": "runs_started", "limit_id": "l", "used": 5, "cap": 9 },
            ],
        });
        leave_out(&mut answer);
        let expected = json!({
            "runs_completed": 2, "unit": { "micro_per_unit": 1_000_000 },
            "meters": { "input_tokens": 7 }, "by_source": {},
            "agents": [{ "agent_id": "a" }],
            "limits": [
                { "meter": "credits_micro", "limit_id": "l" },
                { "meter": "runs_started", "limit_id": "l", "used": 5, "cap": 9 },
            ],
        });
        assert_eq!(answer, expected);
    }
}
