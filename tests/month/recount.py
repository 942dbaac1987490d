"""Counts what is on the topics, by itself: plain dictionaries, and nothing shared with Bursar but the formats.

Reads usage events and control records with kcat, decodes Avro by hand, prices with whole numbers, and compares with what
Bursar says: the rows of `bursar show`, and the last line of every scope and period on the statements topic.
"""

import collections
import datetime
import json
import subprocess
import zoneinfo

PHASES = ["started", "completed", "failed", "cancelled"]
SOURCES = ["seat", "pool", "prepaid", "postpaid", "uncovered", "free"]
TOKENS = ["input_tokens", "output_tokens", "cache_read_input_tokens", "cache_creation_input_tokens"]
ORDER_FREE = TOKENS + ["credits_micro", "adjusted_credits_micro"] + [f"runs_{phase}" for phase in PHASES]


def payloads(kafka, topic):
    """Every payload of a topic, with its timestamp."""
    command = ["kcat", "-C", "-b", kafka, "-t", topic, "-e", "-q", "-o", "beginning", "-f", "%T %S\n%s"]
    out = subprocess.run(command, check=True, capture_output=True).stdout
    at = 0
    while at < len(out):
        end = out.index(b"\n", at)
        time, size = map(int, out[at:end].split())
        yield time, out[end + 1 : end + 1 + size]
        at = end + 1 + size


class Avro:
    def __init__(self, body):
        self.body, self.at = body, 0

    def long(self):
        shift = value = 0
        while True:
            byte = self.body[self.at]
            self.at += 1
            value |= (byte & 127) << shift
            shift += 7
            if not byte & 128:
                return (value >> 1) ^ -(value & 1)

    def text(self):
        size = self.long()
        self.at += size
        return self.body[self.at - size : self.at].decode()

    def optional(self):
        return self.text() if self.long() else None


def events(kafka, topic):
    """Usage events, each once: the same organization, source, id and time is the same event."""
    seen = set()
    for recorded, payload in payloads(kafka, topic):
        assert payload[:2] == b"\xc3\x01", "the month is written in single-object encoding"
        avro = Avro(payload[10:])
        event = {"id": avro.text(), "source": avro.text(), "time": avro.long(), "recorded": recorded}
        for name in ["organization", "workspace", "agent", "user", "product", "reservation"]:
            event[name] = avro.optional()
        # A token event names its model; a run event has one small number there, and then its trigger.
        rest = len(avro.body) - avro.at
        mark = avro.at
        counts = collections.Counter()
        first = avro.long()
        if 0 <= first < len(PHASES) and rest <= 2 + len("replay") + 1:
            counts[f"runs_{PHASES[first]}"] = 1
        else:
            avro.at = mark
            event["model"] = avro.text()
            for name in TOKENS:
                counts[name] = avro.long()
        event["counts"] = counts
        identity = (event["organization"], event["source"], event["id"], event["time"])
        if identity not in seen:
            seen.add(identity)
            yield event


def commands(kafka, topic):
    """Control records by organization, in their order."""
    said = collections.defaultdict(list)
    for recorded, payload in payloads(kafka, topic):
        data = json.loads(payload)["data"]
        for name, fields in data.items():
            if name not in ("organization_id", "actor", "reason"):
                said[data["organization_id"]].append((recorded, name, fields))
    return said


