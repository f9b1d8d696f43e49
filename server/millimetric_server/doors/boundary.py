"""The outermost layer of every door: guards, handler, log, metrics. Callers see no exception but AppError."""

import asyncio
import contextlib
import logging
import re
import time
from collections.abc import Callable
from concurrent.futures import Future
from functools import partial
from typing import TypeVar

import uuid_utils
from grpc import StatusCode

from millimetric_server.api.call import Call, Streaming
from millimetric_server.api.errors import AppError, Reason
from millimetric_server.api.pending import Pending, PendingCoroutine
from millimetric_server.api.rpc import Checked, Deps, Piece, PieceReader, Request, Response, Rpc
from millimetric_server.doors.deps import DoorDeps
from millimetric_server.doors.failures import translate
from millimetric_server.doors.metrics import count_call
from millimetric_server.enrich.client_ip import client_ip
from millimetric_server.guards.caller import admit
from millimetric_server.guards.request import check_rate, choose_project
from millimetric_server.journal.owed import Owed
from millimetric_server.process.summed_log import SummedLog
from millimetric_server.shares.body_room import SMALL_BYTES, FirstStep

log = logging.getLogger(__name__)


Body = TypeVar("Body")
Result = TypeVar("Result")
_GROUP_MAX = 500
REQUEST_ID_HEADER = "x-request-id"
_REQUEST_ID = re.compile(r"[A-Za-z0-9._:/+=@-]{1,128}")
_OWN_FAULTS = (StatusCode.INVALID_ARGUMENT, StatusCode.UNAUTHENTICATED, StatusCode.PERMISSION_DENIED)
# Failures that any client can cause with every call.
_BAD_KEYS = SummedLog(log, logging.INFO, "calls without a valid key")
_REFUSALS = {level: SummedLog(log, level, "calls refused or failed") for level in (logging.INFO, logging.WARNING)}


def make_request_id(sent: str = "") -> str:
    """An id that the answer and the log share: what the caller sent, if that is safe in both; else a new one."""
    return sent if _REQUEST_ID.fullmatch(sent) else str(uuid_utils.uuid7())


async def run(
    call: Call,
    rpc: Rpc[Request, Checked, Response, Deps],
    decode: Callable[[], Request],
    encode: Callable[[Response], Body],
    deps: DoorDeps,
) -> Body | AppError:
    """Carry out a unary call, and count it. Each door drives it in its own way, as all that awaits a Pending."""
    began = time.perf_counter()
    answer = await carry_out(call, rpc, decode, encode, deps)
    count_call(call.rpc.name, call.door, answer if isinstance(answer, AppError) else None, began)
    return answer


async def carry_out(
    call: Call,
    rpc: Rpc[Request, Checked, Response, Deps],
    decode: Callable[[], Request],
    encode: Callable[[Response], Body],
    deps: DoorDeps,
) -> Body | AppError:
    """Carry out a call, or a group of a stream; returns what is answered, or the planned error in its place."""
    try:
        # Again if keys, projects or origins have changed: a key that is revoked while a body comes in is refused, and
        # so is the next group of its stream.
        if call.admitted_revision is None or call.admitted_revision is not deps.guards.directory.revision:
            await admit(call, deps.guards)
        request = decode()  # not before: the body of a stranger is not looked at
        await choose_project(call, request, deps.guards)
        with Owed(deps.ledger, call.project.project_id, rpc.count(request), partial(_explain, call)) as call.owed:
            checked = rpc.check(request, call)  # before the rate limit: a bad call costs its sender no token
            check_rate(call, deps.guards)  # last: from here on the call costs us something
            response = await rpc.handler(call, checked, rpc.deps)
        return encode(response)
    except Exception as failure:  # noqa: BLE001 - it is logged
        return charge_refusal(call, note_failure(call, failure), deps)


def _explain(call: Call, failure: Exception) -> str | None:
    """The reason for which the ledger knows a failed call's events; None where the call is tried again."""
    error = translate(failure)
    if not isinstance(error, AppError):
        return Reason.INTERNAL_ERROR.value
    return None if is_backpressure(call, error) else error.reason.value


async def read_piece(call: Call, reader: PieceReader, deps: DoorDeps) -> Piece | AppError | None:
    """Read the next piece of an answer in many; nothing, or an empty one, at its end."""
    try:
        while not (piece := reader.take()):
            if call.cancellation.is_cancelled and not call.rpc.is_endless:
                raise call.cancellation.why  # noqa: TRY301 - told like any other
            if (waiting := reader.read_on()) is None:
                break
            await Pending(waiting)
        if call.admitted_revision is not deps.guards.directory.revision:  # the key may have been revoked meanwhile
            await admit(call, deps.guards)
    except Exception as failure:  # noqa: BLE001 - it is logged
        return note_failure(call, failure)
    return piece


def note_failure(call: Call, failure: Exception) -> AppError:
    """Log why a call failed; returns the error for its caller."""
    failure = translate(failure)
    if not isinstance(failure, AppError):
        log.error("%s over %s: internal error [%s]", call.rpc.name, call.door, call.request_id, exc_info=failure)
        return make_internal_error(call.request_id)
    level = failure.failure.log_level
    if failure.failure.code is StatusCode.UNAUTHENTICATED:
        summed = _BAD_KEYS
    elif (summed_at := _REFUSALS.get(level)) is not None:
        summed = summed_at
    else:
        if log.isEnabledFor(level):
            log.log(level, "%s", _describe(call, failure))
        return failure
    summed.note(failure.reason.value, lambda: _describe(call, failure))
    return failure


