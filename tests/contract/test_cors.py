"""What browsers need: preflights without a key, answers that a page may read, and no credentials."""

import httpx
import pytest

from contract.projects import Tenant
from contract.stage import Stage
from support.server_process import ORIGIN

_ALLOWED = {"authorization", "content-type", "millimetric-ack", "millimetric-ignore-opt-out"}


@pytest.fixture
def http(stage: Stage) -> httpx.Client:
    return stage.doors.http


@pytest.mark.parametrize("path", ["/v1/track", "/v1/batch", "/v1/identify", "/v1/stats", "/v1/unheard-of"])
def test_a_preflight_is_answered_without_a_key(http: httpx.Client, path: str) -> None:
    asked = {
        "Origin": "https://anywhere.example",
        "Access-Control-Request-Method": "POST",
        "Access-Control-Request-Headers": "authorization,content-type",
    }
    answer = http.request("OPTIONS", path, headers=asked)
    assert answer.status_code in (200, 204)
    assert answer.headers["access-control-allow-origin"] in ("*", "https://anywhere.example")
    assert "POST" in answer.headers["access-control-allow-methods"]
    allowed = answer.headers["access-control-allow-headers"].lower().split(",")
    assert {name.strip() for name in allowed} >= _ALLOWED
    assert "access-control-allow-credentials" not in answer.headers
    assert "set-cookie" not in answer.headers
    assert answer.content == b""


def test_a_page_may_read_an_answer(http: httpx.Client, tenant: Tenant) -> None:
    headers = {"Authorization": f"Bearer {tenant.keys['pk']}", "Origin": ORIGIN}
    answer = http.post("/v1/track", json={"event": "x"}, headers=headers)
    assert answer.status_code == 202
    assert answer.headers["access-control-allow-origin"] == "*"
    assert "set-cookie" not in answer.headers


@pytest.mark.parametrize(
    ("key", "body", "status"),
    [
        pytest.param("pk", b"{}", 400, id="invalid"),
        pytest.param("unknown", b"{}", 401, id="unknown-key"),
        pytest.param("rk", b"{}", 403, id="scope"),
        pytest.param("pk", b"x" * 16_777_217, 413, id="too-large"),
    ],
)
def test_a_page_may_read_an_error(http: httpx.Client, tenant: Tenant, key: str, body: bytes, status: int) -> None:
    headers = {"Authorization": f"Bearer {tenant.keys[key]}", "Origin": ORIGIN}
    for path in ("/v1/track", "/millimetric.v1.IngestService/Track"):
        answer = http.post(path, content=body, headers=headers | {"Content-Type": "application/json"})
        assert answer.headers["access-control-allow-origin"] == "*"
        assert "access-control-allow-credentials" not in answer.headers
        assert path != "/v1/track" or answer.status_code == status


def test_a_page_may_read_that_there_is_no_such_route(http: httpx.Client) -> None:
    answer = http.post("/v1/unheard-of", headers={"Origin": ORIGIN})
    assert answer.status_code == 404
    assert answer.headers["access-control-allow-origin"] == "*"


def test_operations_are_not_for_pages(http: httpx.Client) -> None:
    for path in ("/healthz", "/readyz"):
        assert "access-control-allow-origin" not in http.get(path, headers={"Origin": ORIGIN}).headers
