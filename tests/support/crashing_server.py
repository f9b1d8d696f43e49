"""`millimetric serve` that kills or pauses itself at a named point: `python -m support.crashing_server FOLDER serve …`.

Production code has no hooks for this: seams are replaced by name, and a name that is gone fails the start. A test arms
a point with a file in FOLDER, before the start or while it runs. Just before SIGKILL or SIGSTOP the file is renamed,
which disarms the next start and proves the hit.
"""

import random
import signal
import sys
import threading
import time
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from millimetric_server.backup import take
from millimetric_server.cli import main as run_command
from millimetric_server.journal.sqlite import writer_thread
from millimetric_server.journal.sqlite.blocks import Blocks
from millimetric_server.journal.sqlite.erasures import SqliteErasures
from millimetric_server.journal.sqlite.journal import SqliteJournal
from millimetric_server.store.clickhouse import ClickHouse
from millimetric_server.store.fence import PLACE
from millimetric_server.store.rollups import ROLLUPS, build_rollup_statement
from millimetric_server.store.statements import read_statement

INGESTION_POINTS = (
    "before-commit",  # nothing is durable yet, nobody is answered
    "after-commit",  # durable, and nobody is answered
    "before-load",  # answered, and the block is not marked as in flight
    "during-insert",  # some moment of the insert
    "after-insert",  # ClickHouse has the block, and the journal does not know it
)
ERASURE_POINTS = (
    "erasure-before-delete",  # the plan is kept, no row is gone
    "erasure-during-delete",
    "erasure-after-delete",  # the events are gone, the roll-ups still count them
    "erasure-between-rebuild-delete-and-insert",  # passes 1 to 3: days, pass 4: sessions
    "erasure-during-rebuild-insert",
    "erasure-before-done",  # all is carried out, and the journal does not know it
)
PAUSE_POINTS = (
    "before-load",
    "before-send",  # marked as in flight, and ClickHouse has nothing of it
)
BACKUP_POINTS = ("backup-during-copy",)  # the moment is fixed, and some files are copied
_USUAL_S = 0.01


@dataclass(frozen=True)
class Crash:
    """The folder by which a test and its server agree on a crash."""

    folder: Path

    def arm(self, point: str, passes: int = 1, number: signal.Signals = signal.SIGKILL) -> None:
        """Let the server die or pause at this pass of the point, counted from now or from its start."""
        if point not in INGESTION_POINTS + ERASURE_POINTS + PAUSE_POINTS + BACKUP_POINTS:
            raise ValueError(f"there is no point {point}")
        draft = self.folder / "draft"
        draft.write_text(f"{point} {passes} {int(number)}")
        draft.rename(self.armed)

    @property
    def armed(self) -> Path:
        return self.folder / "armed"

    @property
    def hit(self) -> Path:
        return self.folder / "hit"

    def take_hit(self) -> str:
        """The point at which the server has killed itself, or nothing; the next crash begins anew."""
        if not self.hit.exists():
            return ""
        point = self.hit.read_text().split()[0]
        self.hit.unlink()
        return point


class _Passes:
    """Counts the passes of the armed point in this process, and ends it."""

    def __init__(self, crash: Crash) -> None:
        self._crash = crash
        self._lock = threading.Lock()
        self._count = 0
        self._number = int(signal.SIGKILL)

    def die_if_due(self, point: str) -> None:
        """Die here if this is the pass."""
        if self._is_due(point):
            self._die()

    def die_soon_if_due(self, point: str, usual_s: float) -> None:
        """Die at a random moment of what comes next, which usually takes so long, if this is the pass."""
        if self._is_due(point):
            threading.Timer(random.uniform(0, usual_s), self._die).start()

    def _is_due(self, point: str) -> bool:
        with self._lock:
            try:
                armed, passes, number = self._crash.armed.read_text().split()
            except FileNotFoundError:
                self._count = 0
                return False
            if armed != point:
                return False
            self._count += 1
            self._number = int(number)
            return self._count == int(passes)

    def _die(self) -> None:
        self._crash.armed.rename(self._crash.hit)
        # To this thread: of a process that gets a signal, another thread may take it, and this one goes on until then.
        signal.pthread_kill(threading.get_ident(), self._number)
        if self._number == signal.SIGKILL:
            time.sleep(60)  # nothing after the kill


