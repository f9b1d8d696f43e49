"""Looks up what callers name and the directory lacks in the control database, once each and rate-limited.

So a new key works at once, and a flood of unknown keys costs a bounded number of small reads.
"""

import threading
from collections.abc import Callable, Iterable
from concurrent.futures import Future, InvalidStateError
from contextlib import suppress
from enum import Enum
from typing import NamedTuple

_REMEMBERED_MAX = 10_000
_WAITING_MAX = 64  # names, not calls


class SoughtKind(Enum):
    """What is looked up. Each kind has its own rate limit, so that one can't use up another's."""

    KEY = "key"
    PROJECT = "project"
    ORIGIN = "origin"


class Sought(NamedTuple):
    """Something that a caller named, and that the directory lacks."""

    kind: SoughtKind
    name: str


class LookRate(NamedTuple):
    """Lookups per second, the burst, and whether a name that was not found is remembered."""

    per_s: float
    burst: int
    is_remembered: bool


# Names of keys and projects are random: one that was not there is not made a moment later. An origin may be.
_RATES = {
    SoughtKind.KEY: LookRate(20, 20, is_remembered=True),
    SoughtKind.PROJECT: LookRate(5, 5, is_remembered=True),
    SoughtKind.ORIGIN: LookRate(5, 5, is_remembered=False),
}


class _Bucket:
    def __init__(self, rate: LookRate, now_s: float) -> None:
        self.rate = rate
        self._tokens = float(rate.burst)
        self._filled_at_s = now_s

    def take(self, now_s: float) -> bool:
        self._tokens = min(self.rate.burst, self._tokens + (now_s - self._filled_at_s) * self.rate.per_s)
        self._filled_at_s = now_s
        if self._tokens < 1:
            return False
        self._tokens -= 1
        return True


class Misses:
    """The callers of the next lookup. All that arrive before it starts share it. Any thread may call any method."""

    def __init__(self, read_monotonic_s: Callable[[], float]) -> None:
        self._read_monotonic_s = read_monotonic_s
        self._lock = threading.Lock()
        self._buckets = {kind: _Bucket(rate, read_monotonic_s()) for kind, rate in _RATES.items()}
        self._remembered: dict[Sought, None] = {}
        self._waiting: dict[Sought, list[Future[None]]] = {}

    def ask(self, sought: Sought) -> "Future[None] | None":
        """Request a lookup; the future completes after it. None if it was not found before, or too many callers ask."""
        with self._lock:
            if sought in self._remembered:
                return None
            if sought not in self._waiting:
                is_shared = 0 < len(self._waiting) < _WAITING_MAX
                if not is_shared and not self._buckets[sought.kind].take(self._read_monotonic_s()):
                    return None
            future: Future[None] = Future()
            self._waiting.setdefault(sought, []).append(future)
            return future

    def take(self) -> dict[Sought, list["Future[None]"]]:
        """Take the callers of the lookup that starts now."""
        with self._lock:
            taken, self._waiting = self._waiting, {}
            return taken

    def remember(self, names: Iterable[Sought]) -> None:
        """Remember which names were looked up and not found."""
        with self._lock:
            for sought in names:
                if self._buckets[sought.kind].rate.is_remembered:
                    self._remembered[sought] = None
            while len(self._remembered) > _REMEMBERED_MAX:
                del self._remembered[next(iter(self._remembered))]

    def forget(self) -> None:
        """Forget the names that were not found: the control plane has changed."""
        with self._lock:
            self._remembered.clear()


def answer(waiting: Iterable[Iterable["Future[None]"]]) -> None:
    """Complete the callers' futures; a caller may have given up."""
    for futures in waiting:
        for future in futures:
            with suppress(InvalidStateError):
                future.set_result(None)
