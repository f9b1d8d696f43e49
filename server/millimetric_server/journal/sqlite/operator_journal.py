"""The journal's file for an operator's commands, opened with or without a running server."""

import contextlib
import sqlite3
from collections.abc import Collection, Iterator, Sequence
from pathlib import Path

from millimetric_server.journal.dead_letters import DeadLetter, MarkedLetters
from millimetric_server.journal.entries import Backlog, EntryId
from millimetric_server.journal.errors import JournalFileError, JournalVersionError
from millimetric_server.journal.ledger import JournalStatus
from millimetric_server.journal.sqlite import blocks, dead_letters, ledger
from millimetric_server.journal.sqlite.connection import connect, connect_read_only
from millimetric_server.journal.sqlite.migrations import SCHEMA_VERSION, load_version


class SqliteOperatorJournal:
    """See port.OperatorJournal."""

    def __init__(self, connection: sqlite3.Connection) -> None:
        self._connection = connection

    def load_status(self) -> JournalStatus:
        """Load the whole journal's figures, in one snapshot."""
        return ledger.load_status(self._connection)

    def list_dead_letters(self, project_id: str = "", limit: int | None = None) -> list[DeadLetter]:
        """List dead letters, the oldest first: of a project or of all (empty)."""
        return dead_letters.load(self._connection, project_id, limit)

    def count_dead_letters(self, project_id: str = "") -> int:
        """Count the dead letters of a project or of all (empty)."""
        return dead_letters.count(self._connection, project_id)

    def retry_dead_letters(self, dead_letter_ids: Collection[int] = (), project_id: str = "") -> MarkedLetters:
        """Mark dead letters to be tried again: these, or all of a project or of all."""
        self._connection.execute("BEGIN IMMEDIATE")
        with self._connection:
            return dead_letters.mark(self._connection, dead_letter_ids, project_id)

    def are_taken_back(self, marked: MarkedLetters) -> bool:
        """Tell whether a server has made entries again of all that was marked."""
        return not dead_letters.are_marked(self._connection, marked)

    def find_last_waiting(self) -> Sequence[EntryId]:
        """Find the entry that is settled last of all that wait."""
        return blocks.find_last_waiting(self._connection)

    def are_settled(self, entries: Collection[EntryId]) -> bool:
        """Tell whether none of these entries waits any more."""
        return blocks.are_settled(blocks.load_settled(self._connection), entries)

    def count_refused_again(self, marked: MarkedLetters) -> int:
        """Count which of the marked events are dead letters again."""
        return dead_letters.count_again(self._connection, marked)


@contextlib.contextmanager
def open_operator_journal(path: Path, *, is_written: bool = False) -> Iterator[SqliteOperatorJournal]:
    """Open a file that exists. Raises JournalFileError, also for what fails later."""
    with _open_read_only(path) as connection:
        version = load_version(connection)
    if version != SCHEMA_VERSION:
        raise JournalVersionError(version, SCHEMA_VERSION)
    if not is_written:
        with _open_read_only(path) as connection:
            yield SqliteOperatorJournal(connection)
        return
    with _explained(), contextlib.closing(connect(path)) as connection:
        yield SqliteOperatorJournal(connection)


def measure_backlog(path: Path) -> Backlog:
    """Count what waits in a file of any version. Raises JournalFileError."""
    with _open_read_only(path) as connection:
        return ledger.measure_backlog(connection)


@contextlib.contextmanager
def _open_read_only(path: Path) -> Iterator[sqlite3.Connection]:
    with _explained(), contextlib.closing(connect_read_only(path)) as connection:
        yield connection


@contextlib.contextmanager
def _explained() -> Iterator[None]:
    try:
        yield
    except sqlite3.Error as error:
        raise JournalFileError(str(error)) from error
