"""Which value of a text is to blame, and how its place is written."""

import json
import time
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from millimetric_server.api.json_faults import FaultError, find_fault, find_in_properties


def place(fault: FaultError | None, field: str = "") -> str:
    assert fault is not None
    return fault.place_in(field).removeprefix(".")


@pytest.mark.parametrize(
    ("text", "wanted"),
    [
        ('{"event":"x","properties":{"v":NaN}}', "properties.v"),
        ('{"events":[{},{"properties":{"a":[1,[2,-Infinity]]}}]}', "events[1].properties.a[1][1]"),
        ('{"properties":{"a.b":{"c d":1e999}}}', 'properties."a.b"."c d"'),
        ('{"properties":{"é":"\\ud800"}}', "properties.é"),
        ('{"properties":{"pair":"\\ud83d\\ude00","n":9007199254740993}}', "properties.n"),
        ('{"traits":{"n":-9007199254740993}}', "traits.n"),
        ('{"properties":{"a":' + "[" * 33 + "]" * 33 + "}}", "properties.a"),
        ('{"foo":{"bar":NaN}}', "foo.bar"),
    ],
)
def test_the_first_value_that_cannot_be_kept_is_found(text: str, wanted: str) -> None:
    assert place(find_fault(text)) == wanted


@pytest.mark.parametrize(
    "text",
    [
        "",
        "}",
        "not json",
        '{"a":"NaN"}',
        '{"n":9007199254740993}',  # no property
        '{"properties":{"n":9007199254740992,"e":1.5e300,"deep":' + "[" * 31 + "]" * 31 + "}}",
        "[" * 100_000,
    ],
)
def test_nothing_is_blamed_without_reason(text: str) -> None:
    assert find_fault(text) is None


def test_a_long_path_and_a_long_name_are_cut() -> None:
    text = '{"k":' * 20 + "NaN" + "}" * 20
    assert place(find_in_properties(text), "properties") == "properties" + ".k" * 10 + "…"
    assert len(place(find_in_properties(json.dumps({"x" * 5000: float("nan")})))) == 64


@pytest.mark.parametrize("piece", ["1,", "[", '{"a":', '{"properties":', '"', "\\\\", " ", "9", '"\\\\'])
def test_a_large_text_is_given_up_soon(piece: str) -> None:
    """Each takes a second at most; with work for each open level, or a way back for each letter, it is minutes."""
    text = '{"events":[' + piece * (16 * 1024 * 1024 // len(piece))
    began = time.process_time()
    find_fault(text)
    assert time.process_time() - began < 10


_values: st.SearchStrategy[Any] = st.recursive(
    st.none()
    | st.booleans()
    | st.integers(-(2**53), 2**53)
    | st.floats(allow_nan=False, allow_infinity=False)
    | st.text(),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(), inner, max_size=3),
    max_leaves=12,
)


@given(st.dictionaries(st.text(), _values, max_size=4))
def test_json_that_can_be_kept_has_no_fault(value: dict[str, Any]) -> None:
    for text in (json.dumps(value), json.dumps(value, ensure_ascii=False, indent=1)):
        assert find_in_properties(text) is None
        assert find_fault(f'{{"event":"x","properties":{text}}}') is None
