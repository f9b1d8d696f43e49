"""The ledger's tables."""

from collections.abc import Iterable
from sqlite3 import Connection
from typing import Any

from millimetric_server.journal.entries import Backlog
from millimetric_server.journal.ledger import Balance, JournalStatus, Outcome

_COUNT = (
    "INSERT INTO ledger VALUES (?, ?, ?, ?) "
    "ON CONFLICT (project_id, outcome, reason) DO UPDATE SET events = events + excluded.events"
)
# One statement, hence one snapshot. What waits and the dead letters are counted where they lie, not in the ledger.
_LOAD = """
SELECT project_id, outcome, reason, events FROM ledger
UNION ALL SELECT project_id, 'journaled', '', sum(row_count) FROM entries GROUP BY project_id
UNION ALL SELECT project_id, 'dead_letter', '', sum(row_count) FROM dead_letters GROUP BY project_id
"""
_BACKLOG = "SELECT count(*), coalesce(sum(row_count), 0), coalesce(sum(length(rows)), 0) FROM entries"
_DEAD_LETTERS = "SELECT coalesce(sum(row_count), 0), coalesce(sum(row_count * is_retried), 0) FROM dead_letters"


def add_to_ledger(connection: Connection, project_id: str, outcome: Outcome, events: int, reason: str = "") -> None:
    """Count events, in the transaction that makes it true."""
    if events:
        connection.execute(_COUNT, (project_id, outcome, reason, events))


def load_balances(connection: Connection) -> list[Balance]:
    """Load the balances of all projects in one snapshot."""
    found = _gather(connection.execute(_LOAD).fetchall())
    return [Balance(project_id, **found[project_id]) for project_id in sorted(found)]


def measure_backlog(connection: Connection) -> Backlog:
    """Count what waits for the loader."""
    return Backlog(*connection.execute(_BACKLOG).fetchone())


def is_in_flight(connection: Connection) -> bool:
    """Tell whether a block was taken and not settled."""
    found = connection.execute("SELECT inflight > loaded FROM loader_position").fetchone()
    return bool(found and found[0])


def load_status(connection: Connection) -> JournalStatus:
    """Load all figures in one snapshot."""
    connection.execute("BEGIN")
    try:
        return JournalStatus(
            load_balances(connection),
            measure_backlog(connection),
            is_in_flight(connection),
            *connection.execute(_DEAD_LETTERS).fetchone(),
        )
    finally:
        connection.execute("COMMIT")


def _gather(rows: Iterable[tuple[str, str, str, int]]) -> dict[str, dict[str, Any]]:
    """The fields of each project's balance."""
    found: dict[str, dict[str, Any]] = {}
    for project_id, outcome, reason, events in rows:
        fields = found.setdefault(project_id, {})
        if reason:
            fields.setdefault(outcome, {})[reason] = events
        else:
            fields[outcome] = events
    return found
