#!/usr/bin/env python3
"""How fast the API answers beside a running replay, what that costs the workers, and how soon a change is live.

    tests/latency/run.py        (BURSAR_BIN=target/release/bursar; needs `hey` and `kcat`, two Debian packages; some 5 minutes)

An organization of some 10,000 agents; a replay that goes on all the time; 500 requests/s at a fixed rate of each route, one
after the other; then many more events, in turn without requests and with. The workers' CPU is that of their threads.
Figures for people: they assert nothing about time.
"""

import datetime
import json
import os
import pathlib
import random
import re
import shutil
import statistics
import subprocess
import sys
import tempfile
import threading
import time
import urllib.request

ROOT = pathlib.Path(__file__).resolve().parents[2]
sys.path.insert(0, str(ROOT / "tests/dashboards"))
from run import House, get, wait_until  # noqa: E402

TRACE = ROOT / "data/azure-llm-2023-conv-3000.csv"
ROUTES = {"summary of the organization": "/usage", "agents, first page": "/agents", "members": "/members", "limits": "/limits",
          "breakdown": "/breakdown", "pauses": "/pauses"}
PRICES = {"effective_from": "2020-01-01T00:00:00Z",
          "default_prices": {"input_micro": 3_000_000, "output_micro": 15_000_000}}
SECONDS, CALLERS, EACH_PER_S = 15, 10, 50
CHANGES = 100
HEAVY_PER_S, HEAVY_TIMES = 40_000, 3


def replay(house, speed, seed):
    house.run("replay", str(TRACE), "--organizations", "1", "--workspaces", "5", "--agents", "2000", "--users", "100",
              "--seed", str(seed), "--speed", str(speed), "--quiet")


def metric(house, name):
    page = get(f"http://{house.metrics}/metrics")
    return float(re.search(rf"^{name}(?:{{[^}}]*}})? (\S+)$", page, re.M).group(1))


def worker_cpu_s(house):
    """What the workers' threads have used."""
    ticks = 0
    for task in pathlib.Path(f"/proc/{house.children[0].pid}/task").iterdir():
        fields = (task / "stat").read_text()
        if fields[fields.index("(") + 1:].startswith("worker-"):
            after_name = fields[fields.rindex(")") + 2:].split()
            ticks += int(after_name[11]) + int(after_name[12])
    return ticks / os.sysconf("SC_CLK_TCK")


def per_event(house, during):
    """Events per second and CPU of the workers per event, while something goes on; and what that returned."""
    before = (time.monotonic(), metric(house, "bursar_applied_total"), worker_cpu_s(house))
    found = during()
    took, applied, cpu_s = (now - then for now, then in zip(
        (time.monotonic(), metric(house, "bursar_applied_total"), worker_cpu_s(house)), before))
    return applied / took, cpu_s * 1e6 / applied, found


def ask(url):
    out = subprocess.run(["hey", "-z", f"{SECONDS}s", "-c", str(CALLERS), "-q", str(EACH_PER_S), url], check=True,
                         capture_output=True, text=True).stdout
    rate = float(re.search(r"Requests/sec:\s+(\S+)", out).group(1))
    p50, p99 = (1000 * float(re.search(rf"{share}%+ in (\S+) secs", out).group(1)) for share in (50, 99))
    codes = re.findall(r"\[(\d+)\]\s+\d+ responses", out)
    return rate, p50, p99, codes


def live(house):
    """Milliseconds from the production of an event to its change on the stream."""
    organization, heard = "quiet", []
    url = f"http://{house.api}/v1/organizations/{organization}/live"

    def use(number):
        event = {"specversion": "1.0", "type": "bursar.token.v1", "source": "latency", "id": str(number),
                 "time": time.strftime("%Y-%m-%dT%H:%M:%SZ", time.gmtime()),
                 "data": {"organization_id": organization, "request_model": "m", "input_tokens": 1000, "output_tokens": 1}}
        subprocess.run(["kcat", "-P", "-b", house.kafka, "-t", "usage.events", "-k", organization], check=True,
                       input=json.dumps(event).encode())

    house.say("set_rate_card", PRICES, organization)
    time.sleep(2)
    use("first")

    def listen():
        with urllib.request.urlopen(url, timeout=60) as stream:
            for line in stream:
                if line.startswith(b"data:") and b"credits_micro" in line:
                    heard.append((time.time() * 1000, json.loads(line[5:])["credits_micro"]))

    threading.Thread(target=listen, daemon=True).start()
    wait_until("the stream has begun", lambda: heard)
    changes = []
    for number in range(CHANGES):
        time.sleep(random.uniform(0.1, 0.3))
        seen = len(heard)
        use(number)
        wait_until("the change is heard", lambda: len(heard) > seen, 30)
        changes.append(heard[seen][0])
    # When Kafka's client took each of them: kcat itself takes its time to start.
    taken = subprocess.run(["kcat", "-C", "-e", "-q", "-b", house.kafka, "-t", "usage.events", "-f", "%k %T\n"], check=True,
                           capture_output=True, text=True).stdout.splitlines()
    taken = sorted(int(line.split()[1]) for line in taken if line.startswith(f"{organization} "))[-CHANGES:]
    waits = sorted(heard_at - at for heard_at, at in zip(changes, taken))
    return statistics.median(waits), waits[int(len(waits) * 0.99) - 1]


