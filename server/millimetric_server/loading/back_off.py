"""How the loader goes on after a turn that failed: again, after a pause that grows from turn to turn."""

from collections.abc import Callable

from tenacity import RetryCallState, Retrying, retry_if_exception, wait_random_exponential

from millimetric_server.process.workers import StopWorkError
from millimetric_server.store.deduplication import DeduplicationError
from millimetric_server.store.faults import StoreUnavailableError
from millimetric_server.store.migrations import SchemaError

PLANNED = (StoreUnavailableError, SchemaError, DeduplicationError)  # any other failure is a fault of ours
_FAULT_PAUSE_S = 5.0
_back_off = wait_random_exponential(multiplier=0.2, min=0.1, max=5)  # at random: servers may share a ClickHouse


def make_retrying(
    on_failure: Callable[[BaseException, int], None], is_closing: Callable[[], bool], pause: Callable[[float], None]
) -> Retrying:
    """Make what calls a turn until one succeeds or the loader closes.

    `on_failure` is told what ended a turn, and how many have failed in a row. StopWorkError is raised.
    """
    return Retrying(
        retry=retry_if_exception(_is_retried),
        after=lambda state: on_failure(_get_failure(state), state.attempt_number),
        wait=_choose_pause,
        stop=lambda _state: is_closing(),
        sleep=pause,
        retry_error_callback=lambda _state: None,
    )


def _is_retried(error: BaseException) -> bool:
    return isinstance(error, Exception) and not isinstance(error, StopWorkError)


def _choose_pause(state: RetryCallState) -> float:
    return _back_off(state) if isinstance(_get_failure(state), PLANNED) else _FAULT_PAUSE_S


def _get_failure(state: RetryCallState) -> BaseException:
    error = None if state.outcome is None else state.outcome.exception()
    assert error is not None  # noqa: S101 - these are asked of failed turns only
    return error
