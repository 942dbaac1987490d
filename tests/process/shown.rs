//! What the API shows of an account: the status of a whole chain, usage without a price, figures of credits by plan.

use serde_json::{Value as Json, json};

use crate::{api::Served, support::wait_until};

const ADMIN: &str = "admin:acme";
const OWNER: &str = "owner:acme";

/// Row A27: an agent does not run while its workspace is paused, and the list says so and why.
#[test]
fn a27_the_status_of_an_agent_is_that_of_its_whole_chain() {
    let served = Served::start("chain");
    served.use_some("acme", 3);
    assert_eq!(served.say(OWNER, "pause", None, &json!({ "scope": "ws:ws-1" })).0, 200);
    let agent = || {
        let (status, mut listed) = served.get(ADMIN, "organizations/acme/agents");
        assert_eq!(status, 200, "{listed}");
        listed["agents"][0].take()
    };
    wait_until("the list shows it", || agent()["status"] == "paused");
    let shown = agent();
    let cause = &shown["paused_for"][0];
    assert_eq!((&cause["kind"], &cause["scope"]), (&json!("admin"), &json!("ws:ws-1")), "{shown}");
    let (_, usage) = served.get(ADMIN, "organizations/acme/workspaces/ws-1/agents/agent-1/usage");
    assert_eq!((&usage["status"], &usage["paused_for"][0]["scope"]), (&json!("paused"), &json!("ws:ws-1")));
    let shown = served.stage.account("acme");
    let is_agent = |scope: &&Json| scope["scope"] == "agent:ws-1/agent-1";
    let agent = shown["scopes"].as_array().into_iter().flatten().find(is_agent).expect("the agent is shown");
    assert_eq!((&agent["status"], &agent["paused_for"]), (&json!("paused"), &json!([])));
    assert_eq!(agent["stopped_by"][0]["scope"], "ws:ws-1");
}

/// An organization without a rate card is told from one whose usage costs nothing.
#[test]
fn c12_usage_without_a_price_is_seen() {
    let served = Served::start("unpriced");
    served.use_some("acme", 3);
    let (_, usage) = served.get(ADMIN, "organizations/acme/usage");
    assert_eq!((&usage["unpriced_tokens"], &usage["is_unpriced"]), (&json!(30), &json!(true)), "{usage}");
    assert_eq!(served.get(ADMIN, "organizations/acme").1["is_unpriced"], true);
    assert_eq!(served.stage.account("acme")["is_unpriced"], true);
    wait_until("Prometheus is told", || served.member.metric("bursar_organization_unpriced_tokens") == 30);
}

/// Row A20: without credits in the plan only owners and billing read figures of credits; the rest is shown to all.
#[test]
fn a20_figures_of_credits_follow_the_plan() {
    let served = Served::start("plan");
    served.use_some("acme", 3);
    assert!(served.get(ADMIN, "organizations/acme/usage").1["credits_micro"].is_i64());
    assert_eq!(served.say(OWNER, "set_plan", None, &json!({ "plan": "free" })).0, 200);
    for reader in [OWNER, "service"] {
        let (_, usage) = served.get(reader, "organizations/acme/usage");
        assert!(usage["credits_micro"].is_i64() && usage["meters"]["credits_micro"].is_i64(), "{reader}: {usage}");
        assert_eq!(served.get(reader, "organizations/acme/series").0, 200);
    }
    let (_, usage) = served.get(ADMIN, "organizations/acme/usage");
    assert!(!usage.to_string().contains("_micro\":"), "{usage}");
    assert_eq!((&usage["meters"]["input_tokens"], &usage["credits_micro"]), (&json!(30), &Json::Null));
    assert_eq!((&usage["by_source"], usage.get("estimate")), (&json!({}), None));
    let lacks = |path: &str| {
        let (status, problem) = served.get(ADMIN, &format!("organizations/acme/{path}"));
        assert_eq!((status, &problem["type"]), (403, &json!("urn:bursar:problem:plan-lacks")), "{path}: {problem}");
    };
    lacks("series");
    lacks("agents?sort=credits");
    assert_eq!(served.get(ADMIN, "organizations/acme/series?meter=input_tokens").0, 200);
    wait_until("lists show it", || {
        let (status, listed) = served.get(ADMIN, "organizations/acme/agents");
        status == 200 && listed["agents"][0].get("credits_micro").is_none()
    });
    let (_, own) = served.get("member:acme/user-1", "organizations/acme/members/user-1/usage");
    assert_eq!((own.get("credits_micro"), &own["runs_completed"]), (None, &json!(0)), "{own}");
}
