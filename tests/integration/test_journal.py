"""The journal under pressure: replays in parallel, a full disk, a torn file, a file of a newer server."""

import contextlib
import os
import sqlite3
import subprocess
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import grpc
import httpx
import pytest
from reads import bearer, count_everywhere, wait_for_key, wait_until
from stores import NOW, make_row

from millimetric.v1 import event_pb2, ingest_service_pb2, ingest_service_pb2_grpc
from millimetric_server.errors import AppError, Reason
from millimetric_server.journal.blocks import Settlement
from millimetric_server.journal.journal import Journal
from millimetric_server.journal.migrations import JournalError
from millimetric_server.journal.seen import NewEvent
from support.server_process import ServerProcess

_PLENTY = 10**9


def open_journal(folder: Path, *, bytes_max: int = _PLENTY, window_days: int = 7) -> Journal:
    journal = Journal(folder / "journal.db", bytes_max=bytes_max, idempotency_window_days=window_days)
    journal.start()
    return journal


def append_until_refused(journal: Journal) -> tuple[int, AppError]:
    """Append events until one is refused; returns how many were answered, and the refusal."""
    for number in range(10_000):
        error = journal.append([NewEvent(make_row(event_id=str(number), url="x" * 1000))]).exception(5)
        if error is not None:
            assert isinstance(error, AppError)
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
        wanted = dict.fromkeys(("events", "rollup", "sessions"), 100)
        wait_until(lambda: count_everywhere(server, keys) == wanted, lambda: str(count_everywhere(server, keys)))


def test_a_backlog_over_the_limit_is_refused_whole_and_the_rest_is_kept(tmp_path: Path) -> None:
    journal = open_journal(tmp_path, bytes_max=20_000)
    stored, error = append_until_refused(journal)
    assert error.reason is Reason.OVERLOADED
    assert error.retry_after_s
    assert journal.measure_backlog().rows == stored > 0
    block = journal.read_block(1000)
    assert block is not None
    journal.mark_inflight(block)
    journal.mark_loaded(block, Settlement())
    assert journal.measure_backlog().rows == 0
    assert journal.append([NewEvent(make_row(event_id="after"))]).result(5).firsts == [None]
    journal.close()


@pytest.fixture
def small_disk(tmp_path: Path) -> Iterator[Path]:
    folder = tmp_path / "small"
    folder.mkdir()
    mounted = (
        os.geteuid() == 0
        and subprocess.run(
            ["mount", "-t", "tmpfs", "-o", "size=2m", "tmpfs", str(folder)], check=False, capture_output=True
        ).returncode
        == 0
    )
    if not mounted:
        pytest.skip("a small disk can only be mounted by root")
    yield folder
    subprocess.run(["umount", str(folder)], check=True)


def test_a_full_disk_refuses_and_resumes_by_itself(small_disk: Path) -> None:
    journal = open_journal(small_disk)
    assert journal.append([NewEvent(make_row(event_id="before"))]).exception(5) is None
    filler = small_disk / "filler"
    with contextlib.suppress(OSError), filler.open("wb") as file:
        file.write(b"x" * 4_000_000)
    answered, error = append_until_refused(journal)
    answered += 1
    assert error.reason is Reason.OVERLOADED
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
        journal.append([NewEvent(make_row(event_id=str(number)))]).result(5)
    torn = tmp_path / "torn"
    torn.mkdir()
    for name in ("journal.db", "journal.db-wal"):
        content = (tmp_path / name).read_bytes()
        (torn / name).write_bytes(content[: -len(content) // 4] if name.endswith("wal") else content)
    journal.close()
    recovered = open_journal(torn)
    rows = recovered.measure_backlog().rows
    assert 0 < rows < 20
    block = recovered.read_block(1000)
    assert block is not None
    unpacked = [row for entry in block.entries for row in entry.unpack()]
    assert [row[2] for row in unpacked] == [str(number) for number in range(rows)]
    recovered.close()


def test_a_journal_of_a_newer_server_is_not_touched(tmp_path: Path) -> None:
    open_journal(tmp_path).close()
    with contextlib.closing(sqlite3.connect(tmp_path / "journal.db")) as connection:
        connection.execute("PRAGMA user_version = 99")
    with pytest.raises(JournalError, match="newer millimetric"):
        open_journal(tmp_path)


def test_ids_are_forgotten_after_the_window(tmp_path: Path) -> None:
    journal = open_journal(tmp_path)
    week = 7 * 86_400_000_000
    old = make_row(event_id="1", received_at=NOW)
    again = make_row(event_id="1", received_at=NOW + week + 1)
    assert journal.append([NewEvent(old, b"x")]).result(5).firsts == [None]
    assert journal.append([NewEvent(old, b"x")]).result(5).firsts[0] is not None
    assert journal.append([NewEvent(again, b"x")]).result(5).firsts == [None]
    assert journal.prune_seen(NOW + week) == 0
    assert journal.prune_seen(NOW + 3 * week) == 1
    journal.close()


def test_without_a_window_every_id_counts(tmp_path: Path) -> None:
    journal = open_journal(tmp_path, window_days=0)
    event = NewEvent(make_row(event_id="1"), b"x")
    assert [journal.append([event]).result(5).firsts for _ in range(2)] == [[None], [None]]
    journal.close()
