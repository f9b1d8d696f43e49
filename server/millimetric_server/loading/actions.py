"""Actions that others run in the loader's thread while no block is in flight."""

import threading
from collections import deque
from collections.abc import Callable
from concurrent.futures import Future
from typing import Any, TypeVar

from millimetric_server.loading.errors import EventsDelayedError
from millimetric_server.process.workers import complete, fail, make_promise

Result = TypeVar("Result")


class Actions:
    """Runs actions in their order, once each."""

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self._is_closed = False
        self._waiting: deque[tuple[Callable[[], Any], Future[Any]]] = deque()

    def add(self, action: Callable[[], Result]) -> "Future[Result]":
        """Queue an action; the future has its result, or what it raised, or EventsDelayedError at the end."""
        promise = make_promise()
        with self._lock:
            if not self._is_closed:
                self._waiting.append((action, promise))
                return promise
        fail(promise, EventsDelayedError())
        return promise

    def run(self) -> None:
        """Run what waits."""
        while self._waiting:
            action, promise = self._waiting.popleft()
            try:
                complete(promise, action())
            except Exception as error:  # noqa: BLE001 - the caller gets it
                fail(promise, error)

    def drop(self) -> None:
        """Run no more, now and later."""
        with self._lock:
            self._is_closed = True
            actions, self._waiting = self._waiting, deque()
        for _, promise in actions:
            fail(promise, EventsDelayedError())
