"""kill -9 in the middle of an erasure: it is finished at the next start, and other people's events lose nothing."""

import contextlib
import random
import signal
import threading
import time
import uuid
from collections.abc import Iterator
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta
from pathlib import Path

import httpx
import pytest

from integration.reads import bearer, wait_for_key, wait_until_everywhere
from support.clickhouse_server import ClickHouseServer
from support.crashing_server import ERASURE_POINTS, Crash
from support.server_process import ProjectKeys, ServerProcess
from support.waiting import wait_until

_TESTS = Path(__file__).parents[1]
_DIE_S = 120
_BETWEEN = "erasure-between-rebuild-delete-and-insert"
_CRASHES = [*((point, 1) for point in ERASURE_POINTS), (_BETWEEN, 4)]  # its fourth pass: after the days, the sessions
_SESSIONS = 5


@dataclass
class Others:
    """Sends events of other people, on the same days and in the same sessions; an id again until it is answered."""

    server: ServerProcess
    keys: ProjectKeys
    answered: set[str] = field(default_factory=set)
    stop: threading.Event = field(default_factory=threading.Event)

    @contextlib.contextmanager
    def run(self) -> Iterator[None]:
        """Send meanwhile."""
        sender = threading.Thread(target=self._run)
        sender.start()
        try:
            yield
        finally:
            self.stop.set()
            sender.join()

    def _run(self) -> None:
        while not self.stop.is_set():
            events = make_events(f"other{len(self.answered) % 3}", 20)
            deadline = time.monotonic() + _DIE_S
            while not self._try(events) and time.monotonic() < deadline:
                time.sleep(0.05)

    def _try(self, events: list[dict[str, str]]) -> bool:
        with contextlib.suppress(httpx.TransportError):
            if send(self.server, self.keys, events).status_code == 202:
                self.answered.update(event["event_id"] for event in events)
                return True
        return False


def make_events(user_id: str, count: int) -> list[dict[str, str]]:
    now = datetime.now(UTC)
    return [
        {
            "event": "tick",
            "event_id": str(uuid.uuid4()),
            "user_id": user_id,
            "anonymous_id": f"device of {user_id}",
            "session_id": f"s{number % _SESSIONS}",
            "timestamp": (now - timedelta(days=number % 3, seconds=1)).isoformat(),
        }
        for number in range(count)
    ]


def send(
    server: ServerProcess, keys: ProjectKeys, events: list[dict[str, str]], ack: str = "durable"
) -> httpx.Response:
    return httpx.post(
        f"{server.base_url}/v1/batch",
        json={"events": events},
        headers=bearer(keys.secret) | {"Millimetric-Ack": ack},
        timeout=30,
    )


def ask_rows(server: ServerProcess, keys: ProjectKeys, **params: str) -> list[dict[str, object]]:
    answer = httpx.get(
        f"{server.base_url}/v1/query", params={"limit": "1000", **params}, headers=bearer(keys.read), timeout=30
    )
    assert answer.status_code == 200, answer.text
    rows: list[dict[str, object]] = answer.json()["rows"]
    return rows


def send_person(server: ServerProcess, keys: ProjectKeys, user_id: str) -> None:
    """Store events of a person: named, and anonymous ones of a device that is known to be theirs."""
    anonymous = [{**event, "user_id": ""} for event in make_events(user_id, 10)]
    identify = {"event": "$identify", "user_id": user_id, "anonymous_id": f"device of {user_id}"}
    answer = send(server, keys, [*make_events(user_id, 20), *anonymous, identify], ack="stored")
    assert answer.status_code == 202, answer.text
    assert len(ask_rows(server, keys, anonymous_id=f"device of {user_id}")) == 31


def forget(server: ServerProcess, keys: ProjectKeys, user_id: str) -> str:
    """Ask to forget the person; returns the receipt's number."""
    answer = httpx.post(
        f"{server.base_url}/v1/forget", json={"user_id": user_id}, headers=bearer(keys.secret), timeout=30
    )
    assert answer.status_code == 200, answer.text
    return str(answer.json()["erasure_id"])


def read_erasure(server: ServerProcess, keys: ProjectKeys, erasure_id: str) -> dict[str, object]:
    answer = httpx.get(f"{server.base_url}/v1/erasures/{erasure_id}", headers=bearer(keys.secret), timeout=30)
    assert answer.status_code == 200, answer.text
    receipt: dict[str, object] = answer.json()
    return receipt


def forget_and_crash(server: ServerProcess, keys: ProjectKeys, crash: Crash, point: str, passes: int) -> str | None:
    """Ask to forget the person, die on the way, start again; the number, unless the answer was cut off, too."""
    crash.arm(point, passes)
    erasure_id = None
    with contextlib.suppress(httpx.TransportError):
        erasure_id = forget(server, keys, point_person(point, passes))
    assert server.process is not None
    assert server.process.wait(_DIE_S) == -signal.SIGKILL, server.log
    assert crash.take_hit() == point
    server.start()
    return erasure_id


def point_person(point: str, passes: int) -> str:
    """The person who is forgotten at this crash."""
    return f"{point}-{passes}"


@pytest.mark.parametrize("kind", ["chdb", "http"])
def test_an_erasure_that_is_killed_at_any_point_is_finished_after_the_restart(
    kind: str, request: pytest.FixtureRequest, tmp_path: Path
) -> None:
    clickhouse: ClickHouseServer | None = request.getfixturevalue("clickhouse_server") if kind == "http" else None
    crash = Crash(tmp_path)
    environ = {
        "MILLIMETRIC_CLICKHOUSE_URL": clickhouse.url if clickhouse else "",
        "MILLIMETRIC_CLICKHOUSE_DATABASE": f"erasure_crash_{random.getrandbits(32)}",
        "MILLIMETRIC_RATE_LIMITS": "off",
        "PYTHONPATH": str(_TESTS),
    }
    with ServerProcess(environ=environ, module=("support.crashing_server", str(tmp_path))) as server:
        keys = server.create_project("erasure")
        wait_for_key(server, keys)
        others = Others(server, keys)
        with others.run():
            for point, passes in _CRASHES:
                person = point_person(point, passes)
                send_person(server, keys, person)
                late = make_events(person, 3)
                erasure_id = forget_and_crash(server, keys, crash, point, passes) or forget(server, keys, person)
                wait_until(
                    lambda number=erasure_id: read_erasure(server, keys, number)["state"] == "done",  # type: ignore[misc]
                    lambda: f"the erasure is finished\n{server.log}",
                )
                assert read_erasure(server, keys, erasure_id)["residual"] == 0
                assert send(server, keys, late, ack="stored").status_code == 202
                assert ask_rows(server, keys, user_id=person) == []
                assert ask_rows(server, keys, anonymous_id=f"device of {person}") == []
        wait_until_everywhere(server, keys, len(others.answered))
