#!/usr/bin/env python3
"""Writes the dashboards in grafana/dashboards from what stands here: `grafana/generate.py`, or `--check` to see whether
they are as they would be written."""
import json
import sys
from pathlib import Path

PROMETHEUS = {"type": "prometheus", "uid": "prometheus"}
API = {"type": "yesoreyeram-infinity-datasource", "uid": "bursar-api"}
ORGANIZATION = 'organization="$organization"'
WORKSPACE = ORGANIZATION + ',workspace="$workspace"'
O = "/v1/organizations/${organization}"
W = O + "/workspaces/${workspace}"


def panel(title, kind, source, width, height, targets, unit="none", **options):
    """A panel; where it lies is told when the dashboard is laid out."""
    return {"title": title, "type": kind, "datasource": source, "gridPos": {"w": width, "h": height}, "targets": targets,
            "fieldConfig": {"defaults": {"unit": unit, **options.pop("defaults", {})}, "overrides": []}, **options}


def prom(*queries):
    """PromQL, each with its legend. Amounts are shown in whole units."""
    return [{"refId": chr(65 + n), "expr": expr, "legendFormat": legend} for n, (expr, legend) in enumerate(queries)]


def api(url, root, columns):
    """Rows of the API: the list at `root`, and its columns with their titles."""
    shown = [{"selector": selector, "text": text, "type": kind} for selector, text, kind in columns]
    return [{"refId": "A", "type": "json", "source": "url", "format": "table", "parser": "backend", "url": url,
             "url_options": {"method": "GET", "data": ""}, "root_selector": root, "columns": shown}]


def figure(title, expr, width=4, unit="none", **defaults):
    return panel(title, "stat", PROMETHEUS, width, 4, prom((expr, "")), unit, defaults=defaults)


def chart(title, *queries, width=12, height=8, unit="none"):
    return panel(title, "timeseries", PROMETHEUS, width, height, prom(*queries), unit)


def table(title, url, root, columns, width=12, height=8):
    return panel(title, "table", API, width, height, api(url, root, columns))


def credits(expr):
    return f"({expr}) / 1000000"


def variable(name, query):
    return {"name": name, "type": "query", "datasource": PROMETHEUS, "query": {"query": query, "refId": name}, "refresh": 2,
            "sort": 1}


def periods():
    choice = [{"text": text, "value": text, "selected": text == "current"} for text in ("current", "previous")]
    return {"name": "period", "type": "custom", "query": "current,previous", "options": choice,
            "current": choice[0]}


def dashboard(uid, title, variables, panels, since="now-7d"):
    x = y = row = 0
    for number, shown in enumerate(panels, 1):
        at = shown["gridPos"]
        if x + at["w"] > 24:
            x, y, row = 0, y + row, 0
        at["x"], at["y"], shown["id"] = x, y, number
        x, row = x + at["w"], max(row, at["h"])
    return {"uid": uid, "title": title, "schemaVersion": 39, "refresh": "10s", "time": {"from": since, "to": "now"},
            "tags": ["bursar"], "templating": {"list": variables}, "panels": panels}


MODELS = [("name", "Model", "string"), ("credits_micro", "Credits (micro)", "number"),
          ("input_tokens", "Input tokens", "number"), ("output_tokens", "Output tokens", "number"),
          ("cache_read_input_tokens", "Read from caches", "number"),
          ("cache_creation_input_tokens", "Written to caches", "number")]


