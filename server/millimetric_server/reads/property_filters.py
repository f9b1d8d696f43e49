"""Compares a value within the properties by its type: numbers as numbers, all else as text, as ClickHouse writes it."""

import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import msgspec

from millimetric_server.api.messages import Filter, FilterOp
from millimetric_server.reads.conditions import Conditions

_WHOLE_MAX = 1e21  # from there on, ClickHouse writes an exponent
# The operators of comparisons, as SQL has them.
OPERATORS: Mapping[FilterOp, str] = {
    FilterOp.UNSPECIFIED: "=",
    FilterOp.EQ: "=",
    FilterOp.NE: "!=",
    FilterOp.GT: ">",
    FilterOp.GE: ">=",
    FilterOp.LT: "<",
    FilterOp.LE: "<=",
}
ORDERS = (FilterOp.GT, FilterOp.GE, FilterOp.LT, FilterOp.LE)


def compare_property(conditions: Conditions, one: Filter, path: Sequence[str]) -> str:
    """Write the condition of a filter on a property, whose values become parameters."""
    value = _take(conditions, path)
    negation = "NOT " if one.op is FilterOp.NE else ""
    return f"{negation}({_has_key(conditions, path)} AND {_compare(conditions, one, value)})"


def take_text(conditions: Conditions, path: Sequence[str]) -> str:
    """Write a property's value as a text: a string as it is, others as JSON; empty where there is none, or null."""
    value = _take(conditions, path)
    return f"if({_has_key(conditions, path)} AND {value.is_present}, {value.text}, '')"


def take_number(conditions: Conditions, path: Sequence[str]) -> str:
    """Write a property's value as a number; NULL where it is none."""
    return f"if({_has_key(conditions, path)}, {_take(conditions, path).number}, NULL)"


def _has_key(conditions: Conditions, path: Sequence[str]) -> str:
    """Write a search for the quoted key, which spares most rows the parsing."""
    return f"position(properties, {conditions.bind(msgspec.json.encode(path[-1]).decode(), 'String')}) > 0"


def _take(conditions: Conditions, path: Sequence[str]) -> "_PropertyValue":
    keys = ", ".join(conditions.bind(part, "String") for part in path)
    return _PropertyValue(f"JSONExtractRaw(properties, {keys})", f"JSONExtractString(properties, {keys})")


@dataclass(frozen=True, slots=True)
class _PropertyValue:
    """SQL for a property: as JSON (empty when there is none), and the text of a string."""

    raw: str
    string: str

    @property
    def is_string(self) -> str:
        return f"startsWith({self.raw}, '\"')"

    @property
    def text(self) -> str:
        return f"if({self.is_string}, {self.string}, {self.raw})"

    @property
    def is_present(self) -> str:
        return f"{self.raw} NOT IN ('', 'null')"

    @property
    def number(self) -> str:
        return f"(toFloat64OrNull({self.raw}) + 0)"


def _compare(conditions: Conditions, one: Filter, value: _PropertyValue) -> str:
    if one.op is FilterOp.EXISTS:
        return f"{value.raw} NOT IN ('', 'null', '\"\"')"
    if one.op is FilterOp.CONTAINS:
        return f"{value.is_present} AND position({value.text}, {conditions.bind(one.values[0], 'String')}) > 0"
    numbers = [float(text) + 0.0 for text in one.values if is_number(text)]  # ClickHouse tells -0 from 0
    if one.op in ORDERS:
        if numbers:
            return f"ifNull({value.number} {OPERATORS[one.op]} {conditions.bind(numbers[0], 'Float64')}, 0)"
        return f"{value.is_string} AND {value.string} {OPERATORS[one.op]} {conditions.bind(one.values[0], 'String')}"
    texts = conditions.bind(one.values, "Array(String)")
    others = conditions.bind([write_like_clickhouse(text) for text in one.values], "Array(String)")
    is_equal = f"if({value.is_string}, {value.string} IN {texts}, {value.raw} IN {others})"
    if numbers:
        is_equal = f"({is_equal} OR ifNull({value.number} IN {conditions.bind(numbers, 'Array(Float64)')}, 0))"
    return f"{value.is_present} AND {is_equal}"


def write_like_clickhouse(text: str) -> str:
    """Write an array or object as JSONExtractRaw does: 1.0 is 1. Other texts stay as they are."""
    if not text.startswith(("[", "{")):
        return text
    try:
        return write_value(msgspec.json.decode(text))
    except (msgspec.DecodeError, UnicodeError, RecursionError, OverflowError):
        return text


def write_value(value: Any) -> str:
    """Write a JSON value as JSONExtractRaw does."""
    return msgspec.json.encode(_make_integers(value)).decode()


def _make_integers(value: Any) -> Any:
    if isinstance(value, dict):
        return {key: _make_integers(item) for key, item in value.items()}
    if isinstance(value, list):
        return [_make_integers(item) for item in value]
    if isinstance(value, float) and value.is_integer() and abs(value) < _WHOLE_MAX:
        return msgspec.Raw(str(int(value)).encode())
    return value


def is_number(text: str) -> bool:
    """Tell whether a filter's value is compared as a number with numbers."""
    return re.fullmatch(r"-?\d+(\.\d+)?([eE][+-]?\d+)?", text, re.ASCII) is not None
