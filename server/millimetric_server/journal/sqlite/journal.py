"""The journal in one SQLite file: rows and idempotency index are one transaction (docs/adr/0005)."""

import logging
import sqlite3
from collections import Counter
from collections.abc import Callable, Collection, Sequence
from concurrent.futures import Future
from contextlib import ExitStack
from dataclasses import dataclass
from itertools import chain
from pathlib import Path
from sqlite3 import Connection

from millimetric_server.journal.blocks import Block, BlockSlice, Leadership, Refusals, Settled, Settlement
from millimetric_server.journal.dead_letters import DeadLetter, MarkedLetters
from millimetric_server.journal.entries import Appended, Backlog, EntryId, NewEvent
from millimetric_server.journal.errors import JournalFileError, JournalUnavailableError
from millimetric_server.journal.identity import Identity
from millimetric_server.journal.ledger import Balance, Notes, Outcome
from millimetric_server.journal.packed_rows import pack_row
from millimetric_server.journal.sqlite import blocks, dead_letters, leadership
from millimetric_server.journal.sqlite.admission import Admission
from millimetric_server.journal.sqlite.connection import Reader
from millimetric_server.journal.sqlite.entry_builder import EntryBuilder
from millimetric_server.journal.sqlite.erasures import SqliteErasures
from millimetric_server.journal.sqlite.idempotency import IdempotencyIndex
from millimetric_server.journal.sqlite.identity import load_identity, note_claims
from millimetric_server.journal.sqlite.ledger import add_to_ledger, load_balances, measure_backlog
from millimetric_server.journal.sqlite.lookups import Lookups
from millimetric_server.journal.sqlite.migrations import load_shared_until, upgrade
from millimetric_server.journal.sqlite.recovery import open_whole
from millimetric_server.journal.sqlite.writer_thread import WriterThread
from millimetric_server.process.folders import make_folder
from millimetric_server.process.workers import Worker, fail, make_promise

log = logging.getLogger(__name__)

_MICROSECONDS_A_DAY = 86_400_000_000
_WINDOW_ROWS_MAX = 5000


@dataclass(frozen=True, slots=True)
class _Append:
    """Events of one project to append, packed."""

    events: Sequence[NewEvent]
    packed: Sequence[bytes]

    @property
    def project_id(self) -> str:
        return self.events[0].row.project_id


