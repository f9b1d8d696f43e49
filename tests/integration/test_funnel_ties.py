"""Funnels of events at one time: every way through is tried in plain Python, whichever event comes first."""

import uuid
from collections.abc import Sequence
from itertools import pairwise

import msgspec
import pytest
from hypothesis import HealthCheck, Phase, given, settings
from hypothesis import strategies as st

from integration.asking import Asker
from integration.oracle_visitors import answer_funnel
from integration.stores import NOW, Engine, make_row
from millimetric_server.api.messages import Filter, FilterOp, FunnelRequest, FunnelRow, FunnelStep, Instant
from millimetric_server.enrich.event_row import EventRow

_SECOND = 1_000_000
_EVENTS = ("a", "a", "b", "c")
_STEPS_MAX = 10


def _ask(engine: Engine, project_id: str, steps: Sequence[FunnelStep], window_seconds: int) -> list[FunnelRow]:
    request = FunnelRequest(from_=Instant(0), window_seconds=window_seconds, steps=list(steps))
    rows: list[FunnelRow] = Asker(engine, NOW).ask(project_id, request).rows
    return rows


def _append(engine: Engine, *visits: tuple[str, float]) -> str:
    """One visitor's events and their seconds, in a project of their own; returns its id."""
    project_id = f"prj_{uuid.uuid4().hex}"
    engine.append(
        *(
            make_row(
                project_id=project_id,
                event_id=str(number),
                event=event,
                timestamp=NOW + int(seconds * _SECOND),
                retention_days=25_000,
            )
            for number, (event, seconds) in enumerate(visits)
        )
    )
    return project_id


def _name(letters: str) -> list[FunnelStep]:
    return [FunnelStep(letter) for letter in letters]


@pytest.mark.parametrize(
    ("steps", "visitors"),
    [
        ("aba", [1, 1, 1]),
        ("ab", [1, 1]),
        ("ba", [1, 1]),
        ("baa", [1, 1, 1]),
        ("abab", [1, 1, 1, 0]),
        ("aaab", [1, 1, 0, 0]),
    ],
)
def test_events_of_one_time_are_taken_in_any_order_and_each_once(
    engine: Engine, steps: str, visitors: list[int]
) -> None:
    project_id = _append(engine, ("a", 0), ("b", 0), ("a", 0))
    assert [row.visitors for row in _ask(engine, project_id, _name(steps), 60)] == visitors


def test_the_times_of_a_visitor_are_those_of_one_way_within_the_window(engine: Engine) -> None:
    project_id = _append(engine, ("a", 0), ("b", 10), ("a", 11), ("b", 12), ("c", 70.5))
    assert [row.median_seconds for row in _ask(engine, project_id, _name("abc"), 60)] == [0.0, 1.0, 58.5]
    assert [row.median_seconds for row in _ask(engine, project_id, _name("ab"), 60)] == [0.0, 10.0]


def test_a_thousand_events_of_one_time_are_counted(engine: Engine) -> None:
    """As after an import whose times are days."""
    project_id = _append(engine, *((letter, 0.0) for letter in "abc" * 300), ("d", 0))
    assert [row.visitors for row in _ask(engine, project_id, _name("dcbabcabca"), 60)] == [1] * 10
    assert [row.visitors for row in _ask(engine, project_id, _name("add"), 60)] == [1, 1, 0]


@st.composite
def _histories(draw: st.DrawFn) -> list[EventRow]:
    """Visitors with a few events each, most of them at the same few moments."""
    times = st.sampled_from((0, 0, 0, 1, 1, 2, 5))
    visit = st.tuples(st.sampled_from(_EVENTS), times, st.integers(0, 3))
    visitors = draw(st.lists(st.lists(visit, min_size=1, max_size=7), min_size=5, max_size=25))
    return [
        make_row(
            event_id=f"{visitor}-{number}",
            anonymous_id=str(visitor),
            event=event,
            timestamp=NOW + second * _SECOND,
            properties=msgspec.json.encode({"n": n}).decode(),
            retention_days=25_000,
        )
        for visitor, visits in enumerate(visitors)
        for number, (event, second, n) in enumerate(visits)
    ]


_FILTERS: tuple[list[Filter], ...] = (
    [],
    [],
    [Filter("properties.n", FilterOp.GE, ["1"])],
    [Filter("properties.n", FilterOp.LE, ["2"])],
    [Filter("properties.n", FilterOp.IN, ["0", "3"])],
)
_steps = st.lists(
    st.builds(FunnelStep, st.sampled_from(_EVENTS), st.sampled_from(_FILTERS)), min_size=2, max_size=_STEPS_MAX
)


@settings(
    max_examples=30,
    deadline=None,
    phases=(Phase.explicit, Phase.reuse, Phase.generate, Phase.shrink),
    suppress_health_check=list(HealthCheck),
)
@given(rows=_histories(), funnels=st.lists(st.tuples(_steps, st.sampled_from((1, 2, 60))), min_size=4, max_size=8))
def _compare(engine: Engine, rows: list[EventRow], funnels: list[tuple[list[FunnelStep], int]]) -> None:
    project_id = f"prj_{uuid.uuid4().hex}"
    engine.append(*(msgspec.structs.replace(row, project_id=project_id) for row in rows))
    for steps, window_seconds in funnels:
        request = FunnelRequest(from_=Instant(0), window_seconds=window_seconds, steps=steps)
        got = _ask(engine, project_id, steps, window_seconds)
        wanted = [(visitors, seconds) for _, _, _, visitors, _, _, seconds in answer_funnel(rows, request, NOW)]
        assert [(row.visitors, row.median_seconds) for row in got] == wanted, (steps, window_seconds)
        shorter = _ask(engine, project_id, steps[:-1], window_seconds) if len(steps) > 2 else got[:1]
        assert [row.visitors for row in shorter] == [row.visitors for row in got][: len(shorter)]
        assert all(one.visitors >= other.visitors for one, other in pairwise(got))


@pytest.mark.timeout(900)  # finding the smallest failing history takes minutes; it is quick when nothing fails
def test_funnels_of_many_ties_are_those_of_plain_python(engine: Engine) -> None:
    _compare(engine)
