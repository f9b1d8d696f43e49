"""Which rows a filter lets through, in plain Python: the specification that the SQL is held to."""

import re
from collections.abc import Callable, Sequence
from typing import Any

import msgspec

from millimetric_server.api.messages import Filter, FilterOp, FilterTree, Instant
from millimetric_server.enrich.event_row import EventRow

ABSENT = object()
_NUMBER = re.compile(r"-?[0-9]+(\.[0-9]+)?([eE][+-]?[0-9]+)?")
_ORDER: dict[FilterOp, Callable[[Any, Any], bool]] = {
    FilterOp.GT: lambda one, other: bool(one > other),
    FilterOp.GE: lambda one, other: bool(one >= other),
    FilterOp.LT: lambda one, other: bool(one < other),
    FilterOp.LE: lambda one, other: bool(one <= other),
}


def meets_all(row: EventRow, filters: Sequence[Filter], where: FilterTree | None = None) -> bool:
    """Tell whether a row meets every filter, and the tree."""
    return all(meets(row, one) for one in filters) and (where is None or _tree_meets(row, where))


def _tree_meets(row: EventRow, tree: FilterTree) -> bool:
    if tree.filter is not None:
        return meets(row, tree.filter)
    if tree.not_ is not None:
        return not _tree_meets(row, tree.not_)
    if tree.and_:
        return all(_tree_meets(row, one) for one in tree.and_)
    return any(_tree_meets(row, one) for one in tree.or_)


def meets(row: EventRow, one: Filter) -> bool:
    """Tell whether a row meets a filter."""
    if one.column.startswith("properties."):
        path = read_path(one.column.removeprefix("properties."))
        return _property_meets(find_value(msgspec.json.decode(row.properties), path), one)
    value = getattr(row, "event" if one.column == "event_name" else one.column)
    if isinstance(value, str):
        return _text_meets(value, one)
    asked = one.values[0] == "true" if one.column == "is_bot" else Instant.parse(one.values[0])
    if one.op in _ORDER:
        return _ORDER[one.op](value, asked)
    return bool((value != asked) if one.op is FilterOp.NE else (value == asked))


def read_path(text: str) -> list[str]:
    """Take a path apart, letter by letter: names between dots, in quotes or not."""
    names, at = [], 0
    while at < len(text):
        end = at
        if text[at] == '"':
            end += 1
            while text[end] != '"':
                end += 2 if text[end] == "\\" else 1
            names.append(msgspec.json.decode(text[at : end + 1], type=str))
            end += 1
        else:
            while end < len(text) and text[end] != ".":
                end += 1
            names.append(text[at:end])
        at = end + 1
    return names


def looks_like_number(text: str) -> bool:
    """Tell whether a filter's value is compared as a number with numbers."""
    return _NUMBER.fullmatch(text) is not None


def _text_meets(text: str, one: Filter) -> bool:
    if one.op is FilterOp.EXISTS:
        return text != ""
    if one.op is FilterOp.IN:
        return text in one.values
    (value,) = one.values
    if one.op is FilterOp.CONTAINS:
        return value in text
    if one.op is FilterOp.NE:
        return text != value
    if one.op in _ORDER:
        return _ORDER[one.op](text.encode(), value.encode())
    return text == value


def find_value(value: Any, path: Sequence[str]) -> Any:
    """The value at a path of a JSON object; ABSENT where there is none."""
    for key in path:
        if not isinstance(value, dict) or key not in value:
            return ABSENT
        value = value[key]
    return value


def _property_meets(value: Any, one: Filter) -> bool:
    if value is ABSENT or value is None:
        return one.op is FilterOp.NE
    if one.op is FilterOp.EXISTS:
        return bool(value != "" or not isinstance(value, str))
    if one.op is FilterOp.NE:
        return not _equals(value, one.values[0])
    if one.op is FilterOp.CONTAINS:
        return one.values[0] in write_value(value)
    if one.op in _ORDER:
        return _compares(value, one.op, one.values[0])
    return any(_equals(value, each) for each in one.values)


def _equals(value: Any, asked: str) -> bool:
    if is_number(value) and looks_like_number(asked):
        return bool(value == float(asked))
    return write_value(value) == (asked if isinstance(value, str) else _rewrite(asked))


def _compares(value: Any, op: FilterOp, asked: str) -> bool:
    if is_number(value) and looks_like_number(asked):
        return _ORDER[op](value, float(asked))
    if isinstance(value, str) and not looks_like_number(asked):
        return _ORDER[op](value.encode(), asked.encode())
    return False


def is_number(value: Any) -> bool:
    """Tell whether a JSON value is a number."""
    return isinstance(value, int | float) and not isinstance(value, bool)


def write_value(value: Any) -> str:
    """A text as it is, everything else as compact JSON in which whole numbers have no fraction."""
    return value if isinstance(value, str) else msgspec.json.encode(_shorten(value)).decode()


def _rewrite(asked: str) -> str:
    """An array or object that is asked for, in the same way of writing."""
    try:
        value = msgspec.json.decode(asked)
    except msgspec.DecodeError:
        return asked
    return write_value(value) if isinstance(value, list | dict) else asked


def _shorten(value: Any) -> Any:
    if isinstance(value, dict):
        return {key: _shorten(item) for key, item in value.items()}
    if isinstance(value, list):
        return [_shorten(item) for item in value]
    if isinstance(value, float) and value == int(value) and abs(value) < 1e21:
        return msgspec.Raw(b"%d" % value)
    return value
