"""Turns filters and trees of them into SQL conditions: the columns and operators, and what each compares."""

import re
from collections.abc import Sequence

import msgspec

from millimetric.v1 import query_service_pb2
from millimetric_server.api.errors import invalid_params
from millimetric_server.api.limits import list_limits
from millimetric_server.api.messages import Filter, FilterOp, FilterTree, Instant
from millimetric_server.reads.bounds import check_text
from millimetric_server.reads.columns import COLUMNS
from millimetric_server.reads.conditions import Conditions
from millimetric_server.reads.property_filters import OPERATORS, compare_property

_FILTERS_MAX = list_limits(query_service_pb2.QueryRequest)["filter"].items_max
# A ClickHouse server takes 128 KiB a parameter, and a character may become four bytes.
_LIMITS = list_limits(query_service_pb2.Filter)
_COLUMN, _VALUES = _LIMITS["column"], _LIMITS["values"]
_ALIASES = {"event_name": "event"}  # as group columns have it
# A name in quotes is written as in JSON; a lone quote is a name.
_QUOTED, _BARE = r'"(?:[^"\\]|\\.)*"', r'(?:[^."][^.]*|"(?=\.|\Z))'
_PROPERTY = re.compile(rf"properties\.(?!\s)((?:{_QUOTED}|{_BARE})(?:\.(?:{_QUOTED}|{_BARE}))*)", re.DOTALL)
_PATH_PART = re.compile(rf"({_QUOTED}|{_BARE})(?:\.|$)", re.DOTALL)
_PATH_PARTS_MAX = 10
NODES_MAX, LEVELS_MAX = 50, 8  # of a tree
PARAMETERS_MAX = 900  # a ClickHouse server takes 1,000 fields in a form, settings included


class _FilterError(ValueError):
    """A filter can't be understood; the message is a sentence for the caller."""


def add_filters(
    conditions: Conditions, filters: Sequence[Filter], where: FilterTree | None = None, place: str = ""
) -> None:
    """Check filters and a tree of them, and add each as a condition.

    Raises AppError invalid_params that names the field: `filter` or `where`, behind `place`.
    """
    if len(filters) > _FILTERS_MAX:
        raise invalid_params(f"{place}filter", f"at most {_FILTERS_MAX} filters")
    conditions.clauses += [_write_filter(conditions, one, f"{place}filter") for one in filters]
    if where is not None:
        field = f"{place}where"
        conditions.clauses.append(_TreeWriter(conditions, field).write(where, field, LEVELS_MAX))
    if len(conditions.parameters) > PARAMETERS_MAX:
        raise invalid_params(f"{place}filter", f"ask for at most {PARAMETERS_MAX} different names and values in all")


def list_filtered(filters: Sequence[Filter], where: FilterTree | None) -> set[str]:
    """List the columns that filters and a tree of them ask about."""
    found, trees = {name_column(one) for one in filters}, [where] if where else []
    while trees:
        tree = trees.pop()
        trees += [*tree.and_, *tree.or_, *([tree.not_] if tree.not_ else [])]
        if tree.filter:
            found.add(name_column(tree.filter))
    return found


def name_column(one: Filter) -> str:
    """The column of a filter by the name that tables have for it."""
    return _ALIASES.get(one.column, one.column)


class _TreeWriter:
    """Writes one tree, within bounds; `field` is the whole tree's."""

    def __init__(self, conditions: Conditions, field: str) -> None:
        self._conditions = conditions
        self._field = field
        self._nodes_left = NODES_MAX

    def write(self, tree: FilterTree, place: str, levels: int) -> str:
        self._nodes_left -= 1
        if levels == 0 or self._nodes_left < 0:
            raise invalid_params(self._field, f"must have at most {NODES_MAX} nodes and {LEVELS_MAX} levels")
        given = [name for name in ("filter", "and_", "or_", "not_") if getattr(tree, name)]
        if len(given) != 1:
            raise invalid_params(place, "must have exactly one of `filter`, `and`, `or` and `not`")
        if tree.filter is not None:
            return f"({_write_filter(self._conditions, tree.filter, f'{place}.filter')})"
        if tree.not_ is not None:
            return f"(NOT {self.write(tree.not_, f'{place}.not', levels - 1)})"
        word, branches = ("and", tree.and_) if tree.and_ else ("or", tree.or_)
        parts = (self.write(one, f"{place}.{word}[{index}]", levels - 1) for index, one in enumerate(branches))
        return f"({f' {word.upper()} '.join(parts)})"


