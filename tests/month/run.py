#!/usr/bin/env python3
"""A month of life on real servers, driven by Kafka records alone, and an independent recount of it (docs/month.md).

    tests/month/run.py [--speed N] [--keep-rows N] TRACE...

Three organizations live through October 2026 with the clock of the records: *org-1* has pools per workspace, *org-2* is a
team with seats and a prepaid balance, *org-3* an enterprise billed on use. At the end the statements, `bursar show` and
the recount agree to the micro-credit; then Redis is emptied, Bursar replays, and the counts are the same.
"""

import argparse
import collections
import json
import os
import pathlib
import shutil
import signal
import socket
import subprocess
import sys
import tempfile
import time
import urllib.parse
import urllib.request

import recount

ROOT = pathlib.Path(__file__).resolve().parents[2]
START, DAYS = "2026-10-01T08:00:00Z", 30
ORGANIZATIONS = ["org-1", "org-2", "org-3"]
PRICES = {"default_prices": {"input_micro": 3_000_000, "output_micro": 15_000_000}, "completed_run_micro": 1_000}


def limit(limit_id, meter, window, cap, **on):
    return {"set_limit": {"limit_id": limit_id, "meter": meter, "window": window, "cap": cap, **on}}


def opening(scale):
    """What is said before the month, by organization; amounts grow with the number of rows."""

    def micro(amount):
        return int(amount * scale)

    said = collections.defaultdict(list)
    zones = {"org-1": "America/New_York", "org-2": "Europe/Berlin", "org-3": "Asia/Kolkata"}
    for organization in ORGANIZATIONS:
        said[organization] += [
            {"set_organization": {"time_zone": zones[organization], "anchor": "2026-09-01"}},
            {"set_rate_card": {"effective_from": "2026-01-01T00:00:00Z", **PRICES}},
        ]
    said["org-1"] += [
        {"set_pool": {"scope": "ws:ws-1", "included_micro": micro(4_000_000)}},
        {"set_pool": {"scope": "ws:ws-2", "included_micro": micro(3_000_000)}},
        limit("daily", "runs_started", "day", micro(6), every="agent"),
        limit("burst", "runs_started", "hour", micro(3), every="agent"),
    ]
    said["org-2"] += [
        {"set_mode": {"mode": "team"}},
        {"set_source": {"source": "prepaid", "on": True}},
        {"set_seat_type": {"seat_type": "standard", "session_micro": micro(15_000), "week_micro": micro(60_000)}},
        {"set_seat_type": {"seat_type": "premium", "session_micro": micro(60_000)}},
        {"set_pool": {"scope": "org", "included_micro": micro(800_000), "user_cap_micro": micro(80_000)}},
        {"grant": {"scope": "org", "grant_id": "first", "amount_micro": micro(600_000), "kind": "prepaid"}},
        {"set_auto_reload": {"scope": "org", "below_micro": micro(150_000), "amount_micro": micro(600_000), "per_day_max": 2}},
        limit("month", "extra_credits_micro", "period", micro(3_000_000), scope="org"),
        limit("each", "extra_credits_micro", "period", micro(250_000), seat_type="standard"),
    ] + [{"set_member": {"user_id": f"user-{n}", "seat_type": "premium" if n <= 3 else "standard"}} for n in range(1, 21)]
    said["org-3"] += [{"set_mode": {"mode": "usage_enterprise"}}]
    return said


def midway(scale):
    """What is said on the way: the share of the month, the organization, the command."""
    refund = {"reference": "ticket-1", "event_time": "2026-10-05T12:00:00Z", "workspace_id": "ws-1", "agent_id": "agent-1",
              "user_id": "user-1", "credits_micro": -2_000}
    return [
        (0.30, "org-1", {"grant": {"scope": "ws:ws-1", "grant_id": "g-1", "amount_micro": int(2_000_000 * scale)}}),
        (0.40, "org-3", {"adjust": refund}),
        (0.50, "org-2", limit("each", "extra_credits_micro", "period", int(400_000 * scale), seat_type="standard")),
        (0.60, "org-1", {"pause": {"scope": "agent:ws-1/agent-2"}}),
        (0.70, "org-1", {"resume": {"scope": "agent:ws-1/agent-2"}}),
        (0.75, "org-2", {"set_member": {"user_id": "user-5", "seat_type": "premium"}}),
    ]


