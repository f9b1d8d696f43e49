"""Runs the statements of a handler straight on ClickHouse, with the client and the settings of the server's reads."""

import time
from collections.abc import Callable, Mapping, Sequence
from concurrent.futures import Future
from datetime import UTC, datetime
from types import SimpleNamespace
from typing import Any

import msgspec
from tests.support import rpcs

from bench.apart import OnProgress
from millimetric_server.api.call import Call
from millimetric_server.api.rpc import AnyRpc
from millimetric_server.control.records import DEFAULT_ACCOUNT, Project
from millimetric_server.doors.boundary import wait_blocking
from millimetric_server.doors.codecs.proto import decode_proto, encode_proto
from millimetric_server.reads.deps import ReadDeps
from millimetric_server.rpcs import make_rpcs
from millimetric_server.store.clickhouse import ClickHouse, Rows
from millimetric_server.store.read_pool import ReadLimits

WARM_UP_CALLS = 5
_NOTHING: Any = None
RPCS: Mapping[str, AnyRpc] = {rpc.name: rpc for rpc in rpcs.RPCS}


class Repeat(msgspec.Struct, frozen=True):
    """A question that was asked over gRPC, and how often."""

    name: str
    rpc: str
    body: bytes
    calls: int


class Direct(msgspec.Struct, frozen=True):
    """What its statements took without a server, in milliseconds, and the answer that they make."""

    statements: int
    latencies_ms: list[float]
    response: bytes


class Place(msgspec.Struct, frozen=True):
    """Where to ask, and for whom."""

    url: str
    database: str
    project_id: str
    key_pepper: bytes  # signs Query's page tokens, which must be the server's


def measure_direct(place: Place, repeats: Sequence[Repeat], on_progress: OnProgress) -> list[Direct]:
    """Run the statements of each question as often as it was asked, after as many runs to warm up."""
    store = ClickHouse(place.url, place.database)
    store.open()
    try:
        found = []
        for number, repeat in enumerate(repeats):
            on_progress(f"SQL alone: {repeat.name}", number, len(repeats))
            found.append(_measure(store, place, repeat))
        return found
    finally:
        store.close()


def time_calls(
    ask: Callable[[], object], calls: int, seconds_max: float = float("inf"), calls_min: int = 0
) -> list[float]:
    """Call it that often, fewer times if it takes too long; returns the milliseconds of each call."""
    for _ in range(WARM_UP_CALLS):
        ask()
    latencies: list[float] = []
    deadline = time.perf_counter() + seconds_max
    while len(latencies) < calls and (len(latencies) < calls_min or time.perf_counter() < deadline):
        began = time.perf_counter_ns()
        ask()
        latencies.append((time.perf_counter_ns() - began) / 1e6)
    return latencies


class _NotingStore:
    """Answers a handler's reads, and notes them."""

    def __init__(self, store: ClickHouse) -> None:
        self._store = store
        self.reads: list[tuple[str, Mapping[str, Any]]] = []

    def run(self, statement: str, parameters: Mapping[str, Any], *_: object) -> "Future[Rows]":
        self.reads.append((statement, parameters))
        answered: Future[Rows] = Future()
        answered.set_result(_query(self._store, statement, parameters))
        return answered


def _measure(store: ClickHouse, place: Place, repeat: Repeat) -> Direct:
    noting = _NotingStore(store)
    asked: Any = SimpleNamespace(reads=noting)
    bound = make_rpcs(_NOTHING, _NOTHING, ReadDeps(asked, place.key_pepper))
    rpc = next(rpc for rpc in bound if rpc.name == repeat.rpc)
    call = _make_call(rpc, place.project_id)
    checked = rpc.check(decode_proto(rpc.request, repeat.body), call)
    response = wait_blocking(rpc.handler(call, checked, rpc.deps))

    def ask() -> None:
        for statement, parameters in noting.reads:
            _query(store, statement, parameters)

    return Direct(len(noting.reads), time_calls(ask, repeat.calls), encode_proto(response))


def _make_call(rpc: AnyRpc, project_id: str) -> Call:
    call = Call(rpc, "grpc", {}, "127.0.0.1", time.time_ns() // 1000, "bench")
    call.project = Project(project_id, DEFAULT_ACCOUNT, "bench", datetime.now(UTC))
    return call


def _query(store: ClickHouse, statement: str, parameters: Mapping[str, Any]) -> Rows:
    return store.query(statement, parameters, **ReadLimits().settings, log_comment="bench")
