"""Dead letters: rows that ClickHouse refused, set aside in the journal until somebody has them tried again."""

from collections.abc import Collection, Sequence
from dataclasses import dataclass
from sqlite3 import Connection
from typing import Any

from millimetric_server.journal.blocks import RefusedRows
from millimetric_server.journal.packed_rows import COLUMN_NAMES, UnreadableRowsError, unpack_rows

_EVENT_ID, _RECEIVED_AT = COLUMN_NAMES.index("event_id"), COLUMN_NAMES.index("received_at")
_COLUMNS = "dead_letter_id, project_id, row_count, column_count, rows, refused_at, reason, message, is_retried"


@dataclass(frozen=True, slots=True)
class DeadLetter:
    """A dead letter as it lies in the journal. `refused_at` is in microseconds since 1970 UTC.

    It holds one row, or all those of an entry that could not be read.
    """

    dead_letter_id: int
    project_id: str
    row_count: int
    column_count: int
    rows: bytes
    refused_at: int
    reason: str
    message: str
    is_retried: int

    def unpack(self) -> list[list[Any]]:
        """The rows; none if they can't be read."""
        try:
            return unpack_rows(self.rows, self.row_count, self.column_count)
        except UnreadableRowsError:
            return []

    def describe(self) -> list[dict[str, Any]]:
        """The rows by column; none if they can't be read."""
        return [dict(zip(COLUMN_NAMES, row, strict=False)) for row in self.unpack()]


def insert(connection: Connection, refused: Sequence[RefusedRows], now_us: int) -> None:
    """Set rows aside, in the transaction that takes them out of the entries."""
    for one in refused:
        (dead_letter_id,) = connection.execute(
            "INSERT INTO dead_letters (project_id, row_count, column_count, rows, refused_at, reason, message) "
            "VALUES (?, ?, ?, ?, ?, ?, ?) RETURNING dead_letter_id",
            (one.project_id, one.row_count, one.column_count, one.rows, now_us, one.reason, one.message),
        ).fetchone()
        _enter_ids(connection, dead_letter_id, one)


def enter_all_ids(connection: Connection) -> None:
    """Enter the event ids of all dead letters into their index, as for a file that had none."""
    for (dead_letter_id,) in connection.execute("SELECT dead_letter_id FROM dead_letters").fetchall():
        values = connection.execute(f"SELECT {_COLUMNS} FROM dead_letters WHERE dead_letter_id = ?", (dead_letter_id,))
        _enter_ids(connection, dead_letter_id, DeadLetter(*values.fetchone()))


def find(connection: Connection, project_id: str, event_ids: Collection[str]) -> set[tuple[str, int]]:
    """Find which events of the project are dead letters: event_id and received_at of each."""
    places = ", ".join("?" * len(event_ids))
    statement = f"SELECT event_id, received_at FROM dead_letter_ids WHERE project_id = ? AND event_id IN ({places})"
    return set(connection.execute(statement, (project_id, *event_ids)).fetchall())


def read(
    connection: Connection, *, project_id: str = "", limit: int = -1, only_retried: bool = False
) -> list[DeadLetter]:
    """Read dead letters, the oldest first: of a project or of all (empty), so many or all (-1)."""
    rows = connection.execute(
        f"SELECT {_COLUMNS} FROM dead_letters WHERE (project_id = ?1 OR ?1 = '') AND is_retried >= ?2 "
        "ORDER BY dead_letter_id LIMIT ?3",
        (project_id, int(only_retried), limit),
    ).fetchall()
    return [DeadLetter(*row) for row in rows]


def ask_for_retry(connection: Connection, dead_letter_ids: Sequence[int], project_id: str) -> int:
    """Mark dead letters, by id or all of a project or all, for the server to take back; returns how many."""
    chosen, values = "1", tuple[int, ...]()
    if dead_letter_ids:
        chosen, values = f"dead_letter_id IN ({', '.join('?' * len(dead_letter_ids))})", tuple(dead_letter_ids)
    statement = f"UPDATE dead_letters SET is_retried = 1 WHERE {chosen} AND (project_id = ? OR ? = '')"
    return connection.execute(statement, (*values, project_id, project_id)).rowcount


def take_back(connection: Connection) -> tuple[int, int]:
    """Put what is marked behind the entries again, in one transaction; returns how many rows and bytes came back."""
    statement = "SELECT coalesce(sum(row_count), 0), coalesce(sum(length(rows)), 0) FROM dead_letters WHERE is_retried"
    rows, size = connection.execute(statement).fetchone()
    connection.execute(
        "INSERT INTO entries (project_id, row_count, column_count, rows) "
        "SELECT project_id, row_count, column_count, rows FROM dead_letters WHERE is_retried ORDER BY dead_letter_id"
    )
    connection.execute("DELETE FROM dead_letters WHERE is_retried")
    return int(rows), int(size)


def delete(connection: Connection, dead_letter_ids: Sequence[int]) -> None:
    """Remove dead letters for good."""
    connection.executemany("DELETE FROM dead_letters WHERE dead_letter_id = ?", [(one,) for one in dead_letter_ids])


def _enter_ids(connection: Connection, dead_letter_id: int, letter: RefusedRows | DeadLetter) -> None:
    """A trigger takes them out again when the dead letter goes."""
    try:
        rows = unpack_rows(letter.rows, letter.row_count, letter.column_count)
    except UnreadableRowsError:
        return
    connection.executemany(
        "INSERT OR IGNORE INTO dead_letter_ids VALUES (?, ?, ?, ?)",
        [(letter.project_id, row[_EVENT_ID], row[_RECEIVED_AT], dead_letter_id) for row in rows],
    )
