"""A server that is told to end says so in time, cuts off no call without a word, and ends whatever callers do.

The clients are real and fire on while it ends: what they are told is OK or UNAVAILABLE, which they try elsewhere.
"""

import contextlib
import itertools
import signal
import threading
from collections import Counter
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from typing import Any

import grpc
import httpx
import pytest
from grpc_health.v1 import health_pb2, health_pb2_grpc

from integration.reads import bearer, read_reason, wait_for_key, wait_until_everywhere
from millimetric.v1 import (
    event_pb2,
    ingest_service_pb2,
    ingest_service_pb2_grpc,
    query_service_pb2,
    query_service_pb2_grpc,
)
from support.clickhouse_server import ClickHouseServer
from support.holding_relay import HoldingRelay
from support.server_process import ProjectKeys, ServerProcess
from support.waiting import wait_until

_CALLERS, _CALLS = 3, 20
_END_S = 120
_UNREACHABLE = "UNAVAILABLE "  # no reason: the connection is gone or refused


def metadata(key: str) -> tuple[tuple[str, str], ...]:
    return (("authorization", f"Bearer {key}"),)


def tell(server: ServerProcess, number: signal.Signals = signal.SIGTERM) -> None:
    assert server.process is not None
    server.process.send_signal(number)


def wait_for_exit(server: ServerProcess) -> int:
    assert server.process is not None
    code = server.process.wait(_END_S)
    server.process = None
    return code


class Fire:
    """Callers that keep many Tracks in flight until they are stopped, and count what they are told."""

    def __init__(self, server: ServerProcess, keys: ProjectKeys) -> None:
        self._address = server.grpc_address
        self._keys = keys
        self._lock = threading.Lock()
        self._is_over = threading.Event()
        self.told: Counter[str] = Counter()
        self._callers = ThreadPoolExecutor(_CALLERS)
        self._futures = [self._callers.submit(self._call) for _ in range(_CALLERS)]

    def count(self, outcome: str) -> int:
        with self._lock:
            return self.told[outcome]

    def end(self) -> Counter[str]:
        self._is_over.set()
        for future in self._futures:
            future.result(60)
        self._callers.shutdown()
        return self.told

    def _call(self) -> None:
        options = (("grpc.use_local_subchannel_pool", 1), ("grpc.enable_retries", 0))
        with grpc.insecure_channel(self._address, options=options) as channel:
            stub = ingest_service_pb2_grpc.IngestServiceStub(channel)
            request = ingest_service_pb2.TrackRequest(event="e")
            while not self._is_over.is_set():
                calls = [stub.Track.future(request, metadata=metadata(self._keys.secret)) for _ in range(_CALLS)]
                for call in calls:
                    error = call.exception()
                    outcome = "OK" if error is None else f"{error.code().name} {read_reason(error)}"
                    with self._lock:
                        self.told[outcome] += 1


@pytest.mark.slow
def test_calls_in_flight_at_the_end_are_answered_and_none_is_cancelled() -> None:
    """Three times, since what is cut off depends on the moment. What was acknowledged is stored, and nothing else."""
    with ServerProcess(environ={"MILLIMETRIC_RATE_LIMITS": "off"}) as server:
        keys = server.create_project("fire")
        wait_for_key(server, keys)
        acknowledged = 0
        for _ in range(3):
            fire = Fire(server, keys)
            wait_until(lambda fire=fire: fire.count("OK") > 200, "calls are answered")  # type: ignore[misc]
            tell(server)
            wait_until(lambda fire=fire: fire.count(_UNREACHABLE) > 100, "the port is closed")  # type: ignore[misc]
            assert wait_for_exit(server) == 0
            told = fire.end()
            assert set(told) <= {"OK", "UNAVAILABLE OVERLOADED", _UNREACHABLE}, told
            assert told["UNAVAILABLE OVERLOADED"]
            acknowledged += told["OK"]
            server.start()
        wait_until_everywhere(server, keys, acknowledged)


