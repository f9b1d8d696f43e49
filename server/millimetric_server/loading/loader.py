"""Moves events from the journal into ClickHouse: in order, in blocks, each exactly once."""

import contextlib
import logging
import threading
import time
from collections.abc import Callable, Collection
from concurrent.futures import Future
from typing import TypeVar

import uuid_utils

from millimetric_server.journal.blocks import Block, Leadership
from millimetric_server.journal.entries import EntryId
from millimetric_server.journal.errors import JournalError, LeadershipLostError
from millimetric_server.journal.port import Journal
from millimetric_server.loading.actions import Actions
from millimetric_server.loading.back_off import PLANNED, make_retrying
from millimetric_server.loading.block_insert import BlockInserter
from millimetric_server.loading.errors import EventsDelayedError
from millimetric_server.loading.stored_waits import StoredWaits
from millimetric_server.privacy.eraser import run_erasure
from millimetric_server.process.workers import Worker, fail, make_promise
from millimetric_server.shares.places import Places
from millimetric_server.store.clickhouse import ClickHouse
from millimetric_server.store.deduplication import ensure_windows
from millimetric_server.store.faults import FENCED, FencedError, StoreUnavailableError
from millimetric_server.store.fence import claim_fence
from millimetric_server.store.inspection import Inspection
from millimetric_server.store.migrations import migrate
from millimetric_server.store.priority import lower_priority

log = logging.getLogger(__name__)

Result = TypeVar("Result")

WAITERS, WAITERS_MAX = "waits_for_the_store", 128
_TICK_S = 1.0
_FIRST_TRY_S = 2.0
_PRUNE_EVERY_S = 60.0
_LEASE_S = 30.0
_INSPECTION_S = 0.05  # a turn


