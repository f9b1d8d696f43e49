"""Callers who hang up or whose deadline passes, a thousand of them, at every door of a real server; and dead workers.

What was acknowledged is stored once, others are answered, and SIGTERM ends the server.
"""

import json
import random
import socket
import struct
import time
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import grpc
import httpx
import pytest
from reads import bearer, count_everywhere, wait_for_key, wait_until

from millimetric.v1 import ingest_service_pb2, ingest_service_pb2_grpc
from support.server_process import ProjectKeys, ServerProcess

_HANG_UPS = 1000
_AT_ONCE = 16
_PATIENCE_S = 0.03  # a commit and a load lie on both sides of it
_CONNECT = "/millimetric.v1.IngestService/Track"
_CALLS_AFTERWARDS = 20


@pytest.fixture
def server() -> Iterator[ServerProcess]:
    with ServerProcess(environ={"MILLIMETRIC_RATE_LIMITS": "off"}) as process:
        yield process


@pytest.fixture
def keys(server: ServerProcess) -> ProjectKeys:
    keys = server.create_project("impatient")
    wait_for_key(server, keys)
    return keys


def post(path: str, key: str, body: bytes, *headers: str) -> bytes:
    lines = (f"POST {path} HTTP/1.1", "Host: test", f"Authorization: Bearer {key}", *headers)
    return "\r\n".join((*lines, f"Content-Length: {len(body)}", "", "")).encode() + body


def write_json(number: int, ack: str) -> bytes:
    return json.dumps({"event": "tick", "event_id": f"e{number}", "ack": ack}).encode()


def make_rest(key: str, number: int, chance: random.Random) -> bytes:
    return post("/v1/track", key, write_json(number, _choose_ack(chance)), "Content-Type: application/json")


def make_connect(key: str, number: int, chance: random.Random) -> bytes:
    deadline = f"Connect-Timeout-Ms: {chance.choice((1, 3, 10, 30, 60_000))}"
    body = write_json(number, f"ACK_{_choose_ack(chance).upper()}")
    return post(_CONNECT, key, body, "Content-Type: application/json", deadline)


def make_grpc_web(key: str, number: int, chance: random.Random) -> bytes:
    ack = ingest_service_pb2.Ack.Value(f"ACK_{_choose_ack(chance).upper()}")
    request = ingest_service_pb2.TrackRequest(event="tick", event_id=f"e{number}", ack=ack).SerializeToString()
    body = b"\0" + struct.pack(">I", len(request)) + request
    deadline = f"grpc-timeout: {chance.choice(('1m', '5m', '20m', '1M'))}"
    return post(_CONNECT, key, body, "Content-Type: application/grpc-web+proto", "X-Grpc-Web: 1", deadline)


HTTP_CALLS: tuple[Callable[[str, int, random.Random], bytes], ...] = (make_rest, make_connect, make_grpc_web)


def _choose_ack(chance: random.Random) -> str:
    return chance.choice(("durable", "stored"))


def hang_up(server: ServerProcess, channel: grpc.Channel, key: str, number: int) -> bool:
    """Make a call and leave at a random moment; returns whether it was acknowledged before."""
    chance = random.Random(number)
    patience_s = chance.uniform(0, _PATIENCE_S)
    if number % 4 == 3:
        return _hang_up_grpc(channel, key, number, patience_s, is_deadline=chance.random() < 0.5)
    with socket.create_connection(("127.0.0.1", server.http_port), timeout=10) as connection:
        connection.sendall(HTTP_CALLS[number % 4](key, number, chance))
        connection.settimeout(max(patience_s, 0.001))
        try:
            answer = connection.recv(64)
        except TimeoutError:
            return False
        # gRPC-Web says 200 also to a refusal, so only the others are taken for acknowledged.
        return number % 4 != 2 and answer.split(b" ")[1:2] in ([b"200"], [b"202"])


