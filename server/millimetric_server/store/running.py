"""Waits for statements that ClickHouse is running, of any server."""

import time
from collections.abc import Mapping
from typing import TYPE_CHECKING

from millimetric_server.store.faults import StoreUnavailableError
from millimetric_server.store.statements import read_statement

if TYPE_CHECKING:
    from millimetric_server.store.clickhouse import ClickHouse

_INSERT_MAX_S = 60.0
_DELETION_MAX_S = 3600.0
_POLL_S = 0.05


def wait_for_inserts(store: "ClickHouse") -> None:
    """Wait until all inserts that run now have ended. Raises StoreUnavailableError."""
    _wait_for_end(store, "running.inserts", _INSERT_MAX_S, {})


def wait_for_deletions(store: "ClickHouse", table: str) -> None:
    """Wait until all deletions from the table that were asked for have ended. Raises StoreUnavailableError."""
    _wait_for_end(store, "running.deletions", _DELETION_MAX_S, {"table": table})


def _wait_for_end(store: "ClickHouse", statement: str, seconds: float, parameters: Mapping[str, str]) -> None:
    """Wait until everything that the statement lists now has ended; later arrivals do not matter."""
    give_up_at = time.monotonic() + seconds
    running = set(map(tuple, store.query(read_statement(statement), parameters)))
    while running:
        if time.monotonic() > give_up_at:
            raise StoreUnavailableError("a deletion from a roll-up, or an insert, is still running")
        time.sleep(_POLL_S)
        running &= set(map(tuple, store.query(read_statement(statement), parameters)))
