"""Keeps the roll-ups and sessions equal to the events: builds parts of them anew, and finds those that differ.

For the loader's thread only: nothing may be inserted between a deletion and its rebuild.
"""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import NamedTuple

from millimetric_server.store.clickhouse import ClickHouse
from millimetric_server.store.statements import read_statement

WAIT_FOR_DELETION = {"lightweight_deletes_sync": 2, "mutations_sync": 2}
_REPEATED_INSERT = {"insert_deduplicate": 0, "max_partitions_per_insert_block": 0}
_IDS_A_STATEMENT = 2000  # parameters travel in an address, which ClickHouse bounds to 1 MiB
# The sessions of rows that came in at about the same time: asked of the events, however many there are.
_SESSIONS_OF_SPAN = (
    "(SELECT session_id AS id FROM events WHERE project_id = {project:String} "
    "AND timestamp >= fromUnixTimestamp64Micro({timestamp_min:Int64}) "
    "AND timestamp <= fromUnixTimestamp64Micro({timestamp_max:Int64}) "
    "AND received_at >= fromUnixTimestamp64Micro({received_min:Int64}) "
    "AND received_at <= fromUnixTimestamp64Micro({received_max:Int64}))"
)
_ALL_DIMENSIONS = "event, source, medium, campaign, country, device_type, browser, os, is_bot"


class Rollup(NamedTuple):
    """A table that is made of the events. It is rebuilt by parts: UTC days, or sessions."""

    table: str
    part: str  # "days" or "sessions", as statements and their parameters call it
    time: str = ""  # of a roll-up by days: its column of time,
    from_timestamp: str = ""  # what that is of an event,
    dimensions: str = ""  # and its other columns of the sort key


SESSIONS = Rollup("sessions", "sessions")
ROLLUPS = (
    Rollup("daily_rollup", "days", "day", "toDate(timestamp, 'UTC')", _ALL_DIMENSIONS),
    Rollup("hourly_rollup", "days", "hour", "toStartOfHour(timestamp, 'UTC')", _ALL_DIMENSIONS),
    Rollup("source_rollup", "days", "day", "toDate(timestamp, 'UTC')", "source, medium, is_bot"),
    SESSIONS,
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

    @property
    def parameters(self) -> dict[str, object]:
        """The parameters of statements about the span: project, and the bounds of its times."""
        names = ("timestamp_min", "timestamp_max", "received_min", "received_max")
        return {"project": self.project_id, **{name: getattr(self, name) for name in names}}


def read_rollup_statement(name: str, rollup: Rollup, ids: str = "") -> str:
    """Read sql/<name>_<part>.sql for a roll-up.

    `ids` is a query in brackets for the parts to work on, as `id`; without it, they are a parameter.
    """
    return (
        read_statement(f"{name}_{rollup.part}")
        .replace("%IDS%", ids or f"(SELECT arrayJoin({{{rollup.part}:Array(String)}}) AS id)")
        .replace("%TABLE%", rollup.table)
        .replace("%FROM_TIMESTAMP%", rollup.from_timestamp)
        .replace("%TIME%", rollup.time)
        .replace("%DIMENSIONS%", rollup.dimensions)
    )


def rebuild(store: ClickHouse, project_id: str, days: Sequence[str], sessions: Sequence[str]) -> None:
    """Make a project's days and sessions equal to its events again. Raises StoreUnavailableError."""
    for rollup in ROLLUPS:
        rebuild_parts(store, project_id, rollup, sessions if rollup is SESSIONS else days)


def rebuild_parts(store: ClickHouse, project_id: str, rollup: Rollup, ids: Sequence[str]) -> None:
    """Make these parts of one roll-up equal to the events again. Raises StoreUnavailableError."""
    for chunk in split_ids(ids):
        parameters = {"project": project_id, rollup.part: chunk}
        store.command(read_rollup_statement("rebuild.delete", rollup), parameters, **WAIT_FOR_DELETION)
        store.command(read_rollup_statement("rebuild.insert", rollup), parameters, **_REPEATED_INSERT)


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


def split_ids(ids: Sequence[str]) -> Iterator[list[str]]:
    """Split ids into as many as one statement takes as a parameter."""
    for start in range(0, len(ids), _IDS_A_STATEMENT):
        yield list(ids[start : start + _IDS_A_STATEMENT])


def _find_wrong_days(store: ClickHouse, rollup: Rollup, span: Span) -> list[str]:
    statement = read_rollup_statement("rebuild.wrong", rollup)
    found = (store.query(statement, {"project": span.project_id, "days": chunk}) for chunk in split_ids(span.days))
    return [day for rows in found for (day,) in rows]


def _find_wrong_sessions(store: ClickHouse, span: Span) -> list[str]:
    statement = read_rollup_statement("rebuild.wrong", SESSIONS, _SESSIONS_OF_SPAN)
    return [session for (session,) in store.query(statement, span.parameters)]
