"""Dead letters: rows that ClickHouse refused, set aside in the journal until an operator retries them."""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from millimetric_server.journal.packed_rows import COLUMN_NAMES, UnreadableRowsError, unpack_rows


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
    is_marked: bool  # to be tried again

    def unpack(self) -> list[list[Any]]:
        """The rows; none if they can't be read."""
        try:
            return unpack_rows(self.rows, self.row_count, self.column_count)
        except UnreadableRowsError:
            return []

    def describe(self) -> list[dict[str, Any]]:
        """The rows by column; none if they can't be read."""
        return [dict(zip(COLUMN_NAMES, row, strict=False)) for row in self.unpack()]


@dataclass(frozen=True, slots=True)
class MarkedLetters:
    """Dead letters that are to be tried again: how many events, which letters, and what tells them if they come back.

    `known` are all dead letters that there were when these were marked.
    """

    events: int
    dead_letter_ids: frozenset[int]
    known: frozenset[int]
    digests: Mapping[bytes, int]
