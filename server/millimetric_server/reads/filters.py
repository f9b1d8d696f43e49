"""Turns filters into SQL conditions: identifiers from a closed table, every value a bound parameter."""

import re
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from datetime import UTC, datetime
from typing import Any, NamedTuple

import msgspec

from millimetric_server.api.messages import Filter, FilterOp, Instant

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
_PROPERTY = re.compile(r"properties\.([^\s.][^.]*(?:\.[^.]+)*)", re.DOTALL)
_PATH_PARTS_MAX = 10
_WHOLE_MAX = 1e21  # from there on, ClickHouse writes an exponent
EARLIEST_US, LATEST_US = 0, 4_102_444_800_000_000  # 1970 and 2100
_OPERATORS = {
    FilterOp.UNSPECIFIED: "=",
    FilterOp.EQ: "=",
    FilterOp.NE: "!=",
    FilterOp.GT: ">",
    FilterOp.GE: ">=",
    FilterOp.LT: "<",
    FilterOp.LE: "<=",
}
_ORDERS = (FilterOp.GT, FilterOp.GE, FilterOp.LT, FilterOp.LE)
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

    def require_range(self, column: str, from_us: int | None, to_us: int | None) -> None:
        """Add the bounds of a range of time, the second exclusive."""
        if from_us is not None:
            self.require_time(column, ">=", from_us)
        if to_us is not None:
            self.require_time(column, "<", to_us)


def clamp_time(time_us: int) -> int:
    """Bring a time into what ClickHouse can compare; beyond its bounds it would wrap round. No event lies there."""
    return min(max(int(time_us), EARLIEST_US), LATEST_US)


def read_day(time_us: int) -> str:
    """The UTC day of a time, as a parameter of the type Date."""
    return datetime.fromtimestamp(clamp_time(time_us) / 1e6, UTC).date().isoformat()


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
    """Compare a value within the properties by its type: numbers as numbers, all else as text.

    The search for the quoted key beforehand spares most rows the parsing.
    """
    if len(path) > _PATH_PARTS_MAX:
        raise FilterError(f"a path has at most {_PATH_PARTS_MAX} parts")
    keys = ", ".join(conditions.bind(part, "String") for part in path)
    has_key = f"position(properties, {conditions.bind(msgspec.json.encode(path[-1]).decode(), 'String')}) > 0"
    value = _PropertyValue(f"JSONExtractRaw(properties, {keys})", f"JSONExtractString(properties, {keys})")
    condition = _compare_property(conditions, one, value)
    negation = "NOT " if one.op is FilterOp.NE else ""
    conditions.clauses.append(f"{negation}({has_key} AND {condition})")


class _PropertyValue(NamedTuple):
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


def _compare_property(conditions: Conditions, one: Filter, value: _PropertyValue) -> str:
    if one.op is FilterOp.EXISTS:
        return f"{value.raw} NOT IN ('', 'null', '\"\"')"
    if one.op is FilterOp.CONTAINS:
        return f"{value.is_present} AND position({value.text}, {conditions.bind(one.values[0], 'String')}) > 0"
    numbers = [float(text) + 0.0 for text in one.values if _is_number(text)]  # ClickHouse tells -0 from 0
    if one.op in _ORDERS:
        if numbers:
            return f"ifNull({value.number} {_OPERATORS[one.op]} {conditions.bind(numbers[0], 'Float64')}, 0)"
        return f"{value.is_string} AND {value.string} {_OPERATORS[one.op]} {conditions.bind(one.values[0], 'String')}"
    texts = conditions.bind(one.values, "Array(String)")
    others = conditions.bind([_write_like_clickhouse(text) for text in one.values], "Array(String)")
    is_equal = f"if({value.is_string}, {value.string} IN {texts}, {value.raw} IN {others})"
    if numbers:
        is_equal = f"({is_equal} OR ifNull({value.number} IN {conditions.bind(numbers, 'Array(Float64)')}, 0))"
    return f"{value.is_present} AND {is_equal}"


def _write_like_clickhouse(text: str) -> str:
    """Write an array or object as JSONExtractRaw does: 1.0 is 1. Other texts stay as they are."""
    if not text.startswith(("[", "{")):
        return text
    try:
        return msgspec.json.encode(_make_integers(msgspec.json.decode(text))).decode()
    except (msgspec.DecodeError, UnicodeError, RecursionError, OverflowError):
        return text


def _make_integers(value: Any) -> Any:
    if isinstance(value, dict):
        return {key: _make_integers(item) for key, item in value.items()}
    if isinstance(value, list):
        return [_make_integers(item) for item in value]
    if isinstance(value, float) and value.is_integer() and abs(value) < _WHOLE_MAX:
        return msgspec.Raw(str(int(value)).encode())
    return value


def _is_number(text: str) -> bool:
    return re.fullmatch(r"-?\d+(\.\d+)?([eE][+-]?\d+)?", text, re.ASCII) is not None