def _hang_up_grpc(channel: grpc.Channel, key: str, number: int, patience_s: float, *, is_deadline: bool) -> bool:
    stub = ingest_service_pb2_grpc.IngestServiceStub(channel)
    call = stub.Track.future(
        ingest_service_pb2.TrackRequest(event="tick", event_id=f"e{number}", ack=1 + number // 4 % 2),
        metadata=(("authorization", f"Bearer {key}"),),
        timeout=patience_s if is_deadline else 60,
    )
    time.sleep(patience_s)
    call.cancel()
    return not call.cancelled() and call.code() is grpc.StatusCode.OK


def track_at_every_door(server: ServerProcess, key: str, number: int) -> None:
    """Write through each door, and wait until the events are stored. Raises where one does not answer."""
    headers = {**bearer(key), "Content-Type": "application/json"}
    event = {"event": "after", "event_id": f"rest{number}", "ack": "stored"}
    answer = httpx.post(f"{server.base_url}/v1/track", json=event, headers=headers, timeout=30)
    assert answer.status_code == 202, answer.text
    event = {"event": "after", "eventId": f"connect{number}", "ack": "ACK_STORED"}
    answer = httpx.post(f"{server.base_url}{_CONNECT}", json=event, headers=headers, timeout=30)
    assert answer.status_code == 200, answer.text
    with grpc.insecure_channel(server.grpc_address) as channel:
        ingest_service_pb2_grpc.IngestServiceStub(channel).Track(
            ingest_service_pb2.TrackRequest(event="after", event_id=f"grpc{number}", ack=ingest_service_pb2.ACK_STORED),
            metadata=(("authorization", f"Bearer {key}"),),
            timeout=30,
        )


def test_a_thousand_hang_ups_stop_nobody(server: ServerProcess, keys: ProjectKeys) -> None:
    with grpc.insecure_channel(server.grpc_address) as channel, ThreadPoolExecutor(_AT_ONCE) as callers:
        acknowledged = sum(callers.map(lambda number: hang_up(server, channel, keys.secret, number), range(_HANG_UPS)))
    for number in range(_CALLS_AFTERWARDS):
        track_at_every_door(server, keys.secret, number)
    assert httpx.get(f"{server.base_url}/readyz").json()["ready"] is True
    stored = _count_unique(server, keys)
    counted = count_everywhere(server, keys)
    assert set(counted.values()) == {stored}, counted  # each once, also in the roll-ups
    assert stored >= acknowledged + 3 * _CALLS_AFTERWARDS
    assert "Traceback" not in server.log
    assert server.stop() == 0


def test_sigterm_ends_a_server_with_callers_who_wait(server: ServerProcess, keys: ProjectKeys) -> None:
    with grpc.insecure_channel(server.grpc_address) as channel, ThreadPoolExecutor(_AT_ONCE) as callers:
        going_on = [callers.submit(hang_up, server, channel, keys.secret, number) for number in range(_HANG_UPS)]
        time.sleep(0.5)
        assert server.stop() == 0
        for call in going_on:
            call.cancel()


@pytest.mark.parametrize("worker", ["journal-writer", "loader"])
def test_a_dead_worker_ends_the_process_with_an_error(tmp_path: Path, worker: str) -> None:
    environ = {"PYTHONPATH": str(Path(__file__).parents[1])}
    with ServerProcess(environ=environ, module=("support.dying_server", str(tmp_path))) as server:
        keys = server.create_project("shop")
        wait_for_key(server, keys)
        track_at_every_door(server, keys.secret, 0)
        (tmp_path / worker).touch()
        event = {"event": "last", "event_id": "last", "ack": "stored"}
        answer = httpx.post(f"{server.base_url}/v1/track", json=event, headers=bearer(keys.secret), timeout=30)
        assert answer.status_code in (202, 500, 502, 503), answer.text  # nobody is left waiting
        assert server.process is not None
        assert server.process.wait(60) == 1
        assert f"{worker}: the thread died" in server.log
        assert f"The server ended because its {worker} stopped" in server.log
        (tmp_path / worker).unlink()
        server.start()
        wait_for_key(server, keys)
        track_at_every_door(server, keys.secret, 1)
        wait_until(lambda: count_everywhere(server, keys)["events"] >= 6, "acknowledged events are still there")


def _count_unique(server: ServerProcess, keys: ProjectKeys) -> int:
    """How many different event ids the project has, page by page."""
    found: set[str] = set()
    token = ""
    while True:
        page = httpx.get(
            f"{server.base_url}/v1/query",
            params={"limit": "1000"} | ({"page_token": token} if token else {}),
            headers=bearer(keys.read),
            timeout=30,
        ).json()
        found.update(row["event_id"] for row in page["rows"])
        if not (token := page.get("next_page_token", "")):
            return len(found)
