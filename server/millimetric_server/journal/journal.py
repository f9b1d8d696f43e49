"""Appends events durably and once: rows and idempotency index are one transaction (docs/adr/0005)."""

import logging
import threading
import time
from collections import Counter
from collections.abc import Callable, Collection, Sequence
from concurrent.futures import Future
from dataclasses import dataclass
from itertools import chain
from pathlib import Path
from sqlite3 import Connection
from typing import Any

import uuid_utils

from millimetric_server.api.errors import AppError
from millimetric_server.journal import dead_letters
from millimetric_server.journal.blocks import Block, Entry, EntryWriter, Piece, Refusals, Settlement, find_block_end
from millimetric_server.journal.database import Writer, connect, make_overloaded
from millimetric_server.journal.free_space import FreeSpace
from millimetric_server.journal.identity import Identity, note_claims, read_identity
from millimetric_server.journal.ledger import FORGOTTEN, Account, Notes, Outcome, count_events, read_accounts
from millimetric_server.journal.lookups import Lookups
from millimetric_server.journal.migrations import migrate, read_shared_until
from millimetric_server.journal.packed_rows import pack_row
from millimetric_server.journal.recovery import open_whole
from millimetric_server.journal.seen import FirstAnswer, NewEvent, SeenIds
from millimetric_server.process.folders import make_folder
from millimetric_server.process.workers import Worker, fail, make_promise

log = logging.getLogger(__name__)

_MICROSECONDS_A_DAY = 86_400_000_000
_FULL_RETRY_S = 5.0


@dataclass(frozen=True, slots=True)
class Appended:
    """What became of the appended events, in their order: None is stored, otherwise what a duplicate is answered.

    `seq` is the entry that holds them: once the loader has passed it, ClickHouse holds them too.
    """

    seq: int
    firsts: Sequence[FirstAnswer | None]


@dataclass(frozen=True, slots=True)
class Backlog:
    """What waits for the loader."""

    entries: int
    rows: int
    bytes: int


@dataclass(frozen=True, slots=True)
class _Append:
    """Events of one project to append, packed."""

    events: Sequence[NewEvent]
    packed: Sequence[bytes]

    @property
    def project_id(self) -> str:
        return self.events[0].row.project_id


