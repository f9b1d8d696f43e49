"""The two stores that the same tests run against, and direct access to journal, loader and store without doors."""

import contextlib
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

from millimetric_server.enrich.event_row import EventRow
from millimetric_server.journal.entries import NewEvent
from millimetric_server.journal.port import Erasures, Journal
from millimetric_server.journal.sqlite.journal import SqliteJournal
from millimetric_server.loading.loader import Loader
from millimetric_server.store.clickhouse import ClickHouse
from support.waiting import wait_until

DAY = 86_400_000_000
# The roll-ups by time: table, column of time, what that is of an event, and some of the other columns.
_BY_TIME = (
    ("daily_rollup", "day", "toDate(timestamp)", "event, source, country"),
    ("hourly_rollup", "hour", "toStartOfHour(timestamp)", "event, medium, campaign"),
    ("source_rollup", "day", "toDate(timestamp)", "source, medium, is_bot"),
)
NOW = 1_790_000_000_000_000  # 2026-09-21


@dataclass
class Engine:
    """Journal, loader and store of a server without its doors."""

    journal: Journal
    erasures: Erasures
    store: ClickHouse
    loader: Loader

    def append(self, *rows: EventRow, content: bytes = b"") -> None:
        """Append and wait until the store holds the rows."""
        appended = self.journal.append([NewEvent(row, content) for row in rows]).result(120)
        self.loader.wait_loaded(appended.entries).result(120)

    def erase(self, project_id: str, *, user_id: str = "", anonymous_id: str = "", now_us: int = NOW) -> dict[str, int]:
        """Forget a person and wait until it is done; returns the figures of the receipt."""
        erasure_id = self.erasures.request(project_id, user_id, anonymous_id, now_us).result(120)
        self.loader.notify()
        wait_until(lambda: self._is_done(project_id, erasure_id), "the erasure is done")
        erasure = self.erasures.find(project_id, erasure_id).result(120)
        assert erasure is not None
        return {**erasure.rows_removed, "residual": erasure.residual}

    def _is_done(self, project_id: str, erasure_id: str) -> bool:
        erasure = self.erasures.find(project_id, erasure_id).result(120)
        return erasure is not None and erasure.completed_at is not None

    def count(self, table: str, condition: str = "1") -> int:
        ((count,),) = self.store.query(f"SELECT count() FROM {table} WHERE {condition}")
        return int(count)

    def read_rollups(self) -> list[tuple[object, ...]]:
        """Everything the roll-ups say, to compare with what the events say."""
        by_time = (
            f"SELECT '{table}', project_id, toString({time}), {columns}, sum(events), "
            f"uniqCombined64Merge(14)(visitors) FROM {table} GROUP BY ALL ORDER BY ALL"
            for table, time, _, columns in _BY_TIME
        )
        return self._read_all(
            *by_time,
            "SELECT 'session', project_id, session_id, entry, exit, began, toString(ended_at), events, "
            "arraySort(visitors), arraySort(hours), is_bot FROM sessions FINAL ORDER BY ALL",
        )

    def read_expected_rollups(self) -> list[tuple[object, ...]]:
        """The same, computed from the events."""
        by_time = (
            f"SELECT '{table}', project_id, toString({expression}), {columns}, count(), uniqCombined64(14)(visitor) "
            "FROM events GROUP BY ALL ORDER BY ALL"
            for table, _, expression, columns in _BY_TIME
        )
        return self._read_all(
            *by_time,
            "SELECT 'session', project_id, session_id, "
            "argMin(session_entry, (timestamp, source = 'internal', event_id)), max(session_exit), "
            "min(toUnixTimestamp64Micro(timestamp) * 2 + (source = 'internal')), "
            "toString(max(timestamp)), count(), arraySort(groupUniqArray(visitor)), "
            "arraySort(groupUniqArray(toUInt32(intDiv(toUnixTimestamp(timestamp), 3600)))), is_bot "
            "FROM events GROUP BY project_id, session_id, is_bot ORDER BY ALL",
        )

    def _read_all(self, *statements: str) -> list[tuple[object, ...]]:
        return [tuple(row) for statement in statements for row in self.store.query(statement)]


@contextlib.contextmanager
def open_engine(folder: Path, url: str, database: str = "millimetric") -> Iterator[Engine]:
    store = ClickHouse(url, database)
    journal = SqliteJournal(folder / "journal.db", bytes_max=10**9, idempotency_window_days=7)
    loader = Loader(journal, store, flush_interval_ms=20, block_rows_max=1000)
    loader.prepare()
    journal.start()
    loader.start()
    try:
        yield Engine(journal, journal.erasures, store, loader)
    finally:
        loader.close(10)
        journal.close()
        store.close()


def make_row(**values: object) -> EventRow:
    """A row with defaults for all that a test does not care about."""
    fields: dict[str, object] = dict.fromkeys(EventRow.__struct_fields__, "")
    fields |= {
        "project_id": "prj_a",
        "event": "signup",
        "timestamp": NOW,
        "received_at": NOW,
        "anonymous_id": "device",
        "session_id": "session",
        "properties": "{}",
        "source": "direct",
        "medium": "direct",
        "rule_set": "standard-1",
        "is_bot": False,
        "retention_days": 3650,
    }
    return EventRow(**(fields | values))  # type: ignore[arg-type]
