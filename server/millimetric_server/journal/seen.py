"""The idempotency index: which event ids were stored in the window, and what was answered for them."""

import functools
import hashlib
import logging
import re
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from itertools import chain
from sqlite3 import Connection
from typing import TypeVar

from millimetric_server.enrich.event_row import EventRow

log = logging.getLogger(__name__)

Item = TypeVar("Item")
_UUID = re.compile(r"[0-9a-f]{8}-[0-9a-f]{4}-[0-9a-f]{4}-[0-9a-f]{4}-[0-9a-f]{12}")
# Rows a statement. Few statements, because each costs the writer's thread a turn with the interpreter; few sizes,
# because SQLite prepares each text once.
_CHUNKS = (512, 64, 8, 1)


@dataclass(frozen=True, slots=True)
class NewEvent:
    """A row to append, and a digest of what the caller sent (empty when the server made the event_id)."""

    row: EventRow
    content: bytes = b""


@dataclass(frozen=True, slots=True)
class FirstAnswer:
    """The ids under which an event was stored the first time."""

    anonymous_id: str
    session_id: str


class SeenIds:
    """The index in the journal's file; used by the journal's writer, in its transactions."""

    def __init__(self, window_us: int) -> None:
        self._window_us = window_us
        self.conflicts = 0

    def record(self, connection: Connection, events: Sequence[NewEvent]) -> list[FirstAnswer | None]:
        """Enter the ids that are new; return the first answers of those that are not, in order.

        The events are those of one commit, in the order of their receipt.
        """
        if not self._window_us:
            return [None] * len(events)
        keys = [_make_key(event.row.project_id, event.row.event_id) for event in events]
        known = self._find(connection, keys, events)
        firsts: list[FirstAnswer | None] = []
        new = []
        for key, event in zip(keys, events, strict=True):
            row = event.row
            if (seen := known.get(key)) is None:
                known[key] = event.content, FirstAnswer(row.anonymous_id, row.session_id)
                new.append((key, row.received_at, event.content, row.anonymous_id, row.session_id))
                firsts.append(None)
            else:
                firsts.append(seen[1])
                self._compare(seen[0], event)
        for chunk in _split(new):
            values = ", ".join(["(?, ?, ?, ?, ?)"] * len(chunk))
            connection.execute(f"INSERT OR REPLACE INTO seen VALUES {values}", list(chain.from_iterable(chunk)))
        return firsts

    def prune(self, connection: Connection, now_us: int, rows_max: int) -> int:
        """Drop ids older than the window, a bounded number at a time; return how many went."""
        statement = (
            "DELETE FROM seen WHERE rowid IN (SELECT rowid FROM seen ORDER BY rowid LIMIT ?) AND received_at < ?"
        )
        return connection.execute(statement, (rows_max, now_us - self._window_us)).rowcount

    def _find(
        self, connection: Connection, keys: list[bytes], events: Sequence[NewEvent]
    ) -> dict[bytes, tuple[bytes, FirstAnswer]]:
        """Look up the ids that callers sent; those that the server made just now can't be known yet."""
        wanted = [key for key, event in zip(keys, events, strict=True) if event.content]
        known = {}
        oldest = events[0].row.received_at - self._window_us
        for chunk in _split(wanted):
            places = ", ".join("?" * len(chunk))
            statement = (
                f"SELECT key, content, anonymous_id, session_id FROM seen WHERE key IN ({places}) AND received_at >= ?"
            )
            for key, content, anonymous_id, session_id in connection.execute(statement, (*chunk, oldest)).fetchall():
                known[key] = content, FirstAnswer(anonymous_id, session_id)
        return known

    def _compare(self, first_content: bytes, event: NewEvent) -> None:
        if first_content and event.content and first_content != event.content:
            self.conflicts += 1
            log.warning(
                "project %s: an event_id was sent again with other content; the first is kept", event.row.project_id
            )


def _split(items: Sequence[Item]) -> Iterator[Sequence[Item]]:
    """Split into chunks of the sizes of `_CHUNKS`, the largest first."""
    start = 0
    for size in _CHUNKS:
        while len(items) - start >= size:
            yield items[start : start + size]
            start += size


def _make_key(project_id: str, event_id: str) -> bytes:
    """25 bytes: project, kind, id. UUIDs keep their order, so that those with a time in front stay together."""
    project = _hash_project(project_id)
    if _UUID.fullmatch(event_id):
        return project + b"u" + bytes.fromhex(event_id.replace("-", ""))
    return project + b"h" + hashlib.blake2b(event_id.encode("utf-8", "surrogatepass"), digest_size=16).digest()


@functools.lru_cache(4096)
def _hash_project(project_id: str) -> bytes:
    return hashlib.blake2b(project_id.encode(), digest_size=8).digest()
