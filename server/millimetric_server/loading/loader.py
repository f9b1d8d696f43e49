"""Moves events from the journal into ClickHouse: in order, in blocks, each exactly once."""

import logging
import random
import threading
import time
from collections import deque
from collections.abc import Callable
from concurrent.futures import Future
from typing import Any, TypeVar

from millimetric_server.api.errors import AppError, Reason
from millimetric_server.journal.blocks import Block
from millimetric_server.journal.erasures import Erasures
from millimetric_server.journal.journal import Journal
from millimetric_server.loading.block_insert import BlockInserter
from millimetric_server.privacy.eraser import run_erasure
from millimetric_server.process.workers import Worker, complete, fail, make_promise
from millimetric_server.shares.places import Places
from millimetric_server.store.clickhouse import ClickHouse
from millimetric_server.store.deduplication import DeduplicationError, ensure_windows
from millimetric_server.store.faults import FENCED, FencedError, StoreUnavailableError
from millimetric_server.store.fence import claim_fence
from millimetric_server.store.inspection import Inspection
from millimetric_server.store.migrations import SchemaError, migrate
from millimetric_server.store.priority import lower_priority

log = logging.getLogger(__name__)

Result = TypeVar("Result")

WAITERS, WAITERS_MAX = "waits_for_the_store", 128
_BACKOFF_MAX_S = 5.0
_TICK_S = 1.0
_FIRST_TRY_S = 2.0
_PRUNE_EVERY_S = 60.0
_REFUSED_MAX = 10_000
_INSPECTION_S = 0.05  # a turn


