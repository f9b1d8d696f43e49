"""Projects take turns: whoever asks much waits behind whoever asks little, and is refused before the queue is full."""

import threading
from concurrent.futures import Future
from typing import Any

import pytest

from millimetric_server.api.errors import AppError, Reason
from millimetric_server.shares.places import Places
from millimetric_server.store.cancellation import Cancellation
from millimetric_server.store.fair_pool import FairPool


class Work:
    """Pieces of work that end when they are let go, and note in which order they began."""

    def __init__(self, *, running: int = 4, places: int = 64) -> None:
        self.pool = FairPool("test", Places("reads", places), Places("reads_running", running), lambda: None)
        self.begun: list[str] = []
        self.has_begun = threading.Condition()
        self.may_end = threading.Event()

    def submit(self, project: str, cancellation: Cancellation | None = None) -> "Future[str]":
        return self.pool.submit(project, lambda: self._work(project), cancellation or Cancellation())

    def wait_for_begun(self, count: int) -> None:
        with self.has_begun:
            self.has_begun.wait_for(lambda: len(self.begun) >= count)

    def _work(self, project: str) -> str:
        with self.has_begun:
            self.begun.append(project)
            self.has_begun.notify_all()
        self.may_end.wait()
        return project


def fail_of(future: "Future[Any]") -> AppError:
    error = future.exception(60)
    assert isinstance(error, AppError)
    return error


def test_a_project_with_many_leaves_threads_to_the_others() -> None:
    work = Work(running=4)
    greedy = [work.submit("a") for _ in range(20)]
    work.wait_for_begun(2)
    modest = work.submit("b")
    work.wait_for_begun(3)
    assert work.begun == ["a", "a", "b"]  # and nothing of the greedy one takes the thread that is left
    work.may_end.set()
    assert [future.result(60) for future in (modest, *greedy)] == ["b"] + ["a"] * 20
    work.pool.close()


def test_projects_take_turns() -> None:
    work = Work(running=1)
    work.submit("a")
    work.wait_for_begun(1)
    futures = [work.submit(project) for project in "aaaabbcccd"]
    work.may_end.set()
    for future in futures:
        future.result(60)
    assert "".join(work.begun) == "a" + "abcd" + "abc" + "ac" + "a"
    work.pool.close()


def test_beyond_its_places_a_project_is_refused_and_the_others_are_not() -> None:
    work = Work(places=64)
    greedy = [work.submit("a") for _ in range(50)]
    errors = [fail_of(future) for future in greedy[32:]]
    assert {error.reason for error in errors} == {Reason.OVERLOADED}
    assert all(error.retry_after_s for error in errors)
    modest = work.submit("b")
    work.may_end.set()
    assert modest.result(60) == "b"
    assert [future.result(60) for future in greedy[:32]] == ["a"] * 32
    work.pool.close()  # a thread gives its places back behind the result
    assert work.pool.places.taken == work.pool.running.taken == 0


def test_a_cancelled_call_leaves_the_queue_at_once() -> None:
    work = Work(running=1)
    running, cancellation = work.submit("a"), Cancellation()
    work.wait_for_begun(1)
    waiting = work.submit("a", cancellation)
    cancellation.cancel()
    assert fail_of(waiting).reason is Reason.UPSTREAM_FAILED
    assert work.pool.places.taken == 1
    assert fail_of(work.submit("a", cancellation)).reason is Reason.UPSTREAM_FAILED
    work.may_end.set()
    assert running.result(60) == "a"
    assert work.begun == ["a"]
    work.pool.close()


def test_a_thread_lives_on_after_work_that_fails() -> None:
    work = Work(running=1)

    def fail() -> None:
        raise SystemExit

    with pytest.raises(SystemExit):
        work.pool.submit("a", fail, Cancellation()).result(60)
    work.may_end.set()
    assert work.submit("a").result(60) == "a"
    work.pool.close()


def test_at_the_end_what_waits_is_refused_and_what_runs_is_finished() -> None:
    work = Work(running=1)
    running, waiting = work.submit("a"), work.submit("a")
    work.wait_for_begun(1)
    closing = threading.Thread(target=work.pool.close)
    closing.start()
    assert fail_of(waiting).reason is Reason.OVERLOADED
    assert closing.is_alive()
    work.may_end.set()
    closing.join(60)
    assert running.result(60) == "a"
    assert fail_of(work.submit("a")).reason is Reason.OVERLOADED