def test_a_drain_says_so_to_balancers_and_takes_calls_until_the_next_signal() -> None:
    environ = {"MILLIMETRIC_SHUTDOWN_DRAIN_S": "600", "MILLIMETRIC_RATE_LIMITS": "off"}
    with ServerProcess(environ=environ) as server, httpx.Client(base_url=server.base_url, timeout=_END_S) as client:
        keys = server.create_project("drain")
        wait_for_key(server, keys)
        fire = Fire(server, keys)
        wait_until(lambda: fire.count("OK") > 50, "calls are answered")
        tell(server)
        wait_until(lambda: client.get("/readyz").status_code == 503, "readiness is over")
        with grpc.insecure_channel(server.grpc_address) as channel:
            for service in ("", "millimetric.v1.IngestService"):
                request = health_pb2.HealthCheckRequest(service=service)
                health = health_pb2_grpc.HealthStub(channel).Check(request, timeout=_END_S)
                assert health.status == health_pb2.HealthCheckResponse.NOT_SERVING
        before = fire.count("OK")
        wait_until(lambda: fire.count("OK") > before + 100, "calls are answered still")
        answer = client.post("/v1/track", json={"event": "e"}, headers=bearer(keys.secret))
        assert (answer.status_code, answer.headers["connection"]) == (202, "close")
        assert set(fire.told) == {"OK"}
        tell(server)
        assert wait_for_exit(server) == 0
        assert "CANCELLED " not in fire.end()


@pytest.fixture
def relay(clickhouse_server: ClickHouseServer) -> Iterator[HoldingRelay]:
    with HoldingRelay(clickhouse_server.port) as running:
        yield running


@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGINT])
def test_whatever_is_open_the_server_ends_and_tells_why(relay: HoldingRelay, number: signal.Signals) -> None:
    """Waits for the store, reads, exports and streams, while ClickHouse takes everything and answers nothing."""
    environ = {
        "MILLIMETRIC_CLICKHOUSE_URL": relay.url,
        "MILLIMETRIC_CLICKHOUSE_DATABASE": f"shutdown_{number}",
        "MILLIMETRIC_READ_SECONDS_MAX": "300",
        "MILLIMETRIC_SHUTDOWN_TIMEOUT_S": "1",
    }
    with ServerProcess(environ=environ) as server, contextlib.ExitStack() as stack:
        keys = server.create_project("open")
        wait_for_key(server, keys)
        callers = stack.enter_context(ThreadPoolExecutor(8))
        channel = stack.enter_context(grpc.insecure_channel(server.grpc_address))
        ingest = ingest_service_pb2_grpc.IngestServiceStub(channel)
        query = query_service_pb2_grpc.QueryServiceStub(channel)
        given = {"metadata": metadata(keys.secret), "timeout": 120}
        over = threading.Event()
        stack.callback(over.set)

        def stay() -> Iterator[Any]:
            for sequence in itertools.count():
                yield ingest_service_pb2.TrackStreamRequest(sequence=sequence, event=event_pb2.Event(event="e"))
                if over.wait(_END_S):
                    return

        url, key = f"{server.base_url}/v1/stats", bearer(keys.secret)
        wait_until(lambda: httpx.get(url, headers=key).status_code == 200, "the schema is made")
        track = {"event": "e"}
        headers = key | {"millimetric-ack": "stored"}
        stream = ingest.TrackStream(stay(), **given)
        assert next(stream).sequence == 0
        relay.hold(keys.project_id)
        relay.hold("INSERT")
        stored = ingest_service_pb2.TrackRequest(event="e", ack=ingest_service_pb2.ACK_STORED)
        calls = [
            *(ingest.Track.future(stored, **given) for _ in range(20)),
            *(query.Stats.future(query_service_pb2.StatsRequest(), **given) for _ in range(20)),
            query.Export(query_service_pb2.ExportRequest(), **given),
        ]
        posts = [
            callers.submit(httpx.post, f"{server.base_url}/v1/track", json=track, headers=headers, timeout=120),
            callers.submit(httpx.get, url, headers=headers, timeout=120),
            callers.submit(httpx.get, f"{server.base_url}/v1/export", headers=headers, timeout=120),
        ]
        wait_until(lambda: relay.held >= 5, lambda: f"loader, reads and exports wait: {relay.held}\n{server.log}")
        tell(server, number)
        assert wait_for_exit(server) == 0
        told = Counter(f"{call.exception().code().name} {read_reason(call.exception())}" for call in (*calls, stream))
        assert told == {"UNAVAILABLE OVERLOADED": 22, "UNAVAILABLE UPSTREAM_FAILED": 20}
        answers = [post.result() for post in posts]
        assert [answer.status_code for answer in answers] == [502, 503, 503]
        assert [answer.json()["error"] for answer in answers] == ["upstream_failed", "overloaded", "overloaded"]
