"""Threads for gRPC calls with one request message: none waits for a message, or reads one before the key is checked.

grpcio's own way is to take a thread and wait in it for the message, so 40 calls that send none stop a server of 40
threads. This pool stands where grpcio expects a ThreadPoolExecutor, and starts the same steps in another order
(docs/adr/0014): who calls is checked first, then the message is asked for, and a thread is taken once it is there.
"""

# ruff: noqa: SLF001 - grpcio's own steps are what is put into another order
import logging
import threading
import time
from collections.abc import Callable
from concurrent.futures import Future, ThreadPoolExecutor
from dataclasses import dataclass
from functools import partial
from typing import Any, Protocol

import grpc
from grpc import _server
from grpc._cython import cygrpc  # type: ignore[attr-defined]

from millimetric_server.api.errors import AppError, Reason, Violation, invalid_payload
from millimetric_server.doors.boundary import make_internal_error, make_request_id
from millimetric_server.doors.grpc.call import make_trailers, read_request_name

log = logging.getLogger(__name__)

MESSAGE_TIMEOUT_S = 60.0  # an upload of 16 MiB over 3 Mbit/s takes 45
_LOOK_INTERVAL_S = 1.0
_RETRY_AFTER_S = 1.0


class Behaviour(Protocol):
    """What answers the calls of a method, as grpcio has it, and what this pool asks of it besides."""

    experimental_thread_pool: ThreadPoolExecutor

    def admit(self, context: grpc.ServicerContext) -> Any:
        """Look at who calls, before the message is asked for; what it returns comes with it. Raises AppError."""

    def __call__(self, request: Any, context: grpc.ServicerContext) -> Any:
        """Answer; the request is an Admitted."""

    def note_refusal(self, error: AppError) -> None:
        """Count a call that was admitted, or not even looked at, and refused without its message."""


@dataclass(frozen=True, slots=True)
class Admitted:
    """A request as behaviours get it: what their `admit` returned, and the message."""

    caller: Any
    message: bytes


@dataclass(slots=True, eq=False)
class _Call:
    """A call as grpcio hands it over: its step in a thread, and what that step takes."""

    run: Callable[..., None]  # within the call's context variables
    step: Callable[..., None]
    event: Any
    state: Any
    behaviour: Behaviour
    request_deserializer: None  # behaviours decode: their words are better than grpcio's
    response_serializer: Any
    caller: Any = None
    expires_at: float = 0.0  # by time.monotonic(), while its message is waited for


