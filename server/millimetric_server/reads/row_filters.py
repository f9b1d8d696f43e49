"""Evaluates filters over one row, with the meaning that `filters` and `property_filters` give them in SQL.

What operators there are, what they are called and how values are read is theirs; tests/integration holds both to one
specification.
"""

import operator
from collections.abc import Callable, Mapping, Sequence
from operator import attrgetter
from typing import Any

from millimetric_server.api.messages import Filter, FilterOp, FilterTree, Instant
from millimetric_server.following.followed_row import FollowedRow
from millimetric_server.following.follower import Meets
from millimetric_server.reads.columns import COLUMNS
from millimetric_server.reads.conditions import clamp_time
from millimetric_server.reads.filters import find_property, name_column, read_bool
from millimetric_server.reads.property_filters import OPERATORS, ORDERS, is_number, write_like_clickhouse, write_value

# SQL's words for comparisons. Texts are compared by their bytes in ClickHouse, and code points have the same order.
_COMPARISONS: Mapping[str, Callable[[Any, Any], bool]] = {
    "=": operator.eq,
    "!=": operator.ne,
    ">": operator.gt,
    ">=": operator.ge,
    "<": operator.lt,
    "<=": operator.le,
}
_ABSENT = (None, "")  # what `exists` does not find


def compile_filters(filters: Sequence[Filter], where: FilterTree | None = None) -> Meets:
    """Make the condition of filters and a tree of them, which `add_filters` has checked."""
    conditions = [_compile(one) for one in filters]
    if where is not None:
        conditions.append(_compile_tree(where))
    return conditions[0] if len(conditions) == 1 else _join_all(conditions)


def _join_all(conditions: Sequence[Meets]) -> Meets:
    return lambda row: all(meets(row) for meets in conditions)


def _join_any(conditions: Sequence[Meets]) -> Meets:
    return lambda row: any(meets(row) for meets in conditions)


def _negate(meets: Meets) -> Meets:
    return lambda row: not meets(row)


def _compile_tree(tree: FilterTree) -> Meets:
    if tree.filter is not None:
        return _compile(tree.filter)
    if tree.not_ is not None:
        return _negate(_compile_tree(tree.not_))
    if tree.and_:
        return _join_all([_compile_tree(one) for one in tree.and_])
    return _join_any([_compile_tree(one) for one in tree.or_])


def _compile(one: Filter) -> Meets:
    column = name_column(one)
    if (path := find_property(column, "filter")) is not None:
        return _compile_property(one, path)
    read, kind = attrgetter(column), COLUMNS[column]
    meets = _compile_text(one) if kind == "String" else _compile_typed(one, kind)
    return lambda row: meets(read(row.row))


def _compile_text(one: Filter) -> Callable[[str], bool]:
    if one.op is FilterOp.EXISTS:
        return bool
    if one.op is FilterOp.IN:
        return frozenset(one.values).__contains__
    asked = one.values[0]
    if one.op is FilterOp.CONTAINS:
        return lambda text: asked in text
    compare = _COMPARISONS[OPERATORS[one.op]]
    return lambda text: compare(text, asked)


def _compile_typed(one: Filter, kind: str) -> Callable[[Any], bool]:
    compare, text = _COMPARISONS[OPERATORS[one.op]], one.values[0]
    asked: int = read_bool(text) if kind == "Bool" else clamp_time(Instant.parse(text))
    return lambda value: compare(value, asked)


def _compile_property(one: Filter, path: Sequence[str]) -> Meets:
    meets = _compile_value(one)
    if one.op is FilterOp.NE:
        return lambda row: not meets(_find_value(row, path))
    return lambda row: meets(_find_value(row, path))


def _find_value(row: FollowedRow, path: Sequence[str]) -> Any:
    """The value at a path of the properties; None where there is none, which counts as null does."""
    value = row.properties
    for key in path:
        if not isinstance(value, dict):
            return None
        value = value.get(key)
    return value


def _compile_value(one: Filter) -> Callable[[Any], bool]:
    if one.op is FilterOp.EXISTS:
        return lambda value: value not in _ABSENT
    if one.op is FilterOp.CONTAINS:
        part = one.values[0]
        return lambda value: value is not None and part in (value if isinstance(value, str) else write_value(value))
    if one.op in ORDERS:
        return _compile_order(one)
    texts, others = frozenset(one.values), frozenset(map(write_like_clickhouse, one.values))
    numbers = frozenset(float(text) for text in one.values if is_number(text))

    def equals(value: Any) -> bool:
        if value is None:
            return False
        if isinstance(value, str):
            return value in texts
        return _read_number(value) in numbers or write_value(value) in others

    return equals


def _compile_order(one: Filter) -> Callable[[Any], bool]:
    compare, text = _COMPARISONS[OPERATORS[one.op]], one.values[0]
    if not is_number(text):
        return lambda value: isinstance(value, str) and compare(value, text)
    asked = float(text)

    def is_in_order(value: Any) -> bool:
        number = _read_number(value)
        return number is not None and compare(number, asked)

    return is_in_order


def _read_number(value: Any) -> float | None:
    """A number as ClickHouse reads it; None of anything else."""
    if isinstance(value, bool) or not isinstance(value, int | float):
        return None
    try:
        return float(value)
    except OverflowError:
        return float("inf") if value > 0 else float("-inf")
