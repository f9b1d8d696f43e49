"""Gathers the rows of one commit into few entries."""

from collections.abc import Sequence
from sqlite3 import Connection

from millimetric_server.journal.entries import EntryId
from millimetric_server.journal.packed_rows import COLUMN_COUNT

_ENTRY_ROWS_MAX = 1000


class EntryBuilder:
    """Collects the rows of one commit into entries, one for each run of calls of the same project."""

    def __init__(self, connection: Connection) -> None:
        self._connection = connection
        self._newest: int = connection.execute("SELECT coalesce(max(seq), 0) FROM entries").fetchone()[0]
        statement = "SELECT coalesce(max(seq), 0) FROM sqlite_sequence WHERE name = 'entries'"
        self._last_number: int = connection.execute(statement).fetchone()[0]
        self._entries: list[tuple[int, str, list[bytes]]] = []

    def add(self, project_id: str, rows: Sequence[bytes]) -> Sequence[EntryId]:
        """Add rows; returns what has to be settled until ClickHouse holds them, and all that came before them.

        Entries are settled in their order, so the newest stands for all. Without rows it may be one that waits already.
        """
        if rows:
            newest = self._entries[-1] if self._entries else None
            if newest is None or newest[1] != project_id or len(newest[2]) + len(rows) > _ENTRY_ROWS_MAX:
                self._newest = self._last_number = self._last_number + 1
                self._entries.append((self._newest, project_id, []))
            self._entries[-1][2].extend(rows)
        return (EntryId(str(self._newest)),) if self._newest else ()

    def write(self) -> int:
        """Insert the entries and return their size in bytes."""
        size = 0
        for seq, project_id, rows in self._entries:
            packed = b"".join(rows)
            size += len(packed)
            values = (seq, project_id, len(rows), COLUMN_COUNT, packed)
            self._connection.execute("INSERT INTO entries VALUES (?, ?, ?, ?, ?)", values)
        return size