def replace_seams(crash: Crash) -> None:
    """Put the points in place. Raises AttributeError or FileNotFoundError where production code has changed."""
    passes = _Passes(crash)
    _watch_commits(passes)
    _watch_inserts(passes)
    _watch_commands(passes)
    _watch_entry(passes, Blocks, "_name", "before-load")
    _watch_entry(passes, SqliteErasures, "finish", "erasure-before-done")
    _watch_entry(passes, take, "copy_file", "backup-during-copy")


def _replace(owner: Any, name: str, make: Callable[[Callable[..., Any]], Callable[..., Any]]) -> None:
    setattr(owner, name, make(getattr(owner, name)))


def _watch_entry(passes: _Passes, owner: Any, name: str, point: str) -> None:
    def make(original: Callable[..., Any]) -> Callable[..., Any]:
        def watched(*values: Any, **named: Any) -> Any:
            passes.die_if_due(point)
            return original(*values, **named)

        return watched

    _replace(owner, name, make)


def _watch_commits(passes: _Passes) -> None:
    """Only commits with events count: the loader commits, too. All of it happens on the writer's thread."""
    appended: list[bool] = []

    def make_append(original: Callable[..., Any]) -> Callable[..., Any]:
        def append_all(*values: Any) -> Any:
            appended.append(True)
            return original(*values)

        return append_all

    def make_commit(original: Callable[..., Any]) -> Callable[..., Any]:
        def commit(connection: Any) -> None:
            has_events = bool(appended)
            appended.clear()
            if has_events:
                passes.die_if_due("before-commit")
            original(connection)
            if has_events:
                passes.die_if_due("after-commit")

        return commit

    _replace(SqliteJournal, "_append_all", make_append)
    _replace(writer_thread, "commit", make_commit)


def _watch_inserts(passes: _Passes) -> None:
    usual_s = _USUAL_S

    def make(original: Callable[..., Any]) -> Callable[..., Any]:
        def insert_block(store: ClickHouse, block: Any) -> None:
            nonlocal usual_s
            passes.die_if_due("before-send")
            passes.die_soon_if_due("during-insert", usual_s)
            began = time.monotonic()
            original(store, block)
            usual_s = time.monotonic() - began
            passes.die_if_due("after-insert")

        return insert_block

    _replace(ClickHouse, "insert_block", make)


def _watch_commands(passes: _Passes) -> None:
    deletion, _ = read_statement("forget.delete_events").split("%MATCH%")
    inserts = tuple(build_rollup_statement("rebuild.insert", rollup).partition(PLACE)[0] for rollup in ROLLUPS)

    def make(original: Callable[..., Any]) -> Callable[..., Any]:
        def command(store: ClickHouse, statement: str, *values: Any, **named: Any) -> None:
            is_deletion, is_insert = statement.startswith(deletion), statement.startswith(inserts)
            if is_deletion:
                passes.die_if_due("erasure-before-delete")
                passes.die_soon_if_due("erasure-during-delete", _USUAL_S)
            if is_insert:
                passes.die_if_due("erasure-between-rebuild-delete-and-insert")
                passes.die_soon_if_due("erasure-during-rebuild-insert", _USUAL_S)
            original(store, statement, *values, **named)
            if is_deletion:
                passes.die_if_due("erasure-after-delete")

        return command

    _replace(ClickHouse, "command", make)


def main() -> None:
    """Run the command in the words behind the folder."""
    folder, *words = sys.argv[1:]
    replace_seams(Crash(Path(folder)))
    sys.argv = ["millimetric", *words]
    run_command()


if __name__ == "__main__":
    main()