class Journal:
    """The durable log of one server, in one SQLite file."""

    def __init__(self, path: Path, *, bytes_max: int, idempotency_window_days: int, free_bytes_min: int = 0) -> None:
        make_folder(path.parent)  # SQLite syncs the folder for the names of its own files
        self._bytes_max = bytes_max
        self._free_space = FreeSpace(path.parent, free_bytes_min)
        self._connection = open_whole(path)
        if found := migrate(self._connection):
            log.debug("journal: %s has version %d", path.name, found)
        self._seen = SeenIds(idempotency_window_days * _MICROSECONDS_A_DAY, read_shared_until(self._connection))
        self.identity = read_identity(self._connection)
        self._refusals: dict[str, str] = {}
        self._journal_id = self._begin_run()
        self._reader = connect(path)
        self._reader_lock = threading.Lock()
        self.lookups = Lookups(path)
        self._bytes = self.measure_backlog().bytes
        self._notes = Notes()
        self._writer = Writer(self._connection, self._append_all, on_rollback=self._recount)
        self.on_append: Callable[[], None] = lambda: None

    @property
    def worker(self) -> Worker:
        """The thread that writes."""
        return self._writer.worker

    @property
    def is_accepting(self) -> bool:
        """Whether there is room, the last commit reached the disk, and the writer lives."""
        is_writable = not self._refusals and not self._writer.is_failing and not self.worker.has_died
        return is_writable and self._bytes < self._bytes_max and not self._free_space.is_low()

    @property
    def waiting_bytes(self) -> int:
        """The size of what waits for the loader."""
        return self._bytes

    @property
    def conflicts(self) -> int:
        """Event ids that were sent again with other content, since the start."""
        return self._seen.conflicts.count

    def start(self) -> None:
        """Begin to accept writes."""
        self._free_space.start()
        self._writer.start()

    def close(self) -> None:
        """Make durable what waits, then close the file."""
        self.flush_notes()
        self._writer.close()
        self._free_space.close()
        self.lookups.close()
        self._reader.close()
        self._connection.close()

    def append(self, events: Sequence[NewEvent]) -> "Future[Appended]":
        """Append events of one project; the future tells what became of them once they are durable.

        It fails with AppError overloaded when there is no room or the disk refuses; then nothing was stored.
        """
        packed = [pack_row(event.row) for event in events]
        if (refusal := self._check_room(sum(map(len, packed)))) is not None:
            refused = make_promise()
            fail(refused, refusal)
            return refused
        appended: Future[Appended] = self._writer.append(_Append(events, packed))
        appended.add_done_callback(lambda _: self.on_append())  # not before: the loader would look too early
        return appended

    @property
    def refusals(self) -> list[str]:
        """In a word each, why no write may be acknowledged though the disk would take it."""
        return list(self._refusals)

    def refuse(self, word: str, reason: str) -> None:
        """Acknowledge no more writes, for this reason, until `accept` with the same word."""
        self._refusals[word] = reason

    def accept(self, word: str) -> None:
        """Acknowledge writes again, as far as this reason is concerned."""
        self._refusals.pop(word, None)

    def check_accepting(self) -> None:
        """Raise AppError overloaded while no write may be acknowledged."""
        for reason in list(self._refusals.values()):
            raise make_overloaded(reason, _FULL_RETRY_S)

    def note_claims(self, claim: str, next_claim: str) -> None:
        """Write down what this journal's server has claimed in ClickHouse, and what it is about to."""
        self._writer.transact(lambda connection: note_claims(connection, claim, next_claim)).result()
        self.identity = Identity(self.identity.server_id, claim, next_claim)

    def transact(self, action: Callable[[Connection], Any]) -> "Future[Any]":
        """Run any other change in the writer's thread; see Writer.transact."""
        return self._writer.transact(action)

    def read(self, statement: str, parameters: Sequence[Any] = ()) -> list[tuple[Any, ...]]:
        """Read what is committed, beside the writer, in this thread: for workers. Callers take `lookups`."""
        with self._reader_lock:
            return self._reader.execute(statement, parameters).fetchall()

    def measure_backlog(self) -> Backlog:
        """Count what waits for the loader."""
        ((entries, rows, size),) = self.read(
            "SELECT count(*), coalesce(sum(row_count), 0), coalesce(sum(length(rows)), 0) FROM entries"
        )
        return Backlog(entries, rows, size)

    def note(self, project_id: str, outcome: Outcome, reason: str, events: int) -> None:
        """Count events that do not reach the journal: rejected or dropped, and why."""
        self._notes.add(project_id, outcome, reason, events)

    def flush_notes(self) -> None:
        """Write down what was noted; what can't be written now stays noted."""
        if not (noted := self._notes.take()):
            return

        def write(connection: Connection) -> None:
            for (project_id, outcome, reason), events in noted.items():
                count_events(connection, project_id, outcome, events, reason)

        try:
            self._writer.transact(write).result()
        except AppError:
            self._notes.give_back(noted)

    def read_accounts(self) -> list[Account]:
        """Read what became of the events of each project, in one snapshot."""
        with self._reader_lock:
            return read_accounts(self._reader)

    def read_newest_seq(self) -> int:
        """The number of the newest entry, or 0 when none waits."""
        ((newest,),) = self.read("SELECT coalesce(max(seq), 0) FROM entries")
        return int(newest)

    def read_block(self, rows_max: int) -> Block | None:
        """Read the next block to load: what was in flight at a crash, or else as many entries as fit."""
        ((loaded, inflight),) = self.read("SELECT loaded, inflight FROM loader_position")
        newest = self.read_newest_seq()  # first: later arrivals gather
        was_sent = bool(entries := self._read_entries(loaded, inflight))
        if not was_sent:
            entries = self._read_entries(loaded, find_block_end(self.read, loaded, rows_max))
        if not entries:
            return None
        token = f"{self._journal_id}-{entries[0].seq}-{entries[-1].seq}"
        return Block(token, entries, was_sent=was_sent, has_more=newest > entries[-1].seq)

    def mark_inflight(self, block: Block) -> None:
        """Fix the block's bounds before it is sent, so that a retry after a crash is the same block."""
        self._writer.transact(
            lambda connection: connection.execute("UPDATE loader_position SET inflight = ?", (block.last_seq,))
        ).result()

    def mark_loaded(self, block: Block, settlement: Settlement) -> None:
        """Record what became of the block's rows, and drop its entries."""

        def advance(connection: Connection) -> None:
            for project_id, events in settlement.stored.items():
                count_events(connection, project_id, Outcome.STORED, events)
            for project_id, events in settlement.forgotten.items():
                count_events(connection, project_id, Outcome.DROPPED, events, FORGOTTEN)
            dead_letters.insert(connection, settlement.refused, time.time_ns() // 1000)
            connection.execute("DELETE FROM refusals")
            connection.execute("DELETE FROM entries WHERE seq <= ?", (block.last_seq,))
            connection.execute("UPDATE loader_position SET loaded = ?", (block.last_seq,))
            self._bytes -= block.bytes

        self._writer.transact(advance).result()

    def note_refusal(self, piece: Piece, reason: str, message: str) -> None:
        """Record that ClickHouse refused a piece of the block in flight, before smaller pieces of it are sent."""
        values = (piece.first_row, piece.row_count, reason, message)
        self._writer.transact(
            lambda connection: connection.execute("INSERT OR REPLACE INTO refusals VALUES (?, ?, ?, ?)", values)
        ).result()

    def read_refusals(self) -> Refusals:
        """Read which pieces of the block in flight were refused, with reason and message."""
        rows = self.read("SELECT first_row, row_count, reason, message FROM refusals")
        return {Piece(first_row, row_count): (reason, message) for first_row, row_count, reason, message in rows}

    def take_back_dead_letters(self) -> int:
        """Let the loader try again what somebody asked to be tried again; returns how many rows."""
        if not self.read("SELECT 1 FROM dead_letters WHERE is_retried LIMIT 1"):
            return 0

        def take_back(connection: Connection) -> int:
            rows, size = dead_letters.take_back(connection)
            self._bytes += size
            return int(rows)

        rows: int = self._writer.transact(take_back).result()
        return rows

    def find_dead_letters(self, project_id: str, events: Collection[tuple[str, int]]) -> "Future[set[tuple[str, int]]]":
        """Find which of these events of the project ClickHouse refused, by event_id and received_at.

        The id alone would not do, because an event under another kind of key may have it too.
        """
        event_ids = [event_id for event_id, _ in events]
        return self.lookups.submit(
            lambda connection: dead_letters.find(connection, project_id, event_ids) & set(events)
        )

    def prune_seen(self, now_us: int, rows_max: int = 5000) -> int:
        """Drop ids older than the idempotency window, a bounded number at a time; return how many went."""
        return self._writer.transact(lambda connection: self._seen.prune(connection, now_us, rows_max)).result()

    def _begin_run(self) -> str:
        """Name this run of the journal; deduplication tokens carry the name.

        It is new at every start, so that a journal restored from a backup, whose numbers come again, is not taken
        for what was loaded already. Only a block that was in flight keeps its name until it is known to be loaded.
        """
        run_id = str(uuid_utils.uuid7())
        self._connection.execute("INSERT OR IGNORE INTO loader_position VALUES (1, 0, 0, ?)", (run_id,))
        self._connection.execute("UPDATE loader_position SET journal_id = ? WHERE inflight <= loaded", (run_id,))
        (journal_id,) = self._connection.execute("SELECT journal_id FROM loader_position").fetchone()
        return str(journal_id)

    def _read_entries(self, after: int, last: int) -> list[Entry]:
        statement = (
            "SELECT seq, project_id, row_count, column_count, rows FROM entries WHERE seq > ? AND seq <= ? ORDER BY seq"
        )
        return [Entry(*row) for row in self.read(statement, (after, last))]

    def _check_room(self, size: int) -> AppError | None:
        for reason in list(self._refusals.values()):
            return make_overloaded(reason, _FULL_RETRY_S)
        if self._bytes + size > self._bytes_max:
            return make_overloaded("the journal is full, because ClickHouse does not take events", _FULL_RETRY_S)
        if self._free_space.is_low(size):
            return make_overloaded("the journal's disk is almost full", _FULL_RETRY_S)
        return None

    def _recount(self) -> None:
        self._bytes = self.measure_backlog().bytes

    def _append_all(self, connection: Connection, appends: Sequence[_Append]) -> list[Appended]:
        """Append what came in during the last commit: one look at the index, and few entries."""
        events = list(chain.from_iterable(append.events for append in appends))
        firsts = self._seen.record(connection, events)
        received, duplicates, gathered = Counter[str](), Counter[str](), EntryWriter(connection)
        results, start = [], 0
        for append in appends:
            answers = firsts[start : start + len(append.events)]
            start += len(append.events)
            accepted = [packed for packed, first in zip(append.packed, answers, strict=True) if first is None]
            received[append.project_id] += len(answers)
            duplicates[append.project_id] += len(answers) - len(accepted)
            results.append(Appended(gathered.add(append.project_id, accepted), answers))
        self._bytes += gathered.write()
        for project_id, count in received.items():
            count_events(connection, project_id, Outcome.RECEIVED, count)
            count_events(connection, project_id, Outcome.DUPLICATE, duplicates[project_id])
        return results
