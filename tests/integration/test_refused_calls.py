"""Whoever makes nothing but refused calls is told to wait; good calls of the same key and address go on."""

from collections import Counter
from collections.abc import Iterator

import grpc
import httpx
import pytest

from support.server_process import ProjectKeys, ServerProcess
from support.waiting import wait_until

_UNKNOWN = {"authorization": "Bearer sk_live_00000000_" + "x" * 43}
_CONNECT = "/millimetric.v1.IngestService/Track"


@pytest.fixture(scope="module")
def strict() -> Iterator[ServerProcess]:
    with ServerProcess(environ={"MILLIMETRIC_RATE_LIMITS": "refused=0.1/20,track=off"}) as server:
        yield server


@pytest.fixture
def keys(strict: ServerProcess) -> ProjectKeys:
    return strict.create_project(f"refused {httpx.get(strict.base_url + '/healthz').elapsed}")


@pytest.fixture
def client(strict: ServerProcess) -> Iterator[httpx.Client]:
    with httpx.Client(base_url=strict.base_url) as made:
        yield made


def _bearer(key: str) -> dict[str, str]:
    return {"authorization": f"Bearer {key}"}


def test_a_stranger_is_told_to_wait_and_others_at_the_address_are_not(
    strict: ServerProcess, client: httpx.Client, keys: ProjectKeys
) -> None:
    found: Counter[int] = Counter()
    for _ in range(30):
        answer = client.post("/v1/track", json={"event": "x"}, headers=_UNKNOWN)
        found[answer.status_code] += 1
        good = client.post("/v1/track", json={"event": "x"}, headers=_bearer(keys.secret))
        assert good.status_code == 202
    assert set(found) == {401, 429}
    assert found[401] <= 23  # 20, and what flows in meanwhile
    assert (answer.json()["error"], int(answer.headers["retry-after"]) > 0) == ("rate_limited", True)
    connect = client.post(_CONNECT, json={"event": "x"}, headers=_UNKNOWN)
    assert (connect.status_code, connect.json()["code"]) == (429, "resource_exhausted")
    with grpc.insecure_channel(strict.grpc_address) as channel, pytest.raises(grpc.RpcError) as caught:
        channel.unary_unary(_CONNECT)(b"\x0a\x01x", 10, tuple(_UNKNOWN.items()))
    assert caught.value.code() is grpc.StatusCode.RESOURCE_EXHAUSTED  # type: ignore[attr-defined]


def test_bad_bodies_of_a_key_pay_and_its_good_ones_do_not(client: httpx.Client, keys: ProjectKeys) -> None:
    found: Counter[int] = Counter()
    for _ in range(30):
        found[client.post("/v1/track", json={"event": ""}, headers=_bearer(keys.secret)).status_code] += 1
        assert client.post("/v1/track", json={"event": "x"}, headers=_bearer(keys.secret)).status_code == 202
    assert set(found) == {400, 429}
    large = client.post("/v1/track", content=b" " * 100_000 + b'{"event":"x"}', headers=_bearer(keys.secret))
    assert large.status_code == 429  # a large body is not read for who sends only bad ones


@pytest.mark.parametrize(
    ("path", "headers", "body"),
    [
        ("/v1/track", {"content-type": "image/png"}, b"x"),
        (_CONNECT, {"content-type": "image/png"}, b"x"),
        (_CONNECT, {"content-type": "application/json", "connect-timeout-ms": "soon"}, b"{}"),
        (_CONNECT, {"content-type": "application/json", "content-encoding": "br"}, b"x"),
        (_CONNECT, {"content-type": "application/grpc-web+proto"}, b"\0\0\0\0\x09x"),
        (_CONNECT, {"content-type": "application/grpc-web+proto", "grpc-timeout": "soon"}, b"\0\0\0\0\0"),
    ],
)
def test_calls_that_break_a_protocol_pay_too(
    client: httpx.Client, keys: ProjectKeys, path: str, headers: dict[str, str], body: bytes
) -> None:
    found: Counter[str] = Counter()
    for _ in range(30):
        answer = client.post(path, content=body, headers=_bearer(keys.secret) | headers)
        found[answer.headers.get("grpc-status") or str(answer.status_code)] += 1
    told_to_wait = "8" if "grpc-status" in answer.headers else "429"
    assert len(found) == 2
    assert 1 <= found[told_to_wait] <= 10  # tokens flow in while a busy machine takes its time


def test_the_ledger_tells_why_events_were_refused(
    strict: ServerProcess, client: httpx.Client, keys: ProjectKeys
) -> None:
    """Also those whose caller was told to wait."""
    for _ in range(30):
        client.post("/v1/track", json={"event": ""}, headers=_bearer(keys.secret))
    wanted = f'millimetric_events_rejected_total{{project="{keys.project_id}",reason="invalid_payload"}} 30.0'
    wait_until(lambda: wanted in httpx.get(strict.metrics_url).text.splitlines(), "the ledger is written")
