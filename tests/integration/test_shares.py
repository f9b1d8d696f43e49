"""One project that asks for all there is does not stop the others: reads, waits for the store, streams, exports.

ClickHouse is real, and what the greedy project asks of it is held back on the way. So everything it takes stays taken
until the test lets go, and what the other project gets meanwhile does not depend on how fast the machine is.
"""

import contextlib
import itertools
import json
import threading
from collections import Counter
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from typing import Any

import grpc
import httpx
import pytest
from google.rpc import error_details_pb2, status_pb2
from grpc_health.v1 import health_pb2, health_pb2_grpc

from integration.reads import bearer, wait_for_key
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

_TIMEOUT_S = 60
_READS, _WAITERS, _STREAMS, _EXPORTS = 32, 64, 32, 2  # the share of one project, by the settings' defaults
_numbers = itertools.count()


@pytest.fixture(scope="module")
def relay(clickhouse_server: ClickHouseServer) -> Iterator[HoldingRelay]:
    with HoldingRelay(clickhouse_server.port) as running:
        yield running


@pytest.fixture(scope="module")
def shared(relay: HoldingRelay) -> Iterator[ServerProcess]:
    environ = {
        "MILLIMETRIC_CLICKHOUSE_URL": relay.url,
        "MILLIMETRIC_CLICKHOUSE_DATABASE": "shares",
        "MILLIMETRIC_READ_SECONDS_MAX": "100",
        "MILLIMETRIC_RATE_LIMITS": "off",
    }
    with ServerProcess(environ=environ) as server:
        yield server


@pytest.fixture
def projects(shared: ServerProcess, relay: HoldingRelay) -> Iterator[tuple[ProjectKeys, ProjectKeys]]:
    """A greedy project and a modest one; an event of each is stored."""
    pair = [shared.create_project(f"{name}-{next(_numbers)}") for name in ("greedy", "modest")]
    for keys in pair:
        wait_for_key(shared, keys)
        assert track_rest(shared, keys, ack="stored").status_code == 202
    yield pair[0], pair[1]
    relay.release()
    wait_until(lambda: not any(read_taken(shared).values()), lambda: f"all is given back: {read_taken(shared)}")


@pytest.fixture
def channel(shared: ServerProcess) -> Iterator[grpc.Channel]:
    with grpc.insecure_channel(shared.grpc_address) as opened:
        yield opened


def metadata(key: str, **pairs: str) -> tuple[tuple[str, str], ...]:
    return (("authorization", f"Bearer {key}"), *((name.replace("_", "-"), text) for name, text in pairs.items()))


def track_rest(server: ServerProcess, keys: ProjectKeys, ack: str = "durable") -> httpx.Response:
    return httpx.post(
        f"{server.base_url}/v1/track",
        json={"event": "e"},
        headers=bearer(keys.secret) | {"millimetric-ack": ack},
        timeout=_TIMEOUT_S,
    )


def track(channel: grpc.Channel, keys: ProjectKeys, ack: Any = ingest_service_pb2.ACK_UNSPECIFIED) -> Any:
    stub = ingest_service_pb2_grpc.IngestServiceStub(channel)
    request = ingest_service_pb2.TrackRequest(event="e", ack=ack)
    return stub.Track.future(request, metadata=metadata(keys.secret), timeout=_TIMEOUT_S)


def ask(channel: grpc.Channel, keys: ProjectKeys) -> Any:
    stub = query_service_pb2_grpc.QueryServiceStub(channel)
    return stub.Stats.future(query_service_pb2.StatsRequest(), metadata=metadata(keys.read), timeout=_TIMEOUT_S)


def read_taken(server: ServerProcess) -> Counter[str]:
    return read_metric(server, "millimetric_places_taken")


def read_metric(server: ServerProcess, name: str) -> Counter[str]:
    """The metric by its first label, `kind`; all projects together."""
    found: Counter[str] = Counter()
    for line in httpx.get(server.metrics_url, timeout=_TIMEOUT_S).text.splitlines():
        if line.startswith(f"{name}{{"):
            labels, value = line.removeprefix(f"{name}{{").split("} ")
            found[labels.split('"')[1]] += int(float(value))
    return found


