"""Entries: how rows get into them, what the loader takes out at once, and what it tells the journal afterwards."""

from collections import Counter
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, field
from sqlite3 import Connection
from typing import Any, NamedTuple

from millimetric_server.journal.packed_rows import COLUMN_COUNT, unpack_rows

_ENTRY_ROWS_MAX = 1000
Read = Callable[[str, Sequence[Any]], list[tuple[Any, ...]]]


@dataclass(frozen=True, slots=True)
class RefusedRows:
    """Rows that ClickHouse refused, and why: its name for the reason, and its whole message."""

    project_id: str
    row_count: int
    column_count: int
    rows: bytes
    reason: str
    message: str


@dataclass(frozen=True, slots=True)
class Entry:
    """Rows of one project, packed."""

    seq: int
    project_id: str
    row_count: int
    column_count: int
    rows: bytes

    def unpack(self) -> list[list[Any]]:
        """Unpack the rows. Raises UnreadableRowsError."""
        return unpack_rows(self.rows, self.row_count, self.column_count)

    def refuse(self, reason: str, message: str) -> RefusedRows:
        """All its rows as refused ones."""
        return RefusedRows(self.project_id, self.row_count, self.column_count, self.rows, reason, message)


@dataclass(frozen=True, slots=True)
class Block:
    """Entries to load together: always the same for the same journal position, also after a crash."""

    token: str
    entries: Sequence[Entry]
    was_sent: bool = False  # whether some of it may be in ClickHouse: an earlier run was cut short
    has_more: bool = False  # whether entries wait behind it already

    @property
    def last_seq(self) -> int:
        """The number of its last entry."""
        return self.entries[-1].seq

    @property
    def column_count(self) -> int:
        """How many fields each of its rows has."""
        return self.entries[0].column_count

    @property
    def row_count(self) -> int:
        """How many rows it has."""
        return sum(entry.row_count for entry in self.entries)

    @property
    def bytes(self) -> int:
        """Its size in the journal."""
        return sum(len(entry.rows) for entry in self.entries)

    def number_entries(self) -> Iterator[tuple[int, Entry]]:
        """Each entry with the number of its first row within the block."""
        number = 0
        for entry in self.entries:
            yield number, entry
            number += entry.row_count


class Piece(NamedTuple):
    """Rows of a block that are sent together: the whole block, or a half of a piece that was refused."""

    first_row: int
    row_count: int

    @property
    def numbers(self) -> range:
        """The numbers of its rows within the block."""
        return range(self.first_row, self.first_row + self.row_count)

    def split(self) -> "tuple[Piece, Piece]":
        """The two halves, always the same for the same piece."""
        half = self.row_count // 2
        return Piece(self.first_row, half), Piece(self.first_row + half, self.row_count - half)


Refusals = dict[Piece, tuple[str, str]]  # the refused pieces of the block in flight, with reason and message


@dataclass(slots=True)
class Settlement:
    """What became of a block's rows: stored or of forgotten people, by project, and those that were refused."""

    stored: Counter[str] = field(default_factory=Counter)
    forgotten: Counter[str] = field(default_factory=Counter)
    refused: list[RefusedRows] = field(default_factory=list)
    refused_seqs: set[int] = field(default_factory=set)  # the entries that they come from

    def set_aside(self, seq: int, refused: RefusedRows) -> None:
        """Settle rows of an entry as dead letters."""
        self.refused.append(refused)
        self.refused_seqs.add(seq)


class EntryWriter:
    """Rows of one commit on their way into entries: one for each run of calls of the same project."""

    def __init__(self, connection: Connection) -> None:
        self._connection = connection
        self._newest: int = connection.execute("SELECT coalesce(max(seq), 0) FROM entries").fetchone()[0]
        statement = "SELECT coalesce(max(seq), 0) FROM sqlite_sequence WHERE name = 'entries'"
        self._last_number: int = connection.execute(statement).fetchone()[0]
        self._entries: list[tuple[int, str, list[bytes]]] = []

    def add(self, project_id: str, rows: Sequence[bytes]) -> int:
        """Add rows; returns the number of the entry that will hold them. Without rows it is the newest that waits."""
        if rows:
            newest = self._entries[-1] if self._entries else None
            if newest is None or newest[1] != project_id or len(newest[2]) + len(rows) > _ENTRY_ROWS_MAX:
                self._newest = self._last_number = self._last_number + 1
                self._entries.append((self._newest, project_id, []))
            self._entries[-1][2].extend(rows)
        return self._newest

    def write(self) -> int:
        """Insert the entries and return their size in bytes."""
        size = 0
        for seq, project_id, rows in self._entries:
            packed = b"".join(rows)
            size += len(packed)
            values = (seq, project_id, len(rows), COLUMN_COUNT, packed)
            self._connection.execute("INSERT INTO entries VALUES (?, ?, ?, ?, ?)", values)
        return size


def find_block_end(read: Read, loaded: int, rows_max: int) -> int:
    """The last of the entries after `loaded` that fit into a block; at least one. All have as many fields a row."""
    last, rows, columns = loaded, 0, 0
    for seq, row_count, column_count in read(
        "SELECT seq, row_count, column_count FROM entries WHERE seq > ? ORDER BY seq LIMIT ?", (loaded, rows_max)
    ):
        if rows and (rows + row_count > rows_max or column_count != columns):
            break
        last, rows, columns = seq, rows + row_count, column_count
    return last
