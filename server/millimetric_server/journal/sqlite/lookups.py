"""Callers' lookups in the journal, on a thread and a connection of their own, so that they never wait for the loader.

An event loop must not wait for a disk. SQLite's readers of a write-ahead log do not wait for each other, but they would
if they shared a connection.
"""

from collections.abc import Callable
from concurrent.futures import Future, ThreadPoolExecutor
from pathlib import Path
from sqlite3 import Connection
from typing import TypeVar

from millimetric_server.journal.sqlite.connection import connect

Result = TypeVar("Result")


class Lookups:
    """Short reads of one journal, one after the other."""

    def __init__(self, path: Path) -> None:
        self._connection = connect(path)
        self._thread = ThreadPoolExecutor(1, "journal-lookup")

    def submit(self, load: Callable[[Connection], Result]) -> "Future[Result]":
        """Run a read of what is committed; it has to find its rows by an index."""
        return self._thread.submit(load, self._connection)

    def close(self) -> None:
        """Finish what was asked, then close the connection."""
        self._thread.shutdown(wait=True)
        self._connection.close()