def of_workspace():
    used, size = (f"bursar_workspace_{name}_micro{{{WORKSPACE}}}" for name in ("credits", "pool_size"))
    left = f"bursar_workspace_pool_remaining_micro{{{WORKSPACE}}}"
    estimate = f'bursar_workspace_estimate_micro{{{WORKSPACE},bound="%s"}}'
    agents = [("name", "Name", "string"), ("agent_id", "Agent", "string"), ("credits_micro", "Credits (micro)", "number"),
              ("runs_completed", "Runs completed", "number"), ("credits_per_run_micro", "Credits per run (micro)", "number"),
              ("status", "Status", "string"), ("paused_for.0.kind", "Paused for", "string"),
              ("paused_for.0.scope", "Cause of", "string"), ("created_by", "Created by", "string")]
    parts = [("name", "Trigger", "string"), ("credits_micro", "Credits (micro)", "number"),
             ("runs_completed", "Runs completed", "number"), ("credits_per_run_micro", "Credits per run (micro)", "number")]
    series = [("start", "Day", "timestamp"), ("value", "Credits (micro)", "number"), ("total", "Total (micro)", "number")]
    return dashboard("bursar-workspace", "Bursar: workspace credits", [
        variable("organization", "label_values(bursar_organization_credits_micro, organization)"),
        variable("workspace", f"label_values(bursar_workspace_credits_micro{{{ORGANIZATION}}}, workspace)"),
        periods(),
    ], [
        figure("Credits used", credits(used)),
        figure("Remaining", credits(left)),
        figure("Estimated at reset", credits(estimate % "expected")),
        figure("Used of the pool", f"({size} - {left}) / {size}", unit="percentunit", max=1,
               thresholds={"mode": "absolute", "steps": [{"color": "green", "value": None},
                                                         {"color": "orange", "value": 0.8}, {"color": "red", "value": 1}]}),
        figure("Reset", f"1000 * bursar_organization_reset_timestamp_seconds{{{ORGANIZATION}}}", unit="dateTimeAsIso"),
        figure("Used up", f"1000 * bursar_workspace_exhaustion_timestamp_seconds{{{WORKSPACE}}}", unit="dateTimeAsIso",
               noValue="not before the reset"),
        chart("Usage and estimate", (credits(used), "current"), (credits(estimate % "expected"), "estimated"),
              (credits(estimate % "low"), "low"), (credits(estimate % "high"), "high"), (credits(size), "pool")),
        table("Days of the period, actual", f"{W}/series?window=day&period=${{period}}", "actual", series, 6),
        table("Days of the period, estimated", f"{W}/series?window=day&period=${{period}}", "estimated", series, 6),
        table("Summary of the period", f"{W}/usage?period=${{period}}", "", [
            ("credits_micro", "Credits (micro)", "number"), ("runs_completed", "Runs completed", "number"),
            ("period.start", "From", "string"), ("period.end", "Reset", "string"),
            ("estimate.at_end_micro", "Estimated (micro)", "number")], 12, 5),
        table("Agent builders, agents in action, runs completed", f"{W}/cards?period=${{period}}", "", [
            ("agent_builders", "Agent builders", "number"), ("agents_in_action", "Agents in action", "number"),
            ("runs_completed", "Runs completed", "number")], 12, 5),
        table("Agents", f"{W}/agents?period=${{period}}&limit=1000", "agents", agents, 24, 10),
        table("What drives usage", f"{W}/breakdown?period=${{period}}", "by_trigger", parts),
        table("Models", f"{W}/breakdown?period=${{period}}", "by_model", MODELS),
        chart("Agents with most credits", (credits(f"bursar_agent_credits_micro{{{WORKSPACE}}}"), "{{agent}}")),
    ])


