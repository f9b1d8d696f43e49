"""Lets a door cancel a call's work in the store, when nobody waits for the answer any more."""

import contextlib
import threading
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field

from millimetric_server.api.errors import AppError
from millimetric_server.store.faults import make_abandoned


@dataclass(slots=True, eq=False)
class Cancellation:
    """One call's: the door cancels, and what works for the call stops."""

    is_cancelled: bool = field(default=False, init=False)
    _why: AppError | None = field(default=None, init=False)
    _stops: list[Callable[[], None]] = field(default_factory=list, init=False)
    _lock: threading.Lock = field(default_factory=threading.Lock, init=False)

    @property
    def why(self) -> AppError:
        """What the call is answered, if anybody listens."""
        return self._why or make_abandoned()

    def cancel(self, why: AppError | None = None) -> None:
        """Stop what works for the call, now and later. Any thread may call it, and more than once."""
        with self._lock:
            if why is not None and not self.is_cancelled:
                self._why = why
            self.is_cancelled = True
            stops, self._stops = self._stops, []
        for stop in stops:
            stop()

    def watch(self, stop: Callable[[], None]) -> bool:
        """Have this function called when the call is cancelled; False, and nothing, if it was already."""
        with self._lock:
            if not self.is_cancelled:
                self._stops.append(stop)
            return not self.is_cancelled

    def unwatch(self, stop: Callable[[], None]) -> None:
        """Have it called no more."""
        with self._lock:
            if stop in self._stops:
                self._stops.remove(stop)

    @contextlib.contextmanager
    def watched_by(self, stop: Callable[[], None]) -> Iterator[None]:
        """Have this function called if the call is cancelled inside the `with` block, or was already."""
        if not self.watch(stop):
            stop()
        try:
            yield
        finally:
            self.unwatch(stop)
