"""Lets one server at a time migrate a shared database's schema, while nobody loads.

ClickHouse has no locks, but of several that make the same table only one succeeds. So the lock is a table,
schema_lock_<number>, and its comment names the holder. One that a crash left behind is passed over by making the next
number, which again only one can.
"""

import contextlib
import logging
import time
import uuid
from collections.abc import Iterator
from typing import TYPE_CHECKING

from millimetric_server.store.faults import StoreUnavailableError

if TYPE_CHECKING:
    from millimetric_server.store.clickhouse import ClickHouse

log = logging.getLogger(__name__)

LOCKS = "SELECT name FROM system.tables WHERE database = currentDatabase() AND startsWith(name, 'schema_lock_')"
_NEWEST = (
    "SELECT toUInt32(substring(name, 13)) AS number, comment FROM system.tables "
    "WHERE database = currentDatabase() AND match(name, '^schema_lock_[0-9]+$') ORDER BY number DESC LIMIT 1"
)
# A holder almost always has a running statement. One that has had none for this long is gone.
_SILENCE_S = 10.0
_LOOK_EVERY_S = 0.2
_TABLE_EXISTS = 57
_LOADING = (
    "SELECT count() FROM system.processes WHERE query_kind = 'Insert' AND current_database = currentDatabase() "
    "AND startsWith(Settings['log_comment'], 'millimetric ')"
)


class SchemaLock:
    """The lock while it is held. Statements under it carry `mark` as their log_comment."""

    def __init__(self, store: "ClickHouse", number: int, mark: str) -> None:
        self._store = store
        self._number = number
        self.mark = mark

    def check(self) -> None:
        """Raise StoreUnavailableError if another server took the lock over."""
        if _find_newest(self._store) != (self._number, self.mark):
            raise StoreUnavailableError("another server is migrating the schema now")

    def release(self) -> None:
        """Drop the lock, and those that it passed over: the oldest first, so that there is one until the end."""
        for number in range(1, self._number + 1):
            self._store.command(f"DROP TABLE IF EXISTS schema_lock_{number} SYNC")


@contextlib.contextmanager
def hold_schema_lock(store: "ClickHouse") -> Iterator[SchemaLock]:
    """Wait for the lock and for running inserts. Raises StoreUnavailableError.

    After a failure the lock stays, because the schema may be half migrated. The next server takes it over.
    """
    lock = _acquire(store)
    while store.query(_LOADING)[0][0]:
        time.sleep(_LOOK_EVERY_S)
    yield lock
    lock.release()


def _acquire(store: "ClickHouse") -> SchemaLock:
    mark = f"millimetric-schema {uuid.uuid4()}"
    silent_since = time.monotonic()
    seen: tuple[int, str] | None = None
    while True:
        newest = _find_newest(store)
        if newest != seen:
            seen, silent_since = newest, time.monotonic()
            if newest is not None:
                log.info("schema: another server is migrating it; waiting")
        if newest is not None and _is_working(store, newest[1]):
            silent_since = time.monotonic()
        if newest is None or time.monotonic() - silent_since > _SILENCE_S:
            number = 1 if newest is None else newest[0] + 1
            if _make(store, number, mark):
                return SchemaLock(store, number, mark)
        time.sleep(_LOOK_EVERY_S)


def _find_newest(store: "ClickHouse") -> tuple[int, str] | None:
    found = store.query(_NEWEST)
    return (int(found[0][0]), str(found[0][1])) if found else None


def _is_working(store: "ClickHouse", mark: str) -> bool:
    statement = "SELECT count() FROM system.processes WHERE Settings['log_comment'] = {mark:String}"
    return bool(store.query(statement, {"mark": mark})[0][0])


def _make(store: "ClickHouse", number: int, mark: str) -> bool:
    try:
        store.command(f"CREATE TABLE schema_lock_{number} (nothing UInt8) ENGINE = Memory COMMENT '{mark}'")
    except StoreUnavailableError as error:
        if getattr(error.__cause__, "code", None) == _TABLE_EXISTS:
            return False
        raise
    return True
