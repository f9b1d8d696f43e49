"""Appends events durably and once: rows and idempotency index are one transaction (docs/adr/0005)."""

import struct
import threading
from collections.abc import Callable, Sequence
from concurrent.futures import Future
from dataclasses import dataclass
from pathlib import Path
from sqlite3 import Connection
from typing import Any

import msgspec
import uuid_utils

from millimetric_server.errors import AppError, Reason
from millimetric_server.journal.database import Writer, connect, create_schema
from millimetric_server.journal.seen import FirstAnswer, NewEvent, SeenIds

_encode = msgspec.msgpack.Encoder().encode
_decode_rows = msgspec.msgpack.Decoder(list[list[Any]]).decode
_MICROSECONDS_A_DAY = 86_400_000_000
_FULL_RETRY_S = 5.0


@dataclass(frozen=True, slots=True)
class Appended:
    """What became of the appended events, in their order: None is stored, otherwise the duplicate's first answer.

    `seq` is the entry that holds them: once the loader has passed it, ClickHouse holds them too.
    """

    seq: int
    firsts: Sequence[FirstAnswer | None]


@dataclass(frozen=True, slots=True)
class Block:
    """Entries to load together: always the same for the same journal position, also after a crash."""

    first_seq: int
    last_seq: int
    token: str
    rows: list[list[Any]]
    has_more: bool = False  # whether entries wait behind it already


@dataclass(frozen=True, slots=True)
class Backlog:
    """What waits for the loader."""

    entries: int
    rows: int
    bytes: int


class Journal:
    """The durable log of one server, in one SQLite file."""

    def __init__(self, path: Path, *, bytes_max: int, idempotency_window_days: int) -> None:
        path.parent.mkdir(parents=True, exist_ok=True)
        self._bytes_max = bytes_max
        self._seen = SeenIds(idempotency_window_days * _MICROSECONDS_A_DAY)
        self._connection = connect(path)
        create_schema(self._connection)
        self._journal_id = self._begin_run()
        self._reader = connect(path)
        self._reader_lock = threading.Lock()
        self._bytes = self.measure_backlog().bytes
        self._writer = Writer(self._connection, on_rollback=self._recount)
        self.on_append: Callable[[], None] = lambda: None

    @property
    def is_accepting(self) -> bool:
        """Whether there is room, and the last commit reached the disk."""
        return self._bytes < self._bytes_max and not self._writer.is_failing

    @property
    def conflicts(self) -> int:
        """Event ids that were sent again with other content, since the start."""
        return self._seen.conflicts

    def start(self) -> None:
        """Begin to accept writes."""
        self._writer.start()

    def close(self) -> None:
        """Make durable what waits, then close the file."""
        self._writer.close()
        self._reader.close()
        self._connection.close()

    def append(self, events: Sequence[NewEvent]) -> "Future[Appended]":
        """Append events; the future tells what became of them once they are durable, or fails as overloaded."""
        blobs = [_encode(event.row) for event in events]
        size = sum(map(len, blobs))
        if self._bytes + size > self._bytes_max:
            future: Future[Appended] = Future()
            message = "the journal is full, because ClickHouse does not take events"
            future.set_exception(AppError(Reason.OVERLOADED, message, retry_after_s=_FULL_RETRY_S))
            return future
        appended = self._writer.transact(lambda connection: self._append(connection, events, blobs))
        appended.add_done_callback(lambda _: self.on_append())  # not before: the loader would look too early
        return appended

    def transact(self, action: Callable[[Connection], Any]) -> "Future[Any]":
        """Run any other change in the writer's thread; see Writer.transact."""
        return self._writer.transact(action)

    def read(self, statement: str, parameters: Sequence[Any] = ()) -> list[tuple[Any, ...]]:
        """Read what is committed, beside the writer."""
        with self._reader_lock:
            return self._reader.execute(statement, parameters).fetchall()

    def measure_backlog(self) -> Backlog:
        """Count what waits for the loader."""
        ((entries, rows, size),) = self.read(
            "SELECT count(*), coalesce(sum(row_count), 0), coalesce(sum(length(rows)), 0) FROM entries"
        )
        return Backlog(entries, rows, size)

    def read_block(self, rows_max: int) -> Block | None:
        """Read the next block to load: what was in flight at a crash, or else as many entries as fit."""
        ((loaded, inflight),) = self.read("SELECT loaded, inflight FROM loader_position")
        ((newest,),) = self.read("SELECT coalesce(max(seq), 0) FROM entries")  # first: later arrivals gather
        last = inflight if inflight > loaded else self._find_block_end(loaded, rows_max)
        entries = self.read("SELECT seq, rows FROM entries WHERE seq > ? AND seq <= ? ORDER BY seq", (loaded, last))
        if not entries:
            return None
        first, last = entries[0][0], entries[-1][0]
        rows = [row for _, blob in entries for row in _decode_rows(blob)]
        return Block(first, last, f"{self._journal_id}-{first}-{last}", rows, has_more=newest > last)

    def mark_inflight(self, block: Block) -> None:
        """Fix the block's bounds before it is sent, so that a retry after a crash is the same block."""
        self._writer.transact(
            lambda connection: connection.execute("UPDATE loader_position SET inflight = ?", (block.last_seq,))
        ).result()

    def mark_loaded(self, block: Block) -> None:
        """Record that ClickHouse holds the block, and drop its entries."""

        def advance(connection: Connection) -> None:
            ((size,),) = connection.execute(
                "SELECT coalesce(sum(length(rows)), 0) FROM entries WHERE seq <= ?", (block.last_seq,)
            )
            connection.execute("DELETE FROM entries WHERE seq <= ?", (block.last_seq,))
            connection.execute("UPDATE loader_position SET loaded = ?", (block.last_seq,))
            self._bytes -= size

        self._writer.transact(advance).result()

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

    def _recount(self) -> None:
        self._bytes = self.measure_backlog().bytes

    def _find_block_end(self, loaded: int, rows_max: int) -> int:
        """The last of the entries after `loaded` that fit into a block; at least one."""
        last, rows = loaded, 0
        for seq, row_count in self.read(
            "SELECT seq, row_count FROM entries WHERE seq > ? ORDER BY seq LIMIT ?", (loaded, rows_max)
        ):
            if rows and rows + row_count > rows_max:
                break
            last, rows = seq, rows + row_count
        return last

    def _append(self, connection: Connection, events: Sequence[NewEvent], blobs: list[bytes]) -> Appended:
        firsts = self._seen.record(connection, events)
        accepted = [blob for blob, first in zip(blobs, firsts, strict=True) if first is None]
        if not accepted:
            ((seq,),) = connection.execute("SELECT coalesce(max(seq), 0) FROM entries")
            return Appended(seq, firsts)
        rows = b"\xdd" + struct.pack(">I", len(accepted)) + b"".join(accepted)  # a msgpack array of 32-bit length
        cursor = connection.execute("INSERT INTO entries (row_count, rows) VALUES (?, ?)", (len(accepted), rows))
        self._bytes += len(rows)
        return Appended(cursor.lastrowid or 0, firsts)
