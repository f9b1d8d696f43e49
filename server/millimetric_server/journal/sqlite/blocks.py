"""Blocks in the file: a block is a range of numbers, since one thread gives numbers and commits in their order.

What other rooms see of that are names of entries. A block is in flight while `inflight` is beyond `loaded`.
"""

import time
from collections.abc import Collection, Sequence
from sqlite3 import Connection

import uuid_utils

from millimetric_server.journal.blocks import Block, BlockSlice, Leadership, Refusals, Settled, Settlement
from millimetric_server.journal.entries import Entry, EntryId
from millimetric_server.journal.errors import LeadershipLostError
from millimetric_server.journal.ledger import FORGOTTEN, Outcome
from millimetric_server.journal.sqlite import dead_letters
from millimetric_server.journal.sqlite.admission import Admission
from millimetric_server.journal.sqlite.connection import Reader
from millimetric_server.journal.sqlite.leadership import Leaders, check_lead
from millimetric_server.journal.sqlite.ledger import add_to_ledger
from millimetric_server.journal.sqlite.writer_thread import Transactor

_POSITION = "SELECT loaded, inflight FROM loader_position"


def begin_run(connection: Connection) -> str:
    """Name this run of the journal; deduplication tokens carry the name.

    It is new at every start, so that a journal restored from a backup, whose numbers come again, is not taken for what
    was loaded already. Only a block that was in flight keeps its name until it is known to be loaded.
    """
    run_id = str(uuid_utils.uuid7())
    connection.execute("INSERT OR IGNORE INTO loader_position VALUES (1, 0, 0, ?)", (run_id,))
    connection.execute("UPDATE loader_position SET journal_id = ? WHERE inflight <= loaded", (run_id,))
    (journal_id,) = connection.execute("SELECT journal_id FROM loader_position").fetchone()
    return str(journal_id)


def are_settled(loaded: int, entries: Collection[EntryId]) -> bool:
    """Tell whether the loader, which is this far, has passed all these entries."""
    return all(int(entry_id) <= loaded for entry_id in entries)


def load_settled(connection: Connection) -> int:
    """Load how far the loader is."""
    (loaded,) = connection.execute("SELECT loaded FROM loader_position").fetchone()
    return int(loaded)


def find_last_waiting(connection: Connection) -> Sequence[EntryId]:
    """Find the entry that is settled last of all that wait."""
    (newest,) = connection.execute("SELECT max(seq) FROM entries").fetchone()
    return () if newest is None else (EntryId(str(newest)),)


