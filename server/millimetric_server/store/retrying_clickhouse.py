"""A client for long work that must not end because one connection of many broke."""

from typing import Any

from tenacity import Retrying, retry_if_exception_type, stop_after_attempt, wait_exponential

from millimetric_server.store.clickhouse import ClickHouse
from millimetric_server.store.faults import StoreUnavailableError

_RETRYING = Retrying(
    retry=retry_if_exception_type(StoreUnavailableError),
    stop=stop_after_attempt(6),
    wait=wait_exponential(multiplier=0.2),
    reraise=True,
)


class RetryingClickHouse(ClickHouse):
    """Sends a statement that failed on its way to a server again, for some seconds.

    A lost answer does not tell whether the statement ran, so this is for work that may be done twice.
    """

    def _call(self, action: Any) -> Any:
        call = super()._call
        return call(action) if self.is_embedded else _RETRYING(call, action)
