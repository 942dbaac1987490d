#!/usr/bin/env python3
"""Dashboards, alerts and figures on real servers: Kafka, Redis, Bursar, Prometheus and Alertmanager.

    tests/dashboards/run.py

Plays a trace over three organizations, of which one has everything that an admin can say. Then every query of every panel
is executed, PromQL against Prometheus and the rest against the API, and has to return something; a pool that is used by
80 % and then up is told by Alertmanager, once each; and what the API, /metrics and `bursar show` say of usage is the same.
"""

import http.server
import json
import os
import pathlib
import re
import shutil
import signal
import socket
import subprocess
import sys
import tempfile
import threading
import time
import urllib.parse
import urllib.request

ROOT = pathlib.Path(__file__).resolve().parents[2]
ORGANIZATION, WORKSPACE = "org-1", "ws-1"
TOLD_WITHIN_S = 30


def free_port():
    with socket.socket() as listener:
        listener.bind(("127.0.0.1", 0))
        return listener.getsockname()[1]


def get(url):
    with urllib.request.urlopen(url, timeout=30) as answer:
        text = answer.read().decode()
        return json.loads(text) if "json" in answer.headers.get_content_type() else text


def wait_until(what, holds, seconds=60):
    until = time.monotonic() + seconds
    while time.monotonic() < until:
        if (found := holds()) not in (None, False, [], {}):
            return found
        time.sleep(0.2)
    sys.exit(f"waited {seconds} s in vain until {what}")


class Webhook(http.server.BaseHTTPRequestHandler):
    """What Alertmanager tells."""

    told = []

    def do_POST(self):
        body = json.loads(self.rfile.read(int(self.headers["Content-Length"])))
        self.told.extend((time.monotonic(), self.path, alert) for alert in body["alerts"] if alert["status"] == "firing")
        self.send_response(200)
        self.end_headers()

    def log_message(self, *_):
        pass


class House:
    """All servers, each on a port of its own."""

    def __init__(self, directory):
        self.directory, self.children = pathlib.Path(directory), []
        started = self.servers("start")
        self.kafka = started["KAFKA"]
        self.metrics, self.api = (f"127.0.0.1:{free_port()}" for _ in range(2))
        settings = {"KAFKA__BROKERS": started["KAFKA"], "REDIS__URL": started["REDIS"], "KAFKA__CREATE_TOPICS": "true",
                    "KAFKA__PARTITIONS": "4", "KAFKA__REPLICATION_FACTOR": "1", "RULES__DELAY_MS": "100",
                    "OBSERVE__LISTEN": self.metrics, "API__LISTEN": self.api, "OBSERVE__USAGE_SECONDS": "5",
                    "API__REQUESTS_PER_SECOND": "10000"}
        self.environment = os.environ | {f"BURSAR__{name}": value for name, value in settings.items()}
        target = pathlib.Path(os.environ.get("CARGO_TARGET_DIR", ROOT / "target"))
        self.bursar = os.environ.get("BURSAR_BIN", str(target / "debug/bursar"))
        self.start("bursar", [self.bursar, "run"], self.environment)
        wait_until("Bursar is ready", lambda: self.answers(f"http://{self.metrics}/readyz"))
        wait_until("the API is served", lambda: self.answers(f"http://{self.api}/v1/openapi.json"))

    def servers(self, command):
        script = [str(ROOT / "scripts/servers"), command, "--dir", str(self.directory / "servers")]
        watch = ["--watch", str(os.getpid())] if command == "start" else []
        out = subprocess.run(script + watch, check=True, stdout=subprocess.PIPE, text=True).stdout
        return dict(line.split("=", 1) for line in out.splitlines() if "=" in line)

    def start(self, name, command, environment=None):
        log = open(self.directory / f"{name}.log", "w")
        self.children.append(subprocess.Popen(command, env=environment, stdout=log, stderr=log, cwd=self.directory))

    def answers(self, url):
        try:
            return bool(get(url))
        except OSError:
            return False

    def watch(self, webhook):
        """Starts Prometheus and Alertmanager with the files of this project, pointed at the ports of this test."""
        source = ROOT / "grafana/prometheus"
        self.prometheus, alertmanager = (f"127.0.0.1:{free_port()}" for _ in range(2))
        for file in source.glob("*.yml"):
            text = file.read_text()
            for there, here in (("bursar:9464", self.metrics), ("alertmanager:9093", alertmanager), ("webhook:8080", webhook)):
                text = text.replace(there, here)
            (self.directory / file.name).write_text(text)
        self.start("alertmanager", ["prometheus-alertmanager", "--config.file=alertmanager.yml", "--cluster.listen-address=",
                                    f"--web.listen-address={alertmanager}", "--storage.path=alertmanager"])
        self.start("prometheus", ["prometheus", "--config.file=prometheus.yml", "--storage.tsdb.path=tsdb",
                                  f"--web.listen-address={self.prometheus}"])
        wait_until("Alertmanager is ready", lambda: self.answers(f"http://{alertmanager}/-/ready"))
        wait_until("Prometheus is ready", lambda: self.answers(f"http://{self.prometheus}/-/ready"))

    def run(self, *arguments):
        done = subprocess.run([self.bursar, *arguments], env=self.environment, capture_output=True, text=True)
        if done.returncode:
            sys.exit(f"bursar {' '.join(arguments)}: {done.stderr}")
        return done.stdout

    def say(self, command, body, organization=ORGANIZATION):
        url = f"http://{self.api}/v1/organizations/{organization}/commands/{command}"
        request = urllib.request.Request(url, json.dumps(body).encode(), {"Content-Type": "application/json"})
        try:
            with urllib.request.urlopen(request, timeout=30) as answer:
                return json.loads(answer.read())
        except urllib.error.HTTPError as error:
            sys.exit(f"{command} {body}: {error.read().decode()}")

    def read(self, path):
        return get(f"http://{self.api}/v1/organizations/{ORGANIZATION}{path}")

    def query(self, expr):
        return get(f"http://{self.prometheus}/api/v1/query?{urllib.parse.urlencode({'query': expr})}")["data"]["result"]

    def stop(self):
        for child in reversed(self.children):
            child.send_signal(signal.SIGTERM)
            child.wait(30)
        self.servers("stop")


