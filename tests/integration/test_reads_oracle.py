"""Every read against plain Python: made-up histories, the real handlers, both stores, equal answers."""

import itertools
import threading
import uuid
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from datetime import datetime
from typing import Any

import msgspec
import pytest
from hypothesis import HealthCheck, Phase, given, settings
from hypothesis import strategies as st

from integration.asking import Asker
from integration.oracle import answer_query, answer_sources
from integration.oracle_attribution import answer_attribution
from integration.oracle_calendar import to_us
from integration.oracle_events import ANCHORS, DAY, HOUR, MINUTE, NUMBERS, TEXTS, History, histories
from integration.oracle_filters import meets
from integration.oracle_questions import (
    COMPARED,
    GROUPS,
    PARTS,
    PROPERTY_VALUES,
    attributions,
    figure_questions,
    funnels,
    queries,
    retentions,
    sources_questions,
    stats_questions,
)
from integration.oracle_stats import Row, answer_stats
from integration.oracle_visitors import answer_funnel, answer_retention
from integration.stores import NOW, Engine, make_row
from millimetric_server.api.messages import (
    AttributionRequest,
    Filter,
    FilterOp,
    FilterTree,
    FunnelRequest,
    FunnelStep,
    Instant,
    Interval,
    Message,
    QueryRequest,
    RetentionRequest,
    SourcesRequest,
    StatsRequest,
    StatsRow,
)
from millimetric_server.enrich.event_row import EventRow
from support.rpcs import RPCS

_ASKED = {rpc.request for rpc in RPCS}
_CERTAIN = Filter("session_id", FilterOp.NE, ["no visit"])  # all rows meet it, and no roll-up knows it


@dataclass(frozen=True)
class Scenario:
    """A history, and questions about it: the project's digit with the request."""

    history: History
    questions: tuple[tuple[str, Message], ...]


@st.composite
def _scenarios(draw: st.DrawFn) -> Scenario:
    history = draw(histories())
    kinds: tuple[tuple[type[Message], Any], ...] = (
        (QueryRequest, queries),
        (StatsRequest, stats_questions),
        (StatsRequest, figure_questions),
        (StatsRequest, figure_questions),
        (SourcesRequest, sources_questions),
        (AttributionRequest, attributions),
        (FunnelRequest, funnels),
        (RetentionRequest, retentions),
    )
    one = st.one_of(*(make(history) for request, make in kinds if request in _ASKED))
    questions = st.lists(st.tuples(st.sampled_from("001"), one), min_size=15, max_size=25)
    return Scenario(history, tuple(draw(questions)))


@settings(
    max_examples=25,
    deadline=None,
    phases=(Phase.explicit, Phase.reuse, Phase.generate, Phase.shrink),
    suppress_health_check=list(HealthCheck),
)
@given(scenario=_scenarios())
def _compare(engine: Engine, scenario: Scenario) -> None:
    history = scenario.history
    names = {digit: f"prj_{digit}_{uuid.uuid4().hex}" for digit in "01"}
    for block in history.blocks:
        if block:
            sent = [msgspec.structs.replace(row, project_id=names[row.project_id]) for row in block]
            engine.append(
                *sent, content=b"sent"
            )  # without content, an id is one of the server's own and never repeated
    asker = Asker(engine, history.anchor_us + 2 * DAY)
    for digit, request in scenario.questions:
        _check(asker, names[digit], request, [row for row in history.rows if row.project_id == digit])
    engine.store.command("OPTIMIZE TABLE sessions FINAL")  # Sources reads days in one part in another way
    for digit, request in scenario.questions:
        if isinstance(request, SourcesRequest):
            _check(asker, names[digit], request, [row for row in history.rows if row.project_id == digit])


