"""From the journal into both kinds of store: once, in order, and out again when a person is forgotten."""

import dataclasses

from integration.stores import DAY, NOW, Engine, make_row
from millimetric_server.journal.blocks import Block, Leadership
from millimetric_server.journal.entries import Entry, EntryId, NewEvent
from millimetric_server.journal.packed_rows import COLUMN_COUNT, COLUMN_NAMES, FORMAT, pack_row
from millimetric_server.loading.block_insert import BlockInserter
from millimetric_server.reclassify.work_tables import WorkTables
from millimetric_server.store import migrations
from millimetric_server.store.clickhouse import ClickHouse
from millimetric_server.store.insert import Insert
from support.clickhouse_server import ClickHouseServer


def test_rows_arrive_with_every_field_and_the_roll_ups_agree(engine: Engine) -> None:
    engine.append(
        make_row(event_id="1", properties='{"a":"\\u0000"}', timestamp=NOW + 123456, source="google", medium="paid"),
        make_row(event_id="2", timestamp=NOW - DAY, session_id="other"),
        make_row(event_id="3", project_id="prj_b", event="purchase"),
    )
    rows = engine.store.query(
        "SELECT event_id, properties, toUnixTimestamp64Micro(timestamp), medium FROM events ORDER BY 1"
    )
    assert [tuple(row) for row in rows] == [
        ("1", '{"a":"\\u0000"}', NOW + 123456, "paid"),
        ("2", "{}", NOW - DAY, "direct"),
        ("3", "{}", NOW, "direct"),
    ]
    assert engine.read_rollups() == engine.read_expected_rollups()


def test_a_repeated_id_is_stored_once_and_answered_like_the_first(engine: Engine) -> None:
    engine.append(make_row(event_id="same", anonymous_id="first"), content=b"x")
    engine.append(make_row(event_id="same", anonymous_id="second"), content=b"y")
    assert engine.count("events") == 1
    assert engine.count("events", "anonymous_id = 'first'") == 1
    assert engine.journal.conflicts == 1


def test_a_block_that_is_sent_twice_is_counted_once(engine: Engine) -> None:
    """As after a crash between the insert and its checkpoint."""
    packed = b"".join(pack_row(make_row(event_id=f"b{number}")) for number in range(3))
    block = Block("token-10-12", [Entry(EntryId("10"), "prj_a", 3, COLUMN_COUNT, packed)])
    engine.loader._inserter.insert(Leadership("", ""), block)
    engine.loader._inserter.insert(Leadership("", ""), dataclasses.replace(block, was_sent=True))
    assert engine.count("events") == 3
    assert engine.read_rollups() == engine.read_expected_rollups()


def test_every_table_is_synced_before_clickhouse_confirms_what_it_wrote(engine: Engine) -> None:
    """Those of every migration, the newest too, and the notes of reclassify. See docs/adr/0010."""
    WorkTables("prj_a").create(engine.store)
    tables = dict(
        map(
            tuple,
            engine.store.query(
                "SELECT name, engine_full FROM system.tables "
                "WHERE database = currentDatabase() AND engine LIKE '%MergeTree'"
            ),
        )
    )
    assert {"events", "daily_rollup", "hourly_rollup", "source_rollup", "sessions", "schema_migrations"} < set(tables)
    for name, settings in tables.items():
        for wanted in ("fsync_after_insert = 1", "fsync_part_directory = 1", "min_rows_to_fsync_after_merge = 1"):
            assert wanted in settings.replace("true", "1"), name


def test_rows_that_are_there_are_left_out_of_a_block_that_was_sent_before(engine: Engine) -> None:
    """As a power cut leaves them: without their token, and of a block in two partitions only those of one."""
    engine.loader.close(10)
    rows = [make_row(event_id=f"{n}", timestamp=NOW - n % 2 * 60 * DAY, session_id=f"s{n % 2}") for n in range(20)]
    engine.journal.append([NewEvent(row, b"") for row in rows]).result(120)
    lead = engine.journal.lead("test", 60)
    assert lead is not None
    assert engine.journal.take_block(lead, 100) is not None
    there = b"".join(pack_row(row) for row in rows[::2])
    engine.store.insert_block(Insert("events", COLUMN_NAMES, FORMAT, there, "another token"))
    again = engine.journal.take_block(lead, 100)
    assert again is not None
    assert again.was_sent
    settlement = BlockInserter(engine.journal, engine.store).insert(lead, again)
    assert settlement.stored == {"prj_a": 20}
    assert engine.count("events") == 20
    assert engine.read_rollups() == engine.read_expected_rollups()


