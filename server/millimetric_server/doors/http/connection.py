"""uvicorn's connections with our own limits on headers, on times, and on the number of connections.

uvicorn has none of these limits for httptools (docs/adr/0015). Checking all connections once a second costs less than
timers.
"""

import asyncio
import heapq
import resource
from collections.abc import Callable, Iterable
from dataclasses import dataclass
from enum import Enum, auto
from typing import Any

import httptools
from uvicorn.protocols.http.httptools_impl import STATUS_LINE, HttpToolsProtocol

from millimetric_server.config import Settings
from millimetric_server.doors.boundary import make_request_id

_SWEEP_S = 1.0
_HEAD_PIECE_BYTES = 16 * 1024
_BODY_PROGRESS_BYTES = 16 * 1024
_CLOSING_S = 10.0  # for what is still to be sent to a client that does not read
_SKIP_FACTOR = 8  # how many bodies' bytes are read behind an answer that did not need them
_EVICTED_SHARE = 16


@dataclass(frozen=True, slots=True)
class ConnectionLimits:
    """What a connection may take; times in seconds."""

    connections: int
    head_bytes: int
    headers: int
    head_s: float
    body_s: float
    idle_s: float
    body_bytes: int


class _Phase(Enum):
    """What a connection waits for."""

    HEAD = auto()  # a request's head, of which nothing or a part is there
    BODY = auto()
    ANSWER = auto()  # us
    IDLE = auto()  # the next request
    CLOSING = auto()


