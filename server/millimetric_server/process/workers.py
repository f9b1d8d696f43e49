"""The threads that the server can't do without, and the futures that they complete for callers."""

import logging
import threading
from collections.abc import Callable
from concurrent.futures import Future, InvalidStateError
from contextlib import suppress
from typing import Any, TypeVar

log = logging.getLogger(__name__)

Result = TypeVar("Result")


class WorkerDiedError(Exception):
    """A worker's thread ended by itself; the server can't continue and must be restarted."""


class StopWorkError(Exception):
    """A worker, and with it the server, must stop; the text tells the operator why."""


class Worker:
    """A thread that must keep running. If it dies anyway, that is logged and reported.

    `abandon` then fails the calls that wait for it. `on_death` is called last, with the worker's name.
    """

    def __init__(self, name: str, work: Callable[[], None], abandon: Callable[[], None]) -> None:
        self.name = name
        self.has_died = False
        self.reason = ""  # why it stopped by its own decision
        self.on_death: Callable[[str], None] = lambda _name: None
        self._work = work
        self._abandon = abandon
        self._thread = threading.Thread(target=self._run, name=name, daemon=True)

    @property
    def is_running(self) -> bool:
        """Whether the thread was started and has not ended."""
        return self._thread.is_alive()

    def start(self) -> None:
        """Begin the work."""
        self._thread.start()

    def join(self, timeout_s: float | None = None) -> None:
        """Wait for the end of the work, if it was ever begun."""
        if self._thread.ident is not None:
            self._thread.join(timeout_s)

    def _run(self) -> None:
        try:
            self._work()
        except StopWorkError as error:
            self.reason = str(error)
            log.critical("%s: the server ends: %s", self.name, error)
            self._end()
        except BaseException:
            log.critical("%s: the thread died; the server shuts down and must be restarted", self.name, exc_info=True)
            self._end()

    def _end(self) -> None:
        self.has_died = True
        try:
            self._abandon()
        except Exception:
            log.exception("%s: its waiting caller can't be notified", self.name)
        self.on_death(self.name)


def make_promise() -> "Future[Any]":
    """Make a future that only its worker can complete: callers can't cancel it."""
    promise: Future[Any] = Future()
    promise.set_running_or_notify_cancel()
    return promise


def complete(promise: "Future[Result]", result: Result) -> None:
    """Complete a caller's future. Whatever its caller did to it, this does not raise."""
    with suppress(InvalidStateError):
        promise.set_result(result)


def fail(promise: "Future[Any]", error: BaseException) -> None:
    """Fail a caller's future. Whatever its caller did to it, this does not raise."""
    with suppress(InvalidStateError):
        promise.set_exception(error)
