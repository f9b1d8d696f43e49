"""Callers that wait until ClickHouse holds their events."""

import threading
from collections.abc import Callable, Collection, Sequence
from concurrent.futures import Future
from dataclasses import dataclass, field

from millimetric_server.journal.blocks import Settled
from millimetric_server.journal.entries import EntryId
from millimetric_server.loading.errors import EventsRefusedError
from millimetric_server.process.workers import complete, fail, make_promise

_REFUSED_MAX = 10_000


@dataclass(slots=True, eq=False)
class _Wait:
    """A call's entries, and those of them that are not known to be settled."""

    entries: frozenset[EntryId]
    left: frozenset[EntryId]
    promise: "Future[None]" = field(default_factory=make_promise)


class StoredWaits:
    """A promise for each call, kept once all its entries are settled.

    Entries may be settled before their call comes to wait for them; `look` finds those.
    """

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self._waits: list[_Wait] = []
        self._refused: dict[EntryId, None] = {}  # the newest, oldest first

    def add(self, entries: Collection[EntryId]) -> "Future[None]":
        """Wait for these entries; the future fails with EventsRefusedError when a row of them was refused."""
        wait = _Wait(frozenset(entries), frozenset(entries))
        with self._lock:
            self._waits.append(wait)
        return wait.promise

    def note_settled(self, settled: Settled) -> None:
        """Answer those whose last entries are settled now."""
        with self._lock:
            self._refused.update(dict.fromkeys(settled.refused))
            while len(self._refused) > _REFUSED_MAX:
                del self._refused[next(iter(self._refused))]
            for wait in self._waits:
                wait.left -= settled.entries
            done = self._take([wait for wait in self._waits if not wait.left])
        self._answer(done)

    def look(self, are_settled: Callable[[Collection[EntryId]], bool]) -> None:
        """Answer those whose entries were settled by now, whenever that was."""
        with self._lock:
            waits = list(self._waits)
        settled = [wait for wait in waits if are_settled(wait.left)]
        with self._lock:
            done = self._take(settled)
        self._answer(done)

    def take_all(self) -> "list[Future[None]]":
        """Take all of them; the caller must answer them."""
        with self._lock:
            waits, self._waits = self._waits, []
        return [wait.promise for wait in waits]

    def _take(self, chosen: Sequence[_Wait]) -> list[_Wait]:
        """Take these out; returns those that still waited."""
        ids = set(map(id, chosen))
        taken = [wait for wait in self._waits if id(wait) in ids]
        self._waits = [wait for wait in self._waits if id(wait) not in ids]
        return taken

    def _answer(self, done: Sequence[_Wait]) -> None:
        for wait in done:
            if any(entry_id in self._refused for entry_id in wait.entries):
                fail(wait.promise, EventsRefusedError())
            else:
                complete(wait.promise, None)
