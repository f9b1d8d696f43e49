"""Blocks: the rows that the loader reads from the journal at once, and the outcome that it reports afterwards."""

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from typing import NamedTuple

from millimetric_server.journal.entries import Entry, EntryId


@dataclass(frozen=True, slots=True)
class Leadership:
    """The right to load. Each taking of it is an epoch of its own."""

    name: str
    epoch: str


@dataclass(frozen=True, slots=True)
class Block:
    """Entries to load together. Members, order and token are always the same, also after a crash."""

    token: str
    entries: Sequence[Entry]
    was_sent: bool = False  # whether some of it may be in ClickHouse: it was taken before, and not settled
    has_more: bool = False  # whether entries waited behind it when it was taken

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


class BlockSlice(NamedTuple):
    """Rows of a block that are sent together: the whole block, or a half of a slice that was refused."""

    first_row: int
    row_count: int

    @property
    def numbers(self) -> range:
        """The numbers of its rows within the block."""
        return range(self.first_row, self.first_row + self.row_count)

    def split(self) -> "tuple[BlockSlice, BlockSlice]":
        """The two halves, always the same for the same slice."""
        half = self.row_count // 2
        return BlockSlice(self.first_row, half), BlockSlice(self.first_row + half, self.row_count - half)


Refusals = dict[BlockSlice, tuple[str, str]]  # the refused slices of a block, with reason and message


@dataclass(frozen=True, slots=True)
class RefusedRows:
    """Rows of an entry that ClickHouse refused, and why: its name for the reason, and its whole message."""

    entry_id: EntryId
    project_id: str
    row_count: int
    column_count: int
    rows: bytes
    reason: str
    message: str


@dataclass(frozen=True, slots=True)
class Settlement:
    """What became of a block's rows: stored or of forgotten people, by project, and those that were refused."""

    stored: Mapping[str, int] = field(default_factory=dict)
    forgotten: Mapping[str, int] = field(default_factory=dict)
    refused: Sequence[RefusedRows] = ()


@dataclass(frozen=True, slots=True)
class Settled:
    """Entries that were settled together, and those of them of which ClickHouse refused a row."""

    entries: frozenset[EntryId]
    refused: frozenset[EntryId]
