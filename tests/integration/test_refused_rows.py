"""ClickHouse refuses rows: they become dead letters, all others are stored once, and every event is accounted for."""

from collections.abc import Iterable, Sequence
from contextlib import closing
from pathlib import Path
from sqlite3 import Connection

import pytest

from integration.stores import DAY, NOW, Engine, make_row, open_engine
from millimetric_server.enrich.event_row import EventRow
from millimetric_server.journal.blocks import Block, BlockSlice
from millimetric_server.journal.entries import NewEvent
from millimetric_server.journal.ledger import Outcome
from millimetric_server.journal.packed_rows import COLUMN_COUNT, pack_row, pack_values
from millimetric_server.journal.sqlite.journal import SqliteJournal
from millimetric_server.journal.sqlite.ledger import add_to_ledger
from millimetric_server.loading.block_insert import BlockInserter, Insertion
from millimetric_server.loading.errors import EventsDelayedError, EventsRefusedError
from support.waiting import wait_until

_ADD = "ALTER TABLE events ADD CONSTRAINT good CHECK event != 'bad'"
_DROP = "ALTER TABLE events DROP CONSTRAINT good"


@pytest.fixture
def engine(engine: Engine) -> Engine:
    """The same, with a constraint."""
    engine.store.command(_ADD)
    return engine


def make_rows(count: int, bad: Iterable[int] = (), prefix: str = "e", **values: object) -> list[EventRow]:
    """Rows of several days, sessions and visitors; those with these numbers are refused."""
    names = dict.fromkeys(bad, "bad")
    return [
        make_row(
            event_id=f"{prefix}{number}",
            event=names.get(number, "good"),
            timestamp=NOW - (number % 3) * DAY + number,
            **{"anonymous_id": f"visitor {number % 7}", "session_id": f"session {number % 7}-{number % 3}"} | values,
        )
        for number in range(count)
    ]


def append_refused(engine: Engine, rows: Sequence[EventRow]) -> None:
    """Append rows of which some are refused, and wait for that to be told."""
    with pytest.raises(EventsRefusedError):
        engine.append(*rows)


def read_ids(engine: Engine) -> list[str]:
    return sorted(event_id for (event_id,) in engine.store.query("SELECT event_id FROM events"))


def read_dead_ids(engine: Engine) -> list[str]:
    letters = engine.journal.list_dead_letters()
    return [row["event_id"] for letter in letters for row in letter.describe()]


def retry_all(engine: Engine) -> None:
    """Have all dead letters tried again, and wait until the loader has passed them."""
    engine.journal.retry_dead_letters()
    engine.loader.notify()
    wait_until(
        lambda: (
            not any(one.is_marked for one in engine.journal.list_dead_letters())
            and not engine.journal.measure_backlog().entries
        ),
        "the loader has taken the dead letters back and passed them",
    )


def check(engine: Engine, stored: Sequence[EventRow], dead: Sequence[EventRow], dropped: int = 0) -> None:
    """Every row is where it should be, once, and all figures agree."""
    assert read_ids(engine) == sorted(row.event_id for row in stored)
    assert read_dead_ids(engine) == [row.event_id for row in dead]
    assert engine.read_rollups() == engine.read_expected_rollups()
    balances = engine.journal.load_balances()
    assert all(balance.missing == 0 for balance in balances)
    assert sum(balance.dead_letter for balance in balances) == len(dead)
    assert sum(sum(balance.dropped.values()) for balance in balances) == dropped
    assert engine.journal.waiting_bytes == engine.journal.measure_backlog().bytes == 0
    assert engine.journal._reader.fetch("SELECT * FROM refusals") == []


@pytest.mark.parametrize(
    ("count", "bad"),
    [
        (500, [317]),
        (500, [0, 1, 250, 333, 499]),
        (40, range(40)),
        (1, [0]),
        (2, [1]),
    ],
    ids=["one of many", "several", "all", "a single row", "one of two"],
)
def test_refused_rows_are_set_aside_and_loaded_once_they_may(engine: Engine, count: int, bad: Iterable[int]) -> None:
    rows = make_rows(count, bad)
    good, refused = [row for row in rows if row.event == "good"], [row for row in rows if row.event == "bad"]
    append_refused(engine, rows)
    check(engine, stored=good, dead=refused)
    retry_all(engine)
    check(engine, stored=good, dead=refused)
    engine.store.command(_DROP)
    retry_all(engine)
    check(engine, stored=rows, dead=[])


