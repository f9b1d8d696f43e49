"""Filters over a row of a live event mean what they mean over the table: both are held to one specification.

test_reads_oracle.py holds the SQL to it.
"""

import itertools
from collections.abc import Sequence
from typing import Any

import msgspec
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from integration.oracle_events import NUMBERS, TEXTS, histories
from integration.oracle_filters import meets, meets_all
from integration.oracle_questions import COMPARED, PARTS, PROPERTY_VALUES, queries
from integration.stores import make_row
from millimetric_server.api.messages import Filter, FilterOp, FilterTree, QueryRequest, TailRequest
from millimetric_server.enrich.event_row import EventRow
from millimetric_server.following.followed_row import FollowedRow
from millimetric_server.reads.query import NAMED_COLUMNS
from millimetric_server.reads.row_filters import compile_filters
from millimetric_server.reads.tail import validate_tail

_KINDS: tuple[Any, ...] = (
    *(*TEXTS, *NUMBERS, None, True, False, {}, [], [1], [None], [1.0], {"n": 1}, {"n": {"n": None}}, {"n": 1e20}),
    *("1e-7", "[]", "[1]", ["ß", '"'], ["/", "\u2028", "\x7f", "\x01"]),
)
_NO_CALL: Any = None


@st.composite
def _questions(draw: st.DrawFn) -> tuple[Sequence[EventRow], Sequence[QueryRequest]]:
    history = draw(histories())
    return history.rows, draw(st.lists(queries(history), min_size=5, max_size=15))


@settings(max_examples=20)
@given(asked=_questions())
def test_made_up_filters_let_the_rows_through_that_the_specification_does(
    asked: tuple[Sequence[EventRow], Sequence[QueryRequest]],
) -> None:
    rows, requests = asked
    followed = [FollowedRow(row) for row in rows]
    for request in requests:
        named = {name: getattr(request, name) for name in NAMED_COLUMNS}
        plan = validate_tail(TailRequest(**named, filter=request.filter, where=request.where), _NO_CALL)
        wanted = [Filter(name, FilterOp.EQ, [value]) for name, value in named.items() if value]
        assert [plan.meets(row) for row in followed] == [
            meets_all(row, [*wanted, *request.filter], request.where) for row in rows
        ], request


def test_every_operator_compares_every_kind_of_property() -> None:
    objects: tuple[Any, ...] = ({}, {"other": "10"}, *({"n": kind} for kind in _KINDS))
    rows = [make_row(properties=msgspec.json.encode(one).decode()) for one in objects]
    filters = [Filter("properties.n", op, [value]) for op in COMPARED for value in PROPERTY_VALUES]
    filters += [Filter("properties.n", FilterOp.CONTAINS, [value]) for value in (*PARTS, *PROPERTY_VALUES)]
    filters += [Filter("properties.n", FilterOp.IN, list(pair)) for pair in itertools.pairwise(PROPERTY_VALUES)]
    filters.append(Filter("properties.n", FilterOp.EXISTS))
    for one in filters:
        compiled = compile_filters([one])
        wrong = [row.properties for row in rows if compiled(FollowedRow(row)) is not meets(row, one)]
        assert not wrong, one


@pytest.mark.parametrize("op", COMPARED)
@pytest.mark.parametrize("text", ["true", "false", "TRUE", "1", "0"])
def test_flags_are_compared_in_all_their_spellings(op: FilterOp, text: str) -> None:
    plain = "true" if text.lower() in ("true", "1") else "false"
    for row in (make_row(is_bot=True), make_row(is_bot=False)):
        wanted = meets(row, Filter("is_bot", op, [plain]))
        assert compile_filters([Filter("is_bot", op, [text])])(FollowedRow(row)) is wanted


def test_a_time_before_all_time_is_before_every_event() -> None:
    row = FollowedRow(make_row())
    assert compile_filters([Filter("timestamp", FilterOp.GT, ["0001-01-01T00:00:00Z"])])(row)
    assert not compile_filters([Filter("timestamp", FilterOp.GT, ["9999-12-31T00:00:00Z"])])(row)


def test_numbers_beyond_all_floats_do_not_fail() -> None:
    row = FollowedRow(make_row(properties='{"n":1' + "0" * 400 + "}"))
    assert compile_filters([Filter("properties.n", FilterOp.GT, ["1e300"])])(row)
    assert not compile_filters([Filter("properties.n", FilterOp.LT, ["1e300"])])(row)


def test_no_filter_lets_every_row_through() -> None:
    assert compile_filters([])(FollowedRow(make_row())) is True
    assert compile_filters([], FilterTree(filter=Filter("user_id", FilterOp.EXISTS)))(FollowedRow(make_row())) is False
