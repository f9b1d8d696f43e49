"""Keeps the roll-ups and sessions equal to the events: finds parts that differ, and rebuilds them.

With the embedded engine, nobody inserts between a deletion and its rebuild: the loader's thread does both, or is not
running. With a ClickHouse server, another Millimetric server may. Its rows would be counted by the view and by the
rebuild, so parts are compared with the events afterwards, and rebuilt until they agree.
"""

import random
import time
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import NamedTuple

from millimetric_server.store.clickhouse import ClickHouse
from millimetric_server.store.faults import StoreUnavailableError
from millimetric_server.store.statements import read_statement

WAIT_FOR_DELETION = {"lightweight_deletes_sync": 2, "mutations_sync": 2}
_NO_WAIT = {"lightweight_deletes_sync": 0, "mutations_sync": 0}
_REPEATED_INSERT = {"insert_deduplicate": 0, "max_partitions_per_insert_block": 0}
_IDS_A_STATEMENT = 2000  # parameters travel in an address, which ClickHouse bounds to 1 MiB
_ATTEMPTS_MAX = 30
_INSERT_MAX_S = 60.0
_DELETION_MAX_S = 3600.0
_POLL_S = 0.05
# The sessions of rows that came in at about the same time: asked of the events, however many there are.
_SESSIONS_OF_SPAN = (
    "(SELECT session_id AS id FROM events WHERE project_id = {project:String} "
    "AND timestamp >= fromUnixTimestamp64Micro({timestamp_min:Int64}) "
    "AND timestamp <= fromUnixTimestamp64Micro({timestamp_max:Int64}) "
    "AND received_at >= fromUnixTimestamp64Micro({received_min:Int64}) "
    "AND received_at <= fromUnixTimestamp64Micro({received_max:Int64}))"
)
_DIMENSIONS = ("event", "source", "medium", "campaign", "country", "device_type", "browser", "os", "is_bot")


class Rollup(NamedTuple):
    """A table that is made of the events. It is rebuilt by parts: UTC days, or sessions."""

    table: str
    part: str  # "days" or "sessions", as statements and their parameters call it
    time: str = ""  # of a roll-up by days: its column of time,
    from_timestamp: str = ""  # what that is of an event,
    dimensions: tuple[str, ...] = ()  # and its other columns of the sort key


DAILY = Rollup("daily_rollup", "days", "day", "toDate(timestamp, 'UTC')", _DIMENSIONS)
HOURLY = Rollup("hourly_rollup", "days", "hour", "toStartOfHour(timestamp, 'UTC')", _DIMENSIONS)
BY_SOURCE = Rollup("source_rollup", "days", "day", "toDate(timestamp, 'UTC')", ("source", "medium", "is_bot"))
SESSIONS = Rollup("sessions", "sessions")
ROLLUPS = (DAILY, HOURLY, BY_SOURCE, SESSIONS)


@dataclass(frozen=True, slots=True)
class Span:
    """Rows of one project: the UTC days they lie in, and the bounds of their times in microseconds, inclusive."""

    project_id: str
    days: Sequence[str]
    timestamp_min: int
    timestamp_max: int
    received_min: int
    received_max: int

    @property
    def parameters(self) -> dict[str, object]:
        """The parameters of statements about the span: project, and the bounds of its times."""
        names = ("timestamp_min", "timestamp_max", "received_min", "received_max")
        return {"project": self.project_id, **{name: getattr(self, name) for name in names}}


def build_rollup_statement(name: str, rollup: Rollup, ids: str = "") -> str:
    """Build sql/<name>_<part>.sql for a roll-up.

    `ids` is a query in brackets for the parts to work on, as `id`; without it, they are a parameter.
    """
    return (
        read_statement(f"{name}_{rollup.part}")
        .replace("%IDS%", ids or f"(SELECT arrayJoin({{{rollup.part}:Array(String)}}) AS id)")
        .replace("%TABLE%", rollup.table)
        .replace("%FROM_TIMESTAMP%", rollup.from_timestamp)
        .replace("%TIME%", rollup.time)
        .replace("%DIMENSIONS%", ", ".join(rollup.dimensions))
    )


def rebuild(store: ClickHouse, project_id: str, days: Sequence[str], sessions: Sequence[str]) -> None:
    """Make a project's days and sessions equal to its events again. Raises StoreUnavailableError."""
    for rollup in ROLLUPS:
        rebuild_parts(store, project_id, rollup, sessions if rollup is SESSIONS else days)


def rebuild_parts(store: ClickHouse, project_id: str, rollup: Rollup, ids: Sequence[str]) -> None:
    """Make these parts of one roll-up equal to the events again. Raises StoreUnavailableError."""
    for chunk in split_ids(ids):
        make_equal(store, project_id, rollup, chunk)


