"""ClickHouse away: writes go on and nothing is lost; reads say so, soon."""

import contextlib
import socket
import threading
import time
from collections.abc import Iterator

import httpx
import pytest

from integration.reads import bearer, count_everywhere, wait_for_key
from support.clickhouse_server import ClickHouseServer
from support.server_process import ProjectKeys, ServerProcess
from support.waiting import wait_until


@pytest.fixture
def clickhouse() -> Iterator[ClickHouseServer]:
    """A ClickHouse of its own, to be killed."""
    with ClickHouseServer() as process:
        yield process


def track(server: ServerProcess, keys: ProjectKeys, **headers: str) -> httpx.Response:
    return httpx.post(
        f"{server.base_url}/v1/track", json={"event": "tick"}, headers=bearer(keys.secret) | headers, timeout=30
    )


def ask(server: ServerProcess, keys: ProjectKeys) -> httpx.Response:
    return httpx.get(f"{server.base_url}/v1/stats", headers=bearer(keys.read), timeout=30)


def test_a_killed_clickhouse_loses_nothing_and_is_noticed(clickhouse: ClickHouseServer) -> None:
    with ServerProcess(
        environ={"MILLIMETRIC_CLICKHOUSE_URL": clickhouse.url, "MILLIMETRIC_RATE_LIMITS": "off"}
    ) as server:
        keys = server.create_project("outage")
        wait_for_key(server, keys)
        assert track(server, keys, **{"Millimetric-Ack": "stored"}).status_code == 202

        clickhouse.kill()
        began = time.monotonic()
        read = ask(server, keys)
        assert (read.status_code, read.json()["error"]) == (502, "upstream_failed")
        assert time.monotonic() - began < 10
        assert [track(server, keys).status_code for _ in range(50)] == [202] * 50
        waiting = track(server, keys, **{"Millimetric-Ack": "stored"})
        assert (waiting.status_code, waiting.json()["error"]) == (502, "upstream_failed")
        assert httpx.get(f"{server.base_url}/readyz").json() == {"ready": True, "journal": "ok", "clickhouse": "away"}

        clickhouse.start()
        everything = dict.fromkeys(("events", "rollup", "sessions"), 52)
        wait_until(lambda: ask(server, keys).status_code == 200, "reads are answered again")
        wait_until(lambda: count_everywhere(server, keys) == everything, lambda: str(count_everywhere(server, keys)))


def test_a_server_starts_without_clickhouse_and_catches_up(clickhouse: ClickHouseServer) -> None:
    clickhouse.stop()
    with ServerProcess(environ={"MILLIMETRIC_CLICKHOUSE_URL": clickhouse.url}) as server:
        keys = server.create_project("early")
        wait_until(lambda: track(server, keys).status_code == 202, "writes are taken")
        clickhouse.start()
        wait_until(lambda: ask(server, keys).status_code == 200, "the schema is made and reads are answered")
        wait_until(lambda: ask(server, keys).json()["rows"][0]["value"] == 1, "the event of before is loaded")


def test_a_clickhouse_that_accepts_and_never_answers_does_not_stop_writes() -> None:
    with socket.create_server(("127.0.0.1", 0)) as silent:
        url = f"http://127.0.0.1:{silent.getsockname()[1]}"
        with ServerProcess(
            environ={"MILLIMETRIC_CLICKHOUSE_URL": url, "MILLIMETRIC_SHUTDOWN_TIMEOUT_S": "2"}
        ) as server:
            keys = server.create_project("silent")
            wait_until(lambda: track(server, keys).status_code == 202, "writes are taken")
            read = ask(server, keys)
            assert (read.status_code, read.json()["error"]) == (502, "upstream_failed")


@pytest.mark.parametrize("away", ["killed", "silent"])
def test_thirty_seconds_without_clickhouse_under_load(away: str, clickhouse: ClickHouseServer) -> None:
    environ = {"MILLIMETRIC_CLICKHOUSE_URL": clickhouse.url, "MILLIMETRIC_RATE_LIMITS": "off"}
    with ServerProcess(environ=environ) as server:
        keys = server.create_project("away")
        wait_for_key(server, keys)
        stop, statuses = threading.Event(), list[int]()

        def send() -> None:
            with httpx.Client(timeout=30) as client:
                for _ in range(5000):
                    if stop.wait(0.02):
                        return
                    answer = client.post(
                        f"{server.base_url}/v1/track", json={"event": "tick"}, headers=bearer(keys.secret)
                    )
                    statuses.append(answer.status_code)

        callers = [threading.Thread(target=send) for _ in range(4)]
        for caller in callers:
            caller.start()
        wait_until(lambda: len(statuses) > 50, "calls are answered")
        clickhouse.kill()
        reads = []
        with listen_silently(clickhouse.port) if away == "silent" else contextlib.nullcontext():
            ends_at = time.monotonic() + 30
            while time.monotonic() < ends_at:
                began = time.monotonic()
                reads.append((ask(server, keys).json()["error"], time.monotonic() - began))
                time.sleep(0.2)
        clickhouse.start()
        wait_until(lambda: ask(server, keys).status_code == 200, "reads are answered again")
        stop.set()
        for caller in callers:
            caller.join()
        assert set(statuses) == {202}
        assert {error for error, _ in reads} == {"upstream_failed"}
        assert sorted(seconds for _, seconds in reads)[len(reads) // 2] < 1, "most are refused at once"
        assert max(seconds for _, seconds in reads) < 15
        everything = dict.fromkeys(("events", "rollup", "sessions"), len(statuses))
        wait_until(lambda: count_everywhere(server, keys) == everything, lambda: str(count_everywhere(server, keys)))


@contextlib.contextmanager
def listen_silently(port: int) -> Iterator[None]:
    """Accept connections and say nothing; whoever is connected at the end is cut off."""
    with socket.socket() as listener:
        listener.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        listener.bind(("127.0.0.1", port))
        listener.listen(128)
        yield