class CallPool(ThreadPoolExecutor):
    """Set it as `experimental_thread_pool` of behaviours that take one request message.

    At most `calls_max` calls are held, in work or waiting for a thread or their message. Beyond that the oldest that
    waits for its message is refused in favour of the new one, and without any the new one: overloaded.
    """

    def __init__(self, threads: int, calls_max: int, name: str) -> None:
        super().__init__(threads, thread_name_prefix=name)
        self._calls_max = calls_max
        self._lock = threading.RLock()  # held for an instant, and never while a call's condition is waited for
        self._held: set[_Call] = set()
        self._waiting: dict[_Call, None] = {}  # for their message, oldest first
        self._is_closing = threading.Event()
        threading.Thread(target=self._end_late_calls, name=f"{name}-messages", daemon=True).start()

    def set_threads(self, threads: int) -> None:
        """Let so many threads work from now on; those that there are stay, and new ones begin when they are needed."""
        with self._shutdown_lock:
            self._max_workers = threads
            if not self._work_queue.empty():
                self._adjust_thread_count()

    @property
    def is_busy(self) -> bool:
        """Whether a call is in work, or waits."""
        return bool(self._held)

    def submit(self, fn: Callable[..., Any], /, *args: Any, **_kwargs: Any) -> "Future[Any]":
        """Take a call from grpcio, whose condition is held meanwhile: its arguments are those of grpc._server 1.85."""
        step, event, state, behaviour, _wait_for_message, request_deserializer, response_serializer = args
        call = _Call(fn, step, event, state, behaviour, request_deserializer, response_serializer)
        with self._lock:
            late = next(iter(self._waiting), None) if len(self._held) >= self._calls_max else None
            is_taken = len(self._held) < self._calls_max or late is not None
            if late is not None:
                self._leave(late)
            if is_taken:
                self._held.add(call)
        if late is not None:
            super().submit(_refuse, late, _too_many())  # in a thread: two conditions are never held at once
        if is_taken:
            return super().submit(self._open, call)
        _refuse(call, _too_many())
        refused: Future[Any] = Future()
        refused.set_result(None)
        return refused

    def close(self) -> None:
        """Refuse the calls whose message has not arrived; running calls continue."""
        self._is_closing.set()
        with self._lock:
            waiting = list(self._waiting)
            for call in waiting:
                self._leave(call)
        for call in waiting:
            _refuse(call, AppError(Reason.OVERLOADED, "the server is shutting down", retry_after_s=_RETRY_AFTER_S))

    def _open(self, call: _Call) -> None:
        """Check who calls, then ask for the message; the thread is free meanwhile."""
        try:
            call.caller = call.behaviour.admit(_server._Context(call.event, call.state, None))
        except AppError as error:
            self._leave(call)
            _end(call, error)
        except Exception:
            request_id = make_request_id()
            log.exception("gRPC: internal error before a call's message [%s]", request_id)
            self._leave(call)
            _end(call, make_internal_error(request_id))
        else:
            self._ask_for_message(call)

    def _ask_for_message(self, call: _Call) -> None:
        state = call.state
        with state.condition:
            if not _server._is_rpc_state_active(state):
                self._leave(call)
                return
            with self._lock:
                call.expires_at = time.monotonic() + MESSAGE_TIMEOUT_S
                self._waiting[call] = None
            receive = _server._receive_message(state, call.event.call, call.request_deserializer)
            go_on = partial(self._go_on, call, receive)
            call.event.call.start_server_batch((cygrpc.ReceiveMessageOperation(0),), go_on)
            state.due.add(_server._RECEIVE_MESSAGE_TOKEN)
        if self._is_closing.is_set():
            self.close()

    def _go_on(self, call: _Call, receive: Callable[[Any], Any], event: Any) -> Any:
        """The message is there, or will not come. This is grpcio's one serving thread: nothing here may wait."""
        finished = receive(event)
        with self._lock:
            is_waiting = call in self._waiting
            self._waiting.pop(call, None)
        if not is_waiting:  # refused meanwhile
            return finished
        with call.state.condition:
            has_message = call.state.request is not None
            is_active = _server._is_rpc_state_active(call.state)
        if has_message and is_active:
            super().submit(self._work, call)
        elif is_active:
            self._leave(call)
            super().submit(_refuse, call, _no_message(), grpc.StatusCode.UNIMPLEMENTED)
        else:
            self._leave(call)
        return finished

    def _work(self, call: _Call) -> None:
        def take_message() -> Any:
            with call.state.condition:
                message, call.state.request = call.state.request, None
                if not _server._is_rpc_state_active(call.state):
                    return None  # its caller is gone: grpcio does nothing then
            return Admitted(call.caller, message)

        try:
            call.run(
                call.step,
                call.event,
                call.state,
                call.behaviour,
                take_message,
                call.request_deserializer,
                call.response_serializer,
            )
        finally:
            self._leave(call)

    def _end_late_calls(self) -> None:
        while not self._is_closing.wait(_LOOK_INTERVAL_S):
            now = time.monotonic()
            with self._lock:
                late = [call for call in self._waiting if call.expires_at <= now]
                for call in late:
                    self._leave(call)
            for call in late:
                message = f"no message came within {MESSAGE_TIMEOUT_S:g} s"
                _refuse(call, AppError(Reason.OVERLOADED, message, retry_after_s=_RETRY_AFTER_S))

    def _leave(self, call: _Call) -> None:
        with self._lock:
            self._held.discard(call)
            self._waiting.pop(call, None)


def _refuse(call: _Call, error: AppError, code: grpc.StatusCode | None = None) -> None:
    call.behaviour.note_refusal(error)
    _end(call, error, code)


def _end(call: _Call, error: AppError, code: grpc.StatusCode | None = None) -> None:
    """End a call outside of its behaviour, Trailers-Only."""
    state = call.state
    with state.condition:
        if not _server._is_rpc_state_active(state):
            return
        state.code = code or error.code
        name = read_request_name(_server._Context(call.event, state, None))
        state.trailing_metadata = (*name, *make_trailers(error, state.code))
        _server._abort(state, call.event.call, cygrpc.StatusCode.unknown, error.message.encode())


def _too_many() -> AppError:
    message = "too many calls are running or waiting: try again later"
    return AppError(Reason.OVERLOADED, message, retry_after_s=_RETRY_AFTER_S)


def _no_message() -> AppError:
    return invalid_payload((Violation("body", "exactly one request message is needed"),))
