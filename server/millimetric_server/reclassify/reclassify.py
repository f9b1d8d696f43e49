"""Applies another rule set to a project's history: events, roll-ups and sessions, month by month.

Rows that already have the rule set are done, so a run can be repeated, and an interrupted one resumed.
"""

import math
import time
from collections import Counter
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field

import msgspec

from millimetric_server.enrich.attribution import RULE_SETS, Attribution, classify
from millimetric_server.reads.conditions import Conditions
from millimetric_server.reclassify.work_tables import WorkTables, repair_rollups
from millimetric_server.store.clickhouse import ClickHouse, Rows
from millimetric_server.store.faults import StoreUnavailableError
from millimetric_server.store.statements import read_statement

# What attribution answers, as the columns are named; the order is that of Attribution.
_ANSWERS = ("source", "medium", "campaign", "source_confidence", "source_rule_id")
# Every column that attribution reads or answers: rows alike in these get the same answer.
_ALIKE = ("url", "referrer", "rule_set", *_ANSWERS)
_KEY = f"hex(sipHash128({', '.join(f'toString({column})' for column in _ALIKE)}))"
_ANSWER_TYPES = {"key": "String", **dict.fromkeys(_ANSWERS, "String"), "is_rolled_up": "UInt8"}
_GROUPS_A_SLICE = 100_000
_POLL_S = 0.1
_FAILURES_MAX = 50


@dataclass(frozen=True, slots=True)
class Scope:
    """What to reclassify: a project's events of another rule set. Times are microseconds UTC; None is no bound.

    `received_before` leaves alone what comes in during the run: the project's own rule set has judged it.
    """

    project_id: str
    rule_set: str
    own_hosts: frozenset[str]
    ignored_hosts: frozenset[str]
    received_before: int
    from_us: int | None = None
    to_us: int | None = None


class EventGroup(msgspec.Struct, frozen=True):
    """Events alike in all that attribution reads and answers; the fields are the columns of reclassify.groups.sql."""

    key: str
    url: str
    referrer: str
    rule_set: str
    source: str
    medium: str
    campaign: str
    source_confidence: str
    source_rule_id: str
    events: int


@dataclass(slots=True)
class Tally:
    """Events by what becomes of them: (source, medium, new source, new medium), or left as they are."""

    moves: Counter[tuple[str, str, str, str]] = field(default_factory=Counter)
    left: int = 0

    def add(self, group: EventGroup, answer: Attribution | None) -> None:
        """Count a group's events."""
        if answer is None:
            self.left += group.events
        else:
            self.moves[group.source, group.medium, answer.source, answer.medium] += group.events


Progress = Callable[[str, int], None]  # what is done, and how many events it was done for


def count_pending(store: ClickHouse, scope: Scope) -> int:
    """Count the events that are not of the rule set yet. Raises StoreUnavailableError."""
    return sum(events for _, events, _ in _list_months(store, scope))


def survey(store: ClickHouse, scope: Scope, report: Progress) -> Tally:
    """Find what a run would change, and change nothing. Raises StoreUnavailableError."""
    tally = Tally()
    for month, _, groups in _list_months(store, scope):
        for _ in _classify_month(store, scope, month, groups, tally, report):
            pass
    return tally


def reclassify(store: ClickHouse, scope: Scope, report: Progress) -> Tally:
    """Rewrite events, roll-up and sessions; returns what changed. Raises StoreUnavailableError.

    One run a project at a time. If it is interrupted at any point, the next run with any rule set repairs the roll-ups.
    """
    tally = Tally()
    work = WorkTables(scope.project_id)
    _stop_left_behind(store, work)
    work.create(store)
    repair_rollups(store, work)
    for month, events, groups in _list_months(store, scope):
        _create_answers(store, work)
        answered = 0
        for answers in _classify_month(store, scope, month, groups, tally, report):
            answered += len(answers)
            _insert_answers(store, work, answers)
        if answered:
            store.sync()  # the answers: their table has no setting for it
            _rewrite_month(store, scope, work, month)
            repair_rollups(store, work)
        report(f"{_name_month(month)}: rewritten", events)
    store.sync()
    store.command(f"DROP TABLE IF EXISTS {work.answers} SYNC")
    work.drop(store)
    return tally


def decide(group: EventGroup, scope: Scope) -> Attribution | None:
    """The group's attribution by the new rule set, or None if what decided it is no longer known.

    Parameters behind a # are read at ingestion and not stored. They had a say where the old rule set, run over
    what is stored, does not find the parameters that it found then: such a group keeps its attribution.
    """
    if (rules := RULE_SETS.get(group.rule_set)) is not None:
        again = classify(group.url, group.referrer, group.rule_set, scope.own_hosts, scope.ignored_hosts)
        if again.campaign != group.campaign:
            return None
        needs_parameters = all(rule.rule_id != group.source_rule_id for rule in rules.untagged_rules)
        if needs_parameters and (again.source, again.medium, again.rule_id) != (
            group.source,
            group.medium,
            group.source_rule_id,
        ):
            return None
    return classify(group.url, group.referrer, scope.rule_set, scope.own_hosts, scope.ignored_hosts)


