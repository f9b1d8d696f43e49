"""kill -9 in the middle of an erasure: it is finished at the next start, and other people's events lose nothing."""

import contextlib
import random
import signal
import threading
import time
from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path

import httpx
import pytest

from integration.erasing import ask_rows, forget, make_events, read_erasure, send, send_person
from integration.reads import wait_for_key, wait_until_everywhere
from support.clickhouse_server import ClickHouseServer
from support.crashing_server import ERASURE_POINTS, Crash
from support.server_process import ProjectKeys, ServerProcess
from support.waiting import wait_until

pytestmark = pytest.mark.slow

_TESTS = Path(__file__).parents[1]
_DIE_S = 120
_PAUSE_S = 0.05
_BETWEEN = "erasure-between-rebuild-delete-and-insert"
_CRASHES = [*((point, 1) for point in ERASURE_POINTS), (_BETWEEN, 4)]  # its fourth pass: after the days, the sessions


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
        while not self.stop.wait(_PAUSE_S):
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
