"""A part whose small files are empty, which ClickHouse leaves out without a word, is found at the next start.

Roll-ups and sessions are right again by themselves. Lost events are told by the log, /metrics and `millimetric doctor`,
and the roll-ups keep what they know of them.
"""

import json
import shutil
import subprocess
import sys
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import httpx
import pytest
from prometheus_client.parser import text_string_to_metric_families

from integration.cli_process import run_cli
from integration.reads import bearer, count_everywhere, wait_for_key
from millimetric_server.store.findings import read_findings
from support.clickhouse_server import ClickHouseServer
from support.server_process import ProjectKeys, ServerProcess
from support.waiting import wait_until

pytestmark = pytest.mark.slow

_FILES = ("checksums.txt", "columns.txt", "count.txt")
_DERIVED = ("daily_rollup", "hourly_rollup", "source_rollup", "sessions")
_EVENTS = 60
# In a process of its own, as the embedded engine lets one in. Prints folders of parts: in use, and replaced by merges.
_LIST_PARTS = """
import json, sys
from millimetric_server.store.clickhouse import ClickHouse
store = ClickHouse(sys.argv[1], "millimetric")
store.open()
print(json.dumps([list(row) for row in store.query(
    "SELECT table, active, path FROM system.parts WHERE database = currentDatabase() ORDER BY rows DESC"
)]))
store.close()
"""


@dataclass
class Site:
    """A server and its ClickHouse, with events of one project in three blocks."""

    server: ServerProcess
    clickhouse: ClickHouseServer | None
    keys: ProjectKeys

    def damage(self, files: dict[str, str]) -> None:
        """Stop, empty a file of the largest part of each of these tables, and start again."""
        assert self.server.stop() == 0
        url = self.clickhouse.url if self.clickhouse else f"chdb://{self.server.data_dir}/clickhouse"
        words = [sys.executable, "-c", _LIST_PARTS, url]
        listed = json.loads(subprocess.run(words, capture_output=True, check=True, text=True, timeout=60).stdout)
        if self.clickhouse:
            self.clickhouse.kill()
        for table, active, path in listed:
            if not active:  # ClickHouse would do that 8 minutes later; until then it falls back on them
                shutil.rmtree(path, ignore_errors=True)
            elif table in files:
                (Path(path) / files.pop(table)).write_bytes(b"")
        assert not files
        if self.clickhouse:
            self.clickhouse.start()
        inspected = self.read_metric("inspected_at")
        self.server.start()
        wait_until(lambda: self.read_metric("inspected_at") > inspected, lambda: f"an inspection\n{self.server.log}")

    def read_metric(self, name: str, label: str = "") -> float:
        """A figure of the last inspection; the time of it comes from its file, as the server may be stopped."""
        if name == "inspected_at":
            found = read_findings(self.server.data_dir)
            return found.checked_at if found else 0.0
        for family in text_string_to_metric_families(httpx.get(self.server.metrics_url).text):
            for sample in family.samples:
                if sample.name == f"millimetric_{name}" and label in ("", *sample.labels.values()):
                    return sample.value
        raise AssertionError(name)

    def examine(self) -> dict[str, str]:
        """What doctor says of the stored events."""
        _, output, errors = run_cli(self.server, "doctor", "--json", **self.server.environ)
        assert not errors
        (found,) = (one for one in json.loads(output)["checks"] if one["check"] == "stored events")
        return dict(found)


@pytest.fixture
def store(request: pytest.FixtureRequest) -> str:
    return str(request.param)


@pytest.fixture
def site(store: str) -> Iterator[Site]:
    clickhouse = ClickHouseServer() if store == "http" else None
    if clickhouse:
        clickhouse.start()
    try:
        with ServerProcess({"MILLIMETRIC_CLICKHOUSE_URL": clickhouse.url if clickhouse else ""}) as server:
            made = Site(server, clickhouse, server.create_project("damaged"))
            wait_for_key(server, made.keys)
            for block in range(3):
                events = [
                    {"event": "tick", "user_id": f"u{n % 7}", "session_id": f"s{block}-{n % 9}"}
                    for n in range(_EVENTS // 3)
                ]
                answer = httpx.post(
                    f"{server.base_url}/v1/batch",
                    json={"events": events},
                    headers=bearer(made.keys.secret) | {"Millimetric-Ack": "stored"},
                    timeout=30,
                )
                assert answer.status_code == 202
            yield made
    finally:
        if clickhouse:
            clickhouse.__exit__()


@pytest.mark.parametrize(("store", "turn"), [("chdb", 0), ("chdb", 1), ("http", 2)], indirect=["store"])
def test_damage_is_told_and_what_events_can_rebuild_is_rebuilt(site: Site, turn: int) -> None:
    """In three turns each of the tables has each of the files emptied."""
    kinds = {table: _FILES[(turn + place) % len(_FILES)] for place, table in enumerate(("events", *_DERIVED))}
    events_kind = kinds.pop("events")
    site.damage(dict(kinds))
    whole = dict.fromkeys(("events", "rollup", "sessions"), _EVENTS)
    assert count_everywhere(site.server, site.keys) == whole, site.server.log
    assert [site.read_metric("store_broken_parts", table) for table in ("events", *_DERIVED)] == [0, 1, 1, 1, 1]
    assert site.read_metric("rollups_rebuilt_total") >= len(_DERIVED)
    assert site.read_metric("rollups_wrong", "days") == site.read_metric("rollups_wrong", "sessions") == 0
    found = site.examine()
    assert found["verdict"] == "warn"
    assert "were rebuilt" in found["told"]
    assert "inspection: 1 parts of sessions can't be read" in site.server.log

    site.damage({"events": events_kind})
    counts = count_everywhere(site.server, site.keys)
    assert counts["events"] < _EVENTS
    assert counts["rollup"] == counts["sessions"] == _EVENTS
    assert site.read_metric("store_broken_parts", "events") == 1
    assert site.read_metric("rollups_wrong", "days") == 1
    assert site.read_metric("rollups_wrong", "sessions") > 0
    found = site.examine()
    assert found["verdict"] == "fail"
    assert "1 broken parts of events" in found["told"]
    assert f"{counts['events']} events" in found["told"]
    assert f"roll-ups count {_EVENTS}" in found["told"]
    assert "inspection: 1 parts of events can't be read" in site.server.log
