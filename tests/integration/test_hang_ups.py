"""Callers who hang up or whose deadline passes, a thousand of them, at every door of a real server; and dead workers.

What was acknowledged is stored once, others are answered, and SIGTERM ends the server.
"""

import contextlib
import json
import time
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import closing
from pathlib import Path

import grpc
import httpx
import pytest

from integration.reads import bearer, count_everywhere, wait_for_key
from millimetric.v1 import ingest_service_pb2, ingest_service_pb2_grpc
from support.impatient_callers import ImpatientCaller
from support.server_process import ProjectKeys, ServerProcess
from support.waiting import wait_until

pytestmark = pytest.mark.slow

_HANG_UPS = 1000
_AT_ONCE = 16
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


def may_wait_for_the_store(server: ServerProcess, keys: ProjectKeys) -> bool:
    """Tell whether the project has a place left to wait in: its calls keep theirs until their events are stored."""
    event = {"event": "after", "event_id": "first", "ack": "stored"}
    answer = httpx.post(f"{server.base_url}/v1/track", json=event, headers=bearer(keys.secret), timeout=30)
    if answer.status_code == 503:
        assert answer.json()["error"] == "overloaded"
        return False
    assert answer.status_code == 202, answer.text
    return True


def test_a_thousand_hang_ups_stop_nobody(server: ServerProcess, keys: ProjectKeys) -> None:
    acknowledged: set[str] = set()
    with closing(ImpatientCaller(server, keys.secret)) as caller, ThreadPoolExecutor(_AT_ONCE) as threads:
        for _, answered in threads.map(caller.call, range(_HANG_UPS)):
            acknowledged.update(answered)
    wait_until(lambda: may_wait_for_the_store(server, keys), "calls whose callers left give their places back")
    for number in range(_CALLS_AFTERWARDS):
        track_at_every_door(server, keys.secret, number)
    assert httpx.get(f"{server.base_url}/readyz").json()["ready"] is True
    stored = read_event_ids(server, keys)
    assert acknowledged <= set(stored)
    assert len(stored) == len(set(stored))
    assert set(count_everywhere(server, keys).values()) == {len(stored)}
    assert "Traceback" not in server.log
    assert server.stop() == 0


def test_sigterm_ends_a_server_with_callers_who_wait(server: ServerProcess, keys: ProjectKeys) -> None:
    def call(number: int) -> None:
        with contextlib.suppress(OSError):  # the server is gone
            caller.call(number)

    with closing(ImpatientCaller(server, keys.secret)) as caller, ThreadPoolExecutor(_AT_ONCE) as threads:
        going_on = [threads.submit(call, number) for number in range(_HANG_UPS)]
        time.sleep(0.5)
        assert server.stop() == 0
        for one in going_on:
            one.cancel()


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


def read_event_ids(server: ServerProcess, keys: ProjectKeys) -> list[str]:
    """The ids of all the project's events."""
    answer = httpx.get(f"{server.base_url}/v1/export", headers=bearer(keys.read), timeout=60)
    assert answer.status_code == 200, answer.text
    return [json.loads(line)["event_id"] for line in answer.text.splitlines()]