def _describe(call: Call, failure: AppError) -> str:
    return f"{call.rpc.name} over {call.door}: {failure.reason} [{call.request_id}]"


def flush_log() -> None:
    """Write pending log summaries when the server ends."""
    for summed in (_BAD_KEYS, *_REFUSALS.values()):
        summed.flush()


def charge_refusal(call: Call, error: AppError, deps: DoorDeps) -> AppError:
    """Charge a refused call to its caller's bucket of refused calls; returns the error for its caller."""
    is_own_fault = error.failure.code in _OWN_FAULTS or error.reason is Reason.PAYLOAD_TOO_LARGE
    if not is_own_fault or call.rpc.streaming is Streaming.BIDI:  # a stream that waits for tokens would never get them
        return error
    prefix = call.key.prefix if hasattr(call, "key") else ""
    wait_s = deps.refusals.charge(prefix, find_address(call, deps), call.body_bytes)
    return make_refused_too_often(wait_s) if wait_s else error


def find_address(call: Call, deps: DoorDeps) -> str:
    """The caller's address, past trusted proxies."""
    return client_ip(call.peer, call.headers, deps.trusted_proxies)


def make_refused_too_often(wait_s: float) -> AppError:
    """Make the error for a caller whose calls are refused again and again."""
    message = "too many of your calls were refused; correct them, or try again later"
    return AppError(Reason.RATE_LIMITED, message, retry_after_s=wait_s)


async def refuse_early(call: Call, deps: DoorDeps) -> AppError | None:
    """Check who calls by the headers alone, before the body is read or unpacked; returns why the call is refused."""
    try:
        await wait_async(admit(call, deps.guards), call)
    except AppError as error:
        return refuse(call, charge_refusal(call, error, deps))
    length = call.headers.get("content-length", "")
    may_be_large = "content-encoding" in call.headers or not length.isdecimal() or int(length) > SMALL_BYTES
    if may_be_large and deps.refusals.is_exhausted(call.key.prefix, find_address(call, deps)):
        return refuse(call, make_refused_too_often(1.0))
    return None


def refuse(call: Call, error: AppError) -> AppError:
    """Log and count a call that is refused before it is carried out; returns the error for its caller."""
    count_call(call.rpc.name, call.door, error, time.perf_counter())
    return note_failure(call, error)


def is_backpressure(call: Call, error: AppError) -> bool:
    """Tell whether to retry a group of a stream after a wait: streams are slowed down, not refused."""
    return call.rpc.streaming is Streaming.BIDI and error.reason is Reason.RATE_LIMITED


def read_group_max(call: Call, deps: DoorDeps) -> int:
    """How many events of a stream may be carried out together: never more than its bucket can hold."""
    burst = deps.guards.limiter.read_burst(call.project, call.rpc.limit)
    return _GROUP_MAX if burst is None else min(_GROUP_MAX, burst)


def make_internal_error(request_id: str) -> AppError:
    """Make the only answer that a caller gets for an internal error: the id under which it is logged."""
    return AppError(
        Reason.INTERNAL_ERROR,
        "internal error; quote this request_id when you report it",
        request_id=request_id,
    )


def wait_blocking(coroutine: PendingCoroutine[Result]) -> Result:
    """Carry out a coroutine in this thread."""
    try:
        waiting = coroutine.send(None)
        while True:
            try:
                result = waiting.result()
            except Exception as error:  # noqa: BLE001 - the coroutine decides what it means
                waiting = coroutine.throw(error)
            else:
                waiting = coroutine.send(result)
    except StopIteration as stop:
        answer: Result = stop.value
        return answer


async def wait_async(coroutine: PendingCoroutine[Result], call: Call, begun: FirstStep | None = None) -> Result:
    """Carry out a coroutine on this event loop, from its start or where it was `begun`; then close it.

    If the task is cancelled, so is the call.
    """
    try:
        waiting = coroutine.send(None) if begun is None else begun()
        while True:
            try:
                result = await _arrival(waiting)
            except Exception as error:  # noqa: BLE001 - the coroutine decides what it means
                waiting = coroutine.throw(error)
            else:
                waiting = coroutine.send(result)
    except StopIteration as stop:
        answer: Result = stop.value
        return answer
    except asyncio.CancelledError:
        call.cancellation.cancel()
        raise
    finally:
        coroutine.close()


async def _arrival(waiting: "Future[Result]") -> Result:
    """Wait for another thread's future without being able to cancel it.

    asyncio.wrap_future would pass this task's cancellation on to the future, and so to the thread that completes it
    for other callers too.
    """
    loop, arrived = asyncio.get_running_loop(), asyncio.Event()

    def tell(_: "Future[Result]") -> None:
        with contextlib.suppress(RuntimeError):  # the loop is closed: nobody waits any more
            loop.call_soon_threadsafe(arrived.set)

    waiting.add_done_callback(tell)
    await arrived.wait()
    return waiting.result()
