"""Journal entries: the rows to append, the answers to them, and what waits for the loader."""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any, NewType

from millimetric_server.enrich.event_row import EventRow
from millimetric_server.journal.packed_rows import unpack_rows

EntryId = NewType("EntryId", str)
"""Names an entry and says nothing else: neither when it came nor what stands before it."""


@dataclass(frozen=True, slots=True)
class NewEvent:
    """A row to append, and a digest of what the caller sent (empty when the server made the event_id).

    `is_public`: it came under a public key.
    """

    row: EventRow
    content: bytes = b""
    is_public: bool = False


@dataclass(frozen=True, slots=True)
class FirstAnswer:
    """What is answered for a repeated event_id, and when the first event was received (microseconds since 1970 UTC).

    The ids are those of the first event; under a public key those that the repeating call brought or would have got,
    since anyone can guess an event_id.
    """

    anonymous_id: str
    session_id: str
    received_at: int


@dataclass(frozen=True, slots=True)
class Appended:
    """What became of the appended events, in their order: None is stored, otherwise what a duplicate is answered.

    Once all of `entries` are settled, ClickHouse has every one of the events, new or repeated, or has refused it.
    """

    entries: Sequence[EntryId]
    firsts: Sequence[FirstAnswer | None]


@dataclass(frozen=True, slots=True)
class Entry:
    """Rows of one project, packed."""

    entry_id: EntryId
    project_id: str
    row_count: int
    column_count: int
    rows: bytes

    def unpack(self) -> list[list[Any]]:
        """Unpack the rows. Raises UnreadableRowsError."""
        return unpack_rows(self.rows, self.row_count, self.column_count)


@dataclass(frozen=True, slots=True)
class Backlog:
    """What waits for the loader."""

    entries: int
    rows: int
    bytes: int