def of_organization():
    by = f"{{{ORGANIZATION}}}"
    amounts = [("credits_micro", "Credits (micro)", "number"), ("runs_completed", "Runs completed", "number")]
    return dashboard("bursar-organization", "Bursar: organization", [
        variable("organization", "label_values(bursar_organization_credits_micro, organization)"), periods(),
    ], [
        figure("Credits used", credits(f"bursar_organization_credits_micro{by}")),
        figure("Extra usage", credits(f"bursar_organization_extra_credits_micro{by}")),
        figure("Remaining", credits(f"bursar_organization_pool_remaining_micro{by}"), noValue="no pool"),
        figure("Estimated at reset", credits(f'bursar_organization_estimate_micro{{{ORGANIZATION},bound="expected"}}')),
        figure("Paused scopes", f"sum(bursar_organization_paused_scopes{by}) or vector(0)"),
        figure("Overshoot", credits(f"sum(bursar_organization_overshoot_micro{by}) or vector(0)")),
        figure("Tokens without a price", f"bursar_organization_unpriced_tokens{by}"),
        chart("Workspaces", (credits(f"bursar_workspace_credits_micro{by}"), "{{workspace}}")),
        chart("Limits of organization and workspaces",
              (f"bursar_limit_used{by} / (bursar_limit_cap{by} > 0)", "{{scope}} {{limit_id}}"), unit="percentunit"),
        table("Workspaces", f"{O}/workspaces?period=${{period}}&limit=1000", "workspaces", [
            ("name", "Name", "string"), ("workspace_id", "Workspace", "string"), *amounts,
            ("agents_in_action", "Agents in action", "number"), ("pool.remaining_micro", "Remaining (micro)", "number"),
            ("status", "Status", "string")]),
        table("Members", f"{O}/members?period=${{period}}&limit=1000", "members", [
            ("name", "Name", "string"), ("user_id", "Member", "string"), ("seat_type", "Seat", "string"),
            ("credits_micro", "Credits (micro)", "number"), ("seat_credits_micro", "Included (micro)", "number"),
            ("extra_credits_micro", "Extra usage (micro)", "number"), ("status", "Status", "string")]),
        table("Limits", f"{O}/limits?limit=1000", "limits", [
            ("scope", "Scope", "string"), ("limit_id", "Limit", "string"), ("set_on", "Set on", "string"),
            ("meter", "Meter", "string"), ("window", "Window", "string"), ("used", "Used", "number"),
            ("cap", "Cap", "number"), ("used_permille", "Used (permille)", "number"), ("action", "Action", "string")]),
        table("Paused now", f"{O}/pauses?limit=1000", "paused", [
            ("scope", "Scope", "string"), ("causes.0.kind", "Cause", "string"), ("causes.0.limit_id", "Limit", "string"),
            ("causes.0.selector", "Set on", "string"), ("causes.0.workspace_id", "Within", "string"),
            ("causes.0.ends_at", "Ends", "string")]),
        table("Requests", f"{O}/requests", "requests", [
            ("user_id", "Member", "string"), ("seat_type", "Seat", "string"), ("since", "Since", "string"),
            ("wants", "Wants", "string"), ("request_id", "Request", "string")]),
        table("Grants", f"{O}/grants?limit=1000", "grants", [
            ("scope", "Pool", "string"), ("grant_id", "Grant", "string"), ("kind", "Kind", "string"),
            ("amount_micro", "Granted (micro)", "number"), ("left_micro", "Left (micro)", "number"),
            ("expires_at", "Expires", "string"), ("is_over", "Over", "boolean")]),
        table("Products", f"{O}/breakdown?period=${{period}}", "by_product", [
            ("name", "Product", "string"), *amounts, ("extra_credits_micro", "Extra usage (micro)", "number")]),
        table("Models", f"{O}/breakdown?period=${{period}}", "by_model", MODELS),
        table("Statement", f"{O}/statements?period=${{period}}&limit=1000", "lines", [
            ("scope", "Scope", "string"), ("meters.credits_micro", "Credits (micro)", "number"),
            ("by_source.seat_micro", "Seat (micro)", "number"), ("by_source.pool_micro", "Pool (micro)", "number"),
            ("by_source.prepaid_micro", "Prepaid (micro)", "number"),
            ("by_source.postpaid_micro", "Postpaid (micro)", "number"),
            ("by_source.uncovered_micro", "Uncovered (micro)", "number")]),
        table("Overshoot", f"{O}/overshoot?limit=1000", "overshoot", [
            ("scope", "Scope", "string"), ("kind", "Cause", "string"), ("limit_id", "Limit", "string"),
            ("selector", "Set on", "string"), ("window_start", "Window", "string"), ("amount", "Amount", "number"),
            ("meter", "In units of", "string")]),
        table("Latest events", f"{O}/events", "events", [
            ("recorded_at", "When", "timestamp"), ("kind", "What", "string"), ("data.scope", "Scope", "string"),
            ("data.state", "State", "string"), ("data.threshold_percent", "Share (percent)", "number"),
            ("data.actor", "Actor", "string")]),
    ])


