"""Worker threads: no caller can stop one, one bad piece of work fails alone, and a death is answered and reported."""

import sqlite3
import threading
from collections.abc import Iterator, Sequence
from concurrent.futures import Future, InvalidStateError
from contextlib import closing
from typing import Any

import pytest

from millimetric_server.journal.errors import JournalUnavailableError
from millimetric_server.journal.sqlite.writer_thread import WriterThread
from millimetric_server.process.workers import Worker, WorkerDiedError, complete, fail, make_promise

_WAIT_S = 10


def _append_all(connection: sqlite3.Connection, items: Sequence[Any]) -> Sequence[Any]:
    connection.executemany("INSERT INTO items VALUES (?)", [(item,) for item in items])
    return items


@pytest.fixture
def connection() -> Iterator[sqlite3.Connection]:
    with closing(sqlite3.connect(":memory:", isolation_level=None, check_same_thread=False)) as opened:
        opened.execute("CREATE TABLE items (item TEXT NOT NULL)")
        yield opened


@pytest.fixture
def writer(connection: sqlite3.Connection) -> Iterator[WriterThread[Any]]:
    made: WriterThread[Any] = WriterThread(connection, _append_all, on_rollback=lambda: None)
    yield made
    made.close()


def start_with(writer: WriterThread[Any], *items: Any) -> list["Future[Any]"]:
    """Let all the items wait before the writer begins, so that they are one group."""
    waiting = [writer.append(item) for item in items]
    writer.start()
    return waiting


def die(_connection: sqlite3.Connection) -> None:
    raise SystemExit


def test_a_promise_can_not_be_cancelled() -> None:
    promise = make_promise()
    assert not promise.cancel()
    complete(promise, 1)
    assert promise.result(0) == 1


@pytest.mark.parametrize(
    "touched", [Future.cancel, lambda future: future.set_result(0)], ids=["cancelled", "completed"]
)
def test_completing_survives_whatever_a_caller_did(touched: Any) -> None:
    future: Future[int] = Future()
    touched(future)
    complete(future, 1)
    fail(future, ValueError())
    with pytest.raises(InvalidStateError):
        future.set_result(1)


def test_a_caller_that_gives_up_stops_no_other(writer: WriterThread[Any]) -> None:
    given_up, other = start_with(writer, "a", "b")
    given_up.cancel()
    assert other.result(_WAIT_S) == "b"
    assert writer.append("c").result(_WAIT_S) == "c"


@pytest.mark.parametrize("bad", [object(), None, "\ud800"], ids=["type", "constraint", "surrogate"])
def test_a_write_that_can_not_be_carried_out_fails_alone(
    writer: WriterThread[Any], connection: sqlite3.Connection, bad: Any
) -> None:
    before, failed, after = start_with(writer, "a", bad, "b")
    assert [before.result(_WAIT_S), after.result(_WAIT_S)] == ["a", "b"]
    with pytest.raises((sqlite3.Error, UnicodeError)):
        failed.result(_WAIT_S)
    assert not writer.is_failing
    assert connection.execute("SELECT item FROM items").fetchall() == [("a",), ("b",)]


def test_the_disk_fails_the_whole_group_once(writer: WriterThread[Any], connection: sqlite3.Connection) -> None:
    connection.execute("PRAGMA query_only = ON")
    for refused in start_with(writer, "a", "b"):
        with pytest.raises(JournalUnavailableError):
            refused.result(_WAIT_S)
    assert writer.is_failing
    connection.execute("PRAGMA query_only = OFF")
    assert writer.append("c").result(_WAIT_S) == "c"
    assert not writer.is_failing


def test_a_dead_writer_answers_everybody_and_says_so(
    writer: WriterThread[Any], caplog: pytest.LogCaptureFixture
) -> None:
    reported = threading.Event()
    writer.worker.on_death = lambda _name: reported.set()
    in_hand = writer.transact(die)
    writer.start()
    assert reported.wait(_WAIT_S)
    with pytest.raises(WorkerDiedError):
        in_hand.result(_WAIT_S)
    with pytest.raises(JournalUnavailableError):
        writer.append("late").result(_WAIT_S)
    assert writer.worker.has_died
    assert [record.levelname for record in caplog.records] == ["CRITICAL"]


def test_a_death_is_reported_even_if_nobody_can_be_told(caplog: pytest.LogCaptureFixture) -> None:
    def abandon() -> None:
        raise ValueError

    reported: list[str] = []
    worker = Worker("worker", lambda: die(None), abandon)  # type: ignore[arg-type]
    worker.on_death = reported.append
    worker.start()
    worker.join(_WAIT_S)
    assert reported == ["worker"]
    assert worker.has_died
    assert not worker.is_running
    assert [record.levelname for record in caplog.records] == ["CRITICAL", "ERROR"]