def _check(asker: Asker, project_id: str, request: Message, rows: list[EventRow]) -> None:
    wanted: Any
    got: Any
    match request:
        case QueryRequest():
            wanted, got = answer_query(rows, request), _ask_query(asker, project_id, request)
        case StatsRequest():
            wanted, got = answer_stats(rows, request, asker.now_us), _ask_stats(asker, project_id, request)
            again = msgspec.structs.replace(request, filter=[*request.filter, _CERTAIN])
            _assert_equal("of the events", _ask_stats(asker, project_id, again), wanted, request, rows)
        case SourcesRequest():
            wanted, got = answer_sources(rows, request, asker.now_us), _ask_sources(asker, project_id, request)
        case AttributionRequest():
            _check_attribution(asker, project_id, request, rows)
            return
        case FunnelRequest():
            wanted, got = answer_funnel(rows, request, asker.now_us), _ask_funnel(asker, project_id, request)
        case RetentionRequest():
            wanted, got = answer_retention(rows, request, asker.now_us), _ask_retention(asker, project_id, request)
        case _:
            raise AssertionError(request)
    _assert_equal("", got, wanted, request, rows)


def _check_attribution(asker: Asker, project_id: str, request: AttributionRequest, rows: list[EventRow]) -> None:
    """Parts of conversions and values are compared to six digits; the parts of each model add up exactly."""
    answer = asker.ask(project_id, request)
    wanted, count, amount = answer_attribution(rows, request, asker.now_us)
    got = {
        (
            row.model,
            tuple(key for key in (row.source, row.medium, row.campaign, row.landing_path) if key is not msgspec.UNSET),
        ): row
        for row in answer.rows
    }
    figures = {key: (row.conversions, row.value, row.share, row.touches) for key, row in got.items()}
    told = {
        (model, key): tuple(pytest.approx(figure, rel=1e-6, abs=1e-6) for figure in others)
        for model, key, *others in wanted
    }
    _assert_equal("", figures, told, request, rows)
    assert (answer.conversions, answer.value) == (count, pytest.approx(amount, rel=1e-9))
    for model in {row.model for row in answer.rows}:
        assert sum(row.conversions for row in answer.rows if row.model is model) == count


def _assert_equal(what: str, got: Any, wanted: Any, request: Message, rows: list[EventRow]) -> None:
    if got != wanted:
        told = "\n".join(f"  {_tell(row)}" for row in sorted(rows, key=lambda row: (row.timestamp, row.event_id)))
        pytest.fail(f"{_tell(request)} {what}\ngot:    {got}\nwanted: {wanted}\nrows:\n{told}", pytrace=False)


def _tell(value: msgspec.Struct) -> str:
    """A message or row without its empty fields."""
    fields = {name: getattr(value, name) for name in value.__struct_fields__}
    shown = ", ".join(f"{name}={one!r}" for name, one in fields.items() if one not in ("", None, [], False))
    return f"{type(value).__name__}({shown})"


def _ask_query(asker: Asker, project_id: str, request: QueryRequest) -> list[tuple[Any, ...]]:
    """All pages, one after the other."""
    rows: list[tuple[Any, ...]] = []
    page = request
    while True:
        answer = asker.ask(project_id, page)
        assert len(answer.rows) <= (request.limit or 100)
        rows += [msgspec.structs.astuple(row) for row in answer.rows]
        if not answer.next_page_token:
            return rows
        assert len(answer.rows) == (request.limit or 100)
        page = msgspec.structs.replace(request, page_token=answer.next_page_token)


def _ask_stats(asker: Asker, project_id: str, request: StatsRequest) -> tuple[list[Row], bool]:
    answer = asker.ask(project_id, request)
    unasked = [name for name in GROUPS if name not in request.group_by]
    assert all(getattr(row, name) is msgspec.UNSET for row in answer.rows for name in unasked)
    return [_read_stats_row(row, request) for row in answer.rows], bool(answer.truncated)


def _read_stats_row(row: StatsRow, request: StatsRequest) -> Row:
    groups = tuple(
        row.properties[name] if name.startswith("properties.") else getattr(row, name) for name in request.group_by
    )
    name = request.metric.value or "count"
    figures = {name: float(row.value)} if row.measures is msgspec.UNSET else row.measures
    earlier = None if row.previous is msgspec.UNSET else _round(row.previous)
    return row.bucket or None, groups, _round(figures), earlier


def _round(figures: Mapping[str, float]) -> dict[str, float]:
    return {name: round(figure, 6) for name, figure in figures.items()}


def _ask_sources(asker: Asker, project_id: str, request: SourcesRequest) -> list[tuple[Any, ...]]:
    rows = asker.ask(project_id, request).rows
    return [(row.source, _or_none(row.medium), row.events, row.uniques, row.paid_share) for row in rows]


