"""The one thread that writes the journal's file, and commits waiting calls together."""

import contextlib
import logging
import queue
import sqlite3
import threading
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import Future
from dataclasses import dataclass, field
from itertools import groupby
from typing import Any, Generic, Protocol, TypeVar

from millimetric_server.journal.errors import JournalError, JournalUnavailableError
from millimetric_server.process.workers import Worker, WorkerDiedError, complete, fail, make_promise

log = logging.getLogger(__name__)

Result = TypeVar("Result")
Item = TypeVar("Item")
_GROUP_MAX = 256
_RETRY_AFTER_S = 1.0
# What SQLite raises for the disk's sake. Any other error is one of a piece of work, and fails no other.
_DISK_ERRORS = (sqlite3.OperationalError, sqlite3.DatabaseError)


class Transactor(Protocol):
    """What changes the journal in transactions."""

    def transact(self, action: Callable[[sqlite3.Connection], Result]) -> "Future[Result]":
        """Run the action in a transaction; see WriterThread.transact."""


@dataclass(slots=True, eq=False)
class _Work(Generic[Item]):
    """Something to do in the next transaction: an action, or an item for the writer's `append_all`."""

    action: Callable[[sqlite3.Connection], Any] | None
    item: Item | None
    promise: "Future[Any]" = field(default_factory=make_promise)
    result: Any = None


class WriterThread(Generic[Item]):
    """The one thread that writes the journal.

    Work that arrives during a commit is done together in the next one; a lone piece of work waits for nothing. Items
    are handed to `append_all` together, since each statement costs the thread a turn with the interpreter.
    """

    def __init__(
        self,
        connection: sqlite3.Connection,
        append_all: Callable[[sqlite3.Connection, Sequence[Item]], Sequence[Any]],
        on_rollback: Callable[[], None],
    ) -> None:
        self._connection = connection
        self._append_all = append_all
        self._on_rollback = on_rollback
        self._waiting: queue.SimpleQueue[_Work[Item] | None] = queue.SimpleQueue()
        self._in_hand: list[_Work[Item]] = []
        self._gate = threading.Lock()  # nothing is queued behind the end
        self._is_closed = False
        self.is_failing = False  # whether the last transaction was rolled back by the disk
        self.worker = Worker("journal-writer", self._run, self._abandon)

    def start(self) -> None:
        """Begin to write."""
        self.worker.start()

    def close(self) -> None:
        """Finish what waits, then stop. Later work is refused."""
        with self._gate:
            if not self._is_closed:
                self._is_closed = True
                self._waiting.put(None)
        self.worker.join()

    def append(self, item: Item) -> "Future[Any]":
        """Append the item in a transaction of the writer's thread; the future is as that of `transact`."""
        return self._queue(_Work(None, item))

    def transact(self, action: Callable[[sqlite3.Connection], Result]) -> "Future[Result]":
        """Run the action in a transaction of the writer's thread.

        The future has the action's result once it is durable, or JournalUnavailableError, and then nothing was stored.
        """
        return self._queue(_Work(action, None))

    def _queue(self, work: _Work[Item]) -> "Future[Any]":
        with self._gate:
            if self._is_closed:
                fail(work.promise, JournalUnavailableError("the server is shutting down", _RETRY_AFTER_S))
            else:
                self._waiting.put(work)
        return work.promise

    def _run(self) -> None:
        while group := self._take_group():
            self._in_hand = group
            self._write(group)

    def _write(self, group: list[_Work[Item]]) -> None:
        """Commit the group together and answer it."""
        try:
            with _transaction(self._connection):
                self._carry_out(group)
        except Exception as error:  # noqa: BLE001 - the caller gets it
            self._recover(group, error)
            return
        self.is_failing = False
        for work in group:
            complete(work.promise, work.result)

    def _recover(self, group: list[_Work[Item]], error: Exception) -> None:
        """Go on after a rollback. A piece of work that can't be carried out fails alone; the disk fails all of it."""
        with contextlib.suppress(sqlite3.Error):
            self._on_rollback()
        if type(error) in _DISK_ERRORS:
            log.error("journal: %d writes failed and were rolled back: %s", len(group), error)
            self.is_failing = True
            error = JournalUnavailableError("the journal is not writable", _RETRY_AFTER_S)
        elif len(group) > 1:
            for work in group:
                self._write([work])
            return
        elif not isinstance(error, JournalError):
            log.error("journal: a write failed and was rolled back", exc_info=error)
        for work in group:
            fail(work.promise, error)

    def _abandon(self) -> None:
        """Answer everybody after the thread's death. Whether the work in hand is durable is not known."""
        with self._gate:
            self._is_closed = True
        for work in self._in_hand:
            fail(work.promise, WorkerDiedError("the journal's writer died"))
        with contextlib.suppress(queue.Empty):
            while True:
                if (queued := self._waiting.get_nowait()) is not None:
                    fail(queued.promise, JournalUnavailableError("the server is shutting down", _RETRY_AFTER_S))

    def _carry_out(self, group: list[_Work[Item]]) -> None:
        """Do the work in its order; items that follow upon each other are appended together."""
        for is_item, works in groupby(group, lambda work: work.action is None):
            if is_item:
                appends = list(works)
                results = self._append_all(self._connection, [work.item for work in appends])  # type: ignore[misc]
                for work, result in zip(appends, results, strict=True):
                    work.result = result
            else:
                for work in works:
                    work.result = work.action(self._connection)  # type: ignore[misc]

    def _take_group(self) -> list[_Work[Item]]:
        """Wait for work; return what waits, or nothing at the end."""
        first = self._waiting.get()
        if first is None:
            return []
        group = [first]
        while len(group) < _GROUP_MAX:
            try:
                work = self._waiting.get_nowait()
            except queue.Empty:
                break
            if work is None:
                self._waiting.put(None)  # the end is still to come, after this group
                break
            group.append(work)
        return group


@contextlib.contextmanager
def _transaction(connection: sqlite3.Connection) -> Iterator[None]:
    if connection.in_transaction:  # the disk refused even the last rollback
        connection.execute("ROLLBACK")
    connection.execute("BEGIN IMMEDIATE")
    try:
        yield
        commit(connection)
    except BaseException:
        if connection.in_transaction:
            connection.execute("ROLLBACK")
        raise


def commit(connection: sqlite3.Connection) -> None:
    """Make the transaction durable. Whatever was answered lies before this point; a crash after it loses nothing."""
    connection.execute("COMMIT")
