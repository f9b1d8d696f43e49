"""History through another rule set, on both kinds of store: as planned, whole, repeatable, and after a crash."""

import contextlib
import itertools
import json
import re
import subprocess
import sys
import tempfile
import threading
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import httpx
import pytest

from integration.cli_process import run_cli
from integration.reclassify_history import (
    IGNORED_HOSTS,
    OWN_HOSTS,
    expect,
    list_moves,
    make_rows,
    run_program,
    tell_history,
)
from millimetric_server.control.store import open_control_store
from millimetric_server.enrich.event_row import EventRow
from support.clickhouse_server import ClickHouseServer
from support.server_process import ServerProcess, fast_folder
from support.waiting import wait_until

_numbers = itertools.count()
_MOVE = re.compile(r"│ (\S+) / (\S+) +│ (\S+) / (\S+) +│ +([\d,]+) │")


@dataclass
class Place:
    """A data folder with a project, and a store with its history."""

    data_dir: Path
    url: str
    database: str
    project_id: str

    def run(self, action: str) -> Any:
        return run_program(action, self.url, self.database, self.project_id)

    def reclassify(self, *options: str) -> str:
        """Run the command and return what it prints."""
        environ = {
            "MILLIMETRIC_DATA_DIR": str(self.data_dir),
            "MILLIMETRIC_CLICKHOUSE_URL": self.url,
            "MILLIMETRIC_CLICKHOUSE_DATABASE": self.database,
        }
        done = subprocess.run(
            [sys.executable, "-m", "millimetric_server", "reclassify", "--project", "history", *options],
            env=environ,
            capture_output=True,
            text=True,
            timeout=120,
            check=False,
        )
        assert done.returncode == 0, done.stderr
        return done.stdout

    def expect(self, rule_set: str) -> Any:
        return json.loads(json.dumps(expect(make_rows(self.project_id), rule_set)))


@pytest.fixture(params=[pytest.param("chdb", marks=pytest.mark.slow), "http"])
def place(request: pytest.FixtureRequest, clickhouse_server: ClickHouseServer) -> Iterator[Place]:
    with tempfile.TemporaryDirectory(dir=fast_folder()) as folder:
        is_embedded = request.param == "chdb"
        url = f"chdb://{folder}/clickhouse" if is_embedded else clickhouse_server.url
        made = Place(Path(folder), url, f"history_{next(_numbers)}", create_project(Path(folder)))
        made.run("seed")
        yield made


def create_project(folder: Path) -> str:
    with contextlib.closing(open_control_store(f"sqlite:///{folder}/control.db")) as control:
        made = control.create_project("history", [f"https://{host}" for host in OWN_HOSTS])
        return control.update_project(made.project_id, ignored_referrers=IGNORED_HOSTS).project_id


def read_moves(output: str) -> dict[tuple[str, ...], int]:
    """The rows of the table that the command prints."""
    return {tuple(match[:4]): int(match[4].replace(",", "")) for match in _MOVE.findall(output)}


@pytest.mark.parametrize("rule_set", ["millimetric-1", "standard-2"])
def test_the_dry_run_foretells_what_the_run_does_and_a_second_run_does_nothing(place: Place, rule_set: str) -> None:
    before = place.run("read")
    moves = list_moves(make_rows(place.project_id), rule_set)

    assert read_moves(place.reclassify("--rule-set", rule_set, "--dry-run")) == moves
    assert place.run("read") == before
    output = place.reclassify("--rule-set", rule_set)
    assert read_moves(output) == moves
    assert "after a #" in output
    after = place.run("read")
    assert after == place.expect(rule_set)
    assert after != before

    again = place.reclassify("--rule-set", rule_set)
    assert read_moves(again) == {}
    assert place.run("read") == after
    place.reclassify("--rule-set", "standard-1")
    assert place.run("read") == before


def test_only_the_span_is_touched(place: Place) -> None:
    place.reclassify("--rule-set", "millimetric-1", "--from", "2026-07-25T06:00:00Z", "--to", "2026-08-02")
    events = [EventRow(*row) for row in place.run("read")["events"]]
    begin, end = 1_784_959_200_000_000, 1_785_628_800_000_000
    touched = [row.timestamp for row in events if row.rule_set == "millimetric-1"]
    assert begin <= min(touched) < max(touched) < end
    assert_rollups_agree(place.run("read"))


