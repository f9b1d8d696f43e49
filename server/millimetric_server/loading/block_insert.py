"""Inserts a block so that each row is stored once, and a row that ClickHouse refuses does not stop the others.

A refused block is halved until the refused rows stand alone. A slice of it is either sent whole, always with the same
rows and token, or was noted as refused before its halves were sent: so after a crash no row goes out twice.
"""

import logging
from collections import Counter
from collections.abc import Iterator, Sequence
from collections.abc import Set as AbstractSet
from dataclasses import dataclass, field
from datetime import UTC, datetime
from typing import Any

from millimetric_server.enrich.event_row import EventRow
from millimetric_server.journal.blocks import Block, BlockSlice, Leadership, Refusals, RefusedRows, Settlement
from millimetric_server.journal.entries import Entry
from millimetric_server.journal.packed_rows import COLUMN_NAMES, FORMAT, UnreadableRowsError, pack_values
from millimetric_server.journal.port import Journal
from millimetric_server.store.clickhouse import ClickHouse
from millimetric_server.store.faults import InsertsLockedError, RowsRefusedError
from millimetric_server.store.fence import end_own_inserts
from millimetric_server.store.insert import Insert
from millimetric_server.store.insert_lock import wait_until_unlocked
from millimetric_server.store.rollups import Span, rebuild_wrong
from millimetric_server.store.statements import read_statement

log = logging.getLogger(__name__)

_UNREADABLE = "UNREADABLE_ENTRY"
_KEY = tuple(map(EventRow.__struct_fields__.index, ("event_id", "timestamp", "received_at")))
_, _TIMESTAMP, _RECEIVED = _KEY

_Key = tuple[str, str, int, int]  # what tells a row from all others: its project, and the columns of _KEY


@dataclass(frozen=True, slots=True)
class _Row:
    """A row of a block, unpacked."""

    entry: Entry
    values: list[Any]


@dataclass(frozen=True, slots=True)
class Insertion:
    """A block on its way into ClickHouse, and what is known of it so far."""

    lead: Leadership
    block: Block
    refusals: Refusals
    stored: Counter[str] = field(default_factory=Counter)
    forgotten: Counter[str] = field(default_factory=Counter)
    refused: list[RefusedRows] = field(default_factory=list)

    def refuse(self, entry: Entry, rows: bytes, row_count: int, reason: str, message: str) -> None:
        """Settle rows of an entry as dead letters."""
        self.refused.append(
            RefusedRows(entry.entry_id, entry.project_id, row_count, entry.column_count, rows, reason, message)
        )

    def settle(self) -> Settlement:
        """What became of all its rows."""
        return Settlement(self.stored, self.forgotten, self.refused)