def test_a_refused_row_of_one_project_stops_no_other(engine: Engine) -> None:
    ours, theirs = make_rows(30, [7]), make_rows(30, prefix="t", project_id="prj_b")
    futures = [engine.journal.append([NewEvent(row, b"") for row in rows]) for rows in (ours, theirs)]
    refused, stored = (engine.loader.wait_loaded(future.result(120).entries) for future in futures)
    assert isinstance(refused.exception(120), EventsRefusedError)
    assert stored.exception(120) is None
    check(engine, stored=[row for row in ours if row.event == "good"] + theirs, dead=[ours[7]])
    (letter,) = engine.journal.list_dead_letters()
    assert (letter.project_id, letter.reason) == ("prj_a", "VIOLATED_CONSTRAINT")


def test_a_refused_event_sent_again_is_a_duplicate(engine: Engine) -> None:
    rows = make_rows(3, [1])
    appended = engine.journal.append([NewEvent(row, b"as sent") for row in rows]).result(120)
    with pytest.raises(EventsRefusedError):
        engine.loader.wait_loaded(appended.entries).result(120)
    appended = engine.journal.append([NewEvent(row, b"as sent") for row in rows]).result(120)
    assert all(first is not None for first in appended.firsts)
    check(engine, stored=[rows[0], rows[2]], dead=[rows[1]])


def test_forgetting_a_person_removes_their_dead_letters(engine: Engine) -> None:
    rows = make_rows(20, [3, 5])
    forgotten = make_rows(10, [2, 6], "u", user_id="u")
    append_refused(engine, rows + forgotten)
    figures = engine.erase("prj_a", user_id="u", now_us=NOW + DAY)
    assert (figures["events"], figures["dead_letters"], figures["residual"]) == (8, 2, 0)
    good = [row for row in rows if row.event == "good"]
    check(engine, stored=good, dead=[rows[3], rows[5]], dropped=2)


def test_a_block_with_refused_rows_and_late_replays_of_a_forgotten_person(engine: Engine) -> None:
    engine.erase("prj_a", user_id="u", now_us=NOW + DAY)
    rows = make_rows(100, [10, 50, 51])
    late = make_rows(10, [0, 9], "late", user_id="u")
    append_refused(engine, rows[:60] + late + rows[60:])
    good = [row for row in rows if row.event == "good"]
    check(engine, stored=good, dead=[rows[10], rows[50], rows[51]], dropped=len(late))
    engine.store.command(_DROP)
    retry_all(engine)
    check(engine, stored=rows, dead=[], dropped=len(late))


def test_a_person_forgotten_while_a_retry_is_marked_stays_out(engine: Engine) -> None:
    rows = make_rows(6, [2], user_id="u")
    append_refused(engine, rows)
    engine.store.command(_DROP)
    engine.journal.retry_dead_letters()
    figures = engine.erase("prj_a", user_id="u", now_us=NOW + DAY)
    assert figures["residual"] == 0
    wait_until(lambda: engine.journal.measure_backlog().rows == 0, "nothing waits")
    assert read_ids(engine) == read_dead_ids(engine) == []
    assert all(balance.missing == 0 for balance in engine.journal.load_balances())
    assert engine.read_rollups() == engine.read_expected_rollups()


@pytest.mark.parametrize("is_cut", [False, True], ids=["overwritten", "cut short"])
def test_an_entry_that_cannot_be_read_is_set_aside_whole(engine: Engine, *, is_cut: bool) -> None:
    rows = make_rows(20)
    packed = b"".join(pack_row(row) for row in make_rows(7, project_id="prj_b"))
    damaged = (packed[:-1] if is_cut else b"\xc1" * 300, "prj_b", 7, COLUMN_COUNT)

    def append_damaged(connection: Connection) -> None:
        connection.execute(
            "INSERT INTO entries (rows, project_id, row_count, column_count) VALUES (?, ?, ?, ?)", damaged
        )
        add_to_ledger(connection, "prj_b", Outcome.RECEIVED, 7)

    engine.journal._writer.transact(append_damaged).result()
    engine.append(*rows)
    wait_until(lambda: engine.journal.measure_backlog().rows == 0, "nothing waits")
    (letter,) = engine.journal.list_dead_letters()
    assert (letter.row_count, letter.reason, letter.describe()) == (7, "UNREADABLE_ENTRY", [])
    assert read_ids(engine) == sorted(row.event_id for row in rows)
    assert all(balance.missing == 0 for balance in engine.journal.load_balances())
    assert engine.read_rollups() == engine.read_expected_rollups()


