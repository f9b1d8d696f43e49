"""`millimetric serve` that notes what its event loop waits for: `python -m support.watched_server FOLDER serve …`.

Everything that can make a thread wait is watched by name, on any thread that runs an event loop: files, SQLite (every
statement of every connection), sockets that are opened, sleeping, locks that are waited for, results of other threads.
What is found is appended to FOLDER/waits, a JSON line each. Nothing is timed: a wait that was short today counts too.
"""

import asyncio
import json
import os
import sqlite3
import sys
import threading
import time
import traceback
from collections.abc import Callable
from concurrent.futures import Future
from pathlib import Path
from typing import Any

import uvloop

from millimetric_server.cli import main as run_command

# Audit events of Python that stand for a wait. Importing reads files, and so raises `open`.
_EVENTS = frozenset(
    {
        "open",
        "os.listdir",
        "os.scandir",
        "os.mkdir",
        "os.remove",
        "os.rename",
        "os.rmdir",
        "os.truncate",
        "os.link",
        "shutil.copyfile",
        "shutil.move",
        "shutil.rmtree",
        "tempfile.mkstemp",
        "tempfile.mkdtemp",
        "sqlite3.connect",
        "subprocess.Popen",
        "os.fork",
        "socket.connect",
        "socket.getaddrinfo",
        "socket.gethostbyname",
    }
)
_CALLS = ("stat", "lstat", "statvfs", "fstatvfs", "fsync", "fdatasync", "write", "pread", "pwrite")
_FRAMES_MAX = 12


class Watch:
    """Notes what waits on a thread that runs an event loop."""

    def __init__(self, notes: Path) -> None:
        self._notes = os.open(notes, os.O_WRONLY | os.O_CREAT | os.O_APPEND)
        self._write = os.write
        self._told: set[tuple[str, ...]] = set()
        self._is_noting = threading.local()

    def note(self, what: str) -> None:
        """Note a wait, if this is an event loop's thread; each place once."""
        if asyncio._get_running_loop() is None or getattr(self._is_noting, "now", False):
            return
        self._is_noting.now = True  # to look at the stack may read source files
        try:
            frames = traceback.extract_stack(sys._getframe(2), _FRAMES_MAX)
            places = tuple(f"{frame.filename}:{frame.lineno} {frame.name}" for frame in reversed(frames))
            if (what, *places) not in self._told:
                self._told.add((what, *places))
                self._write(self._notes, json.dumps({"what": what, "at": places}).encode() + b"\n")
        finally:
            self._is_noting.now = False

    def start(self) -> None:
        """Watch from now on, in every thread of this process."""
        sys.addaudithook(self._hear)
        self._watch_connections()
        for name in _CALLS:
            self._wrap(os, name, f"os.{name}", lambda *_: True)
        self._wrap(time, "sleep", "time.sleep", lambda *_: True)
        self._wrap(Future, "result", "Future.result", lambda future, *_: not future.done())
        self._wrap(Future, "exception", "Future.exception", lambda future, *_: not future.done())
        self._wrap(threading.Condition, "wait", "Condition.wait", _waits_on_condition)
        self._wrap(threading.Thread, "join", "Thread.join", lambda thread, *_: thread.is_alive())
        sys.stderr = _WatchedFile(sys.stderr, self)  # type: ignore[assignment]

    def _hear(self, event: str, values: tuple[Any, ...]) -> None:
        if event in _EVENTS and not (event == "open" and isinstance(values[0], int)):
            self.note(f"{event} {values[0]!r}" if values else event)

    def _watch_connections(self) -> None:
        connect = sqlite3.connect

        def watched(*values: Any, **named: Any) -> sqlite3.Connection:
            connection = connect(*values, **named)
            # It is called on the thread that runs a statement, before that begins.
            connection.set_trace_callback(lambda statement: self.note(f"sqlite3 {statement}"))
            return connection

        sqlite3.connect = sqlite3.dbapi2.connect = watched  # type: ignore[assignment]

    def _wrap(self, owner: Any, name: str, what: str, waits: Callable[..., bool]) -> None:
        original = getattr(owner, name)

        def watched(*values: Any, **named: Any) -> Any:
            if waits(*values):
                self.note(what)
            return original(*values, **named)

        setattr(owner, name, watched)


def _waits_on_condition(_condition: threading.Condition, timeout: float | None = None) -> bool:
    """Tell a wait from a look, and from the moment that a new thread needs to begin."""
    is_start = sys._getframe(3).f_code is threading.Thread.start.__code__
    return timeout != 0 and not is_start


class _WatchedFile:
    """A text file whose writes are noted."""

    def __init__(self, file: Any, watch: Watch) -> None:
        self._file = file
        self._watch = watch

    def write(self, text: str) -> int:
        self._watch.note("write to standard error")
        return int(self._file.write(text))

    def __getattr__(self, name: str) -> Any:
        return getattr(self._file, name)


async def _wait_in_every_way(folder: Path) -> None:
    """What a handler must not do; a test looks whether all of it is seen."""
    connection = sqlite3.connect(folder / "some.db")
    connection.execute("SELECT 1")
    (folder / "some.txt").write_text("")
    os.statvfs(folder)
    time.sleep(0)  # noqa: ASYNC251 - on purpose
    waiting: Future[None] = Future()
    threading.Timer(0.01, waiting.set_result, (None,)).start()
    waiting.result()
    sys.stderr.write("")


def main() -> None:
    """Run the command in the words behind the folder; without any, wait in every way that is watched."""
    folder, *words = sys.argv[1:]
    Watch(Path(folder) / "waits").start()
    if not words:
        uvloop.run(_wait_in_every_way(Path(folder)))
        return
    sys.argv = ["millimetric", *words]
    run_command()


if __name__ == "__main__":
    main()
