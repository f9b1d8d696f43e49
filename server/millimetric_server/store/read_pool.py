"""Runs callers' queries in ClickHouse on threads of their own, within limits, until the caller disconnects."""

import contextlib
import logging
import threading
import time
import uuid
from collections.abc import Callable, Mapping
from concurrent.futures import Future, ThreadPoolExecutor
from dataclasses import dataclass
from typing import IO, TYPE_CHECKING, Any, TypeVar

from millimetric_server.api.errors import AppError, Reason, make_ending
from millimetric_server.process.workers import complete, fail, make_promise
from millimetric_server.shares.places import SHARE_PERCENT, Places
from millimetric_server.store.cancellation import Cancellation
from millimetric_server.store.fair_pool import FairPool
from millimetric_server.store.faults import (
    NoRoomError,
    StoreUnavailableError,
    make_not_ready,
    make_too_much,
    name_read_limit,
)

if TYPE_CHECKING:
    from millimetric_server.store.clickhouse import ClickHouse, Rows

log = logging.getLogger(__name__)

Result = TypeVar("Result")

EXPORTS_MAX = 4  # at once: each may hold a page in memory and a thread
READS_MAX, READS_RUNNING_MAX = 64, 6
_GRACE_S = 1  # that a connection waits longer than a read may take
_LASTING = ("store-export", "store-kill")  # threads that Python waits for at its end
_EXPORT_TIMEOUT_S = 300  # between two parts of an answer
_NO_ROOM_RETRY_S = 60.0
_KILL_AGAIN_S = 0.2  # a query that is on its way to ClickHouse can't be killed yet


# A funnel of ten steps with all the filters that it may have; ClickHouse's own bounds are 256 KiB and 50,000.
_STATEMENT_BYTES_MAX = 1024 * 1024
_STATEMENT_ELEMENTS_MAX = 500_000


@dataclass(frozen=True, slots=True)
class ReadLimits:
    """What one read may take."""

    seconds: int = 9
    memory_bytes: int = 2 * 1024**3
    rows: int = 1_000_000_000  # that are read, not answered

    @property
    def timeout_s(self) -> int:
        """How long a connection waits for the answer."""
        return self.seconds + _GRACE_S

    @property
    def settings(self) -> dict[str, object]:
        """The limits as ClickHouse's settings."""
        return {
            "max_execution_time": self.seconds,
            "timeout_overflow_mode": "throw",
            "max_memory_usage": self.memory_bytes,
            "max_rows_to_read": self.rows,
            "read_overflow_mode": "throw",
            "max_result_rows": 100_000,
            "result_overflow_mode": "throw",
            "max_query_size": _STATEMENT_BYTES_MAX,
            "max_ast_elements": _STATEMENT_ELEMENTS_MAX,
        }


@dataclass(frozen=True, slots=True)
class ReadRoom:
    """How much may be read at the same time, and how much of that by one project alone."""

    reads: int = READS_MAX  # that wait or run
    reads_running: int = READS_RUNNING_MAX
    exports: int = EXPORTS_MAX
    share_percent: int = SHARE_PERCENT