class Month:
    def __init__(self, directory):
        self.directory = directory
        started = self.servers("start")
        self.kafka, self.redis = started["KAFKA"], started["REDIS"]
        self.api = f"127.0.0.1:{free_port()}"
        topics = {name: f"month.{name}" for name in
                  ["usage", "control", "thresholds", "pauses", "journal", "statements", "requests", "dead_letters"]}
        self.topics = topics
        settings = {"KAFKA__BROKERS": self.kafka, "REDIS__URL": self.redis, "REDIS__PREFIX": "month",
                    "KAFKA__GROUP_ID": "month", "KAFKA__CREATE_TOPICS": "true", "KAFKA__PARTITIONS": "1",
                    "KAFKA__REPLICATION_FACTOR": "1", "KAFKA__ACCEPT_CREATE_TIME": "true",
                    "KAFKA__OUTPUT_FORMAT": "json", "RULES__CLOCK": "records", "WORK__WORKERS": "1",
                    # Small batches, so that the clock of the records is hardly ahead of what is decided.
                    "WORK__BATCH_RECORDS": "200", "OBSERVE__LISTEN": "127.0.0.1:0", "API__LISTEN": self.api,
                    "API__REQUESTS_PER_SECOND": "10000"}
        settings.update({f"TOPICS__{name.upper()}": topic for name, topic in topics.items()})
        self.environment = os.environ | {f"BURSAR__{name}": value for name, value in settings.items()}
        target = pathlib.Path(os.environ.get("CARGO_TARGET_DIR", ROOT / "target"))
        self.bursar = os.environ.get("BURSAR_BIN", str(target / "debug/bursar"))
        self.member = None

    def servers(self, command):
        script = [str(ROOT / "scripts/servers"), command, "--dir", self.directory]
        watch = ["--watch", str(os.getpid())] if command == "start" else []
        out = subprocess.run(script + watch, check=True, stdout=subprocess.PIPE, text=True).stdout
        return dict(line.split("=", 1) for line in out.splitlines() if "=" in line)

    def run(self, *arguments):
        done = subprocess.run([self.bursar, *arguments], env=self.environment, capture_output=True, text=True)
        if done.returncode:
            sys.exit(f"bursar {' '.join(arguments)}: {done.stderr}")
        return done.stdout

    def start(self):
        log = open(pathlib.Path(self.directory) / "bursar.log", "a")
        self.member = subprocess.Popen([self.bursar, "run"], env=self.environment, stdout=log, stderr=log)

    def stop(self):
        self.member.send_signal(signal.SIGTERM)
        assert self.member.wait(60) == 0, "Bursar stops well"

    def say(self, organization, command, at_ms, number):
        record = {"specversion": "1.0", "type": "bursar.control.v1", "source": "month", "id": f"c-{number}",
                  "time": iso(at_ms), "data": {"organization_id": organization, "actor": "month", **command}}
        file = pathlib.Path(self.directory) / "record.json"
        file.write_text(json.dumps(record))
        return self.run("control", "--file", str(file), "--at", iso(at_ms))

    def accounts(self):
        return [json.loads(self.run("show", name, "--json", "--limit", "10000")) for name in ORGANIZATIONS]

    def wait_until_read(self):
        """Until every record is applied: progress stands at the ends of the topics, and stays there."""
        still = 0
        while still < 4:
            progress = json.loads(self.run("show", "org-1", "--json"))["progress"] if self.has("org-1") else []
            at = {entry["partition"]: entry["next_offset"] for entry in progress}
            ends = {f"{topic}/0": self.end(topic) for topic in (self.topics["usage"], self.topics["control"])}
            still = still + 1 if all(at.get(topic, 0) == end for topic, end in ends.items()) else 0
            time.sleep(0.5)

    def has(self, organization):
        return organization in self.run("show").split()

    def end(self, topic):
        out = subprocess.run(["kcat", "-Q", "-b", self.kafka, "-t", f"{topic}:0:-1"], check=True, capture_output=True, text=True)
        return int(out.stdout.split("offset")[1])


