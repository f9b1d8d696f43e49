"""A stranger's body is neither read nor unpacked: who calls is known by the headers, and looked at first.

Each test sends the head of a request and no body, or a part of it. A server that wants the body first does not answer.
"""

import gzip
import json

import httpx
import pytest

from support.server_process import ORIGIN, ProjectKeys, ServerProcess
from support.slow_client import SlowClient

_UNKNOWN = "sk_live_00000000_" + "x" * 43
_CONNECT = "/millimetric.v1.IngestService/Track"
_MIB = 1024 * 1024


@pytest.fixture(scope="module")
def keys(server: ServerProcess) -> ProjectKeys:
    made = server.create_project("early refusal")
    with httpx.Client(base_url=server.base_url, headers={"authorization": f"Bearer {made.read}"}) as client:
        while client.get("/v1/stats").status_code == 401:
            pass
    return made


def _head(key: str | None, content_type: str = "application/json", **headers: str) -> dict[str, str]:
    given = {} if key is None else {"authorization": f"Bearer {key}"}
    return {"content-type": content_type, "content-length": str(_MIB), **given, **headers}


@pytest.mark.parametrize(
    ("path", "content_type"),
    [
        ("/v1/track", "application/json"),
        ("/v1/batch", "application/json"),
        ("/v1/identify", "application/json"),
        ("/v1/forget", "application/json"),
        ("/v1/funnel", "application/json"),
        (_CONNECT, "application/json"),
        (_CONNECT, "application/proto"),
        ("/millimetric.v1.IngestService/Batch", "application/proto"),
        ("/millimetric.v1.QueryService/Query", "application/json"),
    ],
)
@pytest.mark.parametrize(("key", "status"), [(None, 401), ("letmein", 401), (_UNKNOWN, 401)])
def test_a_stranger_is_refused_before_the_body(
    server: ServerProcess, path: str, content_type: str, key: str | None, status: int
) -> None:
    with SlowClient(server.http_port) as client:
        client.send_head("POST", path, _head(key, content_type, **{"content-encoding": "gzip"}))
        assert client.read_answer().status == status


def test_a_key_of_the_wrong_kind_is_refused_before_the_body(server: ServerProcess, keys: ProjectKeys) -> None:
    with SlowClient(server.http_port) as client:
        client.send_head("POST", "/v1/track", _head(keys.read))
        answer = client.read_answer()
    assert (answer.status, json.loads(answer.body)["error"]) == (403, "insufficient_scope")


@pytest.mark.parametrize("path", ["/v1/track", _CONNECT])
def test_a_foreign_page_is_refused_before_the_body(server: ServerProcess, keys: ProjectKeys, path: str) -> None:
    with SlowClient(server.http_port) as client:
        client.send_head("POST", path, _head(keys.public, origin="https://evil.example.net"))
        answer = client.read_answer()
    assert (answer.status, b"origin" in answer.body) == (403, True)


def test_what_is_announced_as_too_large_is_refused_before_the_body(server: ServerProcess, keys: ProjectKeys) -> None:
    with SlowClient(server.http_port) as client:
        client.send_head("POST", "/v1/batch", _head(keys.secret) | {"content-length": str(17 * _MIB)})
        assert client.read_answer().status == 413


def test_a_connection_goes_on_behind_a_body_that_nobody_read(server: ServerProcess, keys: ProjectKeys) -> None:
    with SlowClient(server.http_port) as client:
        client.send_head("POST", "/v1/track", _head(_UNKNOWN))
        assert client.read_answer().status == 401
        client.send(b"x" * _MIB)
        event = b'{"event":"after"}'
        client.send_head("POST", "/v1/track", _head(keys.secret) | {"content-length": str(len(event))})
        client.send(event)
        assert client.read_answer().status == 202


def test_a_refusal_can_be_read_where_the_connection_ends_with_it(server: ServerProcess) -> None:
    with SlowClient(server.http_port) as client:
        client.send_head("POST", "/v1/track", _head(_UNKNOWN, connection="close"))
        client.send(b"x" * _MIB)
        assert client.read_answer().status == 401
        assert client.is_closed_by_server()


def test_a_refusal_of_too_much_in_chunks_can_be_read_where_the_connection_ends_with_it(
    server: ServerProcess, keys: ProjectKeys
) -> None:
    headers = {"authorization": f"Bearer {keys.secret}", "transfer-encoding": "chunked", "connection": "close"}
    with SlowClient(server.http_port) as client:
        client.send_head("POST", "/v1/track", headers)
        client.send((b"%x\r\n" % _MIB + b"x" * _MIB + b"\r\n") * 17 + b"0\r\n\r\n")
        assert client.read_answer().status == 413


def test_a_beacon_is_read_up_to_64_kib(server: ServerProcess, keys: ProjectKeys) -> None:
    filling = "y" * (64 * 1024 - len(json.dumps({"key": keys.public, "event": "x", "filling": ""})))
    body = json.dumps({"key": keys.public, "event": "x", "filling": filling}).encode()
    assert len(body) == 64 * 1024
    headers = {"content-type": "text/plain;charset=UTF-8", "origin": ORIGIN}
    assert httpx.post(f"{server.base_url}/v1/track", content=body, headers=headers).status_code == 202
    larger = httpx.post(f"{server.base_url}/v1/track", content=body + b" ", headers=headers)
    assert (larger.status_code, larger.json()["error"]) == (413, "payload_too_large")


def test_a_beacon_larger_than_that_is_not_waited_for(server: ServerProcess) -> None:
    with SlowClient(server.http_port) as client:
        client.send_head("POST", "/v1/track", _head(None, "text/plain", origin=ORIGIN))
        assert client.read_answer().status == 413


def test_a_beacon_is_not_unpacked(server: ServerProcess, keys: ProjectKeys) -> None:
    body = gzip.compress(json.dumps({"key": keys.public, "event": "x"}).encode())
    headers = {"content-type": "text/plain", "origin": ORIGIN, "content-encoding": "gzip"}
    answer = httpx.post(f"{server.base_url}/v1/track", content=body, headers=headers)
    assert (answer.status_code, answer.json()["error"]) == (401, "missing_bearer_token")


def test_a_refusal_is_counted(server: ServerProcess) -> None:
    def count() -> float:
        lines = httpx.get(server.metrics_url).text.splitlines()
        wanted = 'millimetric_requests_total{door="rest",reason="invalid_api_key",rpc="Forget"}'
        return next((float(line.split()[1]) for line in lines if line.startswith(wanted)), 0.0)

    before = count()
    with SlowClient(server.http_port) as client:
        client.send_head("POST", "/v1/forget", _head(_UNKNOWN))
        client.read_answer()
    assert count() == before + 1
