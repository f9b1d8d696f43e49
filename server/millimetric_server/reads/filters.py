"""Turns filters into SQL conditions: the columns and operators, and what each compares."""

import re
from collections.abc import Sequence

from millimetric.v1 import query_service_pb2
from millimetric_server.api.errors import invalid_params
from millimetric_server.api.limits import list_limits
from millimetric_server.api.messages import Filter, FilterOp, Instant
from millimetric_server.reads.bounds import check_text
from millimetric_server.reads.columns import COLUMNS
from millimetric_server.reads.conditions import Conditions
from millimetric_server.reads.property_filters import OPERATORS, compare_property

_FILTERS_MAX = list_limits(query_service_pb2.QueryRequest)["filter"].items_max
# A ClickHouse server takes 128 KiB a parameter, and a character may become four bytes.
_LIMITS = list_limits(query_service_pb2.Filter)
_COLUMN, _VALUES = _LIMITS["column"], _LIMITS["values"]
_PROPERTY = re.compile(r"properties\.([^\s.][^.]*(?:\.[^.]+)*)", re.DOTALL)
_PATH_PARTS_MAX = 10


class _FilterError(ValueError):
    """A filter can't be understood; the message is a sentence for the caller."""


def add_filters(conditions: Conditions, filters: Sequence[Filter], field: str = "filter") -> None:
    """Check filters and add each as a condition. Raises AppError invalid_params that names the field."""
    if len(filters) > _FILTERS_MAX:
        raise invalid_params(field, f"at most {_FILTERS_MAX} filters")
    for one in filters:
        _check_size(one, field)
    try:
        for one in filters:
            _add_filter(conditions, one)
    except _FilterError as error:
        raise invalid_params(field, str(error)) from None


def _check_size(one: Filter, field: str) -> None:
    check_text(field, one.column, _COLUMN.chars_max)
    for text in one.values:
        check_text(field, text, _VALUES.chars_max)
    if len(one.values) > _VALUES.items_max or sum(map(len, one.values)) > _VALUES.total_chars_max:
        most = f"{_VALUES.items_max:,} values of {_VALUES.total_chars_max:,} characters together"
        raise invalid_params(field, f"`in` takes at most {most}")


def _add_filter(conditions: Conditions, one: Filter) -> None:
    _check_values(one)
    if (match := _PROPERTY.fullmatch(one.column)) is not None:
        path = match[1].split(".")
        if len(path) > _PATH_PARTS_MAX:
            raise _FilterError(f"a path has at most {_PATH_PARTS_MAX} parts")
        conditions.clauses.append(compare_property(conditions, one, path))
    elif (kind := COLUMNS.get(one.column)) is None:
        raise _FilterError(f"`{one.column[:64]}` is not a column; use properties.<name> or one of {', '.join(COLUMNS)}")
    elif kind == "String":
        _add_text(conditions, one)
    else:
        _add_typed(conditions, one, kind)


def _check_values(one: Filter) -> None:
    if one.op is FilterOp.EXISTS:
        if one.values:
            raise _FilterError("`exists` takes no value")
    elif not one.values:
        raise _FilterError("needs a value")
    elif one.op is not FilterOp.IN and len(one.values) != 1:
        raise _FilterError("takes one value; use `in` for several")


def _add_text(conditions: Conditions, one: Filter) -> None:
    column = one.column
    if one.op is FilterOp.EXISTS:
        conditions.clauses.append(f"{column} != ''")
    elif one.op is FilterOp.IN:
        conditions.require(column, "IN", one.values, "Array(String)")
    elif one.op is FilterOp.CONTAINS:
        conditions.clauses.append(f"position({column}, {conditions.bind(one.values[0], 'String')}) > 0")
    else:
        conditions.require(column, OPERATORS[one.op], one.values[0])


def _add_typed(conditions: Conditions, one: Filter, kind: str) -> None:
    if one.op not in OPERATORS:
        raise _FilterError(f"`{one.column}` can be compared with = != > >= < <= only")
    value = one.values[0]
    if kind == "Bool":
        if value.lower() not in ("true", "false", "1", "0"):
            raise _FilterError(f"`{one.column}` is true or false")
        conditions.require(one.column, OPERATORS[one.op], value.lower() in ("true", "1"), "Bool")
        return
    try:
        conditions.require_time(one.column, OPERATORS[one.op], Instant.parse(value))
    except ValueError as error:
        raise _FilterError(str(error)) from None