def test_forgetting_a_user_leaves_what_would_be_had_they_never_come(engine: Engine) -> None:
    engine.append(
        make_row(event_id="1", user_id="u", anonymous_id="phone", session_id="s1", source="google"),
        make_row(event_id="2", anonymous_id="phone", session_id="s1", timestamp=NOW - 1),
        make_row(event_id="3", event="$identify", user_id="u", anonymous_id="phone", session_id="s1"),
        make_row(event_id="4", event="$identify", user_id="u", anonymous_id="kiosk", session_id="s2"),
        make_row(event_id="5", event="$identify", user_id="v", anonymous_id="kiosk", session_id="s2"),
        make_row(event_id="6", anonymous_id="kiosk", session_id="s2"),
        make_row(event_id="7", user_id="w", anonymous_id="phone", session_id="s3", timestamp=NOW - DAY),
        make_row(event_id="8", user_id="u", project_id="prj_b"),
    )
    figures = engine.erase("prj_a", user_id="u")
    assert {row[0] for row in engine.store.query("SELECT event_id FROM events")} == {"5", "6", "7", "8"}
    assert engine.read_rollups() == engine.read_expected_rollups()
    assert figures["events"] == 4
    assert figures["residual"] == 0
    assert figures["sessions"] == 1


def test_late_replays_of_a_forgotten_person_stay_out_and_new_events_come_in(engine: Engine) -> None:
    engine.append(
        make_row(event_id="1", user_id="u", anonymous_id="phone"),
        make_row(event_id="2", event="$identify", user_id="u", anonymous_id="phone"),
    )
    engine.erase("prj_a", user_id="u", now_us=NOW + 1000)
    engine.append(
        make_row(event_id="late", user_id="u", timestamp=NOW - DAY, received_at=NOW + 2000),
        make_row(event_id="late device", anonymous_id="phone", timestamp=NOW - DAY, received_at=NOW + 2000),
        make_row(event_id="new", user_id="u", timestamp=NOW + 2000, received_at=NOW + 2000),
        make_row(event_id="another", user_id="v", anonymous_id="phone", timestamp=NOW - DAY, received_at=NOW + 2000),
    )
    assert {row[0] for row in engine.store.query("SELECT event_id FROM events")} == {"new", "another"}
    (account,) = engine.journal.load_balances()
    assert account.dropped == {"forgotten": 2}
    assert account.missing == 0
    assert engine.read_rollups() == engine.read_expected_rollups()


def test_forgetting_a_device_twice_is_harmless(engine: Engine) -> None:
    engine.append(make_row(event_id="1"), make_row(event_id="2", anonymous_id="other"))
    assert engine.erase("prj_a", anonymous_id="device")["events"] == 1
    assert engine.erase("prj_a", anonymous_id="device")["events"] == 0
    assert engine.read_rollups() == engine.read_expected_rollups()


def test_an_older_schema_is_brought_forward_and_its_events_are_rolled_up_anew(
    clickhouse_server: ClickHouseServer,
) -> None:
    """Also when the first attempt was cut short behind a table that it had filled."""
    store = ClickHouse(clickhouse_server.url, "upgraded")
    store.open()
    store.command(migrations._LEDGER)
    older, newer = migrations.read_migrations()[:3], migrations.read_migrations()[3:]
    for migration in older:
        migrations._apply(store, migration)
    packed = b"".join(pack_row(make_row(event_id=f"{n}", timestamp=NOW + n * DAY // 5)) for n in range(50))
    store.insert_block(Insert("events", COLUMN_NAMES, FORMAT, packed, "token"))
    migrations._apply(store, newer[0])
    for statement in newer[1].statements[:-1]:
        store.command(statement)
    assert migrations.migrate(store) == len(newer) - 1
    upgraded = Engine(None, None, store, None)  # type: ignore[arg-type]
    assert upgraded.count("daily_rollup") > 0
    assert upgraded.read_rollups() == upgraded.read_expected_rollups()
    store.insert_block(Insert("events", COLUMN_NAMES, FORMAT, pack_row(make_row(event_id="new")), "another"))
    assert upgraded.read_rollups() == upgraded.read_expected_rollups()
    store.close()
