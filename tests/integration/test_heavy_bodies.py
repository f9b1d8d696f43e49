"""A few KB of gzip that unpack to millions of pieces take neither the server's memory nor its time from others."""

import gzip
from collections.abc import Callable, Iterator
from concurrent.futures import FIRST_COMPLETED, ThreadPoolExecutor, wait

import grpc
import httpx
import pytest

from millimetric_server.api.messages import BatchRequest, TrackRequest
from support.heavy_bodies import JSON_BODIES, NAMED, PROTO_BODIES, proto_field, proto_struct
from support.memory import read_memory_peak, reset_memory_peak
from support.server_process import ProjectKeys, ServerProcess

pytestmark = pytest.mark.slow

_AT_ONCE = 4
_GROWTH_MAX = 400 * 1024 * 1024  # four times a body packed, unpacked, and as text
_METHODS = {BatchRequest: "/millimetric.v1.IngestService/Batch", TrackRequest: "/millimetric.v1.IngestService/Track"}
_JSON = ("empty events", "lists for events", "many names in a track")
_PROTO = ("empty events", "values of a track", "values of an event")
_TIMEOUT_S = 120


@pytest.fixture(scope="module")
def keys(server: ServerProcess) -> tuple[ProjectKeys, ProjectKeys]:
    """Two projects: one that sends heavy bodies, and another one."""
    attacker, other = server.create_project("heavy bodies"), server.create_project("light bodies")
    while httpx.get(f"{server.base_url}/v1/stats", headers=_bearer(other.read)).status_code == 401:
        pass
    return attacker, other


@pytest.fixture
def client(server: ServerProcess) -> Iterator[httpx.Client]:
    with httpx.Client(base_url=server.base_url, timeout=_TIMEOUT_S) as made:
        yield made


def _bearer(key: str) -> dict[str, str]:
    return {"authorization": f"Bearer {key}"}


def _sender(server: ServerProcess, client: httpx.Client, key: str, door: str, name: str) -> Callable[[], object]:
    """What sends the body through the door; returns a refusal as that door tells it."""
    heavy = (JSON_BODIES if door in ("rest", "connect_json") else PROTO_BODIES)[name]
    body, path = heavy.make(), _METHODS[heavy.request]
    if door == "grpc":

        def call() -> object:
            with grpc.insecure_channel(server.grpc_address) as channel:
                try:
                    channel.unary_unary(path)(
                        body, _TIMEOUT_S, tuple(_bearer(key).items()), compression=grpc.Compression.Gzip
                    )
                except grpc.RpcError as error:
                    return error.code()  # type: ignore[attr-defined]
                return grpc.StatusCode.OK

        return call
    packed = gzip.compress(body, 9)
    content_type = "application/proto" if door == "connect_proto" else "application/json"
    headers = {"content-type": content_type, "content-encoding": "gzip", **_bearer(key)}
    route = path if door != "rest" else "/v1/batch" if heavy.request is BatchRequest else "/v1/track"
    return lambda: client.post(route, content=packed, headers=headers).status_code


@pytest.mark.parametrize(
    ("door", "name"),
    [(door, name) for door in ("rest", "connect_json") for name in _JSON]
    + [(door, name) for door in ("connect_proto", "grpc") for name in _PROTO],
)
def test_memory_stays(
    server: ServerProcess, client: httpx.Client, keys: tuple[ProjectKeys, ProjectKeys], door: str, name: str
) -> None:
    assert server.process is not None
    send = _sender(server, client, keys[0].secret, door, name)
    reset_memory_peak(server.process.pid)
    before = read_memory_peak(server.process.pid)
    with ThreadPoolExecutor(_AT_ONCE) as pool:
        answers = [task.result() for task in [pool.submit(send) for _ in range(_AT_ONCE)]]
    grown = read_memory_peak(server.process.pid) - before
    refused = {400, 429, 503, grpc.StatusCode.INVALID_ARGUMENT, grpc.StatusCode.RESOURCE_EXHAUSTED}
    assert all(answer in refused or name == "many names in a track" for answer in answers), answers
    assert grown < _GROWTH_MAX, f"{grown:,} bytes more"


def test_events_of_refused_lists_are_not_counted(
    client: httpx.Client, keys: tuple[ProjectKeys, ProjectKeys], server: ServerProcess
) -> None:
    _sender(server, client, keys[0].secret, "rest", "empty events")()
    lines = httpx.get(server.metrics_url).text.splitlines()
    counted = [line for line in lines if keys[0].project_id in line and line.startswith("millimetric_events")]
    assert all(float(line.split()[-1]) <= 5000 for line in counted), counted


@pytest.mark.parametrize("door", ["connect", "grpc"])
def test_others_are_answered_while_a_heavy_body_is_read(
    server: ServerProcess, client: httpx.Client, keys: tuple[ProjectKeys, ProjectKeys], door: str
) -> None:
    """This batch is within all limits until the values of its events are counted, one after the other."""
    event = proto_field(1, NAMED + proto_field(10, proto_struct(3500, b"\x32\x00")))
    body, path = event * 200, _METHODS[BatchRequest]
    headers = {"content-type": "application/proto", "content-encoding": "gzip", **_bearer(keys[0].secret)}

    def send_over_grpc() -> None:
        with grpc.insecure_channel(server.grpc_address) as channel, pytest.raises(grpc.RpcError):
            channel.unary_unary(path)(
                body, _TIMEOUT_S, tuple(_bearer(keys[0].secret).items()), compression=grpc.Compression.Gzip
            )

    def send_over_connect() -> None:
        assert client.post(path, content=gzip.compress(body), headers=headers).status_code == 400

    with ThreadPoolExecutor(2) as pool:
        heavy = [pool.submit(send_over_grpc if door == "grpc" else send_over_connect) for _ in range(2)]
        wait(heavy, 0.5, FIRST_COMPLETED)  # they are under way
        for _ in range(3):
            answer = client.post("/v1/track", json={"event": "light"}, headers=_bearer(keys[1].secret))
            assert answer.status_code == 202
        assert not all(task.done() for task in heavy)
        for task in heavy:
            task.result()


@pytest.mark.parametrize("compression", [grpc.Compression.NoCompression, grpc.Compression.Gzip])
def test_a_message_far_beyond_the_limit_is_not_held(
    server: ServerProcess, keys: tuple[ProjectKeys, ProjectKeys], compression: grpc.Compression
) -> None:
    """The gRPC library refuses it by its length, packed or unpacked: with its code, and no reason of ours."""
    assert server.process is not None
    reset_memory_peak(server.process.pid)
    before = read_memory_peak(server.process.pid)
    with grpc.insecure_channel(server.grpc_address, [("grpc.max_send_message_length", -1)]) as channel:
        track = channel.unary_unary(_METHODS[TrackRequest])
        metadata = tuple(_bearer(keys[0].secret).items())
        for _ in range(3):
            with pytest.raises(grpc.RpcError) as refused:
                track(bytes(200_000_000), _TIMEOUT_S, metadata, compression=compression)
            assert refused.value.code() is grpc.StatusCode.RESOURCE_EXHAUSTED
    assert read_memory_peak(server.process.pid) - before < 100_000_000
