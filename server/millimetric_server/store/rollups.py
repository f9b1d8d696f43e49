"""Keeps daily_rollup and sessions equal to the events: builds parts of them anew, and finds those that differ.

For the loader's thread only: nothing may be inserted between a deletion and its rebuild.
"""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass

from millimetric_server.store.clickhouse import ClickHouse
from millimetric_server.store.statements import read_statement

WAIT_FOR_DELETION = {"lightweight_deletes_sync": 2, "mutations_sync": 2}
_REPEATED_INSERT = {"insert_deduplicate": 0, "max_partitions_per_insert_block": 0}
_IDS_A_STATEMENT = 2000  # parameters travel in an address, which ClickHouse bounds to 1 MiB
# The sessions of rows that came in at about the same time: asked of the events, however many there are.
_SESSIONS_OF_SPAN = (
    "(SELECT session_id FROM events WHERE project_id = {project:String} "
    "AND timestamp >= fromUnixTimestamp64Micro({timestamp_min:Int64}) "
    "AND timestamp <= fromUnixTimestamp64Micro({timestamp_max:Int64}) "
    "AND received_at >= fromUnixTimestamp64Micro({received_min:Int64}) "
    "AND received_at <= fromUnixTimestamp64Micro({received_max:Int64}))"
)


@dataclass(frozen=True, slots=True)
class Span:
    """Rows of one project: the UTC days they lie in, and the bounds of their times in microseconds, inclusive."""

    project_id: str
    days: Sequence[str]
    timestamp_min: int
    timestamp_max: int
    received_min: int
    received_max: int


def rebuild(store: ClickHouse, project_id: str, days: Sequence[str], sessions: Sequence[str]) -> None:
    """Make a project's days and sessions equal to its events again. Raises StoreUnavailableError."""
    for part, ids in (("days", days), ("sessions", sessions)):
        for chunk in split_ids(ids):
            parameters = {"project": project_id, part: chunk}
            store.command(read_statement(f"rebuild.delete_{part}"), parameters, **WAIT_FOR_DELETION)
            store.command(read_statement(f"rebuild.insert_{part}"), parameters, **_REPEATED_INSERT)


def rebuild_wrong(store: ClickHouse, span: Span) -> int:
    """Rebuild those days and sessions of these rows that differ from the events; returns how many did.

    Raises StoreUnavailableError.
    """
    bounds = {name: getattr(span, name) for name in ("timestamp_min", "timestamp_max", "received_min", "received_max")}
    wrong_sessions = read_statement("rebuild.wrong_sessions").replace("{sessions:Array(String)}", _SESSIONS_OF_SPAN)
    days = [
        day
        for chunk in split_ids(span.days)
        for (day,) in store.query(read_statement("rebuild.wrong_days"), {"project": span.project_id, "days": chunk})
    ]
    sessions = [session for (session,) in store.query(wrong_sessions, {"project": span.project_id, **bounds})]
    rebuild(store, span.project_id, days, sessions)
    return len(days) + len(sessions)


def split_ids(ids: Sequence[str]) -> Iterator[list[str]]:
    """Split ids into as many as one statement takes as a parameter."""
    for start in range(0, len(ids), _IDS_A_STATEMENT):
        yield list(ids[start : start + _IDS_A_STATEMENT])
