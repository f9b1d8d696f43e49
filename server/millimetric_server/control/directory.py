"""The control plane in memory, for the request path: reads are dict look-ups, without locks or I/O.

A thread of its own follows the store, so what another process changes is seen within about a second. What a caller
names and the directory lacks is looked for at once: see `look_again`.
"""

import logging
import threading
import time
from collections import defaultdict
from collections.abc import Callable, Iterator, Mapping
from concurrent.futures import Future
from contextlib import contextmanager, suppress
from typing import NamedTuple, Protocol

from millimetric_server.control.misses import Misses, Sought, answer
from millimetric_server.control.records import Key, Project, Revision, Snapshot

LOGGER = logging.getLogger(__name__)

_CLOSE_TIMEOUT_S = 5.0
_SILENCE_MAX_S = 10.0
_HANGING_S = 0.5


class SnapshotSource(Protocol):
    """The part of `ControlStore` that the directory follows."""

    def read_revision(self) -> Revision:
        """Read which state the control plane is in."""
        ...

    def read_snapshot(self) -> Snapshot:
        """Read the whole control plane, with the revision it had at that moment."""
        ...


class _View(NamedTuple):
    """A snapshot and what is derived from it: one object, so that it is swapped by one assignment."""

    revision: Revision | None
    projects: Mapping[str, Project]
    keys: Mapping[str, Key]
    projects_by_account: Mapping[str, tuple[Project, ...]]


class Directory:
    """Finds keys and projects. Empty until the first `refresh()` or `start()`.

    While the database is away the last snapshot stays in use. Any thread may call any method. `revision` names what was
    loaded last: whoever reads it before looking finds nothing older.
    """

    def __init__(
        self,
        store: SnapshotSource,
        poll_interval_s: float = 1.0,
        read_monotonic_s: Callable[[], float] = time.monotonic,
    ) -> None:
        """Follow `store`, asking for its revision every `poll_interval_s` seconds once started."""
        self._store = store
        self._poll_interval_s = poll_interval_s
        self._read_monotonic_s = read_monotonic_s
        self._view = _View(None, {}, {}, {})
        self.revision: Revision | None = None
        self._reload_lock = threading.Lock()
        self._checked_at_s = read_monotonic_s()
        self._stale_since_s: float | None = None
        self._misses = Misses(read_monotonic_s)
        self._looks = 0
        self._looking_since_s: float | None = None
        self._wake = threading.Event()
        self._closing = threading.Event()
        self._thread: threading.Thread | None = None

    def find_key(self, prefix: str) -> Key | None:
        """Find a key by its prefix; a revoked key is not found."""
        return self._view.keys.get(prefix)

    def find_project(self, project_id: str) -> Project | None:
        """Find a project by its id."""
        return self._view.projects.get(project_id)

    def projects_of_account(self, account_id: str) -> tuple[Project, ...]:
        """List the projects of an account, oldest first; none for an account that does not exist."""
        return self._view.projects_by_account.get(account_id, ())

    def look_again(self, sought: Sought) -> "Future[None] | None":
        """Ask the store for what the directory lacks; the future completes when the directory has it.

        None if that is pointless: it was looked up before and nothing has changed since, the rate of lookups is
        exceeded, the store is unreachable, or nothing follows it.
        """
        if self._thread is None or self._stale_since_s is not None or self._is_hanging():
            return None
        future = self._misses.ask(sought)
        if future is not None:
            self._wake.set()
        return future

    @property
    def looks(self) -> int:
        """The number of lookups in the store for what the directory lacked, since the start."""
        return self._looks

    @property
    def is_stale_since(self) -> float | None:
        """None while the store answers; else the monotonic second of its last answer.

        A store that neither answers nor fails counts as away after 10 s.
        """
        if self._stale_since_s is None and self._thread is not None:
            silent_s = self._read_monotonic_s() - self._checked_at_s
            return self._checked_at_s if silent_s > self._poll_interval_s + _SILENCE_MAX_S else None
        return self._stale_since_s

    def refresh(self) -> None:
        """Load the store's present state at once, as after a change made in this process.

        Raises:
            ControlUnavailableError: the database does not answer; the last snapshot stays.
        """
        with self._reload_lock, self._outage_noted():
            self._load()

    def refresh_if_changed(self) -> bool:
        """Load the store's state if its revision is another than the one in memory; tell whether it was.

        Raises:
            ControlUnavailableError: the database does not answer; the last snapshot stays.
        """
        with self._reload_lock, self._outage_noted():
            if self._store.read_revision() == self._view.revision:
                return False
            self._load()
            return True

    def start(self) -> None:
        """Load the snapshot, then follow the store until `close()`.

        Raises:
            ControlUnavailableError: the database does not answer; nothing is started.
        """
        self.refresh()
        self._closing = threading.Event()
        self._wake.clear()
        self._thread = threading.Thread(
            target=self._follow, args=(self._closing,), name="control-directory", daemon=True
        )
        self._thread.start()

    def close(self) -> None:
        """Stop following. What is in memory can still be read. The store is not closed."""
        self._closing.set()
        self._wake.set()
        if self._thread is not None:
            self._thread.join(_CLOSE_TIMEOUT_S)
            self._thread = None
        answer(self._misses.take().values())

    def _follow(self, closing: threading.Event) -> None:
        while True:
            self._wake.wait(self._poll_interval_s)
            if closing.is_set():
                return
            self._wake.clear()
            asked = self._misses.take()
            self._looks += bool(asked)
            self._looking_since_s = self._read_monotonic_s()
            # Of every kind: it is logged as an outage, and without this thread revoked keys would live on.
            with suppress(Exception):
                self.refresh_if_changed()
                self._misses.remember(asked)
            self._looking_since_s = None
            answer(asked.values())

    def _is_hanging(self) -> bool:
        """Tell whether the store is slow to answer lookups: then no caller should wait for one."""
        since_s = self._looking_since_s
        return since_s is not None and self._read_monotonic_s() - since_s > _HANGING_S

    def _load(self) -> None:
        # The lock is held from reading to swapping, or an older snapshot could replace a newer one.
        snapshot = self._store.read_snapshot()
        grouped: defaultdict[str, list[Project]] = defaultdict(list)
        for project in snapshot.projects.values():
            grouped[project.account_id].append(project)
        by_account = {account_id: tuple(projects) for account_id, projects in grouped.items()}
        self._view = _View(snapshot.revision, snapshot.projects, snapshot.keys, by_account)
        self.revision = snapshot.revision  # behind the view: who has seen this revision sees no older view
        self._misses.forget()

    @contextmanager
    def _outage_noted(self) -> Iterator[None]:
        try:
            yield
        except Exception as error:
            if self._stale_since_s is None:
                self._stale_since_s = self._checked_at_s
                LOGGER.warning("Control database unreachable; keys and projects stay as last read. %s", error)
            raise
        self._checked_at_s = self._read_monotonic_s()
        if self._stale_since_s is not None:
            LOGGER.info("Control database back after %.1f s.", self._checked_at_s - self._stale_since_s)
            self._stale_since_s = None
