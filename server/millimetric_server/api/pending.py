"""A future that a handler awaits, as `await Pending(future)`, whether a thread or an event loop runs the handler."""

from collections.abc import Coroutine, Generator
from concurrent.futures import Future
from dataclasses import dataclass
from typing import Generic, TypeVar

Result = TypeVar("Result")
# What an `async def` of ours is to its driver: it yields each future that it awaits, and is sent its result.
PendingCoroutine = Coroutine["Future[object]", object, Result]


@dataclass(slots=True, eq=False)
class Pending(Generic[Result]):
    """A future of a worker's thread that an `async def` awaits; its driver waits, by blocking or on an event loop."""

    _future: "Future[Result]"

    def __await__(self) -> Generator["Future[Result]", Result, Result]:
        """Hand the future to the driver; returns the result that it sends, or raises what it throws."""
        return (yield self._future)
