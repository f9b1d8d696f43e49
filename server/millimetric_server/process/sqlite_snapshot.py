"""One state of a SQLite file, held and copied while others keep writing."""

import sqlite3
from collections.abc import Callable
from contextlib import closing
from pathlib import Path

_PAGES_A_STEP = 256


class SqliteSnapshot:
    """The state of a file as of now, until it is released. Its write-ahead log grows meanwhile."""

    def __init__(self, path: Path) -> None:
        # Opened by one thread, copied and closed by another.
        self._connection = sqlite3.connect(
            f"{path.absolute().as_uri()}?mode=ro", uri=True, timeout=5, isolation_level=None, check_same_thread=False
        )
        try:
            self._connection.execute("BEGIN")
            self._connection.execute("SELECT count(*) FROM sqlite_master").fetchone()
        except BaseException:
            self._connection.close()
            raise

    @property
    def bytes(self) -> int:
        """The size of the copy that `copy_to` makes."""
        return self._read_pragma("page_count") * self._read_pragma("page_size")

    def copy_to(self, target: Path, advance: Callable[[int], None]) -> None:
        """Copy into an empty file, in steps; `advance` gets the bytes of each and may raise to abort."""
        size, left = self._read_pragma("page_size"), None

        def progress(_status: int, remaining: int, pages: int) -> None:
            nonlocal left
            advance(((pages if left is None else left) - remaining) * size)
            left = remaining

        with closing(sqlite3.connect(target, isolation_level=None)) as copy:
            self._connection.backup(copy, pages=_PAGES_A_STEP, progress=progress, sleep=0)

    def release(self) -> None:
        """Let go of it."""
        self._connection.close()

    def _read_pragma(self, name: str) -> int:
        return int(self._connection.execute(f"PRAGMA {name}").fetchone()[0])