def expect_refusal(error: grpc.RpcError) -> None:
    """The caller is told that it was too much, and when to come back."""
    trailers = dict(error.trailing_metadata())
    details = {
        detail.type_url: detail for detail in status_pb2.Status.FromString(trailers["grpc-status-details-bin"]).details
    }
    info, retry = error_details_pb2.ErrorInfo(), error_details_pb2.RetryInfo()
    assert details[f"type.googleapis.com/{info.DESCRIPTOR.full_name}"].Unpack(info)
    assert details[f"type.googleapis.com/{retry.DESCRIPTOR.full_name}"].Unpack(retry)
    assert (error.code(), info.reason) == (grpc.StatusCode.UNAVAILABLE, "OVERLOADED")
    assert retry.retry_delay.ToMilliseconds() > 0


def split(calls: list[Any], share: int) -> list[Any]:
    """Wait until all but the share are refused; returns those that still wait."""
    wait_until(lambda: sum(call.done() for call in calls) == len(calls) - share, "the surplus is refused")
    for call in calls:
        if call.done():
            expect_refusal(call.exception())
    return [call for call in calls if not call.done()]


def expect_service(server: ServerProcess, channel: grpc.Channel, keys: ProjectKeys) -> None:
    """Everything is answered: both kinds of writes, reads, health; over both ports, and more at a time than threads."""
    assert track(channel, keys, ingest_service_pb2.ACK_STORED).result().ok
    assert [call.result().ok for call in [track(channel, keys) for _ in range(60)]] == [True] * 60
    assert sum(row.value for row in ask(channel, keys).result().rows) >= 2
    health = health_pb2_grpc.HealthStub(channel).Check(health_pb2.HealthCheckRequest(), timeout=_TIMEOUT_S)
    assert health.status == health_pb2.HealthCheckResponse.SERVING
    assert track_rest(server, keys).status_code == 202
    assert httpx.get(f"{server.base_url}/v1/stats", headers=bearer(keys.read), timeout=_TIMEOUT_S).status_code == 200
    assert httpx.get(f"{server.base_url}/readyz").status_code == 200
    with httpx.stream("GET", f"{server.base_url}/v1/export", headers=bearer(keys.read), timeout=_TIMEOUT_S) as export:
        assert export.status_code == 200
        assert b'"event":"e"' in export.read()


def test_fifty_reads_of_one_project(
    shared: ServerProcess, relay: HoldingRelay, channel: grpc.Channel, projects: tuple[ProjectKeys, ProjectKeys]
) -> None:
    greedy, modest = projects
    relay.hold(greedy.project_id)
    waiting = split([ask(channel, greedy) for _ in range(50)], _READS)
    wait_until(lambda: relay.held == 3, "three of six threads work for it, and three are left to the others")
    expect_service(shared, channel, modest)
    assert track(channel, greedy).result().ok
    assert not any(call.done() for call in waiting)
    assert read_metric(shared, "millimetric_places_refused_total")["reads"] >= 50 - _READS
    relay.release()
    assert all(call.result().rows for call in waiting)


def test_fifty_reads_of_one_project_over_rest(
    shared: ServerProcess, relay: HoldingRelay, channel: grpc.Channel, projects: tuple[ProjectKeys, ProjectKeys]
) -> None:
    greedy, modest = projects
    relay.hold(greedy.project_id)
    url = f"{shared.base_url}/v1/stats"
    with ThreadPoolExecutor(50) as callers:
        calls = [callers.submit(httpx.get, url, headers=bearer(greedy.read), timeout=_TIMEOUT_S) for _ in range(50)]
        wait_until(lambda: sum(call.done() for call in calls) == 50 - _READS, "the surplus is refused")
        for answer in [call.result() for call in calls if call.done()]:
            assert (answer.status_code, answer.json()["error"]) == (503, "overloaded")
            assert int(answer.headers["retry-after"]) > 0
        expect_service(shared, channel, modest)
        relay.release()
        assert Counter(call.result().status_code for call in calls) == {200: _READS, 503: 50 - _READS}


def test_reads_that_are_cancelled_leave_their_places_at_once(
    shared: ServerProcess, relay: HoldingRelay, channel: grpc.Channel, projects: tuple[ProjectKeys, ProjectKeys]
) -> None:
    greedy, _ = projects
    relay.hold(greedy.project_id)
    waiting = split([ask(channel, greedy) for _ in range(_READS + 1)], _READS)
    for call in waiting:
        call.cancel()
    wait_until(lambda: read_taken(shared)["reads"] <= 3, "only what runs in ClickHouse holds a place")
    again = [ask(channel, greedy) for _ in range(20)]
    relay.release()
    assert all(call.result().rows for call in again)


