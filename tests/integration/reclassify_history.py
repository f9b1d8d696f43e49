"""A history to reclassify: made, read back and expected. Also a program, since an engine's path is one process's.

`python reclassify_history.py seed|read|crash:N URL DATABASE PROJECT`; crash:N reclassifies by millimetric-1 and dies by
SIGKILL right behind its Nth statement.
"""

import json
import os
import random
import signal
import subprocess
import sys
from collections import Counter, defaultdict
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import msgspec

from millimetric_server.enrich.attribution import classify
from millimetric_server.enrich.checked_event import CheckedEvent
from millimetric_server.enrich.event_row import EventRow
from millimetric_server.enrich.pipeline import EnrichmentContext, enrich
from millimetric_server.enrich.user_agent import NO_HINTS
from millimetric_server.journal.packed_rows import COLUMN_NAMES, FORMAT, pack_row
from millimetric_server.reclassify.reclassify import Scope, reclassify
from millimetric_server.store.insert import Insert
from millimetric_server.store.migrations import migrate
from millimetric_server.store.retrying_clickhouse import RetryingClickHouse

OTHER_PROJECT = "prj_00000000000000bb"
OWN_HOSTS = frozenset({"own.example"})
IGNORED_HOSTS = frozenset({"wallet.example"})
EVENTS = 800
_BEGIN = int(datetime(2026, 7, 20, 18, tzinfo=UTC).timestamp()) * 1_000_000
_SPAN_US = 20 * 86_400_000_000  # two partitions
_RECEIVED = int(datetime(2026, 9, 10, tzinfo=UTC).timestamp()) * 1_000_000
_VISITS = [
    ("https://shop.example/", ""),
    ("https://shop.example/?fbclid=1", ""),
    ("https://shop.example/?fbclid=1", "https://l.facebook.com/"),
    ("https://shop.example/?fbclid=1&utm_campaign=Summer", "https://instagram.com/"),
    ("https://shop.example/?utm_source=fb_ads", ""),
    ("https://shop.example/?yclid=1", "https://ya.ru/"),
    ("https://shop.example/?gclid=1&email=jane@example.com", "https://www.google.com/"),
    ("https://shop.example/?utm_source=newsletter&utm_medium=email", ""),
    ("https://shop.example/?utm_medium=cpc", "https://www.bing.com/"),
    ("https://shop.example/#/page?utm_source=x&utm_campaign=lost", ""),
    ("https://shop.example/#/page?fbclid=1", "https://www.google.com/"),
    ("https://shop.example/#utm_source=x", ""),
    ("https://shop.example/?epik=1&amp;utm_campaign=Pins", ""),
    ("https://shop.example/paid", "https://www.paypal.com/"),
    ("https://shop.example/", "https://finance.yahoo.com/"),
    ("https://shop.example/", "https://eu.wallet.example/"),
    ("https://shop.example/", "https://own.example/a"),
    ("https://shop.example/", "https://www.google.co.uk/"),
    ("https://shop.example/\u00e9'\\?utm_source=\"%00'\\", "https://news.example/"),
]
_ROLLUPS = {"days": "daily_rollup", "hours": "hourly_rollup"}  # both are told by day
_GROUP = ("event", "source", "medium", "campaign", "country", "device_type", "browser", "os", "is_bot")
_ATTRIBUTION = ("source", "medium", "campaign", "source_confidence", "source_rule_id", "rule_set")

History = dict[str, Any]


def make_rows(project_id: str) -> list[EventRow]:
    """Always the same events of two projects, as the server would have stored them under standard-1."""
    pick = random.Random(7)
    rows = []
    for number in range(EVENTS):
        url, referrer = pick.choice(_VISITS)
        visitor = f"visitor-{pick.randrange(200)}"
        event = CheckedEvent(
            event=pick.choice(["$pageview", "signup"]),
            event_id=f"event-{number}",
            timestamp=_BEGIN + pick.randrange(_SPAN_US),
            anonymous_id=visitor,
            session_id=f"{visitor}-{pick.randrange(3)}",  # also across months
            url=url,
            referrer=referrer,
        )
        rows.append(enrich(event, _make_context(project_id if number % 5 else OTHER_PROJECT)))
    return rows


def list_moves(rows: list[EventRow], rule_set: str) -> dict[tuple[str, str, str, str], int]:
    """Events by (source, medium, new source, new medium), where the two differ."""
    moves: Counter[tuple[str, str, str, str]] = Counter()
    for row in rows:
        if row.project_id != OTHER_PROJECT:
            new = _expect_row(row, rule_set)
            moves[row.source, row.medium, new.source, new.medium] += 1
    return {move: events for move, events in moves.items() if move[:2] != move[2:]}


def expect(rows: list[EventRow], rule_set: str) -> History:
    """What a run has to make of the rows, in plain Python."""
    return tell_history([row if row.project_id == OTHER_PROJECT else _expect_row(row, rule_set) for row in rows])


