"""Lets one server at a time change a shared database while nobody inserts: its schema, or parts of its roll-ups.

ClickHouse has no locks, but of several that make the same table only one succeeds. So the lock is a table,
schema_lock_<number>, and its comment names the holder. Every insert of a server checks in its own statement that there
is none (fence.py), so once the inserts that ran before have ended, there are no others. One that a crash left behind is
passed over by making the next number, which again only one can.
"""

import contextlib
import logging
import time
import uuid
from collections.abc import Iterator
from dataclasses import dataclass
from typing import TYPE_CHECKING

from millimetric_server.store.faults import INSERTS_LOCKED, InsertsLockedError, StoreUnavailableError
from millimetric_server.store.running import wait_for_inserts

if TYPE_CHECKING:
    from millimetric_server.store.clickhouse import ClickHouse

log = logging.getLogger(__name__)

SCHEMA, ROLLUPS = "millimetric-schema", "millimetric-rollups"  # what is changed: how a mark begins
_LOCKS = (
    "SELECT toUInt32(substring(name, 13)) AS number, comment FROM system.tables "
    "WHERE database = currentDatabase() AND match(name, '^schema_lock_[0-9]+$')"
)
NO_LOCK = f"(SELECT throwIf(count() > 0, '{INSERTS_LOCKED}') FROM ({_LOCKS})) = 0"  # SQL that fails its statement
# A holder almost always has a running statement. One that has had none for this long is gone.
_SILENCE_S = 10.0
_LOOK_EVERY_S = 0.05
_TABLE_EXISTS = 57


@dataclass(frozen=True, slots=True)
class InsertLock:
    """The lock while it is held. Statements under it carry `mark` as their log_comment."""

    store: "ClickHouse"
    number: int
    mark: str

    @property
    def condition(self) -> str:
        """SQL that is true while the lock is held, and fails its statement once another server took it over."""
        return f"(SELECT throwIf(argMax(comment, number) != '{self.mark}', '{INSERTS_LOCKED}') FROM ({_LOCKS})) = 0"

    def check(self) -> None:
        """Raise StoreUnavailableError if another server took the lock over."""
        if _find_newest(self.store) != (self.number, self.mark):
            raise InsertsLockedError

    def release(self) -> None:
        """Drop the lock, and those that it passed over: the oldest first, so that there is one until the end.

        Whoever took it over meanwhile drops it, and its number may be another server's by now.
        """
        if _find_newest(self.store) != (self.number, self.mark):
            return
        for number in range(1, self.number + 1):
            self.store.command(f"DROP TABLE IF EXISTS schema_lock_{number} SYNC")


@contextlib.contextmanager
def hold_schema_lock(store: "ClickHouse") -> Iterator[InsertLock]:
    """Wait for the lock and for running inserts. Raises StoreUnavailableError.

    After a failure the lock stays, because the schema may be half migrated. The next server takes it over.
    """
    lock = _acquire(store, SCHEMA)
    wait_for_inserts(store)
    yield lock
    lock.release()


@contextlib.contextmanager
def hold_rollup_lock(store: "ClickHouse") -> Iterator[InsertLock]:
    """Wait for the lock and for running inserts; released in any case. Raises StoreUnavailableError.

    What is left half rebuilt is rebuilt by whoever began: the erasure, the block and the inspection are repeated.
    """
    lock = _acquire(store, ROLLUPS)
    try:
        wait_for_inserts(store)
        yield lock
    finally:
        lock.release()


def wait_until_unlocked(store: "ClickHouse") -> None:
    """Wait while roll-ups are rebuilt, and release the lock of a server that is gone.

    Raises StoreUnavailableError; InsertsLockedError at once if it is the schema that is locked: that takes long, and
    another version of this software may have to finish it.
    """
    for newest, is_abandoned in _watch(store):
        if newest is None:
            return
        number, mark = newest
        if mark.startswith(SCHEMA):
            raise InsertsLockedError
        if is_abandoned and (lock := _make(store, number + 1, ROLLUPS)) is not None:
            lock.release()
            return


def _acquire(store: "ClickHouse", purpose: str) -> InsertLock:
    for newest, is_abandoned in _watch(store):
        if purpose == ROLLUPS and newest is not None and newest[1].startswith(SCHEMA):
            raise InsertsLockedError
        if newest is None or is_abandoned:
            number = 1 if newest is None else newest[0] + 1
            if (lock := _make(store, number, purpose)) is not None:
                return lock
    raise AssertionError("the watch has no end")


def _watch(store: "ClickHouse") -> Iterator[tuple[tuple[int, str] | None, bool]]:
    """Look again and again who holds the lock, and whether that server seems to be gone."""
    silent_since = time.monotonic()
    seen: tuple[int, str] | None = None
    while True:
        newest = _find_newest(store)
        if newest != seen:
            seen, silent_since = newest, time.monotonic()
            if newest is not None:
                log.info("store: waiting for another server, which is changing the schema or roll-ups")
        if newest is not None and _is_working(store, newest[1]):
            silent_since = time.monotonic()
        yield newest, newest is not None and time.monotonic() - silent_since > _SILENCE_S
        time.sleep(_LOOK_EVERY_S)


def _find_newest(store: "ClickHouse") -> tuple[int, str] | None:
    found = store.query(f"{_LOCKS} ORDER BY number DESC LIMIT 1")
    return (int(found[0][0]), str(found[0][1])) if found else None


def _is_working(store: "ClickHouse", mark: str) -> bool:
    statement = "SELECT count() FROM system.processes WHERE Settings['log_comment'] = {mark:String}"
    return bool(store.query(statement, {"mark": mark})[0][0])


def _make(store: "ClickHouse", number: int, purpose: str) -> InsertLock | None:
    """Make the lock of this number; None if another server did."""
    lock = InsertLock(store, number, f"{purpose} {uuid.uuid4()}")
    try:
        store.command(f"CREATE TABLE schema_lock_{number} (nothing UInt8) ENGINE = Memory COMMENT '{lock.mark}'")
    except StoreUnavailableError as error:
        if getattr(error.__cause__, "code", None) == _TABLE_EXISTS:
            return None
        raise
    return lock