def free_port():
    with socket.socket() as listener:
        listener.bind(("127.0.0.1", 0))
        return listener.getsockname()[1]


def iso(ms):
    seconds, rest = divmod(ms, 1000)
    return time.strftime("%Y-%m-%dT%H:%M:%S", time.gmtime(seconds)) + f".{rest:03}Z"


def live(month, traces, speed):
    """Plays the month at a pace, says what is to be said on the way, and answers reloads."""
    import calendar
    start_ms = calendar.timegm(time.strptime(START, "%Y-%m-%dT%H:%M:%SZ")) * 1000
    number = 0
    rows = sum(len(pathlib.Path(trace).read_text().splitlines()) - 1 for trace in traces)
    scale = rows / 3_000
    for organization, commands in opening(scale).items():
        for command in commands:
            number += 1
            month.say(organization, command, start_ms - 3_600_000 + number, number)
    replay = [month.bursar, "replay", *traces, "--start", START, "--stretch-days", str(DAYS), "--speed", str(speed),
              "--record-time-is-event-time", "--organizations", "3", "--quiet"]
    began = time.time()
    playing = subprocess.Popen(replay, env=month.environment, stdout=subprocess.DEVNULL)
    to_say = midway(scale)
    answered = set()
    while playing.poll() is None:
        share = (time.time() - began) * 1000 * speed / (DAYS * 86_400_000)
        now_ms = start_ms + int(share * DAYS * 86_400_000)
        while to_say and to_say[0][0] <= share:
            _, organization, command = to_say.pop(0)
            number += 1
            month.say(organization, command, now_ms, number)
        for _, payload in recount.payloads(month.kafka, month.topics["requests"]):
            asked = json.loads(payload)["data"]
            if asked["kind"] == "reload_requested" and asked["identity"] not in answered:
                answered.add(asked["identity"])
                number += 1
                grant = {"scope": "org", "grant_id": f"reload-{number}", "amount_micro": asked["amount_micro"],
                         "kind": "prepaid", "reload_id": asked["identity"]}
                month.say(asked["organization_id"], {"grant": grant}, now_ms, number)
        time.sleep(0.5)
    assert playing.returncode == 0, "the replay ends well"
    assert not to_say, "the month was long enough to say everything"
    month.wait_until_read()
    # Time passes beyond the end of the period and its grace.
    end_ms = calendar.timegm(time.strptime("2026-11-01T12:00:00Z", "%Y-%m-%dT%H:%M:%SZ")) * 1000
    for organization in ORGANIZATIONS:
        number += 1
        month.say(organization, {"resume": {"scope": "org"}}, end_ms + number, number)
    month.wait_until_read()
    # Statements follow when their due records are served.
    time.sleep(3)
    month.wait_until_read()
    return len(answered)


def verify(month, where):
    """Compares statements, rows and recount."""
    counted, said = recount.recount(month.kafka, month.topics["usage"], month.topics["control"])
    lines = recount.statements(month.kafka, month.topics["statements"])
    rows = recount.shown(month.accounts())
    compared = recount.compare(f"{where}, show", counted, rows)
    # Every period is over, so every scope has a line.
    compared += recount.compare(f"{where}, statements", counted, lines)
    sums = recount.check_sums(f"{where}, show", rows) + recount.check_sums(f"{where}, statements", lines)
    for key, meters in rows.items():
        # One source only: the whole split is known without Bursar.
        if key[0] == "org-3":
            assert meters["postpaid_credits_micro"] == counted[key]["credits_micro"], key
            compared += 1
    print(f"{where}: {compared} meters agree, {sums} sums hold, {len(lines)} statement lines")
    return rows, said