class Loader:
    """The one thread that writes to ClickHouse; it also carries out erasures, between two blocks."""

    def __init__(
        self,
        journal: Journal,
        store: ClickHouse,
        *,
        flush_interval_ms: int,
        block_rows_max: int,
        waiters: Places | None = None,
        inspection: Inspection | None = None,
    ) -> None:
        """`waiters` are the places for calls that wait until ClickHouse holds their events."""
        self._journal = journal
        self._erasures = journal.erasures
        self._store = store
        self._inserter = BlockInserter(journal, store)
        self.inspection = inspection
        self._flush_interval_s = flush_interval_ms / 1000
        self._block_rows_max = block_rows_max
        self.waiters = waiters or Places(WAITERS, WAITERS_MAX)
        self._wake = threading.Condition()
        self._has_work = True
        self._is_urgent = False
        self._is_closing = self._is_given_up = False
        self._waits = StoredWaits()
        self._actions = Actions()
        self._has_tried = threading.Event()
        self._complaint = ""  # why the last turn that failed did so
        self._name = f"loader {uuid_utils.uuid7()}"
        self._lead: Leadership | None = None  # under which this loader has taken charge
        self._pruned_at = time.monotonic()
        self.worker = Worker("loader", self._run, self._abandon)
        self.failing_since: float | None = None

    def start(self) -> None:
        """Begin to load; journal appends wake the loader from now on.

        Returns when ClickHouse has been tried, or soon, so that the first reads find it ready if it is there.
        """
        self._journal.on_appended(self.notify)
        self._journal.on_settled(self._waits.note_settled)
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

    def wait_loaded(self, entries: Collection[EntryId]) -> "Future[None]":
        """Load soon; the future is done once ClickHouse holds these entries of the journal. Hold one of `waiters`.

        It fails with EventsDelayedError when ClickHouse does not take them; they stay durable and come later. So it
        does with EventsRefusedError when it refused a row of them, which is a dead letter then.
        """
        with self._wake:
            if not (self.worker.has_died or self._is_given_up):
                self._has_work = self._is_urgent = True
                promise = self._waits.add(entries)
                self._wake.notify()
                return promise
        promise = make_promise()
        fail(promise, EventsDelayedError())
        return promise

    def give_up_waiting(self) -> None:
        """Fail the calls that wait for the store, now and later, because the server shuts down; loading continues."""
        with self._wake:
            self._is_given_up = True
        self._abandon()

    def run_between_blocks(self, action: Callable[[], Result]) -> "Future[Result]":
        """Run an action in the loader's thread while no block is in flight: ClickHouse holds all that were begun.

        The future has its result, or what it raised. While ClickHouse takes no events it waits.
        """
        with self._wake:
            promise = self._actions.add(action)
            self._has_work = self._is_urgent = True
            self._wake.notify()
        return promise

    def prepare(self) -> None:
        """Connect and migrate the schema. Raises StoreUnavailableError, SchemaError."""
        self._store.open()
        migrate(self._store)

    def _get_ready(self) -> None:
        try:
            if not self._store.is_current:
                self.prepare()
            if (lead := self._journal.lead(self._name, _LEASE_S)) is None:
                raise LeadershipLostError
            if lead != self._lead:
                self._take_charge()
                self._lead = lead
        finally:
            self._has_tried.set()

    def _keep_lead(self) -> Leadership:
        """Keep the right to load for a while longer. Raises LeadershipLostError."""
        if (lead := self._journal.lead(self._name, _LEASE_S)) is None or lead != self._lead:
            raise LeadershipLostError
        return lead

    def _take_charge(self) -> None:
        """Make sure that no block can count twice, before the first one is sent.

        Raises StoreUnavailableError, DeduplicationError, FencedError.
        """
        ensure_windows(self._store)
        if not self._store.is_embedded:  # the engine's folder is locked: there is no other process
            self._store.fence = claim_fence(self._store, self._journal)

    def _run(self) -> None:
        lower_priority()
        retrying = make_retrying(self._log_failure, lambda: self._is_closing, self._pause)
        try:
            while True:
                retrying(self._take_turn)
                if self._is_closing:
                    break
        except FencedError:
            self._journal.refuse("journal_claimed", FENCED)
            raise
        self._actions.drop()
        self._resign()

    def _log_failure(self, error: BaseException, failures: int) -> None:
        """Log what ended a turn, once for a row of failures that are alike, and answer whoever waits."""
        if not isinstance(error, PLANNED):
            log.error("loader: internal error; events stay in the journal, retrying", exc_info=error)
        else:
            is_new = not isinstance(error, StoreUnavailableError) and str(error) != self._complaint
            if failures == 1 or is_new:
                log.warning("loader: ClickHouse did not take events; they wait in the journal: %s", error)
            self._complaint = str(error)
        self._note_failure()

    def _resign(self) -> None:
        if self._lead is not None:
            with contextlib.suppress(JournalError):
                self._journal.resign(self._lead)

    def _take_turn(self) -> None:
        """Wait for work and do it."""
        try:
            self._get_ready()
            self._wait_for_work()
            self._drain()
        except LeadershipLostError as error:
            self._stand_by(error)
        self.failing_since = None

    def _stand_by(self, lost: LeadershipLostError) -> None:
        """Do for a while what there is to do when another process loads."""
        if self._lead is not None:
            log.warning("loader: %s", lost)
            self._lead = None
        self._journal.flush_notes()
        self._waits.look(self._journal.are_settled)
        self._pause(_TICK_S)

    def _wait_for_work(self) -> None:
        """Sleep until there is work, then long enough for a block to gather, unless someone waits for it."""
        with self._wake:
            self._wake.wait_for(lambda: self._has_work or self._is_closing, timeout=_TICK_S)
            self._wake.wait_for(lambda: self._is_urgent or self._is_closing, timeout=self._flush_interval_s)
            self._has_work = self._is_urgent = False

    def _drain(self) -> None:
        """Load what the journal holds now; what arrives meanwhile gathers for a block of its own."""
        self._journal.flush_notes()
        self._journal.take_back_dead_letters(self._keep_lead())
        while (block := self._load_next()) is not None and (block.has_more or self._is_closing):
            pass
        self._erase()
        self._turn_window()
        self._waits.look(self._journal.are_settled)
        self._actions.run()
        if self.inspection is not None and not self._is_closing:
            self.inspection.work(_INSPECTION_S)

    def _load_next(self) -> Block | None:
        """Load the next block; None if there is none."""
        lead = self._keep_lead()
        if (block := self._journal.take_block(lead, self._block_rows_max)) is not None:
            settlement = self._inserter.insert(lead, block)
            self._journal.settle(lead, block, settlement)
            self._actions.run()
        return block

    def _erase(self) -> None:
        while pending := self._erasures.list_pending():
            # What was received before the request has to be where the erasure looks for it. And other events do not
            # wait for a queue of erasures.
            waiting = self._journal.find_last_waiting()
            while not self._journal.are_settled(waiting) and self._load_next() is not None:
                pass
            run_erasure(self._store, self._erasures, self._keep_lead(), pending[0])

    def _turn_window(self) -> None:
        if time.monotonic() - self._pruned_at > _PRUNE_EVERY_S:
            self._pruned_at = time.monotonic()
            while self._journal.turn_window(self._keep_lead(), time.time_ns() // 1000):
                pass

    def _pause(self, seconds: float) -> None:
        with self._wake:
            self._has_work = True
            self._wake.wait_for(lambda: self._is_closing, timeout=seconds)

    def _note_failure(self) -> None:
        if self.failing_since is None:
            self.failing_since = time.monotonic()
        self._abandon()

    def _abandon(self) -> None:
        """Fail the calls that wait: their events are loaded later."""
        with self._wake:  # later callers see why not to wait
            waits = self._waits.take_all()
        for promise in waits:
            fail(promise, EventsDelayedError())
        if self.worker.has_died:
            self._actions.drop()
