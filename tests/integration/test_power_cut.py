"""What was acknowledged, erased or reclassified is there, and once, after the power went at any moment.

`kill -9` leaves what a program has written to the kernel; a power cut leaves what was synced, and nothing else.
"""

import json
import sqlite3
import subprocess
import sys
import time
from collections.abc import Iterator
from contextlib import closing
from dataclasses import dataclass
from pathlib import Path

import pytest

from integration.cli_process import run_cli
from integration.crash_load import Load, start, wait_for_death
from integration.erasing import forget, read_erasure, send_person
from integration.reads import wait_for_key
from support.clickhouse_server import ClickHouseServer
from support.crashing_server import Crash
from support.power_cut import CutDisk, mount_disk
from support.server_process import ProjectKeys, ServerProcess
from support.waiting import wait_until, wait_until_none

pytestmark = pytest.mark.slow

_TESTS = Path(__file__).parents[1]
_TABLES = ("events", "daily_rollup", "hourly_rollup", "source_rollup", "sessions")
_LOAD_S = 5.5  # ext4 commits by itself every 5 s
# In a process of its own, as the embedded engine lets one in. The server is stopped.
_READ = """
import json, sys
from millimetric_server.store.clickhouse import ClickHouse
store = ClickHouse(sys.argv[1], "millimetric")
store.open()
project = {"project": sys.argv[2]}
def ask(what):
    return store.query(f"SELECT {what} WHERE project_id = {{project:String}}", project)
found = {table: ask(f"sum(events) FROM {table}")[0][0] for table in sys.argv[3].split(",")[1:]}
found["events"] = ask("count() FROM events")[0][0]
found["ids"] = [one for (one,) in ask("event_id FROM events")]
found["rule_sets"] = [one for (one,) in ask("DISTINCT toString(rule_set) FROM events")]
((found["broken"],),) = store.query("SELECT count() FROM system.detached_parts WHERE database = currentDatabase()")
print(json.dumps(found))
store.close()
"""


@dataclass
class Site:
    """A server and its ClickHouse with all their files on one disk."""

    disk: CutDisk
    server: ServerProcess
    clickhouse: ClickHouseServer | None

    def cut(self) -> None:
        """Cut the power; ClickHouse is back afterwards, if it is a server."""
        self.disk.cut((self.server.process, self.clickhouse and self.clickhouse.process))
        self.server.process = None
        if self.clickhouse:
            self.clickhouse.process = None
            self.clickhouse.start()

    def read(self, keys: ProjectKeys) -> dict[str, object]:
        """What the store holds of the project. The server is stopped."""
        url = self.clickhouse.url if self.clickhouse else f"chdb://{self.server.data_dir}/clickhouse"
        words = [sys.executable, "-c", _READ, url, keys.project_id, ",".join(_TABLES)]
        done = subprocess.run(words, capture_output=True, check=True, text=True, timeout=60)
        found: dict[str, object] = json.loads(done.stdout)
        return found

    def check(self, keys: ProjectKeys, answered: set[str], unanswered: set[str]) -> None:
        """Start on what the disk held, let it load, and count: answered events are there, and nothing twice."""
        if self.server.process is None:
            self.server.start()
        wait_for_key(self.server, keys)
        wait_until_none(lambda: _count_waiting(self.server.data_dir), "the journal is empty")
        assert self.server.stop() == 0
        found = self.read(keys)
        ids = found["ids"]
        assert isinstance(ids, list)
        assert len(ids) == len(set(ids)), f"{len(ids) - len(set(ids))} events are there twice"
        lost = answered - set(ids)
        assert not lost, f"{len(lost)} of {len(answered)} acknowledged events are lost"
        assert set(ids) <= answered | unanswered
        assert {table: found[table] for table in _TABLES} == dict.fromkeys(_TABLES, len(ids))
        assert found["broken"] == 0


def _count_waiting(data_dir: Path) -> int:
    with closing(sqlite3.connect(data_dir / "journal.db", timeout=10)) as journal:
        ((waiting,),) = journal.execute("SELECT count(*) FROM entries").fetchall()
    return int(waiting)


@pytest.fixture
def disk(tmp_path: Path) -> Iterator[CutDisk]:
    with mount_disk(tmp_path) as mounted:
        yield mounted


@pytest.fixture(params=["chdb", "http"])
def site(request: pytest.FixtureRequest, disk: CutDisk, tmp_path: Path) -> Iterator[Site]:
    """A server that can be told to kill itself."""
    clickhouse = ClickHouseServer(disk.folder / "clickhouse-server") if request.param == "http" else None
    if clickhouse:
        clickhouse.folder.mkdir()
        clickhouse.start()
    environ = {
        "MILLIMETRIC_RATE_LIMITS": "off",
        "MILLIMETRIC_FLUSH_INTERVAL_MS": "30",
        "MILLIMETRIC_CLICKHOUSE_URL": clickhouse.url if clickhouse else "",
        "PYTHONPATH": str(_TESTS),
    }
    data_dir = disk.folder / "data"
    data_dir.mkdir()
    server = ServerProcess(environ, data_dir, module=("support.crashing_server", str(tmp_path)))
    try:
        yield Site(disk, server, clickhouse)
    finally:
        server.kill()
        if clickhouse:
            clickhouse.kill()


def test_acknowledged_events_outlive_a_power_cut_under_load(site: Site) -> None:
    """The project and its keys are made right before the load: they have to be there as well."""
    site.server.start()
    load = Load(site.server.create_project("cut"))
    wait_for_key(site.server, load.keys)
    with load.run_callers(site.server.grpc_address):
        time.sleep(_LOAD_S)
        site.cut()
    assert load.answered
    site.check(load.keys, load.answered, {event.event_id for request in load.unanswered for event in request.events})


def test_rows_in_flight_are_there_once_though_their_deduplication_token_is_lost(site: Site, tmp_path: Path) -> None:
    """ClickHouse syncs the rows and not the token: the power goes when it has confirmed a block, and nobody knows."""
    crash = Crash(tmp_path)
    site.server.start()
    load = Load(site.server.create_project("in flight"))
    wait_for_key(site.server, load.keys)
    crash.arm("after-insert", passes=3)
    with load.run_callers(site.server.grpc_address):
        wait_for_death(site.server, crash, "after-insert")
        site.cut()
    assert start(site.server, crash)
    assert load.retry(site.server.grpc_address)
    site.check(load.keys, load.answered, set())


def test_an_erasure_that_is_done_and_a_history_that_was_reclassified_stay_so(site: Site) -> None:
    site.server.start()
    keys = site.server.create_project("changed")
    wait_for_key(site.server, keys)
    send_person(site.server, keys, "gone")
    send_person(site.server, keys, "here")
    erasure_id = forget(site.server, keys, "gone")
    wait_until(lambda: read_erasure(site.server, keys, erasure_id)["state"] == "done", "the erasure is done")
    site.cut()
    words = ("reclassify", "--project", keys.name, "--rule-set", "millimetric-1")
    code, _, errors = run_cli(site.server, *words, **site.server.environ)
    site.cut()
    assert code == 0, errors
    found = site.read(keys)
    assert found["rule_sets"] == ["millimetric-1"]
    assert {table: found[table] for table in _TABLES} == dict.fromkeys(_TABLES, 31)
    site.server.start()
    assert read_erasure(site.server, keys, erasure_id)["state"] == "done"
