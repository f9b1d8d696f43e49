"""Calls that send nothing, streams that ask nothing and 10,000 calls at once stop nobody else's calls, nor health."""

import asyncio
from collections import Counter
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import grpc
import pytest
from grpc_health.v1 import health_pb2, health_pb2_grpc

from integration.reads import read_reason, wait_for_key
from millimetric.v1 import ingest_service_pb2, ingest_service_pb2_grpc
from support.server_process import ProjectKeys, ServerProcess

pytestmark = pytest.mark.slow

_CALLS_MAX = 300
_STRANGER = "sk_live_00000000_" + "x" * 43
_TRACK = "/millimetric.v1.IngestService/Track"
_UNARY = (
    _TRACK,
    "/millimetric.v1.QueryService/Stats",
    "/millimetric.v1.QueryService/Export",
    "/millimetric.v1.PrivacyService/Forget",
    "/grpc.health.v1.Health/Check",
    "/grpc.health.v1.Health/Watch",
)
_STREAMS = (
    "/grpc.reflection.v1.ServerReflection/ServerReflectionInfo",
    "/grpc.reflection.v1alpha.ServerReflection/ServerReflectionInfo",
    "/millimetric.v1.IngestService/TrackStream",
    "/millimetric.v1.IngestService/NoSuchMethod",
)
_REQUEST = ingest_service_pb2.TrackRequest(event="tick")


@pytest.fixture(scope="module")
def small() -> Iterator[tuple[ServerProcess, ProjectKeys]]:
    """A server that holds few calls and waits two seconds for a message."""
    environ = {
        "MILLIMETRIC_RATE_LIMITS": "off",
        "MILLIMETRIC_GRPC_CALLS_MAX": str(_CALLS_MAX),
        "MILLIMETRIC_GRPC_THREADS": "4",
        "PYTHONPATH": str(Path(__file__).parents[1]),
    }
    with ServerProcess(environ=environ, module=("support.impatient_server",)) as server:
        keys = server.create_project("floods")
        wait_for_key(server, keys)
        yield server, keys


def metadata(key: str) -> tuple[tuple[str, str], ...]:
    return (("authorization", f"Bearer {key}"),)


def expect_service(server: ServerProcess, keys: ProjectKeys) -> None:
    """Others are served as if nothing were: health, and a write."""
    with grpc.insecure_channel(server.grpc_address, options=[("grpc.use_local_subchannel_pool", 1)]) as channel:
        health = health_pb2_grpc.HealthStub(channel).Check(health_pb2.HealthCheckRequest(), timeout=60)
        assert health.status == health_pb2.HealthCheckResponse.SERVING
        stub = ingest_service_pb2_grpc.IngestServiceStub(channel)
        assert stub.Track(_REQUEST, metadata=metadata(keys.secret), timeout=60).ok


async def open_calls(
    server: ServerProcess, path: str, key: str, count: int, between: Callable[[], None] | None = None
) -> Counter[str]:
    """Open calls that send no message, and do `between` while they are open, or wait until all have ended.

    Returns how those of them that ended ended.
    """
    async with grpc.aio.insecure_channel(server.grpc_address) as channel:
        calls = [channel.stream_stream(path)(metadata=metadata(key), timeout=120) for _ in range(count)]
        if between is None:
            await asyncio.gather(*(call.code() for call in calls))
        else:
            await asyncio.sleep(0.5)
            await asyncio.to_thread(between)
        ended = [call for call in calls if call.done()]
        endings = Counter([f"{(await call.code()).name} {await _read_reason(call)}".strip() for call in ended])
        for call in calls:
            call.cancel()
        await asyncio.gather(*(call.code() for call in calls))
        return endings


async def _read_reason(call: Any) -> str:
    return read_reason(grpc.aio.AioRpcError(await call.code(), None, await call.trailing_metadata()))  # type: ignore[arg-type]


@pytest.mark.parametrize("path", [*_UNARY, *_STREAMS])
def test_calls_that_send_nothing_stop_nobody(small: tuple[ServerProcess, ProjectKeys], path: str) -> None:
    server, keys = small
    for key in (keys.secret, _STRANGER):
        asyncio.run(open_calls(server, path, key, 150, lambda: expect_service(server, keys)))


