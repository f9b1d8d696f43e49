"""A key works in a running server from the moment it was made, through every door and with both control databases; and
a flood of unknown keys makes a bounded number of looks into the control database and stops nobody.
"""

import http.client
import re
import time
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from typing import Any

import grpc
import httpx
import pytest

from integration.cli_process import run_cli
from integration.postgres_server import PostgresServer
from integration.reads import bearer, read_reason
from millimetric.v1 import ingest_service_pb2, ingest_service_pb2_grpc
from support.server_process import ORIGIN, ServerProcess
from support.waiting import wait_until

_LOOKS = re.compile(r"^millimetric_directory_looks_total (\S+)$", re.MULTILINE)
_EVENT = {"event": "first_call"}
_METHOD = "/millimetric.v1.IngestService/Track"
FLOOD, FLOOD_CALLERS = 2000, 8
REFUSED = {401, 429}  # 429: so many calls of this address were refused that they are told to wait
LOOKS_PER_S, LOOKS_AT_ONCE = 20, 20


@pytest.fixture(params=["sqlite", "postgres"], scope="module")
def running(request: pytest.FixtureRequest) -> Iterator[ServerProcess]:
    if request.param == "sqlite":
        yield request.getfixturevalue("server")
        return
    postgres: PostgresServer = request.getfixturevalue("postgres_server")
    with ServerProcess(environ={"MILLIMETRIC_DATABASE_URL": postgres.create_database()}) as process:
        yield process


def track_rest(server: ServerProcess, key: str) -> str:
    answer = httpx.post(f"{server.base_url}/v1/track", json=_EVENT, headers=bearer(key))
    return "ok" if answer.status_code == 202 else str(answer.json()["error"])


def track_connect(server: ServerProcess, key: str) -> str:
    answer = httpx.post(f"{server.base_url}{_METHOD}", json=_EVENT, headers=bearer(key))
    return "ok" if answer.status_code == 200 else answer.text


def track_with_deadline(server: ServerProcess, key: str) -> str:
    headers = bearer(key) | {"Connect-Timeout-Ms": "20000"}
    answer = httpx.post(f"{server.base_url}{_METHOD}", json=_EVENT, headers=headers)
    return "ok" if answer.status_code == 200 else answer.text


def track_grpc(server: ServerProcess, key: str) -> str:
    with grpc.insecure_channel(server.grpc_address) as channel:
        stub = ingest_service_pb2_grpc.IngestServiceStub(channel)
        try:
            stub.Track(ingest_service_pb2.TrackRequest(event="first_call"), metadata=_metadata(key), timeout=20)
        except grpc.RpcError as error:
            return read_reason(error)
    return "ok"


def track_stream(server: ServerProcess, key: str) -> str:
    request = ingest_service_pb2.TrackStreamRequest(event={"event": "first_call"})
    with grpc.insecure_channel(server.grpc_address) as channel:
        stub = ingest_service_pb2_grpc.IngestServiceStub(channel)
        try:
            list(stub.TrackStream(iter([request]), metadata=_metadata(key), timeout=20))
        except grpc.RpcError as error:
            return read_reason(error)
    return "ok"


def _metadata(key: str) -> tuple[tuple[str, str], ...]:
    return (("authorization", f"Bearer {key}"),)


def count_looks(server: ServerProcess) -> int:
    match = _LOOKS.search(httpx.get(server.metrics_url).text)
    assert match is not None
    return int(float(match[1]))


@pytest.mark.parametrize("track", [track_rest, track_connect, track_with_deadline, track_grpc, track_stream])
def test_a_key_works_at_its_first_call(running: ServerProcess, track: Any) -> None:
    for number in range(5):  # the poll of every second would be in time for some of them
        keys = running.create_project(f"{track.__name__} {number}")
        assert track(running, keys.secret) == "ok"


def test_a_key_of_the_command_line_works_when_its_command_returns(running: ServerProcess) -> None:
    code, output, errors = run_cli(running, "project", "create", "by command", **running.environ)
    assert code == 0, errors
    code, output, errors = run_cli(
        running, "key", "create", "--project", "by command", "--kind", "sk", **running.environ
    )
    assert code == 0, errors
    assert track_rest(running, output.strip()) == "ok"


def test_an_account_key_reads_a_project_that_was_made_just_now(running: ServerProcess) -> None:
    account = running.create_account_key()
    for number in range(3):
        keys = running.create_project(f"read by its account {number}")
        params = {"project": keys.project_id}
        answer = httpx.get(f"{running.base_url}/v1/stats", params=params, headers=bearer(account), timeout=30)
        assert answer.status_code == 200, answer.text


def test_a_page_is_heard_once_its_origin_was_added(running: ServerProcess) -> None:
    keys = running.create_project("origins")
    headers = bearer(keys.public) | {"Origin": "https://new.example"}
    url = f"{running.base_url}/v1/track"
    assert httpx.post(url, json=_EVENT, headers=headers).json()["error"] == "origin_not_allowed"
    code, _, errors = run_cli(
        running, "origin", "add", "https://new.example", "--project", "origins", **running.environ
    )
    assert code == 0, errors
    assert httpx.post(url, json=_EVENT, headers=headers).status_code == 202


def test_a_flood_of_unknown_keys_makes_few_looks_and_stops_nobody(server: ServerProcess) -> None:
    keys = server.create_project("beside the flood")
    assert track_rest(server, keys.secret) == "ok"

    def flood(first: int) -> set[int]:
        statuses = set()
        connection = http.client.HTTPConnection("127.0.0.1", server.http_port, timeout=60)
        for number in range(first, FLOOD, FLOOD_CALLERS):
            headers = bearer(f"sk_live_{number:08x}_{'x' * 43}")
            connection.request("POST", "/v1/track", b'{"event": "flood"}', headers)
            answer = connection.getresponse()
            answer.read()
            statuses.add(answer.status)
        connection.close()
        return statuses

    before, began_s = count_looks(server), time.monotonic()
    with ThreadPoolExecutor(FLOOD_CALLERS) as callers:
        statuses = set().union(*callers.map(flood, range(FLOOD_CALLERS)))
    looks, seconds = count_looks(server) - before, time.monotonic() - began_s
    assert statuses <= REFUSED
    assert looks <= LOOKS_AT_ONCE + LOOKS_PER_S * seconds + 1, (looks, seconds)
    assert looks < FLOOD / 2, (looks, seconds)
    assert track_rest(server, keys.secret) == "ok"
    time.sleep(1)
    late = server.create_project("after the flood")
    assert track_rest(server, late.secret) == "ok"


def test_one_unknown_key_is_looked_for_once_however_often_it_comes(server: ServerProcess) -> None:
    time.sleep(0.2)
    before = count_looks(server)
    unknown = f"sk_live_feedbeef_{'x' * 43}"
    assert {track_rest(server, unknown) for _ in range(20)} <= {"invalid_api_key", "rate_limited"}
    assert count_looks(server) - before <= 1


def test_a_revoked_key_is_refused_soon_and_stays_refused(server: ServerProcess) -> None:
    keys = server.create_project("revoked")
    headers = bearer(keys.public) | {"Origin": ORIGIN}
    url = f"{server.base_url}/v1/track"
    assert httpx.post(url, json=_EVENT, headers=headers).status_code == 202
    code, _, errors = run_cli(server, "key", "revoke", keys.public.split("_")[2])
    assert code == 0, errors
    wait_until(lambda: httpx.post(url, json=_EVENT, headers=headers).status_code in REFUSED, "the key is refused")
    assert {httpx.post(url, json=_EVENT, headers=headers).status_code for _ in range(10)} <= REFUSED
