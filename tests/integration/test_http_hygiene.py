"""A caller of the HTTP port who sends too much, too slowly or nothing is bounded, and takes nothing from others.

The server has small limits, so that tests need not wait: 100 connections, 1 s for a head and a rest, 2 s for a body.
"""

import socket
from collections.abc import Iterator
from contextlib import ExitStack

import httpx
import pytest

from support.memory import read_memory_peak, reset_memory_peak
from support.server_process import ProjectKeys, ServerProcess
from support.slow_client import SlowClient

_CONNECTIONS = 100
_MIB = 1024 * 1024


@pytest.fixture(scope="module")
def strict() -> Iterator[ServerProcess]:
    environ = {
        "MILLIMETRIC_HTTP_CONNECTIONS_MAX": str(_CONNECTIONS),
        "MILLIMETRIC_HTTP_HEAD_TIMEOUT_S": "1",
        "MILLIMETRIC_HTTP_BODY_TIMEOUT_S": "2",
        "MILLIMETRIC_HTTP_IDLE_TIMEOUT_S": "1",
        "MILLIMETRIC_BODY_BYTES_MAX": str(_MIB),
    }
    with ServerProcess(environ=environ) as server:
        yield server


@pytest.fixture(scope="module")
def keys(strict: ServerProcess) -> ProjectKeys:
    made = strict.create_project("hygiene")
    while httpx.get(f"{strict.base_url}/v1/stats", headers={"authorization": f"Bearer {made.read}"}).status_code == 401:
        pass
    return made


@pytest.fixture
def client(strict: ServerProcess) -> Iterator[SlowClient]:
    with SlowClient(strict.http_port) as made:
        yield made


def _track(client: SlowClient, keys: ProjectKeys) -> int:
    body = b'{"event":"x"}'
    client.send_head("POST", "/v1/track", {"authorization": f"Bearer {keys.secret}", "content-length": str(len(body))})
    client.send(body)
    return client.read_answer().status


def _is_alive(strict: ServerProcess) -> bool:
    return httpx.get(f"{strict.base_url}/healthz").status_code == 200


def _flood(client: SlowClient, piece: bytes, pieces: int) -> int:
    """Send until the server closes; returns how many pieces it took."""
    for number in range(pieces):
        try:
            client.send(piece)
        except OSError:
            return number
    return pieces


def test_100_headers_are_taken_and_101_are_not(client: SlowClient) -> None:
    client.send_head("GET", "/healthz", {f"x-{number}": "y" for number in range(99)})  # and host
    assert client.read_answer().status == 200
    client.send_head("GET", "/healthz", {f"x-{number}": "y" for number in range(100)})
    answer = client.read_answer()
    assert (answer.status, answer.headers["connection"]) == (431, "close")
    assert answer.headers["x-request-id"]
    assert client.is_closed_by_server()


@pytest.mark.parametrize("headers", [{"x": "y" * 65_000}, {f"x-{number}": "y" * 700 for number in range(90)}])
def test_64_kib_of_headers_are_taken(client: SlowClient, headers: dict[str, str]) -> None:
    client.send_head("GET", "/healthz", headers)
    assert client.read_answer().status == 200


@pytest.mark.parametrize(
    ("path", "headers"),
    [
        ("/healthz", {"x": "y" * 66_000}),
        ("/healthz", {f"x-{number}": "y" * 800 for number in range(90)}),
        ("/healthz?" + "z" * 66_000, {}),
        ("/v1/track", {"x" * 70_000: "y"}),
    ],
)
def test_more_is_not(client: SlowClient, path: str, headers: dict[str, str]) -> None:
    client.send_head("GET", path, headers)
    assert client.read_answer().status == 431
    assert client.is_closed_by_server()


@pytest.mark.parametrize(
    ("first", "more"),
    [
        (b"GET /healthz HTTP/1.1\r\n", b"a:b\r\n" * 10_000),
        (b"GET /healthz HTTP/1.1\r\nx: ", b"y" * 64 * 1024),
        (b"GET /", b"z" * 64 * 1024),
        (b"GET /healthz HTTP/1.1\r\n", b"y" * 64 * 1024),
    ],
)
def test_a_head_without_end_is_ended(strict: ServerProcess, client: SlowClient, first: bytes, more: bytes) -> None:
    assert strict.process is not None
    reset_memory_peak(strict.process.pid)
    before = read_memory_peak(strict.process.pid)
    client.send(first)
    assert _flood(client, more, 1000) < 200  # the rest lies in buffers of the network
    assert read_memory_peak(strict.process.pid) - before < 20 * _MIB
    assert _is_alive(strict)


def test_many_equal_headers_are_joined_in_order(client: SlowClient, keys: ProjectKeys) -> None:
    names = "".join("sec-gpc: 0\r\n" for _ in range(90))
    client.send(b"POST /v1/track HTTP/1.1\r\nhost: x\r\n" + names.encode())
    client.send(f"authorization: Bearer {keys.secret}\r\ncontent-length: 13\r\n\r\n".encode() + b'{"event":"x"}')
    assert client.read_answer().status == 202


