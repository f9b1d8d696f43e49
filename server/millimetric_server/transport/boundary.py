"""The outermost layer of every door: guards, handler, log, metrics; nothing of an exception passes it but AppError."""

import asyncio
import logging
import time
from collections.abc import Callable, Generator
from concurrent.futures import Future
from dataclasses import dataclass
from typing import Any

import uuid_utils

from millimetric_server.call import Call, Deps
from millimetric_server.errors import AppError, Reason
from millimetric_server.guards import GUARDS
from millimetric_server.messages import Message
from millimetric_server.transport.metrics import count_request

log = logging.getLogger(__name__)


@dataclass(frozen=True, slots=True)
class Reply:
    """An encoded response, or the planned error that stands in its place."""

    body: bytes = b""
    error: AppError | None = None


def make_request_id() -> str:
    """An id that the answer and the log share."""
    return str(uuid_utils.uuid7())


def run(call: Call, deps: Deps, encode: Callable[[Message], bytes]) -> Generator["Future[Any]", Any, Reply]:
    """Carry out a call; yields each future that the door must wait for in its own way."""
    began = time.perf_counter()
    try:
        for guard in GUARDS:
            guard(call, deps)
        response = yield from call.rpc.handler(call, deps)
        reply = Reply(encode(response))
    except AppError as error:
        reply = Reply(error=error)
        failure = error.failure
        if log.isEnabledFor(failure.log_level):
            log.log(
                failure.log_level,
                "%s over %s: %s [%s]",
                call.rpc.name,
                call.door,
                error.reason,
                call.request_id,
            )
    except Exception:
        log.exception("%s over %s: a fault [%s]", call.rpc.name, call.door, call.request_id)
        reply = Reply(error=make_internal_error(call.request_id))
    reason = "ok" if reply.error is None else reply.error.reason.value
    count_request(call.rpc.name, call.door, reason, time.perf_counter() - began)
    return reply


def make_internal_error(request_id: str) -> AppError:
    """The only thing that a caller learns of a fault: the id under which the log tells it."""
    return AppError(
        Reason.INTERNAL_ERROR,
        "a fault of ours; the server's log knows it by request_id",
        request_id=request_id,
    )


def wait_blocking(steps: Generator["Future[Any]", Any, Reply]) -> Reply:
    """Carry out the steps in this thread."""
    try:
        waiting = next(steps)
        while True:
            try:
                result = waiting.result()
            except Exception as error:  # noqa: BLE001 - the steps decide what it means
                waiting = steps.throw(error)
            else:
                waiting = steps.send(result)
    except StopIteration as stop:
        reply: Reply = stop.value
        return reply


async def wait_async(steps: Generator["Future[Any]", Any, Reply]) -> Reply:
    """Carry out the steps on this event loop."""
    try:
        waiting = next(steps)
        while True:
            try:
                result = await asyncio.wrap_future(waiting)
            except Exception as error:  # noqa: BLE001 - the steps decide what it means
                waiting = steps.throw(error)
            else:
                waiting = steps.send(result)
    except StopIteration as stop:
        reply: Reply = stop.value
        return reply
