"""Files that are deleted or replaced under a running server are noticed, and nothing is acknowledged into them.

Protects answered writes: SQLite goes on writing into a file that nobody can find any more, and a restart would find
nothing of it.
"""

import shutil
from collections.abc import Iterator

import grpc
import httpx
import pytest
from grpc_health.v1 import health_pb2, health_pb2_grpc

from integration.reads import bearer, wait_for_key
from support.server_process import ProjectKeys, ServerProcess
from support.waiting import wait_until


@pytest.fixture(scope="module")
def server() -> Iterator[ServerProcess]:
    """A server of its own: what it says of these files is an error, of which the shared server's log must have none."""
    with ServerProcess() as process:
        yield process


def track(server: ServerProcess, keys: ProjectKeys) -> httpx.Response:
    return httpx.post(f"{server.base_url}/v1/track", json={"event": "a"}, headers=bearer(keys.secret), timeout=30)


def read_why(server: ServerProcess) -> list[str]:
    answer = httpx.get(f"{server.base_url}/readyz")
    assert answer.json()["ready"] is (answer.status_code == 200)
    why: list[str] = answer.json().get("why", [])
    assert bool(why) is (answer.status_code == 503)
    return why


def is_serving(server: ServerProcess) -> bool:
    with grpc.insecure_channel(server.grpc_address) as channel:
        answer = health_pb2_grpc.HealthStub(channel).Check(health_pb2.HealthCheckRequest(), timeout=30)
    return bool(answer.status == health_pb2.HealthCheckResponse.SERVING)


@pytest.mark.parametrize("name", ["journal", "control_database", "engine", "data_folder"])
def test_a_file_that_goes_stops_writes_until_it_is_back(server: ServerProcess, name: str) -> None:
    keys = server.create_project(f"watched_{name}")
    wait_for_key(server, keys)
    file = {"journal": "journal.db", "control_database": "control.db", "engine": "clickhouse/server.lock"}
    path = server.data_dir / file.get(name, "server.lock")
    aside = path.with_name("aside")
    assert track(server, keys).status_code == 202
    path.rename(aside)
    wait_until(lambda: read_why(server) == [f"{name}_gone"], "it is noticed")
    wait_until(lambda: not is_serving(server), "the balancers of gRPC are told")
    refused = track(server, keys)
    assert refused.status_code == 503
    assert refused.json()["error"] == "overloaded"
    assert "Retry-After" in refused.headers
    person = {"anonymous_id": "somebody"}
    asked = httpx.post(f"{server.base_url}/v1/forget", json=person, headers=bearer(keys.secret))
    assert asked.json()["error"] == "forget_failed"
    shutil.copy(aside, path)
    wait_until(lambda: read_why(server) == [f"{name}_replaced"], "another file is no substitute")
    assert track(server, keys).status_code == 503
    aside.rename(path)
    wait_until(lambda: read_why(server) == [], "it is back")
    wait_until(lambda: is_serving(server), "the balancers of gRPC are told")
    assert track(server, keys).status_code == 202


def test_a_folder_that_is_deleted_is_noticed() -> None:
    with ServerProcess() as server:
        keys = server.create_project("deleted")
        wait_for_key(server, keys)
        shutil.rmtree(server.data_dir)
        server.data_dir.mkdir()  # for its log
        server.log_path.write_text("")
        wait_until(
            lambda: set(read_why(server)) >= {"journal_gone", "data_folder_gone", "control_database_gone"}, "seen"
        )
        assert track(server, keys).status_code == 503
        server.kill()
