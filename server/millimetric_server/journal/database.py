"""The journal's SQLite file: opened for durability, written by one thread that groups what waits into one commit."""

import contextlib
import logging
import queue
import sqlite3
import threading
from collections.abc import Callable, Iterator
from concurrent.futures import Future
from dataclasses import dataclass
from importlib import resources
from pathlib import Path
from typing import Any, TypeVar

from millimetric_server.errors import AppError, Reason

log = logging.getLogger(__name__)

Result = TypeVar("Result")
_SCHEMA_VERSION = 1
_GROUP_MAX = 256
_RETRY_AFTER_S = 1.0


class JournalError(Exception):
    """The journal can't be opened; the message says what to do."""


def connect(path: Path) -> sqlite3.Connection:
    """Open the file so that a commit is on the disk when it returns, and readers never wait for the writer."""
    connection = sqlite3.connect(path, isolation_level=None, check_same_thread=False, cached_statements=64)
    connection.execute("PRAGMA busy_timeout = 5000")
    connection.execute("PRAGMA journal_mode = WAL")
    connection.execute("PRAGMA synchronous = FULL")
    connection.execute("PRAGMA cache_size = -65536")
    return connection


def create_schema(connection: sqlite3.Connection) -> None:
    """Make the tables if missing. Raises JournalError for a file of a newer server."""
    (version,) = connection.execute("PRAGMA user_version").fetchone()
    if version > _SCHEMA_VERSION:
        raise JournalError(
            f"the journal has version {version}, this server knows {_SCHEMA_VERSION}: run a newer millimetric"
        )
    connection.executescript(resources.files(__package__).joinpath("schema.sql").read_text())


@dataclass(slots=True)
class _Work:
    action: Callable[[sqlite3.Connection], Any]
    future: "Future[Any]"
    result: Any = None


class Writer:
    """The one thread that writes the journal.

    Work that arrives during a commit is done together in the next one; a lone piece of work waits for nothing.
    """

    def __init__(self, connection: sqlite3.Connection, on_rollback: Callable[[], None]) -> None:
        self._connection = connection
        self._on_rollback = on_rollback
        self._waiting: queue.SimpleQueue[_Work | None] = queue.SimpleQueue()
        self._gate = threading.Lock()  # nothing is queued behind the end
        self._is_closed = False
        self.is_failing = False  # whether the last transaction was rolled back by the disk
        self._thread = threading.Thread(target=self._run, name="journal-writer", daemon=True)

    def start(self) -> None:
        """Begin to write."""
        self._thread.start()

    def close(self) -> None:
        """Finish what waits, then stop. Later work fails as overloaded."""
        with self._gate:
            if self._is_closed:
                return
            self._is_closed = True
            self._waiting.put(None)
        if self._thread.ident is not None:
            self._thread.join()

    def transact(self, action: Callable[[sqlite3.Connection], Result]) -> "Future[Result]":
        """Run the action in a transaction of the writer's thread.

        The future has the action's result once it is durable, or AppError overloaded, and then nothing was stored.
        """
        work = _Work(action, Future())
        with self._gate:
            if self._is_closed:
                work.future.set_exception(_overloaded("the server is shutting down"))
            else:
                self._waiting.put(work)
        return work.future

    def _run(self) -> None:
        while group := self._take_group():
            try:
                with _transaction(self._connection):
                    for work in group:
                        work.result = work.action(self._connection)
            except sqlite3.Error as error:
                log.error("journal: %d writes failed and were rolled back: %s", len(group), error)  # noqa: TRY400 - expected when a disk is full
                self.is_failing = True
                self._fail(group, _overloaded("the journal is not writable"))
            except Exception as error:
                log.exception("journal: a write failed and its group was rolled back")
                self._fail(group, error)
            else:
                self.is_failing = False
                for work in group:
                    work.future.set_result(work.result)

    def _take_group(self) -> list[_Work]:
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

    def _fail(self, group: list[_Work], error: Exception) -> None:
        with contextlib.suppress(sqlite3.Error):
            self._on_rollback()
        for work in group:
            work.future.set_exception(error)


@contextlib.contextmanager
def _transaction(connection: sqlite3.Connection) -> Iterator[None]:
    connection.execute("BEGIN IMMEDIATE")
    try:
        yield
        connection.execute("COMMIT")
    except BaseException:
        if connection.in_transaction:
            connection.execute("ROLLBACK")
        raise


def _overloaded(message: str) -> AppError:
    return AppError(Reason.OVERLOADED, message, retry_after_s=_RETRY_AFTER_S)
