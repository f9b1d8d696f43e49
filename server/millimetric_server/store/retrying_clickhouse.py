"""A client for long work that must survive a broken connection."""

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
    """Retries a statement whose connection failed, for some seconds.

    If the answer is lost, the statement may have run, so use this for repeatable work only.
    """

    def _call(self, action: Any) -> Any:
        call = super()._call
        return call(action) if self.is_embedded else _RETRYING(call, action)