class BlockInserter:
    """Takes blocks from the journal to ClickHouse."""

    def __init__(self, journal: Journal, store: ClickHouse) -> None:
        self._journal = journal
        self._erasures = journal.erasures
        self._store = store

    def insert(self, lead: Leadership, block: Block) -> Settlement:
        """Insert a block; returns what became of its rows. Raises StoreUnavailableError: then it is to be tried again.

        Of a block that was sent before, the rows that are there are left out: a power cut can take the token of rows
        that it leaves (docs/adr/0010), and other servers' blocks can take its place (0011). And its roll-ups are
        compared with its events: ClickHouse changes a table and its views one after the other, and a crash between them
        can leave a view behind in spite of the token.
        """
        insertion = Insertion(lead, block, self._journal.load_refusals(block) if block.was_sent else {})
        has_forgotten = any(self._erasures.concern(entry.project_id) for entry in block.entries)
        if block.was_sent and (fence := self._store.fence) is not None:
            end_own_inserts(self._store, fence)
        spans = list(_find_spans(block)) if block.was_sent else []
        found = set[_Key]().union(*(self._find_rows(span) for span in spans))
        if has_forgotten or insertion.refusals or found or not self._insert_whole(insertion):
            self._insert_rows(insertion, found)
        if block.was_sent:
            self._heal_rollups(spans)
        return insertion.settle()

    def _insert_whole(self, insertion: Insertion) -> bool:
        """Insert the packed rows as they are; False if ClickHouse refuses them."""
        block = insertion.block
        packed = b"".join(entry.rows for entry in block.entries)
        if not self._send(insertion, BlockSlice(0, block.row_count), packed):
            return False
        for entry in block.entries:
            insertion.stored[entry.project_id] += entry.row_count
        return True

    def _find_rows(self, span: Span) -> Iterator[_Key]:
        """The rows of a block that ClickHouse holds, and maybe others.

        They can be left out under the same token: those of a partition are there together or not at all.
        """
        for event_id, timestamp, received_at in self._store.query(read_statement("load.find_rows"), span.parameters):
            yield span.project_id, event_id, timestamp, received_at

    def _insert_rows(self, insertion: Insertion, found: AbstractSet[_Key]) -> None:
        """Insert the rows that are neither of forgotten people, nor there already, nor refused."""
        rows = self._choose_rows(insertion, found)
        parts = [BlockSlice(0, insertion.block.row_count)]
        while parts:
            part = parts.pop()
            chosen = [rows[number] for number in part.numbers if number in rows]
            if not chosen:
                continue
            packed = pack_values([row.values for row in chosen])
            if part not in insertion.refusals and self._send(insertion, part, packed):
                insertion.stored.update(row.entry.project_id for row in chosen)
            elif part.row_count > 1:
                parts += reversed(part.split())
            else:
                (row,), (reason, message) = chosen, insertion.refusals[part]
                insertion.refuse(row.entry, packed, 1, reason, message)
                log.warning(
                    "loader: ClickHouse refused an event of project %s (%s): see `millimetric journal dead-letters`",
                    row.entry.project_id,
                    reason,
                )

    def _send(self, insertion: Insertion, part: BlockSlice, packed: bytes) -> bool:
        """Insert a slice; False if ClickHouse refuses it, which is noted then."""
        block = insertion.block
        token = block.token if part.row_count == block.row_count else f"{block.token}/{part.first_row}+{part.row_count}"
        insert = Insert("events", COLUMN_NAMES[: block.column_count], FORMAT, packed, token)
        try:
            self._insert_unlocked(insert)
        except RowsRefusedError as error:
            self._journal.note_refusal(insertion.lead, block, part, error.reason, error.message)
            insertion.refusals[part] = error.reason, error.message
            return False
        return True

    def _insert_unlocked(self, insert: Insert) -> None:
        while True:
            try:
                return self._store.insert_block(insert)
            except InsertsLockedError:
                wait_until_unlocked(self._store)

    def _choose_rows(self, insertion: Insertion, found: AbstractSet[_Key]) -> dict[int, _Row]:
        """Unpack the rows to insert, by their number within the block; the others are settled."""
        rows: dict[int, _Row] = {}
        for first_row, entry in insertion.block.number_entries():
            try:
                unpacked = entry.unpack()
            except UnreadableRowsError as error:
                log.error("loader: entry %s can't be read and is set aside: %s", entry.entry_id, error)  # noqa: TRY400 - planned
                insertion.refuse(entry, entry.rows, entry.row_count, _UNREADABLE, str(error))
                continue
            for number, values in enumerate(unpacked, first_row):
                if self._erasures.covers(values):
                    insertion.forgotten[entry.project_id] += 1
                elif (entry.project_id, *(values[place] for place in _KEY)) in found:
                    insertion.stored[entry.project_id] += 1
                else:
                    rows[number] = _Row(entry, values)
        return rows

    def _heal_rollups(self, spans: Sequence[Span]) -> None:
        healed = sum(rebuild_wrong(self._store, span) for span in spans)
        if healed:
            log.warning(
                "loader: after an interruption %d days and sessions differed from their events and were rebuilt", healed
            )


def _find_spans(block: Block) -> Iterator[Span]:
    """The spans of a block's rows, one a project."""
    times: dict[str, list[tuple[int, int]]] = {}
    for entry in block.entries:
        try:
            rows = entry.unpack()
        except UnreadableRowsError:
            continue
        times.setdefault(entry.project_id, []).extend((row[_TIMESTAMP], row[_RECEIVED]) for row in rows)
    for project_id, pairs in times.items():
        timestamps, received = zip(*pairs, strict=True)
        days = {timestamp // 86_400_000_000 for timestamp in timestamps}
        yield Span(
            project_id,
            [datetime.fromtimestamp(day * 86_400, UTC).date().isoformat() for day in sorted(days)],
            *(min(timestamps), max(timestamps)),
            *(min(received), max(received)),
        )