def test_a_stranger_is_refused_before_a_message(small: tuple[ServerProcess, ProjectKeys]) -> None:
    server, _ = small
    endings = asyncio.run(open_calls(server, _TRACK, _STRANGER, 20))
    assert endings == {"UNAUTHENTICATED INVALID_API_KEY": 20}


def test_a_strangers_message_takes_no_memory(small: tuple[ServerProcess, ProjectKeys]) -> None:
    server, keys = small
    expect_service(server, keys)
    before, calls, size = read_memory_peak(server), 10, 16 * 1024 * 1024
    with grpc.insecure_channel(server.grpc_address, options=[("grpc.max_send_message_length", -1)]) as channel:
        track, body = channel.unary_unary(_TRACK), bytes(size)
        waiting = [track.future(body, metadata=metadata(_STRANGER), timeout=120) for _ in range(calls)]
        assert {call.code() for call in waiting} == {grpc.StatusCode.UNAUTHENTICATED}
        for key, reason in ((keys.secret, ""), (_STRANGER, "INVALID_API_KEY")):  # beyond what the door reads at all
            with pytest.raises(grpc.RpcError) as caught:
                track(bytes(2 * size), metadata=metadata(key), timeout=120)
            assert read_reason(caught.value) == reason
    assert read_memory_peak(server) - before < calls * size / 2


def read_memory_peak(server: ServerProcess) -> int:
    """The most bytes of memory that the server has had."""
    assert server.process is not None
    status = Path(f"/proc/{server.process.pid}/status").read_text()
    return int(status.partition("VmHWM:")[2].split()[0]) * 1024


def test_the_oldest_calls_without_a_message_make_room(small: tuple[ServerProcess, ProjectKeys]) -> None:
    server, keys = small
    surplus = 200
    endings = asyncio.run(
        open_calls(server, _TRACK, keys.secret, _CALLS_MAX + surplus, lambda: expect_service(server, keys))
    )
    assert set(endings) == {"UNAVAILABLE OVERLOADED"}
    assert endings.total() >= surplus


def test_a_call_without_a_message_is_ended_in_time(small: tuple[ServerProcess, ProjectKeys]) -> None:
    server, keys = small
    endings = asyncio.run(open_calls(server, _TRACK, keys.secret, 20))
    assert endings == {"UNAVAILABLE OVERLOADED": 20}


def test_a_call_that_ends_without_a_message_says_what_is_missing(small: tuple[ServerProcess, ProjectKeys]) -> None:
    server, keys = small
    with grpc.insecure_channel(server.grpc_address) as channel, pytest.raises(grpc.RpcError) as caught:
        channel.stream_unary(_TRACK)(iter(()), metadata=metadata(keys.secret), timeout=30)
    assert (caught.value.code().name, read_reason(caught.value)) == ("UNIMPLEMENTED", "INVALID_PAYLOAD")


def test_ten_thousand_calls_at_once_are_answered_or_told_to_come_back(
    small: tuple[ServerProcess, ProjectKeys],
) -> None:
    """On two connections, so that more come in than the server holds."""
    server, keys = small

    async def flood(calls: int) -> Counter[str]:
        async with grpc.aio.insecure_channel(
            server.grpc_address, options=[("grpc.use_local_subchannel_pool", 1)]
        ) as channel:
            track = channel.unary_unary(_TRACK)
            body = _REQUEST.SerializeToString()

            async def one() -> str:
                try:
                    await track(body, metadata=metadata(keys.secret), timeout=120)
                except grpc.aio.AioRpcError as error:
                    return f"{error.code().name} {read_reason(error) or error.details()}"
                return "OK"

            return Counter(await asyncio.gather(*(one() for _ in range(calls))))

    async def flood_twice() -> Counter[str]:
        first, second = await asyncio.gather(flood(5000), flood(5000))
        return first + second

    endings = asyncio.run(flood_twice())
    assert set(endings) <= {"OK", "UNAVAILABLE OVERLOADED"}, endings
    assert endings["OK"] > 0
    expect_service(server, keys)
