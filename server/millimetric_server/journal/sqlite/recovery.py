"""Opens the journal's file, recovers it after a crash or salvages it after damage, and logs what was found.

SQLite itself silently applies a write-ahead log up to its last complete commit, but refuses a truncated main file. Then
what is readable is salvaged into a new file, and the damaged one is kept beside it.
"""

import logging
import sqlite3
import struct
import time
from collections.abc import Iterator
from contextlib import closing, suppress
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from millimetric_server.journal.errors import JournalFileError
from millimetric_server.journal.ledger import Outcome
from millimetric_server.journal.sqlite import dead_letters
from millimetric_server.journal.sqlite.connection import connect_writer
from millimetric_server.journal.sqlite.identity import COLUMNS, keep_identity
from millimetric_server.journal.sqlite.ledger import add_to_ledger, load_balances
from millimetric_server.journal.sqlite.migrations import note_shared_ids, upgrade

log = logging.getLogger(__name__)

# The write-ahead log: a header with the page size at byte 8 and two salts at byte 16, then frames, each with a header
# of 24 bytes that repeats the salts at byte 8. Frames of an earlier log have other salts. (SQLite's file format, 4.1)
_WAL_HEADER, _FRAME_HEADER = 32, 24
_TABLES = ("loader_position", "erasures", "refusals", "dead_letters", "entries", "seen")  # all have a rowid
_ROWID_MAX = 2**40
_FAILURES_MAX = 100_000  # where a table's first page is gone, every range fails
_LOST = "journal_damaged"  # the reason in the ledger


@dataclass(frozen=True, slots=True)
class _WalFile:
    """The contents of a write-ahead log that the last run left behind."""

    frames: int
    frame_bytes: int
    torn_bytes: int  # behind the last whole frame


def open_whole(path: Path) -> sqlite3.Connection:
    """Open the journal for writing, recovered if need be; the log says what was recovered.

    Raises JournalFileError when the file can't be opened at all.
    """
    left = _read_wal(path.with_name(f"{path.name}-wal"))
    connection = None
    try:
        connection = connect_writer(path)
        if left is not None:
            _log_recovery(connection, left)
            _check(connection)
    except sqlite3.OperationalError as error:  # no damage: no right to write, no disk, another server's lock
        raise JournalFileError(f"{path} can't be opened for writing: {error}") from error
    except sqlite3.DatabaseError as error:
        if connection is not None:
            connection.close()
        log.error("journal: %s is damaged (%s)", path.name, error)  # noqa: TRY400 - a planned way on follows
        return _salvage(path)
    return connection


def _read_wal(path: Path) -> _WalFile | None:
    """Count the frames that belong to the newest log; None if the last run closed its journal."""
    try:
        with path.open("rb") as file:
            header = file.read(_WAL_HEADER)
            if len(header) < _WAL_HEADER:
                return None
            frame_bytes = struct.unpack(">I", header[8:12])[0] + _FRAME_HEADER
            frames, size = 0, path.stat().st_size
            while (start := _WAL_HEADER + frames * frame_bytes) + frame_bytes <= size:
                file.seek(start + 8)
                if file.read(8) != header[16:24]:
                    return _WalFile(frames, frame_bytes, 0)
                frames += 1
            return _WalFile(frames, frame_bytes, size - start)
    except FileNotFoundError:
        return None


def _log_recovery(connection: sqlite3.Connection, left: _WalFile) -> None:
    _, recovered, _ = connection.execute("PRAGMA wal_checkpoint(PASSIVE)").fetchone()
    log.warning(
        "journal: the last run ended abruptly. Recovered up to its last commit (%d pages of the write-ahead log); "
        "%d bytes after it were torn or not committed, and are dropped",
        recovered,
        max(left.frames - recovered, 0) * left.frame_bytes + left.torn_bytes,
    )


