"""Load that leaves room: callers that pause between their calls, beside whatever else a benchmark does meanwhile."""

import contextlib
import http.client
import math
import threading
import time
from array import array
from collections.abc import Callable, Iterator, Sequence
from typing import Self

import grpc
import msgspec

from bench.load import Target, find_quantile
from bench.stream import number_bodies

_TIMEOUT_S = 30
Send = Callable[[bytes], object]


class Caller(msgspec.Struct, frozen=True):
    """One caller, with one call under way at most. Two of them may share a target only if its bodies have no ids."""

    target: Target
    calls_a_second: float  # at most: a caller that is late does not catch up


class Answers(msgspec.Struct, frozen=True, kw_only=True):
    """What calls that began in some span of time came to."""

    calls: int  # those that were acknowledged
    errors: int
    first_error: str
    p50_ms: float
    p99_ms: float
    max_ms: float


class _RefusedError(Exception):
    """The server answered with a status of failure."""


class _Log:
    """What one caller saw. Arrays, because an hour makes a million calls."""

    def __init__(self, caller: Caller) -> None:
        self.caller = caller
        self.began_s = array("d")
        self.latencies_ms = array("d")
        self.errors: list[tuple[float, str]] = []


class PacedLoad:
    """Calls from threads of its own from entering the block until leaving it; every call that began is finished."""

    def __init__(self, callers: Sequence[Caller]) -> None:
        self._logs = [_Log(caller) for caller in callers]
        self._is_over = threading.Event()
        self._threads: list[threading.Thread] = []
        self._connections = contextlib.ExitStack()

    def __enter__(self) -> Self:
        sends = [self._connections.enter_context(_connect(log.caller.target)) for log in self._logs]
        for log, send in zip(self._logs, sends, strict=True):
            thread = threading.Thread(target=self._run, args=(log, send), daemon=True)
            self._threads.append(thread)
            thread.start()
        return self

    def __exit__(self, *_: object) -> None:
        self._is_over.set()
        for thread in self._threads:
            thread.join()
        self._connections.close()

    @property
    def acknowledged(self) -> int:
        """How many events were acknowledged so far."""
        return sum(len(log.latencies_ms) * log.caller.target.events_a_call for log in self._logs)

    def describe(self, target: Target, since: float = 0.0, until: float = math.inf) -> Answers:
        """Describe the calls to a target that began in this span, by time.perf_counter."""
        logs = [log for log in self._logs if log.caller.target is target]
        latencies = sorted(
            latency
            for log in logs
            for began, latency in zip(log.began_s, log.latencies_ms, strict=False)
            if since <= began < until
        )
        errors = [text for log in logs for began, text in list(log.errors) if since <= began < until]
        return Answers(
            calls=len(latencies),
            errors=len(errors),
            first_error=errors[0] if errors else "",
            p50_ms=find_quantile(latencies, 0.5),
            p99_ms=find_quantile(latencies, 0.99),
            max_ms=latencies[-1] if latencies else 0.0,
        )

    def _run(self, log: _Log, send: Send) -> None:
        pause_s = 1 / log.caller.calls_a_second
        bodies = number_bodies(log.caller.target.bodies)
        due = time.perf_counter()
        while not self._is_over.wait(max(due - time.perf_counter(), 0)):
            body = next(bodies)
            began = time.perf_counter()
            try:
                send(body)
            except grpc.RpcError as error:
                log.errors.append((began, str(error.code())))
            except (_RefusedError, OSError, http.client.HTTPException) as error:
                log.errors.append((began, f"{type(error).__name__}: {error}"))
            else:
                log.began_s.append(began)
                log.latencies_ms.append((time.perf_counter() - began) * 1000)
            due = max(due + pause_s, time.perf_counter())


@contextlib.contextmanager
def _connect(target: Target) -> Iterator[Send]:
    """Open a connection of one's own and yield what sends a body over it and returns when it is acknowledged."""
    if target.door == "rest":
        with contextlib.closing(http.client.HTTPConnection(target.address, timeout=_TIMEOUT_S)) as connection:
            headers = {"Authorization": f"Bearer {target.key}", "Content-Type": "application/json"}
            yield lambda body: _post(connection, target.path, body, headers)
        return
    with grpc.insecure_channel(target.address, (("grpc.use_local_subchannel_pool", 1),)) as channel:
        grpc.channel_ready_future(channel).result(_TIMEOUT_S)
        method = channel.unary_unary(target.path, bytes, bytes)
        metadata = (("authorization", f"Bearer {target.key}"),)
        yield lambda body: method(body, timeout=_TIMEOUT_S, metadata=metadata)


def _post(connection: http.client.HTTPConnection, path: str, body: bytes, headers: dict[str, str]) -> None:
    try:
        connection.request("POST", path, body, headers)
        answer = connection.getresponse()
        answer.read()
    except (OSError, http.client.HTTPException):
        connection.close()  # the next call opens it again
        raise
    if answer.status >= 300:
        raise _RefusedError(str(answer.status))