def of_operations():
    def rate(name):
        return f"sum(rate(bursar_{name}_total[1m]))"

    def quantile(name, q):
        return f"histogram_quantile({q}, sum by (le) (rate(bursar_{name}_bucket[1m])))"

    return dashboard("bursar-operations", "Bursar: operations", [], [
        chart("Records per second", *((rate(name), name) for name in ("consumed", "applied", "duplicate")), width=8),
        chart("Lag", ("sum by (topic) (bursar_lag_records)", "{{topic}}"), width=8),
        chart("Age of the record applied last", ("max(bursar_record_age_seconds)", "age"), width=8, unit="s"),
        chart("Commits per second", *((rate(name), name) for name in ("commits", "refused_commits", "leases")), width=8),
        chart("Commit latency", *((quantile("commit_seconds", q), f"p{q}") for q in (0.5, 0.99)), width=8, unit="s"),
        chart("Records per batch", (quantile("batch_records", 0.5), "median"), width=8),
        chart("Dead letters and parked", ("sum by (reason) (increase(bursar_dead_letters_total[5m]))", "{{reason}}"),
              ("sum(increase(bursar_parked_total[5m]))", "parked"), width=8),
        chart("Late and early", ('sum by (reason) (increase(bursar_dead_letters_total{reason=~"too_late|too_early"}[5m])) '
                                 "or vector(0)", "{{reason}}"), width=8),
        chart("Signals that wait to be published", ("sum(bursar_outbox_signals)", "outbox"), width=8),
        chart("Signals per minute", ("sum by (state) (increase(bursar_pauses_total[1m]))", "{{state}}"),
              ("sum(increase(bursar_crossings_total[1m]))", "thresholds"), width=8),
        chart("Dependencies that are missing", ("max by (dependency) (bursar_dependency_missing)", "{{dependency}}"), width=8),
        chart("Rewinds, stuck partitions, joins anew, corrections, functions loaded",
              *((f"sum(increase(bursar_{name}_total[5m]))", name)
                for name in ("rewinds", "stuck_partitions", "joins_anew", "pause_corrections", "function_loads")),
              width=8),
        chart("Accounts in memory", ("sum(bursar_accounts_bytes)", "bytes"), width=8),
        chart("Overshoot of all organizations", (credits("sum(bursar_organization_overshoot_micro) or vector(0)"), "overshoot"),
              width=8),
        chart("Series of usage, and how long they take to read", ("sum(bursar_usage_series)", "series"),
              ("max(bursar_usage_read_milliseconds)", "ms"), width=8),
        chart("API requests per second", ("sum by (status) (rate(bursar_api_requests_total[1m]))", "{{status}}"), width=8),
        chart("API latency", *((quantile("api_seconds", q), f"p{q}") for q in (0.5, 0.99)), width=8, unit="s"),
        chart("Drift that the last audit found", ("sum by (what) (bursar_audit_drifts) or vector(0)", "{{what}}"), width=8),
    ], since="now-30m")


def main():
    folder = Path(__file__).parent / "dashboards"
    stale = []
    for name, made in (("workspace", of_workspace()), ("organization", of_organization()), ("operations", of_operations())):
        path, text = folder / f"{name}.json", json.dumps(made, indent=1) + "\n"
        if "--check" not in sys.argv:
            path.write_text(text)
        elif not path.exists() or path.read_text() != text:
            stale.append(str(path))
    if stale:
        sys.exit(f"not as grafana/generate.py writes them: {', '.join(stale)}")


if __name__ == "__main__":
    main()