def month_start(time_ms, zone, anchor):
    """The start of the billing period around an instant, as RFC 3339 in UTC."""
    day_of_anchor = int(anchor[8:10])
    local = datetime.datetime.fromtimestamp(time_ms / 1000, zone).date()

    def begin(year, month):
        first = datetime.date(year, month, 1)
        after = datetime.date(year + month // 12, month % 12 + 1, 1)
        day = min(day_of_anchor, (after - first).days)
        return datetime.datetime(year, month, day, tzinfo=zone)

    start = begin(local.year, local.month)
    if start.timestamp() * 1000 > time_ms:
        before = local.replace(day=1) - datetime.timedelta(days=1)
        start = begin(before.year, before.month)
    return start.astimezone(datetime.timezone.utc).strftime("%Y-%m-%dT%H:%M:%S.000Z")


def scopes_of(event):
    yield "org"
    if event["workspace"]:
        yield f"ws:{event['workspace']}"
    if event["agent"]:
        yield f"agent:{event['workspace'] or ''}/{event['agent']}"
    if event["user"]:
        yield f"user:{event['user']}"


def recount(kafka, usage, control):
    """Counts by (organization, scope, start of the period), and the commands that were said."""
    said = commands(kafka, control)
    zones, cards = {}, {}
    for organization, records in said.items():
        for _, name, fields in records:
            if name == "set_organization":
                zones.setdefault(organization, (zoneinfo.ZoneInfo(fields["time_zone"]), fields["anchor"]))
            if name == "set_rate_card":
                cards[organization] = fields
    counts = collections.defaultdict(collections.Counter)
    for event in events(kafka, usage):
        organization = event["organization"]
        card = cards[organization]
        added = event["counts"]
        if "model" in event:
            prices = card.get("models", {}).get(event["model"]) or card["default_prices"]
            names = ["input_micro", "output_micro", "cache_read_micro", "cache_creation_micro"]
            total = sum(added[tokens] * prices.get(name, 0) for tokens, name in zip(TOKENS, names))
            added["credits_micro"] = (total + 500_000) // 1_000_000
        elif added["runs_completed"]:
            added["credits_micro"] = card.get("completed_run_micro", 0)
        start = month_start(event["time"], *zones[organization])
        for scope in scopes_of(event):
            counts[organization, scope, start].update(added)
    for organization, records in said.items():
        for _, name, fields in records:
            if name == "adjust":
                time = datetime.datetime.fromisoformat(fields["event_time"].replace("Z", "+00:00")).timestamp() * 1000
                adjusted = {key: fields[key] for key in ORDER_FREE if key in fields}
                adjusted["adjusted_credits_micro"] = fields.get("credits_micro", 0)
                event = {part: fields.get(f"{part}_id") for part in ["workspace", "agent", "user"]}
                for scope in scopes_of(event):
                    counts[organization, scope, month_start(time, *zones[organization])].update(adjusted)
    return counts, said


def statements(kafka, topic):
    """The last line of every scope and period."""
    last = {}
    for _, payload in payloads(kafka, topic):
        data = json.loads(payload)["data"]
        key = (data["billing_account_id"], data["resource_id"], data["billing_period_start"])
        last[key] = collections.Counter(data["meters"])
    return last


def shown(accounts):
    """The periods in the rows of `bursar show`."""
    rows = {}
    for account in accounts:
        for scope in account["scopes"]:
            for window in scope["windows"]:
                if window["window"] == "period":
                    key = (account["organization_id"], scope["scope"], window["start"])
                    rows[key] = collections.Counter(window["meters"])
    return rows


def check_sums(where, rows):
    """The laws: sources sum to the charge, parts to the whole. Returns how many were checked."""
    checked = 0
    sums = collections.defaultdict(collections.Counter)
    for (organization, scope, start), meters in rows.items():
        sources = [meters[f"{source}_credits_micro"] for source in SOURCES]
        assert sum(sources) == meters["credits_micro"], (where, organization, scope, meters)
        assert min(sources) >= 0, (where, organization, scope, meters)
        sums[organization, scope.split(":")[0], start].update(meters)
        checked += 1
    for (organization, kind, start), meters in list(sums.items()):
        if kind == "org":
            for part in ["ws", "agent", "user"]:
                for name in ORDER_FREE + [f"{source}_credits_micro" for source in SOURCES]:
                    # Adjustments need not name everybody.
                    if not meters["adjusted_credits_micro"]:
                        assert sums[organization, part, start][name] == meters[name], (where, organization, part, name)
                        checked += 1
    return checked


def compare(where, counted, said_by_bursar):
    """Every order-free meter of every scope and period, both ways. Returns how many were compared."""
    compared = 0
    for key in counted.keys() | said_by_bursar.keys():
        for meter in ORDER_FREE:
            ours, theirs = counted[key][meter], said_by_bursar.get(key, collections.Counter())[meter]
            assert ours == theirs, f"{where}: {key} {meter}: recounted {ours}, Bursar says {theirs}"
            compared += 1
    return compared
