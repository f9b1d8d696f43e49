"""No handler waits on the event loop: one that did would stop every caller of the HTTP port, health included.

Every RPC goes through the HTTP doors of a server that notes what its loop waits for (tests/support/watched_server.py),
in all the ways that lead to other code: well, refused, repeated, cold. Nothing is timed.
"""

import json
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import httpx
import pytest

from contract.wire import find_method, to_proto_json, to_query
from integration.reads import bearer, wait_for_key
from millimetric_server.api.call import Streaming
from millimetric_server.store.clickhouse import ClickHouse
from support.clickhouse_server import ClickHouseServer
from support.rpcs import RPCS
from support.server_process import ProjectKeys, ServerProcess

_TESTS = Path(__file__).parents[1]
_DATABASE = "event_loop"
_TOKEN = "metrics" * 5
_PERSON = {"anonymous_id": "a", "user_id": "u"}
_RANGE = {"from": "2026-01-01", "to": "2026-02-01"}
_REQUESTS: dict[str, dict[str, Any]] = {
    "Track": {"event": "e", "event_id": "e-1", "url": "https://app.example.com/?utm_source=x", **_PERSON},
    "Batch": {"events": [{"event": "e", "event_id": "e-2"}, {"event": "e", "event_id": "e-2"}], "mode": "per_event"},
    "Identify": {**_PERSON, "traits": {"plan": "pro"}},
    "Forget": {"user_id": "nobody"},
    "Query": {**_RANGE, "limit": 1},
    "Stats": {**_RANGE, "interval": "day", "timezone": "Pacific/Auckland", "group_by": ["source"]},
    "Sources": _RANGE,
    "Funnel": {**_RANGE, "window_seconds": 60, "steps": [{"event": "a"}, {"event": "b"}]},
    "Attribution": {**_RANGE, "conversion": {"event": "a"}, "value": "properties.n", "lookback_days": 3},
    "Retention": {**_RANGE, "period": "week", "periods": 2, "timezone": "America/Lima", "first_event": "a"},
    "Explain": {"event": "e", "url": "https://app.example.com/?gclid=1"},
    "GetErasure": {"erasure_id": "no-such"},
}


@pytest.fixture(scope="module")
def watched(
    tmp_path_factory: pytest.TempPathFactory, clickhouse_server: ClickHouseServer
) -> Iterator[tuple[ServerProcess, Path]]:
    folder = tmp_path_factory.mktemp("watched")
    environ = {
        "MILLIMETRIC_CLICKHOUSE_URL": clickhouse_server.url,
        "MILLIMETRIC_CLICKHOUSE_DATABASE": _DATABASE,
        "MILLIMETRIC_LOG_LEVEL": "debug",
        "MILLIMETRIC_METRICS_TOKEN": _TOKEN,
        "PYTHONPATH": str(_TESTS),
    }
    with ServerProcess(environ=environ, module=("support.watched_server", str(folder))) as server:
        yield server, folder / "waits"


@pytest.fixture(scope="module")
def keys(watched: tuple[ServerProcess, Path]) -> ProjectKeys:
    project = watched[0].create_project("event-loop")
    wait_for_key(watched[0], project)
    return project


@pytest.fixture
def client(watched: tuple[ServerProcess, Path], keys: ProjectKeys) -> Iterator[httpx.Client]:
    """A client with the secret key. The test fails if the loop waited meanwhile."""
    server, notes = watched
    before = len(notes.read_bytes())
    with httpx.Client(base_url=server.base_url, headers=bearer(keys.secret), timeout=60) as opened:
        yield opened
    found = [json.loads(line) for line in notes.read_bytes()[before:].splitlines()]
    assert not found, "\n\n".join("\n  ".join((note["what"], *note["at"])) for note in found)


def send_rest(client: httpx.Client, rpc: str, request: dict[str, Any], **headers: str) -> httpx.Response:
    method = find_method(rpc)
    if method.verb == "GET":
        route = method.route.format(**request)
        rest = [pair for pair in to_query(request) if f"{{{pair[0]}}}" not in method.route]
        return client.get(route, params=rest, headers=headers)
    return client.request(method.verb, method.route, json=request, headers=headers)


