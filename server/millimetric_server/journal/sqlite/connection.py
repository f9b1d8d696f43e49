"""Opens the journal's SQLite file, for writing or read-only."""

import sqlite3
import threading
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any, TypeVar

Result = TypeVar("Result")
Row = tuple[Any, ...]

_WRITER_CACHE_KIB = 64 * 1024


def connect(path: Path) -> sqlite3.Connection:
    """Open the file so that a commit is on the disk when it returns, and readers never wait for the writer."""
    connection = sqlite3.connect(path, isolation_level=None, check_same_thread=False, cached_statements=64)
    connection.execute("PRAGMA busy_timeout = 5000")
    connection.execute("PRAGMA journal_mode = WAL")
    connection.execute("PRAGMA synchronous = FULL")
    return connection


def connect_writer(path: Path) -> sqlite3.Connection:
    """Open the file for what looks ids up all over the index; a reader does well with SQLite's own cache of 2 MB."""
    connection = connect(path)
    connection.execute(f"PRAGMA cache_size = -{_WRITER_CACHE_KIB}")
    return connection


def connect_read_only(path: Path) -> sqlite3.Connection:
    """Open the file to look into it, also beside a running server."""
    return sqlite3.connect(f"{path.absolute().as_uri()}?mode=ro", uri=True, timeout=5, isolation_level=None)


class Reader:
    """Reads what is committed, beside the writer, in the calling thread: for workers. Callers take Lookups."""

    def __init__(self, path: Path) -> None:
        self._connection = connect(path)
        self._lock = threading.Lock()

    def fetch(self, statement: str, parameters: Sequence[object] = ()) -> list[Row]:
        """Run one statement and return its rows."""
        with self._lock:
            return self._connection.execute(statement, parameters).fetchall()

    def load(self, load: Callable[[sqlite3.Connection], Result]) -> Result:
        """Run a read of one statement or several."""
        with self._lock:
            return load(self._connection)

    def close(self) -> None:
        """Close the connection."""
        self._connection.close()