# The statements of a run: 1-4 work tables, 5-8 answers and notes, 9 the rewrite, 10-17 three roll-ups by day and the
# sessions, each deleted and built, 18-19 the notes cleared, 20-24 the next month.
@pytest.mark.slow
@pytest.mark.parametrize("statement", [9, 10, 16, 24], ids=["rewriting", "no_days", "no_sessions", "second_month"])
def test_killed_at_any_point_the_next_run_makes_it_whole(place: Place, statement: int) -> None:
    assert place.run(f"crash:{statement}") == -9
    place.reclassify("--rule-set", "millimetric-1")
    assert place.run("read") == place.expect("millimetric-1")


@pytest.mark.slow
def test_events_that_come_in_meanwhile_are_counted_once_and_keep_their_rule_set(
    clickhouse_server: ClickHouseServer,
) -> None:
    environ = {
        "MILLIMETRIC_CLICKHOUSE_URL": clickhouse_server.url,
        "MILLIMETRIC_CLICKHOUSE_DATABASE": "history_live",
        "MILLIMETRIC_RATE_LIMITS": "off",
    }
    with ServerProcess(environ=environ) as server:
        keys = server.create_project("history", tuple(f"https://{host}" for host in OWN_HOSTS))
        place = Place(server.data_dir, clickhouse_server.url, "history_live", keys.project_id)
        place.run("seed")
        with sending(server, keys.secret) as acknowledged:
            wait_until(lambda: len(acknowledged) > 50, "events are stored before", progress=lambda: len(acknowledged))
            place.reclassify("--rule-set", "millimetric-1")
        server.stop()
        found = place.run("read")
    assert_rollups_agree(found)
    events = [EventRow(*row) for row in found["events"]]
    seeded = [row for row in events if row.event_id.startswith("event-")]
    assert tell_history(seeded)["events"] == place.expect("millimetric-1")["events"]
    late = [row for row in events if not row.event_id.startswith("event-")]
    assert len(late) >= 8 * len(acknowledged)
    assert any(row.rule_set == "standard-2" for row in late)  # those that came in while it ran


def assert_rollups_agree(found: Any) -> None:
    wanted = json.loads(json.dumps(tell_history([EventRow(*row) for row in found["events"]])))
    for name in ("days", "hours", "sessions"):
        assert found[name] == wanted[name], name


@contextlib.contextmanager
def sending(server: ServerProcess, key: str) -> Iterator[list[int]]:
    """Send batches of events of the history's days, visitors and sessions without a pause; gives those acknowledged."""
    ends, acknowledged = threading.Event(), list[int]()

    def send() -> None:
        with httpx.Client(headers={"Authorization": f"Bearer {key}"}, timeout=30) as client:
            for number in itertools.count():
                if ends.is_set():
                    return
                events = [
                    {
                        "event": "late",
                        "event_id": f"late-{number}-{index}",
                        "timestamp": f"2026-07-{22 + index}T12:00:00Z",
                        "anonymous_id": f"visitor-{index}",
                        "session_id": f"visitor-{index}-1",
                        "url": "https://shop.example/?fbclid=1",
                    }
                    for index in range(8)
                ]
                status = client.post(f"{server.base_url}/v1/batch", json={"events": events}).status_code
                assert status in (202, 401)
                if status == 202:
                    acknowledged.append(number)

    thread = threading.Thread(target=send)
    thread.start()
    try:
        yield acknowledged
    finally:
        ends.set()
        thread.join()


def test_beside_a_running_server_the_embedded_engine_is_left_alone(server: ServerProcess) -> None:
    keys = server.create_project("reclassify_beside")
    code, output, errors = run_cli(server, "reclassify", "--project", keys.name, "--rule-set", "millimetric-1")
    assert code == 1
    assert output == ""
    assert "Stop the server" in errors
    assert "Traceback" not in errors


def test_an_unknown_rule_set_is_refused_with_those_that_there_are(server: ServerProcess) -> None:
    code, _, errors = run_cli(server, "reclassify", "--project", "any", "--rule-set", "best-9")
    assert code == 2
    assert "standard-2, standard-1, millimetric-1" in errors
