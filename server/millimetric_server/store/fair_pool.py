"""A thread pool that serves projects in turn, so that one with many queries does not delay the others."""

import logging
import threading
from collections import OrderedDict, deque
from collections.abc import Callable
from concurrent.futures import Future
from dataclasses import dataclass
from typing import Any, TypeVar

from millimetric_server.api.errors import make_ending
from millimetric_server.process.workers import complete, fail, make_promise
from millimetric_server.shares.places import Places
from millimetric_server.store.cancellation import Cancellation

log = logging.getLogger(__name__)

Result = TypeVar("Result")


@dataclass(slots=True, eq=False)
class _Job:
    """A piece of work that waits or runs, for a project's call."""

    project_id: str
    work: Callable[[], Any]
    cancellation: Cancellation
    promise: "Future[Any]"
    leave: Callable[[], None]  # the queue, when the call is cancelled


class FairPool:
    """Runs work, a project after the other. `places` bounds what waits and runs, `running` what runs.

    `prepare` is called first in each thread.
    """

    def __init__(self, name: str, places: Places, running: Places, prepare: Callable[[], None]) -> None:
        self.places = places
        self.running = running
        self._name = name
        self._prepare = prepare
        self._changed = threading.Condition()
        self._waiting: OrderedDict[str, deque[_Job]] = OrderedDict()  # by project; whose turn is next stands first
        self._threads: list[threading.Thread] = []
        self._is_closing = False

    def submit(self, project_id: str, work: Callable[[], Result], cancellation: Cancellation) -> "Future[Result]":
        """Run the work when it is the project's turn; a cancelled call leaves the queue at once.

        The future fails with what the work raises, or with AppError overloaded when the project has no place.
        """
        promise = make_promise()
        if not self.places.take(project_id):
            fail(promise, self.places.refuse(project_id))
            return promise
        promise.add_done_callback(lambda _: self.places.give_back(project_id))
        job = _Job(project_id, work, cancellation, promise, lambda: self._drop(job))
        with self._changed:
            is_closing = self._is_closing
            if not is_closing:
                self._waiting.setdefault(project_id, deque()).append(job)
                self._start_thread()
                self._changed.notify()
        if is_closing:
            fail(promise, make_ending())
        elif not cancellation.watch(job.leave):
            self._drop(job)
        return promise

    def close(self, timeout_s: float | None = None) -> None:
        """Refuse waiting work and finish running work, within the time if one is given."""
        with self._changed:
            self._is_closing = True
            self._changed.notify_all()
        self._fail_waiting()
        for thread in self._threads:
            thread.join(timeout_s)

    def _start_thread(self) -> None:
        if len(self._threads) < self.running.total:
            name = f"{self._name}-{len(self._threads)}"
            self._threads.append(threading.Thread(target=self._run, name=name, daemon=True))
            self._threads[-1].start()

    def _run(self) -> None:
        self._prepare()
        while (job := self._take_turn()) is not None:
            job.cancellation.unwatch(job.leave)
            try:
                complete(job.promise, job.work())
            except BaseException as error:  # noqa: BLE001 - the caller gets it, and the thread lives on
                fail(job.promise, error)
            with self._changed:
                self.running.give_back(job.project_id)
                self._changed.notify_all()

    def _take_turn(self) -> _Job | None:
        """Wait for work of a project that may run one more; None at the end."""
        with self._changed:
            while not self._is_closing:
                for project_id, jobs in self._waiting.items():
                    if self.running.take(project_id):
                        job = jobs.popleft()
                        if jobs:
                            self._waiting.move_to_end(project_id)
                        else:
                            del self._waiting[project_id]
                        return job
                self._changed.wait()
        return None

    def _drop(self, job: _Job) -> None:
        """Take a cancelled call's work out of the queue, if it is still there."""
        with self._changed:
            jobs = self._waiting.get(job.project_id)
            if jobs is None or job not in jobs:
                return
            jobs.remove(job)
            if not jobs:
                del self._waiting[job.project_id]
        fail(job.promise, job.cancellation.why)

    def _fail_waiting(self) -> None:
        with self._changed:
            jobs = [job for waiting in self._waiting.values() for job in waiting]
            self._waiting.clear()
        for job in jobs:
            fail(job.promise, make_ending())
