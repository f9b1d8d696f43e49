"""Room for large bodies: how many bytes of them are held at once, and how many are read at once.

Each project has a share of both, so that a busy one leaves room for the others.
"""

import asyncio
import contextlib
import threading
from collections import Counter
from collections.abc import AsyncIterator, Callable, Iterator
from concurrent.futures import Future, ThreadPoolExecutor
from dataclasses import dataclass, field
from typing import TypeVar

from millimetric_server.api.errors import AppError, Reason
from millimetric_server.api.pending import PendingCoroutine

Result = TypeVar("Result")
# What a coroutine did when it was begun: the function returns the future that it waits for, or ends as it ended.
FirstStep = Callable[[], "Future[object]"]

SMALL_BYTES = 64 * 1024  # of each body: these are not counted, and cost too little to be read in a thread
DEFAULT_BYTES = 256 * 1024 * 1024
_SHARES = 4
_THREADS, _THREADS_EACH = 4, 2
_RETRY_AFTER_S = 1.0
_TURN_TIMEOUT_S = 10.0


class BodyRoom:
    """Counts the bytes of large bodies, and lends the threads that unpack and decode them."""

    def __init__(self, bytes_max: int = DEFAULT_BYTES, body_bytes_max: int = 0) -> None:
        """Room for so many bytes, but in each share always for one body, packed and unpacked."""
        self._share = max(bytes_max // _SHARES, 2 * body_bytes_max)
        self._bytes_max = max(bytes_max, self._share)
        self._lock = threading.Lock()
        self._held: Counter[str] = Counter()
        self._total = 0
        self._pool = ThreadPoolExecutor(_THREADS, thread_name_prefix="body")
        self._turns = threading.BoundedSemaphore(_THREADS)
        self._waiting: dict[str, _Turns] = {}

    async def begin(self, owner: str, coroutine: PendingCoroutine[Result]) -> FirstStep:
        """Carry out a coroutine up to its first wait in a thread. If this task is cancelled, the coroutine ends too."""
        begun: Future[FirstStep] | None = None
        try:
            async with self._turn(owner):
                begun = self._pool.submit(_take_first, coroutine)
                return await asyncio.wrap_future(begun)
        except asyncio.CancelledError:
            if begun is None:
                coroutine.close()
            else:
                begun.add_done_callback(lambda _: coroutine.close())  # not before its thread has released it
            raise

    @contextlib.contextmanager
    def take_turn(self) -> Iterator[None]:
        """Wait in a thread of the caller's own until few others read a large body. Raises AppError overloaded."""
        if not self._turns.acquire(timeout=_TURN_TIMEOUT_S):
            raise _make_overloaded()
        try:
            yield
        finally:
            self._turns.release()

    def grow(self, owner: str, size: int) -> None:
        """Count more bytes. Raises AppError overloaded when there is no room for them."""
        with self._lock:
            if self._total + size > self._bytes_max or self._held[owner] + size > self._share:
                raise _make_overloaded()
            self._held[owner] += size
            self._total += size

    def shrink(self, owner: str, size: int) -> None:
        """Count bytes no more."""
        with self._lock:
            self._held[owner] -= size
            self._total -= size
            if not self._held[owner]:
                del self._held[owner]

    def close(self) -> None:
        """End the threads; what they are at is finished."""
        self._pool.shutdown()

    @contextlib.asynccontextmanager
    async def _turn(self, owner: str) -> AsyncIterator[None]:
        """One project gets half of the threads. Only the event loop's thread comes here."""
        turns = self._waiting.setdefault(owner, _Turns())
        turns.users += 1
        try:
            async with turns.free:
                yield
        finally:
            turns.users -= 1
            if not turns.users:
                self._waiting.pop(owner, None)


class _Turns:
    def __init__(self) -> None:
        self.free = asyncio.Semaphore(_THREADS_EACH)
        self.users = 0


@dataclass(slots=True, eq=False)
class Hold:
    """What is counted of one body of a project, until it is closed: all that it has grown by."""

    _room: BodyRoom
    _owner: str
    _free: int = field(default=SMALL_BYTES, init=False)
    _size: int = field(default=0, init=False)
    _is_closed: bool = field(default=False, init=False)
    _lock: threading.Lock = field(default_factory=threading.Lock, init=False)

    def grow(self, size: int) -> None:
        """Count more bytes; the first few are free. Raises AppError overloaded when there is no room for them.

        So it does when it is closed: a thread may still unpack the body of a call whose deadline has passed.
        """
        with self._lock:
            if self._is_closed:
                raise _make_overloaded()
            counted = size - self._free
            self._free = max(0, -counted)
            if counted > 0:
                self._room.grow(self._owner, counted)
                self._size += counted

    def close(self) -> None:
        """Count nothing of it any more."""
        with self._lock:
            self._is_closed = True
            if self._size:
                self._room.shrink(self._owner, self._size)
                self._size = 0


def _make_overloaded() -> AppError:
    message = "too many large bodies are being read: send smaller batches, or fewer at a time"
    return AppError(Reason.OVERLOADED, message, retry_after_s=_RETRY_AFTER_S)


def _take_first(coroutine: PendingCoroutine[Result]) -> FirstStep:
    try:
        waiting = coroutine.send(None)
    except StopIteration as stop:  # can't pass through a future
        value = stop.value

        def end() -> "Future[object]":
            raise StopIteration(value)

        return end
    return lambda: waiting
