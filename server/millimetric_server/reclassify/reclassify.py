"""Runs a project's history through another rule set: events, roll-up and sessions, month by month.

Rows that already carry the rule set are done, so a run can be repeated, and one that was cut short goes on.
"""

import math
import time
from collections import Counter
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field

import msgspec

from millimetric_server.enrich.attribution import RULE_SETS, Attribution, classify
from millimetric_server.reads.conditions import Conditions
from millimetric_server.store.clickhouse import ClickHouse, Rows
from millimetric_server.store.faults import StoreUnavailableError
from millimetric_server.store.rollup_repair import WorkTables, repair_rollups
from millimetric_server.store.statements import read_statement

# Every column that says what a visit is and how it is attributed: rows alike in these get the same answer.
_KEY = (
    "hex(sipHash128(url, referrer, toString(rule_set), toString(source), toString(medium), campaign, "
    "toString(source_confidence), toString(source_rule_id)))"
)
_ANSWER_TYPES = {
    "key": "String",
    "source": "String",
    "medium": "String",
    "campaign": "String",
    "source_confidence": "String",
    "source_rule_id": "String",
    "is_rolled_up": "UInt8",
}
_VISITS_A_SLICE = 100_000
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
    received_before: int
    from_us: int | None = None
    to_us: int | None = None


class Visit(msgspec.Struct, frozen=True):
    """Events that are alike in all that counts; the fields are the columns of reclassify.visits.sql."""

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

    def add(self, visit: Visit, answer: Attribution | None) -> None:
        """Count a visit's events."""
        if answer is None:
            self.left += visit.events
        else:
            self.moves[visit.source, visit.medium, answer.source, answer.medium] += visit.events


Progress = Callable[[str, int], None]  # what is done, and how many events it was done for


def count_events(store: ClickHouse, scope: Scope) -> int:
    """Count the events that are not of the rule set yet. Raises StoreUnavailableError."""
    return sum(events for _, events, _ in _read_months(store, scope))


def survey(store: ClickHouse, scope: Scope, tell: Progress) -> Tally:
    """Tell what a run would change, and change nothing. Raises StoreUnavailableError."""
    tally = Tally()
    for month, _, visits in _read_months(store, scope):
        for _ in _classify_month(store, scope, month, visits, tally, tell):
            pass
    return tally


def reclassify(store: ClickHouse, scope: Scope, tell: Progress) -> Tally:
    """Rewrite events, roll-up and sessions; returns what changed. Raises StoreUnavailableError.

    One run a project at a time. Cut short at any point, the next run with any rule set repairs the roll-ups.
    """
    tally = Tally()
    work = WorkTables(scope.project_id)
    _stop_left_behind(store, work)
    work.create(store)
    repair_rollups(store, work)
    for month, events, visits in _read_months(store, scope):
        _create_answers(store, work)
        answered = 0
        for answers in _classify_month(store, scope, month, visits, tally, tell):
            answered += len(answers)
            _insert_answers(store, work, answers)
        if answered:
            store.sync()  # the answers: their table has no setting for it
            _rewrite_month(store, scope, work, month)
            repair_rollups(store, work)
        tell(f"{_name_month(month)}: rewritten", events)
    store.sync()
    store.command(f"DROP TABLE IF EXISTS {work.answers} SYNC")
    work.drop(store)
    return tally


def decide(visit: Visit, scope: Scope) -> Attribution | None:
    """The visit's attribution by the new rule set, or None if what decided it is no longer known.

    Parameters behind a # are read at ingestion and not stored. They had a say where the old rule set, run over
    what is stored, does not find the parameters that it found then: such a visit keeps its attribution.
    """
    if (rules := RULE_SETS.get(visit.rule_set)) is not None:
        again = classify(visit.url, visit.referrer, visit.rule_set, scope.own_hosts)
        if again.campaign != visit.campaign:
            return None
        needs_parameters = all(rule.rule_id != visit.source_rule_id for rule in rules.untagged_rules)
        if needs_parameters and (again.source, again.medium, again.rule_id) != (
            visit.source,
            visit.medium,
            visit.source_rule_id,
        ):
            return None
    return classify(visit.url, visit.referrer, scope.rule_set, scope.own_hosts)


def _classify_month(
    store: ClickHouse, scope: Scope, month: int, visits: int, tally: Tally, tell: Progress
) -> Iterator[list[tuple[Visit, Attribution]]]:
    """Classify a month's visits in slices that fit into memory; yields those that get an answer."""
    slices = max(1, math.ceil(visits / _VISITS_A_SLICE))
    rows, parameters = _select_rows(scope)
    statement = read_statement("reclassify.visits").replace("%ROWS%", rows).replace("%KEY%", _KEY)
    for index in range(slices):
        bounds = {"month": month, "slices": slices, "slice": index}
        found = [Visit(*row) for row in store.query(statement, parameters | bounds)]
        decided = [(visit, decide(visit, scope)) for visit in found]
        for visit, answer in decided:
            tally.add(visit, answer)
        yield [(visit, answer) for visit, answer in decided if answer is not None]
        tell(f"{_name_month(month)}: classified", sum(visit.events for visit in found))


def _read_months(store: ClickHouse, scope: Scope) -> Rows:
    rows, parameters = _select_rows(scope)
    return store.query(read_statement("reclassify.months").replace("%ROWS%", rows), parameters)


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
    """Make the table of answers, empty. It is on disk, so a rewrite that a crash cut short can go on by itself."""
    columns = ", ".join(f"{name} {kind}" for name, kind in _ANSWER_TYPES.items())
    store.command(f"DROP TABLE IF EXISTS {work.answers} SYNC")
    store.command(f"CREATE TABLE {work.answers} ({columns}) ENGINE = Join(ANY, LEFT, key)")


def _insert_answers(store: ClickHouse, work: WorkTables, answers: list[tuple[Visit, Attribution]]) -> None:
    if not answers:
        return
    rows = [
        (
            visit.key,
            answer.source,
            answer.medium,
            answer.campaign,
            answer.confidence,
            answer.rule_id,
            int((answer.source, answer.medium, answer.campaign) != (visit.source, visit.medium, visit.campaign)),
        )
        for visit, answer in answers
    ]
    columns = [list(column) for column in zip(*rows, strict=True)]
    store.insert(work.answers, _ANSWER_TYPES, columns)


def _rewrite_month(store: ClickHouse, scope: Scope, work: WorkTables, month: int) -> None:
    rows, parameters = _select_rows(scope)
    for name in ("note_days", "note_sessions", "rewrite"):
        statement = read_statement(f"reclassify.{name}").replace("%ROWS%", rows).replace("%KEY%", _KEY)
        statement = (
            statement.replace("%ANSWERS%", f"{store.database}.{work.answers}")
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