# From long ago, so that all of the trace is priced.
PRICES = {"effective_from": "2020-01-01T00:00:00Z", "completed_run_micro": 1_000,
          "default_prices": {"input_micro": 3_000_000, "output_micro": 15_000_000}}


def live(house):
    """Everything that an admin can say, so that every panel has something to show."""
    for name in ("org-1", "org-2", "org-3"):
        house.say("set_rate_card", PRICES, name)
    house.say("set_plan", {"plan": "enterprise"})
    house.say("set_pool", {"scope": f"ws:{WORKSPACE}", "included_micro": 40_000})
    house.say("set_pool", {"scope": "org", "included_micro": 60_000})
    house.say("grant", {"scope": "org", "grant_id": "g-1", "amount_micro": 1_000, "kind": "purchased"})
    house.say("set_seat_type", {"seat_type": "standard", "period_micro": 1})
    house.say("set_member", {"user_id": "user-1", "seat_type": "standard", "role": "owner"})
    house.say("register_agent", {"scope": f"agent:{WORKSPACE}/agent-1"})
    house.say("set_limit", {"limit_id": "daily", "scope": f"ws:{WORKSPACE}", "meter": "runs_started", "window": "day", "cap": 5})
    house.run("replay", str(ROOT / "data/azure-llm-2023-conv-3000.csv"), "--organizations", "3", "--quiet")
    wait_until("the trace is counted", lambda: house.read("/usage")["runs_completed"] > 1_000)
    # Now and then one that is none, so that dead letters have a rate.
    spoil = lambda: subprocess.run(["kcat", "-P", "-b", house.kafka, "-t", "usage.events"], input=b"none", check=False)
    threading.Thread(target=lambda: [(spoil(), time.sleep(8)) for _ in range(6)], daemon=True).start()
    house.say("pause", {"scope": "agent:ws-2/agent-2", "reason": "a test"})
    house.say("request", {"request_id": "r-1", "user_id": "user-1", "wants": "higher_limit"})


def targets():
    for file in sorted((ROOT / "grafana/dashboards").glob("*.json")):
        for panel in json.loads(file.read_text())["panels"]:
            for target in panel["targets"]:
                yield file.stem, panel["title"], target


def fill(text):
    """As Grafana fills in variables."""
    for name, value in (("organization", ORGANIZATION), ("workspace", WORKSPACE), ("period", "current")):
        text = text.replace(f"${{{name}}}", value).replace(f"${name}", value)
    return text


def at(row, selector):
    for name in selector.split("."):
        row = row[int(name)] if isinstance(row, list) else row.get(name)
        if row is None:
            return None
    return row


def panels_answer(house):
    """Every query of every panel. A rate needs some scrapes first."""
    empty = []
    for dashboard, title, target in targets():
        place = f"{dashboard}: {title} {target['refId']}"
        if "expr" in target:
            if not house.query(fill(target["expr"])):
                empty.append(f"{place}: {fill(target['expr'])}")
            continue
        answer = get(f"http://{house.api}{fill(target['url'])}")
        rows = answer[target["root_selector"]] if target["root_selector"] else [answer]
        if not rows:
            empty.append(f"{place}: {fill(target['url'])}")
        for column in target["columns"]:
            name = column["selector"].split(".")[0]
            if rows and not any(name in row for row in rows):
                sys.exit(f"{place}: no row has {column['selector']}")
        get(f"http://{house.api}{fill(target['url'].replace('${period}', 'previous'))}")
    return empty


