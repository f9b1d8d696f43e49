"""Looks at startup and daily for damage that ClickHouse does not report, and rebuilds what the events allow.

ClickHouse detaches a part that it can't read and continues without its rows. The work runs in small steps on the
loader's thread: nothing is in flight there, and nothing may be inserted between a deletion and its rebuild.
"""

import logging
import time
from collections.abc import Callable, Collection, Iterator, Sequence
from datetime import UTC, date, datetime, timedelta
from itertools import groupby
from operator import itemgetter
from pathlib import Path
from typing import Any

import msgspec

from millimetric_server.store.clickhouse import ClickHouse, Rows
from millimetric_server.store.faults import StoreUnavailableError
from millimetric_server.store.findings import Findings, LostDay, read_findings, write_findings
from millimetric_server.store.rollups import (
    ROLLUPS,
    SESSIONS,
    rebuild_chosen,
    rebuild_parts,
    split_ids,
)
from millimetric_server.store.running import wait_for_inserts
from millimetric_server.store.statements import read_statement

log = logging.getLogger(__name__)

_EVERY_S = 24 * 3600.0
_AGAIN_S = 3600.0  # after one that failed
_STEP_S = 30  # what a single question may take at most
_WINDOW_DAYS = 31
_WINDOW_EVENTS = 2_000_000
_DAYS_A_REBUILD = 10
_SESSIONS_A_SLICE = 50_000
_SESSIONS_A_REBUILD = 2000
# Tables drop rows of the same day at different moments, by their time and when ClickHouse comes to it.
_RETENTION_MARGIN_DAYS = 2
_BY_TIME = [rollup for rollup in ROLLUPS if rollup is not SESSIONS]
_SHOWN = 5


