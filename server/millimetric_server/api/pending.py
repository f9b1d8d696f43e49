"""A future that a handler awaits, as `await Pending(future)`, whether a thread or an event loop runs the handler."""

from collections.abc import Coroutine, Generator
from concurrent.futures import Future
from typing import Generic, TypeVar

Result = TypeVar("Result")
# What an `async def` of ours is to its driver: it yields each future that it awaits, and is sent its result.
PendingCoroutine = Coroutine["Future[object]", object, Result]


class Pending(Generic[Result]):
    """A future of a worker's thread that an `async def` awaits; its driver waits, by blocking or on an event loop."""

    __slots__ = ("_future",)

    def __init__(self, future: "Future[Result]") -> None:
        self._future = future

    def __await__(self) -> Generator["Future[Result]", Result, Result]:
        """Hand the future to the driver; returns the result that it sends, or raises what it throws."""
        return (yield self._future)