def _write_filter(conditions: Conditions, one: Filter, place: str) -> str:
    """Write the condition of one filter, whose values become parameters."""
    _check_size(one, place)
    try:
        return _write_checked(conditions, one)
    except _FilterError as error:
        raise invalid_params(place, str(error)) from None


def _check_size(one: Filter, field: str) -> None:
    check_text(field, one.column, _COLUMN.chars_max)
    for text in one.values:
        check_text(field, text, _VALUES.chars_max)
    if len(one.values) > _VALUES.items_max or sum(map(len, one.values)) > _VALUES.total_chars_max:
        most = f"{_VALUES.items_max:,} values of {_VALUES.total_chars_max:,} characters together"
        raise invalid_params(field, f"`in` takes at most {most}")


def _write_checked(conditions: Conditions, one: Filter) -> str:
    _check_values(one)
    column = name_column(one)
    if (path := _find_path(column)) is not None:
        return compare_property(conditions, one, path)
    if (kind := COLUMNS.get(column)) is None:
        hint = (
            '; quote what has other characters: properties."Product Name"' if column.startswith("properties.") else ""
        )
        known = f"use properties.<name> or one of {', '.join(COLUMNS)}"
        raise _FilterError(f"`{column[:64]}` is not a column; {known}{hint}")
    return (_compare_text if kind == "String" else _compare_typed)(conditions, one, column)


def find_property(column: str, field: str) -> list[str] | None:
    """The path of a property that a column names; None for other columns. Raises AppError invalid_params."""
    check_text(field, column, _COLUMN.chars_max)
    try:
        return _find_path(column)
    except _FilterError as error:
        raise invalid_params(field, str(error)) from None


def _find_path(column: str) -> list[str] | None:
    match = _PROPERTY.fullmatch(column)
    return None if match is None else _read_path(match[1])


def _read_path(text: str) -> list[str]:
    """Take a path apart: names joined by dots, each as it is or quoted as in JSON."""
    parts = [match[1] for match in _PATH_PART.finditer(text)]
    if len(parts) > _PATH_PARTS_MAX:
        raise _FilterError(f"a path has at most {_PATH_PARTS_MAX} parts")
    try:
        names = [_read_name(part) for part in parts]
    except (msgspec.DecodeError, UnicodeError):
        raise _FilterError("a quoted name is written as in JSON, where `\\` begins an escape") from None
    if any("\0" in name for name in names):
        raise _FilterError("a name has no NUL")
    return names


def _check_values(one: Filter) -> None:
    if one.op is FilterOp.EXISTS:
        if one.values:
            raise _FilterError("`exists` takes no value")
    elif not one.values:
        raise _FilterError("needs a value")
    elif one.op is not FilterOp.IN and len(one.values) != 1:
        raise _FilterError("takes one value; use `in` for several")


def _read_name(part: str) -> str:
    is_quoted = part.startswith('"') and len(part) > 1
    return msgspec.json.decode(part, type=str) if is_quoted else part


def _compare_text(conditions: Conditions, one: Filter, column: str) -> str:
    if one.op is FilterOp.EXISTS:
        return f"{column} != ''"
    if one.op is FilterOp.IN:
        return f"{column} IN {conditions.bind(one.values, 'Array(String)')}"
    value = conditions.bind(one.values[0], "String")
    if one.op is FilterOp.CONTAINS:
        return f"position({column}, {value}) > 0"
    return f"{column} {OPERATORS[one.op]} {value}"


def read_bool(text: str) -> bool:
    """Read true or false as a checked filter has it."""
    return text.lower() in ("true", "1")


def _compare_typed(conditions: Conditions, one: Filter, column: str) -> str:
    if one.op not in OPERATORS:
        raise _FilterError(f"`{column}` can be compared with = != > >= < <= only")
    text, operator = one.values[0], OPERATORS[one.op]
    if COLUMNS[column] == "Bool":
        if text.lower() not in ("true", "false", "1", "0"):
            raise _FilterError(f"`{column}` is true or false")
        return f"{column} {operator} {conditions.bind(read_bool(text), 'Bool')}"
    try:
        return conditions.compare_time(column, operator, Instant.parse(text))
    except ValueError as error:
        raise _FilterError(str(error)) from None