class Inspection:
    """Inspects the whole store, again and again, in small steps."""

    def __init__(self, store: ClickHouse, folder: Path, list_projects: Callable[[], Collection[str]]) -> None:
        """`list_projects` names those that this server loads: on a shared ClickHouse others' rows are in flight."""
        self._store = store
        self._folder = folder
        self._list_projects = list_projects
        self._steps: Iterator[None] | None = None
        self._next_at = 0.0
        self._now = Findings()
        self.findings = read_findings(folder) or Findings()  # of the last whole look
        self.rebuilt = 0  # days and sessions since the start

    def work(self, seconds: float) -> None:
        """If an inspection is due, work on it for about this long, at least one step. A ClickHouse error aborts it."""
        ends_at = time.monotonic() + seconds
        while self._steps is not None or time.monotonic() >= self._next_at:
            if self._steps is None:
                self._steps = self._look()
            try:
                next(self._steps)
            except StopIteration:
                self._finish(_EVERY_S)
            except StoreUnavailableError as error:
                self._now = msgspec.structs.replace(
                    self.findings,
                    broken_parts=self._now.broken_parts or self.findings.broken_parts,
                    rebuilt=self._now.rebuilt,
                    fault=str(error),
                )
                log.warning("inspection: aborted, retrying within an hour: %s", error)
                self._finish(_AGAIN_S)
            if time.monotonic() >= ends_at:
                return

    def _finish(self, next_s: float) -> None:
        self._steps, self._next_at = None, time.monotonic() + next_s
        found = self._now
        if not found.fault:
            found.checked_at = time.time()
        self.findings = found
        try:
            write_findings(self._folder, found)
        except OSError as error:
            log.warning("inspection: its findings can't be saved: %s", error.strerror)
        _tell(found)

    def _look(self) -> Iterator[None]:
        """Each step is done without a pause; a later step checks again what it acts on."""
        self._now = found = Findings(retention_days=dict(self.findings.retention_days))
        for table, name in self._ask("inspect.broken_parts"):
            found.broken_parts.setdefault(table, []).append(name)
        ((projections,),) = self._ask("inspect.broken_projections")
        if projections:
            log.warning("inspection: a projection of sessions can't be read in %d parts: rebuilding it", projections)
            self._store.command("ALTER TABLE sessions MATERIALIZE PROJECTION channels", mutations_sync=0)
        self._refuse_beside_reclassify()
        yield
        for project_id, days in self._ask("inspect.projects"):
            found.retention_days[project_id] = min(days, found.retention_days.get(project_id, days))
        ours = set(self._list_projects())
        projects = [one for one in found.retention_days if self._store.is_embedded or one in ours]
        yield
        yield from self._look_at_days(projects)
        for project_id in projects:
            yield from self._look_at_sessions(project_id)

    def _look_at_days(self, projects: Sequence[str]) -> Iterator[None]:
        windows = list(_make_windows([(day, int(count)) for day, count in self._ask("inspect.days")]))
        yield
        for first, last in windows:
            for chunk in split_ids(projects):
                wrong = self._find_wrong_days(chunk, first, last)
                yield
                for project_id, rows in groupby(wrong, key=itemgetter(0)):
                    days = [row[1] for row in rows]
                    for start in range(0, len(days), _DAYS_A_REBUILD):
                        self._settle_days(project_id, days[start : start + _DAYS_A_REBUILD])
                        yield

    def _find_wrong_days(self, projects: Sequence[str], first: str, last: str) -> Rows:
        bounds = {"projects": list(projects), "first_day": first, "last_day": last}
        found = self._ask("inspect.wrong_days", **bounds)
        return [row for row in found if date.fromisoformat(row[1]) > self._since(row[0])]

    def _find_lasting(self, ask: Callable[[], Rows]) -> Rows:
        """Leave out differences that only another server's running insert causes.

        A row ends with how many events there are and how many the tables count; other inserts change all alike.
        """
        first = ask()
        if self._store.is_embedded or not first:
            return first
        wait_for_inserts(self._store)
        differences = set(map(_differ, first))
        return [row for row in ask() if _differ(row) in differences]

    def _settle_days(self, project_id: str, suspects: Sequence[str]) -> None:
        """Rebuild the days whose events can be relied on, and note the others."""
        to_rebuild: dict[str, list[str]] = {}
        found = self._find_lasting(lambda: self._find_wrong_days([project_id], suspects[0], suspects[-1]))
        for _, day, events, *held in found:
            if day not in suspects:
                continue
            if max(held) > events and ("events" in self._now.broken_parts or events not in held):
                by_table = {rollup.table: count for rollup, count in zip(_BY_TIME, held, strict=True)}
                self._now.lost_days.append(LostDay(project_id, day, events, by_table))
                continue
            for rollup, count in zip(_BY_TIME, held, strict=True):
                if count != events:
                    to_rebuild.setdefault(rollup.table, []).append(day)
        self._refuse_beside_reclassify()
        for rollup in _BY_TIME:
            if days := to_rebuild.get(rollup.table):
                rebuild_parts(self._store, project_id, rollup, days)
                self._count(rollup.table, len(days))

    def _look_at_sessions(self, project_id: str) -> Iterator[None]:
        since = int(datetime.combine(self._since(project_id), datetime.min.time(), UTC).timestamp()) * 1_000_000
        ((wanted, held, rows),) = self._ask("inspect.sessions", project=project_id, since=since)
        yield
        if wanted == held:
            return
        slices = max(1, -(-max(wanted, rows) // _SESSIONS_A_SLICE))
        for number in range(slices):
            yield from self._settle_slice(project_id, {"since": since, "slices": slices, "slice": number})

    def _settle_slice(self, project_id: str, bounds: dict[str, int]) -> Iterator[None]:
        """Rebuild sessions that count too few events, and those that count too many unless events may be missing."""
        is_sure = "events" not in self._now.broken_parts and all(
            day.project_id != project_id for day in self._now.lost_days
        )
        before = None
        while True:
            wrong = self._find_lasting(lambda: self._ask("inspect.wrong_sessions", project=project_id, **bounds))
            left = set() if is_sure else {session for session, _, wanted, held in wrong if held > wanted}
            chosen = sorted({session for session, *_ in wrong} - left)
            if not chosen or chosen == before:
                if count := len(left) + len(chosen):
                    lost = self._now.lost_sessions
                    lost[project_id] = lost.get(project_id, 0) + count
                return
            self._refuse_beside_reclassify()
            if is_sure and len(chosen) > _SESSIONS_A_REBUILD and before is None:
                rebuild_chosen(self._store, project_id, SESSIONS, _choose_slice(**bounds))
                self._count(SESSIONS.table, len(chosen))
            else:
                rebuild_parts(self._store, project_id, SESSIONS, chosen[:_SESSIONS_A_REBUILD])
                self._count(SESSIONS.table, len(chosen[:_SESSIONS_A_REBUILD]))
            before = chosen
            yield

    def _refuse_beside_reclassify(self) -> None:
        """A reclassification is not damage, and rebuilds days and sessions itself. Raises StoreUnavailableError."""
        if self._ask("inspect.reclassify"):
            raise StoreUnavailableError("a reclassification is running, or was interrupted and must be run again")

    def _since(self, project_id: str) -> date:
        """The newest day of which the retention may have taken something."""
        days = self._now.retention_days[project_id] - _RETENTION_MARGIN_DAYS
        return datetime.now(UTC).date() - timedelta(days=max(days, 0))

    def _count(self, table: str, rebuilt: int) -> None:
        if rebuilt:
            self._now.rebuilt[table] = self._now.rebuilt.get(table, 0) + rebuilt
            self.rebuilt += rebuilt

    def _ask(self, name: str, **parameters: object) -> Rows:
        settings = {"max_threads": 1, "max_execution_time": _STEP_S}
        return self._store.query(read_statement(name), parameters, **settings)


def _differ(row: Sequence[Any]) -> tuple[Any, ...]:
    """What a row is about, and by how much its counts differ from the events."""
    names, counts = row[:2], row[2:]
    return (*names, *(count - counts[0] for count in counts))


def _choose_slice(since: int, slices: int, slice: int) -> str:  # noqa: A002 - as the statements call it
    """A query for the ids of a slice's sessions that have events; see inspect.wrong_sessions."""
    return (
        "(SELECT session_id AS id FROM events "
        f"WHERE project_id = {{project:String}} AND session_hash % {slices} = {slice} "
        "AND session_hash NOT IN (SELECT session_hash FROM sessions WHERE project_id = {project:String} "
        f"AND began < 2 * {since}))"
    )


def _make_windows(days: Sequence[tuple[str, int]]) -> Iterator[tuple[str, str]]:
    """Part days into spans of so many events or days at most."""
    first, events = "", 0
    last = ""
    for day, count in days:
        is_full = events + count > _WINDOW_EVENTS
        if first and (is_full or (date.fromisoformat(day) - date.fromisoformat(first)).days >= _WINDOW_DAYS):
            yield first, last
            first, events = "", 0
        first, last, events = first or day, day, events + count
    if first:
        yield first, last


def _tell(found: Findings) -> None:
    for table, names in found.broken_parts.items():
        log.error(
            "inspection: %d parts of %s can't be read and were set aside by ClickHouse (%s): see docs/operations.md",
            len(names),
            table,
            ", ".join(names[:_SHOWN]),
        )
    if found.lost_days or found.lost_sessions:
        log.error(
            "inspection: roll-ups and events differ on %d days and in %d sessions; nothing is rebuilt, "
            "because events are gone or it is unclear which is right: see docs/operations.md",
            len(found.lost_days),
            sum(found.lost_sessions.values()),
        )
    for table, count in found.rebuilt.items():
        log.warning("inspection: %d days or sessions of %s differed from their events and were rebuilt", count, table)
