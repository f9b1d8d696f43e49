"""Both stores understand every statement that a read can build: all filters, groups, intervals and tables."""

import itertools
from collections.abc import Iterator, Mapping
from concurrent.futures import Future
from typing import Any

import msgspec
import pytest

from integration.asking import Asker
from integration.stores import DAY, NOW, Engine, make_row
from millimetric_server.api.messages import (
    Breakdown,
    ExportFormat,
    Filter,
    FilterOp,
    FunnelRequest,
    FunnelStep,
    Instant,
    Interval,
    Message,
    Metric,
    Period,
    QueryRequest,
    RetentionRequest,
    SourcesRequest,
    StatsRequest,
    StoredEvent,
)
from millimetric_server.reads.columns import COLUMNS, GROUP_COLUMNS
from millimetric_server.reads.conditions import Conditions
from millimetric_server.reads.exports import ExportReader, Selection
from millimetric_server.reads.filters import add_filters
from millimetric_server.store.cancellation import Cancellation
from millimetric_server.store.rollups import ROLLUPS

_PROJECT = "prj_a"
_GROUPS = tuple(GROUP_COLUMNS)
_WITHOUT_VALUE, _OF_TEXT = (FilterOp.EXISTS,), (FilterOp.IN, FilterOp.CONTAINS)
_COMPARING = tuple(op for op in FilterOp if op not in _WITHOUT_VALUE + _OF_TEXT)
_VALUES = {"String": ("it's",), "DateTime": ("2026-09-21T10:00:00Z",), "Bool": ("true",)}
_PATHS = ("properties.plan", "properties.cart.total", "properties.it's")
_PROPERTY_VALUES = ("pro", "10", '{"a":1.0}')
_A_FILTER = [Filter("path", FilterOp.NE, ["/"])]
_MIDNIGHT = NOW // DAY * DAY
_HOUR = DAY // 24
# From, to and time zone: one for each table that may answer.
_RANGES = (
    (_MIDNIGHT - DAY, _MIDNIGHT, "UTC"),
    (_MIDNIGHT - DAY, None, "UTC"),
    (_MIDNIGHT - _HOUR, _MIDNIGHT, "Europe/Berlin"),
    (_MIDNIGHT - 1, _MIDNIGHT, "Asia/Kolkata"),
)


class _Recorder:
    """Stands where callers' queries are run: explains each statement, and answers with these rows."""

    def __init__(self, engine: Engine) -> None:
        self._engine = engine
        self.rows: list[Any] = []
        self.statements: list[str] = []

    def run(self, statement: str, parameters: Mapping[str, Any], _cancellation: Cancellation) -> "Future[Any]":
        assert self._engine.store.query(f"EXPLAIN {statement}", parameters), statement
        self.statements.append(statement)
        answer: Future[Any] = Future()
        answer.set_result(self.rows)
        return answer


@pytest.fixture
def recorder(engine: Engine, monkeypatch: pytest.MonkeyPatch) -> _Recorder:
    recorder = _Recorder(engine)
    monkeypatch.setattr(engine.store.reads, "run", recorder.run)
    return recorder


def _list_filters() -> Iterator[Filter]:
    """Every column and three kinds of properties, with every operator that they take."""
    for column, kind in COLUMNS.items():
        ops = tuple(FilterOp) if kind == "String" else _COMPARING
        yield from (_make_filter(column, op, _VALUES[kind]) for op in ops)
    for path, op, value in itertools.product(_PATHS, FilterOp, _PROPERTY_VALUES):
        yield _make_filter(path, op, (value,))


def _make_filter(column: str, op: FilterOp, values: tuple[str, ...]) -> Filter:
    if op is FilterOp.EXISTS:
        return Filter(column, op)
    return Filter(column, op, [*values, "other", "2"] if op is FilterOp.IN else list(values))


