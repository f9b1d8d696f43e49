"""Migrates a journal's file to this server's schema, in one transaction."""

import time
from collections.abc import Sequence
from importlib import resources
from sqlite3 import Connection
from typing import Any

import msgspec

from millimetric_server.journal.errors import JournalVersionError
from millimetric_server.journal.packed_rows import pack_values
from millimetric_server.journal.sqlite import dead_letters

SCHEMA_VERSION = 3
_APART = 3  # from this version on event ids of public and of secret keys are apart

_decode_rows_1 = msgspec.msgpack.Decoder(list[list[Any]]).decode
_COLUMN_COUNT_1 = 25
# Version 1 had no project beside its rows, and kept each row as an array of its own. The rows that wait are the only
# ones that version 2 knows to have been received.
_UPGRADE_1 = (
    "INSERT INTO sqlite_sequence (name, seq) SELECT 'entries', seq FROM sqlite_sequence WHERE name = 'entries_1'",
    "INSERT INTO entries SELECT seq, project_1(rows), row_count, {columns}, repack_1(rows) FROM entries_1",
    "INSERT INTO ledger SELECT project_id, 'received', '', sum(row_count) FROM entries GROUP BY project_id",
    "DROP TABLE entries_1",
)


def upgrade(connection: Connection) -> int:
    """Create the tables, or migrate older ones; returns the version that was found (0: a new file).

    Raises JournalVersionError for a file of a newer server.
    """
    if (version := load_version(connection)) > SCHEMA_VERSION:
        raise JournalVersionError(version, SCHEMA_VERSION)
    if version == SCHEMA_VERSION:
        return version
    connection.execute("BEGIN IMMEDIATE")
    try:
        if version == 1:
            _upgrade_1(connection)
        else:
            _run(connection, _read_schema())  # newer versions only have more tables than version 2
        dead_letters.index_all_ids(connection)
        if version:
            note_shared_ids(connection)
        connection.execute(f"PRAGMA user_version = {SCHEMA_VERSION}")
        connection.execute("COMMIT")
    except BaseException:
        connection.execute("ROLLBACK")
        raise
    return version


def load_version(connection: Connection) -> int:
    """Load the version of the file's schema."""
    (version,) = connection.execute("PRAGMA user_version").fetchone()
    return int(version)


def note_shared_ids(connection: Connection) -> None:
    """Note that the index may hold ids that were entered before ids of public and secret keys were apart."""
    connection.execute("INSERT OR REPLACE INTO upgrades VALUES (?, ?)", (_APART, time.time_ns() // 1000))


def load_shared_until(connection: Connection) -> int:
    """Until when (microseconds since 1970 UTC) ids were entered for both kinds of key; 0 if none was."""
    (shared_until,) = connection.execute(
        "SELECT coalesce(max(upgraded_at), 0) FROM upgrades WHERE version = ?", (_APART,)
    ).fetchone()
    return int(shared_until)


def _read_schema() -> list[str]:
    """The statements of schema.sql; each ends with `;` at the end of a line."""
    text = resources.files(__package__).joinpath("schema.sql").read_text()
    lines = [line for line in text.splitlines() if not line.startswith("--")]
    return [statement.strip() for statement in "\n".join(lines).split(";\n") if statement.strip()]


def _upgrade_1(connection: Connection) -> None:
    connection.create_function("project_1", 1, lambda rows: _decode_rows_1(rows)[0][0], deterministic=True)
    connection.create_function("repack_1", 1, lambda rows: pack_values(_decode_rows_1(rows)), deterministic=True)
    connection.execute("ALTER TABLE entries RENAME TO entries_1")
    _run(connection, _read_schema())
    _run(connection, [statement.format(columns=_COLUMN_COUNT_1) for statement in _UPGRADE_1])


def _run(connection: Connection, statements: Sequence[str]) -> None:
    for statement in statements:
        connection.execute(statement)