def figures_agree(house):
    """With the stream at rest: API, /metrics and `bursar show`, to the micro-credit."""
    shown = json.loads(house.run("show", ORGANIZATION, "--json", "--limit", "10000"))
    page = get(f"http://{house.metrics}/metrics")
    compared = 0
    for scope in shown["scopes"]:
        periods = [window for window in scope["windows"] if window["window"] == "period"]
        meters = periods[-1]["meters"] if periods else {}
        kind, _, name = scope["scope"].partition(":")
        workspace, _, agent = name.partition("/")
        path = {"org": "", "ws": f"/workspaces/{name}", "user": f"/members/{name}",
                "agent": f"/workspaces/{workspace}/agents/{agent}"}[kind]
        usage = house.read(f"{path}/usage")
        for meter, count in meters.items():
            assert usage["meters"][meter] == count, f"{scope['scope']} {meter}: show {count}, API {usage['meters'][meter]}"
            compared += 1
        assert sum(usage["by_source"].values()) == usage["credits_micro"], scope["scope"]
        family, labels = {"org": ("organization", ""), "ws": ("workspace", f',workspace="{name}"')}.get(kind, (None, None))
        if family:
            line = f'bursar_{family}_credits_micro{{organization="{ORGANIZATION}"{labels}}} {meters.get("credits_micro", 0)}'
            assert line in page.splitlines(), f"/metrics lacks {line}"
            compared += 1
    return compared


def alerts(house):
    """A pool is used by more than 80 %, and then up: told once each."""
    say = lambda command, body: house.say(command, body, "alerted")
    say("set_rate_card", {"default_prices": {"input_micro": 1_000_000, "output_micro": 1_000_000}})
    say("set_pool", {"scope": "ws:pool", "included_micro": 1_000})
    seen = {}
    for alertname, tokens in (("WorkspacePoolAt80Percent", 850), ("WorkspacePoolUsedUp", 200)):
        began = time.monotonic()
        say("adjust", {"reference": alertname, "event_time": time.strftime("%Y-%m-%dT%H:%M:%SZ", time.gmtime()),
                       "workspace_id": "pool", "credits_micro": tokens})
        mine = lambda: [told for told in Webhook.told if told[2]["labels"]["alertname"] == alertname
                        and told[2]["labels"].get("organization") == "alerted"]
        told = wait_until(f"{alertname} is told", mine, 2 * TOLD_WITHIN_S)
        assert told[0][1] == "/organizations", told
        seen[alertname] = told[0][0] - began
    time.sleep(15)
    for alertname, took in seen.items():
        times = sum(told[2]["labels"]["alertname"] == alertname and told[2]["labels"].get("organization") == "alerted"
                    for told in Webhook.told)
        print(f"{alertname}: told after {took:.1f} s, {times} time(s)")
        assert times == 1 and took < TOLD_WITHIN_S, f"{alertname}: {times} times, {took:.1f} s"


def main():
    subprocess.run([sys.executable, str(ROOT / "grafana/generate.py"), "--check"], check=True)
    rules = sorted(map(str, (ROOT / "grafana/prometheus").glob("*.rules.yml")))
    subprocess.run(["promtool", "check", "rules", *rules], check=True, stdout=subprocess.DEVNULL)
    subprocess.run(["promtool", "test", "rules", "rules.test.yml"], check=True, cwd=ROOT / "grafana/prometheus")
    webhook = http.server.ThreadingHTTPServer(("127.0.0.1", 0), Webhook)
    threading.Thread(target=webhook.serve_forever, daemon=True).start()
    directory = tempfile.mkdtemp(prefix="bursar-dashboards-")
    house = House(directory)
    try:
        house.watch(f"127.0.0.1:{webhook.server_port}")
        live(house)
        alerts(house)
        panels = wait_until("every panel has something to show",
                            lambda: len(list(targets())) if not (empty := panels_answer(house)) else print(*empty, sep="\n"), 90)
        print(f"{panels} queries of panels answer")
        print(f"{figures_agree(house)} figures agree in `bursar show`, API and /metrics")
        print("dashboards and alerts are right")
    except BaseException:
        for log in ("bursar.log", "prometheus.log", "alertmanager.log"):
            print((house.directory / log).read_text()[-2_000:] if (house.directory / log).exists() else "", file=sys.stderr)
        raise
    finally:
        house.stop()
        shutil.rmtree(directory, ignore_errors=True)


if __name__ == "__main__":
    main()