class CutShort:
    """A journal whose loader was killed half way through a block, in a folder of its own beside the same store."""

    def __init__(self, engine: Engine, folder: Path) -> None:
        self.engine = engine
        self.folder = folder

    def run(self, rows: Sequence[EventRow], refused: Sequence[BlockSlice], sent: Sequence[BlockSlice]) -> None:
        """Journal rows; note these slices as refused and send these, then end without a checkpoint."""
        with closing(SqliteJournal(self.folder / "journal.db", bytes_max=10**9, idempotency_window_days=7)) as journal:
            journal.start()
            journal.append([NewEvent(row, b"") for row in rows]).result(120)
            lead = journal.lead("test", 60)
            block = journal.take_block(lead, 1000)
            assert block is not None
            for part in refused:
                journal.note_refusal(lead, block, part, "VIOLATED_CONSTRAINT", "as it was said")
            inserter = BlockInserter(journal, self.engine.store)
            for part in sent:
                assert inserter._send(Insertion(lead, block, {}), part, pack_slice(block, part))

    def check_after_restart(self, stored: Sequence[EventRow], dead: Sequence[EventRow]) -> None:
        """Let a new run finish the block, then one that has nothing left to do."""
        for _ in range(2):
            with open_engine(self.folder, self.engine.store.url, self.engine.store.database) as again:
                wait_until(lambda: again.journal.measure_backlog().rows == 0, "the block is settled")
                check(again, stored, dead)


def pack_slice(block: Block, part: BlockSlice) -> bytes:
    rows = [row for entry in block.entries for row in entry.unpack()]
    return pack_values([rows[number] for number in part.numbers])


@pytest.fixture
def cut_short(engine: Engine, tmp_path: Path) -> CutShort:
    return CutShort(engine, tmp_path / "cut short")


def test_refusals_of_an_earlier_run_are_honoured_with_one_half_sent(cut_short: CutShort) -> None:
    rows = make_rows(64, [40])
    whole = BlockSlice(0, 64)
    cut_short.run(rows, refused=[whole], sent=[whole.split()[0]])
    assert cut_short.engine.count("events") == 32
    cut_short.check_after_restart([row for row in rows if row.event == "good"], [rows[40]])


def test_rows_sent_in_slices_stay_single_when_the_constraint_is_gone_at_the_restart(cut_short: CutShort) -> None:
    """The whole block would be taken now, under a token that ClickHouse has not seen."""
    rows = make_rows(64, [40])
    whole = BlockSlice(0, 64)
    left, right = whole.split()
    cut_short.run(rows, refused=[whole, right], sent=[left, right.split()[1]])
    cut_short.engine.store.command(_DROP)
    cut_short.check_after_restart(rows, [])


def test_a_row_noted_as_refused_stays_so_after_the_restart(cut_short: CutShort) -> None:
    rows = make_rows(4, [1])
    cut_short.run(rows, refused=[BlockSlice(0, 4), BlockSlice(0, 2), BlockSlice(1, 1)], sent=[BlockSlice(0, 1)])
    cut_short.engine.store.command(_DROP)
    cut_short.check_after_restart([rows[0], *rows[2:]], [rows[1]])


def test_a_block_sent_whole_before_the_restart_is_stored_once(cut_short: CutShort) -> None:
    rows = make_rows(64)
    cut_short.run(rows, refused=[], sent=[BlockSlice(0, 64)])
    cut_short.check_after_restart(rows, [])


def test_a_row_that_a_roll_up_refuses_waits_and_is_stored_once(engine: Engine) -> None:
    """The events are in by then: the same block has to come again, and no part of it under another token."""
    engine.store.command(_DROP)
    engine.store.command("ALTER TABLE daily_rollup ADD CONSTRAINT good CHECK event != 'bad'")
    rows = make_rows(30, [7])
    with pytest.raises(EventsDelayedError):
        engine.append(*rows)
    wait_until(lambda: engine.count("events") == 30, "the events are in")
    (balance,) = engine.journal.load_balances()
    assert (balance.journaled, balance.dead_letter, balance.stored) == (30, 0, 0)
    engine.store.command("ALTER TABLE daily_rollup DROP CONSTRAINT good")
    wait_until(lambda: engine.journal.measure_backlog().rows == 0, "the block is loaded")
    check(engine, rows, [])


def test_whoever_repeats_a_dead_letter_and_waits_for_the_store_is_not_told_that_it_is_there(engine: Engine) -> None:
    append_refused(engine, make_rows(1, [0]))

    def find(project_id: str, event_id: str, received_at: int) -> set[tuple[str, int]]:
        return engine.journal.find_dead_letters(project_id, {(event_id, received_at)}).result(120)

    assert find("prj_a", "e0", NOW) == {("e0", NOW)}
    assert find("prj_a", "e1", NOW) == set()
    assert find("prj_b", "e0", NOW) == set()
    assert find("prj_a", "e0", NOW + 1) == set()  # the same id under another kind of key