class ReadPool:
    """Reads and exports of one store. Projects share it: see `places`."""

    def __init__(self, store: "ClickHouse", limits: ReadLimits, room: ReadRoom) -> None:
        self._store = store
        self._limits = limits
        share = room.share_percent
        self.reads = Places("reads", room.reads, share)
        self.reads_running = Places("reads_running", room.reads_running, share)
        self.exports = Places("exports", room.exports, share)
        self._asked: dict[Future[Any], Cancellation] = {}
        self._asked_lock = threading.Lock()
        self._is_given_up = False
        self._readers = FairPool(
            "store-read", self.reads, self.reads_running, lambda: store.set_timeout(limits.timeout_s)
        )
        self._exporters = ThreadPoolExecutor(
            room.exports, "store-export", initializer=store.set_timeout, initargs=(_EXPORT_TIMEOUT_S,)
        )
        # One for each query that may have to end: it takes long where ClickHouse does not answer.
        self._killers = ThreadPoolExecutor(room.reads_running + room.exports, "store-kill")

    def run(self, statement: str, parameters: Mapping[str, object], cancellation: Cancellation) -> "Future[Rows]":
        """Run a caller's query when its project's turn comes; the parameter `project` names it.

        It ends in ClickHouse too when the call is cancelled. The future fails with AppError overloaded when the project
        has no place, upstream_failed, or invalid_params when the query exceeds a limit.
        """
        project_id = str(parameters.get("project", ""))
        promise = self._readers.submit(project_id, lambda: self._run(statement, parameters, cancellation), cancellation)
        return self._note(promise, cancellation)

    def submit_export(self, work: Callable[[], Result], mark: str, cancellation: Cancellation) -> "Future[Result]":
        """Run a part of an export, whose queries have this `log_comment`, on threads of its own.

        A cancelled call ends its running query. The future fails with AppError upstream_failed, overloaded.
        """
        promise = make_promise()

        def export() -> None:
            try:
                complete(promise, self._export(work, mark, cancellation))
            except BaseException as error:  # noqa: BLE001 - the caller gets it
                fail(promise, error)

        try:
            self._exporters.submit(export)
        except RuntimeError:  # the server is closing
            fail(promise, make_ending())
        return self._note(promise, cancellation)

    def end_export(self, project_id: str, file: IO[bytes] | None) -> None:
        """Give an export's place back once its file is closed, which frees the disk and so may take long."""
        if file is not None:
            with contextlib.suppress(RuntimeError):  # the server is closing: the file goes with the process
                closing = self._exporters.submit(file.close)
                closing.add_done_callback(lambda _: self.exports.give_back(project_id))
                return
        self.exports.give_back(project_id)

    @property
    def is_busy(self) -> bool:
        """Whether an export or the end of a query still hangs, after close()."""
        return any(thread.name.startswith(_LASTING) for thread in threading.enumerate())

    def give_up(self) -> None:
        """End all reads and exports, because the server does not wait for them any longer."""
        with self._asked_lock:
            self._is_given_up = True
            asked = list(self._asked.items())
        for promise, cancellation in asked:
            cancellation.cancel(make_ending())
            fail(promise, make_ending())  # ClickHouse may take long to end it, or not answer

    def close(self) -> None:
        """Finish running reads. Wait for the embedded engine, but not for a ClickHouse server that does not answer."""
        waits = self._store.is_embedded
        self._readers.close(None if waits else 0)
        self._exporters.shutdown(wait=waits, cancel_futures=True)
        self._killers.shutdown(wait=waits)

    def _note(self, promise: "Future[Any]", cancellation: Cancellation) -> "Future[Any]":
        with self._asked_lock:
            self._asked[promise] = cancellation
            is_given_up = self._is_given_up
        promise.add_done_callback(self._forget)
        if is_given_up:
            fail(promise, make_ending())
        return promise

    def _forget(self, promise: "Future[Any]") -> None:
        with self._asked_lock:
            self._asked.pop(promise, None)

    def _run(self, statement: str, parameters: Mapping[str, object], cancellation: Cancellation) -> "Rows":
        mark, has_ended = str(uuid.uuid4()), threading.Event()
        settings = self._limits.settings | {"log_comment": mark}
        try:
            self._check_may_ask(cancellation)
            with cancellation.watched_by(lambda: self._kill(mark, has_ended, self._limits.timeout_s)):
                return self._store.query(statement, parameters, **settings)
        except StoreUnavailableError as error:
            if (limit := name_read_limit(error.__cause__)) is not None:
                raise make_too_much(limit) from None
            if cancellation.is_cancelled:
                raise cancellation.why from None
            log.warning("a read failed in ClickHouse: %s", error)
            raise AppError(Reason.UPSTREAM_FAILED, "the analytics store did not answer; try again") from error
        finally:
            has_ended.set()

    def _export(self, work: Callable[[], Result], mark: str, cancellation: Cancellation) -> Result:
        has_ended = threading.Event()
        try:
            self._check_may_ask(cancellation)
            with cancellation.watched_by(lambda: self._kill(mark, has_ended, _EXPORT_TIMEOUT_S)):
                return work()
        except NoRoomError as error:
            log.warning("no disk space for an export's file: %s", error)
            message = "the server has no disk space for a Parquet file: request ndjson or csv"
            raise AppError(Reason.OVERLOADED, message, retry_after_s=_NO_ROOM_RETRY_S) from None
        except (StoreUnavailableError, OSError) as error:
            if cancellation.is_cancelled:
                raise cancellation.why from None
            log.warning("an export failed in ClickHouse: %s", error)
            raise AppError(Reason.UPSTREAM_FAILED, "the analytics store did not answer; try again") from error
        finally:
            has_ended.set()

    def _check_may_ask(self, cancellation: Cancellation) -> None:
        if cancellation.is_cancelled:
            raise cancellation.why
        if not self._store.is_current:
            raise make_not_ready()
        if not self._store.outage.may_try():
            raise StoreUnavailableError("it did not answer a moment ago")

    def _kill(self, mark: str, has_ended: threading.Event, timeout_s: float) -> None:
        """End a query, without waiting for it; after so long its connection has been given up."""
        with contextlib.suppress(RuntimeError):  # the server is closing: then the query is waited for
            self._killers.submit(self._kill_until_ended, mark, has_ended, timeout_s)

    def _kill_until_ended(self, mark: str, has_ended: threading.Event, timeout_s: float) -> None:
        deadline = time.monotonic() + timeout_s
        while time.monotonic() < deadline:
            with contextlib.suppress(StoreUnavailableError):
                self._store.command("KILL QUERY WHERE Settings['log_comment'] = {mark:String} ASYNC", {"mark": mark})
            if has_ended.wait(_KILL_AGAIN_S):
                return
