"""Keeps the roll-ups and sessions equal to the events: finds parts that differ, and rebuilds them.

Nobody may insert between a deletion and its rebuild: the view and the rebuild would both count the rows. With the
embedded engine, the loader's thread does both, or is not running. With a ClickHouse server, other Millimetric servers
are kept out by a lock, also while parts are compared with the events: an insert changes the events first and then each
roll-up, so a part that counts too many looks right in the middle of one.
"""

import contextlib
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import NamedTuple

from millimetric_server.store.clickhouse import ClickHouse
from millimetric_server.store.fence import PLACE
from millimetric_server.store.insert_lock import InsertLock, hold_rollup_lock
from millimetric_server.store.running import wait_for_deletions
from millimetric_server.store.statements import read_statement

WAIT_FOR_DELETION = {"lightweight_deletes_sync": 2, "mutations_sync": 2}
_NO_WAIT = {"lightweight_deletes_sync": 0, "mutations_sync": 0}
_REPEATED_INSERT = {"insert_deduplicate": 0, "max_partitions_per_insert_block": 0}
_IDS_A_STATEMENT = 2000  # parameters travel in an address, which ClickHouse bounds to 1 MiB
_DAYS_A_STATEMENT = 31  # others wait while it runs
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
    for chunk in split_ids(ids, _IDS_A_STATEMENT if rollup is SESSIONS else _DAYS_A_STATEMENT):
        rebuild_chosen(store, project_id, rollup, chunk)


def rebuild_chosen(store: ClickHouse, project_id: str, rollup: Rollup, chosen: Sequence[str] | str) -> None:
    """Make parts of one roll-up equal to the events again: a short list of them, or a query in brackets.

    Raises StoreUnavailableError.
    """
    with _keep_inserts_out(store) as lock:
        _rebuild(store, lock, project_id, rollup, chosen)
    wait_for_deletions(store, rollup.table)


def rebuild_wrong(store: ClickHouse, span: Span) -> int:
    """Rebuild those days and sessions of these rows that differ from the events; returns how many did.

    Raises StoreUnavailableError.
    """
    count = 0
    for rollup in ROLLUPS:
        with _keep_inserts_out(store) as lock:
            wrong = _find_wrong(store, rollup, span)
            for chunk in split_ids(wrong):
                _rebuild(store, lock, span.project_id, rollup, chunk)
        if wrong:
            wait_for_deletions(store, rollup.table)
        count += len(wrong)
    return count


def _keep_inserts_out(store: ClickHouse) -> contextlib.AbstractContextManager[InsertLock | None]:
    return contextlib.nullcontext() if store.is_embedded else hold_rollup_lock(store)


def _rebuild(
    store: ClickHouse, lock: InsertLock | None, project_id: str, rollup: Rollup, chosen: Sequence[str] | str
) -> None:
    """Delete and insert. The deletion is not waited for: it covers what is there when it is asked for."""
    ids = "" if not isinstance(chosen, str) else chosen
    parameters = {"project": project_id} | ({} if ids else {rollup.part: list(chosen)})
    marked = {"log_comment": lock.mark} if lock else {}
    right = f"{PLACE} AND {lock.condition}" if lock else PLACE
    store.command(build_rollup_statement("rebuild.delete", rollup, ids), parameters, **_NO_WAIT, **marked)
    insert = build_rollup_statement("rebuild.insert", rollup, ids).replace(PLACE, right)
    store.command(insert, parameters, **_REPEATED_INSERT, **marked)


def _find_wrong(store: ClickHouse, rollup: Rollup, span: Span) -> list[str]:
    if rollup is SESSIONS:
        statement, parameters = build_rollup_statement("rebuild.wrong", rollup, _SESSIONS_OF_SPAN), span.parameters
    else:
        statement = build_rollup_statement("rebuild.wrong", rollup)
        parameters = {"project": span.project_id, "days": list(span.days)}
    return [part for (part,) in store.query(statement, parameters)]


def split_ids(ids: Sequence[str], size: int = _IDS_A_STATEMENT) -> Iterator[list[str]]:
    """Split ids into as many as one statement takes as a parameter."""
    for start in range(0, len(ids), size):
        yield list(ids[start : start + size])
