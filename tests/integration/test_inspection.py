"""Damage that ClickHouse keeps silent about is found; roll-ups are rebuilt, lost events are told, and nothing else is.

Here the inspection runs by itself on both kinds of store. tests/integration/test_damaged_parts.py has whole servers.
"""

from collections.abc import Callable
from pathlib import Path

import pytest

from integration.stores import DAY, NOW, Engine, make_row
from millimetric_server.store.findings import Findings, read_findings, write_findings
from millimetric_server.store.inspection import Inspection
from millimetric_server.store.rollups import WAIT_FOR_DELETION

_TABLES = ("daily_rollup", "hourly_rollup", "source_rollup", "sessions")
Inspect = Callable[[], Findings]


@pytest.fixture
def inspect(engine: Engine, tmp_path: Path) -> Inspect:
    """Look at the whole store once, from its beginning."""
    engine.append(
        *(
            make_row(
                event_id=f"{project}{n}",
                project_id=project,
                timestamp=NOW - n % 5 * 9 * DAY,
                session_id=f"s{n % 7}",
                anonymous_id=f"d{n % 5}",
                source="a" if n % 3 else "b",
            )
            for project in ("prj_a", "prj_b")
            for n in range(100)
        )
    )

    def run() -> Findings:
        inspection = Inspection(engine.store, tmp_path, lambda: ["prj_a", "prj_b"])
        inspection.work(600)
        found = read_findings(tmp_path)
        assert found is not None
        assert not found.fault
        return found

    return run


def remove(engine: Engine, table: str, condition: str) -> None:
    """Take rows away behind the server's back, as damage does."""
    engine.store.command(f"DELETE FROM {table} WHERE {condition}", **WAIT_FOR_DELETION)


def is_well(found: Findings) -> bool:
    return not (found.has_lost_events or found.rebuilt)


def test_rows_that_roll_ups_have_lost_are_rebuilt(engine: Engine, inspect: Inspect) -> None:
    assert is_well(inspect())
    for table in _TABLES:
        remove(engine, table, "project_id = 'prj_a' AND source = 'a'" if table != "sessions" else "session_id != 's1'")
    assert engine.read_rollups() != engine.read_expected_rollups()
    assert set(inspect().rebuilt) == set(_TABLES)
    assert engine.read_rollups() == engine.read_expected_rollups()
    assert is_well(inspect())


@pytest.mark.parametrize("table", ["hourly_rollup", "sessions"])
def test_rows_that_a_roll_up_has_twice_are_rebuilt(engine: Engine, inspect: Inspect, table: str) -> None:
    engine.store.command(
        f"INSERT INTO {table} SELECT * FROM {table}", insert_deduplicate=0, max_partitions_per_insert_block=0
    )
    assert inspect().rebuilt[table] > 0
    assert engine.read_rollups() == engine.read_expected_rollups()
    assert is_well(inspect())


def test_lost_events_are_told_and_the_roll_ups_keep_what_they_know(engine: Engine, inspect: Inspect) -> None:
    before = engine.read_rollups()
    remove(engine, "events", f"project_id = 'prj_a' AND timestamp > fromUnixTimestamp64Micro({NOW - DAY})")
    for _ in range(2):
        found = inspect()
        assert [(day.project_id, day.day) for day in found.lost_days] == [("prj_a", "2026-09-21")]
        assert found.lost_days[0].events == 0
        assert set(found.lost_days[0].rollups.values()) == {20}
        assert set(found.lost_sessions) == {"prj_a"}
        assert not found.rebuilt
        assert engine.read_rollups() == before


def test_many_lost_sessions_are_rebuilt_in_slices(
    engine: Engine, inspect: Inspect, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("millimetric_server.store.inspection._SESSIONS_A_SLICE", 4)
    monkeypatch.setattr("millimetric_server.store.inspection._SESSIONS_A_REBUILD", 1)
    remove(engine, "sessions", "project_id = 'prj_a'")
    engine.store.command(
        "INSERT INTO sessions SELECT * REPLACE ('none' AS session_id, cityHash64('none') AS session_hash) "
        "FROM sessions LIMIT 1"
    )
    assert inspect().rebuilt["sessions"] > 0
    assert engine.read_rollups() == engine.read_expected_rollups()
    assert is_well(inspect())


def test_an_erasure_and_what_the_retention_took_are_no_damage(engine: Engine, inspect: Inspect, tmp_path: Path) -> None:
    """Events expire by their moment and roll-ups by their day, and a day may hold rows of a shorter retention that the
    project had before: nothing of that age is held against each other."""
    engine.append(
        make_row(event_id="gone", timestamp=NOW - DAY, anonymous_id="forgotten"),
        make_row(event_id="short", timestamp=NOW - 3 * DAY, session_id="long"),
        make_row(event_id="expired", timestamp=NOW - 2 * DAY, session_id="expired", source="old", retention_days=20),
    )
    engine.erase("prj_a", anonymous_id="forgotten")
    write_findings(tmp_path, Findings(retention_days={"prj_a": 30}))
    remove(engine, "events", "event_id = 'short'")
    assert engine.read_rollups() != engine.read_expected_rollups()
    assert is_well(inspect())


def test_a_reclassification_is_waited_for(engine: Engine, inspect: Inspect, tmp_path: Path) -> None:
    """It empties and fills roll-ups itself, from another process."""
    engine.store.command("CREATE TABLE reclassify_prj_a_days (day Date) ENGINE = MergeTree ORDER BY day")
    remove(engine, "daily_rollup", "1")
    inspection = Inspection(engine.store, tmp_path, list)
    inspection.work(600)
    assert "reclassification" in inspection.findings.fault
    assert engine.count("daily_rollup") == 0
    engine.store.command("DROP TABLE reclassify_prj_a_days SYNC")
    assert inspect().rebuilt["daily_rollup"] > 0