def _check(connection: sqlite3.Connection) -> None:
    """Read the tables that a start needs, except the index of ids, which is too large. Raises sqlite3.DatabaseError."""
    tables = {name for (name,) in connection.execute("SELECT name FROM sqlite_master WHERE type = 'table'")}
    for table in tables.intersection(_TABLES) - {"seen"}:
        for (found,) in connection.execute(f"PRAGMA quick_check({table})").fetchall():
            if found != "ok":
                raise sqlite3.DatabaseError(found)


def _salvage(path: Path) -> sqlite3.Connection:
    """Salvage what is readable into a new file, and use that one."""
    kept = path.with_name(f"{path.name}.damaged-{time.strftime('%Y%m%dT%H%M%SZ', time.gmtime())}")
    for suffix in ("", "-wal", "-shm"):
        with suppress(FileNotFoundError):
            path.with_name(path.name + suffix).rename(kept.with_name(kept.name + suffix))
    connection = connect_writer(path)
    upgrade(connection)
    saved: dict[str, int] = {}
    with closing(sqlite3.connect(kept, isolation_level=None)) as damaged:
        with suppress(sqlite3.DatabaseError):
            damaged.execute("PRAGMA writable_schema = ON")  # or SQLite refuses a file that is shorter than it says
        connection.execute("BEGIN IMMEDIATE")
        note_shared_ids(connection)  # the damaged file may have been upgraded a moment ago, or be an older server's
        for table in _TABLES:
            saved[table] = sum(_copy_row(connection, table, row) for row in _salvage_rows(damaged, table))
        with suppress(sqlite3.DatabaseError):
            for row in damaged.execute("SELECT project_id, outcome, reason, events FROM ledger").fetchall():
                _copy_row(connection, "ledger", row)
        dead_letters.index_all_ids(connection)
        with suppress(sqlite3.DatabaseError):
            for values in damaged.execute(f"SELECT {COLUMNS} FROM identity").fetchall():
                keep_identity(connection, values)
        _number_on(connection)
        _balance(connection)
        connection.execute("COMMIT")
    log.error(
        "journal: salvaged what could be read (%s); the damaged file is kept as %s",
        ", ".join(f"{table}: {count}" for table, count in saved.items()),
        kept.name,
    )
    return connection


def _salvage_rows(damaged: sqlite3.Connection, table: str) -> Iterator[tuple[Any, ...]]:
    """Read the readable rows: an unreadable range is halved until it is a single row."""
    ranges, failures = [(1, _ROWID_MAX)], 0
    while ranges and failures < _FAILURES_MAX:
        first, last = ranges.pop()
        try:
            statement = f"SELECT * FROM {table} WHERE rowid BETWEEN ? AND ? ORDER BY rowid"
            rows = damaged.execute(statement, (first, last)).fetchall()
        except sqlite3.DatabaseError:
            failures += 1
            if first < last:
                middle = (first + last) // 2
                ranges += [(middle + 1, last), (first, middle)]
        else:
            yield from rows


def _copy_row(connection: sqlite3.Connection, table: str, row: tuple[Any, ...]) -> bool:
    try:
        connection.execute(f"INSERT INTO {table} VALUES ({', '.join('?' * len(row))})", row)
    except sqlite3.Error:  # a row that was read, but not as it was written
        return False
    return True


def _number_on(connection: sqlite3.Connection) -> None:
    """Number new entries after those that the loader has passed, even if no entry was left."""
    connection.execute("DELETE FROM sqlite_sequence WHERE name = 'entries'")
    connection.execute(
        "INSERT INTO sqlite_sequence (name, seq) SELECT 'entries', max("
        "(SELECT coalesce(max(seq), 0) FROM entries), "
        "(SELECT coalesce(max(max(loaded, inflight)), 0) FROM loader_position))"
    )


def _balance(connection: sqlite3.Connection) -> None:
    """Count the lost events as dropped, so that the ledger balances again."""
    for balance in load_balances(connection):
        if balance.missing > 0:
            add_to_ledger(connection, balance.project_id, Outcome.DROPPED, balance.missing, _LOST)
        elif balance.missing < 0:
            add_to_ledger(connection, balance.project_id, Outcome.RECEIVED, -balance.missing)