def test_eighty_writes_of_one_project_that_wait_for_the_store(
    shared: ServerProcess, relay: HoldingRelay, channel: grpc.Channel, projects: tuple[ProjectKeys, ProjectKeys]
) -> None:
    """Nothing is loaded meanwhile, for nobody. What was refused was not stored."""
    greedy, modest = projects
    relay.hold("INSERT")
    waiting = split([track(channel, greedy, ingest_service_pb2.ACK_STORED) for _ in range(80)], _WAITERS)
    assert (answer := track_rest(shared, greedy, ack="stored")).status_code == 503
    assert answer.json()["error"] == "overloaded"
    also_waiting = track(channel, modest, ingest_service_pb2.ACK_STORED)
    assert [call.result().ok for call in [track(channel, modest) for _ in range(60)]] == [True] * 60
    assert ask(channel, modest).result().rows
    health = health_pb2_grpc.HealthStub(channel).Check(health_pb2.HealthCheckRequest(), timeout=_TIMEOUT_S)
    assert health.status == health_pb2.HealthCheckResponse.SERVING
    assert not any(call.done() for call in (*waiting, also_waiting))
    relay.release()
    assert [call.result().ok for call in (*waiting, also_waiting)] == [True] * (_WAITERS + 1)
    assert [row.value for row in ask(channel, greedy).result().rows] == [1 + _WAITERS]


def test_sixty_four_idle_streams_of_one_project(
    shared: ServerProcess, channel: grpc.Channel, projects: tuple[ProjectKeys, ProjectKeys]
) -> None:
    greedy, modest = projects
    stub = ingest_service_pb2_grpc.IngestServiceStub(channel)
    end = threading.Event()

    def stay() -> Iterator[Any]:
        yield ingest_service_pb2.TrackStreamRequest(event=event_pb2.Event(event="e"))
        end.wait(_TIMEOUT_S)

    streams = [stub.TrackStream(stay(), metadata=metadata(greedy.secret), timeout=_TIMEOUT_S) for _ in range(64)]
    try:
        outcomes = [_read_first(stream) for stream in streams]
        refused = [outcome for outcome in outcomes if isinstance(outcome, grpc.RpcError)]
        assert len(refused) == 64 - _STREAMS
        for error in refused:
            expect_refusal(error)
        messages = [ingest_service_pb2.TrackStreamRequest(sequence=7, event=event_pb2.Event(event="e"))]
        answers = stub.TrackStream(iter(messages), metadata=metadata(modest.secret), timeout=_TIMEOUT_S)
        assert [answer.sequence for answer in answers] == [7]
        expect_service(shared, channel, modest)
    finally:
        end.set()
    assert sum(len(list(stream)) for stream, first in zip(streams, outcomes, strict=True) if first not in refused) == 0


def _read_first(stream: Any) -> Any:
    try:
        return next(stream)
    except grpc.RpcError as error:
        return error


def test_four_exports_of_one_project(
    shared: ServerProcess, relay: HoldingRelay, channel: grpc.Channel, projects: tuple[ProjectKeys, ProjectKeys]
) -> None:
    greedy, modest = projects
    relay.hold(greedy.project_id)
    url = f"{shared.base_url}/v1/export"
    with ThreadPoolExecutor(4) as callers, contextlib.ExitStack() as released:
        calls = [callers.submit(httpx.get, url, headers=bearer(greedy.read), timeout=_TIMEOUT_S) for _ in range(4)]
        released.callback(relay.release)
        wait_until(lambda: sum(call.done() for call in calls) == 4 - _EXPORTS, "the surplus is refused")
        expect_service(shared, channel, modest)
        stub = query_service_pb2_grpc.QueryServiceStub(channel)
        with pytest.raises(grpc.RpcError) as caught:
            list(stub.Export(query_service_pb2.ExportRequest(), metadata=metadata(greedy.read), timeout=_TIMEOUT_S))
        expect_refusal(caught.value)
        relay.release()
        answers = [call.result() for call in calls]
    assert Counter(answer.status_code for answer in answers) == {200: _EXPORTS, 503: 4 - _EXPORTS}
    assert {json.loads(answer.content)["error"] for answer in answers if answer.status_code == 503} == {"overloaded"}
