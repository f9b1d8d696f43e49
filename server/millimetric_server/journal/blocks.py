"""What the loader takes out of the journal at once, and what it tells the journal afterwards."""

from collections import Counter
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, field
from typing import Any, NamedTuple

from millimetric_server.journal.packed_rows import unpack_rows

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
