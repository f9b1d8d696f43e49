"""Makes a project's noted days and sessions equal to its events again, also while new events come in.

The notes are tables of their own, so that they outlive a crash.
"""

import time
from dataclasses import dataclass

from millimetric_server.store.clickhouse import ClickHouse
from millimetric_server.store.faults import StoreUnavailableError
from millimetric_server.store.rollups import ROLLUPS, SESSIONS, Rollup, read_rollup_statement
from millimetric_server.store.statements import read_statement

_SESSIONS_A_PASS = 200_000
_IDS_A_REBUILD = 1000
_ATTEMPTS_MAX = 30
# A block of new events reaches the views a moment after the events: look when it has.
_SETTLE_S = 1.0
_POLL_S = 0.05
_NO_WAIT = {"lightweight_deletes_sync": 0, "mutations_sync": 0}
_SYNCED = "SETTINGS fsync_after_insert = 1, fsync_part_directory = 1, min_rows_to_fsync_after_merge = 1"
_REPEATED_INSERT = {"insert_deduplicate": 0, "max_partitions_per_insert_block": 0}


@dataclass(frozen=True, slots=True)
class WorkTables:
    """A project's tables for the time of a run: new attributions, and notes of what is to be rebuilt."""

    project_id: str

    @property
    def answers(self) -> str:
        """New attributions by visit."""
        return f"reclassify_{self.project_id}_answers"

    @property
    def days(self) -> str:
        """Days to rebuild."""
        return f"reclassify_{self.project_id}_days"

    @property
    def sessions(self) -> str:
        """Sessions to rebuild."""
        return f"reclassify_{self.project_id}_sessions"

    def create(self, store: ClickHouse) -> None:
        """Make the notes where they are missing; those of a run that was cut short stay."""
        store.command(f"CREATE TABLE IF NOT EXISTS {self.days} (day Date) ENGINE = MergeTree ORDER BY day {_SYNCED}")
        store.command(
            f"CREATE TABLE IF NOT EXISTS {self.sessions} (session_id String) ENGINE = MergeTree ORDER BY session_id "
            f"{_SYNCED}"
        )

    def drop(self, store: ClickHouse) -> None:
        """Remove the notes."""
        for table in (self.days, self.sessions):
            store.command(f"DROP TABLE IF EXISTS {table} SYNC")


def repair_rollups(store: ClickHouse, work: WorkTables) -> None:
    """Rebuild what is noted, then clear the notes. Raises StoreUnavailableError."""
    days = [day for (day,) in store.query(f"SELECT DISTINCT toString(day) FROM {work.days} ORDER BY 1")]
    for rollup in ROLLUPS:
        if days and rollup is not SESSIONS:
            _repair(store, work, rollup, days)
    ((sessions,),) = store.query(f"SELECT uniqExact(session_id) FROM {work.sessions}")
    passes = -(-sessions // _SESSIONS_A_PASS)
    for index in range(passes):
        chosen = f"(SELECT session_id AS id FROM {work.sessions} WHERE cityHash64(session_id) % {passes} = {index})"
        _repair(store, work, SESSIONS, chosen)
    for table in (work.days, work.sessions):
        store.command(f"TRUNCATE TABLE {table} SYNC")


def _repair(store: ClickHouse, work: WorkTables, rollup: Rollup, chosen: list[str] | str) -> None:
    """Rebuild a roll-up's chosen parts until they count what the events are.

    Only the loader's thread could keep new events out between deletion and rebuild. Elsewhere a block of them may
    come just in between, so that its events are counted twice or not at all; then its parts are rebuilt once more.
    """
    _rebuild(store, work, rollup, chosen)
    for _ in range(_ATTEMPTS_MAX):
        if not store.is_embedded:  # there nobody else writes
            time.sleep(_SETTLE_S)
        if not (wrong := _find_wrong(store, work, rollup, chosen)):
            return
        for start in range(0, len(wrong), _IDS_A_REBUILD):
            _rebuild(store, work, rollup, wrong[start : start + _IDS_A_REBUILD])
    raise StoreUnavailableError("new events keep the roll-ups busy: run the command again when fewer come in")


def _rebuild(store: ClickHouse, work: WorkTables, rollup: Rollup, chosen: list[str] | str) -> None:
    """Delete and insert without a pause between.

    A deletion covers what is there when it is asked for, however long it takes; so new events can only come between
    where two statements follow upon each other.
    """
    for step, settings in (("delete", _NO_WAIT), ("insert", _REPEATED_INSERT)):
        statement, parameters = _fill_in(f"rebuild.{step}", work, rollup, chosen)
        store.command(statement, parameters, **settings)
    while any(store.query(read_statement("reclassify.deletions"), {"table": rollup.table})):
        time.sleep(_POLL_S)


def _find_wrong(store: ClickHouse, work: WorkTables, rollup: Rollup, chosen: list[str] | str) -> list[str]:
    statement, parameters = _fill_in("rebuild.wrong", work, rollup, chosen)
    return [wrong for (wrong,) in store.query(statement, parameters)]


def _fill_in(name: str, work: WorkTables, rollup: Rollup, chosen: list[str] | str) -> tuple[str, dict[str, object]]:
    """A statement on parts that are chosen by a list, or by a query that stands in the list's place."""
    parameters: dict[str, object] = {"project": work.project_id}
    if isinstance(chosen, str):
        return read_rollup_statement(name, rollup, chosen), parameters
    return read_rollup_statement(name, rollup), parameters | {rollup.part: chosen}
