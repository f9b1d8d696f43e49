"""SQL conditions: fixed identifiers, bound values, and times that ClickHouse can compare."""

from collections.abc import Hashable
from dataclasses import dataclass, field
from datetime import UTC, datetime

EARLIEST_US, LATEST_US = 0, 4_102_444_800_000_000  # 1970 and 2100


@dataclass(slots=True)
class Conditions:
    """SQL conditions that must all hold, and their parameters."""

    clauses: list[str] = field(default_factory=list)
    parameters: dict[str, object] = field(default_factory=dict)
    _names: dict[Hashable, str] = field(default_factory=dict)  # of parameters, by type and value

    @property
    def sql(self) -> str:
        """The conditions joined; `1` when there is none."""
        return " AND ".join(self.clauses) or "1"

    def copy(self) -> "Conditions":
        """Make another that begins as this one, for conditions that only one statement has."""
        return Conditions(list(self.clauses), dict(self.parameters), dict(self._names))

    def begin_others(self) -> "Conditions":
        """Make conditions that stand beside these in one statement, with the same parameters."""
        return Conditions(parameters=self.parameters, _names=self._names)

    def bind(self, value: object, kind: str) -> str:
        """Take a value as a parameter and return its placeholder; equal values are one parameter."""
        key: Hashable = (kind, tuple(value) if isinstance(value, list) else value)
        name = self._names.setdefault(key, f"p{len(self.parameters)}")
        self.parameters[name] = value
        return f"{{{name}:{kind}}}"

    def require(self, column: str, operator: str, value: object, kind: str = "String") -> None:
        """Add `column operator value`. Column and operator are ours, never the caller's."""
        self.clauses.append(f"{column} {operator} {self.bind(value, kind)}")

    def compare_time(self, column: str, operator: str, time_us: int) -> str:
        """Write a comparison of a time column with microseconds since 1970 UTC."""
        return f"{column} {operator} fromUnixTimestamp64Micro({self.bind(clamp_time(time_us), 'Int64')})"

    def require_time(self, column: str, operator: str, time_us: int) -> None:
        """Add such a comparison."""
        self.clauses.append(self.compare_time(column, operator, time_us))

    def require_range(self, column: str, from_us: int | None, to_us: int | None) -> None:
        """Add the bounds of a range of time, the second exclusive."""
        if from_us is not None:
            self.require_time(column, ">=", from_us)
        if to_us is not None:
            self.require_time(column, "<", to_us)


def clamp_time(time_us: int) -> int:
    """Clamp a time to what ClickHouse can compare, since it would wrap around. No event lies outside."""
    return min(max(int(time_us), EARLIEST_US), LATEST_US)


def write_day(time_us: int) -> str:
    """Write the UTC day of a time, as a parameter of the type Date."""
    return datetime.fromtimestamp(clamp_time(time_us) / 1e6, UTC).date().isoformat()
