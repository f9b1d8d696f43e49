"""Turns filters into SQL conditions: identifiers from a closed table, every value a bound parameter."""

import re
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from typing import Any

from millimetric_server.messages import Filter, FilterOp, Instant

# What may be filtered, by its ClickHouse type.
COLUMNS: Mapping[str, str] = dict.fromkeys(
    (
        "event",
        "event_id",
        "anonymous_id",
        "user_id",
        "session_id",
        "url",
        "path",
        "referrer",
        "source",
        "medium",
        "campaign",
        "source_confidence",
        "source_rule_id",
        "rule_set",
        "country",
        "device_type",
        "browser",
        "os",
        "ip_hash",
    ),
    "String",
) | {"timestamp": "DateTime", "received_at": "DateTime", "is_bot": "Bool"}
ROLLED_UP = frozenset({"event", "source", "medium", "campaign", "country", "device_type", "browser", "os", "is_bot"})
_PROPERTY = re.compile(r"properties\.([^\s.][^.]*(?:\.[^.]+)*)", re.DOTALL)
_PATH_PARTS_MAX = 10
_EARLIEST_US, _LATEST_US = 0, 4_102_444_800_000_000  # 1970 and 2100
_OPERATORS = {
    FilterOp.UNSPECIFIED: "=",
    FilterOp.EQ: "=",
    FilterOp.NE: "!=",
    FilterOp.GT: ">",
    FilterOp.GE: ">=",
    FilterOp.LT: "<",
    FilterOp.LE: "<=",
}
_TEXT_OPERATORS = {
    "=": FilterOp.EQ,
    "!=": FilterOp.NE,
    ">": FilterOp.GT,
    ">=": FilterOp.GE,
    "<": FilterOp.LT,
    "<=": FilterOp.LE,
    "in": FilterOp.IN,
    "contains": FilterOp.CONTAINS,
    "exists": FilterOp.EXISTS,
}
_EXPRESSION = re.compile(r"\s*([\w.$-]+?)\s*(!=|>=|<=|=|>|<|\s(?:in|contains|exists)(?=\s|$))\s*(.*)", re.DOTALL)


class FilterError(ValueError):
    """A filter can't be understood; the message is a sentence for the caller."""


@dataclass(slots=True)
class Conditions:
    """SQL conditions that must all hold, and their parameters."""

    clauses: list[str] = field(default_factory=list)
    parameters: dict[str, Any] = field(default_factory=dict)

    @property
    def sql(self) -> str:
        """The conditions joined; `1` when there is none."""
        return " AND ".join(self.clauses) or "1"

    def bind(self, value: Any, kind: str) -> str:
        """Take a value as a parameter and return its placeholder."""
        name = f"p{len(self.parameters)}"
        self.parameters[name] = value
        return f"{{{name}:{kind}}}"

    def require(self, column: str, operator: str, value: Any, kind: str = "String") -> None:
        """Add `column operator value`. Column and operator are ours, never the caller's."""
        self.clauses.append(f"{column} {operator} {self.bind(value, kind)}")

    def require_time(self, column: str, operator: str, time_us: int) -> None:
        """Add a comparison of a time column with microseconds since 1970 UTC."""
        time = self.bind(clamp_time(time_us), "Int64")
        self.clauses.append(f"{column} {operator} fromUnixTimestamp64Micro({time})")


def clamp_time(time_us: int) -> int:
    """Bring a time into what ClickHouse can compare; beyond its bounds it would wrap round. No event lies there."""
    return min(max(int(time_us), _EARLIEST_US), _LATEST_US)


def parse_filter(text: str) -> Filter:
    """Read `COLUMN OP VALUE`, such as `country in DE,AT` or `properties.plan exists`. Raises FilterError."""
    match = _EXPRESSION.fullmatch(text)
    if match is None:
        raise FilterError("must be COLUMN OP VALUE with one of = != > >= < <= in contains exists")
    column, operator, value = match.groups()
    op = _TEXT_OPERATORS[operator.strip()]
    if op is FilterOp.EXISTS:
        return Filter(column, op, [value] if value else [])
    return Filter(column, op, [part.strip() for part in value.split(",")] if op is FilterOp.IN else [value])


def add_filters(conditions: Conditions, filters: Iterable[Filter]) -> None:
    """Add each filter as a condition. Raises FilterError."""
    for one in filters:
        _check_values(one)
        if (match := _PROPERTY.fullmatch(one.column)) is not None:
            _add_property(conditions, one, match[1].split("."))
        elif (kind := COLUMNS.get(one.column)) is None:
            raise FilterError(
                f"`{one.column[:64]}` is not a column; use properties.<name> or one of {', '.join(COLUMNS)}"
            )
        elif kind == "String":
            _add_text(conditions, one, one.column)
        else:
            _add_typed(conditions, one, kind)


def _check_values(one: Filter) -> None:
    if one.op is FilterOp.EXISTS:
        if one.values:
            raise FilterError("`exists` takes no value")
    elif not one.values:
        raise FilterError("needs a value")
    elif one.op is not FilterOp.IN and len(one.values) != 1:
        raise FilterError("takes one value; use `in` for several")


def _add_text(conditions: Conditions, one: Filter, expression: str) -> None:
    if one.op is FilterOp.EXISTS:
        conditions.clauses.append(f"{expression} != ''")
    elif one.op is FilterOp.IN:
        conditions.require(expression, "IN", one.values, "Array(String)")
    elif one.op is FilterOp.CONTAINS:
        conditions.clauses.append(f"position({expression}, {conditions.bind(one.values[0], 'String')}) > 0")
    else:
        conditions.require(expression, _OPERATORS[one.op], one.values[0])


def _add_typed(conditions: Conditions, one: Filter, kind: str) -> None:
    if one.op not in _OPERATORS:
        raise FilterError(f"`{one.column}` can be compared with = != > >= < <= only")
    value = one.values[0]
    if kind == "Bool":
        if value.lower() not in ("true", "false", "1", "0"):
            raise FilterError(f"`{one.column}` is true or false")
        conditions.require(one.column, _OPERATORS[one.op], value.lower() in ("true", "1"), "Bool")
        return
    try:
        conditions.require_time(one.column, _OPERATORS[one.op], Instant.parse(value))
    except ValueError as error:
        raise FilterError(str(error)) from None


def _add_property(conditions: Conditions, one: Filter, path: list[str]) -> None:
    if len(path) > _PATH_PARTS_MAX:
        raise FilterError(f"a path has at most {_PATH_PARTS_MAX} parts")
    keys = ", ".join(conditions.bind(part, "String") for part in path)
    raw = f"JSONExtractRaw(properties, {keys})"
    text = f"if(JSONType(properties, {keys}) = 'String', JSONExtractString(properties, {keys}), {raw})"
    if one.op is FilterOp.EXISTS:
        conditions.clauses.append(f"({raw} NOT IN ('', 'null', '\"\"'))")
    elif one.op in (FilterOp.GT, FilterOp.GE, FilterOp.LT, FilterOp.LE) and _is_number(one.values[0]):
        conditions.require(f"toFloat64OrNull({raw})", _OPERATORS[one.op], float(one.values[0]), "Float64")
    else:
        _add_text(conditions, one, text)


def _is_number(text: str) -> bool:
    return re.fullmatch(r"-?\d{1,300}(\.\d{1,300})?([eE][+-]?\d{1,2})?", text) is not None
