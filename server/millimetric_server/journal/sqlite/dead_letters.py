"""The tables of dead letters."""

import dataclasses
import hashlib
from collections import Counter
from collections.abc import Collection, Iterator, Sequence
from sqlite3 import Connection
from typing import Any

from millimetric_server.journal.blocks import RefusedRows
from millimetric_server.journal.dead_letters import DeadLetter, MarkedLetters
from millimetric_server.journal.errors import UnknownDeadLettersError
from millimetric_server.journal.packed_rows import COLUMN_NAMES, UnreadableRowsError, unpack_rows

_EVENT_ID, _RECEIVED_AT = COLUMN_NAMES.index("event_id"), COLUMN_NAMES.index("received_at")
_COLUMNS = "dead_letter_id, project_id, row_count, column_count, rows, refused_at, reason, message, is_retried"


def insert(connection: Connection, refused: Sequence[RefusedRows], now_us: int) -> None:
    """Set rows aside, in the transaction that takes them out of the entries."""
    for one in refused:
        (dead_letter_id,) = connection.execute(
            "INSERT INTO dead_letters (project_id, row_count, column_count, rows, refused_at, reason, message) "
            "VALUES (?, ?, ?, ?, ?, ?, ?) RETURNING dead_letter_id",
            (one.project_id, one.row_count, one.column_count, one.rows, now_us, one.reason, one.message),
        ).fetchone()
        _index_ids(connection, dead_letter_id, one)


def index_all_ids(connection: Connection) -> None:
    """Put the event ids of all dead letters into their index, as for a file that had none."""
    for (dead_letter_id,) in connection.execute("SELECT dead_letter_id FROM dead_letters").fetchall():
        values = connection.execute(f"SELECT {_COLUMNS} FROM dead_letters WHERE dead_letter_id = ?", (dead_letter_id,))
        _index_ids(connection, dead_letter_id, _make(values.fetchone()))


def find(connection: Connection, project_id: str, event_ids: Collection[str]) -> set[tuple[str, int]]:
    """Find which events of the project are dead letters: event_id and received_at of each."""
    places = ", ".join("?" * len(event_ids))
    statement = f"SELECT event_id, received_at FROM dead_letter_ids WHERE project_id = ? AND event_id IN ({places})"
    return set(connection.execute(statement, (project_id, *event_ids)).fetchall())


def load(connection: Connection, project_id: str = "", limit: int | None = None) -> list[DeadLetter]:
    """Load dead letters, the oldest first: of a project or of all (empty)."""
    rows = connection.execute(
        f"SELECT {_COLUMNS} FROM dead_letters WHERE project_id = ?1 OR ?1 = '' ORDER BY dead_letter_id LIMIT ?2",
        (project_id, -1 if limit is None else limit),
    ).fetchall()
    return [_make(row) for row in rows]


def count(connection: Connection, project_id: str) -> int:
    """Count the dead letters of a project or of all (empty)."""
    statement = "SELECT count(*) FROM dead_letters WHERE project_id = ?1 OR ?1 = ''"
    (found,) = connection.execute(statement, (project_id,)).fetchone()
    return int(found)


def mark(connection: Connection, dead_letter_ids: Collection[int], project_id: str) -> MarkedLetters:
    """Mark dead letters for the server to take back, in a transaction. Raises UnknownDeadLettersError: none is."""
    chosen, marked, known, events, digests = set(dead_letter_ids), set[int](), set[int](), 0, Counter[bytes]()
    for letter_id, owner, row_count, digest in _load_digests(connection):
        known.add(letter_id)
        if project_id in ("", owner) and (not chosen or letter_id in chosen):
            marked.add(letter_id)
            events += row_count
            digests[digest] += 1
    if unknown := sorted(chosen - marked):
        raise UnknownDeadLettersError(unknown)
    statement = "UPDATE dead_letters SET is_retried = 1 WHERE dead_letter_id = ?"
    connection.executemany(statement, [(letter_id,) for letter_id in sorted(marked)])
    return MarkedLetters(events, frozenset(marked), frozenset(known), digests)


def are_marked(connection: Connection, letters: MarkedLetters) -> bool:
    """Tell whether some of these letters still wait for a server to take them back."""
    marked = connection.execute("SELECT dead_letter_id FROM dead_letters WHERE is_retried").fetchall()
    return any(letter_id in letters.dead_letter_ids for (letter_id,) in marked)


def count_again(connection: Connection, letters: MarkedLetters) -> int:
    """Count which of the events are dead letters again; others that were refused meanwhile are not among them."""
    left, events = Counter(letters.digests), 0
    for letter_id, _, row_count, digest in _load_digests(connection):
        if letter_id not in letters.known and left[digest]:
            left[digest] -= 1
            events += row_count
    return events


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


def _make(row: tuple[Any, ...]) -> DeadLetter:
    return dataclasses.replace(DeadLetter(*row), is_marked=bool(row[-1]))


def _load_digests(connection: Connection) -> Iterator[tuple[int, str, int, bytes]]:
    """Give id, project, count of events and a digest of each dead letter; their rows would be too many to keep."""
    for letter_id, owner, row_count, rows in connection.execute(
        "SELECT dead_letter_id, project_id, row_count, rows FROM dead_letters"
    ):
        yield letter_id, owner, row_count, hashlib.blake2b(owner.encode() + b"\0" + rows, digest_size=16).digest()


def _index_ids(connection: Connection, dead_letter_id: int, letter: RefusedRows | DeadLetter) -> None:
    """A trigger takes them out again when the dead letter goes."""
    try:
        rows = unpack_rows(letter.rows, letter.row_count, letter.column_count)
    except UnreadableRowsError:
        return
    connection.executemany(
        "INSERT OR IGNORE INTO dead_letter_ids VALUES (?, ?, ?, ?)",
        [(letter.project_id, row[_EVENT_ID], row[_RECEIVED_AT], dead_letter_id) for row in rows],
    )