class Loader:
    """The one thread that writes to ClickHouse; also carries out erasures, between two blocks."""

    def __init__(
        self,
        journal: Journal,
        erasures: Erasures,
        store: ClickHouse,
        *,
        flush_interval_ms: int,
        block_rows_max: int,
        waiters: Places | None = None,
        inspection: Inspection | None = None,
    ) -> None:
        """`waiters` are the places for calls that wait until ClickHouse holds their events."""
        self._journal = journal
        self._erasures = erasures
        self._store = store
        self._inserter = BlockInserter(journal, erasures, store)
        self.inspection = inspection
        self._flush_interval_s = flush_interval_ms / 1000
        self._block_rows_max = block_rows_max
        self.waiters = waiters or Places(WAITERS, WAITERS_MAX)
        self._wake = threading.Condition()
        self._has_work = True
        self._is_urgent = False
        self._is_closing = self._is_given_up = False
        self._loaded_seq = 0
        self._waiting: list[tuple[int, Future[None]]] = []
        self._actions: deque[tuple[Callable[[], Any], Future[Any]]] = deque()
        self._refused_seqs: deque[int] = deque(maxlen=_REFUSED_MAX)
        self._has_tried = threading.Event()
        self._failures = 0  # in a row
        self._complaint = ""  # the last of them
        self._is_in_charge = False
        self._pruned_at = time.monotonic()
        self.worker = Worker("loader", self._run, self._abandon)
        self.failing_since: float | None = None

    def start(self) -> None:
        """Begin to load; journal appends wake the loader from now on.

        Returns when ClickHouse has been tried, or soon, so that the first reads find it ready if it is there.
        """
        self._journal.on_append = self.notify
        self.worker.start()
        self._has_tried.wait(_FIRST_TRY_S)

    def close(self, timeout_s: float) -> None:
        """Load what is left, for at most so long; the rest stays in the journal."""
        with self._wake:
            self._is_closing = True
            self._wake.notify()
        self.worker.join(timeout_s)
        if self.worker.is_running:
            log.warning("loader: events remain in the journal; they are loaded at the next start")
            if self._store.is_embedded:  # the engine aborts the process when it is closed while busy
                self.worker.join()

    def notify(self) -> None:
        """Tell that the journal has new work."""
        if not self._has_work:
            with self._wake:
                self._has_work = True
                self._wake.notify()

    def wait_loaded(self, seq: int) -> "Future[None]":
        """Load soon; the future is done once ClickHouse holds the journal's entries up to seq. Hold one of `waiters`.

        It fails with AppError upstream_failed when ClickHouse does not take them; they stay durable and come later.
        So it does when it refused a row of the entry, which is a dead letter then.
        """
        promise = make_promise()
        with self._wake:
            if self.worker.has_died or self._is_given_up:
                fail(promise, _make_delayed())
            else:
                self._waiting.append((seq, promise))
                self._has_work = self._is_urgent = True
                self._wake.notify()
        return promise

    def give_up_waiting(self) -> None:
        """Tell whoever waits, now and later, that the events come later: the server shuts down. It loads on."""
        with self._wake:
            self._is_given_up = True
        self._abandon()

    def run_between_blocks(self, action: Callable[[], Result]) -> "Future[Result]":
        """Run an action in the loader's thread while no block is on its way: ClickHouse holds all that were begun.

        The future has its result, or what it raised. While ClickHouse takes no events it waits.
        """
        promise = make_promise()
        with self._wake:
            if self.worker.has_died or self._is_closing:
                fail(promise, _make_delayed())
            else:
                self._actions.append((action, promise))
                self._has_work = self._is_urgent = True
                self._wake.notify()
        return promise

    def prepare(self) -> None:
        """Connect and bring the schema forward. Raises StoreUnavailableError, SchemaError."""
        self._store.open()
        migrate(self._store)

    def _get_ready(self) -> None:
        try:
            if not self._store.is_current:
                self.prepare()
            if not self._is_in_charge:
                self._take_charge()
        finally:
            self._has_tried.set()

    def _take_charge(self) -> None:
        """Make sure that no block can count twice, before the first one is sent.

        Raises StoreUnavailableError, DeduplicationError, FencedError.
        """
        ensure_windows(self._store)
        if not self._store.is_embedded:  # the engine's folder is locked: there is no other process
            self._store.fence = claim_fence(self._store, self._journal)
        self._is_in_charge = True

    def _run(self) -> None:
        lower_priority()
        while True:
            try:
                pause_s = self._take_turn()
            except FencedError:
                self._journal.refuse("journal_claimed", FENCED)
                raise
            except Exception:
                log.exception("loader: a fault; events stay in the journal, trying again")
                self._note_failure()
                pause_s = _BACKOFF_MAX_S
            if self._is_closing:
                self._drop_actions()
                return
            if pause_s:
                self._pause(pause_s)

    def _take_turn(self) -> float:
        """Wait for work and do it; returns how many seconds to pause before the next turn."""
        try:
            self._get_ready()
            self._wait_for_work()
            self._drain()
        except (StoreUnavailableError, SchemaError, DeduplicationError) as error:
            self._failures += 1
            if self._failures == 1 or (not isinstance(error, StoreUnavailableError) and str(error) != self._complaint):
                log.warning("loader: ClickHouse did not take events, they wait in the journal: %s", error)
            self._complaint = str(error)
            self._note_failure()
            jitter = random.uniform(0.5, 1.0)  # noqa: S311 - no secret
            return jitter * min(_BACKOFF_MAX_S, 0.1 * 2.0**self._failures)
        self._failures, self.failing_since = 0, None
        return 0.0

    def _wait_for_work(self) -> None:
        """Sleep until there is work, then long enough for a block to gather, unless someone waits for it."""
        with self._wake:
            self._wake.wait_for(lambda: self._has_work or self._is_closing, timeout=_TICK_S)
            self._wake.wait_for(lambda: self._is_urgent or self._is_closing, timeout=self._flush_interval_s)
            self._has_work = self._is_urgent = False

    def _drain(self) -> None:
        """Load what the journal holds now; what arrives meanwhile gathers for a block of its own."""
        self._journal.flush_notes()
        self._journal.take_back_dead_letters()
        block = self._journal.read_block(self._block_rows_max)
        while block is not None:
            self._load(block)
            goes_on = block.has_more or self._is_closing
            block = self._journal.read_block(self._block_rows_max) if goes_on else None
        while pending := self._erasures.read_pending():
            # What was received before the request has to be where the erasure looks for it. And other events do not
            # wait for a queue of erasures.
            self._load_up_to(self._journal.read_newest_seq())
            run_erasure(self._store, self._erasures, pending[0])
        if time.monotonic() - self._pruned_at > _PRUNE_EVERY_S:
            self._pruned_at = time.monotonic()
            while self._journal.prune_seen(time.time_ns() // 1000):
                pass
        self._answer_waiting()
        self._run_actions()
        if self.inspection is not None and not self._is_closing:
            self.inspection.work(_INSPECTION_S)

    def _load_up_to(self, seq: int) -> None:
        while (block := self._journal.read_block(self._block_rows_max)) is not None:
            self._load(block)
            if block.last_seq >= seq:
                return

    def _load(self, block: Block) -> None:
        self._journal.mark_inflight(block)
        settlement = self._inserter.insert(block)
        self._journal.mark_loaded(block, settlement)
        self._refused_seqs.extend(settlement.refused_seqs)
        self._loaded_seq = block.last_seq
        self._answer_waiting()
        self._run_actions()

    def _run_actions(self) -> None:
        while self._actions:
            action, promise = self._actions.popleft()
            try:
                complete(promise, action())
            except Exception as error:  # noqa: BLE001 - whoever asked is told
                fail(promise, error)

    def _answer_waiting(self) -> None:
        with self._wake:
            done = [(seq, promise) for seq, promise in self._waiting if seq <= self._loaded_seq]
            self._waiting = [(seq, promise) for seq, promise in self._waiting if seq > self._loaded_seq]
        for seq, promise in done:
            if seq in self._refused_seqs:
                fail(promise, make_refused())
            else:
                complete(promise, None)

    def _pause(self, seconds: float) -> None:
        with self._wake:
            self._has_work = True
            self._wake.wait_for(lambda: self._is_closing, timeout=seconds)

    def _note_failure(self) -> None:
        if self.failing_since is None:
            self.failing_since = time.monotonic()
        self._abandon()

    def _abandon(self) -> None:
        """Tell whoever waits that the events come later."""
        with self._wake:
            waiting, self._waiting = self._waiting, []
        for _, promise in waiting:
            fail(promise, _make_delayed())
        if self.worker.has_died:
            self._drop_actions()

    def _drop_actions(self) -> None:
        with self._wake:
            actions, self._actions = self._actions, deque()
        for _, promise in actions:
            fail(promise, _make_delayed())


def _make_delayed() -> AppError:
    message = "the events are durable, but the analytics store does not take them now: they come later"
    return AppError(Reason.UPSTREAM_FAILED, message)


def make_refused() -> AppError:
    """Make the answer to whoever waits for an event that ClickHouse refused."""
    message = "the analytics store refused an event; it is durable and set aside for the operator"
    return AppError(Reason.UPSTREAM_FAILED, message)
