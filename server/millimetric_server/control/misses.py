"""What callers name and the directory lacks: each is worth one look into the control database, within a rate.

So a key works from the moment it was made, and a flood of unknown ones costs a bounded number of small reads.
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
    """What a look is for. Each kind has a rate of its own, so that one can't use up another's."""

    KEY = "key"
    PROJECT = "project"
    ORIGIN = "origin"


class Sought(NamedTuple):
    """Something that a caller named, and that the directory lacks."""

    kind: SoughtKind
    name: str


class LookRate(NamedTuple):
    """Looks a second, how many may come at once, and whether a name that was not there is remembered."""

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
    """Who waits for the next look. Callers that come before it begins share it; any thread may call any method."""

    def __init__(self, read_monotonic_s: Callable[[], float]) -> None:
        self._read_monotonic_s = read_monotonic_s
        self._lock = threading.Lock()
        self._buckets = {kind: _Bucket(rate, read_monotonic_s()) for kind, rate in _RATES.items()}
        self._remembered: dict[Sought, None] = {}
        self._waiting: dict[Sought, list[Future[None]]] = {}

    def ask(self, sought: Sought) -> "Future[None] | None":
        """Ask for a look; the future is done after it. None: it was looked for in vain, or too many ask."""
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
        """Take those for whom a look that begins now is meant."""
        with self._lock:
            taken, self._waiting = self._waiting, {}
            return taken

    def remember(self, names: Iterable[Sought]) -> None:
        """Remember that these were looked for; those that were found are not asked for again."""
        with self._lock:
            for sought in names:
                if self._buckets[sought.kind].rate.is_remembered:
                    self._remembered[sought] = None
            while len(self._remembered) > _REMEMBERED_MAX:
                del self._remembered[next(iter(self._remembered))]

    def forget(self) -> None:
        """Forget what was not there: the control plane has changed."""
        with self._lock:
            self._remembered.clear()


def answer(waiting: Iterable[Iterable["Future[None]"]]) -> None:
    """Let the callers go on, each in the way of its door. One that gave up is no fault."""
    for futures in waiting:
        for future in futures:
            with suppress(InvalidStateError):
                future.set_result(None)