def _ask_funnel(asker: Asker, project_id: str, request: FunnelRequest) -> list[tuple[Any, ...]]:
    rows = [msgspec.structs.astuple(row) for row in asker.ask(project_id, request).rows]
    return [(_or_none(group), *figures, round(seconds, 6)) for group, *figures, seconds in rows]


def _ask_retention(asker: Asker, project_id: str, request: RetentionRequest) -> list[tuple[Any, ...]]:
    return [(row.cohort, row.visitors, list(row.returned)) for row in asker.ask(project_id, request).rows]


def _or_none(value: Any) -> Any:
    return None if value is msgspec.UNSET else value


@pytest.mark.timeout(900)  # finding the smallest failing history takes minutes; it is quick when nothing fails
def test_every_read_answers_as_plain_python_does(engine: Engine) -> None:
    _compare(engine)


def test_every_bucket_of_the_odd_days_begins_when_it_should(engine: Engine) -> None:
    """All hours, days, weeks and months around the anchors, by roll-up and by events: nothing left to chance."""
    wrong = []
    for number, (anchor, timezone) in enumerate(ANCHORS.items()):
        project_id, anchor_us = f"prj_{number}", to_us(datetime.fromisoformat(anchor))
        rows = [
            make_row(project_id=project_id, event_id=f"{offset}", timestamp=anchor_us + offset, retention_days=25_000)
            for offset in {*range(-5 * HOUR, 5 * HOUR, 10 * MINUTE), *range(-9 * DAY, 10 * DAY, 7 * HOUR)}
        ]
        engine.append(*rows)
        asker = Asker(engine, anchor_us + 2 * DAY)
        for interval, certain in itertools.product(Interval, ([], [_CERTAIN])):
            start, end = (Instant((anchor_us + days * DAY) // DAY * DAY) for days in (-10, 12))
            request = StatsRequest(
                from_=start, to=end, interval=interval, timezone=timezone, filter=certain, limit=1000
            )
            got, wanted = _ask_stats(asker, project_id, request)[0], answer_stats(rows, request, asker.now_us)[0]
            if got != wanted:
                differing = sorted(set(got) ^ set(wanted), key=str)
                wrong.append(f"{timezone} by {interval.name}{' of the events' if certain else ''}: {differing}")
    if wrong:
        pytest.fail("\n".join(wrong), pytrace=False)


def test_every_filter_of_properties_compares_every_kind_of_value(engine: Engine) -> None:
    """All operators with all values against one row of each kind, and one row without."""
    kinds: tuple[Any, ...] = (
        *TEXTS,
        *NUMBERS,
        None,
        True,
        False,
        {},
        [],
        [1],
        [None],
        {"n": 1},
        {"n": {"n": None}},
        "1e-7",
        "[]",
        "[1]",
        [1.0],
        {"n": 1e20},
        ["ß", '"'],
        ["/", "\u2028", "\x7f", "\x01"],
    )
    objects: tuple[Any, ...] = ({}, {"other": "10"}, *({"n": kind} for kind in kinds))
    rows = [
        make_row(event_id=str(number), properties=msgspec.json.encode(one).decode(), retention_days=25_000)
        for number, one in enumerate(objects)
    ]
    engine.append(*rows)
    asker = Asker(engine, NOW)
    filters = [Filter("properties.n", op, [value]) for op in COMPARED for value in PROPERTY_VALUES]
    filters += [Filter("properties.n", FilterOp.CONTAINS, [value]) for value in (*PARTS, *PROPERTY_VALUES)]
    filters += [Filter("properties.n", FilterOp.IN, list(pair)) for pair in itertools.pairwise(PROPERTY_VALUES)]
    filters.append(Filter("properties.n", FilterOp.EXISTS))
    wrong = []
    for one in filters:
        found = {row[1] for row in _ask_query(asker, "prj_a", QueryRequest(filter=[one], limit=1000))}
        differing = found ^ {row.event_id for row in rows if meets(row, one)}
        if differing:
            wrong.append(f"{_tell(one)}: {[row.properties for row in rows if row.event_id in differing]}")
    if wrong:
        pytest.fail("\n".join(wrong), pytrace=False)


def test_the_largest_funnel_fits_into_a_statement(engine: Engine) -> None:
    """Ten steps, each with all the filters that it may have, and as many names and values as all may have."""
    steps = []
    for step in range(10):
        ones = [
            Filter(
                f"properties.{'.'.join(f'n{(step * 69 + number + part) % 440}' for part in range(10))}",
                FilterOp.EQ,
                ["1"],
            )
            for number in range(69)
        ]
        tree = FilterTree(or_=[FilterTree(filter=one) for one in ones[:49]])
        steps.append(FunnelStep("signup", ones[49:], tree))
    engine.append(make_row(event="signup"))
    _check(Asker(engine, NOW), "prj_a", FunnelRequest(steps=steps), [make_row(event="signup")])


def test_the_id_decides_which_of_two_events_at_once_was_first(engine: Engine) -> None:
    """By its bytes, whichever of them came first, and in one block or in two."""
    pairs = list(itertools.permutations(("10", "9", "Z", "a", "ab", "é", "~", "中"), 2))
    ones, others = (
        [
            make_row(event_id=f"{pair[place]}{number}", session_id=f"visit {number}", source=f"{number} {pair[place]}")
            for number, pair in enumerate(pairs)
        ]
        for place in (0, 1)
    )
    engine.append(*ones, *others[::2])
    engine.append(*others[1::2])
    request = SourcesRequest(from_=Instant(NOW), limit=200)
    _check(Asker(engine, NOW), "prj_a", request, [*ones, *others])


def test_sources_of_a_person_and_a_bot_that_share_an_id(engine: Engine) -> None:
    """In one part: the person's visit is of the day that the id tells, the bot's of the day before."""
    day = NOW // DAY * DAY
    session_id = f"x-{day // (HOUR // 2) + 1}"
    rows = [
        make_row(event_id="1", timestamp=day, session_id=session_id, source="google"),
        make_row(event_id="2", timestamp=day - DAY, session_id=session_id, source="bing", is_bot=True),
    ]
    engine.append(*rows)
    engine.store.command("OPTIMIZE TABLE sessions FINAL")
    asker = Asker(engine, NOW)
    for begin, include_bots in itertools.product((day - DAY, day), (False, True)):
        request = SourcesRequest(from_=Instant(begin), to=Instant(day + DAY), include_bots=include_bots)
        _check(asker, "prj_a", request, rows)


def test_sources_are_read_from_the_projection_where_days_lie_in_one_part(
    engine: Engine, monkeypatch: pytest.MonkeyPatch
) -> None:
    engine.append(*(make_row(event_id=f"{n}", session_id=f"{n}-{NOW // (HOUR // 2) + 1}") for n in range(20)))
    request = SourcesRequest(from_=Instant(NOW // DAY * DAY), to=Instant(NOW // DAY * DAY + DAY))
    statements: list[tuple[str, Any]] = []
    run = engine.store.reads.run

    def note(statement: str, parameters: Any, cancellation: Any) -> Any:
        statements.append((statement, parameters))
        return run(statement, parameters, cancellation)

    monkeypatch.setattr(engine.store.reads, "run", note)
    assert [row[2] for row in _ask_sources(Asker(engine, NOW), "prj_a", request)] == [20]
    ((statement, parameters),) = statements
    plan = engine.store.query(f"EXPLAIN {statement}", parameters)
    assert any("ReadFromMergeTree (channels)" in line for (line,) in plan)


def test_pages_while_a_writer_adds(engine: Engine) -> None:
    first = [make_row(event_id=f"first-{number}", timestamp=NOW + number // 3) for number in range(120)]
    engine.append(*first)
    asker, stop = Asker(engine, NOW), threading.Event()
    writer = threading.Thread(target=_keep_writing, args=(engine, stop.is_set))
    writer.start()
    try:
        seen = [row[1] for row in _ask_query(asker, "prj_a", QueryRequest(limit=7))]
    finally:
        stop.set()
        writer.join(60)
    assert len(seen) == len(set(seen))
    assert {row.event_id for row in first} <= set(seen)
    assert engine.count("events") > len(first)


def _keep_writing(engine: Engine, is_over: Callable[[], bool]) -> None:
    number = 0
    while not is_over():
        number += 1
        offsets = {"newer": DAY + number, "older": -number, "between": number % 40}
        engine.append(*(make_row(event_id=f"{name}-{number}", timestamp=NOW + us) for name, us in offsets.items()))