def _list_calls() -> Iterator[list[Filter]]:
    """As many filters at a time as a call takes."""
    filters = list(_list_filters())
    for start in range(0, len(filters), 20):
        yield filters[start : start + 20]


def test_statements_with_every_filter(engine: Engine, recorder: _Recorder) -> None:
    asker = Asker(engine, NOW)
    row = [NOW if kind is Instant else "" for kind in StoredEvent.__annotations__.values()]
    for filters in _list_calls():
        recorder.rows = [row, row]
        page = QueryRequest(limit=1, filter=filters)
        token = asker.ask(_PROJECT, page).next_page_token
        asker.ask(_PROJECT, msgspec.structs.replace(page, page_token=token))
        recorder.rows = []
        asker.ask(_PROJECT, StatsRequest(filter=filters))
        steps = [FunnelStep("a", filter=filters), FunnelStep("b", filter=filters)]
        asker.ask(_PROJECT, FunnelRequest(steps=steps))
    everything = QueryRequest(
        from_=Instant(0), to=Instant(NOW), event="a", source="b", medium="c", user_id="d", anonymous_id="e"
    )
    asker.ask(_PROJECT, everything)


def test_statements_of_stats(engine: Engine, recorder: _Recorder) -> None:
    asker = Asker(engine, NOW)
    groups = ((), ("source", "medium"), tuple(name for name in _GROUPS if name != "path"), _GROUPS)
    every = itertools.product(_RANGES, groups, Interval, (Metric.COUNT, Metric.UNIQUES))
    for (start, end, timezone), group_by, interval, metric in every:
        to = None if end is None else Instant(end)
        request = StatsRequest(
            from_=Instant(start), to=to, timezone=timezone, metric=metric, interval=interval, group_by=list(group_by)
        )
        asker.ask(_PROJECT, request)
    for name in _GROUPS:
        asker.ask(_PROJECT, StatsRequest(event="a", group_by=[name], include_bots=True, filter=_A_FILTER))
    tables = {table for statement in recorder.statements for table in _list_tables() if f"FROM {table}\n" in statement}
    assert tables == set(_list_tables())


def _list_tables() -> list[str]:
    return ["events", *(rollup.table for rollup in ROLLUPS if rollup.part == "days")]


def test_statements_of_sources_funnel_and_retention(engine: Engine, recorder: _Recorder) -> None:
    asker = Asker(engine, NOW)
    requests: list[Message] = [
        SourcesRequest(from_=Instant(_MIDNIGHT - DAY), breakdown=breakdown, include_bots=include_bots)
        for breakdown in Breakdown
        for include_bots in (False, True)
    ]
    requests += [
        FunnelRequest(steps=[FunnelStep("a", filter=_A_FILTER)] * count, group_by=group, include_bots=not group)
        for group, count in [*((name, 2) for name in _GROUPS), *(("", count) for count in range(2, 11))]
    ]
    requests += [
        RetentionRequest(period=period, first_event=first, return_event=again, include_bots=not first)
        for period in Period
        for first in ("", "a")
        for again in ("", "b")
    ]
    for request in requests:
        asker.ask(_PROJECT, request)
    assert len(recorder.statements) == len(requests)


def test_exports_with_every_filter(engine: Engine) -> None:
    """They read more than once, so they are carried out: over one row, of whose columns each format writes all."""
    engine.append(make_row(project_id=_PROJECT))
    for filters in [[], *_list_calls()]:
        conditions = Conditions()
        add_filters(conditions, filters)
        for written in (ExportFormat.NDJSON, ExportFormat.CSV, ExportFormat.PARQUET)[: 3 if not filters else 2]:
            reader = ExportReader.open(
                engine.store, Selection(_PROJECT, conditions, written, "an-export", Cancellation())
            )
            assert reader is not None
            first = reader.read_on()
            assert first is not None
            first.result(30)
            data = reader.take()
            reader.close()
            assert bool(data) == (not filters or written is ExportFormat.CSV)
