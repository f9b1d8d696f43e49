"""Makes a history of events inside ClickHouse: one large project among twenty small ones, over 120 days."""

import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import msgspec

from bench.apart import OnProgress
from millimetric_server.enrich.event_row import EventRow
from millimetric_server.store.clickhouse import ClickHouse
from millimetric_server.store.migrations import migrate

DAYS = 120
DAY_S = 86_400
_SPAN_S = DAYS * DAY_S - 3600  # the last sessions end before the history does
_ROUND_SESSIONS, _ROUND_EVENTS = 20, 80  # as many events has each such round of sessions
_SMALL_PROJECTS = tuple(f"bench-small-{number:02}" for number in range(1, 21))
_SMALL_SHARE = 1 / 6  # of the large project's events, all small ones together
_CHUNK_EVENTS = 100_000
_TABLES = ("events", "daily_rollup", "hourly_rollup", "source_rollup", "sessions")
_CALM_S, _SETTLE_TIMEOUT_S, _POLL_S = 6.0, 600.0, 0.5


class Order(msgspec.Struct, frozen=True):
    """Which history to make, and where."""

    url: str
    database: str
    project_id: str
    events: int  # of the project; rounded to whole rounds of sessions
    end_s: int  # seconds since 1970 UTC: no event lies at it or after it

    @property
    def sessions(self) -> int:
        """The project's sessions."""
        return round(self.events / _ROUND_EVENTS) * _ROUND_SESSIONS

    @property
    def small_sessions(self) -> int:
        """The sessions of each small project."""
        rounds = round(self.events * _SMALL_SHARE / len(_SMALL_PROJECTS) / _ROUND_EVENTS)
        return max(rounds, 1) * _ROUND_SESSIONS


class History(msgspec.Struct, frozen=True, kw_only=True):
    """What was made."""

    project_id: str
    events: int  # of the project
    all_events: int
    visitors: int
    sessions: int
    end_s: int
    made_in_s: float
    settled_in_s: float
    parts: dict[str, int]
    megabytes: float


def make_history(order: Order, on_progress: OnProgress) -> History:
    """Make it, chunk after chunk in the order of time, and let the merges end as they would in production.

    Raises RuntimeError if the table does not hold what was made.
    """
    store = ClickHouse(order.url, order.database)
    store.open()
    try:
        migrate(store)
        began = time.perf_counter()
        _insert(store, order, on_progress)
        made = time.perf_counter()
        _settle(store, on_progress)
        return _describe(store, order, made - began, time.perf_counter() - made)
    finally:
        store.close()


def count_events(sessions: int) -> int:
    """How many events a project's sessions have."""
    return sessions // _ROUND_SESSIONS * _ROUND_EVENTS


def _insert(store: ClickHouse, order: Order, on_progress: OnProgress) -> None:
    lines = Path(__file__).with_name("history.sql").read_text("utf-8").splitlines()
    statement = "\n".join(line for line in lines if not line.startswith("--"))
    statement = statement.replace("%COLUMNS%", ", ".join(EventRow.__struct_fields__))
    total = count_events(order.sessions)
    on_progress("making events", 0, total)
    for parameters, events in _plan_chunks(order):
        store.command(statement, parameters, max_partitions_per_insert_block=0)
        on_progress("making events", events, total)


def _plan_chunks(order: Order) -> Iterator[tuple[dict[str, Any], int]]:
    """Parameters of each insert, and how many of the project's events there are after it."""
    chunks = max(1, round(order.events / _CHUNK_EVENTS))
    times = {"begin": order.end_s - DAYS * DAY_S, "span": _SPAN_S}
    for chunk in range(chunks):
        for projects, total in (([order.project_id], order.sessions), (list(_SMALL_PROJECTS), order.small_sessions)):
            first, after = (total * number // chunks for number in (chunk, chunk + 1))
            ranges = {"first": first, "count": after - first, "total": total}
            done = count_events(order.sessions) * (chunk + 1) // chunks
            yield {"projects": projects, **ranges, **times}, done


def _settle(store: ClickHouse, on_progress: OnProgress) -> None:
    """Wait until no merge runs and none begins for some seconds."""
    began = calm_since = time.perf_counter()
    while (now := time.perf_counter()) - calm_since < _CALM_S and now - began < _SETTLE_TIMEOUT_S:
        ((merges,),) = store.query("SELECT count() FROM system.merges")
        if merges:
            calm_since = time.perf_counter()
        on_progress(f"waiting for {merges} merges, {_count_parts(store)['events']} parts of events", 0, 0)
        time.sleep(_POLL_S)


def _describe(store: ClickHouse, order: Order, made_in_s: float, settled_in_s: float) -> History:
    figures = "count(), uniq(anonymous_id), uniq(session_id)"
    ((events, visitors, sessions),) = store.query(
        f"SELECT {figures} FROM events WHERE project_id = {{project:String}}", {"project": order.project_id}
    )
    ((all_events,),) = store.query("SELECT count() FROM events")
    wanted = count_events(order.sessions)
    wanted_in_all = wanted + len(_SMALL_PROJECTS) * count_events(order.small_sessions)
    if (events, all_events) != (wanted, wanted_in_all):
        raise RuntimeError(f"{wanted} of {wanted_in_all} events were made, and {events} of {all_events} are stored")
    ((size,),) = store.query(
        "SELECT sum(bytes_on_disk) FROM system.parts WHERE active AND database = currentDatabase()"
    )
    return History(
        project_id=order.project_id,
        events=events,
        all_events=all_events,
        visitors=visitors,
        sessions=sessions,
        end_s=order.end_s,
        made_in_s=made_in_s,
        settled_in_s=settled_in_s,
        parts=_count_parts(store),
        megabytes=size / 1e6,
    )


def _count_parts(store: ClickHouse) -> dict[str, int]:
    rows = store.query(
        "SELECT table, count() FROM system.parts WHERE active AND database = currentDatabase() GROUP BY table"
    )
    found: dict[str, int] = dict(map(tuple, rows))
    return {table: found[table] for table in _TABLES if table in found}