class HttpConnection(HttpToolsProtocol):
    """One connection. `make_connection_class` gives it its limits."""

    limits: ConnectionLimits

    def __init__(self, *args: Any, **kwargs: Any) -> None:
        super().__init__(*args, **kwargs)
        self._phase = _Phase.HEAD
        self._since = self.loop.time()
        self._head_bytes = 0  # fed since the message began, and up to a piece more
        self._body_bytes = 0
        self._body_mark = 0  # of _body_bytes, when _since was set
        self._refusal = 400

    def connection_made(self, transport: asyncio.Transport) -> None:  # type: ignore[override]
        """Make room for the connection, or refuse it."""
        super().connection_made(transport)
        if len(self.connections) > self.limits.connections and not self._make_room():
            self._refuse(503)

    def data_received(self, data: bytes) -> None:
        """Feed the parser; a head in pieces, so that one that is too large is noticed before the parser has it all."""
        if self._is_closing():
            return
        try:
            while data and self._phase in (_Phase.HEAD, _Phase.IDLE):
                piece, data = data[:_HEAD_PIECE_BYTES], data[_HEAD_PIECE_BYTES:]
                self._head_bytes += len(piece)
                self.parser.feed_data(piece)
                if self._phase is _Phase.HEAD and self._head_bytes > self.limits.head_bytes + _HEAD_PIECE_BYTES:
                    self._refuse(431)
            if data and not self._is_closing():
                self.parser.feed_data(data)
        except httptools.HttpParserUpgrade:
            self.cycle.keep_alive = False  # to nothing that we speak: the request is answered as any other
        except httptools.HttpParserError:
            self._refuse(self._refusal)

    def on_message_begin(self) -> None:
        """A request begins."""
        super().on_message_begin()
        self._head_bytes = 1
        self._enter(_Phase.HEAD)

    def on_headers_complete(self) -> None:
        """Refuse a head that is too large; the parser ends with an error then."""
        limits = self.limits
        is_long = self._head_bytes + _HEAD_PIECE_BYTES > limits.head_bytes and self._measure_head() > limits.head_bytes
        if len(self.headers) > limits.headers or is_long:
            self._refusal = 431
            raise ValueError
        self._body_bytes = self._body_mark = 0
        self._enter(_Phase.BODY)
        super().on_headers_complete()

    def on_body(self, body: bytes) -> None:
        """Count what arrives, even if nobody reads it any more."""
        self._body_bytes += len(body)
        super().on_body(body)
        if self.cycle.response_complete and self._body_bytes > self.limits.body_bytes * _SKIP_FACTOR:
            self._close()

    def on_message_complete(self) -> None:
        """The request is there."""
        super().on_message_complete()
        self._enter(_Phase.IDLE if self.cycle.response_complete and not self.pipeline else _Phase.ANSWER)

    def on_response_complete(self) -> None:
        """The answer is sent, perhaps before the request is there. As uvicorn's, but the sweep ends what is idle."""
        self.server_state.total_requests += 1
        if self.transport.is_closing():
            return
        self.flow.resume_reading()
        if self.pipeline:
            self._start_asgi_task(*self.pipeline.pop())
        elif self._phase is _Phase.ANSWER:
            self._enter(_Phase.IDLE)

    def sweep(self, now: float) -> None:
        """Close the connection if it has waited for too long."""
        waited_s = now - self._since
        if self._phase is not _Phase.CLOSING and self.transport.is_closing():
            self._enter(_Phase.CLOSING)
        elif self._phase is _Phase.CLOSING and waited_s > _CLOSING_S:
            self.transport.abort()
        elif self._phase is _Phase.HEAD and waited_s > self.limits.head_s:
            self._refuse(408 if self._head_bytes else 0)
        elif self._phase is _Phase.IDLE and waited_s > self.limits.idle_s:
            self._close()
        elif self._phase is _Phase.BODY and waited_s > self.limits.body_s:
            if self.flow.read_paused or self._body_bytes - self._body_mark >= _BODY_PROGRESS_BYTES:
                self._body_mark = self._body_bytes
                self._since = now
            else:
                self._refuse(408)

    def _is_closing(self) -> bool:
        return self._phase is _Phase.CLOSING or self.parser is None

    def _enter(self, phase: _Phase) -> None:
        self._phase = phase
        self._since = self.loop.time()

    def _measure_head(self) -> int:
        return len(self.url) + sum(len(name) + len(value) for name, value in self.headers)

    def _make_room(self) -> bool:
        """Close the connections that have waited longest for their callers, but none that owes an answer."""
        waiting = [one for one in self.connections if isinstance(one, HttpConnection) and one.is_waiting_for_caller()]
        waiting.remove(self)
        oldest = heapq.nsmallest(max(1, len(waiting) // _EVICTED_SHARE), waiting, key=lambda one: one.rank())
        for one in oldest:
            one.evict()
        return bool(oldest)

    def is_waiting_for_caller(self) -> bool:
        """Tell whether nothing is lost but time if the connection is closed."""
        return self._phase in (_Phase.HEAD, _Phase.BODY, _Phase.IDLE)

    def rank(self) -> tuple[bool, float]:
        """Which connections are closed first: those with a body whose answer is open last, then by time."""
        return self._phase is _Phase.BODY and not self.cycle.response_complete, self._since

    def evict(self) -> None:
        """Close the connection to make room."""
        self.connections.discard(self)
        self.transport.abort()

    def _refuse(self, status: int) -> None:
        """Answer with this status, unless another answer has begun, and close."""
        is_answering = self.cycle is not None and not self.cycle.response_complete
        if is_answering and (self._phase is not _Phase.BODY or self.cycle.response_started):
            self.cycle.keep_alive = False  # the answer before this request is finished, and the connection with it
            self.pipeline.clear()
            self._enter(_Phase.CLOSING)
            self._since += self.limits.idle_s
            return
        if status and (is_answering or self._phase is not _Phase.BODY):
            text = STATUS_LINE[status].split(b" ", 2)[2].strip().lower()
            self.transport.write(
                b"%bcontent-type: text/plain; charset=utf-8\r\ncontent-length: %d\r\nconnection: close\r\n"
                b"x-request-id: %b\r\n\r\n%b" % (STATUS_LINE[status], len(text), make_request_id().encode(), text)
            )
        self._close()

    def _close(self) -> None:
        self._enter(_Phase.CLOSING)
        if not self.transport.is_closing():
            self.transport.close()


def read_connection_limits(settings: Settings) -> ConnectionLimits:
    """Read the limits. Connections get half of the files that the process may open: the rest is for our own."""
    soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    wanted = 2 * settings.http_connections_max
    if soft != resource.RLIM_INFINITY and soft < wanted:
        soft = wanted if hard == resource.RLIM_INFINITY else min(hard, wanted)
        resource.setrlimit(resource.RLIMIT_NOFILE, (soft, hard))
    files = wanted if soft == resource.RLIM_INFINITY else soft
    return ConnectionLimits(
        connections=min(settings.http_connections_max, files // 2),
        head_bytes=settings.http_head_bytes_max,
        headers=settings.http_headers_max,
        head_s=settings.http_head_timeout_s,
        body_s=settings.http_body_timeout_s,
        idle_s=settings.http_idle_timeout_s,
        body_bytes=settings.body_bytes_max,
    )


def make_connection_class(limits: ConnectionLimits) -> type[HttpConnection]:
    """Make the class that uvicorn makes connections of."""
    return type("LimitedConnection", (HttpConnection,), {"limits": limits})


async def sweep_connections(read_connections: Callable[[], Iterable[Any]]) -> None:
    """Look at all connections again and again, until cancelled."""
    loop = asyncio.get_running_loop()
    while True:
        await asyncio.sleep(_SWEEP_S)
        now = loop.time()
        for connection in list(read_connections()):
            connection.sweep(now)