class Blocks:
    """The block that is in flight, and the next one."""

    def __init__(
        self,
        connection: Connection,
        reader: Reader,
        writer: Transactor,
        leaders: Leaders,
        admission: Admission,
    ) -> None:
        self._admission = admission
        self._reader = reader
        self._writer = writer
        self._leaders = leaders
        self._journal_id = begin_run(connection)
        self._loaded = load_settled(connection)

    def take(self, lead: Leadership, rows_max: int) -> Block | None:
        """Take the block in flight, or else as many entries as fit, which are named durably."""
        if not self._leaders.is_current(lead):
            raise LeadershipLostError
        ((loaded, inflight),) = self._reader.fetch(_POSITION)
        newest = self._find_newest()  # first: later arrivals gather
        was_sent = bool(entries := self._load_entries(loaded, inflight))
        if not was_sent:
            entries = self._load_entries(loaded, self._find_end(loaded, rows_max))
        if not entries:
            return None
        last = entries[-1].entry_id
        if not was_sent:
            self._name(lead, last)
        token = f"{self._journal_id}-{entries[0].entry_id}-{last}"
        return Block(token, entries, was_sent=was_sent, has_more=newest > int(last))

    def note_refusal(self, lead: Leadership, block: Block, part: BlockSlice, reason: str, message: str) -> None:
        """Record that ClickHouse refused a slice of the block in flight."""

        def write(connection: Connection) -> None:
            _check_in_flight(connection, lead, block)
            values = (part.first_row, part.row_count, reason, message)
            connection.execute("INSERT OR REPLACE INTO refusals VALUES (?, ?, ?, ?)", values)

        self._writer.transact(write).result()

    def load_refusals(self, block: Block) -> Refusals:
        """Load which slices of the block were refused, with reason and message; there are some of one block only."""
        statement = (
            "SELECT first_row, row_count, reason, message FROM refusals "
            "WHERE (SELECT inflight FROM loader_position) = ?"
        )
        rows = self._reader.fetch(statement, (_find_last(block),))
        return {BlockSlice(first_row, row_count): (reason, message) for first_row, row_count, reason, message in rows}

    def settle(self, lead: Leadership, block: Block, settlement: Settlement) -> Settled:
        """Record what became of the block in flight, and drop its entries."""
        last = _find_last(block)

        def write(connection: Connection) -> None:
            _check_in_flight(connection, lead, block)
            for project_id, events in settlement.stored.items():
                add_to_ledger(connection, project_id, Outcome.STORED, events)
            for project_id, events in settlement.forgotten.items():
                add_to_ledger(connection, project_id, Outcome.DROPPED, events, FORGOTTEN)
            dead_letters.insert(connection, settlement.refused, time.time_ns() // 1000)
            connection.execute("DELETE FROM refusals")
            connection.execute("DELETE FROM entries WHERE seq <= ?", (last,))
            connection.execute("UPDATE loader_position SET loaded = ?", (last,))
            self._admission.waiting_bytes -= block.bytes

        self._writer.transact(write).result()
        self._loaded = last
        return Settled(
            frozenset(entry.entry_id for entry in block.entries),
            frozenset(rows.entry_id for rows in settlement.refused),
        )

    def are_settled(self, entries: Collection[EntryId]) -> bool:
        """Tell whether none of these entries waits any more."""
        return are_settled(self._loaded, entries)

    def _name(self, lead: Leadership, last: EntryId) -> None:
        """Fix a new block's members before it is sent, so that a retry after a crash is the same block."""

        def write(connection: Connection) -> None:
            check_lead(connection, lead)
            connection.execute("UPDATE loader_position SET inflight = ?", (int(last),))

        self._writer.transact(write).result()

    def _find_newest(self) -> int:
        ((newest,),) = self._reader.fetch("SELECT coalesce(max(seq), 0) FROM entries")
        return int(newest)

    def _load_entries(self, after: int, last: int) -> list[Entry]:
        statement = (
            "SELECT seq, project_id, row_count, column_count, rows FROM entries WHERE seq > ? AND seq <= ? ORDER BY seq"
        )
        return [Entry(EntryId(str(seq)), *values) for seq, *values in self._reader.fetch(statement, (after, last))]

    def _find_end(self, loaded: int, rows_max: int) -> int:
        """The last of the entries after `loaded` that fit into a block; at least one. All have as many fields a row."""
        last, rows, columns = loaded, 0, 0
        for seq, row_count, column_count in self._reader.fetch(
            "SELECT seq, row_count, column_count FROM entries WHERE seq > ? ORDER BY seq LIMIT ?", (loaded, rows_max)
        ):
            if rows and (rows + row_count > rows_max or column_count != columns):
                break
            last, rows, columns = seq, rows + row_count, column_count
        return last


def _find_last(block: Block) -> int:
    return int(block.entries[-1].entry_id)


def _check_in_flight(connection: Connection, lead: Leadership, block: Block) -> None:
    """Make sure, within a transaction, that this is the block to settle. Raises LeadershipLostError, ValueError."""
    check_lead(connection, lead)
    loaded, inflight = connection.execute(_POSITION).fetchone()
    if not loaded < inflight == _find_last(block):
        raise ValueError(f"block {block.token} is not in flight")