def heavy(house, over):
    """Sends events of the organization at a high rate, until it is over."""
    event = ('org-1\t{"specversion":"1.0","type":"bursar.token.v1","source":"heavy","id":"%d","time":"NOW",'
             '"data":{"organization_id":"org-1","workspace_id":"ws-1","agent_id":"heavy-%d","request_model":"m",'
             '"input_tokens":1000,"output_tokens":10}}\n')
    kcat = subprocess.Popen(["kcat", "-P", "-b", house.kafka, "-t", "usage.events", "-K", "\t", "-X", "linger.ms=5"],
                            stdin=subprocess.PIPE)
    began, sent = time.monotonic(), 0
    while not over.is_set():
        wanted = int((time.monotonic() - began) * HEAVY_PER_S)
        line = event.replace("NOW", datetime.datetime.now(datetime.timezone.utc).isoformat(timespec="milliseconds"))
        kcat.stdin.write("".join(line % (number, number % 8_000) for number in range(sent, wanted)).encode())
        sent = wanted
        time.sleep(0.01)
    kcat.stdin.close()
    kcat.wait()


def cost_of_requests(house):
    """CPU of the workers per event at a high rate, in turn without and with requests."""
    over = threading.Event()
    sender = threading.Thread(target=heavy, args=(house, over), daemon=True)
    sender.start()
    time.sleep(5)
    route = f"http://{house.api}/v1/organizations/org-1/agents"
    for _ in range(HEAVY_TIMES):
        rate, without_us, _ = per_event(house, lambda: time.sleep(SECONDS))
        busy, with_us, (asked, _, p99, _) = per_event(house, lambda: ask(route))
        print(f"heavy: {rate:.0f} events/s, workers {without_us:.2f} us per event; "
              f"with {asked:.0f} requests/s (p99 {p99:.1f} ms) {busy:.0f} events/s, {with_us:.2f} us", flush=True)
    over.set()
    sender.join()


def main():
    directory = tempfile.mkdtemp(prefix="bursar-latency-")
    house = House(directory)
    over = threading.Event()
    try:
        house.say("set_rate_card", PRICES)
        time.sleep(2)
        for seed in range(20):
            replay(house, 0, seed)
        wait_until("the events are counted", lambda: metric(house, "bursar_applied_total") > 20 * 3_000)
        for number in range(5):
            house.say("set_limit", {"limit_id": f"l{number}", "every": "agent", "meter": "credits_micro", "window": "day",
                                    "cap": 10**12 + number})
        agents, cursor = 0, ""
        while cursor is not None:
            page = house.read(f"/agents?limit=1000{cursor and '&cursor=' + cursor}")
            agents, cursor = agents + len(page["agents"]), page["next_cursor"]

        def go_on():
            seed = 100
            while not over.is_set():
                replay(house, 150, seed)
                seed += 1

        threading.Thread(target=go_on, daemon=True).start()
        time.sleep(5)
        print(f"an organization of {agents} agents")
        rate, cpu_us, _ = per_event(house, lambda: time.sleep(SECONDS))
        print(f"no requests: {rate:.0f} events/s, workers {cpu_us:.2f} us per event")
        for name, route in ROUTES.items():
            url = f"http://{house.api}/v1/organizations/org-1{route}"
            rate, cpu_us, (asked, p50, p99, codes) = per_event(house, lambda: ask(url))
            print(f"{name}: {asked:.0f}/s, p50 {p50:.1f} ms, p99 {p99:.1f} ms, answers {codes}; "
                  f"{rate:.0f} events/s, workers {cpu_us:.2f} us per event", flush=True)
        p50, p99 = live(house)
        print(f"live: {CHANGES} changes, p50 {p50:.0f} ms, p99 {p99:.0f} ms after the event was produced")
        rate, cpu_us, _ = per_event(house, lambda: time.sleep(SECONDS))
        print(f"no requests: {rate:.0f} events/s, workers {cpu_us:.2f} us per event")
        over.set()
        cost_of_requests(house)
    except BaseException:
        print((house.directory / "bursar.log").read_text()[-2_000:], file=sys.stderr)
        raise
    finally:
        over.set()
        house.stop()
        shutil.rmtree(directory, ignore_errors=True)


if __name__ == "__main__":
    main()