def _classify_month(
    store: ClickHouse, scope: Scope, month: int, groups: int, tally: Tally, report: Progress
) -> Iterator[list[tuple[EventGroup, Attribution]]]:
    """Classify a month's groups in slices that fit into memory; yields those that get an answer."""
    slices = max(1, math.ceil(groups / _GROUPS_A_SLICE))
    rows, parameters = _select_rows(scope)
    statement = _fill_in("reclassify.groups", rows)
    for index in range(slices):
        bounds = {"month": month, "slices": slices, "slice": index}
        found = [EventGroup(*row) for row in store.query(statement, parameters | bounds)]
        decided = [(group, decide(group, scope)) for group in found]
        for group, answer in decided:
            tally.add(group, answer)
        yield [(group, answer) for group, answer in decided if answer is not None]
        report(f"{_name_month(month)}: classified", sum(group.events for group in found))


def _list_months(store: ClickHouse, scope: Scope) -> Rows:
    rows, parameters = _select_rows(scope)
    return store.query(_fill_in("reclassify.months", rows), parameters)


def _fill_in(name: str, rows: str) -> str:
    """A statement on the rows that a condition selects, with the columns of attribution."""
    assignments = ", ".join(f"{column} = joinGet('%ANSWERS%', '{column}', %KEY%)" for column in _ANSWERS)
    return (
        read_statement(name)
        .replace("%ALIKE%", ", ".join(_ALIKE))
        .replace("%ASSIGNMENTS%", assignments)
        .replace("%ROWS%", rows)
        .replace("%KEY%", _KEY)
    )


def _select_rows(scope: Scope) -> tuple[str, dict[str, object]]:
    """The condition for the rows of a scope that are not of its rule set yet, and its parameters."""
    conditions = Conditions()
    conditions.clauses += ["project_id = {project:String}", "rule_set != {rule_set:String}"]
    conditions.require_time("received_at", "<", scope.received_before)
    if scope.from_us is not None:
        conditions.require_time("timestamp", ">=", scope.from_us)
    if scope.to_us is not None:
        conditions.require_time("timestamp", "<", scope.to_us)
    return conditions.sql, {"project": scope.project_id, "rule_set": scope.rule_set, **conditions.parameters}


def _create_answers(store: ClickHouse, work: WorkTables) -> None:
    """Create the empty table of answers. It is on disk, so ClickHouse can finish a rewrite that a crash interrupted."""
    columns = ", ".join(f"{name} {kind}" for name, kind in _ANSWER_TYPES.items())
    store.command(f"DROP TABLE IF EXISTS {work.answers} SYNC")
    store.command(f"CREATE TABLE {work.answers} ({columns}) ENGINE = Join(ANY, LEFT, key)")


def _insert_answers(store: ClickHouse, work: WorkTables, answers: list[tuple[EventGroup, Attribution]]) -> None:
    if not answers:
        return
    rows = [
        (
            group.key,
            *msgspec.structs.astuple(answer),
            int((answer.source, answer.medium, answer.campaign) != (group.source, group.medium, group.campaign)),
        )
        for group, answer in answers
    ]
    columns = [list(column) for column in zip(*rows, strict=True)]
    store.insert(work.answers, _ANSWER_TYPES, columns)


def _rewrite_month(store: ClickHouse, scope: Scope, work: WorkTables, month: int) -> None:
    rows, parameters = _select_rows(scope)
    for name in ("note_days", "note_sessions", "rewrite"):
        statement = (
            _fill_in(f"reclassify.{name}", rows)
            .replace("%ANSWERS%", f"{store.database}.{work.answers}")
            .replace("%DAYS%", work.days)
            .replace("%SESSIONS%", work.sessions)
        )
        store.command(statement, parameters | {"month": month}, mutations_sync=0)
    _wait_for_rewrite(store, work)


def _wait_for_rewrite(store: ClickHouse, work: WorkTables) -> None:
    """Wait until the mutation is done: it may take longer than a connection may stay silent."""
    failures = 0
    while running := store.query(read_statement("reclassify.mutations"), {"answers": work.answers}):
        failures += any(reason for _, reason in running)
        if failures > _FAILURES_MAX:
            _stop_left_behind(store, work)
            raise StoreUnavailableError(f"the rewrite failed: {running[0][1]}")
        time.sleep(_POLL_S)


def _stop_left_behind(store: ClickHouse, work: WorkTables) -> None:
    if store.query(read_statement("reclassify.mutations"), {"answers": work.answers}):
        store.command(read_statement("reclassify.stop_mutations"), {"answers": work.answers})


def _name_month(month: int) -> str:
    return f"{month // 100}-{month % 100:02}"