def read_history(url: str, database: str) -> History:
    """Read everything back."""
    store = RetryingClickHouse(url, database)
    store.open()
    columns = [
        name if name not in ("timestamp", "received_at") else f"toUnixTimestamp64Micro({name})" for name in COLUMN_NAMES
    ]
    events = [EventRow(*row) for row in store.query(f"SELECT {', '.join(columns)} FROM events")]
    history = tell_history(events)
    group = ", ".join(_GROUP)
    for name, day in (("days", "day"), ("hours", "toDate(hour)")):
        history[name] = _sort(
            store.query(
                f"SELECT project_id, toString({day}), {group}, sum(events), uniqCombined64Merge(14)(visitors) "
                f"FROM {_ROLLUPS[name]} GROUP BY project_id, {day}, {group}"
            )
        )
    history["sessions"] = _sort(
        store.query(
            "SELECT project_id, session_id, is_bot, began % 2, substring(entry, position(entry, '\\0') + 21), events, "
            "length(visitors) FROM sessions FINAL"
        )
    )
    history["tables"] = sorted(name for (name,) in store.query("SHOW TABLES") if name.startswith("reclassify"))
    store.close()
    return history


def run_program(action: str, url: str, database: str, project_id: str) -> Any:
    """Run this file in a process of its own; returns what it printed, or its exit code if it failed."""
    command = [sys.executable, __file__, action, url, database, project_id]
    done = subprocess.run(command, capture_output=True, check=False, timeout=120, env=_make_environ())
    if done.returncode:
        return done.returncode
    return json.loads(done.stdout or b"null")


def _make_environ() -> dict[str, str]:
    return {**os.environ, "PYTHONPATH": os.pathsep.join([str(Path(__file__).parents[1]), *sys.path])}


def _make_context(project_id: str) -> EnrichmentContext:
    return EnrichmentContext(
        project_id=project_id,
        rule_set="standard-1",
        retention_days=3650,
        own_hosts=OWN_HOSTS,
        ignored_hosts=IGNORED_HOSTS,
        kept_parameters=frozenset(),
        is_public_key=False,
        is_secret_key=True,
        received_at=_RECEIVED,
        day="2026-09-10",
        ip="",
        user_agent="",
        hints=NO_HINTS,
        ip_salt=b"salt",
        identity_key=b"key",
        find_country=lambda _: "",
    )


def _expect_row(row: EventRow, rule_set: str) -> EventRow:
    if row.campaign == "lost" or (row.source_rule_id == "fbclid_social" and "fbclid" not in row.url):
        return row  # only what stood behind the # could tell
    found = classify(row.url, row.referrer, rule_set, OWN_HOSTS, IGNORED_HOSTS)
    values = (found.source, found.medium, found.campaign, found.confidence, found.rule_id, rule_set)
    return msgspec.structs.replace(row, **dict(zip(_ATTRIBUTION, values, strict=True)))


def tell_history(rows: list[EventRow]) -> History:
    days: dict[tuple[Any, ...], list[str]] = defaultdict(list)
    sessions: dict[tuple[Any, ...], list[EventRow]] = defaultdict(list)
    for row in rows:
        day = datetime.fromtimestamp(row.timestamp / 1e6, UTC).date().isoformat()
        days[row.project_id, day, *(getattr(row, name) for name in _GROUP)].append(row.anonymous_id)
        sessions[row.project_id, row.session_id, row.is_bot].append(row)
    return {
        "events": _sort(msgspec.structs.astuple(row) for row in rows),
        **{
            name: _sort((*group, len(visitors), len(set(visitors))) for group, visitors in days.items())
            for name in _ROLLUPS
        },
        "sessions": _sort((*session, *_tell_session(members)) for session, members in sessions.items()),
        "tables": [],
    }


def _tell_session(rows: list[EventRow]) -> tuple[Any, ...]:
    first = min(rows, key=lambda row: (row.timestamp, row.source == "internal", row.event_id))
    visitors = len({row.anonymous_id for row in rows})
    source, medium, campaign = first.source.encode(), first.medium.encode(), first.campaign.encode()
    channel = f"{len(source):04}{len(medium):04}{first.source}{first.medium}{len(campaign):04}{first.campaign}"
    return int(first.source == "internal"), f"{channel}{first.path}", len(rows), visitors


def _sort(rows: Any) -> list[list[Any]]:
    return sorted(list(row) for row in rows)


def _seed(url: str, database: str, project_id: str) -> None:
    store = RetryingClickHouse(url, database)
    store.open()
    migrate(store)
    rows = make_rows(project_id)
    for number, block in enumerate(_batch(rows, 300)):
        packed = b"".join(map(pack_row, block))
        store.insert_block(Insert("events", COLUMN_NAMES, FORMAT, packed, f"block-{number}"))
    store.close()


def _batch(rows: list[EventRow], size: int) -> list[list[EventRow]]:
    return [rows[start : start + size] for start in range(0, len(rows), size)]


class _Mortal(RetryingClickHouse):
    """Dies right behind its Nth statement."""

    left = 0

    def command(self, statement: str, parameters: Any = None, **settings: Any) -> None:
        super().command(statement, parameters, **settings)
        self.left -= 1
        if self.left == 0:
            os.kill(os.getpid(), signal.SIGKILL)


def _crash(url: str, database: str, project_id: str, statement: int) -> None:
    store = _Mortal(url, database)
    store.open()
    store.left = statement
    reclassify(store, Scope(project_id, "millimetric-1", OWN_HOSTS, IGNORED_HOSTS, 2**62), lambda _what, _events: None)
    store.close()


if __name__ == "__main__":
    action, *place = sys.argv[1:]
    if action == "seed":
        _seed(*place)
    elif action == "read":
        print(json.dumps(read_history(*place[:2])))
    else:
        _crash(*place, int(action.removeprefix("crash:")))
