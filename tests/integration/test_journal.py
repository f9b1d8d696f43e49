"""The journal under pressure: replays in parallel, a full disk, damaged files, files of other versions."""

import contextlib
import gzip
import shutil
import sqlite3
import subprocess
import tempfile
from collections import Counter
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import grpc
import httpx
import msgspec
import pytest

from integration.reads import bearer, wait_for_key, wait_until_everywhere
from integration.stores import DAY, NOW, make_row
from millimetric.v1 import event_pb2, ingest_service_pb2, ingest_service_pb2_grpc
from millimetric_server.journal.blocks import Block, Leadership, RefusedRows, Settlement
from millimetric_server.journal.conflicts import ConflictLog
from millimetric_server.journal.entries import EntryId, FirstAnswer, NewEvent
from millimetric_server.journal.errors import (
    JournalFullError,
    JournalUnavailableError,
    JournalVersionError,
    NotAppendedError,
)
from millimetric_server.journal.packed_rows import COLUMN_COUNT, pack_row
from millimetric_server.journal.sqlite import dead_letters
from millimetric_server.journal.sqlite.journal import SqliteJournal
from support.server_process import ServerProcess
from support.tools import give_up
from support.waiting import wait_until

_PLENTY = 10**9
_STORED = Path(__file__).parent / "journals"  # as older servers left them


def open_journal(folder: Path, *, bytes_max: int = _PLENTY, window_days: int = 7) -> SqliteJournal:
    journal = SqliteJournal(folder / "journal.db", bytes_max=bytes_max, idempotency_window_days=window_days)
    journal.start()
    return journal


def lead(journal: SqliteJournal) -> Leadership:
    taken = journal.lead("test", 60)
    assert taken is not None
    return taken


def take_block(journal: SqliteJournal) -> Block:
    block = journal.take_block(lead(journal), 1000)
    assert block is not None
    return block


def append_until_refused(journal: SqliteJournal) -> tuple[int, NotAppendedError]:
    """Append events until one is refused; returns how many were answered, and the refusal."""
    for number in range(10_000):
        error = journal.append([NewEvent(make_row(event_id=str(number), url="x" * 1000))]).exception(5)
        if error is not None:
            assert isinstance(error, NotAppendedError)
            return number, error
    raise AssertionError("nothing was refused")


def test_the_same_batch_fifty_times_at_once_over_both_doors_is_stored_once() -> None:
    with ServerProcess(environ={"MILLIMETRIC_RATE_LIMITS": "off"}) as server:
        keys = server.create_project("replays")
        wait_for_key(server, keys)
        ids = [f"event-{number}" for number in range(100)]
        body = {"events": [{"event": "tick", "event_id": one} for one in ids]}
        request = ingest_service_pb2.BatchRequest(events=[event_pb2.Event(event="tick", event_id=one) for one in ids])

        def send_rest(_: int) -> int:
            answer = httpx.post(f"{server.base_url}/v1/batch", json=body, headers=bearer(keys.secret), timeout=30)
            return int(answer.json()["duplicates"])

        with grpc.insecure_channel(server.grpc_address) as channel, ThreadPoolExecutor(20) as pool:
            stub = ingest_service_pb2_grpc.IngestServiceStub(channel)
            metadata = (("authorization", f"Bearer {keys.secret}"),)
            over_rest = pool.map(send_rest, range(25))
            over_grpc = pool.map(lambda _: stub.Batch(request, metadata=metadata).duplicates, range(25))
            duplicates = [*over_rest, *over_grpc]
        assert sorted(duplicates) == [0] + [100] * 49
        wait_until_everywhere(server, keys, 100)


def test_a_backlog_over_the_limit_is_refused_whole_and_the_rest_is_kept(tmp_path: Path) -> None:
    journal = open_journal(tmp_path, bytes_max=20_000)
    stored, error = append_until_refused(journal)
    assert isinstance(error, JournalFullError)
    assert error.retry_after_s
    assert journal.measure_backlog().rows == stored > 0
    journal.settle(lead(journal), take_block(journal), Settlement())
    assert journal.measure_backlog().rows == 0
    assert journal.append([NewEvent(make_row(event_id="after"))]).result(60).firsts == [None]
    journal.close()


def test_a_full_disk_refuses_and_resumes_by_itself(small_disk: Path) -> None:
    journal = open_journal(small_disk)
    assert journal.append([NewEvent(make_row(event_id="before"))]).exception(5) is None
    filler = small_disk / "filler"
    with contextlib.suppress(OSError), filler.open("wb") as file:
        file.write(b"x" * 32_000_000)
    answered, error = append_until_refused(journal)
    answered += 1
    assert isinstance(error, JournalUnavailableError)
    assert journal.measure_backlog().rows == answered
    filler.unlink()
    wait_until(lambda: journal.append([NewEvent(make_row(event_id="after"))]).exception(5) is None, "writes resume")
    assert journal.measure_backlog().rows == answered + 1
    journal.close()
    reopened = open_journal(small_disk)
    assert reopened.measure_backlog().rows == answered + 1
    reopened.close()


