"""A client for long work that must not end because one connection of many broke."""

import time
from typing import Any

from millimetric_server.store.clickhouse import ClickHouse
from millimetric_server.store.faults import StoreUnavailableError

_TRIES_MAX = 6
_FIRST_PAUSE_S = 0.2


class PatientClickHouse(ClickHouse):
    """Sends a statement that failed on its way to a server again, for some seconds.

    A lost answer does not tell whether the statement ran, so this is for work that may be done twice.
    """

    def _call(self, action: Any) -> Any:
        for failures in range(_TRIES_MAX - 1):
            try:
                return super()._call(action)
            except StoreUnavailableError:
                if self.is_embedded:
                    raise
                time.sleep(_FIRST_PAUSE_S * 2**failures)
        return super()._call(action)
