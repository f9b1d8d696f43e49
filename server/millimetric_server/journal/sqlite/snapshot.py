"""The journal's file for a backup: a snapshot of one moment, which gets a new identity when it is restored."""

import sqlite3
from contextlib import closing
from pathlib import Path

import uuid_utils

from millimetric_server.journal.ledger import Balance
from millimetric_server.journal.sqlite.identity import forget_identity
from millimetric_server.journal.sqlite.ledger import is_in_flight, load_balances
from millimetric_server.journal.sqlite.migrations import load_version
from millimetric_server.process.sqlite_snapshot import SqliteSnapshot


class JournalSnapshot(SqliteSnapshot):
    """One state of a journal's file."""

    @property
    def version(self) -> int:
        """The version of its schema."""
        return load_version(self._connection)

    @property
    def is_in_flight(self) -> bool:
        """Whether a block was taken and not settled."""
        return is_in_flight(self._connection)

    def load_balances(self) -> list[Balance]:
        """Load what became of the events of each project."""
        return load_balances(self._connection)


def renew_identity(path: Path) -> None:
    """Give a restored journal another identity: for tokens of its blocks, and as the one that may load.

    No server may have it open. Afterwards the file is all there is of it.
    """
    with closing(sqlite3.connect(path, isolation_level=None)) as connection:
        connection.execute("BEGIN IMMEDIATE")
        connection.execute("UPDATE loader_position SET journal_id = ?", (str(uuid_utils.uuid7()),))
        forget_identity(connection)  # the next start makes one
        connection.execute("COMMIT")
        connection.execute("PRAGMA wal_checkpoint(TRUNCATE)")
    for suffix in ("-wal", "-shm"):
        path.with_name(path.name + suffix).unlink(missing_ok=True)