def test_a_torn_write_ahead_log_is_recovered_up_to_the_last_commit(tmp_path: Path) -> None:
    journal = open_journal(tmp_path)
    for number in range(20):
        journal.append([NewEvent(make_row(event_id=str(number)))]).result(60)
    torn = tmp_path / "torn"
    torn.mkdir()
    for name in ("journal.db", "journal.db-wal"):
        content = (tmp_path / name).read_bytes()
        (torn / name).write_bytes(content[: -len(content) // 4] if name.endswith("wal") else content)
    journal.close()
    recovered = open_journal(torn)
    rows = recovered.measure_backlog().rows
    assert 0 < rows < 20
    block = take_block(recovered)
    unpacked = [row for entry in block.entries for row in entry.unpack()]
    assert [row[2] for row in unpacked] == [str(number) for number in range(rows)]
    recovered.close()


def test_a_recovery_is_told_in_the_log(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    journal = open_journal(tmp_path)
    journal.append([NewEvent(make_row(event_id="1"))]).result(60)
    crashed = tmp_path / "crashed"
    crashed.mkdir()
    for name in ("journal.db", "journal.db-wal"):
        (crashed / name).write_bytes((tmp_path / name).read_bytes())
    with (crashed / "journal.db-wal").open("ab") as wal:
        wal.write(b"x" * 100)
    journal.close()
    assert "Recovered" not in caplog.text
    recovered = open_journal(crashed)
    assert "Recovered up to its last commit" in caplog.text
    assert recovered.measure_backlog().rows == 1
    recovered.close()
    caplog.clear()
    open_journal(crashed).close()
    assert caplog.text == ""


@pytest.mark.parametrize("damage", ["truncated", "overwritten", "no database at all"])
def test_what_can_be_read_of_a_damaged_file_is_kept_and_the_rest_is_counted(
    damage: str, tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    journal = open_journal(tmp_path)
    for number in range(200):
        journal.append([NewEvent(make_row(event_id=str(number), url="u" * 1000), b"x")]).result(60)
    journal.close()
    path = tmp_path / "journal.db"
    content = bytearray(path.read_bytes())
    if damage == "truncated":
        del content[-len(content) // 3 :]
    elif damage == "overwritten":
        content[100_000:160_000] = b"\xa5" * 60_000
        (tmp_path / "journal.db-wal").write_bytes(b"\0" * 32)  # as a crash leaves it: a start then looks closely
    else:
        content[:] = b"not a database" * 1000
    path.write_bytes(content)
    recovered = open_journal(tmp_path)
    assert "damaged" in caplog.text
    (kept,) = tmp_path.glob("journal.db.damaged-*Z")
    assert kept.read_bytes() == bytes(content)
    rows = recovered.measure_backlog().rows
    assert (rows == 0) if damage == "no database at all" else (0 < rows < 200)
    for balance in recovered.load_balances():
        assert balance.missing == 0
        assert balance.received == 200
        assert balance.dropped == {"journal_damaged": 200 - rows}
    entries = recovered.append([NewEvent(make_row(event_id="new"))]).result(60).entries
    block = take_block(recovered)
    assert [block.entries[-1].entry_id] == list(entries)
    assert block.row_count == rows + 1
    recovered.close()


def test_a_journal_of_version_1_is_brought_forward(tmp_path: Path) -> None:
    """Three events were loaded; a block of two calls was in flight at a crash, another call and an erasure wait."""
    (tmp_path / "journal.db").write_bytes(gzip.decompress((_STORED / "version-1.db.gz").read_bytes()))
    journal = open_journal(tmp_path)
    block = take_block(journal)
    assert block.was_sent
    assert block.token == "01a20d31-bdb6-73c6-afa1-51a9bf9c6810-2-3"
    rows = [row for entry in block.entries for row in entry.unpack()]
    assert [row[2] for row in rows] == [*(f"a-{number}" for number in range(10)), "b-0"]
    assert rows[10] == list(
        msgspec.structs.astuple(
            make_row(event_id="b-0", project_id="prj_b", event="purchase", properties='{"total":1.5,"note":"\\u00e9"}')
        )
    )
    assert {one.project_id: one.journaled for one in journal.load_balances()} == {"prj_a": 12, "prj_b": 1}
    assert all(one.missing == 0 for one in journal.load_balances())
    repeated = make_row(event_id="loaded-1")
    assert journal.append([NewEvent(repeated, b"x" * 8)]).result(60).firsts[0] is not None
    (erasure,) = journal.erasures.list_pending()
    assert erasure.user_id == "u"
    appended = journal.append([NewEvent(make_row(event_id="new"))]).result(60)
    assert appended.entries == (EntryId("5"),)
    journal.close()
    open_journal(tmp_path).close()


def test_dead_letters_of_an_older_journal_are_found_and_forgotten_when_they_go(tmp_path: Path) -> None:
    journal = open_journal(tmp_path)
    row = make_row(event_id="refused")
    refused = RefusedRows(EntryId("1"), "prj_a", 1, COLUMN_COUNT, pack_row(row), "reason", "message")
    journal._writer.transact(lambda connection: dead_letters.insert(connection, [refused], 1)).result(60)
    journal.close()
    with contextlib.closing(sqlite3.connect(tmp_path / "journal.db", isolation_level=None)) as connection:
        connection.executescript("DROP TRIGGER dead_letter_gone; DROP TABLE dead_letter_ids; PRAGMA user_version = 2")
    journal = open_journal(tmp_path)
    assert journal.find_dead_letters("prj_a", {("refused", row.received_at), ("other", row.received_at)}).result(
        60
    ) == {("refused", row.received_at)}
    assert journal.retry_dead_letters().events == 1
    assert journal.take_back_dead_letters(lead(journal)) == 1
    assert journal.find_dead_letters("prj_a", {("refused", row.received_at)}).result(60) == set()
    journal.close()


_UUID = "0197a3c2-5d3e-7c4b-8f00-0123456789ab"


def find_first(journal: SqliteJournal, event_id: str, *, is_public: bool, **values: object) -> FirstAnswer | None:
    """Append an event as a caller of one kind of key sends it; returns what is answered if its id was known."""
    event = NewEvent(make_row(event_id=event_id, **values), b"as sent.", is_public)
    first: FirstAnswer | None = journal.append([event]).result(60).firsts[0]
    return first


@pytest.mark.parametrize("event_id", ["order-1", _UUID])
def test_ids_of_public_and_secret_keys_are_apart(event_id: str, tmp_path: Path) -> None:
    journal = open_journal(tmp_path)
    assert find_first(journal, event_id, is_public=True, anonymous_id="claimed") is None
    assert find_first(journal, event_id, is_public=False, anonymous_id="alice", session_id="visit") is None
    assert find_first(journal, event_id, is_public=False, anonymous_id="other") == FirstAnswer("alice", "visit", NOW)
    again = find_first(journal, event_id, is_public=True, anonymous_id="own", session_id="own-1", received_at=NOW + 1)
    assert again == FirstAnswer("own", "own-1", NOW)
    both = [NewEvent(make_row(event_id="new"), b"x", is_public) for is_public in (False, True, False, True)]
    firsts = journal.append(both).result(60).firsts
    assert [first is None for first in firsts] == [True, True, False, False]
    journal.close()


@pytest.mark.parametrize("event_id", ["order-1", _UUID])
@pytest.mark.parametrize("kind", ["pk", "sk"])
def test_an_id_that_an_older_server_entered_is_known_to_both_kinds_of_key(
    event_id: str, kind: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The file was left at NOW; the server is upgraded a day later."""
    is_public = kind == "pk"
    (tmp_path / "journal.db").write_bytes(gzip.decompress((_STORED / "version-2.db.gz").read_bytes()))
    monkeypatch.setattr("time.time_ns", lambda: (NOW + DAY) * 1000)
    open_journal(tmp_path).close()
    journal = open_journal(tmp_path)  # also after another start
    first = find_first(journal, event_id, is_public=is_public, anonymous_id="own", session_id="own-1")
    assert first == (
        FirstAnswer("own", "own-1", 0) if is_public else FirstAnswer("device-of-alice", "visit-of-alice", NOW)
    )
    later = NOW + 8 * DAY  # the window is over
    assert find_first(journal, event_id, is_public=is_public, received_at=later) is None
    assert find_first(journal, event_id, is_public=not is_public, received_at=later) is None
    journal.close()


@pytest.mark.parametrize("kind", ["pk", "sk"])
def test_ids_of_a_damaged_file_of_an_older_server_are_known(kind: str, tmp_path: Path) -> None:
    path = tmp_path / "journal.db"
    path.write_bytes(gzip.decompress((_STORED / "version-2.db.gz").read_bytes()))
    with path.open("r+b") as file:
        file.truncate(path.stat().st_size - 4096)  # less its last page
    journal = open_journal(tmp_path)
    assert list(tmp_path.glob("journal.db.damaged-*Z"))
    assert find_first(journal, "order-1", is_public=kind == "pk") is not None
    journal.close()


def test_a_flood_of_conflicts_is_a_line_per_project_and_minute(caplog: pytest.LogCaptureFixture) -> None:
    now = 0.0
    conflicts = ConflictLog(lambda: now)
    for _ in range(1000):
        conflicts.note("prj_a")
        conflicts.note("prj_b")
    assert [record.args for record in caplog.records] == [("prj_a", 1), ("prj_b", 1)]
    now = 59.0
    conflicts.flush()
    assert len(caplog.records) == 2
    now = 60.0
    conflicts.note("prj_a")
    conflicts.flush()
    assert [record.args for record in caplog.records[2:]] == [("prj_a", 1000), ("prj_b", 999)]
    now = 200.0
    conflicts.flush()
    conflicts.note("prj_a")
    assert [record.args for record in caplog.records[4:]] == [("prj_a", 1)]
    assert conflicts.count == 2002


@pytest.fixture
def disk_path() -> Iterator[Path]:
    """A folder on a disk: files in memory can be written even when they are immutable."""
    with tempfile.TemporaryDirectory(dir="/var/tmp") as folder:
        yield Path(folder)


def test_a_file_that_can_not_be_written_refuses_and_resumes_by_itself(disk_path: Path) -> None:
    """The immutable flag stops root too, and what has the file open already."""
    journal = open_journal(disk_path)
    assert journal.append([NewEvent(make_row(event_id="before"))]).exception(60) is None
    files = [str(disk_path / name) for name in ("journal.db", "journal.db-wal")]
    if subprocess.run(["chattr", "+i", *files], check=False, capture_output=True).returncode:
        journal.close()
        give_up("only root can make a file immutable, and not on every file system")
    try:
        error = journal.append([NewEvent(make_row(event_id="refused"))]).exception(60)
        assert isinstance(error, JournalUnavailableError)
        assert error.retry_after_s
        assert not journal.is_accepting
    finally:
        subprocess.run(["chattr", "-i", *files], check=True)
    wait_until(lambda: journal.append([NewEvent(make_row(event_id="after"))]).exception(60) is None, "writes resume")
    block = take_block(journal)
    assert [row[2] for entry in block.entries for row in entry.unpack()] == ["before", "after"]
    assert [one.missing for one in journal.load_balances()] == [0]
    journal.close()


def test_writes_end_before_the_disk_is_full(small_disk: Path) -> None:
    journal = SqliteJournal(
        small_disk / "journal.db", bytes_max=_PLENTY, idempotency_window_days=7, free_bytes_min=8_000_000
    )
    journal.start()
    answered, error = append_until_refused(journal)
    assert (type(error), error.retry_after_s) == (JournalFullError, 5.0)
    assert shutil.disk_usage(small_disk).free > 1_000_000
    assert not journal.is_accepting
    while (block := journal.take_block(lead(journal), 1000)) is not None:
        journal.settle(lead(journal), block, Settlement(Counter({"prj_a": block.row_count})))
    (balance,) = journal.load_balances()
    assert (balance.stored, balance.missing) == (answered, 0)
    journal.close()


def test_a_journal_of_a_newer_server_is_not_touched(tmp_path: Path) -> None:
    open_journal(tmp_path).close()
    with contextlib.closing(sqlite3.connect(tmp_path / "journal.db")) as connection:
        connection.execute("PRAGMA user_version = 99")
    with pytest.raises(JournalVersionError, match="newer millimetric"):
        open_journal(tmp_path)


def test_ids_are_forgotten_after_the_window(tmp_path: Path) -> None:
    journal = open_journal(tmp_path)
    week = 7 * 86_400_000_000
    old = make_row(event_id="1", received_at=NOW)
    again = make_row(event_id="1", received_at=NOW + week + 1)
    assert journal.append([NewEvent(old, b"x")]).result(60).firsts == [None]
    assert journal.append([NewEvent(old, b"x")]).result(60).firsts[0] is not None
    assert journal.append([NewEvent(again, b"x")]).result(60).firsts == [None]
    assert journal.turn_window(lead(journal), NOW + week) == 0
    assert journal.turn_window(lead(journal), NOW + 3 * week) == 1
    journal.close()


def test_without_a_window_every_id_counts(tmp_path: Path) -> None:
    journal = open_journal(tmp_path, window_days=0)
    event = NewEvent(make_row(event_id="1"), b"x")
    assert [journal.append([event]).result(60).firsts for _ in range(2)] == [[None], [None]]
    journal.close()