def ask(month, rows):
    """The API says of every scope in every period what the account has; each section of both references answers."""
    def get(organization, path):
        url = f"http://{month.api}/v1/organizations/{urllib.parse.quote(organization)}{path}"
        with urllib.request.urlopen(url, timeout=30) as answer:
            return json.loads(answer.read())

    compared = 0
    for (organization, scope, start), meters in rows.items():
        kind, _, name = scope.partition(":")
        workspace, _, agent = name.partition("/")
        path = {"org": "", "ws": f"/workspaces/{name}", "user": f"/members/{name}",
                "agent": f"/workspaces/{workspace}/agents/{agent}"}[kind]
        usage = get(organization, f"{path}/usage?period={urllib.parse.quote(start)}")
        assert usage["period"]["start"] == start, (organization, scope, usage["period"], start)
        for meter, count in meters.items():
            assert usage["meters"][meter] == count, (organization, scope, start, meter, count, usage["meters"][meter])
            compared += 1
    answers = 0
    for organization in ORGANIZATIONS:
        for start in sorted({key[2] for key in rows if key[0] == organization}):
            period = f"?period={urllib.parse.quote(start)}"
            for path, there in (("/workspaces", "workspaces"), ("/agents", "agents"), ("/members", "members"),
                                ("/statements", "lines")):
                assert get(organization, path + period)[there], (organization, path, start)
                answers += 1
            assert get(organization, "/series" + period)["actual"][-1]["total"] >= 0
            assert get(organization, "/cards" + period)["runs_completed"] >= 0
            answers += 2
        for path in ("", "/periods", "/limits", "/pauses", "/grants", "/overshoot", "/requests", "/events", "/breakdown"):
            get(organization, path)
            answers += 1
    print(f"API: {compared} meters agree, {answers} lists and figures answer")


def table(rows):
    print(f"{'organization':13}{'period from':13}{'credits':>14}" + "".join(f"{source:>13}" for source in recount.SOURCES))
    for (organization, scope, start), meters in sorted(rows.items()):
        if scope == "org" and meters["credits_micro"]:
            parts = "".join(f"{meters[f'{source}_credits_micro']:>13}" for source in recount.SOURCES)
            print(f"{organization:13}{start[:10]:13}{meters['credits_micro']:>14}{parts}")


def main():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("traces", nargs="+")
    parser.add_argument("--speed", type=int, default=40_000, help="how much faster than life")
    arguments = parser.parse_args()
    directory = tempfile.mkdtemp(prefix="bursar-month-")
    month = Month(directory)
    try:
        month.start()
        reloads = live(month, arguments.traces, arguments.speed)
        rows, said = verify(month, "live")
        table(rows)
        ask(month, rows)
        signals = {name: [json.loads(payload)["data"]["identity"] for _, payload in recount.payloads(month.kafka, month.topics[name])]
                   for name in ["thresholds", "pauses", "requests", "statements"]}
        print("signals:", {name: len(set(identities)) for name, identities in signals.items()}, "reloads answered:", reloads)
        # Redis is emptied, and everything is counted again from the topics.
        month.stop()
        subprocess.run(["redis-cli", "-u", month.redis, "FLUSHALL"], check=True, stdout=subprocess.DEVNULL)
        month.start()
        time.sleep(2)
        month.wait_until_read()
        again, _ = verify(month, "rebuilt")
        differences = collections.Counter()
        for key, meters in rows.items():
            for source in recount.SOURCES:
                name = f"{source}_credits_micro"
                if key[1] == "org":
                    differences[source] += abs(meters[name] - again[key][name])
        print("rebuilt: what differs in the split, per source:", dict(differences))
        month.stop()
        letters = collections.Counter(json.loads(payload)["data"]["reason_code"] for _, payload in
                                      recount.payloads(month.kafka, month.topics["dead_letters"]))
        assert not letters, f"nothing of the month is refused, but {letters}"
        print("the month is right")
    finally:
        if month.member and month.member.poll() is None:
            month.member.kill()
        month.servers("stop")
        if sys.exc_info()[0] is None:
            shutil.rmtree(directory)
        else:
            print(f"what is left is in {directory}", file=sys.stderr)


if __name__ == "__main__":
    main()
