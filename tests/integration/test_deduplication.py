"""Tables that forget inserted blocks too soon are set right before the first block is sent, or nothing is sent.

Protects against counting a block twice after a crash: the windows are settings of the tables, which an operator, a
restore or a replicated engine may have made too small.
"""

import itertools
from collections.abc import Iterator
from pathlib import Path

import pytest

from integration.stores import Engine, make_row, open_engine
from millimetric_server.store.clickhouse import ClickHouse
from millimetric_server.store.deduplication import DeduplicationError, Table, ensure_windows
from millimetric_server.store.migrations import migrate
from support.clickhouse_server import ClickHouseServer

_numbers = itertools.count()
_DEFAULTS = {
    "non_replicated_deduplication_window": 0,
    "replicated_deduplication_window": 10_000,
    "replicated_deduplication_window_seconds": 3600,
}


@pytest.fixture
def store(clickhouse_server: ClickHouseServer) -> Iterator[ClickHouse]:
    opened = ClickHouse(clickhouse_server.url, f"windows_{next(_numbers)}")
    opened.open()
    migrate(opened)
    yield opened
    opened.close()


def read_window(store: ClickHouse, table: str) -> str:
    ((definition,),) = store.query(
        f"SELECT engine_full FROM system.tables WHERE database = '{store.database}' AND name = '{table}'"
    )
    return str(definition).rpartition("non_replicated_deduplication_window = ")[2].partition(",")[0]


def test_windows_that_were_made_too_small_are_set_again(store: ClickHouse) -> None:
    tables = ("events", "daily_rollup", "hourly_rollup", "source_rollup", "sessions")
    for number, table in enumerate(tables):
        change = "RESET SETTING non_replicated_deduplication_window"
        store.command(f"ALTER TABLE {table} MODIFY SETTING non_replicated_deduplication_window = 5")
        if number % 2:
            store.command(f"ALTER TABLE {table} {change}")
    ensure_windows(store)
    assert {read_window(store, table) for table in tables} == {"10000"}


@pytest.mark.parametrize("target", ["TO extra", "ENGINE = SummingMergeTree ORDER BY project_id"])
def test_the_targets_of_views_that_somebody_added_are_set_too(store: ClickHouse, target: str) -> None:
    store.command("CREATE TABLE extra (project_id String, n UInt64) ENGINE = SummingMergeTree ORDER BY project_id")
    select = "SELECT project_id, toUInt64(count()) AS n FROM events GROUP BY project_id"
    store.command(f"CREATE MATERIALIZED VIEW extra_view {target} AS {select}")
    store.command("CREATE TABLE chained (n UInt64) ENGINE = MergeTree ORDER BY n")
    ensure_windows(store)
    found = store.query(
        "SELECT name, engine_full FROM system.tables WHERE database = currentDatabase() AND engine = 'SummingMergeTree'"
    )
    is_set = {name: "deduplication_window = 10000" in definition for name, definition in found}
    assert is_set.pop("extra") is (target == "TO extra")
    assert all(is_set.values())


def test_a_view_into_a_table_that_remembers_nothing_is_told(
    store: ClickHouse, caplog: pytest.LogCaptureFixture
) -> None:
    store.command("CREATE TABLE extra (project_id String) ENGINE = Log")
    store.command("CREATE MATERIALIZED VIEW extra_view TO extra AS SELECT project_id FROM events")
    ensure_windows(store)
    assert "may count events twice" in caplog.text
    assert "the engine Log" in caplog.text


def test_a_table_of_ours_that_cannot_remember_stops_the_loader(
    store: ClickHouse, clickhouse_server: ClickHouseServer, tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    store.command("CREATE TABLE forgetful AS source_rollup ENGINE = Null")
    store.command("EXCHANGE TABLES forgetful AND source_rollup")
    with pytest.raises(DeduplicationError, match="make it a MergeTree"):
        ensure_windows(store)
    with open_engine(tmp_path, clickhouse_server.url, store.database) as engine:
        with pytest.raises(Exception, match="does not take them now"):
            engine.append(make_row())
        assert engine.count("events") == 0
        assert engine.journal.measure_backlog().rows == 1
        assert "source_rollup" in caplog.text
        assert "Traceback" not in caplog.text
        store.command("EXCHANGE TABLES forgetful AND source_rollup")
        wait_until_loaded(engine)


def wait_until_loaded(engine: Engine) -> None:
    engine.loader.wait_loaded(()).exception(120)
    while engine.count("events") != 1:
        engine.loader.wait_loaded(()).exception(120)


@pytest.mark.parametrize(
    ("engine", "settings", "small"),
    [
        ("MergeTree", "", {"non_replicated_deduplication_window": 10_000}),
        ("AggregatingMergeTree", "index_granularity = 8192", {"non_replicated_deduplication_window": 10_000}),
        ("MergeTree", "non_replicated_deduplication_window = 10000, index_granularity = 8192", {}),
        ("ReplicatedMergeTree", "", {"replicated_deduplication_window_seconds": 2_592_000}),
        (
            "ReplicatedAggregatingMergeTree",
            "replicated_deduplication_window = 100, replicated_deduplication_window_seconds = 604800",
            {"replicated_deduplication_window": 10_000, "replicated_deduplication_window_seconds": 2_592_000},
        ),
        (
            "SharedMergeTree",
            "non_replicated_deduplication_window = 10000",
            {"replicated_deduplication_window_seconds": 2_592_000},
        ),
    ],
)
def test_what_is_too_small_is_read_from_the_definition(engine: str, settings: str, small: dict[str, int]) -> None:
    definition = f"{engine} PARTITION BY 1 ORDER BY project_id" + (f" SETTINGS {settings}" if settings else "")
    assert Table("db", "events", engine, definition).find_small(_DEFAULTS) == small
