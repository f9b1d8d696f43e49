"""The idempotency index: which event ids were stored in the window, and what was answered for them.

Ids of public and of secret keys are apart (docs/adr/0012): anyone can read a page's public key, and must neither
claim an id before the backend sends it nor learn what the backend stored under it.
"""

import functools
import hashlib
import re
from collections.abc import Iterator, Sequence
from itertools import chain
from sqlite3 import Connection
from typing import NamedTuple, TypeVar

from millimetric_server.enrich.event_row import EventRow
from millimetric_server.journal.conflicts import ConflictLog
from millimetric_server.journal.entries import FirstAnswer, NewEvent

Item = TypeVar("Item")
_UUID = re.compile(r"[0-9a-f]{8}-[0-9a-f]{4}-[0-9a-f]{4}-[0-9a-f]{4}-[0-9a-f]{12}")
# Rows per statement. Few statements, because each releases and must re-acquire the GIL; few sizes,
# because SQLite prepares each text once.
_CHUNKS = (512, 64, 8, 1)
# The byte of a key that stands for a UUID and for another id, by who sent it. Journals before version 3 did not tell.
_SHARED = b"u", b"h"
_SPACES = {False: (b"s", b"t"), True: (b"p", b"q")}  # by NewEvent.is_public


class _First(NamedTuple):
    """What the index has of an event_id."""

    content: bytes
    anonymous_id: str
    session_id: str
    received_at: int

    def answer(self, repeated: NewEvent) -> FirstAnswer:
        row = repeated.row
        if repeated.is_public:
            return FirstAnswer(row.anonymous_id, row.session_id, self.received_at)
        return FirstAnswer(self.anonymous_id, self.session_id, self.received_at)


class IdempotencyIndex:
    """The index in the journal's file; used by the journal's writer, in its transactions."""

    def __init__(self, window_us: int, shared_until: int = 0) -> None:
        """Take the window, and until when (microseconds since 1970 UTC) ids were entered without the kind of key."""
        self._window_us = window_us
        self._shared_until = shared_until
        self.conflicts = ConflictLog()

    def record(self, connection: Connection, events: Sequence[NewEvent]) -> list[FirstAnswer | None]:
        """Enter the ids that are new; return what is to be answered for those that are not, in order.

        The events are those of one commit, in the order of their receipt.
        """
        if not self._window_us:
            return [None] * len(events)
        keys = [_make_key(event.row, _SPACES[event.is_public]) for event in events]
        known = self._find(connection, keys, events)
        firsts: list[FirstAnswer | None] = []
        new = []
        for key, event in zip(keys, events, strict=True):
            row = event.row
            if (first := known.get(key)) is None:
                known[key] = _First(event.content, row.anonymous_id, row.session_id, row.received_at)
                new.append((key, row.received_at, event.content, row.anonymous_id, row.session_id))
                firsts.append(None)
            else:
                firsts.append(first.answer(event))
                if first.content and event.content and first.content != event.content:
                    self.conflicts.note(row.project_id)
        for chunk in _split(new):
            values = ", ".join(["(?, ?, ?, ?, ?)"] * len(chunk))
            connection.execute(f"INSERT OR REPLACE INTO seen VALUES {values}", list(chain.from_iterable(chunk)))
        return firsts

    def prune(self, connection: Connection, now_us: int, rows_max: int) -> int:
        """Drop ids older than the window, a bounded number at a time; return how many went."""
        self.conflicts.flush()
        statement = (
            "DELETE FROM seen WHERE rowid IN (SELECT rowid FROM seen ORDER BY rowid LIMIT ?) AND received_at < ?"
        )
        return connection.execute(statement, (rows_max, now_us - self._window_us)).rowcount

    def _find(self, connection: Connection, keys: list[bytes], events: Sequence[NewEvent]) -> dict[bytes, _First]:
        """Look up the ids that callers sent; those that the server made just now can't be known yet."""
        oldest = events[0].row.received_at - self._window_us
        sent = [(key, event) for key, event in zip(keys, events, strict=True) if event.content]
        known = _load_firsts(connection, [key for key, _ in sent], oldest)
        if oldest <= self._shared_until:  # some were entered before ids were apart: known to both kinds of key
            shared = {key: (_make_key(event.row, _SHARED), event.is_public) for key, event in sent}
            shared_firsts = _load_firsts(connection, [old for old, _ in shared.values()], oldest)
            for key, (old, is_public) in shared.items():
                if key not in known and (first := shared_firsts.get(old)) is not None:
                    known[key] = first._replace(received_at=0) if is_public else first  # it may be a backend's event
        return known


def _load_firsts(connection: Connection, keys: list[bytes], oldest: int) -> dict[bytes, _First]:
    known = {}
    for chunk in _split(keys):
        places = ", ".join("?" * len(chunk))
        statement = (
            "SELECT key, content, anonymous_id, session_id, received_at FROM seen "
            f"WHERE key IN ({places}) AND received_at >= ?"
        )
        for key, *first in connection.execute(statement, (*chunk, oldest)).fetchall():
            known[key] = _First(*first)
    return known


def _split(items: Sequence[Item]) -> Iterator[Sequence[Item]]:
    """Split into chunks of the sizes of `_CHUNKS`, the largest first."""
    start = 0
    for size in _CHUNKS:
        while len(items) - start >= size:
            yield items[start : start + size]
            start += size


def _make_key(row: EventRow, space: tuple[bytes, bytes]) -> bytes:
    """25 bytes: project, kind, id. UUIDs keep their order, so that those with a time in front stay together."""
    project, event_id = _hash_project(row.project_id), row.event_id
    of_uuid, of_text = space
    if _UUID.fullmatch(event_id):
        return project + of_uuid + bytes.fromhex(event_id.replace("-", ""))
    return project + of_text + hashlib.blake2b(event_id.encode("utf-8", "surrogatepass"), digest_size=16).digest()


@functools.lru_cache(4096)
def _hash_project(project_id: str) -> bytes:
    return hashlib.blake2b(project_id.encode(), digest_size=8).digest()
