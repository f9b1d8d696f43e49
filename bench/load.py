"""Closed-loop load: so many callers, each with one call under way, for so many seconds."""

import asyncio
import itertools
import statistics
import threading
import time
from collections.abc import Iterator, Sequence
from typing import Literal

import grpc
import msgspec
import uvloop

from bench.stream import number_bodies

CALLS_MAX = 2_000_000
_CALLS_A_CHANNEL = 8
_TIMEOUT_S = 30
_IDENTITY = bytes


class Target(msgspec.Struct, frozen=True):
    """What is called: an address with a method's or a route's path, the key, and bodies to send in turn."""

    door: Literal["grpc", "rest"]
    address: str  # host:port
    path: str
    key: str
    bodies: Sequence[bytes]
    events_a_call: int = 1


class Load(msgspec.Struct, kw_only=True):
    """What a load measured. Latencies are in milliseconds."""

    calls: int
    errors: int
    seconds: float
    generator_cpu_s: float
    latencies_ms: list[float]
    generator: str = "python"
    first_error: str = ""

    def quantile_ms(self, share: float) -> float:
        """The latency that this share of the calls stays under."""
        return find_quantile(sorted(self.latencies_ms), share)

    @property
    def max_ms(self) -> float:
        """The slowest call."""
        return max(self.latencies_ms, default=0.0)

    @property
    def mean_ms(self) -> float:
        """The mean latency."""
        return statistics.fmean(self.latencies_ms) if self.latencies_ms else 0.0


def find_quantile(ordered: Sequence[float], share: float) -> float:
    """The value that this share of the ordered values stays under; 0 if there is none."""
    return ordered[min(int(len(ordered) * share), len(ordered) - 1)] if ordered else 0.0


class _Tally:
    """Where the callers write down what they saw; appending to a list needs no lock."""

    def __init__(self, seconds: float) -> None:
        self.latencies_ns: list[int] = []
        self.errors: list[str] = []
        self.began = time.perf_counter()
        self.cpu_began = time.process_time()
        self.deadline = self.began + seconds

    def is_over(self) -> bool:
        return time.perf_counter() >= self.deadline or len(self.latencies_ns) >= CALLS_MAX

    def finish(self) -> Load:
        return Load(
            calls=len(self.latencies_ns),
            errors=len(self.errors),
            seconds=time.perf_counter() - self.began,
            generator_cpu_s=time.process_time() - self.cpu_began,
            latencies_ms=[latency / 1e6 for latency in self.latencies_ns],
            first_error=self.errors[0] if self.errors else "",
        )


def run_load(target: Target, callers: int, seconds: float, bodies: Iterator[bytes] | None = None) -> Load:
    """Call the target with so many callers; every call that is begun is finished and counted."""
    bodies = bodies or number_bodies(target.bodies)
    if target.door == "rest":
        return uvloop.run(_load_rest(target, callers, seconds, bodies))
    return _load_grpc(target, callers, seconds, bodies)


def _load_grpc(target: Target, callers: int, seconds: float, bodies: Iterator[bytes]) -> Load:
    options = (("grpc.use_local_subchannel_pool", 1),)
    channels = [grpc.insecure_channel(target.address, options) for _ in range(-(-callers // _CALLS_A_CHANNEL))]
    for channel in channels:
        grpc.channel_ready_future(channel).result(_TIMEOUT_S)
    tally = _Tally(seconds)
    lock = threading.Lock()

    def call(channel: grpc.Channel) -> None:
        method = channel.unary_unary(target.path, _IDENTITY, _IDENTITY)
        metadata = (("authorization", f"Bearer {target.key}"),)
        while not tally.is_over():
            with lock:  # a generator can't be shared otherwise
                body = next(bodies)
            began = time.perf_counter_ns()
            try:
                method(body, timeout=_TIMEOUT_S, metadata=metadata)
            except grpc.RpcError as error:
                tally.errors.append(str(error.code()))
            else:
                tally.latencies_ns.append(time.perf_counter_ns() - began)

    if callers == 1:
        call(channels[0])
    else:
        threads = [
            threading.Thread(target=call, args=(channel,))
            for channel, _ in zip(itertools.cycle(channels), range(callers), strict=False)
        ]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join()
    load = tally.finish()
    for channel in channels:
        channel.close()
    return load


class _HttpCaller(asyncio.Protocol):
    """One keep-alive HTTP/1.1 connection that reads no more of an answer than it must."""

    def __init__(self) -> None:
        self._answer: asyncio.Future[int] | None = None
        self._received = b""

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        self.transport: asyncio.Transport = transport  # type: ignore[assignment]

    def call(self, request: bytes) -> "asyncio.Future[int]":
        self._answer = asyncio.get_running_loop().create_future()
        self.transport.write(request)
        return self._answer

    def data_received(self, data: bytes) -> None:
        self._received += data
        head, blank, body = self._received.partition(b"\r\n\r\n")
        if not blank:
            return
        _, _, length = head.lower().partition(b"content-length:")
        if len(body) < int(length.partition(b"\r\n")[0]):
            return
        self._received = b""
        if self._answer is not None and not self._answer.done():
            self._answer.set_result(int(head[9:12]))

    def connection_lost(self, exc: Exception | None) -> None:
        if self._answer is not None and not self._answer.done():
            self._answer.set_exception(exc or ConnectionError("the server hung up"))


async def _load_rest(target: Target, callers: int, seconds: float, bodies: Iterator[bytes]) -> Load:
    host, _, port = target.address.rpartition(":")
    loop = asyncio.get_running_loop()
    head = (
        f"POST {target.path} HTTP/1.1\r\nHost: {target.address}\r\nAuthorization: Bearer {target.key}\r\n"
        "Content-Type: application/json\r\nContent-Length: "
    ).encode()
    connections = [(await loop.create_connection(_HttpCaller, host, int(port)))[1] for _ in range(callers)]
    tally = _Tally(seconds)

    async def call(caller: _HttpCaller) -> None:
        while not tally.is_over():
            body = next(bodies)
            began = time.perf_counter_ns()
            try:
                status = await asyncio.wait_for(caller.call(b"%b%d\r\n\r\n%b" % (head, len(body), body)), _TIMEOUT_S)
            except (OSError, TimeoutError) as error:
                tally.errors.append(type(error).__name__)
                return
            if status >= 300:
                tally.errors.append(str(status))
            else:
                tally.latencies_ns.append(time.perf_counter_ns() - began)

    await asyncio.gather(*map(call, connections))
    load = tally.finish()
    for connection in connections:
        connection.transport.close()
    return load