def make_equal(store: ClickHouse, project_id: str, rollup: Rollup, chosen: Sequence[str] | str) -> None:
    """Make parts of one roll-up equal to the events again: a list of them, or a query in brackets.

    Raises StoreUnavailableError, also when other servers' inserts do not let them agree.
    """
    if store.is_embedded:
        _run(store, "delete", project_id, rollup, chosen, **WAIT_FOR_DELETION)
        _run(store, "insert", project_id, rollup, chosen, **_REPEATED_INSERT)
        return
    wrong: Sequence[str] | str = chosen
    for _ in range(_ATTEMPTS_MAX):
        _rebuild_at_once(store, project_id, rollup, wrong)
        wait_for_inserts(store)  # whose events the rebuild may have counted, and whose views come later
        if not (wrong := find_lasting(store, project_id, rollup, chosen)):
            return
        time.sleep(random.uniform(0, _POLL_S))  # noqa: S311 - another server may repair the same parts in step with us
    raise StoreUnavailableError("new events keep changing the roll-ups: try again when fewer arrive")


def find_lasting(store: ClickHouse, project_id: str, rollup: Rollup, chosen: Sequence[str] | str) -> list[str]:
    """Find the parts that differ from the events, other than for the moment of an insert.

    An insert changes the events and then each roll-up, and may be halfway when it is looked at. Raises
    StoreUnavailableError.
    """
    wrong = _find_wrong(store, project_id, rollup, chosen)
    if wrong and not store.is_embedded:
        wait_for_inserts(store)
        still_wrong = set(_find_wrong(store, project_id, rollup, chosen))
        wrong = [part for part in wrong if part in still_wrong]
    return wrong


def rebuild_wrong(store: ClickHouse, span: Span) -> int:
    """Rebuild those days and sessions of these rows that differ from the events; returns how many did.

    Raises StoreUnavailableError.
    """
    count = 0
    for rollup in ROLLUPS:
        wrong = _find_wrong_sessions(store, span) if rollup is SESSIONS else _find_wrong_days(store, rollup, span)
        rebuild_parts(store, span.project_id, rollup, wrong)
        count += len(wrong)
    return count


def _rebuild_at_once(store: ClickHouse, project_id: str, rollup: Rollup, chosen: Sequence[str] | str) -> None:
    """Delete and insert without a pause in between.

    A deletion covers what is there when it is asked for, however long it takes; so new events can only come between
    where two statements follow upon each other.
    """
    for chunk in [chosen] if isinstance(chosen, str) else split_ids(chosen):
        _run(store, "delete", project_id, rollup, chunk, **_NO_WAIT)
        _run(store, "insert", project_id, rollup, chunk, **_REPEATED_INSERT)
    _wait_for_end(store, "rebuild.deletions", _DELETION_MAX_S, {"table": rollup.table})


def wait_for_inserts(store: ClickHouse) -> None:
    """Wait until all inserts that run now, of any server, have ended. Raises StoreUnavailableError."""
    _wait_for_end(store, "rebuild.inserts", _INSERT_MAX_S, {})


def _wait_for_end(store: ClickHouse, statement: str, seconds: float, parameters: Mapping[str, str]) -> None:
    """Wait until everything that the statement lists now has ended; later arrivals do not matter."""
    give_up_at = time.monotonic() + seconds
    running = set(map(tuple, store.query(read_statement(statement), parameters)))
    while running:
        if time.monotonic() > give_up_at:
            raise StoreUnavailableError("a deletion from a roll-up, or an insert, is still running")
        time.sleep(_POLL_S)
        running &= set(map(tuple, store.query(read_statement(statement), parameters)))


def _run(
    store: ClickHouse, step: str, project_id: str, rollup: Rollup, chosen: Sequence[str] | str, **settings: int
) -> None:
    statement, parameters = _fill_in(f"rebuild.{step}", project_id, rollup, chosen)
    store.command(statement, parameters, **settings)


def _find_wrong(store: ClickHouse, project_id: str, rollup: Rollup, chosen: Sequence[str] | str) -> list[str]:
    chunks = [chosen] if isinstance(chosen, str) else list(split_ids(chosen))
    found = (store.query(*_fill_in("rebuild.wrong", project_id, rollup, chunk)) for chunk in chunks)
    return [part for rows in found for (part,) in rows]


def _fill_in(name: str, project_id: str, rollup: Rollup, chosen: Sequence[str] | str) -> tuple[str, dict[str, object]]:
    """A statement on parts that are chosen by a list, or by a query instead of the list."""
    parameters: dict[str, object] = {"project": project_id}
    if isinstance(chosen, str):
        return build_rollup_statement(name, rollup, chosen), parameters
    return build_rollup_statement(name, rollup), parameters | {rollup.part: list(chosen)}


def split_ids(ids: Sequence[str]) -> Iterator[list[str]]:
    """Split ids into as many as one statement takes as a parameter."""
    for start in range(0, len(ids), _IDS_A_STATEMENT):
        yield list(ids[start : start + _IDS_A_STATEMENT])


def _find_wrong_days(store: ClickHouse, rollup: Rollup, span: Span) -> list[str]:
    return find_lasting(store, span.project_id, rollup, span.days)


def _find_wrong_sessions(store: ClickHouse, span: Span) -> list[str]:
    statement = build_rollup_statement("rebuild.wrong", SESSIONS, _SESSIONS_OF_SPAN)
    wrong = [session for (session,) in store.query(statement, span.parameters)]
    return find_lasting(store, span.project_id, SESSIONS, wrong) if wrong else []