def send_connect(client: httpx.Client, rpc: str, request: dict[str, Any], **headers: str) -> httpx.Response:
    method = find_method(rpc)
    return client.post(method.path, json=to_proto_json(request, method.request), headers=headers)


def test_what_the_watch_must_see_is_seen(tmp_path: Path) -> None:
    command = [sys.executable, "-m", "support.watched_server", str(tmp_path)]
    subprocess.run(command, check=True, timeout=60, cwd=_TESTS)
    seen = {json.loads(line)["what"].split()[0] for line in (tmp_path / "waits").read_text().splitlines()}
    assert seen == {
        "sqlite3.connect",
        "sqlite3",
        "open",
        "os.statvfs",
        "time.sleep",
        "Future.result",
        "Condition.wait",
    } | {"write"}


def test_no_rpc_waits_on_the_event_loop(client: httpx.Client) -> None:
    assert _REQUESTS.keys() == {rpc.name for rpc in RPCS if rpc.streaming is Streaming.NONE}
    for rpc, request in _REQUESTS.items():
        expected = {404} if rpc == "GetErasure" else {200, 202}
        for _ in range(2):  # cold, then warm: the second Track and Batch are duplicates
            assert (answer := send_rest(client, rpc, request)).status_code in expected, answer.text
        for headers in ({}, {"connect-timeout-ms": "60000"}):
            assert (answer := send_connect(client, rpc, request, **headers)).status_code in expected, answer.text


def test_waiting_for_the_store_waits_elsewhere(client: httpx.Client, clickhouse_server: ClickHouseServer) -> None:
    """Also where the event is a duplicate of a dead letter, which is looked up in the journal."""
    store = ClickHouse(clickhouse_server.url, _DATABASE)
    store.open()
    store.command("ALTER TABLE events ADD CONSTRAINT good CHECK event != 'bad'")
    try:
        for event, status in (("good", 202), ("good", 202), ("bad", 502), ("bad", 502)):
            request = {"event": event, "event_id": event}
            answer = send_rest(client, "Track", request, **{"millimetric-ack": "stored"})
            assert answer.status_code == status, answer.text
    finally:
        store.command("ALTER TABLE events DROP CONSTRAINT good")
        store.close()


def test_an_erasures_state_is_looked_up_elsewhere(client: httpx.Client) -> None:
    erasure_id = send_rest(client, "Forget", {"user_id": "u"}).json()["erasure_id"]
    for send in (send_rest, send_connect):
        assert send(client, "GetErasure", {"erasure_id": erasure_id}).status_code == 200


@pytest.mark.parametrize("written", ["ndjson", "csv", "parquet"])
def test_an_exports_file_is_read_and_closed_elsewhere(client: httpx.Client, written: str) -> None:
    send_rest(client, "Track", {"event": "e"}, **{"millimetric-ack": "stored"}).raise_for_status()
    params = {"from": "2026-01-01", "format": written}
    assert client.get("/v1/export", params=params).raise_for_status().content
    with client.stream("GET", "/v1/export", params=params) as broken_off:
        assert broken_off.status_code == 200


def test_refusals_wait_for_nothing(client: httpx.Client, keys: ProjectKeys) -> None:
    """Nor does what they log, and at the level of debug each is logged."""
    for key in ("nonsense", "pk_live_00000000_x", keys.secret[:-1] + "x", keys.public):
        assert client.post("/v1/track", json={"event": "e"}, headers=bearer(key)).status_code in (401, 403)
    for body in (b"", b"{", b'{"event":""}', b"\x1f\x8b", b"[" * 100_000):
        assert client.post("/v1/track", content=body).status_code == 400
    for timezone in ("../../etc/passwd", "Europe/Nowhere"):
        assert client.get("/v1/stats", params={"timezone": timezone}).status_code == 400
    assert client.get("/v1/nothing").status_code == 404


@pytest.mark.parametrize("path", ["/healthz", "/readyz", "/metrics"])
def test_what_operations_ask_waits_for_nothing(client: httpx.Client, path: str) -> None:
    assert client.get(path, headers=bearer(_TOKEN)).status_code == 200