class SqliteJournal:
    """The durable log of one server. See port.Journal for what its methods promise."""

    def __init__(self, path: Path, *, bytes_max: int, idempotency_window_days: int, free_bytes_min: int = 0) -> None:
        """Open or make the file. Raises JournalFileError."""
        make_folder(path.parent)  # SQLite syncs the folder for the names of its own files
        self._admission = Admission(bytes_max, path.parent, free_bytes_min)
        self._notes = Notes()
        self._on_appended: Callable[[], None] = lambda: None
        self._on_settled: Callable[[Settled], None] = lambda _settled: None
        with ExitStack() as opened:
            try:
                self._open(path, idempotency_window_days * _MICROSECONDS_A_DAY, opened)
            except sqlite3.Error as error:
                raise JournalFileError(
                    f"The journal {path} can't be written: {error}. See docs/operations.md."
                ) from error
            self._closing = opened.pop_all()

    def _open(self, path: Path, window_us: int, opened: ExitStack) -> None:
        connection = open_whole(path)
        opened.callback(connection.close)
        if found := upgrade(connection):
            log.debug("journal: %s has version %d", path.name, found)
        self._index = IdempotencyIndex(window_us, load_shared_until(connection))
        self._identity = load_identity(connection)
        leadership.make_table(connection)
        self._reader = Reader(path)
        opened.callback(self._reader.close)
        self._lookups = Lookups(path)
        opened.callback(self._lookups.close)
        opened.callback(self._admission.close)
        self._writer: WriterThread[_Append] = WriterThread(connection, self._append_all, on_rollback=self._recount)
        self._leaders = leadership.Leaders(self._reader, self._writer)
        self._blocks = blocks.Blocks(connection, self._reader, self._writer, self._leaders, self._admission)
        self.erasures = SqliteErasures(self._reader, self._writer, self._lookups, self._admission.check_reasons)
        self._recount()

    def start(self) -> None:
        """Begin to accept writes."""
        self._admission.start()
        self._writer.start()

    def close(self) -> None:
        """Make durable what waits, then close the file."""
        self.flush_notes()
        self._writer.close()
        self._closing.close()

    @property
    def workers(self) -> Sequence[Worker]:
        """The thread that writes."""
        return (self._writer.worker,)

    @property
    def identity(self) -> Identity:
        """Whose journal it is, and what it has claimed in ClickHouse."""
        return self._identity

    def note_claims(self, claim: str, next_claim: str) -> None:
        """Write down what this journal's server has claimed in ClickHouse, and what it is about to."""
        self._writer.transact(lambda connection: note_claims(connection, claim, next_claim)).result()
        self._identity = Identity(self._identity.server_id, claim, next_claim)

    def append(self, events: Sequence[NewEvent]) -> "Future[Appended]":
        """Append events of one project; the future tells what became of them once they are durable."""
        packed = [pack_row(event.row) for event in events]
        if (refusal := self._admission.find_refusal(sum(map(len, packed)))) is not None:
            refused = make_promise()
            fail(refused, refusal)
            return refused
        appended: Future[Appended] = self._writer.append(_Append(events, packed))
        appended.add_done_callback(lambda _: self._on_appended())  # not before: the loader would look too early
        return appended

    def on_appended(self, callback: Callable[[], None]) -> None:
        """Call this, in the writer's thread, after something was appended."""
        self._on_appended = callback

    @property
    def is_accepting(self) -> bool:
        """Whether there is room, the last commit reached the disk, and the writer lives."""
        return self._admission.is_open and not self._writer.is_failing and not self._writer.worker.has_died

    @property
    def refusals(self) -> list[str]:
        """The reasons, one word each, why no write may be acknowledged although the disk would take it."""
        return self._admission.words

    def refuse(self, word: str, reason: str) -> None:
        """Acknowledge no more writes, for this reason, until `accept` with the same word."""
        self._admission.refuse(word, reason)

    def accept(self, word: str) -> None:
        """Acknowledge writes again, as far as this reason is concerned."""
        self._admission.accept(word)

    def note(self, project_id: str, outcome: Outcome, reason: str, events: int) -> None:
        """Count events that do not reach the journal: rejected or dropped, and why."""
        self._notes.add(project_id, outcome, reason, events)

    def flush_notes(self) -> None:
        """Write the noted counts to the ledger; those that can't be written now stay noted."""
        if not (noted := self._notes.take()):
            return

        def write(connection: Connection) -> None:
            for (project_id, outcome, reason), events in noted.items():
                add_to_ledger(connection, project_id, outcome, events, reason)

        try:
            self._writer.transact(write).result()
        except JournalUnavailableError:
            self._notes.give_back(noted)

    def load_balances(self) -> list[Balance]:
        """Load what became of the events of each project, in one snapshot."""
        return self._reader.load(load_balances)

    def measure_backlog(self) -> Backlog:
        """Count what waits for the loader."""
        return self._reader.load(measure_backlog)

    @property
    def waiting_bytes(self) -> int:
        """The size of what waits for the loader."""
        return self._admission.waiting_bytes

    @property
    def conflicts(self) -> int:
        """Event ids that were sent again with other content, since the start."""
        return self._index.conflicts.count

    def lead(self, name: str, lease_s: float) -> Leadership | None:
        """Take or keep the right to load."""
        return self._leaders.lead(name, lease_s)

    def resign(self, lead: Leadership) -> None:
        """Give the right to load up."""
        self._leaders.resign(lead)

    def take_block(self, lead: Leadership, rows_max: int) -> Block | None:
        """Take the block that is not settled yet, or else a new one."""
        return self._blocks.take(lead, rows_max)

    def note_refusal(self, lead: Leadership, block: Block, part: BlockSlice, reason: str, message: str) -> None:
        """Record that ClickHouse refused a slice of the block."""
        self._blocks.note_refusal(lead, block, part, reason, message)

    def load_refusals(self, block: Block) -> Refusals:
        """Load which slices of the block were refused."""
        return self._blocks.load_refusals(block)

    def settle(self, lead: Leadership, block: Block, settlement: Settlement) -> None:
        """Record what became of the block's rows, and drop its entries."""
        self._on_settled(self._blocks.settle(lead, block, settlement))

    def are_settled(self, entries: Collection[EntryId]) -> bool:
        """Tell whether none of these entries waits any more."""
        return self._blocks.are_settled(entries)

    def on_settled(self, callback: Callable[[Settled], None]) -> None:
        """Call this, in the loader's thread, after entries were settled."""
        self._on_settled = callback

    def find_last_waiting(self) -> Sequence[EntryId]:
        """Find the entry that is settled last of all that wait."""
        return self._reader.load(blocks.find_last_waiting)

    def turn_window(self, lead: Leadership, now_us: int) -> int:
        """Let some ids leave the idempotency window."""

        def prune(connection: Connection) -> int:
            leadership.check_lead(connection, lead)
            return self._index.prune(connection, now_us, _WINDOW_ROWS_MAX)

        return self._writer.transact(prune).result()

    def list_dead_letters(self, project_id: str = "", limit: int | None = None) -> list[DeadLetter]:
        """List dead letters, the oldest first."""
        return self._reader.load(lambda connection: dead_letters.load(connection, project_id, limit))

    def find_dead_letters(self, project_id: str, events: Collection[tuple[str, int]]) -> "Future[set[tuple[str, int]]]":
        """Find which of these events of the project ClickHouse refused, by event_id and received_at."""
        event_ids = [event_id for event_id, _ in events]
        return self._lookups.submit(
            lambda connection: dead_letters.find(connection, project_id, event_ids) & set(events)
        )

    def retry_dead_letters(self, dead_letter_ids: Collection[int] = (), project_id: str = "") -> MarkedLetters:
        """Mark dead letters to be tried again."""
        return self._writer.transact(
            lambda connection: dead_letters.mark(connection, dead_letter_ids, project_id)
        ).result()

    def take_back_dead_letters(self, lead: Leadership) -> int:
        """Make entries again of what is marked to be tried again."""
        if not self._reader.fetch("SELECT 1 FROM dead_letters WHERE is_retried LIMIT 1"):
            return 0

        def take_back(connection: Connection) -> int:
            leadership.check_lead(connection, lead)
            rows, size = dead_letters.take_back(connection)
            self._admission.waiting_bytes += size
            return rows

        return self._writer.transact(take_back).result()

    def _recount(self) -> None:
        self._admission.waiting_bytes = self.measure_backlog().bytes

    def _append_all(self, connection: Connection, appends: Sequence[_Append]) -> list[Appended]:
        """Append what came in during the last commit: one look at the index, and few entries."""
        events = list(chain.from_iterable(append.events for append in appends))
        firsts = self._index.record(connection, events)
        received, duplicates, gathered = Counter[str](), Counter[str](), EntryBuilder(connection)
        results, start = [], 0
        for append in appends:
            answers = firsts[start : start + len(append.events)]
            start += len(append.events)
            accepted = [packed for packed, first in zip(append.packed, answers, strict=True) if first is None]
            received[append.project_id] += len(answers)
            duplicates[append.project_id] += len(answers) - len(accepted)
            results.append(Appended(gathered.add(append.project_id, accepted), answers))
        self._admission.waiting_bytes += gathered.write()
        for project_id, count in received.items():
            add_to_ledger(connection, project_id, Outcome.RECEIVED, count)
            add_to_ledger(connection, project_id, Outcome.DUPLICATE, duplicates[project_id])
        return results
