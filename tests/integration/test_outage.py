"""ClickHouse away: writes go on and nothing is lost; reads say so, soon."""

import contextlib
import socket
import threading
import time
from collections.abc import Iterator
from typing import Self

import httpx
import pytest

from integration.reads import bearer, wait_for_key, wait_until_everywhere
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
        read = ask(server, keys)
        assert (read.status_code, read.json()["error"]) == (502, "upstream_failed")
        assert [track(server, keys).status_code for _ in range(50)] == [202] * 50
        waiting = track(server, keys, **{"Millimetric-Ack": "stored"})
        assert (waiting.status_code, waiting.json()["error"]) == (502, "upstream_failed")
        assert httpx.get(f"{server.base_url}/readyz").json() == {"ready": True, "journal": "ok", "clickhouse": "away"}

        clickhouse.start()
        wait_until(lambda: ask(server, keys).status_code == 200, "reads are answered again")
        wait_until_everywhere(server, keys, 52)


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


@pytest.mark.slow
@pytest.mark.parametrize(("away", "tries"), [("killed", 8), ("silent", 4)])
def test_an_outage_under_load_stops_no_write_and_holds_up_few_reads(
    away: str, tries: int, clickhouse: ClickHouseServer
) -> None:
    """It lasts until the server has tried ClickHouse some times; all other reads are refused without a try."""
    environ = {"MILLIMETRIC_CLICKHOUSE_URL": clickhouse.url, "MILLIMETRIC_RATE_LIMITS": "off"}
    with ServerProcess(environ=environ) as server:
        keys = server.create_project("away")
        wait_for_key(server, keys)
        stop, statuses = threading.Event(), list[int]()

        def send() -> None:
            with httpx.Client() as client:
                while not stop.wait(0.02):
                    answer = client.post(
                        f"{server.base_url}/v1/track", json={"event": "tick"}, headers=bearer(keys.secret)
                    )
                    statuses.append(answer.status_code)

        callers = [threading.Thread(target=send) for _ in range(4)]
        for caller in callers:
            caller.start()
        wait_until(lambda: len(statuses) > 50, "calls are answered")
        clickhouse.kill()
        errors = []
        with AwayClickHouse(clickhouse.port, is_silent=away == "silent") as tried:
            while tried.count < tries:
                errors.append(ask(server, keys).json()["error"])
                time.sleep(0.01)
        clickhouse.start()
        wait_until(lambda: ask(server, keys).status_code == 200, "reads are answered again")
        stop.set()
        for caller in callers:
            caller.join()
        assert set(statuses) == {202}
        assert set(errors) == {"upstream_failed"}
        assert len(errors) > tried.count, "not every read has tried, and the loader has"
        wait_until_everywhere(server, keys, len(statuses))


class AwayClickHouse:
    """What listens in a ClickHouse's place: says nothing, or hangs up at once. Counts who has come."""

    def __init__(self, port: int, *, is_silent: bool) -> None:
        self._is_silent = is_silent
        self._callers: list[socket.socket] = []
        self._listener = socket.create_server(("127.0.0.1", port), backlog=128)
        self.count = 0

    def __enter__(self) -> Self:
        threading.Thread(target=self._accept, daemon=True).start()
        return self

    def __exit__(self, *_: object) -> None:
        with contextlib.suppress(OSError):
            self._listener.shutdown(socket.SHUT_RDWR)  # which wakes the thread
        self._listener.close()
        for caller in self._callers:
            caller.close()

    def _accept(self) -> None:
        with contextlib.suppress(OSError):
            while True:
                caller, _ = self._listener.accept()
                self.count += 1
                if self._is_silent:
                    self._callers.append(caller)
                else:
                    caller.close()