@pytest.mark.parametrize("half", [b"GET /healthz HTTP/1.1\r\nhost: x", b"G", b"\r\n"])
def test_half_a_head_is_not_waited_for(client: SlowClient, half: bytes) -> None:
    client.send(half)
    assert client.read_answer().status == 408
    assert client.is_closed_by_server()


def test_half_a_head_behind_an_answer_is_not_waited_for(client: SlowClient, keys: ProjectKeys) -> None:
    assert _track(client, keys) == 202
    client.send(b"POST /v1/tr")
    assert client.read_answer().status == 408


def test_a_silent_connection_is_closed(client: SlowClient) -> None:
    assert client.is_closed_by_server()


def test_an_idle_connection_is_closed(client: SlowClient, keys: ProjectKeys) -> None:
    assert _track(client, keys) == 202
    assert _track(client, keys) == 202
    assert client.is_closed_by_server()


@pytest.mark.parametrize("length", [{"content-length": "1000"}, {"transfer-encoding": "chunked"}])
@pytest.mark.parametrize("part", [b"", b"3\r\nabc\r\n"])
def test_half_a_body_is_not_waited_for(
    client: SlowClient, keys: ProjectKeys, length: dict[str, str], part: bytes
) -> None:
    client.send_head("POST", "/v1/track", {"authorization": f"Bearer {keys.secret}", **length})
    client.send(part)
    assert client.read_answer().status == 408
    assert client.is_closed_by_server()


def test_half_a_body_of_a_stranger_is_not_waited_for(client: SlowClient) -> None:
    client.send_head("POST", "/v1/track", {"content-length": "1000"})
    assert client.read_answer().status == 401
    assert client.is_closed_by_server()


def test_a_stranger_can_send_no_endless_body(client: SlowClient) -> None:
    client.send_head("POST", "/v1/track", {"transfer-encoding": "chunked"})
    assert client.read_answer().status == 401
    chunk = b"%x\r\n" % _MIB + b"x" * _MIB + b"\r\n"
    assert _flood(client, chunk, 100) < 50  # 8 times the largest body, and buffers of the network


def test_a_slow_body_that_goes_on_is_read(client: SlowClient, keys: ProjectKeys) -> None:
    size = 96 * 1024
    client.send_head("POST", "/v1/track", {"authorization": f"Bearer {keys.secret}", "content-length": str(size)})
    event = b'{"event":"x"}'
    with pytest.raises(TimeoutError):
        client.wait_for_silence(0.5)
    for _ in range(3):
        client.send(b" " * (size // 4))
        with pytest.raises(TimeoutError):
            client.wait_for_silence(1.5)
    client.send(b" " * (size // 4 - len(event)) + event)
    assert client.read_answer().status == 202


def test_a_bad_request_behind_a_good_one_does_not_harm_its_answer(client: SlowClient, keys: ProjectKeys) -> None:
    head = f"GET /v1/stats HTTP/1.1\r\nhost: x\r\nauthorization: Bearer {keys.read}\r\n\r\n"
    client.send(head.encode() + b"nonsense\r\n\r\n")
    assert client.read_answer().status == 200
    assert client.is_closed_by_server()


def test_pipelined_requests_are_answered_in_order(client: SlowClient, keys: ProjectKeys) -> None:
    body = b'{"event":"x"}'
    head = f"POST /v1/track HTTP/1.1\r\nhost: x\r\nauthorization: Bearer {keys.secret}\r\ncontent-length: {len(body)}"
    client.send((head.encode() + b"\r\n\r\n" + body) * 30)
    assert [client.read_answer().status for _ in range(30)] == [202] * 30
    assert _track(client, keys) == 202


def test_no_number_of_connections_keeps_others_out(strict: ServerProcess, keys: ProjectKeys) -> None:
    assert strict.process is not None
    with ExitStack() as stack:
        used = stack.enter_context(SlowClient(strict.http_port))
        silent = [stack.enter_context(SlowClient(strict.http_port)) for _ in range(_CONNECTIONS * 5)]
        for number, one in enumerate(silent):
            if number % 50 == 0:
                with SlowClient(strict.http_port) as client:
                    assert _track(client, keys) == 202
            if number % 3 == 0:
                _flood(one, b"GET / HTTP/1.1\r\nx: y", 1)
        assert _is_alive(strict)
        used.close()
    with socket.create_connection(("127.0.0.1", strict.http_port)):
        assert _is_alive(strict)


def test_connections_whose_callers_wait_for_an_answer_are_kept(strict: ServerProcess, keys: ProjectKeys) -> None:
    """The answer waits for a body that comes, while hundreds of others connect and say nothing."""
    with SlowClient(strict.http_port) as client, ExitStack() as stack:
        body = b'{"event":"x"}'
        client.send_head(
            "POST", "/v1/track", {"authorization": f"Bearer {keys.secret}", "content-length": str(len(body))}
        )
        for _ in range(_CONNECTIONS * 2):
            stack.enter_context(SlowClient(strict.http_port))
        client.send(body)
        assert client.read_answer().status == 202


def test_an_upgrade_is_answered_as_any_request(client: SlowClient) -> None:
    websocket = {
        "connection": "upgrade",
        "upgrade": "websocket",
        "sec-websocket-version": "13",
        "sec-websocket-key": "eA==",
    }
    client.send_head("GET", "/healthz", websocket)
    assert client.read_answer().status == 200
