"""Makes a project's noted days and sessions equal to its events again, even while new events arrive.

The notes are tables of their own, so that they outlive a crash.
"""

from dataclasses import dataclass

from millimetric_server.store.clickhouse import ClickHouse
from millimetric_server.store.rollups import ROLLUPS, SESSIONS, rebuild_chosen, rebuild_parts

_SESSIONS_A_PASS = 200_000
_SYNCED = "SETTINGS fsync_after_insert = 1, fsync_part_directory = 1, min_rows_to_fsync_after_merge = 1"


@dataclass(frozen=True, slots=True)
class WorkTables:
    """A project's tables for the time of a run: new attributions, and notes of what is to be rebuilt."""

    project_id: str

    @property
    def answers(self) -> str:
        """New attributions by the key of their events."""
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
        """Create the notes where they are missing; those of an interrupted run stay."""
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
            rebuild_parts(store, work.project_id, rollup, days)
    ((sessions,),) = store.query(f"SELECT uniqExact(session_id) FROM {work.sessions}")
    passes = -(-sessions // _SESSIONS_A_PASS)
    for index in range(passes):
        chosen = f"(SELECT session_id AS id FROM {work.sessions} WHERE cityHash64(session_id) % {passes} = {index})"
        rebuild_chosen(store, work.project_id, SESSIONS, chosen)
    for table in (work.days, work.sessions):
        store.command(f"TRUNCATE TABLE {table} SYNC")
