"""No batch makes many parts, whatever its timestamps: a part costs a sync, and all acknowledgements wait for it."""

from collections.abc import Iterator
from pathlib import Path

import pytest

from integration.stores import DAY, NOW, Engine, make_row
from millimetric_server.api.limits import OLDEST_US
from millimetric_server.enrich.event_row import EventRow
from millimetric_server.journal.blocks import Block, Leadership
from millimetric_server.journal.entries import Entry, EntryId
from millimetric_server.journal.packed_rows import COLUMN_COUNT, COLUMN_NAMES, FORMAT, pack_row
from millimetric_server.journal.sqlite.journal import SqliteJournal
from millimetric_server.loading.block_insert import BlockInserter
from millimetric_server.store import migrations
from millimetric_server.store.clickhouse import ClickHouse
from millimetric_server.store.insert import Insert
from support.clickhouse_server import ClickHouseServer

_TABLES = ("events", "daily_rollup", "hourly_rollup", "source_rollup", "sessions")
_PARTS_MAX = 10  # an ordinary batch makes one in each table


def spread(count: int, oldest_us: int, newest_us: int = NOW, **values: object) -> list[EventRow]:
    """Rows at equal distances, each a visit of its own."""
    step = (newest_us - oldest_us) // (count - 1)
    times = [oldest_us + number * step for number in range(count)]
    return [
        make_row(event_id=f"e{time}", session_id=f"s{time}", timestamp=time, **({"retention_days": 36_500} | values))
        for time in times
    ]


def count_partitions(store: ClickHouse) -> int:
    """In how many partitions the rows lie: a block makes one part in each that it reaches."""
    ((count,),) = store.query(
        "SELECT uniqExact(table, partition_id) FROM system.parts "
        f"WHERE database = currentDatabase() AND active AND rows > 0 AND table IN {_TABLES}"
    )
    return int(count)


@pytest.mark.parametrize(
    "oldest_us",
    [NOW - DAY // 100, NOW - 364 * DAY, NOW - 3649 * DAY, OLDEST_US],
    ids=["ordinary", "a year", "ten years", "since 2000"],
)
def test_a_batch_from_any_times_makes_few_parts(engine: Engine, oldest_us: int) -> None:
    engine.append(*spread(1000, oldest_us, NOW + DAY))
    assert engine.count("events") == 1000
    assert engine.read_rollups() == engine.read_expected_rollups()
    assert count_partitions(engine.store) <= _PARTS_MAX


def test_an_event_that_is_kept_for_longer_than_datetime_reaches_is_not_removed(engine: Engine) -> None:
    engine.append(make_row(event_id="kept", retention_days=36_500))
    for table in _TABLES:
        engine.store.command(f"OPTIMIZE TABLE {table} FINAL")
        assert engine.count(table) == 1


def test_reads_of_a_few_days_look_at_no_part_of_other_times(engine: Engine) -> None:
    engine.append(*spread(400, NOW - 3000 * DAY))
    explained = engine.store.query(
        "EXPLAIN ESTIMATE SELECT count() FROM events WHERE project_id = 'prj_a' "
        f"AND timestamp > fromUnixTimestamp64Micro({NOW - 2 * DAY})"
    )
    assert sum(row[2] for row in explained) <= 1


@pytest.fixture
def of_version_9(clickhouse_server: ClickHouseServer) -> Iterator[ClickHouse]:
    """A database as the version before left it."""
    store = ClickHouse(clickhouse_server.url, "of_version_9")
    store.open()
    store.command(migrations._LEDGER)
    for migration in migrations.read_migrations():
        if migration.version < 10:
            migrations._apply(store, migration)
    yield store
    store.command("DROP DATABASE of_version_9")
    store.close()


def test_tables_of_the_version_before_are_copied_exactly_however_often_that_is_cut_short(
    of_version_9: ClickHouse, tmp_path: Path
) -> None:
    """A block was in flight: of its rows ClickHouse had those of two months, under a token that went with the table."""
    store = of_version_9
    rows = spread(200, NOW - 900 * DAY, retention_days=3650)  # what is kept for longer, version 9 may remove at once
    sent = spread(60, NOW - 80 * DAY, received_at=NOW + 1, project_id="prj_b", retention_days=3650)
    for number, there in enumerate((rows, sent[:40])):
        packed = b"".join(map(pack_row, there))
        store.insert_block(Insert("events", COLUMN_NAMES, FORMAT, packed, f"token-{number}"))
    (moved,) = (migration for migration in migrations.read_migrations() if migration.version == 10)
    for end, statement in enumerate(moved.statements, 1):
        if statement.startswith(("INSERT", "EXCHANGE", "CREATE MATERIALIZED")):
            for done in moved.statements[:end]:
                store.command(done)
    migrations.migrate(store)

    journal = SqliteJournal(tmp_path / "journal.db", bytes_max=10**9, idempotency_window_days=7)
    packed = b"".join(map(pack_row, sent))
    block = Block("token-1", [Entry(EntryId("1"), "prj_b", len(sent), COLUMN_COUNT, packed)], was_sent=True)
    for _ in range(2):
        settlement = BlockInserter(journal, store).insert(Leadership("", ""), block)
        assert settlement.stored == {"prj_b": 60}
    journal.close()
    upgraded = Engine(None, None, store, None)  # type: ignore[arg-type]
    assert upgraded.count("events") == 200 + 60
    assert upgraded.read_rollups() == upgraded.read_expected_rollups()
    assert count_partitions(store) <= _PARTS_MAX
    new = make_row(event_id="new")
    store.insert_block(Insert("events", COLUMN_NAMES, FORMAT, pack_row(new), "new"))
    assert upgraded.read_rollups() == upgraded.read_expected_rollups()
