"""Makes a project's noted days and sessions equal to its events again, also while new events come in.

The notes are tables of their own, so that they outlive a crash.
"""

import time
from collections.abc import Callable, Iterable
from dataclasses import dataclass

from millimetric_server.store.clickhouse import ClickHouse, StoreUnavailableError
from millimetric_server.store.eraser import rebuild
from millimetric_server.store.statements import read_statement

_SESSIONS_A_PASS = 200_000
_SESSIONS_A_REBUILD = 1000
_ATTEMPTS_MAX = 30
# A block of new events reaches the views a moment after the events: look again when it has.
_SETTLE_S = 1.0
_REPEATED_INSERT = {"insert_deduplicate": 0, "max_partitions_per_insert_block": 0}
_WAIT = {"lightweight_deletes_sync": 2, "mutations_sync": 2}
_IDS = "{sessions:Array(String)}"


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
        store.command(f"CREATE TABLE IF NOT EXISTS {self.days} (day Date) ENGINE = MergeTree ORDER BY day")
        store.command(
            f"CREATE TABLE IF NOT EXISTS {self.sessions} (session_id String) ENGINE = MergeTree ORDER BY session_id"
        )

    def drop(self, store: ClickHouse) -> None:
        """Remove the notes."""
        for table in (self.days, self.sessions):
            store.command(f"DROP TABLE IF EXISTS {table} SYNC")


def repair_rollups(store: ClickHouse, work: WorkTables) -> None:
    """Rebuild what is noted, then clear the notes. Raises StoreUnavailableError.

    Only the loader's thread could keep new events out between deletion and rebuild. Elsewhere the rebuilt rows are
    counted against the events, and what new events got in between with is rebuilt once more.
    """
    days = [day for (day,) in store.query(f"SELECT DISTINCT toString(day) FROM {work.days} ORDER BY 1")]
    if days:
        rebuild(store, work.project_id, tuple(days), ())
        _settle(store, lambda: _find_wrong_days(store, work, days), lambda wrong: _rebuild_days(store, work, wrong))
    ((sessions,),) = store.query(f"SELECT uniqExact(session_id) FROM {work.sessions}")
    passes = -(-sessions // _SESSIONS_A_PASS)
    for index in range(passes):
        chosen = f"(SELECT session_id FROM {work.sessions} WHERE cityHash64(session_id) % {passes} = {index})"
        _repair_sessions(store, work, chosen)
    for table in (work.days, work.sessions):
        store.command(f"TRUNCATE TABLE {table} SYNC")


def _repair_sessions(store: ClickHouse, work: WorkTables, chosen: str) -> None:
    parameters = {"project": work.project_id}
    store.command(read_statement("rebuild.delete_sessions").replace(_IDS, chosen), parameters, **_WAIT)
    store.command(read_statement("rebuild.insert_sessions").replace(_IDS, chosen), parameters, **_REPEATED_INSERT)
    statement = read_statement("reclassify.wrong_sessions").replace("%CHOSEN%", chosen)
    _settle(
        store,
        lambda: [session for (session,) in store.query(statement, parameters)],
        lambda wrong: _rebuild_sessions(store, work, wrong),
    )


def _settle(store: ClickHouse, find_wrong: Callable[[], list[str]], repair: Callable[[list[str]], None]) -> None:
    """Repair until nothing is wrong. Nobody else writes into an embedded engine, so there nothing ever is."""
    for _ in range(_ATTEMPTS_MAX):
        if not store.is_embedded:
            time.sleep(_SETTLE_S)
        if not (wrong := find_wrong()):
            return
        repair(wrong)
    raise StoreUnavailableError("new events kept the roll-ups busy: run the command again when fewer come in")


def _find_wrong_days(store: ClickHouse, work: WorkTables, days: list[str]) -> list[str]:
    parameters = {"project": work.project_id, "days": days}
    return [day for (day,) in store.query(read_statement("reclassify.wrong_days"), parameters)]


def _rebuild_days(store: ClickHouse, work: WorkTables, days: Iterable[str]) -> None:
    for day in days:  # one at a time: the shorter it takes, the fewer new events get in between
        rebuild(store, work.project_id, (day,), ())


def _rebuild_sessions(store: ClickHouse, work: WorkTables, sessions: list[str]) -> None:
    for start in range(0, len(sessions), _SESSIONS_A_REBUILD):
        rebuild(store, work.project_id, (), tuple(sessions[start : start + _SESSIONS_A_REBUILD]))
